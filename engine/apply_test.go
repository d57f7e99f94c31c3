package engine

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

func header(typ proto.OpCode, zxid int64) []byte {
	h := proto.TxnHeader{SessionID: 7, Cxid: 1, Zxid: zxid, TimeMs: 1000, Type: typ}
	return h.Append(nil)
}

func solo(typ proto.OpCode, zxid int64, body proto.TxnBody) []byte {
	return body.Append(header(typ, zxid), typ)
}

// TestBadTransactions gives transactions that no server writes: each must be refused whole.
func TestBadTransactions(t *testing.T) {
	create := func(path string) proto.TxnBody {
		b := proto.TxnBody{ACL: benchACL}
		if path != "null" {
			b.Path = []byte(path)
		}
		return b
	}
	multi := func(ops ...mop) []byte {
		t := mtxn{header: proto.TxnHeader{SessionID: 7, Zxid: 9, Type: proto.OpMulti}, ops: ops}
		return t.append(nil, 0)
	}
	good := mop{proto.OpCreate, create("/good")}
	cut := solo(proto.OpSetData, 9, proto.TxnBody{Path: []byte("/a"), Data: []byte("data")})
	cases := map[string][]byte{
		"empty":                  nil,
		"short header":           header(proto.OpCreate, 9)[:31],
		"no body":                header(proto.OpCreate, 9),
		"short body":             cut[:len(cut)-1],
		"unknown type":           header(99, 9),
		"reads have no type":     append(header(proto.OpGetData, 9), 0, 0, 0, 0),
		"check alone":            solo(proto.OpCheck, 9, proto.TxnBody{Path: []byte("/a")}),
		"null path":              solo(proto.OpCreate, 9, create("null")),
		"null path to delete":    solo(proto.OpDelete, 9, proto.TxnBody{}),
		"empty path":             solo(proto.OpCreate, 9, create("")),
		"empty path to delete":   solo(proto.OpDelete, 9, create("")),
		"relative path":          solo(proto.OpCreate, 9, create("a")),
		"relative path to set":   solo(proto.OpSetData, 9, create("a/b")),
		"two slashes":            solo(proto.OpCreate, 9, create("//a")),
		"two slashes to delete":  solo(proto.OpDelete, 9, create("//a")),
		"slash at the end":       solo(proto.OpCreate, 9, create("/a/")),
		"ttl of 0":               solo(proto.OpCreateTTL, 9, create("/a")),
		"ttl too large":          solo(proto.OpCreateTTL, 9, proto.TxnBody{Path: []byte("/a"), ACL: benchACL, TTLms: proto.MaxTTLMs + 1}),
		"bad op in a multi":      multi(good, mop{proto.OpDelete, create("a")}),
		"setACL in a multi":      multi(good, mop{proto.OpSetACL, create("/a")}),
		"null check in a multi":  multi(good, mop{proto.OpCheck, create("null")}),
		"session in a multi":     multi(good, mop{proto.OpCreateSession, create("/a")}),
		"multi cut short":        multi(good, good)[:80],
		"multi of 2^31-1":        jute.AppendInt32(header(proto.OpMulti, 9), 1<<31-1),
		"op without body":        append(jute.AppendInt32(header(proto.OpMulti, 9), 1), 0, 0, 0, 1, 255, 255, 255, 255),
		"length that is too big": append(header(proto.OpDelete, 9), 0x7F, 0xFF, 0xFF, 0xFF),
	}
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	must(t, e, solo(proto.OpCreate, 5, create("/a")), nil)
	before := fullImage(t, e)
	var rec recorder
	for name, txn := range cases {
		if r, err := e.Apply(txn, &rec); !errors.Is(err, ErrTxn) || r != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if len(rec.events) > 0 || e.DirtyCount() > 0 || e.LastZxid() != 5 {
			t.Fatalf("%s: events %v, %d records changed, zxid %#x", name, rec.events, e.DirtyCount(), e.LastZxid())
		}
		e.check(t)
	}
	if !bytes.Equal(before[imageKeyBytes:], fullImageAgain(t, e, before)[imageKeyBytes:]) {
		t.Error("the image changed")
	}
	// A session id whose high byte is that of TTL nodes cannot own ephemerals.
	h := proto.TxnHeader{SessionID: -1 << 50, Zxid: 9, Type: proto.OpCreate}
	b := create("/e")
	b.Ephemeral = true
	if _, err := e.Apply(b.Append(h.Append(nil), h.Type), nil); !errors.Is(err, ErrTxn) {
		t.Errorf("owner with an unknown feature code: %v", err)
	}
}

// fullImageAgain returns the whole image of an engine whose last image is known: there must be
// nothing in it but the meta record.
func fullImageAgain(t *testing.T, e *Engine, image []byte) []byte {
	t.Helper()
	meta := fullImage(t, e)
	return append(meta, image[len(meta):]...)
}

