package sim

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// This file is the way of a transaction: prepared or received, logged, applied.

// applyAll applies what the log has beyond the tree: all of it is the history of a leader.
func (s *server) applyAll() {
	for i := s.window.After(s.engine.LastZxid()); i < s.window.Len(); i++ {
		e := s.window.At(i)
		if err := s.applyTxn(e.Zxid, e.Packet); err != nil {
			panic(err)
		}
		s.sinceImage++
	}
}

// takeSnapshot makes the tree that came, and what has been applied to it since, the server's own.
func (s *server) takeSnapshot(z quorum.Zxid) {
	l := s.learner
	m := imageOf(s.staged, s.stagedImage, true)
	m.zxid, m.replaces, m.marks = z, true, s.stagedImage.marks
	s.inLife(s.w.span(s.w.cpu, 100*us, 20*ms), func() {
		if s.learner != l {
			return
		}
		err := s.install(m)
		switch {
		case walfs.IsNoSpace(err):
			s.stepDown("no space for a snapshot", diskWait, quorum.NoServer)
		case err != nil:
			s.die(err)
		default:
			s.trace('s', "snapshot of 0x%x", z)
			s.w.check.kept("snapshot")
			s.post(func() { s.step(zab.Input{Kind: zab.InSnapshotTaken, Zxid: z}) })
		}
	})
}

// prepareAll makes transactions of what has been asked for in this turn, appends them to the
// log, and proposes them.
func (s *server) prepareAll() {
	if s.leader == nil || !s.serving || !s.leader.Serving() {
		s.requests = nil
		return
	}
	if len(s.requests) == 0 {
		return
	}
	batch := &wal.Batch{}
	var (
		syncs     []zab.Input
		z         quorum.Zxid
		exhausted bool
	)
	for i := range s.requests {
		r := &s.requests[i]
		if r.Op == proto.OpSync { // a learner's
			syncs = append(syncs, zab.Input{Kind: zab.InSync, Link: r.Owner.(zab.LinkID), Zxid: z})
			continue
		}
		if exhausted = s.prep.Exhausted() || quorum.CounterOf(s.prep.LastZxid()) >= s.w.plan.counterMax; exhausted {
			break
		}
		batch.BeginRecord()
		var code proto.ErrCode
		s.judged = nil
		batch.Buf, z, code = s.prep.Prepare(batch.Buf, r, s.wallMs())
		if code == proto.OK && s.judged != nil {
			s.proposing = map[quorum.Zxid]*quorum.Config{z: s.judged}
		}
		batch.EndRecord(z)
	}
	s.requests = nil
	for _, in := range syncs {
		s.step(in)
	}
	if len(batch.Records) > 0 {
		s.propose(batch)
	}
	if exhausted {
		s.w.rollovers++
		s.step(zab.Input{Kind: zab.InResign, Err: zab.ErrRollover})
	}
}

// propose logs what has been prepared and proposes it.
func (s *server) propose(batch *wal.Batch) {
	if err := s.log.Append(batch); err != nil {
		panic(err) // a log that has failed ends the process at once, and the queue has no bound here
	}
	s.logQueued()
	proposals := make([]zab.Proposal, len(batch.Records))
	for i, r := range batch.Records {
		// The log writes headers between the payloads of the batch, never into them.
		proposals[i] = zab.Proposal{Zxid: r.Zxid, Packet: batch.Payload(i)}
		s.hist.add(r.Zxid, batch.Payload(i))
		s.w.check.proposed(batch.Payload(i))
	}
	s.proposedConfigs(proposals)
	s.step(zab.Input{Kind: zab.InPropose, Proposals: proposals})
}

// append logs what the leader has sent.
func (s *server) append(o *zab.Output) {
	packet := bytes.Clone(o.Data)
	if o.Unlogged {
		s.stagedWindow.Append(o.Zxid, packet, nil)
		return
	}
	batch := &wal.Batch{}
	batch.AddRecord(o.Zxid, packet)
	if s.w.opts.Mistakes == AppendsOutliveRole {
		s.window.Append(o.Zxid, packet, nil)
		s.appendLate(batch)
		return
	}
	if err := s.log.Append(batch); err != nil {
		panic(err)
	}
	if s.w.opts.Mistakes != SyncNotInWindow || s.serving {
		s.window.Append(o.Zxid, packet, nil)
	}
	s.hist.add(o.Zxid, packet)
	s.logQueued()
}

