package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func labels(ticks []Tick) string {
	var all []string
	for _, t := range ticks {
		all = append(all, t.Label)
	}
	return strings.Join(all, " ")
}

func TestTicks(t *testing.T) {
	check := func(a Axis, want string, values ...float64) {
		t.Helper()
		s := newScale(&a, values, 0, 100, 6)
		if got := labels(s.ticks); got != want {
			t.Errorf("%v: %s, want %s", values, got, want)
		}
		for _, v := range values {
			if at := s.place(v); s.has(v) && (at < -1e-9 || at > 100+1e-9) {
				t.Errorf("%v: %g is at %g", values, v, at)
			}
		}
	}
	check(Axis{Zero: true, Format: SI}, "0 50k 100k 150k 200k 250k", 34_000, 220_000)
	check(Axis{}, "0.2 0.4 0.6 0.8 1 1.2", 0.3, 1.1)
	check(Axis{}, "5 6 7 8 9 10", 5)
	check(Axis{}, "0 0.2 0.4 0.6 0.8 1")
	check(Axis{Log: true}, "0.1 1 10 100", 0.05, 400)
	check(Axis{Log: true}, "1 2 5 10", 1, 9, 10, 0, -3, math.NaN(), math.Inf(1))
	check(Axis{Log: true}, "0.3 1 3 10 30", 0.2, 30)
	check(Axis{Log: true}, "60 66 73", 63, 70)
	check(Axis{Ticks: []Tick{{9, "nine"}, {1, "one"}}}, "one nine", 1, 9)
}

func TestSI(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.5: "0.5", 999: "999", 1500: "1.5k", 2e6: "2M", -3e9: "-3G"} {
		if got := SI(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}

// wellFormed fails when the figure, closed, is not XML.
func wellFormed(t *testing.T, figure string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(figure + "</figure>"))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, figure)
		}
	}
}

func TestPlot(t *testing.T) {
	p := &Plot{
		ID: "x", Title: "a < b & c", About: "says \"so\"", X: Axis{Label: "x", Zero: true}, Y: Axis{Label: "y", Log: true},
		Series:     []Series{{Name: "one", Points: []Point{{X: 1, Y: 10}, {X: 2, Y: 0}, {X: 3, Y: 1.0 / 3, Hollow: true, Title: "<third>"}}}, {Name: "two", Class: 3, NoLine: true}},
		Horizontal: []Mark{{At: 5, Text: "bound"}}, Vertical: []Mark{{At: 2.5, Text: "knee"}}, Diagonal: true,
	}
	got := p.HTML()
	wellFormed(t, got)
	for _, part := range []string{`data-x="3" data-y="0.3333333333333333"><title>&lt;third&gt;</title>`, "a &lt; b &amp; c", "one: 10 at 1", `class="ring c0"`, ">bound<", ">knee<", `class="legend"`} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in\n%s", part, got)
		}
	}
	if strings.Contains(got, `data-y="0"`) || strings.Count(got, `class="pt"`) != 2 {
		t.Errorf("a value that the axis does not have was drawn:\n%s", got)
	}
	if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
		t.Errorf("a place is not a number:\n%s", got)
	}
	empty := (&Plot{ID: "e", X: Axis{Log: true}}).HTML()
	wellFormed(t, empty)
	if strings.Contains(empty, "NaN") || strings.Contains(empty, "Inf") {
		t.Errorf("a place is not a number:\n%s", empty)
	}
}

// Labels that have no room beside each other are left out, from the left.
func TestPlotCrowdedLabels(t *testing.T) {
	p := &Plot{X: Axis{Ticks: []Tick{{100, "100"}, {99, "ninety-nine"}, {0, "0"}}}}
	got := p.HTML()
	if !strings.Contains(got, ">100<") || !strings.Contains(got, ">0<") || strings.Contains(got, "ninety-nine") {
		t.Errorf("%s", got)
	}
}

func TestBars(t *testing.T) {
	b := &Bars{ID: "b", Title: "bars", X: Axis{Label: "n"}, Parts: []string{"a", "b"}, Classes: []int{4, 5},
		Rows: []Bar{{Label: "r<1", Values: []float64{1, 3}, Text: "one"}, {Label: "r2", Values: []float64{2, math.NaN()}}}, Vertical: []Mark{{At: 3.5}}}
	for _, stacked := range []bool{false, true} {
		b.Stacked = stacked
		got := b.HTML()
		wellFormed(t, got)
		if strings.Count(got, `class="bar c4" data-part="a"`) != 2 || strings.Count(got, `class="bar c5" data-part="b"`) != 1 || strings.Contains(got, "NaN") {
			t.Errorf("stacked %v:\n%s", stacked, got)
		}
		if !strings.Contains(got, `data-value="3"`) || !strings.Contains(got, "r&lt;1") {
			t.Errorf("stacked %v:\n%s", stacked, got)
		}
	}
}
