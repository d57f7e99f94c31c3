package walfs

import (
	"fmt"
	"io"
	"path/filepath"
)

// Traced gives a file system that does what inner does and tells emit about every
// call that changes something or makes it durable, one line each, before the call
// is made: "create a.wal", "write a.wal 4096+80", "fdatasync a.wal",
// "rename a b", "syncdir". Names are without their directory. Reads, opens and
// lists are left out. emit is called from the goroutine that makes the call.
func Traced(inner FS, emit func(line string)) FS {
	return traced{FS: inner, emit: emit}
}

type traced struct {
	FS
	emit func(string)
}

func (t traced) Create(name string) (File, error) {
	t.emit("create " + filepath.Base(name))
	f, err := t.FS.Create(name)
	return t.file(name, f, err)
}

func (t traced) OpenRW(name string) (File, error) {
	f, err := t.FS.OpenRW(name)
	return t.file(name, f, err)
}

func (t traced) file(name string, f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &tracedFile{File: f, name: filepath.Base(name), emit: t.emit}, nil
}

func (t traced) Rename(oldName, newName string) error {
	t.emit("rename " + filepath.Base(oldName) + " " + filepath.Base(newName))
	return t.FS.Rename(oldName, newName)
}

func (t traced) Remove(name string) error {
	t.emit("remove " + filepath.Base(name))
	return t.FS.Remove(name)
}

func (t traced) SyncDir(dir string) error {
	t.emit("syncdir")
	return t.FS.SyncDir(dir)
}

func (t traced) Lock(name string) (io.Closer, error) {
	t.emit("lock " + filepath.Base(name))
	return t.FS.Lock(name)
}

type tracedFile struct {
	File
	name string // when it was opened
	emit func(string)
}

func (f *tracedFile) WriteAt(p []byte, off int64) (int, error) {
	f.emit(fmt.Sprintf("write %s %d+%d", f.name, off, len(p)))
	return f.File.WriteAt(p, off)
}

func (f *tracedFile) WriteVecAt(bufs [][]byte, off int64) (int, error) {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	f.emit(fmt.Sprintf("writev %s %d+%d in %d", f.name, off, n, len(bufs)))
	return f.File.WriteVecAt(bufs, off)
}

func (f *tracedFile) Allocate(bytes int64) error {
	f.emit(fmt.Sprintf("allocate %s %d", f.name, bytes))
	return f.File.Allocate(bytes)
}

func (f *tracedFile) Truncate(bytes int64) error {
	f.emit(fmt.Sprintf("truncate %s %d", f.name, bytes))
	return f.File.Truncate(bytes)
}

func (f *tracedFile) Sync() error {
	f.emit("fsync " + f.name)
	return f.File.Sync()
}

func (f *tracedFile) Datasync() error {
	f.emit("fdatasync " + f.name)
	return f.File.Datasync()
}
