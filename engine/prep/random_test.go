package prep

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run the random program of this seed only")
	seedsFlag = flag.Int("seeds", 1500, "number of random programs")
)

// bob is whom some lists of random programs admit: digest bob:pw.
const bob = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="

// A program makes up requests that often touch the same few nodes.
type program struct {
	*rand.Rand
	sessions []proto.SessionID
	nextID   proto.SessionID
	closed   int // 1 + index of a session that has been closed
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (g *program) path() string {
	if g.IntN(30) == 0 {
		return pick(g.Rand, "", "/", "a", "/a/", "//a", "/a/.", "/a/\x00", "/zookeeper", "/zookeeper/config", "/zookeeper/x", "/zookeeper/quota", "/a//b", "/é")
	}
	path := ""
	for n := pick(g.Rand, 1, 1, 1, 1, 2, 2, 2, 3); n > 0; n-- {
		path += "/" + pick(g.Rand, "a", "b", "c")
	}
	return path
}

func (g *program) version() int32 {
	if g.IntN(5) == 0 {
		return int32(g.IntN(3))
	}
	return -1
}

func (g *program) data() []byte {
	switch g.IntN(4) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	b := make([]byte, g.IntN(20))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g *program) acl() proto.RawACLs {
	switch g.IntN(30) {
	case 0:
		return acl(31, "auth:")
	case 1:
		return acl(1, "world:anyone")
	case 2:
		return acl(int32(g.IntN(32)), "digest:"+bob)
	case 3:
		return pick(g.Rand, badACL, jute.AppendInt32(nil, -1), jute.AppendInt32(nil, 0))
	}
	return open
}

func (g *program) identities() []proto.Identity {
	return pick(g.Rand, nil, []proto.Identity{{Scheme: "super"}}, []proto.Identity{{Scheme: "digest", ID: bob}}, []proto.Identity{{Scheme: "digest", ID: "al:E2WgW72KiEUG4R7vIVBkt6SPXyA="}, {Scheme: "ip", ID: "127.0.0.1"}},
		[]proto.Identity{{Scheme: "super"}})
}

// op makes up one operation of those that a multi may hold, too.
func (g *program) op() (proto.OpCode, []byte) {
	switch n := g.IntN(16); {
	case n < 7:
		op := pick(g.Rand, proto.OpCreate, proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL)
		r := proto.CreateRequest{Path: []byte(g.path()), Data: g.data(), ACL: g.acl(), Flags: pick(g.Rand, int32(0), 0, 0, 1, 1, 2, 3, 4)}
		if op == proto.OpCreateTTL && g.IntN(8) > 0 {
			r.Flags, r.TTLms = 5+int32(g.IntN(2)), int64(g.IntN(50))
		} else if g.IntN(40) == 0 {
			r.Flags = pick(g.Rand, int32(5), 6, 7, -1)
		}
		return op, r.Append(nil, op)
	case n < 10:
		r := proto.PathVersion{Path: []byte(g.path()), Version: g.version()}
		return proto.OpDelete, r.Append(nil)
	case n < 15:
		r := proto.SetDataRequest{Path: []byte(g.path()), Data: g.data(), Version: g.version()}
		return proto.OpSetData, r.Append(nil)
	}
	r := proto.PathVersion{Path: []byte(g.path()), Version: g.version()}
	return proto.OpCheck, r.Append(nil)
}

func (g *program) request() Request {
	r := Request{Session: pick(g.Rand, g.sessions...), Xid: int32(g.IntN(1000)), Identities: g.identities(), Owner: "here"}
	if g.IntN(40) == 0 {
		r.Owner = "elsewhere"
	}
	if g.closed > 0 && g.IntN(3) == 0 {
		g.nextID++
		r.Op, r.TimeoutMs, r.Session = proto.OpCreateSession, 3000, g.nextID
		g.sessions[g.closed-1] = r.Session
		g.closed = 0
		return r
	}
	switch n := g.IntN(40); {
	case n == 0:
		i := g.IntN(len(g.sessions))
		g.closed = i + 1
		r.Op, r.Session = proto.OpCloseSession, g.sessions[i]
	case n == 1:
		r.Op, r.Body = proto.OpCheck, nil
	case n < 4:
		r.Op, r.Session, r.Body = proto.OpDeleteContainer, 0, jute.AppendString(nil, g.path())
	case n < 8:
		set := proto.SetACLRequest{Path: []byte(g.path()), ACL: g.acl(), Version: g.version()}
		r.Op, r.Body = proto.OpSetACL, set.Append(nil)
	case n < 16:
		r.Op = proto.OpMulti
		for range g.IntN(7) {
			op, body := g.op()
			r.Body = append(proto.MultiHeader{Type: op, Err: -1}.Append(r.Body), body...)
		}
		r.Body = proto.MultiDone.Append(r.Body)
	default:
		r.Op, r.Body = g.op()
	}
	return r
}

// TestRandomPrograms prepares the same requests twice: against a model tree where each
// transaction is applied before the next request comes, and against the real engine with any
// number of transactions outstanding. Both must give the same bytes. What the engine makes of
// them must be what has been foretold: no operation fails that was let through, the digest is
// the one in the transaction, and in the end the trees are equal.
func TestRandomPrograms(t *testing.T) {
	if *seedFlag != 0 {
		runProgram(t, *seedFlag)
		return
	}
	seeds := *seedsFlag
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		runProgram(t, uint64(seed)+1)
		if t.Failed() {
			return
		}
	}
}

