package snapshot

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errNotExist is what a vfs says about a file that is not there.
var errNotExist = os.ErrNotExist

// Folders of a store.
const (
	imageFolder    = "image"
	retainedFolder = "retained"
	asideFolder    = "aside"
	stagingFolder  = "staging"
	tmpSuffix      = ".tmp"
)

// A Store is the image store of one server. See the package comment for who may call what.
type Store struct {
	fs    vfs.FS
	dir   string
	opts  Options
	image *Image

	mu      sync.Mutex // guards the next four; never held while calling pebble
	meta    Meta
	hasMeta bool
	busy    bool // a checkpoint or a retained image is being written
	closed  bool

	retained retainedMark // the newest retained image this process made; whoever set busy owns it

	counters storeCounters
}

type retainedMark struct{ zxid, generation, checkpoint uint64 }

// Open opens the store in dir, which it creates if need be, and removes what a crash left half done.
// ErrCorrupt means that the image has to be replaced from elsewhere: see Discard.
func Open(fs vfs.FS, dir string, opts Options) (*Store, error) {
	s := &Store{fs: fs, dir: dir, opts: opts.withDefaults()}
	if err := s.prepareFolders(); err != nil {
		return nil, wrap(err, "prepare %s", dir)
	}
	var err error
	if s.image, err = openImage(fs, s.path(imageFolder), &s.opts, false); err != nil {
		return nil, err
	}
	if s.meta, s.hasMeta, err = s.image.Meta(); err == nil {
		err = s.checkMark()
	}
	if err != nil {
		return nil, errors.Join(err, s.image.Close())
	}
	return s, nil
}

// Discard removes the current image of the store in dir, which no process may have open, and keeps the
// retained ones; Open then finds a store without an image. It is the way out when Open returns ErrCorrupt,
// before a retained image is restored or a new one comes from another server. If a crash cuts it short,
// Open returns ErrCorrupt still, and Discard can be repeated.
func Discard(fs vfs.FS, dir string) error {
	from, to := fs.PathJoin(dir, imageFolder), fs.PathJoin(dir, imageFolder+".old"+tmpSuffix)
	err := fs.RemoveAll(to)
	if err == nil {
		err = fs.Rename(from, to)
	}
	if err == nil || errors.Is(err, errNotExist) {
		err = syncFolder(fs, dir)
	}
	// Only now: as long as a damaged image could be opened, the mark has to say that it is not the newest.
	if err == nil {
		err = fs.Remove(fs.PathJoin(dir, markFile))
	}
	if err == nil || errors.Is(err, errNotExist) {
		err = syncFolder(fs, dir)
	}
	if err == nil {
		err = fs.RemoveAll(to)
	}
	return wrap(err, "discard image of %s", dir)
}

func (s *Store) path(elem ...string) string {
	return s.fs.PathJoin(append([]string{s.dir}, elem...)...)
}

// prepareFolders makes the folders, durably, and removes leftovers: tables that were never taken in, and
// retained images that were being made or removed.
func (s *Store) prepareFolders() error {
	for _, folder := range []string{s.dir, s.path(imageFolder), s.path(retainedFolder), s.path(stagingFolder)} {
		if err := s.fs.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := syncFolder(s.fs, s.dir); err != nil {
		return err
	}
	if err := syncFolder(s.fs, s.fs.PathDir(s.dir)); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(s.path(imageFolder + ".old" + tmpSuffix)); err != nil {
		return err
	}
	names, err := s.fs.List(s.path(stagingFolder))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.fs.Remove(s.path(stagingFolder, name)); err != nil {
			return err
		}
	}
	return s.removeRetainedLeftovers()
}

func syncFolder(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Meta describes the current image; ok is false before the first checkpoint. App is a shared slice that
// must not be changed.
func (s *Store) Meta() (m Meta, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta, s.hasMeta
}

// Err is nil as long as the store is usable: ErrFailed after a failure for good, ErrCorrupt after damage
// was met that only a replacement mends, ErrClosed after Close.
func (s *Store) Err() error {
	if err := s.image.events.err(); err != nil {
		return err
	}
	if s.isClosed() {
		return ErrClosed
	}
	if s.image.events.corrupt.Load() {
		return ErrCorrupt
	}
	return nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// acquire claims the single right to write; release gives it back.
func (s *Store) acquire() error {
	if err := s.image.events.err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.busy {
		return ErrBusy
	}
	s.busy = true
	return nil
}

func (s *Store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
}

// NewReader pins the current image; see Image.NewReader.
func (s *Store) NewReader() (*Reader, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	return s.image.NewReader()
}

// Scan reads the current image in one consistent, ordered pass; see Reader.Scan.
func (s *Store) Scan(ctx context.Context, progress func(records int64), f func(key, value []byte) error) error {
	if s.isClosed() {
		return ErrClosed
	}
	return s.image.Scan(ctx, progress, f)
}

// Verify checks the current image; see Image.Verify.
func (s *Store) Verify(ctx context.Context) error {
	if s.isClosed() {
		return ErrClosed
	}
	return s.image.Verify(ctx)
}

// Dump writes the current image as text; see Image.Dump.
func (s *Store) Dump(ctx context.Context, w io.Writer, format func(dst, key, value []byte) []byte) error {
	if s.isClosed() {
		return ErrClosed
	}
	return s.image.Dump(ctx, w, format)
}

// Close waits for a running compaction and gives everything back. Readers must be closed and a checkpoint
// committed or aborted before: with a checkpoint open it returns ErrBusy and does nothing. A failed store
// is not closed, since pebble's locks are lost with it; Close then returns the failure.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed || s.busy {
		defer s.mu.Unlock()
		if s.closed {
			return ErrClosed
		}
		return ErrBusy
	}
	s.closed = true
	s.mu.Unlock()
	return s.image.Close()
}
