package wal

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/wal/walfs"
)

// zeroSyncBytes is written between two syncs when a spare is filled, so that the syncs
// of records do not wait long behind zeroes.
const zeroSyncBytes = 4 << 20

// fillBytes is written at a time.
const fillBytes = 256 << 10

// errClosing ends the making of a spare.
var errClosing = errors.New("wal: closing")

// tidyLoop is the goroutine that does what may take long and that no append waits
// for: it removes or recycles what TruncatePrefix gave free, and has a spare segment
// ready before the current one is full.
func (w *WAL) tidyLoop() {
	for {
		select {
		case <-w.tidyWake:
			w.tidy()
		case <-w.quit:
			return
		}
	}
}

func (w *WAL) tidy() {
	if w.State() >= StateFailed {
		return
	}
	if err := w.dropPrefix(); err != nil {
		w.fail(err)
		return
	}
	w.readySpare()
}

// readySpare makes a spare if there is none.
func (w *WAL) readySpare() {
	w.mu.Lock()
	ready := len(w.spares) > 0
	w.mu.Unlock()
	if !ready && w.opts.Preallocate != PreallocNone {
		err := w.makeSpare()
		if errors.Is(err, errClosing) {
			return
		}
		if err != nil {
			w.spareFailed(err)
			return
		}
	}
	w.mu.Lock()
	w.tidyAfter = 0
	state := w.state
	w.mu.Unlock()
	switch state {
	case StateLowSpace:
		w.setState(StateReady, nil)
	case StateNoSpace:
		w.wakeWriter() // it tells the state when it has got a segment
	}
}

// spareFailed notes that there is no spare. That harms nobody yet, whatever the
// reason: the writer will look for a file itself.
func (w *WAL) spareFailed(err error) {
	w.mu.Lock()
	w.tidyAfter = max(1, w.opts.SegmentBytes/16)
	ready := w.state == StateReady
	w.mu.Unlock()
	if !errors.Is(err, ErrNoSpace) {
		w.opts.Logf("wal: no spare segment: %v", err)
	} else if ready {
		w.setState(StateLowSpace, err)
	}
}

// makeSpare makes a file of zeroes and puts it among the spares. Its name needs no
// sync of the directory: beginning a segment in it does one.
func (w *WAL) makeSpare() error {
	f, err := w.makeFile(w.opts.SegmentBytes)
	if err != nil {
		return err
	}
	if err := w.fillSpare(f); err != nil {
		return w.dropFile(f, err)
	}
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("wal: close spare: %w", err)
	}
	w.mu.Lock()
	name := spareName(w.nextSpare)
	w.nextSpare++
	w.mu.Unlock()
	if err := w.fs.Rename(w.path(f.name), w.path(name)); err != nil {
		return noSpace(fmt.Errorf("wal: %w", err)) // the next start removes it
	}
	w.mu.Lock()
	w.spares = append(w.spares, spareFile{name: name, fresh: true})
	w.mu.Unlock()
	return nil
}

func (w *WAL) fillSpare(f rawFile) error {
	if w.opts.Preallocate == PreallocZero {
		if err := w.direct(f.file); err != nil {
			return fmt.Errorf("wal: fill spare: %w", err)
		}
		zeroes := walfs.AlignedBuffer(int(min(fillBytes, f.bytes)))
		for off := int64(0); off < f.bytes; {
			if w.closing.Load() {
				return errClosing
			}
			n, err := f.file.WriteAt(zeroes[:min(int64(len(zeroes)), f.bytes-off)], off)
			if err != nil {
				return fmt.Errorf("wal: fill spare: %w", err)
			}
			off += int64(n)
			if off%zeroSyncBytes == 0 && off < f.bytes {
				if err := f.file.Datasync(); err != nil {
					return fmt.Errorf("wal: sync spare: %w", err)
				}
			}
		}
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("wal: sync spare: %w", err)
	}
	return nil
}

// dropPrefix takes the segments that TruncatePrefix gave free out of the log, oldest
// first. The directory is synced after each, so that no crash leaves an older one
// where a newer one is gone: such a hole is a sign of damage.
func (w *WAL) dropPrefix() error {
	w.dirMu.Lock()
	defer w.dirMu.Unlock()
	for {
		w.mu.Lock()
		if len(w.segments) < 2 || w.segments[0].readers > 0 || w.segments[1].prev.zxid > w.keepAfter {
			w.mu.Unlock()
			return nil
		}
		oldest := w.segments[0]
		w.segments = append(w.segments[:0], w.segments[1:]...)
		w.mu.Unlock()
		if err := w.discard([]*segment{oldest}); err != nil {
			return err
		}
	}
}

// discard recycles or removes the files of segments that are not in the log any
// more. An error is one of the kind that is final.
func (w *WAL) discard(dropped []*segment) error {
	if len(dropped) == 0 {
		return nil
	}
	var spares []spareFile
	for _, s := range dropped {
		w.mu.Lock()
		recycle := s.readers == 0 && s.bytes == w.opts.SegmentBytes &&
			len(w.spares)+len(spares) < w.opts.SpareSegments
		name := usedName(w.nextSpare)
		if recycle {
			w.nextSpare++
		}
		w.mu.Unlock()
		if recycle {
			err := w.fs.Rename(w.path(s.name), w.path(name))
			if err == nil {
				spares = append(spares, spareFile{name: name})
				continue
			}
			// A full disk may have no room for the name. Removing needs none.
			w.opts.Logf("wal: segment %s is not recycled: %v", s.name, err)
		}
		if err := w.fs.Remove(w.path(s.name)); err != nil {
			return fmt.Errorf("wal: remove segment: %w", err)
		}
	}
	// Only now can the files be written to: before, a crash could bring back their
	// old names.
	if err := w.fs.SyncDir(w.dir); err != nil {
		return fmt.Errorf("wal: sync directory: %w", err)
	}
	w.mu.Lock()
	w.spares = append(w.spares, spares...)
	w.stats.Recycled += int64(len(spares))
	w.mu.Unlock()
	return nil
}
