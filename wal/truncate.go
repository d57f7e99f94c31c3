package wal

import (
	"errors"
	"fmt"
)

// TruncatePrefix says that records up to zxid are not needed any more, as after a
// snapshot. It returns at once. Segments that hold nothing else are removed or
// recycled in the background, oldest first, except for the newest segment and those
// that a Reader is in: records up to zxid may stay.
func (w *WAL) TruncatePrefix(zxid int64) {
	w.mu.Lock()
	w.keepAfter = max(w.keepAfter, zxid)
	w.tidyAfter = 0
	w.mu.Unlock()
	w.wakeTidier()
}

// TruncateSuffix removes all records above zxid, as Zab's TRUNC demands. It waits
// until that is durable; after a crash meanwhile either all of them are there or
// none. LastZxid is then the newest zxid that is left, which may be less than zxid.
// Nothing happens if there are none above it.
//
// It writes what is queued first. It returns ErrCompacted if zxid lies before the
// start of the log, ErrNoSpace if there is no room for a new segment, and
// a *CorruptError if the records before zxid are damaged; the log is unchanged then.
// Other errors are final. Source: quorum protocol, TRUNC.
func (w *WAL) TruncateSuffix(zxid int64) error {
	return w.control(func() error { return w.cut(zxid) })
}

func (w *WAL) cut(zxid int64) error {
	w.dirMu.Lock()
	defer w.dirMu.Unlock()
	w.mu.Lock()
	newest, base := w.newestLocked(), w.baseLocked()
	var s *segment
	for _, seg := range w.segments {
		if seg.prev.zxid <= zxid {
			s = seg // the last one that begins at or before zxid
		}
	}
	w.mu.Unlock()
	switch {
	case zxid >= newest.zxid:
		return nil
	case zxid < base:
		return fmt.Errorf("%w: cut behind 0x%x, log starts behind 0x%x", ErrCompacted, zxid, base)
	}
	if err := w.sync(); err != nil {
		return err
	}
	end, err := w.find(s, zxid)
	if err != nil {
		return err
	}
	prev := end
	if end.end == dataStart {
		prev = s.prev // nothing of s is left
	}
	dropped, err := w.startSegment(prev, 0, true)
	if errors.Is(err, ErrNoSpace) {
		return err
	}
	if err == nil && prev.seq == s.seq {
		err = w.sealAt(s, prev)
	}
	return w.afterCut(dropped, err)
}

// find gives the place behind the newest record of s whose zxid is at most zxid.
func (w *WAL) find(s *segment, zxid int64) (position, error) {
	file, err := w.fs.Open(w.path(s.name))
	if err != nil {
		return position{}, fmt.Errorf("wal: %w", err)
	}
	defer file.Close()
	w.mu.Lock()
	limit := s.last.end
	w.mu.Unlock()
	return newScanner(file, s, limit).seek(zxid)
}

// sealAt seals s at end, though there are records behind. The segment that came after
// says that s ends there anyway; this is for the day that it gets lost.
func (w *WAL) sealAt(s *segment, end position) error {
	file, err := w.fs.OpenRW(w.path(s.name))
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	if err := w.writeSeal(file, s, end); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

// Reset removes all records and lets the log start behind zxid, as after a SNAP of
// that zxid was made durable. It waits until that is durable; after a crash
// meanwhile the log is either as before or empty. zxid may be below the newest
// record's. It writes what is queued first. It returns ErrNoSpace with the log
// unchanged; other errors are final.
func (w *WAL) Reset(zxid int64) error {
	return w.control(func() error {
		w.dirMu.Lock()
		defer w.dirMu.Unlock()
		dropped, err := w.startSegment(position{zxid: zxid}, 0, true)
		if errors.Is(err, ErrNoSpace) {
			return err
		}
		return w.afterCut(dropped, err)
	})
}

// afterCut gets rid of what a cut dropped, if it went well up to here.
func (w *WAL) afterCut(dropped []*segment, err error) error {
	if err == nil {
		err = w.discard(dropped)
	}
	if err != nil {
		return w.fail(err)
	}
	w.wakeTidier()
	return nil
}
