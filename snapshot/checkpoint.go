package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A CheckpointWriter writes one checkpoint. It belongs to one goroutine and ends with Commit or Abort.
type CheckpointWriter struct {
	s       *Store
	replace bool
	zxid    int64
	pacer   *pacer

	table      *sstable.Writer // nil between tables
	tableName  string
	finished   []string // tables that are complete and synced
	unpaced    int64    // bytes put since the pacer was asked
	unmeasured int64    // bytes put since the table's size was looked at
	key        []byte   // prefix and the last key
	metaBuf    []byte
	stats      CheckpointStats
	err        error // the first error, which every later call returns
	done       bool
}

// CheckpointStats tells what a checkpoint wrote.
type CheckpointStats struct {
	Records    int64 // set
	Tombstones int64
	RawBytes   int64 // keys and values as they were given
	TableBytes int64 // finished tables on disk, complete after Commit
	Tables     int
}

// How often a growing checkpoint looks at its table's size and at the pacer.
const (
	measureEveryBytes = 256 << 10
	paceEveryBytes    = 64 << 10
)

const checkpointCategory vfs.DiskWriteCategory = "zabra-checkpoint"

// NewCheckpoint begins a checkpoint at zxid on top of the current image: what is put into it replaces the
// records of the same keys, everything else stays. Errors: ErrBusy, ErrZxidOrder if the image is newer,
// ErrCorrupt if the image was seen to be damaged (only NewReplacement helps), ErrFailed, ErrClosed.
func (s *Store) NewCheckpoint(zxid int64) (*CheckpointWriter, error) {
	if s.image.events.corrupt.Load() {
		return nil, fmt.Errorf("snapshot: checkpoint %#x on top of a damaged image: %w", zxid, ErrCorrupt)
	}
	if m, ok := s.Meta(); ok && zxid < m.Zxid {
		return nil, fmt.Errorf("%w: checkpoint %#x, image %#x", ErrZxidOrder, zxid, m.Zxid)
	}
	return s.newWriter(zxid, false)
}

// NewReplacement begins a whole new image, which takes the place of the current one when it is committed;
// until then, and after a crash before that, the current one stays. It may have a lower zxid, as after
// a synchronisation with a leader whose history is another one. Retained images stay; if their history is
// the abandoned one, remove them with Purge(0) afterwards. Errors: ErrBusy, ErrFailed, ErrClosed.
func (s *Store) NewReplacement(zxid int64) (*CheckpointWriter, error) { return s.newWriter(zxid, true) }

func (s *Store) newWriter(zxid int64, replace bool) (*CheckpointWriter, error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	return &CheckpointWriter{
		s: s, replace: replace, zxid: zxid,
		pacer: newPacer(s.opts.Clock, s.opts.CheckpointBytesPerSecMax, s.image.stop),
		key:   []byte{recordPrefix},
	}, nil
}

// Put sets a record, or deletes it if value is nil (an empty value is a value). Keys must rise strictly;
// both slices are borrowed until return. In a replacement a deletion of what was never there is dropped.
// After an error every further call returns it, and Abort is all that is left. Errors: ErrKeyOrder, the
// file system's.
func (w *CheckpointWriter) Put(key, value []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.done {
		panic("snapshot: Put after the end of the checkpoint")
	}
	if w.stats.Records+w.stats.Tombstones > 0 && bytes.Compare(key, w.key[1:]) <= 0 {
		w.err = fmt.Errorf("%w: %x after %x", ErrKeyOrder, key, w.key[1:])
		return w.err
	}
	w.key = append(w.key[:1], key...)
	if value == nil {
		w.stats.Tombstones++
		if w.replace {
			return nil
		}
	} else {
		w.stats.Records++
	}
	w.err = w.put(w.key, value)
	return w.err
}

func (w *CheckpointWriter) put(key, value []byte) error {
	if w.table == nil {
		if err := w.beginTable(); err != nil {
			return err
		}
	}
	var err error
	if value == nil {
		err = w.table.Delete(key)
	} else {
		err = w.table.Set(key, value)
	}
	if err != nil {
		return wrap(err, "write %s", w.tableName)
	}
	n := int64(len(key) + len(value))
	w.stats.RawBytes += n
	if w.unpaced += n; w.unpaced >= paceEveryBytes {
		w.pacer.wait(int(w.unpaced))
		w.unpaced = 0
	}
	if w.unmeasured += n; w.unmeasured >= measureEveryBytes {
		w.unmeasured = 0
		if int64(w.table.Raw().EstimatedSize()) >= w.s.opts.TableBytesMax {
			return w.finishTable()
		}
	}
	return nil
}

