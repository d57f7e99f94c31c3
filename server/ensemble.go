package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/config"
)

// ensemble is the replica's part in an ensemble: it drives the election and Zab machines and does what
// they ask for. Everything in it belongs to the replica goroutine; connections and other goroutines
// reach it by replica.post.
//
// A server looks for a leader, then leads or follows until the machine gives up, then looks again. While
// it looks it serves nobody: the loss of the quorum closes all client connections before anything stale
// could be answered (client protocol, section 11.3).
type ensemble struct {
	r    *replica
	opts EnsembleOptions
	// config is the committed member list, lastSeen the last proposed one, which is newer while a reconfig is under
	// way: config.Version <= lastSeen.Version.
	config, lastSeen *quorum.Config
	// prepared is the config of a reconfig that is prepared and not proposed yet; nil without one.
	prepared   *quorum.Config
	clientAddr quorum.Addr // of the client port, as the member list has it; zero while it has none
	epochs     *epochStore

	election *election.Election
	// epochsOf are the epochs of the histories that voters have told in their votes for themselves.
	epochsOf map[quorum.ServerID]quorum.Epoch
	port     electionPort
	oracle   quorum.Oracle
	lookedMs int64 // when the election began
	// downMs is when this server began to look, the first time since it last served, roleMs when it took its
	// role and servingMs when it began to serve.
	downMs, roleMs, servingMs int64
	figures                   *ensembleFigures
	claimedMs                 int64 // wall clock of the leader in the last transaction applied

	state    quorum.State
	leader   *zab.Leader
	learner  *zab.Learner
	master   observerMaster // of a follower
	window   *zab.Window
	history  history
	listener io.Closer
	links    map[zab.LinkID]*peerLink
	nextLink zab.LinkID
	// life counts roles taken: what a goroutine reports for an earlier one is dropped.
	life     uint64
	dialStop context.CancelFunc
	// shortRoles counts the times in a row that this server followed for less than shortRole.
	shortRoles int
	// masterTurn says which observer master an observer tries next; 0: none was tried.
	masterTurn int
	// mastersTried counts those tried in this round through all of them; mastersExhausted: it is a later round, not begun yet.
	mastersTried     int
	mastersExhausted bool

	out         zab.Outputs
	slab        *slab // proposals of the leader's that this turn logs
	electionOut []election.Output
	durable     quorum.Zxid // last told to the machine
	committed   quorum.Zxid // up to where the tree may be
	serving     bool
	readOnly    bool           // in read-only mode
	received    *engine.Engine // a tree of the leader's that has not taken the place of ours yet
	unlogged    []unloggedProposal
	trimTo      quorum.Zxid     // committed, not trimmed from the window yet
	foreignTo   quorum.ServerID // the last leader of whose ensemble this server's data turned out not to be; NoServer
	unrelated   bool            // the tree that was received shares nothing with the one that is here
	diverged    bool            // a transaction of this leader's has led to another tree than its digest says
	healedAt    quorum.Epoch    // the newest epoch in which this server asked for a snapshot for that
	partial     *partialImage   // of a leader's image whose sending broke off
	needSnap    bool            // the next learner must not offer its own history
	offersNone  bool            // and this one does not
	// spaceAtMs is when to try again for space; 0: nothing waits for it.
	spaceAtMs int64
	// beginLogAt is where the log must begin anew, because of the image, before anything else is done with it;
	// 0: nowhere.
	beginLogAt quorum.Zxid

	forwarded  forwardQueue
	moves      map[proto.SessionID][]move // re-attaches that wait for the leader's verdict
	syncs      map[uint64]request
	nextToken  uint64
	held       int           // requests that wait for others of their connection
	resumable  []*clientConn // have held requests that wait no longer
	answeredMs int64         // when the last PING was answered
	scratch    []byte
	touches    []byte
	proposals  []zab.Proposal
}

