package report

import (
	"fmt"
	"math"
	"strings"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/chart"
)

func answerSection(p *capacity.Plan) *section {
	a := p.Answer
	if a == nil {
		return nil
	}
	s := &section{ID: "answer", Title: "What the load needs", Answer: a.Text, Warnings: a.Warnings}
	s.Intro = []string{fmt.Sprintf("For %s reads and %s writes per second of %d bytes, %s znodes and %s sessions. Per size of server, the fewest servers that carry it with one of them gone and no server above %.0f %% of its processors; three voters bear the loss of one, five of two. "+
		"Observers are added where reads ask for them. Columns of kinds of servers are processors in use with all servers up; clients is what one server receives and sends.", capacity.Count(a.Need.Reads), capacity.Count(a.Need.Writes), a.Need.Payload, capacity.Count(float64(a.Need.Znodes)), capacity.Count(float64(a.Need.Sessions)), 100*a.Utilisation)}
	if m := p.Model; m != nil && len(m.Checks) > 0 {
		s.Soft = fmt.Sprintf("The model behind this missed measurements that it had not seen by %.0f %% (median) and %.0f %% (9 of 10 by less): see “Costs and their error”.", 100*m.MedianError, 100*m.P90Error)
	}
	t := table{Head: columns("processors each", "servers", "busiest, one gone", "leader", "follower", "observer", "memory each", "leader sends", "clients, each", "log", "fsyncs", "text:")}
	for i := range a.Options {
		o := &a.Options[i]
		servers := fmt.Sprintf("%d voters", o.Voters)
		if o.Observers > 0 {
			servers += fmt.Sprintf(" + %d observers", o.Observers)
		}
		cores := func(v float64) string {
			if v == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", v)
		}
		memory := "not measured"
		if o.MemoryBytes > 0 {
			memory = capacity.GiB(o.MemoryBytes)
		}
		r := tableRow{Cells: []string{fmt.Sprint(o.Cores), servers, fmt.Sprintf("%.2f (%.0f %%)", o.WorstCores, 100*o.WorstCores/float64(o.Cores)), cores(o.LeaderCores), cores(o.FollowerCores), cores(o.ObserverCores),
			memory, bitsText(o.LeaderOut), bitsText(o.ClientsIn + o.ClientsOut), bytesText(o.LogBytes) + "/s", rate(o.FsyncRate), o.Why}}
		switch {
		case i == a.Best:
			r.Class, r.Cells[len(r.Cells)-1] = "best", "fewest processors"
		case !o.Fits:
			r.Class = "no"
		}
		t.Rows = append(t.Rows, r)
	}
	s.Tables = []table{t}
	s.ListTitle, s.List = "What this takes for granted", a.Assumptions
	return s
}

func modelSection(p *capacity.Plan) *section {
	m := p.Model
	if m == nil {
		return nil
	}
	s := &section{ID: "model", Title: "Costs and their error"}
	s.Intro = []string{fmt.Sprintf("A server's processor time is taken as a sum of counts times costs, none of them negative, fitted to all %d measurements of a server in a step. "+
		"Terms that always come together cannot be told apart: then one carries the cost of both.", m.Rows)}
	costs := table{Head: columns("cost of", "processor time")}
	for i := 0; ; i++ {
		name, unit, c, known, ok := m.Term(i)
		if !ok {
			break
		}
		if !known {
			costs.add(name, "did not come up")
			continue
		}
		costs.add(name, strings.TrimSpace(usText(c)+" "+unit))
	}
	s.Tables = []table{costs}
	if mem := m.Memory; mem != nil {
		s.Intro = append(s.Intro, fmt.Sprintf("Memory of a server: %s, and %s per znode besides its data, %.2f bytes per byte of data, %s per session.",
			bytesText(mem.Base), bytesText(mem.Znode), mem.DataByte, bytesText(mem.Session)))
	}
	if len(m.Checks) > 0 {
		s.Tiles = []tile{
			{fmt.Sprintf("%.0f %%", 100*m.MedianError), "median error for series that the model had not seen", "median_error", "model", exact(m.MedianError)},
			{fmt.Sprintf("%.0f %%", 100*m.P90Error), "9 of 10 are nearer than that", "p90_error", "model", exact(m.P90Error)},
			{Text: fmt.Sprint(len(m.Checks)), Label: fmt.Sprintf("predictions checked; %d more could not be, because only their own series says what they cost", m.Unchecked)},
		}
		s.Plots = append(s.Plots, drawn(checkPlot(m)))
	}
	if len(p.Memory) > 1 && m.Memory != nil {
		s.Plots = append(s.Plots, drawn(memoryPlot(p)))
	}
	return s
}

