package auth

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// saslLike is a provider as sasl is: exact match, and an identity "super" that matches all.
type saslLike struct{}

func (saslLike) Scheme() string { return SchemeSASL }
func (saslLike) Authenticate([]byte, Peer) ([]proto.Identity, proto.ErrCode) {
	return nil, proto.ErrAuthFailed
}
func (saslLike) ValidID([]byte) bool { return true }
func (saslLike) Matches(identity string, aclID []byte) bool {
	return identity == SchemeSuper || identity == string(aclID)
}
func (saslLike) Authenticated() bool             { return true }
func (saslLike) UserName(identity string) string { return identity }

// ensembleLike closes connections for another ensemble without an answer.
type ensembleLike struct{ saslLike }

func (ensembleLike) Scheme() string { return "ensemble" }
func (ensembleLike) Authenticate(data []byte, _ Peer) ([]proto.Identity, proto.ErrCode) {
	if len(data) == 0 || string(data) == "mine" {
		return nil, proto.OK
	}
	return nil, CloseSilently
}

func registry(t testing.TB, o Options) *Registry {
	t.Helper()
	r, err := NewRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func acls(entries ...proto.ACL) proto.RawACLs { return proto.AppendACLs(nil, entries) }

func ids(pairs ...string) (out []proto.Identity) {
	for _, p := range pairs {
		scheme, id, _ := strings.Cut(p, "=")
		out = append(out, proto.Identity{Scheme: scheme, ID: id})
	}
	return out
}

// TestDigestID pins the vectors of section 15 and the other algorithms (their hashes come from
// the JDK's MessageDigest).
func TestDigestID(t *testing.T) {
	f := func(alg, text, want string) {
		t.Helper()
		got, err := DigestID(alg, text)
		if err != nil || got != want {
			t.Errorf("%s %q: got %q, %v; want %q", alg, text, got, err, want)
		}
	}
	f("", "super:secret", "super:lK75jTNcA+U9vtVEw5vB51mj/w4=")
	f("SHA1", "bob:pw", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")
	f("sha-1", "al:pw", "al:E2WgW72KiEUG4R7vIVBkt6SPXyA=")
	f("SHA1", "bob:secret", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=")
	f("SHA-256", "bob:secret", "bob:huAluaVu3uER4LIpielGv9Qqk5x3YVDr6I2R/mXf2wE=")
	f("SHA-512", "bob:secret", "bob:MON49O1q1UU4gzHRH8XFfdstQyTRtQRoDT+8dvk+qrZdXJegJxeoYDJfch4LeWUjXjSWIiqnKXpFYZi7tC1AZw==")
	f("SHA-512/256", "bob:secret", "bob:Og/IurIw/GdzbFYQ/Z98uLvNTACkWBakgqXV2r5V1Zw=")
	f("SHA3-256", "bob:secret", "bob:ukO6WgYOvbjGYGRnCevsZ2T9tQ3ynirMDLl7Q45X6Rc=")
	f("sha3-512", "bob:secret", "bob:WISyoZv7veYA99eCjRXIryiJS6naNSmdMrE6AO9lJ90NPVr/4b/DbXgizNO6W+B2kcZO9YDhjZzAnIXD1CvxdA==")
	f("MD5", "bob:secret", "bob:pasriMfeJxH/y5wk/opUWg==")
	if _, err := DigestID("SHA-257", "a:b"); !errors.Is(err, ErrConfig) {
		t.Errorf("unknown algorithm: %v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true, SuperDigest: "super:lK75jTNcA+U9vtVEw5vB51mj/w4=", Providers: []Provider{saslLike{}, ensembleLike{}}})
	peer := Peer{Addr: netip.MustParseAddr("::1")}
	f := func(scheme, data string, want proto.ErrCode, wantIDs ...string) {
		t.Helper()
		var raw []byte
		if data != "null" {
			raw = []byte(data)
		}
		got, code := r.Authenticate(scheme, raw, peer)
		if code != want || !slices.Equal(got, ids(wantIDs...)) {
			t.Errorf("%s %q: got %v, %d; want %v, %d", scheme, data, got, code, wantIDs, want)
		}
	}
	f("digest", "bob:pw", proto.OK, "digest=bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")
	f("digest", "super:secret", proto.OK, "super=", "digest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=")
	f("digest", "null", proto.ErrAuthFailed)
	f("digest", "", proto.OK, "digest=:2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
	f("ip", "null", proto.OK, "ip=0:0:0:0:0:0:0:1")
	f("world", "anyone", proto.ErrAuthFailed)
	f("auth", "", proto.ErrAuthFailed)
	f("", "", proto.ErrAuthFailed)
	f("x509", "", proto.ErrAuthFailed)
	f("sasl", "", proto.ErrAuthFailed)
	f("ensemble", "mine", proto.OK)
	f("ensemble", "null", proto.OK)
	f("ensemble", "other", CloseSilently)

	off := registry(t, Options{})
	if _, code := off.Authenticate("digest", []byte("a:b"), peer); code != proto.ErrAuthFailed || off.Has("digest") || !off.Has("ip") {
		t.Errorf("digest off: code %d", code)
	}
}

func TestNewRegistryRefuses(t *testing.T) {
	f := func(o Options) {
		t.Helper()
		if _, err := NewRegistry(o); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
	f(Options{DigestAlg: "rot13"})
	f(Options{Providers: []Provider{saslLike{}, saslLike{}}})
}

func TestIPIdentity(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := IPIdentity(netip.MustParseAddr(addr)); got.ID != want || got.Scheme != "ip" {
			t.Errorf("%s: got %v, want %s", addr, got, want)
		}
	}
	f("127.0.0.1", "127.0.0.1")
	f("::1", "0:0:0:0:0:0:0:1")
	f("2001:DB8::a0b:1", "2001:db8:0:0:0:0:a0b:1")
	f("::ffff:10.1.2.3", "10.1.2.3")
	f("fe80::1%eth0", "fe80:0:0:0:0:0:0:1")
}

func TestIPMatch(t *testing.T) {
	var p ipProvider
	valid := func(id string, want bool) {
		t.Helper()
		if got := p.ValidID([]byte(id)); got != want {
			t.Errorf("ValidID(%q) = %v", id, got)
		}
	}
	for _, id := range []string{"1.2.3.4", "1.2.3.4/0", "1.2.3.4/32", "0:0:0:0:0:0:0:1", "::", "::1", "1::", "a::B/128", "::/0", "1:2:3:4:5:6::7", "01.2.3.4"} {
		valid(id, true)
	}
	for _, id := range []string{"", "a", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1.2.3.256", "1.2.3.-1", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/",
		"1.2.3.4/a", "1.2.3.4/8/8", ":", ":::", "1:2", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7::8", "12345::", "g::", "::1/129",
		"::1.2.3.4", "1.2.3.4/99999999999", "1:", "::1:"} {
		valid(id, false)
	}
	match := func(identity, acl string, want bool) {
		t.Helper()
		if got := p.Matches(identity, []byte(acl)); got != want {
			t.Errorf("Matches(%q, %q) = %v", identity, acl, got)
		}
	}
	match("10.1.2.3", "10.1.2.3", true)
	match("10.1.2.3", "10.1.2.4", false)
	match("10.1.2.3", "10.1.0.0/16", true)
	match("10.1.2.3", "10.1.2.0/31", false)
	match("10.1.2.3", "10.1.2.2/31", true)
	match("10.1.2.3", "99.0.0.0/0", true)
	match("10.129.0.0", "10.128.0.0/9", true)
	match("10.127.0.0", "10.128.0.0/9", false)
	match("0:0:0:0:0:0:0:1", "::1", true)
	match("2001:db8:0:0:0:0:0:1", "2001:db8::/32", true)
	match("2001:db9:0:0:0:0:0:1", "2001:db8::/32", false)
	match("2001:db9:0:0:0:0:0:1", "2001:db8::/31", true)
	match("1.2.3.4", "::/0", false)
	match("0:0:0:0:0:0:0:1", "0.0.0.0/0", false)
	match("1.2.3.4", "rubbish", false)
	match("rubbish", "1.2.3.4", false)
}

// TestIPMatchAgainstNetip compares with the standard library's prefixes over random addresses.
func TestIPMatchAgainstNetip(t *testing.T) {
	rnd := newRand(1)
	for range 5000 {
		var a, b [16]byte
		for i := range a {
			a[i] = byte(rnd.Uint32())
			b[i] = a[i]
			if rnd.IntN(6) == 0 {
				b[i] ^= 1 << rnd.IntN(8)
			}
		}
		n := []int{4, 16}[rnd.IntN(2)]
		have, _ := netip.AddrFromSlice(a[:n])
		want, _ := netip.AddrFromSlice(b[:n])
		prefix := netip.PrefixFrom(want, rnd.IntN(n*8+1))
		if got := (ipProvider{}).Matches(IPIdentity(have).ID, []byte(prefix.String())); got != prefix.Contains(have.WithZone("")) && !have.Is4In6() && !want.Is4In6() {
			t.Fatalf("%v in %v: got %v", have, prefix, got)
		}
	}
}

func TestDigestValidID(t *testing.T) {
	var p digestProvider
	f := func(id string, want bool) {
		t.Helper()
		if got := p.ValidID([]byte(id)); got != want {
			t.Errorf("%q: got %v", id, got)
		}
	}
	f("a:b", true)
	f(":b", true)
	f("a:b:", true)
	f("a", false)
	f("a:", false)
	f("a:b:c", false)
	f("", false)
	f("::", false)
}

func TestAllowed(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true, Providers: []Provider{saslLike{}}})
	bob := ids("ip=127.0.0.1", "digest=bob:x")
	f := func(acl proto.RawACLs, perms int32, who []proto.Identity, want bool) {
		t.Helper()
		if got := r.Allowed(acl, perms, who); got != want {
			t.Errorf("%v perms %d ids %v: got %v", acl.Decode(), perms, who, got)
		}
	}
	open := proto.AppendACLs(nil, proto.WorldAnyone)
	f(open, proto.PermCreate, nil, true)
	f(acls(), proto.PermRead, nil, true)
	f(jute.AppendInt32(nil, -1), proto.PermRead, nil, true)
	f(nil, proto.PermRead, nil, true)
	readOnly := acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"})
	f(readOnly, proto.PermRead, nil, true)
	f(readOnly, proto.PermWrite, nil, false)
	f(readOnly, proto.PermWrite|proto.PermRead, nil, true)
	f(readOnly, proto.PermWrite, ids("super="), true)
	mixed := acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, proto.ACL{Perms: 14, Scheme: "digest", ID: "bob:x"},
		proto.ACL{Perms: 16, Scheme: "ip", ID: "127.0.0.0/8"}, proto.ACL{Perms: 16, Scheme: "nobody", ID: "x"}, proto.ACL{Perms: 4, Scheme: "sasl", ID: "s"})
	f(mixed, proto.PermDelete, bob, true)
	f(mixed, proto.PermDelete, ids("digest=bob:y"), false)
	f(mixed, proto.PermDelete, ids("ip=bob:x"), false)
	f(mixed, proto.PermAdmin, bob, true)
	f(mixed, proto.PermAdmin, ids("ip=128.0.0.1"), false)
	f(mixed, proto.PermAdmin, ids("nobody=x"), false)
	f(mixed, proto.PermCreate, ids("sasl=super"), true)
	f(mixed, proto.PermAdmin, ids("sasl=super"), false)
	f(acls(proto.ACL{Perms: 31, Scheme: "world", ID: "someone"}), proto.PermRead, bob, false)
	f(mixed[:len(mixed)-1], proto.PermCreate, ids("sasl=s"), false)

	skip := registry(t, Options{SkipACL: true})
	if !skip.Allowed(readOnly, proto.PermAdmin, nil) {
		t.Error("skipACL does not skip")
	}
}

func TestFixUp(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true, Providers: []Provider{saslLike{}}})
	who := ids("ip=127.0.0.1", "digest=bob:x", "super=", "sasl=s", "gone=g")
	f := func(in proto.RawACLs, want proto.ErrCode, wantList ...proto.ACL) {
		t.Helper()
		got, code := r.FixUp([]byte("head"), in, who)
		if code != want || string(got[:4]) != "head" {
			t.Errorf("%v: got code %d, %q; want %d", in.Decode(), code, got, want)
			return
		}
		if code != proto.OK {
			if len(got) != 4 {
				t.Errorf("%v: %d bytes left behind by a refused list", in.Decode(), len(got)-4)
			}
			return
		}
		if !bytes.Equal(got[4:], acls(wantList...)) {
			t.Errorf("%v: got %v, want %v", in.Decode(), proto.RawACLs(got[4:]).Decode(), wantList)
		}
	}
	world := proto.ACL{Perms: 31, Scheme: "world", ID: "anyone"}
	bob := proto.ACL{Perms: 3, Scheme: "digest", ID: "bob:x"}
	f(acls(world), proto.OK, world)
	f(acls(world, world), proto.OK, world)
	f(acls(), proto.ErrInvalidACL)
	f(jute.AppendInt32(nil, -1), proto.ErrInvalidACL)
	f(acls(proto.ACL{Perms: 3, Scheme: "auth"}), proto.OK, bob, proto.ACL{Perms: 3, Scheme: "sasl", ID: "s"})
	f(acls(bob, proto.ACL{Perms: 3, Scheme: "auth", ID: "ignored"}), proto.OK, bob, bob, proto.ACL{Perms: 3, Scheme: "sasl", ID: "s"})
	f(acls(proto.ACL{Perms: 31, Scheme: "world", ID: "someone"}), proto.ErrInvalidACL)
	f(acls(proto.ACL{Perms: 31, Scheme: "digest", ID: "a"}), proto.ErrInvalidACL)
	f(acls(proto.ACL{Perms: 31, Scheme: "ip", ID: "1.2.3"}), proto.ErrInvalidACL)
	f(acls(proto.ACL{Perms: 31, Scheme: "super", ID: ""}), proto.ErrInvalidACL)
	f(acls(proto.ACL{Perms: 31, Scheme: "x509", ID: "CN=a"}), proto.ErrInvalidACL)
	f(acls(world, proto.ACL{Perms: 31, Scheme: "nobody", ID: ""}), proto.ErrInvalidACL)
	// Perms are stored as they come.
	odd := proto.ACL{Perms: 1 << 20, Scheme: "ip", ID: "::/0"}
	f(acls(odd), proto.OK, odd)

	raw := func(perms int32, scheme, id []byte) proto.RawACLs {
		b := jute.AppendInt32(nil, 1)
		return jute.AppendBuffer(jute.AppendBuffer(jute.AppendInt32(b, perms), scheme), id)
	}
	f(raw(31, nil, []byte("x")), proto.ErrInvalidACL)
	f(raw(31, []byte("auth"), nil), proto.OK, proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:x"}, proto.ACL{Perms: 31, Scheme: "sasl", ID: "s"})
	f(raw(31, []byte("world"), nil), proto.ErrMarshalling)
	f(raw(31, []byte("digest"), nil), proto.ErrMarshalling)
	f(raw(31, []byte("nobody"), nil), proto.ErrInvalidACL)

	if _, code := r.FixUp(nil, acls(proto.ACL{Perms: 3, Scheme: "auth"}), ids("ip=::1")); code != proto.ErrInvalidACL {
		t.Errorf("auth without an authenticated identity: %d", code)
	}
}

// TestFixUpLongLists checks that the map for long lists finds the same duplicates as the
// comparison of short ones, and that expansion has a bound.
func TestFixUpLongLists(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true})
	var in, want []proto.ACL
	for i := range 100 {
		a := proto.ACL{Perms: int32(i % 20), Scheme: "digest", ID: "u:" + fmt.Sprint(i%20)}
		in = append(in, a)
		if i < 20 {
			want = append(want, a)
		}
	}
	got, code := r.FixUp(nil, acls(in...), nil)
	if code != proto.OK || !bytes.Equal(got, acls(want...)) {
		t.Errorf("got %d, %v", code, proto.RawACLs(got).Decode())
	}
	var auths []proto.ACL
	for i := range 20 {
		auths = append(auths, proto.ACL{Perms: int32(i), Scheme: "auth"})
	}
	if _, code := r.FixUp(nil, acls(auths...), ids("digest="+strings.Repeat("x", 1<<16)+":y")); code != proto.ErrInvalidACL {
		t.Errorf("expansion to more than %d bytes: %d", expandedMaxBytes, code)
	}
}

