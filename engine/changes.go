package engine

import "zabra.dev/zabra/engine/arena"

// tracked is the part of a record by which its tracker knows whether the last image has it as
// it is.
type tracked struct {
	id         uint64 // place in the image; never changes
	mark       uint32 // epoch of the last change << 1, plus one if the last image lacks the record
	next, prev uint32 // neighbours in a changeList, while mark is not older than the last image
	aux        uint32 // free for the record's owner
}

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
	at     func(ref uint32) *tracked
	encode func(dst []byte, ref uint32) []byte // appends the value of the record's image
	// ordered tells that ids are given in rising order, so that the list of new records is sorted.
	ordered bool

	epoch, floor, done uint32

	created changeList        // the last image lacks them
	changed changeList        // the last image has an older state of them
	gone    arena.Vec[uint64] // ids that the last image has and the tree has not

	part *part
}

func (t *tracker) init(ordered bool, at func(uint32) *tracked, encode func([]byte, uint32) []byte) {
	*t = tracker{at: at, encode: encode, ordered: ordered, epoch: 1}
}

func (t *tracker) release() { t.gone.Release() }

// count returns the number of records that the next image differs in.
func (t *tracker) count() int { return t.created.n + t.changed.n + t.gone.Len() }

// otherBytes returns the address space of tombstones.
func (t *tracker) otherBytes() int64 { return t.gone.MappedBytes() }

// add notes a new record.
func (t *tracker) add(ref uint32, r *tracked) {
	r.mark = t.epoch<<1 | 1
	t.push(&t.created, ref, r)
}

// change must be called before a record is changed. If the running checkpoint still has to
// emit it, its value is captured now.
func (t *tracker) change(ref uint32, r *tracked) {
	if r.mark>>1 > t.floor {
		return
	}
	if r.mark>>1 > t.done {
		t.part.lose(ref, r)
	}
	r.mark = t.epoch << 1
	t.push(&t.changed, ref, r)
}

// remove must be called before a record is changed for its deletion and freed.
func (t *tracker) remove(ref uint32, r *tracked) {
	epoch, created := r.mark>>1, r.mark&1 != 0
	switch {
	case epoch > t.floor && created:
		t.unlink(&t.created, r)
	case epoch > t.floor:
		t.unlink(&t.changed, r)
	case epoch > t.done:
		t.part.lose(ref, r)
	}
	r.mark = 0
	if epoch <= t.floor || !created {
		t.gone.Append(r.id) // else no image has it
	}
}

func (t *tracker) push(l *changeList, ref uint32, r *tracked) {
	r.next, r.prev = 0, l.tail
	if l.tail != 0 {
		t.at(l.tail).next = ref
	} else {
		l.head = ref
	}
	l.tail = ref
	l.n++
}

func (t *tracker) unlink(l *changeList, r *tracked) {
	if r.prev != 0 {
		t.at(r.prev).next = r.next
	} else {
		l.head = r.next
	}
	if r.next != 0 {
		t.at(r.next).prev = r.prev
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
	t.at(l.tail).next = m.head
	t.at(m.head).prev = l.tail
	l.tail = m.tail
	l.n += m.n
}

// start hands all that changed to a checkpoint.
func (t *tracker) start(captured *arena.Blobs) *part {
	t.part = &part{t: t, epoch: t.epoch, created: t.created, changed: t.changed, gone: t.gone, captured: captured,
		nextCreated: t.created.head, nextChanged: t.changed.head}
	t.created, t.changed, t.gone = changeList{}, changeList{}, arena.Vec[uint64]{}
	t.floor = t.epoch
	t.epoch++
	return t.part
}

// finish forgets what the checkpoint has made durable.
func (t *tracker) finish() {
	p := t.part
	t.part = nil
	t.done = p.epoch
	p.gone.Release()
	p.release()
}

// abort takes back what start handed over. Records that changed since then are in the
// current list of changed ones although an image may lack them; that only costs a tombstone
// of nothing if they are deleted.
func (t *tracker) abort() {
	p := t.part
	t.part = nil
	t.floor = t.done
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
