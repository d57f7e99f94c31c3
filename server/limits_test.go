package server

import (
	"net/netip"
	"testing"
	"time"
)

func TestAddressLimit(t *testing.T) {
	a := addressLimit{counts: map[netip.Addr]int{}, max: 2}
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	if !a.admit(one) || !a.admit(one) || a.admit(one) || !a.admit(two) {
		t.Fatal("a limit of two per address is not kept")
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
	if !th.admit(0) || !th.admit(0) || th.admit(0) {
		t.Fatal("two tokens are not two connects")
	}
	if !th.admit(1500*time.Microsecond) || th.admit(1900*time.Microsecond) || !th.admit(2*time.Millisecond) {
		t.Fatal("tokens do not come back one a millisecond")
	}
	th.admit(time.Hour)
	if th.tokens != 1 {
		t.Fatalf("%d tokens after a long time, want the bucket's 2 less 1", th.tokens)
	}
}
