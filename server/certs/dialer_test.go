package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"testing"

	"zabra.dev/zabra/server/config"
)

// TestDialer: servers that dial each other take a certificate of their authority that bears the address or the name that
// was dialled, and show their own.
func TestDialer(t *testing.T) {
	here, elsewhere := net.IPv4(127, 0, 0, 1), net.IPv4(192, 0, 2, 1)
	for _, c := range []struct {
		name   string
		server string // its key store
		host   string
		ip     net.IP
		change func(*config.TLSSide) // of the one that dials
		ok     bool
	}{
		{"by address", "server.pem", "127.0.0.1", here, nil, true},
		{"by name", "server.pem", "localhost", elsewhere, nil, true},
		{"by address behind another name", "server.pem", "zoo1", here, nil, true},
		{"neither", "server.pem", "zoo1", elsewhere, nil, false},
		{"of another host", "elsewhere.pem", "localhost", here, nil, false},
		{"of another host, not verified", "elsewhere.pem", "localhost", here, func(s *config.TLSSide) { s.HostnameVerification = false }, true},
		{"of another authority", "server.pem", "localhost", here, func(s *config.TLSSide) { s.TrustStore.Location = file("rsa-pkcs1.pem") }, false},
		{"stores of Java", "server.pem", "localhost", here, func(s *config.TLSSide) {
			s.KeyStore = config.Store{Location: file("server.jks"), Password: storePassword}
			s.TrustStore = config.Store{Location: file("trust.jks"), Password: storePassword}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serverConfig(t, side(func(s *config.TLSSide) {
				s.KeyStore.Location = file(c.server)
				s.ClientHostnameVerification, s.AllowReverseDNSLookup = true, true
			}))
			d, err := NewDialer(Options{Side: side(c.change), Prefix: "ssl.quorum.", Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			state, err := handshake(t, server, d.Config(c.host, c.ip))
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			if c.ok && len(state.PeerCertificates) == 0 {
				t.Error("no certificate was shown")
			}
		})
	}
	if _, err := NewDialer(Options{Side: side(func(s *config.TLSSide) { s.KeyStore.Location = "" }), Prefix: "ssl.quorum."}); err == nil {
		t.Error("a dialer without keys")
	}
}

func TestBears(t *testing.T) {
	name := func(cn string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: cn}} }
	alt := name("zoo1.example.org")
	alt.DNSNames = []string{"zoo2.example.org"}
	for _, c := range []struct {
		cert *x509.Certificate
		host string
		ok   bool
	}{
		{name("zoo1.example.org"), "ZOO1.example.org", true}, {name("zoo1.example.org"), "zoo2.example.org", false},
		{name("*.example.org"), "zoo1.example.org", true}, {name("*.example.org"), "a.zoo1.example.org", false}, {name("*.example.org"), "example.org", false},
		{name("*.0.0.1"), "127.0.0.1", false}, {name("127.0.0.1"), "127.0.0.1", true},
		{alt, "zoo1.example.org", false}, {alt, "zoo2.example.org", true}, {name(""), "zoo1", false},
	} {
		if err := bears(c.cert, c.host); (err == nil) != c.ok {
			t.Errorf("%q as %s: %v", c.cert.Subject.CommonName, c.host, err)
		}
	}
}
