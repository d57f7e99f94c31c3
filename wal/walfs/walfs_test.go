package walfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// both runs a test on both implementations.
func both(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("mem", func(t *testing.T) { test(t, NewMem(), "/a/b") })
	t.Run("os", func(t *testing.T) { test(t, OS{}, filepath.Join(t.TempDir(), "a", "b")) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, fsys FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return b
}

// TestSame goes through what the two implementations have in common.
func TestSame(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		in := func(name string) string { return filepath.Join(dir, name) }
		if _, err := fsys.List(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := fsys.Create(in("x")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		must(t, fsys.MkdirAll(dir))
		must(t, fsys.MkdirAll(dir))
		f, err := fsys.Create(in("x"))
		must(t, err)

		want := bytes.Repeat([]byte("0123456"), 1300)
		n, err := f.WriteAt(want, 5)
		must(t, err)
		if n != len(want) {
			t.Fatalf("wrote %d of %d", n, len(want))
		}
		want = append(make([]byte, 5), want...)
		if got := content(t, fsys, in("x")); !bytes.Equal(got, want) {
			t.Fatal("content differs")
		}
		if n, err := f.WriteAt(nil, 0); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := f.ReadAt(make([]byte, 10), int64(len(want)-4)); n != 4 || err != io.EOF {
			t.Fatal(n, err)
		}
		if n, err := f.ReadAt(make([]byte, 10), int64(len(want)+4)); n != 0 || err != io.EOF {
			t.Fatal(n, err)
		}
		err = f.Allocate(1 << 16)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
		if err == nil {
			if size, err := f.Size(); size != 1<<16 || err != nil {
				t.Fatal(size, err)
			}
			must(t, f.Allocate(10))
			if got := content(t, fsys, in("x")); !bytes.Equal(got[:len(want)], want) || bytes.Count(got[len(want):], []byte{0}) != 1<<16-len(want) {
				t.Fatal("content differs after Allocate")
			}
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(6))
		if got := content(t, fsys, in("x")); !bytes.Equal(got, make([]byte, 6)) {
			t.Fatalf("got %v", got)
		}
		must(t, f.Datasync())
		must(t, f.Sync())
		must(t, fsys.Rename(in("x"), in("y")))
		must(t, fsys.SyncDir(dir))
		g, err := fsys.OpenRW(in("y"))
		must(t, err)
		_, err = g.WriteAt([]byte("yes"), 0)
		must(t, err)
		must(t, g.Close())
		must(t, fsys.Remove(in("y")))
		b := make([]byte, 3)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "yes" {
			t.Fatalf("a removed file reads %q, %v", b, err)
		}
		must(t, f.Close())
		if f.Close() == nil || f.Sync() == nil {
			t.Fatal("a closed file works")
		}
		for _, op := range []func() error{
			func() error { _, err := fsys.Open(in("y")); return err },
			func() error { _, err := fsys.OpenRW(in("y")); return err },
			func() error { return fsys.Remove(in("y")) },
			func() error { return fsys.Rename(in("y"), in("z")) },
		} {
			if err := op(); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"b", "a", "c"} {
			f, err := fsys.Create(in(name))
			must(t, err)
			_, err = f.WriteAt([]byte(name), 0)
			must(t, err)
			must(t, f.Close())
		}
		f, err = fsys.Open(in("a"))
		must(t, err)
		if _, err := f.WriteAt([]byte("no"), 0); err == nil {
			t.Fatal("wrote to a file that is open for reading")
		}
		must(t, f.Close())
		f, err = fsys.Create(in("a")) // empties it
		must(t, err)
		must(t, f.Close())
		infos, err := fsys.List(dir)
		must(t, err)
		if !slices.Equal(infos, []Info{{"a", 0}, {"b", 1}, {"c", 1}}) {
			t.Fatal(infos)
		}

		l, err := fsys.Lock(in("LOCK"))
		must(t, err)
		if _, err := fsys.Lock(in("LOCK")); !errors.Is(err, ErrLocked) {
			t.Fatal(err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(in("LOCK"))
		must(t, err)
		must(t, l.Close())
	})
}

// TestDirect writes past the page cache, as far as the file system of the test lets it, and both ways in turn.
func TestDirect(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		must(t, fsys.MkdirAll(dir))
		f, err := fsys.Create(filepath.Join(dir, "x"))
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("head"), 0)
		must(t, err)
		must(t, f.Datasync())
		switch err := f.SetDirect(true); {
		case errors.Is(err, errors.ErrUnsupported):
			t.Log("this file system has no direct writes: ", err)
		case err != nil:
			t.Fatal(err)
		}
		b := AlignedBuffer(3 * DirectAlign)
		for round := range 3 {
			for i := range b {
				b[i] = byte(i*7 + round)
			}
			n, err := f.WriteAt(b, DirectAlign)
			must(t, err)
			if n != len(b) {
				t.Fatalf("wrote %d of %d", n, len(b))
			}
			if got := content(t, fsys, filepath.Join(dir, "x")); !bytes.Equal(got[DirectAlign:], b) || string(got[:4]) != "head" {
				t.Fatalf("content differs in round %d", round)
			}
			must(t, f.Datasync())
		}
		must(t, f.SetDirect(false))
		_, err = f.WriteAt([]byte("feet"), 3)
		must(t, err)
		if got := content(t, fsys, filepath.Join(dir, "x")); !bytes.Equal(got[DirectAlign:], b) || string(got[:7]) != "heafeet" {
			t.Fatal("content differs")
		}
	})
}

// TestDirectMisaligned: the model refuses what a disk would.
func TestDirectMisaligned(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	f, err := m.Create("/d/x")
	must(t, err)
	must(t, f.SetDirect(true))
	b := AlignedBuffer(2 * DirectAlign)
	for what, write := range map[string]func() (int, error){
		"offset": func() (int, error) { return f.WriteAt(b, 512) },
		"length": func() (int, error) { return f.WriteAt(b[:512], 0) },
		"memory": func() (int, error) { return f.WriteAt(b[8:8+DirectAlign], 0) },
	} {
		if n, err := write(); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: wrote %d, %v", what, n, err)
		}
	}
}

