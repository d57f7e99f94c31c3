package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
)

// history is the zab.History of the log. It belongs to the replica goroutine.
type history struct {
	e *ensemble
	// unreadable: a read of the log for a learner has failed, and would fail again: learners that need what
	// is on disk get a snapshot from now on. A log that begins anew is good again.
	unreadable bool
}

// Floor implements zab.History. Proposals of the log were all written here since the last SNAP, whose end begins
// the log anew, so that no abandoned history is in it (quorum protocol, section 4.6).
func (h *history) Floor(peer quorum.Zxid) (quorum.Zxid, bool) {
	if h.unreadable || h.e.opts.SnapSizeFactor < 0 {
		return 0, false
	}
	floor, behindBytes, err := h.e.r.wal.Floor(peer)
	if err != nil {
		h.failed(err)
		return 0, false
	}
	if limit := h.limitBytes(); limit > 0 && behindBytes > limit {
		h.e.r.srv.log.Info(fmt.Sprintf("The log behind 0x%x has %d bytes, more than %d, a snapshot is sent instead", floor, behindBytes, limit))
		return 0, false
	}
	return floor, true
}

// Proposal implements zab.History.
func (h *history) Proposal(z quorum.Zxid) ([]byte, bool) {
	if h.unreadable {
		return nil, false
	}
	floor, _, err := h.e.r.wal.Floor(z)
	if err != nil {
		h.failed(err)
		return nil, false
	}
	return h.logged(floor)
}

// logged returns the proposal with zxid z out of the log on disk, if it has it.
func (h *history) logged(z quorum.Zxid) ([]byte, bool) {
	if h.unreadable || z <= h.e.r.wal.BaseZxid() || z > h.e.r.wal.DurableZxid() {
		return nil, false
	}
	r, err := h.e.r.wal.NewReader(z)
	if err != nil {
		h.failed(err)
		return nil, false
	}
	got, packet, err := r.Next()
	packet = bytes.Clone(packet)
	if err != nil && !errors.Is(err, io.EOF) {
		h.failed(err)
	}
	if err := r.Close(); err != nil {
		h.failed(err)
	}
	return packet, err == nil && got == z
}

// nodeOverheadBytes is what a znode takes in a snapshot besides its path and data: lengths, ACL and stat.
const nodeOverheadBytes = 4 + 4 + 8 + 60

// limitBytes is how much of the log is sent rather than a snapshot, snapshotSizeFactor times the size that the
// snapshot would have; 0: any length. Unlike in Java it is told by what is in the log, not by the space that its files
// have reserved.
func (h *history) limitBytes() int64 {
	t := h.e.r.engine
	return int64(h.e.opts.SnapSizeFactor * float64(t.DataBytes()+int64(t.NodeCount())*nodeOverheadBytes))
}

// fill puts the end of the log into the window, as Java keeps what it replays: who missed only that much is served from
// memory. It ends the window's history at the newest record whether it can be read or not.
func (h *history) fill(w *zab.Window, count int) {
	log := h.e.r.wal
	last := log.LastZxid()
	from := max(last-int64(max(count, zab.DefaultCommitLogCount)), quorum.EpochStart(quorum.EpochOf(last)), log.BaseZxid())
	w.Reset(from)
	err := log.Replay(from+1, func(zxid int64, packet []byte) error {
		w.Append(zxid, bytes.Clone(packet), nil)
		return nil
	})
	if err != nil {
		h.failed(err)
	}
	if err != nil || w.Last() != last {
		w.Reset(last)
	}
}

// failed notes an error of a read of the log, unless it tells that the log has moved on, which Floor sees by itself.
func (h *history) failed(err error) {
	if h.unreadable || errors.Is(err, wal.ErrCompacted) || errors.Is(err, wal.ErrStale) || errors.Is(err, wal.ErrClosed) {
		return
	}
	h.unreadable = true
	h.e.r.srv.log.Error("The log cannot be read back; learners get snapshots instead of it from now on", "err", err)
}

// A logError is what went wrong with the log, not with the link, while it was sent to a learner.
type logError struct{ err error }

func (e *logError) Error() string { return fmt.Sprintf("server: read log for a learner: %v", e.err) }
func (e *logError) Unwrap() error { return e.err }
