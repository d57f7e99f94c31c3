// Package server is a ZooKeeper server process: it joins the event loops of netpoll, the
// data tree of engine, the log of wal and the image of snapshot into one pipeline.
//
// # One writer, many readers
//
// The replica goroutine (replica.go) is the only writer. It owns request preparation, the
// session tracker and every change of the tree, and works in turns: take all that waits,
// prepare, append once to the log, apply what has become durable, hand replies over.
//
// Each event loop (loop.go) has a gate, a mutex that guards two things: the loop's right to
// read the tree, and the state of the loop's connections (outbound bytes, queues, watches).
// A loop holds its own gate while it serves a batch of frames; the replica holds all gates
// while it applies. What the replica has to tell a connection it appends to that
// connection's outbound bytes before it lets the gates go, so that
//
//   - a client is never shown a state before it was sent the watch events that led there,
//   - the zxid in each reply is exactly that of the state which the reply shows,
//   - no lock is shared by two loops.
//
// Gates are taken in the order of loop indexes, the checkpoint's gate last.
//
// # Order within a session
//
// Writes go to the replica as soon as they are read. A read that stands behind an unfinished
// write of its connection waits in the connection's queue (conn.go). Whoever finishes the
// write, the replica, leaves the waiting reads to the loop, unless the next write of the same
// connection is about to be applied: then the replica serves them first.
//
// The pieces in the order of a request's life: loop.go, handshake.go, dispatch.go, reads.go,
// replica.go, turn.go, events.go, reply.go; beside them sessions.go, reaper.go,
// checkpoint.go, recovery.go. A member of an ensemble has the ensemble*.go files on top: ensemble_order.go keeps
// answers in order, ensemble_local.go has the sessions that one server alone knows, ensemble_readonly.go the reads
// without a leader, ensemble_space.go what becomes of a member whose disk is full.
package server
