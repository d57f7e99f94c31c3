package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// model is the naive image: what a store must give back.
type model map[string]string

func (m model) sortedKeys() []string { return slices.Sorted(maps.Keys(m)) }

func key64(i uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte{3}, i))
}

// change is one checkpoint: key to value, nil for a deletion.
type change map[string][]byte

func (c change) applyTo(m model) model {
	out := maps.Clone(m)
	if out == nil {
		out = model{}
	}
	for k, v := range c {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = string(v)
		}
	}
	return out
}

func (c change) put(w *CheckpointWriter) error {
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if err := w.Put([]byte(k), c[k]); err != nil {
			return err
		}
	}
	return nil
}

func wholeImage(m model) change {
	c := change{}
	for k, v := range m {
		c[k] = []byte(v)
	}
	return c
}

// randomChange touches n keys of a space of keys, with deletions.
func randomChange(rnd *rand.Rand, n, keySpace, valueMax int) change {
	c := change{}
	for range n {
		k := key64(uint64(rnd.IntN(keySpace)))
		if rnd.IntN(4) == 0 {
			c[k] = nil
			continue
		}
		v := make([]byte, rnd.IntN(valueMax+1))
		for i := range v {
			v[i] = byte(rnd.Uint32())
		}
		c[k] = v
	}
	return c
}

func mustOpen(t testing.TB, fs vfs.FS, opts Options) *Store {
	t.Helper()
	s, err := Open(fs, "store", opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// commit takes a checkpoint (or a replacement) and aborts it on an error.
func commit(s *Store, zxid int64, c change, after model, replace bool) error {
	begin := s.NewCheckpoint
	if replace {
		begin = s.NewReplacement
	}
	w, err := begin(zxid)
	if err != nil {
		return err
	}
	if err := c.put(w); err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Commit(Meta{Digest: uint64(zxid) * 7, Records: int64(len(after)), TakenAtMs: zxid + 1, App: []byte("app")}); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

func mustCommit(t testing.TB, s *Store, zxid int64, c change, after model, replace bool) {
	t.Helper()
	if err := commit(s, zxid, c, after, replace); err != nil {
		t.Fatalf("checkpoint %d: %v", zxid, err)
	}
}

type scanner interface {
	Scan(ctx context.Context, progress func(int64), f func(key, value []byte) error) error
}

func scanAll(s scanner) (model, error) {
	got, last := model{}, ""
	err := s.Scan(context.Background(), nil, func(k, v []byte) error {
		if last != "" && string(k) <= last {
			return fmt.Errorf("key %x after %x", k, last)
		}
		last = string(k)
		got[last] = string(v)
		return nil
	})
	return got, err
}

func wantImage(t testing.TB, s scanner, want model) {
	t.Helper()
	got, err := scanAll(s)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("image has %d records, want %d: %s", len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want model) string {
	both := maps.Clone(got)
	maps.Copy(both, want)
	for _, k := range both.sortedKeys() {
		g, gok := got[k]
		w, wok := want[k]
		if g != w || gok != wok {
			return fmt.Sprintf("key %x: got %q (%v), want %q (%v)", k, g, gok, w, wok)
		}
	}
	return "no difference"
}

func wantZxid(t testing.TB, s *Store, want int64) {
	t.Helper()
	if m, ok := s.Meta(); !ok || m.Zxid != want {
		t.Fatalf("image is at %d (%v), want %d", m.Zxid, ok, want)
	}
}

// lines is a Logger that keeps what it is told.
type lines struct {
	mu   sync.Mutex
	info []string
	errs []string
}

func (l *lines) Infof(f string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info = append(l.info, fmt.Sprintf(f, a...))
}

func (l *lines) Errorf(f string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, fmt.Sprintf(f, a...))
}

func (l *lines) errorsWith(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.errs {
		if strings.Contains(e, part) {
			n++
		}
	}
	return n
}

// fakeClock moves only when somebody sleeps.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Duration
	slept time.Duration
}

func (c *fakeClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(d time.Duration, _ <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
	c.slept += d
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
