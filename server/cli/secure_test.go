package cli

import (
	"errors"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/server/certs"
)

// The shell reads the stores that Java's reads, with their passwords, and says which one is no good.
func TestStores(t *testing.T) {
	file := func(name string) string { return filepath.Join("..", "certs", "testdata", name) }
	for _, c := range []struct {
		keys, trust, password string
		ok                    bool
	}{
		{"server.jks", "trust.jks", "changeit", true}, {"server-keytool.p12", "trust-keytool.p12", "changeit", true},
		{"server.pem", "ca.pem", "", true}, {"server.jks", "trust.jks", "wrong", false}, {"server.pem", "nowhere.jks", "", false},
	} {
		props := map[string]string{
			propKeyStore + "location": file(c.keys), propKeyStore + "password": c.password,
			propTrustStore + "location": file(c.trust), propTrustStore + "password": c.password,
		}
		for name := range props {
			if !isStoreProperty(name) {
				t.Errorf("%s would be told as not used", name)
			}
		}
		cfg, err := tlsConfig(storeOf(props, propKeyStore), storeOf(props, propTrustStore), true)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, certs.ErrStore) {
			t.Errorf("%+v: %v", c, err)
		}
		if c.ok && err == nil && (len(cfg.Certificates) != 1 || cfg.RootCAs == nil) {
			t.Errorf("%+v: %d certificates", c, len(cfg.Certificates))
		}
	}
	if isStoreProperty("zookeeper.client.foo") || isStoreProperty("type") {
		t.Error("other properties are taken for those of a store")
	}
}
