package sim

import (
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zabra.dev/zabra/quorum/zab"
)

var (
	simFirst    = flag.Int64("sim.first", 1, "first seed")
	simSeeds    = flag.Int64("sim.seeds", 2000, "number of seeds")
	simTrace    = flag.Bool("sim.trace", false, "print a line for each change of state; see the legend in the package comment")
	simFaults   = flag.String("sim.faults", "", "inject only these faults of the schedules: indices with commas, or none")
	simEffects  = flag.Bool("sim.effects", false, "do without the checks that look at disks")
	simNoShrink = flag.Bool("sim.noshrink", false, "report failures with all their faults")
	simMood     = flag.String("sim.mood", "", "make this kind of fault frequent")
	simBug      = flag.String("sim.bug", "", "plant this bug (a field of zab.Bugs, or a name of a mistake)")
)

// bugNames lists the bugs that can be planted: the fields of zab.Bugs and the mistakes of a driver.
func bugNames() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[zab.Bugs]()) {
		names = append(names, f.Name)
	}
	for m := NoMistake + 1; m < mistakesEnd; m++ {
		names = append(names, m.String())
	}
	return names
}

// plant gives options with a bug.
func plant(t *testing.T, name string) Options {
	t.Helper()
	var o Options
	if name == "" {
		return o
	}
	if !slices.Contains(bugNames(), name) {
		t.Fatalf("no bug %q; there are %v", name, bugNames())
	}
	for m := NoMistake + 1; m < mistakesEnd; m++ {
		if m.String() == name {
			o.Mistakes = m
			return o
		}
	}
	reflect.ValueOf(&o.Bugs).Elem().FieldByName(name).SetBool(true)
	return o
}

// hunt runs seeds on all cores until one fails, and returns the first failing result, if there
// is one, and how many seeds passed.
func hunt(o Options, first, seeds int64, stopAfter int) (failed []*Result, passed int64, sum Result) {
	var (
		next  atomic.Int64
		mu    sync.Mutex // guards the results
		group sync.WaitGroup
	)
	next.Store(first)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				o := o
				o.Seed = next.Add(1) - 1
				mu.Lock()
				enough := len(failed) >= stopAfter
				mu.Unlock()
				if o.Seed >= first+seeds || enough {
					return
				}
				r := Run(o)
				mu.Lock()
				if r.Violation != nil {
					failed = append(failed, r)
				} else {
					passed++
				}
				sum.Committed += r.Committed
				sum.Acked += r.Acked
				sum.Lost += r.Lost
				sum.Epochs += r.Epochs
				sum.Reconfigs += r.Reconfigs
				sum.Rollovers += r.Rollovers
				sum.Replaced += r.Replaced
				sum.Events += r.Events
				sum.Elapsed += r.Elapsed
				for i := range r.Syncs {
					sum.Syncs[i] += r.Syncs[i]
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.SortFunc(failed, func(a, b *Result) int { return int(a.Seed - b.Seed) })
	return failed, passed, sum
}

// TestSim runs seeds; those that fail are shrunk and reported.
func TestSim(t *testing.T) {
	o, flags := plant(t, *simBug), ""
	if *simBug != "" {
		flags = " -sim.bug=" + *simBug
	}
	if o.EffectsOnly = *simEffects; o.EffectsOnly {
		flags += " -sim.effects"
	}
	if *simMood != "" {
		o.Mood = FaultKind(slices.Index(faultNames[:], *simMood))
		if !slices.Contains(faultNames[1:], *simMood) {
			t.Fatalf("no fault %q; there are %v", *simMood, faultNames[1:])
		}
		flags += " -sim.mood=" + *simMood
	}
	if *simFaults != "" {
		o.Keep = []int{}
		for _, s := range strings.Split(*simFaults, ",") {
			if s == "none" {
				continue
			}
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			o.Keep = append(o.Keep, n)
		}
	}
	if *simTrace {
		for seed := *simFirst; seed < *simFirst+*simSeeds; seed++ {
			o.Seed = seed
			o.Trace = func(line string) { fmt.Println(line) }
			if r := Run(o); r.Violation != nil {
				t.Error(r.Report(flags))
			}
		}
		return
	}
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 200)
	}
	failed, passed, sum := hunt(o, *simFirst, seeds, 5)
	for _, r := range failed {
		o.Seed = r.Seed
		if !*simNoShrink {
			r = Shrink(o, r)
		}
		t.Error(r.Report(flags))
	}
	t.Logf("%d seeds passed: %v of virtual time, %d events, %d epochs, %d member lists, %d rollovers, %d lost disks, %d transactions, %d answers and %d lost ones to clients; syncs: %d DIFF, %d of them with the log, %d TRUNC, %d SNAP",
		passed, sum.Elapsed, sum.Events, sum.Epochs, sum.Reconfigs, sum.Rollovers, sum.Replaced, sum.Committed, sum.Acked, sum.Lost, sum.Syncs[0], sum.Syncs[1], sum.Syncs[2], sum.Syncs[3])
	// Without these the run has not been through what it is for.
	if seeds >= 2000 && *simBug == "" && o.Keep == nil && len(failed) == 0 &&
		(sum.Syncs[1] == 0 || sum.Syncs[2] == 0 || sum.Syncs[3] == 0 || sum.Epochs < int(seeds) || sum.Lost == 0 || sum.Reconfigs < int(seeds)/2 || sum.Rollovers == 0 || sum.Replaced == 0) {
		t.Error("these seeds do not exercise the ensemble")
	}
}
