package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"zabra.dev/zabra/wal/walfs"
)

// Entry is one place of a log that Walk comes by.
type Entry struct {
	Segment string // file name without directory
	Offset  int64
	Zxid    int64
	Bytes   int   // of the payload
	Group   int64 // offset of the first record that was synced together with this one
	// Payload is lent until the callback returns.
	Payload []byte
	// Err is nil for a record. Otherwise this is damage, and Err, a *CorruptError, says
	// of what kind; Walk goes on behind it.
	Err error
}

// Walk calls fn for every record of the log in dir, in order, and for every place
// where it is damaged. It returns the first error of fn, or one of reading. It
// takes no lock and changes nothing: of a log in use it shows what is there at the
// moment, or fails with fs.ErrNotExist if a segment was taken away meanwhile. An
// unfinished write at the end is not damage. Of a log with a segment whose header is
// damaged it shows what follows.
func Walk(fsys walfs.FS, dir string, fn func(Entry) error) error {
	return walk(fsys, dir, func(*segment) {}, fn, func(*segment, tail) {})
}

// walk is Walk; it also calls enter for each segment and done for its end.
func walk(fsys walfs.FS, dir string, enter func(*segment), fn func(Entry) error, done func(*segment, tail)) error {
	files, err := listDir(fsys, dir)
	if err != nil {
		return err
	}
	chain, _, err := readChain(fsys, dir, files)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		err = fn(Entry{Segment: corrupt.Segment, Offset: corrupt.Offset, Err: corrupt})
	}
	if err != nil {
		return err
	}
	for i, s := range chain {
		enter(s)
		file, err := fsys.Open(filepath.Join(dir, s.name))
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		t, err := walkSegment(file, s, i == len(chain)-1, fn)
		file.Close()
		if err != nil {
			return err
		}
		done(s, t)
	}
	return nil
}

// walkSegment walks one segment: to the end that its successor names or, for the
// newest one, its seal, or else to where it turns out to end.
func walkSegment(file walfs.File, s *segment, newest bool, fn func(Entry) error) (tail, error) {
	sc, end, sealed := newScanner(file, s, s.last.end), s.last, true
	if newest {
		var err error
		if sc, end, sealed, err = newTailScanner(file, s); err != nil {
			return tail{}, err
		}
	}
	again := int64(-1) // where damage was seen once
	for {
		off := sc.last.end
		rec, what, err := sc.next()
		if err == nil && what == foundRecord {
			if err := fn(Entry{Segment: s.name, Offset: off, Zxid: rec.zxid, Bytes: len(rec.payload),
				Group: rec.group(), Payload: rec.payload}); err != nil {
				return tail{}, err
			}
			continue
		}
		t := tail{last: sc.last, sealed: sealed}
		switch {
		case err != nil:
		case sealed && what == foundEnd && sc.last == end:
			return t, nil
		case sealed:
			err = sc.broken(what, end)
		case what == foundEnd:
			return t, nil
		default:
			if t, err = sc.tail(s.fresh); err == nil {
				return t, nil
			}
			// In a log in use the record may have been half written when it was read, and
			// others behind it when they were searched for. Then it is whole by now.
			if sc.buf = sc.buf[:0]; again != off {
				again = off
				continue
			}
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			return tail{}, err
		}
		if err := fn(Entry{Segment: s.name, Offset: off, Err: corrupt}); err != nil {
			return tail{}, err
		}
		// Go on at the next good record, if there is one.
		b, err := sc.searchBehind(true)
		if err != nil {
			return tail{}, err
		}
		if b.firstGood.off == 0 {
			return tail{last: sc.last, sealed: sealed}, nil
		}
		sc.last.end, sc.group = b.firstGood.off, b.firstGood.group()
	}
}

// SegmentReport is what Verify found in one segment.
type SegmentReport struct {
	Name      string
	Seq       uint64
	AfterZxid int64 // the segment starts behind it
	LastZxid  int64 // newest intact record, or AfterZxid
	Records   int64 // intact ones
	Bytes     int64 // size of the file
	End       int64 // offset behind the newest intact record
	Sealed    bool  // nothing can have come behind End
	TornBytes int64 // of an unfinished write behind End
}

// Report is what Verify found.
type Report struct {
	Segments []SegmentReport
	BaseZxid int64 // the log starts behind it
	LastZxid int64 // newest intact record, or BaseZxid
	Records  int64 // intact ones
	Damage   []*CorruptError
}

// Verify reads all of the log in dir and checks it. The error is one of reading, or
// the first of Report.Damage; the report is complete in the latter case. Like Walk
// it takes no lock and changes nothing.
func Verify(fsys walfs.FS, dir string) (Report, error) {
	var rep Report
	var cur SegmentReport
	enter := func(s *segment) {
		if len(rep.Segments) == 0 {
			rep.BaseZxid, rep.LastZxid = s.prev.zxid, s.prev.zxid
		}
		cur = SegmentReport{Name: s.name, Seq: s.seq, AfterZxid: s.prev.zxid, LastZxid: s.prev.zxid, Bytes: s.bytes}
	}
	visit := func(e Entry) error {
		var c *CorruptError
		if errors.As(e.Err, &c) {
			rep.Damage = append(rep.Damage, c)
			return nil
		}
		cur.Records++
		cur.LastZxid = e.Zxid
		return nil
	}
	done := func(_ *segment, t tail) {
		cur.End, cur.Sealed, cur.TornBytes = t.last.end, t.sealed, t.tornBytes
		rep.Segments = append(rep.Segments, cur)
		rep.Records += cur.Records
		rep.LastZxid = max(rep.LastZxid, cur.LastZxid)
	}
	if err := walk(fsys, dir, enter, visit, done); err != nil {
		return rep, err
	}
	if len(rep.Damage) > 0 {
		return rep, rep.Damage[0]
	}
	return rep, nil
}

// Dump writes one line per record of the log in dir, and per damaged place, to out.
// Like Walk it takes no lock and changes nothing. It returns the error of Verify, or
// one of writing.
func Dump(fsys walfs.FS, dir string, out io.Writer) error {
	var damage error
	enter := func(s *segment) {
		from := "the log starts here"
		if s.prev.seq != 0 {
			from = fmt.Sprintf("continues %s at %d", segmentName(s.prev.seq), s.prev.end)
		}
		fmt.Fprintf(out, "segment %s: %d bytes, behind zxid 0x%x, %s\n", s.name, s.bytes, s.prev.zxid, from)
	}
	done := func(s *segment, t tail) {
		switch {
		case t.sealed:
			fmt.Fprintf(out, "%s %10d end, sealed\n", s.name, t.last.end)
		case t.tornBytes > 0:
			fmt.Fprintf(out, "%s %10d end, then %d bytes of an unfinished write\n", s.name, t.last.end, t.tornBytes)
		default:
			fmt.Fprintf(out, "%s %10d end\n", s.name, t.last.end)
		}
	}
	err := walk(fsys, dir, enter, func(e Entry) error {
		if e.Err != nil {
			if damage == nil {
				damage = e.Err
			}
			_, err := fmt.Fprintf(out, "%s %10d BAD %v\n", e.Segment, e.Offset, e.Err)
			return err
		}
		mark := ""
		if e.Group == e.Offset {
			mark = " group"
		}
		_, err := fmt.Fprintf(out, "%s %10d zxid=0x%x bytes=%d%s\n", e.Segment, e.Offset, e.Zxid, e.Bytes, mark)
		return err
	}, done)
	if err != nil {
		return err
	}
	return damage
}
