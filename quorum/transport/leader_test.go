package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// TestLeaderAndLearner connects by the listener and the dialer, through the moments in which a new leader
// has no port yet.
func TestLeaderAndLearner(t *testing.T) {
	noLeaks(t)
	reserved := listenLoopback(t)
	addr := quorum.Addr{Host: "127.0.0.1", Port: port(reserved.Addr())}
	must(t, reserved.Close())
	var book logBook
	opened := make(chan *Link, 1)
	var listener *Listener
	tries := 0
	network := Network{}.withDefaults()
	plain := network.Dial
	dialed := make(chan struct{})
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		<-dialed
		var err error
		if listener, err = Listen(ListenerOptions{Addrs: []quorum.Addr{addr, addr}, Opened: func(l *Link) { opened <- l }}); err != nil {
			t.Error(err)
		}
	}()
	network.Dial = func(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
		if tries++; tries == 3 {
			close(dialed)
			<-listening
		}
		return plain(ctx, host, to)
	}
	learner, err := DialLeader(context.Background(), LeaderOptions{Addrs: []quorum.Addr{addr}, Network: network, Limit: patience, Log: book.logger()})
	must(t, err)
	leader := <-opened
	cl, cr := newCollector(), newCollector()
	leader.Start(cl)
	learner.Start(cr)
	must(t, learner.Send(quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 0, []byte("x"))))
	eventually(t, "FOLLOWERINFO", cl.got(21))
	must(t, listener.Close()) // its links stay
	must(t, leader.Send(quorum.AppendPacket(nil, quorum.PacketLeaderInfo, 0, []byte("x"))))
	eventually(t, "LEADERINFO", cr.got(21))
	if learner.RemoteAddr() != "/"+listener.Addr().String() {
		t.Errorf("%s", learner.RemoteAddr())
	}
	learner.Close()
	leader.Close()
	if listener.links.Load() != 0 {
		t.Errorf("%d links", listener.links.Load())
	}
	for _, line := range []string{
		"WARN Unexpected exception, tries=0, remaining init limit=",
		", connecting to /" + reserved.Addr().String() + ": ",
		"INFO Successfully connected to leader, using address: /" + reserved.Addr().String(),
	} {
		if !book.has(line) {
			t.Errorf("no %q in\n%s", line, &book)
		}
	}
	if tries != 3 {
		t.Errorf("%d tries", tries)
	}
}

func TestLeaderNotReached(t *testing.T) {
	noLeaks(t)
	gone := listenLoopback(t)
	must(t, gone.Close())
	addrs := []quorum.Addr{{Host: "127.0.0.1", Port: port(gone.Addr())}}
	f := func(ctx context.Context, window, limit time.Duration, want error, line string) {
		t.Helper()
		var book logBook
		_, err := DialLeader(ctx, LeaderOptions{Addrs: addrs, Window: window, Limit: limit, Pause: 2 * time.Millisecond, Log: book.logger()})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if line != "" && !book.has(line) {
			t.Errorf("no %q in\n%s", line, &book)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	f(context.Background(), time.Nanosecond, time.Hour, ErrNoLeader, "ERROR Unexpected exception, retries exceeded. tries=1, ")
	f(context.Background(), time.Hour, 10*time.Millisecond, ErrNoLeader, "ERROR Unexpected exception, connectToLeader exceeded. tries=")
	f(cancelled, 0, time.Hour, context.Canceled, "")
}

func TestListener(t *testing.T) {
	noLeaks(t)
	taken := listenLoopback(t)
	addr := quorum.Addr{Host: "127.0.0.1", Port: port(taken.Addr())}
	if _, err := Listen(ListenerOptions{Addrs: []quorum.Addr{{Host: "127.0.0.1"}, addr}}); err == nil {
		t.Error("a port that is taken is bound")
	}
	var book logBook
	first := make(chan struct{})
	l, err := Listen(ListenerOptions{
		Addrs: []quorum.Addr{addr}, Log: book.logger(), Opened: func(l *Link) { l.Shutdown(nil) },
		Network: Network{Listen: func(context.Context, string) (net.Listener, error) {
			return &flakyListener{Listener: taken, failed: first}, nil
		}},
	})
	must(t, err)
	<-first
	c := rawDial(t, l.Addr(), nil)
	rawClosed(t, c)
	eventually(t, "no link", func() bool { return l.links.Load() == 0 })
	l.links.Add(linksMax)
	rawClosed(t, rawDial(t, l.Addr(), nil))
	for _, line := range []string{"WARN Exception while accepting learners: not now", "WARN Too many learners"} {
		if !book.has(line) {
			t.Errorf("no %q in\n%s", line, &book)
		}
	}
	must(t, l.Close())
	must(t, l.Close())
}

// flakyListener fails once.
type flakyListener struct {
	net.Listener
	once   sync.Once
	failed chan struct{}
}

func (l *flakyListener) Accept() (c net.Conn, err error) {
	l.once.Do(func() {
		err = errors.New("not now")
		close(l.failed)
	})
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}
