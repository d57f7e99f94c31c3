package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/snapshot"
	"zabra.dev/zabra/snapshot/javadata"
	"zabra.dev/zabra/wal"
)

// ErrRestore reports a snapshot that the server cannot take as its state.
var ErrRestore = errors.New("server: cannot restore")

// A SnapshotFile is the tree as it was at Zxid, as the bytes of a Java server's snapshot file. The file has
// no name any more: Close, or the end of the process, gives its space back.
type SnapshotFile struct {
	*os.File
	Zxid  proto.Zxid
	Bytes int64
}

// TakeSnapshot has the tree written to disk as it is now and returns it in Java's format, read from the
// start. Requests are served meanwhile: the image store is what is read, not the tree, so that it takes
// as much memory as the tree while the file is written. The caller closes the file.
// Source: operations, section 4.4; storage formats, section 3.
func (s *Server) TakeSnapshot(ctx context.Context) (*SnapshotFile, error) {
	f, err := s.takeSnapshot(ctx)
	if err != nil {
		s.figures.Counter("snapshot_error_count").Add(1)
		return nil, fmt.Errorf("server: take snapshot: %w", err)
	}
	return f, nil
}

func (s *Server) takeSnapshot(ctx context.Context) (_ *SnapshotFile, err error) {
	if err := s.awaitImage(ctx); err != nil {
		return nil, err
	}
	e, err := s.copyFromImage(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	file, err := os.CreateTemp(filepath.Dir(s.opts.DataDir), "snapshot-*.tmp")
	if err != nil {
		return nil, err
	}
	f := &SnapshotFile{File: file, Zxid: e.LastZxid()}
	if err = f.fill(e, javadata.ExportOptions{Compression: s.opts.SnapshotCompression, Parts: s.snapshotParts()}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// snapshotParts are those that a Java server with the same settings reads.
func (s *Server) snapshotParts() javadata.Parts {
	if s.opts.Engine.Digest {
		return javadata.PartsDigestAndZxid
	}
	return javadata.PartsZxid
}

// fill takes the name away from the file and writes the tree to it.
func (f *SnapshotFile) fill(e *engine.Engine, opts javadata.ExportOptions) error {
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	if err := javadata.Export(e, w, opts); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var err error
	if f.Bytes, err = f.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// awaitImage has an image taken of a state not older than the call, and waits until it is durable.
func (s *Server) awaitImage(ctx context.Context) error {
	select {
	case err := <-s.replica.ckpt.request(s.replica):
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return errStopped
	}
}

// copyFromImage builds a second tree from the newest image. The caller closes it.
func (s *Server) copyFromImage(ctx context.Context) (e *engine.Engine, err error) {
	reader, err := s.replica.ckpt.store.NewReader()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	l := engine.Load(s.opts.Engine)
	if err := reader.Scan(ctx, nil, nil, l.Put); err != nil {
		l.Close()
		return nil, err
	}
	return l.Finish()
}

// restoreAttempts is how often a restore waits for an image that another request or the log's length has
// started in the meantime.
const restoreAttempts = 10

// Restore replaces the tree by that of a snapshot in Java's format (plain, gzip or Snappy), read from r to
// its end, and returns the zxid of the snapshot. An image of the tree before is taken first. When it
// returns, the new tree is durable. An error that matches ErrRestore leaves the old tree in place.
//
// The server goes on behind the highest zxid that it ever gave out, not behind that of the snapshot: else
// the log would lead to another tree after a crash, and clients that have seen a later zxid would be
// refused for good. All client connections are closed, so that clients come back to the new tree with
// their watches; sessions that it does not know are expired. Writes wait while the new image is written.
// For a standalone server only. Source: operations, section 4.4.
func (s *Server) Restore(ctx context.Context, r io.Reader) (zxid proto.Zxid, err error) {
	began := time.Now()
	zxid, err = s.restore(ctx, r)
	if err != nil {
		s.figures.Counter("restore_error_count").Add(1)
		return 0, err
	}
	s.figures.Summary("restore_time").Add(time.Since(began).Milliseconds())
	s.log.Info(fmt.Sprintf("Restore taken in %d ms", time.Since(began).Milliseconds()))
	return zxid, nil
}

func (s *Server) restore(ctx context.Context, r io.Reader) (zxid proto.Zxid, err error) {
	s.logTree("Before restore database.")
	e, zxid, err := s.readSnapshot(r)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrRestore, err)
	}
	s.log.Info(fmt.Sprintf("Restored to a new database. lastProcessedZxid=%d, nodeCount=%d, sessionCount=%d", zxid, e.NodeCount()+1, e.SessionCount()))
	for range restoreAttempts {
		if err = s.awaitImage(ctx); err != nil {
			break
		}
		done := make(chan error, 1)
		s.replica.post(func(r *replica) { done <- r.restore(e) })
		select {
		case err = <-done:
		case <-s.ctx.Done():
			// The replica has stopped, or will; it may or may not have taken e.
			return 0, errStopped
		}
		if !errors.Is(err, snapshot.ErrBusy) {
			break
		}
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("%w: %w", ErrRestore, err), e.Close())
	}
	s.logTree("After restore database.")
	return zxid, nil
}

func (s *Server) logTree(when string) {
	l := s.loops[0]
	l.gate.Lock()
	zxid, nodes, sessions := s.engine.LastZxid(), s.engine.NodeCount()+1, s.engine.SessionCount()
	l.gate.Unlock()
	s.log.Info(fmt.Sprintf("%s lastProcessedZxid=%d, nodeCount=%d, sessionCount=%d", when, zxid, nodes, sessions))
}

// readSnapshot builds the tree of a snapshot.
func (s *Server) readSnapshot(r io.Reader) (*engine.Engine, proto.Zxid, error) {
	const name = "snapshot"
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	plain, err := javadata.Decompress(b, sniffCompression(head))
	if err != nil {
		return nil, 0, err
	}
	opts := javadata.LoadOptions{Options: javadata.Options{JuteMaxBufferBytes: s.opts.FrameMaxBytes}, Engine: s.opts.Engine}
	e, trailer, err := javadata.LoadStream(plain, name, 0, opts)
	if err != nil {
		return nil, 0, err
	}
	if !trailer.HasLastZxid {
		return nil, 0, errors.Join(errors.New("the snapshot does not say its last zxid; the server that took it needs serializeLastProcessedZxid.enabled=true"), e.Close())
	}
	if trailer.HasDigest && s.opts.Engine.Digest && trailer.DigestZxid != 0 && trailer.Digest != e.Digest() {
		s.log.Warn("The snapshot was taken while transactions went on, and its log is not at hand: the tree is one that no client has seen")
	}
	e.SetLastZxid(trailer.LastZxid)
	return e, trailer.LastZxid, nil
}

// sniffCompression tells the compression of a snapshot from its first bytes.
func sniffCompression(head []byte) javadata.Compression {
	switch {
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		return javadata.CompressionGzip
	case len(head) >= 8 && string(head[1:7]) == "SNAPPY":
		return javadata.CompressionSnappy
	}
	return javadata.CompressionNone
}

// restore makes e the tree, durably, and closes the old one. With an error the old one stays and e
// is still the caller's; snapshot.ErrBusy means that an image is being taken.
func (r *replica) restore(e *engine.Engine) error {
	s := r.srv
	if r.ckpt.running {
		return snapshot.ErrBusy
	}
	if r.ens != nil {
		// The other members would go on with another tree under the same zxids.
		return errors.New("this server is a member of an ensemble; stop all members, import the snapshot on each (zabra import) and start them")
	}
	if r.refusing {
		return errors.New("the disk of the log is full")
	}
	// What has been prepared belongs to the old tree.
	if err := r.wal.Sync(); err != nil {
		return err
	}
	r.applyCommitted()
	if n := r.pending.len(); n > 0 {
		panic(fmt.Sprintf("server: %d transactions outstanding after a sync", n))
	}
	zxid := max(e.LastZxid(), r.lastZxid+1)
	e.SetLastZxid(zxid)
	if err := r.ckpt.replace(s, e); err != nil {
		return err
	}
	// From here on a restart comes up with the new tree, since the log has nothing behind it. Emptying the log keeps
	// it from being taken for the history of an older, retained image.
	if err := r.wal.Reset(zxid); errors.Is(err, wal.ErrNoSpace) {
		s.log.Error("The log keeps transactions from before the restore for want of space; it will not replay them", "err", err)
	} else if err != nil {
		s.fatal(err)
	}
	s.lockGates()
	old := s.engine
	s.engine, r.engine = e, e
	r.lastZxid = zxid
	r.durableZxid.Store(zxid)
	s.digestLog = nil
	s.eachConn(func(c *clientConn) {
		if c.state != connNew {
			c.state = connClosing // it is answered nothing more of what it sent to the old tree
		}
		c.np.Close()
	})
	s.unlockGates()
	r.prep.SetTree(e)
	r.prep.Reset(zxid)
	nowMs := s.nowMs()
	nextID := r.sessions.nextID
	*r.sessions = *newSessionTracker(s.opts.TickMs, nowMs, s.opts.ServerID, s.wallMs())
	r.sessions.nextID = max(nextID, r.sessions.nextID)
	r.internal = r.internal[:0]
	r.reaper = newReaper(s.opts, nowMs)
	r.takeUpSessions(nowMs)
	if err := old.Close(); err != nil {
		s.log.Error("Giving the memory of the old tree back failed", "err", err)
	}
	return nil
}

// replace makes an image of the whole of e the current one. It runs on the replica's goroutine while no
// other image is being taken.
func (k *checkpointer) replace(s *Server, e *engine.Engine) (err error) {
	c, err := e.StartCheckpoint()
	if err != nil {
		return err
	}
	w, err := k.store.NewReplacement(c.Zxid())
	if err != nil {
		c.Abort()
		return err
	}
	for done := false; !done; {
		if done, err = c.Next(portionOffline, w.Put); err != nil {
			c.Abort()
			return errors.Join(err, w.Abort())
		}
	}
	meta := snapshot.Meta{Zxid: c.Zxid(), Digest: c.Digest(), Records: w.Stats().Records, TakenAtMs: s.wallMs(), App: []byte(imageBeginsLog)}
	if err := w.Commit(meta); err != nil {
		c.Abort()
		return errors.Join(err, w.Abort())
	}
	c.Finish()
	k.trigger.Reset()
	return nil
}

// putAside makes an image of e the current one and keeps it from all that removes images. It runs on the replica's
// goroutine while no other image is being taken, and returns the folder.
func (k *checkpointer) putAside(s *Server, e *engine.Engine) (dir string, err error) {
	c, err := e.StartCheckpoint()
	if err != nil {
		return "", err
	}
	w, err := k.store.NewCheckpoint(c.Zxid())
	if err != nil {
		c.Abort()
		return "", err
	}
	for done := false; !done; {
		if done, err = c.Next(portionOffline, w.Put); err != nil {
			c.Abort()
			return "", errors.Join(err, w.Abort())
		}
	}
	if err := w.Commit(snapshot.Meta{Zxid: c.Zxid(), Digest: c.Digest(), Records: -1, TakenAtMs: s.wallMs()}); err != nil {
		c.Abort()
		return "", errors.Join(err, w.Abort())
	}
	c.Finish()
	return k.store.PutAside()
}

// takeUpSessions tracks the sessions of the tree, each with its whole timeout ahead.
func (r *replica) takeUpSessions(nowMs int64) {
	r.engine.EachSession(func(id proto.SessionID, timeoutMs int32) {
		r.sessions.add(id, timeoutMs, nil, nowMs).durable = true
	})
	// Ephemerals whose session is not in the table can only come from damaged or imported data
	// (storage formats, section 5); closing the session takes them away.
	r.engine.EachEphemeralSession(func(id proto.SessionID, _ int) bool {
		if _, ok := r.engine.Session(id); !ok {
			r.internal = append(r.internal, internalRequest{op: proto.OpCloseSession, session: id})
		}
		return true
	})
}
