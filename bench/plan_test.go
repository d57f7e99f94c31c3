package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/responder"
)

func TestPlanCommandLine(t *testing.T) {
	bad := func(code int, part string, args ...string) {
		t.Helper()
		dir := t.TempDir()
		args = append([]string{"plan", "-html", dir + "/p.html", "-json", dir + "/p.json"}, args...)
		got, stdout, stderr := runMain(args...)
		if got != code || !strings.Contains(stderr, part) || stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d and %q", args, got, stdout, stderr, code, part)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%q: wrote %v, %v", args, left, err)
		}
	}
	notPlan := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(notPlan, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad(exitUsage, "-slo: capacity: bad objective", "-slo", "fast")
	bad(exitUsage, "-need: capacity: bad need", "-need", "reads=many")
	bad(exitUsage, "named mixes: paper, read95", "-mixes", "nosuch")
	bad(exitUsage, `no request is called "walk"`, "-mixes", "get:1;walk:1")
	bad(exitUsage, `no sweep "beauty"`, "-sweeps", "beauty")
	bad(exitUsage, "leave -servers out", "-servers", "127.0.0.1:1", "-sweeps", "ensemble")
	bad(exitUsage, "leave -servers out", "-servers", "127.0.0.1:1", "-sizes", "3")
	bad(exitUsage, `"localhost" is not HOST:PORT`, "-servers", "localhost")
	bad(exitUsage, "1 pages for 0 servers", "-metrics", "http://h/metrics")
	bad(exitUsage, "is not the address of a page", "-servers", "127.0.0.1:1", "-metrics", "h:7000")
	bad(exitUsage, "-size: 0 servers", "-size", "0")
	bad(exitUsage, `-sizes: "x" is not a number`, "-sizes", "x")
	bad(exitUsage, `-observers: "10" is not a number from 0 to 9`, "-observers", "10")
	bad(exitUsage, "-root", "-root", "/zookeeper")
	bad(exitUsage, "-utilisation is above 0", "-utilisation", "1.5")
	bad(exitUsage, "cannot be negative", "-step", "-1s")
	bad(exitUsage, "-max-sessions", "-max-sessions", "-1")
	bad(exitUsage, "no such file", "-against", "/nonexistent")
	bad(exitUsage, "not the JSON of a plan", "-against", notPlan)
	// Nobody listens on a port that needs privileges to be listened on and has no use.
	bad(exitFailed, "server 127.0.0.1:1 cannot be reached", "-servers", "127.0.0.1:1")
	bad(exitFailed, "no such file", "-zabra", "/nonexistent")
}

