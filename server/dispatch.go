package server

import (
	"fmt"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
)

// Opened implements netpoll.Handler.
func (s *Server) Opened(np netpoll.Conn) bool {
	if !s.admitAddress(np.RemoteAddr().Addr()) {
		return false
	}
	identities, ok := s.firstIdentities(np)
	if !ok {
		s.addresses.release(np.RemoteAddr().Addr())
		return false
	}
	l := s.loops[np.Loop().Index()]
	c := &clientConn{np: np, loop: l, openedAtMs: s.wallMs(), identities: identities}
	c.lastHeardMs.Store(s.nowMs())
	np.SetContext(c)
	l.gate.Lock()
	l.addConn(c)
	l.gate.Unlock()
	s.connCount.Add(1)
	return true
}

// Closed implements netpoll.Handler.
func (s *Server) Closed(np netpoll.Conn, reason error) {
	c := np.Context().(*clientConn)
	l := c.loop
	l.gate.Lock()
	session, state := c.session, c.state
	c.state = connClosed
	l.removeConn(c)
	l.gate.Unlock()
	s.connCount.Add(-1)
	s.figures.Counter("connection_drop_count").Add(1)
	s.addresses.release(np.RemoteAddr().Addr())
	if reason != nil {
		s.log.Warn(fmt.Sprintf("Closing connection of /%s, session = %s", np.RemoteAddr(), hexID(session)), "err", reason)
	} else if state == connEstablished {
		s.log.Debug(fmt.Sprintf("Unable to read additional data from client, it probably closed the socket: address = /%s, session = %s", np.RemoteAddr(), hexID(session)))
	}
	if session != 0 {
		s.replica.post(func(r *replica) {
			r.sessions.detach(session, c)
			if x := r.sessions.sessions[session]; x != nil && x.conn == nil && !x.local && !r.leads() {
				// A learner only keeps the global sessions that are connected here.
				r.sessions.remove(session)
			}
		})
	}
}

// Woken implements netpoll.Handler.
func (s *Server) Woken(np netpoll.Loop) { s.loops[np.Index()].flush() }

// frameHeaderBytes is the length in front of each frame.
const frameHeaderBytes = 4

// Frames implements netpoll.Handler: it serves reads at once, hands writes to the replica in one
// batch and writes all replies with one call.
func (s *Server) Frames(np netpoll.Conn, it *netpoll.Frames) {
	c := np.Context().(*clientConn)
	l := c.loop
	nowNs := s.nowNs()
	b := s.getBatch()
	unsent := np.OutboundBuffered()

	l.gate.Lock()
	l.nowNs = nowNs
	c.unsentBytes = unsent
	// Bytes have come, or may be taken at last: the client is there, even if it is being slowed down.
	c.lastHeardMs.Store(nowNs / 1e6)
	keep := true
	for n := 0; keep && c.takesFrames(len(b.requests)); n++ {
		if n%engine.WarmPaths == 0 {
			c.warmFrames(it)
		}
		frame, ok := it.Next()
		if !ok {
			break
		}
		c.stats.received++
		l.stats.received++
		l.receivedBytes += int64(len(frame)) + frameHeaderBytes
		if c.state == connNew {
			keep = c.connect(frame, b, nowNs)
			continue
		}
		keep = c.request(frame, b, nowNs)
	}
	c.inPipeline += len(b.requests)
	if !keep {
		c.state = connClosing
	}
	l.gate.Unlock()

	if len(b.requests) > 0 {
		s.outstanding.Add(int64(len(b.requests)))
		s.replica.submit(b)
	} else {
		s.putBatch(b)
	}
	if !keep {
		l.flushConn(c)
		np.Close()
		return
	}
	l.flushConn(c)
}

const (
	// maxReplyBytes: a connection with this much to be sent takes no further request, so that a client which
	// asks for more than it reads costs a bounded amount of memory and is slowed down, not closed.
	maxReplyBytes = 1 << 20
	// maxQueuedReads bounds the reads that wait behind an unfinished write, whose replies nobody knows
	// the size of yet.
	maxQueuedReads = 128
	// outboundPollInterval is how often a connection that is slowed down is looked at.
	outboundPollInterval = 5 * time.Millisecond
)

