//go:build unix && !linux

package walfs

import (
	"errors"
	"fmt"
	"os"
)

// osFile where there is no pwritev and fallocate to rely on: correct, and slower.
type osFile struct{ *os.File }

func newOSFile(f *os.File) File { return osFile{f} }

func (f osFile) WriteVecAt(bufs [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (f osFile) Datasync() error { return f.Sync() }

func (f osFile) Allocate(int64) error {
	return fmt.Errorf("fallocate %s: %w", f.Name(), errors.ErrUnsupported)
}

func (f osFile) Size() (int64, error) { return fileSize(f.File) }
