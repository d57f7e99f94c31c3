package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"zabra.dev/zabra/quorum/transport"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/config"
)

// peerSockets is how the servers of an ensemble reach each other: plainly, or with sslQuorum and portUnification over
// TLS, on the election port, the quorum port and the port for observers alike (quorum protocol, section 9.1). It
// reads key and trust stores, and fails with a *config.Error when they are no good.
func peerSockets(c *config.Config, log *slog.Logger) (transport.Network, error) {
	n := transport.Network{KeepAlive: c.Ensemble.TCPKeepAlive}
	if !c.TLS.QuorumEnabled && !c.TLS.QuorumPortUnification {
		return n, nil
	}
	o := certs.Options{Side: &c.TLS.Quorum, Prefix: "ssl.quorum.", Reload: c.TLS.QuorumReloadCertFiles, Log: log}
	accept, err := certs.ServerConfig(o)
	var dialer *certs.Dialer
	if err == nil {
		dialer, err = certs.NewDialer(o)
	}
	if err != nil {
		return n, &config.Error{ExitCode: config.ExitInvalidInvocation, Message: err.Error(), Key: "ssl.quorum.keyStore.location", Value: c.TLS.Quorum.KeyStore.Location,
			Fix: "give key and trust stores in PEM, PKCS12 or JKS with their passwords, or drop sslQuorum and portUnification", Err: err}
	}
	keepAlive := net.KeepAliveConfig{Enable: n.KeepAlive}
	n.Listen = func(ctx context.Context, address string) (net.Listener, error) {
		l, err := (&net.ListenConfig{KeepAlive: -1, KeepAliveConfig: keepAlive}).Listen(ctx, "tcp", address)
		switch {
		case err != nil:
			return nil, err
		case c.TLS.QuorumPortUnification:
			return certs.Unify(l, accept, nil), nil
		}
		return tls.NewListener(l, accept), nil
	}
	if !c.TLS.QuorumEnabled {
		return n, nil
	}
	n.Secure = true
	n.Dial = func(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
		d := tls.Dialer{
			NetDialer: &net.Dialer{KeepAlive: -1, KeepAliveConfig: keepAlive},
			Config:    dialer.Config(host, net.IP(to.Addr().AsSlice())),
		}
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil, fmt.Errorf("TLS with %s: %w", to, err)
		}
		return conn, nil
	}
	return n, nil
}
