package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The test binary is the scripts and the server as well, by the name it runs under: a link named
// zkServer.sh calls Main, and what start runs is a stand-in for a server.
func TestMain(m *testing.M) {
	switch {
	case Handles(os.Args[0]):
		os.Exit(Main(os.Args, os.Environ(), os.Stdout, os.Stderr))
	case os.Args[0] == ProcessName:
		os.Exit(standIn(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// standIn listens on a free port, which it writes into its zoo.cfg, and answers srvr until SIGTERM.
// STANDIN makes it misbehave: die, late (die after it has reported to be starting), silent (report nothing),
// stubborn (ignore SIGTERM).
func standIn(args []string) int {
	mode := os.Getenv("STANDIN")
	if mode == "die" {
		fmt.Fprintln(os.Stderr, "one\ntwo\nthree\nInvalid config, exiting abnormally")
		return 2
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	notify := NewNotifier()
	if mode != "silent" {
		notify.Starting()
	}
	if mode == "late" {
		fmt.Fprintln(os.Stderr, "Address already in use")
		return 1
	}
	if os.Getenv(notifyVariable) != "" || args[0] != "server" {
		return 3
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer listener.Close()
	if len(args) > 1 {
		if err := rewritePort(args[1], listener.Addr().(*net.TCPAddr).Port); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	go answer(listener)
	if mode != "silent" {
		notify.Ready()
	}
	fmt.Println("autocreate:", strings.Contains(os.Getenv("SERVER_JVMFLAGS"), "-Dzookeeper.datadir.autocreate=false"), "extra:", os.Getenv("EXTRA"))
	for range terminated {
		if mode != "stubborn" {
			return 0
		}
	}
	return 0
}

// clientPortForm finds the client port in zoo.cfg: its own line or the end of a member line.
var clientPortForm = regexp.MustCompile(`(?m)(^clientPort=|^server\.1=.*;127\.0\.0\.1:)\d+$`)

func rewritePort(path string, port int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, clientPortForm.ReplaceAll(text, []byte("${1}"+strconv.Itoa(port))), 0o644)
}

// answer serves srvr until the listener is closed.
func answer(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err == nil && string(word[:]) == "srvr" {
			fmt.Fprint(conn, "Zookeeper version: 3.9.5\nOutstanding: 0\nMode: standalone\nNode count: 5\n")
		}
		conn.Close()
	}
}

// bench is an installation with one server: ROOT/opt/bin with the links, ROOT/srv/conf, ROOT/srv/data.
type bench struct {
	t   *testing.T
	dir string
	env []string
}

const standardConfig = "dataDir=ROOT/srv/data\nclientPort=21299\nclientPortAddress=127.0.0.1\n"

func newBench(t *testing.T, config string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"opt/bin", "opt/conf", "srv/conf", "srv/data", "srv/log"} {
		if err := os.MkdirAll(b.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{ServerName, InitializeName} {
		if err := os.Symlink(self, b.path("opt/bin/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	b.write("srv/conf/zoo.cfg", config)
	b.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "HOSTNAME=vm", "ZOO_LOG_DIR=" + b.path("srv/log"),
		"GORACE=atexit_sleep_ms=0"} // or each process sleeps for a second at its end under the race detector
	t.Cleanup(b.killServer)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(strings.ReplaceAll(text, "ROOT", b.dir)), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// killServer ends a server that a test has left.
func (b *bench) killServer() {
	proc, err := readPID(b.path("srv/data/zookeeper_server.pid"))
	if err == nil && proc.running && proc.foreign == "" {
		if err := syscall.Kill(proc.pid, syscall.SIGKILL); err != nil {
			b.t.Error(err)
		}
	}
}

// result is what a script did.
type result struct {
	out, err string
	exit     int
}

// fill splits the words of a command line: NAME=VALUE before the first other word go into the environment.
func (b *bench) fill(words []string) (args, env []string) {
	env = append(env, b.env...)
	for i, w := range words {
		w = strings.ReplaceAll(w, "ROOT", b.dir)
		if len(args) == 0 && strings.Contains(w, "=") {
			env = append(env, w)
			continue
		}
		if len(args) == 0 {
			w = b.path("opt/bin/" + words[i])
		}
		args = append(args, w)
	}
	return args, env
}

func (b *bench) result(stdout, stderr *bytes.Buffer, exit int) result {
	clean := func(s *bytes.Buffer) string { return strings.ReplaceAll(s.String(), b.dir, "ROOT") }
	return result{out: clean(stdout), err: clean(stderr), exit: exit}
}

// run calls a script in this process; the servers it starts are processes.
func (b *bench) run(words ...string) result {
	b.t.Helper()
	args, env := b.fill(words)
	var stdout, stderr bytes.Buffer
	exit := Main(args, env, &stdout, &stderr)
	return b.result(&stdout, &stderr, exit)
}

// runProcess calls a script in a process of its own, as a shell would.
func (b *bench) runProcess(words ...string) result {
	b.t.Helper()
	args, env := b.fill(words)
	var stdout, stderr bytes.Buffer
	cmd := exec.Cmd{Path: args[0], Args: args, Env: env, Dir: b.dir, Stdout: &stdout, Stderr: &stderr}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return b.result(&stdout, &stderr, cmd.ProcessState.ExitCode())
}

// expect checks standard output and exit code, and that each of inErr stands in standard error.
func (b *bench) expect(r result, exit int, out string, inErr ...string) {
	b.t.Helper()
	if r.exit != exit || r.out != out {
		b.t.Errorf("exit %d, stdout\n%q\nwant %d\n%q\nstderr %q", r.exit, r.out, exit, out, r.err)
	}
	for _, s := range inErr {
		if !strings.Contains(r.err, s) {
			b.t.Errorf("stderr %q lacks %q", r.err, s)
		}
	}
}

// server calls zkServer.sh for the bench's configuration directory.
func (b *bench) server(words ...string) result {
	b.t.Helper()
	return b.run(serverWords(words)...)
}

func serverWords(words []string) []string {
	i := 0
	for i < len(words) && strings.Contains(words[i], "=") {
		i++
	}
	all := append(append([]string(nil), words[:i]...), ServerName, "--config", "ROOT/srv/conf")
	return append(all, words[i:]...)
}

// pid returns the content of the pid file.
func (b *bench) pid() string {
	b.t.Helper()
	text, err := os.ReadFile(b.path("srv/data/zookeeper_server.pid"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}
