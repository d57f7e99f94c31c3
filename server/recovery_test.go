package server

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// A log that ends before the image begins anew behind it, and never goes on behind a hole: a member's image may
// be ahead of what of its log a crash leaves.
func TestLogThatEndsBeforeImage(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := startServer(t, o)
	c := dial(t, s)
	for i := range 20 {
		mustCreate(t, c, fmt.Sprintf("/n%d", i), "x")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-s.replica.ckpt.request(s.replica); err != nil {
		t.Fatal(err)
	}
	stopServer(t, s)
	image := s.replica.wal.LastZxid()

	w, err := wal.Open(walfs.OS{}, o.LogDir, o.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Reset(image - 5); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		s = startServer(t, o)
		if base := s.replica.wal.BaseZxid(); base != image {
			t.Fatalf("the log starts behind %#x, the image is at %#x", base, image)
		}
		c = dial(t, s)
		if _, err := c.Exists(testContext(t), "/n19"); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		stopServer(t, s)
	}
}