func TestReportCommandLine(t *testing.T) {
	bad := func(code int, part string, args ...string) {
		t.Helper()
		got, _, stderr := runMain(append([]string{"report", "-html", filepath.Join(t.TempDir(), "h")}, args...)...)
		if got != code || !strings.Contains(stderr, part) {
			t.Errorf("%q: exit code %d, stderr %q; want %d and %q", args, got, stderr, code, part)
		}
	}
	plan := filepath.Join(t.TempDir(), "j")
	if err := writeJSON(plan, &capacity.Plan{Format: capacity.Format, SLO: mustSLO(t)}); err != nil {
		t.Fatal(err)
	}
	bad(exitUsage, "one FILE")
	bad(exitUsage, "one FILE", "a", "b")
	bad(exitFailed, "no such file", "/nonexistent")
	bad(exitUsage, "-need", "-need", "x", plan)
	bad(exitFailed, "no processor times", "-need", "reads=1", plan)
	bad(exitFailed, "no such file", "-against", "/nonexistent", plan)
	if code, stdout, stderr := runMain("report", "-html", filepath.Join(t.TempDir(), "h"), "-against", plan, plan); code != exitOK || !strings.Contains(stdout, "report: ") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func mustSLO(t *testing.T) capacity.SLO {
	t.Helper()
	o, err := capacity.ParseSLO("p99=20ms")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// planInto runs a short plan on addr, whose progress goes to stderr, and returns what it wrote.
func planInto(t *testing.T, ctx context.Context, addr string, stderr func(string), args ...string) (code int, stdout string, p *capacity.Plan, html string) {
	t.Helper()
	dir := t.TempDir()
	args = append([]string{"plan", "-servers", addr, "-quick", "-step", "200ms", "-warmup", "10ms", "-mixes", "get:9,set:1;set:1", "-sweeps", "none",
		"-html", dir + "/p.html", "-json", dir + "/p.json"}, args...)
	var out bytes.Buffer
	code = run(ctx, args, &out, writerFunc(func(b []byte) (int, error) { stderr(string(b)); return len(b), nil }))
	b, err := os.ReadFile(dir + "/p.json")
	if err != nil {
		t.Fatalf("%v; exit code %d", err, code)
	}
	if p, err = capacity.Decode(b); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(dir + "/p.html")
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String(), p, string(page)
}

// A server that ends in mid-run ends the plan; what was measured until then is in report and JSON, marked as partial.
func TestPlanServerDies(t *testing.T) {
	r, err := responder.Start(responder.Options{Address: "127.0.0.1:0", DataBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var log strings.Builder
	code, stdout, p, html := planInto(t, t.Context(), r.Addr().String(), func(line string) {
		log.WriteString(line)
		if strings.Contains(line, "mix set:1, closed loop: ") {
			once.Do(func() {
				if err := r.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
	}, "-keep")
	if code != exitFailed || !strings.Contains(log.String(), "the plan is partial") || !strings.Contains(stdout, "PARTIAL: ") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, log.String())
	}
	if p.Partial == "" || len(p.Mixes) != 2 || len(p.Mixes[0].Steps) == 0 || p.Mixes[1].Peak == nil || !strings.Contains(html, "<b>Partial.</b>") {
		t.Errorf("partial %q, %d mixes", p.Partial, len(p.Mixes))
	}
}

func TestPlanInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code, stdout, p, html := planInto(t, ctx, startResponder(t), func(line string) {
		if strings.Contains(line, "mix set:1, closed loop: ") {
			cancel()
		}
	}, "-keep")
	if code != exitFailed || p.Partial != "interrupted" || len(p.Mixes) != 2 || !strings.Contains(stdout, "PARTIAL: interrupted") || !strings.Contains(html, "interrupted") {
		t.Errorf("exit code %d, partial %q, %d mixes\n%s", code, p.Partial, len(p.Mixes), stdout)
	}
}

// What is on disk while a plan is being made says so.
func TestPlanKeepsResultsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	var meanwhile *capacity.Plan
	var log strings.Builder
	stderr := writerFunc(func(b []byte) (int, error) {
		log.Write(b)
		if strings.Contains(string(b), "mix set:1, closed loop: ") {
			text, err := os.ReadFile(dir + "/p.json")
			if err != nil {
				t.Error(err)
			} else if meanwhile, err = capacity.Decode(text); err != nil {
				t.Error(err)
			}
		}
		return len(b), nil
	})
	code := run(t.Context(), []string{"plan", "-servers", startResponder(t), "-quick", "-step", "200ms", "-warmup", "10ms", "-mixes", "get:1;set:1", "-sweeps", "none", "-keep",
		"-html", dir + "/p.html", "-json", dir + "/p.json"}, new(bytes.Buffer), stderr)
	if code != exitOK || meanwhile == nil || meanwhile.Partial == "" || len(meanwhile.Mixes) != 1 {
		t.Errorf("exit code %d, meanwhile %+v\n%s", code, meanwhile, log.String())
	}
}

func TestPlanWords(t *testing.T) {
	w := parseWords("zk_version\t3.8\nzk_cnt_fsynctime\t7\nzk_sum_fsynctime\t21\nzk_server_state\tleader\nodd\n", "\t")
	if n, ms := w.fsyncs(); n != 7 || ms != 21 || w["zk_server_state"] != "leader" || len(w) != 4 {
		t.Errorf("%v", w)
	}
	w = parseWords("zk_fsynctime{quantile=\"0.5\"}\t0.0\nzk_fsynctime_count\t314.0\nzk_fsynctime_sum\t75.0\n", "\t")
	if n, ms := w.fsyncs(); n != 314 || ms != 75 {
		t.Errorf("%v", w)
	}
	if w.counters() || !(words{"zk_packets_received": "0"}).counters() {
		t.Error("counters")
	}
	if n := parseWords("clientPort=2181\nmaxClientCnxns=60\n", "=").number("maxClientCnxns"); n != 60 {
		t.Errorf("maxClientCnxns %g", n)
	}
}

func TestAskMetrics(t *testing.T) {
	var page string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, page) // a client that is gone is no matter
	}))
	defer s.Close()
	check := func(text, fault string, want processFigure) {
		t.Helper()
		page = text
		got, err := askMetrics(t.Context(), s.URL)
		if fault == "" && (err != nil || got != want) || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%q: %+v, %v; want %+v, %q", text, got, err, want, fault)
		}
	}
	check("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 2.76\nprocess_resident_memory_bytes 1.5E8\nznode_count 5.0\n", "", processFigure{2.76, 150_000_000, -1})
	check("process_cpu_seconds_total 2.76\n", "exportJvmInfo=true", processFigure{})
	check("process_cpu_seconds_total much\n", "invalid syntax", processFigure{})
	check("", "404", processFigure{})
	s.Close()
	if _, err := askMetrics(t.Context(), s.URL); err == nil {
		t.Error("no error without a server")
	}
}

