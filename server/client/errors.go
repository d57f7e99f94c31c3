package client

import (
	"errors"

	"zabra.dev/zabra/engine/proto"
)

// Codes that only clients make (client protocol, section 4.1).
const (
	// ErrConnectionLoss: the connection broke while the request was in flight, or none came
	// to be within the session timeout.
	ErrConnectionLoss proto.ErrCode = -4
)

// ErrClosed: the client was closed or abandoned.
var ErrClosed = errors.New("client: closed")

// ErrProtocol: the server sent something that cannot be a reply.
var ErrProtocol = errors.New("client: malformed reply")

// An Error is the failure of one operation on one path. Err is a proto.ErrCode, a context's
// error, ErrClosed or ErrProtocol; errors.Is and errors.As see it.
type Error struct {
	Op   proto.OpCode
	Path string // as the caller gave it, without the chroot; empty if the operation has none
	Err  error
}

// Error names operation, path and cause.
func (e *Error) Error() string {
	s := "client: " + e.Op.String()
	if e.Path != "" {
		s += " " + e.Path
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the ZooKeeper code in err, OK for nil, and false if there is none.
func Code(err error) (proto.ErrCode, bool) {
	if err == nil {
		return proto.OK, true
	}
	var code proto.ErrCode
	if errors.As(err, &code) {
		return code, true
	}
	return 0, false
}
