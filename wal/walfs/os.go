package walfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// OS is the host's file system. Its zero value is ready.
type OS struct{}

var _ FS = OS{}

func (OS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (OS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (OS) OpenRW(name string) (File, error) { return openOS(name, os.O_RDWR) }

func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

func (OS) Remove(name string) error { return os.Remove(name) }

func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

func (OS) List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		fi, err := e.Info()
		if os.IsNotExist(err) {
			continue // gone since ReadDir: a log in use renames its files
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, Info{Name: e.Name(), Bytes: fi.Size()})
	}
	return infos, nil
}

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", filepath.Base(name), err)
	}
	return f, nil
}

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return newOSFile(f), nil
}

func fileSize(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
