package prep

import (
	"fmt"
	"slices"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// wantSubs checks types, errors and paths of the operations in a multi's transaction, each
// written "type path error".
func wantSubs(t *testing.T, v txnView, want ...string) {
	t.Helper()
	if v.Type != proto.OpMulti {
		t.Fatalf("transaction of type %v, want multi", v.Type)
	}
	var got []string
	for _, s := range v.subs {
		got = append(got, fmt.Sprintf("%v %s %d", s.Type, s.Path, s.Err))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestMultiStories runs section 6.4 with everything outstanding and with everything applied.
func TestMultiStories(t *testing.T) {
	for _, delay := range []bool{false, true} {
		e := newEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{CloseSessionTxn: true})
		e.delay = delay

		// Parent then child, create then delete, version chains, consecutive numbers.
		v := e.want(0, proto.OpMulti, multiBody(
			proto.OpCreate, createBody("/m", 0, open),
			proto.OpCreate2, createBody("/m/s-", 2, open),
			proto.OpCreate, createBody("/m/s-", 2, open),
			proto.OpDelete, targetBody("/m/s-0000000000", 0),
			proto.OpSetData, setBody("/m", "1", 0),
			proto.OpSetData, setBody("/m", "2", 1),
			proto.OpCheck, targetBody("/m", 2),
			proto.OpCreate, createBody("/m/s-0000000000", 0, open),
			proto.OpCreateTTL, createTTLBody("/m/ttl", 5, 1000),
			proto.OpCreateContainer, createBody("/m/c", 4, open),
			proto.OpCreate, createBody("/m/e", 1, open),
		))
		wantSubs(t, v, "create /m 0", "create2 /m/s-0000000000 0", "create /m/s-0000000001 0", "delete /m/s-0000000000 0", "setData /m 0", "setData /m 0",
			"check /m 0", "create /m/s-0000000000 0", "createTtl /m/ttl 0", "createContainer /m/c 0", "create /m/e 0")
		for i, want := range []int32{4: 1, 5: 2, 6: 3} {
			if want != 0 && v.subs[i].Version != want {
				t.Errorf("operation %d has version %d, want %d", i, v.subs[i].Version, want)
			}
		}
		for i, want := range []int32{0: 1, 1: 1, 2: 2, 7: 3, 8: 4, 9: 5, 10: 6} {
			if want != 0 && v.subs[i].ParentCversion != want {
				t.Errorf("operation %d has parent cversion %d, want %d", i, v.subs[i].ParentCversion, want)
			}
		}
		if !v.subs[10].Ephemeral || v.subs[9].Ephemeral {
			t.Error("ephemeral flags")
		}

		// A failure takes everything back, the parent's counter included, and still has a zxid.
		v = e.want(proto.ErrBadVersion, proto.OpMulti, multiBody(
			proto.OpCreate, createBody("/m/t-", 3, open),
			proto.OpDelete, targetBody("/m/e", -1),
			proto.OpCreate, createBody("/m/e", 0, open),
			proto.OpSetData, setBody("/m", "x", -1),
			proto.OpDelete, targetBody("/m/c", 7),
			proto.OpSetData, setBody("/m", "y", -1),
			proto.OpCheck, targetBody("/nowhere", 1),
		))
		wantSubs(t, v, "create /m/t-0000000006 0", "delete /m/e 0", "create /m/e 0", "setData /m 0", "error  -103", "error  -2", "error  -2")
		v = e.create("/m/u-", 2)
		if string(v.Path) != "/m/u-0000000006" || v.ParentCversion != 7 {
			t.Errorf("after a rollback: %s, parent cversion %d", v.Path, v.ParentCversion)
		}
		if v := e.want(0, proto.OpSetData, setBody("/m", "3", 2)); v.Version != 3 {
			t.Errorf("after a rollback: version %d", v.Version)
		}
		// The ephemeral is there again, with its owner.
		e.want(proto.ErrNoChildrenForEphem, proto.OpCreate, createBody("/m/e/x", 0, open))

		// The first operation fails.
		v = e.want(proto.ErrNoNode, proto.OpMulti, multiBody(proto.OpDelete, targetBody("/nowhere", -1), proto.OpCreate, createBody("/n", 0, open)))
		wantSubs(t, v, "error  -101", "error  -2")
		e.want(proto.ErrNoNode, proto.OpDelete, targetBody("/n", -1))

		// An empty one succeeds.
		wantSubs(t, e.want(0, proto.OpMulti, multiBody()))

		// A session that is not good fails the operation; that of an empty one is not looked at.
		e.session = gone
		wantSubs(t, e.want(proto.ErrSessionExpired, proto.OpMulti, multiBody(proto.OpDelete, targetBody("/m", -1))), "error  -112")
		wantSubs(t, e.want(0, proto.OpMulti, multiBody()))
		e.session = moved
		wantSubs(t, e.want(proto.ErrSessionMoved, proto.OpMulti, multiBody(proto.OpDelete, targetBody("/m", -1))), "error  -118")
		e.session = local
		wantSubs(t, e.want(proto.ErrEphemeralOnLocal, proto.OpMulti, multiBody(proto.OpCreate, createBody("/l", 0, open), proto.OpCreate, createBody("/le", 1, open))),
			"create /l 0", "error  -120")
		e.session = me

		v = e.want(0, proto.OpCloseSession, nil)
		if !slices.Equal(v.closing, []string{"/m/e"}) {
			t.Errorf("closing %q", v.closing)
		}
		e.applyAll()
	}
}

// TestMultiMalformed lists what fails a multi as a whole, without a list of results.
func TestMultiMalformed(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{})
	e.create("/a", 0)
	good := multiBody(proto.OpSetData, setBody("/a", "x", -1))
	nullID := jute.AppendBuffer(jute.AppendString(jute.AppendInt32(jute.AppendInt32(nil, 1), 31), "digest"), nil)
	f := func(what string, body []byte) {
		t.Helper()
		digest := e.tree.Digest()
		if v := e.want(proto.ErrMarshalling, proto.OpMulti, body); v.Type != proto.OpError {
			t.Errorf("%s: transaction %v", what, v)
		}
		if e.tree.Digest() != digest || e.p.digest != digest {
			t.Errorf("%s: the tree has changed", what)
		}
	}
	f("no body", nil)
	f("no end", good[:len(good)-proto.MultiHeaderBytes])
	f("cut", good[:12])
	f("a read", multiBody(proto.OpGetData, (&proto.PathWatch{Path: []byte("/a")}).Append(nil)))
	f("setACL", multiBody(proto.OpSetData, setBody("/a", "x", -1), proto.OpSetACL, setACLBody("/a", open, -1)))
	f("error", multiBody(proto.OpError, []byte{0, 0, 0, 0}))
	f("deleteContainer", multiBody(proto.OpDeleteContainer, []byte{0, 0, 0, 2, '/', 'a'}))
	for _, flags := range []int32{-1, 5, 6, 7} {
		for _, op := range []proto.OpCode{proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer} {
			f("flags", multiBody(proto.OpSetData, setBody("/a", "x", -1), op, createBody("/b", flags, open)))
		}
	}
	f("null path, create", multiBody(proto.OpCreate, createBody(null, 0, open)))
	f("null path, delete", multiBody(proto.OpDelete, targetBody(null, -1)))
	f("null path, check", multiBody(proto.OpCheck, targetBody(null, -1)))
	f("null path, set", multiBody(proto.OpSetData, setBody(null, "", -1)))
	// Found out only when operations before it have taken effect.
	f("null id", multiBody(proto.OpSetData, setBody("/a", "x", -1), proto.OpCreate, createBody("/b", 0, nullID)))
	if e.stat("/a").Version != 0 {
		t.Error("/a has changed")
	}

	// The error of a header is ignored, and so is what follows the end.
	body := append(proto.MultiHeader{Type: proto.OpSetData, Err: 5}.Append(nil), setBody("/a", "x", -1)...)
	body = append(proto.MultiHeader{Type: 77, Done: true, Err: 3}.Append(body), "rubbish"...)
	wantSubs(t, e.want(0, proto.OpMulti, body), "setData /a 0")
}

// TestMultiCreateTypes checks that flags decide the type of a create inside a multi.
func TestMultiCreateTypes(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{})
	f := func(want string, code proto.ErrCode, op proto.OpCode, body []byte) txnView {
		t.Helper()
		v := e.want(code, proto.OpMulti, multiBody(op, body))
		wantSubs(t, v, want)
		return v
	}
	f("createContainer /a 0", 0, proto.OpCreate, createBody("/a", 4, open))
	f("createContainer /b 0", 0, proto.OpCreate2, createBody("/b", 4, open))
	f("createContainer /c 0", 0, proto.OpCreateContainer, createBody("/c", 0, open))
	f("create /d 0", 0, proto.OpCreateTTL, createTTLBody("/d", 0, 1000))
	f("createContainer /e 0", 0, proto.OpCreateTTL, createTTLBody("/e", 4, 0))
	f("createTtl /f0000000005 0", 0, proto.OpCreateTTL, createTTLBody("/f", 6, 1000))
	f("error  -8", proto.ErrBadArguments, proto.OpCreateTTL, createTTLBody("/g", 7, 1000))
	f("error  -8", proto.ErrBadArguments, proto.OpCreateTTL, createTTLBody("/g", 5, 0))
	for path, owner := range map[string]int64{"/a": proto.OwnerContainer, "/c": proto.OwnerContainer, "/d": 0, "/e": proto.OwnerContainer} {
		if got := e.stat(path).EphemeralOwner; got != owner {
			t.Errorf("%s: owner %x", path, uint64(got))
		}
	}
}

