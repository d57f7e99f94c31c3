package javadata

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine/proto"
)

// VersionDir is the folder below dataDir and dataLogDir that holds the files (section 1).
const VersionDir = "version-2"

// A DataFile is a snapshot or log in a version-2 folder.
type DataFile struct {
	Name  string // with the folder
	Zxid  proto.Zxid
	Bytes int64
}

// SnapshotName and LogName return the names of files, without folder.
func SnapshotName(zxid proto.Zxid, c Compression) string {
	return fmt.Sprintf("snapshot.%x%s", uint64(zxid), c.Extension())
}

// LogName returns the name of the log file whose first record has this zxid.
func LogName(zxid proto.Zxid) string { return fmt.Sprintf("log.%x", uint64(zxid)) }

// zxidOf reads a zxid from a name: split at dots, the first part is the prefix, the second hexadecimal;
// more parts may follow (section 1).
func zxidOf(name, prefix string) (proto.Zxid, bool) {
	parts := strings.Split(name, ".")
	if len(parts) < 2 || parts[0] != prefix {
		return 0, false
	}
	z, err := strconv.ParseInt(parts[1], 16, 64)
	return z, err == nil && z >= 0
}

// listFiles lists the files of one kind in a version-2 folder, lowest zxid first; a folder that is not
// there has none.
func listFiles(fs vfs.FS, dir, prefix string) ([]DataFile, error) {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("javadata: list %s: %w", dir, err)
	}
	var files []DataFile
	for _, name := range names {
		zxid, ok := zxidOf(name, prefix)
		if !ok {
			continue
		}
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("javadata: list %s: %w", dir, err)
		}
		if !info.IsDir() {
			files = append(files, DataFile{Name: path, Zxid: zxid, Bytes: info.Size()})
		}
	}
	slices.SortFunc(files, func(a, b DataFile) int {
		return cmp.Or(cmp.Compare(a.Zxid, b.Zxid), strings.Compare(a.Name, b.Name))
	})
	return files, nil
}

// Directories are what Detect found below a dataDir and a dataLogDir. Files are sorted by rising zxid.
type Directories struct {
	SnapshotDir, LogDir string     // the version-2 folders
	Snapshots           []DataFile // with names that match, sound or not
	Logs                []DataFile

	AcceptedEpoch, CurrentEpoch       int64 // -1: no file
	HasCurrentEpochTmp, HasInitialize bool
}

// Empty tells that there is neither a snapshot nor a log.
func (d *Directories) Empty() bool { return len(d.Snapshots) == 0 && len(d.Logs) == 0 }

// Detect looks at what a Java server left below dataDir and dataLogDir (the same as dataDir if empty).
func Detect(fs vfs.FS, dataDir, dataLogDir string) (*Directories, error) {
	if dataLogDir == "" {
		dataLogDir = dataDir
	}
	d := &Directories{SnapshotDir: fs.PathJoin(dataDir, VersionDir), LogDir: fs.PathJoin(dataLogDir, VersionDir)}
	var err error
	if d.Snapshots, err = listFiles(fs, d.SnapshotDir, "snapshot"); err != nil {
		return nil, err
	}
	if d.Logs, err = listFiles(fs, d.LogDir, "log"); err != nil {
		return nil, err
	}
	if d.AcceptedEpoch, err = ReadEpoch(fs, d.SnapshotDir, AcceptedEpochFile); err != nil {
		return nil, err
	}
	if d.CurrentEpoch, err = ReadEpoch(fs, d.SnapshotDir, CurrentEpochFile); err != nil {
		return nil, err
	}
	if d.HasCurrentEpochTmp, err = exists(fs, fs.PathJoin(d.SnapshotDir, CurrentEpochFile+tmpSuffix)); err != nil {
		return nil, err
	}
	d.HasInitialize, err = exists(fs, fs.PathJoin(dataLogDir, "initialize"))
	return d, err
}

func exists(fs vfs.FS, name string) (bool, error) {
	_, err := fs.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("javadata: %w", err)
	}
	return true, nil
}

