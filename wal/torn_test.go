package wal

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// openTest opens a log in Manual mode, and fails the test if it cannot.
func openTest(t *testing.T, fsys walfs.FS, opts Options) *WAL {
	t.Helper()
	opts.Manual = true
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = MinSegmentBytes
	}
	w, err := Open(fsys, testDir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// appendGroup appends the payloads as one group, with zxids from LastZxid()+1 on.
func appendGroup(t *testing.T, w *WAL, payloads ...[]byte) {
	t.Helper()
	b := &Batch{}
	for i, p := range payloads {
		b.AddRecord(w.LastZxid()+1+int64(i), p)
	}
	if err := w.Append(b); err != nil {
		t.Fatal(err)
	}
	w.Step()
}

func fill(n int, c byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = c
	}
	return p
}

// clobber overwrites a part of a segment with 0xee.
func clobber(t *testing.T, disk *walfs.Mem, name string, from, to int64) {
	t.Helper()
	overwrite(t, disk, name, from, fill(int(to-from), 0xee))
}

func overwrite(t *testing.T, disk *walfs.Mem, name string, off int64, p []byte) {
	t.Helper()
	f, err := disk.OpenRW(filepath.Join(testDir, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

// TestTornOrCorrupt damages a log that was not closed and checks the verdict. The log
// has three groups: record 1; records 2, 3, 4; records 5, 6, 7, all of 1000 bytes
// with their headers, so that record n is at dataStart+1000(n-1).
func TestTornOrCorrupt(t *testing.T) {
	at := func(n int64) int64 { return dataStart + 1000*(n-1) }
	const (
		payload = 1
		head    = 2
		all     = 3
	)
	type hit struct {
		record int64
		what   int
	}
	tests := []struct {
		name    string
		hits    []hit
		last    int64 // newest zxid found
		torn    int64 // bytes, 0 for none
		good    int64 // FirstGoodAfter if corrupt
		corrupt bool
	}{
		{name: "none", last: 7},
		{name: "all of the newest record", hits: []hit{{7, all}}, last: 6, torn: 1000},
		{name: "a payload in the newest group", hits: []hit{{6, payload}}, last: 5, torn: 2000},
		{name: "a header in the newest group", hits: []hit{{6, head}}, last: 5, torn: 2000},
		{name: "start of the newest group", hits: []hit{{5, all}}, last: 4, torn: 3000},
		{name: "all of the newest group", hits: []hit{{5, all}, {6, all}, {7, all}}, last: 4, torn: 3000},
		{name: "end of the group before", hits: []hit{{4, payload}}, last: 3, good: 5, corrupt: true},
		{name: "start of the group before", hits: []hit{{2, head}}, last: 1, good: 3, corrupt: true},
		{name: "the group before and the start of the newest", hits: []hit{{4, all}, {5, all}}, last: 3, good: 6, corrupt: true},
		{name: "the group before and all but the newest record", hits: []hit{{2, all}, {3, all}, {4, all}, {5, head}, {6, head}}, last: 1, good: 7, corrupt: true},
		{name: "the first record", hits: []hit{{1, all}}, last: 0, good: 2, corrupt: true},
		{name: "everything", hits: []hit{{1, all}, {2, all}, {3, all}, {4, all}, {5, all}, {6, all}, {7, all}}, last: 0, torn: 7000},
	}
	for _, fresh := range []bool{true, false} {
		for _, tc := range tests {
			t.Run(tc.name, func(t *testing.T) {
				disk := walfs.NewMem()
				w := openTest(t, disk, Options{SegmentBytes: dataStart + 16384})
				name := segmentName(1)
				if !fresh {
					// Let the log go on in a file with an older life.
					for range 17 {
						appendGroup(t, w, fill(976, 'o'))
					}
					if err := w.Reset(0); err != nil {
						t.Fatal(err)
					}
					if err := w.Reset(0); err != nil {
						t.Fatal(err)
					}
					name = w.out.seg.name
					if w.out.seg.fresh {
						t.Fatal("the file has no older life")
					}
				}
				appendGroup(t, w, fill(976, 'a'))
				appendGroup(t, w, fill(976, 'b'), fill(976, 'c'), fill(976, 'd'))
				appendGroup(t, w, fill(976, 'e'), fill(976, 'f'), fill(976, 'g'))
				disk = disk.Clone()
				for _, h := range tc.hits {
					switch h.what {
					case head:
						clobber(t, disk, name, at(h.record), at(h.record)+HeaderSize)
					case payload:
						clobber(t, disk, name, at(h.record)+500, at(h.record)+501)
					case all:
						clobber(t, disk, name, at(h.record), at(h.record)+1000)
					}
				}
				w, err := Open(disk, testDir, Options{Manual: true})
				if tc.corrupt {
					var c *CorruptError
					if !errors.As(err, &c) {
						t.Fatalf("got %v, want a CorruptError", err)
					}
					if c.LastGood != tc.last || c.FirstGoodAfter != tc.good || c.Offset != at(tc.last+1) || c.Segment != name {
						t.Fatalf("got %+v", c)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				r := w.Recovery()
				// Noise over all that was written leaves nothing that tells of it in a file
				// that had an older life.
				want := tc.torn
				if !fresh && (tc.hits != nil && tc.hits[len(tc.hits)-1] == hit{7, all}) {
					want = 0
				}
				if r.LastZxid != tc.last || r.TornBytes != want || (want > 0) != (r.TornSegment == name) {
					t.Fatalf("got %+v, want %d bytes torn", r, want)
				}
			})
		}
	}
}

// TestEmbeddedRecords has records as payload: copies of the log's own bytes, as
// a client may store. They are no records where they are, whatever happens around.
func TestEmbeddedRecords(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{SegmentBytes: 16384})
	appendGroup(t, w, fill(100, 'a'))
	appendGroup(t, w, fill(100, 'b'), fill(100, 'c'))
	page := walFiles(t, disk)[segmentName(1)]
	inner := page[dataStart:w.out.off]
	appendGroup(t, w, inner)
	whole := disk.Clone()

	// Without the header that is around them they are what a search comes across.
	last := w.out.off - recordSize(len(inner))
	clobber(t, disk, segmentName(1), last, last+HeaderSize)
	disk.ReleaseLocks()
	w = openTest(t, disk, Options{})
	if r := w.Recovery(); r.LastZxid != 3 || r.TornBytes == 0 {
		t.Fatalf("got %+v", r)
	}
	w = openTest(t, whole, Options{})
	if _, got, err := replayAll(w); err != nil || len(got) != 4 || string(got[3].payload) != string(inner) {
		t.Fatalf("got %v, %v", got, err)
	}
}

// TestSeal checks that a seal is there, and durable, when it should be.
func TestSeal(t *testing.T) {
	sealed := func(disk *walfs.Mem) bool {
		rep, err := Verify(disk, testDir)
		if err != nil {
			t.Fatal(err)
		}
		return rep.Segments[len(rep.Segments)-1].Sealed
	}
	powerCut := walfs.Crash{}
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{})
	appendGroup(t, w, fill(100, 'a'))
	if sealed(disk) {
		t.Fatal("sealed while records are appended")
	}
	killed := disk.Clone()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !sealed(disk.CrashClone(powerCut)) {
		t.Fatal("not sealed by Close")
	}
	openTest(t, killed, Options{})
	if !sealed(killed.CrashClone(powerCut)) {
		t.Fatal("not sealed by Open")
	}

	// A seal whose sync failed reads well, and is not on disk before the next Open.
	w = openTest(t, disk, Options{})
	appendGroup(t, w, fill(100, 'b'))
	disk.SetHook(func(op walfs.Op) error {
		if op.Kind == walfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if err := w.Close(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("closed with %v", err)
	}
	disk.SetHook(nil)
	if !sealed(disk) || sealed(disk.CrashClone(powerCut)) {
		t.Fatal("the seal is not only in the page cache")
	}
	if w = openTest(t, disk, Options{}); w.LastZxid() != 2 {
		t.Fatalf("newest record is %d", w.LastZxid())
	}
	if !sealed(disk.CrashClone(powerCut)) {
		t.Fatal("seal not made durable by Open")
	}
}
