package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/chart"
	"zabra.dev/zabra/bench/load"
)

// overview shows all mixes beside each other.
func overview(p *capacity.Plan) *section {
	s := &section{ID: "overview", Title: "At a glance"}
	if len(p.Mixes) == 0 {
		s.Intro = []string{"No mix was measured."}
		return s
	}
	s.Intro = []string{fmt.Sprintf("What the ensemble carried with %s, and in a closed loop, in which every session sends as soon as it may and latency does not matter.", sloText(p))}
	bars := chart.Bars{
		ID: "overview-capacity", Title: "Load within the objective", Parts: []string{"within " + p.SLO.String(), "closed loop"}, Classes: []int{0, 5},
		X: chart.Axis{Label: "requests per second", Format: chart.SI},
	}
	t := table{Head: columns("mix", "within the objective", "reads", "writes", "p50 there", "p99 there", "server CPU per request", "closed loop", "text:limit")}
	for i := range p.Mixes {
		m := &p.Mixes[i]
		row := chart.Bar{Label: m.Name, Values: []float64{m.Capacity(), math.NaN()}, Text: "none"}
		cells := []string{m.Name, "not even " + lowest(m), "", "", "", "", "", "", m.Limit.Kind}
		if k := m.KneeStep(); k != nil {
			row.Text = rate(k.Offered)
			cells = []string{m.Name, rate(k.Offered), rate(k.Reads), rate(k.Writes), short(k.Latency.P50), short(k.Latency.P99), cost(k), "", m.Limit.Kind}
		}
		if m.Peak != nil {
			row.Values[1], cells[7] = m.Peak.Rate, rate(m.Peak.Rate)
		}
		row.Title = fmt.Sprintf("%s: %s within %s, %s in a closed loop", m.Name, rate(m.Capacity()), p.SLO, cells[7])
		bars.Rows = append(bars.Rows, row)
		t.add(cells...)
	}
	s.Plots = []plot{drawnBars(&bars)}
	s.Tables = []table{t}
	return s
}

func sloText(p *capacity.Plan) string {
	var parts []string
	p.SLO.Bounds(func(name string, d time.Duration) {
		parts = append(parts, fmt.Sprintf("%s of all requests up to %s", name, d))
	})
	return strings.Join(parts, " and ")
}

func lowest(m *capacity.Mix) string {
	if len(m.Steps) == 0 {
		return "measured"
	}
	return rate(m.Steps[0].Offered)
}

func cost(s *capacity.Step) string {
	if d, ok := s.CPUPerOp(); ok {
		return short(d)
	}
	return "unknown"
}

// counted are the steps that count: of several with the same load the last.
func counted(steps []capacity.Step) []*capacity.Step {
	var all []*capacity.Step
	for i := range steps {
		if i+1 == len(steps) || steps[i+1].Offered != steps[i].Offered {
			all = append(all, &steps[i])
		}
	}
	return all
}

func mixSection(p *capacity.Plan, i int) *section {
	m := &p.Mixes[i]
	id := fmt.Sprintf("mix%d", i+1)
	s := &section{ID: id, Title: "Mix " + m.Name, Limit: m.Limit.Text}
	if m.What != "" {
		s.Intro = []string{strings.ToUpper(m.What[:1]) + m.What[1:] + "."}
	}
	if st := &m.Settings; st.Mix != "" {
		s.Soft = fmt.Sprintf("%s; payload %s bytes, %d keys (%s), %d sessions.", st.Mix, st.Payload, st.Keys, st.KeyDist, st.Sessions)
		if m.Source != "" {
			s.Soft += " Source: " + m.Source + "."
		}
	}
	k := m.KneeStep()
	if k != nil {
		s.Tiles = append(s.Tiles,
			tile{rate(k.Offered), "within " + p.SLO.String(), "capacity", m.Name, exact(k.Offered)},
			tile{short(k.Latency.P50), "p50 there", "p50", m.Name, exact(ms(k.Latency.P50))},
			tile{short(k.Latency.P99), "p99 there", "p99", m.Name, exact(ms(k.Latency.P99))},
			tile{short(k.Latency.P999), "p99.9 there", "p999", m.Name, exact(ms(k.Latency.P999))},
			tile{Text: cost(k), Label: "server CPU per request there"})
	} else {
		s.Tiles = append(s.Tiles, tile{"none", fmt.Sprintf("load within %s: even %s missed it", p.SLO, lowest(m)), "capacity", m.Name, "0"})
	}
	if m.Peak != nil {
		s.Tiles = append(s.Tiles, tile{rate(m.Peak.Rate), "closed loop", "peak", m.Name, exact(m.Peak.Rate)})
	}
	if len(m.Steps) > 0 {
		s.Plots = append(s.Plots, drawn(latencyPlot(p, m, id)), drawn(curvePlot(m, id)))
		if k == nil {
			k = &m.Steps[0]
		}
		if len(k.Intervals) > 1 {
			s.Plots = append(s.Plots, drawn(timePlot(k, id)))
		}
		if c := costPlot(m, id); c != nil {
			s.Plots = append(s.Plots, drawn(c))
		}
		if b := busyBars(p, m, id); b != nil {
			s.Plots = append(s.Plots, drawnBars(b))
		}
	}
	s.Folded = []table{stepsTable(m)}
	return s
}

