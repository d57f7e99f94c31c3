package load

import (
	"math"
	"slices"
	"testing"
)

// The loops' schedules are evenly spaced, together as well as each, and do not drift.
func TestScheduleIsEven(t *testing.T) {
	const start, rate, loops = 5_000_000, 3000, 4
	var all []int64
	for l := range loops {
		s := newSchedule(start, rate, l, loops, false, 0)
		for range 3000 {
			all = append(all, s.nextNs)
			s.advance()
		}
	}
	slices.Sort(all)
	for i, at := range all {
		if want := start + float64(i)*1e9/rate; math.Abs(float64(at)-want) > 2 {
			t.Fatalf("time %d is %d, want %.0f", i, at, want)
		}
	}
}

func TestScheduleIsPoisson(t *testing.T) {
	const n, rate = 200_000, 10_000
	s := newSchedule(0, rate, 0, 1, true, 42)
	last, sum, squares := int64(0), 0.0, 0.0
	for range n {
		d := float64(s.nextNs - last)
		if d < 0 {
			t.Fatal("time runs backwards")
		}
		sum += d
		squares += d * d
		last = s.nextNs
		s.advance()
	}
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	// Of an exponential distribution mean and deviation are the same.
	if math.Abs(mean/1e5-1) > 0.01 || math.Abs(deviation/1e5-1) > 0.01 {
		t.Errorf("mean %g, deviation %g, want 1e5 both", mean, deviation)
	}
}
