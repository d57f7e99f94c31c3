package server

import (
	"sync"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/netpoll"
)

// clientLoop is what the server keeps per event loop.
type clientLoop struct {
	srv *Server
	np  netpoll.Loop // set by the first connection

	// gate guards all fields below and the states of the loop's connections, and gives its holder the
	// right to read the tree. The loop takes it around each batch of frames, the replica takes
	// the gates of all loops, in index order, around each batch of transactions.
	gate sync.Mutex

	watches      *watch.Table
	conns        []*clientConn // by slot; nil for free ones
	slots        []watch.ConnID
	dirty        []*clientConn // have something to flush, resume or close
	woken        bool          // a wake-up is under way that will flush dirty
	buffers      [][]byte      // free outbound buffers
	buffersBytes int           // their capacity
	stats        loopStats
	// Latencies since somebody last looked.
	readLatency, updateLatency latencyHistogram
	// Bytes of watch events, of requests and of other replies since somebody last looked.
	watchBytes, receivedBytes, responseBytes int64
	namespaces                               namespaces
	warmer                                   engine.Warmer // of the reads that are served next
	// nowNs is the time of the batch being served, so that replies need no clock of their own.
	nowNs int64

	// flushing is the loop goroutine's own list, swapped with dirty.
	flushing []*clientConn
}

// loopStats are counters of one loop; their sums are the server's.
type loopStats struct {
	received, sent             int64
	latencyCount, latencySumMs int64
	minLatencyMs, maxLatencyMs int64
	// Sizes of replies in bytes, -1 before the first.
	lastResponseBytes, minResponseBytes, maxResponseBytes int64
}

// zeroStats is the state before the first reply.
var zeroStats = loopStats{lastResponseBytes: -1, minResponseBytes: -1, maxResponseBytes: -1}

func (s *loopStats) record(latencyMs int64) {
	s.sent++
	if s.latencyCount == 0 || latencyMs < s.minLatencyMs {
		s.minLatencyMs = latencyMs
	}
	s.maxLatencyMs = max(s.maxLatencyMs, latencyMs)
	s.latencyCount++
	s.latencySumMs += latencyMs
}

func (s *loopStats) recordSize(responseBytes int64) {
	s.lastResponseBytes = responseBytes
	if s.minResponseBytes < 0 || responseBytes < s.minResponseBytes {
		s.minResponseBytes = responseBytes
	}
	s.maxResponseBytes = max(s.maxResponseBytes, responseBytes)
}

// add makes s the sum of s and t.
func (s *loopStats) add(t *loopStats) {
	if t.latencyCount > 0 && (s.latencyCount == 0 || t.minLatencyMs < s.minLatencyMs) {
		s.minLatencyMs = t.minLatencyMs
	}
	s.maxLatencyMs = max(s.maxLatencyMs, t.maxLatencyMs)
	s.lastResponseBytes = max(s.lastResponseBytes, t.lastResponseBytes)
	s.maxResponseBytes = max(s.maxResponseBytes, t.maxResponseBytes)
	if t.minResponseBytes >= 0 && (s.minResponseBytes < 0 || t.minResponseBytes < s.minResponseBytes) {
		s.minResponseBytes = t.minResponseBytes
	}
	s.received += t.received
	s.sent += t.sent
	s.latencyCount += t.latencyCount
	s.latencySumMs += t.latencySumMs
}

const (
	// outBufferBytes is the size of a fresh outbound buffer: a few replies or events.
	outBufferBytes = 512
	// maxPooledBufferBytes keeps the buffer of one giant reply from staying.
	maxPooledBufferBytes = 256 << 10
	// maxPooledBytes bounds the idle buffers of a loop.
	maxPooledBytes = 16 << 20
)

func (l *clientLoop) getBuffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		l.buffersBytes -= cap(b)
		return b
	}
	return make([]byte, 0, outBufferBytes)
}

func (l *clientLoop) putBuffer(b []byte) {
	if cap(b) <= maxPooledBufferBytes && l.buffersBytes+cap(b) <= maxPooledBytes {
		l.buffers = append(l.buffers, b[:0])
		l.buffersBytes += cap(b)
	}
}

// addConn gives c a slot. The caller holds the gate.
func (l *clientLoop) addConn(c *clientConn) {
	l.np = c.np.Loop()
	if n := len(l.slots); n > 0 {
		c.slot = l.slots[n-1]
		l.slots = l.slots[:n-1]
		l.conns[c.slot] = c
		return
	}
	c.slot = watch.ConnID(len(l.conns))
	l.conns = append(l.conns, c)
}

// removeConn takes the slot of c back with all its watches. The caller holds the gate.
func (l *clientLoop) removeConn(c *clientConn) {
	l.watches.RemoveConn(c.slot)
	l.conns[c.slot] = nil
	l.slots = append(l.slots, c.slot)
	if c.out != nil {
		l.putBuffer(c.out)
		c.out = nil
	}
	c.queue = requestQueue{}
	if c.largeBytes != 0 {
		c.releaseLarge(c.largeBytes)
	}
}

// wakeIfDirty asks the loop to flush. The caller holds the gate; one wake-up serves any number
// of connections.
func (l *clientLoop) wakeIfDirty() {
	if len(l.dirty) > 0 && !l.woken {
		l.woken = true
		l.np.Wake()
	}
}

// flush serves what waits in the queues of dirty connections and hands their bytes to netpoll,
// one write per connection. It runs on the loop.
func (l *clientLoop) flush() {
	nowNs := l.srv.nowNs()
	l.gate.Lock()
	l.nowNs = nowNs
	l.woken = false
	l.dirty, l.flushing = l.flushing[:0], l.dirty
	for _, c := range l.flushing {
		c.dirty = false
		if c.state != connClosed {
			c.drain()
		}
	}
	l.gate.Unlock()
	for i, c := range l.flushing {
		l.flushConn(c)
		l.flushing[i] = nil
	}
}

// flushConn writes the outbound bytes of c outside the gate, so that a system call never makes
// the replica wait, and takes up again what was throttled. It runs on the loop.
func (l *clientLoop) flushConn(c *clientConn) {
	l.gate.Lock()
	if c.state == connClosed {
		l.gate.Unlock()
		return
	}
	out := c.out
	c.out = nil
	bye := c.closeAfterFlush && c.queue.empty()
	l.gate.Unlock()
	if len(out) > 0 {
		// An error means that netpoll is closing the connection and will say so.
		_ = c.np.Write(out)
	}
	if bye {
		c.np.CloseAfterFlush()
	}
	unsent := c.np.OutboundBuffered()

	l.gate.Lock()
	if out != nil {
		l.putBuffer(out)
	}
	c.unsentBytes = unsent
	attached := c.resume
	c.resume = false
	again := c.throttled && c.takesFrames(0)
	slow := c.throttled && unsent >= maxReplyBytes && !c.polling
	if slow {
		c.polling = true
	}
	l.gate.Unlock()
	switch {
	case attached:
		c.np.SetHandshakeDone()
		c.np.Resume()
	case again:
		c.np.Resume()
	case slow:
		// Nobody tells when the peer has read; Stop does not wait for the timer, which finds the loop gone.
		time.AfterFunc(outboundPollInterval, func() {
			l.np.Post(func() {
				l.gate.Lock()
				c.polling = false
				l.gate.Unlock()
				l.flushConn(c)
			})
		})
	}
}
