package server

import (
	"fmt"
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/wal"
)

const (
	// maxApplyBatch bounds how many transactions are applied under one hold of the gates, so
	// that a large turn does not keep readers out for long.
	maxApplyBatch = 256
	// maxAppendBytes ends one append to the log; a turn with more makes several, which the log writes and syncs together
	// all the same. So a slab seldom grows, and the few that are on their way stay small enough for the cache.
	maxAppendBytes = slabBytes - 8<<10
	// maxLogBacklogBytes: while the log has this much to write, requests wait in the inbox.
	maxLogBacklogBytes = 32 << 20
)

// turn takes all that waits through preparation, one append to the log, and application of what
// has become durable.
func (r *replica) turn() {
	r.inbox.Lock()
	r.posted, r.inbox.posted = r.inbox.posted, r.posted[:0]
	if r.wal.QueuedBytes() < maxLogBacklogBytes {
		r.batches, r.inbox.batches = r.inbox.batches, r.spare
		r.spare = nil
	}
	r.inbox.Unlock()

	r.app.r, r.app.wallMs = r, r.srv.wallMs()
	r.sessions.nowMs = r.srv.nowMs()
	for i, f := range r.posted {
		f(r)
		r.posted[i] = nil
	}
	r.prepareAll()
	r.app.flush()
	if r.ens != nil {
		r.ens.turn()
	}
	r.applyCommitted()
	if r.throttler != nil && r.throttler.more(r) || r.ens != nil && len(r.ens.resumable) > 0 {
		r.signal()
	}
	r.ckpt.maybeStart(r)
}

// lookAtLog notes whether the log takes records. Without space it keeps what it has queued and
// takes up again by itself when there is space (tick asks it to try).
func (r *replica) lookAtLog() {
	state := r.wal.State()
	refusing := state == wal.StateLowSpace || state == wal.StateNoSpace
	if refusing == r.refusing {
		return
	}
	r.refusing = refusing
	if refusing && r.ens != nil {
		r.srv.log.Error("The disk of the log is full: this server neither leads nor looks for a leader until there is space. Free space and it goes on by itself", "dir", r.srv.opts.LogDir)
	} else if refusing {
		r.srv.log.Error("The disk of the log is full: writes are refused (SYSTEMERROR), reads go on, and nothing acknowledged is lost. Free space and writes go on by themselves", "dir", r.srv.opts.LogDir)
	} else {
		r.srv.log.Info("The log has space again")
	}
}

// prepareAll turns the requests of this turn into transactions and appends them to the log.
func (r *replica) prepareAll() {
	r.lookAtLog()
	if r.ens != nil {
		r.ens.heedSpace()
		r.ens.resume(&r.app)
	}
	if len(r.batches) == 0 && len(r.internal) == 0 && r.throttler == nil {
		return
	}
	a := &r.app
	figures := turnFigures{beganNs: r.srv.nowNs(), pending: r.pending.len(), lastZxid: r.lastZxid}
	taken, warmed := 0, 0
	for i, b := range r.batches {
		figures.took(b)
		if r.throttler != nil {
			continue
		}
		for j := range b.requests {
			if taken == warmed && r.leads() {
				warmed += r.warmWrites(i, j)
			}
			taken++
			r.take(a, b, &b.requests[j])
		}
		r.srv.putBatch(b)
		r.batches[i] = nil
	}
	if r.throttler != nil {
		r.throttler.take(r, a, r.batches)
		clear(r.batches)
	}
	if r.spare == nil {
		r.spare = r.batches[:0]
	}
	r.batches = nil
	if !r.leads() {
		r.internal = r.internal[:0]
	}
	if !r.refusing {
		for i := range r.internal {
			q := &r.internal[i]
			req := prep.Request{Session: q.session, Op: q.op, Body: q.body}
			a.propose(&req, proposal{session: q.session, op: q.op})
			*q = internalRequest{}
		}
		r.internal = r.internal[:0]
	}
	preparedNs := r.srv.nowNs()
	a.flush()
	r.stages.prepared(r, &figures, preparedNs)
}

