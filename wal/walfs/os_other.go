//go:build unix && !linux

package walfs

import (
	"errors"
	"fmt"
	"os"
)

// osFile where there is neither O_DIRECT nor fallocate to rely on: correct, and slower.
type osFile struct{ *os.File }

func newOSFile(f *os.File) File { return osFile{f} }

func (f osFile) SetDirect(on bool) error {
	if !on {
		return nil
	}
	return fmt.Errorf("direct writes to %s: %w", f.Name(), errors.ErrUnsupported)
}

func (f osFile) Datasync() error { return f.Sync() }

func (f osFile) Allocate(int64) error {
	return fmt.Errorf("fallocate %s: %w", f.Name(), errors.ErrUnsupported)
}

func (f osFile) Size() (int64, error) { return fileSize(f.File) }
