package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// crashes are the ways in which a power cut treats what was not synced.
var crashes = []walfs.Crash{
	{KeepPercent: 0},
	{KeepPercent: 100},
	{KeepPercent: 50},
	{KeepPercent: 50, Reorder: true},
	{KeepPercent: 90},
	{KeepPercent: 10, Reorder: true},
}

// afterCrash opens a clone of a crashed disk and checks that it holds what one of
// the histories admits; then that the log works on, and that a second crash loses
// nothing of what the first recovery found.
//
// depth > 0 also crashes the recovery itself before each of its operations.
func afterCrash(t *testing.T, where string, disk *walfs.Mem, rng *rand.Rand, opts Options, hs []history, dropped int64, depth int) {
	t.Helper()
	opts.OnDurable, opts.OnError, opts.OnState = nil, nil, nil
	// A power cut during the recovery of a killed process's log loses what that had
	// left unsynced. What it had reported is not among it, but with NoSync.
	later := hs
	if opts.NoSync {
		later = slices.Clone(hs)
		for i := range later {
			later[i].durable = 0
		}
	}
	if depth > 0 {
		disk.SetHook(func(op walfs.Op) error {
			if op.Kind.Mutates() {
				c := crashes[rng.IntN(len(crashes))]
				c.Rand = rng
				afterCrash(t, fmt.Sprintf("%s, then in recovery before %v", where, op), disk.CrashClone(c), rng, opts, later, dropped, depth-1)
			}
			return nil
		})
	}
	w, err := Open(disk, testDir, opts)
	if err != nil {
		t.Fatalf("crash %s: open: %v\n%s", where, err, listing(disk))
	}
	disk.SetHook(nil)
	files, err := listDir(disk, testDir)
	if err != nil || len(files.segments) != w.Recovery().Segments || len(files.temps) > 0 {
		t.Fatalf("crash %s: %d segments in use, left over: %+v, %v", where, w.Recovery().Segments, files, err)
	}
	base, got, err := replayAll(w)
	if err != nil {
		t.Fatalf("crash %s: replay: %v\n%s", where, err, listing(disk))
	}
	if err := admitted(hs, base, got, dropped); err != nil {
		t.Fatalf("crash %s: %v\n%s", where, err, listing(disk))
	}
	if r := w.Recovery(); r.LastZxid != w.LastZxid() || r.BaseZxid != base {
		t.Fatalf("crash %s: recovery says %+v, log says 0x%x to 0x%x", where, r, base, w.LastZxid())
	}

	found := history{base: base, log: got, durable: w.LastZxid()}
	check := func(what string, disk *walfs.Mem) {
		w, err := Open(disk, testDir, opts)
		if err != nil {
			t.Fatalf("crash %s, %s: open: %v\n%s", where, what, err, listing(disk))
		}
		base, got, err := replayAll(w)
		if err == nil {
			err = found.admits(base, got, dropped)
		}
		if err == nil && !w.Recovery().Sealed {
			err = errors.New("no seal")
		}
		if err != nil {
			t.Fatalf("crash %s, %s: %v\n%s", where, what, err, listing(disk))
		}
	}
	check("then another", disk.CrashClone(walfs.Crash{}))

	zxid := w.LastZxid()
	for i := range 3 {
		zxid += 1 + int64(i)
		p := makePayload(rng, zxid)
		b := &Batch{}
		b.AddRecord(zxid, p)
		if err := w.Append(b); err != nil {
			t.Fatalf("crash %s, append: %v", where, err)
		}
		w.Step()
		found.log = append(found.log, entry{zxid, p})
	}
	found.durable = zxid
	if err := w.Close(); err != nil {
		t.Fatalf("crash %s, close: %v", where, err)
	}
	if _, err := Verify(disk, testDir); err != nil {
		t.Fatalf("crash %s, verify: %v\n%s", where, err, listing(disk))
	}
	check("then appends, close and another", disk.CrashClone(walfs.Crash{}))
}

func admitted(hs []history, base int64, got []entry, dropped int64) error {
	var errs []string
	for _, h := range hs {
		err := h.admits(base, got, dropped)
		if err == nil {
			return nil
		}
		errs = append(errs, err.Error())
	}
	return fmt.Errorf("%s", strings.Join(errs, "; or: "))
}

func listing(disk *walfs.Mem) string {
	var s strings.Builder
	infos, _ := disk.List(testDir)
	for _, fi := range infos {
		fmt.Fprintf(&s, "  %s %d\n", fi.Name, fi.Bytes)
	}
	if err := Dump(disk, testDir, &s); err != nil {
		fmt.Fprintf(&s, "  dump: %v\n", err)
	}
	return s.String()
}

