package engine

import "zabra.dev/zabra/engine/arena"

// records is what a tracker has to know of its records. None of it may be called with the
// number of a record that is not in use.
type records interface {
	id(ref uint32) uint64   // place in the image; never changes
	mark(ref uint32) uint32 // epoch of the last change << 1, plus one if the last image lacks the record
	// setMark stores a mark, which mark may also know without: see tracker.createdMark.
	setMark(ref, mark uint32)
	neighbours(ref uint32) *neighbours
	appendImage(dst []byte, ref uint32) []byte // appends the value of the record's image
}

// neighbours are those in a changeList, while a record's mark is not older than the last image.
type neighbours struct{ next, prev uint32 }

// changeList is a list of records that runs through them.
type changeList struct {
	head, tail uint32
	n          int
}

// A tracker knows which records an image lacks, at a constant cost for each change.
//
// Time is counted in epochs, which checkpoints separate. A record whose mark is newer than
// the last durable image ("done") is in exactly one list: one of the current ones, or one of
// those that the running checkpoint (part) has taken over. So:
//
//	mark epoch <= done          as in the image, in no list
//	done < mark epoch <= floor  belongs to the running checkpoint
//	floor < mark epoch          changed since
//
// with floor = part's epoch while a checkpoint runs, done otherwise.
type tracker struct {
	records
	// ordered tells that ids are given in rising order, so that the list of new records is sorted.
	ordered bool

	epoch, floor, done uint32
	floorID, doneID    uint64 // ordered: the last ids that were given in or before those epochs

	created changeList        // the last image lacks them
	changed changeList        // the last image has an older state of them
	gone    arena.Vec[uint64] // ids that the last image has and the tree has not

	part *part
}

func (t *tracker) init(ordered bool, r records) {
	*t = tracker{records: r, ordered: ordered, epoch: 1}
}

// loaded tells that the last image has all records with ids up to lastID.
func (t *tracker) loaded(lastID uint64) { t.floorID, t.doneID = lastID, lastID }

// createdMark returns the mark of a record that has not been changed since its creation: its
// id tells the epoch of that, as far as it matters. Only an ordered tracker knows it.
func (t *tracker) createdMark(id uint64) uint32 {
	switch {
	case id > t.floorID:
		return t.epoch<<1 | 1
	case id > t.doneID:
		return t.part.epoch<<1 | 1
	}
	return 0
}

func (t *tracker) release() { t.gone.Release() }

// count returns the number of records that the next image differs in.
func (t *tracker) count() int { return t.created.n + t.changed.n + t.gone.Len() }

// otherBytes returns the address space of tombstones.
func (t *tracker) otherBytes() int64 { return t.gone.MappedBytes() }

// add notes a new record.
func (t *tracker) add(ref uint32) {
	t.setMark(ref, t.epoch<<1|1)
	t.push(&t.created, ref)
}

// change must be called before a record is changed. If the running checkpoint still has to
// emit it, its value is captured now.
func (t *tracker) change(ref uint32) {
	mark := t.mark(ref)
	if mark>>1 > t.floor {
		return
	}
	if mark>>1 > t.done {
		t.part.lose(ref, mark)
	}
	t.setMark(ref, t.epoch<<1)
	t.push(&t.changed, ref)
}

// remove must be called before a record is changed for its deletion and freed.
func (t *tracker) remove(ref uint32) {
	mark := t.mark(ref)
	epoch, created := mark>>1, mark&1 != 0
	switch {
	case epoch > t.floor && created:
		t.unlink(&t.created, ref)
	case epoch > t.floor:
		t.unlink(&t.changed, ref)
	case epoch > t.done:
		t.part.lose(ref, mark)
	}
	t.setMark(ref, 0)
	if epoch <= t.floor || !created {
		t.gone.Append(t.id(ref)) // else no image has it
	}
}

func (t *tracker) push(l *changeList, ref uint32) {
	*t.neighbours(ref) = neighbours{prev: l.tail}
	if l.tail != 0 {
		t.neighbours(l.tail).next = ref
	} else {
		l.head = ref
	}
	l.tail = ref
	l.n++
}

func (t *tracker) unlink(l *changeList, ref uint32) {
	r := t.neighbours(ref)
	if r.prev != 0 {
		t.neighbours(r.prev).next = r.next
	} else {
		l.head = r.next
	}
	if r.next != 0 {
		t.neighbours(r.next).prev = r.prev
	} else {
		l.tail = r.prev
	}
	l.n--
}

// concat appends list m to l.
func (t *tracker) concat(l, m *changeList) {
	switch {
	case m.head == 0:
		return
	case l.head == 0:
		*l = *m
		return
	}
	t.neighbours(l.tail).next = m.head
	t.neighbours(m.head).prev = l.tail
	l.tail = m.tail
	l.n += m.n
}

// start hands all that changed to a checkpoint. lastID is the last id given, if they rise.
func (t *tracker) start(captured *arena.Blobs, lastID uint64) *part {
	t.part = &part{t: t, epoch: t.epoch, created: t.created, changed: t.changed, gone: t.gone, captured: captured,
		nextCreated: t.created.head, nextChanged: t.changed.head}
	t.created, t.changed, t.gone = changeList{}, changeList{}, arena.Vec[uint64]{}
	t.floor, t.floorID = t.epoch, lastID
	t.epoch++
	return t.part
}

// finish forgets what the checkpoint has made durable.
func (t *tracker) finish() {
	p := t.part
	t.part = nil
	t.done, t.doneID = p.epoch, t.floorID
	p.gone.Release()
	p.release()
}

// abort takes back what start handed over. Records that changed since then are in the
// current list of changed ones although an image may lack them; that only costs a tombstone
// of nothing if they are deleted.
func (t *tracker) abort() {
	p := t.part
	t.part = nil
	t.floor, t.floorID = t.done, t.doneID
	t.concat(&p.created, &t.created)
	t.concat(&p.changed, &t.changed)
	t.created, t.changed = p.created, p.changed
	for i := range t.gone.Len() {
		p.gone.Append(t.gone.At(i))
	}
	t.gone.Release()
	t.gone = p.gone
	p.release()
}
