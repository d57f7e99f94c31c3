package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal/walfs"
)

// This file is the driver: what stands between the machines of election and zab and the world.
// The package comment has its rules.

// replica is the part of a server that drives the machines.
type replica struct {
	leader  *zab.Leader
	learner *zab.Learner
	leading quorum.ServerID // whom the learner follows
	out     zab.Outputs
	serving bool        // OutServe has been done
	upTo    quorum.Zxid // of the newest OutCommit
	role    quorum.State

	links    []heldLink  // open ones
	dials    int         // attempts to connect to the leader
	needSnap bool        // the next learner must get a snapshot
	trees    []*treePart // parts of the tree that has come so far
	// The tree that has come, and what is behind it, until OutTakeSnapshot has been done.
	staged       *engine.Engine
	stagedImage  *image
	stagedWindow *zab.Window

	requests []prep.Request // to be prepared in this turn
	prep     *prep.Preparer
	// judged is the member list of the reconfig that is being prepared, proposing those of this turn by zxid.
	judged    *quorum.Config
	proposing map[quorum.Zxid]*quorum.Config
	told      map[quorum.ServerID]quorum.Epoch // accepted epochs that learners have told this leader
	expireAt  time.Duration
	retryAt   time.Duration // when an election is begun that waits for the disk; 0: none
}

// Mistakes are mistakes of a driver that the simulator has to find.
type Mistakes uint8

const (
	NoMistake Mistakes = iota
	// KeepLogAfterSnap: what the log held before a snapshot came from the leader stays, abandoned
	// transactions included, as in Java (quorum protocol, section 4.6).
	KeepLogAfterSnap
	// EpochNotSynced: the files of the epochs are written and not synced.
	EpochNotSynced
	// SyncOvertakesWrites: a sync is stepped while writes in front of it wait to be prepared.
	SyncOvertakesWrites
	// WriteOvertakesSync: writes are sent on their way while a sync in front of them is not answered.
	WriteOvertakesSync
	// ProposedConfigNotStored: the member list of a reconfig is kept in memory alone until it is committed.
	ProposedConfigNotStored
	// EmptyDiskVotes: a server that lost its disk is started with an empty one as if it were new.
	EmptyDiskVotes
	// StaleVotes is the election's.
	StaleVotes
	// TreeSurvivesCut: the tree keeps what was cut off the log (ZOOKEEPER-2845).
	TreeSurvivesCut
	// ReceivedTreeVotes: a server whose leader went away before the tree that it sent was on disk votes with that
	// (ZOOKEEPER-3642).
	ReceivedTreeVotes
	// AppendsOutliveRole: what a learner has queued for its log gets there after it has lost its leader, and
	// perhaps cut the log for the next (ZOOKEEPER-4712).
	AppendsOutliveRole
	// SyncNotInWindow: what comes before a learner serves is kept out of its window, which gets a hole, and its
	// learners take what comes (ZOOKEEPER-4925).
	SyncNotInWindow
	mistakesEnd
)

func (m Mistakes) String() string {
	return [...]string{"NoMistake", "KeepLogAfterSnap", "EpochNotSynced", "SyncOvertakesWrites", "WriteOvertakesSync",
		"ProposedConfigNotStored", "EmptyDiskVotes", "StaleVotes", "TreeSurvivesCut",
		"ReceivedTreeVotes", "AppendsOutliveRole", "SyncNotInWindow"}[m]
}

// turn does everything that has come, as the replica goroutine of a server does: it steps the
// machine for each event, prepares what has been asked for, ends the turn of the machine, and
// does the outputs. What that brings up by itself is taken in the same turn.
func (s *server) turn() {
	s.turnAt = -1
	life := s.life
	for {
		inbox := s.inbox
		s.inbox = nil
		for i, f := range inbox {
			f()
			if s.life != life {
				return
			}
			inbox[i] = nil
		}
		s.ticks()
		if s.life != life {
			return
		}
		s.takeDurable()
		if !s.flush() {
			return
		}
		if len(s.inbox) == 0 {
			break
		}
	}
	if s.serving {
		s.maybeImage()
	}
	s.armAll()
}

