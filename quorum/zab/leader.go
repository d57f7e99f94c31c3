package zab

import (
	"fmt"
	"time"

	"zabra.dev/zabra/quorum"
)

// leaderPhase is how far the leader has come (see the drawing in the package comment).
type leaderPhase uint8

const (
	leaderDiscovery leaderPhase = iota // waits for the accepted epochs of a quorum
	leaderAckEpoch                     // the epoch is fixed; waits for a quorum of promises
	leaderNewLeader                    // synchronises; waits for a quorum that has the history
	leaderServing                      // broadcasts
	leaderDone                         // has given up
)

// LeaderOptions is what a leader starts with.
type LeaderOptions struct {
	Self quorum.ServerID
	// Config is the committed config, LastSeen the last proposed one, which counts if it MayBeCommitted;
	// nil means Config.
	Config, LastSeen *quorum.Config
	ReconfigEnabled  bool
	// AcceptedEpoch and CurrentEpoch are those on disk.
	AcceptedEpoch, CurrentEpoch quorum.Epoch
	// LastZxid is the newest zxid of log and image, DurableZxid how far that is on disk.
	LastZxid, DurableZxid quorum.Zxid
	Timing                Timing
	ForceSnap             bool // zookeeper.forceSnapshotSync
	// Electors are those that voted for this server. When one of them looks for a leader again and the epoch has not
	// been found within EpochWaitMax, the leader gives up (zookeeper.leader.maxTimeToWaitForEpoch); negative: it
	// waits out InitLimit.
	Electors     []quorum.ServerID
	EpochWaitMax time.Duration
	// SnapSyncsMax and DiffSyncsMax bound the learners that are brought up to date at a time by SNAP, and by DIFF or
	// TRUNC: an observer that comes on top of that loses its connection; followers count and are let in. 0: no
	// bound (zookeeper.leader.maxConcurrentSnapSyncs, zookeeper.leader.maxConcurrentDiffSyncs).
	SnapSyncsMax, DiffSyncsMax int
	Features                   quorum.Features
	// Oracle is what the tie-breaker of an ensemble of two says at the start; NoOracle without one.
	Oracle quorum.Oracle
	Bugs   Bugs
}

// Leader is the machine of a server that has been elected, for one time of leading. One
// goroutine drives it: Step for each event, EndTurn once per turn, then the outputs are done
// in their order.
type Leader struct {
	opts    LeaderOptions
	window  *Window
	history History

	master   bool // of observers, see NewObserverMaster
	phase    leaderPhase
	began    time.Duration // of discovery
	deadline time.Duration // of the phase, before serving

	epoch            quorum.Epoch
	highestAccepted  quorum.Epoch
	offered          serverSet // have told their accepted epoch
	promised         serverSet // have sent a counting ACKEPOCH
	config, lastSeen *quorum.Config
	// newLeaderText is the config in NEWLEADER: the last seen one until the leader serves, which
	// commits it; then the committed one. Java sends a pending one even then, and the learner commits
	// it at UPTODATE, before a quorum has it.
	newLeaderText []byte

	peers []*peer
	names int64 // anonymous learners so far

	oracle quorum.Oracle

	durable         quorum.Zxid // of the own log
	last            quorum.Zxid // last proposed; the start of the epoch before the first
	committed       quorum.Zxid // before serving: the end of the own history
	eras            []era
	muted           bool            // must not commit any more: somebody else, the designated leader, has to lead
	heir            quorum.ServerID // that one, NoServer if there is none
	mutedAt         time.Duration
	dirty           bool // an acknowledgement has come since the last look
	trim            bool // committed has moved
	threshold       quorum.Zxid
	hasAcked        func(quorum.ServerID) bool // acknowledged threshold
	isFresh         func(quorum.ServerID) bool // heard of in time
	isFreshFollower func(quorum.ServerID) bool // and no observer
	confirms        func(quorum.ServerID) bool // has answered the round of syncs
	now             time.Duration

	ghosts []peer // under Bugs.AcksOutliveLink

	nextPing  time.Duration
	halfTicks uint
	round     syncRound
}

// An era says which configs a proposal needs a quorum of: those from `from` up to the next era.
type era struct {
	from    quorum.Zxid
	a, b    *quorum.Config // b is nil unless a reconfig was pending
	pending bool           // from is a reconfig that is not committed
}

// serverSet is a small set of servers.
type serverSet []quorum.ServerID

func (s serverSet) has(id quorum.ServerID) bool {
	for _, m := range s {
		if m == id {
			return true
		}
	}
	return false
}

func (s *serverSet) add(id quorum.ServerID) {
	if !s.has(id) {
		*s = append(*s, id)
	}
}

