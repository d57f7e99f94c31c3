package watch

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/proto"
)

// Created fires the watches for the creation of node below parent: NodeCreated to the data watches of node (and
// recursive ones above), then NodeChildrenChanged to the child watches of parent. The keys are borrowed until return. Source: section 7.4.
func (t *Table) Created(node, parent Key, n Notifier) {
	t.fireData(node, proto.EventCreated, false, n)
	t.fireChild(parent, proto.EventChildrenChanged, true, false, n)
}

// Deleted fires the watches for the deletion of node below parent: NodeDeleted to the data watches of node (and
// recursive ones above), NodeDeleted to its child watches save those of connections told just before, then NodeChildrenChanged
// to the child watches of parent.
func (t *Table) Deleted(node, parent Key, n Notifier) {
	both := t.child.len() != 0 && t.child.find(node.Path, node.Hash) != 0
	t.fireData(node, proto.EventDeleted, both, n)
	if both {
		t.fireChild(node, proto.EventDeleted, false, true, n)
	}
	t.fireChild(parent, proto.EventChildrenChanged, true, false, n)
}

// DataChanged fires the data watches of node (and recursive ones above).
func (t *Table) DataChanged(node Key, n Notifier) {
	t.fireData(node, proto.EventDataChanged, false, n)
}

// fireData looks node up in the data table. With mark, the connections told are marked for the lookup that follows.
func (t *Table) fireData(node Key, ev proto.EventType, mark bool, n Notifier) {
	p := &t.data
	if p.len() == 0 && !mark {
		return
	}
	// Connections of different paths may be the same; those of one path are not.
	if up := p.recCount != 0; up || mark {
		t.nextSweep()
		t.fireAt(p, p.find(node.Path, node.Hash), markOnly, ev, false, n)
		if up {
			t.fireAncestors(node.Path, ev, n)
		}
	} else {
		t.fireAt(p, p.find(node.Path, node.Hash), markNone, ev, false, n)
	}
	t.flush(ev, false, n)
	t.release()
}

// fireAncestors tells the recursive watches at proper ancestors of path.
func (t *Table) fireAncestors(path []byte, ev proto.EventType, n Notifier) {
	p := &t.data
	if len(path) < 2 {
		return
	}
	depth, end := 0, 0 // path[:end] has depth components
	for {
		if p.recDepths[min(depth, depthMax)] != 0 {
			prefix := path[:max(end, 1)]
			if i := p.find(prefix, xxhash.Sum64(prefix)); i != 0 {
				for e := p.nodes.at(i).recHead; e != 0; {
					en := p.entries.at(e)
					t.tell(en.id(), markCheck, ev, false, n)
					e = en.pNext
				}
			}
		}
		next := bytes.IndexByte(path[end+1:], '/')
		if next < 0 {
			return
		}
		end += 1 + next
		depth++
	}
}

// fireChild looks a path up in the child table. With skip, connections that are marked are not told.
func (t *Table) fireChild(k Key, ev proto.EventType, onParent, skip bool, n Notifier) {
	p := &t.child
	if p.len() == 0 {
		return
	}
	mark := markNone
	if skip {
		mark = markCheck
	}
	t.fireAt(p, p.find(k.Path, k.Hash), mark, ev, onParent, n)
	t.flush(ev, onParent, n)
	t.release()
}

// fireAt tells the entries of a node, and takes the standard mode from them. ni may be 0.
func (t *Table) fireAt(p *pairs, ni uint32, mark marking, ev proto.EventType, onParent bool, n Notifier) {
	if ni == 0 {
		return
	}
	nd := p.nodes.at(ni)
	lists := [2]uint32{nd.head, nd.recHead}
	// Removing the last entry frees nd.
	for _, i := range lists {
		for i != 0 {
			e := p.entries.at(i)
			c, m, next := e.id(), e.modes(), e.pNext
			if m&standard != 0 {
				p.setModes(i, m&^standard)
			}
			t.tell(c, mark, ev, onParent, n)
			i = next
		}
	}
}

// marking is how a lookup treats marks.
type marking uint8

const (
	markNone  marking = iota // connections cannot be met twice
	markOnly                 // the first that is met in a sweep: mark it
	markCheck                // skip it when marked, else mark it
)

// tell puts c on the batch.
func (t *Table) tell(c ConnID, mark marking, ev proto.EventType, onParent bool, n Notifier) {
	if mark != markNone {
		if int(c) >= len(t.marks) {
			t.marks = append(t.marks, make([]uint32, int(c)+1-len(t.marks))...)
		}
		if mark == markCheck && t.marks[c] == t.sweep {
			return
		}
		t.marks[c] = t.sweep
	}
	t.batch[t.batched] = c
	t.batched++
	if t.batched == batchSize {
		t.flush(ev, onParent, n)
	}
}

func (t *Table) flush(ev proto.EventType, onParent bool, n Notifier) {
	if t.batched > 0 {
		n.Notify(t.batch[:t.batched], ev, onParent)
		t.batched = 0
	}
}

// nextSweep makes all marks invalid.
func (t *Table) nextSweep() {
	t.sweep++
	if t.sweep == 0 {
		clear(t.marks)
		t.sweep = 1
	}
}
