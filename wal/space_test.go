package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// TestNoSpace fills the disk and goes through the states: a spare cannot be made,
// a segment cannot be begun, then there is space again.
func TestNoSpace(t *testing.T) {
	for _, retry := range []string{"append", "retry", "prefix"} {
		t.Run(retry, func(t *testing.T) {
			disk := walfs.NewMem()
			var states []State
			durable := int64(0)
			w := openTest(t, disk, Options{
				MaxQueuedBytes: 20 * 1000,
				SpareSegments:  1,
				OnState:        func(s State, err error) { states = append(states, s) },
				OnDurable:      func(zxid int64) { durable = zxid },
			})
			w.Step() // makes the spare
			disk.SetCapacity(2*MinSegmentBytes + 4096)
			for i := 1; i <= 4; i++ {
				appendGroup(t, w, fill(976, 'a'))
			}
			if durable != 4 || w.State() != StateReady {
				t.Fatalf("durable %d, %v", durable, w.State())
			}
			appendGroup(t, w, fill(976, 'b')) // takes the spare
			if durable != 5 || w.State() != StateLowSpace {
				t.Fatalf("durable %d, %v", durable, w.State())
			}
			for range 3 {
				appendGroup(t, w, fill(976, 'c'))
			}
			if durable != 8 || w.State() != StateLowSpace {
				t.Fatalf("durable %d, %v", durable, w.State())
			}
			appendGroup(t, w, fill(976, 'd'))
			if durable != 8 || w.State() != StateNoSpace || w.QueuedBytes() != 1000 {
				t.Fatalf("durable %d, %v, %d bytes queued", durable, w.State(), w.QueuedBytes())
			}
			// Cutting needs a segment too. Nothing changes, and the queue stays.
			if err := w.TruncateSuffix(2); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("cut: %v", err)
			}
			if err := w.Reset(100); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("reset: %v", err)
			}
			if err := w.Sync(); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("sync: %v", err)
			}
			// More is taken up to the bound.
			for w.QueuedBytes() < 20*1000 {
				appendGroup(t, w, fill(976, 'e'))
			}
			b := &Batch{}
			b.AddRecord(w.LastZxid()+1, fill(10, 'f'))
			if err := w.Append(b); !errors.Is(err, ErrQueueFull) {
				t.Fatalf("append to a full queue: %v", err)
			}

			want := w.LastZxid()
			switch retry {
			case "append":
				disk.SetCapacity(0)
				w.opts.MaxQueuedBytes *= 2
				appendGroup(t, w, fill(10, 'f'))
				want++
			case "retry":
				disk.SetCapacity(0)
				w.Retry()
				w.Step()
			case "prefix":
				// What a snapshot makes superfluous is space as well: for one more segment.
				w.TruncatePrefix(4)
				w.Step()
				w.Step()
				if durable != 12 || w.State() != StateNoSpace {
					t.Fatalf("durable %d, %v", durable, w.State())
				}
				disk.SetCapacity(0)
				w.Retry()
				w.Step()
			}
			if durable != want || w.State() != StateReady || w.QueuedBytes() != 0 {
				t.Fatalf("durable %d, want %d, %v, %d bytes queued", durable, want, w.State(), w.QueuedBytes())
			}
			if states[0] != StateLowSpace || states[1] != StateNoSpace || states[len(states)-1] != StateReady {
				t.Fatalf("states %v", states)
			}
			if _, got, err := replayAll(w); err != nil || got[len(got)-1].zxid != want {
				t.Fatal(got, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNoSpaceCut lets cuts fail while the current segment still has room, and then
// goes on in it.
func TestNoSpaceCut(t *testing.T) {
	disk := walfs.NewMem()
	w := openTest(t, disk, Options{Preallocate: PreallocNone})
	appendGroup(t, w, fill(100, 'a'))
	appendGroup(t, w, fill(100, 'b'))
	disk.SetCapacity(disk.UsedBytes() + 1000)
	if err := w.TruncateSuffix(1); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("cut: %v", err)
	}
	if err := w.Reset(7); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("reset: %v", err)
	}
	appendGroup(t, w, fill(100, 'c'))
	check := func(w *WAL) {
		t.Helper()
		if _, got, err := replayAll(w); err != nil || len(got) != 3 {
			t.Fatal(got, err)
		}
	}
	check(w)
	disk.ReleaseLocks()
	check(openTest(t, disk, Options{}))
}

// TestNoSpaceClose closes a log that has something queued.
func TestNoSpaceClose(t *testing.T) {
	disk := walfs.NewMem()
	released := 0
	w := openTest(t, disk, Options{Preallocate: PreallocNone})
	disk.SetCapacity(100)
	b := &Batch{Release: func(*Batch) { released++ }}
	b.AddRecord(1, fill(100, 'a'))
	if err := w.Append(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, ErrNoSpace) || released != 1 {
		t.Fatalf("%v, released %d times", err, released)
	}
	if w = openTest(t, disk, Options{}); w.LastZxid() != 0 {
		t.Fatalf("found up to %d", w.LastZxid())
	}
}

// TestNoSpaceWrite has no space in the middle of a write, as where files are not
// overwritten in place.
func TestNoSpaceWrite(t *testing.T) {
	for short := range 1300 {
		if short%50 != 0 {
			continue
		}
		disk := walfs.NewMem()
		w := openTest(t, disk, Options{})
		appendGroup(t, w, fill(100, 'a'))
		full := true
		disk.SetHook(func(op walfs.Op) error {
			if full && op.Kind == walfs.OpWrite && op.Off == dataStart {
				return &walfs.ShortWriteError{Bytes: short, Err: syscall.ENOSPC}
			}
			return nil
		})
		appendGroup(t, w, fill(600, 'b'), fill(600, 'c'))
		if w.State() != StateNoSpace || w.DurableZxid() != 1 {
			t.Fatalf("%v, durable %d", w.State(), w.DurableZxid())
		}
		full = false
		w.Retry()
		w.Step()
		if w.State() != StateReady || w.DurableZxid() != 3 {
			t.Fatalf("%v, durable %d", w.State(), w.DurableZxid())
		}
		disk = disk.CrashClone(walfs.Crash{})
		if w = openTest(t, disk, Options{}); w.LastZxid() != 3 {
			t.Fatalf("found up to %d", w.LastZxid())
		}
	}
}

// TestNoSpaceModel runs random programs on a disk that is full time and again, with
// power cuts. Nothing is ever lost but what was queued when the process ended.
func TestNoSpaceModel(t *testing.T) {
	for seed := range uint64(testRuns(t, 60)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, 3000+seed)
			rng := rand.New(rand.NewPCG(seed, 6))
			if err := d.open(); err != nil {
				t.Fatal(err)
			}
			stuck := 0
			for i := range 150 {
				switch {
				case i%10 == 0 && rng.IntN(2) == 0:
					d.fs.SetCapacity(d.fs.UsedBytes() + rng.Int64N(8192))
				case i%10 == 0:
					d.fs.SetCapacity(0)
				}
				err := d.step()
				if errors.Is(err, ErrNoSpace) {
					d.alt = nil
					stuck++
					if d.w.State() == StateClosed {
						// The queue is gone, though a part of it may be on disk.
						d.opts = d.randomOptions()
						err = d.open()
					} else {
						err = nil
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if i%5 == 0 {
					c := crashes[rng.IntN(len(crashes))]
					c.Rand = rng
					clone := d.fs.CrashClone(c)
					clone.SetCapacity(0)
					afterCrash(t, fmt.Sprint("in step ", i), clone, rng, d.opts, d.histories(true), d.dropped, 0)
				}
			}
			d.fs.SetCapacity(0)
			if err := d.reopen(true); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d times without space", stuck)
		})
	}
}

