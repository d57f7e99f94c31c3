package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// asZabra in the environment makes the test binary the command itself.
const asZabra = "ZABRA_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asZabra) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// commandTimeout ends a command that should have ended by itself.
const commandTimeout = 30 * time.Second

func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	return commandWithin(t, commandTimeout, dir, args...)
}

func commandWithin(t *testing.T, timeout time.Duration, dir string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asZabra+"=1")
	cmd.Dir = dir
	return cmd
}

// zabra runs the command and returns its output and exit code.
func zabra(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := command(t, dir, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// freePort returns a port that nobody listens on at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func writeConfig(t *testing.T, dir string, lines ...string) (path string, port int) {
	t.Helper()
	port = freePort(t)
	text := fmt.Sprintf("tickTime=2000\ndataDir=%s/data\nclientPortAddress=127.0.0.1\nclientPort=%d\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\nadmin.enableServer=false\n", dir, port)
	path = filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(path, []byte(text+strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, port
}

// javaData unpacks a data directory that a Java server wrote, of the tests of javadata.
func javaData(t *testing.T) string {
	t.Helper()
	f, err := os.Open("../../snapshot/javadata/testdata/storage.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "java")
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, "storage/standalone/data/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Data of a Java server goes in, is served, and comes out again with the same digest.
func TestImportServeExport(t *testing.T) {
	dir := t.TempDir()
	cfg, port := writeConfig(t, dir)
	source := javaData(t)
	digest := func(out string) string {
		_, rest, ok := strings.Cut(out, "digest ")
		if !ok {
			t.Fatalf("no digest in %q", out)
		}
		return rest[:strings.IndexAny(rest, ",\n")]
	}
	imported, errOut, code := zabra(t, dir, "import", source, cfg)
	if code != 0 {
		t.Fatalf("import: exit %d\n%s%s", code, imported, errOut)
	}
	verified, errOut, code := zabra(t, dir, "verify", cfg)
	if code != 0 || digest(verified) != digest(imported) || !strings.Contains(verified, "All is well") {
		t.Fatalf("verify: exit %d\n%s%s", code, verified, errOut)
	}
	// A second import would mix two histories.
	if _, errOut, code := zabra(t, dir, "import", source, cfg); code == 0 || !strings.Contains(errOut, "data") {
		t.Fatalf("second import: exit %d\n%s", code, errOut)
	}
	serveOnce(t, dir, cfg, fmt.Sprintf("127.0.0.1:%d", port))
	exported, errOut, code := zabra(t, dir, "export", "-compress", "gz", filepath.Join(dir, "out"), cfg)
	if code != 0 || digest(exported) != digest(imported) {
		t.Fatalf("export: exit %d\n%s%s", code, exported, errOut)
	}
	again := t.TempDir()
	cfg2, _ := writeConfig(t, again)
	back, errOut, code := zabra(t, again, "import", filepath.Join(dir, "out"), cfg2)
	if code != 0 || digest(back) != digest(imported) {
		t.Fatalf("import of the export: exit %d\n%s%s", code, back, errOut)
	}
	dumped, errOut, code := zabra(t, dir, "dump", filepath.Join(dir, "data", config.ZabraDir, config.ImageDir))
	if code != 0 || !strings.Contains(dumped, "meta zxid=") {
		t.Fatalf("dump of the image: exit %d\n%s%s", code, dumped, errOut)
	}
	dumped, errOut, code = zabra(t, dir, "dump", filepath.Join(dir, "data", config.ZabraDir, config.WALDir))
	if code != 0 || !strings.Contains(dumped, "createSession") {
		t.Fatalf("dump of the log: exit %d\n%s%s", code, dumped, errOut)
	}
	dumped, errOut, code = zabra(t, dir, "dump", filepath.Join(dir, "data"))
	if code != 0 || !strings.Contains(dumped, "meta zxid=") || !strings.Contains(dumped, "createSession") {
		t.Fatalf("dump of the data directory: exit %d\n%s%s", code, dumped, errOut)
	}
}

// The verbs that only look leave no trace, also on what a killed server has left: they may be run by another
// user than the server, whose files the server could not write.
func TestLookingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	cfg, port := writeConfig(t, dir)
	if _, errOut, code := zabra(t, dir, "import", javaData(t), cfg); code != 0 {
		t.Fatalf("import: exit %d\n%s", code, errOut)
	}
	cmd := command(t, dir, "server", cfg)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "binding to port") {
	}
	r, err := client.DialRaw(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.NewSession(0); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := zabra(t, dir, "verify", cfg); code == 0 || !strings.Contains(errOut, "stop the server that is running") {
		t.Fatalf("verify beside a server: exit %d\n%s", code, errOut)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// What stands on the pipe must be read before Wait.
	for lines.Scan() {
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("a killed server ended well")
	}
	before := contents(t, filepath.Join(dir, "data"))
	for _, args := range [][]string{{"verify", cfg}, {"export", filepath.Join(dir, "out"), cfg}, {"dump", filepath.Join(dir, "data")}} {
		if _, errOut, code := zabra(t, dir, args...); code != 0 {
			t.Fatalf("%s: exit %d\n%s", args[0], code, errOut)
		}
		if after := contents(t, filepath.Join(dir, "data")); !maps.Equal(before, after) {
			t.Fatalf("%s changed the data from\n%v to\n%v", args[0], before, after)
		}
	}
	if _, _, code := zabra(t, dir, "dump", dir); code == 0 {
		t.Fatal("dumped a folder that is none of ours")
	}
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err == nil {
		t.Fatal("dump left a lock file where no data is")
	}
}

// contents gives a hash of each file below dir.
func contents(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	sums := map[string]uint64{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sums[path] = xxhash.Sum64(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// serveOnce runs a server until it answers, then ends it by SIGTERM, which must be clean, and returns its log.
func serveOnce(t *testing.T, dir, cfg, addr string) (logged string) {
	t.Helper()
	cmd := command(t, dir, "server", cfg)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(log)
	var seen strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&seen, lines.Text())
		if strings.Contains(lines.Text(), "binding to port") {
			break
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
			fmt.Fprintln(&seen, lines.Text())
		}
	}()
	r, err := client.DialRaw(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewSession(0); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if answer, err := client.FourLetter(addr, "srvr"); err != nil || !strings.Contains(answer, "Mode: standalone") {
		t.Fatalf("srvr: %q, %v", answer, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-drained
	if err := cmd.Wait(); err != nil {
		t.Fatalf("server ended with %v", err)
	}
	return seen.String()
}

// What is wrong is told on standard error in words that name it, with Java's exit code.
func TestRefusals(t *testing.T) {
	source := javaData(t)
	f := func(name string, code int, want string, lines []string, args ...string) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg, _ := writeConfig(t, dir, lines...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "CFG", cfg)
			}
			_, errOut, got := zabra(t, dir, args...)
			if got != code || !strings.Contains(errOut, want) {
				t.Errorf("exit %d, want %d with %q; got\n%s", got, code, want, errOut)
			}
		})
	}
	f("no such command", 2, `no command "serve"`, nil, "serve")
	f("no such file", 2, "missing", nil, "server", "CFG.not")
	f("wrong value", 2, "tickTime", []string{"tickTime=abc"}, "server", "CFG")
	f("java data", 3, "zabra import", []string{"dataDir=" + source}, "server", "CFG")
	f("too many arguments", 2, "Usage: zabra import", nil, "import", "a", "b", "c")
	f("nothing to import", 1, "no snapshots or logs", nil, "import", ".", "CFG")
	f("nothing to export", 1, "no data of Zabra", nil, "export", "out", "CFG")
	f("unknown parts", 1, "-parts", nil, "export", "-parts", "all", "out", "CFG")
	f("dump of something else", 1, "neither", nil, "dump", "CFG")
}

func TestVersionAndHelp(t *testing.T) {
	if out, _, code := zabra(t, t.TempDir(), "version"); code != 0 || !strings.Contains(out, "ZooKeeper 3.") {
		t.Errorf("version: exit %d, %q", code, out)
	}
	out, _, code := zabra(t, t.TempDir(), "help")
	for _, v := range verbs() {
		if !strings.Contains(out, "zabra "+v.name) {
			t.Errorf("help does not name %s", v.name)
		}
	}
	if code != 0 {
		t.Errorf("help: exit %d", code)
	}
}

// Without a client port nobody could connect: Java runs all the same, this refuses.
func TestNoClientPort(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(cfg, []byte("dataDir="+dir+"/data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := zabra(t, dir, "server", cfg); code != 2 || !strings.Contains(errOut, "clientPort") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
}
