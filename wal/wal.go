package wal

import (
	"context"
	"fmt"
	"io"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"zabra.dev/zabra/wal/walfs"
)

// WAL is an open log. Append, TruncateSuffix, Reset and Sync are for one goroutine,
// the one that owns the history; the other methods may be called from any, unless
// Options.Manual is set.
type WAL struct {
	fs       walfs.FS
	dir      string
	opts     Options
	lock     io.Closer
	recovery Recovery

	writeWake chan struct{} // capacity 1: the writer has something to do
	tidyWake  chan struct{} // capacity 1: the tidier has something to do
	quit      chan struct{} // closed when the goroutines have to end
	running   sync.WaitGroup
	closing   atomic.Bool // the tidier gives up what takes long

	queuedBytes atomic.Int64

	out writer // belongs to the writer goroutine

	// callbacks serialises OnState and OnError, so that they are seen in the order
	// of the changes. Taken before mu.
	callbacks sync.Mutex
	// dirMu is held by whoever takes segments out of the log, so that the tidier and
	// a cut do not do it at once. Taken before mu.
	dirMu sync.Mutex

	mu        sync.Mutex // guards the rest; never held during I/O or a callback
	queue     []*Batch   // appended, not yet seen by the writer
	controls  []control  // requests to the writer
	closed    bool       // no more appends
	lastZxid  int64      // newest appended
	state     State
	err       error      // why the state is StateFailed
	segments  []*segment // in order; the newest may be the one being written
	cuts      int        // how often the newest records were taken away
	nextSeq   uint64     // of the next segment
	spares    []spareFile
	nextSpare uint64 // number of the next file that is no segment
	keepAfter int64  // records up to this zxid are not needed
	tidyAfter int64  // bytes to write until the tidier tries again for space
	stats     Stats
}

// control is a request to the writer goroutine, done when all that was appended
// before it has been written.
type control struct {
	run  func() error
	done chan<- error
}

// start starts the goroutines.
func (w *WAL) start() {
	w.wakeTidier()
	if w.opts.Manual {
		return
	}
	w.running.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("goroutine", "wal-writer"), func(context.Context) { w.writeLoop() })
	})
	w.running.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("goroutine", "wal-tidier"), func(context.Context) { w.tidyLoop() })
	})
}

// Append queues a batch for writing and takes it until its Release is called; on
// an error it does not take it. It does not wait: OnDurable tells when the batch is
// on disk. Batches are written in the order of Append.
//
// The zxids must increase within the batch and from batch to batch, else it returns
// ErrZxidOrder. ErrQueueFull says that the queue would exceed MaxQueuedBytes; a batch
// that alone is larger is accepted when the queue is empty. That is a hard bound,
// which an owner who looks at QueuedBytes before it makes more work never meets.
// After a failure it returns that failure, with ErrFailed, and ErrClosed after Close.
//
// It allocates nothing once the queue has grown to its usual length.
func (w *WAL) Append(b *Batch) error {
	size := int64(len(b.Buf))
	order := b.check()
	w.mu.Lock()
	if err := w.unusableLocked(); err != nil {
		w.mu.Unlock()
		return err
	}
	if order == nil && b.Records[0].Zxid <= w.lastZxid {
		order = zxidOrder(w.lastZxid, b.Records[0].Zxid)
	}
	if order != nil {
		w.mu.Unlock()
		return order
	}
	if q := w.queuedBytes.Load(); q > 0 && q+size > w.opts.MaxQueuedBytes {
		w.mu.Unlock()
		return fmt.Errorf("%w: %d bytes queued, %d more", ErrQueueFull, q, size)
	}
	w.queuedBytes.Add(size)
	w.queue = append(w.queue, b)
	w.lastZxid = b.lastZxid()
	wake := len(w.queue) == 1 || w.state == StateNoSpace
	w.mu.Unlock()
	if wake {
		w.wakeWriter()
	}
	return nil
}

// unusableLocked says why the log takes nothing any more, or nil.
func (w *WAL) unusableLocked() error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return ErrClosed
	}
	return nil
}

// QueuedBytes is the size of all batches appended and not yet released. An owner
// should make no more work while it is above a part of MaxQueuedBytes.
func (w *WAL) QueuedBytes() int64 { return w.queuedBytes.Load() }

// LastZxid is the newest zxid appended or recovered. If the log is empty it is
// the zxid behind which it starts, 0 for a new log.
func (w *WAL) LastZxid() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastZxid
}