// EnsembleOptions are what a member of an ensemble needs beyond Options.
type EnsembleOptions struct {
	Self quorum.ServerID
	// Config is the committed member list, LastSeen one that was proposed and not seen committed; nil: there is none.
	Config, LastSeen *quorum.Config
	// ConfigPath is the zoo.cfg beside which member lists are kept (quorum protocol, section 1.6); empty: they
	// are not.
	ConfigPath        string
	StandaloneEnabled bool
	MultiAddress      bool
	// EpochDir holds the files of the epochs.
	EpochDir       string
	Timing         zab.Timing
	CommitLogCount int
	SnapSizeFactor float64
	ForceSnap      bool
	// EpochWaitMax, SnapSyncsMax and DiffSyncsMax are those of zab.LeaderOptions.
	EpochWaitMax               time.Duration
	SnapSyncsMax, DiffSyncsMax int
	// ConnectLimit is how long a learner tries to connect; 0: Timing.InitLimit ticks.
	ConnectLimit time.Duration
	// ObserverMasterPort is where followers serve observers, and where observers find them; 0: nowhere.
	ObserverMasterPort int
	// ReconnectDelayMax bounds the random time that an observer waits before it connects.
	ReconnectDelayMax time.Duration
	Election          election.Options
	Network           peerNetwork
	ReconfigEnabled   bool
	LeaderServes      bool
	ClientAddr        string // told to operators
	// LocalSessions: clients get sessions that this server alone knows; with LocalUpgrading one that creates an
	// ephemeral becomes global.
	LocalSessions, LocalUpgrading bool
	ReadOnlyMode                  bool // serve reads while there is no leader
	// OraclePath is the file that tells this one of two servers whether it may go on alone; empty: there is none.
	OraclePath string
	// EmptyHasNoSay: a server whose database is empty neither votes nor counts before the leader has sent it a
	// snapshot. It may be one that has lost its disk, and with it what the others count on.
	EmptyHasNoSay bool
}

// historyEnd is the newest zxid that this server has; -1 if its history must not count.
func (e *ensemble) historyEnd() quorum.Zxid {
	last := e.r.engine.LastZxid()
	if last == 0 && e.opts.EmptyHasNoSay && e.epochs.current == 0 {
		return -1
	}
	return last
}

// machineNow is the time that the machines count in.
func (e *ensemble) now() time.Duration { return time.Duration(e.r.srv.nowNs()) }

func newEnsemble(r *replica, opts EnsembleOptions) (*ensemble, error) {
	e := &ensemble{
		r: r, opts: opts, config: opts.Config, lastSeen: opts.Config, links: map[zab.LinkID]*peerLink{}, figures: newEnsembleFigures(r.srv.figures),
		moves: map[proto.SessionID][]move{}, syncs: map[uint64]request{},
	}
	e.history.e = e
	e.epochsOf = map[quorum.ServerID]quorum.Epoch{}
	e.foreignTo = quorum.NoServer
	if opts.ReconfigEnabled && opts.LastSeen != nil && opts.LastSeen.Version > opts.Config.Version {
		e.lastSeen = opts.LastSeen
	}
	if m := e.config.Member(opts.Self); m != nil {
		e.clientAddr = m.ClientAddr
	}
	last := r.engine.LastZxid()
	var err error
	if e.epochs, err = openEpochs(opts.EpochDir, quorum.EpochOf(last)); err != nil {
		return nil, err
	}
	r.sessions.localAllowed = opts.LocalSessions
	e.writeConfigNode()
	// The image may be of the start of an epoch, for which there is no proposal: the log tells the newest.
	e.window = zab.NewWindow(0, opts.CommitLogCount)
	e.history.fill(e.window, opts.CommitLogCount)
	e.committed, e.durable = last, last
	e.election = election.New(opts.Self, opts.Election, rand.New(rand.NewSource(time.Now().UnixNano())))
	return e, nil
}

// writeConfigNode puts the member list of this server's configuration into its tree, as after each start and
// each synchronisation (storage formats, section 5).
func (e *ensemble) writeConfigNode() {
	e.r.engine.SetConfigNode(e.config.AppendText(nil), e.config.Version, e.r.srv.wallMs())
}

// errRoleEnded is the cause that links of an earlier role are closed with.
var errRoleEnded = errors.New("server: this server's role has ended")

// start opens the election port and begins to look for a leader.
func (e *ensemble) start() error {
	port, err := e.opts.Network.OpenElection(e.config, e.lastSeen, electionHandler{
		Message: func(from quorum.ServerID, n quorum.Notification) {
			e.r.post(func(*replica) { e.receiveVote(from, n) })
		},
		Up:   func(id quorum.ServerID) { e.r.post(func(*replica) { e.peerUp(id) }) },
		Down: func(id quorum.ServerID) { e.r.post(func(*replica) { e.peerDown(id) }) },
	})
	if err != nil {
		return err
	}
	e.port = port
	e.startOracle()
	e.r.post(func(*replica) { e.settle(nil, quorum.NoServer) })
	return nil
}