// TestWriteAllocs pins that a direct write allocates nothing.
func TestWriteAllocs(t *testing.T) {
	f, err := OS{}.Create(filepath.Join(t.TempDir(), "x"))
	must(t, err)
	defer f.Close()
	if err := f.SetDirect(true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	b := AlignedBuffer(DirectAlign)
	write := func() {
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if n := testing.AllocsPerRun(100, write); n != 0 {
		t.Fatalf("%v allocations per write", n)
	}
}

// crashed gives what of file "x" a crash leaves, or "-" if it is not there.
func crashed(t *testing.T, m *Mem, c Crash) string {
	t.Helper()
	clone := m.CrashClone(c)
	infos, err := clone.List("/d")
	must(t, err)
	var s []string
	for _, fi := range infos {
		s = append(s, fi.Name+"="+strings.ReplaceAll(string(content(t, clone, "/d/"+fi.Name)), "\x00", "."))
	}
	return strings.Join(s, " ")
}

// TestCrashOutcomes lists all that a crash can leave of a small state, by trying many
// seeds: nothing more and nothing less is what the model promises.
func TestCrashOutcomes(t *testing.T) {
	tests := []struct {
		name    string
		do      func(m *Mem, f File)
		reorder bool
		want    []string
	}{
		{"synced", func(m *Mem, f File) { f.Sync() }, false, []string{"x=aabb"}},
		{"unsynced", func(m *Mem, f File) {}, false, []string{"x=....", "x=..bb", "x=", "x=aa..", "x=aabb"}},
		{"overwritten", func(m *Mem, f File) { f.Sync(); f.WriteAt([]byte("cc"), 1); f.WriteAt([]byte("d"), 0) }, false,
			[]string{"x=aabb", "x=aacb", "x=acbb", "x=accb", "x=dcbb", "x=dccb"}},
		{"cut", func(m *Mem, f File) { f.Sync(); f.Truncate(2) }, false, []string{"x=aabb", "x=aa..", "x=aa"}},
		{"failed sync", func(m *Mem, f File) {
			f.Sync()
			f.WriteAt([]byte("c"), 0)
			m.SetHook(func(op Op) error { return syscall.EIO })
			f.Sync()
			m.SetHook(nil)
			f.Sync()
		}, false, []string{"x=aabb", "x=cabb"}},
		{"written again after a failed sync", func(m *Mem, f File) {
			f.Sync()
			f.WriteAt([]byte("c"), 0)
			m.SetHook(func(op Op) error { return syscall.EIO })
			f.Sync()
			m.SetHook(nil)
			f.WriteAt([]byte("c"), 0)
			f.Sync()
		}, false, []string{"x=cabb"}},
		{"renamed", func(m *Mem, f File) { f.Sync(); m.Rename("/d/x", "/d/y") }, false, []string{"x=aabb", "y=aabb"}},
		{"renamed, synced", func(m *Mem, f File) { f.Sync(); m.Rename("/d/x", "/d/y"); m.SyncDir("/d") }, false, []string{"y=aabb"}},
		{"two names", func(m *Mem, f File) { f.Sync(); m.Create("/d/y"); m.Create("/d/z") }, false,
			[]string{"x=aabb", "x=aabb y=", "x=aabb y= z="}},
		{"two names, reordered", func(m *Mem, f File) { f.Sync(); m.Create("/d/y"); m.Create("/d/z") }, true,
			[]string{"x=aabb", "x=aabb y=", "x=aabb y= z=", "x=aabb z="}},
		{"replaced", func(m *Mem, f File) {
			f.Sync()
			g, _ := m.Create("/d/y")
			g.WriteAt([]byte("y"), 0)
			g.Sync()
			m.SyncDir("/d")
			m.Rename("/d/y", "/d/x")
		}, false, []string{"x=aabb y=y", "x=y"}},
		{"removed", func(m *Mem, f File) { f.Sync(); m.Remove("/d/x") }, false, []string{"", "x=aabb"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := NewMemSectors(2)
			must(t, m.MkdirAll("/d"))
			f, err := m.Create("/d/x")
			must(t, err)
			must(t, m.SyncDir("/d"))
			_, err = f.WriteAt([]byte("aabb"), 0)
			must(t, err)
			tc.do(m, f)
			seen := map[string]bool{}
			rng := rand.New(rand.NewPCG(1, 1))
			for range 500 {
				seen[crashed(t, m, Crash{Rand: rng, KeepPercent: 50, Reorder: tc.reorder})] = true
			}
			var got []string
			for s := range seen {
				got = append(got, s)
			}
			slices.Sort(got)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Fatalf("got  %q\nwant %q", got, tc.want)
			}
			// The ends of the scale, and a clone of the uncertain state.
			if none := crashed(t, m, Crash{}); !seen[none] {
				t.Fatalf("%q when nothing is kept", none)
			}
			for seed := range uint64(50) {
				c := Crash{Rand: rand.New(rand.NewPCG(seed, 2)), KeepPercent: 50, Reorder: tc.reorder}
				a := crashed(t, m, c)
				c.Rand = rand.New(rand.NewPCG(seed, 2))
				if b := crashed(t, m.Clone(), c); a != b {
					t.Fatalf("seed %d: %q, and %q of a clone", seed, a, b)
				}
			}
			all := m.CrashClone(Crash{KeepPercent: 100})
			infos, _ := all.List("/d")
			now, _ := m.List("/d")
			if tc.name != "failed sync" && !slices.Equal(infos, now) {
				t.Fatalf("%v when all is kept, want %v", infos, now)
			}
		})
	}
}

func TestHooks(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	f, err := m.Create("/d/x")
	must(t, err)
	var ops []string
	m.SetHook(func(op Op) error {
		ops = append(ops, fmt.Sprintf("%v %s %d+%d %v", op.Kind, op.Name, op.Off, op.Bytes, op.Kind.Mutates()))
		if op.Kind == OpWrite {
			return &ShortWriteError{Bytes: 3, Err: syscall.EIO}
		}
		return nil
	})
	n, err := f.WriteAt([]byte("abcd"), 10)
	if n != 3 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	b := make([]byte, 13)
	if _, err := f.ReadAt(b, 0); err != nil || string(b[10:]) != "abc" {
		t.Fatalf("%q, %v", b, err)
	}
	want := []string{"write /d/x 10+4 true", "read /d/x 0+13 false"}
	if !slices.Equal(ops, want) || m.OpCount() != 3 {
		t.Fatal(ops, m.OpCount())
	}
	if OpKind(99).String() != "OpKind(99)" {
		t.Fatal(OpKind(99))
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	f, err := m.Create("/d/x")
	must(t, err)
	m.SetCapacity(100)
	must(t, f.Allocate(60))
	g, err := m.Create("/d/y")
	must(t, err)
	for _, err := range []error{g.Allocate(41), g.Truncate(41)} {
		if !IsNoSpace(err) {
			t.Fatal(err)
		}
	}
	if n, err := g.WriteAt(make([]byte, 40), 0); n != 40 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := g.WriteAt(make([]byte, 1), 40); n != 0 || !IsNoSpace(err) {
		t.Fatal(n, err)
	}
	if n, err := f.WriteAt(make([]byte, 60), 0); n != 60 || err != nil {
		t.Fatal(n, err)
	}
	if m.UsedBytes() != 100 {
		t.Fatal(m.UsedBytes())
	}
	must(t, m.Remove("/d/y"))
	must(t, f.Truncate(100))
	if err := m.FlipBit("/d/x", 100, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, m.FlipBit("/d/x", 99, 3))
	if b := content(t, m.CrashClone(Crash{KeepPercent: 100}), "/d/x"); b[99] != 8 {
		t.Fatal(b[99])
	}
}

func TestTraced(t *testing.T) {
	var lines []string
	fsys := Traced(NewMem(), func(line string) { lines = append(lines, line) })
	must(t, fsys.MkdirAll("/d"))
	f, err := fsys.Create("/d/x")
	must(t, err)
	f.Allocate(100)
	f.WriteAt([]byte("abc"), 7)
	must(t, fsys.Rename("/d/x", "/d/y"))
	f.WriteAt([]byte("abcd"), 8)
	f.Truncate(50)
	f.Datasync()
	f.Sync()
	f.Close()
	fsys.SyncDir("/d")
	g, err := fsys.OpenRW("/d/y")
	must(t, err)
	g.Sync()
	fsys.Remove("/d/y")
	l, err := fsys.Lock("/d/LOCK")
	must(t, err)
	l.Close()
	want := []string{"create x", "allocate x 100", "write x 7+3", "rename x y", "write y 8+4", "truncate y 50",
		"fdatasync y", "fsync y", "syncdir", "fsync y", "remove y", "lock LOCK"}
	if !slices.Equal(lines, want) {
		t.Fatalf("got %q", lines)
	}
}
