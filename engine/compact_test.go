package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// TestCompactLimits makes nodes at the limits of what a compact one can hold and beyond them:
// all must read as they were made, and again when they are full ones.
func TestCompactLimits(t *testing.T) {
	st := proto.StatPersisted{Czxid: 1 << 62, Mzxid: 1 << 62, Pzxid: 1 << 62, Ctime: 1, Mtime: 1}
	with := func(f func(*proto.StatPersisted)) proto.StatPersisted {
		s := st
		f(&s)
		return s
	}
	at := func(ms int64) proto.StatPersisted {
		return with(func(s *proto.StatPersisted) { s.Ctime, s.Mtime = ms, ms })
	}
	data := bytes.Repeat([]byte("d"), 1<<20)
	for i, c := range []struct {
		nameLen int
		data    []byte
		st      proto.StatPersisted
		compact bool
	}{
		{5, data[:100], st, true},
		{5, []byte{}, st, true},
		{5, nil, st, true},
		{compactNameMax, data[:compactDataMax], st, true},
		{compactNameMax + 1, data[:100], st, false},
		{1000, nil, st, false},
		{5, data[:compactDataMax+1], st, false},
		{5, data[:compactDataMax+2], st, false},
		{5, data[:compactDataMax+3], st, false},
		{5, data[:compactDataMax+4], st, false},
		{5, data, st, false}, // a big blob
		{compactNameMax + 1, data, st, false},
		{5, nil, at(1<<compactTimeBits - 1), true},
		{5, nil, at(1 << compactTimeBits), false},
		{5, nil, at(0), true},
		{5, nil, at(-1), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Mzxid++ }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Pzxid++ }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Mtime++ }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Version = 1 }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Cversion = -1 }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.Aversion = 1 << 30 }), false},
		{5, nil, with(func(s *proto.StatPersisted) { s.EphemeralOwner = 7 }), false},
	} {
		b, err := NewBuilder(Options{Digest: true, ExtendedTypes: true})
		if err != nil {
			t.Fatal(err)
		}
		path := []byte("/" + strings.Repeat("n", c.nameLen))
		if err := b.AddNode(path, c.data, benchACL, &c.st); err != nil {
			t.Fatal(err)
		}
		e, err := b.Finish(st.Czxid)
		if err != nil {
			t.Fatal(err)
		}
		verify := func() {
			t.Helper()
			e.check(t)
			var n Node
			ref := e.Lookup(path)
			e.Node(ref, &n)
			if n.StatPersisted != c.st || n.DataLength != int32(len(c.data)) || string(e.ACL(ref)) != string(benchACL) {
				t.Errorf("case %d: got %+v", i, n)
			}
			if d := e.Data(ref); !bytes.Equal(d, c.data) || (d == nil) != (c.data == nil) || string(e.Name(ref)) != string(path[1:]) {
				t.Errorf("case %d: %d bytes of data, name %q", i, len(d), e.Name(ref))
			}
		}
		verify()
		ref := e.Lookup(path)
		n := e.nodes.At(uint32(ref))
		if n.compact() != c.compact {
			t.Errorf("case %d: compact %v, want %v", i, n.compact(), c.compact)
		}
		if c.compact {
			e.extend(ref, n)
			verify()
		}
		for _, d := range [][]byte{data[:compactDataMax], data, nil, data[:1], data[:len(data)-1], data, {}} {
			e.SetLastZxid(e.LastZxid() + 1)
			e.writeData(ref, n, path, d, c.st.Version, c.st.Mzxid, c.st.Mtime)
			c.data = d
			verify()
		}
		e.Close()
	}
}