// flush prepares what has been asked for, ends the turn of the machine and does the outputs,
// until these ask for nothing more. It reports whether the process lives.
//
// It also runs in front of each sync: a sync is answered when what has been proposed before it is
// committed, so the writes in front of it must have been proposed.
func (s *server) flush() bool {
	life := s.life
	for {
		s.prepareAll()
		s.endTurn()
		s.doOutputs()
		if s.life != life {
			return false
		}
		if len(s.requests) == 0 {
			return true
		}
	}
}

// step gives the machine an event.
func (s *server) step(in zab.Input) {
	switch {
	case s.leader != nil:
		s.leader.Step(s.local(), in, &s.out)
	case s.learner != nil:
		s.learner.Step(s.local(), in, &s.out)
	}
}

func (s *server) endTurn() {
	switch {
	case s.leader != nil:
		s.leader.EndTurn(s.local(), &s.out)
	case s.learner != nil:
		s.learner.EndTurn(s.local(), &s.out)
	}
}

// ticks does what time demands.
func (s *server) ticks() {
	now := s.local()
	if s.retryAt != 0 && now >= s.retryAt {
		s.retryAt = 0
		s.look()
	}
	if s.election.NextDeadline() <= now {
		s.elect(s.election.Tick(now, nil))
	}
	if d := s.deadline(); d != 0 && d <= now {
		s.step(zab.Input{Kind: zab.InTick})
	}
	if s.serving && s.leader != nil && now >= s.expireAt {
		s.expireAt = now + s.w.plan.timing.Tick
		for _, x := range s.tracker.list {
			if !x.closing && now >= x.deadline {
				x.closing = true
				s.requests = append(s.requests, prep.Request{Session: x.id, Op: proto.OpCloseSession})
			}
		}
		if s.logFull() {
			s.stepDown("the log has no space", diskWait, quorum.NoServer)
		}
	}
}

func (s *server) deadline() time.Duration {
	switch {
	case s.leader != nil:
		return s.leader.NextDeadline()
	case s.learner != nil:
		return s.learner.NextDeadline()
	}
	return 0
}

// armAll makes sure that the server wakes in time.
func (s *server) armAll() {
	next := s.election.NextDeadline()
	if d := s.deadline(); d != 0 {
		next = min(next, d)
	}
	if s.retryAt != 0 {
		next = min(next, s.retryAt)
	}
	if s.serving && s.leader != nil {
		next = min(next, s.expireAt)
	}
	if next < election.Never {
		s.arm(next)
	}
}

// takeDurable passes on how far the log is on disk.
func (s *server) takeDurable() {
	if z := s.durable; z != 0 {
		s.durable = 0
		s.step(zab.Input{Kind: zab.InLogDurable, Zxid: z})
	}
}

// elect does what the election demands.
func (s *server) elect(outs []election.Output) {
	for i := range outs {
		switch o := &outs[i]; o.Kind {
		case election.Send:
			s.w.electionSend(s, o.To, o.Notification)
		case election.Decided:
			s.w.check.elected(s, o)
			s.decided(o.Vote)
		case election.AdoptConfig:
			life := s.life
			if s.commitConfig(o.Config, "adopts"); s.life != life {
				return
			}
		}
	}
}

// diskWait is how long a server waits for space on its disk before it looks again.
const diskWait = 300 * ms

// look begins an election, unless the log has no space: whoever cannot log must not lead.
func (s *server) look() {
	s.role = quorum.Looking
	if !s.damaged && s.logFull() {
		s.log.Retry()
		s.log.Step()
		if s.logErr != nil {
			s.die(s.logErr)
			return
		}
		if s.logFull() {
			s.retryAt = s.local() + diskWait
			s.wake()
			return
		}
	}
	h := election.History{LastZxid: s.lastZxid(), CurrentEpoch: s.current}
	s.trace('?', "looks for a leader with 0x%x of epoch %d", h.LastZxid, h.CurrentEpoch)
	s.elect(s.election.Start(s.local(), h, s.config, s.lastSeen, nil))
	s.wake()
}