// stop ends links and ports. The replica goroutine has ended before, so nobody is served until the others have another
// leader. The election port goes first: they look for one when the links end, and do not wait for the vote of a server
// whose port refuses them.
func (e *ensemble) stop() error {
	if e.port != nil {
		e.port.Shut()
	}
	e.closeLinks()
	e.dropReceived()
	e.dropPartial()
	if e.port == nil {
		return nil
	}
	return e.port.Close()
}

// look begins an election.
func (e *ensemble) look() {
	e.state = quorum.Looking
	e.lookedMs = e.r.srv.nowMs()
	if e.downMs == 0 {
		e.downMs = e.lookedMs
	}
	e.figures.looking.Add(1)
	if !e.readOnly { // it may have begun while this server waited for space
		e.r.srv.setMode("")
	}
	e.r.srv.log.Info("LOOKING")
	if e.opts.ReadOnlyMode {
		e.r.srv.log.Info("Attempting to start ReadOnlyZooKeeperServer")
	}
	h := election.History{LastZxid: e.historyEnd(), CurrentEpoch: e.epochs.current}
	e.r.srv.log.Info(fmt.Sprintf("New election. My id = %d, proposed zxid=0x%x", e.opts.Self, uint64(h.LastZxid)))
	e.electionOut = e.election.Start(e.now(), h, e.config, e.lastSeen, e.electionOut)
	e.doElection()
}

func (e *ensemble) receiveVote(from quorum.ServerID, n quorum.Notification) {
	e.noteEpoch(from, &n)
	if e.waitsForSpace() {
		return // those who look for a leader must do without this server
	}
	e.electionOut = e.election.Receive(e.now(), from, n, e.electionOut)
	e.doElection()
}

func (e *ensemble) peerUp(id quorum.ServerID) {
	e.electionOut = e.election.PeerUp(e.now(), id, e.electionOut)
	e.doElection()
}

func (e *ensemble) peerDown(id quorum.ServerID) {
	e.electionOut = e.election.PeerDown(e.now(), id, e.electionOut)
	e.doElection()
}

// doElection does what the election asks for.
func (e *ensemble) doElection() {
	var decided *election.Output
	looking := quorum.NoServer
	for i := range e.electionOut {
		o := &e.electionOut[i]
		switch o.Kind {
		case election.Send:
			e.port.Send(o.To, &o.Notification)
		case election.AdoptConfig:
			e.commitConfig(o.Config)
		case election.Decided:
			decided = o
		case election.PeerLooking:
			looking = o.From
		case election.TimedOut:
			e.r.srv.log.Info(fmt.Sprintf("Notification time out: %d ms", o.Interval.Milliseconds()))
		}
	}
	if decided != nil {
		vote := decided.Vote
		e.electionOut = e.electionOut[:0]
		electors := decided.Electors
		e.takeRole(vote, electors)
		return
	}
	e.electionOut = e.electionOut[:0]
	if looking != quorum.NoServer && e.leader != nil {
		e.step(zab.Input{Kind: zab.InLooking, Server: looking})
		e.endTurn()
	}
}

// takeRole becomes what the election has decided; electors have voted for this server if it leads.
func (e *ensemble) takeRole(vote quorum.Vote, electors []quorum.ServerID) {
	s := e.r.srv
	e.stopReadOnly()
	took := s.nowMs() - e.lookedMs
	s.figures.Summary("election_time").Add(took)
	s.log.Info(vote.State.String())
	s.log.Info(fmt.Sprintf("%s - LEADER ELECTION TOOK - %d MS", vote.State, took))
	e.beginRole(vote.State, vote.Leader, electors)
}

// beginRole leads, or follows leader; electors are those that are known to have voted for this server.
func (e *ensemble) beginRole(state quorum.State, leader quorum.ServerID, electors []quorum.ServerID) {
	e.state = state
	e.life++
	e.roleMs = e.r.srv.nowMs()
	if state == quorum.Leading {
		e.lead(electors)
		return
	}
	e.follow(leader)
}

