package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/sasl"
)

// Properties of Java's client that the shell understands; all others are named in a warning.
const (
	propSecure     = "zookeeper.client.secure"
	propKeyStore   = "zookeeper.ssl.keyStore." // and location, password, passwordPath, type
	propTrustStore = "zookeeper.ssl.trustStore."
	propHostname   = "zookeeper.ssl.hostnameVerification"
	// propSocket names Java's network layer; TLS needs the Netty one there, nothing here.
	propSocket       = "zookeeper.clientCnxnSocket"
	propJAAS         = "java.security.auth.login.config"
	propLogin        = "zookeeper.sasl.client"
	propLoginSection = "zookeeper.sasl.clientconfig"
)

// flagVariables are the environment variables that the original's script hands to Java; TLS
// and logins are often configured there, by -Dname=value.
var flagVariables = []string{"CLIENT_JVMFLAGS", "JVMFLAGS"}

// secure sets up TLS and the login from -client-configuration and from the flag variables. It fails rather
// than connect in the clear, or without a name, when it is asked for more and cannot have it.
func (o *options) secure(stderr io.Writer) error {
	props := map[string]string{}
	for _, name := range flagVariables {
		for _, word := range strings.Fields(os.Getenv(name)) {
			if def, ok := strings.CutPrefix(word, "-D"); ok {
				key, value, _ := strings.Cut(def, "=")
				props[key] = value
			}
		}
	}
	if o.clientConfig != "" {
		text, err := os.ReadFile(o.clientConfig)
		if err != nil {
			return fmt.Errorf("client configuration: %w", err)
		}
		p, err := config.ParseProperties(text)
		if err != nil {
			return fmt.Errorf("client configuration %s: %w", o.clientConfig, err)
		}
		var unused []string
		for _, kv := range p.Effective() {
			props[kv.Key] = kv.Value
			switch kv.Key {
			case propSecure, propHostname, propSocket, propJAAS, propLogin, propLoginSection:
			default:
				if !isStoreProperty(kv.Key) {
					unused = append(unused, kv.Key)
				}
			}
		}
		if len(unused) > 0 {
			fmt.Fprintf(stderr, "Warning: %s: not used here: %s\n", o.clientConfig, strings.Join(unused, ", "))
		}
	}
	if err := o.readLogin(props); err != nil {
		return fmt.Errorf("%s=%s: %w", propJAAS, props[propJAAS], err)
	}
	if !strings.EqualFold(props[propSecure], "true") {
		return nil
	}
	cfg, err := tlsConfig(storeOf(props, propKeyStore), storeOf(props, propTrustStore), !strings.EqualFold(props[propHostname], "false"))
	if err != nil {
		return fmt.Errorf("%s=true: %w", propSecure, err)
	}
	o.dial = client.TLSDial(cfg)
	return nil
}

// readLogin takes user and password out of the JAAS file; without one, or without its section, nobody logs in.
func (o *options) readLogin(props map[string]string) error {
	if strings.EqualFold(props[propLogin], "false") {
		return nil
	}
	section := props[propLoginSection]
	if section == "" {
		section = "Client"
	}
	list, err := sasl.ReadFile(props[propJAAS])
	if err != nil {
		return err
	}
	user, password, ok, err := sasl.LoginOf(list, section)
	if ok {
		o.login = &client.Login{User: user, Password: password}
	}
	return err
}

// isStoreProperty tells whether a property describes a key or trust store.
func isStoreProperty(name string) bool {
	for _, prefix := range []string{propKeyStore, propTrustStore} {
		switch rest, ok := strings.CutPrefix(name, prefix); {
		case ok && (rest == "location" || rest == "password" || rest == "passwordPath" || rest == "type"):
			return true
		}
	}
	return false
}

// storeOf gathers the properties of one store.
func storeOf(props map[string]string, prefix string) config.Store {
	return config.Store{
		Location: props[prefix+"location"], Password: props[prefix+"password"], PasswordPath: props[prefix+"passwordPath"], Type: props[prefix+"type"],
	}
}

// tlsConfig reads the stores, in PEM, PKCS12 or JKS: the key store holds a private key and its chain, the trust
// store the authorities. Without a trust store the system's authorities count.
func tlsConfig(keys, trust config.Store, checkHostname bool) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if keys.Location != "" {
		if cfg.Certificates, err = certs.LoadKeys(keys); err != nil {
			return nil, err
		}
	}
	if trust.Location != "" {
		if cfg.RootCAs, _, err = certs.LoadTrust(trust); err != nil {
			return nil, err
		}
	}
	if !checkHostname {
		// The chain is still verified, only the name is not (Java's hostnameVerification=false).
		roots := cfg.RootCAs
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, c := range state.PeerCertificates[1:] {
				opts.Intermediates.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(opts)
			return err
		}
	}
	return cfg, nil
}
