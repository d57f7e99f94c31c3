package watch

import "bytes"

// modes is a set of watch modes. It shares a word with a connection number.
type modes uint32

const (
	standard modes = 1 << iota
	persistent
	recursive

	modeBits = 3
	modeMask = 1<<modeBits - 1
)

// entry is one (connection, path) pair. Its modes are never empty while it is in use.
type entry struct {
	link                // in the pair index; next also links free entries
	conn         uint32 // connection<<modeBits | modes
	node         uint32
	pNext, pPrev uint32 // the path's entries, in the list of node.head or node.recHead
	cNext, cPrev uint32 // the connection's entries
}

func (e *entry) chain() *link { return &e.link }
func (e *entry) modes() modes { return modes(e.conn & modeMask) }
func (e *entry) id() ConnID   { return ConnID(e.conn >> modeBits) }

// node is one watched path. One of its lists is not empty while it is in use.
type node struct {
	link // in the path index; next also links free nodes
	path uint32
	size uint32 // of the path, in bytes
	// Entries with the recursive mode are apart, since a change below the path looks for them only.
	head, recHead uint32
	depth         uint32
}

func (n *node) chain() *link { return &n.link }

// pairs is one of the two watch tables.
type pairs struct {
	store   *blobs
	entries slab[entry]
	nodes   slab[node]
	byPair  index[entry, *entry]
	byPath  index[node, *node]
	// Heads of lists of free records.
	freeEntry, freeNode uint32
	conns               []uint32 // by ConnID: head of the connection's entries
	connCount           int      // connections with an entry
	// recCount is the number of entries with the recursive mode, recDepths that by depth of their path; the last one
	// stands for it and all greater ones.
	recCount  int
	recDepths [depthMax + 1]uint32
}

const depthMax = 31

// init makes p empty, and releases its memory.
func (p *pairs) init(store *blobs) {
	*p = pairs{store: store}
	p.entries.extend() // Number 0 stands for none.
	p.nodes.extend()
	p.byPair.records = &p.entries
	p.byPath.records = &p.nodes
}

func (p *pairs) len() int { return int(p.byPair.count) }

// nodeHash is the half of a path's hash that the path index uses.
func nodeHash(h uint64) uint32 { return uint32(h >> 32) }

// pairHash mixes a connection and a node number (the finalizer of MurmurHash3).
func pairHash(c ConnID, n uint32) uint32 {
	h := uint64(c)<<32 | uint64(n)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return uint32(h >> 32)
}

// find returns the node of a path, or 0.
func (p *pairs) find(path []byte, hash uint64) uint32 {
	if p.byPath.count == 0 {
		return 0
	}
	h := nodeHash(hash)
	for i := p.byPath.first(h); i != 0; {
		n := p.nodes.at(i)
		if n.hash == h && int(n.size) == len(path) && bytes.Equal(p.store.get(n.path, len(path)), path) {
			return i
		}
		i = n.next
	}
	return 0
}

// findEntry returns the entry of a pair, or 0.
func (p *pairs) findEntry(c ConnID, node uint32) uint32 {
	if p.byPair.count == 0 {
		return 0
	}
	h := pairHash(c, node)
	for i := p.byPair.first(h); i != 0; {
		e := p.entries.at(i)
		if e.hash == h && e.node == node && e.id() == c {
			return i
		}
		i = e.next
	}
	return 0
}

// get returns the modes of a pair, 0 if there are none.
func (p *pairs) get(c ConnID, k Key) (entry uint32, m modes) {
	if n := p.find(k.Path, k.Hash); n != 0 {
		if i := p.findEntry(c, n); i != 0 {
			return i, p.entries.at(i).modes()
		}
	}
	return 0, 0
}

