// Package sim runs whole ensembles in one process, on one goroutine and in virtual time: the
// real elections, Zab machines, engine, request preparation, sessions, watches and log, on
// simulated disks, network and clocks, with clients that write, read and watch. One seed is one
// run, and gives the same run every time.
//
//	r := sim.Run(sim.Options{Seed: 17})
//	if r.Violation != nil {
//		fmt.Println(sim.Shrink(sim.Options{Seed: 17}, r).Report(""))
//	}
//
// Nothing but tests and tools may import it. Run may be called from several goroutines at once.
//
// # Replaying
//
//	go test ./quorum/sim                                        2,000 seeds
//	go test ./quorum/sim -run 'TestSim$' -sim.first=S -sim.seeds=N
//	go test ./quorum/sim -run 'TestSim$' -v -sim.first=S -sim.seeds=1 -sim.trace [-sim.faults=1,4] [-sim.bug=NAME]
//
// A seed decides the ensemble, its settings and a schedule of faults (plan.go) before anything
// runs, so faults can be taken out of a failing schedule until what is left is needed (Shrink).
// A trace has one line per change of state: the virtual time, the server, a mark, and words:
//
//   - up           ! crashes by a fault   x dies of an error   ? looks for a leader
//     e elects       L leads                F follows, serves    o gives up
//   - closes link  t cuts its log         s takes a snapshot   i wrote an image
//     ~ bits flip    * a fault              w warning            = the faults end
//     c gets to know a member list, in which observers are in brackets
//
// # Model of faults
//
// Everything that the faults do leaves an ensemble that can come back, so that a failure proves
// something:
//
//   - Crash: a process dies at any moment, also between two operations of its disk. The page cache
//     survives (kill), or it is lost, each sector and directory entry that was not synced
//     by chance (power), torn writes included. All servers may lose power at once. Every server
//     starts again in the end.
//
//   - Disk: a sync fails, which ends the process, and what it had to sync never gets to the disk;
//     syncs are slow; the disk is full for a while. Bits flip in older records of the log and in the
//     image, on fewer servers than half of the voters, chosen by the seed (victims). Not in
//     the newest write of a file: a flipped bit there looks like a torn write, and no log that
//     does without a second copy can tell; and not in the files of the epochs.
//
//   - Network: packets are late but in order within a connection; any direction between two
//     servers can be cut, alone (asymmetric) or with others, for a while: what is on its way
//     waits, as TCP repeats it, and the end of a connection is seen when the cut ends, or never.
//     Connections break at one end or both; a server may connect again while its old connection
//     still looks open at the leader. Of the notifications of the election only the last outlives a cut.
//
//   - Clocks run at different rates, up to 1 : 2, and processes stand still for a while.
//
//   - Clients lose their connections, move, and go away for good. Nothing is cut between them
//     and servers, so they can ask a leader that has been deposed and does not know.
//
//   - A disk is lost with all that was on it, the promises of epochs included, and replaced by an empty one; of
//     victims only, and one at a time. What its operator must do: start the server with
//     zookeeper.db.autocreate=false and without the file initialize, so that it has no say until it
//     has got a snapshot, and not before all other servers serve under one leader. Their accepted epochs are then not
//     below any that the lost disk had, so that nobody can lead in an epoch that was promised and is forgotten. The
//     other way is to take the server out of the member list and to add it again.
//
//   - Operators change the member list: they add servers, which run as observers before they are members, remove
//     them, the leader too, put one in place of another, change roles and addresses, and give whole lists, with groups
//     or without. The victims' disks lost, every list still has a quorum.
//
//   - Some ensembles have epochs of few transactions, after which the leader has no zxid left; some begin
//     with a history that ends at the last zxid that an epoch can have. Some learners acknowledge
//     what they need not.
//
// Nobody lies.
//
// # Checks
//
// After each event, as far as it matters to them (the name in a Violation):
//
//   - agreement: what servers are told to be committed is one history; nobody skips anything.
//   - digest: equal zxids, equal trees; and the digests in transactions are true.
//   - committed prefix: what a server knows to be committed is never cut off.
//   - lost write: a leader has all that was committed in earlier epochs; what a client was told to be
//     done is in the history.
//   - durability: a quorum of the newest committed member list has all that is committed on disk, at each
//     commit and whenever a server has less than before.
//   - one leader: an epoch is served by one server in one life.
//   - election: whoever is elected has the votes of a quorum in this round.
//   - config: the member lists that are committed are one sequence; no server forgets one that it has stored.
//   - epoch: a new epoch is above all that the leader was told of; a server whose current
//     epoch is e has on disk what was committed before e.
//   - session order: answers come in the order of requests; a client never sees an older state than
//     before, on whatever server; no request is done twice.
//   - reads: a read is that of the state that the server says it has.
//   - watches: the event comes before anything that the client sees of the change or of what follows, and it
//     is the first change since the read.
//   - ephemerals: they go with their session, and none is without.
//   - linearizability: writes and reads behind a sync take effect between their call and answer, by
//     their place in the history; in the end porcupine confirms it from what clients saw alone.
//   - liveness: within 200 ticks after the last fault all servers serve the same history, all
//     clients got answers, and the sessions of those that are gone have expired.
//   - protocol: no machine takes a packet of another for one that must not be sent, since nobody lies.
//   - recovery: no server but a victim finds its disk damaged.
//   - panic: no machine, engine or log has found an invariant of its own broken.
//
// # Bugs of ZooKeeper
//
// Each has a stand-in that TestBugs plants, among mistakes which nobody is known to have made:
//
//	ZOOKEEPER-2845               TreeSurvivesCut
//	ZOOKEEPER-3023, 3911, 4646   AckNewLeaderBeforeDurable
//	ZOOKEEPER-3104               NewLeaderBeforeHistory
//	ZOOKEEPER-3642               ReceivedTreeVotes
//	ZOOKEEPER-4394               PendingForgotten
//	ZOOKEEPER-4643               EpochBeforeHistory
//	ZOOKEEPER-4685               none: some learners acknowledge as they do there, which a leader has to bear
//	ZOOKEEPER-4712               AppendsOutliveRole
//	ZOOKEEPER-4785               AckBeforeDurable, AsyncLogLostOnLeader
//	ZOOKEEPER-4925               SyncNotInWindow
//
// # Rules of a driver
//
// driver.go, disk.go and front.go are the model of what a server has to do around the machines.
// What they do beyond the comments of package zab:
//
//  1. One turn: step the machine for every event; prepare all writes, append them to the log,
//     step InPropose; EndTurn; do the outputs. What the outputs bring up (forwarded writes,
//     answers to revalidation, the end of a cut) is taken in the same turn.
//  2. A machine that has given up gets no proposals: ask Serving right before preparing.
//  3. A sync is stepped, be it of a local client or of a learner, only when all writes in front of
//     it have been proposed; in the middle of a turn these are prepared first, else the sync is
//     answered before them. And nothing of a session is sent on its way behind a sync that is
//     not answered: the write could be applied before, and be shown to a read between the two.
//  4. When an epoch cannot be stored because the disk is full, nothing that follows may be done:
//     the machine is dropped. Any other error ends the process.
//  5. Whoever has no space for its log neither leads nor looks for a leader until it has.
//  6. A leader that hears of a newer accepted epoch (zab.ErrNewerEpoch) resigns: that server
//     can never follow otherwise.
//  7. A server that begins to lead first applies all of its log. Its image may be made only of
//     what is applied while it serves.
//  8. A cut rebuilds the tree from image and log if that has gone further. If the image is beyond
//     the cut, the cut has failed.
//  9. The image that replaces a history says so, and a start that finds it without the log
//     begun anew behind it does that.
//  10. Damage, of log or image, makes a server one without history: it votes and follows with zxid
//     -1 until it has got a snapshot. An image may be done without if the log is complete.
//  11. A start that finds the image ahead of the log, for what was committed need not have been
//     durable here, begins the log anew behind the image. Otherwise the window begins at the
//     newest record of the log, not at the image, whose zxid may be the start of an epoch.
//  12. OutServe makes all that a learner has logged committed, whether or not OutCommit came.
//  13. A log from which reading for a learner failed is not used for that any more.
//  14. A leader whose epoch has no zxid left prepares nothing more and resigns. What it has not
//     prepared is lost with the connections of its clients.
//  15. A proposed member list is stored before anything that follows in the outputs: the proposal is not logged by a
//     learner, nor sent by the leader, before it is. One that is committed is stored, too, but the disk
//     may be full then: it was stored when it was proposed, or comes again with the next notification.
//  16. A server that is told to give up for a leader that a reconfig has designated takes its role under that one
//     without an election, unless it cannot vote or has no space for its log.
//  17. A reconfig is judged against the newest one that has been prepared, in this turn too.
package sim
