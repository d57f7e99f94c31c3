package server

import (
	"sync/atomic"

	"zabra.dev/zabra/engine/proto"
)

// A session is what the tracker knows beyond the replicated table of the engine.
type session struct {
	id        proto.SessionID
	timeoutMs int32
	// conn is the connection that holds the session here; nil when there is none.
	conn *clientConn
	// heardMs is when the session was last heard of while no connection held it.
	heardMs int64
	// bucketMs is the bucket that the session waits in.
	bucketMs int64
	// closing: a closeSession has been prepared; further requests are refused.
	closing bool
	// owner is whose connection uses the session, in an ensemble: localOwner or a learner; nil before
	// anybody does (client protocol, section 9.4).
	owner any
	// durable: the createSession has been applied, or there is none.
	durable bool
	// local: no other server knows the session; sessionTracker.setLocal sets it.
	local bool
}

// sessionTracker expires sessions that are not heard of. Times are server.nowMs times.
// It belongs to the replica goroutine, but for locals.
//
// Requests do not touch it. Connections note when they last read something, and a session whose
// bucket comes up is asked then, so that the cost per request is one store.
// Source: client protocol, sections 9.1 and 9.2.
type sessionTracker struct {
	tickMs   int64
	sessions map[proto.SessionID]*session
	buckets  map[int64][]*session
	// nextBucketMs is the earliest bucket not looked at yet.
	nextBucketMs int64
	nextID       proto.SessionID
	// nowMs is the time of the turn, for sessions that preparation takes up.
	nowMs int64
	// serverID is in the high byte of the ids that this server gives.
	serverID int64
	// localAllowed: servers have sessions of their own, which this one does not know.
	localAllowed bool
	// locals counts the local sessions. Anybody may load it.
	locals atomic.Int64
}

func newSessionTracker(tickMs, nowMs int64, serverID int64, wallMs int64) *sessionTracker {
	t := &sessionTracker{tickMs: tickMs, serverID: serverID, sessions: map[proto.SessionID]*session{}, buckets: map[int64][]*session{}}
	t.nextBucketMs = t.bucket(nowMs)
	t.nextID = firstSessionID(serverID, wallMs)
	return t
}

// firstSessionID is the id that a server counts up from: its own id in the high byte, then 40
// bits of clock (client protocol, section 2.4). The wall clock keeps ids from being reused
// after a reboot.
func firstSessionID(serverID, wallMs int64) proto.SessionID {
	id := int64(uint64(wallMs)<<24>>8) | serverID<<56
	if id == proto.OwnerContainer {
		id++
	}
	return id
}

// bucket rounds a time up to the tick it falls in.
func (t *sessionTracker) bucket(ms int64) int64 { return (ms/t.tickMs + 1) * t.tickMs }

// create adds a session under a fresh id.
func (t *sessionTracker) create(timeoutMs int32, conn *clientConn, nowMs int64) *session {
	for {
		id := t.nextID
		t.nextID++
		if _, taken := t.sessions[id]; !taken && id != 0 {
			return t.add(id, timeoutMs, conn, nowMs)
		}
	}
}

// add takes a session up with its whole timeout ahead.
func (t *sessionTracker) add(id proto.SessionID, timeoutMs int32, conn *clientConn, nowMs int64) *session {
	s := &session{id: id, timeoutMs: timeoutMs, conn: conn, heardMs: nowMs}
	t.sessions[id] = s
	t.schedule(s, nowMs)
	return s
}

// lastHeardMs is when the session was last heard of.
func (s *session) lastHeardMs() int64 {
	if s.conn == nil {
		return s.heardMs
	}
	return max(s.heardMs, s.conn.lastHeardMs.Load())
}

// expiresMs is when the session expires if it is not heard of again.
func (t *sessionTracker) expiresMs(s *session) int64 {
	return t.bucket(s.lastHeardMs() + int64(s.timeoutMs))
}

func (t *sessionTracker) schedule(s *session, heardMs int64) {
	s.bucketMs = t.bucket(heardMs + int64(s.timeoutMs))
	t.buckets[s.bucketMs] = append(t.buckets[s.bucketMs], s)
}

