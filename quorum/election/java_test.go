package election

import (
	"time"

	"zabra.dev/zabra/quorum"
)

// javaElection is Java's FastLeaderElection line by line (3.8.0; majority, weights, two configs, no
// oracle), as a machine so that it can be simulated: the peer that Elections must get along with.
type javaElection struct {
	self                quorum.ServerID
	committed, lastSeen *quorum.Config
	history             History
	state               quorum.State
	logicalclock        int64
	current             quorum.Vote
	started             bool

	proposed               quorum.Vote
	recvset, outofelection map[quorum.ServerID]quorum.Vote
	recvqueue              []javaNotification
	timeout                time.Duration
	pollUntil              time.Duration
	finalizing             bool
}

type javaNotification struct {
	sid quorum.ServerID
	quorum.Vote
}

func (j *javaElection) State() quorum.State             { return j.state }
func (j *javaElection) Vote() quorum.Vote               { return j.current }
func (j *javaElection) SetPeerEpoch(epoch quorum.Epoch) { j.current.PeerEpoch = epoch }

func (j *javaElection) validVoter(id quorum.ServerID) bool {
	return j.committed.IsVoter(id) || j.lastSeen != nil && j.lastSeen.IsVoter(id)
}

func (j *javaElection) initial() quorum.Vote {
	e := Election{self: j.self, committed: j.committed, history: j.history}
	return e.initialProposal()
}

func (j *javaElection) predicate(a, b quorum.Vote) bool {
	if j.committed.WeightOf(a.Leader) == 0 {
		return false
	}
	return a.PeerEpoch > b.PeerEpoch ||
		a.PeerEpoch == b.PeerEpoch && (a.Zxid > b.Zxid || a.Zxid == b.Zxid && a.Leader > b.Leader)
}

func (j *javaElection) Start(now time.Duration, h History, committed, lastSeen *quorum.Config, out []Output) []Output {
	j.history, j.committed, j.lastSeen = h, committed, lastSeen
	if !j.started {
		j.started = true
		j.current = quorum.Vote{Leader: j.self, Zxid: h.LastZxid, ElectionEpoch: -1, PeerEpoch: h.CurrentEpoch}
	}
	j.state = quorum.Looking
	j.recvset, j.outofelection = map[quorum.ServerID]quorum.Vote{}, map[quorum.ServerID]quorum.Vote{}
	j.recvqueue, j.finalizing = nil, false
	j.timeout = 200 * time.Millisecond
	j.logicalclock++
	j.proposed = j.initial()
	out = j.sendNotifications(out)
	return j.run(now, out)
}

func (j *javaElection) sendNotifications(out []Output) []Output {
	v := j.proposed
	v.ElectionEpoch, v.State, v.Version = j.logicalclock, quorum.Looking, 2
	e := Election{committed: j.committed, lastSeen: j.lastSeen}
	e.eachVoter(func(id quorum.ServerID) bool {
		if id == j.self {
			j.recvqueue = append(j.recvqueue, javaNotification{j.self, v})
		} else {
			out = j.send(id, v, out)
		}
		return true
	})
	return out
}

func (j *javaElection) send(to quorum.ServerID, v quorum.Vote, out []Output) []Output {
	v.Version = 2
	return append(out, Output{Kind: Send, To: to, Notification: quorum.Notification{Vote: v, Config: j.committed}})
}

func (j *javaElection) NextDeadline() time.Duration {
	if j.state != quorum.Looking || !j.started {
		return Never
	}
	return j.pollUntil
}

func (j *javaElection) Receive(now time.Duration, from quorum.ServerID, n quorum.Notification, out []Output) []Output {
	if !j.started {
		return out
	}
	v := j.current
	v.State = j.state
	if !j.validVoter(from) {
		v.ElectionEpoch = j.logicalclock
		return j.send(from, v, out)
	}
	if j.state == quorum.Looking {
		j.recvqueue = append(j.recvqueue, javaNotification{from, n.Vote})
		if n.State == quorum.Looking && n.ElectionEpoch < j.logicalclock {
			p := j.proposed
			p.ElectionEpoch, p.State = j.logicalclock, quorum.Looking
			out = j.send(from, p, out)
		}
		return j.run(now, out)
	}
	if n.State == quorum.Looking {
		return j.send(from, v, out)
	}
	return out
}

