package wal

import "time"

// Stats count what a log did since Open.
type Stats struct {
	Batches, Records int64 // durable ones
	Bytes            int64 // of records with their headers and padding, durable ones
	Groups           int64 // writes, each followed by a sync unless NoSync

	Syncs     int64 // of segment files for records; not those for the files themselves
	SyncTotal time.Duration
	SyncLast  time.Duration
	SyncMax   time.Duration
	SlowSyncs int64 // those that took Options.SlowSync or more

	QueuedBytes int64 // appended and not yet released
	Segments    int   // files that hold the log
	Spares      int   // files ready to become segments
	DiskBytes   int64 // size of both kinds of files
	Recycled    int64 // segments that became spares
}

// Stats gives a copy of the counters. It never blocks on I/O and may be called from
// any goroutine.
func (w *WAL) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.QueuedBytes = w.QueuedBytes()
	s.Segments = len(w.segments)
	s.Spares = len(w.spares)
	for _, seg := range w.segments {
		s.DiskBytes += seg.bytes
	}
	s.DiskBytes += int64(len(w.spares)) * w.opts.SegmentBytes
	return s
}

// State says whether a log takes records.
type State uint8

const (
	// StateReady: all is well.
	StateReady State = iota
	// StateLowSpace: the disk is full, so there is no spare segment. Records are
	// written as long as the current segment has room. A server should refuse
	// new writes now.
	StateLowSpace
	// StateNoSpace: the current segment is full too. What is appended stays queued,
	// and is lost only if the process ends. Retry, the next Append and TruncatePrefix
	// try again.
	StateNoSpace
	// StateFailed: a write or a sync failed. Final.
	StateFailed
	// StateClosed: Close was called.
	StateClosed
)

func (s State) String() string {
	return [...]string{"ready", "low on space", "no space", "failed", "closed"}[s]
}

// State returns the log's state. It may be called from any goroutine.
func (w *WAL) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}
