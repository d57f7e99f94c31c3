package server

import (
	"fmt"
	"log/slog"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/authprovider"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/config"
)

// ListenTLS gives o the ports of c that speak TLS: the secure one and, with client.portUnification, the plain
// one, which then takes both. It reads key and trust stores, and fails with an *config.Error when they
// are no good. It is a step of its own because FromConfig touches no file.
func (o *Options) ListenTLS(c *config.Config, log *slog.Logger) error {
	if !c.Client.Secure.Enabled && !c.Client.PortUnification {
		return nil
	}
	cfg, err := certs.ServerConfig(certs.Options{Side: &c.TLS.Client, Prefix: "ssl.", Reload: c.Auth.CertReload, Log: log})
	if err != nil {
		return &config.Error{ExitCode: config.ExitInvalidInvocation, Message: err.Error(), Key: "ssl.keyStore.location", Value: c.TLS.Client.KeyStore.Location,
			Fix: "give key and trust stores in PEM, PKCS12 or JKS with their passwords, or drop secureClientPort and client.portUnification", Err: err}
	}
	if c.Client.PortUnification {
		for i := range o.Listen {
			o.Listen[i].TLS, o.Listen[i].PlainToo = cfg, true
		}
	}
	if c.Client.Secure.Enabled {
		o.SecureClientPort = c.Client.Secure.Port
		o.Listen = append(o.Listen, netpoll.Listener{Address: c.Client.Secure.String(), Backlog: max(0, c.Client.ListenBacklog), TLS: cfg})
	}
	o.HandshakesMax = max(0, c.Client.HandshakesOutstanding)
	// Java has the provider of the scheme loaded as soon as a port speaks TLS.
	o.X509 = true
	return nil
}

// Java's names of the providers that are not always there.
const (
	classDigest   = "org.apache.zookeeper.server.auth.DigestAuthenticationProvider"
	classSASL     = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
	classX509     = "org.apache.zookeeper.server.auth.X509AuthenticationProvider"
	classEnsemble = "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider"
)

// useProviders notes the classes that authProvider.NAME names; config knows no others.
func (o *Options) useProviders(classes map[string]string) {
	for _, class := range classes {
		switch class {
		case classDigest:
			o.Auth.DigestEnabled = true // loaded this way although it is switched off the other
		case classSASL:
			o.SASL.Scheme = true
		case classX509:
			o.X509 = true
		case classEnsemble:
			o.EnsembleScheme = true
		}
	}
}

// registry makes the authentication schemes that the options ask for.
func (s *Server) registry() (*auth.Registry, error) {
	o := s.opts.Auth
	o.Providers = append([]auth.Provider(nil), o.Providers...)
	if s.opts.X509 {
		o.Providers = append(o.Providers, &authprovider.X509{SuperUser: s.opts.X509SuperUser})
	}
	if s.opts.SASL.Scheme {
		o.Providers = append(o.Providers, &authprovider.SASL{AnyUser: s.opts.SASL.AnyUser})
	}
	if s.opts.EnsembleScheme {
		o.Providers = append(o.Providers, authprovider.NewEnsemble(s.opts.EnsembleNames, s.figures, s.log))
	}
	return auth.NewRegistry(o)
}

// speaksTLS tells whether any port does.
func (s *Server) speaksTLS() bool {
	for i := range s.opts.Listen {
		if s.opts.Listen[i].TLS != nil {
			return true
		}
	}
	return false
}

// peerOf is what the connection says of who is at its other end.
func peerOf(np netpoll.Conn) auth.Peer {
	p := auth.Peer{Addr: np.RemoteAddr().Addr()}
	if st := np.TLS(); st != nil && len(st.PeerCertificates) > 0 {
		p.Certificate = st.PeerCertificates[0].Raw
	}
	return p
}

// firstIdentities are those that a connection has before it says anything: its address and, over TLS, its
// certificate's. ok is false when the certificate is no identity; the connection is to be closed then.
// Source: client protocol, section 10.4.
func (s *Server) firstIdentities(np netpoll.Conn) (ids []proto.Identity, ok bool) {
	peer := peerOf(np)
	ids = []proto.Identity{auth.IPIdentity(peer.Addr)}
	if np.TLS() == nil {
		if s.countPlain {
			s.countNonMTLS(peer)
		}
		return ids, true
	}
	if peer.Certificate == nil {
		return ids, true
	}
	more, code := s.auth.Authenticate(auth.SchemeX509, nil, peer)
	if code != proto.OK {
		s.authFailed.Add(1)
		s.log.Error(fmt.Sprintf("Authentication failed for the certificate of /%s", np.RemoteAddr()))
		return nil, false
	}
	return auth.Merge(ids, more), true
}

func (s *Server) countNonMTLS(peer auth.Peer) {
	if peer.Addr.IsLoopback() {
		s.nonMTLSLocal.Add(1)
	} else {
		s.nonMTLSRemote.Add(1)
	}
}