// decided begins to lead or to follow.
func (s *server) decided(v quorum.Vote) {
	s.role = v.State
	s.out.Reset()
	last, durable := s.lastZxid(), s.durableZxid()
	if v.State == quorum.Leading {
		s.trace('e', "elected")
		s.applyAll()
		s.told = map[quorum.ServerID]quorum.Epoch{}
		s.leader = zab.NewLeader(zab.LeaderOptions{
			Self: s.id, Config: s.config, LastSeen: s.lastSeen, ReconfigEnabled: s.w.plan.reconfig, AcceptedEpoch: s.accepted, CurrentEpoch: s.current,
			LastZxid: last, DurableZxid: durable, Timing: s.w.plan.timing, ForceSnap: s.w.plan.forceSnap,
			Features: s.w.plan.features[s.id-1], Bugs: s.w.bugs(),
		}, s.window, logHistory{s})
		s.leader.Start(s.local(), &s.out)
		return
	}
	s.trace('e', "elects %d", v.Leader)
	if s.needSnap {
		s.needSnap = false
		last, durable = -1, -1
	}
	s.leading, s.dials = v.Leader, 0
	opts := zab.LearnerOptions{
		Self: s.id, Leader: v.Leader, Role: s.config.RoleOf(s.id), Config: s.config, LastSeen: s.lastSeen, ReconfigEnabled: s.w.plan.reconfig,
		AcceptedEpoch: s.accepted, CurrentEpoch: s.current, LastZxid: last, DurableZxid: durable,
		Timing: s.w.plan.timing, Features: s.w.plan.features[s.id-1], Bugs: s.w.bugs(), AcksDuringSync: s.w.plan.earlyAcks,
		Proposal: s.logged,
	}
	if s.engine.LastZxid() == last {
		opts.Digest, opts.HasDigest = s.engine.Digest(), true
	}
	s.learner = zab.NewLearner(opts)
	s.dial()
}

// doOutputs does what the machine wants, in its order.
func (s *server) doOutputs() {
	life := s.life
	m, n := s.leader, s.learner
	for i := 0; i < len(s.out.List); i++ {
		s.output(&s.out.List[i])
		if s.life != life || s.leader != m || s.learner != n {
			break // the rest is of a machine that is no more
		}
	}
	if s.life == life {
		s.out.Reset()
	}
}

func (s *server) output(o *zab.Output) {
	switch o.Kind {
	case zab.OutPersistAcceptedEpoch:
		if s.leader != nil {
			s.w.check.epochFixed(s, o.Epoch, s.told)
		}
		s.persist("acceptedEpoch", o.Epoch, &s.accepted)
	case zab.OutPersistCurrentEpoch:
		if s.learner != nil {
			s.w.check.epochStored(s, o.Epoch)
		}
		s.persist("currentEpoch", o.Epoch, &s.current)
	case zab.OutSend, zab.OutSendProposals, zab.OutSendHistory, zab.OutAnswerPing:
		s.send(o)
	case zab.OutStreamDiff:
		s.streamDiff(o)
	case zab.OutStreamSnap:
		s.streamSnap(o)
	case zab.OutClose:
		s.trace('-', "closes the link of %d: %v", o.Server, o.Reason)
		s.w.check.blames(s, o.Reason)
		if h, ok := s.linkOf(o.Link); ok {
			s.drop(h.l)
			h.l.shut(h.side, true)
		}
	case zab.OutAppend:
		s.append(o)
	case zab.OutTruncateLog:
		s.cut(o.Zxid)
	case zab.OutReceiveTree:
		// readLink takes the tree, of which the first part may have been taken already.
	case zab.OutTakeSnapshot:
		s.takeSnapshot(o.Zxid)
	case zab.OutCommit:
		s.commit(o.Zxid)
	case zab.OutServe:
		s.serve(o.Epoch)
	case zab.OutGiveUp:
		if errors.Is(o.Reason, zab.ErrForeign) || errors.Is(o.Reason, zab.ErrDiverged) {
			// All servers of a world are of one ensemble.
			s.w.fail("digest", "server %d gives up: %v", s.id, o.Reason)
		}
		s.w.check.blames(s, o.Reason)
		s.needSnap = o.NeedSnap
		s.stepDown(o.Reason.Error(), 0, o.Server)
	case zab.OutSaveConfig:
		s.saveConfig(o.Config)
	case zab.OutActivateConfig:
		s.commitConfig(o.Config, "activates")
	case zab.OutSyncDone:
		s.syncDone(o.Token)
	case zab.OutTouch:
		for i, t := 0, quorum.Touches(o.Data); i < t.Len(); i++ {
			s.tracker.touch(t.At(i).SessionID, s.local())
		}
	case zab.OutRequest:
		s.forwarded(o)
	case zab.OutRevalidate:
		ok := s.tracker.move(o.Session, o.Link, o.TimeoutMs, s.local())
		link, session := o.Link, o.Session
		s.post(func() { s.step(zab.Input{Kind: zab.InRevalidated, Link: link, Session: session, OK: ok}) })
	case zab.OutRevalidated:
		for i, k := range s.moving {
			if k.session == o.Session {
				s.moving = slices.Delete(s.moving, i, i+1)
				s.attached(k, o.OK)
				break
			}
		}
	case zab.OutWarn:
		s.trace('w', "%v", o.Reason)
		s.w.check.blames(s, o.Reason)
		if reason := o.Reason; errors.Is(reason, zab.ErrNewerEpoch) {
			// That server can never follow in this epoch. The next one is higher.
			s.post(func() { s.step(zab.Input{Kind: zab.InResign, Err: reason}) })
		}
	default:
		panic(fmt.Sprintf("sim: output %d", o.Kind))
	}
}