// NewLeader returns a leader whose history in memory is window, which it owns until it has
// given up, and on disk history. Start must be the first call.
func NewLeader(opts LeaderOptions, window *Window, history History) *Leader {
	if opts.LastSeen == nil || !opts.LastSeen.MayBeCommitted(opts.CurrentEpoch, opts.LastZxid) {
		opts.LastSeen = opts.Config
	}
	l := &Leader{
		opts: opts, window: window, history: history,
		highestAccepted: opts.AcceptedEpoch,
		config:          opts.Config, lastSeen: opts.LastSeen,
		durable: opts.DurableZxid, committed: opts.LastZxid, heir: quorum.NoServer, oracle: opts.Oracle,
	}
	l.hasAcked = func(id quorum.ServerID) bool {
		if id == l.opts.Self {
			return l.durable >= l.threshold || l.opts.Bugs.AsyncLogLostOnLeader
		}
		return l.ackedBy(id) >= l.threshold
	}
	l.isFresh = func(id quorum.ServerID) bool {
		if id == l.opts.Self {
			return true
		}
		p := l.peerOf(id)
		return p != nil && p.freshUntil > l.now
	}
	l.isFreshFollower = func(id quorum.ServerID) bool {
		p := l.peerOf(id)
		return l.isFresh(id) && (p == nil || !p.observer)
	}
	l.confirms = func(id quorum.ServerID) bool {
		if id == l.opts.Self {
			return true
		}
		p := l.peerOf(id)
		return p != nil && p.roundPing != 0 && p.pingsAnswered >= p.roundPing
	}
	return l
}

// Epoch returns the epoch that is being led, 0 before it is known.
func (l *Leader) Epoch() quorum.Epoch { return l.epoch }

// Serving reports whether proposals are taken.
func (l *Leader) Serving() bool { return l.phase == leaderServing }

// Committed returns the newest committed zxid; before OutServe the end of the own history.
func (l *Leader) Committed() quorum.Zxid { return l.committed }

// Config returns the committed config, LastSeen the last proposed one, which is newer while
// a reconfig is pending: another must not be proposed then (error RECONFIGINPROGRESS).
func (l *Leader) Config() *quorum.Config { return l.config }

// LastSeen: see Config.
func (l *Leader) LastSeen() *quorum.Config { return l.lastSeen }

// HasSyncedQuorum reports whether the followers that are in step now, with the leader, would be
// a quorum of config, which a reconfig has to have (error NEWCONFIGNOQUORUM, section 8.2). One that the committed
// config has just made an observer, and that is about to connect as such, is none.
func (l *Leader) HasSyncedQuorum(config *quorum.Config) bool {
	synced := func(id quorum.ServerID) bool {
		p := l.peerOf(id)
		return id == l.opts.Self || (p != nil && p.ackCounts && !p.observer && l.config.RoleOf(id) != quorum.Observer)
	}
	return config.ContainsQuorum(synced) || l.breaksTie(config, synced)
}

// Resumes tells about the learner behind link, for OutStreamSnap with Image: whether SNAP may carry a
// quorum.ImagePlace, and how far the learner has an image of an earlier synchronisation, nil if it has none.
func (l *Leader) Resumes(link LinkID) (ok bool, place *quorum.ImagePlace) {
	if p := l.peerAt(link); p != nil {
		return p.resumes, p.place
	}
	return false, nil
}

// Window lends the proposals in memory, to be read while doing outputs.
func (l *Leader) Window() *Window { return l.window }

// Start begins with discovery; an observer master just begins.
func (l *Leader) Start(now time.Duration, out *Outputs) {
	l.now, l.began = now, now
	l.deadline = now + l.opts.Timing.init()
	l.nextPing = now + l.opts.Timing.Tick/2
	if l.master {
		return
	}
	l.offerEpoch(l.opts.Self, l.opts.AcceptedEpoch, out)
}

