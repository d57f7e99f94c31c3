package load

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zabra.dev/zabra/engine/proto"
)

const (
	// readBufferBytes is the read buffer of a loop: room for the replies to 64 requests of 4 KiB.
	readBufferBytes = 256 << 10
	retryStepNs     = int64(50 * time.Millisecond)
	retryMaxNs      = int64(time.Second)
	// maxWaitNs bounds a wait, so that cancellation and timers are noticed.
	maxWaitNs   = int64(20 * time.Millisecond)
	pingEveryNs = int64(500 * time.Millisecond)
)

// A loop drives its share of the sessions from one goroutine. A run consists of phases, each with a source of
// requests; between phases no goroutine runs the loop.
type loop struct {
	cfg     *Config
	number  int
	shared  *shared
	servers []server
	forms   *forms
	poll    *poller
	in      []byte // read buffer; its start takes the rest of the last read
	conns   []*conn
	free    []*conn // conns of churns that are over
	dirty   []*conn
	rng     rng
	picker  picker
	payload []byte // incompressible
	// lastSetNs is by key when a set was sent last, for the latency of notifications; nil without watches.
	lastSetNs []atomic.Int64
	base      time.Time // origin of all times
	nowNs     int64     // at the start of the turn

	sessions    []*conn // the conns that are sessions
	up, down    int     // sessions that are up, conns that wait to be dialled
	allDownNs   int64   // since when up is 0; 0 before the first was up
	lastFailure error
	pingedNs    int64
	next        int // the session that gets the open loop's next request

	phase  phase
	made   int64 // requests made in the phase, of those that requests limits
	ending bool  // no new requests, but for those that were due: the phase is draining
	paced  schedule
	err    error

	rec         *recorder
	published   int // intervals published
	disconnects int64
	resumed     int64
	lateNs      *recorder // kind Get: how late requests were sent
	silence     silence
	writeQuiet  silence
}

// shared is what the loops of a run have in common.
type shared struct {
	stop      atomic.Bool // end early
	keys      keyPicker   // read-only
	collector *collector
}

// A source makes requests.
type source interface {
	// next appends one request to c and tells whether it did: false when there is nothing to do for c now. atNs is the time
	// that the latency counts from.
	next(l *loop, c *conn, atNs int64) bool
	// reply is told how each request ended that does not count in a measurement. An error ends the run.
	reply(kind Kind, code proto.ErrCode) error
}

// A phase is what a loop is to do.
type phase struct {
	source      source
	outstanding int // per session
	// untilNs ends it; 0: when the source has no more to give and all is answered.
	untilNs int64
	// Replies are recorded from fromNs to untilNs; in an open loop those of requests intended then. 0: never.
	fromNs int64
	open   bool
	// requests is how many the loop makes at most; 0: no limit.
	requests int64
	drainNs  int64 // how long to wait for replies at the end
}

// A silence watches for the longest time without a reply.
type silence struct{ lastNs, longestNs int64 }

func (s *silence) reply(nowNs int64) {
	s.longestNs = max(s.longestNs, nowNs-s.lastNs)
	s.lastNs = nowNs
}

func (l *loop) clock() int64 { return int64(time.Since(l.base)) }

// fail ends the run.
func (l *loop) fail(err error) {
	if l.err == nil {
		l.err = err
	}
	l.shared.stop.Store(true)
}

// connect brings all sessions up. It gives up at untilNs, and earlier when every server has refused a session.
func (l *loop) connect(untilNs int64) error {
	l.nowNs = l.clock()
	for _, c := range l.sessions {
		l.dial(c)
	}
	for l.up < len(l.sessions) && l.err == nil && !l.shared.stop.Load() {
		if l.nowNs > untilNs {
			l.fail(fmt.Errorf("load: %d of %d sessions were up in time: %w", l.up, len(l.sessions), orTimeout(l.lastFailure)))
			break
		}
		for _, c := range l.sessions {
			if c.state == connDown && c.attempts >= len(l.servers) {
				l.fail(fmt.Errorf("load: no server takes session %d: %w", c.session, c.failure))
			}
		}
		l.turn()
	}
	return l.err
}

func orTimeout(err error) error {
	if err == nil {
		return unix.ETIMEDOUT
	}
	return err
}

