package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotFilled reports that the keys of the run do not exist: Fill makes them.
	ErrNotFilled = errors.New("load: keys are missing")
	// ErrNoSession ends a run in which no session has been up for Config.Patience.
	ErrNoSession = errors.New("load: no session was up")
)

// closeTimeout bounds the closing of the sessions at the end.
const closeTimeout = 5 * time.Second

// A runner drives the loops through the phases of a run.
type runner struct {
	cfg    Config
	base   time.Time
	shared shared
	forms  *forms
	loops  []*loop
}

// Fill creates the keys of cfg with payloads of its sizes; keys that exist are set. It returns when all
// are there. Errors match ErrConfig, or tell what the servers answered.
func Fill(ctx context.Context, cfg Config) error {
	if cfg.Mix == (Mix{}) {
		cfg.Mix[Get] = 1
	}
	cfg.WatchesPerSession = 0
	r, err := newRunner(cfg)
	if err != nil {
		return err
	}
	defer r.watch(ctx)()
	defer r.closeSessions()
	if err := r.connect(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return errors.Join(r.fill(), ctx.Err())
}

func (r *runner) fill() error {
	if err := r.createParents(); err != nil {
		return err
	}
	var dirs []string
	for d := 0; d*r.cfg.KeysPerDir < r.cfg.Keys; d++ {
		dirs = append(dirs, fmt.Sprintf("%s/d%0*d", r.cfg.Root, dirDigits, d))
	}
	if err := r.list(pathSource(r.forms, dirs)); err != nil {
		return err
	}
	var exist atomic.Bool
	if err := r.list(keySource(&r.cfg, &exist)); err != nil || !exist.Load() {
		return err
	}
	if err := r.list(eachKeySource(&r.cfg, Create)); err != nil {
		return err
	}
	return r.list(eachKeySource(&r.cfg, Set))
}

// createParents creates the root, one level at a time.
func (r *runner) createParents() error {
	for at := 1; at > 0; {
		next := strings.IndexByte(r.cfg.Root[at:], '/')
		end := len(r.cfg.Root)
		if next >= 0 {
			end = at + next
		}
		if err := r.list(pathSource(r.forms, []string{r.cfg.Root[:end]})); err != nil {
			return err
		}
		at = end + 1
		if next < 0 {
			at = 0
		}
	}
	return nil
}

// Run measures what cfg asks for. Keys must exist if the mix is about any (Fill), else the error matches
// ErrNotFilled. When the run ends early, because ctx ended, the servers went away or one broke the protocol, Run returns what
// it had measured together with the error, or a nil Result when the measurement had not begun. It blocks; it
// uses Config.Loops goroutines and as many sockets as there are sessions.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	r, err := newRunner(cfg)
	if err != nil {
		return nil, err
	}
	defer r.watch(ctx)()
	defer r.closeSessions()
	for _, prepare := range []func() error{r.connect, r.prepare} {
		if err := prepare(); err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
	}
	res, err := r.measure()
	err = errors.Join(err, ctx.Err())
	if res != nil && err != nil {
		res.Incomplete = err.Error()
	}
	return res, err
}

func newRunner(cfg Config) (*runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Mix == (Mix{}) {
		return nil, fmt.Errorf("%w: no mix", ErrConfig)
	}
	r := &runner{cfg: cfg, base: time.Now(), forms: newForms(cfg.Root, cfg.KeysPerDir)}
	r.shared.keys = newKeyPicker(cfg.Keys, cfg.KeyDist)
	r.shared.collector = newCollector(cfg.Loops, cfg.Interval, cfg.OnInterval)
	var lastSetNs []atomic.Int64
	if cfg.Mix.Has(Watch) || cfg.WatchesPerSession > 0 {
		lastSetNs = make([]atomic.Int64, cfg.Keys)
	}
	payload := make([]byte, max(1<<20, 2*cfg.Payload.Max()))
	fillRandom(payload, rng(cfg.Seed))
	nonce := uint32(time.Now().UnixNano() >> 10) // keeps the names of runs apart
	for i := range cfg.Loops {
		// Each loop has addresses of its own, because connecting writes to them.
		servers, err := resolve(cfg.Addrs)
		var poll *poller
		if err == nil {
			poll, err = newPoller()
		}
		if err != nil {
			r.closePollers()
			return nil, err
		}
		l := &loop{
			cfg: &r.cfg, number: i, shared: &r.shared, servers: servers, forms: r.forms, poll: poll,
			in: make([]byte, readBufferBytes), rng: rng(cfg.Seed + uint64(i)*0x9e3779b97f4a7c15), picker: newPicker(cfg.Mix),
			payload: payload, lastSetNs: lastSetNs, base: r.base, rec: newRecorder(cfg.Mix.Kinds()), lateNs: newRecorder(nil),
		}
		for n := i; n < cfg.Sessions; n += cfg.Loops {
			c := &conn{fd: -1, index: int32(len(l.conns)), session: n, server: n % len(servers)}
			c.prefix = fmt.Appendf(nil, "%s/s%0*d/n%08x", cfg.Root, sessionDigits, n, nonce)
			for range cfg.WatchesPerSession {
				c.watched = append(c.watched, r.shared.keys.draw(&l.rng))
			}
			l.conns = append(l.conns, c)
			l.sessions = append(l.sessions, c)
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

func fillRandom(b []byte, r rng) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, r.uint64())
	}
}

