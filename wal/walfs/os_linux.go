package walfs

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

type osFile struct {
	*os.File
	fd     int // of File, which keeps it open
	direct atomic.Bool
}

func newOSFile(f *os.File) File { return &osFile{File: f, fd: int(f.Fd())} }

func (f *osFile) SetDirect(on bool) error {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err == nil {
		flags &^= unix.O_DIRECT
		if on {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags)
	}
	switch {
	case err == nil:
		f.direct.Store(on)
		return nil
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("direct writes to %s: %w", f.Name(), errors.ErrUnsupported)
	}
	return &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
}

// WriteAt implements File. Some file systems take the wish for direct writes and then refuse them: those are
// written through the page cache.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if err == nil || !errors.Is(err, unix.EINVAL) || !f.direct.Load() || !aligned(p, off) {
		return n, err
	}
	if err := f.SetDirect(false); err != nil {
		return n, err
	}
	m, err := f.File.WriteAt(p[n:], off+int64(n))
	return n + m, err
}

func (f *osFile) Datasync() error {
	for {
		switch err := unix.Fdatasync(f.fd); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

func (f *osFile) Allocate(bytes int64) error {
	for {
		switch err := unix.Fallocate(f.fd, 0, 0, bytes); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return fmt.Errorf("fallocate %s: %w", f.Name(), errors.ErrUnsupported)
		default:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
	}
}

func (f *osFile) Size() (int64, error) { return fileSize(f.File) }
