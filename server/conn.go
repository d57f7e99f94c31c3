package server

import (
	"sync/atomic"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/sasl"
)

// connState is how far a client connection has come.
type connState uint8

const (
	connNew         connState = iota // no connect request yet
	connAttaching                    // the replica is creating or re-attaching the session
	connEstablished                  // requests are served
	connClosing                      // the last reply is queued; nothing is read any more
	connClosed                       // netpoll has told that it is gone
)

// clientConn is one client connection. Unless a comment says otherwise its fields are guarded
// by the gate of its loop: the loop holds it while it serves frames, the replica holds all gates
// while it applies.
type clientConn struct {
	np   netpoll.Conn // set once; only Close and Resume may be called off the loop
	loop *clientLoop
	slot watch.ConnID // index in loop.conns

	state   connState
	session proto.SessionID
	// handshake remembers what the connect response needs.
	handshake struct {
		hasReadOnly bool
		readOnly    bool // the client is content with a server in read-only mode
		timeoutMs   int32
	}
	timeoutMs  int32
	identities []proto.Identity // replaced as a whole, never changed in place: requests hold on to it

	login *sasl.Server // nil before the client begins to log in

	out   []byte // encoded frames that netpoll has not been given yet; from the loop's pool
	dirty bool   // in loop.dirty
	// resume asks the loop to take frames again, closeAfterFlush to say goodbye, at the next flush.
	resume, closeAfterFlush bool

	queue requestQueue
	// inPipeline counts requests that the replica has not answered.
	inPipeline int
	// throttled: frames may have been left with netpoll, to be taken when takesFrames says so.
	throttled bool
	polling   bool // a timer looks at the outbound bytes again
	invalid   bool // a request was dropped: those behind it must be, too
	// order is the ensemble's.
	order connOrder
	// largeBytes are those of large requests that are not answered.
	largeBytes int64
	// unsentBytes is what netpoll had not got rid of when the loop last looked.
	unsentBytes int

	stats connStats

	// lastHeardMs is when the last request was read, in server.nowMs time. The loop stores it,
	// the session tracker reads it without a gate.
	lastHeardMs atomic.Int64

	openedAtMs int64 // wall clock, immutable
}

// connStats are the figures of the words cons and stat.
type connStats struct {
	received, sent             int64 // packets
	lastOp                     proto.OpCode
	hasOp                      bool
	lastCxid                   int32
	hasCxid                    bool
	lastZxid                   proto.Zxid
	lastReplyMs                int64
	lastLatencyMs              int64
	minLatencyMs, maxLatencyMs int64
	latencyCount, latencySumMs int64
	latencyRecorded            bool
}

// A queued request stands behind an unfinished write of its connection (or is one).
type queued struct {
	kind       queuedKind
	xid        int32
	op         proto.OpCode
	off, len   int32 // body of a read, frame of a ready reply: in requestQueue.bytes; len of a write is its size if it is a large one
	receivedNs int64
}

type queuedKind uint8

const (
	queuedWrite queuedKind = iota // at the replica
	queuedRead                    // served when it comes to the front
	queuedReply                   // encoded already; sent when it comes to the front
)

// requestQueue keeps the order of a connection's requests while a write is unfinished: its
// first entry is then that write. Its memory is reused when it runs empty.
type requestQueue struct {
	entries []queued
	head    int
	reads   int // of kind queuedRead in entries[head:]
	bytes   []byte
}

// maxIdleQueueBytes bounds what an empty queue keeps for reuse.
const maxIdleQueueBytes = 4 << 10

func (q *requestQueue) empty() bool { return q.head == len(q.entries) }

func (q *requestQueue) front() *queued { return &q.entries[q.head] }

func (q *requestQueue) pushWrite(xid int32, op proto.OpCode, nowNs int64) {
	q.entries = append(q.entries, queued{kind: queuedWrite, xid: xid, op: op, receivedNs: nowNs})
}

// noteLarge makes the write that was pushed last a large one.
func (q *requestQueue) noteLarge(frameBytes int) {
	q.entries[len(q.entries)-1].len = int32(frameBytes)
}

// push copies b behind what waits.
func (q *requestQueue) push(kind queuedKind, xid int32, op proto.OpCode, b []byte, nowNs int64) {
	q.entries = append(q.entries, queued{kind: kind, xid: xid, op: op, off: int32(len(q.bytes)), len: int32(len(b)), receivedNs: nowNs})
	q.bytes = append(q.bytes, b...)
	if kind == queuedRead {
		q.reads++
	}
}

// body lends the bytes of e until the queue changes.
func (q *requestQueue) body(e *queued) []byte { return q.bytes[e.off : e.off+e.len] }

func (q *requestQueue) pop() {
	if q.entries[q.head].kind == queuedRead {
		q.reads--
	}
	q.head++
	if q.head < len(q.entries) {
		if q.head >= compactQueueAt && q.head*2 >= len(q.entries) {
			q.compact()
		}
		return
	}
	q.head = 0
	q.entries = q.entries[:0]
	q.bytes = q.bytes[:0]
	if cap(q.bytes) > maxIdleQueueBytes || cap(q.entries) > maxIdleQueueBytes/32 {
		q.entries, q.bytes = nil, nil
	}
}

