package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names below dataDir and dataLogDir.
//
//	dataDir/myid, initialize, zookeeper_server.pid   as in a Java server
//	dataDir/version-2/                               snapshots of a Java server, read by import only
//	dataDir/zabra/FORMAT                             format and identity of the data
//	dataDir/zabra/IMPORTING                          there while zabra import runs
//	dataDir/zabra/image/                             the image and its metadata
//	dataLogDir/zabra/FORMAT                          the same text; a file of its own when the directories differ
//	dataLogDir/zabra/wal/                            log segments
const (
	MyIDFile       = "myid"
	InitializeFile = "initialize"           // its presence lets an empty server vote, see db.autocreate
	PIDFile        = "zookeeper_server.pid" // written by zkServer.sh
	JavaDir        = "version-2"            // snapshots and logs of a Java server
	ZabraDir       = "zabra"
	ImageDir       = "image"  // below ZabraDir in dataDir
	WALDir         = "wal"    // below ZabraDir in dataLogDir
	FormatFile     = "FORMAT" // below ZabraDir
	ImportMark     = "IMPORTING"
)

// FormatVersion is the version of everything below ZabraDir that this build reads and writes.
const FormatVersion = 1

// ErrFormat marks a data directory that another format version or another server wrote.
var ErrFormat = errors.New("config: data directory of another format")

// ErrJavaData marks a data directory that holds the files of a Java server and none of this one.
var ErrJavaData = errors.New("config: data directory of a Java server")

// ImagePath is the directory of the image.
func (s *Storage) ImagePath() string { return filepath.Join(s.DataDir, ZabraDir, ImageDir) }

// WALPath is the directory of log segments.
func (s *Storage) WALPath() string { return filepath.Join(s.DataLogDir, ZabraDir, WALDir) }

// MyIDPath is the file of the server's id.
func (s *Storage) MyIDPath() string { return filepath.Join(s.DataDir, MyIDFile) }

// separate reports whether dataLogDir is another directory than dataDir.
func (s *Storage) separate() bool {
	if filepath.Clean(s.DataDir) == filepath.Clean(s.DataLogDir) {
		return false
	}
	data, dataErr := os.Stat(s.DataDir)
	log, logErr := os.Stat(s.DataLogDir)
	return dataErr != nil || logErr != nil || !os.SameFile(data, log)
}

func dataDirError(cause error, fix, format string, args ...any) *Error {
	return &Error{ExitCode: ExitDataDir, Message: fmt.Sprintf(format, args...), Fix: fix, Err: cause}
}

// Contents says what a pair of data directories holds.
type Contents int

const (
	ContentsNone  Contents = iota // nothing a server wrote
	ContentsZabra                 // data of this server; files of a Java server beside it do not count
	ContentsJava                  // snapshots or logs of a Java server, and none of this one
)

// Inspect tells what dataDir and dataLogDir hold. A directory that does not exist holds nothing. Nothing is
// created or changed.
func (s *Storage) Inspect() (Contents, error) {
	for _, dir := range []string{s.DataDir, s.DataLogDir} {
		_, err := os.Stat(filepath.Join(dir, ZabraDir, FormatFile))
		if err == nil {
			return ContentsZabra, nil
		}
		if !absent(err) {
			return ContentsNone, dataDirError(err, "make it readable for the user of the server", "Cannot read data directory %s: %v", dir, err)
		}
	}
	for _, dir := range []string{s.DataDir, s.DataLogDir} {
		names, err := javaFiles(dir)
		if err != nil {
			return ContentsNone, err
		}
		if slices.ContainsFunc(names, func(n string) bool { return isJavaSnapshot(n) || isJavaLog(n) }) {
			return ContentsJava, nil
		}
	}
	return ContentsNone, nil
}

// absent reports whether err says that there is no such file, a file in place of a directory included.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

func isJavaSnapshot(name string) bool { return strings.HasPrefix(name, "snapshot.") }
func isJavaLog(name string) bool      { return strings.HasPrefix(name, "log.") }

