package capacity

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
)

func TestNonNegative(t *testing.T) {
	check := func(rows [][]float64, values, want []float64) {
		t.Helper()
		got := nonNegative(rows, values)
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-6 {
				t.Errorf("%v, want %v", got, want)
				return
			}
		}
	}
	check([][]float64{{1, 0}, {0, 1}, {1, 1}}, []float64{2, 3, 5}, []float64{2, 3})
	// The best fit would have -1 for the second.
	check([][]float64{{1, 1}, {1, 2}, {1, 3}}, []float64{3, 2, 1}, []float64{2, 0})
	check([][]float64{{1, 0}, {2, 0}}, []float64{3, 6}, []float64{3, 0})
	if got := nonNegative(nil, nil); got != nil {
		t.Errorf("%v without rows", got)
	}
}

// trueCosts are those of the servers that syntheticPlan makes up.
var trueCosts = [numTerms]float64{termIdle: 1000, termRead: 2, termReadKiB: 0.5, termWrite: 4, termWriteKiB: 1.5, termFsync: 30, termFlush: 3, termProposal: 1, termProposalKiB: 0.5, termForward: 2}

// syntheticPlan has standalone servers and ensembles under many loads, whose processor time is exactly what trueCosts
// make of their work.
func syntheticPlan() *Plan {
	r := rand.New(rand.NewPCG(1, 2))
	p := &Plan{Format: Format}
	truth := Model{Costs: trueCosts}
	sweep := Sweep{Name: "ensemble"}
	for i := range 40 {
		servers := []int{1, 1, 3, 4}[i%4]
		s := &Step{Series: fmt.Sprintf("series %d", i/2), Measured: load.Duration(2 * time.Second), Rate: 1000}
		s.Work = Work{Reads: r.Int64N(200_000) + 1000, Writes: r.Int64N(100_000) + 1000}
		s.Work.ReadKiB, s.Work.WriteKiB = float64(s.Work.Reads)*4*r.Float64(), float64(s.Work.Writes)*4*r.Float64()
		s.Writes = float64(s.Work.Writes) / 2
		for n := range servers {
			u := ServerUse{HasCPU: true, HasWords: true, Mode: "standalone", Packets: r.Int64N(1000) + 1000, Fsyncs: r.Int64N(2000) + 100, Flushes: r.Int64N(100_000)}
			u.FsyncTime = Seconds(0.002 * float64(u.Fsyncs))
			if servers > 1 {
				u.Mode = []string{"leader", "follower", "follower", "observer"}[n]
			}
			s.Servers = append(s.Servers, u)
		}
		for n := range s.Servers {
			s.Servers[n].CPU = Seconds(truth.micros(serverFeatures(s, n)) / 1e6)
		}
		sweep.Points = append(sweep.Points, SweepPoint{Value: float64(i), Peak: s})
	}
	p.Sweeps = []Sweep{sweep}
	for _, m := range []MemoryPoint{{0, 0, 0, 0}, {1000, 100_000, 0, 0}, {2000, 1_100_000, 0, 0}, {2000, 1_100_000, 500, 0}} {
		m.RSS = 20_000_000 + 300*m.Znodes + 5*m.DataBytes/4 + 2000*m.Sessions
		p.Memory = append(p.Memory, m)
	}
	return p
}

