package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMix is the kind of every error of ParseMix.
var ErrMix = errors.New("load: bad mix")

// A Mix gives each kind its share of the requests: a weight relative to the sum of all.
type Mix [numMixKinds]float64

// ParseMix reads "kind:weight,kind:weight,...", where a lone "kind" weighs 1: "get:95,set:5".
// Errors match ErrMix.
func ParseMix(s string) (Mix, error) {
	var m Mix
	for _, part := range strings.Split(s, ",") {
		name, weight, weighed := strings.Cut(strings.TrimSpace(part), ":")
		k, ok := KindOf(name)
		if !ok || k >= numMixKinds {
			return Mix{}, fmt.Errorf("%w: %q: no request is called %q (there are: %s)", ErrMix, s, name, MixKindNames())
		}
		if m[k] != 0 {
			return Mix{}, fmt.Errorf("%w: %q: %s stands there twice", ErrMix, s, name)
		}
		w := 1.0
		if weighed {
			var err error
			// The comparisons are written so that NaN fails them.
			if w, err = strconv.ParseFloat(weight, 64); err != nil || !(w > 0 && w <= 1e9) {
				return Mix{}, fmt.Errorf("%w: %q: weight %q of %s is not a number above 0 and up to 1e9", ErrMix, s, weight, name)
			}
		}
		m[k] = w
	}
	return m, nil
}

// String returns the mix in the form that ParseMix reads.
func (m Mix) String() string {
	var parts []string
	for k, w := range m {
		if w > 0 {
			parts = append(parts, kindNames[k]+":"+strconv.FormatFloat(w, 'g', -1, 64))
		}
	}
	return strings.Join(parts, ",")
}

// Has tells whether the mix has requests of kind k.
func (m Mix) Has(k Kind) bool { return k < numMixKinds && m[k] > 0 }

// Kinds lists the kinds of requests and figures that a run of the mix can have.
func (m Mix) Kinds() []Kind {
	var seen [numKinds]bool
	for k := range numMixKinds {
		if m.Has(k) {
			for _, f := range k.forks() {
				seen[f] = true
			}
		}
	}
	var all []Kind
	for k, yes := range seen {
		if yes {
			all = append(all, Kind(k))
		}
	}
	return all
}

// picker draws kinds by weight.
type picker struct {
	kinds  []Kind
	bounds []uint32 // cumulative shares of 2^32; the last is not looked at
}

func newPicker(m Mix) picker {
	var p picker
	sum := 0.0
	for _, w := range m {
		sum += w
	}
	at := 0.0
	for k, w := range m {
		if w > 0 {
			at += w
			p.kinds = append(p.kinds, Kind(k))
			p.bounds = append(p.bounds, uint32(min(at/sum*(1<<32), 1<<32-1)))
		}
	}
	return p
}

// pick returns the kind for 32 random bits.
func (p *picker) pick(random uint32) Kind {
	last := len(p.kinds) - 1
	for i := range last {
		if random < p.bounds[i] {
			return p.kinds[i]
		}
	}
	return p.kinds[last]
}
