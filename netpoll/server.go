package netpoll

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Stats are counts since Start, except for Conns and ConnsMax.
type Stats struct {
	Conns    int // now, including those in a TLS handshake
	ConnsMax int // the limit in force
	Accepted uint64
	// RefusedConns were closed because ConnsMax or TLSHandshakesMax was reached.
	RefusedConns uint64
	// AcceptErrors are failures of accept(2), above all for want of file descriptors.
	AcceptErrors uint64
	// TLSHandshakeErrors are connections that did not complete their handshake.
	TLSHandshakeErrors uint64
	// The others count connections closed for the error of like name.
	FrameLength, InboundOverflow, SlowConsumer, FlushTimeout uint64
}

// Server is a running set of loops with its listeners.
type Server struct {
	opts    Options
	handler Handler
	loops   []*loop
	words   []Word
	// wordKeys are the words' four bytes, in the order of words.
	wordKeys []uint32
	now      func() time.Time
	virtual  bool // in-memory: no timers
	connsMax int

	driver driver
	// mu guards listeners, and Rebind against Stop.
	mu        sync.Mutex
	listeners []net.Listener
	// acceptors are the goroutines that accept and those that read stream connections.
	acceptors, readers sync.WaitGroup
	stopping           chan struct{}
	stopOnce, fatalOne sync.Once
	stopped            chan struct{}
	stopErr            error
	idle               chan struct{} // one token when the last connection ends; for Stop
	dead               chan struct{} // closed by fatal

	numConns, handshakes atomic.Int64
	nextLoop             atomic.Uint64   // for stream connections
	streamCtx            context.Context // ends with Stop: interrupts TLS handshakes
	streamCancel         context.CancelFunc
	stats                struct {
		accepted, refused, acceptErrors, handshakeErrors   atomic.Uint64
		frameLength, inboundOverflow, slowConsumer, flushT atomic.Uint64
	}
}

// driver runs loops. Its start calls l.run on the loop's goroutine after each l.trigger.
type driver interface {
	start(s *Server) error
	// enroll takes nc, which is plain TCP, and makes a connection of it on some loop. It may block for one turn
	// of the loop.
	enroll(nc *net.TCPConn) error
	// stop ends the loops; connections that are left are closed. It returns when all goroutines have ended.
	stop()
}

// Start binds all listeners and begins to accept on them. It returns an error that names the address
// when that is in use.
func Start(opts Options, h Handler) (*Server, error) {
	s, err := newServer(opts, h)
	if err != nil {
		return nil, err
	}
	fds, err := raiseFileLimit()
	if err != nil {
		return nil, err
	}
	s.connsMax = max(1, int(min(fds, 1<<30))-s.opts.FDReserve)
	if s.opts.ConnsMax > 0 {
		s.connsMax = min(s.connsMax, s.opts.ConnsMax)
	}
	for _, lo := range s.opts.Listeners {
		ln, err := listen(lo, s.opts.TCPKeepAlive)
		if err != nil {
			return nil, errors.Join(err, s.closeListeners())
		}
		s.listeners = append(s.listeners, ln)
	}
	switch s.opts.Driver {
	case DriverGnet:
		s.driver = &gnetDriver{}
	case DriverNet:
		s.driver = &netDriver{}
	default:
		err = fmt.Errorf("netpoll: unknown driver %d", s.opts.Driver)
	}
	if err == nil {
		err = s.driver.start(s)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	for i, ln := range s.listeners {
		s.accept(i, ln)
	}
	return s, nil
}

// accept begins to accept on ln, the i-th listener.
func (s *Server) accept(i int, ln net.Listener) {
	for range acceptorsPerListener {
		s.acceptors.Go(func() { s.acceptLoop(ln, &s.opts.Listeners[i]) })
	}
}

// Rebind moves the i-th listener to another address. Connections that it has accepted stay. With an error, which names
// the address, it listens where it did before, unless the old address could not be had again: the error says so
// then. It may block for a name to be resolved, and may be called from any goroutine. Source:
// ServerCnxnFactory.reconfigure.
func (s *Server) Rebind(i int, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return fmt.Errorf("netpoll: cannot listen on %s: %w", address, net.ErrClosed)
	}
	o := s.opts.Listeners[i]
	o.Address = address
	old := s.listeners[i]
	ln, err := listen(o, s.opts.TCPKeepAlive)
	if errors.Is(err, syscall.EADDRINUSE) {
		// It may be the old listener that is in the way: of the wildcard and one address with the same port.
		if err := old.Close(); err != nil {
			return fmt.Errorf("netpoll: closing the listener on %s: %w", old.Addr(), err)
		}
		if ln, err = listen(o, s.opts.TCPKeepAlive); err != nil {
			o.Address = old.Addr().String()
			again, lost := listen(o, s.opts.TCPKeepAlive)
			if lost != nil {
				return errors.Join(err, lost)
			}
			s.listeners[i] = again
			s.accept(i, again)
			return err
		}
	} else if err != nil {
		return err
	} else if err := old.Close(); err != nil {
		return errors.Join(fmt.Errorf("netpoll: closing the listener on %s: %w", old.Addr(), err), ln.Close())
	}
	s.listeners[i] = ln
	s.accept(i, ln)
	return nil
}