// TestBuiltIn checks the tree of a fresh server as clients see it (client protocol, 5.7).
func TestBuiltIn(t *testing.T) {
	e := newEngine(t, Options{Digest: true})
	if e.Digest() != 0x51c6d660 {
		t.Errorf("digest of the empty tree: %#x", e.Digest())
	}
	f := func(path string, cversion, aversion, children int32, acl proto.ACL) {
		t.Helper()
		ref := e.Lookup([]byte(path))
		var got proto.Stat
		e.Stat(ref, &got)
		if want := (proto.Stat{Cversion: cversion, Aversion: aversion, NumChildren: children}); got != want {
			t.Errorf("%q: got %+v, want %+v", path, got, want)
		}
		if acls := e.ACL(ref).Decode(); len(acls) != 1 || acls[0] != acl {
			t.Errorf("%q: ACL %v", path, acls)
		}
		if data := e.Data(ref); data == nil || len(data) > 0 {
			t.Errorf("%q: data %v, want empty", path, data)
		}
	}
	f("/", -1, 0, 1, proto.WorldAnyone[0])
	f("", -1, 0, 1, proto.WorldAnyone[0])
	f("/zookeeper", -2, 0, 2, proto.WorldAnyone[0])
	f("/zookeeper/quota", 0, 0, 0, proto.WorldAnyone[0])
	f("/zookeeper/config", 0, -1, 0, proto.ACL{Perms: 1, Scheme: "world", ID: "anyone"})
	if n := e.NumDescendants(e.Root()); n != 3 {
		t.Errorf("%d descendants, want 3", n)
	}
	for _, path := range []string{"zookeeper", "/zookeeper/", "//zookeeper", "/zookeeper//quota", "//", "x", "/x", "quota"} {
		if e.Lookup([]byte(path)) != 0 {
			t.Errorf("%q exists", path)
		}
	}
	for _, path := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		r, err := e.Apply(solo(proto.OpDelete, 1, proto.TxnBody{Path: []byte(path)}), nil)
		if err != nil || r.Err != proto.ErrBadArguments || e.Lookup([]byte(path)) == 0 {
			t.Errorf("deleting %q: %v, %v", path, r, err)
		}
	}
}

