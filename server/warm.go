package server

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// What a turn or a readiness has to look up is known before the first of it is looked up. So it goes
// through engine.Warm in groups, each right before it is its turn: the processor then waits for memory once a group and
// not several times for each znode.

// warmWrites warms the znodes of the requests from the j-th of the i-th batch on, and returns how many it has looked at.
func (r *replica) warmWrites(i, j int) (n int) {
	for ; i < len(r.batches); i, j = i+1, 0 {
		b := r.batches[i]
		for ; j < len(b.requests); j++ {
			if n == engine.WarmPaths {
				r.engine.Warm(&r.warmer)
				return n
			}
			n++
			r.warmer.AddWrite(b.requests[j].op, b.body(&b.requests[j]))
		}
	}
	r.engine.Warm(&r.warmer)
	return n
}

// warmForwarded is warmWrites for what learners have forwarded: the outputs of the machine from the i-th on.
func (e *ensemble) warmForwarded(i int) (n int) {
	for _, o := range e.out.List[i:min(i+engine.WarmPaths, len(e.out.List))] {
		n++
		if o.Kind != zab.OutRequest {
			continue
		}
		if req, err := quorum.DecodeRequest(o.Data); err == nil {
			e.r.warmer.AddWrite(req.Op, req.Body)
		}
	}
	e.r.engine.Warm(&e.r.warmer)
	return n
}

// warmProposals warms the znodes of the next engine.WarmPaths proposals that are committed.
func (r *replica) warmProposals(committed proto.Zxid) {
	next := r.pending.items[r.pending.head:]
	next = next[:min(len(next), engine.WarmPaths)]
	for i := range next {
		p := &next[i]
		if p.zxid > committed {
			next = next[:i]
			break
		}
		if p.slab != nil {
			r.warmer.Touch(p.slab.batch.Buf[p.off : p.off+p.len])
		}
	}
	for i := range next {
		p := &next[i]
		if p.slab == nil {
			continue
		}
		if txn, err := proto.ProposalTxn(p.slab.batch.Buf[p.off : p.off+p.len]); err == nil {
			r.warmer.AddTxn(txn)
		}
	}
	r.engine.Warm(&r.warmer)
}

// warmFrames warms the znodes of the reads that it will give next, if they do not have to wait. The caller holds the gate.
func (c *clientConn) warmFrames(it *netpoll.Frames) {
	if c.state != connEstablished || !c.queue.empty() {
		return
	}
	w := &c.loop.warmer
	off := 0
	for range engine.WarmPaths {
		frame, behind, ok := it.Ahead(off)
		if !ok || len(frame) < proto.RequestHeaderBytes {
			break
		}
		op := proto.OpCode(jute.Int32(frame[4:]))
		if isWrite(op) {
			break // what is behind it waits
		}
		w.AddRead(op, frame[proto.RequestHeaderBytes:])
		off = behind
	}
	c.loop.srv.engine.Warm(w)
}

// warmQueue warms the znodes of the reads at the front of the queue. The caller holds the gate.
func (c *clientConn) warmQueue() {
	w := &c.loop.warmer
	q := &c.queue
	for i := q.head; i < min(len(q.entries), q.head+engine.WarmPaths) && q.entries[i].kind != queuedWrite; i++ {
		if e := &q.entries[i]; e.kind == queuedRead {
			w.AddRead(e.op, q.body(e))
		}
	}
	c.loop.srv.engine.Warm(w)
}

// isWrite tells whether requests of this kind make those behind them wait.
func isWrite(op proto.OpCode) bool {
	switch op {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpDelete, proto.OpSetData,
		proto.OpSetACL, proto.OpMulti, proto.OpReconfig, proto.OpSync, proto.OpCloseSession:
		return true
	}
	return false
}
