package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// faultyFS is the host's file system with a disk that can be full, also for directories alone, and a sync that can
// fail, or take as long as held is locked.
type faultyFS struct {
	walfs.OS
	full, dirFull, syncFails atomic.Bool
	held                     sync.RWMutex
}

func (f *faultyFS) Rename(from, to string) error {
	if f.dirFull.Load() {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.ENOSPC}
	}
	return f.OS.Rename(from, to)
}

func (f *faultyFS) Create(name string) (walfs.File, error) {
	if f.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.wrap(f.OS.Create(name))
}

func (f *faultyFS) OpenRW(name string) (walfs.File, error) { return f.wrap(f.OS.OpenRW(name)) }

func (f *faultyFS) wrap(file walfs.File, err error) (walfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

type faultyFile struct {
	walfs.File
	fs *faultyFS
}

func (f *faultyFile) Allocate(n int64) error {
	if f.fs.full.Load() {
		return syscall.ENOSPC
	}
	return f.File.Allocate(n)
}

func (f *faultyFile) Datasync() error {
	f.fs.held.RLock()
	defer f.fs.held.RUnlock()
	if f.fs.syncFails.Load() {
		return syscall.EIO
	}
	return f.File.Datasync()
}

// A full disk refuses writes in words, serves reads, loses nothing, and is over when there is space.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	fs := &faultyFS{}
	o := testOptions(t, dir, "snapCount=1000000")
	o.LogFS = fs
	o.WAL.SegmentBytes = 256 << 10
	o.WAL.SpareSegments = 1
	s := startServer(t, o)
	c := dial(t, s)
	ctx := testContext(t)
	mustCreate(t, c, "/a", "x")
	fs.full.Store(true)
	data := make([]byte, 32<<10)
	written := 0
	for ; ; written++ {
		_, err := c.Create(ctx, fmt.Sprintf("/full%d", written), data, openACL, client.Persistent)
		if err == nil {
			continue
		}
		if code, _ := client.Code(err); code != proto.ErrSystem {
			t.Fatalf("write %d on a full disk: %v, want SYSTEMERROR", written, err)
		}
		break
	}
	if written < 2 {
		t.Fatalf("only %d writes before the refusal: space that was there was not used", written)
	}
	if got, _, err := c.GetData(ctx, "/a"); err != nil || string(got) != "x" {
		t.Fatalf("read on a full disk: %q, %v", got, err)
	}
	fs.full.Store(false)
	for {
		_, err := c.Create(ctx, "/again", nil, openACL, client.Persistent)
		if err == nil {
			break
		}
		if code, _ := client.Code(err); code != proto.ErrSystem {
			t.Fatalf("write after space came back: %v", err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	stopServer(t, s)
	o.LogFS = nil
	c = dial(t, startServer(t, o))
	for i := range written {
		if got, _, err := c.GetData(ctx, fmt.Sprintf("/full%d", i)); err != nil || len(got) != len(data) {
			t.Fatalf("acknowledged write %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := c.Exists(ctx, "/again"); err != nil {
		t.Fatal(err)
	}
}

// A failed sync ends the server: the write under way is not acknowledged, nor is any later one.
func TestFailedSyncIsFinal(t *testing.T) {
	fs := &faultyFS{}
	o := testOptions(t, t.TempDir())
	o.LogFS = fs
	s, err := Start(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(testContext(t), s.Addr(0).String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abandon()
	mustCreate(t, c, "/a", "x")
	fs.syncFails.Store(true)
	call := c.Submit(testContext(t), proto.OpDelete, "/a", (&proto.PathVersion{Path: []byte("/a"), Version: -1}).Append(nil))
	<-s.Failed()
	if !errors.Is(s.Err(), wal.ErrFailed) && !errors.Is(s.Err(), syscall.EIO) {
		t.Fatalf("got %v", s.Err())
	}
	fs.syncFails.Store(false)
	if r, err := client.DialRaw(s.Addr(0).String()); err == nil {
		defer r.Close()
		if _, err := r.NewSession(0); err == nil {
			t.Fatal("a session was opened after the failure")
		}
	}
	if err := s.Stop(testContext(t)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Stop returned %v, want the failed sync", err)
	}
	if _, err := call.Wait(testContext(t)); err == nil {
		t.Fatal("a write whose sync failed was acknowledged")
	}
}

// A bit that flipped in the middle of the log stops the start with words that name the place, and changes
// nothing on disk.
func TestDamagedLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	s := startServer(t, o)
	c := dial(t, s)
	for i := range 50 {
		mustCreate(t, c, fmt.Sprintf("/n%d", i), "some data that is long enough to be hit")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	stopServer(t, s)
	segments, err := filepath.Glob(filepath.Join(o.LogDir, "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[8192] ^= 4
	if err := os.WriteFile(segments[0], content, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Start(o, slog.New(slog.DiscardHandler))
	if !errors.Is(err, wal.ErrCorrupt) {
		t.Fatalf("got %v, want ErrCorrupt", err)
	}
	after, err := os.ReadFile(segments[0])
	if err != nil || string(after) != string(content) {
		t.Fatal("the damaged log was changed")
	}
}

// A damaged image costs nothing as long as the log reaches back to a retained one; without any, the
// server says so and keeps what there is.
func TestDamagedImageFallsBack(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	s := startServer(t, o)
	c := dial(t, s)
	for round := range 3 {
		mustCreate(t, c, fmt.Sprintf("/n%d", round), "x")
		if err := <-s.replica.ckpt.request(s.replica); err != nil {
			t.Fatal(err)
		}
	}
	mustCreate(t, c, "/last", "x")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	stopServer(t, s)

	damage := func(folder string) {
		t.Helper()
		tables, err := filepath.Glob(filepath.Join(folder, "*.sst"))
		if err != nil || len(tables) == 0 {
			t.Fatalf("%v, %v", tables, err)
		}
		for _, table := range tables {
			content, err := os.ReadFile(table)
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)/3] ^= 8
			// A file of its own: retained images share theirs by hard links.
			if err := os.Remove(table); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(table, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	damage(filepath.Join(o.DataDir, "image"))
	s = startServer(t, o)
	c = dial(t, s)
	for _, path := range []string{"/n0", "/n1", "/n2", "/last"} {
		if _, err := c.Exists(testContext(t), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	stopServer(t, s)
}
