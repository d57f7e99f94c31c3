package report

import (
	"fmt"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/chart"
)

var sweepTitles = map[string]string{
	"reads": "Reads and writes", "payload": "Size of the data", "clients": "Count of clients", "ensemble": "Size of the ensemble", "observers": "Observers",
}

func sweepSection(p *capacity.Plan, i int) *section {
	sw := &p.Sweeps[i]
	s := &section{ID: "sweep-" + sw.Name, Title: sweepTitles[sw.Name], Intro: []string{sw.What + "."}}
	if s.Title == "" {
		s.Title = sw.Name
	}
	if len(sw.Points) == 0 {
		s.Soft = "Nothing was measured."
		return s
	}
	if sw.Points[0].Writes != nil {
		serversSweep(p, sw, s)
		return s
	}
	x := sweepAxis(sw)
	peak := chart.Plot{ID: s.ID + "-rate", Title: "Throughput", About: "Closed loop.", X: x, Y: chart.Axis{Label: "requests per second", Format: chart.SI, Zero: true}}
	latency := chart.Plot{ID: s.ID + "-latency", Title: fmt.Sprintf("Latency at %.0f %% of that", 100*capacity.ModerateShare), About: "Open loop.", X: x, Y: latencyAxis()}
	costs := chart.Plot{ID: s.ID + "-cpu", Title: "Processor time per request", About: "Of all servers together.", X: x, Y: costAxis()}
	series := func(name string, class int, of func(*capacity.SweepPoint) (y float64, title string, ok bool)) chart.Series {
		line := chart.Series{Name: name, Class: class}
		for j := range sw.Points {
			pt := &sw.Points[j]
			if y, title, ok := of(pt); ok {
				line.Points = append(line.Points, chart.Point{X: pt.Value, Y: y, Title: pt.Label + ": " + title})
			}
		}
		return line
	}
	peak.Series = []chart.Series{series("closed loop", 0, func(pt *capacity.SweepPoint) (float64, string, bool) {
		return pt.Peak.Rate, rate(pt.Peak.Rate), true
	})}
	for k, q := range []string{"p50", "p99", "p99.9"} {
		latency.Series = append(latency.Series, series(q, k, func(pt *capacity.SweepPoint) (float64, string, bool) {
			if pt.Moderate == nil {
				return 0, "", false
			}
			d, _ := capacity.Quantile(&pt.Moderate.Latency, q)
			return ms(d), fmt.Sprintf("%s %s at %s", q, short(d), rate(pt.Moderate.Rate)), true
		}))
	}
	cpu := func(s *capacity.Step) (float64, string, bool) {
		if s == nil {
			return 0, "", false
		}
		d, ok := s.CPUPerOp()
		return us(d), fmt.Sprintf("%s at %s", short(d), rate(s.Rate)), ok
	}
	costs.Series = []chart.Series{
		series("closed loop", 0, func(pt *capacity.SweepPoint) (float64, string, bool) { return cpu(pt.Peak) }),
		series(fmt.Sprintf("at %.0f %% of it", 100*capacity.ModerateShare), 1, func(pt *capacity.SweepPoint) (float64, string, bool) { return cpu(pt.Moderate) }),
	}
	s.Plots = []plot{drawn(&peak), drawn(&latency)}
	if len(costs.Series[0].Points) > 0 {
		s.Plots = append(s.Plots, drawn(&costs))
	}
	return s
}

func sweepAxis(sw *capacity.Sweep) chart.Axis {
	x := chart.Axis{Label: sw.Axis, Log: sw.Name == "payload" || sw.Name == "clients"}
	for _, pt := range sw.Points {
		x.Ticks = append(x.Ticks, chart.Tick{At: pt.Value, Label: strings.TrimSuffix(pt.Label, " %")})
	}
	return x
}

// serversSweep shows sweeps over servers: they share the processors of one machine, so what each kind of server spends on
// a write tells more than the rates do.
func serversSweep(p *capacity.Plan, sw *capacity.Sweep, s *section) {
	s.Soft = fmt.Sprintf("All servers and the generator share the %d processors of this machine, so rates fall with every server more; on machines of their own reads would grow. "+
		"What carries over is the processor time of each kind of server.", p.Machine.CPUs)
	x := sweepAxis(sw)
	rates := chart.Plot{ID: s.ID + "-rate", Title: "Throughput on one machine", About: "Closed loop, 1 KiB.", X: x, Y: chart.Axis{Label: "requests per second", Log: true, Format: chart.SI}}
	costs := chart.Plot{ID: s.ID + "-cpu", Title: "Processor time per write, by kind of server", About: "Of each server of the kind, in a closed loop of writes of 1 KiB.", X: x, Y: chart.Axis{Label: "CPU per write (µs)", Zero: true}}
	reads, writes := chart.Series{Name: "reads"}, chart.Series{Name: "writes", Class: 1}
	kinds := []string{"standalone", "leader", "follower", "observer"}
	byKind := make([]chart.Series, len(kinds))
	for i, k := range kinds {
		byKind[i] = chart.Series{Name: k, Class: i, NoLine: k == "standalone"}
	}
	for i := range sw.Points {
		pt := &sw.Points[i]
		reads.Points = append(reads.Points, chart.Point{X: pt.Value, Y: pt.Peak.Rate, Title: fmt.Sprintf("%s %s: %s reads", pt.Label, sw.Axis, rate(pt.Peak.Rate))})
		if pt.Writes == nil || pt.Writes.Count == 0 {
			continue
		}
		writes.Points = append(writes.Points, chart.Point{X: pt.Value, Y: pt.Writes.Rate, Title: fmt.Sprintf("%s %s: %s writes", pt.Label, sw.Axis, rate(pt.Writes.Rate))})
		for k, kind := range kinds {
			sum, n := 0.0, 0
			for _, u := range pt.Writes.Servers {
				if u.Mode == kind && u.HasCPU {
					sum, n = sum+float64(u.CPU), n+1
				}
			}
			if n > 0 {
				per := sum / float64(n) / float64(pt.Writes.Count) * 1e6
				byKind[k].Points = append(byKind[k].Points, chart.Point{X: pt.Value, Y: per, Title: fmt.Sprintf("%s %s: %s per write on a %s", pt.Label, sw.Axis, usText(per), kind)})
			}
		}
	}
	rates.Series = []chart.Series{reads, writes}
	for _, k := range byKind {
		if len(k.Points) > 0 {
			costs.Series = append(costs.Series, k)
		}
	}
	latency := chart.Plot{ID: s.ID + "-latency", Title: "Latency of writes", About: "In the same closed loop: with everything on one machine it grows with every server.", X: x, Y: latencyAxis()}
	for k, q := range []string{"p50", "p99"} {
		line := chart.Series{Name: q, Class: k}
		for i := range sw.Points {
			if w := sw.Points[i].Writes; w != nil && w.Count > 0 {
				d, _ := capacity.Quantile(&w.Latency, q)
				line.Points = append(line.Points, chart.Point{X: sw.Points[i].Value, Y: ms(d), Title: fmt.Sprintf("%s %s: %s %s", sw.Points[i].Label, sw.Axis, q, capacity.Short(time.Duration(d)))})
			}
		}
		latency.Series = append(latency.Series, line)
	}
	s.Plots = []plot{drawn(&rates), drawn(&latency)}
	if len(costs.Series) > 0 {
		s.Plots = append(s.Plots, drawn(&costs))
	}
}
