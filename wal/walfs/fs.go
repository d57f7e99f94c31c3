package walfs

import (
	"errors"
	"io"
	"syscall"
)

// ErrLocked is returned by FS.Lock when somebody else holds the lock.
var ErrLocked = errors.New("walfs: locked by another process")

// Info describes one file of a directory.
type Info struct {
	Name  string // without the directory
	Bytes int64  // file size
}

// FS is what a log needs from a file system. Names are paths in the host's
// notation. All methods may be called from any goroutine; all but Lock may block
// on I/O. Errors are those of package os (errors.Is with fs.ErrNotExist works) or
// a syscall.Errno inside.
type FS interface {
	// Create makes an empty file, emptying it if it exists, open for reading and
	// writing. The directory entry is durable after SyncDir only.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenRW opens an existing file for reading and writing.
	OpenRW(name string) (File, error)
	// Rename gives a file another name in the same directory, atomically. It is
	// durable after SyncDir only.
	Rename(oldName, newName string) error
	// Remove deletes a file; files already open stay readable.
	Remove(name string) error
	// List gives the regular files of a directory in order of their names.
	List(dir string) ([]Info, error)
	// MkdirAll makes a directory and its missing parents.
	MkdirAll(dir string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive advisory lock on the file, making it if need be. It
	// does not wait: ErrLocked says that another holds it. Closing releases it; so
	// does the end of the process.
	Lock(name string) (io.Closer, error)
}

// File is an open file. It has no position. Methods may be called from several
// goroutines at once; overlapping writes have no defined order.
type File interface {
	// ReadAt borrows p until return. As io.ReaderAt: n < len(p) comes with an
	// error, io.EOF at the end of the file.
	io.ReaderAt
	// WriteAt borrows p until return. n < len(p) comes with an error.
	io.WriterAt
	// WriteVecAt writes the slices one behind the other from off on, in as few
	// system calls as it can. It borrows bufs and their bytes until return and
	// changes neither. It returns the number of bytes written, less than all of
	// them only with an error. It does not allocate once it has seen a vector of
	// that length.
	WriteVecAt(bufs [][]byte, off int64) (int, error)
	// Allocate reserves space for the first bytes bytes, so that writing there
	// cannot fail for want of space, and grows the file to at least that size.
	// What was not written reads as zero. errors.ErrUnsupported means that the
	// file system cannot reserve; nothing was changed then.
	Allocate(bytes int64) error
	// Truncate sets the file's size.
	Truncate(bytes int64) error
	// Sync makes data and metadata durable.
	Sync() error
	// Datasync makes data durable, and metadata only as far as reading it back
	// needs it.
	Datasync() error
	// Size returns the file's size in bytes.
	Size() (int64, error)
	Close() error
}

// IsNoSpace reports whether err says that the disk, or the owner's quota, is
// full: the one kind of write error that goes away by itself.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
