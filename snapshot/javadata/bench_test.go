package javadata

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// bigEngine has n nodes of 100 bytes below 1000 parents.
func bigEngine(tb testing.TB, n int) *engine.Engine {
	b, err := engine.NewBuilder(withDigest.Engine)
	if err != nil {
		tb.Fatal(err)
	}
	open := proto.RawACLs(proto.AppendACLs(nil, proto.WorldAnyone))
	data := bytes.Repeat([]byte("0123456789"), 10)
	var path []byte
	for i := range n {
		st := proto.StatPersisted{Czxid: int64(i), Mzxid: int64(i), Pzxid: int64(i), Ctime: 1_700_000_000_000, Mtime: 1_700_000_000_000}
		path = strconv.AppendInt(append(path[:0], "/p"...), int64(i%1000), 10)
		if i >= 1000 {
			path = strconv.AppendInt(append(path, "/node-"...), int64(i), 10)
		}
		strconv.AppendInt(data[:0], int64(i), 10)
		if err := b.AddNode(path, data, open, &st); err != nil {
			tb.Fatal(err)
		}
	}
	e, err := b.Finish(int64(n))
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

const benchNodes = 1_000_000

// BenchmarkExport writes a snapshot of a million nodes of 100 bytes.
func BenchmarkExport(b *testing.B) {
	e := bigEngine(b, benchNodes)
	defer e.Close()
	for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionSnappy} {
		b.Run(fmt.Sprintf("compression=%s", c.Extension()), func(b *testing.B) {
			b.ReportAllocs()
			n := &countingWriter{}
			for range b.N {
				n.n = 0
				if err := Export(e, n, ExportOptions{Compression: c, Parts: PartsDigest}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n.n)/benchNodes, "B/node")
		})
	}
}

type countingWriter struct{ n int64 }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return len(p), nil
}

// BenchmarkLoadSnapshot reads the same back: only the file, and into an engine.
func BenchmarkLoadSnapshot(b *testing.B) {
	e := bigEngine(b, benchNodes)
	plain := exportBytes(b, e, ExportOptions{Parts: PartsDigest})
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("to=nothing", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(plain)))
		for range b.N {
			if _, err := ReadSnapshot(bytes.NewReader(plain), "bench", Options{}, nullSink{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("to=engine", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(plain)))
		var before, after runtime.MemStats
		for range b.N {
			runtime.ReadMemStats(&before)
			e, _, err := LoadStream(bytes.NewReader(plain), "bench", benchNodes, withDigest)
			if err != nil {
				b.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1024, "heapKiB/load")
	})
}

// BenchmarkReadLog reads a log of small transactions.
func BenchmarkReadLog(b *testing.B) {
	var records [][]byte
	for i := range int64(100_000) {
		records = append(records, txnBytes(i))
	}
	log := logBytes(records...)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if n, _, _, err := readLogCount(log); n != len(records) || err != nil && err != io.EOF {
			b.Fatal(n, err)
		}
	}
}
