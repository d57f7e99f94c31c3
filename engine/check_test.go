package engine

import (
	"bytes"
	"hash/crc32"
	"testing"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

func newEngine(t testing.TB, opts Options) *Engine {
	t.Helper()
	e, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// check verifies what the engine promises itself: that every structure beside the tree agrees
// with a walk of the tree, and the digest with its definition.
func (e *Engine) check(t testing.TB) {
	t.Helper()
	var digest uint64
	var dataBytes, textUsed, aclUsed int64
	nodes, compact, marked, ephemerals, containers, ttls := 0, 0, 0, 0, 0, 0
	users := map[uint32]uint32{}
	bySession := map[int64]int{}
	e.walk(e.root, func(ref NodeRef, n *node) {
		nodes++
		path := e.AppendPath(nil, ref)
		if e.Lookup(path) != ref {
			t.Fatalf("%s does not find itself", path)
		}
		if ref == e.root {
			path = nil
		}
		data := e.dataOf(n)
		dataBytes += int64(len(path) + len(data))
		textUsed += int64(len(e.nameOf(n)) + len(data))
		children := int32(0)
		prev := NodeRef(0)
		for c := e.FirstChild(ref); c != 0; c = e.NextSibling(c) {
			if cn := e.nodes.At(uint32(c)); cn.parent != ref || cn.prev != prev {
				t.Fatalf("%s: links of child %s", path, e.Name(c))
			}
			prev = c
			children++
		}
		var node Node
		e.Node(ref, &node)
		if children != node.NumChildren {
			t.Fatalf("%s: %d children, stat says %d", path, children, node.NumChildren)
		}
		if node.PathDataCRC != crc32.ChecksumIEEE(append(bytes.Clone(path), data...)) {
			t.Fatalf("%s: CRC", path)
		}
		system := bytes.HasPrefix(path, []byte("/zookeeper/"))
		if system != e.isSystem(n) {
			t.Fatalf("%s: system flag", path)
		}
		if !system {
			digest += slowDigest(path, data, node.StatPersisted)
		}
		if node.ACLID != 0 {
			users[node.ACLID]++
		}
		if e.nodeChanges.mark(uint32(ref))>>1 > e.nodeChanges.done {
			marked++
		}
		if n.compact() {
			compact++
			if !fitsCompact(e.nameOf(n), data, node.ACLID, &node.StatPersisted) || node.NumChildren != 0 || system {
				t.Fatalf("%s is compact: %+v", path, node)
			}
		} else if big := arena.IsBig(len(e.nameOf(n)) + len(data)); big != (n.form() == formFullBig) {
			t.Fatalf("%s: form %d, big %v", path, n.form(), big)
		}
		owner := node.EphemeralOwner
		switch kind, _ := e.opts.ownerKind(owner); kind {
		case ownerSession:
			ephemerals++
			bySession[owner]++
		case ownerContainer:
			containers++
		case ownerTTL:
			ttls++
		}
	})
	if nodes != e.NodeCount() || nodes-1 != e.paths.live || nodes-1 != e.NumDescendants(e.root) {
		t.Fatalf("%d nodes in the tree, %d counted, %d in the index", nodes, e.NodeCount(), e.paths.live)
	}
	if got := nodes - e.extras.Len(); got != compact {
		t.Fatalf("%d nodes are compact, %d have no extra", compact, got)
	}
	if !e.opts.Digest {
		digest = 0
	}
	if digest != e.Digest() {
		t.Fatalf("digest %#x, want %#x", e.Digest(), digest)
	}
	if dataBytes != e.DataBytes() {
		t.Fatalf("%d bytes of paths and data, want %d", e.DataBytes(), dataBytes)
	}
	if got := e.texts.Usage().UsedBytes; got != textUsed {
		t.Fatalf("%d bytes of names and data in the arena, want %d", got, textUsed)
	}
	lists := 0
	for id, n := range users {
		a := e.acls.slab.At(id)
		if a.users != n {
			t.Fatalf("ACL %d has %d users, want %d", id, a.users, n)
		}
		aclUsed += int64(len(e.acls.raw(a)))
		lists++
	}
	if e.checkpoint == nil {
		if lists != e.acls.slab.Len() || lists != e.acls.index.live {
			t.Fatalf("%d lists of ACLs are used, %d kept, %d in the index", lists, e.acls.slab.Len(), e.acls.index.live)
		}
		if got := e.aclBytes.Usage().UsedBytes; got != aclUsed {
			t.Fatalf("%d bytes of ACLs in the arena, want %d", got, aclUsed)
		}
	}
	if ephemerals != e.EphemeralCount() || containers != e.ContainerCount() || ttls != e.TTLCount() {
		t.Fatalf("%d ephemerals, %d containers, %d TTL nodes, want %d, %d, %d",
			e.EphemeralCount(), e.ContainerCount(), e.TTLCount(), ephemerals, containers, ttls)
	}
	if ephemerals+containers+ttls != e.members.Len() {
		t.Fatalf("%d members, want %d", e.members.Len(), ephemerals+containers+ttls)
	}
	e.EachEphemeralSession(func(id proto.SessionID, n int) bool {
		if bySession[id] != n {
			t.Fatalf("session %#x has %d ephemerals, want %d", id, n, bySession[id])
		}
		delete(bySession, id)
		return true
	})
	if len(bySession) > 0 {
		t.Fatalf("sessions are missing: %v", bySession)
	}
	listed := e.nodeChanges.created.n + e.nodeChanges.changed.n
	if p := e.nodeChanges.part; p != nil {
		listed += p.created.n + p.changed.n
	}
	if listed != marked {
		t.Fatalf("%d nodes are in lists of changes, %d have marks that say so", listed, marked)
	}
	checkTracker(t, &e.nodeChanges)
	checkTracker(t, &e.sessions.changes)
}

// checkTracker walks the lists of changes.
func checkTracker(t testing.TB, tr *tracker) {
	t.Helper()
	walk := func(name string, l *changeList, low, high, created uint32) {
		n, prev := 0, uint32(0)
		for ref := l.head; ref != 0; ref = tr.neighbours(ref).next {
			r, mark := tr.neighbours(ref), tr.mark(ref)
			if r.prev != prev || mark>>1 <= low || mark>>1 > high || mark&1 != created {
				t.Fatalf("list %s: record %d: mark %d, %+v", name, ref, mark, *r)
			}
			if prev != 0 && created == 1 && tr.ordered && tr.id(prev) >= tr.id(ref) {
				t.Fatalf("list %s is not ordered", name)
			}
			prev = ref
			n++
		}
		if n != l.n || prev != l.tail {
			t.Fatalf("list %s has %d records, want %d", name, n, l.n)
		}
	}
	walk("created", &tr.created, tr.floor, tr.epoch, 1)
	walk("changed", &tr.changed, tr.floor, tr.epoch, 0)
	if p := tr.part; p != nil {
		walk("created, checkpoint", &p.created, tr.done, p.epoch, 1)
		walk("changed, checkpoint", &p.changed, tr.done, p.epoch, 0)
	}
}

// slowDigest is the definition of a node's digest (quorum protocol, section 7.3).
func slowDigest(path, data []byte, s proto.StatPersisted) uint64 {
	b := append(bytes.Clone(path), data...)
	for _, v := range []int64{s.Czxid, s.Mzxid, s.Pzxid, s.Ctime, s.Mtime} {
		b = appendBig(b, uint64(v), 8)
	}
	for _, v := range []int32{s.Version, s.Cversion, s.Aversion} {
		b = appendBig(b, uint64(uint32(v)), 4)
	}
	b = appendBig(b, uint64(s.EphemeralOwner), 8)
	return uint64(crc32.ChecksumIEEE(b))
}

func appendBig(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}
