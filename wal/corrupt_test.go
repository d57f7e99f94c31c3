package wal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// rotSubject is a log with several segments, groups of one and of more records, and
// recycled files, to be damaged.
type rotSubject struct {
	disk   *walfs.Mem
	h      history
	groups []int64 // newest zxid of each group, in order
	opts   Options
}

func newRotSubject(t *testing.T, seed uint64, closed bool) rotSubject {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	s := rotSubject{disk: walfs.NewMem()}
	s.opts = Options{SegmentBytes: MinSegmentBytes, SpareSegments: 3, Manual: true, Salt: rng.Uint64,
		OnDurable: func(zxid int64) { s.h.durable = zxid; s.groups = append(s.groups, zxid) }}
	w, err := Open(s.disk, testDir, s.opts)
	if err != nil {
		t.Fatal(err)
	}
	zxid := int64(0)
	add := func(groups int) {
		for range groups {
			b := &Batch{}
			for range 1 + rng.IntN(4) {
				zxid = nextZxid(rng, zxid)
				p := make([]byte, 8+rng.IntN(300))
				for i := range p {
					p[i] = byte(rng.Uint32())
				}
				s.h.log = append(s.h.log, entry{zxid, p})
				b.AddRecord(zxid, p)
			}
			if err := w.Append(b); err != nil {
				t.Fatal(err)
			}
			w.Step()
		}
	}
	add(40)
	w.TruncatePrefix(zxid)
	w.Step()
	add(30)
	s.opts.OnDurable = nil
	if closed {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.disk = s.disk.Clone()
	s.h.base = w.BaseZxid()
	for s.h.log[0].zxid <= s.h.base {
		s.h.log = s.h.log[1:]
	}
	if w.Stats().Recycled == 0 || s.h.durable != s.h.last() {
		t.Fatalf("nothing recycled, or not all durable: %+v", w.Stats())
	}
	return s
}

// findings opens and reads a damaged log: it returns the damage that Open or Replay
// tells of, or what was read.
func (s rotSubject) findings(disk *walfs.Mem) (*CorruptError, []entry, error) {
	w, err := Open(disk, testDir, s.opts)
	var got []entry
	if err == nil {
		defer w.Close()
		_, got, err = replayAll(w)
	}
	var c *CorruptError
	if errors.As(err, &c) {
		if !errors.Is(err, ErrCorrupt) {
			return nil, nil, fmt.Errorf("not of the kind ErrCorrupt: %w", err)
		}
		return c, nil, nil
	}
	return nil, got, err
}

// walFiles gives the names and contents of the log's segments.
func walFiles(t *testing.T, disk *walfs.Mem) map[string][]byte {
	t.Helper()
	infos, err := disk.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, fi := range infos {
		f, err := disk.Open(filepath.Join(testDir, fi.Name))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, fi.Bytes)
		if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		f.Close()
		files[fi.Name] = data
	}
	return files
}

// span is where a record, without padding, is.
type span struct {
	segment    string
	begin, end int64
	group      int64
	zxid       int64
}

func (s rotSubject) spans(t *testing.T) []span {
	t.Helper()
	var spans []span
	err := Walk(s.disk, testDir, func(e Entry) error {
		spans = append(spans, span{e.Segment, e.Offset, e.Offset + HeaderSize + int64(e.Bytes), e.Group, e.Zxid})
		return e.Err
	})
	if err != nil || len(spans) != len(s.h.log) {
		t.Fatalf("walked over %d records of %d: %v", len(spans), len(s.h.log), err)
	}
	return spans
}

// TestBitRot flips bits all over a log, one at a time. In a log that was
// closed every flip of a record is told as corruption; in one that was not, those in
// the newest group may look like a torn write, and cost that group only. Nothing
// else but the log as it was is ever read, and corruption changes nothing on disk.
func TestBitRot(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%v", closed), func(t *testing.T) {
			s := newRotSubject(t, 1, closed)
			rng := rand.New(rand.NewPCG(1, 4))
			spans := s.spans(t)
			whole := s.h
			if !closed {
				// Without a seal the newest group may go.
				whole.durable = s.groups[len(s.groups)-2]
			}
			corrupt, cut := 0, 0
			stride := 3
			if testing.Short() {
				stride = 20
			}
			for name, data := range walFiles(t, s.disk) {
				if filepath.Ext(name) != segmentSuffix {
					continue
				}
				for off := int64(0); off < int64(len(data)); off += 1 + rng.Int64N(int64(stride)) {
					if off >= segmentHeaderBytes && off < dataStart-8 {
						continue // void
					}
					disk := s.disk.Clone()
					bit := uint(rng.IntN(8))
					if err := disk.FlipBit(filepath.Join(testDir, name), off, bit); err != nil {
						t.Fatal(err)
					}
					untouched := disk
					if rng.IntN(10) == 0 {
						untouched = disk.Clone()
					}
					c, got, err := s.findings(disk)
					where := fmt.Sprintf("bit %d of byte %d of %s", bit, off, name)
					if err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					hit := slices.IndexFunc(spans, func(r span) bool {
						return r.segment == name && off >= r.begin && off < r.end
					})
					if c != nil {
						corrupt++
						checkReport(t, where, c, name, off, hit, spans, s)
						if untouched != disk {
							if _, err := Open(disk, testDir, s.opts); err != nil && !equalFiles(walFiles(t, untouched), walFiles(t, disk)) {
								t.Fatalf("%s: Open changed the disk", where)
							}
						}
						continue
					}
					if err := whole.admits(s.h.base, got, 0); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					if len(got) < len(s.h.log) {
						cut++
					}
					if hit >= 0 && len(got) == len(s.h.log) || off < segmentHeaderBytes {
						t.Fatalf("%s: not noticed", where)
					}
				}
			}
			t.Logf("%d flips were corruption, %d looked like a torn write", corrupt, cut)
			if corrupt == 0 || closed != (cut == 0) {
				t.Fatal("that cannot be")
			}
		})
	}
}

