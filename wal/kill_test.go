//go:build unix

package wal

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// killDirEnv names the directory for the process that TestKill kills.
const killDirEnv = "WAL_TEST_KILL_DIR"

// TestMain is the other process, if the environment says so.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		if err := appendForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// appendForever appends numbered records behind those that are there, and prints
// a line for each call of OnDurable, until it is killed.
func appendForever(dir string) error {
	w, err := Open(walfs.OS{}, dir, Options{
		SegmentBytes: 64 << 10,
		OnDurable:    func(zxid int64) { fmt.Printf("%d\n", zxid) },
	})
	if err != nil {
		return err
	}
	for zxid := w.LastZxid() + 1; ; {
		b := &Batch{}
		for range 1 + zxid%5 {
			b.AddRecord(zxid, numbered(zxid))
			zxid++
		}
		for w.QueuedBytes() > 1<<16 {
			if err := w.Sync(); err != nil {
				return err
			}
		}
		if err := w.Append(b); err != nil {
			return err
		}
		if zxid%100 < 5 {
			w.TruncatePrefix(zxid - 2000)
		}
	}
}

// TestKill kills a process that appends, with SIGKILL, again and again; each time all
// that it had reported durable is found by this process and by its successor.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	for round := range testRuns(t, 20) {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		durable, lines := int64(0), 0
		for scan := bufio.NewScanner(out); scan.Scan(); lines++ {
			if _, err := fmt.Sscan(scan.Text(), &durable); err != nil {
				t.Fatalf("round %d: %q: %v", round, scan.Text(), err)
			}
			if lines == 5+round*7%40 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // it was killed
		if stderr.Len() > 0 || lines == 0 {
			t.Fatalf("round %d: %d lines, %s", round, lines, stderr.String())
		}
		w, err := Open(walfs.OS{}, dir, Options{SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		next := w.BaseZxid() + 1
		err = w.Replay(0, func(zxid int64, payload []byte) error {
			if zxid != next || !bytes.Equal(payload, numbered(zxid)) {
				return fmt.Errorf("record %d, want %d", zxid, next)
			}
			next++
			return nil
		})
		if err != nil || next <= durable {
			t.Fatalf("round %d: found up to %d, durable %d, %v", round, next-1, durable, err)
		}
		if round%2 == 0 {
			err = w.Close()
		} else {
			// Leave it as it is, for the next process to recover again.
			err = w.lock.Close()
			w.fail(fmt.Errorf("abandoned"))
			w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