func TestRedactACL(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true})
	list := acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:hash:more"},
		proto.ACL{Perms: 31, Scheme: "ip", ID: "::1"}, proto.ACL{Perms: 1, Scheme: "digest", ID: "nocolon"})
	want := acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:x"},
		proto.ACL{Perms: 31, Scheme: "ip", ID: "::1"}, proto.ACL{Perms: 1, Scheme: "digest", ID: "nocolon"})
	if got := r.RedactACL(nil, list, ids("digest=al:x")); !bytes.Equal(got, want) {
		t.Errorf("got %v", proto.RawACLs(got).Decode())
	}
	for _, who := range []string{"super=", "digest=bob:hash:more", "ip=0:0:0:0:0:0:0:1"} {
		if got := r.RedactACL(nil, list, ids(who)); !bytes.Equal(got, list) {
			t.Errorf("%s: got %v", who, proto.RawACLs(got).Decode())
		}
	}
}

func TestUserName(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true, Providers: []Provider{saslLike{}}})
	for in, want := range map[string]string{"digest=bob:x": "bob", "ip=::1": "::1", "sasl=s": "s", "super=": "", "gone=g": ""} {
		if got := r.UserName(ids(in)[0]); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	have := append(make([]proto.Identity, 0, 8), ids("ip=::1", "digest=a:b")...)
	got := Merge(have, ids("digest=a:b", "super=", "super="))
	if !slices.Equal(got, ids("ip=::1", "digest=a:b", "super=")) {
		t.Errorf("got %v", got)
	}
	if extra := have[:3][2]; extra != (proto.Identity{}) {
		t.Errorf("the old slice was changed: %v", extra)
	}
}