// TestCompactACL gives nodes the last ACL number that a compact one can have, and the next.
func TestCompactACL(t *testing.T) {
	for _, id := range []uint32{1<<compactACLBits - 1, 1 << compactACLBits} {
		e := newEngine(t, Options{})
		for e.acls.slab.Len() < int(id) {
			e.acls.slab.Alloc()
		}
		e.acls.slab.Free(id) // which is the next to be given out
		var m txnMaker
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: []byte("/a"), Data: []byte("x"), ACL: benchACL, ParentCversion: -1}), nil)
		ref := e.Lookup([]byte("/a"))
		n := e.nodes.At(uint32(ref))
		if n.acl() != id || n.compact() != (id < 1<<compactACLBits) || string(e.ACL(ref)) != string(benchACL) {
			t.Errorf("ACL %d: the node has %d, compact %v", id, n.acl(), n.compact())
		}
	}
}

// TestZnodeBytes pins what a znode takes, without what size classes and the last chunks waste.
func TestZnodeBytes(t *testing.T) {
	if arena.Checked {
		t.Skip("chunks are smaller in checked builds")
	}
	const nodes = 200_000
	e := buildTree(t, nodes)
	defer e.Close()
	per := func(what string, bytes int64, low, high float64) {
		t.Helper()
		if x := float64(bytes) / nodes; x < low || x > high {
			t.Errorf("%s: %.1f bytes a znode, want %.0f to %.0f", what, x, low, high)
		}
	}
	m := e.MemoryStats()
	per("records", m.Nodes.AllocatedBytes, 48, 48.2)
	per("second records", m.Extras.AllocatedBytes, 0, 0.2)
	per("names and data", m.Texts.AllocatedBytes, 116, 124)
	per("index", m.IndexBytes, 9, 16)
	per("all", m.TouchedBytes(), 170, 192)
	must(t, e, (&txnMaker{zxid: e.LastZxid()}).make(proto.OpSetData, &proto.TxnBody{Path: benchPath(nil, 7), Data: []byte("x")}), nil)
	if got := e.MemoryStats().Extras.AllocatedBytes - m.Extras.AllocatedBytes; got != 80 {
		t.Errorf("the first change of a znode takes %d bytes, want 80", got)
	}
}

// formTally counts what programs did with nodes of both forms.
type formTally map[string]int

// watch notes the forms of the nodes that a transaction is about; the returned function, which
// is called when it has been applied, counts what became of them.
func (f formTally) watch(w *world, t *mtxn) (count func()) {
	path := t.body.Path
	if len(path) < 2 || t.header.Type == proto.OpError || t.header.Type == proto.OpMulti {
		return func() {}
	}
	form := func(path []byte) string {
		ref := w.e.Lookup(path)
		switch {
		case ref == 0:
			return "none"
		case w.e.nodes.At(uint32(ref)).compact():
			return "compact"
		}
		return "full"
	}
	parent, _ := split(path)
	before, parentBefore := form(path), form(parent)
	running := ""
	if w.checkpoint != nil {
		running = " in a checkpoint"
	}
	return func() {
		f[fmt.Sprintf("type %d: %s -> %s%s", t.header.Type, before, form(path), running)]++
		f[fmt.Sprintf("parent, type %d: %s -> %s%s", t.header.Type, parentBefore, form(parent), running)]++
	}
}

// wantForms are the transitions that the random programs must have been through.
var wantForms = []string{
	"type 1: none -> compact", "type 1: none -> full", "type 15: none -> compact", "type 19: none -> full", "type 21: none -> full",
	"type 5: compact -> full", "type 5: full -> full", "type 7: compact -> full", "type 7: full -> full",
	"type 2: compact -> none", "type 2: full -> none",
	"type 1: compact -> full", "type 1: compact -> compact", // NODEEXISTS with another list, with the same
	"parent, type 1: compact -> full", "parent, type 2: compact -> full",
}

func (f formTally) check(t *testing.T) {
	t.Helper()
	for _, w := range wantForms {
		for _, running := range []string{"", " in a checkpoint"} {
			if f[w+running] == 0 {
				t.Errorf("no program did %q", w+running)
			}
		}
	}
	if t.Failed() {
		t.Logf("%v", f)
	}
}
