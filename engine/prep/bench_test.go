package prep

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
)

// A bench is a Preparer over an engine with nodes /n/00000 and so on, and applies what it has
// prepared in turns of a given length, as a server does.
type bench struct {
	b       testing.TB
	tree    *engine.Engine
	p       *Preparer
	turn    int
	buf     []byte
	ends    []int
	request Request
}

const benchNodes = 10000

func newBench(b testing.TB, turn int) *bench {
	b.Helper()
	e, err := engine.New(engine.Options{Digest: true, ExtendedTypes: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	a, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		b.Fatal(err)
	}
	s := newTracker()
	s.owners[me] = "here"
	x := &bench{b: b, tree: e, p: New(e, a, s, Options{CloseSessionTxn: true}), turn: turn}
	x.request = Request{Session: me, Owner: "here", Identities: []proto.Identity{{Scheme: "ip", ID: "127.0.0.1"}}}
	x.do(proto.OpCreate, createBody("/n", 0, open))
	for i := range benchNodes {
		x.do(proto.OpCreate, createBody(fmt.Sprintf("/n/%05d", i), 0, open))
	}
	x.apply()
	return x
}

// do prepares a request and applies all once a turn is full.
func (x *bench) do(op proto.OpCode, body []byte) {
	x.request.Op, x.request.Body = op, body
	var code proto.ErrCode
	if x.buf, _, code = x.p.Prepare(x.buf, &x.request, 1700000000000); code != proto.OK {
		x.b.Fatalf("%v: %v", op, code)
	}
	if x.ends = append(x.ends, len(x.buf)); len(x.ends) >= x.turn {
		x.apply()
	}
}

func (x *bench) apply() {
	start := 0
	for _, end := range x.ends {
		txn, err := proto.ProposalTxn(x.buf[start:end])
		if err != nil {
			x.b.Fatal(err)
		}
		r, err := x.tree.Apply(txn, nil)
		if err != nil || r.DigestMismatch {
			x.b.Fatalf("%v, %+v", err, r)
		}
		start = end
	}
	x.p.Applied(x.p.LastZxid())
	x.buf, x.ends = x.buf[:0], x.ends[:0]
}

func dataOf(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// The requests of the benchmarks and of the allocation pins, n of each.
func setBodies(n, size int) (out [][]byte) {
	for i := range n {
		r := proto.SetDataRequest{Path: fmt.Appendf(nil, "/n/%05d", i*7%benchNodes), Data: dataOf(size), Version: -1}
		out = append(out, r.Append(nil))
	}
	return out
}

func createBodies(n, size int, op proto.OpCode, flags int32) (out [][]byte) {
	for i := range n {
		r := proto.CreateRequest{Path: fmt.Appendf(nil, "/n/x%05d", i), Data: dataOf(size), ACL: open, Flags: flags}
		out = append(out, r.Append(nil, op))
	}
	return out
}

func deleteBodies(n int) (out [][]byte) {
	for i := range n {
		out = append(out, targetBody(fmt.Sprintf("/n/x%05d", i), -1))
	}
	return out
}

func multiBodies(n, size int) (out [][]byte) {
	for i := range n {
		path := fmt.Sprintf("/n/%05d", i*7%benchNodes)
		set := proto.SetDataRequest{Path: []byte(path), Data: dataOf(size), Version: -1}
		r := proto.CreateRequest{Path: []byte(path + "/x"), Data: dataOf(size), ACL: open}
		out = append(out, multiBody(proto.OpCheck, targetBody(path, -1), proto.OpSetData, set.Append(nil),
			proto.OpCreate, r.Append(nil, proto.OpCreate), proto.OpDelete, targetBody(path+"/x", 0)))
	}
	return out
}

// BenchmarkPrepareApply is the whole work of the replica goroutine on a write but logging
// and replying. Turns of one apply each transaction before the next is prepared.
func BenchmarkPrepareApply(b *testing.B) {
	const n = 1024
	for _, size := range []int{100, 1024} {
		for _, turn := range []int{1, 256} {
			run := func(op string, f func(x *bench, b *testing.B)) {
				b.Run(fmt.Sprintf("op=%s/size=%d/turn=%d", op, size, turn), func(b *testing.B) {
					x := newBench(b, turn)
					b.ReportAllocs()
					b.ResetTimer()
					f(x, b)
				})
			}
			run("set", func(x *bench, b *testing.B) {
				bodies := setBodies(n, size)
				for i := 0; b.Loop(); i++ {
					x.do(proto.OpSetData, bodies[i%n])
				}
			})
			// A create and a delete each.
			run("create+delete", func(x *bench, b *testing.B) {
				creates, deletes := createBodies(n, size, proto.OpCreate, 0), deleteBodies(n)
				for i := 0; b.Loop(); i++ {
					x.do(proto.OpCreate, creates[i%n])
					x.do(proto.OpDelete, deletes[i%n])
				}
			})
			run("create+delete-ephemeral", func(x *bench, b *testing.B) {
				creates, deletes := createBodies(n, size, proto.OpCreate, 1), deleteBodies(n)
				for i := 0; b.Loop(); i++ {
					x.do(proto.OpCreate, creates[i%n])
					x.do(proto.OpDelete, deletes[i%n])
				}
			})
			// check, set, create, delete.
			run("multi4", func(x *bench, b *testing.B) {
				bodies := multiBodies(n, size)
				for i := 0; b.Loop(); i++ {
					x.do(proto.OpMulti, bodies[i%n])
				}
			})
		}
	}
}

// BenchmarkPrepare is preparing alone, with up to 1000 transactions outstanding.
func BenchmarkPrepare(b *testing.B) {
	const n = 1024
	for _, size := range []int{100, 1024} {
		for _, c := range []struct {
			name   string
			op     proto.OpCode
			bodies [][]byte
		}{
			{"set", proto.OpSetData, setBodies(n, size)},
			{"create", proto.OpCreate, createBodies(n, size, proto.OpCreate, 2)},
			{"multi4", proto.OpMulti, multiBodies(n, size)},
		} {
			b.Run(fmt.Sprintf("op=%s/size=%d", c.name, size), func(b *testing.B) {
				x := newBench(b, 1)
				x.turn = 1 << 30
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; b.Loop(); i++ {
					x.do(c.op, c.bodies[i%n])
					if len(x.ends) == 1000 {
						b.StopTimer()
						x.apply()
						b.StartTimer()
					}
				}
			})
		}
	}
}

// TestNoAllocations pins that preparing allocates nothing in steady state, with transactions
// outstanding and without, for requests that succeed and that fail.
func TestNoAllocations(t *testing.T) {
	const n = 64
	for _, turn := range []int{1, 16} {
		x := newBench(t, turn)
		sets, creates, ephemerals, sequential := setBodies(n, 1024), createBodies(n, 100, proto.OpCreate, 0), createBodies(n, 100, proto.OpCreate, 1), createBodies(n, 0, proto.OpCreate, 2)
		deletes, multis := deleteBodies(n), multiBodies(n, 100)
		failing := multiBody(proto.OpSetData, setBody("/n/00001", "x", -1), proto.OpCreate, createBody("/n/y", 1, open), proto.OpCheck, targetBody("/n", 99))
		acls := setACLBody("/n/00007", acl(31, "ip:127.0.0.1"), -1)
		f := func(what string, op func()) {
			t.Helper()
			for range 3 * n {
				op()
			}
			if got := testing.AllocsPerRun(10*n, op); got != 0 {
				t.Errorf("turn %d, %s: %v allocations", turn, what, got)
			}
			x.apply()
		}
		i := 0
		f("setData", func() { x.do(proto.OpSetData, sets[i%n]); i++ })
		f("create, delete", func() { x.do(proto.OpCreate, creates[i%n]); x.do(proto.OpDelete, deletes[i%n]); i++ })
		f("ephemerals", func() { x.do(proto.OpCreate, ephemerals[i%n]); x.do(proto.OpDelete, deletes[i%n]); i++ })
		f("multi", func() { x.do(proto.OpMulti, multis[i%n]); i++ })
		f("setACL", func() { x.do(proto.OpSetACL, acls); x.do(proto.OpSetACL, setACLOpen) })
		x.turn = 1
		prepare := func(op proto.OpCode, body []byte, want proto.ErrCode) {
			x.request.Op, x.request.Body = op, body
			var code proto.ErrCode
			if x.buf, _, code = x.p.Prepare(x.buf[:0], &x.request, 1); code != want {
				t.Fatalf("got %v, want %v", code, want)
			}
			x.p.Applied(x.p.LastZxid())
		}
		f("failing multi", func() { prepare(proto.OpMulti, failing, proto.ErrBadVersion) })
		f("no node", func() { prepare(proto.OpSetData, noNode, proto.ErrNoNode) })
		f("sequential", func() { prepare(proto.OpCreate, sequential[i%n], proto.OK); i++ })
	}
}

var (
	setACLOpen = setACLBody("/n/00007", open, -1)
	noNode     = setBody("/missing", "x", -1)
)