// compactQueueAt is how many served entries a queue that never runs empty may keep.
const compactQueueAt = 256

// compact drops what has been served.
func (q *requestQueue) compact() {
	q.entries = q.entries[:copy(q.entries, q.entries[q.head:])]
	q.head = 0
	if len(q.bytes) == 0 {
		return
	}
	var kept []byte
	for i := range q.entries {
		e := &q.entries[i]
		off := int32(len(kept))
		kept = append(kept, q.body(e)...)
		e.off = off
	}
	q.bytes = kept
}

// drain serves reads and sends replies from the front of the queue up to the next write.
// The caller holds the loop's gate.
func (c *clientConn) drain() {
	for n := 0; !c.queue.empty() && c.queue.front().kind != queuedWrite; n++ {
		if n%engine.WarmPaths == 0 {
			c.warmQueue()
		}
		e := *c.queue.front()
		b := c.queue.body(&e)
		if e.kind == queuedReply {
			c.out = append(c.outBuffer(), b...)
			c.stats.sent++
		} else {
			c.serveRead(e.xid, e.op, b, e.receivedNs)
		}
		c.queue.pop()
	}
}

// outBuffer returns the outbound bytes to append to.
func (c *clientConn) outBuffer() []byte {
	if c.out == nil {
		c.out = c.loop.getBuffer()
	}
	return c.out
}

// reply appends a reply without a body in its place: now, or behind the unfinished writes.
func (c *clientConn) reply(xid int32, op proto.OpCode, zxid proto.Zxid, code proto.ErrCode, nowNs int64) {
	if c.queue.empty() {
		c.out = appendHeaderReply(c.outBuffer(), xid, zxid, code)
		c.stats.sent++
		return
	}
	var frame [4 + proto.ReplyHeaderBytes]byte
	c.queue.push(queuedReply, xid, op, appendHeaderReply(frame[:0], xid, zxid, code), nowNs)
}

// goodbye marks the connection to be closed once everything queued before has been sent.
func (c *clientConn) goodbye() {
	c.state = connClosing
	c.markDirty()
}

// markDirty puts the connection on the list that the loop flushes.
func (c *clientConn) markDirty() {
	if !c.dirty && c.state != connClosed {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// replied notes a reply for the figures of cons and stat.
func (c *clientConn) replied(xid int32, op proto.OpCode, zxid proto.Zxid, receivedNs int64, frameBytes int, histogram *latencyHistogram) {
	l := c.loop
	now := l.nowNs
	latencyMs := max(0, now-receivedNs) / 1e6
	s := &c.stats
	s.sent++
	s.lastOp, s.hasOp = op, true
	s.lastZxid = zxid
	s.lastReplyMs = now / 1e6
	if xid >= 0 {
		s.lastCxid, s.hasCxid = xid, true
	}
	s.lastLatencyMs = latencyMs
	if !s.latencyRecorded || latencyMs < s.minLatencyMs {
		s.minLatencyMs = latencyMs
	}
	s.latencyRecorded = true
	s.maxLatencyMs = max(s.maxLatencyMs, latencyMs)
	s.latencyCount++
	s.latencySumMs += latencyMs
	l.stats.record(latencyMs)
	l.stats.recordSize(int64(frameBytes))
	l.responseBytes += int64(frameBytes)
	histogram.record(latencyMs)
}

// expiredResponse appends the connect response that tells a client that its session is gone.
func (c *clientConn) expiredResponse() {
	r := proto.ConnectResponse{ReadOnly: c.loop.srv.readOnly.Load(), HasReadOnly: c.handshake.hasReadOnly}
	out, start := beginFrame(c.outBuffer())
	c.out = endFrame(r.Append(out), start)
	c.closeAfterFlush = true
	c.goodbye()
}

// goodbyeSilently has the connection closed without another word.
func (c *clientConn) goodbyeSilently() {
	c.closeAfterFlush = true
	c.goodbye()
}

// established appends the connect response of a session and opens the connection for requests.
func (c *clientConn) established(id proto.SessionID, readOnly bool) {
	c.session = id
	c.timeoutMs = c.handshake.timeoutMs
	r := proto.ConnectResponse{
		TimeoutMs: c.timeoutMs, SessionID: id, Password: proto.SessionPassword(id),
		ReadOnly: readOnly, HasReadOnly: c.handshake.hasReadOnly,
	}
	out, start := beginFrame(c.outBuffer())
	c.out = endFrame(r.Append(out), start)
	c.state = connEstablished
	c.resume = true
	c.markDirty()
}

// decodeBody starts a decoder with the limits that requests have.
func (c *clientConn) decodeBody(body []byte) jute.Decoder {
	return jute.NewDecoder(body, c.loop.srv.opts.FieldMaxBytes)
}
