package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"zabra.dev/zabra/engine/jute"
)

// An Exchange is one side of a login: it takes the other side's token and gives the one to send. done tells that the
// other side has proved itself.
type Exchange interface {
	Step(token []byte) (answer []byte, done bool, err error)
}

// Auth is how servers authenticate each other, on both ports; the zero value is not at all. Who connects
// speaks first:
//
//	packet = magic i64, status i32, token buffer
//	connecting: in progress, empty -> listening: in progress, challenge -> ... -> success, the last token
//
// Source: quorum protocol, section 9.2.
type Auth struct {
	// Learner makes the side of a server that connects; nil: it says nothing
	// (quorum.auth.learnerRequireSasl=false).
	Learner func() Exchange
	// Server makes the side of a server that was connected to; nil: nobody is asked, and nothing is read.
	Server func() Exchange
	// Required ends connections of peers that do not prove who they are (quorum.auth.serverRequireSasl);
	// otherwise that is only logged.
	Required bool
	// Log takes the lines of Java's. nil: none.
	Log *slog.Logger
}

// ErrAuth reports a peer that has not proved who it is, or that did not believe this server.
var ErrAuth = errors.New("transport: authentication failed")

const (
	authMagic     int64 = 0x5f2435013501edcc
	authHeadBytes       = 8 + 4 + 4
	// authTokenMaxBytes bounds a token; those of DIGEST-MD5 are a few hundred bytes.
	authTokenMaxBytes = 16 << 10
	// authRounds bounds an exchange, as in Java.
	authRounds = 5
)

// Status of a packet.
const (
	authInProgress int32 = 0
	authSuccess    int32 = 1
	authError      int32 = -1
)

func (a *Auth) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// connected authenticates this server on a connection that it opened, by deadline.
func (a *Auth) connected(conn net.Conn, deadline time.Time) error {
	if a.Learner == nil {
		return nil
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	x, token, proved := a.Learner(), []byte{}, false
	for range authRounds + 1 {
		if err := writeAuth(conn, authInProgress, token); err != nil {
			return err
		}
		head, err := readAuthHead(conn)
		if err != nil {
			return fmt.Errorf("%w: no answer of %s: %w", ErrAuth, javaAddr(conn.RemoteAddr()), err)
		}
		status, answer, err := readAuth(conn, head)
		if err == nil && status != authInProgress && status != authSuccess {
			err = fmt.Errorf("server addr: %s, qpStatus: ERROR", javaAddr(conn.RemoteAddr()))
		}
		if err == nil && (status == authInProgress || len(answer) > 0) {
			token, proved, err = x.Step(answer)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrAuth, err)
		case status == authSuccess && !proved:
			return fmt.Errorf("%w: server addr: %s says success, and has proved nothing", ErrAuth, javaAddr(conn.RemoteAddr()))
		case status == authSuccess:
			a.log().Info(fmt.Sprintf("Successfully completed the authentication using SASL. server addr: %s, status: SUCCESS", javaAddr(conn.RemoteAddr())))
			return conn.SetDeadline(time.Time{})
		}
	}
	return fmt.Errorf("%w: server addr: %s has not come to an end in %d rounds", ErrAuth, javaAddr(conn.RemoteAddr()), authRounds)
}

// accepted has the peer authenticate itself on a connection that it opened, by deadline. It gives the connection to
// go on with.
func (a *Auth) accepted(conn net.Conn, deadline time.Time) (net.Conn, error) {
	if a.Server == nil {
		return conn, nil
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	n, err := io.ReadFull(conn, head)
	if err != nil || int64(binary.BigEndian.Uint64(head)) != authMagic {
		if a.Required {
			return nil, fmt.Errorf("%w: Learner not trying to authenticate and authentication is required", ErrAuth)
		}
		// A server that only knocks says no more than its name.
		return &prefixConn{conn, head[:n]}, conn.SetDeadline(time.Time{})
	}
	err = a.serve(conn, head)
	switch {
	case err == nil:
		a.log().Info("Successfully completed the authentication using SASL. learner addr: " + javaAddr(conn.RemoteAddr()))
	case a.Required:
		a.log().Error("Failed to authenticate using SASL", "err", err)
		return nil, errors.Join(err, writeAuth(conn, authError, nil))
	default:
		a.log().Warn("Failed to authenticate using SASL", "err", err)
		a.log().Warn("Maintaining learner connection despite SASL authentication failure. server addr: " + javaAddr(conn.RemoteAddr()) +
			", quorum.auth.serverRequireSasl: false")
		if err := writeAuth(conn, authError, nil); err != nil {
			return nil, err
		}
	}
	return conn, conn.SetDeadline(time.Time{})
}

// serve goes through the exchange, of which head is the start.
func (a *Auth) serve(conn net.Conn, head []byte) error {
	x := a.Server()
	for range authRounds {
		_, token, err := readAuth(conn, head)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAuth, err)
		}
		answer, done, err := x.Step(token)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAuth, err)
		}
		if done {
			return writeAuth(conn, authSuccess, answer)
		}
		if err := writeAuth(conn, authInProgress, answer); err != nil {
			return err
		}
		if head, err = readAuthHead(conn); err != nil {
			return fmt.Errorf("%w: %w", ErrAuth, err)
		}
		if int64(binary.BigEndian.Uint64(head)) != authMagic {
			return fmt.Errorf("%w: a packet without the magic number", ErrAuth)
		}
	}
	return fmt.Errorf("%w: no end in %d rounds", ErrAuth, authRounds)
}

func writeAuth(conn net.Conn, status int32, token []byte) error {
	b := jute.AppendInt32(jute.AppendInt64(make([]byte, 0, authHeadBytes+len(token)), authMagic), status)
	if token == nil {
		token = []byte{}
	}
	_, err := conn.Write(jute.AppendBuffer(b, token))
	return err
}

// readAuthHead reads the magic number, or the first bytes of something else.
func readAuthHead(conn net.Conn) ([]byte, error) {
	head := make([]byte, 8)
	_, err := io.ReadFull(conn, head)
	return head, err
}

// readAuth reads what is behind head.
func readAuth(conn net.Conn, head []byte) (status int32, token []byte, err error) {
	if int64(binary.BigEndian.Uint64(head)) != authMagic {
		return 0, nil, errors.New("a packet without the magic number")
	}
	var b [authHeadBytes - 8]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return 0, nil, err
	}
	status = jute.Int32(b[:])
	n := jute.Int32(b[4:])
	if n == -1 {
		return status, nil, nil
	}
	if n < 0 || n > authTokenMaxBytes {
		return 0, nil, fmt.Errorf("a token of %d bytes, limit %d", n, authTokenMaxBytes)
	}
	token = make([]byte, n)
	_, err = io.ReadFull(conn, token)
	return status, token, err
}

// prefixConn gives what was read of a connection once more.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// Read implements net.Conn.
func (c *prefixConn) Read(b []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
