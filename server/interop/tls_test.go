//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// pki is a little authority with a server and a few clients, written as PEM stores.
type pki struct {
	dir     string
	roots   *x509.CertPool
	clients map[string]tls.Certificate
}

func certificates(t testing.TB) *pki {
	t.Helper()
	p, err := makePKI()
	must(t, err)
	return p
}

var makePKI = sync.OnceValues(func() (*pki, error) {
	p := &pki{dir: filepath.Join(scratch, "certs"), roots: x509.NewCertPool(), clients: map[string]tls.Certificate{}}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	issue := func(tpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (der []byte, key *ecdsa.PrivateKey, err error) {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
		if signer == nil {
			parent, signer = tpl, key
		}
		der, err = x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, signer)
		return der, key, err
	}
	template := func(serial int64, name pkix.Name) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	}
	write := func(name string, blocks ...*pem.Block) error {
		var b []byte
		for _, x := range blocks {
			b = append(b, pem.EncodeToMemory(x)...)
		}
		return os.WriteFile(filepath.Join(p.dir, name), b, 0o600)
	}
	caTpl := template(1, pkix.Name{CommonName: "interop authority"})
	caTpl.IsCA, caTpl.BasicConstraintsValid, caTpl.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	caDER, caKey, err := issue(caTpl, nil, nil)
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	p.roots.AddCert(ca)
	if err := write("trust.pem", &pem.Block{Type: "CERTIFICATE", Bytes: caDER}); err != nil {
		return nil, err
	}
	names := map[string]pkix.Name{
		"server": {CommonName: "localhost"},
		"alice":  {CommonName: "alice", OrganizationalUnit: []string{"dev"}, Organization: []string{"Example, Inc."}, Country: []string{"US"}},
		"root":   {CommonName: "root"},
	}
	serial := int64(2)
	for _, n := range []string{"server", "alice", "root"} {
		tpl := template(serial, names[n])
		serial++
		tpl.IPAddresses, tpl.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
		der, key, err := issue(tpl, ca, caKey)
		if err != nil {
			return nil, err
		}
		pk, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := write(n+".pem", &pem.Block{Type: "PRIVATE KEY", Bytes: pk}, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, err
		}
		p.clients[n] = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	return p, nil
})

// tlsConfig is the server side of TLS, for a port of its own.
var tlsConfig = map[string]string{
	"secureClientPort":                     "FREEPORT",
	"secureClientPortAddress":              "127.0.0.1",
	"serverCnxnFactory":                    "org.apache.zookeeper.server.NettyServerCnxnFactory",
	"ssl.keyStore.location":                "CERTS/server.pem",
	"ssl.trustStore.location":              "CERTS/trust.pem",
	"X509AuthenticationProvider.superUser": "CN=root",
}

