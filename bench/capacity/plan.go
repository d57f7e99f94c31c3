package capacity

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"zabra.dev/zabra/bench/load"
)

// Format is the version of the JSON of a Plan.
const Format = 1

// ErrFormat reports JSON that is not of a Plan of this Format.
var ErrFormat = errors.New("capacity: not the JSON of a plan")

// A Plan is the result of zabra bench plan.
type Plan struct {
	Format  int           `json:"format"`
	Started time.Time     `json:"started"`
	Took    load.Duration `json:"took"`
	// Partial tells why the plan ended before its end; empty when it did not.
	Partial string  `json:"partial,omitempty"`
	Target  Target  `json:"target"`
	Machine Machine `json:"machine"`
	SLO     SLO     `json:"slo"`
	Profile Profile `json:"profile"`
	Mixes   []Mix   `json:"mixes"`
	Sweeps  []Sweep `json:"sweeps"`
	// Memory are samples of a server's resident memory with ever more in it; empty where it could not be had.
	Memory []MemoryPoint `json:"memory,omitempty"`
	Model  *Model        `json:"model,omitempty"`  // nil without processor times
	Answer *Answer       `json:"answer,omitempty"` // nil without a need
	// Notes are what a reader must know beside the figures.
	Notes []string `json:"notes,omitempty"`
}

// A Target is the ensemble that mixes and sweeps were measured on.
type Target struct {
	Addrs   []string `json:"addrs"`
	Version string   `json:"version"` // of the first server; empty when it did not say
	Modes   []string `json:"modes"`   // by address: standalone, leader, follower, observer; empty when it did not say
	Own     bool     `json:"own"`     // started by the plan, on the machine of the generator
	// HasCPU says that the processor time of every server was measured.
	HasCPU bool `json:"has_cpu"`
}

// A Machine is the one that the generator ran on.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	// LoadAverage is that of the last minute, read after the measurement.
	LoadAverage string `json:"load_average"`
}

// A Profile is how long and with what a plan measures.
type Profile struct {
	Name   string        `json:"name"` // quick or full
	Step   load.Duration `json:"step"`
	Warmup load.Duration `json:"warmup"`
	Loops  int           `json:"loops"` // event loops of the generator
}

// A Mix is a load, stepped up.
type Mix struct {
	Name   string `json:"name"`
	What   string `json:"what,omitempty"`
	Source string `json:"source,omitempty"`
	// Settings are those of the first step.
	Settings load.Settings `json:"settings"`
	// Peak is the closed loop: as much as the sessions can keep under way.
	Peak *Step `json:"peak,omitempty"`
	// Steps are the open loops, in the order of their offered load.
	Steps []Step `json:"steps"`
	// Knee is the index of the highest step below which every step kept the objective, -1 when none did.
	Knee  int   `json:"knee"`
	Limit Limit `json:"limit"`
}

// KneeStep returns the step of the knee, nil when there is none.
func (m *Mix) KneeStep() *Step {
	if m.Knee < 0 || m.Knee >= len(m.Steps) {
		return nil
	}
	return &m.Steps[m.Knee]
}

// Capacity is the load in requests per second that kept the objective.
func (m *Mix) Capacity() float64 {
	if s := m.KneeStep(); s != nil {
		return s.Offered
	}
	return 0
}

// A Sweep varies one thing.
type Sweep struct {
	Name   string       `json:"name"` // reads, payload, clients, ensemble, observers
	What   string       `json:"what"`
	Axis   string       `json:"axis"` // what Value is, with its unit
	Points []SweepPoint `json:"points"`
}

// A SweepPoint is one value of a sweep.
type SweepPoint struct {
	Value float64 `json:"value"`
	Label string  `json:"label"`
	// Peak is a closed loop, Moderate an open one at the share ModerateShare of its rate. Of the sweeps over servers Peak is
	// of reads, Writes a closed loop of writes, and Moderate is nil.
	Peak     *Step `json:"peak,omitempty"`
	Moderate *Step `json:"moderate,omitempty"`
	Writes   *Step `json:"writes,omitempty"`
}

// ModerateShare is the load of SweepPoint.Moderate.
const ModerateShare = 0.3

// A Step is one measurement.
type Step struct {
	// Series is what the step belongs to (a mix, a point of a sweep): steps of one series are held out together.
	Series string `json:"series"`
	// Offered is the rate of an open loop, per second; 0 is a closed loop.
	Offered     float64       `json:"offered"`
	Sessions    int           `json:"sessions"`
	Outstanding int           `json:"outstanding"`
	Measured    load.Duration `json:"measured"`
	// Rate, Reads and Writes are successful requests per second.
	Rate        float64 `json:"rate"`
	Reads       float64 `json:"reads"`
	Writes      float64 `json:"writes"`
	Count       int64   `json:"count"`
	Errors      int64   `json:"errors"`
	Unfinished  int64   `json:"unfinished"`
	Disconnects int64   `json:"disconnects"`
	// Late is the share of the replies counted that came after the measured time. Processor time is of the measured time
	// alone, so with many of these it does not go with the count.
	Late float64 `json:"late"`
	// Latency is of all requests, from the intended time in an open loop.
	Latency      load.Latency `json:"latency"`
	ReadLatency  load.Latency `json:"read_latency"`
	WriteLatency load.Latency `json:"write_latency"`
	Lateness     load.Latency `json:"lateness"`
	// Curve is the latency at growing percentiles of all requests.
	Curve     []CurvePoint    `json:"curve"`
	Intervals []load.Interval `json:"intervals"`
	Work      Work            `json:"work"`
	Servers   []ServerUse     `json:"servers"`
	// GeneratorCores and BusyCores are processors that the generator and everything on its machine kept busy, on average.
	// BusyCores is 0 where the system does not tell.
	GeneratorCores float64 `json:"generator_cores"`
	BusyCores      float64 `json:"busy_cores"`
	Incomplete     string  `json:"incomplete,omitempty"`
	// Violations tell why the step does not count as one that keeps the objective.
	Violations []string `json:"violations,omitempty"`
}

