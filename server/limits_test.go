package server

import (
	"net/netip"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/config"
)

func TestAddressLimit(t *testing.T) {
	a := addressLimit{counts: map[netip.Addr]int{}, max: 2}
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for i, c := range []struct {
		addr netip.Addr
		want bool
	}{{one, true}, {one, true}, {one, false}, {two, true}} {
		if a.admit(c.addr) != c.want {
			t.Fatalf("connection %d: a limit of two per address is not kept", i)
		}
	}
	a.release(one)
	if !a.admit(one) {
		t.Fatal("a released place is not free")
	}
	a.release(two)
	if len(a.counts) != 1 {
		t.Fatalf("%d addresses kept, want 1", len(a.counts))
	}
}

// With weights a connection costs what its session does, and one that the bucket has too little for costs nothing.
func TestConnectWeights(t *testing.T) {
	th := connectThrottle{tokens: 5, max: 6, interval: time.Hour, perFill: 1}
	for i, c := range []struct {
		need    int
		want    bool
		deficit int
	}{{3, true, 4}, {3, false, 4}, {2, true, 6}, {1, false, 6}} {
		if got, deficit := th.admit(0, c.need); got != c.want || deficit != c.deficit {
			t.Fatalf("connect %d: %v, deficit %d; want %v, %d", i, got, deficit, c.want, c.deficit)
		}
	}
	s := &Server{}
	is := func(session proto.SessionID, want int) {
		t.Helper()
		if got := s.tokensFor(session); got != want {
			t.Errorf("session 0x%x costs %d, want %d", session, got, want)
		}
	}
	is(0, 1)
	is(7, 1)
	s.opts.ConnectWeights = &config.SessionWeights{Global: 3, Renew: 2, Local: 1}
	is(0, 3)
	is(7, 2)
	s.opts.Ensemble = &EnsembleOptions{}
	is(0, 3)
	s.opts.Ensemble.LocalSessions = true
	is(0, 1)
	is(7, 2)

	// Over the wire: of four tokens a new session takes three, and the next one finds one.
	o := testOptions(t, t.TempDir())
	o.ConnectTokens, o.ConnectFillInterval, o.ConnectFillCount, o.ConnectWeights = 5, time.Hour, 1, s.opts.ConnectWeights
	srv := startServer(t, o)
	r := dialRaw(t, srv)
	resp, err := r.NewSession(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialRaw(t, srv).NewSession(20 * time.Second); err == nil {
		t.Error("a session for three tokens where there are two")
	}
	got, err := dialRaw(t, srv).Handshake(proto.ConnectRequest{TimeoutMs: 10000, SessionID: resp.SessionID, Password: resp.Password[:], HasReadOnly: true})
	if err != nil || got.SessionID != resp.SessionID {
		t.Errorf("the session does not come back for two tokens: %+v, %v", got, err)
	}
}

func TestConnectThrottle(t *testing.T) {
	th := connectThrottle{tokens: 2, max: 2, interval: time.Millisecond, perFill: 1}
	for i, c := range []struct {
		at      time.Duration
		want    bool
		deficit int
	}{
		{0, true, 1}, {0, true, 2}, {0, false, 2}, // two tokens are two connects
		{1500 * time.Microsecond, true, 2}, {1900 * time.Microsecond, false, 2}, {2 * time.Millisecond, true, 2}, // they come back one a millisecond
	} {
		if got, deficit := th.admit(c.at, 1); got != c.want || deficit != c.deficit {
			t.Fatalf("connect %d: %v, deficit %d; want %v, %d", i, got, deficit, c.want, c.deficit)
		}
	}
	th.admit(time.Hour, 1)
	if th.tokens != 1 {
		t.Fatalf("%d tokens after a long time, want the bucket's 2 less 1", th.tokens)
	}
}
