package server

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/quorum"
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
	floor, err := h.e.r.wal.Floor(peer)
	if err != nil {
		h.failed(err)
		return 0, false
	}
	return floor, true
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