func newServer(opts Options, h Handler) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:     opts,
		handler:  h,
		words:    opts.Words,
		now:      time.Now,
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
		idle:     make(chan struct{}, 1),
		dead:     make(chan struct{}),
	}
	s.streamCtx, s.streamCancel = context.WithCancel(context.Background())
	for _, w := range s.words {
		s.wordKeys = append(s.wordKeys, binary.BigEndian.Uint32([]byte(w.Text)))
	}
	for i := range opts.NumLoops {
		s.loops = append(s.loops, &loop{srv: s, opts: &s.opts, index: i})
	}
	return s, nil
}

// Loops gives all loops, in order of their Index, from the moment Start has returned.
func (s *Server) Loops() []Loop {
	out := make([]Loop, len(s.loops))
	for i, l := range s.loops {
		out[i] = l
	}
	return out
}

// Addr is the address of the i-th listener, with the port the system chose.
func (s *Server) Addr(i int) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listeners[i].Addr()
}

// Stats may be called from any goroutine.
func (s *Server) Stats() Stats {
	return Stats{
		Conns:              int(s.numConns.Load()),
		ConnsMax:           s.connsMax,
		Accepted:           s.stats.accepted.Load(),
		RefusedConns:       s.stats.refused.Load(),
		AcceptErrors:       s.stats.acceptErrors.Load(),
		TLSHandshakeErrors: s.stats.handshakeErrors.Load(),
		FrameLength:        s.stats.frameLength.Load(),
		InboundOverflow:    s.stats.inboundOverflow.Load(),
		SlowConsumer:       s.stats.slowConsumer.Load(),
		FlushTimeout:       s.stats.flushT.Load(),
	}
}

// Stop stops accepting, lets every connection flush its output and closes it (Closed is called for each), then ends the
// loops and waits for all goroutines. When ctx ends first, flushing is cut short, and ctx's error returned; the rest is
// done all the same. Later calls wait for the first one. It must not be called on a loop.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		defer close(s.stopped)
		close(s.stopping)
		s.stopErr = s.closeListeners()
		s.streamCancel()
		s.acceptors.Wait()
		for _, l := range s.loops {
			l.Post(l.quit)
		}
		s.stopErr = errors.Join(s.stopErr, s.awaitIdle(ctx))
		// What has been posted up to here runs, then the connections that are left are closed. If a loop has died, nothing can be
		// awaited of it.
		for _, l := range s.loops {
			done := make(chan struct{})
			l.endPosts(func() {
				l.closeAll()
				close(done)
			})
			select {
			case <-done:
			case <-s.dead:
			}
		}
		s.driver.stop()
		s.readers.Wait()
		for _, l := range s.loops {
			if l.timer != nil {
				l.timer.Stop()
			}
		}
	})
	<-s.stopped
	return s.stopErr
}

// awaitIdle waits until no connection is left.
func (s *Server) awaitIdle(ctx context.Context) error {
	for s.numConns.Load() > 0 {
		select {
		case <-s.idle:
		case <-s.dead:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Server) closeListeners() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// isStopping tells whether Stop has been called.
func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// fatal reports the unrequested end of a loop.
func (s *Server) fatal(err error) {
	s.fatalOne.Do(func() {
		close(s.dead)
		if s.opts.OnFatal == nil {
			panic(err)
		}
		s.opts.OnFatal(err)
	})
}

// connEnded gives a connection's place back.
func (s *Server) connEnded() {
	if s.numConns.Add(-1) == 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

func (s *Server) count(reason error) {
	switch reason {
	case ErrFrameLength:
		s.stats.frameLength.Add(1)
	case ErrInboundOverflow:
		s.stats.inboundOverflow.Add(1)
	case ErrSlowConsumer:
		s.stats.slowConsumer.Add(1)
	case ErrFlushTimeout:
		s.stats.flushT.Add(1)
	}
}

// findWord returns the index of the word with these four bytes, or -1.
func (s *Server) findWord(head uint32) int {
	for i, k := range s.wordKeys {
		if k == head {
			return i
		}
	}
	return -1
}
