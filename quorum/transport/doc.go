// Package transport carries what the machines of quorum/election and quorum/zab say: the
// connections of the election port, and the links of the quorum port. It is the only package
// of quorum with sockets, goroutines and time in it, and it decides nothing: it is told what to send
// and hands over what came.
//
// # Election port
//
// A CnxManager keeps at most one connection with each other server, by the rules of Java's
// QuorumCnxManager (quorum protocol, chapter 2): of two servers the one with the higher id opens it.
// Each peer has a queue of one notification, which a newer one replaces. What comes in waits
// in one bounded queue for Drain, announced by a wake-up call.
//
//	accept goroutine, one per address     takes connections, never reads
//	handshake goroutine, one per          reads who it is; becomes the connection's reader
//	  connection that came in
//	dial goroutine, at most one per peer  connects, says who we are; becomes the reader, too
//	writer goroutine, one per connection  sends what waits
//
// # Quorum port
//
// A Link is one connection between a learner and a leader, made by DialLeader or taken from a
// Listener. It has one reader, which hands decoded packets to the Handler in batches, and one
// writer, which writes everything that was queued since it last looked with one vectored write.
// Proposals are not copied on the way: they are queued by reference. A link that cannot keep up is
// closed when its queue holds more than it may; one that is not read from makes TCP slow its
// peer down.
//
//	replica goroutine --- Send, QueueBytes, SendWait, Flush -> queue ---> writer ---> socket
//	replica goroutine <-- Packets, Snapshot, Closed ----------- reader <----------- socket
//
// # Who ends what
//
// Every goroutine belongs to the CnxManager, Listener or Link that started it, and has ended when
// its Close returns. Close must not be called on one of those goroutines, that is, not in a
// callback; Link.Shutdown may.
//
// TLS comes in by the functions that dial and listen, SASL by Auth.
package transport
