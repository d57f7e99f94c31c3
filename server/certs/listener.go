package certs

import (
	"bufio"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// firstByteTimeout is how long a connection may take to show whether it speaks TLS.
	firstByteTimeout = 5 * time.Second
	// recordHandshake is the first byte of a TLS connection; no method of HTTP begins with it.
	recordHandshake = 0x16
	// acceptPause is how long after a failed accept the next is tried: descriptors may become free.
	acceptPause = 20 * time.Millisecond
)

// Unify returns a listener that takes connections with and without TLS from l, which it takes: the first byte
// tells. plain is called, on any goroutine, for each one without. Closing it waits for its goroutines.
// Source: operations, section 4.1 (portUnification).
func Unify(l net.Listener, cfg *tls.Config, plain func()) net.Listener {
	u := &unified{Listener: l, cfg: cfg, plain: plain, ready: make(chan net.Conn), closed: make(chan struct{})}
	u.running.Go(u.acceptLoop)
	return u
}

type unified struct {
	net.Listener
	cfg     *tls.Config
	plain   func()
	ready   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup // the accept loop and a goroutine for each connection that says nothing yet
}

// Accept implements net.Listener.
func (u *unified) Accept() (net.Conn, error) {
	select {
	case c := <-u.ready:
		return c, nil
	case <-u.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (u *unified) Close() error {
	err := net.ErrClosed
	u.once.Do(func() {
		close(u.closed)
		err = u.Listener.Close()
		u.running.Wait()
	})
	return err
}

func (u *unified) acceptLoop() {
	for {
		c, err := u.Listener.Accept()
		if err == nil {
			u.running.Go(func() { u.sort(c) })
			continue
		}
		select {
		case <-u.closed:
			return
		case <-time.After(acceptPause):
		}
	}
}

// sort waits for the first byte of c and hands it on as what it is.
func (u *unified) sort(c net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-u.closed:
			_ = c.Close() // ends the wait below
		case <-stop:
		}
	}()
	p := &peeked{Conn: c, r: bufio.NewReader(c)}
	err := c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	var first []byte
	if err == nil {
		first, err = p.r.Peek(1)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = c.Close()
		return
	}
	var out net.Conn = p
	if first[0] == recordHandshake {
		out = tls.Server(p, u.cfg)
	} else if u.plain != nil {
		u.plain()
	}
	select {
	case u.ready <- out:
	case <-u.closed:
		_ = c.Close()
	}
}

// peeked is a connection of which some bytes have been read ahead.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }
