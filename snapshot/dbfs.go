package snapshot

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// dbFS is the file system as pebble sees it. It differs from the one below in four points:
//
//   - what compactions write is paced;
//   - a compaction is held back for a while if the last ones failed: pebble itself tries again at once,
//     which with a full disk burns a core;
//   - a folder whose sync fails is a failure for good (Fatalf). pebble panics in some places and goes on
//     in others;
//   - the folder is synced before a marker file is made. A marker names the manifest that counts; were it to
//     reach the disk before the manifest's own name does, the database could not be opened again. File
//     systems with an ordered journal never do that, but nothing promises it.
type dbFS struct {
	vfs.FS
	pacer  *pacer
	events *events
	clock  Clock
	stop   <-chan struct{}
}

const (
	// compactionCategory is pebble's name for what compactions write.
	compactionCategory vfs.DiskWriteCategory = "pebble-compaction"
	// markerPrefix starts the names of pebble's marker files.
	markerPrefix = "marker."
)

func (fs *dbFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), markerPrefix) {
		if err := syncFolder(fs, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	if category != compactionCategory {
		return fs.FS.Create(name, category)
	}
	if d := fs.events.backoff(); d > 0 {
		fs.clock.Sleep(d, fs.stop)
	}
	f, err := fs.FS.Create(name, category)
	if err != nil || fs.pacer == nil {
		return f, err
	}
	return &pacedFile{File: f, pacer: fs.pacer}, nil
}

func (fs *dbFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &finalSyncDir{File: f, name: name, events: fs.events}, nil
}

// Unwrap implements vfs.FS.
func (fs *dbFS) Unwrap() vfs.FS { return fs.FS }

type pacedFile struct {
	vfs.File
	pacer *pacer
}

func (f *pacedFile) Write(p []byte) (int, error) {
	f.pacer.wait(len(p))
	return f.File.Write(p)
}

type finalSyncDir struct {
	vfs.File
	name   string
	events *events
}

func (d *finalSyncDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.events.Fatalf("sync folder %s: %v", d.name, err)
	}
	return nil
}
