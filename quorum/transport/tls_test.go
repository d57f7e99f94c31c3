package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// tlsConfig is that of servers which all have the same certificate, and want to see it.
func tlsConfig(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// tlsOn is a Network over TLS whose listener is there already.
func tlsOn(config *tls.Config, l net.Listener) Network {
	return Network{
		Secure: true,
		Dial: func(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
			c := config.Clone()
			c.ServerName = host
			return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", to.String())
		},
		Listen: func(context.Context, string) (net.Listener, error) { return tls.NewListener(l, config), nil },
	}
}

// TestTLSElection: the election port over TLS, with silent and plain connections that keep nobody out.
func TestTLSElection(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config, secure := configOf(t, l1, l2), tlsConfig(t)
	s1 := openSite(t, 1, config, l1, func(o *CnxOptions) { o.Network = tlsOn(secure, l1) })
	s2 := openSite(t, 2, config, l2, func(o *CnxOptions) { o.Network = tlsOn(secure, l2) })
	rawDial(t, s1.Addr(), nil)
	rawDial(t, s1.Addr(), jute.AppendInt64(nil, 2))
	s1.Send(2, vote(5, config))
	s2.Send(1, vote(6, config))
	if e := s2.next(Notified); e.Notification.ElectionEpoch != 5 {
		t.Errorf("%+v", e)
	}
	if e := s1.next(Notified); e.Notification.ElectionEpoch != 6 {
		t.Errorf("%+v", e)
	}
	s2.Close()
	eventually(t, "the end", func() bool { return !s1.Connected(2) })
	s1.Send(2, vote(7, config))
	s1.next(PeerDown)
	if line := "WARN Cannot open secure channel to 2 at election address /"; !s1.log.has(line) {
		t.Errorf("no %q in\n%s", line, s1.log)
	}
}

// TestTLSLink: the quorum port over TLS.
func TestTLSLink(t *testing.T) {
	noLeaks(t)
	l, secure := listenLoopback(t), tlsConfig(t)
	network := tlsOn(secure, l)
	addr := []quorum.Addr{{Host: "127.0.0.1", Port: port(l.Addr())}}
	opened := make(chan *Link, 1)
	listener, err := Listen(ListenerOptions{Addrs: addr, Network: network, Opened: func(l *Link) { opened <- l }})
	must(t, err)
	defer listener.Close()
	// The handshake of the dialer needs the other side, which begins with the link's reader.
	leaderSide := newCollector()
	started := make(chan *Link, 1)
	go func() {
		leader := <-opened
		leader.Start(leaderSide)
		started <- leader
	}()
	learner, err := DialLeader(context.Background(), LeaderOptions{Addrs: addr, Network: network, Limit: patience})
	must(t, err)
	leader := <-started
	defer leader.Close()
	learnerSide := newCollector()
	learner.Start(learnerSide)
	defer learner.Close()
	big := quorum.AppendPacket(nil, quorum.PacketProposal, 7, make([]byte, 300000))
	must(t, learner.Send(quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 1, nil)))
	eventually(t, "FOLLOWERINFO", leaderSide.got(quorum.PacketMinBytes))
	for range 10 {
		must(t, leader.QueuePacket(quorum.PacketCommit, 6, nil))
		must(t, leader.QueueBytes(big, nil))
	}
	leader.Flush()
	want := bytes.Repeat(append(quorum.AppendPacket(nil, quorum.PacketCommit, 6, nil), big...), 10)
	eventually(t, "all", learnerSide.got(len(want)))
	if !bytes.Equal(learnerSide.bytes(), want) {
		t.Error("other bytes")
	}
}
