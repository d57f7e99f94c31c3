//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A kind names one of the servers that tours run against.
type kind string

const (
	java38 kind = "java38" // Debian's package
	java39 kind = "java39" // fetched from Maven Central
	zabra  kind = "zabra"
)

const (
	startTimeout = 60 * time.Second // a JVM on a busy machine
	stopTimeout  = 20 * time.Second
)

// quickJVM are the words that make short-lived JVMs start fast.
var quickJVM = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"}

// baseConfig is the zoo.cfg of every server; a tour's own settings come on top.
var baseConfig = map[string]string{
	"tickTime":                   "2000",
	"initLimit":                  "10",
	"syncLimit":                  "5",
	"clientPortAddress":          "127.0.0.1",
	"admin.enableServer":         "false",
	"4lw.commands.whitelist":     "*",
	"extendedTypesEnabled":       "true",
	"maxClientCnxns":             "0",
	"autopurge.purgeInterval":    "0",
	"nio.sessionlessCnxnTimeout": "60000",
	"audit.enable":               "false",
	"maxSessionTimeout":          "60000",
}

// A server is one running server process with its folders.
type server struct {
	kind   kind
	addr   string // host:port of the client port
	port   int
	secure string   // host:port of the TLS client port, when the configuration has one
	dir    string   // zoo.cfg, data, log
	props  []string // -D words
	at     *place   // nil: where the test is
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	err    error         // of Wait, valid after done
}

// spawn starts every child on one locked thread, so that the kernel can be told to end the
// children with it: a test that is cut off leaves no server behind.
var spawn = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// startProcess starts cmd so that it dies with the test, in another network namespace if at is one.
func startProcess(cmd *exec.Cmd, at *place) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	errc := make(chan error)
	spawn() <- func() { errc <- at.start(cmd) }
	return <-errc
}

// freePort returns a port of the loopback address that nobody listened on a moment ago.
func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startServer runs a server of the kind for a tour, with baseConfig overlaid by the tour's
// keys (a value "-" removes the key), and waits until it serves. The test's end stops it.
func startServer(t testing.TB, k kind, to tour) *server {
	t.Helper()
	s := &server{kind: k, dir: t.TempDir()}
	for _, p := range to.props {
		s.props = append(s.props, strings.ReplaceAll(p, "DIR", s.dir))
	}
	for name, text := range to.files {
		must(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
	}
	s.configure(t, to.cfg)
	if err := s.start(t); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop(t)
		s.wantSoundLog(t)
	})
	return s
}

