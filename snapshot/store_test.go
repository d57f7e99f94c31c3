package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A checkpoint holds exactly what was put, later ones go on top, and everything is there after a restart.
func TestCheckpointsAndRestart(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	if _, ok := s.Meta(); ok {
		t.Fatal("a new store has an image")
	}
	if err := s.Scan(context.Background(), nil, nil); !errors.Is(err, ErrNoImage) {
		t.Fatalf("scan of an empty store: %v", err)
	}
	want := model{}
	step := func(zxid int64, c change) {
		t.Helper()
		want = c.applyTo(want)
		mustCommit(t, s, zxid, c, want, false)
		wantImage(t, s, want)
		wantZxid(t, s, zxid)
	}
	step(5, change{"a": []byte("1"), "b": {}, "c": []byte("3")})
	step(5, change{"a": []byte("same zxid")})
	step(9, change{"a": nil, "b": []byte("2"), "zz": []byte("new"), "never there": nil})
	step(12, change{})
	mustClose(t, s)

	s = mustOpen(t, fs, Options{})
	wantImage(t, s, want)
	m, _ := s.Meta()
	if m.Zxid != 12 || m.Digest != 84 || m.TakenAtMs != 13 || string(m.App) != "app" || m.Records != 3 ||
		m.Generation != 1 || m.Checkpoint != 4 || m.FormatVersion != FormatVersion {
		t.Fatalf("meta after restart: %+v", m)
	}
	mustClose(t, s)
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	if _, err := s.NewCheckpoint(20); !errors.Is(err, ErrClosed) {
		t.Fatalf("checkpoint of a closed store: %v", err)
	}
}

func TestReplacement(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	mustCommit(t, s, 100, change{"a": []byte("1"), "b": []byte("2")}, model{"a": "", "b": ""}, false)
	old, err := s.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	// A lower zxid and other keys: the history of another leader.
	want := model{"b": "22", "x": "9"}
	c := wholeImage(want)
	c["gone"] = nil
	mustCommit(t, s, 40, c, want, true)
	wantImage(t, s, want)
	if m, _ := s.Meta(); m.Zxid != 40 || m.Generation != 2 || m.Checkpoint != 1 {
		t.Fatalf("meta: %+v", m)
	}
	// The reader still sees the image that it was opened on.
	if got, err := scanAll(readerScan{old}); err != nil || !maps.Equal(got, model{"a": "1", "b": "2"}) {
		t.Fatalf("pinned image: %v %v", got, err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, 41, change{"x": nil}, model{"b": "22"}, false)
	mustClose(t, s)
	s = mustOpen(t, fs, Options{})
	wantImage(t, s, model{"b": "22"})
	mustClose(t, s)
}

type readerScan struct{ r *Reader }

func (s readerScan) Scan(ctx context.Context, p func(int64), f func(k, v []byte) error) error {
	return s.r.Scan(ctx, nil, p, f)
}

func TestRefusals(t *testing.T) {
	s := mustOpen(t, vfs.NewMem(), Options{})
	defer mustClose(t, s)
	if _, err := s.Retain(); !errors.Is(err, ErrNoImage) {
		t.Fatalf("retain of nothing: %v", err)
	}
	w, err := s.NewCheckpoint(7)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"second checkpoint": func() error { _, err := s.NewCheckpoint(8); return err },
		"replacement":       func() error { _, err := s.NewReplacement(8); return err },
		"retain":            func() error { _, err := s.Retain(); return err },
		"purge":             func() error { _, err := s.Purge(1); return err },
		"close":             s.Close,
	} {
		if err := f(); !errors.Is(err, ErrBusy) {
			t.Errorf("%s during a checkpoint: %v", name, err)
		}
	}
	if err := w.Put([]byte("b"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"b", "a", ""} {
		if err := w.Put([]byte(k), []byte("1")); !errors.Is(err, ErrKeyOrder) {
			t.Fatalf("key %q after b: %v", k, err)
		}
	}
	if err := w.Commit(Meta{}); !errors.Is(err, ErrKeyOrder) {
		t.Fatalf("commit after an error: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if names, err := s.fs.List(s.path(stagingFolder)); err != nil || len(names) != 0 {
		t.Fatalf("staging after abort: %v %v", names, err)
	}
	mustCommit(t, s, 7, change{"k": []byte("v")}, model{"k": "v"}, false)
	if _, err := s.NewCheckpoint(6); !errors.Is(err, ErrZxidOrder) {
		t.Fatalf("older checkpoint: %v", err)
	}
	if m := s.Metrics(); m.Checkpoints != 1 || m.Aborted != 1 {
		t.Fatalf("counters: %+v", m)
	}
}

// A wrong number of records is noticed by the scan.
func TestScanChecksCount(t *testing.T) {
	s := mustOpen(t, vfs.NewMem(), Options{})
	defer mustClose(t, s)
	mustCommit(t, s, 1, change{"a": []byte("1")}, model{"a": "", "b": ""}, false)
	if _, err := scanAll(s); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("scan: %v", err)
	}
	if err := s.Verify(context.Background()); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("verify: %v", err)
	}
}

