package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"zabra.dev/zabra/wal/walfs"
)

// Recovery tells what Open found.
type Recovery struct {
	BaseZxid int64 // the log starts behind it
	LastZxid int64 // newest record, or BaseZxid
	Segments int
	// TornBytes is what was cut from the end of the newest segment because a crash
	// had interrupted its writing; 0 if nothing was. Nothing in there was ever reported
	// to be durable.
	TornBytes int64
	// TornSegment is the file that was cut.
	TornSegment string
	// Sealed is true if the log was closed in good order, or is new.
	Sealed bool
}

// Open opens the log in dir, makes it if there is none, and starts its goroutines.
// It takes the directory's lock, else it returns ErrLocked.
//
// What a crash left half written at the end is cut, and Recovery tells of it.
// Damage that no crash explains is a *CorruptError, and nothing was changed then;
// OpenEmpty is the way on. Open reads all of the newest segment, but only the headers
// of the others: damage there is for Replay to find.
//
// When Open returns, all that it found is durable.
func Open(fsys walfs.FS, dir string, opts Options) (*WAL, error) {
	return open(fsys, dir, opts, func(w *WAL, files dirListing) error { return w.recover(files) })
}

// OpenEmpty opens the log in dir like Open, but as an empty one that starts behind
// zxid, whatever is there: the way on for a server with a corrupt log that got
// a snapshot of that zxid from the leader. Segments that were there are kept under
// names with the suffix ".bad", of which the log takes no more notice than to remove
// them at the next OpenEmpty.
func OpenEmpty(fsys walfs.FS, dir string, opts Options, zxid int64) (*WAL, error) {
	return open(fsys, dir, opts, func(w *WAL, files dirListing) error { return w.begin(files, zxid) })
}

