package zab

import "zabra.dev/zabra/quorum"

// A Stage is a server's way into an ensemble in the words of Java's zabstate.
type Stage uint8

const (
	StageElection        Stage = iota // no leader is known
	StageDiscovery                    // leader and learners agree on an epoch
	StageSynchronization              // learners are given the leader's history
	StageBroadcast                    // transactions flow
)

// String returns Java's word.
func (s Stage) String() string {
	switch s {
	case StageElection:
		return "election"
	case StageDiscovery:
		return "discovery"
	case StageSynchronization:
		return "synchronization"
	}
	return "broadcast"
}

// Stage tells how far the leader has come.
func (l *Leader) Stage() Stage {
	switch l.phase {
	case leaderDiscovery, leaderAckEpoch:
		return StageDiscovery
	case leaderNewLeader:
		return StageSynchronization
	case leaderServing:
		return StageBroadcast
	}
	return StageElection
}

// Stage tells how far the learner has come.
func (l *Learner) Stage() Stage {
	switch l.phase {
	case learnerConnecting, learnerInfo:
		return StageDiscovery
	case learnerServing:
		return StageBroadcast
	case learnerDone:
		return StageElection
	}
	return StageSynchronization
}

// A LearnerStatus is what a leader knows of one learner.
type LearnerStatus struct {
	Link     LinkID
	ID       quorum.ServerID
	Observer bool
	// Voter: it is a follower whose acknowledgements count in the committed config.
	Voter bool
	// InStep: it has been given the history and is given all that comes.
	InStep bool
	// Sent is the newest proposal that it was given, Acked the newest that it has acknowledged, which
	// observers do not.
	Sent, Acked quorum.Zxid
}

// AppendLearners appends the learners that have told who they are, in the order of their connections.
func (l *Leader) AppendLearners(dst []LearnerStatus) []LearnerStatus {
	for _, p := range l.peers {
		if p.state == peerNew {
			continue
		}
		dst = append(dst, LearnerStatus{
			Link: p.link, ID: p.id, Observer: p.observer, Voter: !p.observer && l.config.IsVoter(p.id), InStep: p.state >= peerSynced,
			Sent: p.sent, Acked: p.acked,
		})
	}
	return dst
}

// PendingSyncs is how many syncs wait for their answer.
func (l *Leader) PendingSyncs() int {
	return l.round.waiting.len() + l.round.asked.len() + l.round.confirmed.len()
}
