package server

import (
	"fmt"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/metrics"
)

// ThrottleOptions are the settings of the request throttler; names in parentheses are keys of zoo.cfg.
// Source: client protocol, section 9.7.
type ThrottleOptions struct {
	RequestsMax          int   // requests in process above which others wait; 0: no limit (request_throttle_max_requests)
	DropStale            bool  // drop stale requests (request_throttle_drop_stale)
	StaleConnectionCheck bool  // one whose connection is closed is stale (request_stale_connection_check)
	StaleLatencyCheck    bool  // one older than its session's timeout is stale (request_stale_latency_check)
	OpWaitMaxMs          int64 // one that has waited longer is answered ErrThrottledOp; 0: none is (throttled_op_wait_time)
}

func (o *ThrottleOptions) on() bool { return o.RequestsMax > 0 || o.OpWaitMaxMs > 0 }

// requestThrottler stands between the connections and preparation: while too much is in process it
// keeps requests waiting, in their order. Reads do not pass it: they are answered at once, or stand in their
// connection's queue behind a write that waits here. It belongs to the replica goroutine; a server whose
// settings do not ask for it has none.
type requestThrottler struct {
	opts ThrottleOptions

	waiting []*batch
	next    int // request of waiting[0] that is next

	waits, throttled, stale, dropped *metrics.Counter
	queueMs                          *metrics.Summary
}

// newThrottler returns nil when nothing is asked for.
func newThrottler(o ThrottleOptions, r *metrics.Registry) *requestThrottler {
	if !o.on() {
		return nil
	}
	return &requestThrottler{
		opts: o, waits: r.Counter("request_throttle_wait_count"), throttled: r.Counter("throttled_ops"),
		stale: r.Counter("stale_requests"), dropped: r.Counter("stale_requests_dropped"), queueMs: r.Summary("request_throttle_queue_time_ms"),
	}
}

// inProcess counts the requests of clients that are prepared, forwarded or held and not answered.
func (r *replica) inProcess() int {
	n := r.pending.len()
	if r.ens != nil {
		n += r.ens.forwarded.len() + len(r.ens.syncs) + r.ens.held
	}
	return n
}

// full tells whether requests have to wait.
func (t *requestThrottler) full(r *replica) bool {
	return t.opts.RequestsMax > 0 && r.inProcess() >= t.opts.RequestsMax
}

// take lets those of the waiting requests and of the new batches through that there is room for.
func (t *requestThrottler) take(r *replica, a *appender, batches []*batch) {
	t.waiting = append(t.waiting, batches...)
	nowNs := r.srv.nowNs()
	done := 0
	for done < len(t.waiting) {
		b := t.waiting[done]
		for ; t.next < len(b.requests); t.next++ {
			if t.full(r) {
				t.waits.Add(1)
				t.waiting = append(t.waiting[:0], t.waiting[done:]...)
				return
			}
			t.pass(r, a, b, &b.requests[t.next], nowNs)
		}
		t.next = 0
		r.srv.putBatch(b)
		done++
	}
	clear(t.waiting)
	t.waiting = t.waiting[:0]
}

// more tells whether requests wait although there is room again.
func (t *requestThrottler) more(r *replica) bool { return len(t.waiting) > 0 && !t.full(r) }

// pass hands one request on, or ends it.
func (t *requestThrottler) pass(r *replica, a *appender, b *batch, q *request, nowNs int64) {
	waitedMs := (nowNs - q.receivedNs) / 1e6
	t.queueMs.Add(waitedMs)
	if t.opts.RequestsMax > 0 && t.isStale(q, waitedMs) {
		if t.opts.DropStale {
			t.dropped.Add(1)
			t.drop(r, q)
			return
		}
		t.stale.Add(1)
	}
	throttlable := q.kind == requestWrite && q.op != proto.OpCloseSession
	if throttlable && t.opts.OpWaitMaxMs > 0 && waitedMs > t.opts.OpWaitMaxMs && r.mayRefuse(q) {
		t.throttled.Add(1)
		r.refuse(q, proto.ErrThrottledOp)
		return
	}
	r.take(a, b, q)
}

// isStale tells whether nobody waits for the answer any more. The end of a session never is stale.
func (t *requestThrottler) isStale(q *request, waitedMs int64) bool {
	if q.op == proto.OpCloseSession {
		return false
	}
	c, l := q.conn, q.conn.loop
	l.gate.Lock()
	defer l.gate.Unlock()
	return c.invalid ||
		t.opts.StaleConnectionCheck && c.state == connClosed ||
		t.opts.StaleLatencyCheck && c.timeoutMs > 0 && waitedMs > int64(c.timeoutMs)
}

// drop forgets a request and closes its connection, of which all later requests are dropped, too, since one of
// them must not be executed without those before it.
func (t *requestThrottler) drop(r *replica, q *request) {
	c, l := q.conn, q.conn.loop
	l.gate.Lock()
	c.invalid = true
	c.inPipeline--
	l.gate.Unlock()
	c.np.Close()
	r.srv.outstanding.Add(-1)
}

// mayRefuse tells whether an answer to q can be put in its place: that is not so behind writes that are on
// their way to the leader, nor behind syncs.
func (r *replica) mayRefuse(q *request) bool {
	if r.ens == nil || r.ens.mayAnswer(q.conn) {
		return true
	}
	l := q.conn.loop
	l.gate.Lock()
	defer l.gate.Unlock()
	return q.conn.inPipeline == 1
}

// Large requests: client protocol, section 9.8.

// admitLarge counts a large request towards those in flight, or tells that there are too many bytes in flight.
// The caller holds the gate of the connection's loop.
func (c *clientConn) admitLarge(frameBytes int) bool {
	s := c.loop.srv
	if s.largeBytes.Add(int64(frameBytes)) > s.opts.LargeRequestsMaxBytes {
		s.largeBytes.Add(-int64(frameBytes))
		s.figures.Counter("large_requests_rejected").Add(1)
		s.log.Warn(fmt.Sprintf("Rejecting large request of %d bytes from /%s", frameBytes, c.np.RemoteAddr()))
		return false
	}
	c.largeBytes += int64(frameBytes)
	return true
}

// releaseLarge gives n bytes of large requests back. The caller holds the gate of the connection's loop.
func (c *clientConn) releaseLarge(n int64) {
	c.largeBytes -= n
	c.loop.srv.largeBytes.Add(-n)
}
