package capacity

import "sort"

// Others is how many of the generator's processors programs kept busy that are neither servers nor generator: the median over
// the steps. false: it is not known.
func Others(p *Plan) (float64, bool) {
	var all []float64
	for _, s := range p.Steps() {
		if servers, ok := s.ServerCores(); ok && s.BusyCores > 0 {
			all = append(all, max(0, s.BusyCores-servers-s.GeneratorCores))
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	sort.Float64s(all)
	return all[len(all)/2], true
}
