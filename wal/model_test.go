package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

const testDir = "/var/log"

// entry is a record of the model.
type entry struct {
	zxid    int64
	payload []byte
}

func (e entry) String() string { return fmt.Sprintf("0x%x", e.zxid) }

// history is a log as the model sees it.
type history struct {
	base    int64   // starts behind it
	log     []entry // everything appended, whether durable or not
	durable int64   // must be found up to here
}

func (h history) last() int64 {
	if len(h.log) == 0 {
		return h.base
	}
	return h.log[len(h.log)-1].zxid
}

func (h history) clone() history {
	h.log = slices.Clone(h.log)
	return h
}

func (h *history) cut(zxid int64) {
	n := len(h.log)
	for n > 0 && h.log[n-1].zxid > zxid {
		n--
	}
	h.log = h.log[:n]
	h.durable = min(h.durable, h.last())
}

// admits says why a log that starts behind base and has the records got cannot be
// what a crash left of h, given that records up to dropped may be gone.
func (h history) admits(base int64, got []entry, dropped int64) error {
	if base < h.base || base > max(dropped, h.base) {
		return fmt.Errorf("starts behind 0x%x, want 0x%x to 0x%x", base, h.base, max(dropped, h.base))
	}
	want := h.log
	for len(want) > 0 && want[0].zxid <= base {
		want = want[1:]
	}
	if len(got) > len(want) {
		return fmt.Errorf("found %d records, only %d were appended", len(got), len(want))
	}
	for i, e := range got {
		if e.zxid != want[i].zxid || !bytes.Equal(e.payload, want[i].payload) {
			return fmt.Errorf("record %d is 0x%x %x…, want 0x%x %x…", i, e.zxid, e.payload[:8], want[i].zxid, want[i].payload[:8])
		}
	}
	if len(got) < len(want) && want[len(got)].zxid <= h.durable {
		return fmt.Errorf("found up to record %d, but 0x%x was durable (up to 0x%x)", len(got)-1, want[len(got)].zxid, h.durable)
	}
	return nil
}

// driver runs a log and its model side by side, in Manual mode.
type driver struct {
	t    *testing.T
	rng  *rand.Rand
	fs   *walfs.Mem
	opts Options
	w    *WAL

	noSync bool

	h       history
	alt     []history // what else a crash may leave while a cut is under way
	dropped int64     // argument of TruncatePrefix
	sure    int64     // with NoSync: what survives a power cut
	lent    int       // batches appended and not released
}

func newDriver(t *testing.T, seed uint64) *driver {
	d := &driver{t: t, rng: rand.New(rand.NewPCG(seed, 1)), fs: walfs.NewMem(), noSync: seed%5 == 4}
	d.opts = d.randomOptions()
	return d
}

func (d *driver) randomOptions() Options {
	return Options{
		SegmentBytes:  MinSegmentBytes + int64(d.rng.IntN(3))*4096,
		Preallocate:   Prealloc(d.rng.IntN(3)),
		SpareSegments: 1 + d.rng.IntN(3),
		MaxGroupBytes: 200 << d.rng.IntN(6),
		Manual:        true,
		NoSync:        d.noSync,
		Salt:          d.rng.Uint64,
		OnDurable: func(zxid int64) {
			if zxid <= d.h.durable {
				d.t.Fatalf("durable 0x%x after 0x%x", zxid, d.h.durable)
			}
			d.h.durable = zxid
		},
		OnError: func(err error) { d.t.Logf("log failed: %v", err) },
	}
}

func (d *driver) open() error {
	w, err := Open(d.fs, testDir, d.opts)
	if err != nil {
		return err
	}
	d.w = w
	base, got, err := replayAll(w)
	if err != nil {
		return err
	}
	if err := d.h.admits(base, got, d.dropped); err != nil {
		return fmt.Errorf("reopened log: %w", err)
	}
	d.h.base = base
	for len(d.h.log) > 0 && d.h.log[0].zxid <= base {
		d.h.log = d.h.log[1:]
	}
	d.h.cut(w.LastZxid())
	d.h.durable = d.h.last()
	d.sure = d.h.durable
	d.lent = 0
	return nil
}

// nextZxid goes on from zxid, sometimes into another epoch.
func nextZxid(rng *rand.Rand, zxid int64) int64 {
	switch rng.IntN(20) {
	case 0:
		return (zxid>>32+1)<<32 + 1
	case 1:
		return zxid + 1 + rng.Int64N(5)
	}
	return zxid + 1
}

func makePayload(rng *rand.Rand, zxid int64) []byte {
	n := 8 + rng.IntN(120)
	switch rng.IntN(30) {
	case 0:
		n = 8 + rng.IntN(6000) // sometimes more than a segment
	case 1:
		n = 2000
	}
	p := make([]byte, n)
	binary.BigEndian.PutUint64(p, uint64(zxid))
	if rng.IntN(4) > 0 { // else zeroes, which look like an unwritten place
		for i := 8; i < n; i++ {
			p[i] = byte(rng.Uint32())
		}
	}
	return p
}

