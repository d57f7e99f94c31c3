package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"zabra.dev/zabra/quorum"
)

// dialLocked starts the dial goroutine of p unless it runs.
func (m *CnxManager) dialLocked(p *cnxPeer) {
	if p.dialing {
		return
	}
	p.dialing = true
	ctx, generation := m.mu.ended, m.mu.generation
	m.goLocked(func() { m.dial(ctx, p, generation) })
}

// dial is the dial goroutine of one peer: it connects, says who this server is, and goes on as the
// connection's reader; unless the peer has the higher id and is to connect back.
func (m *CnxManager) dial(ctx context.Context, p *cnxPeer, generation int) {
	for {
		m.mu.Lock()
		lists := m.addressesLocked(p)
		p.callBack, p.wanted = nil, false
		m.mu.Unlock()
		conn, down := m.connect(ctx, p.id, lists)
		m.mu.Lock()
		if m.mu.closed || generation != m.mu.generation {
			m.mu.Unlock()
			if conn != nil {
				conn.Close()
			}
			return
		}
		switch {
		case conn != nil && p.id < m.opts.Self:
			p.dialing, p.callBack, p.wanted = false, nil, false
			m.mu.Unlock()
			m.run(conn, p.id, generation)
			return
		case conn != nil:
			// The peer may have called back by now.
			knocked := make(chan struct{})
			if p.cnx != nil {
				close(knocked)
			} else {
				p.knocked = knocked
			}
			m.mu.Unlock()
			m.log.Info(fmt.Sprintf("Have smaller server identifier, so dropping the connection: (myId:%d --> sid:%d)", m.opts.Self, p.id))
			conn.Close()
			select {
			case <-knocked:
			case <-ctx.Done():
			case <-time.After(connectBackWait):
			}
			m.mu.Lock()
			p.knocked = nil
		}
		again := p.wanted && p.cnx == nil
		if !again {
			p.dialing = false
		}
		m.mu.Unlock()
		if down {
			// Not before dialing is over: what is sent because of it shall dial again.
			m.emit(generation, Event{Kind: PeerDown, From: p.id})
		}
		if !again {
			return
		}
	}
}

// addressesLocked returns the lists of addresses to try, one after the other: those that the peer gave, or
// those of the committed and of the last-seen config.
func (m *CnxManager) addressesLocked(p *cnxPeer) [][]quorum.Addr {
	if len(p.callBack) > 0 {
		return [][]quorum.Addr{p.callBack}
	}
	committed, lastSeen := m.memberLocked(p.id)
	var lists [][]quorum.Addr
	if committed != nil {
		lists = append(lists, committed.ElectionAddrs)
	}
	if lastSeen != nil && (committed == nil || !slices.Equal(committed.ElectionAddrs, lastSeen.ElectionAddrs)) {
		lists = append(lists, lastSeen.ElectionAddrs)
	}
	return lists
}

// connect makes a connection, on which the initial message has been sent and this server is
// authenticated; nil if that fails, and down if the peer is certainly not running.
func (m *CnxManager) connect(ctx context.Context, id quorum.ServerID, lists [][]quorum.Addr) (conn net.Conn, down bool) {
	if len(lists) == 0 {
		m.log.Warn(fmt.Sprintf("Invalid server id: %d ", id))
		return nil, false
	}
	channel := "channel"
	if m.opts.Network.Secure {
		channel = "secure channel"
	}
	down = true
	for _, addrs := range lists {
		dialCtx, cancel := context.WithTimeout(ctx, m.opts.ConnectTimeout)
		conn, to, failed := m.opts.Network.dialAny(dialCtx, addrs)
		cancel()
		if ctx.Err() != nil {
			if conn != nil {
				conn.Close()
			}
			return nil, false
		}
		for _, f := range failed {
			m.log.Warn(fmt.Sprintf("Cannot open %s to %d at election address %s", channel, id, f), "err", f.err)
		}
		down = down && refused(failed)
		if conn == nil {
			continue
		}
		err := m.sendHello(ctx, conn, id)
		if err == nil {
			return conn, false
		}
		conn.Close()
		if ctx.Err() == nil {
			m.log.Warn(fmt.Sprintf("Cannot open %s to %d at election address %s", channel, id, to), "err", err)
		}
		return nil, false
	}
	return nil, down
}

// sendHello says who this server is, in one write as Java demands, and authenticates it.
func (m *CnxManager) sendHello(ctx context.Context, conn net.Conn, id quorum.ServerID) error {
	// A Reset or Close in the middle ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(m.opts.ConnectTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(m.hello)
	if err == nil && m.opts.AuthLearner != nil {
		err = m.opts.AuthLearner(conn, id)
	}
	return errors.Join(err, conn.SetDeadline(time.Time{}))
}