func runProgram(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	opts := engine.Options{Digest: rnd.IntN(8) > 0, ExtendedTypes: rnd.IntN(4) > 0}
	popts := Options{LogCreate2InMultiAsCreate: rnd.IntN(4) == 0, CloseSessionTxn: opts.Digest || rnd.IntN(2) == 0}
	a, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	real, err := engine.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	plain := newModel(opts)
	now := New(plain, a, newTracker(), popts)
	later := New(real, a, newTracker(), popts)
	g := &program{Rand: rnd, nextID: 10, sessions: []proto.SessionID{1, 2, 3}}
	var waiting [][]byte
	lag := pick(rnd, 1, 3, 10, 40)
	apply := func() {
		txn := waiting[0]
		waiting = waiting[1:]
		r, err := real.Apply(txn, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		v := decodeTxn(t, txn)
		if want := v.Err; r.Err != want && v.Type != proto.OpMulti || r.DigestMismatch || opts.Digest != v.hasDigest && v.Type != proto.OpError || v.hasDigest && v.digest != real.Digest() {
			t.Fatalf("seed %d: zxid %#x, %v: applied with %d, digest %x for %x", seed, v.Zxid, v, r.Err, real.Digest(), v.digest)
		}
		failed := slices.ContainsFunc(v.subs, func(s txnView) bool { return s.Type == proto.OpError })
		for i, s := range r.Multi {
			if !failed && s.Err != proto.OK {
				t.Fatalf("seed %d: zxid %#x: operation %d applied with %d", seed, v.Zxid, i, s.Err)
			}
		}
		later.Applied(v.Zxid)
	}
	setup := []Request{{Session: 1, Op: proto.OpCreateSession, Owner: "here"}, {Session: 2, Op: proto.OpCreateSession, Owner: "here"}, {Session: 3, Op: proto.OpCreateSession, Owner: "here"}}
	for i := range 120 {
		nowMs := int64(1000 + i)
		var req Request
		if i < len(setup) {
			req = setup[i]
		} else {
			req = g.request()
		}
		want, zxid, code := now.Prepare(nil, &req, nowMs)
		got, zxid2, code2 := later.Prepare(nil, &req, nowMs)
		if code != code2 || zxid != zxid2 || !bytes.Equal(got, want) {
			txn, _ := proto.ProposalTxn(got)
			txn2, _ := proto.ProposalTxn(want)
			t.Fatalf("seed %d, request %d, %v %q: with %d outstanding got %v, code %d\n%+v; want %v, code %d\n%+v",
				seed, i, req.Op, req.Body, later.Outstanding(), zxid2, code2, decodeTxn(t, txn), zxid, code, decodeTxn(t, txn2))
		}
		txn, err := proto.ProposalTxn(want)
		if err != nil {
			t.Fatal(err)
		}
		digest, ok := plain.apply(t, txn)
		if ok && digest != plain.Digest() {
			t.Fatalf("seed %d, request %d: digest %x, the model has %x", seed, i, digest, plain.Digest())
		}
		now.Applied(zxid)
		for waiting = append(waiting, txn); len(waiting) > 0 && (len(waiting) > lag || rnd.IntN(3) == 0); {
			apply()
		}
		if rnd.IntN(60) == 0 { // a new epoch
			for len(waiting) > 0 {
				apply()
			}
			epoch := (zxid>>32 + 1) << 32
			now.Reset(epoch)
			later.Reset(epoch)
		}
	}
	for len(waiting) > 0 {
		apply()
	}
	if n := later.overlay.count; n != 0 || later.Outstanding() != 0 {
		t.Fatalf("seed %d: %d records, %d transactions outstanding at the end", seed, n, later.Outstanding())
	}
	compareTrees(t, seed, real, plain)
}

func compareTrees(t *testing.T, seed uint64, real *engine.Engine, plain *model) {
	t.Helper()
	if real.NodeCount() != len(plain.nodes) {
		t.Errorf("seed %d: %d nodes, the model has %d", seed, real.NodeCount(), len(plain.nodes))
	}
	for path, m := range plain.nodes {
		ref := real.Lookup([]byte(path))
		if ref == 0 {
			t.Errorf("seed %d: %s is missing", seed, path)
			continue
		}
		var n engine.Node
		real.Node(ref, &n)
		got := fmt.Sprintf("%+v %d %q %v %x", n.StatPersisted, n.NumChildren, real.Data(ref), real.Data(ref) == nil, real.ACL(ref))
		want := fmt.Sprintf("%+v %d %q %v %x", m.st, len(m.children), m.data, m.data == nil, plain.ACLByID(uint32(m.ref)))
		if got != want {
			t.Errorf("seed %d: %s\ngot  %s\nwant %s", seed, path, got, want)
		}
	}
}
