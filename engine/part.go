package engine

import (
	"cmp"
	"container/heap"
	"slices"

	"zabra.dev/zabra/engine/arena"
)

// A part is one kind of records in a running checkpoint: what the tracker handed over, and
// how far it has been emitted.
//
// Records come out by rising id, from a merge of three sources that are each sorted:
//
//	created   the list itself, if ids are given in rising order
//	runs      everything else: ids and record numbers, gathered in chunks that are sorted
//	          one by one, so that no step is long
//	captured  values of records that were changed before their turn, in a heap
//
// A record that is captured leaves its list; its entry in a run, if it was gathered already,
// must not be looked at any more, and is not: of equal ids the captured value comes first,
// and the others are passed over.
type part struct {
	t     *tracker
	epoch uint32

	created, changed         changeList
	gone                     arena.Vec[uint64]
	nextCreated, nextChanged uint32 // where gathering or emitting has got to
	nextGone                 int

	entries  arena.Vec[entry]
	runs     runHeap
	gathered bool

	values   valueHeap
	captured *arena.Blobs

	lastID  uint64 // of the last record emitted
	started bool   // one was emitted
	buf     []byte
}

// runEntries is the length of a run: sorting one takes about as long as emitting a portion
// of a checkpoint, some tens of microseconds, and merging a million entries compares ten
// heads for each.
const runEntries = arena.VecChunkLen / 4

// entry is a record to emit, or a tombstone if ref is 0.
type entry struct {
	id  uint64
	ref uint32
	_   uint32
}

type run struct {
	entries []entry // not emitted yet; never empty
}

type runHeap []run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return compareEntries(h[i].entries[0], h[j].entries[0]) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(run)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// compareEntries orders by id; of one id, tombstones come last.
func compareEntries(a, b entry) int {
	if c := cmp.Compare(a.id, b.id); c != 0 {
		return c
	}
	return cmp.Compare(b.ref, a.ref)
}

// value is the captured value of a record.
type value struct {
	id  uint64
	ref arena.Ref
	n   uint32
}

// valueHeap is a binary heap by id, written out because it is used while transactions are
// applied, where container/heap would allocate for each element.
type valueHeap []value

func (h *valueHeap) push(v value) {
	s := append(*h, v)
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].id <= s[i].id {
			break
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
	*h = s
}

func (h *valueHeap) pop() value {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s); c++ {
			if s[c].id < s[least].id {
				least = c
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	*h = s
	return top
}

// lose takes a record out of the part because it is about to change; if it has not been
// emitted yet its value is captured.
func (p *part) lose(ref, mark uint32) {
	if id := p.t.id(ref); !p.started || id > p.lastID {
		p.buf = p.t.appendImage(p.buf[:0], ref)
		v := value{id: id, n: uint32(len(p.buf))}
		if len(p.buf) > 0 {
			v.ref = p.captured.Alloc(len(p.buf))
			copy(p.captured.Bytes(v.ref, len(p.buf)), p.buf)
		}
		p.values.push(v)
	}
	list := &p.changed
	if mark&1 != 0 {
		list = &p.created
	}
	next := p.t.neighbours(ref).next
	if p.nextCreated == ref {
		p.nextCreated = next
	}
	if p.nextChanged == ref {
		p.nextChanged = next
	}
	p.t.unlink(list, ref)
}

// gather moves up to max records into runs and returns how many it moved.
func (p *part) gather(max int) int {
	n := 0
	for ; n < max; n++ {
		switch {
		case p.nextChanged != 0:
			p.nextChanged = p.take(p.nextChanged)
		case !p.t.ordered && p.nextCreated != 0:
			p.nextCreated = p.take(p.nextCreated)
		case p.nextGone < p.gone.Len():
			p.put(entry{id: p.gone.At(p.nextGone)})
			p.nextGone++
		default:
			if rest := p.entries.Len() % runEntries; rest > 0 {
				p.addRun(rest)
			}
			heap.Init(&p.runs)
			p.gathered = true
			return n
		}
	}
	return n
}

func (p *part) take(ref uint32) (next uint32) {
	p.put(entry{id: p.t.id(ref), ref: ref})
	return p.t.neighbours(ref).next
}

func (p *part) put(e entry) {
	p.entries.Append(e)
	if p.entries.Len()%runEntries == 0 {
		p.addRun(runEntries)
	}
}

// addRun sorts the last n entries.
func (p *part) addRun(n int) {
	last := p.entries.Chunk(p.entries.Chunks() - 1)
	last = last[len(last)-n:]
	slices.SortFunc(last, compareEntries)
	p.runs = append(p.runs, run{last})
}

// step does up to max units of work: a record emitted or gathered. It returns how much was
// done and whether nothing is left.
func (p *part) step(max int, emit func(id uint64, value []byte) error) (work int, done bool, err error) {
	if !p.gathered {
		work = p.gather(max)
	}
	for ; p.gathered && work < max; work++ {
		more, err := p.emitOne(emit)
		if err != nil || !more {
			return work, !more, err
		}
	}
	return work, false, nil
}

// emitOne emits the record with the least id; more is false if there is none.
func (p *part) emitOne(emit func(id uint64, value []byte) error) (more bool, err error) {
	p.skipStale()
	const (
		none = iota
		fromList
		fromRun
		fromValues
	)
	source, id := none, uint64(0)
	if len(p.values) > 0 {
		source, id = fromValues, p.values[0].id
	}
	if p.t.ordered && p.nextCreated != 0 {
		if created := p.t.id(p.nextCreated); source == none || created < id {
			source, id = fromList, created
		}
	}
	if len(p.runs) > 0 {
		if e := p.runs[0].entries[0]; source == none || e.id < id {
			source, id = fromRun, e.id
		}
	}
	var val []byte
	switch source {
	case none:
		return false, nil
	case fromValues:
		return true, p.emitValue(emit)
	case fromList:
		p.buf = p.t.appendImage(p.buf[:0], p.nextCreated)
		val = p.buf
		p.nextCreated = p.t.neighbours(p.nextCreated).next
	case fromRun:
		if ref := p.runs[0].entries[0].ref; ref != 0 {
			p.buf = p.t.appendImage(p.buf[:0], ref)
			val = p.buf
		}
		p.nextInRun()
	}
	p.lastID, p.started = id, true
	return true, emit(id, val)
}

func (p *part) emitValue(emit func(id uint64, value []byte) error) error {
	v := p.values.pop()
	p.lastID, p.started = v.id, true
	if v.n == 0 {
		return emit(v.id, []byte{})
	}
	err := emit(v.id, p.captured.Bytes(v.ref, int(v.n)))
	p.captured.Free(v.ref, int(v.n))
	return err
}

// skipStale drops the entries at the head of the runs whose ids have been emitted: of records
// that were captured meanwhile, whose values came first, and tombstones of sessions that were
// closed and opened again under their ids.
func (p *part) skipStale() {
	for p.started && len(p.runs) > 0 && p.runs[0].entries[0].id <= p.lastID {
		p.nextInRun()
	}
}

func (p *part) nextInRun() {
	r := &p.runs[0]
	r.entries = r.entries[1:]
	if len(r.entries) == 0 {
		heap.Pop(&p.runs)
	} else {
		heap.Fix(&p.runs, 0)
	}
}

func (p *part) release() {
	for _, v := range p.values {
		if v.n > 0 {
			p.captured.Free(v.ref, int(v.n))
		}
	}
	p.entries.Release()
}