func TestRoundRate(t *testing.T) {
	for v, want := range map[float64]float64{0.3: 1, 12.4: 12, 999: 999, 1234: 1230, 98765: 98800, 1_234_567: 1_230_000} {
		if got := roundRate(v); got != want {
			t.Errorf("%g: %g, want %g", v, got, want)
		}
	}
}

func TestInsertStep(t *testing.T) {
	var steps []capacity.Step
	for i, r := range []float64{10, 30, 30, 20, 5} {
		steps = insertStep(steps, capacity.Step{Offered: r, Count: int64(i)})
	}
	var got []float64
	for _, s := range steps {
		got = append(got, s.Offered+float64(s.Count)/10)
	}
	want := []float64{5.4, 10, 20.3, 30.1, 30.2}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("%s, want %s", a, b)
	}
}

func TestPlanWork(t *testing.T) {
	cfg := load.Config{Payload: load.FixedSize(2048), MultiOps: 5, KeysPerDir: 100, Keys: 1000}
	var res load.Result
	for kind, n := range map[load.Kind]int64{load.Get: 10, load.Exists: 20, load.Children: 30, load.Set: 40, load.CreateDelete: 50, load.Delete: 49, load.Multi: 6, load.Sync: 7, load.Session: 8, load.Rewatch: 9, load.Notification: 11} {
		res.Ops = append(res.Ops, load.Figures{Kind: kind.String(), Count: n})
	}
	w := planWork(&cfg, &res)
	want := capacity.Work{Reads: 10 + 20 + 30 + 7 + 9, ReadKiB: 2*19 + 30*100*14/1024.0, Writes: 40 + 50 + 49 + 6, WriteKiB: 2 * (40 + 50 + 30), MultiOps: 24, Sessions: 8, Events: 11, Requests: 229}
	if w != want {
		t.Errorf("%+v, want %+v", w, want)
	}
}

func TestPlanProgressRemaining(t *testing.T) {
	var b bytes.Buffer
	p := newPlanProgress(&b, 2*time.Second)
	p.left = 30
	if got := p.remaining(); got != time.Minute {
		t.Errorf("%v before the first step", got)
	}
	p.step("first", "fine")
	if got := b.String(); !strings.HasPrefix(got, "[1/30, about ") || !strings.HasSuffix(got, " left] first: fine\n") {
		t.Errorf("%q", got)
	}
}
