package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/wal"
)

// replica owns everything that changes: request preparation, the session tracker, the log and,
// with all gates in hand, the tree. One goroutine, run, does all its work; other goroutines
// reach it through submit, post and the durable mark.
type replica struct {
	srv      *Server
	engine   *engine.Engine
	prep     *prep.Preparer
	wal      *wal.WAL
	sessions *sessionTracker
	sink     eventSink
	reaper   reaper
	ckpt     checkpointer
	ens      *ensemble // nil on a standalone server
	stages   stageFigures
	// throttler is nil when nothing is throttled.
	throttler *requestThrottler
	quiet     quietTimes
	// auditor is nil without audit log.
	auditor *auditor

	inbox struct {
		sync.Mutex // guards the two fields below
		batches    []*batch
		posted     []func(*replica)
	}
	wake chan struct{} // holds one token when there is something to do
	// durableZxid is what the log has synced; the log's goroutine stores it.
	durableZxid atomic.Int64

	// What follows belongs to the replica goroutine.

	batches, spare []*batch          // being prepared, swapped with the inbox
	posted         []func(*replica)  // likewise
	internal       []internalRequest // requests of the server itself, for the next turn
	app            appender          // of this turn
	request        prep.Request      // being prepared, kept so that none is allocated
	warmer         engine.Warmer     // of what is prepared and applied next
	pending        proposalQueue     // prepared, not applied
	lastZxid       proto.Zxid        // of the last transaction prepared
	tickedMs       int64             // when tick last ran
	expireFromMs   int64             // no session expires before
	refusing       bool              // the log takes nothing: writes are refused
}

// An internalRequest is one that the server makes itself, without a connection.
type internalRequest struct {
	op      proto.OpCode
	session proto.SessionID
	body    []byte // as prep.Request has it
}

// A proposal is a prepared transaction on its way through the log.
type proposal struct {
	zxid       proto.Zxid
	slab       *slab // nil: a write that is refused with code
	off, len   int   // of the proposal packet in slab.batch.Buf
	conn       *clientConn
	session    proto.SessionID
	xid        int32
	op         proto.OpCode
	receivedNs int64
	// remote: it came from the leader or from a learner; conn is found, if it is one of ours, when it is
	// applied.
	remote bool
	// code is what a write without slab is answered with and, if not OK, one whose transaction is an error.
	code  proto.ErrCode
	audit *auditRecord // nil: not for the audit log
}

// proposalQueue is a FIFO that reuses its memory.
type proposalQueue struct {
	items []proposal
	head  int
}

func (q *proposalQueue) len() int         { return len(q.items) - q.head }
func (q *proposalQueue) front() *proposal { return &q.items[q.head] }
func (q *proposalQueue) push(p proposal)  { q.items = append(q.items, p) }

func (q *proposalQueue) pop() {
	q.items[q.head] = proposal{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 1024 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// A slab holds the log records of one append. The log and every proposal in it hold a
// reference; the last to let go gives it back to the pool.
type slab struct {
	batch wal.Batch
	refs  atomic.Int32
}

const (
	slabBytes = 64 << 10
	// maxPooledSlabBytes keeps one giant record from staying in the pool.
	maxPooledSlabBytes = 4 * slabBytes
)

var slabPool sync.Pool

// getSlab gives an empty slab with the log's reference on it.
func getSlab() *slab {
	s, _ := slabPool.Get().(*slab)
	if s == nil {
		s = &slab{batch: wal.Batch{Buf: make([]byte, 0, slabBytes)}}
		s.batch.Release = func(*wal.Batch) { s.release() }
	}
	s.refs.Store(1)
	return s
}

// Release implements zab.Ref.
func (s *slab) Release() { s.release() }

func (s *slab) release() {
	switch n := s.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("server: slab released twice")
	case cap(s.batch.Buf) <= maxPooledSlabBytes:
		s.batch.Reset()
		slabPool.Put(s)
	}
}

// submit takes b and hands it to the replica. Any goroutine may call it.
func (r *replica) submit(b *batch) {
	r.inbox.Lock()
	r.inbox.batches = append(r.inbox.batches, b)
	r.inbox.Unlock()
	r.signal()
}

// post has the replica run f at its next turn, holding no gate. Any goroutine may call it; f is
// dropped when the server stops first.
func (r *replica) post(f func(*replica)) {
	r.inbox.Lock()
	r.inbox.posted = append(r.inbox.posted, f)
	r.inbox.Unlock()
	r.signal()
}

// postAndWait is post, and waits until f has run or the server stops. The replica itself must not call it.
func (r *replica) postAndWait(f func(*replica)) {
	done := make(chan struct{})
	r.post(func(r *replica) {
		defer close(done)
		f(r)
	})
	select {
	case <-done:
	case <-r.srv.ctx.Done():
	}
}

func (r *replica) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// durable is the log's callback: everything up to zxid is on disk.
func (r *replica) durable(zxid proto.Zxid) {
	r.durableZxid.Store(zxid)
	r.signal()
}

// run takes turns until stop is closed. It then finishes what is in the log and returns.
func (r *replica) run(stop <-chan struct{}) {
	tick := time.NewTicker(time.Duration(r.sessions.tickMs) * time.Millisecond / 2)
	defer tick.Stop()
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	for {
		select {
		case <-stop:
			return
		case <-r.wake:
		case <-tick.C:
			r.tick()
		case <-deadline.C:
		}
		r.turn()
		if r.ens != nil {
			deadline.Reset(max(time.Millisecond, min(time.Hour, r.ens.nextDeadline()-r.ens.now())))
		}
	}
}

// leads tells whether this server makes transactions: it is alone, or it leads.
func (r *replica) leads() bool { return r.ens == nil || r.ens.serving && r.ens.leader != nil }

// stable tells whether the tree holds committed transactions only, so that an image of it may be kept.
func (r *replica) stable() bool { return r.ens == nil || r.ens.serving }

// committedZxid is up to where the tree may be: what is durable on a server alone, what is committed in
// an ensemble.
func (r *replica) committedZxid() proto.Zxid {
	if r.ens != nil {
		return r.ens.committed
	}
	return r.durableZxid.Load()
}

// tick does what time demands: sessions expire, containers are swept.
func (r *replica) tick() {
	nowMs := r.srv.nowMs()
	// After a pause (a stopped process, a migrated machine) the pings that came meanwhile wait in the sockets: the
	// loops get a tick to read them before silence counts against a session.
	if r.tickedMs != 0 && nowMs-r.tickedMs > 2*r.sessions.tickMs {
		r.expireFromMs = nowMs + r.sessions.tickMs
	}
	r.tickedMs = nowMs
	if r.refusing {
		r.wal.Retry()
	}
	leads := r.leads()
	if nowMs >= r.expireFromMs && !(leads && r.refusing) {
		r.sessions.expire(nowMs, !leads, func(s *session) {
			r.srv.figures.Counter("stale_sessions_expired").Add(1)
			r.srv.log.Info(fmt.Sprintf("Expiring session %s, timeout of %dms exceeded", hexID(s.id), s.timeoutMs))
			if s.local {
				r.endLocal(s.id, nil)
				return
			}
			r.internal = append(r.internal, internalRequest{op: proto.OpCloseSession, session: s.id})
		})
	}
	if leads {
		r.reaper.tick(r, nowMs)
	}
	r.quiet.tick(r)
}