func (r *runner) closePollers() {
	for _, l := range r.loops {
		l.poll.close()
	}
}

// watch has the loops stop when ctx ends. The returned function ends the watching.
func (r *runner) watch(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { r.shared.stop.Store(true) })
	return func() { stop() }
}

// each runs f on all loops at once and waits. It returns the first error.
func (r *runner) each(f func(*loop) error) error {
	errs := make([]error, len(r.loops))
	var wg sync.WaitGroup
	for i, l := range r.loops {
		wg.Go(func() { errs[i] = f(l) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) connect() error {
	until := int64(time.Since(r.base) + r.cfg.ConnectTimeout)
	return r.each(func(l *loop) error { return l.connect(until) })
}

func (r *runner) closeSessions() {
	until := int64(time.Since(r.base) + min(closeTimeout, r.cfg.DrainTimeout))
	_ = r.each(func(l *loop) error { // the sessions of a server that is gone will expire
		l.closeSessions(until)
		return nil
	})
}

// list has the requests of s made by all loops.
func (r *runner) list(s *listSource) error {
	return r.each(func(l *loop) error { return l.run(phase{source: s, outstanding: r.cfg.Outstanding}) })
}

// prepare creates what the mix needs beside the keys, and looks for these.
func (r *runner) prepare() error {
	m := r.cfg.Mix
	if m.Has(Create) || m.Has(CreateDelete) || m.Has(Ephemeral) {
		if err := r.createParents(); err != nil {
			return err
		}
		var paths []string
		for n := range r.cfg.Sessions {
			paths = append(paths, fmt.Sprintf("%s/s%0*d", r.cfg.Root, sessionDigits, n))
		}
		if err := r.list(pathSource(r.forms, paths)); err != nil {
			return err
		}
	}
	for _, k := range []Kind{Get, Exists, Children, Set, Multi, Watch} {
		if m.Has(k) {
			return r.list(probeSource(&r.cfg))
		}
	}
	return nil
}

func (r *runner) measure() (*Result, error) {
	res := &Result{Started: time.Now(), Settings: r.cfg.settings()}
	ph := phase{
		source: mixSource{}, outstanding: r.cfg.Outstanding, open: r.cfg.Rate > 0,
		drainNs: int64(r.cfg.DrainTimeout),
	}
	start := int64(time.Since(r.base))
	ph.fromNs = start + int64(r.cfg.Warmup)
	ph.untilNs = ph.fromNs + int64(r.cfg.Duration)
	if r.cfg.Requests > 0 {
		ph.untilNs = math.MaxInt64
	}

	over := make(chan struct{})
	windowed := make(chan time.Duration)
	go func() { windowed <- r.window(ph, over) }()
	err := r.each(func(l *loop) error {
		if ph.open {
			l.paced = newSchedule(start, r.cfg.Rate, l.number, r.cfg.Loops, r.cfg.Poisson, rng(r.cfg.Seed^uint64(l.number+1)<<32))
		}
		l.silence.lastNs, l.writeQuiet.lastNs = ph.fromNs, ph.fromNs
		ph := ph
		if n, loops := r.cfg.Requests, int64(r.cfg.Loops); n > 0 {
			ph.requests = max(1, (n+int64(l.number))/loops)
		}
		err := l.run(ph)
		r.shared.collector.publish(0, l.rec, true)
		return err
	})
	ended := int64(time.Since(r.base))
	close(over)
	res.GeneratorCPU = Duration(<-windowed)

	end := min(ended, ph.untilNs)
	for _, l := range r.loops {
		res.Disconnects += l.disconnects
		res.Resumed += l.resumed
		for ph.open && r.cfg.Requests == 0 && l.paced.nextNs < end {
			res.Unfinished++
			l.paced.advance()
		}
		if ph.open {
			res.Unfinished += int64(l.underWay())
		}
		if l.silence.longestNs > 0 {
			l.silence.reply(end)
			res.LongestSilence = max(res.LongestSilence, Duration(l.silence.longestNs))
		}
		if l.writeQuiet.longestNs > 0 {
			l.writeQuiet.reply(end)
			res.LongestWriteSilence = max(res.LongestWriteSilence, Duration(l.writeQuiet.longestNs))
		}
	}
	late := newHistogram()
	for _, l := range r.loops {
		if h := l.lateNs.hist[Get]; h != nil {
			late.Merge(h)
		}
	}
	res.Lateness = latencyOf(late)
	c := r.shared.collector
	c.mu.Lock()
	defer c.mu.Unlock()
	res.Intervals = c.done
	res.figures(&c.total, max(0, time.Duration(end-ph.fromNs)))
	return res, err
}

// window calls OnWindow at both ends of the measurement, and returns the processor time that this
// process took in between.
func (r *runner) window(ph phase, over <-chan struct{}) time.Duration {
	wait := func(untilNs int64) bool {
		t := time.NewTimer(time.Duration(untilNs) - time.Since(r.base))
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-over:
			return false
		}
	}
	if !wait(ph.fromNs) {
		return 0
	}
	cpu := processCPU()
	if r.cfg.OnWindow != nil {
		r.cfg.OnWindow(false)
	}
	wait(ph.untilNs)
	cpu = processCPU() - cpu
	if r.cfg.OnWindow != nil {
		r.cfg.OnWindow(true)
	}
	return cpu
}

// processCPU is the user and system time of this process.
func processCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
