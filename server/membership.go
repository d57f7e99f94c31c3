package server

import (
	"fmt"
	"strings"
	"sync/atomic"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
)

// Membership is what a member of an ensemble tells of its place in it.
type Membership struct {
	Self  quorum.ServerID
	State quorum.State
	Stage zab.Stage
	// Leader is who leads; HasLeader is false while this server looks.
	Leader    quorum.ServerID
	HasLeader bool
	// LeaderLink is the address at the other end of a learner's connection to the leader, empty without one.
	LeaderLink string
	Config     *quorum.Config // committed; immutable
	ClientAddr string         // of this server, as configured; empty without a client port
	LastZxid   proto.Zxid     // applied
	// Learners are those of a leader, or the observers of an observer master.
	Learners []LearnerStatus
	// What follows is a leader's.
	PendingSyncs   int
	LeaderUptimeMs int64
	Proposals      ProposalSizes
}

// A LearnerStatus is what a leader knows of a learner and its connection.
type LearnerStatus struct {
	zab.LearnerStatus
	Addr            string
	EstablishedMs   int64 // wall clock
	PacketsReceived int64
}

// ProposalSizes are sizes of transactions proposed, in bytes, -1 before the first.
type ProposalSizes struct{ Last, Min, Max int64 }

// Membership tells this server's place in the ensemble; ok is false on a server alone, and when the server stops
// meanwhile. It waits for the replica's next turn. Any goroutine but a loop's or the replica's may call it.
func (s *Server) Membership() (m Membership, ok bool) {
	if s.replica.ens == nil {
		return m, false
	}
	answer := make(chan Membership, 1)
	s.replica.post(func(r *replica) { answer <- r.ens.membership() })
	select {
	case m = <-answer:
		return m, true
	case <-s.ctx.Done():
		return m, false
	}
}

func (e *ensemble) membership() Membership {
	s := e.r.srv
	m := Membership{
		Self: e.opts.Self, State: e.state, Config: e.config, ClientAddr: e.opts.ClientAddr, LastZxid: e.r.engine.LastZxid(), Proposals: e.figures.sizes(),
	}
	switch {
	case e.leader != nil:
		m.Stage, m.Leader, m.HasLeader = e.leader.Stage(), e.opts.Self, true
		m.PendingSyncs = e.leader.PendingSyncs()
		if e.serving {
			m.LeaderUptimeMs = s.nowMs() - e.servingMs
		}
		m.Learners = e.learnersOf(e.leader)
	case e.learner != nil:
		m.Stage, m.Leader, m.HasLeader = e.learner.Stage(), e.election.Vote().Leader, true
		for _, l := range e.links {
			if !l.observer {
				m.LeaderLink = l.addr()
			}
		}
		if e.master.machine != nil {
			m.Learners = e.learnersOf(e.master.machine)
		}
	}
	return m
}

// learnersOf tells of the learners of a leader or observer master.
func (e *ensemble) learnersOf(l *zab.Leader) (list []LearnerStatus) {
	for _, l := range l.AppendLearners(nil) {
		st := LearnerStatus{LearnerStatus: l}
		if link := e.links[l.Link]; link != nil {
			st.Addr, st.EstablishedMs, st.PacketsReceived = link.addr(), link.openedMs, link.received
		}
		list = append(list, st)
	}
	return list
}

// addr is the other end; the network writes it as Java does, with a slash in front.
func (l *peerLink) addr() string { return strings.TrimPrefix(l.link.RemoteAddr(), "/") }

// ResetLearnerStats zeroes the counters of the connections to observers, if this server leads.
func (s *Server) ResetLearnerStats() {
	if s.replica.ens == nil {
		return
	}
	s.replica.postAndWait(func(r *replica) {
		for _, l := range r.ens.links {
			l.received = 0
		}
	})
}

// peerState is the value of peer_state.
func (m *Membership) peerState() string {
	return strings.ToLower(m.State.String()) + " - " + m.Stage.String()
}

// gauges are those of operations, section 5.3, that an ensemble has.
func (m *Membership) gauges() []metrics.Gauge {
	g := func(name string, v int64) metrics.Gauge { return metrics.Gauge{Name: name, Value: float64(v)} }
	list := []metrics.Gauge{g("quorum_size", int64(m.Config.VoterCount()))}
	switch m.State {
	case quorum.Following:
		observers := int64(0)
		for i := range m.Learners {
			if m.Learners[i].InStep {
				observers++
			}
		}
		return append(list, g("synced_observers", observers))
	case quorum.Leading:
	default:
		return list
	}
	var followers, nonVoting, observers int64
	for i := range m.Learners {
		switch l := &m.Learners[i]; {
		case !l.InStep:
		case l.Observer:
			observers++
		default:
			followers++
			if !l.Voter {
				nonVoting++
			}
		}
	}
	return append(list,
		g("learners", int64(len(m.Learners))), g("synced_followers", followers), g("synced_non_voting_followers", nonVoting),
		g("synced_observers", observers), g("pending_syncs", int64(m.PendingSyncs)), g("leader_uptime", m.LeaderUptimeMs),
		g("last_proposal_size", m.Proposals.Last), g("min_proposal_size", m.Proposals.Min), g("max_proposal_size", m.Proposals.Max))
}