// persist stores an epoch, which nothing that follows may come before.
func (s *server) persist(name string, e quorum.Epoch, in *quorum.Epoch) {
	err := s.writeEpoch(name, e)
	switch {
	case walfs.IsNoSpace(err):
		s.stepDown("no space for "+name, diskWait, quorum.NoServer)
	case err != nil:
		s.die(err)
	default:
		*in = e
	}
}

// serve begins to serve clients.
func (s *server) serve(epoch quorum.Epoch) {
	s.serving = true
	if s.learner != nil {
		s.upTo = s.lastZxid() // a learner logs before it serves only what is committed
	}
	s.w.check.committed(s, s.upTo)
	s.engine.SetLastZxid(max(s.engine.LastZxid(), quorum.EpochStart(epoch)))
	s.election.SetPeerEpoch(epoch)
	if s.leader == nil {
		s.trace('F', "serves in epoch %d under %d with 0x%x", epoch, s.leading, s.engine.LastZxid())
		return
	}
	s.trace('L', "leads epoch %d with 0x%x", epoch, s.engine.LastZxid())
	s.w.check.leads(s, epoch)
	s.tracker = tracker{}
	s.engine.EachSession(func(id proto.SessionID, timeoutMs int32) {
		x := &tracked{id: id, timeoutMs: timeoutMs}
		x.extend(s.local())
		s.tracker.list = append(s.tracker.list, x)
	})
	s.expireAt = s.local()
	if n := s.engine.RemoveOrphans(nil); n != 0 {
		s.w.fail("ephemerals", "server %d has %d without session as it begins to lead", s.id, n)
	}
	s.newPreparer(epoch)
}

// stepDown ends the machine and looks for a leader, at once or when the disk has had a while; or it takes the
// role at once that a reconfig has given it under next.
func (s *server) stepDown(reason string, wait time.Duration, next quorum.ServerID) {
	if s.leader == nil && s.learner == nil {
		return
	}
	s.trace('o', "gives up: %s", reason)
	s.dropClients()
	for _, h := range s.links {
		h.l.shut(h.side, true)
	}
	needSnap := s.needSnap
	if s.staged != nil {
		if s.w.opts.Mistakes == ReceivedTreeVotes {
			s.claimed = s.staged.LastZxid()
		}
		s.staged.Close() // worthless by itself
	}
	s.replica = replica{needSnap: needSnap}
	s.moving, s.syncs, s.touched = nil, nil, nil
	s.tracker = tracker{}
	if wait > 0 {
		s.retryAt = s.local() + wait
		return
	}
	if next != quorum.NoServer {
		s.post(func() { s.assume(next) })
		return
	}
	s.post(s.look)
}

// bugs are those of the machines; a mistake of the driver may need one.
func (w *world) bugs() zab.Bugs {
	b := w.opts.Bugs
	b.HolesAccepted = b.HolesAccepted || w.opts.Mistakes == SyncNotInWindow
	return b
}
