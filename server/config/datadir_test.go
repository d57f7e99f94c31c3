package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layout creates files (text) and directories (names ending in a slash) below a new directory, and
// replaces DIR in texts by it.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func storage(dir, data, log string) *Storage {
	return &Storage{DataDir: filepath.Join(dir, data), DataLogDir: filepath.Join(dir, log), DirAutocreate: true}
}

// TestPrepareDirs: what directories may hold at the start, and the refusals with exit code and message.
func TestPrepareDirs(t *testing.T) {
	const format = "zabra-format 1\nid 0011\n"
	f := func(name string, files map[string]string, data, log string, want Contents, exit int, message string, kind error) {
		t.Helper()
		dir := layout(t, files)
		got, err := storage(dir, data, log).PrepareDirs()
		if ExitCodeOf(err) != exit {
			t.Errorf("%s: %v, want exit %d", name, err, exit)
			return
		}
		var e *Error
		if errors.As(err, &e) {
			if text := strings.ReplaceAll(e.Message, dir, "DIR"); text != message || e.Fix == "" {
				t.Errorf("%s: %q fix %q, want %q", name, text, e.Fix, message)
			}
			if kind != nil && !errors.Is(err, kind) {
				t.Errorf("%s: %v is no %v", name, err, kind)
			}
			return
		}
		if got != want {
			t.Errorf("%s: contents %v, want %v", name, got, want)
		}
		for _, path := range []string{storage(dir, data, log).ImagePath(), storage(dir, data, log).WALPath()} {
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
		if again, err := storage(dir, data, log).PrepareDirs(); err != nil || again != ContentsZabra {
			t.Errorf("%s: second start: %v %v", name, again, err)
		}
	}
	const mixUp = " Check if dataLogDir and dataDir configuration is correct."
	f("new", nil, "a/b/data", "a/b/data", ContentsNone, 0, "", nil)
	f("new, two directories", nil, "data", "log", ContentsNone, 0, "", nil)
	f("only myid", map[string]string{"data/myid": "1"}, "data", "data", ContentsNone, 0, "", nil)
	f("empty version-2", map[string]string{"data/version-2/": ""}, "data", "data", ContentsNone, 0, "", nil)
	f("empty zabra", map[string]string{"data/zabra/": ""}, "data", "data", ContentsNone, 0, "", nil)
	f("in use", map[string]string{"data/zabra/FORMAT": format, "data/zabra/image/x": "", "data/zabra/wal/y": ""}, "data", "data", ContentsZabra, 0, "", nil)
	f("imported, Java files still there", map[string]string{"data/zabra/FORMAT": format, "data/version-2/snapshot.0": ""}, "data", "data", ContentsZabra, 0, "", nil)
	f("Java snapshot", map[string]string{"data/version-2/snapshot.100": ""}, "data", "data", 0, 3,
		"data directory DIR/data holds snapshots or logs of a Java server", ErrJavaData)
	f("Java log in dataLogDir", map[string]string{"log/version-2/log.1": ""}, "data", "log", 0, 3,
		"data directory DIR/data holds snapshots or logs of a Java server", ErrJavaData)
	f("Java snapshot in dataLogDir", map[string]string{"log/version-2/snapshot.1": ""}, "data", "log", 0, 3, "Log directory has snapshot files."+mixUp, nil)
	f("Java log in dataDir", map[string]string{"data/version-2/log.1": ""}, "data", "log", 0, 3, "Snapshot directory has log files."+mixUp, nil)
	f("dataLogDir set after first use", map[string]string{"data/zabra/FORMAT": format, "data/zabra/image/": "", "data/zabra/wal/": ""}, "data", "log", 0, 3,
		"Snapshot directory has log files."+mixUp, nil)
	f("directories swapped", map[string]string{"log/zabra/FORMAT": format, "log/zabra/image/": "", "data/zabra/FORMAT": format, "data/zabra/wal/": ""}, "data", "log", 0, 3,
		"Log directory has snapshot files."+mixUp, nil)
	f("of another format", map[string]string{"data/zabra/FORMAT": "zabra-format 9\nnew stuff\n"}, "data", "data", 0, 3,
		"data directory DIR/data is of format 9, this release reads format 1", ErrFormat)
	f("damaged format", map[string]string{"data/zabra/FORMAT": "\x00\x00"}, "data", "data", 0, 3,
		"DIR/data/zabra/FORMAT is damaged: it holds \"\\x00\\x00\"", ErrFormat)
	f("format without id", map[string]string{"data/zabra/FORMAT": "zabra-format 1\n"}, "data", "data", 0, 3,
		"DIR/data/zabra/FORMAT is damaged: it holds \"zabra-format 1\\n\"", ErrFormat)
	f("logs of another server", map[string]string{"data/zabra/FORMAT": format, "log/zabra/FORMAT": "zabra-format 1\nid 0022\n"}, "data", "log", 0, 3,
		"data directory DIR/data (id 0011) and log directory DIR/log (id 0022) are of different servers", ErrFormat)
	f("log lost", map[string]string{"data/zabra/FORMAT": format, "data/zabra/image/x": ""}, "data", "log", 0, 3,
		"data directory DIR/data has an image, but log directory DIR/log has no log", nil)
	f("wal directory lost", map[string]string{"data/zabra/FORMAT": format, "data/zabra/image/x": ""}, "data", "data", 0, 3,
		"data directory DIR/data has an image, but log directory DIR/data has no log", nil)
	f("image lost", map[string]string{"log/zabra/FORMAT": format, "log/zabra/wal/": ""}, "data", "log", 0, 1,
		"No snapshot found, but there are log entries. Something is broken!", nil)
	f("first start interrupted", map[string]string{"log/zabra/FORMAT": format}, "data", "log", ContentsZabra, 0, "", nil)
	f("dataDir is a file", map[string]string{"data": ""}, "data", "data", 0, 3, "Unable to create data directory DIR/data/zabra", nil)
	f("dataDir alone is a file", map[string]string{"data": ""}, "data", "log", 0, 3, "Unable to create snap directory DIR/data/zabra", nil)
}

func TestPrepareDirsWithoutAutocreate(t *testing.T) {
	f := func(name string, files map[string]string, log, message string) {
		t.Helper()
		dir := layout(t, files)
		s := storage(dir, "data", log)
		s.DirAutocreate = false
		_, err := s.PrepareDirs()
		var e *Error
		if message == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		if !errors.As(err, &e) || strings.ReplaceAll(e.Message, dir, "DIR") != message || e.ExitCode != ExitDataDir {
			t.Errorf("%s: %v, want %s", name, err, message)
		}
	}
	f("absent", nil, "data", "Missing data directory DIR/data/zabra, automatic data directory creation is disabled"+
		" (zookeeper.datadir.autocreate is false). Please create this directory manually.")
	f("snap absent", map[string]string{"log/version-2/": ""}, "log", "Missing snap directory DIR/data/zabra, automatic data directory creation is disabled"+
		" (zookeeper.datadir.autocreate is false).Please create this directory manually.")
	f("initialized", map[string]string{"data/version-2/": ""}, "data", "")
	f("in use", map[string]string{"data/zabra/": ""}, "data", "")
}

// TestPrepareDirsReadOnly needs a user whom permissions bind.
func TestPrepareDirsReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permissions do not bind root")
	}
	dir := layout(t, map[string]string{"data/zabra/": ""})
	if err := os.Chmod(filepath.Join(dir, "data/zabra"), 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := storage(dir, "data", "data").PrepareDirs()
	if ExitCodeOf(err) != ExitDataDir || !strings.Contains(err.Error(), "Cannot write to data directory") {
		t.Errorf("%v", err)
	}
}