// ensembleConf gives the lines of conf that an ensemble adds, and the member list behind them.
func (s *Server) ensembleConf() (pairs []fourlw.Pair, members string) {
	m, ok := s.Membership()
	if !ok {
		return nil, ""
	}
	o := s.opts.Ensemble
	num := func(key string, v int) fourlw.Pair { return fourlw.Pair{Key: key, Value: fmt.Sprint(v)} }
	pairs = append(pairs, num("initLimit", o.Timing.InitLimit), num("syncLimit", o.Timing.SyncLimit), num("electionAlg", 3))
	if self := m.Config.Member(m.Self); self != nil {
		pairs = append(pairs, num("electionPort", self.ElectionAddrs[0].Port), num("quorumPort", self.QuorumAddrs[0].Port), num("peerType", int(self.Role)))
	}
	if s.readOnly.Load() {
		return pairs, "" // as Java has it
	}
	return pairs, "membership: \n" + m.Config.String()
}

// ensembleFigures are counted by the replica goroutine, once per turn or event.
type ensembleFigures struct {
	looking, diffs, snaps, proposed, committed, received, learnerCommitted, revalidated *metrics.Counter
	followerSyncMs, observerSyncMs, unavailableMs, leaderUnavailableMs                  *metrics.Summary
	// Sizes of proposals; stored once per turn, anybody may load them.
	last, lowest, highest atomic.Int64
}

func newEnsembleFigures(r *metrics.Registry) *ensembleFigures {
	f := &ensembleFigures{
		looking: r.Counter("looking_count"), diffs: r.Counter("diff_count"), snaps: r.Counter("snap_count"), proposed: r.Counter("proposal_count"),
		committed: r.Counter("commit_count"), received: r.Counter("learner_proposal_received_count"),
		learnerCommitted: r.Counter("learner_commit_received_count"), revalidated: r.Counter("revalidate_count"),
		followerSyncMs: r.Summary("follower_sync_time"), observerSyncMs: r.Summary("observer_sync_time"),
		unavailableMs: r.Summary("unavailable_time"), leaderUnavailableMs: r.Summary("leader_unavailable_time"),
	}
	f.forgetSizes()
	return f
}

func (f *ensembleFigures) forgetSizes() {
	f.last.Store(-1)
	f.lowest.Store(-1)
	f.highest.Store(-1)
}

func (f *ensembleFigures) sizes() ProposalSizes {
	return ProposalSizes{Last: f.last.Load(), Min: f.lowest.Load(), Max: f.highest.Load()}
}

// noteProposals counts the proposals of a turn.
func (f *ensembleFigures) noteProposals(list []zab.Proposal) {
	f.proposed.Add(int64(len(list)))
	z := f.sizes()
	for i := range list {
		n := int64(len(list[i].Packet) - proto.ProposalOverheadBytes)
		z.Last, z.Max = n, max(z.Max, n)
		if z.Min < 0 || n < z.Min {
			z.Min = n
		}
	}
	f.last.Store(z.Last)
	f.lowest.Store(z.Min)
	f.highest.Store(z.Max)
}

// noteCommits counts what is committed between two zxids while this server serves.
func (f *ensembleFigures) noteCommits(leads bool, before, after proto.Zxid) {
	n := after - before
	if quorum.EpochOf(before) != quorum.EpochOf(after) {
		n = int64(quorum.CounterOf(after))
	}
	switch {
	case n <= 0:
	case leads:
		f.committed.Add(n)
	default:
		f.learnerCommitted.Add(n)
	}
}

// noteServing notes how long the way there took: from the beginning of the election, or of the one before it that
// led to nothing, and in the role.
func (e *ensemble) noteServing() {
	nowMs := e.r.srv.nowMs()
	e.servingMs = nowMs
	f := e.figures
	f.unavailableMs.Add(nowMs - e.downMs)
	switch {
	case e.leader != nil:
		f.leaderUnavailableMs.Add(nowMs - e.downMs)
		f.forgetSizes()
	case e.state == quorum.Observing:
		f.observerSyncMs.Add(nowMs - e.roleMs)
	default:
		f.followerSyncMs.Add(nowMs - e.roleMs)
	}
	e.downMs = 0
	// What an earlier role has left on its way will not come.
	e.r.stages.marks, e.r.stages.head = e.r.stages.marks[:0], 0
}
