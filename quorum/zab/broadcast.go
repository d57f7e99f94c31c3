package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// propose takes the proposals of the turn. They go out in EndTurn.
func (l *Leader) propose(proposals []Proposal, out *Outputs) {
	if l.phase != leaderServing {
		panic("zab: proposal before the leader serves")
	}
	for i := range proposals {
		p := &proposals[i]
		if quorum.CounterOf(p.Zxid) > quorum.MaxCounter {
			releaseAll(proposals[i:])
			l.giveUp(out, fmt.Errorf("%w: 0x%x", ErrRollover, p.Zxid))
			return
		}
		if p.Zxid != l.last+1 {
			panic(fmt.Sprintf("zab: proposal 0x%x after 0x%x", p.Zxid, l.last))
		}
		l.window.Append(p.Zxid, p.Packet, p.Ref)
		l.last = p.Zxid
		if p.Config != nil {
			l.proposeConfig(p, out)
		}
	}
	l.dirty = l.dirty || l.opts.Bugs.AsyncLogLostOnLeader
}

// sendProposals hands each follower what it has not got yet.
func (l *Leader) sendProposals(out *Outputs) {
	for _, p := range l.peers {
		if p.state < peerSynced || p.observer || p.sent >= l.last {
			continue
		}
		o := out.add(OutSendProposals)
		o.Link, o.Type, o.From, o.Zxid = p.link, quorum.PacketProposal, p.sent+1, l.last
		p.sent = l.last
		if p.ackCounts {
			p.watch(watch{zxid: l.last, at: l.now})
		}
	}
}

// watch begins to time the ACK of a proposal; one at a time, as Java does.
func (p *peer) watch(w watch) {
	if p.watched.zxid == 0 {
		p.watched = w
	} else {
		p.later = w
	}
}

// ack takes the ACK of a proposal. It says that everything up to z is in the follower's log: for
// a follower logs in order, whatever release it is. It counts from the ACK of NEWLEADER on: before that the
// follower's epoch is not on disk and it would lose against a server without z.
func (l *Leader) ack(p *peer, z quorum.Zxid, out *Outputs) {
	if quorum.CounterOf(z) == 0 || z <= p.acked {
		return
	}
	if quorum.EpochOf(z) != l.epoch {
		return // of the synchronisation: committed long ago
	}
	if z > p.sent {
		out.warn(p.link, fmt.Errorf("%w: ACK of 0x%x from server %d, which has been sent 0x%x", ErrProtocol, z, p.id, p.sent))
		return
	}
	p.acked = z
	if z >= p.watched.zxid {
		p.watched, p.later = p.later, watch{}
		if p.watched.zxid != 0 && z >= p.watched.zxid {
			p.watched = watch{}
		}
	}
	if z > l.committed {
		l.dirty = true
	}
}

// ackedBy returns the newest proposal that server id is known to have on disk.
func (l *Leader) ackedBy(id quorum.ServerID) quorum.Zxid {
	acked := quorum.Zxid(0)
	for _, p := range l.peers {
		if p.id != id || p.observer {
			continue
		}
		if p.ackCounts {
			acked = p.acked
		} else if l.opts.Bugs.CommitCountsOldEpoch && p.state >= peerSynced {
			acked = p.sent
		}
	}
	for i := range l.ghosts {
		if g := &l.ghosts[i]; g.id == id {
			acked = max(acked, g.acked)
		}
	}
	return acked
}

// advance commits what a quorum has. A proposal needs a quorum of each config that it was
// proposed under, and so does everything before it (section 4.10).
func (l *Leader) advance(out *Outputs) {
	for !l.muted {
		e := &l.eras[0]
		limit := l.last
		if len(l.eras) > 1 {
			limit = l.eras[1].from - 1
		}
		if e.pending {
			limit = e.from // the reconfig is committed by itself: it changes what follows
			if l.holdsBelow(e.from) {
				return
			}
		}
		if limit > l.committed {
			if z := l.newestWithQuorum(e, limit); z > l.committed {
				l.commit(z, out)
			}
		}
		if l.committed < limit {
			return
		}
		switch {
		case e.pending:
			l.commitConfig()
		case len(l.eras) > 1:
			l.eras = append(l.eras[:0], l.eras[1:]...)
		default:
			return
		}
	}
}

// newestWithQuorum returns the newest zxid up to limit that a quorum of each config of e has; 0
// if there is none above committed.
func (l *Leader) newestWithQuorum(e *era, limit quorum.Zxid) quorum.Zxid {
	best := quorum.Zxid(0)
	try := func(z quorum.Zxid) {
		z = min(z, limit)
		if z <= l.committed || z <= best {
			return
		}
		l.threshold = z
		if l.contains(e.a, l.hasAcked) && (e.b == nil || l.opts.Bugs.ReconfigOldQuorumOnly || l.contains(e.b, l.hasAcked)) {
			best = z
		}
	}
	// The answer is one of the servers' marks.
	if l.opts.Bugs.AsyncLogLostOnLeader {
		try(l.last)
	}
	try(l.durable)
	for _, p := range l.peers {
		if !p.observer {
			try(l.ackedBy(p.id))
		}
	}
	return best
}

// commit makes everything up to z committed: followers are told first, then observers, then
// this server applies it. A reconfig is committed by itself.
func (l *Leader) commit(z quorum.Zxid, out *Outputs) {
	if l.eras[0].pending {
		l.commitReconfig(z, out)
		return
	}
	for _, p := range l.peers {
		if !p.observer {
			l.tell(p, z, out)
		}
	}
	for _, p := range l.peers {
		if p.observer {
			l.tell(p, z, out)
		}
	}
	l.applyUpTo(z, out)
}

// tell tells a learner what is committed up to z, as far as its syncs allow.
func (l *Leader) tell(p *peer, z quorum.Zxid, out *Outputs) {
	z = p.hold(z)
	if p.state < peerSynced || p.commitSent >= z {
		return
	}
	if p.observer {
		o := out.add(OutSendProposals)
		o.Link, o.Type, o.From, o.Zxid = p.link, quorum.PacketInform, p.commitSent+1, z
	} else {
		out.sendRange(p.link, quorum.PacketCommit, p.commitSent+1, z, p.cumulative)
	}
	p.commitSent = z
}

func (l *Leader) applyUpTo(z quorum.Zxid, out *Outputs) {
	l.committed, l.trim = z, true
	o := out.add(OutCommit)
	o.Zxid = z
}
