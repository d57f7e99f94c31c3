package transport

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"zabra.dev/zabra/quorum"
)

// listenAll binds every address once, and leaves those that fail to goroutines of their own.
func (m *CnxManager) listenAll() {
	retries := "infinite"
	if m.opts.BindAttempts > 0 {
		retries = strconv.Itoa(m.opts.BindAttempts)
	}
	m.log.Info("Election port bind maximum retries is " + retries)
	m.mu.Lock()
	defer m.mu.Unlock()
	bound := map[string]bool{}
	for _, a := range m.opts.Addrs {
		if m.opts.ListenAllIPs {
			a.Host = "0.0.0.0"
		}
		address := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
		if m.opts.ListenAllIPs {
			address = ":" + strconv.Itoa(a.Port) // both families
		}
		if bound[address] {
			continue
		}
		bound[address] = true
		l, err := m.opts.Network.Listen(m.ctx, address)
		if err == nil {
			m.mu.listeners = append(m.mu.listeners, l)
		}
		m.goLocked(func() { m.listen(l, err, address) })
	}
}

// listen is the accept goroutine of one address; l is nil when the first attempt to bind it failed
// with err.
func (m *CnxManager) listen(l net.Listener, err error, address string) {
	log := m.log.With("thread", "ListenerHandler-"+address)
	for failures := 0; ; {
		if err == nil {
			log.Info(fmt.Sprintf("%d is accepting connections now, my election bind port: %s", m.opts.Self, javaAddr(l.Addr())))
			err = m.accept(l)
			failures = 0 // it worked once
		}
		if m.ctx.Err() != nil {
			return
		}
		log.Error("Exception while listening to address "+address, "err", err)
		failures++
		if m.opts.BindAttempts > 0 && failures >= m.opts.BindAttempts {
			log.Error("As I'm leaving the listener thread, I won't be able to participate in leader election any longer: " + address)
			m.opts.ListenFailed(fmt.Errorf("transport: election port %s: %w", address, err))
			return
		}
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(m.opts.BindPause):
		}
		if l, err = m.opts.Network.Listen(m.ctx, address); err == nil && !m.addListener(l) {
			l.Close()
			return
		}
	}
}

func (m *CnxManager) addListener(l net.Listener) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mu.closed {
		m.mu.listeners = append(m.mu.listeners, l)
	}
	return !m.mu.closed
}

// accept takes connections until the listener fails. It reads from none of them: a peer that
// connects and stays silent must not keep others out, as it does in Java.
func (m *CnxManager) accept(l net.Listener) error {
	defer func() {
		l.Close()
		m.mu.Lock()
		m.mu.listeners = slices.DeleteFunc(m.mu.listeners, func(o net.Listener) bool { return o == l })
		m.mu.Unlock()
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if isTemporary(err) && m.pause(10*time.Millisecond) {
				continue // no file descriptor left, or the like: this passes
			}
			return err
		}
		m.log.Info("Received connection request from " + javaAddr(conn.RemoteAddr()))
		m.mu.Lock()
		if m.mu.closed {
			m.mu.Unlock()
			conn.Close()
			return ErrClosed
		}
		if len(m.mu.handshakes) == handshakesMax {
			m.mu.handshakes[0].Close()
			m.mu.handshakes = slices.Delete(m.mu.handshakes, 0, 1)
		}
		m.mu.handshakes = append(m.mu.handshakes, conn)
		generation := m.mu.generation
		m.goLocked(func() { m.shakeHands(conn, generation) })
		m.mu.Unlock()
	}
}

// isTemporary reports whether accepting may work again by itself.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// pause waits, and reports false if the manager was closed meanwhile.
func (m *CnxManager) pause(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// shakeHands learns who opened conn and does what the ids demand (section 2.1).
func (m *CnxManager) shakeHands(conn net.Conn, generation int) {
	raw := conn
	h, conn, err := m.readHello(raw)
	m.mu.Lock()
	m.mu.handshakes = slices.DeleteFunc(m.mu.handshakes, func(c net.Conn) bool { return c == raw })
	m.mu.Unlock()
	if err != nil {
		if m.ctx.Err() == nil {
			m.log.Error("Initial message parsing error!", "from", javaAddr(raw.RemoteAddr()), "err", err)
		}
		raw.Close()
		return
	}
	switch {
	case h.id == m.opts.Self:
		m.log.Warn("We got a connection request from a server with our own ID. This should be either a configuration error, or a bug.")
		conn.Close()
	case h.id < m.opts.Self:
		conn.Close()
		m.connectBack(h, generation)
	default:
		m.run(conn, h.id, generation)
	}
}

// readHello gives what the peer says of itself, and the connection to go on with.
func (m *CnxManager) readHello(conn net.Conn) (hello, net.Conn, error) {
	deadline := time.Now().Add(m.opts.HandshakeTimeout)
	if err := conn.SetDeadline(deadline); err != nil {
		return hello{}, nil, err
	}
	h, err := readHello(conn)
	if err == nil {
		conn, err = m.opts.Auth.accepted(conn, deadline)
	}
	if err != nil {
		return hello{}, nil, err
	}
	return h, conn, conn.SetDeadline(time.Time{})
}

// connectBack ends the connection with a server of a lower id, which by its knocking shows that it has
// none, and opens one.
func (m *CnxManager) connectBack(h hello, generation int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed || generation != m.mu.generation || m.isFullLocked(h.id) {
		return
	}
	p := m.peerLocked(h.id)
	if p.cnx != nil {
		p.cnx.close()
		p.cnx = nil
	}
	p.callBack, p.wanted = h.addrs, true
	m.dialLocked(p)
}

// isFullLocked reports whether a server that no config names is one too many.
func (m *CnxManager) isFullLocked(id quorum.ServerID) bool {
	isStranger := func(id quorum.ServerID) bool {
		committed, lastSeen := m.memberLocked(id)
		return committed == nil && lastSeen == nil
	}
	if !isStranger(id) || m.mu.peers[id] != nil {
		return false
	}
	strangers := 0
	for other := range m.mu.peers {
		if isStranger(other) {
			strangers++
		}
	}
	return strangers >= strangersMax
}
