// Package snapshot keeps the image of the replicated state on disk: opaque ordered records as they were
// at one zxid, in a pebble database that nothing but finished sorted tables ever enters.
//
// # What it is
//
// A Store holds one current image. A checkpoint brings it from one zxid to a later one: the owner of the
// state hands over what changed since the last checkpoint, in key order; the writer puts it into sorted
// tables (one, unless the change is larger than Options.TableBytesMax), syncs them, and has pebble take all
// of them and the metadata record in by a single edit of its manifest. So an image is always exactly the
// state at Meta.Zxid, the cost of a checkpoint is what changed and not what is stored, and neither the log
// of pebble nor its memtable is ever used. A replacement is the same writer with a whole image in it: the
// same manifest edit also drops everything that was there.
//
// Retained images are pebble checkpoints (hard links) under retained/, named by zxid.
//
// # Layout
//
//	DIR/image/          pebble database: the current image
//	DIR/retained/HEX/   pebble databases, read only: images kept as backups, HEX is the zxid
//	DIR/retained/*.tmp  leftovers of a crash, removed by Open
//	DIR/staging/        tables being written, emptied by Open
//	DIR/committed       the newest acknowledged checkpoint (mark.go)
//
// Keys in pebble are one byte of ours and the caller's key: 0x01 for a record, 0x02 alone for the metadata
// record (meta.go draws its bytes). README.md argues each crash window and lists the limits.
//
// # Who calls it
//
// Open, Close, NewCheckpoint, NewReplacement, Retain and Purge belong to one goroutine, the owner of
// snapshots; a second checkpoint while one is open is refused with ErrBusy. NewReader, Scan, Meta, Metrics
// and Verify may be called from any goroutine, also while a checkpoint is being written. pebble compacts
// in a goroutine of its own, which Close waits for; its writing is paced by Options.CompactionBytesPerSecMax.
//
// The package knows nothing of ZooKeeper beyond the zxid: keys, values, Meta.Digest and Meta.App are the
// caller's. It imports no sibling package.
package snapshot
