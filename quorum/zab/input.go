package zab

import (
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// LinkID is the driver's number of one connection. It is never used again for another one.
type LinkID uint64

// InputKind says what happened.
type InputKind uint8

// The inputs. Fields of Input that are not named do not count.
const (
	// InTick tells that time has passed: at the latest at NextDeadline. Both roles.
	InTick InputKind = iota + 1
	// InLinkOpened: Link is connected, and nothing has been sent on it. At the leader a learner
	// has connected; at the learner it is the one connection to the leader.
	InLinkOpened
	// InLinkClosed: Link is gone. It may come at any time, also behind OutClose; nothing of Link
	// may follow. Both roles.
	InLinkClosed
	// InPacket: Packet came from Link. It is borrowed until the outputs of this turn are done.
	// Both roles. The learner takes packets only while Expects says so.
	InPacket
	// InProgress: bytes of the tree behind SNAP have come from Link, or are being worked on, which
	// counts as a sign of life. Learner.
	InProgress
	// InLogDurable: the log is on disk up to Zxid. Both roles. It says nothing about what was
	// logged before a cut: after InTruncated and InSnapshotTaken the mark starts anew.
	InLogDurable
	// InResign: stop, for the reason Err. Both roles.
	InResign
	// InLooking: Server told that it looks for a leader. Leader.
	InLooking
	// InCommitted: everything up to Zxid is committed; the window has it. If Config is given, Zxid is the reconfig
	// that made it the committed one, and Server the designated leader. Observer master.
	InCommitted
	// InOracle: the tie-breaker of an ensemble of two says OK, or no, from now on. Leader.
	InOracle
	// InSyncAnswered: what was committed before the OutForwardSync of Link has been told by InCommitted. Observer
	// master.
	InSyncAnswered

	// InPropose: Proposals were prepared and appended to the log's queue, in order. The machine
	// takes one reference of each and borrows the slice until return. Leader, after OutServe.
	InPropose
	// InStreamed: what OutStreamDiff or OutStreamSnap asked for has been handed to Link. Zxid is
	// the last zxid that the peer has then: To of the OutStreamDiff, or that of the image. OK is
	// false when it cannot be had, and Link is closed then. Leader.
	InStreamed
	// InSync: a client of the leader itself wants a sync, to be answered by OutSyncDone with
	// Token; or, with Link, the learner there does (OutRequest); Zxid is then the newest transaction prepared
	// before it, which may not be proposed yet, 0 if all are. Leader.
	InSync
	// InRevalidated: the answer to the OutRevalidate of Link: Session may move there iff OK.
	// Leader.
	InRevalidated

	// InRequest: a local client's write. Packet.Data is the REQUEST's data (quorum.Request), with
	// Packet.Auth; both are borrowed until the outputs of this turn are done. Learner, after OutServe.
	InRequest
	// InSyncRequest is an InRequest for a sync, which OutSyncDone answers with Token. Learner,
	// after OutServe.
	InSyncRequest
	// InRevalidate: a client came with Session, known to another server, with TimeoutMs.
	// OutRevalidated answers. Learner, after OutServe.
	InRevalidate
	// InTruncated: the OutTruncateLog is done. The log and the tree end at Zxid, the newest one
	// that the log has and that is not above the one asked for. OK is false when the log could
	// not be cut. Learner.
	InTruncated
	// InTreeReceived: the tree behind SNAP has come whole. It is in memory, or put aside: log and
	// image on disk are still the old ones, and are what a crash leaves. Zxid is that of the
	// SNAP packet. OK is false when it did not come whole, or, with an ErrForeign in Err, is of another ensemble than
	// what is here. Learner.
	InTreeReceived
	// InSnapshotTaken: the OutTakeSnapshot for Zxid is done; step InResign if it cannot be. Learner.
	InSnapshotTaken
)

// A Proposal is a transaction that the leader has prepared.
type Proposal struct {
	Zxid quorum.Zxid
	// Packet is the PROPOSAL packet, which nobody may change any more.
	Packet []byte
	// Ref keeps Packet alive; nil when nothing has to.
	Ref Ref
	// Config is the new config if the transaction is a reconfig; its Version is Zxid.
	Config *quorum.Config
}

// A Ref is one reference to the memory of a packet.
type Ref interface{ Release() }

// Input is one event. It is a value and may be made anew for each Step.
type Input struct {
	Kind      InputKind
	OK        bool
	Link      LinkID
	Zxid      quorum.Zxid
	Token     uint64
	Session   proto.SessionID
	Server    quorum.ServerID
	TimeoutMs int32
	Err       error
	Config    *quorum.Config
	Packet    quorum.Packet
	Proposals []Proposal
}

// Timing holds the units of all waiting (quorum protocol, section 1.3).
type Timing struct {
	Tick time.Duration // tickTime
	// InitLimit bounds each step up to the end of synchronisation, SyncLimit silence and the
	// ACK of a proposal afterwards. In ticks, both above 0.
	InitLimit, SyncLimit int
}

func (t *Timing) init() time.Duration { return t.Tick * time.Duration(t.InitLimit) }
func (t *Timing) sync() time.Duration { return t.Tick * time.Duration(t.SyncLimit) }

// Bugs are mistakes of other implementations, to be planted in tests, which have to find them.
// In production all are off.
type Bugs struct {
	// EpochBeforeHistory: the learner stores currentEpoch at NEWLEADER at once, its history
	// later.
	EpochBeforeHistory bool
	// AckNewLeaderBeforeDurable: the learner acknowledges NEWLEADER at once, and stores history
	// and epoch later.
	AckNewLeaderBeforeDurable bool
	// AckBeforeDurable: the learner acknowledges a proposal as it comes.
	AckBeforeDurable bool
	// TreeReplacesHistory: the learner puts a tree in place of what it has on disk before the
	// history behind it has come.
	TreeReplacesHistory bool
	// SyncUnconfirmed: the leader answers a sync without asking whether it still leads.
	SyncUnconfirmed bool
	// CommitCountsOldEpoch: the leader counts learners that have not acknowledged NEWLEADER:
	// their history may still be that of an old epoch.
	CommitCountsOldEpoch bool
	// AsyncLogLostOnLeader: the leader counts itself for what its log has only queued.
	AsyncLogLostOnLeader bool
	// AcksOutliveLink: the leader goes on counting what a learner acknowledged on a connection
	// that is gone, though the learner may since have been told to cut it off its log.
	AcksOutliveLink bool
	// ReconfigOldQuorumOnly: the leader does not ask for a quorum of the config that is proposed.
	ReconfigOldQuorumOnly bool
	// CommitWithoutQuorum: the leader is content with one voter less than a quorum.
	CommitWithoutQuorum bool
	// NewLeaderBeforeHistory: the leader sends NEWLEADER in front of the history that a learner misses
	// (ZOOKEEPER-3104).
	NewLeaderBeforeHistory bool
	// AheadPromises: the leader takes the promise of a learner whose history is newer than its own.
	AheadPromises bool
	// PendingForgotten: the learner has forgotten from NEWLEADER on what waits for its COMMIT, and takes that for a
	// mistake of the leader (ZOOKEEPER-4394, there a null pointer).
	PendingForgotten bool
	// HolesAccepted: a learner takes whatever comes behind what it has (ZOOKEEPER-4925, with a Window that
	// KeepsHoles).
	HolesAccepted bool
}
