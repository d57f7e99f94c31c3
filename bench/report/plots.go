package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"zabra.dev/zabra/bench/chart"
)

// drawn makes a figure of a plot, with a table that has a row for each place and a column for each series.
func drawn(p *chart.Plot) plot {
	t := table{Head: columns(p.X.Label)}
	var xs []float64
	for _, s := range p.Series {
		t.Head = append(t.Head, column{Name: s.Name})
		for _, pt := range s.Points {
			xs = append(xs, pt.X)
		}
	}
	slices.Sort(xs)
	for _, x := range slices.Compact(xs) {
		cells := []string{value(&p.X, x)}
		for _, s := range p.Series {
			var at []string
			for _, pt := range s.Points {
				if pt.X == x && !math.IsNaN(pt.Y) {
					at = append(at, value(&p.Y, pt.Y))
				}
			}
			cells = append(cells, strings.Join(at, "; "))
		}
		t.add(cells...)
	}
	return plot{template.HTML(p.HTML()), t}
}

func drawnBars(b *chart.Bars) plot {
	t := table{Head: columns("")}
	for _, n := range b.Parts {
		t.Head = append(t.Head, column{Name: n})
	}
	for _, r := range b.Rows {
		cells := []string{r.Label}
		for _, v := range r.Values {
			if math.IsNaN(v) {
				cells = append(cells, "")
			} else {
				cells = append(cells, value(&b.X, v))
			}
		}
		t.add(cells...)
	}
	return plot{template.HTML(b.HTML()), t}
}

func value(a *chart.Axis, v float64) string {
	for _, t := range a.Ticks {
		if t.At == v {
			return t.Label
		}
	}
	if a.Format != nil {
		return a.Format(v)
	}
	return fmt.Sprintf("%.4g", v)
}

// Axes that many plots have.

func rateAxis() chart.Axis {
	return chart.Axis{Label: "requests answered per second", Format: chart.SI, Zero: true}
}

func latencyAxis() chart.Axis { return chart.Axis{Label: "latency (ms)", Log: true} }

func costAxis() chart.Axis {
	return chart.Axis{Label: "server CPU per request (µs)", Zero: true}
}