// The fit finds costs that are there, and predicts series that it has not seen.
func TestFit(t *testing.T) {
	m := Fit(syntheticPlan())
	if m == nil {
		t.Fatal("no model")
	}
	for i, want := range trueCosts {
		name, _, got, known, ok := m.Term(i)
		if !ok || known != (want > 0) {
			t.Errorf("%s: known %v", name, known)
		}
		if math.Abs(got-want) > 0.02*want+0.01 {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	if len(m.Checks) != m.Rows || m.Unchecked != 0 || m.MedianError > 0.01 || m.P90Error > 0.02 {
		t.Errorf("%d rows, %d checks, %d unchecked, errors %g and %g", m.Rows, len(m.Checks), m.Unchecked, m.MedianError, m.P90Error)
	}
	if !m.Ensembles || math.Abs(m.FsyncSeconds-0.002) > 1e-9 || m.PeakWrites == 0 {
		t.Errorf("ensembles %v, fsync %g, peak %g", m.Ensembles, m.FsyncSeconds, m.PeakWrites)
	}
	want := Memory{20_000_000, 300, 1.25, 2000}
	if got := *m.Memory; math.Abs(got.Base/want.Base-1) > 0.01 || math.Abs(got.Znode/want.Znode-1) > 0.05 || math.Abs(got.DataByte/want.DataByte-1) > 0.05 || math.Abs(got.Session/want.Session-1) > 0.05 {
		t.Errorf("memory %+v, want %+v", got, want)
	}
}

// A series with a term of its own cannot be predicted from the others, and is counted as such.
func TestFitUnchecked(t *testing.T) {
	p := syntheticPlan()
	p.Sweeps[0].Points[0].Peak.Work.Sessions = 100
	p.Sweeps[0].Points[0].Peak.Series = "churn"
	if m := Fit(p); m.Unchecked != 1 || len(m.Checks) != m.Rows-1 {
		t.Errorf("%d unchecked, %d checks of %d rows", m.Unchecked, len(m.Checks), m.Rows)
	}
}

// Steps whose replies came late, or that broke off, do not count: their processor time is not that of their requests.
func TestFitLeavesOut(t *testing.T) {
	rows := Fit(syntheticPlan()).Rows
	for name, spoil := range map[string]func(*Step){
		"late":    func(s *Step) { s.Late = 0.06 },
		"partial": func(s *Step) { s.Incomplete = "interrupted" },
		"broken":  func(s *Step) { s.Disconnects = 1 },
		"idle":    func(s *Step) { s.Servers[0].CPU = 0.03 },
	} {
		p := syntheticPlan()
		spoil(p.Sweeps[0].Points[0].Peak)
		if m := Fit(p); m.Rows != rows-1 {
			t.Errorf("%s: %d rows, want %d", name, m.Rows, rows-1)
		}
	}
	s := Step{Measured: load.Duration(time.Second), Rate: 1000, Servers: []ServerUse{{HasCPU: true, CPU: 0.5}}}
	if d, ok := s.CPUPerOp(); !ok || d != 500*time.Microsecond {
		t.Errorf("%v %v", d, ok)
	}
	s.Late = 0.06
	if d, ok := s.CPUPerOp(); ok {
		t.Errorf("%v with late replies", d)
	}
}

func TestFitWithoutProcessorTimes(t *testing.T) {
	p := syntheticPlan()
	for _, s := range p.Steps() {
		for i := range s.Servers {
			s.Servers[i].HasCPU = false
		}
	}
	if m := Fit(p); m != nil {
		t.Errorf("%+v", m)
	}
}

func TestAnswer(t *testing.T) {
	m := Fit(syntheticPlan())
	n := Need{Reads: 200_000, Writes: 20_000, Payload: 1024, Znodes: 1_000_000}
	a := m.Answer(n, 0.5, 2)
	if a.Best < 0 || a.Text == "" {
		t.Fatalf("%+v", a)
	}
	for _, o := range a.Options {
		if o.Fits != (o.WorstCores <= 0.5*float64(o.Cores)) || o.Fits == (o.Why != "") {
			t.Errorf("%+v", o)
		}
		if o.Fits && o.Cores*o.Servers() < a.Options[a.Best].Cores*a.Options[a.Best].Servers() {
			t.Errorf("%+v has fewer processors than the best", o)
		}
		if o.LeaderCores <= o.FollowerCores {
			t.Errorf("the leader needs no more than a follower: %+v", o)
		}
	}
	// By hand, for the leader of three: per second 20k writes, 66.7k reads with 1 KiB each.
	syncs := 20_000 / (1 + 20_000*0.002)
	want := 1000 + 200_000/3.0*(2+0.5) + 20_000*(4+1.5) + syncs*30 + 2*20_000*(1+0.5) + (220_000/3.0+syncs+4*syncs)*3
	if o := m.option(n, 2, 3, 0, a); math.Abs(o.LeaderCores*1e6/want-1) > 0.01 {
		t.Errorf("leader %g cores, want %g", o.LeaderCores, want/1e6)
	}
	// What is stored is 1M x (300 + 1.25 x 1024) beside the base of 20 MB, twice.
	if got, want := a.Options[0].MemoryBytes, 2*(20e6+1e6*(300+1.25*1024)); math.Abs(got/want-1) > 0.03 {
		t.Errorf("memory %g, want %g", got, want)
	}
	// Reads that no three servers carry ask for observers; writes beyond every leader have no answer.
	big := m.Answer(Need{Reads: 20_000_000, Payload: 1024}, 0.5, 2)
	if big.Best < 0 || big.Options[big.Best].Observers == 0 {
		t.Errorf("%s", big.Text)
	}
	none := m.Answer(Need{Writes: 50_000_000, Payload: 1024}, 0.5, 2)
	if none.Best != -1 || !strings.Contains(none.Text, "shard") || !strings.Contains(strings.Join(none.Warnings, " "), "more than the most that was measured") {
		t.Errorf("%s %v", none.Text, none.Warnings)
	}
}

func TestPlanJSON(t *testing.T) {
	p := syntheticPlan()
	p.SLO, _ = ParseSLO("p99=20ms")
	p.Model = Fit(p)
	p.Answer = p.Model.Answer(Need{Reads: 1000, Payload: 100}, 0.5, 2)
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	b2, err := json.Marshal(again)
	if err != nil || string(b) != string(b2) || !reflect.DeepEqual(p.Model, again.Model) {
		t.Errorf("the plan changed, %v", err)
	}
	for _, s := range []string{"", "{}", `{"format":99}`, `{"format":1,"slo":"fast"}`} {
		if _, err := Decode([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
