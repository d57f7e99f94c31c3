package chart

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An Axis is one of a Plot's two.
type Axis struct {
	Label string // with the unit
	Log   bool   // values must be above 0; those that are not are left out
	// Format writes values of ticks; nil is Plain.
	Format func(float64) string
	// Ticks replaces the ticks that the axis would choose.
	Ticks []Tick
	// Zero has the axis begin at 0.
	Zero bool
}

// A Tick is a labelled place of an axis.
type Tick struct {
	At    float64
	Label string
}

// Plain formats a number with four digits at most.
func Plain(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// SI formats a number with the unit prefixes k, M, G: 1500 is "1.5k".
func SI(v float64) string {
	for _, u := range []struct {
		size   float64
		prefix string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.size {
			return strconv.FormatFloat(v/u.size, 'g', 4, 64) + u.prefix
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// A scale maps values to places.
type scale struct {
	min, max float64 // in logarithms where log
	log      bool
	from, to float64 // places of min and max
	ticks    []Tick
}

// newScale covers the values; extra are others that it should cover, marks for example.
func newScale(a *Axis, values []float64, from, to float64, maxTicks int) scale {
	s := scale{log: a.Log, from: from, to: to, min: math.Inf(1), max: math.Inf(-1)}
	for _, v := range values {
		if s.has(v) {
			s.min, s.max = min(s.min, s.in(v)), max(s.max, s.in(v))
		}
	}
	for _, t := range a.Ticks {
		if s.has(t.At) {
			s.min, s.max = min(s.min, s.in(t.At)), max(s.max, s.in(t.At))
		}
	}
	if s.min > s.max {
		s.min, s.max = 0, 1
	}
	if a.Zero && !a.Log {
		s.min = min(s.min, 0)
	}
	if s.min == s.max {
		if a.Log {
			s.min, s.max = s.min-0.5, s.max+0.5
		} else {
			s.max = s.min + max(1, math.Abs(s.min))
		}
	}
	format := a.Format
	if format == nil {
		format = Plain
	}
	switch {
	case a.Ticks != nil:
		s.ticks = slices.Clone(a.Ticks)
		slices.SortFunc(s.ticks, func(a, b Tick) int { return cmp.Compare(a.At, b.At) })
	case a.Log:
		s.logTicks(format, maxTicks)
	default:
		s.linearTicks(format, maxTicks)
	}
	return s
}

func (s *scale) has(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (!s.log || v > 0) }

func (s *scale) in(v float64) float64 {
	if s.log {
		return math.Log10(v)
	}
	return v
}

func (s *scale) place(v float64) float64 {
	return s.from + (s.in(v)-s.min)/(s.max-s.min)*(s.to-s.from)
}

// linearTicks puts ticks at multiples of 1, 2 or 5 times a power of ten, and has the scale end with one.
func (s *scale) linearTicks(format func(float64) string, most int) {
	raw := (s.max - s.min) / float64(most)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*power >= raw*(1-1e-9) {
			step = f * power
			break
		}
	}
	s.min = math.Floor(s.min/step+1e-9) * step
	s.max = math.Ceil(s.max/step-1e-9) * step
	for i := range int(math.Round((s.max-s.min)/step)) + 1 {
		v := s.min + float64(i)*step
		if math.Abs(v) < step*1e-9 {
			v = 0
		}
		s.ticks = append(s.ticks, Tick{v, format(v)})
	}
}

// logTicks puts ticks at powers of ten, and between them where there is room.
func (s *scale) logTicks(format func(float64) string, most int) {
	s.min, s.max = s.min-0.02, s.max+0.02
	for _, factors := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		s.ticks = nil
		for e := math.Floor(s.min); e <= math.Ceil(s.max); e++ {
			for _, f := range factors {
				v := f * math.Pow(10, e)
				if l := math.Log10(v); l >= s.min && l <= s.max {
					s.ticks = append(s.ticks, Tick{v, format(v)})
				}
			}
		}
		if len(s.ticks) <= most {
			break
		}
	}
	if len(s.ticks) < 2 { // a narrow range between two round values
		s.ticks = []Tick{}
		for _, l := range []float64{s.min, (s.min + s.max) / 2, s.max} {
			v, _ := strconv.ParseFloat(strconv.FormatFloat(math.Pow(10, l), 'g', 2, 64), 64) // what was formatted parses
			s.ticks = append(s.ticks, Tick{v, format(v)})
			s.min, s.max = min(s.min, math.Log10(v)), max(s.max, math.Log10(v))
		}
	}
}

// number writes a coordinate with a tenth of a pixel.
func number(v float64) string {
	t := strconv.FormatFloat(v, 'f', 1, 64)
	return strings.TrimSuffix(t, ".0")
}

// exact writes a value unrounded.
func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
