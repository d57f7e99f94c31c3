package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	simFirst = flag.Int64("sim.first", 1, "first seed")
	simSeeds = flag.Int64("sim.seeds", 2000, "number of seeds")
	simTrace = flag.Bool("sim.trace", false, "print a line for each change of state")
)

func TestSim(t *testing.T) {
	began := time.Now()
	bad := 0
	for seed := *simFirst; seed < *simFirst+*simSeeds; seed++ {
		o := Options{Seed: seed}
		if *simTrace {
			o.Trace = func(line string) { fmt.Println(line) }
		}
		r := Run(o)
		if *simTrace {
			fmt.Printf("%+v\n", r)
		}
		if r.Violation != nil {
			t.Errorf("seed %d: %v", seed, r.Violation)
			if bad++; bad == 5 {
				break
			}
		}
	}
	t.Log(time.Since(began))
}
