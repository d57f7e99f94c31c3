package prep

import (
	"slices"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// TestCloseSession checks the list of ephemerals with every kind of outstanding change.
func TestCloseSession(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{CloseSessionTxn: true})
	for _, path := range []string{"/kept", "/deleted", "/passed-on", "/renewed", "/changed"} {
		e.create(path, 1)
	}
	e.session = other
	e.create("/others", 1)
	e.session = me
	e.delay = true
	e.create("/new", 1)
	e.create("/new-deleted", 1)
	e.want(0, proto.OpDelete, targetBody("/new-deleted", -1))
	e.want(0, proto.OpDelete, targetBody("/deleted", -1))
	e.want(0, proto.OpDelete, targetBody("/passed-on", -1))
	e.want(0, proto.OpDelete, targetBody("/renewed", -1))
	e.create("/renewed", 1)
	e.want(0, proto.OpSetData, setBody("/changed", "x", -1))
	e.create("/persistent", 0)
	e.session = other
	e.create("/passed-on", 1)
	e.create("/others2", 1)
	e.session = me
	v := e.want(0, proto.OpCloseSession, nil)
	if want := []string{"/kept", "/changed", "/new", "/renewed"}; !slices.Equal(v.closing, want) {
		t.Errorf("got %q, want %q", v.closing, want)
	}
	// From here on the session is refused, and its nodes are gone for others.
	e.want(proto.ErrSessionExpired, proto.OpCreate, createBody("/late", 1, open))
	e.session = other
	e.want(proto.ErrNoNode, proto.OpDelete, targetBody("/kept", -1))
	e.create("/kept", 1)
	e.session = me
	if v := e.want(0, proto.OpCloseSession, nil); len(v.closing) != 0 {
		t.Errorf("closed twice: %q", v.closing)
	}
	e.session = other
	v = e.want(0, proto.OpCloseSession, nil)
	if want := []string{"/others", "/passed-on", "/others2", "/kept"}; !slices.Equal(v.closing, want) {
		t.Errorf("got %q, want %q", v.closing, want)
	}
	e.applyAll()
}

// TestCloseSessionParent checks that children which a closeSession will delete no longer keep
// their parent from being deleted, however far applying has come.
func TestCloseSessionParent(t *testing.T) {
	for _, delay := range []bool{false, true} {
		e := newEnv(t, engine.Options{Digest: true}, Options{CloseSessionTxn: true})
		e.create("/p", 0)
		e.create("/p/e", 1)
		e.delay = delay
		e.want(0, proto.OpCloseSession, nil)
		e.session = other
		e.want(0, proto.OpDelete, targetBody("/p", -1))
		e.applyAll()
	}
}

// TestCloseSessionHalfApplied closes a session when some of the creates of its ephemerals have
// been applied and still have later changes outstanding.
func TestCloseSessionHalfApplied(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{CloseSessionTxn: true})
	e.delay = true
	e.create("/a", 1)
	e.create("/b", 1)
	e.want(0, proto.OpSetData, setBody("/a", "x", -1))
	for range 2 {
		e.tree.apply(t, e.delayed[0])
		e.delayed = e.delayed[1:]
		e.p.Applied(e.tree.lastZxid)
	}
	e.create("/c", 1)
	if v := e.want(0, proto.OpCloseSession, nil); !slices.Equal(v.closing, []string{"/a", "/b", "/c"}) {
		t.Errorf("got %q", v.closing)
	}
	e.applyAll()
}

// TestCloseSessionWithoutList checks the switch that leaves the list out.
func TestCloseSessionWithoutList(t *testing.T) {
	for _, digest := range []bool{false, true} {
		e := newEnv(t, engine.Options{Digest: digest}, Options{})
		e.create("/e", 1)
		req := &Request{Session: me, Xid: 9, Op: proto.OpCloseSession}
		out, zxid, code := e.p.Prepare(nil, req, 5000)
		txn, err := proto.ProposalTxn(out)
		h := proto.TxnHeader{SessionID: me, Cxid: 9, Zxid: zxid, TimeMs: 5000, Type: proto.OpCloseSession}
		want := h.Append(nil)
		if digest {
			e.tree.remove("/e", zxid)
			want = proto.AppendTxnDigest(want, e.tree.Digest())
		}
		if err != nil || code != 0 || string(txn) != string(want) {
			t.Errorf("digest %v: got %x, %d, %v; want %x", digest, txn, code, err, want)
		}
	}
}