// Names of the epoch files.
const (
	AcceptedEpochFile = "acceptedEpoch"
	CurrentEpochFile  = "currentEpoch"
	tmpSuffix         = ".tmp"
)

// epochFileBytesMax is more than any number needs.
const epochFileBytesMax = 64

// ReadEpoch reads an epoch file in a version-2 folder: a decimal number in the first line. It returns -1
// if there is no such file; a file that holds no number is a *FileError with ErrFormat.
func ReadEpoch(fs vfs.FS, dir, name string) (int64, error) {
	path := fs.PathJoin(dir, name)
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("javadata: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, epochFileBytesMax))
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("javadata: read %s: %w", path, err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	n, err := strconv.ParseInt(strings.TrimRight(string(line), "\r"), 10, 64)
	if err != nil || n < 0 {
		return 0, &FileError{File: path, Field: "epoch", Err: fmt.Errorf("%w: %q is no epoch", ErrFormat, line)}
	}
	return n, nil
}

// WriteEpoch replaces an epoch file the way Java does: written beside it, synced, renamed; no newline.
func WriteEpoch(fs vfs.FS, dir, name string, epoch int64) error {
	return writeFile(fs, fs.PathJoin(dir, name), func(w io.Writer) error {
		_, err := io.WriteString(w, strconv.FormatInt(epoch, 10))
		return err
	})
}

const writeCategory vfs.DiskWriteCategory = "zabra-javadata"

// writeFile makes a file appear whole or not at all.
func writeFile(fs vfs.FS, path string, write func(io.Writer) error) error {
	tmp := path + tmpSuffix
	err := func() error {
		f, err := fs.Create(tmp, writeCategory)
		if err != nil {
			return err
		}
		err = write(f)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if err := fs.Rename(tmp, path); err != nil {
			return err
		}
		d, err := fs.OpenDir(fs.PathDir(path))
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	}()
	if err != nil {
		return fmt.Errorf("javadata: write %s: %w", path, err)
	}
	return nil
}

// plausible is Java's quick test of a snapshot, which keeps most of what a crash left from being read
// (section 3.2).
func plausible(fs vfs.FS, file DataFile) (ok bool, err error) {
	f, err := fs.Open(file.Name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var want []byte
	at := int64(0)
	switch CompressionOf(file.Name) {
	case CompressionGzip:
		want = gzipMagic
	case CompressionSnappy:
		want = []byte(snappyMagic)
	default:
		if file.Bytes < 10 {
			return false, nil
		}
		want, at = sealEnd, file.Bytes-int64(len(sealEnd))
	}
	if file.Bytes < int64(len(want)) {
		return false, nil
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, at); err != nil {
		return false, err
	}
	return bytes.Equal(got, want), nil
}

// PlanPurge says which files Java's purge would remove so that the newest keep snapshots that pass the
// quick test can be loaded: snapshots below the oldest kept one, and logs below it but for the newest of
// them, which may reach beyond it (section 7). keep below 3 counts as 3.
func PlanPurge(fs vfs.FS, d *Directories, keep int) ([]DataFile, error) {
	keep = max(keep, 3)
	var oldest proto.Zxid
	kept := 0
	for i := len(d.Snapshots) - 1; i >= 0 && kept < keep; i-- {
		ok, err := plausible(fs, d.Snapshots[i])
		if err != nil {
			return nil, fmt.Errorf("javadata: %w", err)
		}
		if ok {
			oldest = d.Snapshots[i].Zxid
			kept++
		}
	}
	if kept == 0 {
		return nil, nil
	}
	var remove []DataFile
	for _, f := range d.Snapshots {
		if f.Zxid < oldest {
			remove = append(remove, f)
		}
	}
	for _, f := range d.Logs[:firstLog(d.Logs, oldest)] {
		if f.Zxid < oldest {
			remove = append(remove, f)
		}
	}
	return remove, nil
}

// firstLog returns the index of the log file at which reading from zxid on begins: the newest one whose
// name is at or below it, or the oldest there is (section 2.4).
func firstLog(logs []DataFile, zxid proto.Zxid) int {
	first := 0
	for i, f := range logs {
		if f.Zxid <= zxid {
			first = i
		}
	}
	return first
}