// checkPlot shows predictions of series that were held out.
func checkPlot(m *capacity.Model) *chart.Plot {
	c := &chart.Plot{ID: "model-check", Title: "Predicted and measured", About: "Each point is a server in a step, predicted from all series but its own. On the line they are equal.", Diagonal: true,
		X: chart.Axis{Label: "cores measured", Log: true}, Y: chart.Axis{Label: "cores predicted", Log: true}}
	for i, kind := range []string{"standalone", "leader", "follower", "observer", ""} {
		s := chart.Series{Name: kind, Class: i, NoLine: true}
		if kind == "" {
			s.Name = "unknown role"
		}
		for _, k := range m.Checks {
			if k.Server == kind {
				s.Points = append(s.Points, chart.Point{X: k.Measured, Y: k.Predicted,
					Title: fmt.Sprintf("%s at %s: %.2f cores predicted, %.2f measured (%+.0f %%)", k.Series, rate(k.Rate), k.Predicted, k.Measured, 100*k.Error())})
			}
		}
		if len(s.Points) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	return c
}

func memoryPlot(p *capacity.Plan) *chart.Plot {
	mem := p.Model.Memory
	c := &chart.Plot{ID: "model-memory", Title: "Memory of a server", About: "Resident, as znodes were added, and what the model says.",
		X: chart.Axis{Label: "znodes", Format: chart.SI, Zero: true}, Y: chart.Axis{Label: "resident memory (MiB)", Zero: true}}
	got, want := chart.Series{Name: "measured"}, chart.Series{Name: "model", Class: 1, Dashed: true}
	for _, m := range p.Memory {
		const mib = 1 << 20
		y := mem.Base + float64(m.Znodes)*mem.Znode + float64(m.DataBytes)*mem.DataByte + float64(m.Sessions)*mem.Session
		about := fmt.Sprintf("%s znodes, %s of data, %d sessions", capacity.Count(float64(m.Znodes)), bytesText(float64(m.DataBytes)), m.Sessions)
		got.Points = append(got.Points, chart.Point{X: float64(m.Znodes), Y: float64(m.RSS) / mib, Title: about + ": " + bytesText(float64(m.RSS))})
		want.Points = append(want.Points, chart.Point{X: float64(m.Znodes), Y: math.Round(y/mib*10) / 10, Title: about + ": " + bytesText(y) + " by the model"})
	}
	c.Series = []chart.Series{got, want}
	return c
}

func methodSection(p *capacity.Plan) *section {
	s := &section{ID: "method", Title: "How this was measured", ListTitle: "Method"}
	s.List = []string{
		"A mix is first run in a closed loop, where every session keeps requests under way. Then an open loop offers a growing share of that rate: requests have a schedule of their own, and latency counts from the time at which a request was due, so that a server that stalls is charged for everything that would have been sent meanwhile.",
		"A load is kept when " + sloText(p) + ", at least 97 % of the offered load is answered, no more than 0.1 % of the requests fail and no connection breaks. One that misses is tried once more, because on a shared machine one hiccup is not the server's limit. The highest kept load below the first missed one is the capacity; the gap is then halved.",
		"Processor time and memory of servers on the generator's machine come from /proc, in steps of 10 ms; fsyncs, bytes and roles from the servers' own mntr.",
		"Where generator and servers share a machine, as the plots of processors show, servers of their own carry more. Costs per request carry over; rates do not.",
		"The model's error comes from predicting each series (a mix, a point of a sweep) from all others.",
	}
	return s
}