func (s *server) configure(t testing.TB, cfg map[string]string) {
	if p := cfg["clientPort"]; p != "" {
		n, err := strconv.Atoi(p)
		must(t, err)
		s.port = n
	} else {
		s.port = freePort(t)
	}
	host := "127.0.0.1"
	if h := cfg["clientPortAddress"]; h != "" {
		host = h
	}
	s.addr = net.JoinHostPort(host, strconv.Itoa(s.port))
	all := map[string]string{"clientPort": strconv.Itoa(s.port), "dataDir": filepath.Join(s.dir, "data")}
	for k, v := range baseConfig {
		all[k] = v
	}
	for k, v := range cfg {
		switch {
		case v == "FREEPORT":
			v = strconv.Itoa(freePort(t))
		case strings.Contains(v, "CERTS"):
			v = strings.ReplaceAll(v, "CERTS", certificates(t).dir)
		}
		all[k] = v
	}
	var keys []string
	for k, v := range all {
		if v != "-" {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		v := strings.ReplaceAll(all[k], "DIR", s.dir)
		if k == "secureClientPort" {
			s.secure = "127.0.0.1:" + v
		}
		fmt.Fprintf(&b, "%s=%s\n", k, v)
	}
	must(t, os.MkdirAll(filepath.Join(s.dir, "data"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.dir, "zoo.cfg"), []byte(b.String()), 0o644))
}

// start launches the process and waits until it serves.
func (s *server) start(t testing.TB) error {
	t.Helper()
	s.launch(t)
	return s.awaitServing()
}

// launch starts the process; the folder may hold the data of an earlier life.
func (s *server) launch(t testing.TB) {
	t.Helper()
	cfg := filepath.Join(s.dir, "zoo.cfg")
	switch s.kind {
	case zabra:
		s.cmd = exec.Command(zabraBinary(t), "server", cfg)
		s.cmd.Env = append(os.Environ(), "JVMFLAGS="+strings.Join(s.props, " "))
	default:
		// The references need not survive a power cut: no fsync, small log files.
		args := append([]string{"-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=1024"}, quickJVM...)
		args = append(args, s.props...)
		args = append(args, "-cp", classpath(s.kind), "org.apache.zookeeper.server.quorum.QuorumPeerMain", cfg)
		s.cmd = exec.Command("java", args...)
	}
	s.cmd.Dir = s.dir
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	must(t, startProcess(s.cmd, s.at))
	s.done = make(chan struct{})
	cmd, done := s.cmd, s.done
	go func() { s.err = cmd.Wait(); close(done) }()
}

// awaitServing waits until the server says in what mode it serves.
func (s *server) awaitServing() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for !strings.Contains(string(s.ask("srvr", 500*time.Millisecond)), "Mode: ") {
		select {
		case <-s.done:
			return fmt.Errorf("%s: ended during start: %v\n%s", s.kind, s.err, s.logTail())
		case <-ctx.Done():
			s.cmd.Process.Kill()
			<-s.done
			return fmt.Errorf("%s: not serving after %v\n%s", s.kind, startTimeout, s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// restart ends the process, by SIGKILL if kill is set, and starts it again on its data.
func (s *server) restart(t testing.TB, kill bool) {
	t.Helper()
	if kill {
		s.cmd.Process.Kill()
		<-s.done
	} else {
		s.stop(t)
	}
	must(t, s.start(t))
}

// stop ends the process: Zabra by SIGTERM, upon which it must end with status 0, a
// reference by SIGKILL, since Java may take ten seconds over its farewell.
func (s *server) stop(t testing.TB) {
	t.Helper()
	select {
	case <-s.done:
		t.Errorf("%s: had ended by itself: %v\n%s", s.kind, s.err, s.logTail())
		return
	default:
	}
	if s.kind != zabra {
		s.cmd.Process.Kill()
		<-s.done
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		if s.err != nil {
			t.Errorf("zabra: SIGTERM ended it with %v\n%s", s.err, s.logTail())
		}
	case <-time.After(stopTimeout):
		s.cmd.Process.Kill()
		<-s.done
		t.Errorf("%s: still ran %v after SIGTERM\n%s", s.kind, stopTimeout, s.logTail())
	}
	if t.Failed() && os.Getenv("ZABRA_INTEROP_KEEP") != "" {
		t.Logf("%s: log\n%s", s.kind, s.logTail())
	}
}

// wantSoundLog looks for what no server may say, in all that this one has said in its lives.
func (s *server) wantSoundLog(t testing.TB) {
	t.Helper()
	if s.kind != zabra {
		return
	}
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: ", "level=ERROR msg=panic"} {
		if i := bytes.Index(b, []byte(bad)); i >= 0 {
			t.Errorf("zabra: %q in its log\n%s", bad, b[max(0, i-500):min(len(b), i+6000)])
		}
	}
}

func (s *server) logTail() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	if len(b) > 8000 {
		b = b[len(b)-8000:]
	}
	return string(b)
}

// word sends a four-letter word and returns all of the answer, nil when nobody answers.
func (s *server) word(w string) []byte { return s.ask(w, 10*time.Second) }

func (s *server) ask(w string, patience time.Duration) []byte {
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, w); err != nil {
		return nil
	}
	b, _ := io.ReadAll(c)
	return b
}

// zabraBinary builds the server once per run.
func zabraBinary(t testing.TB) string {
	t.Helper()
	path, err := buildZabra()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildZabra = sync.OnceValues(func() (string, error) {
	if *binaryFlag != "" {
		return filepath.Abs(*binaryFlag)
	}
	path := filepath.Join(scratch, "zabra")
	args := []string{"build", "-o", path}
	if *raceFlag {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "zabra.dev/zabra/server/zabra")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("interop: building zabra: %w\n%s", err, out.String())
	}
	return path, nil
})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
