package sasl

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

func testUsers(t testing.TB, options string) *Users {
	t.Helper()
	list, err := ParseJAAS("Server { "+DigestModule+" required "+options+"; };", nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := UsersOf(list, "Server", "")
	if err != nil || u == nil {
		t.Fatal(u, err)
	}
	return u
}

// TestResponse pins the example of RFC 2831, section 4.
func TestResponse(t *testing.T) {
	l := login{user: "chris", realm: "elwood.innosoft.com", password: "secret", nonce: "OA6MG9tEQGm2hh", cnonce: "OA6MHXh6VqTrRk", nc: "00000001",
		uri: "imap/elwood.innosoft.com", utf8: true}
	if got := l.response("AUTHENTICATE"); got != "d388dad90d4bbd760a152321f2143af7" {
		t.Errorf("response %s", got)
	}
	if got := l.response(""); got != "ea40f60335c427b5527b84dbabcdfffd" {
		t.Errorf("rspauth %s", got)
	}
}

// TestRecorded takes the login of a Java server with another, as recorded.
func TestRecorded(t *testing.T) {
	s := NewServer(ForServers, testUsers(t, `user_zkq="zkq-secret"`))
	if _, _, err := s.Step(nil); err != nil {
		t.Fatal(err)
	}
	s.nonce = "wftcWhbcNiE1vT2AYXy0TE+/zx69VtYoYTA62lp5"
	final, done, err := s.Step([]byte(`charset=utf-8,username="zkq",realm="zk-quorum-sasl-md5",nonce="wftcWhbcNiE1vT2AYXy0TE+/zx69VtYoYTA62lp5",nc=00000001,` +
		`cnonce="TkgZ6T8HaxS3P8Wef4rgIN03sNX6syH6krZcJFt6",digest-uri="zookeeper-quorum/zk-quorum-sasl-md5",maxbuf=65536,` +
		`response=98ae16a5e4fe98962de79e394934ab2f,qop=auth,authzid="zkq"`))
	if err != nil || !done || string(final) != "rspauth=a3b9250bcabea972b68aff8effbf3d44" {
		t.Errorf("%q, %v, %v", final, done, err)
	}
}

// TestExchange logs in, or does not.
func TestExchange(t *testing.T) {
	users := testUsers(t, `user_bob="pw" user_al="a \"b\\ c;" user_émile="é" user_张="密码"`)
	for _, c := range []struct {
		user, password string
		want           error
	}{
		{"bob", "pw", nil}, {"al", `a "b\ c;`, nil}, {"émile", "é", nil}, {"张", "密码", nil},
		{"bob", "pW", ErrCredentials}, {"bob", "", ErrCredentials}, {"eve", "pw", ErrCredentials}, {"", "pw", ErrNoName},
	} {
		for _, service := range []Service{ForClients, ForServers} {
			server, client := NewServer(service, users), NewClient(service, c.user, c.password)
			challenge, done, err := server.Step(nil)
			if err != nil || done {
				t.Fatal(done, err)
			}
			response, done, err := client.Step(challenge)
			if err != nil || done {
				t.Fatal(done, err)
			}
			final, done, err := server.Step(response)
			if !errors.Is(err, c.want) || done != (c.want == nil) {
				t.Errorf("%q %q: %v, %v", c.user, c.password, done, err)
				continue
			}
			if c.want != nil {
				if server.User() != "" {
					t.Errorf("%q is in", server.User())
				}
			} else if _, done, err = client.Step(final); !done || err != nil || server.User() != c.user {
				t.Errorf("%q: %v, %v, the server says %q", c.user, done, err, server.User())
			}
			if _, _, err := server.Step(response); !errors.Is(err, ErrProtocol) {
				t.Errorf("once more: %v", err)
			}
		}
	}
}

// TestServerRefuses changes one directive of a right response at a time.
func TestServerRefuses(t *testing.T) {
	users := testUsers(t, `user_bob="pw"`)
	try := func(change func(string) string) error {
		server, client := NewServer(ForClients, users), NewClient(ForClients, "bob", "pw")
		challenge, _, _ := server.Step(nil)
		response, _, err := client.Step(challenge)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = server.Step([]byte(change(string(response))))
		return err
	}
	replace := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %q in %q", old, s)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	for name, change := range map[string]func(string) string{
		"as it is":        func(s string) string { return s },
		"spaces":          func(s string) string { return " " + strings.ReplaceAll(s, ",", " ,\r\n ") + ",," },
		"without qop":     replace(",qop=auth", ""),
		"more directives": func(s string) string { return s + `,cipher="x,y",foo=bar` },
	} {
		if err := try(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(string) string{
		"empty":            func(string) string { return "" },
		"junk":             func(string) string { return "junk" },
		"no end of quotes": func(s string) string { return s + `,foo="` },
		"no comma":         func(s string) string { return s + `,foo="a"b=c` },
		"twice":            func(s string) string { return s + ",qop=auth" },
		"nonce":            replace(`nonce="`, `nonce="x`),
		"nonce count":      replace("nc=00000001", "nc=00000002"),
		"realm":            replace(`realm="zk`, `realm="ZK`),
		"uri":              replace(`digest-uri="zookeeper/`, `digest-uri="ldap/`),
		"qop":              replace("qop=auth", "qop=auth-int"),
		"charset":          replace("charset=utf-8", "charset=utf-16"),
		"response":         replace("response=", "response=0"),
		"another's rights": func(s string) string { return s + `,authzid="al"` },
		"no username":      replace(`username="bob",`, ""),
		"no cnonce":        replace(`cnonce="`, `xnonce="`),
		"not UTF-8":        replace("bob", "bo\xff"),
		"too long":         func(s string) string { return s + ",x=" + strings.Repeat("y", tokenMaxBytes) },
	} {
		if err := try(change); !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClientRefuses servers that do not know the password or want what there is not.
func TestClientRefuses(t *testing.T) {
	for _, token := range []string{"", `realm="r",algorithm=md5-sess`, `nonce="n"`, `nonce="n",algorithm=md5`, `nonce="n",algorithm=md5-sess,qop="auth-int,auth-conf"`} {
		if _, _, err := NewClient(ForClients, "bob", "pw").Step([]byte(token)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", token, err)
		}
	}
	c := NewClient(ForClients, "bob", "pw")
	if _, _, err := c.Step([]byte(`nonce="n",algorithm=md5-sess,qop="auth-int, auth"`)); err != nil {
		t.Fatal(err)
	}
	if _, done, err := c.Step([]byte("rspauth=0123")); !errors.Is(err, ErrCredentials) || done {
		t.Errorf("%v, %v", done, err)
	}
}

func TestParseJAAS(t *testing.T) {
	text := `
// a comment
/* another
   one */
Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
    user_super="admin\"secret" // his
    user_bob=plain;
  org.apache.zookeeper.server.auth.DigestLoginModule OPTIONAL user_al="${user.home}/x";
};
Client { org.apache.zookeeper.server.auth.DigestLoginModule required username="bob" password="pw"; };
Empty { };
Kerberos { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };
Half { org.apache.zookeeper.server.auth.DigestLoginModule required username="bob"; };
`
	list, err := ParseJAAS(text, func(name string) (string, bool) { return "/home", name == "user.home" })
	if err != nil || len(list) != 5 {
		t.Fatalf("%d sections, %v", len(list), err)
	}
	u, err := UsersOf(list, "Server", "")
	if err != nil || fmt.Sprint(u.passwords) != `map[al:/home/x bob:plain super:admin"secret]` {
		t.Errorf("%v, %v", u, err)
	}
	if u, err = UsersOf(list, "Server", "other"); err != nil || u.passwords["super"] != "other" {
		t.Errorf("%v, %v", u, err)
	}
	if u, err = UsersOf(list, "Client", "other"); err != nil || len(u.passwords) != 0 {
		t.Errorf("%v, %v", u, err)
	}
	if u, err = UsersOf(list, "None", ""); err != nil || u != nil {
		t.Errorf("%v, %v", u, err)
	}
	if _, err = UsersOf(list, "Kerberos", ""); !errors.Is(err, ErrJAAS) || !strings.Contains(err.Error(), "Krb5LoginModule") {
		t.Errorf("%v", err)
	}
	if user, password, ok, err := LoginOf(list, "Client"); user != "bob" || password != "pw" || !ok || err != nil {
		t.Errorf("%q, %q, %v, %v", user, password, ok, err)
	}
	if _, _, ok, err := LoginOf(list, "None"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, _, _, err := LoginOf(list, "Half"); !errors.Is(err, ErrJAAS) || !strings.Contains(err.Error(), "no password") {
		t.Errorf("%v", err)
	}
	for text, line := range map[string]string{
		"Server": "line 1", "Server {": "line 1", "\nServer { x }": "line 2", "Server { x required a; };": "line 1", "Server { x required a=; };": "line 1",
		"Server { x maybe a=b; };": "line 1", "S { x required a=\"b\n\"; };": "line 1", "S { x required; }\nT { };": "line 2", "/* ": "line 1",
		"S { x required a=\"${no.such}\"; };": "line 1", "S { };\nS { };": "line 2", "{ };": "line 1", "S { x required; }": "line 1",
	} {
		if _, err := ParseJAAS(text, nil); !errors.Is(err, ErrJAAS) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseJAAS(f *testing.F) {
	f.Add(`Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_super="a\"b" x=${y}; };`)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseJAAS(text, nil); err != nil && !errors.Is(err, ErrJAAS) {
			t.Error(err)
		}
	})
}

// FuzzServer gives a server what is not from a client; FuzzClient likewise.
func FuzzServer(f *testing.F) {
	users := testUsers(f, `user_bob="pw"`)
	f.Add([]byte(`charset=utf-8,username="bob",realm="zk-sasl-md5",nonce="n",nc=00000001,cnonce="c",digest-uri="zookeeper/zk-sasl-md5",maxbuf=65536,response=0,qop=auth`))
	f.Fuzz(func(t *testing.T, token []byte) {
		s := NewServer(ForClients, users)
		if _, _, err := s.Step(nil); err != nil {
			t.Fatal(err)
		}
		if _, done, err := s.Step(token); done || err == nil {
			t.Fatal("in without the nonce")
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add([]byte(`realm="zk-sasl-md5",nonce="n",charset=utf-8,algorithm=md5-sess`))
	f.Fuzz(func(t *testing.T, token []byte) {
		answer, done, err := NewClient(ForClients, "bob", "pw").Step(token)
		if done || err == nil && len(answer) == 0 {
			t.Fatal("done without a proof")
		}
	})
}

// TestDirectives: what quote writes, parseDirectives reads.
func TestDirectives(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 1000 {
		b := make([]byte, rng.Intn(20))
		for i := range b {
			b[i] = `"\,= ab`[rng.Intn(7)]
		}
		d, err := parseDirectives([]byte("a=" + quote(string(b)) + ",c=d"))
		if err != nil || d["a"] != string(b) || d["c"] != "d" {
			t.Fatalf("%q: %q, %v", b, d, err)
		}
	}
}
