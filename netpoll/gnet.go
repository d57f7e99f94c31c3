package netpoll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// gnetDriver runs the loops in a gnet.Client: a set of event loops without listeners.
//
// gnet shows an event loop only through a connection, so each loop gets a pilot first: one end of a
// socket pair, which the client's choice by fewest connections spreads evenly. A pilot stays for the
// loop's life; that gnet closes it tells that the loop has ended.
type gnetDriver struct {
	gnet.BuiltinEventEngine
	srv    *Server
	cli    *gnet.Client
	loops  []gnet.EventLoop // by loop index
	epfds  []int            // the loops' epoll descriptors, -1 when unknown
	pilots []int            // our ends of the socket pairs
	byLoop map[gnet.EventLoop]int
	ended  atomic.Bool
}

// pilot is the gnet context of a pilot connection.
type pilot struct {
	loop gnet.EventLoop
	l    *loop
}

// gnetConn is a connection on a gnet loop. It is the gnet context of its connection.
type gnetConn struct {
	conn
	d      *gnetDriver
	gc     gnet.Conn
	epfd   int
	paused bool
}

// gnetLogger hands gnet's messages on. gnet has one logger per process: the latest Start sets it.
type gnetLogger struct {
	logf func(format string, args ...any)
}

func (g gnetLogger) Debugf(string, ...any)            {}
func (g gnetLogger) Infof(string, ...any)             {}
func (g gnetLogger) Warnf(format string, args ...any) { g.logf("gnet: "+format, args...) }
func (g gnetLogger) Errorf(format string, args ...any) {
	g.logf("gnet: "+format, args...)
}
func (g gnetLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("gnet: "+format, args...))
}

func (d *gnetDriver) start(s *Server) error {
	d.srv = s
	d.byLoop = make(map[gnet.EventLoop]int)
	cli, err := gnet.NewClient(d,
		gnet.WithNumEventLoop(len(s.loops)),
		gnet.WithReadBufferCap(readBufferBytes),
		// Options of accepted sockets are set by the listener; off here means "leave alone".
		gnet.WithTCPNoDelay(gnet.TCPDelay),
		gnet.WithLogger(gnetLogger{s.opts.Logf}))
	if err != nil {
		return fmt.Errorf("netpoll: gnet: %w", err)
	}
	if err := cli.Start(); err != nil {
		return fmt.Errorf("netpoll: gnet: %w", err)
	}
	d.cli = cli
	for i, l := range s.loops {
		if err := d.launchPilot(l); err != nil {
			d.stop()
			return fmt.Errorf("netpoll: gnet loop %d: %w", i, err)
		}
	}
	return nil
}

// launchPilot finds the gnet loop for l.
func (d *gnetDriver) launchPilot(l *loop) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	if err := errors.Join(unix.SetNonblock(fds[0], true), unix.SetNonblock(fds[1], true)); err != nil {
		return errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	d.pilots = append(d.pilots, fds[0])
	far := os.NewFile(uintptr(fds[1]), "pilot")
	nc, err := net.FileConn(far)
	if err := errors.Join(err, far.Close()); err != nil {
		return err
	}
	p := &pilot{l: l}
	if _, err := d.cli.EnrollContext(nc, p); err != nil {
		return err
	}
	if p.loop == nil {
		return errors.New("connection was not opened")
	}
	if _, dup := d.byLoop[p.loop]; dup {
		return errors.New("connections are not spread over the loops")
	}
	d.byLoop[p.loop] = l.index
	d.loops = append(d.loops, p.loop)
	d.epfds = append(d.epfds, epollFD(p.loop))
	task := gnetRun{l}
	el := p.loop
	near := fds[0]
	l.trigger = func() {
		// An error means that the client has stopped: run would have nothing to do.
		_ = el.Execute(context.Background(), task)
	}
	// gnet runs tasks until there are none left, so a task that queues itself would keep it from the sockets: this
	// way round the poller goes on. A full socket is as good as one more byte.
	poke := []byte{0}
	l.again = func() { _, _ = unix.Write(near, poke) }
	return nil
}

// gnetRun is the task that runs a loop.
type gnetRun struct{ l *loop }

func (r gnetRun) Run(context.Context) error {
	r.l.run()
	return nil
}

