package zab

import (
	"fmt"
	"time"

	"zabra.dev/zabra/quorum"
)

// learnerPhase is how far the learner has come (see the drawing in the package comment).
type learnerPhase uint8

const (
	learnerConnecting learnerPhase = iota // no link yet
	learnerInfo                           // LEADERINFO is awaited
	learnerAckEpoch                       // DIFF, TRUNC or SNAP is awaited
	learnerTree                           // the driver receives the tree
	learnerCutting                        // the driver cuts the log
	learnerSyncing                        // history comes; NEWLEADER is awaited
	learnerStoring                        // NEWLEADER has come; the history must get on disk
	learnerReady                          // NEWLEADER is acknowledged; UPTODATE is awaited
	learnerServing
	learnerDone // has given up
)

// LearnerOptions is what a learner starts with.
type LearnerOptions struct {
	Self, Leader quorum.ServerID
	// Role is the learner's own idea of its role, which makes it a follower or an observer.
	Role quorum.Role
	// Config is the committed config, LastSeen the last proposed one; nil means Config.
	Config, LastSeen *quorum.Config
	ReconfigEnabled  bool
	// AcceptedEpoch and CurrentEpoch are those on disk.
	AcceptedEpoch, CurrentEpoch quorum.Epoch
	// LastZxid is the newest zxid of log and image; 0 when both are empty; -1 when they cannot be
	// used, which makes the leader send a snapshot and not count this learner before.
	// DurableZxid is how far that is on disk.
	LastZxid, DurableZxid quorum.Zxid
	Timing                Timing
	Features              quorum.Features
	// Proposal returns the PROPOSAL packet with zxid z of the own log, lent until the next call; ok is false when the log
	// does not have it. It is asked during Step. nil: the log tells nothing.
	Proposal func(z quorum.Zxid) (packet []byte, ok bool)
	// Resume returns the encoded quorum.ImagePlace of a tree of this leader's whose sending broke off, nil without one.
	// It is asked during Step. nil: there is none.
	Resume func() []byte
	// Digest is that of the own tree at LastZxid, if HasDigest.
	Digest    uint64
	HasDigest bool
	Bugs      Bugs
	// AcksDuringSync has the learner acknowledge the proposals of its history as they get to the disk, in front of
	// NEWLEADER, as those of some Java releases do: for tests, which show that the leader bears it (ZOOKEEPER-4685).
	AcksDuringSync bool
}

// Learner is the machine of a server that follows or observes a leader, for one connection to
// it. One goroutine drives it: Step for each event, EndTurn once per turn, then the outputs are
// done in their order.
type Learner struct {
	opts       LearnerOptions
	phase      learnerPhase
	link       LinkID
	deadline   time.Duration // for the next packet
	patience   time.Duration // what a packet moves it to
	now        time.Duration
	observer   bool
	cumulative bool // ACKs may be cumulative, and COMMITs are

	epoch            quorum.Epoch
	config, lastSeen *quorum.Config
	offered          *quorum.Config // of NEWLEADER

	last      quorum.Zxid // newest proposal received, or of the own history
	appended  quorum.Zxid // newest proposal logged
	durable   quorum.Zxid
	committed quorum.Zxid // newest commit received; what is above it is pending
	applied   quorum.Zxid // up to where OutCommit was given
	acked     quorum.Zxid // newest proposal acknowledged

	marks bool        // the leader tells marks
	cutAt quorum.Zxid // of OutTruncateLog
	tree  quorum.Zxid // of SNAP, until this learner serves; what comes up to it is in the tree
	// lateFrom to lateTo are the proposals behind NEWLEADER that are in the tree, 0 without any.
	lateFrom, lateTo quorum.Zxid
	unlogged         bool // a tree was received, and is not on disk
	taking           bool // OutTakeSnapshot was given

	held     []heldProposal // received, not yet logged
	spare    [][]byte       // memory of held proposals, for reuse
	upToDate bool           // UPTODATE has come, before the machine was ready for it
	syncs    syncQueue      // tokens of the syncs under way
}

// heldProposal is a proposal that waits for its COMMIT or for UPTODATE.
type heldProposal struct {
	zxid   quorum.Zxid
	packet []byte
	owned  bool // packet is ours, not the input's
}

// Expectation is what a learner takes from its link.
type Expectation uint8

const (
	ExpectPackets Expectation = iota // InPacket
	ExpectTree                       // the bytes of a tree, for OutReceiveTree
	ExpectNothing                    // nothing: it has to wait
)

