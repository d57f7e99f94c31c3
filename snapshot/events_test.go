package snapshot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestPacer(t *testing.T) {
	clock := &fakeClock{now: time.Hour}
	p := newPacer(clock, 1<<20, nil)
	for range 16 {
		p.wait(64 << 10)
	}
	// One MiB at one MiB/s, less the burst.
	if got, want := clock.slept, time.Second-p.burst; got != want {
		t.Fatalf("slept %v, want %v", got, want)
	}
	// A pause earns no more than the burst.
	clock.now += time.Hour
	before := clock.slept
	p.wait(1 << 20)
	if got, want := clock.slept-before, time.Second-p.burst; got != want {
		t.Fatalf("after a pause: slept %v, want %v", got, want)
	}
	var none *pacer
	none.wait(1 << 30)
}

func TestCheckpointIsPaced(t *testing.T) {
	clock := &fakeClock{}
	s := mustOpen(t, vfs.NewMem(), Options{Clock: clock, CheckpointBytesPerSecMax: 1 << 20})
	defer mustClose(t, s)
	want := model{}
	for i := range uint64(2048) {
		want[key64(i)] = string(make([]byte, 1024))
	}
	mustCommit(t, s, 1, wholeImage(want), want, false)
	if clock.slept < 1900*time.Millisecond || clock.slept > 2100*time.Millisecond {
		t.Fatalf("2 MiB at 1 MiB/s slept %v", clock.slept)
	}
}

// Ten thousand errors make one line, and the next line tells how many went unlogged.
func TestErrorLinesAreLimited(t *testing.T) {
	clock, log := &fakeClock{}, &lines{}
	o := Options{Clock: clock, Logger: log}.withDefaults()
	e := newEvents(&o)
	l := e.listener()
	for range 10000 {
		l.BackgroundError(errors.New("disk full"))
	}
	if n := log.errorsWith("disk full"); n != 1 {
		t.Fatalf("%d lines", n)
	}
	clock.now += errorLogEvery
	l.BackgroundError(errors.New("disk full"))
	if n := log.errorsWith("and 9999 more"); n != 1 {
		t.Fatalf("lines: %q", log.errs)
	}
	if e.backgroundErrs.Load() != 10001 {
		t.Fatalf("counted %d", e.backgroundErrs.Load())
	}
	if e.backoff() != backoffMax {
		t.Fatalf("backoff %v", e.backoff())
	}
}

// compactionFault fails what compactions create, as a full disk does.
type compactionFault struct {
	mu sync.Mutex
	on bool
}

func (f *compactionFault) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

type faultyFS struct {
	vfs.FS
	fault *compactionFault
}

func (fs faultyFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.fault.mu.Lock()
	defer fs.fault.mu.Unlock()
	if fs.fault.on && category == compactionCategory {
		return nil, errorfs.ErrInjected
	}
	return fs.FS.Create(name, category)
}

// A compaction that fails again and again waits ever longer before it creates a file, and no longer once
// one has worked.
func TestFailingCompactionWaits(t *testing.T) {
	clock := &fakeClock{}
	o := Options{Clock: clock}.withDefaults()
	e := newEvents(&o)
	l := e.listener()
	fault := &compactionFault{on: true}
	fs := &dbFS{FS: faultyFS{vfs.NewMem(), fault}, events: e, clock: clock}
	for _, want := range []time.Duration{0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		before := clock.slept
		if _, err := fs.Create("x", "unspecified"); err != nil || clock.slept != before {
			t.Fatalf("another file waited %v, %v", clock.slept-before, err)
		}
		_, err := fs.Create("x", compactionCategory)
		if !errors.Is(err, errorfs.ErrInjected) {
			t.Fatal(err)
		}
		l.BackgroundError(err)
		if got := clock.slept - before; got != want*time.Millisecond {
			t.Fatalf("waited %v, want %v", got, want*time.Millisecond)
		}
	}
	l.CompactionEnd(pebble.CompactionInfo{Err: errorfs.ErrInjected})
	if e.backoff() == 0 {
		t.Fatal("a failed compaction ended the waiting")
	}
	l.CompactionEnd(pebble.CompactionInfo{})
	if e.backoff() != 0 {
		t.Fatal("still waiting after a compaction that worked")
	}
}

// While compactions fail checkpoints go on, and once the fault is over nothing is missing.
func TestCheckpointsWhileCompactionsFail(t *testing.T) {
	fault := &compactionFault{on: true}
	s := mustOpen(t, faultyFS{vfs.NewMem(), fault}, Options{})
	rnd := rand.New(rand.NewPCG(3, 3))
	want := model{}
	for zxid := range int64(30) {
		c := randomChange(rnd, 50, 200, 30)
		want = c.applyTo(want)
		mustCommit(t, s, zxid, c, want, false)
	}
	wantImage(t, s, want)
	mustClose(t, s)
	if m := s.Metrics(); m.BackgroundErrors == 0 || m.Compactions != 0 {
		t.Fatalf("%d errors, %d compactions", m.BackgroundErrors, m.Compactions)
	}
	fault.set(false)
	s = mustOpen(t, s.fs, Options{})
	wantImage(t, s, want)
	mustClose(t, s)
	if m := s.Metrics(); m.Compactions == 0 {
		t.Fatal("the compaction was not made up for")
	}
}

// stuckClock never wakes anybody by itself.
type stuckClock struct{ sleeping chan time.Duration }

func (c *stuckClock) Now() time.Duration { return time.Hour }

func (c *stuckClock) Sleep(d time.Duration, stop <-chan struct{}) {
	select {
	case c.sleeping <- d:
	default:
	}
	<-stop
}

// Close does not wait for the pace of a compaction.
func TestCloseEndsPacing(t *testing.T) {
	clock := &stuckClock{sleeping: make(chan time.Duration, 1)}
	s := mustOpen(t, vfs.NewMem(), Options{Clock: clock, CompactionBytesPerSecMax: 1})
	want := model{}
	for i := range int64(8) {
		c := change{"k": fmt.Append(nil, i)}
		want = c.applyTo(want)
		mustCommit(t, s, i, c, want, false)
	}
	if d := <-clock.sleeping; d < time.Second {
		t.Fatalf("a compaction at 1 B/s waits only %v", d)
	}
	mustClose(t, s)
	s = mustOpen(t, s.fs, Options{})
	wantImage(t, s, want)
	mustClose(t, s)
}