// run carries out a phase.
func (l *loop) run(ph phase) error {
	l.phase, l.ending, l.made = ph, false, 0
	l.nowNs = l.clock()
	if !ph.open {
		for _, c := range l.sessions {
			l.markDirty(c)
		}
		l.flushDirty()
	}
	drainUntilNs := int64(0)
	for l.err == nil {
		l.turn()
		if !l.ending && (l.shared.stop.Load() || ph.untilNs > 0 && l.nowNs >= ph.untilNs || ph.requests > 0 && l.made == ph.requests) {
			l.ending = true
			drainUntilNs = l.nowNs + ph.drainNs
		}
		if l.underWay() == 0 && !l.behind() && (l.ending || ph.untilNs == 0 && !l.more()) {
			break
		}
		if l.ending && l.nowNs >= drainUntilNs {
			break
		}
		if l.up == 0 && l.allDownNs > 0 && l.nowNs-l.allDownNs > int64(l.cfg.Patience) {
			l.fail(fmt.Errorf("%w for %v: %w", ErrNoSession, max(0, l.cfg.Patience), l.lastFailure))
		}
	}
	return l.err
}

// behind tells whether requests of the schedule are still to be sent. They are sent after the end of the phase too, since they
// were due before it.
func (l *loop) behind() bool {
	return l.phase.open && l.phase.requests == 0 && l.paced.nextNs < l.phase.untilNs && !l.shared.stop.Load()
}

// more offers every session a request and tells whether one took it.
func (l *loop) more() bool {
	for _, c := range l.sessions {
		if c.state == connUp {
			l.markDirty(c)
		}
	}
	l.flushDirty()
	return l.underWay() > 0
}

func (l *loop) underWay() int {
	n := 0
	for _, c := range l.sessions {
		n += c.inflight
	}
	return n
}

// turn waits once and handles what is ready.
func (l *loop) turn() {
	events, err := l.poll.wait(l.waitNs())
	l.nowNs = l.clock()
	if err != nil {
		l.fail(fmt.Errorf("load: %w", err))
		return
	}
	l.publishIntervals()
	for _, e := range events {
		c := l.conns[e.tag.index]
		if c.generation != e.tag.generation {
			continue
		}
		if c.state == connDialing {
			if e.out {
				l.handshake(c)
			}
			continue
		}
		if e.in {
			l.receive(c)
			if c.state == connUp {
				l.markDirty(c)
			}
		}
		if e.out && c.state >= connHandshake && c.state != connFree {
			l.markDirty(c)
		}
	}
	l.timers()
	l.flushDirty()
	if l.phase.open && (!l.ending || l.behind()) {
		l.issueDue()
	}
}

// waitNs is how long the loop may sleep.
func (l *loop) waitNs() int64 {
	wait := maxWaitNs
	now := l.clock()
	if l.phase.open && !l.ending {
		wait = min(wait, l.paced.nextNs-now)
	}
	if l.phase.untilNs > 0 && !l.ending {
		wait = min(wait, l.phase.untilNs-now)
	}
	return max(0, wait)
}

// flushDirty gives dirty sessions new requests, in a closed loop, and writes.
func (l *loop) flushDirty() {
	for i := 0; i < len(l.dirty); i++ {
		c := l.dirty[i]
		c.dirty = false
		if c.state != connUp {
			if c.state == connHandshake && len(c.out) > 0 {
				l.flush(c)
			}
			continue
		}
		if c.owner == nil && !l.phase.open && !l.ending && l.phase.source != nil {
			for c.inflight < l.phase.outstanding && l.phase.source.next(l, c, l.nowNs) {
			}
		}
		if len(c.out) > 0 {
			l.flush(c)
		}
	}
	l.dirty = l.dirty[:0]
}

// issueDue sends the requests of the schedule whose time has come, as far as sessions have room. What has no room
// stays due, and its latency goes on counting.
func (l *loop) issueDue() {
	for l.paced.nextNs <= l.nowNs && l.paced.nextNs < l.phase.untilNs {
		c := l.withRoom()
		if c == nil {
			break
		}
		at := l.paced.nextNs
		if !l.phase.source.next(l, c, at) {
			break
		}
		if at >= l.phase.fromNs {
			l.lateNs.ok(Get, l.nowNs-at)
		}
		l.markDirty(c)
		l.paced.advance()
	}
	l.flushDirty()
}

