package server

import (
	"net/netip"
	"testing"
	"time"
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
		if got, deficit := th.admit(c.at); got != c.want || deficit != c.deficit {
			t.Fatalf("connect %d: %v, deficit %d; want %v, %d", i, got, deficit, c.want, c.deficit)
		}
	}
	th.admit(time.Hour)
	if th.tokens != 1 {
		t.Fatalf("%d tokens after a long time, want the bucket's 2 less 1", th.tokens)
	}
}
