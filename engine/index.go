package engine

import "zabra.dev/zabra/engine/arena"

// An index finds record numbers by a 32-bit hash. It is an open-addressing table off Go's
// heap, with linear probing; a slot holds the hash in its high half and the record number in
// its low half, and 0 is free. The caller compares records, since hashes collide.
//
// It grows without a pause: a table that is full enough becomes "old", one of 1.5 times its
// size takes the new entries, and each later change moves a few slots, from the front, until
// the old one is empty. Slots map to positions by multiplication, not by mask: so the size
// need not be a power of two, and the slots before the cursor of the old table are exactly
// those whose entries have moved. Reads look in both tables and write nothing.
//
// Invariants, of each table t: an entry sits at or behind its home, and no free slot lies
// between; in the old one this holds from the cursor on.
type index struct {
	cur, old table
	next     table  // for the time after cur, or empty
	touched  int    // pages of next that have memory
	moved    uint32 // old slots before this one are empty
	live     int
}

type table struct {
	slots arena.Region[uint64]
	n     uint32 // number of slots
}

const (
	indexMinSlots = 64
	// indexMoveSlots is how many slots of the old table each change moves. A new table takes
	// 0.425 n entries before it is as full as its predecessor, whose n slots are then long gone.
	indexMoveSlots = 16
	// indexNextDen: the next table is mapped when a table has 1/16 of its slots to go.
	indexNextDen = 16
	// A table is full at 13/16: linear probing then looks at about three slots for a hit and
	// fifteen for a miss; with the growth of 1.5 the mean is about 2/3 full, 12 bytes an entry.
	indexFullNum, indexFullDen = 13, 16
)

func newTable(n uint32) table { return table{arena.NewRegion[uint64](int(n)), n} }

func (t *table) home(h uint32) uint32 {
	return uint32(uint64(h) * uint64(t.n) >> 32)
}

// A probe walks the record numbers whose hash equals h.
type probe struct {
	x      *index
	t      *table
	pos, h uint32
}

func (x *index) probe(h uint32) probe {
	p := probe{x: x, h: h}
	if x.cur.n != 0 {
		p.t = &x.cur
		p.pos = x.cur.home(h)
	}
	return p
}

// next returns the next candidate, 0 at the end.
func (p *probe) next() uint32 {
	for p.t != nil {
		slots, pos := p.t.slots.Values, p.pos
		for {
			s := slots[pos]
			if s == 0 {
				break
			}
			pos++
			if pos == uint32(len(slots)) {
				pos = 0
			}
			if uint32(s>>32) == p.h {
				p.pos = pos
				return uint32(s)
			}
		}
		if p.t == &p.x.old || p.x.old.n == 0 {
			p.t = nil
			return 0
		}
		p.t = &p.x.old
		// Entries whose home lies before the cursor and that have not moved yet form one run
		// with the cursor.
		p.pos = max(p.t.home(p.h), p.x.moved)
		if p.pos == p.t.n {
			p.t = nil
		}
	}
	return 0
}

// insert adds an entry; it does not look for an equal one.
func (x *index) insert(h, ref uint32) {
	x.live++
	full := int(uint64(x.cur.n) * indexFullNum / indexFullDen)
	if x.live > full {
		x.grow()
	} else if early := int(x.cur.n / indexNextDen); x.live > full-early {
		x.prepare(x.live-(full-early), early)
	}
	x.move()
	x.cur.put(uint64(h)<<32 | uint64(ref))
}

func (t *table) put(s uint64) {
	slots, pos := t.slots.Values, t.home(uint32(s>>32))
	for slots[pos] != 0 {
		pos++
		if pos == uint32(len(slots)) {
			pos = 0
		}
	}
	slots[pos] = s
}

// prepare maps the next table and touches the done-th of steps parts of its memory.
func (x *index) prepare(done, steps int) {
	if x.next.n == 0 {
		x.next, x.touched = newTable(x.cur.n+x.cur.n/2), 0
	}
	for pages := x.next.slots.Pages(); x.touched < pages*done/steps; x.touched++ {
		x.next.slots.Touch(x.touched)
	}
}

func (x *index) grow() {
	for x.old.n != 0 { // cannot happen by insertions alone, see indexMoveSlots
		x.move()
	}
	if x.next.n == 0 {
		x.next = newTable(max(indexMinSlots, x.cur.n+x.cur.n/2))
	}
	x.old, x.moved = x.cur, 0
	x.cur, x.next = x.next, table{}
}

// move carries some slots of the old table over.
func (x *index) move() {
	if x.old.n == 0 {
		return
	}
	slots := x.old.slots.Values
	end := min(x.moved+indexMoveSlots, x.old.n)
	if x.moved == 0 {
		// The run at the front may have begun at the table's end: it moves as a whole, or
		// probes that wrap around would stop at its first free slot.
		for end < x.old.n && slots[end-1] != 0 {
			end++
		}
	}
	for ; x.moved < end; x.moved++ {
		if s := slots[x.moved]; s != 0 {
			x.cur.put(s)
			slots[x.moved] = 0
		}
	}
	if x.moved == x.old.n {
		x.old.slots.Release()
		x.old, x.moved = table{}, 0
		return
	}
	x.old.slots.DropBefore(int(x.moved))
}

// remove deletes the entry, which must be there.
func (x *index) remove(h, ref uint32) {
	x.move()
	x.live--
	want := uint64(h)<<32 | uint64(ref)
	if x.cur.remove(want, x.cur.home(h)) {
		return
	}
	if x.old.n == 0 || !x.old.remove(want, max(x.old.home(h), x.moved)) {
		panic("engine: index entry to remove is missing")
	}
}

// remove looks for the slot from start on and closes the gap behind it.
func (t *table) remove(want uint64, start uint32) bool {
	slots, n := t.slots.Values, t.n
	if start == n {
		return false
	}
	pos := start
	for ; slots[pos] != want; pos = t.after(pos) {
		if slots[pos] == 0 {
			return false
		}
	}
	gap := pos
	for pos = t.after(pos); slots[pos] != 0; pos = t.after(pos) {
		home := t.home(uint32(slots[pos] >> 32))
		// The entry may fill the gap unless its home lies behind the gap, cyclically.
		if (pos+n-home)%n >= (pos+n-gap)%n {
			slots[gap] = slots[pos]
			gap = pos
		}
	}
	slots[gap] = 0
	return true
}

func (t *table) after(pos uint32) uint32 {
	if pos++; pos == t.n {
		return 0
	}
	return pos
}

// mappedBytes returns the address space of all tables.
func (x *index) mappedBytes() int64 {
	return x.cur.slots.MappedBytes() + x.old.slots.MappedBytes() + x.next.slots.MappedBytes()
}

func (x *index) release() {
	x.cur.slots.Release()
	x.old.slots.Release()
	x.next.slots.Release()
	*x = index{}
}

// each calls f with each record number until f returns false.
func (x *index) each(f func(ref uint32) bool) {
	for _, t := range []*table{&x.old, &x.cur} {
		for _, s := range t.slots.Values {
			if s != 0 && !f(uint32(s)) {
				return
			}
		}
	}
}
