package prep

import (
	"fmt"
	"strings"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// tracker is a session tracker of maps.
type tracker struct {
	owners  map[proto.SessionID]any
	closing map[proto.SessionID]bool
	local   map[proto.SessionID]bool
}

func newTracker() *tracker {
	return &tracker{map[proto.SessionID]any{}, map[proto.SessionID]bool{}, map[proto.SessionID]bool{}}
}

func (s *tracker) Check(id proto.SessionID, owner any) proto.ErrCode {
	have, ok := s.owners[id]
	switch {
	case s.local[id]:
		return proto.OK
	case !ok || s.closing[id]:
		return proto.ErrSessionExpired
	case have != owner:
		return proto.ErrSessionMoved
	}
	return proto.OK
}

func (s *tracker) CheckGlobal(id proto.SessionID, owner any) proto.ErrCode {
	if s.local[id] {
		return proto.ErrEphemeralOnLocal
	}
	return s.Check(id, owner)
}

func (s *tracker) Track(id proto.SessionID, _ int32, owner any) proto.ErrCode {
	if s.closing[id] {
		return proto.ErrSessionExpired
	}
	s.owners[id] = owner
	return proto.OK
}

func (s *tracker) SetClosing(id proto.SessionID) { s.closing[id] = true }

// A txnView is a transaction as tests look at it.
type txnView struct {
	proto.TxnHeader
	proto.TxnBody
	subs      []txnView // of a multi
	closing   []string  // of closeSession
	digest    uint64
	hasDigest bool
}

func decodeTxn(t testing.TB, txn []byte) (v txnView) {
	t.Helper()
	d := jute.NewDecoder(txn, 0)
	v.TxnHeader.Decode(&d)
	switch v.Type {
	case proto.OpMulti:
		for n := d.Int32(); n > 0; n-- {
			var s txnView
			s.Type = proto.OpCode(d.Int32())
			sd := jute.NewDecoder(d.Buffer(), 0)
			if err := s.TxnBody.Decode(&sd, s.Type); err != nil {
				t.Fatal(err)
			}
			v.subs = append(v.subs, s)
		}
	case proto.OpCloseSession:
		digestOnly := len(d.Rest()) == proto.TxnDigestBytes && jute.Int32(d.Rest()) == proto.DigestVersion
		if len(d.Rest()) > 0 && !digestOnly {
			for n := d.Int32(); n > 0; n-- {
				v.closing = append(v.closing, string(d.Buffer()))
			}
		}
	default:
		if err := v.TxnBody.Decode(&d, v.Type); err != nil {
			t.Fatal(err)
		}
	}
	v.digest, v.hasDigest = proto.DecodeTxnDigest(&d)
	if d.Err() != nil || len(d.Rest()) != 0 {
		t.Fatalf("transaction of type %d: %v, %d bytes left", v.Type, d.Err(), len(d.Rest()))
	}
	return v
}

const (
	me    proto.SessionID = 0x100
	other proto.SessionID = 0x200
	gone  proto.SessionID = 0x300 // closing
	moved proto.SessionID = 0x400 // belongs to another connection
	local proto.SessionID = 0x500
)

// An env is a Preparer over a model tree with the sessions above.
type env struct {
	t        testing.TB
	tree     *model
	sessions *tracker
	p        *Preparer
	now      int64
	delayed  [][]byte // transactions prepared but not applied, if delay is set
	delay    bool
	session  proto.SessionID
	ids      []proto.Identity
}

func newEnv(t testing.TB, tree engine.Options, o Options) *env {
	t.Helper()
	a, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, tree: newModel(tree), sessions: newTracker(), now: 1000, session: me}
	for _, s := range []proto.SessionID{me, other, gone} {
		e.sessions.owners[s] = "here"
	}
	e.sessions.closing[gone] = true
	e.sessions.owners[moved] = "elsewhere"
	e.sessions.local[local] = true
	e.p = New(e.tree, a, e.sessions, o)
	return e
}

