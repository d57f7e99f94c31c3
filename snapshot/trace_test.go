package snapshot

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// fsTrace records what changes the file system, and syncs; not what is written into files.
type fsTrace struct {
	mu    sync.Mutex
	lines []string
}

func (t *fsTrace) log(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch verb, rest, _ := strings.Cut(line, ": "); {
	case strings.HasPrefix(verb, "read-at"), verb == "open", verb == "open-dir", verb == "close":
		return
	case verb == "remove" && strings.HasPrefix(rest, "store/image/"):
		return // pebble removes what is no longer needed in the background
	}
	t.lines = append(t.lines, line)
}

func (t *fsTrace) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := strings.Join(t.lines, "\n")
	t.lines = nil
	return out + "\n"
}

// TestFSTrace pins the order of create, sync, link, rename and folder syncs for each step of a store's
// life: the crash argument in README.md rests on it. See testdata/fs_trace.
func TestFSTrace(t *testing.T) {
	trace := &fsTrace{}
	fs := vfs.WithLogging(vfs.NewMem(), trace.log)
	// No compaction may run in between: they are not part of a step, and none is due with so few tables.
	opts := Options{CompactionBytesPerSecMax: -1}
	var s *Store
	zxid := int64(0)
	datadriven.RunTest(t, path.Join("testdata", "fs_trace"), func(t *testing.T, d *datadriven.TestData) string {
		var err error
		switch d.Cmd {
		case "open":
			s, err = Open(fs, "store", opts)
		case "close":
			err = s.Close()
		case "checkpoint", "replace":
			zxid++
			c := change{}
			for line := range strings.Lines(d.Input) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
				if c[k] = []byte(v); v == "" {
					c[k] = nil
				}
			}
			err = commit(s, zxid, c, c.applyTo(nil), d.Cmd == "replace")
		case "abort":
			var w *CheckpointWriter
			if w, err = s.NewCheckpoint(zxid + 1); err == nil {
				if err = w.Put([]byte("k"), []byte("v")); err == nil {
					err = w.Abort()
				}
			}
		case "retain":
			_, err = s.Retain()
		case "purge":
			keep := 0
			d.ScanArgs(t, "keep", &keep)
			_, err = s.Purge(keep)
		default:
			d.Fatalf(t, "unknown command %s", d.Cmd)
		}
		if err != nil {
			return err.Error()
		}
		return trace.take()
	})
}
