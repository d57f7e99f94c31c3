//go:build interop

package interop

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A proxy stands between a client program and its server, so that the program can have its
// connection cut without ending its session. The program sends one byte to the control
// address: 'd' drops all connections and lets none in, 'u' lets them in again; the proxy
// answers with the same byte when it is done.
type proxy struct {
	addr, control string

	mu    sync.Mutex // guards down and conns
	down  bool
	conns map[net.Conn]bool
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{conns: map[net.Conn]bool{}}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		return l
	}
	l, ctl := listen(), listen()
	p.addr, p.control = l.Addr().String(), ctl.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c, target) })
		}
	})
	wg.Go(func() {
		for {
			c, err := ctl.Accept()
			if err != nil {
				return
			}
			var b [1]byte
			if _, err := io.ReadFull(c, b[:]); err == nil {
				p.set(b[0] == 'd')
				c.Write(b[:])
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		ctl.Close()
		p.set(true)
		wg.Wait()
	})
	return p
}

func (p *proxy) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			c.Close()
		}
	}
}

// keep notes an open connection; false when none may be open.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.conns[c] = true
	}
	return !p.down
}

func (p *proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

func (p *proxy) serve(c net.Conn, target string) {
	defer p.forget(c)
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.forget(s)
	if !p.keep(c) || !p.keep(s) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(s, c); s.Close() })
	io.Copy(c, s)
	c.Close()
	wg.Wait()
}
