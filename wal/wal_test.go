package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/wal/walfs"
)

// fileSystems runs a test on both implementations.
func fileSystems(t *testing.T, test func(t *testing.T, fsys walfs.FS, dir string)) {
	t.Run("mem", func(t *testing.T) { test(t, walfs.NewMem(), testDir) })
	t.Run("os", func(t *testing.T) { test(t, walfs.OS{}, filepath.Join(t.TempDir(), "log")) })
}

// checkGoroutines fails the test if a goroutine of a log is left.
func checkGoroutines(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, name := range []string{"writeLoop", "tidyLoop"} {
		if strings.Contains(stacks, name) {
			t.Errorf("a goroutine is in %s:\n%s", name, stacks)
		}
	}
}

// TestConcurrent has one goroutine append and truncate, several read what is
// durable, and others look, while segments roll and are recycled.
func TestConcurrent(t *testing.T) {
	fileSystems(t, func(t *testing.T, fsys walfs.FS, dir string) {
		const records = 4000
		var durable atomic.Int64
		var lent atomic.Int64
		pool := sync.Pool{New: func() any { return &Batch{Release: nil} }}
		release := func(b *Batch) { lent.Add(-1); b.Reset(); pool.Put(b) }
		w, err := Open(fsys, dir, Options{
			SegmentBytes: 32 << 10, MaxGroupBytes: 8 << 10, MaxQueuedBytes: 1 << 20,
			OnDurable: func(zxid int64) {
				if old := durable.Swap(zxid); old >= zxid {
					t.Errorf("durable %d after %d", zxid, old)
				}
			},
			OnError: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				next := int64(1)
				for next <= records {
					r, err := w.NewReader(next)
					if errors.Is(err, ErrCompacted) {
						next = w.BaseZxid() + 1
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					for {
						zxid, payload, err := r.Next()
						if errors.Is(err, io.EOF) {
							runtime.Gosched()
							if next > records {
								break
							}
							continue
						}
						if errors.Is(err, ErrCompacted) {
							next = w.BaseZxid() + 1
							break
						}
						if err != nil || zxid != next || !bytes.Equal(payload, numbered(zxid)) {
							t.Errorf("read %d, want %d: %v", zxid, next, err)
							r.Close()
							return
						}
						if zxid > w.DurableZxid() {
							t.Errorf("read %d, durable up to %d", zxid, w.DurableZxid())
						}
						next++
					}
					r.Close()
				}
			})
		}
		for zxid := int64(1); zxid <= records; {
			b := pool.Get().(*Batch)
			b.Release = release
			for range 1 + zxid%7 {
				b.BeginRecord()
				b.Buf = appendNumbered(b.Buf, zxid)
				b.EndRecord(zxid)
				zxid++
				if zxid > records {
					break
				}
			}
			lent.Add(1)
			for {
				err := w.Append(b)
				if err == nil {
					break
				}
				if !errors.Is(err, ErrQueueFull) {
					t.Fatal(err)
				}
				runtime.Gosched()
			}
			if zxid%50 == 0 {
				w.TruncatePrefix(durable.Load() - 500)
			}
			_ = w.Stats()
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		if durable.Load() != records {
			t.Fatalf("durable %d after Sync", durable.Load())
		}
		readers.Wait()
		s := w.Stats()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if lent.Load() != 0 || w.QueuedBytes() != 0 {
			t.Fatalf("%d batches not released, %d bytes queued", lent.Load(), w.QueuedBytes())
		}
		if s.Records != records || s.Groups == 0 || s.Groups > s.Batches+s.Bytes/(8<<10)+s.Bytes/(28<<10) || s.Syncs < s.Groups {
			t.Fatalf("stats %+v", s)
		}
		checkGoroutines(t)
		rep, err := Verify(fsys, dir)
		if err != nil || rep.LastZxid != records || rep.Records != records-rep.BaseZxid {
			t.Fatal(rep, err)
		}
		another := &Batch{}
		another.AddRecord(records+1, []byte("late"))
		for _, e := range []error{w.Append(another), w.Sync(), w.Close(), w.TruncateSuffix(1)} {
			if !errors.Is(e, ErrClosed) {
				t.Fatalf("after Close: %v", e)
			}
		}
	})
}

func numbered(zxid int64) []byte { return appendNumbered(nil, zxid) }

func appendNumbered(b []byte, zxid int64) []byte {
	n := len(b)
	b = append(b, make([]byte, 8+zxid*37%300)...)
	binary.BigEndian.PutUint64(b[n:], uint64(zxid))
	return b
}

// TestGroupCommit holds the first sync until more has been appended: all of that is
// one group.
func TestGroupCommit(t *testing.T) {
	disk := walfs.NewMem()
	inSync, goOn := make(chan struct{}), make(chan struct{})
	durable := make(chan int64, 10)
	w, err := Open(disk, testDir, Options{OnDurable: func(zxid int64) { durable <- zxid }, SegmentBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	// The first group opens a segment; wait for it, then watch the second.
	add := func(zxid int64) {
		b := &Batch{}
		b.AddRecord(zxid, numbered(zxid))
		if err := w.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	if z := <-durable; z != 1 {
		t.Fatal(z)
	}
	var once sync.Once
	disk.SetHook(func(op walfs.Op) error {
		// The page that the first group is in too.
		if op.Kind == walfs.OpWrite && op.Off == dataStart {
			once.Do(func() { close(inSync); <-goOn })
		}
		return nil
	})
	groups := w.Stats().Groups
	add(2)
	<-inSync
	for zxid := int64(3); zxid <= 20; zxid++ {
		add(zxid)
	}
	close(goOn)
	if z := <-durable; z != 2 {
		t.Fatal(z)
	}
	if z := <-durable; z != 20 {
		t.Fatal(z)
	}
	if n := w.Stats().Groups - groups; n != 2 {
		t.Fatalf("%d groups", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailure lets a sync fail while more is queued: everything is given back, once,
// the error is told once, and the log refuses what comes.
func TestFailure(t *testing.T) {
	disk := walfs.NewMem()
	var lent atomic.Int64
	told := make(chan error, 10)
	w, err := Open(disk, testDir, Options{OnError: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	disk.SetHook(func(op walfs.Op) error {
		if op.Kind == walfs.OpWrite && op.Off == dataStart {
			return syscall.EIO
		}
		return nil
	})
	zxid := int64(0)
	for err == nil {
		zxid++
		b := &Batch{Release: func(*Batch) { lent.Add(-1) }}
		b.AddRecord(zxid, []byte("x"))
		if err = w.Append(b); err == nil {
			lent.Add(1)
		}
		runtime.Gosched()
	}
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if e := <-told; !errors.Is(e, syscall.EIO) {
		t.Fatal(e)
	}
	if e := w.Sync(); !errors.Is(e, ErrFailed) {
		t.Fatal(e)
	}
	if e := w.Close(); !errors.Is(e, ErrFailed) {
		t.Fatal(e)
	}
	if len(told) != 0 || lent.Load() != 0 || w.State() != StateFailed {
		t.Fatalf("told %d more, %d not released, %v", len(told), lent.Load(), w.State())
	}
	checkGoroutines(t)
}

func TestLock(t *testing.T) {
	fileSystems(t, func(t *testing.T, fsys walfs.FS, dir string) {
		w, err := Open(fsys, dir, Options{SegmentBytes: MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(fsys, dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("second Open: %v", err)
		}
		if _, err := Verify(fsys, dir); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if w, err = Open(fsys, dir, Options{SegmentBytes: MinSegmentBytes}); err != nil {
			t.Fatal(err)
		}
		w.Close()
	})
}

func TestAppendChecks(t *testing.T) {
	w := openTest(t, walfs.NewMem(), Options{MaxQueuedBytes: 200})
	add := func(zxids ...int64) error {
		b := &Batch{}
		for _, z := range zxids {
			b.AddRecord(z, fill(76, 'a'))
		}
		return w.Append(b)
	}
	for _, zxids := range [][]int64{{0}, {-5}, {7, 7}, {7, 6}} {
		if err := add(zxids...); !errors.Is(err, ErrZxidOrder) {
			t.Fatalf("%v: %v", zxids, err)
		}
	}
	if err := add(5); err != nil {
		t.Fatal(err)
	}
	if err := add(5); !errors.Is(err, ErrZxidOrder) {
		t.Fatal(err)
	}
	if err := add(6, 7); !errors.Is(err, ErrQueueFull) {
		t.Fatal(err)
	}
	if w.LastZxid() != 5 || w.DurableZxid() != 0 || w.QueuedBytes() != 104 {
		t.Fatal(w.LastZxid(), w.DurableZxid(), w.QueuedBytes())
	}
	w.Step()
	if err := add(6, 7, 8); err != nil { // alone it may exceed the bound
		t.Fatal(err)
	}
	w.Step()
	if w.DurableZxid() != 8 {
		t.Fatal(w.DurableZxid())
	}

	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Fatalf("%s does not panic", what)
			}
		}()
		f()
	}
	panics("an empty batch", func() { w.Append(&Batch{}) })
	panics("an unfinished record", func() { b := &Batch{}; b.BeginRecord(); w.Append(b) })
	panics("an empty record", func() { b := &Batch{}; b.BeginRecord(); b.EndRecord(9) })
	panics("a record in a record", func() { b := &Batch{}; b.BeginRecord(); b.BeginRecord() })
	panics("a wrong layout", func() {
		w.Append(&Batch{Buf: make([]byte, 64), Records: []RecordRef{{Off: 8, Len: 10, Zxid: 9}}})
	})
	panics("bytes behind the records", func() {
		w.Append(&Batch{Buf: make([]byte, 64), Records: []RecordRef{{Off: 0, Len: 10, Zxid: 9}}})
	})
	b := &Batch{}
	b.AddRecord(9, []byte("nine"))
	b.BeginRecord()
	b.Buf = append(b.Buf, "not to be"...)
	b.AbortRecord()
	b.AddRecord(10, []byte("ten"))
	if err := w.Append(b); err != nil {
		t.Fatal(err)
	}
	if string(b.Payload(1)) != "ten" || cap(b.Payload(0)) != 4 {
		t.Fatalf("payload %q", b.Payload(1))
	}
	w.Step()
	if w.DurableZxid() != 10 {
		t.Fatal(w.DurableZxid())
	}
	for _, bytes := range []int64{-1, MaxSegmentBytes + 1} {
		if _, err := Open(walfs.NewMem(), testDir, Options{SegmentBytes: bytes}); err == nil {
			t.Fatalf("segments of %d bytes accepted", bytes)
		}
	}
	for bytes, want := range map[int64]int64{1: MinSegmentBytes, MinSegmentBytes + 1: MinSegmentBytes + pageBytes} {
		if w := openTest(t, walfs.NewMem(), Options{SegmentBytes: bytes}); w.opts.SegmentBytes != want {
			t.Fatalf("segments of %d bytes for %d", w.opts.SegmentBytes, bytes)
		}
	}
}

// TestReaderEdges checks what a reader says at the edges of the log, and when the log
// changes under it.
func TestReaderEdges(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{SpareSegments: 1})
	wantNext := func(r *Reader, zxid int64, want error) {
		t.Helper()
		got, _, err := r.Next()
		if got != zxid || !errors.Is(err, want) {
			t.Fatalf("read %d, %v; want %d, %v", got, err, zxid, want)
		}
	}
	newReader := func(from int64) *Reader {
		t.Helper()
		r, err := w.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := newReader(0)
	wantNext(r, 0, io.EOF)
	ahead := newReader(5)
	for range 9 { // three in a segment
		appendGroup(t, w, fill(1010, 'a'))
	}
	for z := int64(1); z <= 9; z++ {
		wantNext(r, z, nil)
	}
	wantNext(r, 0, io.EOF)
	wantNext(ahead, 5, nil)

	// A reader keeps its segment and those behind.
	w.TruncatePrefix(8)
	w.Step()
	if w.BaseZxid() != 3 {
		t.Fatal(w.BaseZxid(), segments(w))
	}
	wantNext(ahead, 6, nil)
	wantNext(ahead, 7, nil)
	w.Step()
	if w.BaseZxid() != 6 {
		t.Fatal(w.BaseZxid(), segments(w))
	}
	if _, err := w.NewReader(6); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	if err := w.Replay(3, nil); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	late := newReader(7)
	for _, tc := range []struct{ zxid, want int64 }{{6, 6}, {7, 7}, {9, 9}, {1000, 9}} {
		got, behind, err := w.Floor(tc.zxid)
		if got != tc.want || err != nil {
			t.Fatalf("floor of %d is %d, %v", tc.zxid, got, err)
		}
		if (behind > 0) != (tc.want < 9) || behind > 1<<20 {
			t.Fatalf("%d bytes behind the floor of %d", behind, tc.zxid)
		}
	}
	if _, _, err := w.Floor(5); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := w.Replay(7, func(int64, []byte) error { return stop }); err != stop {
		t.Fatal(err)
	}

	// A cut under readers.
	if err := w.TruncateSuffix(5); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	if err := w.TruncateSuffix(8); err != nil {
		t.Fatal(err)
	}
	wantNext(r, 0, ErrStale)
	wantNext(late, 0, ErrStale)
	for _, r := range []*Reader{r, ahead, late} {
		r.Close()
	}
	r = newReader(0)
	wantNext(r, 7, nil)
	wantNext(r, 8, nil)
	wantNext(r, 0, io.EOF)
	appendGroup(t, w, []byte("new 9"))
	wantNext(r, 9, nil)
	idle := newReader(9)
	for range 6 {
		appendGroup(t, w, fill(1010, 'b'))
	}
	w.TruncatePrefix(15)
	r.Close()
	w.Step()
	w.Step()
	wantNext(idle, 0, ErrCompacted)
	idle.Close()
	for _, s := range w.segments {
		if s.readers != 0 {
			t.Fatalf("%s has %d readers", s.name, s.readers)
		}
	}
}

// TestOpenEmpty starts anew on a log that is corrupt.
func TestOpenEmpty(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{})
	for range 9 {
		appendGroup(t, w, fill(1000, 'a'))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	clobber(t, disk, segmentName(3), 0, 100)
	opts := Options{Manual: true, SegmentBytes: MinSegmentBytes}
	if _, err := Open(disk, testDir, opts); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	for _, base := range []int64{77, 5} {
		w, err := OpenEmpty(disk, testDir, opts, base)
		if err != nil {
			t.Fatal(err)
		}
		if w.LastZxid() != base || w.BaseZxid() != base || w.DurableZxid() != base {
			t.Fatal(w.LastZxid(), w.BaseZxid())
		}
		appendGroup(t, w, []byte("new"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w = openTest(t, disk, Options{})
		if _, got, err := replayAll(w); err != nil || len(got) != 1 || got[0].zxid != base+1 {
			t.Fatal(got, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	infos, _ := disk.List(testDir)
	for _, fi := range infos {
		names = append(names, fi.Name)
	}
	want := []string{"0000000000000004.bad", "0000000000000005.wal", "LOCK"}
	names = slices.DeleteFunc(names, func(s string) bool { return strings.HasPrefix(s, sparePrefix) })
	if !slices.Equal(names, want) {
		t.Fatalf("left over: %v, want %v", names, want)
	}
}

// TestSlowSync has a clock of its own.
func TestSlowSync(t *testing.T) {
	now := time.Unix(0, 0)
	var slow []time.Duration
	w := openTest(t, walfs.NewMem(), Options{
		Now:        func() time.Time { now = now.Add(50 * time.Millisecond); return now },
		SlowSync:   50 * time.Millisecond,
		OnSlowSync: func(took time.Duration, bytes int64) { slow = append(slow, took, time.Duration(bytes)) },
	})
	appendGroup(t, w, []byte("a"))
	if !slices.Equal(slow, []time.Duration{50 * time.Millisecond, MinSegmentBytes}) {
		t.Fatal(slow)
	}
	w.opts.SlowSync++
	appendGroup(t, w, []byte("b"))
	s := w.Stats()
	if len(slow) != 2 || s.SlowSyncs != 1 || s.Syncs != 2 || s.SyncLast != 50*time.Millisecond || s.SyncTotal != 100*time.Millisecond || s.SyncMax != s.SyncLast {
		t.Fatalf("%v, %+v", slow, s)
	}
}

// TestNoSyncGroupLimit lets a group without sync grow beyond what a record can say
// about its distance to the first of its group.
func TestNoSyncGroupLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 150 MiB")
	}
	dir := filepath.Join(t.TempDir(), "log")
	opts := Options{NoSync: true, Manual: true, SegmentBytes: 256 << 20, Preallocate: PreallocNone}
	w, err := Open(walfs.OS{}, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	big := fill(10<<20, 'x')
	for range 15 {
		appendGroup(t, w, big)
	}
	if n := w.Stats().Syncs; n != 1 {
		t.Fatalf("%d syncs", n)
	}
	if err := w.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = Open(walfs.OS{}, dir, opts); err != nil || w.LastZxid() != 15 {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAllocs pins that appending allocates nothing: the batch is the builder's, the
// vector, the queue and the pending list are kept.
func TestAllocs(t *testing.T) {
	fileSystems(t, func(t *testing.T, fsys walfs.FS, dir string) {
		if _, ok := fsys.(*walfs.Mem); ok {
			t.Skip("the model of a disk allocates")
		}
		w, err := Open(fsys, dir, Options{Manual: true, SegmentBytes: 16 << 20, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		batches := make([]*Batch, 8)
		for i := range batches {
			batches[i] = &Batch{Buf: make([]byte, 0, 8192), Records: make([]RecordRef, 0, 8)}
		}
		payload := fill(1000, 'p')
		zxid := int64(0)
		turn := func() {
			for _, b := range batches {
				b.Reset()
				for range 4 {
					zxid++
					b.AddRecord(zxid, payload)
				}
				if err := w.Append(b); err != nil {
					t.Fatal(err)
				}
			}
			w.Step()
		}
		turn()
		if n := testing.AllocsPerRun(100, turn); n != 0 {
			t.Fatalf("%v allocations per turn", n)
		}
		r, err := w.NewReader(0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		read := func() {
			if _, p, err := r.Next(); err != nil || len(p) != len(payload) {
				t.Fatal(err)
			}
		}
		read()
		if n := testing.AllocsPerRun(1000, read); n != 0 {
			t.Fatalf("%v allocations per record read", n)
		}
	})
}

// TestChangedPayload writes to a payload while the log has it.
func TestChangedPayload(t *testing.T) {
	if !invariants {
		t.Skip("needs -tags invariants, or -race")
	}
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{})
	b := &Batch{}
	b.AddRecord(1, fill(100, 'a'))
	b.AddRecord(2, fill(100, 'b'))
	if err := w.Append(b); err != nil {
		t.Fatal(err)
	}
	disk.SetHook(func(op walfs.Op) error {
		if op.Kind == walfs.OpWrite && op.Off == dataStart {
			b.Payload(1)[5]++
		}
		return nil
	})
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "zxid 0x2 was changed") {
			t.Fatal(got)
		}
	}()
	w.Step()
}

func TestState(t *testing.T) {
	for s, want := range map[State]string{StateReady: "ready", StateLowSpace: "low on space",
		StateNoSpace: "no space", StateFailed: "failed", StateClosed: "closed"} {
		if fmt.Sprint(s) != want {
			t.Fatal(s)
		}
	}
}
