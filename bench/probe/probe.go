// Package probe tells how long clients are without service.
//
// A Probe keeps sessions that write one znode all the time, one request after another with a short pause, and notes when
// each write succeeded. A session whose connection breaks goes to the next server at once and takes its session along, as clients do, but
// without the random delays of most of them: what is measured is the servers. Its figures are gaps, the times between two writes that succeeded
// one after the other.
package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// Options tell what to probe.
type Options struct {
	Addrs    []string // client addresses; session i begins with element i modulo their count
	Sessions int
	Path     string        // of the znode that is written; it is made when it is missing
	Pause    time.Duration // between two writes of a session; it bounds the resolution
	Timeout  time.Duration // of sessions
}

const (
	// retryPause is the time between two attempts to connect, stepTime bounds each of their steps.
	retryPause = 2 * time.Millisecond
	stepTime   = time.Second
)

// A Probe is a group of sessions at work.
type Probe struct {
	o      Options
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards served
	// served has the writes of each session that succeeded since the last Reset, and the last one before it, in order.
	served [][]write
}

// A write is one that succeeded.
type write struct{ sent, answered time.Time }

// Start makes the znode and starts the sessions. The error is that of the first steps; later ones are what is measured. Who
// calls it must call Stop.
func Start(ctx context.Context, o Options) (*Probe, error) {
	c, err := client.Dial(ctx, o.Addrs[0], client.Options{})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	defer c.Close()
	if _, err := c.Create(ctx, o.Path, nil, proto.WorldAnyone, client.Persistent); err != nil && !errors.Is(err, proto.ErrNodeExists) {
		return nil, fmt.Errorf("probe: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Probe{o: o, cancel: cancel, served: make([][]write, o.Sessions)}
	for i := range o.Sessions {
		p.wg.Go(func() { p.run(ctx, i) })
	}
	return p, nil
}

// Stop ends the sessions without closing them at the servers.
func (p *Probe) Stop() {
	p.cancel()
	p.wg.Wait()
}

// Reset forgets all writes but the last of each session.
func (p *Probe) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, all := range p.served {
		p.served[i] = append(all[:0], all[max(0, len(all)-1):]...)
	}
}

// ServedSince tells whether every session has sent a write after t that has succeeded.
func (p *Probe) ServedSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, all := range p.served {
		if len(all) == 0 || !all[len(all)-1].sent.After(t) {
			return false
		}
	}
	return true
}

// Gaps are the longest times without a write that succeeded, since the last Reset.
type Gaps struct {
	// Ensemble is that of all sessions together, Session that of the session for which it was longest.
	Ensemble, Session time.Duration
}

// Gaps returns the longest gaps since the last Reset.
func (p *Probe) Gaps() Gaps {
	p.mu.Lock()
	defer p.mu.Unlock()
	var g Gaps
	var together []time.Time
	for _, all := range p.served {
		var own []time.Time
		for _, w := range all {
			own = append(own, w.answered)
		}
		g.Session = max(g.Session, longest(own))
		together = append(together, own...)
	}
	g.Ensemble = longest(together)
	return g
}

// run keeps one session.
func (p *Probe) run(ctx context.Context, i int) {
	s := session{probe: p, addr: i % len(p.o.Addrs)}
	defer s.drop()
	for ctx.Err() == nil {
		if s.conn == nil && !s.connect() {
			s.addr = (s.addr + 1) % len(p.o.Addrs)
			sleep(ctx, retryPause)
			continue
		}
		w := write{sent: time.Now()}
		if !s.write() {
			s.drop()
			s.addr = (s.addr + 1) % len(p.o.Addrs)
			continue
		}
		w.answered = time.Now()
		p.mu.Lock()
		p.served[i] = append(p.served[i], w)
		p.mu.Unlock()
		sleep(ctx, p.o.Pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
