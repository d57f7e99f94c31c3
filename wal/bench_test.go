package wal

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"zabra.dev/zabra/wal/walfs"
)

// benchLog opens a log on the real disk with a zeroed segment at hand, and gives
// a channel that is told of durable zxids.
func benchLog(b *testing.B, opts Options) (*WAL, chan int64) {
	b.Helper()
	durable := make(chan int64, 1<<16)
	opts.OnDurable = func(zxid int64) { durable <- zxid }
	w, err := Open(walfs.OS{}, filepath.Join(b.TempDir(), "log"), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	for w.Stats().Spares == 0 {
		time.Sleep(time.Millisecond)
	}
	return w, durable
}

// benchBatch gives a batch of records and a function that gives them new zxids.
func benchBatch(size, records int) (*Batch, func(first int64)) {
	batch := &Batch{}
	payload := fill(size, 'p')
	for i := range records {
		batch.AddRecord(int64(i+1), payload)
	}
	return batch, func(first int64) {
		for i := range batch.Records {
			batch.Records[i].Zxid = first + int64(i)
		}
	}
}

// BenchmarkAppendSync appends a batch and waits until it is durable: the latency of
// a lone turn of the replica, and what a sync costs per record.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{100, 1024, 16384} {
		for _, records := range []int{1, 10, 100, 1000} {
			if size*records > 4<<20 {
				continue
			}
			b.Run(fmt.Sprintf("size=%d/batch=%d", size, records), func(b *testing.B) {
				w, durable := benchLog(b, Options{})
				batch, number := benchBatch(size, records)
				b.SetBytes(int64(size * records))
				b.ReportAllocs()
				before := w.Stats()
				zxid := int64(1)
				for b.Loop() {
					number(zxid)
					zxid += int64(records)
					if err := w.Append(batch); err != nil {
						b.Fatal(err)
					}
					for <-durable < zxid-1 {
					}
				}
				after := w.Stats()
				syncs := float64(after.Syncs - before.Syncs)
				b.ReportMetric(syncs/float64(b.N), "fsync/op")
				b.ReportMetric(float64(after.SyncTotal-before.SyncTotal)/syncs/1e3, "us/fsync")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
			})
		}
	}
}

// BenchmarkAppendPipelined keeps a megabyte queued: what group commit makes of
// small turns under load.
func BenchmarkAppendPipelined(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("size=%d/batch=10/sync=%v", size, !noSync), func(b *testing.B) {
				const records, queued = 10, 1 << 20
				w, durable := benchLog(b, Options{NoSync: noSync})
				free := make(chan *Batch, 4+queued/(size*records))
				for range cap(free) {
					batch, _ := benchBatch(size, records)
					batch.Release = func(batch *Batch) { free <- batch }
					free <- batch
				}
				b.SetBytes(int64(size * records))
				b.ReportAllocs()
				before := w.Stats()
				zxid := int64(0)
				for b.Loop() {
					batch := <-free
					for i := range batch.Records {
						zxid++
						batch.Records[i].Zxid = zxid
					}
					if err := w.Append(batch); err != nil {
						b.Fatal(err)
					}
					for len(durable) > 0 {
						<-durable
					}
				}
				if err := w.Sync(); err != nil {
					b.Fatal(err)
				}
				after := w.Stats()
				b.ReportMetric(float64(after.Syncs-before.Syncs)/float64(b.N), "fsync/op")
				b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
				go func() { // let Close go on
					for range durable {
					}
				}()
			})
		}
	}
}

// BenchmarkReplay reads a log of 64 MiB that the page cache has.
func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{100, 1024, 16384} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			w, err := Open(walfs.OS{}, filepath.Join(b.TempDir(), "log"),
				Options{NoSync: true, Manual: true, Preallocate: PreallocNone, SegmentBytes: 16 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			records := min(1000, (1<<20)/size)
			batch, number := benchBatch(size, records)
			zxid := int64(1)
			for w.Stats().Bytes < 64<<20 {
				number(zxid)
				zxid += int64(records)
				if err := w.Append(batch); err != nil {
					b.Fatal(err)
				}
				w.Step()
			}
			b.SetBytes(w.Stats().Bytes)
			b.ReportAllocs()
			for b.Loop() {
				n := int64(1)
				if err := w.Replay(0, func(int64, []byte) error { n++; return nil }); err != nil || n != zxid {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(zxid-1), "ns/record")
		})
	}
}

// BenchmarkOpen opens a log whose newest segment is full, after a clean end and after
// a kill.
func BenchmarkOpen(b *testing.B) {
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("clean=%v", clean), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "log")
			opts := Options{Manual: true}
			w, err := Open(walfs.OS{}, dir, opts)
			if err != nil {
				b.Fatal(err)
			}
			w.Step()
			batch, number := benchBatch(1024, 1000)
			for i := range 60 {
				number(int64(i*1000 + 1))
				if err := w.Append(batch); err != nil {
					b.Fatal(err)
				}
				w.Step()
			}
			if clean {
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			} else {
				w.lock.Close()
			}
			seal := make([]byte, sealBytes)
			for b.Loop() {
				w, err := Open(walfs.OS{}, dir, opts)
				if err != nil || w.LastZxid() != 60000 {
					b.Fatal(err)
				}
				b.StopTimer()
				w.lock.Close()
				if !clean {
					f, err := walfs.OS{}.OpenRW(filepath.Join(dir, segmentName(1)))
					if err != nil {
						b.Fatal(err)
					}
					f.WriteAt(seal, sealOffset)
					f.Close()
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSearchBehind searches 64 MiB of zeroes and of noise for records, as Open
// does behind the end of a log that was not closed.
func BenchmarkSearchBehind(b *testing.B) {
	for _, noise := range []bool{false, true} {
		b.Run(fmt.Sprintf("noise=%v", noise), func(b *testing.B) {
			f, err := walfs.OS{}.Create(filepath.Join(b.TempDir(), "x"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			data := make([]byte, 64<<20)
			if noise {
				x := uint64(1)
				for i := range data {
					x = mix(x + 1)
					data[i] = byte(x)
				}
			}
			if _, err := f.WriteAt(data, 0); err != nil {
				b.Fatal(err)
			}
			s := &segment{segmentHeader: segmentHeader{seed: 1}}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				sc := newScanner(f, s, int64(len(data)))
				if r, err := sc.searchBehind(false); err != nil || r.firstGood.off != 0 {
					b.Fatal(r, err)
				}
			}
		})
	}
}