// takesFrames tells whether another request may be read when batched ones of this readiness are on
// their way already: the connection is in a state for it, what it has asked for is bounded, and it has nothing
// outstanding while the server as a whole has too much (globalOutstandingLimit; client protocol,
// section 9.5). The caller holds the gate.
func (c *clientConn) takesFrames(batched int) bool {
	if c.state != connNew && c.state != connEstablished {
		return false
	}
	s := c.loop.srv
	overLimit := batched+c.inPipeline > 0 && s.outstanding.Load()+int64(batched) > s.opts.GlobalOutstandingMax
	if overLimit || len(c.out)+c.unsentBytes >= maxReplyBytes || c.queue.reads >= maxQueuedReads {
		c.throttled = true
		return false
	}
	c.throttled = false
	return true
}

// request handles one frame of an established connection. The caller holds the gate. It
// returns false when the connection is to be closed without a word.
func (c *clientConn) request(frame []byte, b *batch, nowNs int64) bool {
	if len(frame) < proto.RequestHeaderBytes {
		return false
	}
	s := c.loop.srv
	xid, op := jute.Int32(frame), proto.OpCode(jute.Int32(frame[4:]))
	body := frame[proto.RequestHeaderBytes:]
	if op == proto.OpAuth {
		return c.authenticate(xid, body, nowNs)
	}
	if op == proto.OpSasl {
		return c.sasl(xid, body, nowNs)
	}
	if !s.enforcement.Satisfied(c.identities) {
		c.refuse(xid, op, 0, proto.ErrSessionClosedRequires, nowNs)
		return true
	}
	switch op {
	case proto.OpPing, proto.OpExists, proto.OpGetData, proto.OpGetChildren, proto.OpGetChildren2, proto.OpGetACL,
		proto.OpMultiRead, proto.OpCheckWatches, proto.OpRemoveWatches, proto.OpSetWatches,
		proto.OpSetWatches2, proto.OpAddWatch, proto.OpGetEphemerals, proto.OpGetAllChildrenNum, proto.OpWhoAmI:
		if c.queue.empty() {
			c.serveRead(xid, op, body, nowNs)
		} else {
			c.queue.push(queuedRead, xid, op, body, nowNs)
		}
	case proto.OpSync:
		if s.replica.ens != nil {
			c.queue.pushWrite(xid, op, nowNs)
			b.addWrite(c, xid, op, body, nowNs)
			return true
		}
		if c.queue.empty() {
			c.serveRead(xid, op, body, nowNs)
		} else {
			c.queue.push(queuedRead, xid, op, body, nowNs)
		}
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpDelete, proto.OpSetData,
		proto.OpSetACL, proto.OpMulti, proto.OpReconfig:
		// A standalone server of Java's has no eager check either.
		if s.opts.EagerACLCheck && s.replica.ens != nil && !s.readOnly.Load() {
			if code := prep.EagerCheck(s.engine, s.auth, op, body, c.identities, nil); code != proto.OK {
				c.reply(xid, op, 0, code, nowNs)
				return true
			}
		}
		large := s.opts.LargeRequestThreshold > 0 && len(frame) > s.opts.LargeRequestThreshold
		if large && !c.admitLarge(len(frame)) {
			return false
		}
		c.queue.pushWrite(xid, op, nowNs)
		if large {
			c.queue.noteLarge(len(frame))
		}
		b.addWrite(c, xid, op, body, nowNs)
	case proto.OpCloseSession:
		c.queue.pushWrite(xid, op, nowNs)
		b.addWrite(c, xid, op, nil, nowNs)
		c.state = connClosing
	default:
		// Also createSession, deleteContainer, check and error, which no client has a right to
		// (client protocol, sections 3.2, 3.5 and 14).
		s.log.Warn(fmt.Sprintf("Closing connection of /%s: it sent a request of type %d", c.np.RemoteAddr(), op))
		c.refuse(xid, op, -1, proto.ErrUnimplemented, nowNs)
	}
	return true
}
