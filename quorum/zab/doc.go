// Package zab is the atomic broadcast of an ensemble as two pure state machines: Leader for the
// server that was elected, Learner for those that follow or observe it. A machine lives for one
// time of leading, or for one connection to a leader; then it gives up, and the election
// decides again.
//
// Nothing here does I/O, starts a goroutine, reads a clock or draws a random number, and nothing
// depends on the order of a map. The driver tells what happened (Input) and does what
// the machine wants (Outputs): in production the server's replica goroutine, in tests and
// quorum/sim a script. Each machine, with its Window, belongs to one goroutine.
//
//	for each turn {
//		for each event {
//			m.Step(now, event, &out)
//		}
//		m.EndTurn(now, &out)
//		for i := range out.List {
//			do(&out.List[i])        // in this order, each done before the next
//		}
//		out.Reset()
//	}
//
// What one turn brings together is sent, committed and applied together: a range of proposals
// per link, a range of COMMITs per link, one OutCommit. In steady state a turn allocates nothing.
//
// # The leader
//
//	  Start                                            each learner's link
//	    |                                                (connects)
//	    v          FOLLOWERINFO / OBSERVERINFO               |
//	discovery  <----------------------------------------- peerNew
//	    | accepted epochs of a quorum: fix the epoch         |
//	    | PersistAcceptedEpoch                               v
//	    | LEADERINFO -------------------------------> peerWaitEpoch
//	    v                    ACKEPOCH                        v
//	ackEpoch   <----------------------------------------- peerAckEpoch
//	    | promises of a quorum                               v
//	    | PersistCurrentEpoch                           peerWaitSync
//	    | DIFF | TRUNC | StreamSnap, StreamDiff ------->     v
//	    |                                               peerStreaming
//	    | history out of the window, NEWLEADER -------->     v
//	    v                  ACK of NEWLEADER                  |
//	newLeader  <----------------------------------------- peerSynced
//	    | a quorum has the history                           v
//	    | Commit, Serve                                 peerReady
//	    | UPTODATE ------------------------------------>     v
//	    v        ACK, PING, REQUEST, REVALIDATE              |
//	serving    <----------------------------------------- peerServing
//	    |         PROPOSAL, COMMIT, PING ... ---------->
//	    v
//	  GiveUp   too few followers, no zxid left, time is up, InResign
//
// A learner that comes later runs through the right column alone.
//
// # The learner
//
//	InLinkOpened: FOLLOWERINFO | OBSERVERINFO -->
//	    v
//	  info      <-- LEADERINFO.  PersistAcceptedEpoch, ACKEPOCH -->
//	    v
//	ackEpoch    <-- DIFF --------------------------------.
//	    |       <-- TRUNC: cutting, TruncateLog ---------|  InTruncated
//	    |       <-- SNAP: tree, ReceiveTree -------------|  InTreeReceived
//	    v                                                |
//	 syncing  <------------------------------------------'
//	    |       <-- PROPOSAL, COMMIT: Append, Commit
//	    |       <-- NEWLEADER
//	    v
//	 storing    TakeSnapshot, InSnapshotTaken (after SNAP)
//	    |       InLogDurable: the history is on disk.  PersistCurrentEpoch, ACK -->
//	    v
//	  ready     <-- UPTODATE.  ACK -->  Serve
//	    v
//	 serving    <-- PROPOSAL: Append; InLogDurable: ACK -->    <-- COMMIT: Commit
//	    v
//	  GiveUp    silence, a gap, an old epoch, another role, connection closed
//
// # Invariants
//
//   - The order on the learner's disk is: history, then currentEpoch, then the ACK of
//     NEWLEADER. A server whose currentEpoch is e has the whole history with which e began.
//     The same goes for the leader before it stores its own.
//   - What replaces a history on disk holds everything that the history held and that may be
//     committed. So a tree replaces it only together with all that is sent behind it.
//   - acceptedEpoch is on disk before anybody hears of it.
//   - A proposal is committed when a quorum of each config that it was proposed under has it on
//     disk, the leader counting by its own InLogDurable alone, and everything before it is
//     committed. A follower counts from its ACK of NEWLEADER on, and on its present connection
//     only.
//   - A learner logs only what follows what it has: the next zxid, or counter 1 of a later epoch.
//   - No answer to a sync shows less than what was committed anywhere when it was asked for.
//
// # Sending history
//
// A learner that misses more than the Window holds is first sent an image or the log on disk, by the
// driver. While that lasts nothing is queued for it: when it is done the machine looks again
// where the learner is, and has more of the log sent until the rest is in the window. From
// there on, in the same step, it gets what all get. So a slow learner costs no memory.
//
// # Where this differs from Java
//
//   - TRUNC is never sent across epochs, nor are proposals behind a TRUNC in the same sync
//     except outstanding ones; SNAP is sent instead (decide.go).
//   - The ACK of NEWLEADER is waited for by its zxid; Java takes any first ACK for it.
//   - ACKs that came before that of NEWLEADER, as some Java releases send them, count after it.
//   - A learner logs what is committed during a TRUNC sync too, so no log has a hole.
//   - A learner refuses a gap at once, also in steady state and in front of the first proposal,
//     and asks for a snapshot next time.
//   - A sync is confirmed by a round of PINGs (round.go).
//   - A learner that joins while a reconfig is pending does not take its config for committed:
//     the leader does not offer it, nor does a learner accept it. A server that had it might
//     elect, with others that it tells, without the old quorum.
//   - A yes of the oracle of two servers commits what the leader itself has on disk, as soon as the other is gone, and
//     waits a tick at the start for one that voted; Java commits what nobody has, at the next tick, and does not wait (oracle.go).
//   - The handshake from before 3.4 (section 4.9) is refused.
//
// Sections are those of the quorum protocol's specification.
package zab