func TestCreateSession(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{CloseSessionTxn: true})
	e.delay = true
	e.session = 0x777
	e.want(proto.ErrSessionExpired, proto.OpCreate, createBody("/x", 1, open))
	if v := e.want(0, proto.OpCreateSession, nil); v.TimeoutMs != 5000 || v.digest != e.tree.Digest() {
		t.Errorf("got %+v", v)
	}
	// The session may be used before its createSession is applied.
	e.create("/x", 1)
	e.session = gone
	e.want(proto.ErrSessionExpired, proto.OpCreateSession, nil)
	e.applyAll()
}

func TestDeleteContainer(t *testing.T) {
	const op = proto.OpDeleteContainer
	body := func(path string) []byte { return jute.AppendBuffer(nil, pathBytes(path)) }
	e := newEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{})
	e.want(0, proto.OpCreateContainer, createBody("/c", 4, open))
	e.create("/c/child", 0)
	e.want(0, proto.OpCreateTTL, createTTLBody("/ttl", 5, 1000))
	e.create("/plain", 0)
	e.create("/eph", 1)
	e.session = 0
	runRows(t, e, []row{
		{"decode", 0, op, []byte{0, 0, 1}, -5},
		{"path null", 0, op, body(null), -5},
		{"path", 0, op, body("c"), -8},
		{"special", 0, op, body("/zookeeper"), -8},
		{"node", 0, op, body("/missing"), -101},
		{"children", 0, op, body("/c"), -111},
		{"session's", 0, op, body("/eph"), -103},
		{"persistent", 0, op, body("/plain"), -103},
		{"not expired", 0, op, body("/ttl"), -103},
	})
	// Neither session nor permission is looked at; outstanding changes count.
	e.delay = true
	e.session = me
	e.want(0, proto.OpSetACL, setACLBody("/", acl(17, "world:anyone"), -1))
	e.want(0, proto.OpDelete, targetBody("/c/child", -1))
	e.session = 0
	if v := e.want(0, op, body("/c")); v.Type != op || string(v.Path) != "/c" {
		t.Errorf("got %v", v)
	}
	e.want(proto.ErrNoNode, op, body("/c"))
	// A TTL node goes when more than its TTL has passed since its last change.
	e.now = e.stat("/ttl").Mtime + 1000 - 1
	e.want(proto.ErrBadVersion, op, body("/ttl"))
	e.want(0, op, body("/ttl"))
	e.applyAll()
}

func TestQuota(t *testing.T) {
	for _, enforce := range []bool{false, true} {
		e := newEnv(t, engine.Options{Digest: true}, Options{EnforceQuota: enforce})
		refused := proto.OK
		if enforce {
			refused = proto.ErrQuotaExceeded
		}
		e.create("/q", 0)
		e.create("/q/a", 0)
		e.create("/zookeeper/quota/q", 0)
		e.create("/zookeeper/quota/q/zookeeper_limits", 0)
		set := func(name, text string) {
			e.want(0, proto.OpSetData, setBody("/zookeeper/quota/q/zookeeper_"+name, text, -1))
		}
		set("limits", "count=1,bytes=1=;byteHardLimit=100;countHardLimit=3")
		e.create("/q/nostats", 0)
		e.create("/zookeeper/quota/q/zookeeper_stats", 0)
		set("stats", "count=3,bytes=96")
		// Data are 4 bytes long.
		e.want(refused, proto.OpCreate, createBody("/q/b", 0, open))
		e.want(refused, proto.OpCreate, createBody("/q/a/b", 0, open))
		e.want(proto.ErrNodeExists, proto.OpCreate, createBody("/q/a", 0, open))
		e.create("/outside", 0)
		set("stats", "count=2,bytes=96")
		e.create("/q/c", 0)
		set("stats", "count=2,bytes=97")
		e.want(refused, proto.OpCreate, createBody("/q/d", 0, open))
		if enforce { // it comes before the version
			e.want(refused, proto.OpSetData, setBody("/q/c", "12345678", 9))
		}
		e.want(proto.ErrBadVersion, proto.OpSetData, setBody("/q/c", "1234567", 9))
		e.want(proto.ErrBadVersion, proto.OpSetData, setBody("/q/c", "same", 9))
		set("stats", "count=2,bytes=200")
		e.want(refused, proto.OpSetData, setBody("/q/c", "1", -1))
		e.want(0, proto.OpSetData, setBody("/q/a", "same", -1))
		// In a multi each operation is compared with the committed usage.
		set("stats", "count=2,bytes=0")
		e.want(0, proto.OpMulti, multiBody(proto.OpCreate, createBody("/q/e", 0, open), proto.OpCreate, createBody("/q/f", 0, open)))
		// No hard limit, no refusal.
		set("limits", "count=1,bytes=1")
		e.create("/q/g", 0)
	}
}
