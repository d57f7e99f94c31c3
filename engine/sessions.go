package engine

import (
	"slices"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// session is the record of a session that is in the session table, or that owns ephemerals
// without being in it (which a fuzzy snapshot, a local session's transaction or a lost close
// can leave behind), or both.
type session struct {
	id         uint64 // the session id's bits
	timeoutMs  int32
	open       uint32 // 1: in the session table
	ephemerals memberList
	mark       uint32 // of the tracker of changes, and its lists
	changes    neighbours
	next, prev uint32 // all open sessions, in order of opening
}

type sessionTable struct {
	slab    arena.Slab[session]
	index   index // by sessionHash
	changes tracker
	head    uint32 // list of open sessions
	tail    uint32
	open    int
}

func (t *sessionTable) init() {
	t.changes.init(false, sessionRecords{t})
}

// sessionRecords shows sessions to their tracker of changes.
type sessionRecords struct{ t *sessionTable }

func (r sessionRecords) id(ref uint32) uint64     { return r.t.slab.At(ref).id }
func (r sessionRecords) mark(ref uint32) uint32   { return r.t.slab.At(ref).mark }
func (r sessionRecords) setMark(ref, mark uint32) { r.t.slab.At(ref).mark = mark }
func (r sessionRecords) neighbours(ref uint32) *neighbours {
	return &r.t.slab.At(ref).changes
}
func (r sessionRecords) appendImage(dst []byte, ref uint32) []byte { return r.t.appendImage(dst, ref) }

func (t *sessionTable) release() {
	t.slab.Release()
	t.index.release()
	t.changes.release()
}

// sessionHash spreads an id over 32 bits (the finalizer of splitmix64): ids differ in few bits.
func sessionHash(id proto.SessionID) uint32 {
	h := uint64(id)
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return uint32((h ^ h>>31) >> 32)
}

func (t *sessionTable) find(id proto.SessionID) uint32 {
	for p := t.index.probe(sessionHash(id)); ; {
		ref := p.next()
		if ref == 0 || t.slab.At(ref).id == uint64(id) {
			return ref
		}
	}
}

func (t *sessionTable) findOrAdd(id proto.SessionID) uint32 {
	if ref := t.find(id); ref != 0 {
		return ref
	}
	ref := t.slab.Alloc()
	t.slab.At(ref).id = uint64(id)
	t.index.insert(sessionHash(id), ref)
	return ref
}

func (t *sessionTable) dropIfUnused(ref uint32) {
	s := t.slab.At(ref)
	if s.open != 0 || s.ephemerals.n != 0 {
		return
	}
	t.index.remove(sessionHash(proto.SessionID(s.id)), ref)
	t.slab.Free(ref)
}

// put opens the session or sets its timeout.
func (t *sessionTable) put(id proto.SessionID, timeoutMs int32) {
	ref := t.findOrAdd(id)
	s := t.slab.At(ref)
	if s.open != 0 {
		if s.timeoutMs != timeoutMs {
			t.changes.change(ref)
			s.timeoutMs = timeoutMs
		}
		return
	}
	t.enter(ref, s, timeoutMs)
	t.changes.add(ref)
}

// enter puts a record into the list of open sessions.
func (t *sessionTable) enter(ref uint32, s *session, timeoutMs int32) {
	s.open, s.timeoutMs = 1, timeoutMs
	s.next, s.prev = 0, t.tail
	if t.tail != 0 {
		t.slab.At(t.tail).next = ref
	} else {
		t.head = ref
	}
	t.tail = ref
	t.open++
}

// remove closes the session; its ephemerals stay.
func (t *sessionTable) remove(id proto.SessionID) {
	ref := t.find(id)
	if ref == 0 {
		return
	}
	s := t.slab.At(ref)
	if s.open == 0 {
		return
	}
	t.changes.remove(ref)
	if s.prev != 0 {
		t.slab.At(s.prev).next = s.next
	} else {
		t.head = s.next
	}
	if s.next != 0 {
		t.slab.At(s.next).prev = s.prev
	} else {
		t.tail = s.prev
	}
	s.open, s.next, s.prev = 0, 0, 0
	t.open--
	t.dropIfUnused(ref)
}

// Session returns the timeout of a session in the session table.
func (e *Engine) Session(id proto.SessionID) (timeoutMs int32, ok bool) {
	ref := e.sessions.find(id)
	if ref == 0 {
		return 0, false
	}
	s := e.sessions.slab.At(ref)
	return s.timeoutMs, s.open != 0
}

// SessionCount returns the size of the session table.
func (e *Engine) SessionCount() int { return e.sessions.open }

// EachSession calls f with each session in the table, in order of their opening; in that of
// their ids after a load. f must not write.
func (e *Engine) EachSession(f func(id proto.SessionID, timeoutMs int32)) {
	for ref := e.sessions.head; ref != 0; {
		s := e.sessions.slab.At(ref)
		ref = s.next
		f(proto.SessionID(s.id), s.timeoutMs)
	}
}

// EachEphemeral calls f with each ephemeral of the session, in order of their creation, until
// f returns false. f must not write.
func (e *Engine) EachEphemeral(id proto.SessionID, f func(NodeRef) bool) {
	if ref := e.sessions.find(id); ref != 0 {
		e.eachMember(&e.sessions.slab.At(ref).ephemerals, f)
	}
}

// EphemeralCountOf returns the number of ephemerals of one session.
func (e *Engine) EphemeralCountOf(id proto.SessionID) int {
	ref := e.sessions.find(id)
	if ref == 0 {
		return 0
	}
	return int(e.sessions.slab.At(ref).ephemerals.n)
}

// EachEphemeralSession calls f with each session that owns ephemerals, whether or not it is
// in the session table, and their number, until f returns false. The order has no meaning.
// f must not write.
func (e *Engine) EachEphemeralSession(f func(id proto.SessionID, ephemerals int) bool) {
	e.sessions.index.each(func(ref uint32) bool {
		s := e.sessions.slab.At(ref)
		return s.ephemerals.n == 0 || f(proto.SessionID(s.id), int(s.ephemerals.n))
	})
}

// RemoveOrphans deletes the ephemerals of sessions that are not in the session table, at the
// last zxid and without a transaction, as a server does when it starts as leader or
// standalone (storage formats, section 5), and returns their number. Only the writer may
// call it. sink may be nil.
func (e *Engine) RemoveOrphans(sink Sink) int {
	var orphans []proto.SessionID
	e.EachEphemeralSession(func(id proto.SessionID, _ int) bool {
		if _, open := e.Session(id); !open {
			orphans = append(orphans, id)
		}
		return true
	})
	slices.Sort(orphans)
	before := e.ephemerals
	for _, id := range orphans {
		e.removeEphemerals(id, e.lastZxid, sink)
	}
	return before - e.ephemerals
}
