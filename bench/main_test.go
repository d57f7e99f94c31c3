package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/responder"
)

// helperEnv makes this test binary a responder at its first argument: a stand-in for each server of a comparison.
const helperEnv = "ZABRA_BENCH_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(Main([]string{"responder", "-addr", os.Args[1]}, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func startResponder(t *testing.T) string {
	t.Helper()
	r, err := responder.Start(responder.Options{Address: "127.0.0.1:0", DataBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r.Addr().String()
}

func runMain(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLineErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	bad := func(code int, part string, args ...string) {
		t.Helper()
		got, stdout, stderr := runMain(args...)
		if got != code || !strings.Contains(stderr, part) || stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d and %q", args, got, stdout, stderr, code, part)
		}
	}
	bad(exitUsage, `no command "walk"`, "walk")
	bad(exitUsage, "named mixes: paper, read95", "-mix", "nosuch")
	bad(exitUsage, `no request is called "nosuch"`, "run", "-mix", "nosuch:5")
	bad(exitUsage, "-payload", "-payload", "much")
	bad(exitUsage, "-dist", "-dist", "odd")
	bad(exitUsage, "flag provided but not defined", "-nosuch")
	bad(exitUsage, `"extra" was not expected`, "run", "extra")
	bad(exitFailed, "connection refused", "run", "-servers", nobody, "-quiet")
	bad(exitFailed, "-1 sessions", "run", "-servers", nobody, "-sessions", "-1")
	bad(exitUsage, `no group "beauty"`, "compare", "-figures", "beauty")
	bad(exitUsage, "must be above 0", "compare", "-rounds", "0")
	bad(exitFailed, "responder:", "responder", "-addr", "nonsense")
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		code, stdout, _ := runMain(args...)
		if code != exitOK || !strings.Contains(stdout, "zabra bench compare") {
			t.Errorf("%v: %d, %q", args, code, stdout)
		}
	}
	if code, _, stderr := runMain("run", "-h"); code != exitOK || !strings.Contains(stderr, "-outstanding COUNT") {
		t.Errorf("run -h: %d, %q", code, stderr)
	}
}

// A run leaves a table, and the same figures as JSON and CSV.
func TestRunWritesResults(t *testing.T) {
	addr, dir := startResponder(t), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	code, stdout, stderr := runMain("run", "-servers", addr, "-mix", "get:3,set:1", "-keys", "50", "-warmup", "0", "-duration", "300ms", "-sessions", "4",
		"-json", file("j"), "-csv", file("c"), "-intervals", file("i"), "-seed", "9")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, part := range []string{"mix get:3,set:1, closed loop, 4 x 16 outstanding", "get", "set", "total", "generator: CPU"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
	b, err := os.ReadFile(file("j"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Total.Count == 0 || r.Total.Histogram.TotalCount() != r.Total.Count || r.Settings.Seed != 9 || r.Op(load.Set).Count == 0 || r.Machine.CPUs == 0 {
		t.Errorf("report %+v", r)
	}
	c, err := os.Open(file("c"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lines, err := csv.NewReader(c).ReadAll() // which also demands the same count of fields everywhere
	if err != nil || len(lines) != 4 || lines[1][9] != "get" || lines[3][9] != "total" {
		t.Errorf("csv %q, %v", lines, err)
	}
	if b, err := os.ReadFile(file("i")); err != nil || !strings.HasPrefix(string(b), "second,") {
		t.Errorf("intervals %q, %v", b, err)
	}
}

// What was measured is written although the run did not end well.
func TestInterruptedRunWritesResults(t *testing.T) {
	addr, path := startResponder(t), filepath.Join(t.TempDir(), "j")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The first progress line interrupts.
	stderr := writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	var stdout bytes.Buffer
	code := run(ctx, []string{"run", "-servers", addr, "-warmup", "0", "-duration", "1m", "-keys", "10", "-json", path}, &stdout, stderr)
	if code != exitFailed || !strings.Contains(stdout.String(), "INCOMPLETE: context canceled") {
		t.Errorf("exit code %d\n%s", code, stdout.String())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil || r.Incomplete == "" || r.Total.Count == 0 || r.Measured == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Every named mix is a valid load, has a source, and runs.
func TestNamedMixes(t *testing.T) {
	addr := startResponder(t)
	_, list, _ := runMain("mixes")
	for _, m := range namedMixes {
		if m.what == "" || m.source == "" || m.flags["mix"] == "" || !strings.Contains(list, m.name+": ") {
			t.Errorf("%s is incomplete", m.name)
		}
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		f := addLoadFlags(fs)
		if err := fs.Parse([]string{"-mix", m.name, "-keys", "40", "-warmup", "0", "-duration", "0", "-sessions", "3"}); err != nil {
			t.Fatal(err)
		}
		cfg, err := f.config()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if cfg.Keys != 40 || cfg.Sessions != 3 {
			t.Errorf("%s overrides the command line: %d keys, %d sessions", m.name, cfg.Keys, cfg.Sessions)
		}
		cfg.Addrs, cfg.Requests = []string{addr}, 500
		if res, err := load.Run(context.Background(), cfg); err != nil || res.Total.Errors > 0 {
			t.Errorf("%s: %+v, %v", m.name, res, err)
		}
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, &meter{pids: []int{os.Getpid(), 1 << 30}})
	i := load.Interval{Start: load.Duration(time.Second), Length: load.Duration(time.Second), Errors: 3, Notifications: 2000,
		Reads:  load.Latency{Count: 123456, P50: load.Duration(120 * time.Microsecond), P99: load.Duration(1500 * time.Microsecond), Max: load.Duration(2 * time.Second)},
		Writes: load.Latency{Count: 10}}
	p.interval(i)
	p.interval(load.Interval{Length: load.Duration(time.Second)})
	p.end()
	got := b.String()
	for _, part := range []string{"    2s  reads 123.5k/s p50 120µs p99 1.5ms max 2s  writes 10/s", "events 2000/s", "errors 3", "no replies", "server 1073741824 has ended"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil && !strings.Contains(got, "server CPU") {
		t.Errorf("no processor time in\n%s", got)
	}
	if strings.Contains(got, "\r") {
		t.Error("lines for a terminal went to a buffer")
	}
}
