package certs

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zabra.dev/zabra/server/config"
)

const storePassword = "changeit"

func file(name string) string { return filepath.Join("testdata", name) }

func TestLoadKeys(t *testing.T) {
	for _, c := range []struct {
		store config.Store
		name  string
		chain int
	}{
		{config.Store{Location: file("server.pem")}, "server", 1},
		{config.Store{Location: file("server-encrypted.pem"), Password: storePassword}, "server", 1},
		{config.Store{Location: file("rsa-pkcs1.pem")}, "rsa", 1},
		{config.Store{Location: file("server-openssl.p12"), Password: storePassword}, "server", 2},
		{config.Store{Location: file("server-keytool.p12"), Password: storePassword}, "server", 2},
		{config.Store{Location: file("server.jks"), Password: storePassword}, "server", 2},
		{config.Store{Location: file("server.jks"), PasswordPath: file("password.txt"), Password: "wrong"}, "server", 2},
		// Java reads PKCS12 under the name of JKS, too.
		{config.Store{Location: file("server-keytool.p12"), Password: storePassword, Type: "JKS"}, "server", 2},
	} {
		keys, err := LoadKeys(c.store)
		if err != nil || len(keys) != 1 || keys[0].Leaf.Subject.CommonName != c.name || len(keys[0].Certificate) != c.chain {
			t.Errorf("%+v: %d keys, %v", c.store, len(keys), err)
		}
	}
}

func TestLoadTrust(t *testing.T) {
	for _, s := range []config.Store{
		{Location: file("ca.pem")},
		{Location: file("trust.jks"), Password: storePassword},
		{Location: file("trust-keytool.p12"), Password: storePassword},
	} {
		if _, n, err := LoadTrust(s); err != nil || n != 1 {
			t.Errorf("%+v: %d certificates, %v", s, n, err)
		}
	}
}

// TestBadStores: what is wrong is said, with the file.
func TestBadStores(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := os.ReadFile(file("server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := os.ReadFile(file("rsa-pkcs1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	// The key of one with the certificate of the other.
	mixed := filepath.Join(dir, "mixed.pem")
	key, _ := pem.Decode(server)
	cert, _ := pem.Decode(rsa)
	if key.Type != "PRIVATE KEY" || cert.Type != "CERTIFICATE" {
		t.Fatal(key.Type, cert.Type)
	}
	if err := os.WriteFile(mixed, append(pem.EncodeToMemory(key), pem.EncodeToMemory(cert)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		store config.Store
		want  string
	}{
		{config.Store{Location: filepath.Join(dir, "none.pem")}, "no such file"},
		{config.Store{Location: text}, "neither PEM nor PKCS12 nor JKS"},
		{config.Store{Location: file("ca.pem")}, "no private key"},
		{config.Store{Location: file("server.jks"), Password: "wrong"}, "server.jks"},
		{config.Store{Location: file("server-keytool.p12"), Password: "wrong"}, "password"},
		{config.Store{Location: file("server-encrypted.pem"), Password: "wrong"}, "private key"},
		{config.Store{Location: file("server.pem"), PasswordPath: filepath.Join(dir, "none")}, "password"},
		{config.Store{Location: file("server.pem"), Type: "bcfks"}, "BCFKS"},
		{config.Store{Location: mixed}, "do not belong together"},
	} {
		if _, err := LoadKeys(c.store); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.store, err, c.want)
		}
	}
	for location, want := range map[string]string{text: "neither", file("server.jks"): "no certificate", file("trust-openssl.p12"): "trusted"} {
		if _, _, err := LoadTrust(config.Store{Location: location, Password: storePassword}); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s as trust store: %v, want %q", location, err, want)
		}
	}
}

func side(change func(*config.TLSSide)) *config.TLSSide {
	s := &config.TLSSide{
		KeyStore: config.Store{Location: file("server.pem")}, TrustStore: config.Store{Location: file("ca.pem")},
		Protocol: "TLSv1.3", ClientAuth: "need", HostnameVerification: true,
	}
	if change != nil {
		change(s)
	}
	return s
}

func serverConfig(t *testing.T, s *config.TLSSide) *tls.Config {
	t.Helper()
	cfg, err := ServerConfig(Options{Side: s, Prefix: "ssl.", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// handshake connects a client with a server over a pipe of loopback TCP and returns what the server saw.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		c := tls.Client(nc, client)
		if err := c.Handshake(); err == nil {
			_, _ = io.ReadAll(c) // until the server is done
		}
	})
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Server(nc, server)
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	err = s.Handshake()
	state := s.ConnectionState()
	_ = nc.Close()
	wg.Wait()
	return state, err
}

