package load

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrKeys is the kind of every error about the key space.
var ErrKeys = errors.New("load: bad key distribution")

// A KeyDist tells how requests spread over the keys.
type KeyDist struct {
	// ZipfExponent s makes the key of rank r (from 1) as likely as r^-s. 0 is uniform.
	ZipfExponent float64
}

// ParseKeyDist reads "uniform", "zipf" (exponent 0.99, as in YCSB) or "zipf:S". Errors match ErrKeys.
func ParseKeyDist(s string) (KeyDist, error) {
	name, arg, has := strings.Cut(s, ":")
	switch {
	case name == "uniform" && !has:
		return KeyDist{}, nil
	case name == "zipf" && !has:
		return KeyDist{ZipfExponent: 0.99}, nil
	case name == "zipf":
		if e, err := strconv.ParseFloat(arg, 64); err == nil && e > 0 && e <= 10 {
			return KeyDist{ZipfExponent: e}, nil
		}
		return KeyDist{}, fmt.Errorf("%w: the exponent %q of zipf is not a number above 0 and up to 10", ErrKeys, arg)
	}
	return KeyDist{}, fmt.Errorf("%w: %q (there are: uniform, zipf, zipf:EXPONENT)", ErrKeys, s)
}

// String returns the distribution in the form that ParseKeyDist reads.
func (d KeyDist) String() string {
	if d.ZipfExponent == 0 {
		return "uniform"
	}
	return "zipf:" + strconv.FormatFloat(d.ZipfExponent, 'g', -1, 64)
}

// keyPicker draws keys in [0, n). A zipf distribution is an alias table (Walker, Vose): one random
// number and one look at memory per draw, whatever the exponent. The table is read-only
// and shared by all loops.
type keyPicker struct {
	n     uint32
	alias []aliasSlot // nil: uniform
	step  uint32      // spreads neighbouring ranks over the directories; coprime to n
}

type aliasSlot struct {
	keep  uint32 // of 2^32: how likely the slot's own rank is
	other uint32
}

func newKeyPicker(n int, d KeyDist) keyPicker {
	p := keyPicker{n: uint32(n)}
	if d.ZipfExponent == 0 || n < 2 {
		return p
	}
	p.alias = aliasTable(n, func(i int) float64 { return math.Pow(float64(i+1), -d.ZipfExponent) })
	p.step = uint32(max(1, int(float64(n)*0.6180339887)))
	for gcd(p.step, p.n) != 1 {
		p.step++
	}
	return p
}

func (p *keyPicker) draw(r *rng) uint32 {
	x := r.uint64()
	slot := uint32(x >> 32 * uint64(p.n) >> 32)
	if p.alias == nil {
		return slot
	}
	if s := &p.alias[slot]; uint32(x) >= s.keep {
		slot = s.other
	}
	return uint32(uint64(slot) * uint64(p.step) % uint64(p.n))
}

func aliasTable(n int, weight func(i int) float64) []aliasSlot {
	table := make([]aliasSlot, n)
	share := make([]float64, n) // of a slot, mean 1
	sum := 0.0
	for i := range share {
		share[i] = weight(i)
		sum += share[i]
	}
	var small, large []uint32
	for i := range share {
		share[i] *= float64(n) / sum
		if share[i] < 1 {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		table[s] = aliasSlot{keep: uint32(share[s] * (1<<32 - 1)), other: l}
		if share[l] -= 1 - share[s]; share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	// What is left has a share of 1, up to rounding.
	for _, i := range append(small, large...) {
		table[i] = aliasSlot{keep: math.MaxUint32, other: i}
	}
	return table
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
