package zab

import "zabra.dev/zabra/quorum"

// An ensemble of two can have an oracle (quorum protocol, section 1.2), whose yes lets the leader go on alone. It counts only
// while the leader is alone: as long as the other voter is sent the proposals, each needs its ACK too, so that it has all that
// was acknowledged when it is left, and may be told yes.

// setOracle takes a new answer.
func (l *Leader) setOracle(yes bool, out *Outputs) {
	l.oracle = quorum.OracleNo
	if yes {
		l.oracle = quorum.OracleYes
		l.recount(out)
	}
}

// recount looks again whether there is a quorum for what the phase waits for.
func (l *Leader) recount(out *Outputs) {
	switch l.phase {
	case leaderDiscovery:
		l.offerEpoch(l.opts.Self, l.opts.AcceptedEpoch, out)
	case leaderAckEpoch:
		l.promiseOwn(out)
	case leaderNewLeader:
		l.tryServe(out)
	case leaderServing:
		l.dirty = true
	}
}

// breaksTie reports whether the oracle makes set, which holds one of the two voters of c, a quorum.
func (l *Leader) breaksTie(c *quorum.Config, set func(quorum.ServerID) bool) bool {
	return l.oracle == quorum.OracleYes && c.CanTie() && l.isAlone(c) && c.ContainsVoter(set)
}

// isAlone reports whether no other voter of c takes part. One that has voted for this server, or has come, is given a
// tick to be there when it begins; Java does not wait, and its new epoch may be one that the other has seen already.
func (l *Leader) isAlone(c *quorum.Config) bool {
	waits := l.phase < leaderServing && l.now-l.began < l.opts.Timing.Tick
	for i := range c.Members {
		m := &c.Members[i]
		if m.ID == l.opts.Self || m.Role != quorum.Participant {
			continue
		}
		if waits && serverSet(l.opts.Electors).has(m.ID) {
			return false
		}
		if p := l.peerOf(m.ID); p != nil && !p.observer && (waits || p.state >= peerSynced) {
			return false
		}
	}
	return true
}

// ledAlone reports whether server id is the other voter of a leader that found its epoch without it, by the oracle. If
// id knows a newer one, it can never follow; both have to begin again.
func (l *Leader) ledAlone(id quorum.ServerID) bool {
	return l.oracle != quorum.NoOracle && !l.master && l.config.CanTie() && l.config.IsVoter(id) && !l.offered.has(id)
}
