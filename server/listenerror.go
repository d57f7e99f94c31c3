package server

import (
	"errors"
	"net"

	"zabra.dev/zabra/server/config"
)

// explainListen says what to do about a client port that cannot be opened; other errors come back as they are.
func explainListen(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" || op.Addr == nil {
		return err
	}
	return &config.Error{
		ExitCode: config.ExitUnexpected, Message: err.Error(), Key: "clientPort", Value: op.Addr.String(), Err: err,
		Fix: "end what listens there, another server perhaps, or set another clientPort (secureClientPort for TLS) or clientPortAddress",
	}
}
