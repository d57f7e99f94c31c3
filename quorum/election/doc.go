// Package election is Fast Leader Election as a pure state machine: it decides which server
// of an ensemble shall lead, and tells who asks when that is decided. Source: quorum protocol,
// sections 3.1 to 3.6, and Java's FastLeaderElection, whose peers it elects together with.
//
// # Use
//
// One Election lives as long as its server, driven by one goroutine. Time is a Duration since an
// origin of the driver's choice, which never goes back. Every call that may have something to say
// appends to a slice of Output, to be carried out in order, each before the next:
//
//	e := election.New(self, election.Options{}, rng)
//	out = e.Start(now, election.History{LastZxid: z, CurrentEpoch: c}, committed, lastSeen, out[:0])
//	out = e.Receive(now, from, notification, out[:0])  // from the connection manager
//	out = e.Tick(now, out[:0])                         // not later than e.NextDeadline()
//
// Start begins an election (state LOOKING), Decided ends it. From then on until the next Start
// the Election answers the notifications of servers that look; SetPeerEpoch and SetConfigs keep
// its answers true, Assume replaces an election after a reconfig.
//
// # What is promised
//
// A Decided vote was cast in its round by a quorum of the committed config and, if that is newer,
// by one of the last-seen config; or a quorum follows its leader, which itself says that it leads.
// That is all an election can promise: two leaders may be decided at the same time when
// messages are lost, and Zab's discovery, which needs a quorum's promise, lets at most one of them
// lead an epoch.
//
// # Where it differs from Java
//
// All differences are invisible to a Java peer, but for the times at which messages come.
//
//   - Java waits 200 ms for a better vote after a quorum agreed (finalizeWait). This machine decides
//     at once when nobody is left that could have one: every voter has cast the same vote in this
//     round, or ran before and is known to be down (PeerDown).
//   - The wait is not prolonged by votes that change nothing, and votes that come meanwhile are counted.
//   - A vote of this round that lost against ours, from a voter that has not been told ours since it
//     began to look, is answered. Java leaves that to the next timeout, 200 ms later at least, in
//     the frequent case that one server sees its leader die a moment before another does.
//   - A server whose connection comes up is sent the current vote and the interval between
//     repetitions begins anew (PeerUp), where Java may stay silent for up to a minute.
//   - A server without a vote and a looking voter do not answer each other's answers: such an answer
//     is given where it can matter (isNobodyTo), and the same one not without a pause.
//   - A new yes of the oracle of two servers (SetOracle) counts at once, and the first one no earlier than a majority would;
//     Java asks for it at the repetitions.
//   - A newer config is not adopted with reconfig disabled; Java restarts its election for ever.
package election
