package wal

import (
	"errors"
	"fmt"
	"slices"

	"zabra.dev/zabra/wal/walfs"
)

// roll goes on in a new segment that has room for a record of size bytes. It
// returns ErrNoSpace with nothing changed.
func (w *WAL) roll(size int64) error {
	w.mu.Lock()
	prev := w.newestLocked()
	if n := len(w.segments); n > 0 && w.segments[n-1].empty() {
		// An empty segment is not worth a link of the chain: take its place.
		prev = w.segments[n-1].prev
	}
	w.mu.Unlock()
	dropped, err := w.startSegment(prev, size, false)
	if err != nil {
		return err
	}
	w.wakeTidier()
	return w.discard(dropped)
}

// startSegment begins a segment, with room for a record of size bytes, where the log
// ends at prev; it takes the segments behind prev out of the log and returns them.
// The new segment's name becoming durable is the moment when all that happens:
//
//  1. what the log keeps is synced;
//  2. the header is written to a file that is no segment yet, and synced;
//  3. the file is renamed to a segment's name;
//  4. the directory is synced.
//
// ErrNoSpace leaves everything as it was. It runs on the writer goroutine.
func (w *WAL) startSegment(prev position, size int64, cut bool) (dropped []*segment, err error) {
	out := &w.out
	if out.group != out.off { // NoSync
		if err := w.syncRecords(); err != nil {
			return nil, err
		}
		out.group = out.off
	}
	room := max(w.opts.SegmentBytes, roundUp(dataStart+size, pageBytes))
	f, err := w.takeFile(room)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	seq := w.nextSeq
	w.mu.Unlock()
	s := &segment{
		segmentHeader: segmentHeader{seq: seq, salt: w.opts.Salt(), fresh: f.fresh, prev: prev},
		name:          segmentName(seq),
		bytes:         max(f.bytes, dataStart),
	}
	page := s.encode()
	s.last = s.start()
	if _, err := f.file.WriteAt(page, 0); err != nil {
		return nil, w.dropFile(f, segmentError(s.name, "write header", err))
	}
	if err := f.file.Datasync(); err != nil {
		f.file.Close()
		return nil, segmentError(s.name, "sync header", err)
	}
	if err := w.fs.Rename(w.path(f.name), w.path(s.name)); err != nil {
		return nil, w.dropFile(f, segmentError(s.name, "rename into place", err))
	}
	if err := w.fs.SyncDir(w.dir); err != nil {
		f.file.Close()
		return nil, fmt.Errorf("wal: sync directory: %w", err)
	}
	if err := w.direct(f.file); err != nil {
		f.file.Close()
		return nil, segmentError(s.name, "open for direct writes", err)
	}
	w.mu.Lock()
	keep := len(w.segments)
	for keep > 0 && w.segments[keep-1].seq > prev.seq {
		keep--
	}
	dropped = slices.Clone(w.segments[keep:])
	w.segments = append(w.segments[:keep], s)
	if keep > 0 {
		w.segments[keep-1].last = prev
	}
	w.nextSeq++
	if cut {
		w.lastZxid = prev.zxid
		w.keepAfter = min(w.keepAfter, prev.zxid)
		w.cuts++
	}
	w.mu.Unlock()
	old := out.file
	out.file, out.seg, out.seed = f.file, s, s.seed
	out.off, out.group, out.tail = dataStart, dataStart, out.tail[:0]
	out.limit = room
	if old != nil {
		if err := old.Close(); err != nil {
			return nil, fmt.Errorf("wal: close previous segment: %w", err)
		}
	}
	return dropped, nil
}

// direct has what is written to file go past the page cache, where that can be. What is synced at once gains nothing
// by a copy there, which costs more than all else that the log does for a group; without syncs it does.
func (w *WAL) direct(file walfs.File) error {
	if w.opts.NoSync {
		return nil
	}
	if err := file.SetDirect(true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// rawFile is an open file that may become a segment.
type rawFile struct {
	file  walfs.File
	name  string
	bytes int64 // its size
	fresh bool  // there are only zeroes behind the segment header
}

// takeFile gives a file for a segment of room bytes: a spare if one is ready and of
// that size, or a new one, for which space is only reserved.
func (w *WAL) takeFile(room int64) (rawFile, error) {
	if room != w.opts.SegmentBytes {
		return w.makeFile(room)
	}
	w.mu.Lock()
	if len(w.spares) == 0 {
		w.mu.Unlock()
		return w.makeFile(room)
	}
	spare := w.spares[0]
	w.spares = append(w.spares[:0], w.spares[1:]...)
	w.mu.Unlock()
	file, err := w.fs.OpenRW(w.path(spare.name))
	if err != nil {
		return rawFile{}, fmt.Errorf("wal: %w", err)
	}
	return rawFile{file: file, name: spare.name, bytes: room, fresh: spare.fresh}, nil
}

// makeFile makes a temporary file with space reserved for a segment of room bytes.
func (w *WAL) makeFile(room int64) (rawFile, error) {
	w.mu.Lock()
	f := rawFile{name: tempName(w.nextSpare), fresh: true}
	w.nextSpare++
	w.mu.Unlock()
	var err error
	if f.file, err = w.fs.Create(w.path(f.name)); err != nil {
		return rawFile{}, noSpace(fmt.Errorf("wal: make segment file: %w", err))
	}
	if w.opts.Preallocate == PreallocNone {
		return f, nil
	}
	f.bytes = room
	err = f.file.Allocate(room)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.file.Truncate(room)
	}
	if err != nil {
		return rawFile{}, w.dropFile(f, fmt.Errorf("wal: reserve segment file: %w", err))
	}
	return f, nil
}

// dropFile removes a file that is no segment, because of err, which it returns; as
// ErrNoSpace if it is that.
func (w *WAL) dropFile(f rawFile, err error) error {
	f.file.Close()
	if rerr := w.fs.Remove(w.path(f.name)); rerr != nil {
		w.opts.Logf("wal: cannot remove %s, the next start will: %v", f.name, rerr)
	}
	return noSpace(err)
}