// latencyPlot is throughput against latency.
func latencyPlot(p *capacity.Plan, m *capacity.Mix, id string) *chart.Plot {
	c := &chart.Plot{ID: id + "-latency", Title: "Throughput and latency", About: "Open loop, latency from the intended time of sending. Hollow: the objective was missed.", X: rateAxis(), Y: latencyAxis()}
	for i, q := range []struct {
		name string
		of   func(*load.Latency) load.Duration
	}{
		{"p50", func(l *load.Latency) load.Duration { return l.P50 }},
		{"p99", func(l *load.Latency) load.Duration { return l.P99 }},
		{"p99.9", func(l *load.Latency) load.Duration { return l.P999 }},
	} {
		line := chart.Series{Name: q.name, Class: i}
		for _, st := range counted(m.Steps) {
			l := q.of(&st.Latency)
			title := fmt.Sprintf("%s %s at %s", q.name, short(l), rate(st.Rate))
			if !st.OK() {
				title += " (" + strings.Join(st.Violations, "; ") + ")"
			}
			line.Points = append(line.Points, chart.Point{X: st.Rate, Y: ms(l), Title: title, Hollow: !st.OK()})
		}
		c.Series = append(c.Series, line)
	}
	p.SLO.Bounds(func(name string, d time.Duration) {
		c.Horizontal = append(c.Horizontal, chart.Mark{At: ms(d), Text: name + " " + d.String()})
	})
	if k := m.KneeStep(); k != nil {
		c.Vertical = []chart.Mark{{At: k.Rate, Text: rate(k.Offered)}}
	}
	return c
}

// curvePlot shows the latency at all percentiles, for the lowest load, the knee and the first load beyond it.
func curvePlot(m *capacity.Mix, id string) *chart.Plot {
	c := &chart.Plot{ID: id + "-percentiles", Title: "Percentiles", About: "How many requests were as fast.", Legend: true, Y: latencyAxis(), X: chart.Axis{Label: "percentile of requests"}}
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: nines(q), Label: exact(q)})
	}
	c.X.Format = func(v float64) string {
		for _, q := range capacity.CurvePercentiles {
			if nines(q) == v {
				return exact(q)
			}
		}
		return ""
	}
	steps := counted(m.Steps)
	var shown []*capacity.Step
	add := func(s *capacity.Step) {
		if s != nil && len(s.Curve) > 0 && (len(shown) == 0 || shown[len(shown)-1] != s) {
			shown = append(shown, s)
		}
	}
	add(steps[0])
	add(m.KneeStep())
	for _, s := range steps {
		if !s.OK() && (m.KneeStep() == nil || s.Offered > m.KneeStep().Offered) {
			add(s)
			break
		}
	}
	for i, st := range shown {
		line := chart.Series{Name: rate(st.Offered), Class: i}
		if !st.OK() {
			line.Name += " (missed)"
		}
		for _, q := range st.Curve {
			if q.Percentile > 99.99 || float64(st.Count)*(1-q.Percentile/100) < 1 {
				continue // fewer than one request
			}
			line.Points = append(line.Points, chart.Point{X: nines(q.Percentile), Y: ms(q.Latency), Hollow: !st.OK(),
				Title: fmt.Sprintf("%s %% of the requests within %s at %s", exact(q.Percentile), short(q.Latency), rate(st.Offered))})
		}
		c.Series = append(c.Series, line)
	}
	return c
}

// nines places a percentile so that 90, 99, 99.9 are equally far apart.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// timePlot shows the latency within the step.
func timePlot(s *capacity.Step, id string) *chart.Plot {
	c := &chart.Plot{ID: id + "-time", Title: "Latency over time at " + rate(s.Offered), X: chart.Axis{Label: "seconds into the step", Zero: true}, Y: latencyAxis()}
	for i, q := range []struct {
		name string
		of   func(*load.Interval) (load.Duration, int64)
	}{
		{"reads p50", func(i *load.Interval) (load.Duration, int64) { return i.Reads.P50, i.Reads.Count }},
		{"reads p99", func(i *load.Interval) (load.Duration, int64) { return i.Reads.P99, i.Reads.Count }},
		{"writes p50", func(i *load.Interval) (load.Duration, int64) { return i.Writes.P50, i.Writes.Count }},
		{"writes p99", func(i *load.Interval) (load.Duration, int64) { return i.Writes.P99, i.Writes.Count }},
	} {
		line := chart.Series{Name: q.name, Class: i}
		for j := range s.Intervals {
			iv := &s.Intervals[j]
			if l, n := q.of(iv); n > 0 {
				line.Points = append(line.Points, chart.Point{X: time.Duration(iv.Start + iv.Length).Seconds(), Y: ms(l),
					Title: fmt.Sprintf("%s %s after %s", q.name, short(l), time.Duration(iv.Start+iv.Length))})
			}
		}
		if len(line.Points) > 0 {
			c.Series = append(c.Series, line)
		}
	}
	return c
}