// take prepares one request of a client.
func (r *replica) take(a *appender, b *batch, q *request) {
	if r.auditor != nil && q.kind == requestWrite {
		q.audit = r.auditor.note(q, b.body(q))
	}
	if r.ens != nil {
		r.ens.prepare(a, b, q)
	} else {
		r.prepareRequest(a, b, q)
	}
}

func (r *replica) prepareRequest(a *appender, b *batch, q *request) {
	if q.kind == requestAttach {
		r.attach(a, q)
		return
	}
	if r.refusing {
		r.refuse(q, proto.ErrSystem)
		return
	}
	r.request = prep.Request{Session: q.session, Xid: q.xid, Op: q.op, Body: b.body(q), Identities: q.identities}
	p := proposal{conn: q.conn, session: q.session, xid: q.xid, op: q.op, receivedNs: q.receivedNs, audit: q.audit}
	if q.op == proto.OpCloseSession {
		beganNs := r.srv.nowNs()
		a.propose(&r.request, p)
		r.stages.closeSessionMs.Add((r.srv.nowNs() - beganNs) / 1e6)
		return
	}
	a.propose(&r.request, p)
}

// attach creates a session for a connection, or gives it the one that it asks for.
func (r *replica) attach(a *appender, q *request) {
	nowMs := r.srv.nowMs()
	if q.session == 0 {
		if r.refusing {
			r.finishAttach(q.conn, func() { q.conn.goodbyeSilently() })
			return
		}
		created := r.sessions.create(q.timeoutMs, q.conn, nowMs)
		req := prep.Request{Session: created.id, Op: proto.OpCreateSession, TimeoutMs: q.timeoutMs}
		a.propose(&req, proposal{conn: q.conn, session: created.id, op: proto.OpCreateSession, receivedNs: q.receivedNs})
		return
	}
	r.reattach(q)
}

// reattach gives a connection the session that it asks for, if this server's tracker has it.
func (r *replica) reattach(q *request) {
	s, nowMs := r.srv, r.srv.nowMs()
	s.figures.Counter("connection_revalidate_count").Add(1)
	known := r.sessions.sessions[q.session]
	if known == nil || known.closing || !known.durable {
		s.log.Info(fmt.Sprintf("Invalid session %s for client /%s, probably expired", hexID(q.session), q.conn.np.RemoteAddr()))
		r.finishAttach(q.conn, q.conn.expiredResponse)
		return
	}
	if before := r.sessions.attach(known, q.conn, q.timeoutMs, nowMs); before != nil {
		before.np.Close()
	}
	r.finishAttach(q.conn, func() { q.conn.established(known.id, r.readOnly()) })
}

// finishAttach answers a connect request under the gate of the connection's loop, and tells whether there still
// was somebody to answer.
func (r *replica) finishAttach(c *clientConn, answer func()) bool {
	l := c.loop
	l.gate.Lock()
	c.inPipeline--
	there := c.state == connAttaching
	if there {
		answer()
	}
	l.wakeIfDirty()
	l.gate.Unlock()
	r.srv.outstanding.Add(-1)
	return there
}

// refuse answers a write that is not executed: at once, or behind the unfinished writes of its
// connection.
func (r *replica) refuse(q *request, code proto.ErrCode) {
	p := proposal{zxid: r.lastZxid, conn: q.conn, session: q.session, xid: q.xid, op: q.op, receivedNs: q.receivedNs, code: code}
	l := q.conn.loop
	l.gate.Lock()
	first := q.conn.inPipeline == 1
	if first {
		r.applyRefused(&p)
		l.wakeIfDirty()
	}
	l.gate.Unlock()
	if first {
		r.srv.outstanding.Add(-1)
		return
	}
	if r.ens != nil {
		r.ens.started(q.conn, q.op)
	}
	r.pending.push(p)
}