// withRoom returns the next session in turn that has room for a request, nil when none has.
func (l *loop) withRoom() *conn {
	for range l.sessions {
		c := l.sessions[l.next]
		if l.next++; l.next == len(l.sessions) {
			l.next = 0
		}
		if c.state == connUp && c.inflight < l.phase.outstanding {
			return c
		}
	}
	return nil
}

// timers dials sessions again and pings those that have been idle.
func (l *loop) timers() {
	if l.down > 0 {
		for _, c := range l.sessions {
			if c.state == connDown && c.attempts > 0 && c.retryAtNs <= l.nowNs && !l.shared.stop.Load() {
				l.down--
				l.dial(c)
			}
		}
	}
	if l.nowNs-l.pingedNs < pingEveryNs {
		return
	}
	l.pingedNs = l.nowNs
	for _, c := range l.sessions {
		if c.state == connUp && l.nowNs-c.lastSentNs > int64(c.timeout)*1e6/3 {
			c.out = appendHeaderOnly(c.out, proto.XidPing, proto.OpPing)
			l.markDirty(c)
		}
	}
}

// sessionUp is called when a session is there, for the first time or again.
func (l *loop) sessionUp(c *conn) {
	l.up++
	for _, key := range c.watched {
		l.rewatch(c, key)
	}
	l.markDirty(c)
}

// record accounts for a request that is over.
func (l *loop) record(k Kind, atNs int64, code proto.ErrCode) {
	ph := &l.phase
	counts := ph.fromNs > 0
	if counts {
		t := l.nowNs
		if ph.open && k != Notification {
			t = atNs
		}
		counts = t >= ph.fromNs && t < ph.untilNs
	}
	if !counts {
		if ph.source != nil {
			if err := ph.source.reply(k, code); err != nil {
				l.fail(err)
			}
		}
		return
	}
	if code != proto.OK {
		l.rec.failed(k, code)
		return
	}
	l.rec.ok(k, l.nowNs-atNs)
	l.silence.reply(l.nowNs)
	if k.IsWrite() {
		l.writeQuiet.reply(l.nowNs)
	}
}

// publishIntervals hands over what was seen in the intervals that have ended.
func (l *loop) publishIntervals() {
	ph := &l.phase
	if ph.fromNs == 0 {
		return
	}
	for {
		end := ph.fromNs + int64(l.published+1)*int64(l.cfg.Interval)
		if l.nowNs < end || end > ph.untilNs {
			return
		}
		l.shared.collector.publish(l.published, l.rec, false)
		l.published++
	}
}

// churn starts a connection of its own on the account of owner.
func (l *loop) churn(owner *conn, atNs int64) {
	var c *conn
	if n := len(l.free); n > 0 {
		c = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c = &conn{fd: -1, index: int32(len(l.conns)), session: -1}
		l.conns = append(l.conns, c)
	}
	owner.inflight++
	owner.churns++
	c.owner, c.startNs, c.id, c.server, c.state = owner, atNs, 0, owner.server, connDown
	l.dial(c)
}

// churned ends a churn.
func (l *loop) churned(c *conn, code proto.ErrCode) {
	owner := c.owner
	l.closeSocket(c)
	c.state, c.owner, c.xid = connFree, nil, 0
	c.ring.head = c.ring.tail
	l.free = append(l.free, c)
	owner.inflight--
	owner.churns--
	l.record(Session, c.startNs, code)
	l.markDirty(owner)
}

// closeSessions closes all sessions that are up, waits for the answers at most until untilNs, and closes every socket.
func (l *loop) closeSessions(untilNs int64) {
	l.phase, l.ending = phase{}, true
	l.nowNs = l.clock()
	for _, c := range l.sessions {
		if c.state == connUp && l.err == nil {
			start := len(c.out)
			c.out = beginRequest(c.out, c.nextXid(), proto.OpCloseSession)
			endRequest(c.out, start)
			c.ring.push(pending{atNs: l.nowNs, xid: c.xid, kind: Session})
			c.inflight++
			l.markDirty(c)
		}
	}
	l.flushDirty()
	for l.err == nil && l.nowNs < untilNs && l.underWay() > 0 {
		l.turn()
	}
	for _, c := range l.conns {
		l.closeSocket(c)
	}
	l.poll.close()
}
