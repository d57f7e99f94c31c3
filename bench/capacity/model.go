package capacity

import (
	"math"
	"sort"
	"time"
)

// Indices of the terms of the cost of a server.
const (
	termIdle = iota
	termRead
	termReadKiB
	termWrite
	termWriteKiB
	termMultiOp
	termFsync
	termFlush
	termSession
	termEvent
	termProposal
	termProposalKiB
	termForward
	numTerms
)

var termNames = [numTerms]struct{ name, unit string }{
	{"a second of running", "per s"},
	{"a read answered", ""},
	{"a KiB of replies", ""},
	{"a write applied", ""},
	{"a KiB of writes applied", ""},
	{"a further operation of a multi", ""},
	{"a sync of the log", ""},
	{"a flush to a socket or file", ""},
	{"a session opened and closed", ""},
	{"an event sent to a watcher", ""},
	{"a leader's proposal to one peer", ""},
	{"a KiB of such proposals", ""},
	{"a learner's write for its own client", ""},
}

// A Model is what requests cost a server.
type Model struct {
	Costs  [numTerms]float64 `json:"costs"` // microseconds
	Known  [numTerms]bool    `json:"known"` // the term came up in the measurements
	Rows   int               `json:"rows"`  // servers x steps it was fitted to
	Checks []Check           `json:"checks"`
	// MedianError and P90Error are of the Checks, relative: 0.1 is 10 %.
	MedianError float64 `json:"median_error"`
	P90Error    float64 `json:"p90_error"`
	// Unchecked counts the rows that the rest of the measurements says nothing about, such as the only mix with multis.
	Unchecked int `json:"unchecked"`
	// FsyncSeconds is the time of a sync of the log, the median over the steps; 0 when it is not known.
	FsyncSeconds float64 `json:"fsync_seconds"`
	Memory       *Memory `json:"memory,omitempty"`
	// PeakWrites is the highest rate of writes that was measured, per second; PeakWritesCores the leader's cores at it.
	PeakWrites      float64 `json:"peak_writes"`
	PeakWritesCores float64 `json:"peak_writes_cores"`
	// Ensembles says that servers of an ensemble are among the measurements: without them what replication costs is assumed.
	Ensembles bool `json:"ensembles"`
}

// A Memory is what a server's resident memory consists of, in bytes.
type Memory struct {
	Base     float64 `json:"base"`
	Znode    float64 `json:"znode"`    // per znode, beside its data
	DataByte float64 `json:"databyte"` // per byte of data
	Session  float64 `json:"session"`
}

// A Check compares a server's measured cores in a step with those predicted from the other series.
type Check struct {
	Series    string  `json:"series"`
	Server    string  `json:"server"`
	Rate      float64 `json:"rate"`
	Measured  float64 `json:"measured"`  // cores
	Predicted float64 `json:"predicted"` // cores
}

// Error is the relative error of the prediction: 0.1 is 10 % too much.
func (c Check) Error() float64 { return c.Predicted/c.Measured - 1 }

// Term returns the name of term i, what its cost is per besides it ("per s" or nothing), and the cost in microseconds; ok is false when there is no such term.
func (m *Model) Term(i int) (name, unit string, cost float64, known, ok bool) {
	if i < 0 || i >= numTerms {
		return "", "", 0, false, false
	}
	return termNames[i].name, termNames[i].unit, m.Costs[i], m.Known[i], true
}

// features are the counts of a server's terms.
type features [numTerms]float64

func (m *Model) micros(f features) float64 {
	sum := 0.0
	for i, n := range f {
		sum += n * m.Costs[i]
	}
	return sum
}

type row struct {
	step     *Step
	server   *ServerUse
	features features
	micros   float64
}

// serverFeatures are those of server i in the step.
func serverFeatures(s *Step, i int) features {
	var packets int64
	for _, u := range s.Servers {
		packets += u.Packets
	}
	u := &s.Servers[i]
	share := 1 / float64(len(s.Servers))
	if packets > 0 {
		share = float64(u.Packets) / float64(packets)
	}
	w := s.Work
	f := features{
		termIdle: time.Duration(s.Measured).Seconds(),
		termRead: share * float64(w.Reads), termReadKiB: share * w.ReadKiB,
		termWrite: float64(w.Writes), termWriteKiB: w.WriteKiB, termMultiOp: float64(w.MultiOps),
		termFsync: float64(u.Fsyncs), termFlush: float64(max(0, u.Flushes)), termSession: share * float64(w.Sessions), termEvent: share * float64(w.Events),
	}
	peers := float64(len(s.Servers) - 1)
	switch u.Mode {
	case "leader":
		f[termProposal], f[termProposalKiB] = peers*float64(w.Writes), peers*w.WriteKiB
	case "follower", "observer":
		f[termForward] = share * float64(w.Writes)
	}
	return f
}

// Bounds of what a row tells: processor time is counted in steps of 10 ms.
const (
	minRowMicros  = 40_000
	rowSlack      = 10_000
	relativeSlack = 0.05
)

