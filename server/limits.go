package server

import (
	"net/netip"
	"sync"
	"time"
)

// addressLimit counts connections per client address (maxClientCnxns; client protocol, section 9.6).
type addressLimit struct {
	sync.Mutex // guards counts
	counts     map[netip.Addr]int
	max        int // 0: no limit
}

// admit counts a connection, or tells that its address has enough of them.
func (a *addressLimit) admit(addr netip.Addr) bool {
	a.Lock()
	defer a.Unlock()
	if a.max > 0 && a.counts[addr] >= a.max {
		return false
	}
	a.counts[addr]++
	return true
}

func (a *addressLimit) release(addr netip.Addr) {
	a.Lock()
	defer a.Unlock()
	if a.counts[addr]--; a.counts[addr] <= 0 {
		delete(a.counts, addr)
	}
}

// connectThrottle is the token bucket for connect requests (zookeeper.connection_throttle_tokens;
// client protocol, section 9.6).
type connectThrottle struct {
	sync.Mutex // guards tokens and filledAt
	tokens     int
	filledAt   time.Duration
	max        int // 0: off
	interval   time.Duration
	perFill    int
}

// admit takes need tokens at time now, or tells that there are not so many. deficit is how many are missing then.
func (t *connectThrottle) admit(now time.Duration, need int) (admitted bool, deficit int) {
	if t.max == 0 {
		return true, 0
	}
	t.Lock()
	defer t.Unlock()
	if fills := int64((now - t.filledAt) / t.interval); fills > 0 {
		t.filledAt += time.Duration(fills) * t.interval
		t.tokens = int(min(int64(t.max), int64(t.tokens)+fills*int64(t.perFill)))
	}
	if t.tokens < need {
		return false, t.max - t.tokens
	}
	t.tokens -= need
	return true, t.max - t.tokens
}
