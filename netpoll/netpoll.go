package netpoll

import (
	"crypto/tls"
	"errors"
	"net/netip"
)

// Reasons given to Handler.Closed, and errors of Conn.Write. Compare with errors.Is.
var (
	// ErrClosed: the connection is closed, or closing, and takes no more output.
	ErrClosed = errors.New("netpoll: connection closed")
	// ErrFrameLength: a frame's length was negative or over Options.FrameMaxBytes.
	ErrFrameLength = errors.New("netpoll: frame length out of range")
	// ErrInboundOverflow: more than Options.InboundMaxBytes arrived while the handler took no frames.
	ErrInboundOverflow = errors.New("netpoll: too many bytes buffered inbound")
	// ErrSlowConsumer: the peer does not read; Options.OutboundMaxBytes were waiting for it.
	ErrSlowConsumer = errors.New("netpoll: slow consumer")
	// ErrFlushTimeout: output was still waiting Options.FlushTimeout after CloseAfterFlush.
	ErrFlushTimeout = errors.New("netpoll: flush timed out")
	// ErrLoopEnded is handed to Options.OnFatal: an event loop ended without being asked to.
	ErrLoopEnded = errors.New("netpoll: event loop ended unexpectedly")
)

// Handler is what a server implements. All calls for one loop and its connections are made on that loop,
// one at a time and never nested: in particular Closed is never called while another call is running.
// Calls of different loops run in parallel. A Handler must not block.
type Handler interface {
	// Opened is called when a connection has been accepted (for TLS: has completed its handshake). If it
	// returns false the connection is closed at once, and no other call is made for it, not even Closed.
	Opened(c Conn) bool

	// Frames is called when at least one whole frame is there, at most once per readiness. The handler calls
	// it.Next until that returns false, or until it wants to take no more (throttling). Frames not taken stay
	// buffered and are offered by a later Frames call: after more bytes have come, or after c.Resume. Payloads are lent
	// until Frames returns; the iterator must not be kept either.
	Frames(c Conn, it *Frames)

	// Word is called for a four-letter word at the start of a frame while SetHandshakeDone has not been called. word is
	// one of Options.Words; arg lends the ArgBytes that followed it until return. Input after that is discarded and
	// the end of input is not looked at, so the answer may be written later and to a peer that has shut down its sending side.
	// The handler writes the answer and calls c.CloseAfterFlush.
	Word(c Conn, word string, arg []byte)

	// Closed is called exactly once for each connection for which Opened returned true. reason is nil when the peer closed or
	// this side did by Close, CloseAfterFlush or Stop. The connection takes no output any more.
	Closed(c Conn, reason error)

	// Woken is called after Loop.Wake: once for any number of Wakes before it runs.
	Woken(l Loop)
}

// Loop is one event loop.
type Loop interface {
	// Index is the loop's number, 0..NumLoops-1.
	Index() int
	// Wake asks for one Handler.Woken call on the loop. Any goroutine may call it; it does not block, and it
	// costs an atomic load when a wake-up is already due.
	Wake()
	// Post runs f on the loop, after what was posted before. Any goroutine may call it. It returns false, and f
	// will not run, when the loop is stopping; after true f runs, unless OnFatal is reported. f may do whatever a
	// Handler call may.
	Post(f func()) bool
}

// Conn is one connection. Methods are for the connection's loop only (inside a Handler call or a posted function) unless they say otherwise.
type Conn interface {
	// ID is unique in the process and never reused. Any goroutine.
	ID() uint64
	// Loop is the loop that owns the connection, for its whole life. Any goroutine.
	Loop() Loop
	// RemoteAddr and LocalAddr keep their values after the connection closed. IPv4 addresses are never
	// in their IPv6-mapped form. Any goroutine.
	RemoteAddr() netip.AddrPort
	LocalAddr() netip.AddrPort
	// Context returns what SetContext stored.
	Context() any
	SetContext(any)
	// Write sends b, which it borrows until return: what the socket does not take at once is copied and sent
	// later, in order. One Write per readiness is worth ten times one Write per frame. b carries its own framing.
	// It returns ErrClosed when the connection is closed or closing, and ErrSlowConsumer when OutboundMaxBytes
	// were waiting already (the connection is then closed). A Write never calls the handler: Closed comes after
	// the current call returned.
	Write(b []byte) error
	// OutboundBuffered is the count of bytes written but not yet taken by the socket.
	OutboundBuffered() int
	// InboundBuffered is the count of bytes received but not yet taken as frames, as of the last Frames call's return.
	InboundBuffered() int
	// Resume asks for a Frames call for frames left by an earlier one. It does nothing when no whole frame is
	// there. Any goroutine.
	Resume()
	// CloseAfterFlush closes the connection once all output has been handed to the socket; input is discarded from now on.
	// It is bounded by Options.FlushTimeout.
	CloseAfterFlush()
	// Close closes the connection, asynchronously; output still waiting may be lost. Any goroutine.
	Close()
	// SetHandshakeDone stops looking for four-letter words, from the next frame on.
	SetHandshakeDone()
	HandshakeDone() bool
	// TLS returns the state of a TLS connection (peer certificates and so on), nil for a plain one. Any goroutine.
	TLS() *tls.ConnectionState
}
