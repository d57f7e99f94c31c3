package load

import "math"

// A schedule is an open loop's series of intended times. It knows nothing of what the server does.
type schedule struct {
	nextNs   int64   // the time that is due next
	exactNs  float64 // likewise, without rounding
	periodNs float64 // mean interval
	poisson  bool
	rng      rng
}

// newSchedule makes the schedule of loop number loop of loops, which together have ratePerSecond. The loops'
// times are offset, so that theirs together are evenly spaced too.
func newSchedule(startNs int64, ratePerSecond float64, loop, loops int, poisson bool, seed rng) schedule {
	s := schedule{periodNs: 1e9 * float64(loops) / ratePerSecond, poisson: poisson, rng: seed}
	s.exactNs = float64(startNs) + s.periodNs*float64(loop)/float64(loops)
	if poisson {
		s.exactNs = float64(startNs)
		s.advance()
	}
	s.nextNs = int64(s.exactNs)
	return s
}

// advance moves to the next intended time.
func (s *schedule) advance() {
	step := s.periodNs
	if s.poisson {
		step *= -math.Log(1 - s.rng.float64())
	}
	s.exactNs += step
	s.nextNs = int64(s.exactNs)
}
