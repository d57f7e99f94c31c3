package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// A logBuffer is a log that a test reads.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.buf.String(), text)
}

// Sessions of a server whose id is 128 or more have negative ids. The log writes them as Java does, without a sign.
func TestSessionIDsInLog(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.ServerID = 200
	var log logBuffer
	s, err := Start(o, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, s) })
	resp, err := dialRaw(t, s).NewSession(400 * time.Millisecond)
	if err != nil || resp.SessionID >= 0 {
		t.Fatalf("%+v, %v; want a negative id", resp, err)
	}
	id := fmt.Sprintf("0x%x", uint64(resp.SessionID))
	again := func(zxid proto.Zxid, password []byte) {
		t.Helper()
		// The server hangs up in some of the cases, without a word.
		_, _ = dialRaw(t, s).Handshake(proto.ConnectRequest{TimeoutMs: 400, SessionID: resp.SessionID, Password: password, LastZxidSeen: zxid})
	}
	again(0, make([]byte, 16))
	again(1<<40, resp.Password[:])
	for _, want := range []string{
		"Incorrect password from", "for session " + id, "Refusing session(" + id + ")", "Expiring session " + id + ", timeout of 400ms exceeded",
	} {
		waitFor(t, func() bool { return log.has(want) })
	}
	again(0, resp.Password[:])
	waitFor(t, func() bool { return log.has("Invalid session " + id) })
	if log.has("0x-") {
		t.Error("an id is written with a sign")
	}
}

func newTestTracker() *sessionTracker { return newSessionTracker(100, 0, 1, 1000) }

func expiredAt(t *sessionTracker, nowMs int64) (ids []proto.SessionID) {
	t.expire(nowMs, false, func(s *session) { ids = append(ids, s.id) })
	return ids
}

// A silent session expires after its timeout and at most one tick later.
func TestSessionExpiresWithinATick(t *testing.T) {
	tr := newTestTracker()
	s := tr.create(250, nil, 30)
	if got := expiredAt(tr, 280); len(got) != 0 {
		t.Fatalf("expired %v before its timeout was over", got)
	}
	if got := expiredAt(tr, 380); len(got) != 1 || got[0] != s.id || !s.closing {
		t.Fatalf("got %v, want %v closing", got, s.id)
	}
	if got := expiredAt(tr, 1000); len(got) != 0 {
		t.Fatalf("expired %v a second time", got)
	}
}

func TestSessionHeardOfLivesOn(t *testing.T) {
	tr := newTestTracker()
	c := &clientConn{}
	s := tr.create(250, c, 0)
	c.lastHeardMs.Store(240)
	if got := expiredAt(tr, 400); len(got) != 0 {
		t.Fatalf("expired %v though heard of", got)
	}
	tr.detach(s.id, c)
	if s.conn != nil || s.heardMs != 240 {
		t.Fatalf("after detach: %+v", s)
	}
	if got := expiredAt(tr, 600); len(got) != 1 {
		t.Fatalf("got %v, want one", got)
	}
}

// A re-attach with a shorter timeout takes effect before the old bucket comes up.
func TestSessionReattachShortens(t *testing.T) {
	tr := newTestTracker()
	a, b := &clientConn{}, &clientConn{}
	s := tr.create(10_000, a, 0)
	if before := tr.attach(s, b, 200, 50); before != a {
		t.Fatalf("got %p, want the first connection", before)
	}
	b.lastHeardMs.Store(50)
	if got := expiredAt(tr, 400); len(got) != 1 {
		t.Fatalf("got %v, want one", got)
	}
}

func TestFirstSessionID(t *testing.T) {
	f := func(server, wallMs int64, want uint64) {
		t.Helper()
		if got := uint64(firstSessionID(server, wallMs)); got != want {
			t.Errorf("server %d: got %#x, want %#x", server, got, want)
		}
	}
	f(1, 0xabcdef, 0x010000abcdef0000)
	f(255, 1, 0xff00000000010000)
	f(0x80, 0, 0x8000000000000001)
}

// After a pause of the whole process the pings that came meanwhile are read before anybody expires.
func TestPauseExpiresNobody(t *testing.T) {
	s := stillServer(t)
	c := stillClient(s)
	x := s.replica.sessions.sessions[c.session]
	x.timeoutMs = 400
	s.replica.sessions.schedule(x, s.nowMs())
	s.replica.tick()
	pause := func(d time.Duration) { s.began = s.began.Add(-d) }
	pause(10 * time.Second)
	s.replica.tick()
	if x.closing {
		t.Fatal("a session expired before what waits in the sockets was read")
	}
	c.lastHeardMs.Store(s.nowMs())
	pause(250 * time.Millisecond)
	s.replica.tick()
	if x.closing {
		t.Fatal("a session that was heard of expired")
	}
	for range 5 {
		pause(250 * time.Millisecond)
		s.replica.tick()
	}
	if !x.closing {
		t.Fatal("a silent session lives on")
	}
}
