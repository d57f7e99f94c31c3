package election

import (
	"time"

	"zabra.dev/zabra/quorum"
)

// SetOracle tells what the tie-breaker of an ensemble of two says from now on; before the first call there is none. A yes
// decides an election in which this server is alone, after the wait for a better vote. Java asks anew each time
// that its votes are repeated, which may be after a minute.
func (e *Election) SetOracle(now time.Duration, o quorum.Oracle, out []Output) []Output {
	if o == e.oracle {
		return out
	}
	e.oracle = o
	l := &e.looking
	if e.state != quorum.Looking || !e.started || l.beginsAt != Never {
		return out
	}
	if l.finalizeAt != Never && !e.supports(l.votes, e.proposal()) {
		l.finalizeAt = Never
	}
	return e.agree(now, out)
}

// breaksTie reports whether the oracle makes set, which holds one of the two voters of c, a quorum. A server without a vote
// does not ask: it waits until somebody leads.
func (e *Election) breaksTie(c *quorum.Config, set func(quorum.ServerID) bool) bool {
	return e.oracle == quorum.OracleYes && c.CanTie() && e.isVoter(e.self) && c.ContainsVoter(set)
}

// mayLeadAlone reports whether v, from a server that leads, is reason enough to follow it: of the two voters of an ensemble
// with an oracle one may lead alone, and who comes back finds no majority that follows it. Whatever our oracle says: its no is
// the other's yes, and its yes makes the other's vote a quorum.
func (e *Election) mayLeadAlone(from quorum.ServerID, v quorum.Vote) bool {
	return e.oracle != quorum.NoOracle && e.committed.CanTie() && v.State == quorum.Leading && v.Leader == from && e.committed.IsVoter(from)
}
