package prep

import (
	"math"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

func TestNextVersion(t *testing.T) {
	for _, c := range []struct {
		current, expected, want int32
		code                    proto.ErrCode
	}{
		{0, -1, 1, 0}, {5, 5, 6, 0}, {5, 4, 0, -103}, {5, -2, 0, -103}, {-5, -5, -4, 0},
		{math.MaxInt32, -1, math.MinInt32, 0}, {-2, -1, 0, 0}, {-2, -2, 0, 0}, {-3, -3, -2, 0},
	} {
		if got, code := nextVersion(c.current, c.expected); got != c.want || code != c.code {
			t.Errorf("%d, expecting %d: got %d, %d", c.current, c.expected, got, code)
		}
	}
}

// TestVersionWrap runs versions over the edges: -1 is never one.
func TestVersionWrap(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{})
	e.create("/a", 0)
	n := e.tree.nodes["/a"]
	n.st.Version, n.st.Aversion = -2, math.MaxInt32
	if v := e.want(0, proto.OpSetData, setBody("/a", "x", -2)); v.Version != 0 {
		t.Errorf("version %d after -2", v.Version)
	}
	if v := e.want(0, proto.OpSetACL, setACLBody("/a", open, math.MaxInt32)); v.Version != math.MinInt32 {
		t.Errorf("aversion %d after the largest", v.Version)
	}
}

