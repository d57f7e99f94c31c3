package authprovider

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/metrics"
)

func lines(t testing.TB, file string) (out [][2]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		a, b, ok := strings.Cut(s.Text(), "\t")
		if !ok {
			t.Fatalf("%s: %q", file, s.Text())
		}
		out = append(out, [2]string{a, b})
	}
	if err := s.Err(); err != nil || len(out) < 60 {
		t.Fatalf("%s: %d lines, %v", file, len(out), err)
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSubjectNames compares with what Java made of the same DER names.
func TestSubjectNames(t *testing.T) {
	for _, l := range lines(t, "testdata/names.txt") {
		got, err := subjectName(unhex(t, l[0]))
		if want := string(unhex(t, l[1])); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", l[0], got, err, want)
		}
	}
}

// TestValidNames compares with what Java takes for a distinguished name.
func TestValidNames(t *testing.T) {
	for _, l := range lines(t, "testdata/valid.txt") {
		name := strings.ReplaceAll(l[1], `\n`, "\n")
		if got := validName(name); got != (l[0] == "+") {
			t.Errorf("%q: valid %v, want %s", name, got, l[0])
		}
	}
}

// FuzzSubjectName: no input makes it panic, and a name that it gives is one that it takes, unless it holds
// what text cannot.
func FuzzSubjectName(f *testing.F) {
	for _, l := range lines(f, "testdata/names.txt") {
		f.Add(unhex(f, l[0]))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		name, err := subjectName(der)
		if err != nil {
			return
		}
		validName(name)
		validName(string(der))
	})
}

func certificate(t *testing.T, subject pkix.Name) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestX509(t *testing.T) {
	p := &X509{SuperUser: "CN=root"}
	alice := certificate(t, pkix.Name{CommonName: "alice", Organization: []string{"Example, Inc."}})
	ids, code := p.Authenticate([]byte("ignored"), auth.Peer{Certificate: alice})
	if want := []proto.Identity{{Scheme: "x509", ID: `CN=alice,O=Example\, Inc.`}}; code != proto.OK || !slices.Equal(ids, want) {
		t.Errorf("%v, %v; want %v", ids, code, want)
	}
	ids, code = p.Authenticate(nil, auth.Peer{Certificate: certificate(t, pkix.Name{CommonName: "root"})})
	if want := []proto.Identity{{Scheme: "super", ID: "CN=root"}, {Scheme: "x509", ID: "CN=root"}}; code != proto.OK || !slices.Equal(ids, want) {
		t.Errorf("%v, %v; want %v", ids, code, want)
	}
	for _, c := range [][]byte{nil, []byte("garbage")} {
		if ids, code := p.Authenticate(nil, auth.Peer{Certificate: c}); code != proto.ErrAuthFailed || ids != nil {
			t.Errorf("%q: %v, %v", c, ids, code)
		}
	}
	for _, c := range []struct {
		id, acl string
		want    bool
	}{{"CN=a", "CN=a", true}, {"CN=a", "CN=b", false}, {"CN=root", "CN=b", true}, {"CN=a", "CN=root", false}} {
		if got := p.Matches(c.id, []byte(c.acl)); got != c.want {
			t.Errorf("%s on %s: %v", c.id, c.acl, got)
		}
	}
	if !p.Authenticated() || p.ValidID([]byte("alice")) || !p.ValidID([]byte("CN=alice")) || p.UserName("CN=a") != "CN=a" {
		t.Error("x509 provider")
	}
	if (&X509{}).Matches("", []byte("CN=a")) {
		t.Error("an empty name is super where nobody is")
	}
}

func TestEnsemble(t *testing.T) {
	figures := metrics.New()
	p := NewEnsemble([]string{"one", "two"}, figures, slog.New(slog.DiscardHandler))
	peer := auth.Peer{Addr: netip.MustParseAddr("10.0.0.1")}
	for _, c := range []struct {
		data string
		want proto.ErrCode
	}{{"one", proto.OK}, {"two", proto.OK}, {"", proto.OK}, {"three", auth.CloseSilently}, {"one,two", auth.CloseSilently}} {
		if ids, code := p.Authenticate([]byte(c.data), peer); code != c.want || ids != nil {
			t.Errorf("%q: %v, %v", c.data, ids, code)
		}
	}
	all := NewEnsemble(nil, figures, slog.New(slog.DiscardHandler))
	if _, code := all.Authenticate([]byte("any"), peer); code != proto.OK {
		t.Errorf("without names: %v", code)
	}
	for name, want := range map[string]int64{"ensemble_auth_skip": 2, "ensemble_auth_success": 2, "ensemble_auth_fail": 2} {
		if n := figures.Counter(name).Value(); n != want {
			t.Errorf("%s is %d, want %d", name, n, want)
		}
	}
	if p.Authenticated() || p.ValidID([]byte("one")) || p.Matches("one", []byte("one")) {
		t.Error("the ensemble scheme is no identity")
	}
}
