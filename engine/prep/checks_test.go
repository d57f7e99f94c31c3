package prep

import (
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A ladder row fails at one step of section 4.2 and, as far as requests allow it, at the
// steps behind it, too: so it pins the order.
type row struct {
	step    string
	session proto.SessionID
	op      proto.OpCode
	body    []byte
	want    proto.ErrCode
}

// checkEnv has nodes for every kind of refusal:
//
//	/open       all may do all      /open/full/child
//	/closed     world may read      /closed/node
//	/e          ephemeral of me
//	/v3         version 3, aversion 2
func checkEnv(t *testing.T, tree engine.Options, o Options) *env {
	e := newEnv(t, tree, o)
	e.create("/open", 0)
	e.create("/open/full", 0)
	e.create("/open/full/child", 0)
	e.create("/closed", 0)
	e.create("/closed/node", 0)
	e.want(proto.OK, proto.OpSetACL, setACLBody("/closed/node", acl(proto.PermRead, "world:anyone"), -1))
	e.want(proto.OK, proto.OpSetACL, setACLBody("/closed", acl(proto.PermRead, "world:anyone"), -1))
	e.create("/e", 1)
	e.create("/v3", 0)
	for range 3 {
		e.want(proto.OK, proto.OpSetData, setBody("/v3", "x", -1))
	}
	for range 2 {
		e.want(proto.OK, proto.OpSetACL, setACLBody("/v3", open, -1))
	}
	return e
}

func runRows(t *testing.T, e *env, rows []row) {
	t.Helper()
	for _, r := range rows {
		e.session = r.session
		before := e.tree.Digest()
		v, code := e.do(r.op, r.body)
		if code != r.want {
			t.Errorf("%s: got %d (%s), want %d", r.step, code, code.Name(), r.want)
		}
		if v.Type != proto.OpError {
			t.Errorf("%s: transaction of type %v", r.step, v.Type)
		}
		if e.tree.Digest() != before {
			t.Errorf("%s: the tree has changed", r.step)
		}
	}
}

var (
	badACL  = acl(31, "nobody:x")
	badBody = []byte{0, 0, 0, 9, '/'}
)

func TestCreateOrderOfChecks(t *testing.T) {
	e := checkEnv(t, engine.Options{Digest: true}, Options{})
	for _, op := range []proto.OpCode{proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer} {
		runRows(t, e, []row{
			{"decode", gone, op, badBody, -5},
			{"decode flags", gone, op, createBody("/open/x", 0, open)[:40], -5},
			{"flags high", gone, op, createBody("nopath", 7, badACL), -8},
			{"flags low", gone, op, createBody("nopath", -1, badACL), -8},
			{"ttl types off", gone, op, createBody("nopath", 5, badACL), -6},
			{"session closing", gone, op, createBody("nopath", 0, badACL), -112},
			{"session unknown", 0x999, op, createBody("nopath", 2, badACL), -112},
			{"session moved", moved, op, createBody("nopath", 0, badACL), -118},
			{"session moved, ephemeral", moved, op, createBody("nopath", 1, badACL), -118},
			{"session local, ephemeral", local, op, createBody("nopath", 3, badACL), -120},
			{"session closing, ephemeral", gone, op, createBody("nopath", 1, badACL), -112},
			{"path null", me, op, createBody(null, 0, badACL), -5},
			{"path without slash", me, op, createBody("nopath", 0, badACL), -8},
			{"path empty", me, op, createBody("", 0, badACL), -8},
			{"path with NUL", me, op, createBody("/missing/a\x00b", 0, badACL), -8},
			{"acl scheme", me, op, createBody("/missing/a/./", 0, badACL), -114},
			{"acl empty", me, op, createBody("/missing/a", 0, proto.AppendACLs(nil, []proto.ACL{})), -114},
			{"acl null", me, op, createBody("/missing/a", 0, jute.AppendInt32(nil, -1)), -114},
			{"acl auth", me, op, createBody("/missing/a", 0, acl(31, "auth:")), -114},
			{"parent", me, op, createBody("/missing/./a", 0, open), -101},
			{"parent not absolute", me, op, createBody("a/b", 0, open), -101},
			{"parent with dots", me, op, createBody("/x/./y", 0, open), -101},
			{"permission on parent", me, op, createBody("/closed/.", 0, open), -102},
			{"permission on parent, exists", me, op, createBody("/closed/node", 0, open), -102},
			{"path ends with slash", me, op, createBody("/open/full/", 0, open), -8},
			{"path dot", me, op, createBody("/e/.", 0, open), -8},
			{"path control", me, op, createBody("/open/\x01", 0, open), -8},
			{"exists", me, op, createBody("/open/full", 0, open), -110},
			{"exists root", me, op, createBody("/", 0, open), -110},
			{"parent ephemeral", me, op, createBody("/e/x", 0, open), -108},
			{"parent ephemeral, sequential", me, op, createBody("/e/x", 2, open), -108},
		})
	}
}

func TestCreateTTLFlagsOnOtherCreates(t *testing.T) {
	e := checkEnv(t, engine.Options{ExtendedTypes: true}, Options{})
	for _, op := range []proto.OpCode{proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer} {
		runRows(t, e, []row{
			{"ttl flags without ttl", gone, op, createBody("nopath", 5, badACL), -8},
			{"sequential ttl flags without ttl", gone, op, createBody("nopath", 6, badACL), -8},
		})
	}
}

func TestCreateTTLOrderOfChecks(t *testing.T) {
	const op = proto.OpCreateTTL
	off := checkEnv(t, engine.Options{Digest: true}, Options{})
	runRows(t, off, []row{
		{"flags", gone, op, createTTLBody("nopath", 7, 1), -8},
		{"types off", gone, op, createTTLBody("nopath", 5, 0), -6},
		{"types off, sequential", gone, op, createTTLBody("nopath", 6, 0), -6},
	})
	e := checkEnv(t, engine.Options{Digest: true, ExtendedTypes: true}, Options{})
	var rows []row
	for flags := int32(0); flags < 5; flags++ {
		for _, ttl := range []int64{-2, -1, 0, 1, proto.MaxTTLMs} {
			rows = append(rows, row{"flags without ttl mode", gone, op, createTTLBody("nopath", flags, ttl), -8})
		}
	}
	runRows(t, e, append(rows, []row{
		{"decode", gone, op, createBody("/a", 5, open), -5},
		{"ttl 0", gone, op, createTTLBody("nopath", 5, 0), -8},
		{"ttl -1", gone, op, createTTLBody("nopath", 5, -1), -8},
		{"ttl too large", gone, op, createTTLBody("nopath", 6, proto.MaxTTLMs+1), -8},
		{"session", gone, op, createTTLBody("nopath", 5, 1), -112},
		{"path", me, op, createTTLBody("nopath", 5, 1), -8},
		{"parent", me, op, createTTLBody("/missing/x", 5, 1), -101},
		{"permission", me, op, createTTLBody("/closed/.", 5, 1), -102},
		{"exists", me, op, createTTLBody("/open", 5, 1), -110},
		{"parent ephemeral", me, op, createTTLBody("/e/x", 5, 1), -108},
	}...))
	e.session = me
	e.want(proto.OK, op, createTTLBody("/ttl1", 5, 1))
	e.want(proto.OK, op, createTTLBody("/ttl2-", 6, proto.MaxTTLMs))
	if got, want := e.stat("/ttl1").EphemeralOwner, int64(-1<<56+1); got != want {
		t.Errorf("owner %x", got)
	}
	if got := e.stat("/ttl2-0000000005").EphemeralOwner; uint64(got) != 0xFF0000FFFFFFFFFF {
		t.Errorf("owner %x", uint64(got))
	}
	e.create("/ttl1/child", 0)
}

func TestDeleteOrderOfChecks(t *testing.T) {
	const op = proto.OpDelete
	e := checkEnv(t, engine.Options{Digest: true}, Options{})
	runRows(t, e, []row{
		{"decode", gone, op, badBody, -5},
		{"session", gone, op, targetBody("nopath", 9), -112},
		{"session moved", moved, op, targetBody("nopath", 9), -118},
		{"path null", me, op, targetBody(null, 9), -5},
		{"path without slash", me, op, targetBody("nopath", 9), -8},
		{"path empty", me, op, targetBody("", 9), -8},
		{"path with NUL", me, op, targetBody("/missing/\x00", 9), -8},
		{"special", me, op, targetBody("/", 9), -8},
		{"special zookeeper", me, op, targetBody("/zookeeper", 9), -8},
		{"special quota", me, op, targetBody("/zookeeper/quota", 9), -8},
		{"special config", me, op, targetBody("/zookeeper/config", 9), -8},
		{"parent", me, op, targetBody("/missing/x", 9), -101},
		{"permission", me, op, targetBody("/closed/missing", 9), -102},
		{"permission, exists", me, op, targetBody("/closed/node", 9), -102},
		{"node", me, op, targetBody("/open/missing", 9), -101},
		{"node by slash", me, op, targetBody("/open/", 9), -101},
		{"node by double slash", me, op, targetBody("//open", 9), -101},
		{"version", me, op, targetBody("/open/full", 9), -103},
		{"version minus two", me, op, targetBody("/open/full", -2), -103},
		{"children", me, op, targetBody("/open/full", 0), -111},
		{"children, any version", me, op, targetBody("/open/full", -1), -111},
	})
	e.session = other
	e.want(proto.OK, op, targetBody("/v3", 3))
	// Another session's ephemeral may be deleted by whoever may delete below the parent.
	e.want(proto.OK, op, targetBody("/e", -1))
}

func TestSetDataOrderOfChecks(t *testing.T) {
	const op = proto.OpSetData
	e := checkEnv(t, engine.Options{Digest: true}, Options{})
	runRows(t, e, []row{
		{"decode", gone, op, badBody, -5},
		{"session", gone, op, setBody("nopath", "x", 9), -112},
		{"path null", me, op, setBody(null, "x", 9), -8},
		{"path", me, op, setBody("nopath", "x", 9), -8},
		{"path empty", me, op, setBody("", "x", 9), -8},
		{"path slash", me, op, setBody("/open/", "x", 9), -8},
		{"path dots", me, op, setBody("/open/..", "x", 9), -8},
		{"node", me, op, setBody("/open/missing", "x", 9), -101},
		{"permission", me, op, setBody("/closed/node", "x", 9), -102},
		{"permission on config", me, op, setBody("/zookeeper/config", "x", 9), -102},
		{"version", me, op, setBody("/v3", "x", 2), -103},
		{"version minus two", me, op, setBody("/v3", "x", -2), -103},
	})
	e.session = me
	v := e.want(proto.OK, op, setBody("/v3", "new", 3))
	if v.Version != 4 || string(v.Data) != "new" {
		t.Errorf("got %+v", v)
	}
	e.want(proto.OK, op, setBody("/", "root", 0))
	// Null data is kept as null.
	r := proto.SetDataRequest{Path: []byte("/v3"), Version: 4}
	if v := e.want(proto.OK, op, r.Append(nil)); v.Data != nil {
		t.Errorf("null data became %q", v.Data)
	}
}

func TestSetACLOrderOfChecks(t *testing.T) {
	const op = proto.OpSetACL
	e := checkEnv(t, engine.Options{Digest: true}, Options{})
	e.want(proto.OK, proto.OpCreate, createBody("/mine", 0, acl(15, "world:anyone")))
	runRows(t, e, []row{
		{"decode", gone, op, badBody, -5},
		{"session", gone, op, setACLBody("nopath", badACL, 9), -112},
		{"path null", me, op, setACLBody(null, badACL, 9), -8},
		{"path", me, op, setACLBody("nopath", badACL, 9), -8},
		{"acl", me, op, setACLBody("/missing", badACL, 9), -114},
		{"acl empty", me, op, setACLBody("/missing", proto.AppendACLs(nil, []proto.ACL{}), 9), -114},
		{"node", me, op, setACLBody("/missing", open, 9), -101},
		{"permission", me, op, setACLBody("/mine", open, 9), -102},
		{"version", me, op, setACLBody("/v3", open, 3), -103},
	})
	e.session = me
	if v := e.want(proto.OK, op, setACLBody("/v3", open, 2)); v.Version != 3 {
		t.Errorf("got version %d", v.Version)
	}
}

func TestCheckOrderOfChecks(t *testing.T) {
	e := checkEnv(t, engine.Options{Digest: true}, Options{})
	e.want(proto.OK, proto.OpCreate, createBody("/dark", 0, acl(30, "world:anyone")))
	for _, c := range []row{
		{"session", gone, 0, targetBody("nopath", 9), -112},
		{"session moved", moved, 0, targetBody("nopath", 9), -118},
		{"path", me, 0, targetBody("nopath", 9), -8},
		{"path slash", me, 0, targetBody("/open/", 9), -8},
		{"node", me, 0, targetBody("/open/missing", 9), -101},
		{"permission", me, 0, targetBody("/dark", 9), -102},
		{"version", me, 0, targetBody("/v3", 9), -103},
		{"ok", me, 0, targetBody("/v3", 3), 0},
		{"any version", me, 0, targetBody("/v3", -1), 0},
	} {
		e.session = c.session
		v := e.want(c.want, proto.OpMulti, multiBody(proto.OpCheck, c.body))
		if v.Type != proto.OpMulti || len(v.subs) != 1 || v.subs[0].Err != c.want {
			t.Errorf("%s: got %v", c.step, v.subs)
		}
		if c.want == 0 && v.subs[0].Version != 4 {
			t.Errorf("%s: check logs version %d", c.step, v.subs[0].Version)
		}
	}
	// At top level it must not reach the log as a transaction.
	e.session = me
	runRows(t, e, []row{{"top level", me, proto.OpCheck, targetBody("/v3", 3), -6}})
}

func TestUnknownOperations(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{})
	for _, op := range []proto.OpCode{0, -1, 3, 9, 10, 22, 100, 999} {
		runRows(t, e, []row{{"unknown", me, op, nil, -6}})
	}
}

