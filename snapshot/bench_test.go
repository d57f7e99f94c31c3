package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// benchImage makes records that look like znodes: a counter as key, fields of about 50 bytes and 100 bytes
// of data, half of them random.
type benchImage struct {
	rnd      *rand.Rand
	key, val []byte
}

func (g *benchImage) record(i uint64) (key, value []byte) {
	g.key = binary.BigEndian.AppendUint64(append(g.key[:0], 3), i)
	v := binary.AppendUvarint(g.val[:0], g.rnd.Uint64N(i+1))
	v = strconv.AppendUint(append(v, "node-"...), 10_000_000+i, 10)
	v = binary.AppendUvarint(v, 1_700_000_000_000+i)
	v = binary.AppendUvarint(v, 1_700_000_000_000+i)
	v = append(v, make([]byte, 20)...)
	for range 12 {
		v = binary.LittleEndian.AppendUint32(v, g.rnd.Uint32())
	}
	v = append(v, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"...)
	g.val = v
	return g.key, v
}

func (g *benchImage) write(tb testing.TB, s *Store, zxid int64, ids func(f func(id uint64)), records int64, replace bool) CheckpointStats {
	begin := s.NewCheckpoint
	if replace {
		begin = s.NewReplacement
	}
	w, err := begin(zxid)
	if err != nil {
		tb.Fatal(err)
	}
	ids(func(id uint64) {
		if err := w.Put(g.record(id)); err != nil {
			tb.Fatal(err)
		}
	})
	if err := w.Commit(Meta{Records: records}); err != nil {
		tb.Fatal(err)
	}
	return w.Stats()
}

func allIDs(n uint64) func(func(uint64)) {
	return func(f func(uint64)) {
		for i := range n {
			f(i)
		}
	}
}

// spread gives count ids, evenly and with a random offset, of n.
func spread(rnd *rand.Rand, count, n uint64) func(func(uint64)) {
	return func(f func(uint64)) {
		step := n / count
		for i := range count {
			f(i*step + rnd.Uint64N(step))
		}
	}
}

const benchRecords = 1_000_000

func benchStore(b *testing.B, opts Options) (*Store, *benchImage) {
	s, err := Open(vfs.Default, b.TempDir(), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s, &benchImage{rnd: rand.New(rand.NewPCG(1, 2))}
}

// BenchmarkFullImage writes a million records as a whole image.
func BenchmarkFullImage(b *testing.B) {
	for name, c := range map[string]Compression{"none": CompressionNone, "minlz": CompressionMinLZ, "zstd": CompressionZstd} {
		b.Run("compression="+name, func(b *testing.B) {
			s, g := benchStore(b, Options{Compression: c})
			b.ReportAllocs()
			var st CheckpointStats
			for i := range b.N {
				st = g.write(b, s, int64(i), allIDs(benchRecords), benchRecords, true)
			}
			b.SetBytes(st.RawBytes)
			b.ReportMetric(float64(st.TableBytes)/benchRecords, "diskB/record")
			b.ReportMetric(float64(st.Tables), "tables")
		})
	}
}

// BenchmarkIncrement changes some records, evenly spread, of an image of a million.
func BenchmarkIncrement(b *testing.B) {
	for _, changed := range []uint64{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("changed=%d", changed), func(b *testing.B) {
			s, g := benchStore(b, Options{})
			g.write(b, s, 0, allIDs(benchRecords), benchRecords, true)
			b.ReportAllocs()
			b.ResetTimer()
			var st CheckpointStats
			for i := range b.N {
				st = g.write(b, s, int64(i), spread(g.rnd, changed, benchRecords), benchRecords, false)
			}
			b.StopTimer()
			b.ReportMetric(float64(st.TableBytes), "diskB/op")
			m := s.Metrics()
			b.ReportMetric(float64(m.CompactedBytes)/float64(m.TableBytes), "compactedB/B")
		})
	}
}

// BenchmarkRetain makes a retained image of a million records.
func BenchmarkRetain(b *testing.B) {
	s, g := benchStore(b, Options{})
	g.write(b, s, 0, allIDs(benchRecords), benchRecords, true)
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		g.write(b, s, int64(i+1), func(func(uint64)) {}, benchRecords, false)
		b.StartTimer()
		if _, err := s.Retain(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, err := s.Purge(MinSnapRetainCount); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkScan reads a million records: fresh (one level), and after twenty increments.
func BenchmarkScan(b *testing.B) {
	for _, increments := range []int{0, 20} {
		b.Run(fmt.Sprintf("increments=%d", increments), func(b *testing.B) {
			s, g := benchStore(b, Options{})
			g.write(b, s, 0, allIDs(benchRecords), benchRecords, true)
			for i := range increments {
				g.write(b, s, int64(i), spread(g.rnd, 20_000, benchRecords), benchRecords, false)
			}
			b.ReportAllocs()
			b.ResetTimer()
			bytes := 0
			for range b.N {
				bytes = 0
				err := s.Scan(context.Background(), nil, func(k, v []byte) error {
					bytes += len(k) + len(v)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(bytes))
			b.ReportMetric(float64(b.N)*benchRecords/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkIdleMemory reports what an open store of a million records holds in memory.
func BenchmarkIdleMemory(b *testing.B) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, g := benchStore(b, Options{})
	g.write(b, s, 0, allIDs(benchRecords), benchRecords, true)
	if err := s.Scan(context.Background(), nil, func(_, _ []byte) error { return nil }); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024, "heapKiB")
	b.ReportMetric(float64(s.Metrics().MemoryBytes)/1024, "pebbleKiB")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
}