// TestErrorInjection runs a program again and again, with the n-th operation on the
// disk failing, for all n. The failure shows somewhere, is final if it is no want of
// space, and a restart finds all that was durable.
func TestErrorInjection(t *testing.T) {
	for _, injected := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(injected.Error(), func(t *testing.T) {
			for n := 0; ; n++ {
				if !injectAt(t, n, injected) {
					t.Logf("%d operations", n)
					return
				}
			}
		})
	}
}

// injectAt runs the program with the n-th operation failing, and reports whether
// there was one.
func injectAt(t *testing.T, n int, injected error) bool {
	t.Helper()
	disk := walfs.NewMem()
	var failedOp walfs.Op
	hit := false
	disk.SetHook(func(op walfs.Op) error {
		if op.Index != n {
			return nil
		}
		failedOp, hit = op, true
		if op.Kind == walfs.OpWrite {
			return &walfs.ShortWriteError{Bytes: op.Bytes / 2, Err: injected}
		}
		return injected
	})
	var shown []error
	d := &driver{t: t, rng: rand.New(rand.NewPCG(7, 7)), fs: disk}
	d.opts = Options{SegmentBytes: MinSegmentBytes, Manual: true, Salt: d.rng.Uint64, SpareSegments: 1,
		OnDurable: func(zxid int64) { d.h.durable = zxid },
		OnError:   func(err error) { shown = append(shown, err) },
		OnState: func(s State, err error) {
			if err != nil {
				shown = append(shown, err)
			}
		},
		Logf: func(_ string, args ...any) {
			for _, arg := range args {
				if err, ok := arg.(error); ok {
					shown = append(shown, err)
				}
			}
		},
	}
	program := []func() error{
		d.open,
		func() error { return d.append(3) },
		func() error { d.w.Step(); return nil },
		func() error { return d.append(40) },
		func() error { d.w.Step(); return nil },
		func() error { d.dropped = d.h.log[10].zxid; d.w.TruncatePrefix(d.dropped); d.w.Step(); return nil },
		func() error { return d.append(60) },
		func() error { d.w.Step(); return nil },
		func() error { return d.truncate(d.h.last() - 20) },
		func() error { return d.append(60) },
		func() error { d.w.Step(); return nil },
		func() error { _, _, err := replayAll(d.w); return err },
		func() error { _, _, err := d.w.Floor(d.h.last() - 5); return err },
		func() error { return d.w.Close() },
		d.open,
		func() error { return d.reset(d.h.last() + 5) },
		func() error { return d.append(2) },
		func() error { return d.w.Close() },
	}
	for i, do := range program {
		err := do()
		if err != nil {
			shown = append(shown, err)
		}
		if err == nil && (d.w.State() == StateReady || d.w.State() == StateClosed) {
			continue
		}
		if !hit {
			t.Fatalf("operation %d: step %d: %v, %v without cause", n, i, err, d.w.State())
		}
		break
	}
	if !hit {
		return false
	}
	where := fmt.Sprintf("operation %d, %v of %s, fails", n, failedOp.Kind, failedOp.Name)
	if !slices.ContainsFunc(shown, func(err error) bool { return errors.Is(err, injected) }) {
		t.Fatalf("%s: shown is only %v", where, shown)
	}
	if d.w != nil && d.w.State() == StateFailed {
		b := &Batch{}
		b.AddRecord(d.w.LastZxid()+1, fill(10, 'x'))
		if err := d.w.Append(b); !errors.Is(err, ErrFailed) || !errors.Is(err, injected) {
			t.Fatalf("%s: append to a failed log: %v", where, err)
		}
		if walfs.IsNoSpace(injected) && failedOp.Kind != walfs.OpSync && failedOp.Kind != walfs.OpSyncDir &&
			failedOp.Kind != walfs.OpRemove && failedOp.Kind != walfs.OpOpen {
			t.Fatalf("%s: want of space is final", where)
		}
	}
	disk.SetHook(nil)
	disk.ReleaseLocks()
	rng := rand.New(rand.NewPCG(uint64(n), 8))
	for _, c := range crashes {
		c.Rand = rng
		afterCrash(t, where+" and the power", disk.CrashClone(c), rng, d.opts, d.histories(true), d.dropped, 0)
	}
	afterCrash(t, where, disk, rng, d.opts, d.histories(false), d.dropped, 0)
	return true
}