// TestCrash runs random programs and cuts the power before every operation that
// changes the disk, in one of several ways, to see what a restart finds.
func TestCrash(t *testing.T) {
	for seed := range uint64(testRuns(t, 60)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runCrash(t, seed, walfs.NewMem(), 60, 0)
		})
	}
}

// TestCrashSectors is TestCrash on disks with other sectors, down to one byte.
func TestCrashSectors(t *testing.T) {
	for _, sector := range []int{1, 8, 64, 4096} {
		for seed := range uint64(testRuns(t, 10)) {
			t.Run(fmt.Sprintf("%d/%d", sector, seed), func(t *testing.T) {
				t.Parallel()
				runCrash(t, 1000+seed, walfs.NewMemSectors(sector), 30, 0)
			})
		}
	}
}

// TestCrashRecovery is TestCrash with the power cut again before every operation of
// the recovery.
func TestCrashRecovery(t *testing.T) {
	for seed := range uint64(testRuns(t, 20)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runCrash(t, 2000+seed, walfs.NewMem(), 25, 1)
		})
	}
}

// runCrash runs a program of that many steps. It injects a failing sync, too, in
// a third of the programs: then the process ends, and another finds what the page
// cache still shows.
func runCrash(t *testing.T, seed uint64, disk *walfs.Mem, steps, depth int) {
	d := newDriver(t, seed)
	d.fs = disk
	rng := rand.New(rand.NewPCG(seed, 2))
	syncsLeft := -1
	if seed%3 == 0 {
		syncsLeft = 10 + rng.IntN(100)
	}
	d.fs.SetHook(func(op walfs.Op) error {
		if !op.Kind.Mutates() {
			return nil
		}
		c := crashes[rng.IntN(len(crashes))]
		c.Rand = rng
		if rng.IntN(4) > 0 {
			afterCrash(t, fmt.Sprintf("before %v %+v", op, c), d.fs.CrashClone(c), rng, d.opts, d.histories(true), d.dropped, depth)
		} else {
			afterCrash(t, fmt.Sprintf("of the process before %v", op), d.fs.Clone(), rng, d.opts, d.histories(false), d.dropped, depth)
		}
		if op.Kind == walfs.OpSync {
			if syncsLeft > 0 {
				syncsLeft--
			}
			if syncsLeft == 0 {
				return syscall.EIO
			}
		}
		return nil
	})
	err := d.open()
	for i := range steps {
		if err == nil {
			err = d.step()
		}
		if err == nil {
			continue
		}
		if syncsLeft != 0 || !errors.Is(err, syscall.EIO) {
			t.Fatalf("step %d: %v", i, err)
		}
		// The injected error. The page cache has more than the disk.
		d.fs.SetHook(nil)
		for range 5 {
			c := crashes[rng.IntN(len(crashes))]
			c.Rand = rng
			afterCrash(t, fmt.Sprintf("after a failed sync %+v", c), d.fs.CrashClone(c), rng, d.opts, d.histories(true), d.dropped, depth)
		}
		d.fs.ReleaseLocks()
		afterCrash(t, "of the process after a failed sync", d.fs, rng, d.opts, d.histories(false), d.dropped, 0)
		return
	}
}

// TestOpenEmptyCrash cuts the power before every operation of OpenEmpty: the log is as
// corrupt as it was, or empty.
func TestOpenEmptyCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 10))
	s := newRotSubject(t, 4, true)
	oldest := s.spans(t)[0].segment
	clobber(t, s.disk, oldest, 0, 100)
	if c, _, _ := s.findings(s.disk.Clone()); c == nil {
		t.Fatal("log is not corrupt")
	}
	disk := s.disk.CrashClone(walfs.Crash{KeepPercent: 100})
	before, after := 0, 0
	check := func(where string) {
		for _, c := range crashes {
			c.Rand = rng
			w, err := Open(disk.CrashClone(c), testDir, s.opts)
			switch {
			case errors.Is(err, ErrCorrupt):
				before++
			case err != nil || w.BaseZxid() != 42 || w.LastZxid() != 42:
				t.Fatalf("%s, %+v: %v", where, c, err)
			default:
				after++
			}
		}
	}
	disk.SetHook(func(op walfs.Op) error {
		if op.Kind.Mutates() {
			check(fmt.Sprint("before ", op))
		}
		return nil
	})
	if _, err := OpenEmpty(disk, testDir, s.opts, 42); err != nil {
		t.Fatal(err)
	}
	disk.SetHook(nil)
	check("afterwards")
	if before == 0 || after == 0 {
		t.Fatalf("%d times as before, %d times empty", before, after)
	}
}