// costPlot is the servers' processor time per request; nil when it is not known.
func costPlot(m *capacity.Mix, id string) *chart.Plot {
	c := &chart.Plot{ID: id + "-cpu", Title: "Processor time per request", About: "Of all servers together. Where more requests come at a time, they share turns and syncs.", X: rateAxis(), Y: costAxis()}
	line := chart.Series{Name: "open loop"}
	for _, s := range counted(m.Steps) {
		if d, ok := s.CPUPerOp(); ok {
			line.Points = append(line.Points, chart.Point{X: s.Rate, Y: us(d), Title: fmt.Sprintf("%s at %s", short(d), rate(s.Rate)), Hollow: !s.OK()})
		}
	}
	if len(line.Points) == 0 {
		return nil
	}
	c.Series = []chart.Series{line}
	if m.Peak != nil {
		if d, ok := m.Peak.CPUPerOp(); ok {
			c.Series = append(c.Series, chart.Series{Name: "closed loop", Class: 3, NoLine: true,
				Points: []chart.Point{{X: m.Peak.Rate, Y: us(d), Title: fmt.Sprintf("%s at %s, closed loop", short(d), rate(m.Peak.Rate))}}})
		}
	}
	return c
}

// busyBars tell who kept the machine's processors busy; nil where that is not known.
func busyBars(p *capacity.Plan, m *capacity.Mix, id string) *chart.Bars {
	b := &chart.Bars{ID: id + "-busy", Title: "What the processors did", About: fmt.Sprintf("Of the machine's %d; a full bar means that it limits.", p.Machine.CPUs),
		Parts: []string{"servers", "generator", "everything else"}, Classes: []int{0, 1, 5}, Stacked: true, X: chart.Axis{Label: "processors busy"},
		Vertical: []chart.Mark{{At: float64(p.Machine.CPUs)}}}
	for _, s := range counted(m.Steps) {
		servers, ok := s.ServerCores()
		if !ok || s.BusyCores == 0 {
			continue
		}
		// The counts have steps of 10 ms each, and together may be a little more than there is.
		rest := max(0, min(s.BusyCores, float64(p.Machine.CPUs))-servers-s.GeneratorCores)
		b.Rows = append(b.Rows, chart.Bar{Label: rate(s.Offered), Values: []float64{servers, s.GeneratorCores, rest},
			Title: fmt.Sprintf("At %s: servers %.2f, generator %.2f, everything else %.2f", rate(s.Offered), servers, s.GeneratorCores, rest)})
	}
	if len(b.Rows) == 0 {
		return nil
	}
	return b
}

func stepsTable(m *capacity.Mix) table {
	t := table{Caption: "All steps", Head: columns("offered", "answered", "p50", "p99", "p99.9", "max", "errors", "CPU per request", "servers' cores", "generator's cores", "fsyncs", "fsync", "text:objective")}
	row := func(name string, s *capacity.Step) {
		cores, fsyncs, fsync := "", "", ""
		if v, ok := s.ServerCores(); ok {
			cores = fmt.Sprintf("%.2f", v)
		}
		for _, u := range s.Servers {
			if u.HasWords && u.Fsyncs > 0 && s.Measured > 0 {
				fsyncs = rate(float64(u.Fsyncs) / time.Duration(s.Measured).Seconds())
				fsync = short(time.Duration(float64(u.FsyncTime) / float64(u.Fsyncs) * 1e9))
				break
			}
		}
		verdict, class := "kept", ""
		if s.Offered == 0 {
			verdict = ""
		}
		if !s.OK() {
			verdict, class = strings.Join(s.Violations, "; "), "no"
		}
		l := &s.Latency
		t.Rows = append(t.Rows, tableRow{class, []string{name, rate(s.Rate), short(l.P50), short(l.P99), short(l.P999), short(l.Max), fmt.Sprint(s.Errors), cost(s), cores,
			fmt.Sprintf("%.2f", s.GeneratorCores), fsyncs, fsync, verdict}})
	}
	for i := range m.Steps {
		row(rate(m.Steps[i].Offered), &m.Steps[i])
	}
	if m.Peak != nil {
		row("closed loop", m.Peak)
	}
	return t
}