// TestNoSpaceLargeGroup has no space in one of the several writes that a large group takes, behind a page that
// has an older group in it: what is written in the end is the same.
func TestNoSpaceLargeGroup(t *testing.T) {
	for failing := range 4 {
		disk := walfs.NewMem()
		w := openTest(t, disk, Options{SegmentBytes: 8 << 20})
		appendGroup(t, w, fill(100, 'a'))
		writes := 0
		disk.SetHook(func(op walfs.Op) error {
			if op.Kind != walfs.OpWrite {
				return nil
			}
			if writes++; writes-1 == failing {
				return &walfs.ShortWriteError{Bytes: op.Bytes / 2 &^ 511, Err: syscall.ENOSPC}
			}
			return nil
		})
		want := [][]byte{fill(100, 'a'), fill(5, 'b'), fill(blockMaxBytes+1, 'c'), fill(2*blockMaxBytes-100, 'd'), fill(7, 'e')}
		appendGroup(t, w, want[1:]...)
		if w.State() != StateNoSpace || w.DurableZxid() != 1 {
			t.Fatalf("write %d fails: %v, durable %d", failing, w.State(), w.DurableZxid())
		}
		w.Retry()
		w.Step()
		if w.State() != StateReady || w.DurableZxid() != 5 {
			t.Fatalf("write %d fails: %v, durable %d", failing, w.State(), w.DurableZxid())
		}
		disk.SetHook(nil)
		if w = openTest(t, disk.CrashClone(walfs.Crash{}), Options{SegmentBytes: 8 << 20}); w.LastZxid() != 5 {
			t.Fatalf("write %d fails: found up to %d", failing, w.LastZxid())
		}
		if err := w.Replay(1, func(zxid int64, payload []byte) error {
			if !bytes.Equal(payload, want[zxid-1]) {
				t.Errorf("write %d fails: record %d differs", failing, zxid)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
