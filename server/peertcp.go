package server

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/transport"
	"zabra.dev/zabra/server/config"
)

// tcpNetwork is the network between servers over TCP, as Java's servers speak it.
type tcpNetwork struct {
	self    quorum.ServerID
	cfg     *config.Config
	sockets transport.Network // plain TCP or TLS
	auth    transport.Auth
	log     *slog.Logger
	fatal   func(error)
}

// OpenElection implements peerNetwork.
func (n *tcpNetwork) OpenElection(committed, lastSeen *quorum.Config, h electionHandler) (electionPort, error) {
	p := &tcpElection{net: n, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	p.addrs = committed.Member(n.self).ElectionAddrs
	var err error
	if p.mu.manager, err = p.open(committed, lastSeen); err != nil {
		return nil, err
	}
	go p.run(h)
	return p, nil
}

// tcpElection passes what the connection manager has on, one event at a time.
type tcpElection struct {
	net   *tcpNetwork
	addrs []quorum.Addr // this server's; of who calls Reconfigure
	wake  chan struct{} // holds one token when there is something to drain
	quit  chan struct{}
	done  chan struct{} // closed when run has ended
	mu    struct {
		sync.Mutex // guards manager, which changes when the port moves
		manager    *transport.CnxManager
	}
}

func (p *tcpElection) open(committed, lastSeen *quorum.Config) (*transport.CnxManager, error) {
	n, e := p.net, &p.net.cfg.Ensemble
	attempts := e.ElectionBindRetries
	if attempts == 0 {
		attempts = -1
	}
	return transport.OpenCnx(transport.CnxOptions{
		Self: n.self, Addrs: p.addrs, ListenAllIPs: e.ListenOnAllIPs, MultiAddress: e.MultiAddressEnabled,
		Committed: committed, LastSeen: lastSeen,
		ConnectTimeout: e.CnxTimeout, HandshakeTimeout: e.QuorumCnxnTimeout, BindAttempts: attempts,
		Network: n.sockets, Auth: n.auth,
		Wake: func() {
			select {
			case p.wake <- struct{}{}:
			default:
			}
		},
		ListenFailed: func(err error) {
			n.fatal(&config.Error{ExitCode: config.ExitQuorumBind, Message: "the election port cannot be bound: " + err.Error(),
				Fix: "free the port, or correct the server.N line", Err: err})
		},
		Log: n.log,
	})
}

func (p *tcpElection) manager() *transport.CnxManager {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.manager
}

func (p *tcpElection) run(h electionHandler) {
	defer close(p.done)
	var events []transport.Event
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		}
		events = p.manager().Drain(events[:0])
		for i := range events {
			switch ev := &events[i]; ev.Kind {
			case transport.Notified:
				h.Message(ev.From, ev.Notification)
			case transport.PeerUp:
				h.Up(ev.From)
			case transport.PeerDown:
				h.Down(ev.From)
			}
		}
	}
}

func (p *tcpElection) Send(to quorum.ServerID, n *quorum.Notification) { p.manager().Send(to, n) }

func (p *tcpElection) Reconfigure(committed, lastSeen *quorum.Config, restart bool) {
	m := p.manager()
	m.SetConfigs(committed, lastSeen)
	if !restart {
		return
	}
	self := committed.Member(p.net.self)
	if self == nil || slices.Equal(self.ElectionAddrs, p.addrs) {
		m.Reset()
		return
	}
	p.addrs = self.ElectionAddrs
	m.Close()
	m, err := p.open(committed, lastSeen)
	if err != nil {
		p.net.fatal(err)
		return
	}
	p.mu.Lock()
	p.mu.manager = m
	p.mu.Unlock()
}

func (p *tcpElection) Shut() { p.manager().Shut() }

func (p *tcpElection) Close() error {
	p.manager().Close()
	close(p.quit)
	<-p.done
	return nil
}

// linkOptions are those of the links of a leader, or of a learner's.
func (n *tcpNetwork) linkOptions(noDelay bool) transport.LinkOptions {
	return transport.LinkOptions{
		Limits: quorum.Limits{DataMaxBytes: n.cfg.Limits.FrameMaxBytes + n.cfg.Limits.FrameExtraBytes},
		Delay:  !noDelay,
	}
}

// ListenQuorum implements peerNetwork.
func (n *tcpNetwork) ListenQuorum(self quorum.Member, opened func(peerConn)) (io.Closer, error) {
	return transport.Listen(transport.ListenerOptions{
		Addrs: self.QuorumAddrs, ListenAllIPs: n.cfg.Ensemble.ListenOnAllIPs, Link: n.linkOptions(n.cfg.Ensemble.LeaderNoDelay), Log: n.log, Network: n.sockets,
		Auth: n.auth, AuthTimeout: n.cfg.Sessions.TickTime * time.Duration(n.cfg.Ensemble.InitLimitTicks),
		Opened: func(l *transport.Link) { opened(&tcpConn{link: l}) },
	})
}

// DialQuorum implements peerNetwork.
func (n *tcpNetwork) DialQuorum(ctx context.Context, leader quorum.Member, patience time.Duration) (peerConn, error) {
	l, err := transport.DialLeader(ctx, transport.LeaderOptions{
		Addrs: leader.QuorumAddrs, Link: n.linkOptions(n.cfg.Ensemble.FollowerNoDelay), Limit: patience, Pause: n.cfg.Ensemble.LeaderConnectDelay, Log: n.log, Network: n.sockets,
		Auth: n.auth,
	})
	if err != nil {
		return nil, err
	}
	return &tcpConn{link: l}, nil
}

// tcpConn is a link of the transport.
type tcpConn struct {
	link    *transport.Link
	packets func([]quorum.Packet)
	closed  func(error)
}

// Packets implements transport.Handler.
func (c *tcpConn) Packets(b *transport.Batch) {
	c.packets(b.Packets)
	b.Release()
}

// Closed implements transport.Handler.
func (c *tcpConn) Closed(reason error) { c.closed(reason) }

func (c *tcpConn) Start(packets func([]quorum.Packet), closed func(error)) {
	c.packets, c.closed = packets, closed
	c.link.Start(c)
}

// A link that takes no more closes itself and says so by Closed: what these return tells nothing new.

func (c *tcpConn) Queue(b []byte)                          { _ = c.link.QueueCopy(b) }
func (c *tcpConn) QueueShared(b []byte, ref transport.Ref) { _ = c.link.QueueBytes(b, ref) }
func (c *tcpConn) QueueInform(p []byte, ref transport.Ref) { _ = c.link.QueueInform(p, ref) }
func (c *tcpConn) Flush()                                  { c.link.Flush() }
func (c *tcpConn) SetShared(bytes int)                     { c.link.SetShared(bytes) }
func (c *tcpConn) SendWait(b []byte) error                 { return c.link.SendWait(b) }
func (c *tcpConn) Close(reason error)                      { c.link.Shutdown(reason) }
func (c *tcpConn) RemoteAddr() string                      { return c.link.RemoteAddr() }

func (c *tcpConn) ReceiveTree(f func(io.Reader) ([]byte, error)) error {
	// The stream ends behind the signature, so nothing is read too much.
	return c.link.ReceiveTree(func(r io.Reader) error {
		_, err := f(r)
		return err
	})
}
