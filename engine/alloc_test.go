package engine

import (
	"runtime"
	"testing"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// TestReadsDoNotAllocate pins reads at no allocation: replies are encoded from the arenas
// into the caller's memory.
func TestReadsDoNotAllocate(t *testing.T) {
	e := buildTree(t, 3000)
	defer e.Close()
	path, missing, parent := benchPath(nil, 1234), []byte("/services/none"), benchParent(nil, 1)
	out := make([]byte, 0, 1<<20)
	var st proto.Stat
	var node Node
	allocs := testing.AllocsPerRun(100, func() {
		ref := e.Lookup(path)
		e.Stat(ref, &st)
		e.Node(ref, &node)
		_ = node.Digest()
		out = append(out[:0], e.Data(ref)...)
		out = append(out, e.ACL(ref)...)
		out = e.AppendPath(out, ref)
		out = e.AppendChildren(out, e.Lookup(parent))
		e.Quota(path)
		e.Session(7)
		if e.Lookup(missing) != 0 || e.NumDescendants(e.Lookup(parent)) != benchFanout {
			t.Fatal("wrong answer")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestApplyDoesNotAllocate pins writes in steady state at no allocation, with quotas, digests
// and a sink, and also while a checkpoint captures what is overwritten.
func TestApplyDoesNotAllocate(t *testing.T) {
	if arena.Checked {
		t.Skip("in checked builds memory for arenas comes from Go's heap")
	}
	e := buildTree(t, 3000)
	defer e.Close()
	m := txnMaker{zxid: e.LastZxid()}
	acl := proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: 1, Scheme: "ip", ID: "::1"}}))
	data := make([]byte, 200)
	for _, p := range []string{PathQuota + "/services", PathQuota + "/services/" + QuotaLimitsName, PathQuota + "/services/" + QuotaStatsName} {
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: []byte(p), ACL: benchACL, ParentCversion: -1}), nil)
	}
	var sink nopSink
	path, fresh := benchPath(nil, 77), []byte("/services/fresh")
	multi := mtxn{header: proto.TxnHeader{Type: proto.OpMulti}, ops: []mop{
		{proto.OpCreateContainer, proto.TxnBody{Path: fresh, Data: data, ACL: benchACL, ParentCversion: -1}},
		{proto.OpSetData, proto.TxnBody{Path: fresh, Data: data[:9]}},
		{proto.OpCheck, proto.TxnBody{Path: fresh}},
		{proto.OpDelete, proto.TxnBody{Path: fresh}},
	}}
	multiTxn := multi.append(nil, 1)
	h := proto.TxnHeader{SessionID: 1, Type: proto.OpCloseSession}
	closeTxn := h.Append(nil)
	i := 0
	round := func() {
		i++
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: fresh, Data: data, ACL: acl, ParentCversion: -1}), &sink)
		must(t, e, m.make(proto.OpSetData, &proto.TxnBody{Path: fresh, Data: data[:i%200]}), &sink)
		must(t, e, m.make(proto.OpSetData, &proto.TxnBody{Path: path, Data: data[:i%200]}), &sink)
		must(t, e, m.make(proto.OpSetACL, &proto.TxnBody{Path: path, ACL: benchACL}), &sink)
		must(t, e, m.make(proto.OpDelete, &proto.TxnBody{Path: fresh}), &sink)
		must(t, e, multiTxn, &sink)
		must(t, e, m.make(proto.OpCreateSession, &proto.TxnBody{TimeoutMs: 5}), &sink)
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: fresh, ACL: acl, Ephemeral: true, ParentCversion: -1}), &sink)
		must(t, e, closeTxn, &sink)
	}
	for range 500 {
		round()
	}
	if allocs := testing.AllocsPerRun(200, round); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if _, err := e.StartCheckpoint(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		round()
	}
	if allocs := testing.AllocsPerRun(200, round); allocs != 0 {
		t.Errorf("%v allocations while a checkpoint runs", allocs)
	}
}

// TestCollectorDoesNotSeeTheData compares the heap beside trees of different sizes: what a
// hundred times more znodes add must be negligible beside their own bytes.
func TestCollectorDoesNotSeeTheData(t *testing.T) {
	if arena.Checked {
		t.Skip("in checked builds memory for arenas comes from Go's heap")
	}
	heap := func(nodes int) (bytes, objects int64) {
		e := buildTree(t, nodes)
		defer e.Close()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		runtime.KeepAlive(e)
		return int64(s.HeapAlloc), int64(s.HeapObjects)
	}
	small, smallObjects := heap(3000)
	large, largeObjects := heap(300_000)
	if large-small > 64<<10 || largeObjects-smallObjects > 200 {
		t.Errorf("heap of %d bytes and %d objects beside 3,000 znodes, %d and %d beside 300,000", small, smallObjects, large, largeObjects)
	}
}
