package bench

import (
	"fmt"
	"io"
	"text/tabwriter"

	"zabra.dev/zabra/bench/capacity"
)

// writePlanSummary writes the plan's conclusions for people at a terminal.
func writePlanSummary(w io.Writer, p *capacity.Plan) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "mix\twithin %s\tp99 there\tclosed loop\tlimit\n", p.SLO)
	for i := range p.Mixes {
		m := &p.Mixes[i]
		at, p99, peak := "-", "-", "-"
		if s := m.KneeStep(); s != nil {
			at, p99 = count(s.Offered)+"/s", short(s.Latency.P99)
		}
		if m.Peak != nil {
			peak = count(m.Peak.Rate) + "/s"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, at, p99, peak, m.Limit.Kind)
	}
	t.Flush()
	if m := p.Model; m != nil {
		fmt.Fprintf(w, "model: %d measurements; those left out were missed by %.0f %% (median), %.0f %% (p90)\n", m.Rows, 100*m.MedianError, 100*m.P90Error)
	}
	if a := p.Answer; a != nil {
		fmt.Fprintln(w, a.Text)
		for _, warning := range a.Warnings {
			fmt.Fprintln(w, "warning:", warning)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	if p.Partial != "" {
		fmt.Fprintln(w, "PARTIAL:", p.Partial)
	}
}
