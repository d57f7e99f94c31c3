package snapshot

import (
	"sync"
	"time"
)

// A pacer spreads writes over time: wait(n) returns when n more bytes may be written. Up to burst can be
// written at once after a pause. A nil pacer does not wait.
type pacer struct {
	clock       Clock
	bytesPerSec int64
	burst       time.Duration
	stop        <-chan struct{} // closed: no more waiting

	mu   sync.Mutex
	next time.Duration // guarded by mu: when everything granted so far has been paid for
}

func newPacer(clock Clock, bytesPerSec int64, stop <-chan struct{}) *pacer {
	if bytesPerSec <= 0 {
		return nil
	}
	return &pacer{clock: clock, bytesPerSec: bytesPerSec, burst: 50 * time.Millisecond, stop: stop}
}

func (p *pacer) wait(n int) {
	if p == nil {
		return
	}
	cost := time.Duration(int64(n) * int64(time.Second) / p.bytesPerSec)
	p.mu.Lock()
	now := p.clock.Now()
	if p.next < now-p.burst {
		p.next = now - p.burst
	}
	p.next += cost
	delay := p.next - now
	p.mu.Unlock()
	if delay > 0 {
		p.clock.Sleep(delay, p.stop)
	}
}