// javaFiles returns the names in dir/version-2.
func javaFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, JavaDir))
	if err != nil && !absent(err) {
		return nil, dataDirError(err, "make it readable for the user of the server", "Cannot read data directory %s: %v", filepath.Join(dir, JavaDir), err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// PrepareDirs makes dataDir and dataLogDir ready for a start: it checks that they were not mixed up, are of
// this format and belong together, refuses the data of a Java server, and creates what is missing, FORMAT
// included. It returns ContentsNone for new directories and ContentsZabra for ones with data. The error is
// an *Error, most often with exit code 3; errors.Is tells ErrFormat and ErrJavaData. A crash in between
// leaves directories that the next call accepts. Source: spec/operations.md 1.4 (dataLogDir), 1.7
// (datadir.autocreate).
func (s *Storage) PrepareDirs() (Contents, error) {
	if _, err := os.Stat(s.importMark()); err == nil {
		return ContentsNone, &Error{ExitCode: ExitDataDir, File: s.DataDir,
			Message: fmt.Sprintf("an import into data directory %s has not come to its end", s.DataDir),
			Fix:     fmt.Sprintf("run zabra import again, or move %s away to start empty", filepath.Dir(s.importMark()))}
	}
	if err := s.checkMixUp(); err != nil {
		return ContentsNone, err
	}
	contents, err := s.Inspect()
	if err != nil {
		return ContentsNone, err
	}
	if contents == ContentsJava {
		return contents, &Error{ExitCode: ExitDataDir, Err: ErrJavaData, File: s.DataDir,
			Message: fmt.Sprintf("data directory %s holds snapshots or logs of a Java server", s.DataDir),
			Fix:     fmt.Sprintf("run: zabra import %s CFG, CFG being this configuration (the files stay as they are), or give an empty dataDir", s.DataDir)}
	}
	return contents, asNil(s.prepare(contents == ContentsZabra))
}

// asNil keeps a nil *Error from becoming an error that is not nil.
func asNil(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

// prepare creates what is missing; inUse says that FORMAT is there already.
func (s *Storage) prepare(inUse bool) *Error {
	// The log directory is the "data directory" of Java's messages, and comes first.
	if err := s.prepareDir(s.DataLogDir, "data", ". Please"); err != nil {
		return err
	}
	if s.separate() {
		if err := s.prepareDir(s.DataDir, "snap", ".Please"); err != nil {
			return err
		}
	}
	if inUse {
		if err := s.checkFormats(); err != nil {
			return err
		}
	} else if err := s.writeFormats(); err != nil {
		return err
	}
	for _, dir := range []string{s.ImagePath(), s.WALPath()} {
		if err := mkdirAll(dir); err != nil {
			return dataDirError(err, fmt.Sprintf("make its parent writable for the user of the server (%v)", err), "Unable to create data directory %s", dir)
		}
	}
	return nil
}

func (s *Storage) importMark() string { return filepath.Join(s.DataDir, ZabraDir, ImportMark) }

// PrepareForImport makes dataDir and dataLogDir ready for an import: empty, of this format, and marked, so
// that no server starts on half of the data. Files of a Java server may be there and stay. Data of this
// server is refused, but for what an interrupted import left, which is removed. Call FinishImport in the
// end. Errors are as of PrepareDirs.
func (s *Storage) PrepareForImport() error {
	contents, err := s.Inspect()
	if err != nil {
		return err
	}
	_, markErr := os.Stat(s.importMark())
	if contents == ContentsZabra && markErr != nil {
		return &Error{ExitCode: ExitDataDir, File: s.DataDir,
			Message: fmt.Sprintf("data directory %s holds data of this server already", s.DataDir),
			Fix:     fmt.Sprintf("move %s away, or give another dataDir", filepath.Dir(s.importMark()))}
	}
	// The mark is the first thing there and the last to go.
	if err := mkdirAll(filepath.Dir(s.importMark())); err != nil {
		return dataDirError(err, fmt.Sprintf("make %s a directory that can be written to (%v)", s.DataDir, err), "Unable to create snap directory %s", filepath.Dir(s.importMark()))
	}
	if err := WriteFileAtomic(s.importMark(), nil, 0o644); err != nil {
		return dataDirError(err, fmt.Sprintf("check the disk (%v)", err), "Cannot write to snap directory %s", s.DataDir)
	}
	for _, path := range []string{formatPath(s.DataDir), formatPath(s.DataLogDir), s.ImagePath(), s.WALPath()} {
		if err := os.RemoveAll(path); err != nil {
			return dataDirError(err, "make it writable", "Cannot remove %s", path)
		}
	}
	return asNil(s.prepare(false))
}

// FinishImport takes away the mark: from now on a server may start on the data. The caller has synced the
// image and the log before.
func (s *Storage) FinishImport() error {
	err := os.Remove(s.importMark())
	if err == nil {
		err = syncDir(filepath.Dir(s.importMark()))
	}
	if err != nil {
		return dataDirError(err, "check the disk", "Cannot remove %s", s.importMark())
	}
	return nil
}

// checkMixUp refuses directories of which each holds what the other should.
func (s *Storage) checkMixUp() *Error {
	if !s.separate() {
		return nil
	}
	logNames, err := javaFiles(s.DataLogDir)
	if err != nil {
		return asError(err)
	}
	snapNames, err := javaFiles(s.DataDir)
	if err != nil {
		return asError(err)
	}
	exists := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(parts...))
		return err == nil
	}
	const text = " Check if dataLogDir and dataDir configuration is correct."
	if slices.ContainsFunc(logNames, isJavaSnapshot) || exists(s.DataLogDir, ZabraDir, ImageDir) {
		return dataDirError(nil, fmt.Sprintf("make %s the dataDir, or move its snapshots to %s", s.DataLogDir, s.DataDir),
			"Log directory has snapshot files."+text)
	}
	if slices.ContainsFunc(snapNames, isJavaLog) || exists(s.DataDir, ZabraDir, WALDir) {
		return dataDirError(nil, fmt.Sprintf("make %s the dataLogDir, or move its logs to %s", s.DataDir, s.DataLogDir),
			"Snapshot directory has log files."+text)
	}
	return nil
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{ExitCode: ExitUnexpected, Message: err.Error(), Err: err}
}

// prepareDir makes dir/zabra a writable directory. With datadir.autocreate off, dir must have been prepared
// before: by a start, or by zkServer-initialize.sh, which makes version-2.
func (s *Storage) prepareDir(dir, what, please string) *Error {
	path := filepath.Join(dir, ZabraDir)
	_, err := os.Stat(path)
	if err != nil && !s.DirAutocreate {
		if _, err := os.Stat(filepath.Join(dir, JavaDir)); err != nil {
			return dataDirError(err, "create it or run zkServer-initialize.sh",
				"Missing %s directory %s, automatic data directory creation is disabled (zookeeper.datadir.autocreate is false)%s create this directory manually.",
				what, path, please)
		}
	}
	if err != nil {
		if err := mkdirAll(path); err != nil {
			return dataDirError(err, fmt.Sprintf("make %s a directory that the user of the server can write to (%v)", dir, err),
				"Unable to create %s directory %s", what, path)
		}
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		return dataDirError(err, fmt.Sprintf("make it writable for the user of the server (%v)", err), "Cannot write to %s directory %s", what, path)
	}
	return nil
}

func formatPath(dir string) string { return filepath.Join(dir, ZabraDir, FormatFile) }

// FORMAT holds two lines, zabra-format N and id HEX. The id is drawn when the directories are first used and
// ties dataDir and dataLogDir together.
func formatText(id string) []byte {
	return fmt.Appendf(nil, "zabra-format %d\nid %s\n", FormatVersion, id)
}

func readFormat(dir string) (id string, err error) {
	path := formatPath(dir)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var version int
	if n, err := fmt.Sscanf(string(text), "zabra-format %d\nid %s\n", &version, &id); n < 1 || n < 2 && version == FormatVersion {
		return "", &Error{ExitCode: ExitDataDir, File: path, Err: errors.Join(ErrFormat, err),
			Message: fmt.Sprintf("%s is damaged: it holds %q", path, text[:min(len(text), 64)]),
			Fix:     "restore the file from a backup, or move " + filepath.Dir(path) + " away and let the server start empty"}
	}
	if version != FormatVersion {
		return "", &Error{ExitCode: ExitDataDir, File: path, Err: ErrFormat,
			Message: fmt.Sprintf("data directory %s is of format %d, this release reads format %d", dir, version, FormatVersion),
			Fix:     "run a release that reads that format, or export with it and import here"}
	}
	return id, nil
}

// checkFormats checks FORMAT of both directories.
func (s *Storage) checkFormats() *Error {
	dataID, dataErr := readFormat(s.DataDir)
	logID, logErr := dataID, dataErr
	if s.separate() {
		logID, logErr = readFormat(s.DataLogDir)
	}
	_, walErr := os.Stat(s.WALPath())
	images, _ := os.ReadDir(s.ImagePath())
	switch {
	case dataErr != nil && !absent(dataErr):
		return asError(dataErr)
	case logErr != nil && !absent(logErr):
		return asError(logErr)
	case dataErr != nil && walErr != nil:
		// The first start was interrupted between the two files; wal is created after both.
		return s.writeFormat(s.DataDir, logID)
	case dataErr != nil:
		return &Error{ExitCode: ExitUnexpected, Err: dataErr, File: s.DataDir,
			Message: "No snapshot found, but there are log entries. Something is broken!",
			Fix: fmt.Sprintf("%s has a log, %s has no image: point dataDir at the image of that log; if it is lost, move %s away and let the server fetch the data from the ensemble",
				s.DataLogDir, s.DataDir, filepath.Join(s.DataLogDir, ZabraDir))}
	case logErr != nil || walErr != nil && len(images) > 0:
		return &Error{ExitCode: ExitDataDir, Err: errors.Join(logErr, walErr), File: s.DataLogDir,
			Message: fmt.Sprintf("data directory %s has an image, but log directory %s has no log", s.DataDir, s.DataLogDir),
			Fix: fmt.Sprintf("point dataLogDir at the log of that image; if it is lost, so may be acknowledged writes: move %s away and let the server fetch the data from the ensemble",
				filepath.Join(s.DataDir, ZabraDir))}
	case dataID != logID:
		return &Error{ExitCode: ExitDataDir, Err: ErrFormat, File: formatPath(s.DataLogDir),
			Message: fmt.Sprintf("data directory %s (id %s) and log directory %s (id %s) are of different servers", s.DataDir, dataID, s.DataLogDir, logID),
			Fix:     "point dataDir and dataLogDir at directories that were used together"}
	}
	return nil
}

// writeFormats writes FORMAT into new directories, the log's first: of an interrupted first start it is the
// sign that is left, and it stands for an empty log.
func (s *Storage) writeFormats() *Error {
	var raw [8]byte
	rand.Read(raw[:]) // never fails, crypto/rand ends the process instead
	id := fmt.Sprintf("%x", raw)
	dirs := []string{s.DataDir}
	if s.separate() {
		dirs = []string{s.DataLogDir, s.DataDir}
	}
	for _, dir := range dirs {
		if err := s.writeFormat(dir, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Storage) writeFormat(dir, id string) *Error {
	if err := WriteFileAtomic(formatPath(dir), formatText(id), 0o644); err != nil {
		return dataDirError(err, fmt.Sprintf("check the disk (%v)", err), "Cannot write to data directory %s", dir)
	}
	return nil
}

// TakeInitialize removes the initialize file and reports whether there was one: then, or with DBAutocreate,
// a server with an empty database may vote. It looks in dataDir, where zkServer-initialize.sh puts it, and
// in dataLogDir, where Java servers look.
func (s *Storage) TakeInitialize() (bool, error) {
	found := false
	for _, dir := range []string{s.DataDir, s.DataLogDir} {
		switch err := os.Remove(filepath.Join(dir, InitializeFile)); {
		case err == nil:
			found = true
		case !absent(err):
			return found, dataDirError(err, "make it writable for the user of the server", "Cannot remove %s", filepath.Join(dir, InitializeFile))
		}
	}
	return found, nil
}
