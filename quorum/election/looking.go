package election

import (
	"slices"
	"time"

	"zabra.dev/zabra/quorum"
)

// initialProposal is the vote for oneself: nobody, if the committed config has no such voter. An
// observer's is lower than any voter's (quorum protocol, section 3.2).
func (e *Election) initialProposal() quorum.Vote {
	v := quorum.Vote{Leader: e.self, Zxid: e.history.LastZxid, PeerEpoch: e.history.CurrentEpoch}
	if !e.committed.IsVoter(e.self) {
		v.Leader = quorum.NoServer
	}
	if e.role() == quorum.Observer {
		v.Zxid, v.PeerEpoch = quorum.NoServer, quorum.NoServer
	}
	return v
}

// proposal returns the vote that is cast now.
func (e *Election) proposal() quorum.Vote {
	v := e.looking.proposal
	v.ElectionEpoch, v.State, v.Version = e.round, quorum.Looking, quorum.NotificationVersion
	return v
}

// begin opens the next round.
func (e *Election) begin(now time.Duration, out []Output) []Output {
	l := &e.looking
	l.beginsAt = Never
	l.interval = e.opts.MinNotificationInterval
	e.round++
	out = e.propose(now, e.initialProposal(), out)
	return e.drain(now, out)
}

// propose makes v the proposal and tells every voter, oneself included.
func (e *Election) propose(now time.Duration, v quorum.Vote, out []Output) []Output {
	l := &e.looking
	l.proposal = v
	l.told = l.told[:0]
	l.finalizeAt = Never
	return e.sendAll(now, out)
}

func (e *Election) sendAll(now time.Duration, out []Output) []Output {
	l := &e.looking
	l.repeatAt = now + l.interval
	e.eachVoter(func(id quorum.ServerID) bool {
		if id == e.self {
			l.own = append(l.own, e.proposal())
		} else {
			out = e.sendProposal(id, out)
		}
		return true
	})
	return out
}

func (e *Election) sendProposal(to quorum.ServerID, out []Output) []Output {
	return e.send(to, e.proposal(), out)
}

func (e *Election) send(to quorum.ServerID, v quorum.Vote, out []Output) []Output {
	v.Version = quorum.NotificationVersion
	return append(out, Output{Kind: Send, To: to, Notification: quorum.Notification{Vote: v, Config: e.committed}})
}

// drain takes the votes to oneself in.
func (e *Election) drain(now time.Duration, out []Output) []Output {
	for e.state == quorum.Looking && len(e.looking.own) > 0 {
		v := e.looking.own[0]
		e.looking.own = e.looking.own[1:]
		out = e.count(now, e.self, v, out)
	}
	return out
}

// Tick does what is due: the repetition of the votes, the end of the wait for a better one, the
// end of an observer's delay.
func (e *Election) Tick(now time.Duration, out []Output) []Output {
	if e.state != quorum.Looking || !e.started {
		return out
	}
	l := &e.looking
	if l.beginsAt <= now {
		return e.begin(now, out)
	}
	if l.finalizeAt <= now {
		return e.decide(e.proposal(), l.votes, out)
	}
	if l.repeatAt <= now {
		l.interval = min(2*l.interval, e.opts.MaxNotificationInterval)
		out = append(out, Output{Kind: TimedOut, Interval: l.interval})
		out = e.sendAll(now, out)
		return e.drain(now, out)
	}
	return out
}

// count takes the vote v of the voter from into the election that is going on: one turn of the
// loop of section 3.5.
func (e *Election) count(now time.Duration, from quorum.ServerID, v quorum.Vote, out []Output) []Output {
	if !e.isVoter(v.Leader) {
		return e.joinRound(now, from, v, out)
	}
	switch v.State {
	case quorum.Looking:
		return e.countLooking(now, from, v, out)
	case quorum.Following, quorum.Leading:
		return e.countSettled(now, from, v, out)
	}
	return out // an observer has no say
}

