package wal

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

var rewriteGolden = flag.Bool("rewrite", false, "rewrite the golden files")

// golden compares got with a file under testdata, or rewrites that.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("%s differs; with -rewrite it becomes:\n%s", path, got)
	}
}

// TestFormat pins the bytes on disk.
func TestFormat(t *testing.T) {
	disk := walfs.NewMem()
	salt := uint64(0x0102030405060708)
	w := openTest(t, disk, Options{Salt: func() uint64 { salt++; return salt }})
	appendGroup(t, w, []byte("first"))
	appendGroup(t, w, []byte("second"), []byte("the third record"))
	appendGroup(t, w, fill(4000, 'x')) // does not fit
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range []string{segmentName(1), segmentName(2)} {
		data := walFiles(t, disk)[name]
		for _, part := range []struct {
			what     string
			from, to int
		}{
			{"header", 0, segmentHeaderBytes},
			{"seal", sealOffset, sealOffset + sealBytes},
			{"records", dataStart, dataStart + 112},
		} {
			fmt.Fprintf(&out, "%s, %s at %d:\n%s", name, part.what, part.from, hex.Dump(data[part.from:part.to]))
		}
	}
	golden(t, "format.golden", out.String())
}

// TestTrace pins the order of what is done to the disk, story by story.
func TestTrace(t *testing.T) {
	var out strings.Builder
	disk := walfs.NewMem()
	traced := walfs.Traced(disk, func(line string) { fmt.Fprintf(&out, "  %s\n", line) })
	tell := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	opts := Options{SpareSegments: 2}
	tell("open a new log:")
	w := openTest(t, traced, opts)
	tell("append before there is a spare, then make one:")
	appendGroup(t, w, fill(976, 'a'))
	tell("append two batches:")
	b, c := &Batch{}, &Batch{}
	b.AddRecord(2, fill(476, 'b'))
	c.AddRecord(3, fill(476, 'c'))
	must(w.Append(b))
	must(w.Append(c))
	w.Step()
	tell("append what does not fit:")
	appendGroup(t, w, fill(3000, 'd'))
	tell("append a group that begins in one segment and ends in the next:")
	appendGroup(t, w, fill(876, 'e'), fill(876, 'f'))
	tell("append a record that is larger than a segment:")
	appendGroup(t, w, fill(10000, 'g'))
	tell("append another:")
	appendGroup(t, w, fill(100, 'h'))
	tell("truncate the prefix up to %d, in segments %s:", 6, segments(w))
	w.TruncatePrefix(6)
	w.Step()
	tell("append what does not fit:")
	appendGroup(t, w, fill(4000, 'i'))
	tell("truncate the suffix behind %d, in segments %s:", 8, segments(w))
	must(w.TruncateSuffix(8))
	tell("append:")
	appendGroup(t, w, fill(100, 'j'))
	tell("truncate the suffix behind %d, in segments %s:", 7, segments(w))
	must(w.TruncateSuffix(7))
	tell("reset:")
	must(w.Reset(100))
	w.Step()
	tell("append:")
	appendGroup(t, w, fill(100, 'k'))
	tell("close:")
	must(w.Close())
	tell("open again, in segments %s:", segments(w))
	w = openTest(t, traced, opts)
	tell("append:")
	appendGroup(t, w, fill(100, 'l'))
	tell("open after a kill:")
	disk.ReleaseLocks()
	w = openTest(t, traced, opts)
	tell("close:")
	must(w.Close())
	tell("open as an empty log:")
	opts.Manual, opts.SegmentBytes = true, MinSegmentBytes
	w, err := OpenEmpty(traced, testDir, opts, 200)
	must(err)
	tell("close, in segments %s:", segments(w))
	must(w.Close())

	tell("without sync: open, append twice, append what does not fit, close:")
	disk = walfs.NewMem()
	traced = walfs.Traced(disk, func(line string) { fmt.Fprintf(&out, "  %s\n", line) })
	w = openTest(t, traced, Options{NoSync: true, Preallocate: PreallocNone})
	appendGroup(t, w, fill(100, 'a'))
	appendGroup(t, w, fill(100, 'b'))
	appendGroup(t, w, fill(4000, 'c'))
	must(w.Close())
	golden(t, "trace.golden", out.String())
}

// segments tells which zxids are in which segment.
func segments(w *WAL) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s []string
	for _, seg := range w.segments {
		s = append(s, fmt.Sprintf("%x(%d,%d]", seg.seq, seg.prev.zxid, seg.last.zxid))
	}
	return strings.Join(s, " ")
}
