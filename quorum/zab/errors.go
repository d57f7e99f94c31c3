package zab

import "errors"

// Why a machine gives up, or closes a link. Reasons in outputs wrap these; compare with errors.Is.
var (
	// ErrNoQuorum: too few voters answered in time, or are still heard from.
	ErrNoQuorum = errors.New("zab: no quorum")
	// ErrDisloyal: a server that voted for this leader looks again, and the new epoch is long awaited.
	ErrDisloyal = errors.New("zab: voter changed its mind")
	// ErrBusy: too many learners are brought up to date at this time.
	ErrBusy = errors.New("zab: too many synchronisations at a time")
	// ErrTimeout: a peer was silent for too long.
	ErrTimeout = errors.New("zab: peer silent")
	// ErrAckTimeout: a follower did not acknowledge a proposal in time.
	ErrAckTimeout = errors.New("zab: proposal not acknowledged in time")
	// ErrLinkClosed: the connection to the leader is gone.
	ErrLinkClosed = errors.New("zab: connection closed")
	// ErrProtocol: a peer sent what it must not send.
	ErrProtocol = errors.New("zab: protocol violation")
	// ErrOldProtocol: a peer wants the handshake from before 3.4, which is not spoken here.
	ErrOldProtocol = errors.New("zab: handshake from before ZooKeeper 3.4")
	// ErrEpoch: the leader's epoch is below one that was accepted before.
	ErrEpoch = errors.New("zab: leader of an old epoch")
	// ErrNewerEpoch: a learner has accepted a newer epoch, in an attempt that came to nothing, and
	// cannot follow before the next election.
	ErrNewerEpoch = errors.New("zab: learner has accepted a newer epoch")
	// ErrAhead: a learner's history is newer than the leader's.
	ErrAhead = errors.New("zab: learner is ahead of the leader")
	// ErrConfigVersion: a learner has a newer config than the leader.
	ErrConfigVersion = errors.New("zab: learner has a newer config")
	// ErrReplaced: the same server has connected again.
	ErrReplaced = errors.New("zab: server connected again")
	// ErrGap: a proposal does not follow the one before it.
	ErrGap = errors.New("zab: gap between proposals")
	// ErrHole: the history on disk has a hole.
	ErrHole = errors.New("zab: hole in the history")
	// ErrStream: the driver could not send what a peer needs.
	ErrStream = errors.New("zab: history cannot be sent")
	// ErrForeign: the learner's history is not of the leader's ensemble.
	ErrForeign = errors.New("zab: the data is not of the leader's ensemble")
	// ErrDiverged: the learner's tree is not the leader's, though both are of one history.
	ErrDiverged = errors.New("zab: the tree is not the leader's")
	// ErrTree: the leader's snapshot did not arrive whole.
	ErrTree = errors.New("zab: snapshot not received")
	// ErrTruncate: the log cannot be cut where the leader says.
	ErrTruncate = errors.New("zab: log cannot be cut")
	// ErrRollover: the epoch has no zxid left.
	ErrRollover = errors.New("zab: epoch has no zxid left")
	// ErrReconfigured: a new config gave this server another role or leader.
	ErrReconfigured = errors.New("zab: reconfigured")
	// ErrResigned: the driver asked for it.
	ErrResigned = errors.New("zab: resigned")
)