// applyRefused answers a refused write. The caller holds the gate of
// its loop.
func (r *replica) applyRefused(p *proposal) {
	c := p.conn
	c.inPipeline--
	if c.state == connClosed {
		return
	}
	zxid := r.engine.LastZxid()
	c.finishWrite(p.xid, p.op, zxid, p.receivedNs, func(dst []byte) []byte {
		return appendHeaderReply(dst, p.xid, zxid, p.code)
	})
	if p.op == proto.OpCloseSession {
		// The client wants to go; its session expires when the log takes the close.
		c.closeAfterFlush = true
		c.goodbye()
	}
}

// An appender gathers the records of a turn into slabs and appends them to the log.
type appender struct {
	r      *replica
	wallMs int64
	slab   *slab
}

// propose prepares req and puts the transaction behind those of this turn.
func (a *appender) propose(req *prep.Request, p proposal) {
	r := a.r
	if a.slab == nil {
		a.slab = getSlab()
	}
	s := a.slab
	s.batch.BeginRecord()
	p.off = len(s.batch.Buf)
	var code proto.ErrCode
	s.batch.Buf, p.zxid, code = r.prep.Prepare(s.batch.Buf, req, a.wallMs)
	if code == proto.ErrQuotaExceeded {
		r.srv.noteQuotaExceeded(req)
	}
	if code != proto.OK && req.Op == proto.OpReconfig && r.ens != nil {
		r.ens.prepared = nil
	}
	p.len = len(s.batch.Buf) - p.off
	s.batch.EndRecord(p.zxid)
	s.refs.Add(1)
	p.slab = s
	r.lastZxid = p.zxid
	r.pending.push(p)
	r.ckpt.trigger.Logged(1, int64(p.len))
	if len(s.batch.Buf) >= maxAppendBytes {
		a.flush()
	}
}

// flush appends what was gathered.
func (a *appender) flush() {
	if a.slab == nil {
		return
	}
	s := a.slab
	a.slab = nil
	r := a.r
	if err := r.wal.Append(&s.batch); err != nil {
		r.srv.fatal(err)
	}
	r.stages.appended(r.srv, s.batch.Records[len(s.batch.Records)-1].Zxid, len(s.batch.Records), a.wallMs)
	if r.ens != nil {
		r.ens.proposed(s)
	}
}

// applyCommitted applies what is committed, in batches under all gates.
func (r *replica) applyCommitted() {
	durable := r.committedZxid()
	for r.pending.len() > 0 && r.pending.front().zxid <= durable {
		nowNs := r.srv.nowNs()
		done, count := int64(0), int64(0)
		var applied proto.Zxid
		r.srv.lockGates()
		for _, l := range r.srv.loops {
			l.nowNs = nowNs
		}
		for n := 0; n < maxApplyBatch && r.pending.len() > 0 && r.pending.front().zxid <= durable; n++ {
			if n%engine.WarmPaths == 0 {
				r.warmProposals(durable)
			}
			p := r.pending.front()
			if p.slab != nil {
				r.applyOne(p)
				applied = p.zxid
				count++
				p.slab.release()
			} else if p.conn != nil { // nil: the clients were dropped
				r.applyRefused(p)
				if r.ens != nil {
					r.ens.answered(p.conn, p.op)
				}
			}
			if p.conn != nil {
				done++
			}
			r.pending.pop()
		}
		if applied != 0 {
			r.prep.Applied(applied)
		}
		r.srv.unlockGates()
		if r.auditor != nil {
			r.auditor.write()
		}
		r.srv.outstanding.Add(-done)
		r.stages.applied(r.srv, applied, count, nowNs)
	}
}

