package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashPoint takes a crash clone in front of every operation that changes the file system.
type crashPoint struct {
	mem    *vfs.MemFS
	mu     sync.Mutex // guards the rest; operations of compactions come from another goroutine
	on     bool
	seed   uint64
	clones []crashClone
}

type crashClone struct {
	fs     *vfs.MemFS
	before string // the operation that did not happen
}

func (c *crashPoint) String() string { return "crashPoint" }

func (c *crashPoint) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return nil
	}
	c.seed++
	// Nothing, a random part, or all of what was not synced survives.
	for _, percent := range []int{0, 50, 100} {
		fs := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(c.seed, uint64(percent)))})
		c.clones = append(c.clones, crashClone{fs, fmt.Sprintf("%d: %v %s, %d%% of unsynced", c.seed, op.Kind, op.Path, percent)})
	}
	return nil
}

func (c *crashPoint) set(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

// A story is what one crash test runs: prepare is safely on disk, act is cut off anywhere.
type story struct {
	name          string
	before, after model
	zxidAfter     int64
	act           func(s *Store) error
}

func stories() []story {
	rnd := rand.New(rand.NewPCG(7, 7))
	before := randomChange(rnd, 300, 400, 60).applyTo(nil)
	c := randomChange(rnd, 200, 400, 60)
	other := randomChange(rnd, 250, 400, 60).applyTo(nil)
	return []story{
		{"checkpoint", before, c.applyTo(before), 20, func(s *Store) error {
			return commit(s, 20, c, c.applyTo(before), false)
		}},
		{"replacement", before, other, 5, func(s *Store) error {
			return commit(s, 5, wholeImage(other), other, true)
		}},
		{"checkpoint that is aborted", before, before, 10, func(s *Store) error {
			w, err := s.NewCheckpoint(20)
			if err != nil {
				return err
			}
			return errors.Join(c.put(w), w.Abort())
		}},
		{"retain and purge", before, before, 10, func(s *Store) error {
			if _, err := s.Retain(); err != nil {
				return err
			}
			_, err := s.Purge(1)
			return err
		}},
		{"restore", before, other, 3, func(s *Store) error {
			return s.RestoreRetained(context.Background(), 3, nil)
		}},
		{"restart", before, before, 10, func(s *Store) error {
			if err := s.Close(); err != nil {
				return err
			}
			again, err := Open(s.fs, s.dir, s.opts)
			if err != nil {
				return err
			}
			s.image, s.closed = again.image, false
			return nil
		}},
	}
}

// prepare brings a new store to image st.before at zxid 10, with one retained image at zxid 3 that holds
// what restore restores.
func (st *story) prepare(fs vfs.FS, opts Options) (*Store, error) {
	s, err := Open(fs, "store", opts)
	if err != nil {
		return nil, err
	}
	kept := st.after
	if err := commit(s, 3, wholeImage(kept), kept, false); err != nil {
		return s, err
	}
	if _, err := s.Retain(); err != nil {
		return s, err
	}
	return s, commit(s, 10, wholeImage(st.before), st.before, true)
}

var crashOptions = Options{TableBytesMax: 4 << 10, CompactionBytesPerSecMax: -1}

// checkSurvivor opens what a crash left: the image is the old or the new one and never a mix, retained
// images are whole, leftovers are gone, and the store can go on.
func checkSurvivor(t *testing.T, st *story, fs vfs.FS, mustBeNew bool) (isNew bool) {
	t.Helper()
	s, err := Open(fs, "store", crashOptions)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer mustClose(t, s)
	got, err := scanAll(s)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	m, _ := s.Meta()
	isNew = m.Zxid == st.zxidAfter && maps.Equal(got, st.after)
	isOld := m.Zxid == 10 && maps.Equal(got, st.before)
	if !isNew && (!isOld || mustBeNew) {
		t.Fatalf("image at %d with %d records is neither the old nor the new one (new wanted: %v)", m.Zxid, len(got), mustBeNew)
	}
	list, err := s.ListRetained()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		im, err := s.OpenRetained(r.Zxid)
		if err != nil {
			t.Fatalf("retained image %d: %v", r.Zxid, err)
		}
		want := st.after
		if r.Zxid == 10 {
			want = st.before
		}
		wantImage(t, im, want)
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := fs.List("store/retained"); err != nil || strings.Contains(strings.Join(names, " "), tmpSuffix) {
		t.Fatalf("leftovers: %v %v", names, err)
	}
	if names, err := fs.List("store/staging"); err != nil || len(names) > 0 {
		t.Fatalf("leftovers: %v %v", names, err)
	}
	got["zz"] = "later"
	mustCommit(t, s, 1000, change{"zz": []byte("later")}, got, false)
	wantImage(t, s, got)
	return isNew
}

// Power is cut in front of every operation that changes the file system.
func TestCrashAnywhere(t *testing.T) {
	for _, st := range stories() {
		t.Run(st.name, func(t *testing.T) {
			point := &crashPoint{mem: vfs.NewCrashableMem()}
			s, err := st.prepare(errorfs.Wrap(point.mem, point), crashOptions)
			if err != nil {
				t.Fatal(err)
			}
			point.set(true)
			if err := st.act(s); err != nil {
				t.Fatal(err)
			}
			point.set(false)
			acked := point.mem.CrashClone(vfs.CrashCloneCfg{})
			mustClose(t, s)
			if len(point.clones) < 10 {
				t.Fatalf("only %d crash points", len(point.clones))
			}
			news := 0
			for _, c := range point.clones {
				t.Run(c.before, func(t *testing.T) {
					if checkSurvivor(t, &st, c.fs, false) {
						news++
					}
				})
			}
			// What was acknowledged is there although nothing was synced after it.
			checkSurvivor(t, &st, acked, true)
			if !maps.Equal(st.before, st.after) && (news == 0 || news == len(point.clones)) {
				t.Fatalf("%d of %d crashes came out new: the commit was not inside", news, len(point.clones))
			}
		})
	}
}

// nthWrite fails the n-th operation that changes the file system, once or for ever.
type nthWrite struct {
	mu      sync.Mutex // guards the rest
	left    int        // below 0: off
	forever bool
	hit     string
}

func (w *nthWrite) String() string { return "nthWrite" }

func (w *nthWrite) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < 0 {
		return nil
	}
	if w.left > 0 {
		w.left--
		return nil
	}
	if w.hit == "" {
		w.hit = fmt.Sprintf("%v %s", op.Kind, op.Path)
	}
	if !w.forever {
		w.left = -1
	}
	return errorfs.ErrInjected
}

