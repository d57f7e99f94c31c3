package snapshot

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// An image that was put aside outlives all that takes its place, a purge and a restart, and another one of its zxid.
func TestPutAside(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	if _, err := s.PutAside(); !errors.Is(err, ErrNoImage) {
		t.Errorf("without an image: %v", err)
	}
	old, other := model{"a": "1", "b": "2"}, model{"c": "3"}
	mustCommit(t, s, 7, wholeImage(old), old, true)
	first, err := s.PutAside()
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, 7, wholeImage(other), other, true)
	second, err := s.PutAside()
	if err != nil || second == first {
		t.Fatalf("%q, %v", second, err)
	}
	mustCommit(t, s, 3, wholeImage(model{}), model{}, true)
	if _, err := s.Purge(0); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, fs, Options{})
	defer mustClose(t, s)
	wantZxid(t, s, 3)
	if list, err := s.ListRetained(); err != nil || len(list) != 0 {
		t.Errorf("what was put aside counts as retained: %v, %v", list, err)
	}
	for dir, want := range map[string]model{first: old, second: other} {
		im, err := OpenImage(fs, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantImage(t, im, want)
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
}
