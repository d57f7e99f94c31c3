package wal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"
)

// Prealloc says how segment files are made before records are written to them.
type Prealloc uint8

const (
	// PreallocZero reserves the space and, ahead of need, writes zeroes all over it.
	// Syncing an append then changes no metadata, which is the fastest.
	PreallocZero Prealloc = iota
	// PreallocReserve only reserves the space: cheap to make, slower to sync.
	PreallocReserve
	// PreallocNone lets files grow as records come.
	PreallocNone
)

// Limits on options, and their defaults.
const (
	DefaultSegmentBytes   = 64 << 20
	DefaultSpareSegments  = 2
	DefaultMaxGroupBytes  = 8 << 20
	DefaultMaxQueuedBytes = 64 << 20

	// MinSegmentBytes has room for a header and a small record.
	MinSegmentBytes = dataStart + pageBytes
	// MaxSegmentBytes is where a segment stops being a unit of recovery.
	MaxSegmentBytes = 4 << 30
)

// Options tune a log. Nothing here is fixed once data exists: each Open may choose
// anew. The zero value means the defaults.
type Options struct {
	// SegmentBytes is the size of a segment file, rounded up to MinSegmentBytes and to
	// a page, at most MaxSegmentBytes. A record that does not fit gets a segment of its
	// own size. zoo.cfg: preAllocSize (KiB), where 0 or less means PreallocNone.
	SegmentBytes int64
	Preallocate  Prealloc
	// SpareSegments is how many files are kept ready for use at most; at least 1.
	// One is always made ahead of need, the others are old segments.
	SpareSegments int
	// MaxGroupBytes bounds what is written before a sync, so the time a sync takes.
	// A single record may exceed it.
	MaxGroupBytes int64
	// MaxQueuedBytes is the hard bound of the queue, see Append.
	MaxQueuedBytes int64
	// NoSync leaves out the sync after each group: OnDurable then only means that
	// the process may die, not the machine. zoo.cfg: forceSync=no.
	NoSync bool
	// Manual starts no goroutines: everything happens in Step, and in the methods
	// that say so, on the caller's goroutine, in an order that depends on the calls
	// alone. All methods must then be called from one goroutine. For simulation.
	Manual bool

	// OnDurable says that all records up to zxid are durable. It is called after
	// each sync, with increasing zxids, on the log's goroutine: it must not block nor
	// call into the log, except for Append and the methods that only look.
	OnDurable func(zxid int64)
	// OnError says that the log failed for good. It is called once, on a goroutine
	// of the log or one that called it; it must not block nor call into the log.
	OnError func(err error)
	// OnState reports changes of State, with the error that caused them, if any. It
	// is called like OnError.
	OnState func(s State, err error)
	// SlowSync and OnSlowSync report syncs that took at least that long (0: never),
	// with the size of the segment's file. zoo.cfg: fsync.warningthresholdms.
	SlowSync   time.Duration
	OnSlowSync func(took time.Duration, segmentBytes int64)
	// Logf takes a line of what an operator may want to know; nil for none.
	Logf func(format string, args ...any)

	// Now is the clock that sync times are taken from; time.Now if nil.
	Now func() time.Time
	// Salt gives a random number for each segment; from crypto/rand if nil.
	Salt func() uint64
}

// withDefaults fills in what is zero, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < 0 || o.SegmentBytes > MaxSegmentBytes {
		return o, fmt.Errorf("wal: segment size of %d bytes is not within 0 and %d", o.SegmentBytes, int64(MaxSegmentBytes))
	}
	o.SegmentBytes = roundUp(max(o.SegmentBytes, MinSegmentBytes), pageBytes)
	if o.SpareSegments <= 0 {
		o.SpareSegments = DefaultSpareSegments
	}
	if o.MaxGroupBytes <= 0 {
		o.MaxGroupBytes = DefaultMaxGroupBytes
	}
	if o.MaxQueuedBytes <= 0 {
		o.MaxQueuedBytes = DefaultMaxQueuedBytes
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Salt == nil {
		o.Salt = randomSalt
	}
	return o, nil
}

func randomSalt() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: it ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