func (w *nthWrite) arm(n int, forever bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.forever, w.hit = n, forever, ""
}

func (w *nthWrite) disarm() (hit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = -1
	return w.hit
}

// Every operation fails once, or all from it on. The call says so or has done its work; then either the
// store goes on, or it says that it failed for good; and what a restart finds is the old or the new image.
func TestErrorAnywhere(t *testing.T) {
	for _, st := range stories() {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/forever=%v", st.name, forever), func(t *testing.T) {
				failedForGood := 0
				for n := 0; ; n++ {
					mem := vfs.NewCrashableMem()
					inject := &nthWrite{left: -1}
					fatal := make(chan error, 1)
					opts := crashOptions
					opts.Clock = &fakeClock{}
					opts.OnFatal = func(err error) { fatal <- err }
					s, err := st.prepare(errorfs.Wrap(mem, inject), opts)
					if err != nil {
						t.Fatal(err)
					}
					inject.arm(n, forever)
					err = st.act(s)
					hit := inject.disarm()
					if hit == "" {
						if err != nil {
							t.Fatalf("without a fault: %v", err)
						}
						mustClose(t, s)
						break
					}
					if err != nil && !errors.Is(err, errorfs.ErrInjected) && !errors.Is(err, ErrFailed) {
						t.Fatalf("fault %d (%s) came out as %v", n, hit, err)
					}
					if errors.Is(s.Err(), ErrFailed) {
						failedForGood++
						<-fatal
						if _, err := s.NewCheckpoint(2000); !errors.Is(err, ErrFailed) {
							t.Fatalf("checkpoint of a failed store: %v", err)
						}
						if err := s.Close(); !errors.Is(err, ErrFailed) {
							t.Fatalf("close of a failed store: %v", err)
						}
					} else if st.name != "restart" {
						// The fault is over: the store is in one of the two states and goes on.
						got, scanErr := scanAll(s)
						m, _ := s.Meta()
						if scanErr != nil || !(m.Zxid == 10 && maps.Equal(got, st.before) || m.Zxid == st.zxidAfter && maps.Equal(got, st.after)) {
							t.Fatalf("fault %d (%s): image at %d with %d records, %v", n, hit, m.Zxid, len(got), scanErr)
						}
						mustCommit(t, s, 500, change{}, got, false)
						mustCommit(t, s, m.Zxid, wholeImage(got), got, true)
						mustClose(t, s)
					}
					t.Run(fmt.Sprintf("%d %s", n, hit), func(t *testing.T) {
						checkSurvivor(t, &st, mem.CrashClone(vfs.CrashCloneCfg{}), err == nil && st.name != "restart")
					})
				}
				if forever && failedForGood == 0 && st.name == "checkpoint" {
					t.Fatal("no fault met the manifest")
				}
			})
		}
	}
}