type fakeReconfigurer struct {
	config []byte
	code   proto.ErrCode
	zxid   proto.Zxid
}

func (f *fakeReconfigurer) Reconfig(_ *proto.ReconfigRequest, zxid proto.Zxid) ([]byte, proto.ErrCode) {
	f.zxid = zxid
	return f.config, f.code
}

func TestReconfigOrderOfChecks(t *testing.T) {
	const op = proto.OpReconfig
	r := proto.ReconfigRequest{CurConfigID: -1}
	body := r.Append(nil)
	runRows(t, newEnv(t, engine.Options{}, Options{}), []row{
		{"decode", gone, op, badBody, -5},
		{"disabled", gone, op, body, -123},
	})
	runRows(t, newEnv(t, engine.Options{}, Options{ReconfigEnabled: true}), []row{
		{"decode", gone, op, badBody, -5},
		{"session", gone, op, body, -112},
		{"standalone", me, op, body, -6},
	})
	f := &fakeReconfigurer{code: proto.ErrNewConfigNoQuorum}
	e := newEnv(t, engine.Options{}, Options{ReconfigEnabled: true, Reconfigurer: f})
	runRows(t, e, []row{
		{"session", gone, op, body, -112},
		{"quorum", me, op, body, -13},
	})
	f.code, f.config = proto.OK, []byte("server.1=...\nversion=5")
	runRows(t, e, []row{{"permission", me, op, body, -102}})
	e.ids = []proto.Identity{{Scheme: "super"}}
	v := e.want(proto.OK, op, body)
	if v.Type != op || string(v.Path) != "/zookeeper/config" || v.Version != -1 || string(v.Data) != string(f.config) || f.zxid != v.Zxid {
		t.Errorf("got %+v", v)
	}
	if st := e.stat("/zookeeper/config"); st.Mzxid != v.Zxid || st.Mtime != v.TimeMs || st.Version != -1 {
		t.Errorf("config node %+v", st)
	}
}

