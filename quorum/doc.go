// Package quorum is the vocabulary that the servers of an ensemble share: ids, epochs and
// zxids, roles and states, the member list with its quorum rules, votes, and the bytes of
// every packet and notification.
//
// It is pure: no I/O, no clock, no goroutine, no randomness, and nothing depends on the order
// of a map. Above it stand quorum/election (who shall lead), quorum/zab (discovery,
// synchronisation, broadcast), quorum/transport (the sockets of both) and quorum/sim (whole
// ensembles under simulation); all of them and the server may call it from any goroutine,
// each value being used by one goroutine at a time. A *Config never changes after
// ParseConfig or NewConfig returned it and may be shared.
//
// # Packets
//
// The quorum port carries packets back to back, without framing (packet.go):
//
//	packet = [type i32][zxid i64][data: len i32, -1 is null][authinfo: count i32, -1 is null]
//
// A PROPOSAL is never encoded here: the leader's preparation makes its bytes with
// proto.BeginProposal and proto.EndProposal, and the same bytes are the payload of the log
// record and what each link writes. For the other direction a decoded Packet keeps its own
// bytes in Raw, so that a learner logs what it received as it received it.
//
// The raw tree that follows a SNAP packet is no packet; SnapScanner finds its end.
//
// # Notifications
//
// The election port carries length-prefixed notifications (notification.go), each with the
// sender's vote and its committed member list.
//
// # Between Zabra servers
//
// LearnerInfo and LEADERINFO carry feature bits behind what Java reads of them (features.go).
// A feature is on when both sides have said it; a Java peer says nothing, so the link with it
// carries nothing that Java does not know.
package quorum
