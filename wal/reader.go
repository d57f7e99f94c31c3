package wal

import (
	"errors"
	"fmt"
	"io"

	"zabra.dev/zabra/wal/walfs"
)

// Reader reads the log in order while it is being written, up to what is durable.
// It belongs to one goroutine. While it is open the segment that it is in, and those
// behind, stay.
type Reader struct {
	w    *WAL
	from int64 // the next record has at least this zxid
	cuts int   // WAL.cuts when the reader began

	seg  *segment // the one being read, counted in its readers; nil before the first
	file walfs.File
	scan *scanner
	end  position // where seg's durable records end, as of the last look
}

// NewReader gives a Reader whose first record is the oldest with a zxid of at least
// from; 0 means from the start of the log. It returns ErrCompacted if the log starts
// behind from. It may be called from any goroutine.
func (w *WAL) NewReader(from int64) (*Reader, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	base := w.baseLocked()
	if from == 0 {
		from = base + 1
	}
	if from <= base {
		return nil, compacted(from, base)
	}
	return &Reader{w: w, from: from, cuts: w.cuts}, nil
}

func compacted(from, base int64) error {
	return fmt.Errorf("%w: from 0x%x wanted, log starts behind 0x%x", ErrCompacted, from, base)
}

// Next returns the next record. It lends the payload until the next call of a method
// of r. Each record's checksum is verified.
//
// io.EOF says that there are no more durable records now; a later call may find some.
// A *CorruptError says that the log is damaged; ErrStale that TruncateSuffix or
// Reset took records away, ErrCompacted that TruncatePrefix took those that were to
// be read next. After any other error than io.EOF only Close is of use.
func (r *Reader) Next() (zxid int64, payload []byte, err error) {
	for {
		if r.scan == nil || r.scan.last.end == r.end.end {
			more, err := r.look()
			if err != nil {
				return 0, nil, err
			}
			if !more {
				return 0, nil, io.EOF
			}
		}
		rec, what, err := r.scan.next()
		switch {
		case err != nil:
			return 0, nil, r.explain(err)
		case what == foundDamaged, what == foundEnd:
			return 0, nil, r.explain(r.damaged())
		}
		if r.scan.last.end == r.end.end && r.scan.last != r.end {
			// All checksums are right and yet this is not how the log went on.
			return 0, nil, r.explain(r.scan.broken(foundEnd, r.end))
		}
		if rec.zxid >= r.from {
			r.from = rec.zxid + 1
			return rec.zxid, rec.payload, nil
		}
	}
}

// look finds out how far the reader may go, entering the next segment if it has
// read all of this one. It returns false if there is nothing new.
func (r *Reader) look() (bool, error) {
	s, end, err := r.choose()
	if s == nil || err != nil {
		return false, err
	}
	r.end = end
	if r.file != nil && r.scan.name == s.name {
		r.scan.limit = end.end
		return true, nil
	}
	r.closeFile()
	if r.file, err = r.w.fs.Open(r.w.path(s.name)); err != nil {
		return false, r.explain(fmt.Errorf("wal: %w", err))
	}
	scan := newScanner(r.file, s, end.end)
	if r.scan != nil {
		scan.buf = r.scan.buf[:0]
	}
	r.scan = scan
	return true, nil
}

// damaged gives the error for damage at the reader's position.
func (r *Reader) damaged() error {
	e, err := r.scan.damageError()
	if err != nil {
		return err
	}
	r.w.mu.Lock()
	var behind []*segment
	for _, s := range r.w.segments {
		if s.seq > r.seg.seq {
			behind = append(behind, s)
		}
	}
	r.w.mu.Unlock()
	for _, s := range behind {
		if e.FirstGoodAfter != 0 {
			break
		}
		e.FirstGoodAfter = r.w.firstZxid(s)
	}
	return e
}

// firstZxid returns the zxid of the first record of s if it is intact, else 0.
func (w *WAL) firstZxid(s *segment) int64 {
	file, err := w.fs.Open(w.path(s.name))
	if err != nil {
		return 0
	}
	defer file.Close()
	rec, what, err := newScanner(file, s, s.bytes).next()
	if err != nil || what != foundRecord {
		return 0
	}
	return rec.zxid
}

// choose finds the segment with the next record and makes it count this reader
// instead of r.seg. It returns nil if there is no such record.
func (r *Reader) choose() (*segment, position, error) {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.cuts != w.cuts {
		return nil, position{}, ErrStale
	}
	if base := w.baseLocked(); r.from <= base {
		return nil, position{}, compacted(r.from, base)
	}
	for _, s := range w.segments {
		if s.last.zxid < r.from {
			continue
		}
		if s != r.seg {
			s.readers++
			w.leaveLocked(r.seg)
			r.seg = s
		}
		return s, s.last, nil
	}
	return nil, position{}, nil
}

// leaveLocked takes a reader out of the count of s, if s is not nil.
func (w *WAL) leaveLocked(s *segment) {
	if s == nil {
		return
	}
	s.readers--
	if s.readers == 0 {
		w.wakeTidier()
	}
}

// explain replaces an error that a cut under the reader may have caused.
func (r *Reader) explain(err error) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.cuts != r.w.cuts {
		return ErrStale
	}
	return err
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close() // read only: there is nothing to lose
		r.file = nil
	}
}

// Close ends the reader.
func (r *Reader) Close() error {
	r.closeFile()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.leaveLocked(r.seg)
	r.seg = nil
	return nil
}

// Replay calls fn for every durable record with a zxid of at least from, in order;
// from 0 means from the start of the log. It lends payload until fn returns. It
// returns the first error of fn as it is, ErrCompacted if the log starts behind from,
// or a *CorruptError; fn was called for all records before the damage then.
func (w *WAL) Replay(from int64, fn func(zxid int64, payload []byte) error) error {
	r, err := w.NewReader(from)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		zxid, payload, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(zxid, payload); err != nil {
			return err
		}
	}
}

// Floor returns the newest durable zxid that is at most zxid, or BaseZxid if there
// is none, and how many bytes of the log lie behind it. It reads up to one segment. It
// returns ErrCompacted if zxid is below BaseZxid, or a *CorruptError.
func (w *WAL) Floor(zxid int64) (floor, behindBytes int64, err error) {
	w.mu.Lock()
	base, newest := w.baseLocked(), w.newestLocked()
	var s *segment
	for _, seg := range w.segments {
		if seg.prev.zxid <= zxid {
			s, behindBytes = seg, seg.last.end
		} else {
			behindBytes += seg.last.end
		}
	}
	if s == nil || zxid < base || zxid >= newest.zxid {
		w.mu.Unlock()
		if zxid < base {
			return 0, 0, compacted(zxid, base)
		}
		return newest.zxid, 0, nil
	}
	s.readers++
	cuts := w.cuts
	w.mu.Unlock()
	at, err := w.find(s, zxid)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaveLocked(s)
	if cuts != w.cuts {
		return 0, 0, ErrStale
	}
	return at.zxid, behindBytes - at.end, err
}
