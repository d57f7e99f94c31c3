package snapshot

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Kinds of errors, to be told by errors.Is.
var (
	// ErrCorrupt: bytes on disk are not what was written. The image cannot be trusted: take a new one from
	// the state in memory (NewReplacement) or from another server.
	ErrCorrupt = errors.New("snapshot: corrupt image")
	// ErrFailed: pebble met an error after which it cannot say what is on disk (a manifest write or sync).
	// The store refuses everything from then on; the process has to end, and the next Open finds either
	// the image before the failed step or the one after it.
	ErrFailed = errors.New("snapshot: store failed")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("snapshot: store closed")
	// ErrBusy: a checkpoint or a retained image is being written already.
	ErrBusy = errors.New("snapshot: busy")
	// ErrKeyOrder: a key is not above the one before it.
	ErrKeyOrder = errors.New("snapshot: keys out of order")
	// ErrZxidOrder: the checkpoint is older than the image it would go on top of.
	ErrZxidOrder = errors.New("snapshot: zxid goes backwards")
	// ErrNoImage: there is no image yet.
	ErrNoImage = errors.New("snapshot: no image")
	// ErrLocked: another process has the image open.
	ErrLocked = errors.New("snapshot: in use by another process")
	// ErrNotRetained: there is no retained image of that zxid.
	ErrNotRetained = errors.New("snapshot: no retained image of this zxid")
)

// wrap adds what was being done, and ErrCorrupt if pebble calls the error a corruption.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if !errors.Is(err, ErrCorrupt) && pebble.IsCorruptionError(err) {
		return fmt.Errorf("snapshot: %s: %w: %w", what, ErrCorrupt, err)
	}
	return fmt.Errorf("snapshot: %s: %w", what, err)
}
