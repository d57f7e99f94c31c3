//go:build interop

package interop

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// jaas is the server's login configuration, and that of the Java client.
const jaas = `Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_super="adminsecret"
  user_bob="bobsecret"
  user_al="al secret;";
};
Client {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  username="bob"
  password="bobsecret";
};
`

func init() {
	sasl := func(name string, cfg map[string]string) tour {
		to := rawTour(name, cfg, []string{"-Djava.security.auth.login.config=DIR/jaas.conf"}, section{"sasl", saslSessions})
		to.files = map[string]string{"jaas.conf": jaas}
		return to
	}
	provider := map[string]string{"authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"}
	javaClient := tour{
		name:  "java-sasl",
		cfg:   provider,
		props: []string{"-Djava.security.auth.login.config=DIR/jaas.conf"},
		files: map[string]string{"jaas.conf": jaas},
		needs: []tool{toolJavac, toolJava38},
		run: func(t *testing.T, s *server, tr *transcript) {
			args := append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Djava.security.auth.login.config=" + filepath.Join(s.dir, "jaas.conf")}, quickJVM...)
			runProgram(t, tr, s, "java", append(args, "-cp", compileJava(t)+":"+classpath(java38), "SaslTour", s.addr)...)
		},
	}
	register(
		sasl("sasl", provider),
		sasl("sasl-required", with(provider, "sessionRequireClientSASLAuth", "true")),
		sasl("sasl-enforced", with(provider, "enforce.auth.enabled", "true", "enforce.auth.schemes", "sasl,digest")),
		sasl("sasl-failed-allowed", with(provider, "allowSaslFailedClients", "true")),
		javaClient,
	)
}

var nonceField = regexp.MustCompile(`nonce="([^"]*)"`)

// login goes through the DIGEST-MD5 exchange and describes it.
func (c *conn) login(user, password string) string {
	_, challenge, failure := c.token([]byte{})
	if failure != "" {
		return failure
	}
	m := nonceField.FindStringSubmatch(string(challenge))
	if m == nil {
		return fmt.Sprintf("challenge %q", challenge)
	}
	nonce, cnonce := m[1], "Y25vbmNl"
	shape := nonceField.ReplaceAllString(string(challenge), `nonce="N"`)
	const realm, uri = "zk-sasl-md5", "zookeeper/zk-sasl-md5"
	inner := md5.Sum([]byte(user + ":" + realm + ":" + password))
	ha1 := md5.Sum(append(inner[:], ":"+nonce+":"+cnonce...))
	answer := func(a2 string) string {
		ha2 := md5.Sum([]byte(a2))
		x := md5.Sum([]byte(hex.EncodeToString(ha1[:]) + ":" + nonce + ":00000001:" + cnonce + ":auth:" + hex.EncodeToString(ha2[:])))
		return hex.EncodeToString(x[:])
	}
	head, final, failure := c.token([]byte(fmt.Sprintf(`charset=utf-8,username="%s",realm="%s",nonce="%s",nc=00000001,cnonce="%s",digest-uri="%s",maxbuf=65536,response=%s,qop=auth`,
		user, realm, nonce, cnonce, uri, answer("AUTHENTICATE:"+uri))))
	if failure != "" {
		return shape + " " + failure
	}
	text := quote(final)
	if string(final) == "rspauth="+answer(":"+uri) {
		text = "rspauth"
	}
	return shape + " " + head + " " + text
}

// token sends one token and returns the head of the reply and its token.
func (c *conn) token(token []byte) (head string, answer []byte, failure string) {
	c.write(c.append(nil, c.next(proto.OpSasl, rec().buf(token))))
	f, failure := c.readFrame()
	if failure != "" {
		return "", nil, failure
	}
	d := jute.NewDecoder(f, 0)
	d.Int32()
	zxid, code := d.Int64(), d.Int32()
	head = fmt.Sprintf("err=%d zxid=%d", code, zxid)
	answer = d.Buffer()
	if d.Err() != nil || len(d.Rest()) > 0 {
		return head, nil, fmt.Sprintf("%s odd body %x", head, f)
	}
	return head, answer, ""
}

func saslSessions(r *raw) {
	open := func() *conn {
		c := r.dial()
		c.connect(connectReq{timeout: 60000, readOnly: ptr(false)})
		return c
	}
	use := func(name string, c *conn) {
		c.step(name+" whoAmI", proto.OpWhoAmI, nil)
		if c.closed == "" {
			c.step(name+" ping", opPing, nil)
		}
	}
	c := open()
	r.put("right", "%s", c.login("bob", "bobsecret"))
	use("right", c)
	c.step("create", opCreate, rec().s("/sasl").s("x").acls(acl{31, "auth", ""}).i(0))
	c.step("acl", opGetACL, justPath("/sasl"))
	c.step("by name", opCreate, rec().s("/sasl2").s("x").acls(acl{31, "sasl", "al"}).i(0))
	for _, id := range []string{"", "a@b", "a/b@c", "a/b/c@d", "@", "a@b@c", "a/b"} {
		c.step("id "+id, opCreate, rec().s("/saslid").s("x").acls(acl{31, "sasl", id}).i(2))
	}
	d := open()
	r.put("al", "%s", d.login("al", "al secret;"))
	use("al", d)
	d.step("al reads bob's", opGetData, pathWatch("/sasl", false))
	d.step("al reads his", opGetData, pathWatch("/sasl2", false))
	r.put("al logs in again", "%s", d.login("al", "al secret;"))
	s := open()
	r.put("super", "%s", s.login("super", "adminsecret"))
	use("super", s)
	s.step("super reads bob's", opGetData, pathWatch("/sasl", false))
	for _, bad := range []struct{ name, user, password string }{{"wrong password", "bob", "no"}, {"unknown user", "eve", "x"}, {"empty user", "", "x"}} {
		w := open()
		r.put(bad.name, "%s", w.login(bad.user, bad.password))
		if w.closed == "" {
			got := w.do(opExists, pathWatch("/", false))
			r.put(bad.name+" then", "%s", got)
		}
	}
	n := open()
	r.put("none", "%s", n.do(opExists, pathWatch("/zookeeper", false)))
	if n.closed == "" {
		r.put("none reads bob's", "%s", n.do(opGetData, pathWatch("/sasl", false)))
	}
	g := open()
	r.put("digest instead", "%s", g.do(opAuth, authReq("digest", "bob:pw")))
	if g.closed == "" {
		r.put("digest instead then", "%s", g.do(opExists, pathWatch("/zookeeper", false)))
	}
	j := open()
	head, challenge, failure := j.token([]byte("junk"))
	r.put("first token junk", "%s %s %s", head, quote(nonceField.ReplaceAll(challenge, []byte("N"))), failure)
	if failure == "" {
		head, challenge, failure = j.token([]byte("more junk"))
		r.put("second token junk", "%s %s %s", head, quote(challenge), failure)
	}
	z := open()
	z.write(z.append(nil, z.next(proto.OpSasl, rec().null())))
	r.put("null token", "%s", z.event())
	a := open()
	r.put("scheme sasl in auth", "%s", a.do(opAuth, authReq("sasl", "bob")))
}