// appendLate is the mistake AppendsOutliveRole.
func (s *server) appendLate(b *wal.Batch) {
	s.late = append(s.late, b)
	s.inLife(s.w.span(s.w.cpu, 0, 20*ms), func() {
		b := s.late[0]
		s.late = s.late[1:]
		z := b.Records[0].Zxid
		if s.log == nil || z <= s.log.LastZxid() {
			return
		}
		packet := bytes.Clone(b.Payload(0))
		if err := s.log.Append(b); err != nil {
			panic(err)
		}
		s.hist.add(z, packet)
		s.logQueued()
	})
}

// cut cuts log and tree, and lets the learner go on.
func (s *server) cut(z quorum.Zxid) {
	end, ok, err := s.truncate(z)
	switch {
	case walfs.IsNoSpace(err):
		s.stepDown("no space to cut the log", diskWait, quorum.NoServer)
		return
	case err != nil:
		s.die(err)
		return
	}
	s.trace('t', "cuts its log at 0x%x, asked for 0x%x, %v", end, z, ok)
	s.w.check.kept("truncation")
	s.post(func() {
		s.step(zab.Input{Kind: zab.InTruncated, Zxid: end, OK: ok})
		for _, h := range s.links {
			s.readLink(h.l, h.side)
		}
	})
}

// commit applies what is committed, and answers those who wait for it.
func (s *server) commit(z quorum.Zxid) {
	if s.staged != nil {
		s.commitStaged(z)
		return
	}
	sink := eventSink{s: s}
	for i := s.window.After(s.engine.LastZxid()); i < s.window.Len() && s.window.At(i).Zxid <= z; i++ {
		e := s.window.At(i)
		txn, err := proto.ProposalTxn(e.Packet)
		if err != nil {
			panic(err)
		}
		res, err := s.engine.Apply(txn, &sink)
		if err != nil {
			panic(err)
		}
		s.sinceImage++
		if res.DigestMismatch {
			s.w.fail("digest", "server %d at 0x%x: tree 0x%x, transaction 0x%x", s.id, e.Zxid, s.engine.Digest(), res.TxnDigest)
		}
		s.hist.setDigest(e.Zxid, s.engine.Digest())
		if s.serving {
			s.w.check.committed(s, e.Zxid)
			s.applied(res.Header, answerOf(res))
		}
	}
	// Before it serves, what is applied is only on its way to being committed: by the promise of
	// a leader that a quorum may not follow.
	if s.upTo = max(s.upTo, z); s.serving {
		s.w.check.committed(s, z)
	}
	if s.prep != nil {
		s.prep.Applied(z)
	}
	if s.learner != nil {
		s.window.Trim(min(z, s.log.DurableZxid()))
	}
}

// commitStaged applies what follows on the tree that came.
func (s *server) commitStaged(z quorum.Zxid) {
	w := s.stagedWindow
	for i := w.After(s.staged.LastZxid()); i < w.Len() && w.At(i).Zxid <= z; i++ {
		e := w.At(i)
		if err := s.applyTo(s.staged, e.Zxid, e.Packet); err != nil {
			panic(err)
		}
		s.stagedImage.marks = append(s.stagedImage.marks, txnMark{e.Zxid, xxhash.Sum64(e.Packet), s.staged.Digest()})
	}
	s.upTo = max(s.upTo, z)
}

// applied does what a transaction means to sessions, and answers its client if that is here.
func (s *server) applied(h proto.TxnHeader, a answer) {
	if h.Type == proto.OpCreateSession && s.leader != nil {
		if x := s.tracker.find(h.SessionID); x != nil {
			x.extend(s.local())
		}
	}
	if h.Type == proto.OpCloseSession {
		s.tracker.remove(h.SessionID)
	}
	for _, k := range s.conns {
		if k.session != h.SessionID || len(k.queue) == 0 || k.queue[0].xid != h.Cxid || (k.queue[0].kind == opConnect) != (h.Type == proto.OpCreateSession) {
			continue
		}
		a.zxid = h.Zxid
		s.finish(k, a)
		break
	}
	if h.Type == proto.OpCloseSession {
		for _, k := range slices.Clone(s.conns) {
			if k.session == h.SessionID {
				s.hangUp(k, true)
			}
		}
	}
}

// forwarded takes a learner's write.
func (s *server) forwarded(o *zab.Output) {
	r, err := quorum.DecodeRequest(bytes.Clone(o.Data))
	if err != nil {
		panic(err) // the machine has looked at it
	}
	p := prep.Request{
		Session: r.SessionID, Xid: r.Cxid, Op: r.Op, Body: r.Body, Identities: o.Auth, Owner: o.Link,
	}
	if r.Op == proto.OpCreateSession {
		p.TimeoutMs = timeoutOf(r.Body)
	}
	s.requests = append(s.requests, p)
}
