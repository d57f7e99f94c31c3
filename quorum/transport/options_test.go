package transport

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// TestListenAllIPs: with quorumListenOnAllIPs the ports of the configured addresses are bound on the wildcard, once
// each, without it on the addresses.
func TestListenAllIPs(t *testing.T) {
	for _, all := range []bool{false, true} {
		var bound []string
		network := Network{Listen: func(ctx context.Context, address string) (net.Listener, error) {
			bound = append(bound, address)
			return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		}}
		addrs := []quorum.Addr{{Host: "127.0.0.1", Port: 2888}, {Host: "127.0.0.2", Port: 2888}}
		l, err := Listen(ListenerOptions{Addrs: addrs, ListenAllIPs: all, Network: network, Opened: func(*Link) {}})
		must(t, err)
		must(t, l.Close())
		if want := 2; all && (len(bound) != 1 || bound[0] != ":2888") || !all && len(bound) != want {
			t.Errorf("all: %v: the quorum port is bound to %q", all, bound)
		}
		var mu sync.Mutex
		bound = nil
		s := openSite(t, 1, configOf(t, listenLoopback(t)), nil, func(o *CnxOptions) {
			o.ListenAllIPs = all
			o.Network = Network{Listen: func(ctx context.Context, address string) (net.Listener, error) {
				mu.Lock()
				bound = append(bound, address)
				mu.Unlock()
				return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			}}
		})
		eventually(t, "the election port", func() bool { return s.Addr() != nil })
		mu.Lock()
		host, _, err := net.SplitHostPort(bound[0])
		mu.Unlock()
		if err != nil || (host == "") != all {
			t.Errorf("all: %v: the election port is bound to %q, %v", all, bound, err)
		}
	}
}

// TestKeepAlive looks at the sockets of both ends.
func TestKeepAlive(t *testing.T) {
	for _, on := range []bool{false, true} {
		n := Network{KeepAlive: on}.withDefaults()
		l, err := n.Listen(context.Background(), "127.0.0.1:0")
		must(t, err)
		out, err := n.Dial(context.Background(), "127.0.0.1", netip.MustParseAddrPort(l.Addr().String()))
		must(t, err)
		in, err := l.Accept()
		must(t, err)
		for _, c := range []net.Conn{out, in} {
			raw, err := c.(*net.TCPConn).SyscallConn()
			must(t, err)
			var got int
			var sockErr error
			must(t, raw.Control(func(fd uintptr) {
				got, sockErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			}))
			must(t, sockErr)
			if (got != 0) != on {
				t.Errorf("keep-alive %v: the socket has %d", on, got)
			}
			must(t, c.Close())
		}
		must(t, l.Close())
	}
}

// TestConnectTimeout: a peer that does not answer is given up after cnxTimeout.
func TestConnectTimeout(t *testing.T) {
	noLeaks(t)
	const limit = 20 * time.Millisecond
	config := configOf(t, listenLoopback(t), listenLoopback(t))
	given := make(chan time.Duration, 16)
	s := openSite(t, 2, config, listenLoopback(t), func(o *CnxOptions) {
		o.ConnectTimeout = limit
		listen := o.Network.Listen
		o.Network = Network{Listen: listen, Dial: func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
			deadline, _ := ctx.Deadline()
			select {
			case given <- time.Until(deadline):
			default:
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	})
	s.Send(1, vote(1, config))
	if left := <-given; left <= 0 || left > limit {
		t.Errorf("the dial may take %v, the limit is %v", left, limit)
	}
	eventually(t, "the failure", func() bool { return s.log.has("Cannot open channel to 1 at election address") })
}
