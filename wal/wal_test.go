package wal

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

func TestAppendReopen(t *testing.T) {
	for _, manual := range []bool{true, false} {
		t.Run(fmt.Sprint(manual), func(t *testing.T) {
			fsys := walfs.NewMem()
			var durable int64
			w, err := Open(fsys, "/d/log", Options{SegmentBytes: 8192, Manual: manual, OnDurable: func(z int64) { durable = z }})
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i <= 100; i++ {
				b := &Batch{}
				b.AddRecord(int64(i), fmt.Appendf(nil, "payload %d %0300d", i, i))
				if err := w.Append(b); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			if manual {
				w.Step()
			}
			n := 0
			if err := w.Replay(5, func(z int64, p []byte) error { n++; return nil }); err != nil || n != 96 {
				t.Fatal(n, err)
			}
			if err := w.TruncateSuffix(50); err != nil {
				t.Fatal(err)
			}
			w.TruncatePrefix(30)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if durable != 100 {
				t.Fatal(durable)
			}
			w, err = Open(fsys, "/d/log", Options{SegmentBytes: 8192})
			if err != nil {
				t.Fatal(err)
			}
			if f, err := w.Floor(42); f != 42 || err != nil {
				t.Fatal(f, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			rep, err := Verify(fsys, "/d/log")
			if rep.LastZxid != 50 || rep.Records != 50-rep.BaseZxid || err != nil {
				t.Fatal(rep, err)
			}
		})
	}
}
