package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func duration(ms float64) load.Duration { return load.Duration(ms * float64(time.Millisecond)) }

// madeUp is a step with figures that follow from rate and latency alone.
func madeUp(series string, offered, rate, p50ms float64, slo capacity.SLO) *capacity.Step {
	latency := func(f float64) load.Latency {
		return load.Latency{Count: int64(2 * rate), Min: duration(p50ms * f / 4), Mean: duration(p50ms * f), P50: duration(p50ms * f), P90: duration(2 * p50ms * f),
			P99: duration(5 * p50ms * f), P999: duration(9 * p50ms * f), P9999: duration(12 * p50ms * f), Max: duration(15 * p50ms * f)}
	}
	s := &capacity.Step{
		Series: series, Offered: offered, Sessions: 48, Outstanding: 16, Measured: duration(2000), Rate: rate, Reads: 0.9 * rate, Writes: 0.1 * rate, Count: int64(2 * rate),
		Latency: latency(1), ReadLatency: latency(0.9), WriteLatency: latency(1.5), GeneratorCores: rate / 400_000, BusyCores: rate/100_000 + 0.1,
		Work:    capacity.Work{Reads: int64(1.8 * rate), ReadKiB: 1.8 * rate, Writes: int64(0.2 * rate), WriteKiB: 0.2 * rate, Requests: int64(2 * rate)},
		Servers: []capacity.ServerUse{{Addr: "127.0.0.1:2181", Mode: "standalone", HasCPU: true, CPU: capacity.Seconds(2 * (0.05 + rate/150_000)), RSS: 100 << 20, Flushes: int64(rate), HasWords: true, Packets: int64(2 * rate), Fsyncs: 900, FsyncTime: 0.9}},
	}
	for i, q := range capacity.CurvePercentiles {
		s.Curve = append(s.Curve, capacity.CurvePoint{Percentile: q, Latency: duration(p50ms * (0.2 + float64(i)*float64(i)/10))})
	}
	for i := range 8 {
		f := 1 + float64(i%3)/5
		s.Intervals = append(s.Intervals, load.Interval{Start: duration(250 * float64(i)), Length: duration(250), Reads: latency(0.9 * f), Writes: latency(1.5 * f)})
	}
	if offered > 0 {
		s.Violations = slo.Violations(s)
	}
	return s
}

// synthetic is a plan as a machine would make it, with round figures.
func synthetic(t *testing.T, faster float64) *capacity.Plan {
	t.Helper()
	slo, err := capacity.ParseSLO("p99=20ms")
	if err != nil {
		t.Fatal(err)
	}
	p := &capacity.Plan{
		Format: capacity.Format, Started: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC), Took: duration(90_000), SLO: slo,
		Target:  capacity.Target{Addrs: []string{"127.0.0.1:2181"}, Version: "3.9.5-zabra", Modes: []string{"standalone"}, HasCPU: true},
		Machine: capacity.Machine{CPUs: 4, Model: "Some <Processor>", Kernel: "6.1", LoadAverage: "0.30"},
		Profile: capacity.Profile{Name: "quick", Step: duration(2000), Warmup: duration(500), Loops: 1},
		Notes:   []string{"A note with <markup> & so on."},
	}
	for i, name := range []string{"read95", "get:1,set:1"} {
		m := capacity.Mix{Name: name, Settings: load.Settings{Mix: "get:95,set:5", Payload: "100-400", Keys: 1000, KeyDist: "zipf:0.99", Sessions: 48}}
		if i == 0 {
			m.What, m.Source = "a read-mostly store", "a paper"
		}
		top := 300_000 * faster / float64(i+1)
		m.Peak = madeUp("mix "+name, 0, top, 3, slo)
		for j, f := range []float64{0.2, 0.4, 0.6, 0.8} {
			s := madeUp("mix "+name, f*top, f*top, []float64{0.3, 0.5, 1.8, 9}[j], slo)
			m.Steps = append(m.Steps, *s)
		}
		m.Knee = capacity.FindKnee(m.Steps)
		m.Limit = capacity.JudgeLimit(&m, p.Machine, 1)
		p.Mixes = append(p.Mixes, m)
	}
	reads := capacity.Sweep{Name: "reads", What: "getData against setData of 1 KiB", Axis: "share of reads (%)"}
	for _, v := range []float64{100, 50, 0} {
		label := strconv.Itoa(int(v)) + " %"
		reads.Points = append(reads.Points, capacity.SweepPoint{Value: v, Label: label, Peak: madeUp("reads "+label, 0, 100_000+v*3000*faster, 2, slo), Moderate: madeUp("reads "+label, 40_000, 40_000, 0.4, slo)})
	}
	sizes := capacity.Sweep{Name: "ensemble", What: "voters of one ensemble, all on this machine", Axis: "voters"}
	for _, n := range []int{1, 3} {
		label := strconv.Itoa(n)
		pt := capacity.SweepPoint{Value: float64(n), Label: label, Peak: madeUp("ensemble "+label, 0, 200_000*faster, 2, slo), Writes: madeUp("ensemble "+label, 0, 60_000*faster/float64(n), 5, slo)}
		for _, s := range []*capacity.Step{pt.Peak, pt.Writes} {
			if n > 1 {
				one := s.Servers[0]
				s.Servers = nil
				for i := range n {
					one.Mode = []string{"leader", "follower", "follower"}[i]
					s.Servers = append(s.Servers, one)
					one.CPU *= 0.8
				}
			}
		}
		sizes.Points = append(sizes.Points, pt)
	}
	p.Sweeps = []capacity.Sweep{reads, sizes}
	p.Memory = []capacity.MemoryPoint{{RSS: 25 << 20}, {Znodes: 100_000, DataBytes: 10_000_000, RSS: 70 << 20}, {Znodes: 200_000, DataBytes: 110_000_000, RSS: 210 << 20}}
	p.Model = capacity.Fit(p)
	if p.Model == nil {
		t.Fatal("no model")
	}
	p.Answer = p.Model.Answer(capacity.Need{Reads: 200_000, Writes: 20_000, Payload: 1024, Znodes: 5_000_000}, 0.6, 2)
	return p
}