// NewLearner returns a learner. The first event is InLinkOpened.
func NewLearner(opts LearnerOptions) *Learner {
	if opts.LastSeen == nil {
		opts.LastSeen = opts.Config
	}
	return &Learner{
		opts: opts, observer: opts.Role == quorum.Observer,
		config: opts.Config, lastSeen: opts.LastSeen,
		last: opts.LastZxid, appended: opts.LastZxid, durable: opts.DurableZxid,
	}
}

// Epoch returns the leader's epoch, 0 before it is known.
func (l *Learner) Epoch() quorum.Epoch { return l.epoch }

// Leader returns whom this learner follows.
func (l *Learner) Leader() quorum.ServerID { return l.opts.Leader }

// Serving reports whether the learner is in step with the leader.
func (l *Learner) Serving() bool { return l.phase == learnerServing }

// LeaderMarks reports whether the leader is one whose digests are those of its tree, as Java's are not for good after a
// snapshot.
func (l *Learner) LeaderMarks() bool { return l.marks }

// Expects tells what may come from the link next. It has to be asked after each packet: behind
// SNAP comes a tree, and behind TRUNC nothing may come before InTruncated.
func (l *Learner) Expects() Expectation {
	switch l.phase {
	case learnerTree:
		return ExpectTree
	case learnerCutting:
		return ExpectNothing
	}
	return ExpectPackets
}

// Step takes one event and appends to out what it demands, except for applying what has been
// committed, which is left to EndTurn. out may hold the outputs of earlier Steps of the turn,
// and must be done before the next turn.
func (l *Learner) Step(now time.Duration, in Input, out *Outputs) {
	l.now = max(l.now, now)
	if l.phase == learnerDone {
		return
	}
	switch in.Kind {
	case InTick:
		if l.deadline != 0 && l.now >= l.deadline {
			l.giveUp(out, fmt.Errorf("%w: leader %d for %v", ErrTimeout, l.opts.Leader, l.patience))
		}
	case InLinkOpened:
		l.opened(in.Link, out)
	case InLinkClosed:
		if in.Link == l.link {
			l.giveUp(out, fmt.Errorf("%w: to leader %d", ErrLinkClosed, l.opts.Leader))
		}
	case InPacket:
		if in.Link != l.link {
			return
		}
		if l.Expects() != ExpectPackets {
			panic("zab: packet while none was expected")
		}
		l.alive()
		l.packet(&in.Packet, out)
	case InProgress:
		l.alive()
	case InLogDurable:
		l.logDurable(in.Zxid, out)
	case InTruncated:
		l.truncated(in.Zxid, in.OK, out)
	case InTreeReceived:
		l.treeReceived(&in, out)
	case InSnapshotTaken:
		l.snapshotTaken(in.Zxid, out)
	case InRequest, InSyncRequest:
		if l.phase != learnerServing {
			panic("zab: request before the learner serves")
		}
		if in.Kind == InSyncRequest {
			l.syncs.push(syncWait{token: in.Token})
		}
		o := out.add(OutSend)
		o.Link, o.Type, o.Zxid, o.Data, o.Auth = l.link, quorum.PacketRequest, quorum.NoZxid, in.Packet.Data, in.Packet.Auth
	case InRevalidate:
		if l.phase != learnerServing {
			panic("zab: session to move before the learner serves")
		}
		start := len(out.buf)
		out.buf = quorum.AppendRevalidate(out.buf, quorum.Touch{SessionID: in.Session, TimeoutMs: in.TimeoutMs})
		out.send(l.link, quorum.PacketRevalidate, quorum.NoZxid, out.buf[start:len(out.buf):len(out.buf)])
	case InResign:
		l.giveUp(out, fmt.Errorf("%w: %w", ErrResigned, in.Err))
	default:
		panic(fmt.Sprintf("zab: input %d at a learner", in.Kind))
	}
}

// EndTurn appends what the events of the turn amount to: what is to be applied.
func (l *Learner) EndTurn(now time.Duration, out *Outputs) {
	l.now = max(l.now, now)
	if l.phase == learnerDone {
		return
	}
	l.apply(out)
	for i := range l.held {
		if h := &l.held[i]; !h.owned {
			h.packet, h.owned = append(l.memory(), h.packet...), true
		}
	}
}

// memory gives an empty slice, used before if possible.
func (l *Learner) memory() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b[:0]
	}
	return nil
}

