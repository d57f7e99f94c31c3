// Package wal is a write-ahead log: records named by zxid, appended in groups that
// share one write and one sync, found again after a crash, or reported as damaged.
// It knows nothing of ZooKeeper but that zxids increase. README.md next to this file
// argues case by case why a crash loses nothing.
//
// # Use
//
//	w, err := wal.Open(walfs.OS{}, dir, wal.Options{OnDurable: func(zxid int64) { … }})
//	err = w.Replay(snapshotZxid+1, func(zxid int64, payload []byte) error { … })
//	b.BeginRecord()                     // b is a *wal.Batch, from a pool
//	b.Buf = appendProposal(b.Buf, …)    // the payload, encoded into place
//	b.EndRecord(zxid)
//	err = w.Append(b)                   // b.Release gives it back
//	w.TruncatePrefix(snapshotZxid)
//	err = w.Close()
//
// # Who does what
//
// One goroutine, the owner of the history, calls Append, TruncateSuffix, Reset and
// Sync. Append only queues. The log's writer goroutine takes all that is queued,
// fills in the record headers in the room that the builder left in the batch, gathers
// everything in whole pages, and writes those past the page cache, where the file
// system can, followed by one fdatasync: a group. What is appended meanwhile is the next group. After the sync it calls OnDurable, then gives
// the batches back. A second goroutine, the tidier, readies segment files and removes
// old ones. Both are started by Open and have ended when Close returns.
//
// With Options.Manual there is no goroutine and all of that happens in Step, in an
// order that depends on nothing but the calls: for simulation.
//
// # On disk
//
//	dir/
//	  LOCK                    held while the log is open
//	  0000000000000007.wal    a segment; the number is its sequence number
//	  0000000000000008.wal    the newest segment: records are written here
//	  spare-0000000000000004  zeroes, ready to become a segment
//	  used-0000000000000005   an old segment, ready to become one again
//	  tmp-0000000000000006    being made; removed at the next start
//	  0000000000000002.bad    put aside by OpenEmpty
//
// segment.go draws a segment, record.go a record. A record never spans segments. Every
// segment's header names the place where the log before it ends, so the newest
// segment is the log: what it does not lead back to is void. That makes cutting the
// log (TruncateSuffix, Reset) one atomic step: a new segment that continues from
// an earlier place.
//
// Records are not chained to each other by their checksums, but each is bound to its
// segment (whose seed comes from a random salt) and offset. So a record behind
// a damaged one can still be recognised, which is what tells a torn write from
// corruption; and no record of another segment, or of an earlier life of the same
// file, can be taken for one.
//
// # Promises
//
//   - A record is reported to OnDurable only after a sync that covers it succeeded,
//     and is found by every later Open, unless Truncate or Reset removed it.
//   - What Open finds is a prefix of what was appended, with all that was durable.
//   - A payload is delivered as it was appended, or not at all. Damage is
//     a *CorruptError, except where it looks exactly like a write that a crash
//     interrupted: in the newest group of a log that was not closed and not opened since.
//   - A failed write or sync is final: the log refuses everything from then on.
//   - A full disk is not: what is durable stays, what is queued waits for space.
//
// With NoSync the machine must not crash for these to hold, though a crash still
// leaves a prefix.
//
// # Errors
//
// Final, with ErrFailed: an error of writing records other than no space, of any
// sync, of renaming or removing segments. Passing, with ErrNoSpace: no space for
// making, or beginning, a segment; and no space for writing records, which only
// a file system that does not overwrite in place, or PreallocNone, can bring about: the
// same bytes are written to the same place again later, so nothing is lost.
package wal