func (e *ensemble) lead(electors []quorum.ServerID) {
	life := e.life
	self := e.config.Member(e.opts.Self)
	l, err := e.opts.Network.ListenQuorum(*self, func(link peerConn) {
		e.r.post(func(*replica) { e.linkOpened(life, link, false) })
	})
	if err != nil {
		e.r.srv.fatal(&config.Error{ExitCode: config.ExitQuorumBind, Message: "the quorum port cannot be bound, so this server cannot lead: " + err.Error(),
			Key: fmt.Sprintf("server.%d", e.opts.Self), Fix: "free the port, or correct the server.N line", Err: err})
		return
	}
	e.listener = l
	last := e.r.engine.LastZxid()
	e.leader = zab.NewLeader(zab.LeaderOptions{
		Self: e.opts.Self, Config: e.config, LastSeen: e.lastSeen, ReconfigEnabled: e.opts.ReconfigEnabled,
		AcceptedEpoch: e.epochs.accepted, CurrentEpoch: e.epochs.current,
		LastZxid: last, DurableZxid: last, Timing: e.opts.Timing, ForceSnap: e.opts.ForceSnap, Features: quorum.AllFeatures,
		Electors: electors, EpochWaitMax: e.opts.EpochWaitMax, SnapSyncsMax: e.opts.SnapSyncsMax, DiffSyncsMax: e.opts.DiffSyncsMax,
		Oracle: e.oracle,
	}, e.window, &e.history)
	e.durable = last
	e.leader.Start(e.now(), &e.out)
	e.endTurn()
}

// shortRole is how long a server follows at least that has found its place.
const shortRole = time.Second

// followPause is how long a server waits before it follows, that has followed for a moment only so many times in a row:
// one that is not let in does not ask hundreds of times a second.
func followPause(shortRoles int) time.Duration {
	if shortRoles < 2 {
		return 0
	}
	return min(10*time.Millisecond<<min(shortRoles-2, 10), time.Second)
}

func (e *ensemble) follow(leader quorum.ServerID) {
	m := e.config.Member(leader)
	if m == nil {
		m = e.lastSeen.Member(leader)
	}
	if m == nil {
		e.giveUp(fmt.Errorf("server: leader %d is not in the config", leader), false, quorum.NoServer)
		return
	}
	to := *m
	master, byMaster := e.chooseMaster(leader)
	if byMaster {
		to = master
	}
	last := e.r.engine.LastZxid()
	offered := e.historyEnd()
	if e.needSnap {
		offered, e.needSnap = -1, false
	}
	e.offersNone = offered < 0
	e.learner = zab.NewLearner(zab.LearnerOptions{
		Self: e.opts.Self, Leader: leader, Role: e.config.RoleOf(e.opts.Self), Config: e.config, LastSeen: e.lastSeen,
		ReconfigEnabled: e.opts.ReconfigEnabled, AcceptedEpoch: e.epochs.accepted, CurrentEpoch: e.epochs.current,
		LastZxid: offered, DurableZxid: last, Timing: e.opts.Timing, Features: e.learnerFeatures(),
		Proposal: e.proposalOf, Resume: e.resumePlace, Digest: e.r.engine.Digest(), HasDigest: e.r.srv.opts.Engine.Digest,
	})
	e.durable = last
	life := e.life
	ctx, cancel := context.WithCancel(e.r.srv.ctx)
	e.dialStop = cancel
	patience := e.opts.ConnectLimit
	if patience == 0 {
		patience = e.opts.Timing.Tick * time.Duration(e.opts.Timing.InitLimit)
	}
	pause := followPause(e.shortRoles) + e.reconnectDelay(byMaster)
	if e.foreignTo == leader {
		pause = max(pause, foreignPause)
	}
	e.r.srv.wg.Go(func() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		link, err := e.opts.Network.DialQuorum(ctx, to, patience)
		if err != nil {
			e.r.post(func(*replica) {
				if life == e.life {
					e.giveUp(err, false, quorum.NoServer)
				}
			})
			return
		}
		e.r.post(func(*replica) { e.linkOpened(life, link, false) })
	})
}

// linkOpened takes a new connection of the quorum port, or of the port for observers, up.
func (e *ensemble) linkOpened(life uint64, link peerConn, observer bool) {
	if life != e.life || (e.leader == nil && e.learner == nil) {
		link.Close(errRoleEnded)
		return
	}
	e.nextLink++
	id := e.nextLink
	e.links[id] = &peerLink{link: link, observer: observer, openedMs: e.r.srv.wallMs()}
	link.Start(
		func(packets []quorum.Packet) { e.r.postAndWait(func(*replica) { e.packets(id, packets) }) },
		func(err error) { e.r.post(func(*replica) { e.linkClosed(id, err) }) })
	e.stepLink(zab.Input{Kind: zab.InLinkOpened, Link: id})
	e.endTurn()
}

func (e *ensemble) linkClosed(id zab.LinkID, err error) {
	l := e.links[id]
	if l == nil {
		return
	}
	if e.leader != nil || l.observer {
		e.r.srv.log.Warn(fmt.Sprintf("******* GOODBYE %d ********", id), "err", err)
	} else {
		e.r.srv.log.Warn("Connection to the leader ended", "err", err)
	}
	e.stepLink(zab.Input{Kind: zab.InLinkClosed, Link: id, Err: err})
	delete(e.links, id)
	e.endTurn()
}

