package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
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
	for resets := 0; ; {
		m.mu.Lock()
		lists := m.addressesLocked(p)
		p.callBack, p.wanted = nil, false
		m.mu.Unlock()
		conn, down, reset := m.connect(ctx, p.id, lists)
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
			reset = awaitCallBack(ctx, conn, knocked)
			m.mu.Lock()
			p.knocked = nil
		}
		// A process that dies goes on accepting until its last socket is closed. The next attempt is refused then, and
		// nobody has to wait for the vote of a server that is not there.
		if reset {
			resets++
		}
		again := (p.wanted || reset && resets == 1) && p.cnx == nil
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

// awaitCallBack waits on a knock until the peer has called back or has had the time to, closes the knock, and tells
// whether the peer reset it: it went away with the knock unread.
func awaitCallBack(ctx context.Context, knock net.Conn, knocked <-chan struct{}) (reset bool) {
	read := make(chan error, 1)
	go func(read chan<- error) { // ends with the knock
		_, err := knock.Read(make([]byte, 1))
		read <- err
	}(read)
	timer := time.NewTimer(connectBackWait)
	defer timer.Stop()
	for waiting := true; waiting && !reset; {
		select {
		case <-knocked:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-timer.C:
			waiting = false
		case err := <-read:
			read = nil // closed in order: the knock was heard
			reset = errors.Is(err, syscall.ECONNRESET)
		}
	}
	knock.Close()
	if read != nil {
		<-read
	}
	return reset
}

// connect makes a connection, on which the initial message has been sent and this server is
// authenticated; nil if that fails, down if the peer is certainly not running, and reset if it went away meanwhile.
func (m *CnxManager) connect(ctx context.Context, id quorum.ServerID, lists [][]quorum.Addr) (conn net.Conn, down, reset bool) {
	if len(lists) == 0 {
		m.log.Warn(fmt.Sprintf("Invalid server id: %d ", id))
		return nil, false, false
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
			return nil, false, false
		}
		for _, f := range failed {
			m.log.Warn(fmt.Sprintf("Cannot open %s to %d at election address %s", channel, id, f), "err", f.err)
		}
		down = down && refused(failed)
		if conn == nil {
			continue
		}
		err := m.sendHello(ctx, conn)
		if err == nil {
			return conn, false, false
		}
		conn.Close()
		if ctx.Err() == nil {
			m.log.Warn(fmt.Sprintf("Cannot open %s to %d at election address %s", channel, id, to), "err", err)
		}
		return nil, false, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	return nil, down, false
}

// sendHello says who this server is, in one write as Java demands, and authenticates it.
func (m *CnxManager) sendHello(ctx context.Context, conn net.Conn) error {
	// A Reset or Close in the middle ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(m.opts.ConnectTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(m.hello)
	if err == nil {
		err = m.opts.Auth.connected(conn, time.Now().Add(m.opts.ConnectTimeout))
	}
	return errors.Join(err, conn.SetDeadline(time.Time{}))
}
