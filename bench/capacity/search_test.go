package capacity

import (
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
)

// A search tries the rates in turn, one that is missed twice ends them, and the gap below it is halved.
func TestSearch(t *testing.T) {
	tried := func(limit float64, halvings int, hiccup float64, rates ...float64) []float64 {
		s := NewSearch(rates, halvings)
		var all []float64
		for {
			r, more := s.Next()
			if !more {
				return all
			}
			if len(all) > 50 {
				t.Fatal("the search does not end")
			}
			all = append(all, r)
			kept := r <= limit
			if r == hiccup {
				hiccup, kept = 0, false
			}
			s.Add(kept)
		}
	}
	check := func(got []float64, want ...float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%v, want %v", got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%v, want %v", got, want)
				return
			}
		}
	}
	check(tried(1000, 2, 0, 10, 20, 40), 10, 20, 40)
	check(tried(33, 2, 0, 10, 20, 40, 80), 10, 20, 40, 40, 30, 35, 35)
	check(tried(1000, 2, 20, 10, 20, 40), 10, 20, 20, 40)
	check(tried(0, 1, 0, 10, 20), 10, 10, 5, 5)
}

func step(offered float64, ok bool) Step {
	s := Step{Offered: offered}
	if !ok {
		s.Violations = []string{"slow"}
	}
	return s
}

func TestFindKnee(t *testing.T) {
	for want, steps := range map[int][]Step{
		-1: {step(10, false), step(20, true)},
		0:  {step(10, true), step(20, false), step(30, true)},
		2:  {step(10, true), step(20, false), step(20, true), step(30, false), step(30, false)},
	} {
		if got := FindKnee(steps); got != want {
			t.Errorf("%d, want %d of %v", got, want, steps)
		}
	}
	if got := FindKnee(nil); got != -1 {
		t.Errorf("%d without steps", got)
	}
}

func TestJudgeLimit(t *testing.T) {
	machine := Machine{CPUs: 4}
	server := func(cores, fsync float64) []ServerUse {
		return []ServerUse{{HasCPU: true, HasWords: true, CPU: Seconds(cores), Fsyncs: 100, FsyncTime: Seconds(fsync)}}
	}
	check := func(kind, part string, missed Step) {
		t.Helper()
		missed.Offered, missed.Measured, missed.Count, missed.Violations = 2000, load.Duration(time.Second), 2000, []string{"slow"}
		m := Mix{Knee: 0, Steps: []Step{step(1000, true), missed}}
		if l := JudgeLimit(&m, machine, 1); l.Kind != kind || !strings.Contains(l.Text, part) {
			t.Errorf("%s: %q, want %s: %q", l.Kind, l.Text, kind, part)
		}
	}
	check("machine", "At 2000/s 3.9 of 4 processors were busy (servers 3.2, generator 0.5, everything else 0.2): processor time.", Step{BusyCores: 3.9, GeneratorCores: 0.5, Servers: server(3.2, 0)})
	check("machine", "taken by other programs", Step{BusyCores: 3.9, GeneratorCores: 0.5, Servers: server(1, 0)})
	check("generator", "with -loops", Step{BusyCores: 2, GeneratorCores: 0.95, Servers: server(1, 0)})
	check("disk", "(100 fsyncs/s of 9.5 ms)", Step{BusyCores: 1, Servers: server(0.2, 0.95)})
	check("waiting", "in fsync for 40 % of the time (100 fsyncs/s of 4 ms): neither is full", Step{BusyCores: 1, Servers: server(0.2, 0.4)})
	check("errors", "7 connections broke", Step{BusyCores: 1, Disconnects: 7, Servers: server(0.2, 0.4)})
	check("errors", "ended early: gone", Step{Incomplete: "gone"})
	check("unknown", "not known", Step{})
	kept := Mix{Knee: 0, Steps: []Step{step(1000, true)}, Peak: &Step{}}
	if l := JudgeLimit(&kept, machine, 1); l.Kind != "none" || !strings.Contains(l.Text, "1000 requests/s") {
		t.Errorf("%+v", l)
	}
}