// add adds m to the modes of a pair.
func (p *pairs) add(c ConnID, k Key, m modes) {
	if c >= ConnIDMax {
		panic("watch: connection number out of range")
	}
	ni := p.find(k.Path, k.Hash)
	if ni == 0 {
		ni = p.newNode(k)
	}
	if i := p.findEntry(c, ni); i != 0 {
		p.setModes(i, p.entries.at(i).modes()|m)
		return
	}
	i := p.freeEntry
	if i != 0 {
		p.freeEntry = p.entries.at(i).next
	} else {
		i = p.entries.extend()
	}
	e := p.entries.at(i)
	*e = entry{link: link{hash: pairHash(c, ni)}, conn: uint32(c)<<modeBits | uint32(m), node: ni}
	p.byPair.insert(i)
	p.linkPath(i, e)
	if int(c) >= len(p.conns) {
		p.conns = append(p.conns, make([]uint32, int(c)+1-len(p.conns))...)
	}
	if e.cNext = p.conns[c]; e.cNext != 0 {
		p.entries.at(e.cNext).cPrev = i
	} else {
		p.connCount++
	}
	p.conns[c] = i
}

func (p *pairs) newNode(k Key) uint32 {
	i := p.freeNode
	if i != 0 {
		p.freeNode = p.nodes.at(i).next
	} else {
		i = p.nodes.extend()
	}
	*p.nodes.at(i) = node{
		link: link{hash: nodeHash(k.Hash)},
		path: p.store.put(k.Path), size: uint32(len(k.Path)),
		depth: uint32(min(depthMax, depthOf(k.Path))),
	}
	p.byPath.insert(i)
	return i
}

// depthOf is the number of components of a path.
func depthOf(path []byte) int {
	if len(path) == 1 {
		return 0
	}
	return bytes.Count(path, []byte{'/'})
}

// setModes replaces the modes of an entry; none removes it.
func (p *pairs) setModes(i uint32, m modes) {
	e := p.entries.at(i)
	was := e.modes()
	switch {
	case m == was:
	case m == 0:
		p.remove(i, e)
	case (m^was)&recursive != 0:
		p.unlinkPath(e)
		e.conn = e.conn&^modeMask | uint32(m)
		p.linkPath(i, e)
	default:
		e.conn = e.conn&^modeMask | uint32(m)
	}
}

// remove takes an entry out of everything and frees it, and its node with the last entry.
func (p *pairs) remove(i uint32, e *entry) {
	p.unlinkPath(e)
	if e.cNext != 0 {
		p.entries.at(e.cNext).cPrev = e.cPrev
	}
	if e.cPrev != 0 {
		p.entries.at(e.cPrev).cNext = e.cNext
	} else {
		p.conns[e.id()] = e.cNext
		if e.cNext == 0 {
			p.connCount--
		}
	}
	p.byPair.remove(i)
	if n := p.nodes.at(e.node); n.head == 0 && n.recHead == 0 {
		p.byPath.remove(e.node)
		p.store.drop(n.path, int(n.size))
		*n = node{link: link{next: p.freeNode}}
		p.freeNode = e.node
	}
	*e = entry{link: link{next: p.freeEntry}}
	p.freeEntry = i
}

// list returns the head of the list of its path in which e is.
func (p *pairs) list(e *entry) (head *uint32, n *node) {
	n = p.nodes.at(e.node)
	if e.modes()&recursive != 0 {
		return &n.recHead, n
	}
	return &n.head, n
}

func (p *pairs) linkPath(i uint32, e *entry) {
	head, n := p.list(e)
	if e.modes()&recursive != 0 {
		p.recCount++
		p.recDepths[n.depth]++
	}
	e.pPrev, e.pNext = 0, *head
	if *head != 0 {
		p.entries.at(*head).pPrev = i
	}
	*head = i
}

func (p *pairs) unlinkPath(e *entry) {
	head, n := p.list(e)
	if e.modes()&recursive != 0 {
		p.recCount--
		p.recDepths[n.depth]--
	}
	if e.pNext != 0 {
		p.entries.at(e.pNext).pPrev = e.pPrev
	}
	if e.pPrev != 0 {
		p.entries.at(e.pPrev).pNext = e.pNext
	} else {
		*head = e.pNext
	}
}

// removeConn removes all entries of a connection.
func (p *pairs) removeConn(c ConnID) {
	if int(c) >= len(p.conns) {
		return
	}
	for p.conns[c] != 0 {
		i := p.conns[c]
		p.remove(i, p.entries.at(i))
	}
}