// joinRound takes the vote of a voter that proposes nobody: the last-seen config makes it one, the committed one
// does not. It is needed all the same, and counts no vote of an earlier round than its own, which it
// does not leave. Java ignores such a vote, and the two never meet.
func (e *Election) joinRound(now time.Duration, from quorum.ServerID, v quorum.Vote, out []Output) []Output {
	if e.committed.IsVoter(from) || v.State != quorum.Looking || v.ElectionEpoch <= e.round || e.looking.finalizeAt != Never {
		return out
	}
	e.round = v.ElectionEpoch
	e.looking.votes = e.looking.votes[:0]
	return e.propose(now, e.initialProposal(), out)
}

func (e *Election) countLooking(now time.Duration, from quorum.ServerID, v quorum.Vote, out []Output) []Output {
	l := &e.looking
	if e.history.LastZxid == -1 && e.role() == quorum.Participant || v.Zxid == -1 {
		return out
	}
	if l.finalizeAt != Never && v.ElectionEpoch != e.round && !e.better(v, l.proposal) && e.oracle != quorum.OracleYes {
		return out // too late for this election; with an oracle's yes there may be no other vote at all
	}
	switch {
	case v.ElectionEpoch < e.round:
		return out
	case v.ElectionEpoch > e.round:
		e.round = v.ElectionEpoch
		l.votes = l.votes[:0]
		mine := e.initialProposal()
		if e.better(v, mine) {
			mine = proposalOf(v)
		}
		out = e.propose(now, mine, out)
	case e.better(v, l.proposal):
		out = e.propose(now, proposalOf(v), out)
	case from != e.self && e.isVoter(e.self) && !sameVote(v, e.proposal()) && !slices.Contains(l.told, from):
		// The voter has not seen our vote yet, or saw it when it was not looking and threw it away.
		l.told = append(l.told, from)
		out = e.sendProposal(from, out)
	}
	v.Version = 0
	l.votes.put(from, v)
	return e.agree(now, out)
}

// proposalOf strips a vote to what a proposal keeps.
func proposalOf(v quorum.Vote) quorum.Vote {
	return quorum.Vote{Leader: v.Leader, Zxid: v.Zxid, PeerEpoch: v.PeerEpoch}
}

// agree looks whether the proposal has a quorum, and whether a better vote is worth waiting for.
//
// What a server without a vote hears while the voters look is their former leader (section 3.3).
// It must not follow one that is down, and has no reason to hurry.
func (e *Election) agree(now time.Duration, out []Output) []Output {
	l := &e.looking
	proposal := e.proposal()
	if !e.supports(l.votes, proposal) {
		return out
	}
	votes, leaderDown := e.isVoter(e.self), slices.Contains(l.down, proposal.Leader)
	if !votes && leaderDown {
		return out
	}
	if votes && !leaderDown && e.eachVoter(func(id quorum.ServerID) bool {
		v, ok := l.votes.get(id)
		return ok && sameVote(v, proposal) || slices.Contains(l.down, id)
	}) {
		return e.decide(proposal, l.votes, out)
	}
	if l.finalizeAt == Never {
		l.finalizeAt = now + e.opts.FinalizeWait
	}
	return out
}

// countSettled takes the vote of a server that follows or leads.
func (e *Election) countSettled(now time.Duration, from quorum.ServerID, v quorum.Vote, out []Output) []Output {
	l := &e.looking
	if v.ElectionEpoch == e.round {
		// Stored as of version 0, so that for today's peers the leader alone is compared: those
		// that are in sync and those that are not yet tell different epochs.
		kept := v
		kept.Version = 0
		l.votes.put(from, kept)
		if e.supports(l.votes, v) && e.leads(l.votes, v.Leader, v.ElectionEpoch) {
			return e.decide(v, l.votes, out)
		}
	}
	l.outside.put(from, v)
	if e.follow(l.outside, v) && e.leads(l.outside, v.Leader, v.ElectionEpoch) || e.mayLeadAlone(from, v) {
		e.round = v.ElectionEpoch
		return e.decide(v, l.outside, out)
	}
	if sameVote(v, e.proposal()) {
		// It decided for our proposal before we heard that it voted for it: its vote was replaced
		// in the queue of one by an answer.
		return e.agree(now, out)
	}
	return out
}
