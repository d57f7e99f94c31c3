package snapshot

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// events is what pebble tells: its logger, its listener, counters and the fatal state of the store. The
// callbacks run under pebble's locks, so they only count, note and log.
type events struct {
	clock   Clock
	logger  Logger
	onFatal func(error)

	failed   chan struct{} // closed once the store has failed
	failOnce sync.Once
	failure  atomic.Pointer[error]

	corrupt         atomic.Bool // damage was seen since Open or the last replacement
	corruptions     atomic.Uint64
	backgroundErrs  atomic.Uint64
	compactions     atomic.Uint64
	compactedBytes  atomic.Uint64
	diskSlows       atomic.Uint64
	lowDiskReports  atomic.Uint64
	errorsUnlogged  atomic.Uint64
	failuresInARow  atomic.Int64
	lastErrorLogged atomic.Int64 // clock time of the last logged line, plus one; 0: none yet
}

const (
	// errorLogEvery bounds the log lines about background errors, which may come thousands a second.
	errorLogEvery = 10 * time.Second
	// A compaction waits backoffMin before it runs again after a failure, doubled up to backoffMax.
	backoffMin = 100 * time.Millisecond
	backoffMax = 30 * time.Second
)

func newEvents(o *Options) *events {
	return &events{clock: o.Clock, logger: o.Logger, onFatal: o.OnFatal, failed: make(chan struct{})}
}

// Infof implements pebble.Logger. pebble's own informative lines are for its developers.
func (e *events) Infof(string, ...interface{}) {}

// Errorf implements pebble.Logger.
func (e *events) Errorf(format string, args ...interface{}) { e.logLimited(format, args...) }

// Fatalf implements pebble.Logger. pebble calls it where it cannot go on, with locks held, and relies on
// its not returning. So it marks the store failed, tells the owner, and keeps this goroutine for good: the
// locks it holds would let another thread see half an edit. Everything that calls pebble on behalf of a
// caller runs beside a wait on failed (see Store.call), so callers do not hang with it.
func (e *events) Fatalf(format string, args ...interface{}) {
	err := fmt.Errorf("%w: %s", ErrFailed, fmt.Sprintf(format, args...))
	e.failOnce.Do(func() {
		e.failure.Store(&err)
		close(e.failed)
		e.logger.Errorf("FATAL: %v", err)
		if e.onFatal != nil {
			e.onFatal(err)
		}
	})
	select {}
}

// err is the failure of the store, or nil.
func (e *events) err() error {
	if p := e.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (e *events) logLimited(format string, args ...any) {
	now := int64(e.clock.Now()) + 1
	last := e.lastErrorLogged.Load()
	if (last != 0 && now-last < int64(errorLogEvery)) || !e.lastErrorLogged.CompareAndSwap(last, now) {
		e.errorsUnlogged.Add(1)
		return
	}
	line := fmt.Sprintf(format, args...)
	if n := e.errorsUnlogged.Swap(0); n > 0 {
		line = fmt.Sprintf("%s (and %d more since the last line)", line, n)
	}
	e.logger.Errorf("snapshot: %s", line)
}

// backoff is how long the next compaction has to wait.
func (e *events) backoff() time.Duration {
	n := e.failuresInARow.Load()
	if n <= 0 {
		return 0
	}
	return min(backoffMin<<min(n-1, 16), backoffMax)
}

func (e *events) listener() *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			e.backgroundErrs.Add(1)
			e.failuresInARow.Add(1)
			e.logLimited("background error: %v", err)
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			e.corruptions.Add(1)
			e.corrupt.Store(true)
			e.logLimited("damaged file %s: %v", info.Path, info.Details)
		},
		CompactionEnd: func(info pebble.CompactionInfo) {
			if info.Err != nil {
				return
			}
			e.failuresInARow.Store(0)
			e.compactions.Add(1)
			for i := range info.Output.Tables {
				e.compactedBytes.Add(info.Output.Tables[i].Size)
			}
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			e.diskSlows.Add(1)
			e.logLimited("slow disk: %s %s took %v so far", info.OpType, info.Path, info.Duration)
		},
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			e.lowDiskReports.Add(1)
			e.logLimited("disk is nearly full: %d of %d bytes left", info.AvailBytes, info.TotalBytes)
		},
	}
	l.EnsureDefaults(e)
	return l
}

// call runs f, which calls pebble, on a goroutine of its own and waits for it or for the failure of the
// store. In the second case the goroutine stays behind for good, held by Fatalf.
func (e *events) call(f func() error) error {
	if err := e.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-e.failed:
		return e.err()
	}
}