// TestCreate2InMulti checks the option for old members of an ensemble.
func TestCreate2InMulti(t *testing.T) {
	body := multiBody(proto.OpCreate2, createBody("/a", 0, open), proto.OpCreate, createBody("/b", 0, open))
	e := newEnv(t, engine.Options{Digest: true}, Options{})
	wantSubs(t, e.want(0, proto.OpMulti, body), "create2 /a 0", "create /b 0")
	e = newEnv(t, engine.Options{Digest: true}, Options{LogCreate2InMultiAsCreate: true})
	wantSubs(t, e.want(0, proto.OpMulti, body), "create /a 0", "create /b 0")
	if v := e.want(0, proto.OpCreate2, createBody("/c", 0, open)); v.Type != proto.OpCreate2 {
		t.Errorf("create2 outside a multi became %v", v.Type)
	}
	var ops []proto.OpCode
	m := NewMultiReader(body, 0)
	for m.Next() {
		ops = append(ops, m.Op)
	}
	if m.Err() != proto.OK || !slices.Equal(ops, []proto.OpCode{proto.OpCreate2, proto.OpCreate}) {
		t.Errorf("the client asked for %v, %d", ops, m.Err())
	}
}

// TestMultiRollbackInDepth fails a multi after it has touched records in every state: only in
// the tree, outstanding, deleted and outstanding, with a list of their own, ephemeral.
func TestMultiRollbackInDepth(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{CloseSessionTxn: true})
	e.create("/tree", 0)
	e.create("/tree/sub", 0)
	e.create("/gone", 0)
	e.create("/eph", 1)
	e.delay = true
	e.create("/out", 0)
	e.want(0, proto.OpSetACL, setACLBody("/out", acl(15, "world:anyone"), -1))
	e.want(0, proto.OpDelete, targetBody("/gone", -1))
	e.create("/eph2", 1)
	digest, count := e.p.digest, e.p.overlay.count
	for range 3 {
		e.want(proto.ErrNodeExists, proto.OpMulti, multiBody(
			proto.OpSetData, setBody("/tree", "x", -1),
			proto.OpDelete, targetBody("/tree/sub", -1),
			proto.OpDelete, targetBody("/tree", -1),
			proto.OpCreate, createBody("/tree", 1, open),
			proto.OpDelete, targetBody("/out", -1),
			proto.OpCreate, createBody("/out", 0, acl(1, "world:anyone")),
			proto.OpCreate, createBody("/gone", 1, open),
			proto.OpDelete, targetBody("/eph", -1),
			proto.OpDelete, targetBody("/eph2", -1),
			proto.OpCreate, createBody("/eph2", 0, open),
			proto.OpCreate, createBody("/zookeeper", 0, open),
		))
		if e.p.digest != digest || e.p.overlay.count != count {
			t.Errorf("digest %x, %d records; want %x, %d", e.p.digest, e.p.overlay.count, digest, count)
		}
	}
	e.want(proto.ErrNoAuth, proto.OpSetACL, setACLBody("/out", open, -1)) // the list 15 is back
	e.want(0, proto.OpSetData, setBody("/out", "x", 0))
	e.want(proto.ErrNoNode, proto.OpSetData, setBody("/gone", "x", -1))
	e.want(0, proto.OpSetData, setBody("/tree/sub", "x", 0))
	if v := e.want(0, proto.OpCloseSession, nil); !slices.Equal(v.closing, []string{"/eph", "/eph2"}) {
		t.Errorf("closing %q", v.closing)
	}
	e.applyAll()
}
