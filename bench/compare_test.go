package bench

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/rig"
)

func TestFigure(t *testing.T) {
	f := figure("throughput", "1/s", higher, []float64{100, 200, 50}, []float64{1000, 1000, 1000}, 10, 15)
	if f.Java != 100 || f.Zabra != 1000 || f.Ratio != 10 || f.Must != 10 || f.Hoped != 15 {
		t.Errorf("%+v", f)
	}
	// Ratios are taken within rounds, medians after that.
	if f := figure("", "", lower, []float64{10, 40}, []float64{1, 8}, 0, 0); f.Ratio != 7.5 || f.Java != 25 {
		t.Errorf("%+v", f)
	}
	if f := figure("", "", lower, []float64{0, 5}, []float64{0, 0}, 0, 0); math.IsNaN(f.Ratio) || math.IsInf(f.Ratio, 0) {
		t.Errorf("%+v", f)
	}
	if median(nil) != 0 || median([]float64{3}) != 3 {
		t.Error("median")
	}
}

// A comparison of three responders takes every figure and loses none. (What figures servers have is not this test's
// business.)
func TestCompare(t *testing.T) {
	t.Setenv(helperEnv, "1")
	path := filepath.Join(t.TempDir(), "result")
	c := &comparison{
		opts:  compareOptions{rounds: 2, compile: 20 * time.Millisecond, duration: 50 * time.Millisecond, sessions: 2, outstanding: 4, loops: 1, znodes: 1000},
		sizes: []int{1, 2}, dir: t.TempDir(), log: io.Discard, want: map[string]bool{}, kinds: map[string]rig.Kind{},
	}
	for _, g := range figureGroups {
		c.want[g] = true
	}
	for _, name := range []string{java, zabra, ceiling} {
		c.kinds[name] = rig.Kind{Name: name, Command: []string{os.Args[0], "ADDR"}}
	}
	if err := c.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := []string{"throughput of writes", "server CPU per write", "share of the ceiling, writes", "throughput of reads", "server CPU per read",
		"share of the ceiling, reads", "p99 of writes at half of Java's peak", "resident memory after creating, 1000 znodes", "kill -9 to serving, 1000 znodes",
		"resident memory after a restart, 1000 znodes",
		"p99.9 of writes with snapshots / without, java", "p99.9 of writes with snapshots / without, zabra", "p99.9 of writes with snapshots"}
	ofFirst := len(want)
	want = append(want, want[:7]...) // the loads, of the second size
	if len(c.report.Figures) != len(want) {
		t.Fatalf("%d figures, want %d", len(c.report.Figures), len(want))
	}
	for i, f := range c.report.Figures {
		if !strings.HasPrefix(f.Name, want[i]) {
			t.Errorf("figure %d is %q, want %q", i, f.Name, want[i])
		}
		if size := 1 + i/ofFirst; f.Servers != size {
			t.Errorf("figure %d is of %d servers, want %d", i, f.Servers, size)
		}
	}
	if f := c.report.Figures[0]; f.Java <= 0 || f.Zabra <= 0 || f.Ratio <= 0 {
		t.Errorf("%+v", f)
	}
	// 2 rounds of 2 loads of 3 contenders and of 1 open loop of 2, both of 2 sizes, and of 2 snapshot settings of 2.
	if len(c.report.Runs) != 2*(2*(2*3+2)+2*2) {
		t.Errorf("%d runs", len(c.report.Runs))
	}
	var b strings.Builder
	writeComparison(&b, &c.report)
	if n := strings.Count(b.String(), "\n"); n != len(want)+2 {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
	if err := writeJSON(path, &c.report); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(text, &back); err != nil || len(back.Runs) != len(c.report.Runs) || back.Runs[0].Total.Count != c.report.Runs[0].Total.Count {
		t.Errorf("JSON: %v", err)
	}
}