func with(base map[string]string, kv ...string) map[string]string {
	m := maps.Clone(base)
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func init() {
	// Without a secure port a Java server notices too late that it needs the provider, and closes every TLS connection.
	unified := with(tlsConfig, "client.portUnification", "true", "secureClientPort", "-", "secureClientPortAddress", "-",
		"authProvider.x509", "org.apache.zookeeper.server.auth.X509AuthenticationProvider")
	for _, to := range []tour{
		rawTour("tls", tlsConfig, nil, section{"tls", tlsSessions}),
		rawTour("tls-want", with(tlsConfig, "ssl.clientAuth", "want"), nil, section{"tls", tlsSessions}),
		rawTour("tls-none", with(tlsConfig, "ssl.clientAuth", "none"), nil, section{"tls", tlsSessions}),
		rawTour("tls-unified", unified, nil, section{"tls", tlsSessions}),
	} {
		register(to)
	}
}

// over makes the tour dial over TLS as the client, or as nobody.
func (r *raw) over(client string) {
	r.dialer = func() (net.Conn, error) {
		addr := r.s.secure
		if addr == "" {
			addr = r.s.addr
		}
		cfg := &tls.Config{RootCAs: certificates(r.t).roots, MinVersion: tls.VersionTLS12}
		if client != "" {
			cfg.Certificates = []tls.Certificate{certificates(r.t).clients[client]}
		}
		return tls.DialWithDialer(&net.Dialer{Timeout: replyTimeout}, "tcp", addr, cfg)
	}
}

func (r *raw) wordOver(w string) string {
	c := r.dial()
	c.write([]byte(w))
	c.nc.SetReadDeadline(time.Now().Add(replyTimeout))
	b, _ := io.ReadAll(c.nc)
	return string(b)
}

func tlsSessions(r *raw) {
	const aliceDN = `CN=alice,OU=dev,O=Example\, Inc.,C=US`
	var alice *conn
	r.over("root")
	// A server may open its secure port after the plain one, which has answered already.
	first, err := r.dialer()
	for i := 0; err != nil && i < 60; i++ {
		time.Sleep(50 * time.Millisecond)
		first, err = r.dialer()
	}
	if err != nil {
		r.put("TLS", "refused")
		return
	}
	first.Close()
	for _, who := range []string{"alice", "root", ""} {
		r.over(who)
		name := who
		if name == "" {
			name = "nobody"
		}
		c := r.dial()
		r.put(name+" connect", "%s", c.connect(connectReq{timeout: 60000, readOnly: ptr(false)}))
		if c.closed != "" {
			continue
		}
		c.step(name+" whoAmI", proto.OpWhoAmI, nil)
		c.step(name+" create", opCreate, rec().s("/tls-"+name).s("secret").acls(acl{31, "auth", ""}).i(0))
		c.step(name+" acl", opGetACL, justPath("/tls-"+name))
		c.step(name+" create by name", opCreate, rec().s("/tlsn-"+name).s("secret").acls(acl{31, "x509", aliceDN}).i(0))
		c.step(name+" acl by name", opGetACL, justPath("/tlsn-"+name))
		c.step(name+" bad name", opCreate, rec().s("/tlsb-"+name).s("").acls(acl{31, "x509", "no name"}).i(0))
		c.step(name+" empty name", opCreate, rec().s("/tlse-"+name).s("").acls(acl{31, "x509", ""}).i(0))
		c.step(name+" read alice's", opGetData, pathWatch("/tlsn-alice", false))
		c.step(name+" set alice's", opSetData, setReq("/tls-alice", "x", -1))
		c.step(name+" auth x509", opAuth, authReq("x509", ""))
		if c.closed == "" {
			c.step(name+" big", opSetData, rec().s("/").buf(make([]byte, 600000)).i(-1))
			c.step(name+" big read", opGetData, pathWatch("/", false))
			r.put(name+" ruok", "%q", r.wordOver("ruok"))
			r.put(name+" isro", "%q", r.wordOver("isro"))
		}
		if who == "alice" {
			alice = c
		}
	}
	if alice != nil {
		r.over("root")
		d := r.dial()
		r.put("re-attach as another", "%s", d.connect(connectReq{timeout: 60000, session: alice.session, passwd: alice.passwd, readOnly: ptr(false)}))
		d.step("re-attach whoAmI", proto.OpWhoAmI, nil)
		r.put("re-attach old", "%s", alice.event())
		var qs []request
		for range 200 {
			qs = append(qs, request{op: opCreate, body: createReq("/tlsq-", "", 3)}, request{op: opGetData, body: pathWatch("/zookeeper", false)})
		}
		d.pipeline("pipelined", qs...)
		d.close()
	}
	// Without TLS: refused on the secure port, served on the plain or unified one.
	r.dialer = func() (net.Conn, error) {
		addr := r.s.secure
		if addr == "" {
			addr = r.s.addr
		}
		return net.DialTimeout("tcp", addr, replyTimeout)
	}
	c := r.dial()
	r.put("without TLS", "%s", c.connect(connectReq{timeout: 60000, readOnly: ptr(false)}))
	r.dialer = nil
	p := r.open()
	p.step("plain port whoAmI", proto.OpWhoAmI, nil)
	p.step("plain port reads alice's", opGetData, pathWatch("/tlsn-alice", false))
	r.put("plain port ruok", "%q", r.s.word("ruok"))
	p.close()
}
