package server

import (
	"errors"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// A member whose disk is full cannot log what it would have to: it neither leads nor looks for a leader until it
// can, and then goes on by itself. A leader lets another lead as soon as its log is short of space. A learner stays
// with its leader, which does without it, for as long as that keeps it and the log's queue has room.

// spaceWait is how long a member without space waits before it tries again.
const spaceWait = time.Second

// errDiskFull is why a member resigns that has no space for its log.
var errDiskFull = errors.New("server: the disk of the log is full")

// isNoSpace tells whether err passes when there is space on the disk.
func isNoSpace(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, wal.ErrNoSpace) || walfs.IsNoSpace(err)
}

// heedSpace resigns what cannot go on without space.
func (e *ensemble) heedSpace() {
	r := e.r
	if !r.refusing || e.leader == nil && (e.learner == nil || r.wal.QueuedBytes() < maxLogBacklogBytes) {
		return
	}
	e.step(zab.Input{Kind: zab.InResign, Err: errDiskFull})
	e.endTurn()
}

// settle makes log and tree one history, and goes on if the log can take what a leader sends: under the next leader, if
// there is one designated, and else to look for one.
func (e *ensemble) settle(reason error, next quorum.ServerID) {
	r, s := e.r, e.r.srv
	e.state = quorum.Looking
	e.lookedMs = s.nowMs()
	err := e.emptyLog()
	if err == nil {
		err = r.wal.Sync()
	}
	switch {
	case isNoSpace(err):
		e.waitForSpace()
		return
	case err != nil:
		s.fatal(err)
		return
	}
	e.committed = max(e.committed, r.wal.LastZxid())
	r.applyCommitted()
	e.durable = r.wal.DurableZxid()
	if r.lookAtLog(); r.refusing || isNoSpace(reason) {
		e.waitForSpace()
		return
	}
	if next != quorum.NoServer {
		e.succeed(next)
		return
	}
	e.look()
}

func (e *ensemble) waitForSpace() {
	s := e.r.srv
	if e.downMs == 0 {
		e.downMs = s.nowMs()
	}
	e.spaceAtMs = s.nowMs() + spaceWait.Milliseconds()
}

// waitsForSpace tells whether this server would look for a leader if it had space.
func (e *ensemble) waitsForSpace() bool { return e.spaceAtMs != 0 }

// spaceAt is when to try again.
func (e *ensemble) spaceAt() time.Duration {
	if !e.waitsForSpace() {
		return never
	}
	return time.Duration(e.spaceAtMs) * time.Millisecond
}

// trySpace tries again.
func (e *ensemble) trySpace() {
	e.spaceAtMs = 0
	if e.r.refusing {
		e.r.wal.Retry()
	}
	looked := e.lookedMs
	e.settle(nil, quorum.NoServer)
	if e.waitsForSpace() {
		e.lookedMs = looked // it goes on
	}
}

// emptyLog lets the log begin anew behind an image of the leader's tree, if that could not be done when the image
// was taken.
func (e *ensemble) emptyLog() error {
	if e.beginLogAt == 0 {
		return nil
	}
	if err := e.r.wal.Reset(e.beginLogAt); err != nil {
		return err
	}
	if _, err := e.r.ckpt.store.Purge(0); err != nil {
		return err
	}
	e.beginLogAt = 0
	e.history.fill(e.window, e.opts.CommitLogCount)
	return nil
}
