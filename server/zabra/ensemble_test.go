package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// freeBase finds a port whose n-1 followers, and those 1000 and 2000 above, are free at the moment. They are
// below the usual range of outgoing connections, which other tests may have filled with closed ones.
func freeBase(t *testing.T, n int) int {
	t.Helper()
	isFree := func(port int) bool {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil && l.Close() == nil
	}
next:
	for range 100 {
		base := 12000 + rand.IntN(18000)
		for _, above := range []int{0, 1000, 2000} {
			for i := range n {
				if !isFree(base + above + i) {
					continue next
				}
			}
		}
		return base
	}
	t.Fatal("no free ports")
	return 0
}

// waitMode waits until a server that is not skipped says that it is what is wanted, and returns its index.
func waitMode(t *testing.T, members []*member, skip int, want string) int {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(commandTimeout)
	for {
		for i, m := range members {
			if i == skip {
				continue
			}
			if answer, err := client.FourLetter(m.addr, "srvr"); err == nil && strings.Contains(answer, "Mode: "+want+"\n") {
				return i
			}
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("no server became %s", want)
		}
	}
}

func connectString(members []*member, skip int) string {
	var addrs []string
	for i, m := range members {
		if i != skip {
			addrs = append(addrs, m.addr)
		}
	}
	return strings.Join(addrs, ",")
}

// Three processes on real sockets lose their leader to kill -9, and no acknowledged write with it; the
// killed one catches up.
func TestEnsembleOfProcesses(t *testing.T) {
	dir := t.TempDir()
	members, err := layOut(dir, 3, freeBase(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	start := func(i int) *exec.Cmd {
		cmd := command(t, dir, "server", members[i].cfg)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd, sig syscall.Signal) {
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
	}
	cmds := make([]*exec.Cmd, 3)
	for i := range cmds {
		cmds[i] = start(i)
	}
	t.Cleanup(func() {
		for _, cmd := range cmds {
			end(cmd, syscall.SIGKILL)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*commandTimeout)
	defer cancel()
	written := 0
	write := func(skip, n int) {
		t.Helper()
		c, err := client.Dial(ctx, connectString(members, skip), client.Options{})
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
		l := waitMode(t, members, -1, "leader")
		write(-1, 50)
		end(cmds[l], syscall.SIGKILL)
		waitMode(t, members, l, "leader")
		write(l, 50)
		cmds[l] = start(l)
		only := []*member{members[l]}
		waitMode(t, only, -1, "follower")
		c, err := client.Dial(ctx, members[l].addr, client.Options{})
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

// The verb ensemble tells the connect string and who leads, and Ctrl-C ends all servers.
func TestEnsembleVerb(t *testing.T) {
	dir := t.TempDir()
	base := freeBase(t, 3)
	cmd := command(t, dir, "ensemble", "-n", "3", "-dir", dir, "-port", fmt.Sprint(base))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	connect := ""
	for lines.Scan() && !strings.Contains(lines.Text(), "leader") {
		if rest, ok := strings.CutPrefix(lines.Text(), "Connect string: "); ok {
			connect = rest
		}
	}
	c, err := client.Dial(context.Background(), connect, client.Options{})
	if err != nil {
		t.Fatalf("connect string %q: %v", connect, err)
	}
	if _, err := c.Create(context.Background(), "/a", nil, proto.WorldAnyone, client.Persistent); err != nil {
		t.Fatal(err)
	}
	c.Abandon()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("ensemble ended with %v", err)
	}
	for _, addr := range strings.Split(connect, ",") {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			t.Errorf("the server at %s still runs", addr)
		}
	}
	if _, errOut, code := zabra(t, dir, "ensemble", "-n", "99"); code == 0 || !strings.Contains(errOut, "-n 99") {
		t.Errorf("-n 99: exit %d, %s", code, errOut)
	}
}
