package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zabra.dev/zabra/server/client"
)

// Every thread of a server may sleep late, the one that is made before main included; the process is the one that
// was started, and what it starts does not take itself for a second execution.
func TestTimersAreRelaxed(t *testing.T) {
	dir := t.TempDir()
	cfg, port := writeConfig(t, dir)
	cmd := command(t, dir, "server", cfg)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	c, err := client.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", port), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
	if want := filepath.Base(cmd.Path); err != nil || strings.TrimSpace(string(name)) != want[:min(len(want), 15)] {
		t.Errorf("the process has the name %q, want that of %s; %v", name, cmd.Path, err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatal(threads, err)
	}
	for _, thread := range threads {
		// Of a thread that is not the first, /proc/TID tells it and /proc/PID/task/TID does not.
		b, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		if os.IsPermission(err) {
			t.Skip("the kernel does not tell the slack of another process: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(b)); got != fmt.Sprint(timerSlackNs) {
			t.Errorf("thread %s has a slack of %s ns", filepath.Base(thread), got)
		}
	}
}
