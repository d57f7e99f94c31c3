package server

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/snapshot"
)

// checkpointer takes images of the tree while the replica goes on. The replica starts one by
// freezing the set of changed nodes; a goroutine of its own then reads those nodes in small
// portions, each under the checkpoint's gate, writes them to the image store, and reports back.
type checkpointer struct {
	store   *snapshot.Store
	trigger *snapshot.Trigger

	// gate gives the checkpoint goroutine the right to read the tree, like the gate of a loop.
	gate sync.Mutex
	wg   sync.WaitGroup

	// What follows belongs to the replica goroutine.
	running bool
	// life tells the reports of images of the tree at hand from those of trees that are gone.
	life    uint64
	stop    atomic.Bool // asks the goroutine to end; any goroutine may read it
	current *engine.Checkpoint
	lastMs  int64          // when the last image was begun, in server.nowMs time
	waiters []chan<- error // for the next image to be durable
	wanted  bool           // an image is wanted whatever the trigger says
}

// portionNodes is how many nodes are read under one hold of the gate: a few tens of microseconds.
const portionNodes = 128

// maybeStart begins an image when enough has been logged since the last, or one is asked for.
func (k *checkpointer) maybeStart(r *replica) {
	if k.running || !r.stable() {
		return
	}
	nowMs := r.srv.nowMs()
	// Replaying is fast: at a high rate of writes an image each snapCount transactions would only wear
	// the disk, so there is a least time between two.
	due := k.trigger.Due() && nowMs-k.lastMs >= r.srv.opts.CheckpointIntervalMin.Milliseconds()
	if !due && !k.wanted {
		return
	}
	k.lastMs = nowMs
	k.trigger.Reset()
	k.wanted = false
	r.srv.lockGates()
	c, err := r.engine.StartCheckpoint()
	r.srv.unlockGates()
	if err != nil {
		panic("server: " + err.Error())
	}
	k.running, k.current = true, c
	k.stop.Store(false)
	waiters, life := k.waiters, k.life
	k.waiters = nil
	k.wg.Go(func() {
		err := k.take(r.srv, c)
		r.post(func(r *replica) {
			if life == k.life {
				k.finished(r, c, err)
			}
			for _, w := range waiters {
				w <- err
			}
		})
	})
}

// abandon ends the image that is being taken, because its tree is about to go.
func (k *checkpointer) abandon() {
	k.stop.Store(true)
	k.wg.Wait()
	k.life++
	if k.running {
		k.current.Abort()
		k.running, k.current = false, nil
	}
}

// take writes the image of c. It runs on the checkpoint's goroutine.
func (k *checkpointer) take(s *Server, c *engine.Checkpoint) error {
	began := time.Now()
	s.log.Info(fmt.Sprintf("Snapshotting: 0x%x to %s", c.Zxid(), s.opts.DataDir))
	w, err := k.store.NewCheckpoint(c.Zxid())
	if err != nil {
		return err
	}
	for done := false; !done; {
		if s.ctx.Err() != nil || k.stop.Load() {
			return errors.Join(errStopped, w.Abort())
		}
		k.gate.Lock()
		done, err = c.Next(portionNodes, w.Put)
		k.gate.Unlock()
		if err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if err := w.Commit(snapshot.Meta{Zxid: c.Zxid(), Digest: c.Digest(), Records: -1, TakenAtMs: s.wallMs()}); err != nil {
		return err
	}
	if err := k.retain(s); err != nil {
		return err
	}
	took := time.Since(began)
	s.figures.Summary("snapshottime").Add(took.Milliseconds())
	s.figures.Counter("snap_count").Add(1)
	s.log.Info(fmt.Sprintf("Snapshot taken in %d ms", took.Milliseconds()))
	return nil
}

var errStopped = errors.New("server: stopped")

// finished takes note of an image that is durable, or has failed: then all that it held counts as
// changed again, and the next trigger tries anew.
func (k *checkpointer) finished(r *replica, c *engine.Checkpoint, err error) {
	r.srv.lockGates()
	if err == nil {
		c.Finish()
	} else {
		c.Abort()
	}
	r.srv.unlockGates()
	k.running, k.current = false, nil
	if err != nil {
		if !errors.Is(err, errStopped) {
			r.srv.figures.Counter("snapshot_error_count").Add(1)
			r.srv.log.Error("Taking a snapshot failed; the log keeps everything and the next one is tried later", "err", err)
		}
		return
	}
	if err := k.trimLog(r, c.Zxid()); err != nil {
		r.srv.log.Error("Trimming the log behind the snapshot failed", "err", err)
	}
}

// retain keeps the image as a backup and drops the oldest beyond the count to keep. It runs on the
// checkpoint's goroutine.
func (k *checkpointer) retain(s *Server) error {
	if _, err := k.store.Retain(); err != nil {
		return err
	}
	removed, err := k.store.Purge(s.opts.SnapRetainCount)
	for _, zxid := range removed {
		s.log.Info(fmt.Sprintf("Removing retained snapshot 0x%x", zxid))
	}
	return err
}

// trimLog drops the part of the log that neither the image at zxid nor a retained one needs.
func (k *checkpointer) trimLog(r *replica, zxid proto.Zxid) error {
	list, err := k.store.ListRetained()
	if err != nil {
		return err
	}
	var zxids []int64
	for _, kept := range list {
		zxids = append(zxids, kept.Zxid)
	}
	r.wal.TruncatePrefix(snapshot.LogNeededAfter(zxid, zxids))
	return nil
}

// request asks for an image as soon as can be and returns the channel that tells its end.
func (k *checkpointer) request(r *replica) <-chan error {
	done := make(chan error, 1)
	r.post(func(*replica) {
		k.waiters = append(k.waiters, done)
		k.wanted = true
	})
	return done
}
