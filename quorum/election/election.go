package election

import (
	"math"
	"math/rand"
	"time"

	"zabra.dev/zabra/quorum"
)

// Options tune an election; zero values mean Java's defaults.
type Options struct {
	// ReconfigEnabled lets a LOOKING server adopt a newer config that it is told of.
	ReconfigEnabled bool
	// MinNotificationInterval is the time after which a vote is repeated; it doubles with each
	// repetition up to MaxNotificationInterval. Defaults 200 ms and 60 s.
	MinNotificationInterval, MaxNotificationInterval time.Duration
	// FinalizeWait is how long a better vote is waited for once a quorum agrees. Default 200 ms.
	FinalizeWait time.Duration
	// ObserverDelayMax bounds the random time that an observer which lost its leader waits before
	// it looks for the next. Default 200 ms; negative: none.
	ObserverDelayMax time.Duration
	// StaleVotes is a mistake, to be planted in tests, which have to find it: votes of earlier rounds count.
	StaleVotes bool
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.MinNotificationInterval, 200*time.Millisecond)
	set(&o.MaxNotificationInterval, 60*time.Second)
	set(&o.FinalizeWait, 200*time.Millisecond)
	set(&o.ObserverDelayMax, 200*time.Millisecond)
	return o
}

// History is what a server's own vote is made of (quorum protocol, section 3.2).
type History struct {
	// LastZxid is the highest zxid in log and snapshot; -1 for a server that must not vote
	// because its data directory is empty and was not declared new.
	LastZxid quorum.Zxid
	// CurrentEpoch is the epoch whose history the server holds.
	CurrentEpoch quorum.Epoch
}

// Kind tells which fields of an Output count.
type Kind uint8

const (
	// Send: give Notification to the connection manager for the server To.
	Send Kind = iota + 1
	// Decided: the election is over. Vote.Leader is the leader, Vote.State what this server is now.
	Decided
	// AdoptConfig: Config, newer than the committed one, is the committed config from now on: write
	// it (section 1.6), take the role it gives. If Restart, its members differ: close the connections
	// of the election port and begin with the new addresses before the outputs that follow.
	AdoptConfig
	// PeerLooking: this server leads and From looks for a leader. A leader that still waits for epochs
	// may give up when From is one of its electors (leader.maxTimeToWaitForEpoch).
	PeerLooking
	// TimedOut: nothing was decided for Interval, and the votes are repeated; for the log.
	TimedOut
)

// Output is something for the driver to do.
type Output struct {
	Kind         Kind
	To           quorum.ServerID     // Send
	From         quorum.ServerID     // PeerLooking
	Notification quorum.Notification // Send
	Vote         quorum.Vote         // Decided
	Electors     []quorum.ServerID   // Decided, when this server leads: who voted for it, itself included
	Config       *quorum.Config      // AdoptConfig
	Restart      bool                // AdoptConfig
	Interval     time.Duration       // TimedOut: until the next repetition
}

// Never is the deadline of an Election that waits for nothing but messages.
const Never time.Duration = math.MaxInt64

// Election is one server's part in all its elections. It is not safe for concurrent use.
type Election struct {
	self quorum.ServerID
	opts Options
	rng  *rand.Rand

	committed, lastSeen *quorum.Config
	history             History
	state               quorum.State
	// round is Java's logicalclock: it rises with every election and falls only when a running
	// ensemble is joined, or to 0 with a restart for a new config.
	round int64
	// current is the result of the last election, what this server tells while it does not look.
	current quorum.Vote
	started bool // Start was called before
	oracle  quorum.Oracle
	answers []answer
	// known has the voters that were heard of since this server was started.
	known []quorum.ServerID

	looking lookup
}

// lookup is the state of the election that is going on; it counts only while state is Looking.
type lookup struct {
	proposal quorum.Vote // leader, zxid and peer epoch proposed in e.round
	// votes holds the last vote of each voter in this round, outside the last vote of each that
	// is FOLLOWING or LEADING in whatever round.
	votes, outside ballots
	// told has the voters that were sent the current proposal as an answer to a lesser one.
	told []quorum.ServerID
	// down has the voters that are known not to run.
	down []quorum.ServerID
	own  []quorum.Vote // votes to oneself on their way

	interval   time.Duration // until the repetition after the next one
	beginsAt   time.Duration // Never, or when an observer's delay ends: nothing is sent before
	repeatAt   time.Duration
	finalizeAt time.Duration // Never, or when the agreed proposal is final
}

// New returns the Election of server self, which does nothing until Start. It takes rng.
func New(self quorum.ServerID, opts Options, rng *rand.Rand) *Election {
	return &Election{self: self, opts: opts.withDefaults(), rng: rng}
}

