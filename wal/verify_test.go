package wal

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"zabra.dev/zabra/wal/walfs"
)

// TestDump reads a damaged log to the end.
func TestDump(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{Salt: func() uint64 { return 1 }})
	for range 4 {
		appendGroup(t, w, fill(500, 'a'), fill(500, 'b'))
	}
	if err := w.TruncateSuffix(6); err != nil {
		t.Fatal(err)
	}
	appendGroup(t, w, fill(500, 'c'))
	clobber(t, disk, segmentName(1), dataStart+528+100, dataStart+528+101)
	clobber(t, disk, w.out.seg.name, w.out.off-10, w.out.off)
	var out strings.Builder
	err := Dump(disk, testDir, &out)
	if !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	golden(t, "dump.golden", out.String())
	rep, err := Verify(disk, testDir)
	if !errors.Is(err, ErrCorrupt) || rep.Records != 5 || rep.LastZxid != 6 || len(rep.Damage) != 1 ||
		len(rep.Segments) != 2 || rep.Segments[1].TornBytes != 528 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if _, err := Verify(disk, "/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := Dump(disk, testDir, failingWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Fatal(err)
	}
}

// TestVerifyInUse verifies a log while it is written to.
func TestVerifyInUse(t *testing.T) {
	fileSystems(t, func(t *testing.T, fsys walfs.FS, dir string) {
		w, err := Open(fsys, dir, Options{SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		const records = 3000
		done := make(chan struct{})
		go func() {
			defer close(done)
			for zxid := int64(1); zxid <= records; zxid++ {
				b := &Batch{}
				b.AddRecord(zxid, numbered(zxid))
				if err := w.Append(b); err != nil {
					t.Error(err)
					return
				}
				if zxid%3 == 0 {
					runtime.Gosched()
				}
			}
			if err := w.Sync(); err != nil {
				t.Error(err)
			}
		}()
		for found := int64(0); found < records; {
			durable := w.DurableZxid()
			rep, err := Verify(fsys, dir)
			if err != nil || rep.LastZxid < durable || rep.LastZxid < found {
				t.Fatalf("found %d after %d, durable %d: %v", rep.LastZxid, found, durable, err)
			}
			found = rep.LastZxid
		}
		<-done
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestVerifyRace lets two groups be written between the look at the end of the log
// and the search for records behind it: that is no damage.
func TestVerifyRace(t *testing.T) {
	disk := walfs.NewMemSectors(4096)
	w := openTest(t, disk, Options{SegmentBytes: 4 << 20})
	appendGroup(t, w, fill(600<<10, 'a'))
	end := w.out.off
	disk.SetHook(func(op walfs.Op) error {
		if op.Kind == walfs.OpRead && op.Off > end {
			disk.SetHook(nil)
			appendGroup(t, w, fill(600<<10, 'b'))
			appendGroup(t, w, fill(100, 'c'))
		}
		return nil
	})
	rep, err := Verify(disk, testDir)
	if err != nil || rep.Records != 3 {
		t.Fatal(rep, err)
	}
}

// TestDamagedHeader walks over what follows a segment with a damaged header, and
// tells a later format from damage.
func TestDamagedHeader(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{})
	for range 12 { // three in a segment
		appendGroup(t, w, fill(1010, 'a'))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	later := disk.Clone()
	clobber(t, disk, segmentName(2), 30, 31)
	var got []int64
	err := Walk(disk, testDir, func(e Entry) error {
		if e.Err != nil {
			if !errors.Is(e.Err, ErrCorrupt) || e.Segment != segmentName(2) || len(got) > 0 {
				t.Fatalf("%+v", e)
			}
			return nil
		}
		got = append(got, e.Zxid)
		return nil
	})
	if err != nil || !slices.Equal(got, []int64{7, 8, 9, 10, 11, 12}) {
		t.Fatal(got, err)
	}

	s := w.segments[1]
	page := s.encode()
	page[8]++
	binary.LittleEndian.PutUint64(page[segmentHeaderBytes-8:], xxhash.Sum64(page[:segmentHeaderBytes-8]))
	overwrite(t, later, s.name, 0, page[:segmentHeaderBytes])
	_, err = Open(later, testDir, Options{})
	if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if _, err := Verify(later, testDir); !errors.Is(err, ErrVersion) {
		t.Fatal(err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