func (d *driver) append(records int) error {
	b := &Batch{Release: func(*Batch) { d.lent-- }}
	zxid := d.w.LastZxid()
	var es []entry
	for range records {
		zxid = nextZxid(d.rng, zxid)
		p := makePayload(d.rng, zxid)
		b.AddRecord(zxid, p)
		es = append(es, entry{zxid, p})
	}
	if err := d.w.Append(b); err != nil {
		return err
	}
	d.lent++
	d.h.log = append(d.h.log, es...)
	return nil
}

// step does one random thing. Its errors end the run.
func (d *driver) step() error {
	switch n := d.rng.IntN(100); {
	case n < 50:
		return d.append(1 + d.rng.IntN(4))
	case n < 82:
		d.w.Step()
		if d.w.State() == StateFailed {
			return d.w.err
		}
	case n < 86:
		d.dropped = max(d.dropped, d.someZxid())
		d.w.TruncatePrefix(d.dropped)
	case n < 90:
		return d.truncate(d.someZxid())
	case n < 91:
		return d.reset(d.h.durable + 1 + d.rng.Int64N(3))
	case n < 94:
		return d.reopen(true)
	case n < 97:
		return d.reopen(false)
	case n < 98:
		if err := d.w.Sync(); err != nil {
			return err
		}
		d.sure = d.h.last()
	default:
		if z, _, err := d.w.Floor(d.someZxid()); err != nil && !errors.Is(err, ErrCompacted) {
			return fmt.Errorf("floor 0x%x: %w", z, err)
		}
	}
	return nil
}

// someZxid picks a zxid near those in the log.
func (d *driver) someZxid() int64 {
	if len(d.h.log) == 0 {
		return d.h.base
	}
	return d.h.log[d.rng.IntN(len(d.h.log))].zxid + d.rng.Int64N(3) - 1
}

func (d *driver) truncate(zxid int64) error {
	after := d.h.clone()
	after.cut(zxid)
	after.durable = after.last() // all that is left was written before
	d.alt = append(d.alt, after)
	err := d.w.TruncateSuffix(zxid)
	if errors.Is(err, ErrCompacted) {
		d.alt = nil
		if zxid >= d.w.BaseZxid() {
			return fmt.Errorf("cut behind 0x%x: %w", zxid, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	d.h, d.alt = after, nil
	d.sure = min(d.sure, d.h.last())
	d.dropped = min(d.dropped, d.h.last())
	if d.w.LastZxid() != d.h.last() && d.w.LastZxid() != d.w.BaseZxid() {
		return fmt.Errorf("cut behind 0x%x: last zxid is 0x%x, want 0x%x", zxid, d.w.LastZxid(), d.h.last())
	}
	return nil
}

func (d *driver) reset(zxid int64) error {
	d.alt = append(d.alt, history{base: zxid, durable: zxid})
	if err := d.w.Reset(zxid); err != nil {
		return err
	}
	d.h, d.alt, d.dropped = d.alt[0], nil, min(d.dropped, zxid)
	d.sure = zxid
	return nil
}

// histories are what a restart may find: after a power cut, or after the death of
// the process alone.
func (d *driver) histories(powerCut bool) []history {
	hs := append([]history{d.h}, d.alt...)
	if d.noSync && powerCut {
		for i := range hs {
			hs[i].durable = min(hs[i].durable, d.sure)
		}
	}
	return hs
}

// reopen closes the log, or kills the process that has it, and opens it again,
// perhaps with other options.
func (d *driver) reopen(clean bool) error {
	if clean {
		if err := d.w.Close(); err != nil {
			return err
		}
		if d.lent != 0 {
			return fmt.Errorf("%d batches are not released", d.lent)
		}
		if d.h.durable != d.h.last() {
			return fmt.Errorf("closed at 0x%x, durable 0x%x", d.h.last(), d.h.durable)
		}
	} else {
		d.fs.ReleaseLocks()
	}
	d.opts = d.randomOptions()
	if err := d.open(); err != nil {
		return err
	}
	if clean && !d.w.Recovery().Sealed {
		return errors.New("closed log is not sealed")
	}
	return nil
}

// replayAll reads all of a log.
func replayAll(w *WAL) (base int64, got []entry, err error) {
	err = w.Replay(0, func(zxid int64, payload []byte) error {
		got = append(got, entry{zxid, bytes.Clone(payload)})
		return nil
	})
	return w.BaseZxid(), got, err
}

// TestModel runs random programs against the model, with clean and unclean
// restarts, without a power cut.
func TestModel(t *testing.T) {
	for seed := range uint64(testRuns(t, 300)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := newDriver(t, seed)
			if err := d.open(); err != nil {
				t.Fatal(err)
			}
			for range 150 {
				if err := d.step(); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.reopen(true); err != nil {
				t.Fatal(err)
			}
			if err := d.w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// testRuns is n, or a tenth of it with -short.
func testRuns(t *testing.T, n int) int {
	t.Helper()
	if testing.Short() {
		return max(1, n/10)
	}
	return n
}
