package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// An Image is an open image: the current one inside a Store, or one opened read-only by OpenImage or
// Store.OpenRetained. All methods but Close may be called from any goroutine.
type Image struct {
	fs     vfs.FS
	dir    string
	db     *pebble.DB
	popts  *pebble.Options
	cache  *pebble.Cache
	events *events
	stop   chan struct{}
	health io.Closer // of the disk health check, or nil

	// swap is held for writing while a replacement is taken in, and for reading while an iterator is made:
	// pebble drops the old tables a moment before it shows the new ones, and an iterator made in between
	// would see neither. Readers that exist are not affected.
	swap sync.RWMutex
}

// OpenImage opens the pebble database in dir (the image/ or retained/HEX/ folder of a store that no
// process has open) without changing it, for operators' tools. Errors: ErrNoImage, ErrLocked, ErrCorrupt, or
// the file system's.
func OpenImage(fs vfs.FS, dir string, opts Options) (*Image, error) {
	// Opening would leave pebble's lock file in a folder that holds anything else.
	there, err := pebble.Peek(dir, fs)
	if errors.Is(err, errNotExist) || err == nil && !there.Exists {
		err = ErrNoImage
	}
	if err != nil {
		return nil, wrap(err, "open image %s", dir)
	}
	opts = opts.withDefaults()
	im, err := openImage(fs, dir, &opts, true)
	if err != nil {
		return nil, err
	}
	if _, ok, err := im.Meta(); err != nil || !ok {
		err = errors.Join(err, im.Close())
		if err == nil {
			err = wrap(ErrNoImage, "open image %s", dir)
		}
		return nil, err
	}
	return im, nil
}

// OpenCurrent opens the current image of the store in dir, which no process may have open, without
// changing anything. Errors: those of OpenImage; ErrCorrupt also where Open finds that a newer image had
// been committed.
func OpenCurrent(fs vfs.FS, dir string, opts Options) (*Image, error) {
	s := &Store{fs: fs, dir: dir, opts: opts.withDefaults()}
	im, err := OpenImage(fs, s.path(imageFolder), opts)
	if err != nil && !errors.Is(err, ErrNoImage) {
		return nil, err
	}
	if err == nil {
		if s.meta, s.hasMeta, err = im.Meta(); err != nil {
			return nil, errors.Join(err, im.Close())
		}
	}
	if markErr := s.checkMark(); markErr != nil {
		if im != nil {
			markErr = errors.Join(markErr, im.Close())
		}
		return nil, markErr
	}
	return im, err
}