func TestScanFromAndStop(t *testing.T) {
	s := mustOpen(t, vfs.NewMem(), Options{})
	defer mustClose(t, s)
	want := model{}
	for i := range uint64(3 * scanCheckEvery) {
		want[key64(i)] = fmt.Sprint(i)
	}
	mustCommit(t, s, 1, wholeImage(want), want, false)
	r, err := s.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var n int64
	var told []int64
	err = r.Scan(ctx, []byte(key64(100)), func(n int64) { told = append(told, n) }, func(k, v []byte) error {
		if n == 0 && string(k) != key64(100) {
			return fmt.Errorf("first key %x", k)
		}
		n++
		return nil
	})
	if err != nil || n != 3*scanCheckEvery-100 {
		t.Fatalf("scan from key 100: %d records, %v", n, err)
	}
	if len(told) != 3 || told[0] != scanCheckEvery || told[2] != n {
		t.Fatalf("progress: %v", told)
	}
	cancel()
	if err := r.Scan(ctx, nil, nil, func(_, _ []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("scan of a cancelled context: %v", err)
	}
	stop := errors.New("stop")
	if err := r.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return stop }); err != stop {
		t.Fatalf("error of f: %v", err)
	}
}

// Random programs of checkpoints, replacements, aborts, retained images, purges, restores, readers and
// restarts, against the naive model. Tables are tiny, so that checkpoints need several and compactions run.
func TestRandomPrograms(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewMem()
			opts := Options{TableBytesMax: 2 << 10, CompactionBytesPerSecMax: -1, Compression: Compression(seed % 3)}
			if seed%2 == 0 {
				opts.DiskSlow = time.Minute
			}
			s := mustOpen(t, fs, opts)
			type pinned struct {
				r    *Reader
				want model
			}
			var (
				want     = model{}
				zxid     int64
				readers  []pinned
				retained = map[int64]model{}
			)
			closeReaders := func() {
				for _, p := range readers {
					wantImage(t, readerScan{p.r}, p.want)
					if err := p.r.Close(); err != nil {
						t.Fatal(err)
					}
				}
				readers = nil
			}
			for range 60 {
				switch op := rnd.IntN(20); {
				case op < 9:
					zxid += int64(rnd.IntN(50))
					c := randomChange(rnd, rnd.IntN(200), 500, 80)
					want = c.applyTo(want)
					mustCommit(t, s, zxid, c, want, false)
				case op < 10:
					zxid += int64(rnd.IntN(100)) - 50
					want = randomChange(rnd, rnd.IntN(300), 500, 80).applyTo(nil)
					mustCommit(t, s, zxid, wholeImage(want), want, true)
				case op < 12:
					w, err := s.NewReplacement(zxid)
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(randomChange(rnd, 50, 500, 80).put(w), w.Abort()); err != nil {
						t.Fatal(err)
					}
				case op < 14:
					if _, ok := s.Meta(); !ok {
						continue
					}
					if _, err := s.Retain(); err != nil {
						t.Fatal(err)
					}
					retained[zxid] = maps.Clone(want)
				case op < 15:
					keep := rnd.IntN(4)
					removed, err := s.Purge(keep)
					if err != nil {
						t.Fatal(err)
					}
					for _, z := range removed {
						delete(retained, z)
					}
					if len(retained) > keep {
						t.Fatalf("%d retained images after purge to %d", len(retained), keep)
					}
				case op < 16:
					list, err := s.ListRetained()
					if err != nil || len(list) != len(retained) {
						t.Fatalf("retained: %v %v, want %d", list, err, len(retained))
					}
					if len(list) == 0 {
						continue
					}
					zxid = list[rnd.IntN(len(list))].Zxid
					if err := s.RestoreRetained(context.Background(), zxid, nil); err != nil {
						t.Fatal(err)
					}
					want = maps.Clone(retained[zxid])
				case op < 18:
					if r, err := s.NewReader(); err == nil {
						readers = append(readers, pinned{r, maps.Clone(want)})
					} else if !errors.Is(err, ErrNoImage) {
						t.Fatal(err)
					}
				default:
					closeReaders()
					mustClose(t, s)
					s = mustOpen(t, fs, opts)
				}
				if _, ok := s.Meta(); ok {
					wantImage(t, s, want)
					wantZxid(t, s, zxid)
				}
				for z, m := range retained {
					im, err := s.OpenRetained(z)
					if err != nil {
						t.Fatal(err)
					}
					wantImage(t, im, m)
					if err := im.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
			closeReaders()
			if _, ok := s.Meta(); ok {
				if err := s.Verify(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, s)
		})
	}
}

