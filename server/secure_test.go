package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// secureServer starts a server with a plain and a TLS port, or one port for both.
func secureServer(t *testing.T, lines ...string) (s *Server, plain, secure string) {
	t.Helper()
	stores := []string{"ssl.keyStore.location=certs/testdata/server.pem", "ssl.trustStore.location=certs/testdata/trust.jks", "ssl.trustStore.password=changeit"}
	cfg := testConfig(t, t.TempDir(), append(stores, lines...)...)
	o := FromConfig(cfg)
	o.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	if err := o.ListenTLS(cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for i := range o.Listen {
		o.Listen[i].Address = "127.0.0.1:0"
	}
	s = startServer(t, o)
	return s, s.Addr(0).String(), s.Addr(len(o.Listen) - 1).String()
}

// dialTLS connects with the certificate in a file, or none.
func dialTLS(t *testing.T, addr, certificate string) (*client.Client, error) {
	t.Helper()
	pool, _, err := certs.LoadTrust(config.Store{Location: "certs/testdata/ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if certificate != "" {
		if cfg.Certificates, err = certs.LoadKeys(config.Store{Location: "certs/testdata/" + certificate}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, addr, client.Options{SessionTimeout: 20 * time.Second, Dial: client.TLSDial(cfg), FailFast: true})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

const aliceName = `CN=alice,OU=dev,O=Example\, Inc.,C=US`

// TestTLS: the certificate of a client is an identity that ACLs know, the plain port serves beside.
func TestTLS(t *testing.T) {
	s, plain, secure := secureServer(t, "secureClientPort=2281", "X509AuthenticationProvider.superUser=CN=elsewhere")
	ctx := testContext(t)
	alice, err := dialTLS(t, secure, "client.pem")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Create(ctx, "/a", []byte("x"), []proto.ACL{{Perms: proto.PermAll, Scheme: "auth"}}, client.Persistent); err != nil {
		t.Fatal(err)
	}
	acl, _, err := alice.GetACL(ctx, "/a")
	if err != nil || len(acl) != 1 || acl[0] != (proto.ACL{Perms: proto.PermAll, Scheme: "x509", ID: aliceName}) {
		t.Errorf("%v, %v", acl, err)
	}
	other, err := client.Dial(ctx, plain, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, _, err := other.GetData(ctx, "/a"); !errors.Is(err, proto.ErrNoAuth) {
		t.Errorf("over the plain port: %v", err)
	}
	super, err := dialTLS(t, secure, "elsewhere.pem")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := super.GetData(ctx, "/a"); err != nil {
		t.Errorf("super: %v", err)
	}
	if _, err := dialTLS(t, secure, ""); err == nil {
		t.Error("a client without a certificate is let in")
	}
	waitFor(t, func() bool { return monitor(t, s)["unsuccessful_handshake"] >= 1 })
	m := monitor(t, s)
	if m["auth_failed_count"] != m["unsuccessful_handshake"] || m["non_mtls_local_conn_count"] != 1 || m["non_mtls_remote_conn_count"] != 0 {
		t.Errorf("%v failed, %v handshakes, %v local, %v remote", m["auth_failed_count"], m["unsuccessful_handshake"], m["non_mtls_local_conn_count"], m["non_mtls_remote_conn_count"])
	}
	secured := 0
	for _, c := range s.Conns() {
		if c.Secure {
			secured++
		}
	}
	if secured != 2 {
		t.Errorf("%d secure connections, want 2", secured)
	}
}

func TestPortUnification(t *testing.T) {
	_, addr, _ := secureServer(t, "client.portUnification=true", "ssl.clientAuth=want")
	ctx := testContext(t)
	plain, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for certificate, want := range map[string]int{"client.pem": 2, "": 1} {
		c, err := dialTLS(t, addr, certificate)
		if err != nil {
			t.Fatal(err)
		}
		if ids, err := c.WhoAmI(ctx); err != nil || len(ids) != want {
			t.Errorf("with %q: %v, %v", certificate, ids, err)
		}
	}
	if answer, err := client.FourLetter(addr, "ruok"); err != nil || answer != "imok" {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestListenTLSRefuses: what cannot serve is told before a port is bound.
func TestListenTLSRefuses(t *testing.T) {
	for _, lines := range []string{"", "ssl.keyStore.location=none.pem", "ssl.keyStore.location=certs/testdata/server.jks\nssl.keyStore.password=wrong"} {
		p, err := config.ParseProperties([]byte("dataDir=./x\nclientPort=1\nsecureClientPort=2\n" + lines))
		if err != nil {
			t.Fatal(err)
		}
		cfg, _, err := config.Parse(p, config.Source{})
		if err != nil {
			t.Fatal(err)
		}
		o := FromConfig(cfg)
		if err := o.ListenTLS(cfg, slog.New(slog.DiscardHandler)); config.ExitCodeOf(err) != config.ExitInvalidInvocation {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

// TestProviders: authProvider.N brings schemes, enforce.auth wants them.
func TestProviders(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir(), "authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider", "ensembleAuthName=one, two"))
	for data, ok := range map[string]bool{"one": true, "two": true, "": true, "three": false} {
		r := dialRaw(t, s)
		if _, err := r.NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		reply, err := r.Call(-4, proto.OpAuth, (&proto.AuthPacket{Scheme: []byte("ensemble"), Auth: []byte(data)}).Append(nil))
		if ok != (err == nil && reply.Err == proto.OK) {
			t.Errorf("%q: %+v, %v", data, reply, err)
		}
		if !ok && err == nil {
			t.Errorf("%q is answered with %v, but the connection must be closed without a word", data, reply.Err)
		}
	}
	o := testOptions(t, t.TempDir(), "enforce.auth.enabled=true", "enforce.auth.schemes=sasl")
	if s, err := Start(o, slog.New(slog.DiscardHandler)); err == nil {
		stopServer(t, s)
		t.Error("a server starts that nobody could use")
	}
}
