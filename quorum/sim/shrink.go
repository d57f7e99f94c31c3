package sim

import (
	"fmt"
	"strings"
)

// shrinkRunsMax bounds how often Shrink runs a seed.
const shrinkRunsMax = 400

// Shrink looks for a part of the faults that still makes the seed fail the same check, taking
// out ever smaller parts (delta debugging), and returns the result of the smallest one. The
// result of a run without violation is returned as it is.
func Shrink(o Options, r *Result) *Result {
	if r.Violation == nil {
		return r
	}
	o.Trace = nil
	runs := 0
	best := r
	for size := (len(best.Injected) + 1) / 2; size > 0 && runs < shrinkRunsMax; {
		smaller := false
		for at := 0; at < len(best.Injected) && runs < shrinkRunsMax; {
			o.Keep = append([]int{}, best.Injected[:at]...)
			o.Keep = append(o.Keep, best.Injected[min(at+size, len(best.Injected)):]...)
			runs++
			if try := Run(o); try.Violation != nil && try.Violation.Check == best.Violation.Check {
				best, smaller = try, true
				continue
			}
			at += size
		}
		if !smaller || size > len(best.Injected) {
			size /= 2
		}
	}
	return best
}

// Report says all that is needed to understand a failure and to see it again.
func (r *Result) Report(flags string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %v\n", r.Seed, r.Violation)
	fmt.Fprintf(&b, "  ensemble: %s\n", r.Plan)
	fmt.Fprintf(&b, "  faults: %d of %d\n", len(r.Injected), len(r.Schedule))
	keep := make([]string, len(r.Injected))
	for i, n := range r.Injected {
		keep[i] = fmt.Sprint(n)
		fmt.Fprintf(&b, "    %d: %v\n", n, &r.Schedule[n])
	}
	only := strings.Join(keep, ",")
	if only == "" {
		only = "none"
	}
	fmt.Fprintf(&b, "  again: go test ./quorum/sim -run 'TestSim$' -v -sim.first=%d -sim.seeds=1 -sim.trace -sim.faults=%s%s", r.Seed, only, flags)
	return b.String()
}