// Many checkpoints do not pile up tables: compactions keep what a scan has to merge within bounds.
func TestCompactionKeepsUp(t *testing.T) {
	s := mustOpen(t, vfs.NewMem(), Options{CompactionBytesPerSecMax: -1})
	rnd := rand.New(rand.NewPCG(1, 2))
	want := model{}
	const rounds = 60
	for i := range int64(rounds) {
		c := randomChange(rnd, 300, 3000, 60)
		want = c.applyTo(want)
		mustCommit(t, s, i, c, want, false)
	}
	mustClose(t, s) // waits for the compaction that runs
	s = mustOpen(t, s.fs, Options{})
	defer mustClose(t, s)
	wantImage(t, s, want)
	if m := s.Metrics(); m.Tables >= rounds/2 {
		t.Fatalf("%d tables after %d checkpoints", m.Tables, rounds)
	}
}

func TestDumpAndOpenImage(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	mustCommit(t, s, 0x1f, change{"\x01a": []byte("x"), "\x02b": {}}, model{"1": "", "2": ""}, false)
	kept, err := s.Retain()
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	const want = "image zxid=0x1f digest=0xd9 records=2 takenAtMs=32 generation=1 checkpoint=1 format=1 app=617070\n0161 78\n0262 \n"
	for _, dir := range []string{kept.Dir, "store/image"} {
		im, err := OpenImage(fs, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := errors.Join(im.Dump(context.Background(), &out, nil), im.Verify(context.Background()), im.Close()); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Fatalf("dump of %s:\n%s", dir, out.String())
		}
	}
	if _, err := OpenImage(fs, "store/retained/20", Options{}); !errors.Is(err, ErrNoImage) {
		t.Fatalf("opening an image that is not there: %v", err)
	}
	if _, err := OpenImage(fs, "store", Options{}); !errors.Is(err, ErrNoImage) {
		t.Fatalf("opening the folder above an image: %v", err)
	}
	if _, err := fs.Stat("store/LOCK"); err == nil {
		t.Fatal("opening a folder without an image left a file in it")
	}
	if _, err := fs.Stat("store/retained/20"); err == nil || !strings.Contains(err.Error(), "not exist") {
		t.Fatalf("reading made a folder: %v", err)
	}
}
