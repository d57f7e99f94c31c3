package walfs

import (
	"errors"
	"io"
	"syscall"
	"unsafe"
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
	// SetDirect asks that what is written from now on goes to the disk past the page
	// cache, or no longer does. Offset, length and memory of every write must then be
	// multiples of DirectAlign (AlignedBuffer makes such memory); it says nothing about durability.
	// errors.ErrUnsupported means that the file system or the system cannot; nothing was changed then.
	SetDirect(on bool) error
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

// DirectAlign is the unit of direct writes in bytes: the page, which no disk's blocks exceed.
const DirectAlign = 4096

// AlignedBuffer gives n bytes of zeroes whose address is a multiple of DirectAlign.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+DirectAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (DirectAlign - 1)
	return b[skip : skip+n : skip+n]
}

// aligned reports whether a direct write of p at off is one.
func aligned(p []byte, off int64) bool {
	return (uintptr(unsafe.Pointer(unsafe.SliceData(p)))|uintptr(len(p))|uintptr(off))&(DirectAlign-1) == 0
}

// IsNoSpace reports whether err says that the disk, or the owner's quota, is
// full: the one kind of write error that goes away by itself.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
