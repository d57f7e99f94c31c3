package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/local"
)

// newEnsemble lays out an ensemble whose servers are this test binary.
func newEnsemble(t *testing.T, o local.Options) *local.Ensemble {
	t.Helper()
	t.Setenv(asZabra, "1")
	o.Command = []string{os.Args[0], "server", local.CFG}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	e, err := local.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// Three processes on real sockets lose their leader to kill -9, and no acknowledged write with it; the
// killed one catches up.
func TestEnsembleOfProcesses(t *testing.T) {
	e := newEnsemble(t, local.Options{Servers: 3})
	if err := e.Start(commandTimeout); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*commandTimeout)
	defer cancel()
	written := 0
	write := func(addrs string, n int) {
		t.Helper()
		c, err := client.Dial(ctx, addrs, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range n {
			if _, err := c.Create(ctx, fmt.Sprintf("/n%d", written), nil, proto.WorldAnyone, client.Persistent); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	for range 2 {
		old, err := e.WaitLeader(commandTimeout)
		if err != nil {
			t.Fatal(err)
		}
		write(e.ConnectString(), 50)
		old.Kill()
		leader, err := e.WaitLeader(commandTimeout)
		if err != nil {
			t.Fatal(err)
		}
		write(leader.Addr(), 50)
		if err := old.Start(); err != nil {
			t.Fatal(err)
		}
		if err := old.WaitServing(commandTimeout); err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial(ctx, old.Addr(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Sync(ctx, "/"); err != nil {
			t.Fatal(err)
		}
		for i := range written {
			if _, err := c.Exists(ctx, fmt.Sprintf("/n%d", i)); err != nil {
				t.Fatalf("acknowledged write %d of %d: %v", i, written, err)
			}
		}
		_ = c.Close()
	}
}

// An ensembleRun is a running verb ensemble.
type ensembleRun struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    interface{ Write([]byte) (int, error) }
	lines *bufio.Scanner
	addrs string
}

// startEnsemble runs the verb and reads up to the connect string.
func startEnsemble(t *testing.T, dir string, args ...string) *ensembleRun {
	t.Helper()
	cmd := command(t, dir, append([]string{"ensemble", "-dir", "e"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &ensembleRun{t: t, cmd: cmd, in: in, lines: bufio.NewScanner(out)}
	r.addrs = r.wait(`^Connect string: (.*)$`)[1]
	return r
}

// wait reads up to a line that matches and returns the groups.
func (r *ensembleRun) wait(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	var all []string
	for r.lines.Scan() {
		if m := re.FindStringSubmatch(r.lines.Text()); m != nil {
			return m
		}
		all = append(all, r.lines.Text())
	}
	r.t.Fatalf("no line %s in:\n%s", pattern, strings.Join(all, "\n"))
	return nil
}

func (r *ensembleRun) say(line string) {
	r.t.Helper()
	if _, err := fmt.Fprintln(r.in, line); err != nil {
		r.t.Fatal(err)
	}
}

// end sends the signal and waits; all servers must have ended.
func (r *ensembleRun) end(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
	r.wait("all servers have ended$")
	for r.lines.Scan() {
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Fatalf("ensemble ended with %v", err)
	}
	for _, addr := range strings.Split(r.addrs, ",") {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			r.t.Errorf("the server at %s still runs", addr)
		}
	}
}

// freeBase finds ports for n servers.
func freeBase(t *testing.T, n int) string {
	t.Helper()
	e, err := local.New(local.Options{Servers: n, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, port, _ := strings.Cut(e.Servers[0].Addr(), ":")
	return port
}

// The verb ensemble tells the connect string, who leads and who ended; lines of its input kill and start
// servers; signals end all; the next one goes on with the data, or afresh.
func TestEnsembleVerb(t *testing.T) {
	dir := t.TempDir()
	port := freeBase(t, 4)
	ctx, cancel := context.WithTimeout(context.Background(), 2*commandTimeout)
	defer cancel()
	args := []string{"-n", "3", "-observers", "1", "-port", port, "-set", "snapCount=500", "-set", "tickTime=1000"}
	r := startEnsemble(t, dir, args...)
	leader := r.wait(`server\.(\d) +leader +epoch 1 +pid (\d+)$`)
	c, err := client.Dial(ctx, r.addrs, client.Options{})
	if err != nil {
		t.Fatalf("connect string %q: %v", r.addrs, err)
	}
	if _, err := c.Create(ctx, "/a", nil, proto.WorldAnyone, client.Persistent); err != nil {
		t.Fatal(err)
	}
	c.Abandon()
	if text, err := os.ReadFile(filepath.Join(dir, "e", "1", "zoo.cfg")); err != nil || !strings.Contains(string(text), "snapCount=500\nstandaloneEnabled=false\nsyncLimit=5\ntickTime=1000\n") {
		t.Errorf("%v, zoo.cfg:\n%s", err, text)
	}

	for _, other := range [][]string{{"-dir", "e"}, {"-dir", "e2"}} {
		_, errOut, code := zabra(t, dir, append([]string{"ensemble", "-port", port}, other...)...)
		want := "-port"
		if other[1] == "e" {
			want = "-dir"
		}
		if code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("a second ensemble with %v: exit %d, %s", other, code, errOut)
		}
	}

	r.say("kill " + leader[1])
	ended := regexp.QuoteMeta(filepath.Join("e", leader[1], "server.log"))
	r.wait(fmt.Sprintf(`server\.%s +ended \(signal: killed, pid %s\)\. The end of .*%s:$`, leader[1], leader[2], ended))
	r.wait(`server\.\d +leader +epoch 2 +pid`)
	r.say("start " + leader[1])
	r.wait(`server\.` + leader[1] + ` +follower +epoch 2 +pid`)
	r.say("burn 1")
	r.wait(`there are kill, stop and start`)
	r.say("kill 9")
	r.wait(`a server from 1 to 4`)
	r.end(syscall.SIGINT)

	exists := func(r *ensembleRun) error {
		c, err := client.Dial(ctx, r.addrs, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Exists(ctx, "/a")
		return err
	}
	r = startEnsemble(t, dir, args...)
	if err := exists(r); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	r.end(syscall.SIGTERM)
	r = startEnsemble(t, dir, append(args, "-fresh")...)
	if err := exists(r); !errors.Is(err, proto.ErrNoNode) {
		t.Errorf("afresh: %v", err)
	}
	r.end(syscall.SIGTERM)
}

// Without a terminal and without a server left, the verb ends and has told why.
func TestEnsembleThatFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "e", "1", "data", "zabra")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "FORMAT"), []byte("none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := zabra(t, dir, "ensemble", "-dir", "e", "-n", "1", "-port", freeBase(t, 1))
	if code == 0 || !strings.Contains(errOut, "all servers have ended") || !regexp.MustCompile(`server\.1 +ended \(exit status \d+, pid`).MatchString(out) || !strings.Contains(out, "FORMAT") {
		t.Errorf("exit %d, %s\n%s", code, errOut, out)
	}
}

func TestEnsembleFlags(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-n", "0"}, "-n 0"},
		{[]string{"-observers", "-1"}, "-observers -1"},
		{[]string{"-port", "0"}, "-port 0"},
		{[]string{"-port", "64000"}, "64000"},
		{[]string{"-set", "clientPort=1"}, "-set: "},
		{[]string{"-set", "clientPort"}, "KEY=VALUE"},
		{[]string{"-set", "tickTime=x", "-port", freeBase(t, 3)}, "tickTime"},
		{[]string{"more"}, "Usage"},
	} {
		if _, errOut, code := zabra(t, dir, append([]string{"ensemble"}, c.args...)...); code == 0 || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, errOut)
		}
	}
}