// checkReport checks that the error for damage at off names the right place.
func checkReport(t *testing.T, where string, c *CorruptError, name string, off int64, hit int, spans []span, s rotSubject) {
	t.Helper()
	switch {
	case off < segmentHeaderBytes:
		if c.Segment != name || c.Offset != 0 {
			t.Fatalf("%s: told as %v", where, c)
		}
	case hit < 0:
		t.Fatalf("%s: told as %v, though no record is hit", where, c)
	default:
		r := spans[hit]
		before, after := s.h.base, int64(0)
		if hit > 0 {
			before = spans[hit-1].zxid
		}
		if hit+1 < len(spans) {
			after = spans[hit+1].zxid
		}
		if c.Segment != r.segment || c.Offset != r.begin || c.LastGood != before || c.FirstGoodAfter != after {
			t.Fatalf("%s, in %+v: told as %v, good before 0x%x and after 0x%x", where, r, c, before, after)
		}
	}
}

func equalFiles(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name, data := range a {
		if other, ok := b[name]; !ok || !slices.Equal(data, other) {
			return false
		}
	}
	return true
}

// TestLostSectors overwrites whole sectors, with zeroes as if a write had been lost,
// with noise, and with what an older life of the file had there. In a log that was not
// closed the last sector that was written may be cut off: all that could tell of it
// is in it.
func TestLostSectors(t *testing.T) {
	for _, closed := range []bool{true, false} {
		s := newRotSubject(t, 2, closed)
		spans := s.spans(t)
		newest := spans[len(spans)-1].segment
		rng := rand.New(rand.NewPCG(2, 5))
		noise := make([]byte, 512)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		files := walFiles(t, s.disk)
		for name, data := range files {
			if filepath.Ext(name) != segmentSuffix {
				continue
			}
			for off := int64(dataStart); off+512 <= int64(len(data)); off += 512 {
				other := files[segmentName(1+uint64(rng.IntN(30)))]
				old := make([]byte, 512)
				if len(other) > int(off) {
					copy(old, other[off:])
				}
				for _, sector := range [][]byte{make([]byte, 512), noise, old} {
					disk := s.disk.Clone()
					f, err := disk.OpenRW(filepath.Join(testDir, name))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := f.WriteAt(sector, off); err != nil {
						t.Fatal(err)
					}
					same := slices.Equal(sector, data[off:off+512])
					c, got, err := s.findings(disk)
					where := fmt.Sprintf("sector %d of %s, closed %v", off, name, closed)
					if err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					if c != nil {
						if same {
							t.Fatalf("%s: %v for nothing", where, c)
						}
						continue
					}
					whole := s.h
					proof := closed || name != newest || slices.ContainsFunc(spans, func(r span) bool {
						return r.segment == name && r.group >= off+512
					})
					for i := 0; !proof && i < len(spans); i++ {
						if spans[i].segment != newest || spans[i].end <= off {
							whole.durable = spans[i].zxid
						}
					}
					if err := whole.admits(s.h.base, got, 0); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					hit := slices.ContainsFunc(spans, func(r span) bool {
						return r.segment == name && off < r.end && off+512 > r.begin
					})
					if proof && hit && !same {
						t.Fatalf("%s: not noticed", where)
					}
				}
			}
		}
	}
}

// TestMissingSegment removes each segment in turn.
func TestMissingSegment(t *testing.T) {
	s := newRotSubject(t, 3, true)
	files, err := listDir(s.disk, testDir)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files.segments {
		disk := s.disk.Clone()
		if err := disk.Remove(filepath.Join(testDir, f.Name)); err != nil {
			t.Fatal(err)
		}
		c, got, err := s.findings(disk)
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0: // as if TruncatePrefix had removed it
			if c != nil || len(got) == 0 || got[len(got)-1].zxid != s.h.last() {
				t.Fatalf("without the oldest: %v, %d records", c, len(got))
			}
		case len(files.segments) - 1: // as if it had never been
			if c != nil || s.h.admits(s.h.base, got, 0) == nil {
				t.Fatalf("without the newest: %v, %d records", c, len(got))
			}
		default:
			if c == nil || c.Segment != f.Name {
				t.Fatalf("without %s: %v", f.Name, c)
			}
		}
	}
}
