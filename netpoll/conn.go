package netpoll

import (
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"
)

// transport moves the bytes of one connection. All methods are called on the connection's loop.
type transport interface {
	// write borrows b until return. It may call loop.gone from inside.
	write(b []byte)
	// buffered is the count of bytes written and not yet taken by the socket.
	buffered() int
	// pause stops and restarts the reading of input.
	pause(on bool)
	// close closes at once and calls loop.gone before it returns. With drain, input that has arrived is read and dropped first
	// (a bounded amount), because closing a socket with unread input resets the connection and may destroy output the peer has not read.
	close(drain bool)
	tls() *tls.ConnectionState
}

type connState uint8

const (
	stateOpen     connState = iota
	stateFlushing           // CloseAfterFlush was called; output goes out, input is dropped
	stateDoomed             // to be closed when the current handler call has returned
	stateGone               // the transport is closed
)

// conn is the part of a connection that all transports share. Fields without a comment on concurrency belong to the loop.
type conn struct {
	// Set before Opened, then constant.
	id            uint64
	l             *loop
	tr            transport
	remote, local netip.AddrPort

	ctx           any
	state         connState
	handshakeDone bool
	discard       bool // a word was seen: input is dropped
	paused        bool
	opened        bool // Opened returned true: Closed is owed
	queued        bool // in l.todo
	reason        error
	flushBy       time.Time // for stateFlushing
	slot          int       // index in l.conns, -1 when not there

	// pend holds bytes received and not taken; those from pendOff on. nil when there are none.
	pend    *buffer
	pendOff int

	// flushWait tells a transport with a writer of its own that the loop waits for the output to drain.
	flushWait atomic.Bool
	// One pending request each, so that any number of calls cost one entry in the loop's lists.
	resumeDue, closeDue atomic.Bool
}

var _ Conn = (*conn)(nil)

// lastConnID makes ids unique in the process.
var lastConnID atomic.Uint64

func (c *conn) init(l *loop, tr transport, remote, local netip.AddrPort) {
	c.id = lastConnID.Add(1)
	c.l, c.tr, c.slot = l, tr, -1
	c.remote, c.local = unmapAddr(remote), unmapAddr(local)
}

func unmapAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (c *conn) ID() uint64                 { return c.id }
func (c *conn) Loop() Loop                 { return c.l }
func (c *conn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *conn) LocalAddr() netip.AddrPort  { return c.local }
func (c *conn) Context() any               { return c.ctx }
func (c *conn) SetContext(v any)           { c.ctx = v }
func (c *conn) SetHandshakeDone()          { c.handshakeDone = true }
func (c *conn) HandshakeDone() bool        { return c.handshakeDone }
func (c *conn) TLS() *tls.ConnectionState  { return c.tr.tls() }

func (c *conn) OutboundBuffered() int {
	if c.state == stateGone {
		return 0
	}
	return c.tr.buffered()
}

func (c *conn) InboundBuffered() int {
	if c.pend == nil {
		return 0
	}
	return len(c.pend.b) - c.pendOff
}

func (c *conn) Write(b []byte) error {
	if c.state != stateOpen {
		return ErrClosed
	}
	if len(b) == 0 {
		return nil
	}
	if c.tr.buffered() >= c.l.opts.OutboundMaxBytes {
		c.fail(ErrSlowConsumer)
		return ErrSlowConsumer
	}
	c.tr.write(b)
	if c.state == stateGone {
		return ErrClosed
	}
	return nil
}

func (c *conn) Resume() {
	if !c.resumeDue.Load() && c.resumeDue.CompareAndSwap(false, true) {
		c.l.enqueue(&c.l.mu.resumes, c)
	}
}

func (c *conn) Close() {
	if c.closeDue.CompareAndSwap(false, true) {
		c.l.enqueue(&c.l.mu.closes, c)
	}
}

func (c *conn) CloseAfterFlush() {
	if c.state == stateOpen {
		c.state = stateFlushing
		c.l.later(c)
	}
}

// fail closes the connection for reason after the current handler call.
func (c *conn) fail(reason error) {
	if c.state == stateOpen || c.state == stateFlushing {
		c.state = stateDoomed
		c.reason = reason
		c.l.srv.count(reason)
		c.l.later(c)
	}
}
