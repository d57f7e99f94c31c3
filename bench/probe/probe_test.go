package probe

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/server/client/clienttest"
)

func TestLongest(t *testing.T) {
	at := func(ms ...int) []time.Time {
		var all []time.Time
		for _, m := range ms {
			all = append(all, time.UnixMilli(int64(m)))
		}
		return all
	}
	for _, c := range []struct {
		all  []time.Time
		want time.Duration
	}{{nil, 0}, {at(5), 0}, {at(5, 1, 30, 31), 25 * time.Millisecond}, {at(2, 2), 0}} {
		if got := longest(c.all); got != c.want {
			t.Errorf("%v: %v, want %v", c.all, got, c.want)
		}
	}
}

// A gate forwards connections to a server while it is open.
type gate struct {
	addr  string
	mu    sync.Mutex // guards the rest
	shut  bool
	conns []net.Conn
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil || !g.admit(in, out) {
				_ = in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
					_ = way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.set(true)
		wg.Wait()
	})
	return g
}

func (g *gate) admit(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		_ = conns[1].Close()
		return false
	}
	g.conns = append(g.conns, conns...)
	return true
}

// set shuts the gate, which breaks its connections, or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// Sessions go on at the other address when one ends, and the time without both is a gap.
func TestProbe(t *testing.T) {
	addr := clienttest.StartZabra(t)
	first, second := newGate(t, addr), newGate(t, addr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := Start(ctx, Options{Addrs: []string{first.addr, second.addr}, Sessions: 4, Path: "/probe", Pause: time.Millisecond, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	served := func() {
		t.Helper()
		for since := time.Now(); !p.ServedSince(since); time.Sleep(time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatal("a session is not served")
			}
		}
	}
	served()
	first.set(true)
	served()
	p.Reset()
	second.set(true)
	down := time.Now()
	const outage = 50 * time.Millisecond
	time.Sleep(outage)
	if p.ServedSince(down) {
		t.Error("served without a server")
	}
	first.set(false)
	served()
	if g := p.Gaps(); g.Ensemble < outage || g.Session < g.Ensemble {
		t.Errorf("%+v", g)
	}
}

func TestStartFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	g := newGate(t, "127.0.0.1:1")
	if p, err := Start(ctx, Options{Addrs: []string{g.addr}, Sessions: 1, Path: "/probe"}); err == nil {
		p.Stop()
		t.Error("started without a server")
	}
}
