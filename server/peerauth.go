package server

import (
	"fmt"
	"log/slog"

	"zabra.dev/zabra/quorum/transport"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/sasl"
)

// peerAuth gives how this server and the others prove to each other who they are, out of the JAAS file that c names;
// not at all unless c asks for it. As in Java both sections have to be there. It fails with an *config.Error.
// Source: quorum protocol, section 9.2.
func peerAuth(c *config.Config, log *slog.Logger) (transport.Auth, error) {
	o := &c.SASL
	if !o.QuorumEnabled {
		return transport.Auth{}, nil
	}
	sections, err := sasl.ReadFile(o.JAASFile)
	var users *sasl.Users
	if err == nil {
		users, err = sasl.UsersOf(sections, o.QuorumServerContext, "")
	}
	if err == nil && users == nil {
		err = fmt.Errorf("%w: the specified JAAS configuration section '%s' could not be found", sasl.ErrJAAS, o.QuorumServerContext)
	}
	var user, password string
	var ok bool
	if err == nil {
		user, password, ok, err = sasl.LoginOf(sections, o.QuorumLearnerContext)
	}
	if err == nil && !ok {
		err = fmt.Errorf("%w: the specified JAAS configuration section '%s' could not be found", sasl.ErrJAAS, o.QuorumLearnerContext)
	}
	if err != nil {
		return transport.Auth{}, jaasError(c, err)
	}
	auth := transport.Auth{
		Server:   func() transport.Exchange { return sasl.NewServer(sasl.ForServers, users) },
		Required: o.QuorumServerRequired, Log: log,
	}
	if o.QuorumLearnerRequired {
		auth.Learner = func() transport.Exchange { return sasl.NewClient(sasl.ForServers, user, password) }
	} else {
		log.Info("Skipping SASL authentication as quorum.auth.learnerRequireSasl=false")
	}
	return auth, nil
}
