package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// raiseFileLimit raises the soft limit of file descriptors to the hard one and returns it.
func raiseFileLimit() (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("netpoll: getrlimit: %w", err)
	}
	if lim.Cur < lim.Max {
		want := unix.Rlimit{Cur: lim.Max, Max: lim.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err == nil {
			lim.Cur = lim.Max
		}
		// A refusal leaves the soft limit, which is what connections are then counted against.
	}
	return uint64(lim.Cur), nil
}

// listen binds one listener.
func listen(o Listener, keepAlive time.Duration) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	if keepAlive > 0 {
		lc.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: max(time.Second, keepAlive/5), Count: 5}
	}
	// The context only bounds name resolution.
	ln, err := lc.Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("netpoll: cannot listen on %s: %w", o.Address, err)
	}
	if o.Backlog > 0 {
		if err := setBacklog(ln, o.Backlog); err != nil {
			return nil, errors.Join(fmt.Errorf("netpoll: backlog of %s: %w", o.Address, err), ln.Close())
		}
	}
	return ln, nil
}

// setBacklog calls listen(2) once more, which changes the backlog of a socket that listens already.
func setBacklog(ln net.Listener, backlog int) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := rc.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), backlog) }); err != nil {
		return err
	}
	return lerr
}

// acceptBackoff is the pause after a failed accept: descriptors may become free again.
const acceptBackoff = 20 * time.Millisecond

// acceptLoop accepts until the listener is closed.
func (s *Server) acceptLoop(ln net.Listener, o *Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			if s.isStopping() || errors.Is(err, net.ErrClosed) {
				return
			}
			// EMFILE, ENFILE, ENOBUFS, ENOMEM pass; so this is no reason to end.
			if s.stats.acceptErrors.Add(1) == 1 {
				s.opts.Logf("netpoll: accept on %s: %v (further ones are only counted)", ln.Addr(), err)
			}
			select {
			case <-s.stopping:
				return
			case <-time.After(acceptBackoff):
			}
			continue
		}
		s.stats.accepted.Add(1)
		if s.numConns.Add(1) > int64(s.connsMax) {
			s.refuse(nc)
			continue
		}
		tc := nc.(*net.TCPConn)
		if o.TLS != nil {
			s.acceptTLS(tc, o)
			continue
		}
		if err := s.driver.enroll(tc); err != nil {
			s.stats.acceptErrors.Add(1)
			s.opts.Logf("netpoll: connection from %s: %v", nc.RemoteAddr(), err)
			s.connEnded()
		}
	}
}

// refuse closes a connection that is over a limit.
func (s *Server) refuse(nc net.Conn) {
	s.stats.refused.Add(1)
	s.connEnded()
	_ = nc.Close() // Nothing was written: there is nothing an error could tell.
}
