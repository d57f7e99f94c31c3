package server

import (
	"context"
	"io"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/transport"
)

// peerNetwork is what an ensemble needs of the network between servers; quorum/transport is it in
// production, memory in tests. Callbacks come on goroutines of the network.
type peerNetwork interface {
	// OpenElection opens the election port of this server. The configs are those that addresses are looked up in, the
	// committed one first.
	OpenElection(committed, lastSeen *quorum.Config, h electionHandler) (electionPort, error)
	// ListenQuorum opens the quorum port; opened is given each connection, which does nothing before Start.
	ListenQuorum(self quorum.Member, opened func(peerConn)) (io.Closer, error)
	// DialQuorum connects to the leader, trying for as long as patience says.
	DialQuorum(ctx context.Context, leader quorum.Member, patience time.Duration) (peerConn, error)
}

// An electionHandler hears what happens on the election port.
type electionHandler struct {
	Message  func(from quorum.ServerID, n quorum.Notification)
	Up, Down func(id quorum.ServerID)
}

// An electionPort sends notifications.
type electionPort interface {
	// Send borrows n until return; a newer one takes the place of one that waits.
	Send(to quorum.ServerID, n *quorum.Notification)
	// Reconfigure replaces the configs. With restart all connections are closed and made anew, and the port moves if
	// this server's addresses have changed.
	Reconfigure(committed, lastSeen *quorum.Config, restart bool)
	// Shut ends all connections at once and takes no more; Close waits for what it has begun, too.
	Shut()
	Close() error
}

// A peerConn is one connection of the quorum port.
type peerConn interface {
	// Start begins to read. packets lends packets until return, and reading waits for it; closed comes once,
	// last.
	Start(packets func([]quorum.Packet), closed func(error))
	// Queue borrows b until return. QueueShared takes ref, which may be nil and keeps b alive, and gives it back when
	// b, which nobody may change any more, is written or never will be; QueueInform is the same for the INFORM of
	// the transaction in proposal. What is queued goes out with the next Flush, in one write. None of these ever
	// blocks: a peer that is stuck loses its connection, and then they do nothing.
	Queue(b []byte)
	QueueShared(b []byte, ref transport.Ref)
	QueueInform(proposal []byte, ref transport.Ref)
	Flush()
	// SetShared tells how many bytes of what may be queued are in memory anyway: so much more may wait before
	// the peer counts as stuck.
	SetShared(bytes int)
	// SendWait takes b, queues and flushes it, and blocks while much waits already.
	SendWait(b []byte) error
	// ReceiveTree hands what follows a SNAP packet to f as a stream, which gives back what it read too much.
	// SNAP is always the last of the packets of a callback: nothing is read behind it before this call,
	// which blocks.
	ReceiveTree(f func(io.Reader) (rest []byte, err error)) error
	// Close does not wait for callbacks.
	Close(reason error)
	RemoteAddr() string
}
