package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"zabra.dev/zabra/wal/walfs"
)

var (
	// ErrCorrupt is the kind of every *CorruptError.
	ErrCorrupt = errors.New("wal: corrupt log")
	// ErrVersion is in the error for a segment of a format that this program does not
	// know: it was written by a later one, and is no less good for that.
	ErrVersion = errors.New("wal: unknown format version")
	// ErrLocked is returned by Open when another process, or another WAL of this
	// one, has the directory.
	ErrLocked = errors.New("wal: directory is in use by another server")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("wal: closed")
	// ErrFailed is in every error that an Append returns after a write or a sync
	// failed, together with the cause. It is final.
	ErrFailed = errors.New("wal: failed")
	// ErrNoSpace is in the errors of operations that need a new segment while the
	// disk is full. It goes away when there is space.
	ErrNoSpace = errors.New("wal: no space for a new segment")
	// ErrQueueFull is returned by Append when Options.MaxQueuedBytes would be
	// exceeded.
	ErrQueueFull = errors.New("wal: queue is full")
	// ErrZxidOrder is returned by Append for a zxid that is not above the one before.
	ErrZxidOrder = errors.New("wal: zxid does not increase")
	// ErrCompacted is returned when records are asked for that lie before the start
	// of the log.
	ErrCompacted = errors.New("wal: log begins later")
	// ErrStale is returned by a Reader after TruncateSuffix or Reset changed the log
	// it was reading.
	ErrStale = errors.New("wal: log was cut under the reader")
)

// CorruptError says where a log is damaged in a way that no crash explains. It
// matches ErrCorrupt. Whoever returns it has changed nothing on disk.
type CorruptError struct {
	Segment string // file name without directory
	Offset  int64  // of the first record that is damaged, or 0 for the header
	Reason  string
	// Want is the checksum that was stored, Got the one that the bytes have; both 0
	// when the damage is no matter of checksums.
	Want, Got uint64
	// LastGood is the newest zxid before the damage.
	LastGood int64
	// FirstGoodAfter is the first zxid found intact behind the damage; 0 if none was
	// found.
	FirstGoodAfter int64
}

func (e *CorruptError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "wal: segment %s: %s at offset %d", e.Segment, e.Reason, e.Offset)
	if e.Want != e.Got {
		fmt.Fprintf(&s, ": want 0x%016x, got 0x%016x", e.Want, e.Got)
	}
	fmt.Fprintf(&s, "; last good zxid 0x%x", e.LastGood)
	if e.FirstGoodAfter != 0 {
		fmt.Fprintf(&s, ", next good zxid 0x%x", e.FirstGoodAfter)
	}
	return s.String()
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// segmentError says which segment an operation failed on. The path in err, the one
// that the file had when it was opened, is left out: it was a spare then.
func segmentError(name, what string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("wal: segment %s: %s: %w", name, what, err)
}

// noSpace adds ErrNoSpace to an error that says that the disk is full, and leaves
// others alone.
func noSpace(err error) error {
	if walfs.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