func (w *CheckpointWriter) beginTable() error {
	name := w.s.path(stagingFolder, fmt.Sprintf("%x-%d.sst", uint64(w.zxid), len(w.finished)))
	f, err := w.s.image.popts.FS.Create(name, checkpointCategory)
	if err != nil {
		return wrap(err, "create %s", name)
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: syncEveryBytes})
	db := w.s.image.db
	w.table = sstable.NewWriter(objstorageprovider.NewFileWritable(f), w.s.image.popts.MakeWriterOptions(0, db.TableFormat()))
	w.tableName, w.unmeasured = name, 0
	return nil
}

// finishTable completes the table and syncs it.
func (w *CheckpointWriter) finishTable() error {
	table := w.table
	w.table = nil
	w.finished = append(w.finished, w.tableName)
	if err := table.Close(); err != nil {
		return wrap(err, "finish %s", w.tableName)
	}
	m, err := table.Metadata()
	if err != nil {
		return wrap(err, "finish %s", w.tableName)
	}
	w.stats.Tables++
	w.stats.TableBytes += int64(m.Size)
	return nil
}

// Commit makes the checkpoint the current image, durably and at once, and ends the writer. m gives Digest,
// Records, TakenAtMs and App (borrowed until return); the rest is filled in. If it returns an error the
// current image is as before, except for ErrFailed, after which only the next Open can tell.
func (w *CheckpointWriter) Commit(m Meta) error {
	if w.done {
		panic("snapshot: Commit after the end of the checkpoint")
	}
	if w.err != nil {
		return w.err
	}
	old, _ := w.s.Meta()
	m.Zxid, m.FormatVersion = w.zxid, FormatVersion
	m.Generation, m.Checkpoint = old.Generation, old.Checkpoint+1
	if w.replace || m.Generation == 0 {
		m.Generation, m.Checkpoint = old.Generation+1, 1
	}
	m.App = append([]byte(nil), m.App...)
	w.metaBuf = m.append(w.metaBuf[:0])
	if w.err = w.put(metaKey, w.metaBuf); w.err == nil && w.table != nil {
		w.err = w.finishTable()
	}
	if w.err == nil {
		w.err = w.ingest()
	}
	if w.err != nil {
		return w.err
	}
	w.end()
	s := w.s
	s.counters.checkpointDone(w)
	if w.replace {
		s.image.events.corrupt.Store(false)
	}
	s.writeMark(m)
	s.mu.Lock()
	s.meta, s.hasMeta = m, true
	s.mu.Unlock()
	s.release()
	return nil
}

// ingest has pebble take the tables in. pebble links them into its folder, syncs the folder, and then
// appends one edit to the manifest and syncs it; that sync is the moment of the commit.
func (w *CheckpointWriter) ingest() error {
	im := w.s.image
	take := func() error { return im.db.Ingest(context.Background(), w.finished) }
	if w.replace {
		im.swap.Lock()
		defer im.swap.Unlock()
		take = func() error {
			everything := pebble.KeyRange{Start: lowerBound, End: upperBound}
			_, err := im.db.IngestAndExcise(context.Background(), w.finished, nil, nil, everything)
			return err
		}
	}
	err := im.events.call(take)
	return wrap(err, "take in checkpoint %#x", uint64(w.zxid))
}

// Stats tells what has been written so far.
func (w *CheckpointWriter) Stats() CheckpointStats { return w.stats }

// Abort gives up and removes what was written; the current image stays. It may be called after any error
// of Put or Commit, and does nothing after a Commit that succeeded. The error is the file system's, about
// files that could not be removed now and will be by the next Open.
func (w *CheckpointWriter) Abort() error {
	if w.done {
		return nil
	}
	w.end()
	w.s.counters.aborted.Add(1)
	defer w.s.release()
	if w.table != nil {
		// The table is thrown away: what its end could report no longer matters.
		_ = w.table.Close()
		w.table = nil
		w.finished = append(w.finished, w.tableName)
	}
	var errs []error
	for _, name := range w.finished {
		if err := w.s.fs.Remove(name); err != nil && !errors.Is(err, errNotExist) {
			errs = append(errs, err)
		}
	}
	return wrap(errors.Join(errs...), "abort checkpoint %#x", uint64(w.zxid))
}

func (w *CheckpointWriter) end() { w.done = true }
