package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// TestWarmFinds warms paths of znodes that exist and that do not, while the index grows: each
// must lead to what Lookup finds, or what was read was of no use.
func TestWarmFinds(t *testing.T) {
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	rng := rand.New(rand.NewPCG(3, 4))
	m := txnMaker{zxid: e.LastZxid()}
	path := func(i int) []byte { return fmt.Appendf(nil, "/node-%d", i) }
	var w Warmer
	moving := 0
	for i := range 3000 {
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: path(i), Data: make([]byte, rng.IntN(2000)), ACL: benchACL, ParentCversion: -1}), nil)
		if i%3 == 0 {
			if _, err := e.Apply(m.make(proto.OpDelete, &proto.TxnBody{Path: path(rng.IntN(i + 1))}), nil); err != nil {
				t.Fatal(err)
			}
		}
		if i%4 == 0 { // which makes a compact one full
			if _, err := e.Apply(m.make(proto.OpSetData, &proto.TxnBody{Path: path(rng.IntN(i + 1)), Data: make([]byte, rng.IntN(2000))}), nil); err != nil {
				t.Fatal(err)
			}
		}
		if e.paths.old.n != 0 {
			moving++
		}
		var paths [][]byte
		for range WarmPaths {
			paths = append(paths, path(rng.IntN(i*5/4+1)))
			w.Add(paths[len(paths)-1], rng.IntN(2) == 0)
		}
		e.Warm(&w)
		for k, p := range paths {
			if got, want := w.refs[k], uint32(e.Lookup(p)); got != want {
				t.Fatalf("%s: warmed node %d, is %d", p, got, want)
			}
		}
	}
	if moving == 0 {
		t.Error("the index never grew")
	}
	if w.sum == 0 {
		t.Error("nothing was read")
	}
}

// TestWarmTxn looks whose paths of transactions a Warmer takes.
func TestWarmTxn(t *testing.T) {
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	m := txnMaker{}
	body := proto.TxnBody{Path: []byte(PathQuota), Data: []byte("x"), ACL: benchACL}
	for _, c := range []struct {
		op    proto.OpCode
		want  NodeRef
		needs need
	}{
		{proto.OpSetData, e.quota, needsData}, {proto.OpDelete, e.quota, needsData}, {proto.OpDeleteContainer, e.quota, needsData},
		{proto.OpCreate, e.quota, needsDigest}, {proto.OpCreate2, e.quota, needsDigest}, {proto.OpCreateTTL, e.quota, needsDigest},
		{proto.OpCreateContainer, e.quota, needsDigest}, {proto.OpSetACL, e.quota, needsDigest},
		{proto.OpError, 0, 0}, {proto.OpCreateSession, 0, 0},
	} {
		var w Warmer
		w.Add([]byte(PathConfig), false)
		w.Add([]byte(PathConfig), false)
		txn := m.make(c.op, &body)
		for cut := range len(txn) {
			w.AddTxn(txn[:cut]) // a transaction that does not decode is somebody else's matter
			w.n = 2
		}
		w.AddTxn(txn)
		if (c.want != 0) != (w.n == 3) {
			t.Errorf("%v: %d paths", c.op, w.n)
			continue
		}
		e.Warm(&w)
		if c.want != 0 && (NodeRef(w.refs[2]) != c.want || w.needs[2] != c.needs) {
			t.Errorf("%v: node %d, needs %v", c.op, w.refs[2], w.needs[2])
		}
	}
	// A closeSession has no path in front, a multi has several.
	h := proto.TxnHeader{Type: proto.OpMulti}
	for _, h.Type = range []proto.OpCode{proto.OpMulti, proto.OpCloseSession} {
		var w Warmer
		w.AddTxn(jute.AppendInt32(h.Append(nil), 1))
		if w.n != 0 {
			t.Errorf("%v: %d paths", h.Type, w.n)
		}
	}
}

// TestTouch counts what is read: each cache line, up to a bound.
func TestTouch(t *testing.T) {
	b := bytes.Repeat([]byte{1}, 2*warmDataBytes)
	for _, c := range []struct{ n, want int }{{0, 0}, {1, 1}, {cacheLine, 1}, {cacheLine + 1, 2}, {len(b), warmDataBytes / cacheLine}} {
		var w Warmer
		if w.Touch(b[:c.n]); int(w.sum) != c.want {
			t.Errorf("%d bytes: %d reads, want %d", c.n, w.sum, c.want)
		}
	}
}

// TestWarmAllocatesNothing pins it.
func TestWarmAllocatesNothing(t *testing.T) {
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	var w Warmer
	if n := testing.AllocsPerRun(100, func() {
		for range WarmPaths {
			w.Touch([]byte(PathConfig))
			w.Add([]byte(PathConfig), true)
		}
		e.Warm(&w)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWarm is the search of paths that are warmed in groups; "group=0" are not.
func BenchmarkWarm(b *testing.B) {
	e := bigTree()
	const n = 1 << 18
	paths := benchPaths(n)
	for _, group := range []int{0, 4, 8, WarmPaths} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			var w Warmer
			b.ReportAllocs()
			defer measureCPU(b, 1)()
			for i := range b.N {
				if group > 0 && i%group == 0 {
					for j := i; j < i+group; j++ {
						w.Add(paths[j%n], false)
					}
					e.Warm(&w)
				}
				if e.Lookup(paths[i%n]) == 0 {
					b.Fatal("missing")
				}
			}
		})
	}
}
