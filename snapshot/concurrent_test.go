package snapshot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Readers on other goroutines see whole images while checkpoints and replacements go on: every record of an
// image carries its zxid.
func TestReadersWhileWriting(t *testing.T) {
	s := mustOpen(t, vfs.NewMem(), Options{TableBytesMax: 4 << 10, CompactionBytesPerSecMax: -1})
	const keys = 300
	image := func(zxid int64) change {
		c := change{}
		for i := range uint64(keys) {
			c[key64(i)] = fmt.Append(nil, zxid)
		}
		return c
	}
	write := func(zxid int64) {
		c := image(zxid)
		mustCommit(t, s, zxid, c, c.applyTo(nil), zxid%5 == 0)
	}
	write(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := s.NewReader()
				if err != nil {
					errs <- err
					return
				}
				zxid := r.Meta().Zxid
				if zxid < last {
					err = fmt.Errorf("image %d after %d", zxid, last)
				}
				last = zxid
				err = errors.Join(err, r.Scan(context.Background(), nil, nil, func(_, v []byte) error {
					if string(v) != fmt.Sprint(zxid) {
						return fmt.Errorf("record of %s in image %d", v, zxid)
					}
					return nil
				}), r.Close())
				if _, ok := s.Meta(); !ok || s.Metrics().Tables == 0 {
					err = errors.Join(err, errors.New("no image"))
				}
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for zxid := int64(2); zxid < 60; zxid++ {
		write(zxid)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	mustClose(t, s)
}

// Discard leaves an empty store with its retained images; cut short anywhere, and with any operation
// failing, it can be repeated, and a damaged image never passes for a sound one.
func TestDiscard(t *testing.T) {
	old, want := model{"a": "1"}, model{"a": "2"}
	prepare := func(fs vfs.FS) {
		s := mustOpen(t, fs, Options{})
		mustCommit(t, s, 1, wholeImage(old), old, true)
		if _, err := s.Retain(); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, 2, wholeImage(want), want, true)
		mustClose(t, s)
	}
	check := func(fs vfs.FS) {
		t.Helper()
		s := mustOpen(t, fs, Options{})
		defer mustClose(t, s)
		if _, ok := s.Meta(); ok {
			t.Fatal("the image is still there")
		}
		if err := s.RestoreRetained(context.Background(), 1, nil); err != nil {
			t.Fatal(err)
		}
		wantImage(t, s, old)
		if names, err := fs.List("store"); err != nil || len(names) != 4 {
			t.Fatalf("%v %v", names, err)
		}
	}
	for n := 0; ; n++ {
		mem := vfs.NewCrashableMem()
		prepare(mem)
		inject := &nthWrite{left: -1}
		inject.arm(n, false)
		err := Discard(errorfs.Wrap(mem, inject), "store")
		hit := inject.disarm()
		if (err != nil) != (hit != "") {
			t.Fatalf("fault %q came out as %v", hit, err)
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{})
		if hit == "" {
			check(crashed)
			break
		}
		s, err := Open(crashed, "store", Options{})
		if err == nil {
			if _, ok := s.Meta(); ok {
				wantImage(t, s, want)
			}
			mustClose(t, s)
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("after fault %q: %v", hit, err)
		}
		if err := Discard(crashed, "store"); err != nil {
			t.Fatal(err)
		}
		check(crashed)
	}
}
