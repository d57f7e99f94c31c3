package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// TestDialAny dials addresses of which some are dead, some refuse and some are slow.
func TestDialAny(t *testing.T) {
	alive := listenLoopback(t)
	refusing := listenLoopback(t)
	must(t, refusing.Close())
	at := func(host string, l net.Listener) quorum.Addr { return quorum.Addr{Host: host, Port: port(l.Addr())} }
	release := make(chan struct{})
	n := Network{
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "known":
				return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
			case "empty":
				return nil, nil
			}
			return nil, errors.New("no such host")
		},
	}.withDefaults()
	plain := n.Dial
	n.Dial = func(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
		if host == "127.0.0.9" { // nobody answers there
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-release:
				return nil, errors.New("released")
			}
		}
		return plain(ctx, host, to)
	}
	f := func(want string, failed string, addrs ...quorum.Addr) []attempt {
		t.Helper()
		conn, to, attempts := n.dialAny(context.Background(), addrs)
		got := ""
		if conn != nil {
			got = to.String()
			must(t, conn.Close())
		}
		text := ""
		for _, a := range attempts {
			text += a.String() + " "
		}
		if got != want || text != failed {
			t.Errorf("connected to %q after %q, want %q after %q", got, text, want, failed)
		}
		return attempts
	}
	a := alive.Addr().String()
	r := refusing.Addr().String()
	p := a[len("127.0.0.1:"):]
	f("/"+a, "", at("127.0.0.1", alive))
	f("known/"+a, "", at("known", alive))
	f("/"+a, "", at("127.0.0.9", alive), at("127.0.0.1", alive))
	f("/"+a, "/"+r+" ", at("127.0.0.1", refusing), at("127.0.0.1", alive))
	f("/"+a, "nowhere/<unresolved>:"+p+" ", at("nowhere", alive), at("127.0.0.1", alive))
	f("", "empty/<unresolved>:"+p+" ", at("empty", alive))
	f("", "/<unresolved>:0 ")
	if refused(f("", "nowhere/<unresolved>:"+p+" /"+r+" ", at("127.0.0.1", refusing), at("nowhere", alive))) {
		t.Error("an unknown name counts as refused")
	}
	attempts := f("", "/"+r+" ", at("127.0.0.1", refusing))
	if !refused(attempts) || !errors.Is(attempts[0].err, syscall.ECONNREFUSED) || refused(nil) {
		t.Errorf("%v", attempts)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	conn, _, attempts := n.dialAny(ctx, []quorum.Addr{at("127.0.0.9", alive)})
	if conn != nil || len(attempts) != 1 || refused(attempts) {
		t.Errorf("%v", attempts)
	}
	close(release)
}

// TestDialAnySecondWinner: a connection that comes second is closed.
func TestDialAnySecondWinner(t *testing.T) {
	l := listenLoopback(t)
	both := make(chan struct{}, 2)
	n := Network{}.withDefaults()
	plain := n.Dial
	n.Dial = func(_ context.Context, host string, to netip.AddrPort) (net.Conn, error) {
		both <- struct{}{}
		for len(both) < 2 { // until the second one has begun, too
			<-time.After(time.Millisecond)
		}
		return plain(context.Background(), host, to)
	}
	a := quorum.Addr{Host: "127.0.0.1", Port: port(l.Addr())}
	conn, _, _ := n.dialAny(context.Background(), []quorum.Addr{a, a})
	if conn == nil {
		t.Fatal("no connection")
	}
	defer conn.Close()
	closed := 0
	for range 2 {
		c, err := l.Accept()
		must(t, err)
		defer c.Close()
		if c.RemoteAddr().String() == conn.LocalAddr().String() {
			continue
		}
		must(t, c.SetDeadline(time.Now().Add(patience)))
		rawClosed(t, c)
		closed++
	}
	if closed != 1 {
		t.Errorf("%d closed", closed)
	}
}
