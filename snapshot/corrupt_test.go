package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append([]byte(nil), b...)) // a vfs may spoil what it writes
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func tablesOf(t *testing.T, fs vfs.FS) (names []string) {
	t.Helper()
	list, err := fs.List("store/image")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		if strings.HasSuffix(n, ".sst") {
			names = append(names, "store/image/"+n)
		}
	}
	return names
}

// Any flipped bit, any cut and a missing table come out as ErrCorrupt, from Open or from the scan, and
// never as an image with other contents.
func TestDamagedTable(t *testing.T) {
	want := randomChange(newRand(5), 60, 1000, 60).applyTo(nil)
	fresh := func() vfs.FS {
		fs := vfs.NewMem()
		s := mustOpen(t, fs, Options{})
		mustCommit(t, s, 1, wholeImage(want), want, false)
		mustClose(t, s)
		return fs
	}
	read := func(fs vfs.FS) (err error) {
		s, err := Open(fs, "store", Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		got, err := scanAll(s)
		if err == nil {
			if d := firstDifference(got, want); d != "no difference" {
				t.Fatalf("scan gave another image: %s", d)
			}
			err = s.Verify(context.Background())
		}
		return err
	}
	fs := fresh()
	if err := read(fs); err != nil {
		t.Fatal(err)
	}
	name := tablesOf(t, fs)[0]
	whole := readFile(t, fs, name)
	unnoticed := 0
	for at := 0; at < len(whole); at += 1 + len(whole)/250 {
		fs := fresh()
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << (at % 8)
		writeFile(t, fs, name, b)
		if err := read(fs); err == nil {
			unnoticed++ // bytes that mean nothing, such as unread properties
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("flip at %d of %d: %v", at, len(whole), err)
		}
	}
	if unnoticed > 4 {
		t.Fatalf("%d flips were not noticed", unnoticed)
	}
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/50 {
		fs := fresh()
		writeFile(t, fs, name, whole[:cut])
		if err := read(fs); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d: %v", cut, len(whole), err)
		}
	}
	fs = fresh()
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := read(fs); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("table missing: %v", err)
	}
}

// A manifest with any flipped bit gives the image or ErrCorrupt, and never an older or an empty image.
func TestDamagedManifest(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	mustCommit(t, s, 1, change{"a": []byte("1"), "b": []byte("2")}, model{"a": "", "b": ""}, false)
	want := model{"a": "1", "b": "3"}
	mustCommit(t, s, 2, change{"b": []byte("3")}, want, false)
	mustClose(t, s)
	list, err := fs.List("store/image")
	if err != nil {
		t.Fatal(err)
	}
	var name string
	for _, n := range list {
		if strings.HasPrefix(n, "MANIFEST-") && n > name {
			name = n
		}
	}
	name = "store/image/" + name
	whole := readFile(t, fs, name)
	damage := func(at int) vfs.FS {
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << (at % 8)
		damaged := vfs.NewMem()
		if _, err := vfs.Clone(fs, damaged, "store", "store"); err != nil {
			t.Fatal(err)
		}
		writeFile(t, damaged, name, b)
		return damaged
	}
	for at := range whole {
		s, err := Open(damage(at), "store", Options{})
		if err == nil {
			wantImage(t, s, want)
			mustClose(t, s)
		} else if !errors.Is(err, ErrCorrupt) {
			t.Errorf("flip at %d of %d: %v", at, len(whole), err)
		}
	}
	// Without the mark the damage of the last record would go unnoticed: that is what the mark is for.
	unmarked := damage(len(whole) - 1)
	if err := unmarked.Remove("store/committed"); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, unmarked, Options{})
	defer mustClose(t, s)
	wantZxid(t, s, 1)
}

// A damaged mark does not keep a sound image from being used.
func TestDamagedMark(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	want := model{"a": "1"}
	mustCommit(t, s, 0x1f, wholeImage(want), want, false)
	mustClose(t, s)
	const text = "generation=1 checkpoint=1 zxid=0x1f hash=03887075499e50e0\n"
	whole := readFile(t, fs, "store/committed")
	if string(whole) != text {
		t.Fatalf("mark is %q, want %q", whole, text)
	}
	for at := range whole {
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << (at % 8)
		writeFile(t, fs, "store/committed", b)
		log := &lines{}
		s := mustOpen(t, fs, Options{Logger: log})
		wantImage(t, s, want)
		mustClose(t, s)
		if log.errorsWith("damaged and ignored") != 1 {
			t.Fatalf("flip at %d: %q", at, log.errs)
		}
	}
}

// After damage was met a checkpoint on top is refused, since it could not be recovered; a replacement mends.
func TestDamageIsMendedByReplacement(t *testing.T) {
	want := randomChange(newRand(6), 2000, 4000, 100).applyTo(nil)
	fs := vfs.NewMem()
	log := &lines{}
	s := mustOpen(t, fs, Options{Logger: log})
	mustCommit(t, s, 1, wholeImage(want), want, false)
	mustClose(t, s)
	name := tablesOf(t, fs)[0]
	b := readFile(t, fs, name)
	b[len(b)/4] ^= 0x10
	writeFile(t, fs, name, b)

	s = mustOpen(t, fs, Options{Logger: log})
	if _, err := scanAll(s); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("scan: %v", err)
	}
	if log.errorsWith(name) != 1 {
		t.Fatalf("the damaged file is not named: %q", log.errs)
	}
	if _, err := s.NewCheckpoint(2); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("checkpoint on top of damage: %v", err)
	}
	if err := s.Err(); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Err: %v", err)
	}
	mustCommit(t, s, 2, wholeImage(want), want, true)
	if err := s.Err(); err != nil {
		t.Fatalf("Err after the replacement: %v", err)
	}
	mustCommit(t, s, 3, change{}, want, false)
	wantImage(t, s, want)
	if m := s.Metrics(); m.Corruptions == 0 {
		t.Fatal("damage was not counted")
	}
	mustClose(t, s)
	s = mustOpen(t, fs, Options{})
	defer mustClose(t, s)
	wantImage(t, s, want)
}

// Records without metadata, and a metadata record that is not one, are damage.
func TestMetadataMissing(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	if err := s.image.db.Set([]byte{recordPrefix, 'k'}, []byte("v"), nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(fs, "store", Options{}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("no metadata: %v", err)
	}
	fs = vfs.NewMem()
	s = mustOpen(t, fs, Options{})
	if err := s.image.db.Set(metaKey, []byte{FormatVersion, 1, 2}, nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(fs, "store", Options{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "3 bytes") {
		t.Fatalf("short metadata: %v", err)
	}
}
