package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperEnv makes this test binary another program: see TestMain.
const helperEnv = "ZABRA_LOCAL_HELPER"

// startTime bounds waiting for a helper.
const startTime = 20 * time.Second

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "serve": // a server, as far as srvr goes, until SIGTERM
		serve(os.Args[1])
	case "stubborn": // one that does not heed SIGTERM
		signal.Ignore(syscall.SIGTERM)
		serve(os.Args[1])
	case "fail":
		fmt.Fprintln(os.Stderr, "helper: no server today")
		os.Exit(3)
	case "tied": // one that watches its parent
		WatchParent()
		fmt.Println("watching")
		select {}
	case "parent": // starts two servers, tells their pids, and waits
		parent(os.Args[1])
	}
	os.Exit(m.Run())
}

func serve(addr string) {
	l, err := net.Listen("tcp", addr)
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			_, _ = io.ReadFull(c, make([]byte, 4))
			_, _ = io.WriteString(c, "Zookeeper version: x\nZxid: 0x300000007\nMode: follower\nNode count: 5\n")
			_ = c.Close()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func parent(dir string) {
	_ = os.Setenv(helperEnv, "stubborn")
	runtime.LockOSThread() // the first thread does not end
	e, err := New(Options{Servers: 2, Dir: dir, Command: []string{os.Args[0], ADDR}})
	if err == nil {
		started := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with this goroutine, and must not take the servers with it
			started <- e.Start(startTime)
		}()
		err = <-started
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	time.Sleep(100 * time.Millisecond) // the end of a thread cannot be waited for
	fmt.Println(e.Servers[0].PID(), e.Servers[1].PID())
	select {} // killed by the test
}

// newEnsemble lays out an ensemble of helpers.
func newEnsemble(t *testing.T, mode string, o Options) *Ensemble {
	t.Helper()
	t.Setenv(helperEnv, mode)
	o.Command = []string{os.Args[0], ADDR}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func configOf(t *testing.T, s *Server) []string {
	t.Helper()
	b, err := os.ReadFile(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestStartKillStart(t *testing.T) {
	e := newEnsemble(t, "serve", Options{Servers: 2, Settings: map[string]string{"snapCount": "7", "tickTime": ""}})
	if err := e.Start(startTime); err != nil {
		t.Fatal(err)
	}
	if len(e.Addrs()) != 2 || e.Addrs()[0] == e.Addrs()[1] || e.ConnectString() != strings.Join(e.Addrs(), ",") {
		t.Errorf("addresses %v, connect string %s", e.Addrs(), e.ConnectString())
	}
	s := e.Servers[1]
	st := s.Status()
	if st.Mode != "follower" || st.Epoch() != 3 || !st.Running || st.PID != s.PID() || st.Err != nil || st.Leads() {
		t.Errorf("%+v", st)
	}
	if err := s.Start(); !errors.Is(err, ErrRunning) {
		t.Errorf("second start: %v", err)
	}
	data := filepath.Join(s.DataDir(), "x")
	if err := os.WriteFile(data, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Clear(); !errors.Is(err, ErrRunning) {
		t.Errorf("Clear: %v", err)
	}
	s.Kill()
	if again := s.Status(); again.Running || again.Mode != "" || again.PID != st.PID || again.Err == nil {
		t.Errorf("after the kill: %+v", again)
	}
	s.Kill() // of an ended process does nothing
	if err := s.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to an ended process: %v", err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Error(err)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Clear: %v", err)
	}
	if err := e.Set("snapCount", "8"); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(startTime); err != nil {
		t.Fatal(err)
	}
	if s.PID() == st.PID {
		t.Error("the process is the old one")
	}
	if err := e.Stop(startTime); err != nil {
		t.Fatal(err)
	}
	for _, st := range e.Status() {
		if st.Running || st.Mode != "" {
			t.Errorf("after Stop: %+v", st)
		}
	}

	lines := configOf(t, s)
	for _, want := range []string{"snapCount=8", "maxClientCnxns=0", "clientPortAddress=127.0.0.1", "dataDir=" + s.DataDir()} {
		if !slices.Contains(lines, want) {
			t.Errorf("zoo.cfg has no %q: %q", want, lines)
		}
	}
	members := 0
	for _, l := range lines {
		if strings.HasPrefix(l, "tickTime") {
			t.Errorf("zoo.cfg: %q", lines)
		}
		if strings.HasPrefix(l, "server.") {
			members++
		}
	}
	if id, err := os.ReadFile(filepath.Join(s.DataDir(), "myid")); err != nil || string(id) != "2\n" || members != 2 {
		t.Errorf("myid %q, %v, %d members", id, err, members)
	}
}

// Observers come last and know what they are; one voter alone is standalone unless it may not be.
func TestLayOut(t *testing.T) {
	e := newEnsemble(t, "serve", Options{Servers: 1, Observers: 1})
	if got := configOf(t, e.Servers[1]); !slices.Contains(got, "peerType=observer") || !strings.Contains(got[len(got)-1], ":observer;127.0.0.1:") {
		t.Errorf("%q", got)
	}
	if got := configOf(t, e.Servers[0]); slices.Contains(got, "peerType=observer") {
		t.Errorf("%q", got)
	}
	members := func(e *Ensemble) int {
		return strings.Count(strings.Join(configOf(t, e.Servers[0]), "\n"), "\nserver.")
	}
	if n := members(newEnsemble(t, "serve", Options{Servers: 1})); n != 0 {
		t.Errorf("%d members of a standalone server", n)
	}
	if n := members(newEnsemble(t, "serve", Options{Servers: 1, Settings: map[string]string{"standaloneEnabled": "false"}})); n != 1 {
		t.Errorf("%d members of an ensemble of one", n)
	}
}

// Data stays unless fresh data is asked for, and so do members that a reconfiguration wrote.
func TestAgain(t *testing.T) {
	dir := t.TempDir()
	e := newEnsemble(t, "serve", Options{Servers: 2, Dir: dir})
	data := filepath.Join(e.Servers[0].DataDir(), "x")
	if err := os.WriteFile(data, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	pointer := "dynamicConfigFile=" + dir + "/members"
	if err := os.WriteFile(e.Servers[0].Config(), []byte("dataDir=/x\n"+pointer+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEnsemble(t, "serve", Options{Servers: 3, Dir: dir})
	if _, err := os.Stat(data); err != nil {
		t.Error(err)
	}
	if got := configOf(t, e.Servers[0]); got[len(got)-1] != pointer || strings.Contains(strings.Join(got, "\n"), "server.") {
		t.Errorf("%q", got)
	}
	if got := configOf(t, e.Servers[1]); slices.Contains(got, pointer) {
		t.Errorf("%q", got)
	}
	for i, want := range []bool{true, false} {
		if got, err := e.Servers[i].Reconfigured(); got != want || err != nil {
			t.Errorf("server %d reconfigured: %v, %v", i+1, got, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "4", "data") // not an ensemble's: it has no zoo.cfg
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	e = newEnsemble(t, "serve", Options{Servers: 1, Dir: dir, Fresh: true})
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data of before: %v", err)
	}
	if got := configOf(t, e.Servers[0]); slices.Contains(got, pointer) {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	e := newEnsemble(t, "serve", Options{Servers: 1, Dir: dir})
	// Below the range of outgoing connections, one of which could hold a port that has to be free.
	port, err := findPorts(2)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		o    Options
		want error
		text string
	}{
		{Options{Servers: 1, Dir: dir}, ErrInUse, dir},
		{Options{Servers: 1, Port: port}, ErrPortTaken, fmt.Sprintf("%d, the client port of server 1", port)},
		{Options{Servers: 2, Port: port - quorumAbove - 1}, ErrPortTaken, fmt.Sprintf("%d, the quorum port of server 2", port)},
		{Options{Servers: 1, Port: port - electionAbove}, ErrPortTaken, fmt.Sprintf("%d, the election port of server 1", port)},
		{Options{Servers: 1, Port: 64000}, nil, "must exist"},
		{Options{Servers: 1, Settings: map[string]string{"clientPort": "1"}}, ErrSetting, "clientPort"},
		{Options{Servers: 1, Settings: map[string]string{"server.1": "x"}}, ErrSetting, "server.1"},
		{Options{Observers: 1}, ErrNoServers, "1 to 99"},
		{Options{Servers: 1, Observers: -1}, ErrNoServers, "1 to 99"},
		{Options{Servers: 100}, ErrNoServers, "1 to 99"},
	} {
		if c.o.Dir == "" {
			c.o.Dir = t.TempDir()
		}
		got, err := New(c.o)
		if err == nil {
			_ = got.Close()
			t.Errorf("%+v is laid out", c.o)
		} else if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if err := e.Set("dataDir", "x"); !errors.Is(err, ErrSetting) {
		t.Errorf("Set: %v", err)
	}
	if _, err := e.WaitLeader(time.Millisecond); !errors.Is(err, ErrNotServing) {
		t.Errorf("WaitLeader: %v", err)
	}
}

func TestServerThatEnds(t *testing.T) {
	e := newEnsemble(t, "fail", Options{Servers: 1})
	err := e.Start(startTime)
	if !errors.Is(err, ErrNotServing) || !strings.Contains(err.Error(), "no server today") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	if got := e.Servers[0].LogTail(1); got != "helper: no server today" {
		t.Errorf("log: %q", got)
	}
}

func TestBinaryThatIsMissing(t *testing.T) {
	e, err := New(Options{Servers: 1, Dir: t.TempDir(), Command: []string{filepath.Join(t.TempDir(), "none")}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Start(time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A server that does not heed the request to end is killed, and Stop tells.
func TestStubborn(t *testing.T) {
	e := newEnsemble(t, "stubborn", Options{Servers: 1})
	if err := e.Start(startTime); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "server 1") {
		t.Errorf("Stop: %v", err)
	}
	if st := e.Servers[0].Status(); st.Running {
		t.Errorf("%+v", st)
	}
}

// Servers end with the process that started them, even with one that is killed, and not with one of its threads.
func TestParentKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends children with their parent")
	}
	cmd := exec.Command(os.Args[0], t.TempDir())
	cmd.Env = append(os.Environ(), helperEnv+"=parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	var pids [2]int
	if _, err := fmt.Sscan(line, &pids[0], &pids[1]); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("server %d does not live: %v", pid, err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	deadline := time.Now().Add(startTime)
	for _, pid := range pids {
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("server %d outlives its parent", pid)
			}
			time.Sleep(pollTime)
		}
	}
}

// A server of Zabra ends when the other end of its pipe is closed, without the help of the system; a process that has only
// inherited the variable does not.
func TestWatchParent(t *testing.T) {
	start := func(file *os.File) (*exec.Cmd, chan error) {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=tied", tetherEnv+"=3")
		cmd.ExtraFiles = []*os.File{file}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "watching\n" {
			t.Fatalf("%q, %v", line, err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		return cmd, done
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, done := start(r)
	_ = r.Close()
	select {
	case err := <-done:
		t.Fatalf("it ended while its parent is there: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	_ = w.Close()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("it ended: %v", err)
		}
	case <-time.After(startTime):
		t.Fatal("it outlives its parent")
	}

	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd, done := start(null)
	select {
	case err := <-done:
		t.Fatalf("a file that is no pipe ended it: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	_ = cmd.Process.Kill()
	<-done
}

// running tells whether a process exists and is more than what its parent has not asked for yet.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
