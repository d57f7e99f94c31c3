package server

import "zabra.dev/zabra/engine/proto"

// A client's answers come in the order of its requests. A write is answered when its transaction is applied, a
// sync when a quorum has confirmed the leader, and the one does not wait for the other. So a connection has
// writes on their way or syncs, never both: what would mix them is held until those in front are answered.

// connOrder is a connection's part in that. It belongs to the replica goroutine.
type connOrder struct {
	life          uint64 // the rest is of this life of the ensemble
	writes, syncs int    // on their way
	held          []request
}

// orderOf returns the order of c in the role that this server has now: what was on its way in an earlier one is
// not answered.
func (e *ensemble) orderOf(c *clientConn) *connOrder {
	if c.order.life != e.life {
		c.order = connOrder{life: e.life}
	}
	return &c.order
}

// mixes tells whether q has to wait for the requests of its connection that are on their way.
func (e *ensemble) mixes(o *connOrder, q *request) bool {
	switch {
	case q.op == proto.OpSync:
		return o.writes > 0
	case q.op == proto.OpCloseSession && e.r.isLocal(q.session):
		return o.writes > 0 || o.syncs > 0 // answered at once
	}
	return o.syncs > 0
}

// submit starts a request, or holds it with a copy of its body.
func (e *ensemble) submit(a *appender, q *request, body []byte) {
	o := e.orderOf(q.conn)
	if len(o.held) > 0 || e.mixes(o, q) {
		waiting := *q
		waiting.body = append([]byte(nil), body...)
		o.held = append(o.held, waiting)
		e.held++
		return
	}
	e.begin(a, o, q, body)
}

func (e *ensemble) begin(a *appender, o *connOrder, q *request, body []byte) {
	if q.op == proto.OpSync {
		o.syncs++
		e.sync(body, q)
		return
	}
	if q.op == proto.OpCloseSession && e.r.isLocal(q.session) {
		e.r.closeLocal(q)
		return
	}
	o.writes++
	e.upgrade(a, q, body)
	if e.leader != nil {
		e.propose(a, q, body)
	} else {
		e.forward(q, body)
	}
}

// started notes that a write or a sync of c is on its way.
func (e *ensemble) started(c *clientConn, op proto.OpCode) {
	if o := e.orderOf(c); op == proto.OpSync {
		o.syncs++
	} else {
		o.writes++
	}
}

// answered notes that a write or a sync of c is no longer on its way. Those held behind it begin in the next turn.
func (e *ensemble) answered(c *clientConn, op proto.OpCode) {
	o := e.orderOf(c)
	if op == proto.OpSync {
		o.syncs--
	} else {
		o.writes--
	}
	if len(o.held) > 0 && o.writes == 0 && o.syncs == 0 {
		e.resumable = append(e.resumable, c)
	}
}

// resume begins what is held no longer, before new requests are taken.
func (e *ensemble) resume(a *appender) {
	for _, c := range e.resumable {
		o := e.orderOf(c)
		n := 0
		for n < len(o.held) && !e.mixes(o, &o.held[n]) {
			q := &o.held[n]
			e.begin(a, o, q, q.body)
			n++
		}
		o.held = append(o.held[:0], o.held[n:]...)
		clear(o.held[len(o.held) : len(o.held)+n])
		e.held -= n
	}
	clear(e.resumable)
	e.resumable = e.resumable[:0]
}

// mayAnswer tells whether an answer that the log does not give can be put behind the writes of c.
func (e *ensemble) mayAnswer(c *clientConn) bool {
	o := e.orderOf(c)
	return e.leader != nil && o.syncs == 0 && len(o.held) == 0
}