// attach gives the session to conn and returns the connection that had it before, if another.
func (t *sessionTracker) attach(s *session, conn *clientConn, timeoutMs int32, nowMs int64) (before *clientConn) {
	if s.conn != conn {
		before = s.conn
	}
	s.conn, s.timeoutMs, s.heardMs = conn, timeoutMs, nowMs
	// A longer timeout is found out when the old bucket comes up; a shorter one needs a bucket now.
	if t.bucket(nowMs+int64(timeoutMs)) < s.bucketMs {
		t.schedule(s, nowMs)
	}
	return before
}

// detach notes that conn, which held the session, is gone.
func (t *sessionTracker) detach(id proto.SessionID, conn *clientConn) {
	if s := t.sessions[id]; s != nil && s.conn == conn {
		s.heardMs = max(s.heardMs, conn.lastHeardMs.Load())
		s.conn = nil
	}
}

func (t *sessionTracker) remove(id proto.SessionID) {
	if s := t.sessions[id]; s != nil {
		t.setLocal(s, false)
		delete(t.sessions, id)
	}
}

// setLocal notes whether no other server knows s, which the tracker has.
func (t *sessionTracker) setLocal(s *session, local bool) {
	switch {
	case s.local == local:
		return
	case local:
		t.locals.Add(1)
	default:
		t.locals.Add(-1)
	}
	s.local = local
}

// expire calls expired for each session that has not been heard of for its timeout and marks it
// as closing. With localOnly global ones are somebody else's to expire.
func (t *sessionTracker) expire(nowMs int64, localOnly bool, expired func(*session)) {
	for ; t.nextBucketMs <= nowMs; t.nextBucketMs += t.tickMs {
		waiting := t.buckets[t.nextBucketMs]
		delete(t.buckets, t.nextBucketMs)
		for _, s := range waiting {
			if s.bucketMs != t.nextBucketMs || s.closing || t.sessions[s.id] != s || localOnly && !s.local {
				continue
			}
			if t.expiresMs(s) > t.nextBucketMs {
				t.schedule(s, s.lastHeardMs())
				continue
			}
			s.closing = true
			expired(s)
		}
	}
}

// Check implements prep.Sessions. A standalone server has no owners to compare: owner is nil then.
func (t *sessionTracker) Check(id proto.SessionID, owner any) proto.ErrCode {
	s := t.sessions[id]
	switch {
	case s == nil && t.mayBeLocalElsewhere(id) && owner != nil:
		return proto.OK
	case s == nil || s.closing:
		return proto.ErrSessionExpired
	case owner == nil || s.owner == owner:
	case s.owner == nil:
		s.owner = owner
	default:
		return proto.ErrSessionMoved
	}
	return proto.OK
}

// mayBeLocalElsewhere tells whether a session that is not known here can be a local one of another server.
func (t *sessionTracker) mayBeLocalElsewhere(id proto.SessionID) bool {
	return t.localAllowed && byte(id>>56) != byte(t.serverID)
}

// CheckGlobal implements prep.Sessions.
func (t *sessionTracker) CheckGlobal(id proto.SessionID, owner any) proto.ErrCode {
	switch s := t.sessions[id]; {
	case s == nil:
		return proto.ErrSessionExpired
	case s.local:
		return proto.ErrEphemeralOnLocal
	}
	return t.Check(id, owner)
}

// Track implements prep.Sessions: create has taken the sessions of this server's own clients up already.
func (t *sessionTracker) Track(id proto.SessionID, timeoutMs int32, owner any) proto.ErrCode {
	if t.sessions[id] == nil {
		t.add(id, timeoutMs, nil, t.nowMs)
	}
	return t.Check(id, owner)
}

// SetClosing implements prep.Sessions.
func (t *sessionTracker) SetClosing(id proto.SessionID) {
	if s := t.sessions[id]; s != nil {
		s.closing = true
	}
}

// clear forgets all sessions, when this server is no longer their tracker.
func (t *sessionTracker) clear() {
	clear(t.sessions)
	clear(t.buckets)
	t.locals.Store(0)
}