// TestLinkedLogDir: a dataLogDir that is a symbolic link to dataDir is the same directory.
func TestLinkedLogDir(t *testing.T) {
	dir := layout(t, map[string]string{"data/": ""})
	if err := os.Symlink("data", filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []Contents{ContentsNone, ContentsZabra} {
		if got, err := storage(dir, "data", "log").PrepareDirs(); err != nil || got != want {
			t.Fatalf("%v %v, want %v", got, err, want)
		}
	}
}

func TestTakeInitialize(t *testing.T) {
	for name, want := range map[string]bool{"data/initialize": true, "log/initialize": true, "data/other": false} {
		s := storage(layout(t, map[string]string{name: ""}), "data", "log")
		for i, want := range []bool{want, false} {
			if got, err := s.TakeInitialize(); err != nil || got != want {
				t.Errorf("%s, call %d: %v %v", name, i, got, err)
			}
		}
	}
}

// TestImport: a server does not start on the data of an import that was interrupted, at whatever step; the
// next import begins anew; what a Java server has left stays.
func TestImport(t *testing.T) {
	dir := layout(t, map[string]string{"data/version-2/snapshot.1": "", "log/version-2/log.1": "", "data/myid": "1"})
	s := storage(dir, "data", "log")
	for range 2 {
		if err := s.PrepareForImport(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(s.ImagePath())
		if err != nil || len(entries) != 0 {
			t.Fatalf("image directory %v %v", entries, err)
		}
		if err := os.WriteFile(filepath.Join(s.ImagePath(), "half"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, lost := range []string{"", formatPath(s.DataDir), formatPath(s.DataLogDir)} {
			if lost != "" {
				if err := os.Remove(lost); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.PrepareDirs(); ExitCodeOf(err) != ExitDataDir || !strings.Contains(err.Error(), "has not come to its end") {
				t.Errorf("without %s: %v", lost, err)
			}
		}
	}
	if err := s.PrepareForImport(); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishImport(); err != nil {
		t.Fatal(err)
	}
	if contents, err := s.PrepareDirs(); err != nil || contents != ContentsZabra {
		t.Errorf("%v %v", contents, err)
	}
	if err := s.PrepareForImport(); ExitCodeOf(err) != ExitDataDir || !strings.Contains(err.Error(), "holds data of this server already") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"data/version-2/snapshot.1", "log/version-2/log.1", "data/myid"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