func (d *gnetDriver) enroll(nc *net.TCPConn) error {
	c := &gnetConn{d: d}
	c.remote = nc.RemoteAddr().(*net.TCPAddr).AddrPort()
	c.local = nc.LocalAddr().(*net.TCPAddr).AddrPort()
	// gnet duplicates the descriptor and closes nc, and waits until the loop has called OnOpen.
	if _, err := d.cli.EnrollContext(nc, c); err != nil {
		return err
	}
	if c.l == nil {
		return errors.New("could not be added to the poller")
	}
	return nil
}

func (d *gnetDriver) stop() {
	d.ended.Store(true)
	if err := d.cli.Stop(); err != nil {
		d.srv.opts.Logf("netpoll: gnet: stop: %v", err)
	}
	for _, fd := range d.pilots {
		_ = unix.Close(fd) // The other end is closed already.
	}
}

// OnOpen implements gnet.EventHandler.
func (d *gnetDriver) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	switch c := gc.Context().(type) {
	case *pilot:
		c.loop = gc.EventLoop()
	case *gnetConn:
		i := d.byLoop[gc.EventLoop()]
		c.gc, c.epfd = gc, d.epfds[i]
		c.init(d.srv.loops[i], c, c.remote, c.local)
		c.l.onOpen(&c.conn)
	}
	return nil, gnet.None
}

// OnTraffic implements gnet.EventHandler. It always takes all bytes, so that gnet never buffers any of them.
func (d *gnetDriver) OnTraffic(gc gnet.Conn) gnet.Action {
	chunk, err := gc.Next(-1)
	if err != nil {
		return gnet.None
	}
	switch c := gc.Context().(type) {
	case *pilot:
		c.l.run()
	case *gnetConn:
		c.l.onData(&c.conn, chunk)
	}
	return gnet.None
}

// OnClose implements gnet.EventHandler.
func (d *gnetDriver) OnClose(gc gnet.Conn, err error) gnet.Action {
	switch c := gc.Context().(type) {
	case *pilot:
		if !d.ended.Load() {
			d.srv.fatal(fmt.Errorf("%w: %w", ErrLoopEnded, errOr(err, io.EOF)))
		}
	case *gnetConn:
		c.l.gone(&c.conn, err)
	}
	return gnet.None
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func (c *gnetConn) write(b []byte) {
	// An error has closed the connection, and OnClose has told the loop.
	_, _ = c.gc.Write(b)
	if c.paused && c.state != stateGone {
		c.pause(true) // gnet has set the events of the socket if it could not write all.
	}
}

func (c *gnetConn) buffered() int {
	if c.state == stateGone {
		return 0
	}
	return c.gc.OutboundBuffered()
}

// pause sets the events the loop's epoll set reports for the socket. gnet sets them too, with reading on, when a
// write could not be completed and when its outbound buffer has drained; then input comes although paused, and the
// caller pauses again. Without the epoll descriptor nothing happens and Options.InboundMaxBytes is the limit.
func (c *gnetConn) pause(on bool) {
	c.paused = on
	if c.epfd < 0 || c.state == stateGone {
		return
	}
	if err := setPollEvents(c.epfd, c.gc.Fd(), !on, c.gc.OutboundBuffered() > 0); err != nil {
		// The set is not the one the socket is in: never touch it again.
		c.d.srv.opts.Logf("netpoll: cannot pause a connection: %v", err)
		c.epfd = -1
	}
}

// drainReadsMax bounds what drainSocket drops: 1 MiB.
const drainReadsMax = 16

// drainSocket reads and drops what has arrived on a non-blocking socket.
func drainSocket(fd int) {
	scratch := getBuffer(readBufferBytes)
	b := scratch.b[:readBufferBytes]
	for range drainReadsMax {
		if n, err := unix.Read(fd, b); n <= 0 || err != nil {
			break
		}
	}
	putBuffer(scratch)
}

func (c *gnetConn) close(drain bool) {
	if drain {
		drainSocket(c.gc.Fd())
	}
	// Inside a handler call this is the documented way to close at once; OnClose runs before it returns.
	if err := c.gc.EventLoop().Close(c.gc); err != nil {
		c.d.srv.opts.Logf("netpoll: close: %v", err)
	}
	invariant(c.state == stateGone, "gnet closed a connection without OnClose")
}

func (c *gnetConn) tls() *tls.ConnectionState { return nil }
