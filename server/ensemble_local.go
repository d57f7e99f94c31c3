package server

import (
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
)

// A local session is known to the server alone that its client connects to: no transaction begins or ends it, it is
// not told to the leader, and it expires here. Its writes go the way of all writes. The first of them that asks for
// an ephemeral either is refused or makes it a global session: a createSession with the same id goes in front.
// Source: client protocol, section 9.9; quorum protocol, section 5.6.

// attachLocal gives a connection a session that only this server knows.
func (r *replica) attachLocal(q *request) {
	x := r.sessions.create(q.timeoutMs, q.conn, r.srv.nowMs())
	x.owner, x.durable = localOwner, true
	r.sessions.setLocal(x, true)
	if !r.finishAttach(q.conn, func() { q.conn.established(x.id, r.readOnly()) }) {
		// The client has left: the session expires in its time.
		r.sessions.detach(x.id, q.conn)
	}
}

// isLocal tells whether only this server knows the session.
func (r *replica) isLocal(id proto.SessionID) bool {
	x := r.sessions.sessions[id]
	return x != nil && x.local
}

// isGone tells whether the session is one that only this server knew and that is no more: nobody else would refuse
// its writes.
func (e *ensemble) isGone(id proto.SessionID) bool {
	if !e.opts.LocalSessions || e.r.sessions.sessions[id] != nil {
		return false
	}
	_, global := e.r.engine.Session(id)
	return !global
}

// upgrade sends a createSession on its way if q asks for an ephemeral and its session is local. Where upgrading is
// off, q goes its way all the same and comes to nothing, since no one else knows its session.
func (e *ensemble) upgrade(a *appender, q *request, body []byte) {
	if !e.opts.LocalSessions || !e.r.isLocal(q.session) || !prep.CreatesEphemeral(q.op, body, e.r.srv.opts.FieldMaxBytes) {
		return
	}
	if !e.opts.LocalUpgrading {
		q.code = proto.ErrEphemeralOnLocal
		return
	}
	r := e.r
	x := r.sessions.sessions[q.session]
	r.sessions.setLocal(x, false)
	r.srv.log.Info("Upgrading session " + hexID(x.id))
	if e.leader != nil {
		r.request = prep.Request{Session: x.id, Op: proto.OpCreateSession, TimeoutMs: x.timeoutMs, Owner: localOwner}
		a.propose(&r.request, proposal{session: x.id, op: proto.OpCreateSession})
		return
	}
	fwd := request{session: x.id, op: proto.OpCreateSession, receivedNs: q.receivedNs}
	e.forward(&fwd, jute.AppendInt32(nil, x.timeoutMs))
}

// committedGlobal notes that all servers know the session now.
func (r *replica) committedGlobal(x *session) {
	x.durable = true
	r.sessions.setLocal(x, false)
	if r.ens != nil && r.ens.opts.LocalSessions {
		r.srv.log.Info("Committing global session " + hexID(x.id))
	}
}

// closeLocal ends a local session, as its client asks. Nothing of the connection is on its way.
func (r *replica) closeLocal(q *request) {
	r.srv.log.Info("Submitting local closeSession request for session " + hexID(q.session))
	r.endLocal(q.session, q.conn)
	c, l := q.conn, q.conn.loop
	l.gate.Lock()
	defer l.gate.Unlock()
	r.srv.outstanding.Add(-1)
	c.inPipeline--
	if c.state == connClosed {
		return
	}
	zxid := r.engine.LastZxid()
	c.finishWrite(q.xid, q.op, zxid, q.receivedNs, func(dst []byte) []byte {
		return appendHeaderReply(dst, q.xid, zxid, proto.OK)
	})
	c.closeAfterFlush = true
	c.goodbye()
	l.wakeIfDirty()
}

// endLocal forgets a local session and closes its connection, unless that is the one that asked for it.
func (r *replica) endLocal(id proto.SessionID, asked *clientConn) {
	x := r.sessions.sessions[id]
	r.sessions.remove(id)
	if x.conn != nil && x.conn != asked {
		x.conn.np.Close()
	}
}
