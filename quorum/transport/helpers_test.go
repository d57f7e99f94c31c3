package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// noLeaks fails the test if goroutines of this package are left at its end.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			buf := make([]byte, 1<<20)
			left = ""
			for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if strings.Contains(g, "quorum/transport.(*") && !strings.Contains(g, "testing.tRunner") {
					left += g + "\n\n"
				}
			}
			if left == "" {
				return
			}
			runtime.Gosched()
		}
		t.Errorf("goroutines left:\n%s", left)
	})
}

// logBook is a slog.Handler that keeps lines as MESSAGE: ERR.
type logBook struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }
func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			line += ": " + a.Value.String()
		}
		return true
	})
	b.mu.Lock()
	b.lines = append(b.lines, line)
	b.mu.Unlock()
	return nil
}

func (b *logBook) has(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if strings.Contains(l, part) {
			return true
		}
	}
	return false
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

func (b *logBook) logger() *slog.Logger { return slog.New(b) }

func listenLoopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

// serveOn is a Network that listens on a listener that is there already, again and again.
func serveOn(l net.Listener) Network {
	return Network{Listen: func(context.Context, string) (net.Listener, error) { return l, nil }}
}

// configOf makes a config of voters 1..n whose election ports are those of the listeners.
func configOf(t testing.TB, ls ...net.Listener) *quorum.Config {
	t.Helper()
	var b strings.Builder
	for i, l := range ls {
		fmt.Fprintf(&b, "server.%d=127.0.0.1:1:%d\n", i+1, port(l.Addr()))
	}
	c, err := quorum.ParseConfig([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// site is a manager in a test, with what came to it.
type site struct {
	t *testing.T
	*CnxManager
	log  *logBook
	wake chan struct{}
	mu   sync.Mutex // guards got
	got  []Event
}

// openSite opens the manager of server id of config on l.
func openSite(t *testing.T, id quorum.ServerID, config *quorum.Config, l net.Listener, change func(*CnxOptions)) *site {
	t.Helper()
	s := &site{t: t, log: &logBook{}, wake: make(chan struct{}, 1)}
	opts := CnxOptions{
		Self: id, Addrs: config.Member(id).ElectionAddrs, Committed: config, Log: s.log.logger(),
		Network: serveOn(l),
		Wake: func() {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		},
	}
	if change != nil {
		change(&opts)
	}
	m, err := OpenCnx(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.CnxManager = m
	t.Cleanup(m.Close)
	return s
}

// next waits for the next event of the kind, and skips others.
func (s *site) next(kind EventKind) Event {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		s.got = s.Drain(s.got)
		for len(s.got) > 0 {
			e := s.got[0]
			s.got = s.got[1:]
			if e.Kind == kind {
				s.mu.Unlock()
				return e
			}
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-deadline.C:
			s.t.Fatalf("no event of kind %d; log:\n%s", kind, s.log)
		}
	}
}

// vote makes a notification that is known by its round.
func vote(round int64, config *quorum.Config) *quorum.Notification {
	return &quorum.Notification{Vote: quorum.Vote{Leader: 1, Zxid: 2, ElectionEpoch: round, PeerEpoch: 3, State: quorum.Looking, Version: 2}, Config: config}
}

// frame is a notification as it stands on the wire.
func frame(n *quorum.Notification) []byte { return jute.AppendBuffer(nil, n.Append(nil)) }

// rawDial connects to a manager as a peer that the test plays.
func rawDial(t testing.TB, to net.Addr, say []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	if _, err := c.Write(say); err != nil {
		t.Fatal(err)
	}
	return c
}

// rawFrame reads one notification.
func rawFrame(t testing.TB, c net.Conn) *quorum.Notification {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, jute.Int32(head[:]))
	if _, err := io.ReadFull(c, msg); err != nil {
		t.Fatal(err)
	}
	n, _, err := quorum.DecodeNotification(msg)
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

// rawClosed waits until the other side has closed.
func rawClosed(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Fatalf("%d bytes, %v where a close is wanted", n, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