// TestCloseSession checks the shapes that the body can have (quorum protocol, section 6.3).
func TestCloseSession(t *testing.T) {
	list := func(paths ...string) []byte {
		b := jute.AppendInt32(nil, int32(len(paths)))
		for _, p := range paths {
			b = jute.AppendString(b, p)
		}
		return b
	}
	f := func(name string, body []byte, wantEvents string, wantDigest bool) {
		t.Helper()
		e := newEngine(t, Options{Digest: true})
		must(t, e, solo(proto.OpCreateSession, 1, proto.TxnBody{TimeoutMs: 5000}), nil)
		for i, p := range []string{"/e1", "/e2", "/e3"} {
			must(t, e, solo(proto.OpCreate, int64(2+i), proto.TxnBody{Path: []byte(p), ACL: benchACL, Ephemeral: true, ParentCversion: -1}), nil)
		}
		must(t, e, solo(proto.OpCreate, 5, proto.TxnBody{Path: []byte("/other"), ACL: benchACL, ParentCversion: -1}), nil)
		var rec recorder
		r, err := e.Apply(append(header(proto.OpCloseSession, 6), body...), &rec)
		if err != nil || r.Err != proto.OK {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		got := []string{}
		for _, ev := range rec.events {
			got = append(got, strings.Fields(ev)[1])
		}
		if s := strings.Join(got, " "); s != wantEvents || r.HasDigest != wantDigest {
			t.Errorf("%s: deleted %q, want %q; digest %v, want %v", name, s, wantEvents, r.HasDigest, wantDigest)
		}
		if _, open := e.Session(7); open || e.EphemeralCount() != 0 {
			t.Errorf("%s: open %v, %d ephemerals", name, open, e.EphemeralCount())
		}
		e.check(t)
	}
	digest := proto.AppendTxnDigest(nil, 0x1234_0000_0001)
	f("no list", nil, "/e1 /e2 /e3", false)
	f("no list, digest", digest, "/e1 /e2 /e3", true)
	f("no list, small digest", proto.AppendTxnDigest(nil, 5), "/e1 /e2 /e3", true)
	f("no list, digest with a length of -1", proto.AppendTxnDigest(nil, 0xFFFFFFFF_FFFFFFFF), "/e1 /e2 /e3", true)
	f("null list", jute.AppendInt32(nil, -1), "/e1 /e2 /e3", false)
	f("empty list", list(), "/e1 /e2 /e3", false)
	f("list", list("/e3", "/e1", "/e2"), "/e3 /e1 /e2", false)
	f("list, digest", append(list("/e3", "/e1", "/e2"), digest...), "/e3 /e1 /e2", true)
	f("short list", list("/e2", "/gone", "/x/y"), "/e2 /e1 /e3", false)
	f("another's path", list("/other"), "/other /e1 /e2 /e3", false)
	f("list cut short", list("/e1", "/e2")[:14], "/e1 /e2 /e3", false)
}

// TestReplayOverFuzzySnapshot follows the cases of storage formats, section 4, one by one.
func TestReplayOverFuzzySnapshot(t *testing.T) {
	e := newEngine(t, Options{Digest: true})
	node := func(path string) (n Node) {
		t.Helper()
		ref := e.Lookup([]byte(path))
		if ref == 0 {
			t.Fatalf("%s is missing", path)
		}
		e.Node(ref, &n)
		return n
	}
	apply := func(typ proto.OpCode, zxid int64, body proto.TxnBody, want proto.ErrCode) {
		t.Helper()
		r, err := e.Apply(solo(typ, zxid, body), nil)
		if err != nil || r.Err != want {
			t.Fatalf("%v at %#x: %+v, %v, want %v", typ, zxid, r, err, want)
		}
		e.check(t)
	}
	path := []byte("/p/c")
	other := proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: 1, Scheme: "ip", ID: "::1"}}))
	apply(proto.OpCreate, 1, proto.TxnBody{Path: []byte("/p"), ACL: benchACL, ParentCversion: 1}, proto.OK)
	apply(proto.OpCreate, 9, proto.TxnBody{Path: path, Data: []byte("new"), ACL: benchACL, ParentCversion: 5}, proto.OK)

	// A create that the snapshot has already: data and stat stay, the list is the transaction's.
	before := node("/p/c")
	apply(proto.OpCreate, 3, proto.TxnBody{Path: path, Data: []byte("old"), ACL: other, ParentCversion: 2}, proto.ErrNodeExists)
	after := node("/p/c")
	if before.StatPersisted != after.StatPersisted || string(e.Data(e.Lookup(path))) != "new" || !bytes.Equal(e.ACL(e.Lookup(path)), other) {
		t.Errorf("existing node: %+v, ACL %v", after, e.ACL(e.Lookup(path)).Decode())
	}
	if p := node("/p"); p.Cversion != 5 || p.Pzxid != 9 {
		t.Errorf("an older create turned the parent back to %+v", p)
	}
	// A later create moves the parent on, for type 1 only.
	apply(proto.OpCreate2, 10, proto.TxnBody{Path: path, ACL: other, ParentCversion: 7}, proto.ErrNodeExists)
	if p := node("/p"); p.Cversion != 5 {
		t.Errorf("create2 of an existing node moved the parent to %+v", p)
	}
	apply(proto.OpCreate, 10, proto.TxnBody{Path: path, ACL: other, ParentCversion: 7}, proto.ErrNodeExists)
	if p := node("/p"); p.Cversion != 7 || p.Pzxid != 10 {
		t.Errorf("create of an existing node left the parent at %+v", p)
	}
	// A delete of a node that is gone still moves the parent's pzxid, but never back.
	apply(proto.OpDelete, 11, proto.TxnBody{Path: []byte("/p/gone")}, proto.ErrNoNode)
	apply(proto.OpDelete, 4, proto.TxnBody{Path: []byte("/p/gone")}, proto.ErrNoNode)
	if p := node("/p"); p.Cversion != 7 || p.Pzxid != 11 {
		t.Errorf("deletes of missing nodes left the parent at %+v", p)
	}
	apply(proto.OpDelete, 12, proto.TxnBody{Path: []byte("/q/gone")}, proto.ErrNoNode)
	apply(proto.OpSetData, 12, proto.TxnBody{Path: []byte("/q")}, proto.ErrNoNode)
	apply(proto.OpSetACL, 12, proto.TxnBody{Path: []byte("/q"), ACL: other}, proto.ErrNoNode)
	apply(proto.OpCreate, 12, proto.TxnBody{Path: []byte("/q/r"), ACL: other}, proto.ErrNoNode)
	apply(proto.OpCreate, 12, proto.TxnBody{Path: []byte("/p//r"), ACL: other}, proto.ErrNoNode)
	apply(proto.OpDelete, 12, proto.TxnBody{Path: []byte("/p//c")}, proto.ErrNoNode)
	// A node that was deleted and created again, with children, in the fuzzy range.
	apply(proto.OpDelete, 13, proto.TxnBody{Path: []byte("/p")}, proto.OK)
	if e.Lookup(path) != 0 || e.NodeCount() != 4 {
		t.Errorf("%d nodes are left", e.NodeCount())
	}
}
