package capacity

// A Search steps the offered load up until the objective is missed, and then halves the gap. The zero value is of
// no use; NewSearch makes one.
type Search struct {
	rates   []float64 // still to be tried, ascending
	halves  int       // steps left between ok and missed
	ok      float64   // highest that was kept, with nothing missed below
	missed  float64   // lowest that was missed twice; 0: none
	retried bool      // the rate that comes next is tried for the second time
}

// NewSearch searches with the rates, which ascend, and halves the gap at most halvings times.
func NewSearch(rates []float64, halvings int) *Search {
	return &Search{rates: append([]float64(nil), rates...), halves: halvings}
}

// Left is an upper bound of the number of rates to try, without repetitions.
func (s *Search) Left() int { return len(s.rates) + s.halves }

// Next returns the rate to try, false when the search is over.
func (s *Search) Next() (float64, bool) {
	switch {
	case len(s.rates) > 0:
		return s.rates[0], true
	case s.missed > 0 && s.halves > 0:
		return (s.ok + s.missed) / 2, true
	}
	return 0, false
}

// Add tells whether the rate of Next kept the objective. A rate counts as missed only when it missed twice: on a shared
// machine one hiccup is not the server's limit.
func (s *Search) Add(kept bool) {
	rate, more := s.Next()
	if !more {
		return
	}
	if !kept && !s.retried {
		s.retried = true
		return
	}
	s.retried = false
	if len(s.rates) > 0 {
		s.rates = s.rates[1:]
	} else {
		s.halves--
	}
	if kept {
		s.ok = rate
		return
	}
	s.missed, s.rates = rate, nil
}

// FindKnee returns the index of the highest step below which every step kept the objective, -1 when there is
// none. steps ascend by offered load; of several with the same load the last counts.
func FindKnee(steps []Step) int {
	knee := -1
	for i := 0; i < len(steps); i++ {
		for i+1 < len(steps) && steps[i+1].Offered == steps[i].Offered {
			i++
		}
		if !steps[i].OK() {
			break
		}
		knee = i
	}
	return knee
}
