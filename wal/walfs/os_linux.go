package walfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovMax is the kernel's limit on the vector of one pwritev (UIO_MAXIOV).
const iovMax = 1024

type osFile struct {
	*os.File
	fd int // of File, which keeps it open

	mu  sync.Mutex // guards iov: one vectored write at a time
	iov []unix.Iovec
}

func newOSFile(f *os.File) File { return &osFile{File: f, fd: int(f.Fd())} }

func (f *osFile) WriteVecAt(bufs [][]byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.iov = f.iov[:0]
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		f.iov = append(f.iov, v)
	}
	total, rest := 0, f.iov
	var err error
	for len(rest) > 0 && err == nil {
		var n int
		n, err = pwritev(f.fd, rest[:min(len(rest), iovMax)], off+int64(total))
		total += n
		if n == 0 && err == nil {
			err = io.ErrShortWrite
		}
		rest = advance(rest, n)
	}
	clear(f.iov) // keep no pointer into the callers' buffers
	if err != nil {
		return total, &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
	}
	return total, nil
}

// advance drops the first n bytes from iov, changing its elements.
func advance(iov []unix.Iovec, n int) []unix.Iovec {
	for n > 0 {
		l := int(iov[0].Len)
		if n < l {
			iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), n))
			iov[0].SetLen(l - n)
			return iov
		}
		n -= l
		iov = iov[1:]
	}
	return iov
}

// pwritev is unix.Pwritev without its allocation of a fresh vector per call.
func pwritev(fd int, iov []unix.Iovec, off int64) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, uintptr(fd),
			uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)),
			uintptr(off), uintptr(uint64(off)>>32), 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
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