func TestEnforcement(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true, Providers: []Provider{saslLike{}}})
	e, err := NewEnforcement(r, "digest, sasl")
	if err != nil {
		t.Fatal(err)
	}
	if e.Satisfied(ids("ip=::1", "super=")) || !e.Satisfied(ids("ip=::1", "sasl=s")) || !e.RequiresSASL() {
		t.Error("wrong verdict")
	}
	var none *Enforcement
	if !none.Satisfied(nil) || none.RequiresSASL() {
		t.Error("no enforcement must satisfy everybody")
	}
	for _, bad := range []string{"", "x509", "digest,", "world"} {
		if _, err := NewEnforcement(r, bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestJavaString pins what Java's String makes of malformed UTF-8, as seen with JDK 17.
func TestJavaString(t *testing.T) {
	const r = "\uFFFD"
	f := func(in, want string) {
		t.Helper()
		if got := string(javaString([]byte(in))); got != want {
			t.Errorf("%x: got %x, want %x", in, got, want)
		}
	}
	f("plain", "plain")
	f("é中😀", "é中😀")
	f("p\xe4", "p"+r)
	f("p\xe4b", "p"+r+"b")
	f("\xe4\xb8", r)
	f("\xe4\xb8a", r+"a")
	f("\xed\xa0\x80", r)
	f("\xf0\x9f\x98", r)
	f("\xf0\x9f\x98a", r+"a")
	f("\xf0\x80\x80", r+r+r)
	f("\xc0\x80", r+r)
	f("\xff\x80a", r+r+"a")
	f("\xe0\x80a", r+r+"a")
	f("\xed\xa0", r)
	f("\xed\xa0a", r+"a")
	f("\xf4\x90\x80\x80", r+r+r+r)
	f("\xf5\x80", r+r)
	f("\xf0\x9fa", r+"a")
	f("\xe0\xa0", r)
	f("\xf1\x80\x80\xff", r+r)
}

// TestNoAllocations pins that evaluating a list allocates nothing, and fixing one up nothing
// but the growth of dst.
func TestNoAllocations(t *testing.T) {
	r := registry(t, Options{DigestEnabled: true})
	list := acls(proto.ACL{Perms: 1, Scheme: "digest", ID: "al:x"}, proto.ACL{Perms: 1, Scheme: "ip", ID: "10.0.0.0/8"},
		proto.ACL{Perms: 1, Scheme: "ip", ID: "2001:db8::/32"}, proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:x"})
	who := ids("ip=127.0.0.1", "digest=bob:x")
	dst := make([]byte, 0, 1024)
	auths := acls(proto.ACL{Perms: 31, Scheme: "auth"})
	f := func(what string, op func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, op); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	f("Allowed", func() {
		if !r.Allowed(list, proto.PermWrite, who) {
			t.Fatal("refused")
		}
	})
	f("FixUp", func() {
		if _, code := r.FixUp(dst, list, who); code != proto.OK {
			t.Fatal(code)
		}
	})
	f("FixUp auth", func() {
		if _, code := r.FixUp(dst, auths, who); code != proto.OK {
			t.Fatal(code)
		}
	})
	f("RedactACL", func() { r.RedactACL(dst, list, nil) })
}

// FuzzACLs feeds any bytes that decode as a list to everything that walks lists.
func FuzzACLs(f *testing.F) {
	f.Add([]byte(proto.AppendACLs(nil, proto.WorldAnyone)), "bob:x")
	f.Add([]byte(acls(proto.ACL{Perms: 5, Scheme: "auth"}, proto.ACL{Perms: 1, Scheme: "ip", ID: "::/1"})), "")
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, "")
	r := registry(f, Options{DigestEnabled: true})
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		d := jute.NewDecoder(b, 0)
		list := proto.SkipACLs(&d)
		who := []proto.Identity{{Scheme: "digest", ID: id}, {Scheme: "ip", ID: id}}
		r.Allowed(b, proto.PermRead, who)
		if list == nil {
			return
		}
		out, code := r.FixUp(nil, list, who)
		if code == proto.OK {
			d := jute.NewDecoder(out, 0)
			if again := proto.SkipACLs(&d); len(again) != len(out) || again.Len() < 1 {
				t.Fatalf("fixed-up list does not decode: %x", out)
			}
		} else if len(out) != 0 {
			t.Fatalf("refused with %d, %d bytes left", code, len(out))
		}
		d = jute.NewDecoder(r.RedactACL(nil, list, nil), 0)
		if proto.SkipACLs(&d); d.Err() != nil {
			t.Fatal(d.Err())
		}
	})
}

func BenchmarkAllowed(b *testing.B) {
	r := registry(b, Options{DigestEnabled: true})
	who := ids("ip=127.0.0.1", "digest=bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")
	for _, c := range []struct {
		name string
		list proto.RawACLs
	}{
		{"open", proto.AppendACLs(nil, proto.WorldAnyone)},
		{"digest", acls(proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="})},
		{"ip", acls(proto.ACL{Perms: 31, Scheme: "ip", ID: "127.0.0.0/8"})},
		{"four", acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, proto.ACL{Perms: 31, Scheme: "digest", ID: "al:E2WgW72KiEUG4R7vIVBkt6SPXyA="},
			proto.ACL{Perms: 31, Scheme: "ip", ID: "10.0.0.0/8"}, proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="})},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !r.Allowed(c.list, proto.PermWrite, who) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkFixUp(b *testing.B) {
	r := registry(b, Options{DigestEnabled: true})
	list := acls(proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"}, proto.ACL{Perms: 31, Scheme: "auth"})
	who := ids("ip=127.0.0.1", "digest=bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, code := r.FixUp(dst, list, who); code != proto.OK {
			b.Fatal(code)
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
