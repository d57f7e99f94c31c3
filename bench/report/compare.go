package report

import (
	"fmt"
	"slices"
	"strings"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/chart"
)

// compareSection shows a plan beside an earlier one.
func compareSection(p, old *capacity.Plan) *section {
	s := &section{ID: "compare", Title: "Against the plan of " + old.Started.UTC().Format("2006-01-02 15:04 UTC")}
	s.Soft = fmt.Sprintf("Then: %s, %d × %s, load average %s, objective %s. Now: %s, %d × %s, load average %s, objective %s.",
		orUnknown(old.Target.Version), old.Machine.CPUs, old.Machine.Model, old.Machine.LoadAverage, old.SLO,
		orUnknown(p.Target.Version), p.Machine.CPUs, p.Machine.Model, p.Machine.LoadAverage, p.SLO)
	if old.SLO.String() != p.SLO.String() {
		s.Warnings = append(s.Warnings, "The objectives differ, so the loads within them do not compare.")
	}
	if old.Machine.Model != p.Machine.Model || old.Machine.CPUs != p.Machine.CPUs {
		s.Warnings = append(s.Warnings, "The machines differ: compare neither rates nor processor times.")
	}
	t := table{Head: columns("mix", "within the objective: then", "now", "change", "closed loop: then", "now", "change", "CPU per request: then", "now", "change")}
	for i := range p.Mixes {
		m := &p.Mixes[i]
		var o *capacity.Mix
		for j := range old.Mixes {
			if old.Mixes[j].Name == m.Name {
				o = &old.Mixes[j]
			}
		}
		if o == nil {
			continue
		}
		var peaks, costs [2]float64
		for k, x := range []*capacity.Mix{o, m} {
			if x.Peak != nil {
				peaks[k] = x.Peak.Rate
			}
			if knee := x.KneeStep(); knee != nil {
				if d, ok := knee.CPUPerOp(); ok {
					costs[k] = us(d)
				}
			}
		}
		t.add(m.Name, orNone(o.Capacity(), rate), orNone(m.Capacity(), rate), change(o.Capacity(), m.Capacity()), orNone(peaks[0], rate), orNone(peaks[1], rate), change(peaks[0], peaks[1]),
			orNone(costs[0], usText), orNone(costs[1], usText), change(costs[0], costs[1]))
		s.Plots = append(s.Plots, drawn(overlay(m, o, fmt.Sprintf("compare%d", i+1))))
	}
	if len(t.Rows) == 0 {
		s.Warnings = append(s.Warnings, "The plans have no mix in common.")
	} else {
		s.Tables = []table{t}
	}
	for i := range p.Sweeps {
		for j := range old.Sweeps {
			if old.Sweeps[j].Name == p.Sweeps[i].Name && len(p.Sweeps[i].Points) > 0 {
				s.Plots = append(s.Plots, drawn(overlaySweep(&p.Sweeps[i], &old.Sweeps[j])))
			}
		}
	}
	if p.Model != nil && old.Model != nil {
		costs := table{Caption: "Costs then and now", Head: columns("cost of", "then", "now", "change")}
		for i := 0; ; i++ {
			name, unit, c, known, ok := p.Model.Term(i)
			if !ok {
				break
			}
			if _, _, oc, oldKnown, _ := old.Model.Term(i); known && oldKnown {
				costs.add(name, strings.TrimSpace(usText(oc)+" "+unit), strings.TrimSpace(usText(c)+" "+unit), change(oc, c))
			}
		}
		s.Folded = []table{costs}
	}
	return s
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown version"
	}
	return version
}

// orNone formats a figure that is 0 when there is none.
func orNone(v float64, format func(float64) string) string {
	if v == 0 {
		return "none"
	}
	return format(v)
}

func change(old, now float64) string {
	if old == 0 || now == 0 {
		return ""
	}
	return fmt.Sprintf("%+.0f %%", 100*(now/old-1))
}

func overlay(m, old *capacity.Mix, id string) *chart.Plot {
	c := &chart.Plot{ID: id + "-latency", Title: m.Name + ": p99 then and now", X: rateAxis(), Y: latencyAxis()}
	for i, x := range []*capacity.Mix{old, m} {
		line := chart.Series{Name: []string{"then", "now"}[i], Class: []int{5, 0}[i], Dashed: i == 0}
		for _, s := range counted(x.Steps) {
			line.Points = append(line.Points, chart.Point{X: s.Rate, Y: ms(s.Latency.P99), Hollow: !s.OK(), Title: fmt.Sprintf("%s: p99 %s at %s", line.Name, short(s.Latency.P99), rate(s.Rate))})
		}
		c.Series = append(c.Series, line)
	}
	return c
}

func overlaySweep(sw, old *capacity.Sweep) *chart.Plot {
	both := *sw // its points and those that only the earlier plan has
	for _, pt := range old.Points {
		if !slices.ContainsFunc(sw.Points, func(o capacity.SweepPoint) bool { return o.Value == pt.Value }) {
			both.Points = append(slices.Clip(both.Points), pt)
		}
	}
	c := &chart.Plot{ID: "compare-" + sw.Name, Title: sweepTitles[sw.Name] + ": closed loop then and now", X: sweepAxis(&both), Y: chart.Axis{Label: "requests per second", Format: chart.SI, Zero: true}}
	for i, x := range []*capacity.Sweep{old, sw} {
		line := chart.Series{Name: []string{"then", "now"}[i], Class: []int{5, 0}[i], Dashed: i == 0}
		for _, pt := range x.Points {
			line.Points = append(line.Points, chart.Point{X: pt.Value, Y: pt.Peak.Rate, Title: fmt.Sprintf("%s: %s at %s", line.Name, rate(pt.Peak.Rate), pt.Label)})
		}
		c.Series = append(c.Series, line)
	}
	return c
}