// run is lookForLeader up to the next poll that has nothing to take.
func (j *javaElection) run(now time.Duration, out []Output) []Output {
	for j.state == quorum.Looking && len(j.recvqueue) > 0 {
		n := j.recvqueue[0]
		j.recvqueue = j.recvqueue[1:]
		if j.finalizing {
			if j.predicate(n.Vote, j.proposed) {
				j.recvqueue = append(j.recvqueue, n) // recvqueue.put: at the end
				j.finalizing = false
			}
			continue
		}
		out = j.turn(n, out)
	}
	j.pollUntil = now + j.timeout
	if j.finalizing {
		j.pollUntil = now + 200*time.Millisecond
	}
	return out
}

func (j *javaElection) Tick(now time.Duration, out []Output) []Output {
	if j.state != quorum.Looking || now < j.pollUntil {
		return out
	}
	if j.finalizing {
		v := j.proposed
		v.ElectionEpoch = j.logicalclock
		return j.leave(v, out)
	}
	out = j.sendNotifications(out)
	j.timeout = min(2*j.timeout, 60*time.Second)
	return j.run(now, out)
}

func (j *javaElection) turn(n javaNotification, out []Output) []Output {
	if !j.validVoter(n.sid) || !j.validVoter(n.Leader) {
		return out
	}
	switch n.State {
	case quorum.Looking:
		if j.initial().Zxid == -1 || n.Zxid == -1 {
			return out
		}
		p := quorum.Vote{Leader: n.Leader, Zxid: n.Zxid, PeerEpoch: n.PeerEpoch}
		if n.ElectionEpoch > j.logicalclock {
			j.logicalclock = n.ElectionEpoch
			j.recvset = map[quorum.ServerID]quorum.Vote{}
			if mine := j.initial(); j.predicate(n.Vote, mine) {
				j.proposed = p
			} else {
				j.proposed = mine
			}
			out = j.sendNotifications(out)
		} else if n.ElectionEpoch < j.logicalclock {
			return out
		} else if j.predicate(n.Vote, j.proposed) {
			j.proposed = p
			out = j.sendNotifications(out)
		}
		p.ElectionEpoch = n.ElectionEpoch
		j.recvset[n.sid] = p
		v := j.proposed
		v.ElectionEpoch = j.logicalclock
		j.finalizing = j.hasAllQuorums(j.recvset, v)
	case quorum.Following, quorum.Leading:
		if n.ElectionEpoch == j.logicalclock {
			kept := n.Vote
			kept.Version = 0
			j.recvset[n.sid] = kept
			if j.hasAllQuorums(j.recvset, n.Vote) && j.checkLeader(j.recvset, n.Leader, n.ElectionEpoch) {
				return j.leave(n.Vote, out)
			}
		}
		j.outofelection[n.sid] = n.Vote
		if j.hasAllQuorums(j.outofelection, n.Vote) && j.checkLeader(j.outofelection, n.Leader, n.ElectionEpoch) {
			j.logicalclock = n.ElectionEpoch
			return j.leave(n.Vote, out)
		}
	}
	return out
}

func (j *javaElection) hasAllQuorums(votes map[quorum.ServerID]quorum.Vote, v quorum.Vote) bool {
	set := func(id quorum.ServerID) bool {
		have, ok := votes[id]
		return ok && sameVote(v, have)
	}
	return j.committed.ContainsQuorum(set) &&
		(j.lastSeen == nil || j.lastSeen.Version <= j.committed.Version || j.lastSeen.ContainsQuorum(set))
}

func (j *javaElection) checkLeader(votes map[quorum.ServerID]quorum.Vote, leader quorum.ServerID, round int64) bool {
	if leader != j.self {
		v, ok := votes[leader]
		return ok && v.State == quorum.Leading
	}
	return j.logicalclock == round
}

func (j *javaElection) leave(v quorum.Vote, out []Output) []Output {
	e := Election{self: j.self, committed: j.committed}
	j.state = e.stateUnder(v.Leader)
	j.current = quorum.Vote{Leader: v.Leader, Zxid: v.Zxid, ElectionEpoch: v.ElectionEpoch, PeerEpoch: v.PeerEpoch}
	j.recvqueue = nil
	decided := j.current
	decided.State = j.state
	return append(out, Output{Kind: Decided, Vote: decided})
}

// Java knows neither: its connection manager sends the last message again on a new connection.
func (j *javaElection) PeerDown(_ time.Duration, _ quorum.ServerID, out []Output) []Output {
	return out
}
func (j *javaElection) PeerUp(_ time.Duration, _ quorum.ServerID, out []Output) []Output { return out }
