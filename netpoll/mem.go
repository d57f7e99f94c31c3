package netpoll

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"
)

// Mem is the in-memory implementation, for tests and the simulator: no goroutine, no clock, no
// randomness. No handler is called but in Step, which does one thing at a time in the order in which the
// causes came up. A Mem, its peers and its loops belong to one goroutine.
type Mem struct {
	srv   *Server
	clock time.Time
	queue []memEvent // due events, in order
	peers int        // dialled so far, for addresses
}

// memEvent is a loop to be run or, if conn is set, a connection with input.
type memEvent struct {
	l *loop
	c *memConn
}

// memConn is the server's side of a connection.
type memConn struct {
	conn
	m      *Mem
	in     [][]byte // chunks on their way
	eof    bool     // the peer has shut down its sending side, after in
	err    error    // of a peer's Reset
	due    bool     // in m.queue
	held   bool     // paused
	out    []byte   // written and not taken by the peer
	window int      // what the peer takes before it has to Receive; negative: everything
	got    []byte   // taken and not yet received
	closed bool     // by the server or by a reset
}

// MemPeer is the client's side of an in-memory connection.
type MemPeer struct{ c *memConn }

// NewMem makes loops for h. Options about sockets are ignored.
func NewMem(opts Options, h Handler) (*Mem, error) {
	s, err := newServer(opts, h)
	if err != nil {
		return nil, err
	}
	m := &Mem{srv: s, clock: time.Unix(0, 0)}
	s.virtual = true
	s.now = func() time.Time { return m.clock }
	s.connsMax = 1 << 30
	if s.opts.ConnsMax > 0 {
		s.connsMax = s.opts.ConnsMax
	}
	for _, l := range s.loops {
		l.trigger = func() { m.queue = append(m.queue, memEvent{l: l}) }
		l.again = l.trigger
	}
	return m, nil
}

// Loops gives the loops in order of their Index.
func (m *Mem) Loops() []Loop { return m.srv.Loops() }

// Stats is as Server.Stats.
func (m *Mem) Stats() Stats { return m.srv.Stats() }

// Dial makes a connection on a loop. Opened is called by the Step that comes to it.
func (m *Mem) Dial(loop int) *MemPeer {
	m.peers++
	c := &memConn{m: m, window: -1}
	port := uint16(1024 + m.peers%60000)
	c.init(m.srv.loops[loop], c,
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 2181))
	m.srv.stats.accepted.Add(1)
	if m.srv.numConns.Add(1) > int64(m.srv.connsMax) {
		m.srv.stats.refused.Add(1)
		m.srv.connEnded()
		c.closed, c.state = true, stateGone
		return &MemPeer{c}
	}
	c.l.Post(func() { c.l.open(&c.conn) })
	return &MemPeer{c}
}

// Step does the next thing that is due and tells whether there was one.
func (m *Mem) Step() bool {
	if len(m.queue) == 0 {
		return false
	}
	ev := m.queue[0]
	m.queue = m.queue[1:]
	switch {
	case ev.c != nil:
		ev.c.due = false
		ev.c.deliver()
	default:
		ev.l.run()
	}
	return true
}

// Run steps until nothing is due. A handler that wakes itself for ever makes it panic.
func (m *Mem) Run() {
	const stepsMax = 1 << 24
	for range stepsMax {
		if !m.Step() {
			return
		}
	}
	panic(fmt.Sprintf("netpoll: still busy after %d steps", stepsMax))
}

// Advance moves the clock, which serves FlushTimeout only. What became due is done by Step.
func (m *Mem) Advance(d time.Duration) {
	m.clock = m.clock.Add(d)
	for _, l := range m.srv.loops {
		if len(l.flushing) > 0 {
			l.tickDue.Store(true)
			l.schedule()
		}
	}
}

func (c *memConn) wake() {
	if !c.due && !c.held && !c.closed && (len(c.in) > 0 || c.eof || c.err != nil) {
		c.due = true
		c.m.queue = append(c.m.queue, memEvent{c: c})
	}
}

// deliver gives one chunk, or the end of input, to the loop.
func (c *memConn) deliver() {
	switch {
	case c.closed || c.held:
	case c.err != nil:
		c.closed = true
		c.l.gone(&c.conn, c.err)
	case len(c.in) > 0:
		chunk := c.in[0]
		c.in = c.in[1:]
		c.l.onData(&c.conn, chunk)
	case c.eof:
		c.closed = true
		c.l.gone(&c.conn, nil)
	}
	c.wake()
}

func (c *memConn) write(b []byte) {
	c.out = append(c.out, b...)
	c.flow()
}

// flow moves output to the peer as far as its window allows.
func (c *memConn) flow() {
	n := len(c.out)
	if c.window >= 0 {
		n = min(n, max(0, c.window-len(c.got)))
	}
	c.got = append(c.got, c.out[:n]...)
	c.out = append(c.out[:0], c.out[n:]...)
	if n > 0 && len(c.out) == 0 && c.flushWait.Load() {
		c.l.tickDue.Store(true)
		c.l.schedule()
	}
}

func (c *memConn) buffered() int { return len(c.out) }

func (c *memConn) pause(on bool) {
	c.held = on
	c.wake()
}

func (c *memConn) close(bool) {
	c.closed = true
	c.l.gone(&c.conn, nil)
}

func (c *memConn) tls() *tls.ConnectionState { return nil }

// Conn is the server's side of the connection.
func (p *MemPeer) Conn() Conn { return &p.c.conn }

// Send sends b, which it borrows until return, as one chunk (as several if it is larger than a poller's read).
func (p *MemPeer) Send(b []byte) {
	for len(b) > 0 && !p.c.eof && !p.c.closed {
		n := min(len(b), readBufferBytes)
		p.c.in = append(p.c.in, append([]byte(nil), b[:n]...))
		b = b[n:]
	}
	p.c.wake()
}

// Receive gives what has arrived since the last call.
func (p *MemPeer) Receive() []byte {
	b := p.c.got
	p.c.got = nil
	p.c.flow()
	return b
}

// SetWindow makes the peer take only n bytes more than it has received; negative: everything.
func (p *MemPeer) SetWindow(n int) {
	p.c.window = n
	p.c.flow()
}

// CloseWrite ends what the peer sends.
func (p *MemPeer) CloseWrite() {
	p.c.eof = true
	p.c.wake()
}

// Reset breaks the connection: the server sees err.
func (p *MemPeer) Reset(err error) {
	p.c.err = err
	p.c.held = false // As a poller reports a hang-up of a paused socket too.
	p.c.wake()
}

// Closed tells whether the connection is closed by the server or by Reset. Bytes may be left to Receive.
func (p *MemPeer) Closed() bool { return p.c.closed }