// applyOne applies p and answers its connection. The caller holds all gates.
func (r *replica) applyOne(p *proposal) {
	txn, err := proto.ProposalTxn(p.slab.batch.Buf[p.off : p.off+p.len])
	if err != nil {
		panic("server: own proposal does not decode: " + err.Error())
	}
	if p.remote {
		r.ens.claim(p, txn)
	}
	c := p.conn
	if c != nil && c.state != connClosed {
		// Reads in front of this write must see the state before it.
		c.drain()
	}
	var sink engine.Sink = &r.sink
	if r.auditor != nil && p.op == proto.OpCloseSession {
		sink = &closingSink{eventSink: &r.sink, auditor: r.auditor, session: p.session}
	}
	res, err := r.engine.Apply(txn, sink)
	if err != nil {
		panic("server: own transaction does not apply: " + err.Error())
	}
	if r.srv.noteDigest(r.engine, res) && p.remote {
		r.ens.diverged = true
	}
	r.srv.noteZxid(p.zxid)
	written := &r.srv.loops[0].namespaces
	if res.Header.Type != proto.OpMulti {
		written.wrote(&res.OpResult)
	}
	for i := range res.Multi {
		written.wrote(&res.Multi[i])
	}
	if p.audit != nil {
		r.auditor.applied(p, res)
	}
	switch p.op {
	case proto.OpCreateSession:
		r.sessionCreated(p)
		return
	case proto.OpCloseSession:
		r.sessionClosed(p)
	}
	if c == nil {
		return
	}
	c.inPipeline--
	if r.ens != nil {
		r.ens.answered(c, p.op)
	}
	if c.state == connClosed {
		r.stages.staleReplies.Add(1)
		return
	}
	if res.Err == proto.ErrSessionMoved {
		// The session has gone to another server: its old connection is closed without a reply
		// (client protocol, section 9.4).
		c.np.Close()
		return
	}
	if p.code != proto.OK && res.Err != proto.OK && p.op != proto.OpMulti {
		res.Err = p.code
	}
	c.finishWrite(p.xid, p.op, p.zxid, p.receivedNs, func(dst []byte) []byte {
		if p.op == proto.OpReconfig && res.Err == proto.OK {
			return appendReconfigReply(dst, p.xid, p.zxid, r.engine.Data(r.engine.ConfigNode()), &res.Stat)
		}
		return appendWriteReply(dst, p.xid, p.op, p.zxid, res)
	})
	if p.op == proto.OpCloseSession {
		c.closeAfterFlush = true
		c.goodbye()
	}
}

// finishWrite takes the write at the front of the queue off and appends its reply. The reads
// behind it are left to the loop. The caller holds the gate.
func (c *clientConn) finishWrite(xid int32, op proto.OpCode, zxid proto.Zxid, receivedNs int64, reply func([]byte) []byte) {
	c.drain()
	if c.queue.empty() || c.queue.front().kind != queuedWrite || c.queue.front().xid != xid {
		panic("server: reply out of order")
	}
	if large := c.queue.front().len; large != 0 {
		c.releaseLarge(int64(large))
	}
	c.queue.pop()
	out := c.outBuffer()
	start := len(out)
	c.out = reply(out)
	c.replied(xid, op, zxid, receivedNs, len(c.out)-start, &c.loop.updateLatency)
	c.markDirty()
}

func (r *replica) sessionCreated(p *proposal) {
	if s := r.sessions.sessions[p.session]; s != nil {
		r.committedGlobal(s)
	}
	c := p.conn
	if c == nil {
		return
	}
	c.inPipeline--
	if c.state == connAttaching {
		c.established(p.session, false)
	} else {
		// The client left before its session was there: it expires in its time, as in Java.
		r.sessions.detach(p.session, c)
	}
}

// sessionClosed forgets a session whose close has been applied. A connection that holds it and
// did not ask for the close, because the session expired, is closed without a word.
func (r *replica) sessionClosed(p *proposal) {
	s := r.sessions.sessions[p.session]
	if s == nil {
		return
	}
	r.sessions.remove(p.session)
	if s.conn != nil && s.conn != p.conn {
		s.conn.np.Close()
	}
}

var _ engine.Sink = (*eventSink)(nil)
