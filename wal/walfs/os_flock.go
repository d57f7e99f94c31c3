//go:build unix

package walfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// flock takes f's exclusive lock without waiting. The lock belongs to the open
// file: it ends when f is closed or the process dies.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}
