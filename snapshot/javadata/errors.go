package javadata

import (
	"errors"
	"fmt"
)

// Kinds of errors, to be told by errors.Is. What is wrong with the bytes of a file comes as a *FileError
// that wraps one of the first four.
var (
	// ErrFormat: the file is not what its name says, or has a field that cannot be.
	ErrFormat = errors.New("javadata: bad format")
	// ErrChecksum: a seal or a record's checksum does not match.
	ErrChecksum = errors.New("javadata: checksum does not match")
	// ErrCut: the file ends where it must not.
	ErrCut = errors.New("javadata: file is cut off")
	// ErrLength: a length is negative or above the limit (Options.JuteMaxBufferBytes).
	ErrLength = errors.New("javadata: unreasonable length")

	// ErrNoValidSnapshot: there are snapshots, and none is sound (section 6.1, step 3).
	ErrNoValidSnapshot = errors.New("javadata: not able to find valid snapshots")
	// ErrSnapshotMissing: there are transactions but no snapshot (section 6.1, step 4). Java says the same.
	ErrSnapshotMissing = errors.New("javadata: no snapshot found, but there are log entries")
	// ErrHole: transactions are missing between the snapshot and the end of the log.
	ErrHole = errors.New("javadata: transactions are missing in the log")
	// ErrDigest: after falling back to an older snapshot the tree is not the one that Java had.
	ErrDigest = errors.New("javadata: tree digest does not match")
)

// A FileError tells where in a file something is wrong.
type FileError struct {
	File   string
	Offset int64  // in the uncompressed stream for compressed snapshots
	Field  string // what was being read there
	Err    error
}

// Error implements error.
func (e *FileError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s: %v", e.File, e.Offset, e.Field, e.Err)
}

// Unwrap implements the convention of package errors.
func (e *FileError) Unwrap() error { return e.Err }