func open(fsys walfs.FS, dir string, opts Options, recover func(*WAL, dirListing) error) (*WAL, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &WAL{
		fs: fsys, dir: dir, opts: opts,
		writeWake: make(chan struct{}, 1),
		tidyWake:  make(chan struct{}, 1),
		quit:      make(chan struct{}),
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	w.lock, err = fsys.Lock(w.path(lockName))
	if errors.Is(err, walfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	if err := w.openLocked(recover); err != nil {
		if w.out.file != nil {
			w.out.file.Close()
		}
		w.lock.Close()
		return nil, err
	}
	w.start()
	return w, nil
}

func (w *WAL) openLocked(recover func(*WAL, dirListing) error) error {
	// A process that was killed may have left names that are not durable yet, and
	// what we find must not vanish after we have told others about it.
	if err := w.fs.SyncDir(w.dir); err != nil {
		return fmt.Errorf("wal: sync directory: %w", err)
	}
	files, err := listDir(w.fs, w.dir)
	if err != nil {
		return err
	}
	if len(files.segments) == 0 {
		// Perhaps the directory itself is new.
		err := w.fs.SyncDir(filepath.Dir(filepath.Clean(w.dir)))
		if errors.Is(err, fs.ErrPermission) {
			w.opts.Logf("wal: cannot sync the directory above %s: %v", w.dir, err)
		} else if err != nil {
			return fmt.Errorf("wal: sync parent directory: %w", err)
		}
	}
	w.nextSeq = nextNumber(files.segments, files.bad)
	w.nextSpare = nextNumber(files.spares, files.used, files.temps)
	return recover(w, files)
}

// recover takes over the log that is in files.
func (w *WAL) recover(files dirListing) error {
	chain, orphans, err := readChain(w.fs, w.dir, files)
	if err != nil {
		return err
	}
	w.recovery = Recovery{Segments: len(chain), Sealed: true}
	if len(chain) > 0 {
		if err := w.recoverNewest(chain[len(chain)-1]); err != nil {
			return err
		}
	}
	w.segments = chain
	w.recovery.BaseZxid = w.baseLocked()
	w.recovery.LastZxid = w.newestLocked().zxid
	w.lastZxid = w.recovery.LastZxid
	for _, name := range orphans {
		if err := w.remove(name); err != nil {
			return err
		}
	}
	return w.recoverSpares(files)
}

// recoverNewest finds the end of the newest segment and makes sure that it is what
// every later start finds too. It changes nothing if it returns a *CorruptError.
func (w *WAL) recoverNewest(s *segment) error {
	file, err := w.fs.OpenRW(w.path(s.name))
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	defer file.Close()
	t, err := scanTail(file, s)
	if err != nil {
		return err
	}
	s.last = t.last
	w.recovery.Sealed = t.sealed
	if t.tornBytes > 0 {
		w.recovery.TornBytes, w.recovery.TornSegment = t.tornBytes, s.name
		w.opts.Logf("wal: segment %s: cut %d bytes of an unfinished write at offset %d, last zxid 0x%x",
			s.name, t.tornBytes, t.last.end, t.last.zxid)
	}
	if !t.sealed && !s.empty() {
		// The newest group is the only one whose sync may not have happened, or may have
		// failed: then the page cache has it, and the disk does not and never will, unless
		// it is written again.
		if err := rewrite(file, t.group, t.last.end); err != nil {
			return segmentError(s.name, "write the newest group again", err)
		}
		if err := file.Datasync(); err != nil {
			return segmentError(s.name, "sync", err)
		}
	}
	// From here on damage is no torn write. If there is a seal it is written again, for
	// the same reason as the group.
	return w.writeSeal(file, s, t.last)
}

// rewrite writes the bytes [from, to) of a file to where they are.
func rewrite(file walfs.File, from, to int64) error {
	buf := make([]byte, min(scanBytes, to-from))
	for from < to {
		part := buf[:min(int64(len(buf)), to-from)]
		if _, err := file.ReadAt(part, from); err != nil {
			return err
		}
		if _, err := file.WriteAt(part, from); err != nil {
			return err
		}
		from += int64(len(part))
	}
	return nil
}

// recoverSpares takes over the files that are ready for use and removes the others.
func (w *WAL) recoverSpares(files dirListing) error {
	take := func(list []dirFile, fresh bool) error {
		for _, f := range list {
			if f.Bytes == w.opts.SegmentBytes && len(w.spares) < w.opts.SpareSegments {
				w.spares = append(w.spares, spareFile{name: f.Name, fresh: fresh})
			} else if err := w.remove(f.Name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := take(files.spares, true); err != nil {
		return err
	}
	if err := take(files.used, false); err != nil {
		return err
	}
	for _, f := range files.temps {
		if err := w.remove(f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (w *WAL) remove(name string) error {
	if err := w.fs.Remove(w.path(name)); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

// begin starts an empty log, putting what is in files aside.
func (w *WAL) begin(files dirListing, zxid int64) error {
	for _, f := range files.bad {
		if err := w.remove(f.Name); err != nil {
			return err
		}
	}
	if err := w.recoverSpares(files); err != nil {
		return err
	}
	if _, err := w.startSegment(position{zxid: zxid}, 0, true); err != nil {
		return err
	}
	// Segments are void from here on, in whatever order their names change.
	for _, f := range files.segments {
		if err := w.fs.Rename(w.path(f.Name), w.path(badName(f.number))); err != nil {
			return fmt.Errorf("wal: put segment aside: %w", err)
		}
	}
	w.recovery = Recovery{BaseZxid: zxid, LastZxid: zxid, Segments: 1, Sealed: true}
	return nil
}

// readChain reads the headers of the segments in files and follows them from the
// newest to the oldest of the log. It gives those segments, oldest first, each with
// the end that its successor names; the newest with its start for an end. Segments
// that are not of the log are orphans: a crash came between the cut that voided them
// and their removal.
//
// A segment that is needed and damaged, or missing, is a *CorruptError; chain is what
// follows it then.
func readChain(fsys walfs.FS, dir string, files dirListing) (chain []*segment, orphans []string, err error) {
	rest := files.segments
	var next *segment // the one behind, when going back
	for len(rest) > 0 {
		f := rest[len(rest)-1]
		if next != nil && (f.number > next.prev.seq || next.prev.seq == 0) {
			orphans = append(orphans, f.Name)
			rest = rest[:len(rest)-1]
			continue
		}
		if next != nil && f.number < next.prev.seq {
			return chain, nil, &CorruptError{Segment: segmentName(next.prev.seq),
				Reason: "segment is missing between " + f.Name + " and " + next.name}
		}
		s, err := readSegmentHeader(fsys, dir, f)
		if err == nil && next != nil {
			err = s.link(next)
		}
		if err != nil {
			return chain, nil, err
		}
		chain = append([]*segment{s}, chain...)
		rest = rest[:len(rest)-1]
		next = s
	}
	return chain, orphans, nil
}

// link sets the end of s to where next says it is.
func (s *segment) link(next *segment) error {
	if next.prev.end > s.bytes {
		return &CorruptError{Segment: s.name, Offset: s.bytes, LastGood: s.prev.zxid,
			Reason: fmt.Sprintf("file is shorter than the %d bytes that %s follows on", next.prev.end, next.name)}
	}
	if next.prev.zxid < s.prev.zxid {
		return &CorruptError{Segment: next.name, LastGood: s.prev.zxid,
			Reason: fmt.Sprintf("segment starts behind zxid 0x%x, before %s does", next.prev.zxid, s.name)}
	}
	s.last = next.prev
	return nil
}

func readSegmentHeader(fsys walfs.FS, dir string, f dirFile) (*segment, error) {
	file, err := fsys.Open(filepath.Join(dir, f.Name))
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	defer file.Close()
	buf := make([]byte, min(f.Bytes, segmentHeaderBytes))
	if n, err := file.ReadAt(buf, 0); n < len(buf) {
		return nil, fmt.Errorf("wal: read segment header: %w", err)
	}
	h, err := decodeSegmentHeader(buf, f.number)
	if err != nil {
		var c *CorruptError
		if errors.As(err, &c) {
			c.Segment = f.Name
		}
		return nil, err
	}
	s := &segment{segmentHeader: h, name: f.Name, bytes: f.Bytes}
	s.last = s.start()
	return s, nil
}