// TestSequentialNames checks numbering and its end: a counter that has run over is not taken
// when the create is applied, so the largest number stays the last one. Java 3.8.0 does the
// same, from the same counters.
func TestSequentialNames(t *testing.T) {
	for _, delay := range []bool{false, true} {
		e := newEnv(t, engine.Options{Digest: true}, Options{})
		e.create("/q", 0)
		e.delay = delay
		name := func(want string, op proto.OpCode, body []byte) {
			t.Helper()
			if v := e.want(0, op, body); string(v.Path) != want {
				t.Errorf("got %s, want %s", v.Path, want)
			}
		}
		name("/q/a0000000000", proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/0000000001", proto.OpCreate2, createBody("/q/", 2, open))
		name("/q/plain", proto.OpCreate, createBody("/q/plain", 0, open))
		e.want(0, proto.OpDelete, targetBody("/q/plain", -1))
		e.want(proto.ErrNodeExists, proto.OpCreate, createBody("/q/a0000000000", 0, open))
		name("/q/e0000000003", proto.OpCreate, createBody("/q/e", 3, open))
		name("/q/c0000000004", proto.OpCreateContainer, createBody("/q/c", 2, open))
		name("/0000000001", proto.OpCreate, createBody("/", 2, open))
		e.applyAll()

		e.tree.nodes["/q"].st.Cversion = math.MaxInt32 - 1
		name("/q/a2147483646", proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/a2147483647", proto.OpCreate, createBody("/q/a", 2, open))
		e.want(proto.ErrNodeExists, proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/b2147483647", proto.OpCreate, createBody("/q/b", 2, open))
		e.applyAll()
		// Only an old tree has a counter that has run over; its numbers are negative.
		e.tree.nodes["/q"].st.Cversion = math.MinInt32
		name("/q/a-2147483648", proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/a-2147483647", proto.OpCreate, createBody("/q/a", 2, open))
		e.applyAll()
		e.tree.nodes["/q"].st.Cversion = -2
		name("/q/a-000000002", proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/a-000000001", proto.OpCreate, createBody("/q/a", 2, open))
		name("/q/a0000000000x", proto.OpCreate, createBody("/q/a0000000000x", 0, open))
		e.applyAll()
	}
}

// TestOwners checks what creates store as owner (client protocol, sections 3.5, 5.2 and 5.4).
func TestOwners(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{})
	f := func(path string, op proto.OpCode, flags int32, owner int64) {
		t.Helper()
		v := e.want(0, op, createBody(path, flags, open))
		if v.Type != op {
			t.Errorf("%s: transaction of type %v", path, v.Type)
		}
		if got := e.stat(string(v.Path)).EphemeralOwner; got != owner {
			t.Errorf("%s: owner %#x, want %#x", path, uint64(got), uint64(owner))
		}
	}
	f("/a", proto.OpCreate, 0, 0)
	f("/b", proto.OpCreate2, 1, me)
	f("/c", proto.OpCreate, 4, 0)
	f("/d", proto.OpCreate2, 4, 0)
	for i, path := range []string{"/e", "/f", "/g", "/h", "/i"} {
		f(path, proto.OpCreateContainer, int32(i), proto.OwnerContainer)
	}
	e.create("/e/child", 0)

	// A session whose id would be taken for a TTL.
	e.session = -1 << 56
	e.sessions.owners[e.session] = "here"
	e.want(proto.ErrBadArguments, proto.OpCreate, createBody("/x", 1, open))
	e.create("/x", 0)
}

func TestZxids(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{})
	e.create("/a", 0)
	e.delay = true
	e.create("/b", 0)
	if n := e.p.Outstanding(); n != 1 || e.p.LastZxid() != 2 {
		t.Errorf("%d outstanding, last %d", n, e.p.LastZxid())
	}
	e.applyAll()
	e.p.Reset(7<<32 | 0xFFFFFFFC)
	if v := e.create("/c", 0); v.Zxid != 7<<32|0xFFFFFFFD || e.p.Exhausted() {
		t.Errorf("zxid %#x, exhausted %v", v.Zxid, e.p.Exhausted())
	}
	if v := e.create("/d", 0); v.Zxid != 7<<32|0xFFFFFFFE || !e.p.Exhausted() {
		t.Errorf("zxid %#x, exhausted %v", v.Zxid, e.p.Exhausted())
	}
	e.applyAll()

	// A new epoch forgets what was outstanding.
	e.create("/lost", 0)
	e.delayed = nil
	e.p.Reset(8 << 32)
	e.delay = false
	e.want(proto.ErrNoNode, proto.OpDelete, targetBody("/lost", -1))
	if v := e.create("/e", 0); v.Zxid != 8<<32+2 {
		t.Errorf("zxid %#x", v.Zxid)
	}

	// Another tree, as after a sync with a leader.
	other := newModel(e.tree.opts)
	e.tree = other
	e.p.SetTree(other)
	e.p.Reset(9 << 32)
	e.want(proto.ErrNoNode, proto.OpDelete, targetBody("/e", -1))
}

// TestBufferMax checks the bound on buffers and on what lists grow to.
func TestBufferMax(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{BufferMaxBytes: 1000})
	e.ids = []proto.Identity{{Scheme: "digest", ID: string(dataOf(300)) + ":x"}}
	e.want(proto.ErrMarshalling, proto.OpSetData, setBody("/", string(dataOf(1001)), -1))
	e.want(0, proto.OpSetData, setBody("/", string(dataOf(1000)), -1))
	auths := proto.AppendACLs(nil, []proto.ACL{{Perms: 1, Scheme: "auth"}, {Perms: 2, Scheme: "auth"}, {Perms: 3, Scheme: "auth"}})
	e.want(proto.ErrMarshalling, proto.OpCreate, createBody("/a", 0, auths))
	e.want(proto.ErrMarshalling, proto.OpSetACL, setACLBody("/", auths, -1))
	one := acl(1, "auth:")
	e.want(0, proto.OpCreate, createBody("/a", 0, one))
	v := e.want(proto.ErrMarshalling, proto.OpMulti, multiBody(proto.OpCreate, createBody("/b", 0, one), proto.OpCreate, createBody("/c", 0, one), proto.OpCreate, createBody("/d", 0, one)))
	if v.Type != proto.OpError {
		t.Errorf("got %v", v)
	}
	e.want(proto.ErrNoNode, proto.OpDelete, targetBody("/b", -1))
}
