package bench_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench"
	"zabra.dev/zabra/bench/capacity"
)

//go:embed testdata/look.js
var lookScript string

// findBrowser returns a Chromium, or skips the test.
func findBrowser(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("short")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("NOT TESTED: the report in a browser, because there is no Chromium in PATH (Debian: apt install chromium)")
	return ""
}

// seen is what testdata/look.js tells of a page.
type seen struct {
	Width, Scroll   float64
	Background, Ink string
	Problems        []string
	Plots           map[string]map[string][][2]float64 // by figure and series
	Bars            map[string]map[string][]float64    // by figure and row
	Figures         map[string]float64
}

// look opens the page in a frame of the width and tells what the browser made of it.
func look(t *testing.T, browser, page string, width int, dark bool) seen {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inner := strings.Replace(string(text), "</body>", "<script>"+lookScript+"</script></body>", 1)
	outer := filepath.Join(t.TempDir(), "outer.html")
	frame := fmt.Sprintf("<!DOCTYPE html><body><iframe style=\"width:%dpx;height:900px;border:0\" srcdoc=\"%s\"></iframe></body>", width, html.EscapeString(inner))
	if err := os.WriteFile(outer, []byte(frame), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	scheme := "--blink-settings=preferredColorScheme=1"
	if dark {
		scheme = "--blink-settings=preferredColorScheme=0"
	}
	profile, err := os.MkdirTemp("", "zabra-browser-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // what helpers of the browser still hold there is no matter of the test
	// The sandbox needs privileges that containers lack; the page is our own.
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+profile,
		"--window-size=1600,1200", scheme, "--dump-dom", "file://"+outer)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, stderr.String())
	}
	_, rest, ok := strings.Cut(stdout.String(), `<pre id="seen">`)
	encoded, _, closed := strings.Cut(rest, "</pre>")
	if !ok || !closed {
		t.Fatalf("the script left nothing behind\n%s", stderr.String())
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// laidOut fails when the browser found anything clipped, overlapping, too small, or wider than the window.
func laidOut(t *testing.T, s seen) {
	t.Helper()
	for _, p := range s.Problems {
		t.Errorf("%g pixels wide: %s", s.Width, p)
	}
	if s.Scroll > s.Width {
		t.Errorf("%g pixels wide: the page is %g wide", s.Width, s.Scroll)
	}
}

// A real plan, opened in a browser, has its plots, with the figures of its JSON; nothing is clipped or overlaps, on wide and
// narrow windows, in light and dark.
func TestPlanInBrowser(t *testing.T) {
	browser := findBrowser(t)
	dir := t.TempDir()
	page, text := filepath.Join(dir, "plan.html"), filepath.Join(dir, "plan.json")
	var stderr bytes.Buffer
	code := bench.Main([]string{"plan", "-servers", startStandalone(t, ""), "-quick", "-step", "400ms", "-warmup", "50ms", "-mixes", "get:9,set:1;locks", "-sweeps", "reads,clients",
		"-need", "reads=50000,writes=5000,znodes=1M", "-html", page, "-json", text}, io.Discard, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	b, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := capacity.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	wide := look(t, browser, page, 1300, false)
	laidOut(t, wide)
	dark := look(t, browser, page, 360, true)
	laidOut(t, dark)
	if dark.Width != 360 || wide.Width != 1300 || dark.Background == wide.Background || dark.Ink == wide.Ink {
		t.Errorf("wide and light: %g, %s on %s; narrow and dark: %g, %s on %s", wide.Width, wide.Ink, wide.Background, dark.Width, dark.Ink, dark.Background)
	}
	if !reflect.DeepEqual(wide.Plots, dark.Plots) || !reflect.DeepEqual(wide.Figures, dark.Figures) {
		t.Error("the figures depend on the window")
	}
	figuresOfPlan(t, wide, p)
}

// figuresOfPlan compares what a page shows with the plan.
func figuresOfPlan(t *testing.T, s seen, p *capacity.Plan) {
	t.Helper()
	same := func(figure, series string, want [][2]float64) {
		t.Helper()
		if got := s.Plots[figure][series]; len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %s: the page has %v, the JSON %v", figure, series, got, want)
		}
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	for i := range p.Mixes {
		m, id := &p.Mixes[i], fmt.Sprintf("mix%d", i+1)
		var p50, p99, cpu [][2]float64
		for j, st := range m.Steps {
			if j+1 < len(m.Steps) && m.Steps[j+1].Offered == st.Offered {
				continue // it was tried again
			}
			p50 = append(p50, [2]float64{st.Rate, ms(time.Duration(st.Latency.P50))})
			p99 = append(p99, [2]float64{st.Rate, ms(time.Duration(st.Latency.P99))})
			if d, ok := st.CPUPerOp(); ok {
				cpu = append(cpu, [2]float64{st.Rate, float64(d) / 1e3})
			}
		}
		same(id+"-latency", "p50", p50)
		same(id+"-latency", "p99", p99)
		if len(cpu) > 0 { // on a starved machine replies may all be late, which leaves no cost
			same(id+"-cpu", "open loop", cpu)
		}
		if got := s.Figures[m.Name+" capacity"]; got != m.Capacity() {
			t.Errorf("%s: the page says %g, the JSON %g", m.Name, got, m.Capacity())
		}
		if got := s.Figures[m.Name+" peak"]; got != m.Peak.Rate {
			t.Errorf("%s: the page has a peak of %g, the JSON %g", m.Name, got, m.Peak.Rate)
		}
		if got, want := s.Bars["overview-capacity"][m.Name], []float64{m.Capacity(), m.Peak.Rate}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the page has bars of %v, the JSON %v", m.Name, got, want)
		}
		for _, plot := range []string{"-percentiles", "-time"} {
			if len(s.Plots[id+plot]) == 0 {
				t.Errorf("%s: no plot %s", m.Name, plot)
			}
		}
		if len(s.Bars[id+"-busy"]) == 0 {
			t.Errorf("%s: no bars of the processors", m.Name)
		}
	}
	for _, sw := range p.Sweeps {
		var peak [][2]float64
		for _, pt := range sw.Points {
			peak = append(peak, [2]float64{pt.Value, pt.Peak.Rate})
		}
		same("sweep-"+sw.Name+"-rate", "closed loop", peak)
		if len(s.Plots["sweep-"+sw.Name+"-latency"]["p99"]) != len(sw.Points) {
			t.Errorf("sweep %s: latencies %v", sw.Name, s.Plots["sweep-"+sw.Name+"-latency"])
		}
	}
	if p.Model == nil {
		t.Log("the machine was too busy for a model: no step has enough processor time")
		return
	}
	if s.Figures["model median_error"] != p.Model.MedianError {
		t.Errorf("the page has a median error of %g, the JSON %+v", s.Figures["model median_error"], p.Model)
	}
	points := 0
	for _, series := range s.Plots["model-check"] {
		points += len(series)
	}
	if points != len(p.Model.Checks) {
		t.Errorf("the page has %d predictions, the JSON %d", points, len(p.Model.Checks))
	}
}

// The pages of the made-up plans are laid out well, too: they have what the short plan has not.
func TestGoldensInBrowser(t *testing.T) {
	browser := findBrowser(t)
	for _, name := range []string{"report", "compare"} {
		for _, width := range []int{1300, 700, 360} {
			s := look(t, browser, "report/testdata/"+name+".html", width, false)
			laidOut(t, s)
			if len(s.Plots) < 10 {
				t.Errorf("%s: %d plots", name, len(s.Plots))
			}
		}
	}
}