// Step takes one event and appends to out what it demands. What depends on all events of
// a turn, sending proposals and commits among it, is left to EndTurn. out may hold the
// outputs of earlier Steps of the turn, and must be done before the next turn.
func (l *Leader) Step(now time.Duration, in Input, out *Outputs) {
	l.now = max(l.now, now)
	if l.phase == leaderDone {
		releaseAll(in.Proposals)
		return
	}
	if l.trim && len(out.List) == 0 {
		// No output refers to the window now.
		l.trim = false
		l.window.Trim(l.needed())
	}
	switch in.Kind {
	case InTick:
		l.tick(out)
	case InLinkOpened:
		l.peers = append(l.peers, &peer{
			link: in.Link, deadline: l.now + l.opts.Timing.init(),
			freshUntil: l.now + l.opts.Timing.init() + l.opts.Timing.sync(),
		})
	case InLinkClosed:
		l.drop(in.Link)
		if l.muted && !l.master && len(l.peers) == 0 {
			// All have heard of the other leader, and gone there.
			l.giveUp(out, fmt.Errorf("%w: %d has to lead", ErrReconfigured, l.heir))
		}
	case InPacket:
		if p := l.peerAt(in.Link); p != nil {
			l.packet(p, &in.Packet, out)
		}
	case InLogDurable:
		if in.Zxid > l.durable {
			l.durable = in.Zxid
			l.dirty, l.trim = true, !l.master
			if l.phase == leaderAckEpoch {
				l.promiseOwn(out)
			}
		}
	case InPropose:
		l.propose(in.Proposals, out)
	case InStreamed:
		if p := l.peerAt(in.Link); p != nil {
			l.streamed(p, in.Zxid, in.OK, out)
		}
	case InSync:
		l.sync(&in)
	case InRevalidated:
		if p := l.peerAt(in.Link); p != nil {
			reply := quorum.RevalidateReply{SessionID: in.Session, Valid: in.OK}
			start := len(out.buf)
			out.buf = reply.Append(out.buf)
			out.send(p.link, quorum.PacketRevalidate, quorum.NoZxid, out.buf[start:len(out.buf):len(out.buf)])
		}
	case InLooking:
		if max := l.opts.EpochWaitMax; l.phase == leaderDiscovery && max >= 0 && l.now-l.began > max && serverSet(l.opts.Electors).has(in.Server) {
			l.giveUp(out, fmt.Errorf("%w: server %d", ErrDisloyal, in.Server))
		}
	case InOracle:
		l.setOracle(in.OK, out)
	case InCommitted:
		l.informUpTo(&in, out)
	case InSyncAnswered:
		if p := l.peerAt(in.Link); p != nil {
			out.send(p.link, quorum.PacketSync, 0, nil)
		}
	case InResign:
		l.giveUp(out, fmt.Errorf("%w: %w", ErrResigned, in.Err))
	default:
		panic(fmt.Sprintf("zab: input %d at a leader", in.Kind))
	}
}

// EndTurn appends what the events of the turn amount to: each follower's share of the new
// proposals, what has become committed, and answers to syncs.
func (l *Leader) EndTurn(now time.Duration, out *Outputs) {
	l.now = max(l.now, now)
	if l.phase != leaderServing {
		return
	}
	l.sendProposals(out)
	for {
		if l.dirty {
			l.dirty = false
			l.advance(out)
		}
		l.answerSyncs(out)
		if !l.dirty {
			return
		}
	}
}

// giveUp ends the leadership. Whom a reconfig has made the leader is followed without an election.
func (l *Leader) giveUp(out *Outputs, reason error) {
	l.phase = leaderDone
	o := out.add(OutGiveUp)
	o.Reason, o.Server = reason, l.heir
}

// isQuorum reports whether set holds a quorum of the committed config and, while another
// one is pending, also of that.
func (l *Leader) isQuorum(set func(quorum.ServerID) bool) bool {
	return l.contains(l.config, set) && (l.lastSeen.Version <= l.config.Version || l.contains(l.lastSeen, set))
}

// isVoter reports whether id votes in the committed config or in a pending one.
func (l *Leader) isVoter(id quorum.ServerID) bool {
	return l.config.IsVoter(id) || l.lastSeen.IsVoter(id)
}

func (l *Leader) contains(c *quorum.Config, set func(quorum.ServerID) bool) bool {
	if l.opts.Bugs.CommitWithoutQuorum {
		n := 0
		for i := range c.Members {
			if c.Members[i].Role == quorum.Participant && set(c.Members[i].ID) {
				n++
			}
		}
		return n+1 > c.VoterCount()/2
	}
	return c.ContainsQuorum(set) || l.breaksTie(c, set)
}

// peerAt returns the peer behind link, nil if the machine has dropped it.
func (l *Leader) peerAt(link LinkID) *peer {
	for _, p := range l.peers {
		if p.link == link {
			return p
		}
	}
	return nil
}

// peerOf returns the peer that is server id, nil if it is not connected.
func (l *Leader) peerOf(id quorum.ServerID) *peer {
	for _, p := range l.peers {
		if p.id == id && p.state != peerNew {
			return p
		}
	}
	return nil
}

// close closes a link, whose peer counts no more.
func (l *Leader) close(p *peer, out *Outputs, reason error) {
	o := out.add(OutClose)
	o.Link, o.Server, o.Reason = p.link, p.id, reason
	l.drop(p.link)
}

func (l *Leader) drop(link LinkID) {
	for i, p := range l.peers {
		if p.link == link {
			if l.opts.Bugs.AcksOutliveLink && p.ackCounts {
				l.ghosts = append(l.ghosts, *p)
			}
			l.peers = append(l.peers[:i], l.peers[i+1:]...)
			l.round.forget(link)
			l.dirty = true // its syncs hold nothing up any more
			return
		}
	}
}

func releaseAll(proposals []Proposal) {
	for i := range proposals {
		if ref := proposals[i].Ref; ref != nil {
			ref.Release()
		}
	}
}
