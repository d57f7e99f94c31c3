package server

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// A forwardQueue holds the writes of local clients that are on their way to the leader, in order. Each
// comes back as the commit of a transaction with its session and xid.
type forwardQueue struct {
	items []request
	head  int
}

func (q *forwardQueue) len() int        { return len(q.items) - q.head }
func (q *forwardQueue) front() *request { return &q.items[q.head] }
func (q *forwardQueue) push(r request)  { q.items = append(q.items, r) }

// clients counts those that a client waits for, which is all but those of the server itself.
func (q *forwardQueue) clients() (n int64) {
	for i := q.head; i < len(q.items); i++ {
		if q.items[i].conn != nil {
			n++
		}
	}
	return n
}

func (q *forwardQueue) reset() { clear(q.items); q.items, q.head = q.items[:0], 0 }

func (q *forwardQueue) pop() {
	q.items[q.head] = request{}
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 1024 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// prepare handles a request of a local client while this server is a member of an ensemble.
func (e *ensemble) prepare(a *appender, b *batch, q *request) {
	switch {
	case e.readOnly:
		e.prepareReadOnly(q)
	case !e.serving || !e.r.srv.serving.Load():
		e.drop(q)
	case q.kind == requestAttach:
		e.attach(a, q)
	case e.isGone(q.session):
		e.r.srv.log.Warn("Dropping request: No session with sessionid " + hexID(q.session) + " exists, probably expired and removed")
		e.drop(q)
	default:
		e.submit(a, q, b.body(q))
	}
}

// drop closes the connection of a request that nobody can take.
func (e *ensemble) drop(q *request) {
	q.conn.np.Close()
	e.r.srv.outstanding.Add(-1)
}

// localOwner is the owner of the sessions whose connections this server itself has.
const localOwner = quorum.NoServer

func (e *ensemble) propose(a *appender, q *request, body []byte) {
	if e.r.prep.Exhausted() {
		e.drop(q)
		e.step(zab.Input{Kind: zab.InResign, Err: fmt.Errorf("server: the epoch has no zxid left")})
		return
	}
	e.r.request = prep.Request{Session: q.session, Xid: q.xid, Op: q.op, Body: body, Identities: q.identities, Owner: localOwner}
	a.propose(&e.r.request, proposal{conn: q.conn, session: q.session, xid: q.xid, op: q.op, receivedNs: q.receivedNs, audit: q.audit})
}

// forward sends a write to the leader.
func (e *ensemble) forward(q *request, body []byte) {
	xid := q.xid
	req := quorum.Request{SessionID: q.session, Cxid: xid, Op: q.op, Body: body}
	start := len(e.scratch)
	e.scratch = req.Append(e.scratch)
	e.forwarded.push(*q)
	e.step(zab.Input{Kind: zab.InRequest, Packet: quorum.Packet{Data: e.scratch[start:], Auth: q.identities}})
}

// proposed tells the machine of what has gone to the log.
func (e *ensemble) proposed(s *slab) {
	if e.leader == nil || !e.leader.Serving() {
		// The machine has given up in this turn and takes nothing, but what is logged is history: the next leader here
		// has to have it for others.
		for i := range s.batch.Records {
			s.refs.Add(1)
			e.window.Append(s.batch.Records[i].Zxid, s.batch.Payload(i), s)
		}
		return
	}
	e.proposals = e.proposals[:0]
	for i := range s.batch.Records {
		s.refs.Add(1)
		p := zab.Proposal{Zxid: s.batch.Records[i].Zxid, Packet: s.batch.Payload(i), Ref: s}
		if c := e.prepared; c != nil && c.Version == p.Zxid {
			p.Config, e.prepared = c, nil
		}
		e.proposals = append(e.proposals, p)
	}
	e.figures.noteProposals(e.proposals)
	e.step(zab.Input{Kind: zab.InPropose, Proposals: e.proposals})
}

// claim makes p the answer to the oldest forwarded write if it is that write's transaction.
func (e *ensemble) claim(p *proposal, txn []byte) {
	d := jute.NewDecoder(txn, 0)
	var h proto.TxnHeader
	h.Decode(&d)
	p.session = h.SessionID
	e.claimedMs = h.TimeMs
	switch h.Type {
	case proto.OpCreateSession, proto.OpCloseSession:
		p.op = h.Type
	}
	if e.forwarded.len() == 0 {
		return
	}
	if q := e.forwarded.front(); q.session == h.SessionID && q.xid == h.Cxid {
		p.conn, p.xid, p.op, p.receivedNs, p.audit, p.code = q.conn, q.xid, q.op, q.receivedNs, q.audit, q.code
		e.forwarded.pop()
	}
}

// attach creates a session for a local client, or lets it move here.
func (e *ensemble) attach(a *appender, q *request) {
	r, s := e.r, e.r.srv
	nowMs := s.nowMs()
	if q.session == 0 && e.opts.LocalSessions {
		r.attachLocal(q)
		return
	}
	if q.session == 0 {
		x := r.sessions.create(q.timeoutMs, q.conn, nowMs)
		x.owner = localOwner
		if e.leader != nil {
			r.request = prep.Request{Session: x.id, Op: proto.OpCreateSession, TimeoutMs: q.timeoutMs, Owner: localOwner}
			a.propose(&r.request, proposal{conn: q.conn, session: x.id, op: proto.OpCreateSession, receivedNs: q.receivedNs})
			return
		}
		fwd := *q
		fwd.session, fwd.xid, fwd.identities = x.id, 0, nil
		e.forward(&fwd, jute.AppendInt32(nil, q.timeoutMs))
		return
	}
	if e.leader != nil || r.isLocal(q.session) {
		if x := r.sessions.sessions[q.session]; x != nil {
			x.owner = localOwner
		}
		r.reattach(q)
		return
	}
	e.moves[q.session] = append(e.moves[q.session], move{request: *q})
	s.log.Info("Revalidating client: " + hexID(q.session))
	e.step(zab.Input{Kind: zab.InRevalidate, Session: q.session, TimeoutMs: q.timeoutMs})
}

// A move is a re-attach that waits for the leader's verdict: of a client here, or of one behind an observer.
type move struct {
	request
	observer zab.LinkID // 0: of a client here
}

// revalidated is the leader's verdict on the oldest move of the session.
func (e *ensemble) revalidated(id proto.SessionID, ok bool) {
	waiting := e.moves[id]
	if len(waiting) == 0 {
		return
	}
	q := waiting[0]
	if len(waiting) == 1 {
		delete(e.moves, id)
	} else {
		e.moves[id] = waiting[1:]
	}
	if q.conn == nil {
		e.stepMaster(zab.Input{Kind: zab.InRevalidated, Link: q.observer, Session: id, OK: ok})
		return
	}
	r := e.r
	if !ok {
		r.finishAttach(q.conn, q.conn.expiredResponse)
		return
	}
	x := r.sessions.sessions[id]
	if x == nil {
		x = r.sessions.add(id, q.timeoutMs, nil, r.srv.nowMs())
		x.durable = true
	}
	if before := r.sessions.attach(x, q.conn, q.timeoutMs, r.srv.nowMs()); before != nil {
		before.np.Close()
	}
	r.finishAttach(q.conn, func() { q.conn.established(id, false) })
}

// sync asks that everything the leader has committed by now be here before the answer.
func (e *ensemble) sync(body []byte, q *request) {
	e.nextToken++
	waiting := *q
	waiting.body = append([]byte(nil), body...)
	e.syncs[e.nextToken] = waiting
	if e.leader != nil {
		e.step(zab.Input{Kind: zab.InSync, Token: e.nextToken})
		return
	}
	req := quorum.Request{SessionID: q.session, Cxid: q.xid, Op: proto.OpSync, Body: body}
	start := len(e.scratch)
	e.scratch = req.Append(e.scratch)
	e.step(zab.Input{Kind: zab.InSyncRequest, Token: e.nextToken, Packet: quorum.Packet{Data: e.scratch[start:], Auth: q.identities}})
}

func (e *ensemble) syncDone(token uint64) {
	if link, ok := e.master.syncs[token]; ok {
		delete(e.master.syncs, token)
		e.inform()
		e.stepMaster(zab.Input{Kind: zab.InSyncAnswered, Link: link})
		return
	}
	q, ok := e.syncs[token]
	if !ok {
		return
	}
	delete(e.syncs, token)
	e.answered(q.conn, q.op)
	e.r.srv.outstanding.Add(-1)
	c, l := q.conn, q.conn.loop
	l.gate.Lock()
	defer l.gate.Unlock()
	c.inPipeline--
	if c.state == connClosed {
		return
	}
	zxid := e.r.engine.LastZxid()
	c.finishWrite(q.xid, q.op, zxid, q.receivedNs, func(dst []byte) []byte {
		d := c.decodeBody(q.body)
		path := d.Buffer()
		if d.Err() != nil {
			return appendHeaderReply(dst, q.xid, zxid, proto.ErrMarshalling)
		}
		dst, start := beginFrame(dst)
		dst = proto.AppendReplyHeader(dst, q.xid, zxid, proto.OK)
		return endFrame(jute.AppendBuffer(dst, path), start)
	})
	l.wakeIfDirty()
}

// remoteRequest prepares a write that a learner forwards.
func (e *ensemble) remoteRequest(o *zab.Output) {
	req, err := quorum.DecodeRequest(o.Data)
	if err != nil {
		e.r.srv.log.Warn("Request of a learner does not decode", "err", err)
		return
	}
	r := e.r
	if req.Op == proto.OpSync {
		e.step(zab.Input{Kind: zab.InSync, Link: o.Link, Zxid: r.lastZxid})
		return
	}
	r.request = prep.Request{Session: req.SessionID, Xid: req.Cxid, Op: req.Op, Body: req.Body, Identities: o.Auth, Owner: o.Server}
	if req.Op == proto.OpCreateSession {
		d := jute.NewDecoder(req.Body, 0)
		r.request.TimeoutMs, r.request.Body = d.Int32(), nil
	}
	r.app.propose(&r.request, proposal{session: req.SessionID, xid: req.Cxid, op: req.Op, remote: true})
}

// revalidate answers whether a session may move to a learner.
func (e *ensemble) revalidate(o *zab.Output) {
	e.figures.revalidated.Add(1)
	x := e.r.sessions.sessions[o.Session]
	ok := x != nil && !x.closing && !x.local
	if ok {
		x.owner = o.Server
		if before := x.conn; before != nil {
			before.np.Close()
		}
		e.r.sessions.attach(x, nil, o.TimeoutMs, e.r.srv.nowMs())
	}
	e.step(zab.Input{Kind: zab.InRevalidated, Link: o.Link, Session: o.Session, TimeoutMs: o.TimeoutMs, OK: ok})
}

// touch notes the activity of sessions at a learner.
func (e *ensemble) touch(touches quorum.Touches) {
	nowMs := e.r.srv.nowMs()
	for i := range touches.Len() {
		t := touches.At(i)
		if x := e.r.sessions.sessions[t.SessionID]; x != nil {
			x.heardMs = nowMs
		}
	}
}

// collectTouches fills touches with the global sessions that were active here since the last PING.
func (e *ensemble) collectTouches() {
	e.touches = e.touches[:0]
	since := e.answeredMs
	e.answeredMs = e.r.srv.nowMs()
	for id, x := range e.r.sessions.sessions {
		if x.conn != nil && !x.local && x.conn.lastHeardMs.Load() >= since {
			e.touches = quorum.AppendTouch(e.touches, quorum.Touch{SessionID: id, TimeoutMs: x.timeoutMs})
		}
	}
	e.appendObserverTouches()
	if e.touches == nil {
		e.touches = []byte{}
	}
}
