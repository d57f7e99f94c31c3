package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

const testJAAS = `Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_super="adminsecret"
  user_bob="bobsecret";
};
`

// loginServer starts a server that knows bob and super.
func loginServer(t *testing.T, lines ...string) *Server {
	t.Helper()
	jaas := filepath.Join(t.TempDir(), "jaas.conf")
	if err := os.WriteFile(jaas, []byte(testJAAS), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lines = append(lines, "java.security.auth.login.config="+jaas,
		"authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider", "superUser=super")
	o := testOptions(t, dir, lines...)
	if err := o.TakeLogins(testConfig(t, dir, lines...)); err != nil {
		t.Fatal(err)
	}
	return startServer(t, o)
}

func dialAs(t *testing.T, s *Server, login *client.Login) (*client.Client, error) {
	t.Helper()
	c, err := client.Dial(testContext(t), s.Addr(0).String(), client.Options{Login: login})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// TestLogin: who has logged in has a name, and what is only for that name.
func TestLogin(t *testing.T) {
	s := loginServer(t)
	ctx := testContext(t)
	bob, err := dialAs(t, s, &client.Login{User: "bob", Password: "bobsecret"})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := bob.WhoAmI(ctx)
	if err != nil || len(ids) != 2 || ids[1].Scheme != "sasl" || ids[1].User != "bob" {
		t.Fatalf("%v, %v", ids, err)
	}
	if _, err := bob.Create(ctx, "/bob", []byte("x"), []proto.ACL{{Perms: proto.PermAll, Scheme: "sasl", ID: "bob"}}, client.Persistent); err != nil {
		t.Fatal(err)
	}
	super, err := dialAs(t, s, &client.Login{User: "super", Password: "adminsecret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := super.GetData(ctx, "/bob"); err != nil {
		t.Errorf("super: %v", err)
	}
	nobody, err := dialAs(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := nobody.GetData(ctx, "/bob"); !errors.Is(err, proto.ErrNoAuth) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := dialAs(t, s, &client.Login{User: "bob", Password: "wrong"}); !errors.Is(err, proto.ErrAuthFailed) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := dialAs(t, startServer(t, testOptions(t, t.TempDir())), &client.Login{User: "bob", Password: "bobsecret"}); !errors.Is(err, proto.ErrAuthFailed) {
		t.Errorf("a server that has no users: %v", err)
	}
}

// TestLoginRefused: the codes and the body that Java's clients want, by what the server demands.
func TestLoginRefused(t *testing.T) {
	for _, c := range []struct {
		line string
		code proto.ErrCode
		open bool
	}{
		{"", proto.ErrAuthFailed, false},
		{"allowSaslFailedClients=true", proto.OK, true},
		{"sessionRequireClientSASLAuth=true", proto.ErrSessionClosedRequires, false},
	} {
		s := loginServer(t, c.line)
		r := dialRaw(t, s)
		if _, err := r.NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		for xid, token := range []string{"", "junk"} {
			reply, err := r.Call(int32(xid), proto.OpSasl, jute.AppendString(nil, token))
			if err != nil {
				t.Fatal(err)
			}
			d := jute.NewDecoder(reply.Body, 0)
			answer := d.Buffer()
			if xid == 0 && (reply.Err != proto.OK || len(answer) == 0) || xid == 1 && (reply.Err != c.code || answer != nil || d.Err() != nil || reply.Zxid != 0) {
				t.Errorf("%q: %q is answered %+v", c.line, token, reply)
			}
		}
		if _, err := r.Call(3, proto.OpPing, nil); c.open != (err == nil) {
			t.Errorf("%q: then %v", c.line, err)
		}
	}
}

// TestTakeLoginsRefuses files that are none, with the key and the fix.
func TestTakeLoginsRefuses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "jaas.conf")
	for _, text := range []string{"", "Server {", "Server { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };"} {
		if text != "" {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg := testConfig(t, t.TempDir(), "java.security.auth.login.config="+name)
		var o Options
		var e *config.Error
		if err := o.TakeLogins(cfg); !errors.As(err, &e) || e.Key != "java.security.auth.login.config" || e.Value != name || e.Fix == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	// Without a section of that name nobody can log in, as in Java.
	if err := os.WriteFile(name, []byte(testJAAS), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, t.TempDir(), "java.security.auth.login.config="+name, "sasl.serverconfig=Other")
	var o Options
	if err := o.TakeLogins(cfg); err != nil || o.SASL.Users != nil {
		t.Errorf("%v", err)
	}
}
