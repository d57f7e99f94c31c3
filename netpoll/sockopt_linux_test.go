package netpoll

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSocketOptions: accepted sockets have TCP_NODELAY, and keepalive as asked; a backlog is accepted.
func TestSocketOptions(t *testing.T) {
	for _, keep := range []time.Duration{0, 90 * time.Second} {
		im := &socketImpl{driver: DriverGnet}
		r := newRecorder(t)
		s, err := Start(Options{
			Listeners:    []Listener{{Address: "127.0.0.1:0", Backlog: 7}, {Address: "127.0.0.1:0"}},
			TCPKeepAlive: keep, NumLoops: 1,
		}, r)
		if err != nil {
			t.Fatal(err)
		}
		im.srv = s
		c, err := net.Dial("tcp", s.Addr(1).String())
		if err != nil {
			t.Fatal(err)
		}
		im.await(t, "opened", func() bool { return r.count("opened") == 1 })
		fd := r.conn(0).(*conn).tr.(*gnetConn).gc.Fd()
		f := func(level, opt, want int) {
			t.Helper()
			if v, err := unix.GetsockoptInt(fd, level, opt); err != nil || v != want {
				t.Errorf("keepalive %v: option %d is %d (%v), want %d", keep, opt, v, err, want)
			}
		}
		f(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if keep == 0 {
			f(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
		} else {
			f(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			f(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 90)
		}
		c.Close()
		im.stop(t)
	}
}