func openImage(fs vfs.FS, dir string, opts *Options, readOnly bool) (*Image, error) {
	ev := newEvents(opts)
	im := &Image{
		fs: fs, dir: dir, events: ev,
		cache: pebble.NewCache(opts.CacheBytes),
		stop:  make(chan struct{}),
	}
	listener := ev.listener()
	if opts.DiskSlow > 0 {
		fs, im.health = vfs.WithDiskHealthChecks(fs, opts.DiskSlow, nil, listener.DiskSlow)
	}
	fs = &dbFS{
		FS:     fs,
		pacer:  newPacer(opts.Clock, opts.CompactionBytesPerSecMax, im.stop),
		events: ev, clock: opts.Clock, stop: im.stop,
	}
	im.popts = opts.pebbleOptions(fs, im.cache, ev, listener)
	im.popts.ReadOnly = readOnly
	err := ev.call(func() (err error) {
		im.db, err = pebble.Open(dir, im.popts)
		return err
	})
	if err != nil {
		if !pebble.IsCorruptionError(err) {
			err = errors.Join(err, im.missingTables())
		}
		im.release()
		if errors.Is(err, syscall.EAGAIN) {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return nil, wrap(err, "open image %s", dir)
	}
	return im, nil
}

// missingTables is called when the database does not open for a reason that pebble does not call corruption.
// It returns ErrCorrupt if a table that the manifest names is not there or has another size, which pebble
// tells by text only.
func (im *Image) missingTables() error {
	opts := im.popts.Clone()
	opts.ReadOnly, opts.DisableConsistencyCheck = true, true
	return im.events.call(func() error {
		db, err := pebble.Open(im.dir, opts)
		if err != nil {
			return nil // the first error says all
		}
		levels, err := db.SSTables()
		if errors.Is(err, errNotExist) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		for _, tables := range levels {
			for i := range tables {
				name := im.fs.PathJoin(im.dir, tables[i].BackingSSTNum.String()+".sst")
				info, statErr := im.fs.Stat(name)
				if statErr != nil {
					err = errors.Join(err, statErr)
				} else if !tables[i].Virtual && info.Size() != int64(tables[i].Size) {
					err = errors.Join(err, fmt.Errorf("%w: table %s has %d bytes, want %d", ErrCorrupt, name, info.Size(), tables[i].Size))
				}
			}
		}
		return errors.Join(err, db.Close())
	})
}

func (im *Image) release() {
	im.cache.Unref()
	if im.health != nil {
		// The closer only stops the goroutine that watches; there is nothing in it that can be lost.
		_ = im.health.Close()
	}
}

// Close gives everything back. Every Reader has to be closed before.
func (im *Image) Close() error {
	close(im.stop)
	if err := im.events.err(); err != nil {
		return err
	}
	err := im.events.call(im.db.Close)
	im.release()
	return wrap(err, "close image %s", im.dir)
}

// Meta reads the metadata record; ok is false if the database is empty.
func (im *Image) Meta() (m Meta, ok bool, err error) {
	r, err := im.newReader()
	if err != nil {
		return Meta{}, false, err
	}
	m, ok = r.meta, r.hasMeta
	return m, ok, r.Close()
}

// NewReader pins the image as it is now: it stays readable, and its tables stay on disk, until Close,
// however many checkpoints and replacements follow. ErrNoImage if there is none.
func (im *Image) NewReader() (*Reader, error) {
	r, err := im.newReader()
	if err != nil {
		return nil, err
	}
	if !r.hasMeta {
		return nil, errors.Join(ErrNoImage, r.Close())
	}
	return r, nil
}

func (im *Image) newReader() (*Reader, error) {
	if err := im.events.err(); err != nil {
		return nil, err
	}
	im.swap.RLock()
	it, err := im.db.NewIter(&pebble.IterOptions{LowerBound: lowerBound, UpperBound: upperBound})
	im.swap.RUnlock()
	if err != nil {
		return nil, wrap(err, "read image %s", im.dir)
	}
	r := &Reader{it: it, dir: im.dir}
	if err := r.readMeta(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Scan is NewReader, Reader.Scan from the start, and Close.
func (im *Image) Scan(ctx context.Context, progress func(records int64), f func(key, value []byte) error) error {
	r, err := im.NewReader()
	if err != nil {
		return err
	}
	return errors.Join(r.Scan(ctx, nil, progress, f), r.Close())
}

// Verify reads every block of every table, shadowed ones too, checks the order of the tables' keys, and
// counts the live records. Errors: ErrCorrupt.
func (im *Image) Verify(ctx context.Context) error {
	if err := im.Scan(ctx, nil, func(_, _ []byte) error { return nil }); err != nil {
		return err
	}
	return wrap(im.events.call(func() error { return im.db.CheckLevels(nil) }), "verify image %s", im.dir)
}

// Dump writes the metadata and every record as lines of text to w. format appends the text of a record,
// without end of line, and may be nil for hexadecimal.
func (im *Image) Dump(ctx context.Context, w io.Writer, format func(dst, key, value []byte) []byte) error {
	if format == nil {
		format = func(dst, key, value []byte) []byte { return fmt.Appendf(dst, "%x %x", key, value) }
	}
	r, err := im.NewReader()
	if err != nil {
		return err
	}
	m := r.Meta()
	_, err = fmt.Fprintf(w, "image zxid=%#x digest=%#x records=%d takenAtMs=%d generation=%d checkpoint=%d format=%d app=%x\n",
		m.Zxid, m.Digest, m.Records, m.TakenAtMs, m.Generation, m.Checkpoint, m.FormatVersion, m.App)
	var line []byte
	if err == nil {
		err = r.Scan(ctx, nil, nil, func(key, value []byte) error {
			line = append(format(line[:0], key, value), '\n')
			_, err := w.Write(line)
			return err
		})
	}
	return errors.Join(err, r.Close())
}

// A Reader reads one image in key order. It is for one goroutine at a time and must be closed.
type Reader struct {
	it      *pebble.Iterator
	dir     string
	meta    Meta
	hasMeta bool
}

func (r *Reader) readMeta() error {
	if !r.it.SeekGE(metaKey) {
		if err := r.it.Error(); err != nil {
			return wrap(err, "read image %s", r.dir)
		}
		if r.it.First() {
			return fmt.Errorf("%w: %s has records but no metadata", ErrCorrupt, r.dir)
		}
		return wrap(r.it.Error(), "read image %s", r.dir)
	}
	value, err := r.it.ValueAndErr()
	if err != nil {
		return wrap(err, "read image %s", r.dir)
	}
	if !bytes.Equal(r.it.Key(), metaKey) {
		return fmt.Errorf("%w: %s has key %x where the metadata is expected", ErrCorrupt, r.dir, r.it.Key())
	}
	if err := r.meta.decode(value); err != nil {
		return fmt.Errorf("%w (%s)", err, r.dir)
	}
	r.hasMeta = true
	return nil
}

// Meta describes the image that the reader sees. App is lent until Close.
func (r *Reader) Meta() Meta { return r.meta }

// scanCheckEvery is how many records pass between looks at the context and calls of progress.
const scanCheckEvery = 1 << 14

// Scan calls f with each record whose key is at or above from, in key order; nil from means all. Key and
// value are lent until f returns; an error of f ends the scan and is returned as it is. progress, which may
// be nil, is told the number of records so far every 16384 records and at the end. A scan of everything is
// checked against Meta.Records. Errors: ErrCorrupt, the context's, f's.
func (r *Reader) Scan(ctx context.Context, from []byte, progress func(records int64), f func(key, value []byte) error) error {
	start := append([]byte{recordPrefix}, from...)
	var n int64
	for ok := r.it.SeekGE(start); ok; ok = r.it.Next() {
		key := r.it.Key()
		if key[0] != recordPrefix {
			break
		}
		value, err := r.it.ValueAndErr()
		if err != nil {
			return wrap(err, "read image %s", r.dir)
		}
		if err := f(key[1:], value); err != nil {
			return err
		}
		if n++; n%scanCheckEvery == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("snapshot: scan stopped after %d records: %w", n, err)
			}
			if progress != nil {
				progress(n)
			}
		}
	}
	if err := r.it.Error(); err != nil {
		return wrap(err, "read image %s", r.dir)
	}
	if progress != nil {
		progress(n)
	}
	if len(from) == 0 && r.meta.Records >= 0 && n != r.meta.Records {
		return fmt.Errorf("%w: %s has %d records, its metadata says %d", ErrCorrupt, r.dir, n, r.meta.Records)
	}
	return nil
}

// Close unpins the image.
func (r *Reader) Close() error { return wrap(r.it.Close(), "close reader of %s", r.dir) }
