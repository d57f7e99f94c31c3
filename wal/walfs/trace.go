package walfs

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
)

// Traced gives a file system that does what inner does and tells emit about every
// call that changes something or makes it durable, one line each, before the call
// is made: "create a.wal", "write a.wal 4096+80" (offset and bytes), "fdatasync a.wal",
// "rename a b", "syncdir". Names are without their directory; a file that was renamed
// while open goes by its new name. Reads, opens and lists are left out. emit is called
// from the goroutine that makes the call.
func Traced(inner FS, emit func(line string)) FS {
	return &traced{FS: inner, emit: emit, open: map[string][]*tracedFile{}}
}

type traced struct {
	FS
	emit func(string)

	mu   sync.Mutex               // guards open and the names of all files in it
	open map[string][]*tracedFile // by name
}

func (t *traced) Create(name string) (File, error) {
	t.emit("create " + filepath.Base(name))
	f, err := t.FS.Create(name)
	return t.file(name, f, err)
}

func (t *traced) OpenRW(name string) (File, error) {
	f, err := t.FS.OpenRW(name)
	return t.file(name, f, err)
}

func (t *traced) file(name string, f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tf := &tracedFile{File: f, t: t, name: filepath.Clean(name)}
	t.open[tf.name] = append(t.open[tf.name], tf)
	return tf, nil
}

func (t *traced) Rename(oldName, newName string) error {
	t.emit("rename " + filepath.Base(oldName) + " " + filepath.Base(newName))
	if err := t.FS.Rename(oldName, newName); err != nil {
		return err
	}
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	t.mu.Lock()
	defer t.mu.Unlock()
	files := t.open[oldName]
	delete(t.open, oldName)
	for _, f := range files {
		f.name = newName
	}
	t.open[newName] = files
	return nil
}

func (t *traced) Remove(name string) error {
	t.emit("remove " + filepath.Base(name))
	return t.FS.Remove(name)
}

func (t *traced) SyncDir(dir string) error {
	t.emit("syncdir")
	return t.FS.SyncDir(dir)
}

func (t *traced) Lock(name string) (io.Closer, error) {
	t.emit("lock " + filepath.Base(name))
	return t.FS.Lock(name)
}

type tracedFile struct {
	File
	t    *traced
	name string // guarded by t.mu
}

func (f *tracedFile) emit(call, args string) {
	f.t.mu.Lock()
	name := filepath.Base(f.name)
	f.t.mu.Unlock()
	f.t.emit(call + " " + name + args)
}

func (f *tracedFile) WriteAt(p []byte, off int64) (int, error) {
	f.emit("write", fmt.Sprintf(" %d+%d", off, len(p)))
	return f.File.WriteAt(p, off)
}

func (f *tracedFile) Allocate(bytes int64) error {
	f.emit("allocate", fmt.Sprintf(" %d", bytes))
	return f.File.Allocate(bytes)
}

func (f *tracedFile) Truncate(bytes int64) error {
	f.emit("truncate", fmt.Sprintf(" %d", bytes))
	return f.File.Truncate(bytes)
}

func (f *tracedFile) Sync() error {
	f.emit("fsync", "")
	return f.File.Sync()
}

func (f *tracedFile) Datasync() error {
	f.emit("fdatasync", "")
	return f.File.Datasync()
}

func (f *tracedFile) Close() error {
	f.t.mu.Lock()
	files := f.t.open[f.name]
	f.t.open[f.name] = slices.DeleteFunc(files, func(other *tracedFile) bool { return other == f })
	f.t.mu.Unlock()
	return f.File.Close()
}