// apply asks for what has been committed and logged to be applied.
func (l *Learner) apply(out *Outputs) {
	if z := min(l.committed, l.appended); z > l.applied {
		l.applied = z
		o := out.add(OutCommit)
		o.Zxid = z
	}
}

// NextDeadline returns when InTick is due, 0 if time does not matter now.
func (l *Learner) NextDeadline() time.Duration { return l.deadline }

// alive notes that the leader is.
func (l *Learner) alive() {
	if l.patience != 0 {
		l.deadline = l.now + l.patience
	}
}

func (l *Learner) giveUp(out *Outputs, reason error) {
	l.apply(out)
	l.phase = learnerDone
	o := out.add(OutGiveUp)
	o.Reason, o.Server = reason, quorum.NoServer
}

// distrust gives up because the own history and the leader's do not fit.
func (l *Learner) distrust(out *Outputs, reason error) {
	l.giveUp(out, reason)
	out.List[len(out.List)-1].NeedSnap = true
}

func (l *Learner) violation(out *Outputs, format string, args ...any) {
	l.giveUp(out, fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...)))
}

// opened introduces the learner.
func (l *Learner) opened(link LinkID, out *Outputs) {
	l.link, l.patience = link, l.opts.Timing.init()
	l.alive()
	info := quorum.LearnerInfo{ServerID: l.opts.Self, ProtocolVersion: quorum.ProtocolVersion, ConfigVersion: l.config.Version, Features: l.opts.Features}
	start := len(out.buf)
	out.buf = info.Append(out.buf)
	t := quorum.PacketFollowerInfo
	if l.observer {
		t = quorum.PacketObserverInfo
	}
	out.send(link, t, quorum.EpochStart(l.opts.AcceptedEpoch), out.buf[start:len(out.buf):len(out.buf)])
	l.phase = learnerInfo
}

func (l *Learner) packet(pkt *quorum.Packet, out *Outputs) {
	switch l.phase {
	case learnerInfo:
		l.leaderInfo(pkt, out)
	case learnerAckEpoch:
		l.beginSync(pkt, out)
	case learnerSyncing, learnerStoring, learnerReady:
		l.syncing(pkt, out)
	case learnerServing:
		l.serving(pkt, out)
	}
}

// leaderInfo accepts the leader's epoch, for good, and tells it what this learner has.
func (l *Learner) leaderInfo(pkt *quorum.Packet, out *Outputs) {
	if pkt.Type == quorum.PacketNewLeader {
		l.giveUp(out, fmt.Errorf("%w: NEWLEADER as first packet", ErrOldProtocol))
		return
	}
	if pkt.Type != quorum.PacketLeaderInfo {
		l.violation(out, "%s as first packet", quorum.PacketName(pkt.Type))
		return
	}
	info, err := quorum.DecodeLeaderInfo(pkt.Data)
	if err != nil {
		l.violation(out, "%v", err)
		return
	}
	if info.ProtocolVersion < quorum.ProtocolVersion {
		l.giveUp(out, fmt.Errorf("%w: leader %d, version 0x%x", ErrOldProtocol, l.opts.Leader, info.ProtocolVersion))
		return
	}
	l.epoch = quorum.EpochOf(pkt.Zxid)
	reply := quorum.EpochAlreadyPromised
	switch {
	case l.epoch < l.opts.AcceptedEpoch:
		l.giveUp(out, fmt.Errorf("%w: epoch %d of leader %d, accepted is %d", ErrEpoch, l.epoch, l.opts.Leader, l.opts.AcceptedEpoch))
		return
	case l.epoch > l.opts.AcceptedEpoch:
		o := out.add(OutPersistAcceptedEpoch)
		o.Epoch = l.epoch
		reply = l.opts.CurrentEpoch
	}
	shared := info.Features & l.opts.Features
	l.cumulative, l.marks = shared.Has(quorum.FeatureCumulativeAck), shared.Has(quorum.FeatureMark)
	start := len(out.buf)
	out.buf = quorum.AppendAckEpoch(out.buf, reply)
	if l.opts.Resume != nil && shared.Has(quorum.FeatureResume) {
		out.buf = append(out.buf, l.opts.Resume()...)
	}
	out.send(l.link, quorum.PacketAckEpoch, l.opts.LastZxid, out.buf[start:len(out.buf):len(out.buf)])
	l.phase = learnerAckEpoch
}