// packets steps what came from a link.
func (e *ensemble) packets(id zab.LinkID, packets []quorum.Packet) {
	if l := e.links[id]; l != nil {
		l.received += int64(len(packets))
	}
	now := e.now() // reading the clock takes longer than a step does
	for i := range packets {
		if e.links[id] == nil {
			return
		}
		if e.links[id].observer {
			e.stepMaster(zab.Input{Kind: zab.InPacket, Link: id, Packet: packets[i]})
			continue
		}
		if e.learner != nil && packets[i].Type == quorum.PacketDiff {
			e.r.srv.log.Info(fmt.Sprintf("Getting a diff from the leader 0x%x", packets[i].Zxid))
		}
		e.stepAt(now, zab.Input{Kind: zab.InPacket, Link: id, Packet: packets[i]})
		if e.learner != nil && e.learner.Expects() != zab.ExpectPackets {
			e.endTurn()
			now = e.now()
		}
	}
	e.endTurn()
}

func (e *ensemble) step(in zab.Input) { e.stepAt(e.now(), in) }

// stepAt is step for several inputs in a row: now is a time at which no output has been done since.
func (e *ensemble) stepAt(now time.Duration, in zab.Input) {
	switch {
	case e.leader != nil:
		e.leader.Step(now, in, &e.out)
	case e.learner != nil:
		e.learner.Step(now, in, &e.out)
	}
}

// stepLink steps the machine that the link of in belongs to.
func (e *ensemble) stepLink(in zab.Input) {
	if l := e.links[in.Link]; l != nil && l.observer {
		e.stepMaster(in)
		return
	}
	e.step(in)
}

// tick is called at least every half tick and at the machines' deadlines.
func (e *ensemble) tick() {
	now := e.now()
	e.expirePartial()
	if now >= e.readOnlyAt() {
		e.startReadOnly()
	}
	if now >= e.spaceAt() {
		e.trySpace()
		return
	}
	if e.state == quorum.Looking && now >= e.election.NextDeadline() {
		e.electionOut = e.election.Tick(now, e.electionOut)
		e.doElection()
		return
	}
	var deadline time.Duration
	switch {
	case e.leader != nil:
		deadline = e.leader.NextDeadline()
	case e.learner != nil:
		deadline = e.learner.NextDeadline()
	}
	if deadline != 0 && now >= deadline {
		e.step(zab.Input{Kind: zab.InTick})
		e.endTurn()
	}
	if m := e.master.machine; m != nil && now >= m.NextDeadline() {
		e.stepMaster(zab.Input{Kind: zab.InTick})
		e.endTurn()
	}
}

// nextDeadline is when tick has something to do, for the replica's timer.
func (e *ensemble) nextDeadline() time.Duration {
	switch {
	case e.state == quorum.Looking:
		return min(e.election.NextDeadline(), e.readOnlyAt(), e.spaceAt())
	case e.leader != nil:
		return e.leader.NextDeadline()
	case e.master.machine != nil:
		return min(e.learner.NextDeadline(), e.master.machine.NextDeadline())
	case e.learner != nil:
		return e.learner.NextDeadline()
	}
	return never
}

// never is a deadline that does not come.
const never = election.Never

// turn tells the machine what the log has synced.
func (e *ensemble) turn() {
	if z := e.r.durableZxid.Load(); z > e.durable {
		e.durable = z
		e.step(zab.Input{Kind: zab.InLogDurable, Zxid: z})
		e.stepMaster(zab.Input{Kind: zab.InLogDurable, Zxid: z})
	}
	e.endTurn()
	e.tick()
}

// endTurn closes the machine's turn and does what it wants.
func (e *ensemble) endTurn() {
	switch {
	case e.leader != nil:
		e.leader.EndTurn(e.now(), &e.out)
	case e.learner != nil:
		e.learner.EndTurn(e.now(), &e.out)
	}
	e.doOutputs()
}

func (e *ensemble) closeLinks() {
	if e.dialStop != nil {
		e.dialStop()
		e.dialStop = nil
	}
	if e.listener != nil {
		// The links are closed below; what the port itself has to say is of no use any more.
		_ = e.listener.Close()
		e.listener = nil
	}
	e.stopMaster()
	for id, l := range e.links {
		l.link.Close(errRoleEnded)
		delete(e.links, id)
	}
}