func rowsOf(steps []*Step) []row {
	var rows []row
	for _, s := range steps {
		if s.Incomplete != "" || s.Disconnects > 0 || s.Late > maxLate {
			continue
		}
		for i := range s.Servers {
			u := &s.Servers[i]
			if micros := float64(u.CPU) * 1e6; u.HasCPU && micros >= minRowMicros {
				rows = append(rows, row{step: s, server: u, features: serverFeatures(s, i), micros: micros})
			}
		}
	}
	return rows
}

func fitCosts(rows []row) (costs [numTerms]float64, known [numTerms]bool) {
	a := make([][]float64, len(rows))
	b := make([]float64, len(rows))
	var scale [numTerms]float64 // columns get the same size, so that the descent is even
	for i, r := range rows {
		weight := 1 / (relativeSlack*r.micros + rowSlack)
		a[i] = make([]float64, numTerms)
		for j, n := range r.features {
			a[i][j] = n * weight
			scale[j] = max(scale[j], n*weight)
		}
		b[i] = r.micros * weight
	}
	for i := range a {
		for j := range a[i] {
			if scale[j] > 0 {
				a[i][j] /= scale[j]
			}
		}
	}
	for j, x := range nonNegative(a, b) {
		if known[j] = scale[j] > 0; known[j] {
			costs[j] = x / scale[j]
		}
	}
	return costs, known
}

// minRows is how many measurements a model needs at least.
const minRows = 4

// Fit makes the model of the plan's steps and memory points. It returns nil when processor times are
// lacking.
func Fit(p *Plan) *Model {
	steps := p.Steps()
	rows := rowsOf(steps)
	if len(rows) < minRows {
		return nil
	}
	m := &Model{Rows: len(rows), Memory: fitMemory(p.Memory)}
	m.Costs, m.Known = fitCosts(rows)
	m.check(rows)
	var fsyncs []float64
	for _, s := range steps {
		for _, u := range s.Servers {
			if u.Fsyncs > 0 {
				fsyncs = append(fsyncs, float64(u.FsyncTime)/float64(u.Fsyncs))
			}
			m.Ensembles = m.Ensembles || u.Mode == "leader" && u.HasCPU && len(s.Servers) > 1
		}
		if s.Writes > m.PeakWrites {
			m.PeakWrites, m.PeakWritesCores = s.Writes, 0
			for _, u := range s.Servers {
				if u.Mode == "leader" || u.Mode == "standalone" {
					m.PeakWritesCores = float64(u.CPU) / time.Duration(s.Measured).Seconds()
				}
			}
		}
	}
	if len(fsyncs) > 0 {
		sort.Float64s(fsyncs)
		m.FsyncSeconds = fsyncs[len(fsyncs)/2]
	}
	return m
}

// check predicts each series from the others.
func (m *Model) check(rows []row) {
	bySeries := map[string]bool{}
	var order []string
	for _, r := range rows {
		if !bySeries[r.step.Series] {
			bySeries[r.step.Series] = true
			order = append(order, r.step.Series)
		}
	}
	var errs []float64
	for _, series := range order {
		var in, out []row
		for _, r := range rows {
			if r.step.Series == series {
				out = append(out, r)
			} else {
				in = append(in, r)
			}
		}
		if len(in) < minRows {
			m.Unchecked += len(out)
			continue
		}
		var rest Model
		rest.Costs, rest.Known = fitCosts(in)
	rows:
		for _, r := range out {
			for i, n := range r.features {
				if n > 0 && !rest.Known[i] {
					m.Unchecked++
					continue rows
				}
			}
			micros := time.Duration(r.step.Measured).Seconds() * 1e6
			c := Check{Series: series, Server: r.server.Mode, Rate: r.step.Rate, Measured: r.micros / micros, Predicted: rest.micros(r.features) / micros}
			m.Checks = append(m.Checks, c)
			errs = append(errs, math.Abs(c.Error()))
		}
	}
	if sort.Float64s(errs); len(errs) > 0 {
		m.MedianError = errs[len(errs)/2]
		m.P90Error = errs[min(len(errs)-1, len(errs)*9/10)]
	}
}

// fitMemory makes the memory's model, nil without at least two points.
func fitMemory(points []MemoryPoint) *Memory {
	if len(points) < 2 {
		return nil
	}
	var a [][]float64
	var b []float64
	scale := [4]float64{1, 1, 1, 1}
	for _, p := range points {
		r := []float64{1, float64(p.Znodes), float64(p.DataBytes), float64(p.Sessions)}
		for j, v := range r {
			scale[j] = max(scale[j], v)
		}
		a, b = append(a, r), append(b, float64(p.RSS))
	}
	for _, r := range a {
		for j := range r {
			r[j] /= scale[j]
		}
	}
	x := nonNegative(a, b)
	return &Memory{Base: x[0] / scale[0], Znode: x[1] / scale[1], DataByte: x[2] / scale[2], Session: x[3] / scale[3]}
}
