package watch

import "iter"

// NumWatches is the count of (connection, path) pairs in both tables, whatever their modes: the metric watch_count.
func (t *Table) NumWatches() int { return t.data.len() + t.child.len() }

// Summary counts the data table: connections with a watch, watched paths, and pairs of both. It is
// what the word wchs shows. Source: operations section on four-letter words.
type Summary struct{ Conns, Paths, Watches int }

// DataSummary counts the data table.
func (t *Table) DataSummary() Summary {
	return Summary{t.data.connCount, int(t.data.byPath.count), t.data.len()}
}

// DataByConn iterates over the connections that have data watches and the paths of each: the word wchc. Paths
// are lent until the table is used. The table must not be changed meanwhile.
func (t *Table) DataByConn() iter.Seq2[ConnID, iter.Seq[[]byte]] {
	p := &t.data
	return func(yield func(ConnID, iter.Seq[[]byte]) bool) {
		for c, head := range p.conns {
			if head == 0 {
				continue
			}
			paths := func(yield func([]byte) bool) {
				for i := head; i != 0; {
					e := p.entries.at(i)
					n := p.nodes.at(e.node)
					if !yield(p.store.get(n.path, int(n.size))) {
						return
					}
					i = e.cNext
				}
			}
			if !yield(ConnID(c), paths) {
				return
			}
		}
	}
}

// DataByPath iterates over the paths with data watches and the connections of each: the word wchp. The terms are those of DataByConn.
func (t *Table) DataByPath() iter.Seq2[[]byte, iter.Seq[ConnID]] {
	p := &t.data
	return func(yield func([]byte, iter.Seq[ConnID]) bool) {
		for b := uint32(0); b < p.byPath.buckets.len; b++ {
			for i := *p.byPath.buckets.at(b); i != 0; {
				n := p.nodes.at(i)
				conns := func(yield func(ConnID) bool) {
					for _, i := range [2]uint32{n.head, n.recHead} {
						for i != 0 {
							e := p.entries.at(i)
							if !yield(e.id()) {
								return
							}
							i = e.pNext
						}
					}
				}
				if !yield(p.store.get(n.path, int(n.size)), conns) {
					return
				}
				i = n.next
			}
		}
	}
}

// Bytes is the memory the table holds.
func (t *Table) Bytes() int {
	n := t.store.bytes() + 4*(cap(t.marks))
	for _, p := range []*pairs{&t.data, &t.child} {
		n += p.entries.capacity()*32 + p.nodes.capacity()*28 + 4*(p.byPair.buckets.capacity()+p.byPath.buckets.capacity()+cap(p.conns))
	}
	return n
}