func clientConfig(t *testing.T, certificate string) *tls.Config {
	t.Helper()
	pool, _, err := LoadTrust(config.Store{Location: file("ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if certificate != "" {
		if c.Certificates, err = LoadKeys(config.Store{Location: file(certificate)}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestClientAuth(t *testing.T) {
	for _, c := range []struct {
		auth, certificate string
		ok                bool
		name              string
	}{
		{"need", "client.pem", true, "alice"}, {"need", "", false, ""},
		{"want", "client.pem", true, "alice"}, {"want", "", true, ""},
		{"none", "client.pem", true, ""}, {"none", "", true, ""},
	} {
		state, err := handshake(t, serverConfig(t, side(func(s *config.TLSSide) { s.ClientAuth = c.auth })), clientConfig(t, c.certificate))
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		name := ""
		if len(state.PeerCertificates) > 0 {
			name = state.PeerCertificates[0].Subject.CommonName
		}
		if c.ok && name != c.name {
			t.Errorf("%+v: the server knows %q", c, name)
		}
	}
}

func TestStrangerIsRefused(t *testing.T) {
	stranger := serverConfig(t, side(func(s *config.TLSSide) { s.TrustStore.Location = file("rsa-pkcs1.pem") }))
	if _, err := handshake(t, stranger, clientConfig(t, "client.pem")); err == nil {
		t.Error("a client of another authority is let in")
	}
}

func TestHostVerification(t *testing.T) {
	cfg := serverConfig(t, side(func(s *config.TLSSide) { s.ClientHostnameVerification, s.ClientAuth = true, "want" }))
	for certificate, ok := range map[string]bool{"client.pem": true, "": true, "elsewhere.pem": false} {
		if _, err := handshake(t, cfg, clientConfig(t, certificate)); (err == nil) != ok {
			t.Errorf("client %q on 127.0.0.1: %v", certificate, err)
		}
	}
	off := serverConfig(t, side(func(s *config.TLSSide) { s.ClientHostnameVerification, s.HostnameVerification = true, false }))
	if _, err := handshake(t, off, clientConfig(t, "elsewhere.pem")); err != nil {
		t.Errorf("with hostnameVerification off: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		protocol string
		enabled  []string
		least    uint16
		most     uint16
		ok       bool
	}{
		{"TLSv1.3", nil, tls.VersionTLS12, tls.VersionTLS13, true},
		{"TLSv1.2", nil, tls.VersionTLS12, tls.VersionTLS12, true},
		{"TLSv1.2", []string{"TLSv1.3"}, tls.VersionTLS13, tls.VersionTLS13, true},
		{"TLSv1.3", []string{"TLSv1.2", "TLSv1.1"}, tls.VersionTLS11, tls.VersionTLS12, true},
		{"SSLv3", nil, 0, 0, false}, {"TLSv1.3", []string{"SSLv2Hello"}, 0, 0, false},
	} {
		least, most, err := versions(c.protocol, c.enabled)
		if least != c.least || most != c.most || (err == nil) != c.ok {
			t.Errorf("%+v: %x to %x, %v", c, least, most, err)
		}
	}
}

func TestSuites(t *testing.T) {
	ids, unknown, err := suites([]string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "SSL_RSA_WITH_3DES_EDE_CBC_SHA"})
	if err != nil || !slices.Equal(ids, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}) || !slices.Equal(unknown, []string{"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"}) {
		t.Errorf("%x, %v, %v", ids, unknown, err)
	}
	if _, _, err := suites([]string{"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"}); err == nil {
		t.Error("no suite is left")
	}
	cfg := serverConfig(t, side(func(s *config.TLSSide) {
		s.Protocol, s.CipherSuites = "TLSv1.2", []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}
	}))
	state, err := handshake(t, cfg, clientConfig(t, "client.pem"))
	if err != nil || state.Version != tls.VersionTLS12 || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Errorf("%x, %x, %v", state.Version, state.CipherSuite, err)
	}
}

func TestBadSettings(t *testing.T) {
	for name, change := range map[string]func(*config.TLSSide){
		"keyStore.location not specified": func(s *config.TLSSide) { s.KeyStore.Location = "" },
		"no version of TLS":               func(s *config.TLSSide) { s.Protocol = "SSLv3" },
		"ciphersuites":                    func(s *config.TLSSide) { s.CipherSuites = []string{"NONE"} },
		"ssl.trustStore":                  func(s *config.TLSSide) { s.TrustStore.Location = "none" },
		"ssl.keyStore":                    func(s *config.TLSSide) { s.KeyStore.Location = "none" },
	} {
		_, err := ServerConfig(Options{Side: side(change), Prefix: "ssl.", Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

// TestReload: new files take effect at a later handshake, broken ones do not.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "key.pem")
	install := func(from string, at time.Time) {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(store, b, 0o600)
		}
		if err == nil {
			err = os.Chtimes(store, at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1_700_000_000, 0)
	install(file("server.pem"), now)
	cfg, err := ServerConfig(Options{Side: side(func(s *config.TLSSide) { s.KeyStore.Location = store; s.ClientAuth = "none" }), Prefix: "ssl.", Reload: true,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		var seen *x509.Certificate
		c := clientConfig(t, "")
		c.VerifyConnection = func(st tls.ConnectionState) error { seen = st.PeerCertificates[0]; return nil }
		if _, err := handshake(t, cfg, c); err != nil {
			t.Fatal(err)
		}
		return seen.Subject.CommonName
	}
	if n := name(); n != "server" {
		t.Errorf("at first %s", n)
	}
	install(file("rsa-pkcs1.pem"), now.Add(time.Second))
	if n := name(); n != "server" {
		t.Errorf("too early: %s", n)
	}
	now = now.Add(reloadInterval)
	if n := name(); n != "rsa" {
		t.Errorf("after the change %s", n)
	}
	install(file("password.txt"), now.Add(time.Second))
	now = now.Add(reloadInterval)
	if n := name(); n != "rsa" {
		t.Errorf("with a broken file %s", n)
	}
}

// TestUnify: both kinds of connections are served, one that says nothing does not hold up others, and Close
// waits for nothing but that.
func TestUnify(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var plain atomic.Int32
	u := Unify(l, serverConfig(t, side(func(s *config.TLSSide) { s.ClientAuth = "none" })), func() { plain.Add(1) })
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := u.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				if err == nil {
					_, err = io.WriteString(c, strings.ToUpper(line))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	})
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ask := func(c net.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(c); string(answer) != "HELLO\n" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	ask(net.Dial("tcp", l.Addr().String()))
	ask(tls.Dial("tcp", l.Addr().String(), clientConfig(t, "")))
	ask(net.Dial("tcp", l.Addr().String()))
	if n := plain.Load(); n != 2 {
		t.Errorf("%d connections without TLS", n)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if err := u.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	wg.Wait()
}