func written(t *testing.T, p, old *capacity.Plan) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p, old); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s differs from line %d on (go test -rewrite writes it anew; look at it in a browser):\n got %s\nwant %s", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s has %d lines, the report %d", path, len(w), len(g))
}

// The pages of fixed plans stay as they are, until somebody changes the layout and looks at it.
func TestGolden(t *testing.T) {
	golden(t, "testdata/report.html", written(t, synthetic(t, 1), nil))
	golden(t, "testdata/compare.html", written(t, synthetic(t, 1.3), synthetic(t, 1)))
}

// The page refers to nothing outside itself.
func TestSelfContained(t *testing.T) {
	got := written(t, synthetic(t, 1), synthetic(t, 1))
	for _, part := range []string{"http://", "https://", "<script", "src=", "@import", "url(", "<Processor>", "<markup>"} {
		if strings.Contains(got, part) {
			t.Errorf("the page contains %s", part)
		}
	}
}

// Whatever was measured before a plan ended can be shown, down to nothing.
func TestPartial(t *testing.T) {
	whole := synthetic(t, 1)
	for name, cut := range map[string]func(p *capacity.Plan){
		"nothing":           func(p *capacity.Plan) { *p = capacity.Plan{SLO: p.SLO, Started: p.Started} },
		"an empty mix":      func(p *capacity.Plan) { p.Mixes = []capacity.Mix{{Name: "m", Knee: -1}} },
		"a peak alone":      func(p *capacity.Plan) { p.Mixes = p.Mixes[:1]; p.Mixes[0].Steps, p.Mixes[0].Knee = nil, -1 },
		"all missed":        func(p *capacity.Plan) { p.Mixes[0].Steps, p.Mixes[0].Knee = p.Mixes[0].Steps[3:], -1 },
		"an empty sweep":    func(p *capacity.Plan) { p.Sweeps[0].Points = nil },
		"half a point":      func(p *capacity.Plan) { p.Sweeps[0].Points[2].Moderate = nil },
		"no writes yet":     func(p *capacity.Plan) { p.Sweeps[1].Points[1].Writes = nil },
		"unknown processor": func(p *capacity.Plan) { p.Model, p.Answer = nil, nil },
		"an empty step": func(p *capacity.Plan) {
			p.Mixes[0].Steps[0] = capacity.Step{Offered: 5, Violations: []string{"no reply"}}
		},
	} {
		b, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		p, err := capacity.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		cut(p)
		p.Partial = "interrupted"
		for _, old := range []*capacity.Plan{nil, whole, p} {
			got := written(t, p, old)
			if !strings.Contains(got, "ended before its end: interrupted") || strings.Contains(got, "NaN") {
				t.Errorf("%s: the page does not say that it is partial, or has figures that are none", name)
			}
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	if err := Write(failing{}, synthetic(t, 1), nil); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
}
