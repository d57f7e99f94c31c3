package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/snapshot/javadata"
)

// takeSnapshot gives the bytes of a snapshot and its zxid.
func takeSnapshot(t *testing.T, s *Server) ([]byte, proto.Zxid) {
	t.Helper()
	f, err := s.TakeSnapshot(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil || int64(len(b)) != f.Bytes {
		t.Fatalf("%d bytes, %v; want %d", len(b), err, f.Bytes)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b, f.Zxid
}

func treeOf(s *Server) (zxid proto.Zxid, digest uint64, nodes int) {
	s.lockGates()
	defer s.unlockGates()
	return s.engine.LastZxid(), s.engine.Digest(), s.engine.NodeCount()
}

// A snapshot is the tree at its zxid, in every compression, and leaves no file behind.
func TestTakeSnapshot(t *testing.T) {
	for _, compression := range []javadata.Compression{javadata.CompressionNone, javadata.CompressionGzip, javadata.CompressionSnappy} {
		o := testOptions(t, t.TempDir())
		o.SnapshotCompression = compression
		s := startServer(t, o)
		c := dial(t, s)
		for i := range 50 {
			mustCreate(t, c, fmt.Sprintf("/n%d", i), "data")
		}
		zxid, digest, nodes := treeOf(s)
		b, at := takeSnapshot(t, s)
		if at != zxid {
			t.Errorf("zxid %#x, want %#x", at, zxid)
		}
		plain, err := javadata.Decompress(bytes.NewReader(b), compression)
		if err != nil {
			t.Fatal(err)
		}
		e, trailer, err := javadata.LoadStream(plain, "s", at, javadata.LoadOptions{Engine: o.Engine})
		if err != nil {
			t.Fatal(err)
		}
		if e.Digest() != digest || e.NodeCount() != nodes || trailer.LastZxid != zxid || trailer.Digest != digest || e.SessionCount() != 1 {
			t.Errorf("digest %d, %d nodes, %d sessions, %+v; want %d, %d, 1, %#x", e.Digest(), e.NodeCount(), e.SessionCount(), trailer, digest, nodes, zxid)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(o.DataDir), "*.tmp"))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// Restoring an older snapshot brings the tree back, with zxids that go on rising; a session of the snapshot
// lives on, a later one is expired; a restart comes up with the restored tree and what was written to it.
func TestRestoreOlder(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, testOptions(t, dir))
	ctx := testContext(t)
	old := dial(t, s)
	mustCreate(t, old, "/keep", "one")
	if _, err := old.Create(ctx, "/eph", nil, openACL, client.Ephemeral); err != nil {
		t.Fatal(err)
	}
	b, at := takeSnapshot(t, s)
	_, digest, nodes := treeOf(s)

	if _, err := old.SetData(ctx, "/keep", []byte("two"), -1); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, old, "/late", "")
	young := dial(t, s)
	expired := make(chan struct{})
	var once sync.Once
	youngToo, err := client.Dial(ctx, s.Addr(0).String(), client.Options{SessionTimeout: 20 * time.Second, OnEvent: func(e client.Event) {
		if e.State == client.StateExpired {
			once.Do(func() { close(expired) })
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer youngToo.Abandon()
	mustCreate(t, young, "/later", "")
	before, _, _ := treeOf(s)

	got, err := s.Restore(ctx, bytes.NewReader(b))
	if err != nil || got != at {
		t.Fatalf("restore: %#x, %v; want %#x", got, err, at)
	}
	zxid, digestNow, nodesNow := treeOf(s)
	if zxid <= before || digestNow != digest || nodesNow != nodes {
		t.Fatalf("after the restore: zxid %#x, digest %d, %d nodes; want above %#x, %d, %d", zxid, digestNow, nodesNow, before, digest, nodes)
	}
	select {
	case <-expired:
	case <-ctx.Done():
		t.Fatal("a session that the snapshot does not know is still there")
	}
	// The client of the old session comes back by itself, with its ephemeral.
	data, _, err := old.GetData(ctx, "/keep")
	for errors.Is(err, client.ErrConnectionLoss) {
		data, _, err = old.GetData(ctx, "/keep") // sent before the client knew that its connection was closed
	}
	if err != nil || string(data) != "one" {
		t.Fatalf("%q, %v", data, err)
	}
	if _, err := old.Exists(ctx, "/eph"); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exists(ctx, "/late"); !errors.Is(err, proto.ErrNoNode) {
		t.Fatalf("/late: %v", err)
	}
	mustCreate(t, old, "/after", "x")
	if n := s.figures.Summary("restore_time").Values().Count; n != 1 {
		t.Errorf("restore_time counts %d", n)
	}
	// The closing of the old session is a transaction, too.
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	zxid, digest, nodes = treeOf(s)
	stopServer(t, s)
	again := startServer(t, testOptions(t, dir))
	zxidAgain, digestAgain, nodesAgain := treeOf(again)
	if zxidAgain < zxid || digestAgain != digest || nodesAgain != nodes {
		t.Fatalf("after a restart: zxid %#x, digest %d, %d nodes; want %#x, %d, %d", zxidAgain, digestAgain, nodesAgain, zxid, digest, nodes)
	}
	if n := again.figures.Counter("digest_mismatches_count").Value(); n != 0 {
		t.Errorf("%d digest mismatches", n)
	}
}

// A snapshot of another server with higher zxids takes the server there.
func TestRestoreElsewhere(t *testing.T) {
	source := startServer(t, testOptions(t, t.TempDir()))
	c := dial(t, source)
	for i := range 30 {
		mustCreate(t, c, fmt.Sprintf("/n%d", i), "data")
	}
	b, at := takeSnapshot(t, source)
	_, digest, _ := treeOf(source)

	dir := t.TempDir()
	s := startServer(t, testOptions(t, dir))
	if _, err := s.Restore(testContext(t), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if zxid, got, _ := treeOf(s); zxid != at || got != digest {
		t.Fatalf("zxid %#x, digest %d; want %#x, %d", zxid, got, at, digest)
	}
	stopServer(t, s)
	again := startServer(t, testOptions(t, dir))
	if zxid, got, _ := treeOf(again); zxid < at || got != digest {
		t.Fatalf("after a restart: zxid %#x, digest %d; want %#x, %d", zxid, got, at, digest)
	}
	other := dial(t, again)
	mustCreate(t, other, "/more", "")
}

// What is no snapshot changes nothing.
func TestRestoreGarbage(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	c := dial(t, s)
	mustCreate(t, c, "/x", "y")
	b, _ := takeSnapshot(t, s)
	zxid, digest, _ := treeOf(s)
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 1
	var withoutZxid bytes.Buffer
	e, _, err := javadata.LoadStream(bytes.NewReader(b), "s", zxid, javadata.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := javadata.Export(e, &withoutZxid, javadata.ExportOptions{Parts: javadata.PartsNone}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"empty": nil, "text": []byte("garbage"), "cut": b[:len(b)-3], "flipped": flipped, "without zxid": withoutZxid.Bytes()} {
		if _, err := s.Restore(testContext(t), bytes.NewReader(body)); !errors.Is(err, ErrRestore) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, gotDigest, _ := treeOf(s); got != zxid || gotDigest != digest {
		t.Errorf("zxid %#x, digest %d; want %#x, %d", got, gotDigest, zxid, digest)
	}
	if n := s.figures.Counter("restore_error_count").Value(); n != 5 {
		t.Errorf("restore_error_count is %d", n)
	}
	if _, err := c.SetData(testContext(t), "/x", nil, -1); err != nil {
		t.Error(err)
	}
}

// Snapshots, restores and writers at once: nothing is lost that was written after the last restore, and the log agrees.
func TestRestoreUnderLoad(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir)
	o.SnapCount = 50 // images of their own all the time
	s := startServer(t, o)
	first := dial(t, s)
	mustCreate(t, first, "/base", "")
	b, _ := takeSnapshot(t, s)
	ctx, stop := context.WithCancel(testContext(t))
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c, err := client.Dial(ctx, s.Addr(0).String(), client.Options{SessionTimeout: 20 * time.Second})
				if err != nil {
					continue // the context has ended
				}
				for j := 0; ctx.Err() == nil && !c.State().Connected() || j < 50; j++ {
					if _, err := c.Create(ctx, fmt.Sprintf("/w%d-%d-%d", w, i, j), nil, openACL, client.Persistent); err != nil {
						break // the connection was closed by a restore, and the session expired
					}
				}
				c.Abandon()
			}
		})
	}
	for range 5 {
		if _, err := s.Restore(ctx, bytes.NewReader(b)); err != nil {
			t.Error(err)
		}
		takeSnapshot(t, s)
	}
	stop()
	writers.Wait()
	last := dial(t, s)
	mustCreate(t, last, "/last", "x")
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	_, digest, nodes := treeOf(s)
	stopServer(t, s)
	again := startServer(t, testOptions(t, dir))
	if _, gotDigest, gotNodes := treeOf(again); gotDigest != digest || gotNodes != nodes {
		t.Errorf("after a restart: digest %d, %d nodes; want %d, %d", gotDigest, gotNodes, digest, nodes)
	}
	if n := again.figures.Counter("digest_mismatches_count").Value(); n != 0 {
		t.Errorf("%d digest mismatches", n)
	}
	if _, err := os.Stat(o.LogDir); err != nil {
		t.Error(err)
	}
}

// Inspecting methods agree with what a client has done.
func TestInspect(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	ctx := testContext(t)
	c := dial(t, s)
	if _, err := c.Create(ctx, "/e", []byte("abc"), openACL, client.Ephemeral); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.GetDataW(ctx, "/e", client.WatchFunc(func(client.Event) {})); err != nil {
		t.Fatal(err)
	}
	id := c.Session().ID
	if got := s.Ephemerals(); len(got) != 1 || got[0].Session != id || len(got[0].Paths) != 1 || got[0].Paths[0] != "/e" {
		t.Errorf("ephemerals: %v", got)
	}
	if got := s.WatchesBySession(); len(got) != 1 || got[0].Session != id || len(got[0].Paths) != 1 || got[0].Paths[0] != "/e" {
		t.Errorf("watches: %v", got)
	}
	if got := s.WatchesByPath(); len(got) != 1 || got[0].Path != "/e" || len(got[0].Sessions) != 1 || got[0].Sessions[0] != id {
		t.Errorf("watches by path: %v", got)
	}
	buckets := s.ExpiryBuckets()
	if len(buckets) != 1 || len(buckets[0].Sessions) != 1 || buckets[0].Sessions[0] != id || buckets[0].ExpiresMs%200 != 0 {
		t.Errorf("buckets: %v", buckets)
	}
	if zxid, _, ok := s.LastSnapshot(); ok {
		t.Errorf("an image at %#x", zxid)
	}
	_, at := takeSnapshot(t, s)
	if zxid, ms, ok := s.LastSnapshot(); !ok || zxid != at || ms > time.Now().UnixMilli() || ms < time.Now().Add(-time.Minute).UnixMilli() {
		t.Errorf("image at %#x, %d, %v", zxid, ms, ok)
	}
	st := s.Stats()
	if st.Connections != 1 || st.Received < 3 || st.LastResponseBytes <= 0 || st.Mode != "standalone" || st.UptimeMs < 0 {
		t.Errorf("%+v", st)
	}
	if !s.MayAdminister(nil) {
		t.Error("the root is not open")
	}
	if _, err := c.SetACL(ctx, "/", []proto.ACL{{Perms: proto.PermAll &^ proto.PermDelete, Scheme: "world", ID: "anyone"}, {Perms: proto.PermDelete, Scheme: "ip", ID: "10.0.0.1"}}, -1); err != nil {
		t.Fatal(err)
	}
	if s.MayAdminister(nil) || !s.MayAdminister([]proto.Identity{{Scheme: "ip", ID: "10.0.0.1"}}) {
		t.Error("permissions from different entries do not add up")
	}
	if n := s.ShedConns(0); n != 0 {
		t.Errorf("%d shed", n)
	}
	if n := s.ShedConns(100); n != 1 {
		t.Errorf("%d shed, want 1", n)
	}
	_, err := c.Exists(ctx, "/e")
	for errors.Is(err, client.ErrConnectionLoss) {
		_, err = c.Exists(ctx, "/e") // sent before the client knew that its connection was closed
	}
	if err != nil {
		t.Errorf("the client does not come back: %v", err)
	}
}