// TestIdentities checks that permissions come from the identities of the request.
func TestIdentities(t *testing.T) {
	e := newEnv(t, engine.Options{Digest: true}, Options{})
	e.ids = []proto.Identity{{Scheme: "ip", ID: "127.0.0.1"}, {Scheme: "digest", ID: "bob:x"}}
	v := e.want(proto.OK, proto.OpCreate, createBody("/bob", 0, acl(31, "auth:")))
	if got := v.ACL.Decode(); len(got) != 1 || got[0] != (proto.ACL{Perms: 31, Scheme: "digest", ID: "bob:x"}) {
		t.Errorf("stored list %v", got)
	}
	e.delay = true
	e.want(proto.OK, proto.OpSetData, setBody("/bob", "x", -1))
	e.want(proto.OK, proto.OpCreate, createBody("/bob/a", 0, open))
	e.ids = nil
	e.want(proto.ErrNoAuth, proto.OpSetData, setBody("/bob", "x", -1))
	e.want(proto.ErrNoAuth, proto.OpCreate, createBody("/bob/b", 0, open))
	e.want(proto.ErrNoAuth, proto.OpDelete, targetBody("/bob/a", -1))
	e.ids = []proto.Identity{{Scheme: "super"}}
	e.want(proto.OK, proto.OpDelete, targetBody("/bob/a", -1))
	e.want(proto.ErrBadArguments, proto.OpDelete, targetBody("/zookeeper", -1))
	// An outstanding list counts at once.
	e.want(proto.OK, proto.OpSetACL, setACLBody("/bob", acl(1, "world:anyone"), -1))
	e.ids = []proto.Identity{{Scheme: "digest", ID: "bob:x"}}
	e.want(proto.ErrNoAuth, proto.OpSetData, setBody("/bob", "x", -1))
	e.applyAll()
}
