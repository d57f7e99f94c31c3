package netpoll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tlsRecordHandshake is the first byte of a TLS connection. As the first byte of a frame it would be a
// length over 350 MiB, and it starts no word.
const tlsRecordHandshake = 0x16

// acceptTLS takes tc, whose place is counted already, and makes a connection of it when its handshake is
// done; on a listener that allows both, also when it turns out to be plain.
func (s *Server) acceptTLS(tc *net.TCPConn, o *Listener) {
	if n := s.handshakes.Add(1); s.opts.TLSHandshakesMax > 0 && n > int64(s.opts.TLSHandshakesMax) {
		s.handshakes.Add(-1)
		s.refuse(tc)
		return
	}
	s.readers.Go(func() {
		err := s.begin(tc, o)
		if err != nil {
			s.stats.handshakeErrors.Add(1)
			_ = tc.Close() // The handshake's error is the one that counts.
			s.connEnded()
		}
	})
}

// begin does the handshake and, if that went well, serves the connection until it ends.
func (s *Server) begin(tc *net.TCPConn, o *Listener) error {
	nc, err := s.handshake(tc, o)
	s.handshakes.Add(-1)
	switch {
	case err != nil:
		return err
	case nc == nil:
		return s.driver.enroll(tc)
	}
	st := nc.ConnectionState()
	s.newStream(nc, &st).readLoop(tlsRecordBytes)
	return nil
}

// handshake returns nil for a plain connection.
func (s *Server) handshake(tc *net.TCPConn, o *Listener) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(s.streamCtx, s.opts.TLSHandshakeTimeout)
	defer cancel()
	if o.PlainToo {
		first, err := peekByte(ctx, tc)
		if err != nil {
			return nil, err
		}
		if first != tlsRecordHandshake {
			return nil, nil
		}
	}
	nc := tls.Server(tc, o.TLS)
	if err := nc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("netpoll: TLS handshake with %s: %w", tc.RemoteAddr(), err)
	}
	return nc, nil
}

// peekByte waits for the first byte without taking it.
func peekByte(ctx context.Context, tc *net.TCPConn) (byte, error) {
	rc, err := tc.SyscallConn()
	if err != nil {
		return 0, err
	}
	// A deadline that has passed ends the wait.
	end := context.AfterFunc(ctx, func() { _ = tc.SetReadDeadline(time.Unix(1, 0)) })
	var b [1]byte
	var n int
	var rerr error
	err = rc.Read(func(fd uintptr) bool {
		n, _, rerr = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		return rerr != unix.EAGAIN
	})
	if !end() {
		return 0, context.Cause(ctx)
	}
	if err := errors.Join(err, os.NewSyscallError("recvfrom", rerr)); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("netpoll: connection ended before its first byte")
	}
	return b[0], nil
}