// do prepares one request, checks what every transaction must obey, and applies it.
func (e *env) do(op proto.OpCode, body []byte) (txnView, proto.ErrCode) {
	e.t.Helper()
	e.now++
	last := e.p.LastZxid()
	req := &Request{Session: e.session, Xid: int32(e.now), Op: op, Body: body, Identities: e.ids, Owner: "here", TimeoutMs: 5000}
	out, zxid, code := e.p.Prepare([]byte("prefix"), req, e.now)
	if zxid != last+1 || e.p.LastZxid() != zxid || string(out[:6]) != "prefix" {
		e.t.Fatalf("zxid %d after %d", zxid, last)
	}
	txn, err := proto.ProposalTxn(out[6:])
	if err != nil {
		e.t.Fatal(err)
	}
	if want, _ := proto.BeginProposal(nil, zxid); string(out[6:18]) != string(want[:12]) || len(out[6:]) != len(txn)+proto.ProposalOverheadBytes {
		e.t.Fatalf("bad packet %x", out[6:])
	}
	v := decodeTxn(e.t, txn)
	if v.SessionID != e.session || v.Cxid != req.Xid || v.Zxid != zxid || v.TimeMs != e.now {
		e.t.Fatalf("header %+v", v.TxnHeader)
	}
	if v.hasDigest != (e.tree.opts.Digest && v.Type != proto.OpError) {
		e.t.Fatalf("%v: digest %v", v.Type, v.hasDigest)
	}
	if code != proto.OK && v.Type != proto.OpError && v.Type != proto.OpMulti || v.Type == proto.OpError && v.Err != code {
		e.t.Fatalf("%v with code %d, error %d", v.Type, code, v.Err)
	}
	e.delayed = append(e.delayed, txn)
	if !e.delay {
		e.applyAll()
	}
	return v, code
}

// applyAll applies what is outstanding and compares digests.
func (e *env) applyAll() {
	e.t.Helper()
	for _, txn := range e.delayed {
		digest, ok := e.tree.apply(e.t, txn)
		if ok && digest != e.tree.Digest() {
			e.t.Fatalf("zxid %d: digest %x, the tree has %x", e.tree.lastZxid, digest, e.tree.Digest())
		}
		e.p.Applied(e.tree.lastZxid)
	}
	e.delayed = nil
	if e.p.Outstanding() != 0 || e.p.overlay.count != 0 || e.p.overlay.ephemeralHead != nil {
		e.t.Fatalf("%d outstanding, %d records when all is applied", e.p.Outstanding(), e.p.overlay.count)
	}
}

// want is do with the code checked.
func (e *env) want(code proto.ErrCode, op proto.OpCode, body []byte) txnView {
	e.t.Helper()
	v, got := e.do(op, body)
	if got != code {
		e.t.Errorf("%v: got %d (%s), want %d", op, got, got.Name(), code)
	}
	return v
}

// null as a path stands for the null string.
const null = "<null>"

func pathBytes(path string) []byte {
	if path == null {
		return nil
	}
	return []byte(path)
}

var open = proto.AppendACLs(nil, proto.WorldAnyone)

func acl(perms int32, schemeID string) proto.RawACLs {
	scheme, id, _ := strings.Cut(schemeID, ":")
	return proto.AppendACLs(nil, []proto.ACL{{Perms: perms, Scheme: scheme, ID: id}})
}

func createBody(path string, flags int32, a proto.RawACLs) []byte {
	r := proto.CreateRequest{Path: pathBytes(path), Data: []byte("data"), ACL: a, Flags: flags}
	return r.Append(nil, proto.OpCreate)
}

func createTTLBody(path string, flags int32, ttlMs int64) []byte {
	r := proto.CreateRequest{Path: pathBytes(path), Data: []byte("data"), ACL: open, Flags: flags, TTLms: ttlMs}
	return r.Append(nil, proto.OpCreateTTL)
}

func targetBody(path string, version int32) []byte {
	r := proto.PathVersion{Path: pathBytes(path), Version: version}
	return r.Append(nil)
}

func setBody(path, data string, version int32) []byte {
	r := proto.SetDataRequest{Path: pathBytes(path), Data: []byte(data), Version: version}
	return r.Append(nil)
}

func setACLBody(path string, a proto.RawACLs, version int32) []byte {
	r := proto.SetACLRequest{Path: pathBytes(path), ACL: a, Version: version}
	return r.Append(nil)
}

// multiBody joins operations, given as header type and body in turn.
func multiBody(ops ...any) (body []byte) {
	for i := 0; i < len(ops); i += 2 {
		body = proto.MultiHeader{Type: ops[i].(proto.OpCode), Err: -1}.Append(body)
		body = append(body, ops[i+1].([]byte)...)
	}
	return proto.MultiDone.Append(body)
}

func (e *env) create(path string, flags int32) txnView {
	e.t.Helper()
	return e.want(proto.OK, proto.OpCreate, createBody(path, flags, open))
}

func (e *env) stat(path string) proto.StatPersisted {
	e.t.Helper()
	n := e.tree.nodes[path]
	if n == nil {
		e.t.Fatalf("no node %s", path)
	}
	return n.st
}

func (v txnView) String() string { return fmt.Sprintf("%v %s %d", v.Type, v.Path, v.Err) }
