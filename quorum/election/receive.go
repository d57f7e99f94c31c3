package election

import (
	"slices"
	"time"

	"zabra.dev/zabra/quorum"
)

// Receive takes a notification of another server: it counts in the election that is going on, and
// is answered as section 3.3 has it. n.Config is nil when the notification had none that could be
// read. A notification from oneself is ignored.
func (e *Election) Receive(now time.Duration, from quorum.ServerID, n quorum.Notification, out []Output) []Output {
	if !e.started || from == e.self {
		return out
	}
	if c := n.Config; c != nil && c.Version > e.committed.Version && e.state == quorum.Looking && e.opts.ReconfigEnabled {
		restart := !c.Equal(e.committed)
		e.setConfigs(c, e.lastSeen)
		out = append(out, Output{Kind: AdoptConfig, Config: c, Restart: restart})
		if restart {
			// The vote comes again: connections are made anew and everybody repeats.
			e.round = 0
			e.looking = lookup{beginsAt: Never, repeatAt: Never, finalizeAt: Never}
			return e.begin(now, out)
		}
	}
	if !e.isVoter(from) {
		if n.State != quorum.Looking || e.answeredJustNow(now, from, n.Vote) {
			return out
		}
		v := e.current
		v.ElectionEpoch, v.State = e.round, e.state
		return e.send(from, v, out)
	}
	e.known = appendOnce(e.known, from)
	if e.state != quorum.Looking {
		if n.State != quorum.Looking || e.isNobodyTo(n) {
			return out
		}
		if e.state == quorum.Leading {
			out = append(out, Output{Kind: PeerLooking, From: from})
		}
		v := e.current
		v.State = e.state
		return e.send(from, v, out)
	}
	l := &e.looking
	l.down = without(l.down, from)
	if l.beginsAt != Never {
		return out
	}
	if n.State != quorum.Looking {
		l.told = without(l.told, from) // what it was sent, it threw away
	}
	if e.opts.StaleVotes && n.State == quorum.Looking {
		n.ElectionEpoch = max(n.ElectionEpoch, e.round)
	}
	if n.State == quorum.Looking && n.ElectionEpoch < e.round {
		if e.isNobodyTo(n) {
			return out
		}
		return e.sendProposal(from, out)
	}
	out = e.count(now, from, n.Vote, out)
	return e.drain(now, out)
}

// isNobodyTo reports whether the sender of n has no use for an answer: this server is no voter in
// its config, so that it would not count what we say but answer it, and its config is not one
// that it could learn a newer one from us for. Without this a server without a vote and a looking
// voter answer each other as fast as they can.
func (e *Election) isNobodyTo(n quorum.Notification) bool {
	return n.Config != nil && !n.Config.IsVoter(e.self) &&
		(n.Config.Version >= e.committed.Version || !e.opts.ReconfigEnabled)
}

// answerPause is how long the same vote of the same server without a vote is not answered again:
// less than any sender's interval of repetitions.
const answerPause = 50 * time.Millisecond

// answer is the last vote of a server without a vote that was answered.
type answer struct {
	to   quorum.ServerID
	vote quorum.Vote
	at   time.Duration
}

// answersMax bounds the memory of answers; any server that can connect may have one.
const answersMax = 64

// answeredJustNow reports whether the same was answered a moment ago, and notes that it is now.
// The reason is that of isNobodyTo, with the roles exchanged.
func (e *Election) answeredJustNow(now time.Duration, to quorum.ServerID, v quorum.Vote) bool {
	for i := range e.answers {
		a := &e.answers[i]
		if a.to == to {
			if a.vote == v && now < a.at+answerPause {
				return true
			}
			a.vote, a.at = v, now
			return false
		}
	}
	if len(e.answers) == answersMax {
		e.answers = e.answers[:copy(e.answers, e.answers[1:])]
	}
	e.answers = append(e.answers, answer{to, v, now})
	return false
}

// PeerDown tells that a voter is certainly not running: its host refused a connection. Until
// something is heard of it, its vote is not waited for once a quorum agrees. A server that merely
// does not answer must not be reported. One that was never heard of is waited for all the same: when
// all servers of an ensemble are started, the quick ones shall not elect without the others. Outside an
// election PeerDown does nothing, and the next Start forgets it.
func (e *Election) PeerDown(now time.Duration, id quorum.ServerID, out []Output) []Output {
	if e.state != quorum.Looking || !e.started || !slices.Contains(e.known, id) {
		return out
	}
	l := &e.looking
	l.down = appendOnce(l.down, id)
	if l.beginsAt != Never || l.finalizeAt == Never {
		return out
	}
	return e.agree(now, out)
}

// PeerUp tells that a connection with another server was made. A looking server tells it its vote
// and begins anew with the interval of repetitions, which may have grown long.
func (e *Election) PeerUp(now time.Duration, id quorum.ServerID, out []Output) []Output {
	if !e.started || id == e.self || !e.isVoter(id) {
		return out
	}
	e.known = appendOnce(e.known, id)
	if e.state != quorum.Looking {
		return out
	}
	l := &e.looking
	l.down = without(l.down, id)
	if l.beginsAt != Never {
		return out
	}
	l.interval = e.opts.MinNotificationInterval
	l.repeatAt = min(l.repeatAt, now+l.interval)
	return e.sendProposal(id, out)
}