// DurableZxid is the newest zxid that OnDurable was, or is about to be, called for,
// or that was recovered.
func (w *WAL) DurableZxid() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newestLocked().zxid
}

// BaseZxid is the zxid behind which the log starts: it has all records above it.
func (w *WAL) BaseZxid() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.baseLocked()
}

func (w *WAL) baseLocked() int64 {
	if len(w.segments) == 0 {
		return 0
	}
	return w.segments[0].prev.zxid
}

// newestLocked is where the durable log ends.
func (w *WAL) newestLocked() position {
	if n := len(w.segments); n > 0 {
		return w.segments[n-1].last
	}
	return position{}
}

// Recovery tells what Open found.
func (w *WAL) Recovery() Recovery { return w.recovery }

// Sync waits until all that was appended is durable, with NoSync too.
func (w *WAL) Sync() error { return w.control(w.sync) }

// Retry tries again to get space, after StateLowSpace or StateNoSpace. It does not
// wait for the outcome.
func (w *WAL) Retry() {
	w.mu.Lock()
	w.tidyAfter = 0
	w.mu.Unlock()
	w.wakeWriter()
	w.wakeTidier()
}

// Step does what there is to do, when Options.Manual is set: it writes and syncs all
// that is queued, calls back, and readies spare segments.
func (w *WAL) Step() {
	if !w.opts.Manual {
		panic("wal: Step of a log that has goroutines")
	}
	select {
	case <-w.writeWake:
	default:
	}
	w.write()
	select {
	case <-w.tidyWake:
		w.tidy()
	default:
	}
}

// control has run called on the writer goroutine when the queue is empty, and waits
// for it. With Manual, it does the work itself.
func (w *WAL) control(run func() error) error {
	done := make(chan error, 1)
	w.mu.Lock()
	if err := w.unusableLocked(); err != nil {
		w.mu.Unlock()
		return err
	}
	w.controls = append(w.controls, control{run: run, done: done})
	w.mu.Unlock()
	if w.opts.Manual {
		w.write()
	} else {
		w.wakeWriter()
	}
	return <-done
}

// Close writes what is queued, seals the log and releases everything. It waits for
// the goroutines to end. Batches that could not be written, for want of space, are
// released nevertheless, and Close returns ErrNoSpace; after a failure it returns
// that failure. Readers must be closed before.
func (w *WAL) Close() error {
	done := make(chan error, 1)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.closed = true
	w.controls = append(w.controls, control{run: w.finish, done: done})
	w.mu.Unlock()
	w.closing.Store(true)
	if w.opts.Manual {
		w.write()
	} else {
		w.wakeWriter()
	}
	err := <-done
	close(w.quit)
	w.running.Wait()

	w.mu.Lock()
	left := append(w.out.pending, w.queue...)
	w.out.pending, w.queue = nil, nil
	if w.state != StateFailed {
		w.state = StateClosed
	}
	w.mu.Unlock()
	w.releaseAll(left)
	if w.out.file != nil {
		if cerr := w.out.file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("wal: %w", cerr)
		}
	}
	if cerr := w.lock.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("wal: %w", cerr)
	}
	return err
}

func (w *WAL) wakeWriter() { wake(w.writeWake) }
func (w *WAL) wakeTidier() { wake(w.tidyWake) }

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// setState changes the state, unless it is final, and reports a change.
func (w *WAL) setState(s State, cause error) {
	w.callbacks.Lock()
	defer w.callbacks.Unlock()
	w.mu.Lock()
	changed := w.state != s && w.state < StateFailed
	if changed {
		w.state = s
	}
	w.mu.Unlock()
	if changed && w.opts.OnState != nil {
		w.opts.OnState(s, cause)
	}
}

// fail makes err final.
func (w *WAL) fail(err error) error {
	w.callbacks.Lock()
	defer w.callbacks.Unlock()
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	w.err = err
	w.state = StateFailed
	w.mu.Unlock()
	if w.opts.OnState != nil {
		w.opts.OnState(StateFailed, err)
	}
	if w.opts.OnError != nil {
		w.opts.OnError(err)
	}
	w.wakeWriter() // to release what is queued
	return err
}

func (w *WAL) releaseAll(batches []*Batch) {
	for i, b := range batches {
		w.queuedBytes.Add(-int64(len(b.Buf)))
		batches[i] = nil
		b.release()
	}
}