// Start begins an election: at the start of the server and each time it lost its leader or its
// leadership. committed and lastSeen are the member lists of section 1.6; lastSeen may be nil or
// equal to committed, and has no say unless MayBeCommitted.
func (e *Election) Start(now time.Duration, h History, committed, lastSeen *quorum.Config, out []Output) []Output {
	lost := e.started && e.state == quorum.Observing
	e.history = h
	if lastSeen != nil && !lastSeen.MayBeCommitted(h.CurrentEpoch, h.LastZxid) {
		lastSeen = nil
	}
	e.setConfigs(committed, lastSeen)
	if !e.started {
		e.started = true
		e.current = quorum.Vote{Leader: e.self, Zxid: h.LastZxid, ElectionEpoch: -1, PeerEpoch: h.CurrentEpoch}
	}
	e.state = quorum.Looking
	e.looking = lookup{beginsAt: Never, repeatAt: Never, finalizeAt: Never}
	if e.role() == quorum.Observer && lost && e.opts.ObserverDelayMax > 0 {
		e.looking.beginsAt = now + time.Duration(e.rng.Int63n(int64(e.opts.ObserverDelayMax)+1))
		return out
	}
	return e.begin(now, out)
}

// State returns what this server is doing as far as the election knows.
func (e *Election) State() quorum.State { return e.state }

// Round returns the current round, "logicalclock".
func (e *Election) Round() int64 { return e.round }

// Vote returns the result of the last election.
func (e *Election) Vote() quorum.Vote { return e.current }

// Proposal returns the vote that this server casts while it looks; it means nothing else.
func (e *Election) Proposal() quorum.Vote { return e.proposal() }

// SetPeerEpoch replaces the epoch in the current vote: a learner calls it once it is in sync, a
// leader once it serves, with the new epoch.
func (e *Election) SetPeerEpoch(epoch quorum.Epoch) { e.current.PeerEpoch = epoch }

// SetConfigs replaces the member lists while the server leads, follows or observes. A looking
// server gets its lists with Start.
func (e *Election) SetConfigs(committed, lastSeen *quorum.Config) {
	if e.state != quorum.Looking {
		e.setConfigs(committed, lastSeen)
	}
}

// Assume makes leader, whom a reconfig designated, the current leader without an election; zxid is
// that of the reconfig. The state follows from the role that the committed config gives
// (quorum protocol, sections 8.4 and 8.5). It returns the new state.
func (e *Election) Assume(leader quorum.ServerID, zxid quorum.Zxid) quorum.State {
	e.current = quorum.Vote{Leader: leader, Zxid: zxid, ElectionEpoch: -1, PeerEpoch: -1}
	e.state = e.stateUnder(leader)
	return e.state
}

// NextDeadline returns the time at which Tick must be called at the latest, or Never.
func (e *Election) NextDeadline() time.Duration {
	if e.state != quorum.Looking || !e.started {
		return Never
	}
	return min(e.looking.beginsAt, e.looking.repeatAt, e.looking.finalizeAt)
}

func (e *Election) setConfigs(committed, lastSeen *quorum.Config) {
	e.committed, e.lastSeen = committed, nil
	if lastSeen != nil && lastSeen.Version > committed.Version {
		e.lastSeen = lastSeen
	}
}

func (e *Election) role() quorum.Role { return e.committed.RoleOf(e.self) }

// isVoter reports whether id is a voter of the committed or of the last-seen config.
func (e *Election) isVoter(id quorum.ServerID) bool {
	return e.committed.IsVoter(id) || (e.lastSeen != nil && e.lastSeen.IsVoter(id))
}

// eachVoter calls f for each voter of both configs, by id within each config, until f is false.
// It reports whether f never was.
func (e *Election) eachVoter(f func(quorum.ServerID) bool) bool {
	for i := range e.committed.Members {
		if m := &e.committed.Members[i]; m.Role == quorum.Participant && !f(m.ID) {
			return false
		}
	}
	if e.lastSeen != nil {
		for i := range e.lastSeen.Members {
			m := &e.lastSeen.Members[i]
			if m.Role == quorum.Participant && !e.committed.IsVoter(m.ID) && !f(m.ID) {
				return false
			}
		}
	}
	return true
}

func (e *Election) stateUnder(leader quorum.ServerID) quorum.State {
	switch {
	case leader == e.self:
		return quorum.Leading
	case e.role() == quorum.Observer:
		return quorum.Observing
	}
	return quorum.Following
}

// decide ends the election with v, which some of votes support.
func (e *Election) decide(v quorum.Vote, votes ballots, out []Output) []Output {
	var electors []quorum.ServerID
	if v.Leader == e.self {
		for i := range votes {
			if sameVote(votes[i].vote, v) {
				electors = append(electors, votes[i].from)
			}
		}
	}
	e.state = e.stateUnder(v.Leader)
	e.current = quorum.Vote{Leader: v.Leader, Zxid: v.Zxid, ElectionEpoch: v.ElectionEpoch, PeerEpoch: v.PeerEpoch}
	e.looking = lookup{}
	decided := e.current
	decided.State = e.state
	return append(out, Output{Kind: Decided, Vote: decided, Electors: electors})
}
