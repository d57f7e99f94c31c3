package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/local"
)

// The verb hosts starts three servers by their zkServer.sh, restarts one after the other, the leader last, and
// stops them. ssh is a script that runs its command on this machine.
func TestHosts(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell to stand in for hosts")
	}
	dir := t.TempDir()
	e := newEnsemble(t, local.Options{Servers: 3, Dir: filepath.Join(dir, "an ensemble")})
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("path/ssh", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec sh -c \"$*\"\n")
	list := ""
	for _, s := range e.Servers {
		list += fmt.Sprintf("host%d %s\n", s.ID, s.Config())
	}
	write("hosts", list)
	script := filepath.Join(dir, "bin", "zkServer.sh")
	if err := os.Mkdir(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.Args[0], script); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(dir, "path")+":"+os.Getenv("PATH"))
	pid := func(s *local.Server) int {
		text, err := os.ReadFile(filepath.Join(s.DataDir(), "zookeeper_server.pid"))
		if err != nil {
			return 0
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	t.Cleanup(func() { // of a test that failed: stop removes the files
		for _, s := range e.Servers {
			if n := pid(s); n > 0 {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
	})
	verb := func(command string) string {
		t.Helper()
		out, errOut, code := zabra(t, dir, "hosts", "-script", script, command)
		if code != config.ExitNormal {
			t.Fatalf("%s: exit %d\n%s%s", command, code, out, errOut)
		}
		return out
	}
	if out := verb("start"); strings.Count(out, "STARTED") != 3 {
		t.Errorf("start:\n%s", out)
	}
	leader, err := e.WaitLeader(commandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range e.Servers {
		for until := time.Now().Add(commandTimeout); s.Status().Mode == ""; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("server %d does not serve:\n%s", s.ID, s.LogTail(20))
			}
		}
	}
	if out := verb("status"); strings.Count(out, "leader\n") != 1 || strings.Count(out, "follower\n") != 2 {
		t.Errorf("status:\n%s", out)
	}
	before := map[int]int{}
	for _, s := range e.Servers {
		before[s.ID] = pid(s)
	}
	out := verb("restart")
	if last := strings.LastIndex(out, "restart\n"); !strings.HasSuffix(out[:last], fmt.Sprintf("\nhost%d %s (leader): ", leader.ID, leader.Config())) || strings.Count(out, "all serve\n") != 3 {
		t.Errorf("restart with server %d as leader:\n%s", leader.ID, out)
	}
	for _, s := range e.Servers {
		if n := pid(s); n == 0 || n == before[s.ID] {
			t.Errorf("server %d: process %d, before %d", s.ID, n, before[s.ID])
		}
	}
	verb("stop")
	for _, st := range e.Status() {
		if st.Mode != "" {
			t.Errorf("after stop: %+v", st)
		}
	}
}