// OK tells whether the step kept the objective.
func (s *Step) OK() bool { return len(s.Violations) == 0 }

// ServerCores is how many processors the servers kept busy, on average; false when that is not known.
func (s *Step) ServerCores() (float64, bool) {
	sum := 0.0
	for _, u := range s.Servers {
		if !u.HasCPU {
			return 0, false
		}
		sum += u.CPU.seconds()
	}
	if len(s.Servers) == 0 || s.Measured <= 0 {
		return 0, false
	}
	return sum / time.Duration(s.Measured).Seconds(), true
}

// maxLate is the share of late replies up to which processor time is set against the count of requests.
const maxLate = 0.05

// CPUPerOp is the servers' processor time per successful request; false when that is not known.
func (s *Step) CPUPerOp() (time.Duration, bool) {
	cores, ok := s.ServerCores()
	if !ok || s.Rate <= 0 || s.Late > maxLate {
		return 0, false
	}
	return time.Duration(cores / s.Rate * 1e9), true
}

// A CurvePoint is the latency that the share Percentile of the requests did not exceed.
type CurvePoint struct {
	Percentile float64       `json:"percentile"` // 0 to 100
	Latency    load.Duration `json:"latency"`
}

// CurvePercentiles are those of a Step's Curve.
var CurvePercentiles = []float64{0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99, 99.999}

// Work counts what the servers of a step did for the clients together.
type Work struct {
	Reads    int64   `json:"reads"`
	ReadKiB  float64 `json:"read_kib"`  // of the data and names in the replies
	Writes   int64   `json:"writes"`    // transactions; a multi is one
	WriteKiB float64 `json:"write_kib"` // of the data in them
	MultiOps int64   `json:"multi_ops"` // operations of multis beyond the first
	Sessions int64   `json:"sessions"`  // opened and closed
	Events   int64   `json:"events"`    // notifications of watches
	Requests int64   `json:"requests"`  // all of the above but events
}

// Seconds is a time in JSON as a number.
type Seconds float64

func (s Seconds) seconds() float64 { return float64(s) }

// A ServerUse is what one server used in the measured time of a step.
type ServerUse struct {
	Addr string `json:"addr"`
	Mode string `json:"mode"`
	// HasCPU says that CPU, RSS and Flushes are known.
	HasCPU bool    `json:"has_cpu"`
	CPU    Seconds `json:"cpu_seconds"`
	RSS    int64   `json:"rss_bytes"` // at the end
	// Flushes are calls of the write family, -1 when unknown: mostly replies that went out, several together where clients
	// pipeline.
	Flushes int64 `json:"flushes"`
	// HasWords says that the rest is known, from the server's own counters.
	HasWords  bool    `json:"has_words"`
	Packets   int64   `json:"packets"` // requests that came in
	BytesIn   int64   `json:"bytes_in"`
	BytesOut  int64   `json:"bytes_out"` // of replies
	Fsyncs    int64   `json:"fsyncs"`
	FsyncTime Seconds `json:"fsync_seconds"`
}

// A MemoryPoint is the resident memory of one server with so much in it.
type MemoryPoint struct {
	Znodes    int64 `json:"znodes"`
	DataBytes int64 `json:"data_bytes"`
	Sessions  int64 `json:"sessions"`
	RSS       int64 `json:"rss_bytes"`
}

// Steps returns every step of the plan, in the order in which they were measured within their series.
func (p *Plan) Steps() []*Step {
	var all []*Step
	add := func(s *Step) {
		if s != nil {
			all = append(all, s)
		}
	}
	for i := range p.Mixes {
		m := &p.Mixes[i]
		add(m.Peak)
		for j := range m.Steps {
			add(&m.Steps[j])
		}
	}
	for i := range p.Sweeps {
		for j := range p.Sweeps[i].Points {
			pt := &p.Sweeps[i].Points[j]
			add(pt.Peak)
			add(pt.Moderate)
			add(pt.Writes)
		}
	}
	return all
}

// Decode reads the JSON of a Plan. Errors match ErrFormat.
func Decode(b []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.Format != Format {
		return nil, fmt.Errorf("%w: its format is %d, not %d", ErrFormat, p.Format, Format)
	}
	return &p, nil
}
