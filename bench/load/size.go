package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSize is the kind of every error of ParseSizes and ParseBytes.
var ErrSize = errors.New("load: bad size")

// Sizes is a distribution of payload sizes in bytes: ranges with weights, uniform within each.
type Sizes struct {
	parts []sizeRange
	sum   float64
}

type sizeRange struct {
	min, max int // bytes, both included
	weight   float64
}

// FixedSize is the distribution of one size.
func FixedSize(bytes int) Sizes {
	return Sizes{parts: []sizeRange{{bytes, bytes, 1}}, sum: 1}
}

// ParseSizes reads "SIZE", "SIZE-SIZE" (uniform, bounds included), or several of these with weights,
// "100:70,1KiB-4KiB:29,512KiB:1". Errors match ErrSize.
func ParseSizes(s string) (Sizes, error) {
	var d Sizes
	for _, part := range strings.Split(s, ",") {
		span, weight, weighed := strings.Cut(strings.TrimSpace(part), ":")
		r := sizeRange{weight: 1}
		lo, hi, ranged := strings.Cut(span, "-")
		var err error
		if r.min, err = ParseBytes(lo); err != nil {
			return Sizes{}, err
		}
		r.max = r.min
		if ranged {
			if r.max, err = ParseBytes(hi); err != nil {
				return Sizes{}, err
			}
		}
		if r.max < r.min {
			return Sizes{}, fmt.Errorf("%w: %q: the range ends before it begins", ErrSize, span)
		}
		if r.max > maxPayloadBytes {
			return Sizes{}, fmt.Errorf("%w: %q is more than a request can carry (%d bytes)", ErrSize, span, maxPayloadBytes)
		}
		if weighed {
			if r.weight, err = strconv.ParseFloat(weight, 64); err != nil || !(r.weight > 0 && r.weight <= 1e9) {
				return Sizes{}, fmt.Errorf("%w: weight %q of %s is not a number above 0 and up to 1e9", ErrSize, weight, span)
			}
		}
		d.parts = append(d.parts, r)
		d.sum += r.weight
	}
	return d, nil
}

// ParseBytes reads a count of bytes: "100", "1KiB", "2MiB", "64B". Errors match ErrSize.
func ParseBytes(s string) (int, error) {
	digits, unit := s, 1
	for _, u := range []struct {
		suffix string
		bytes  int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, unit = d, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a count of bytes (100, 1KiB, 2MiB)", ErrSize, s)
	}
	return int(n) * unit, nil
}

// String returns the distribution in the form that ParseSizes reads.
func (d Sizes) String() string {
	var parts []string
	for _, r := range d.parts {
		p := strconv.Itoa(r.min)
		if r.max > r.min {
			p += "-" + strconv.Itoa(r.max)
		}
		if len(d.parts) > 1 {
			p += ":" + strconv.FormatFloat(r.weight, 'g', -1, 64)
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, ",")
}

// Max returns the largest size.
func (d Sizes) Max() int {
	m := 0
	for _, r := range d.parts {
		m = max(m, r.max)
	}
	return m
}

// draw returns a size.
func (d *Sizes) draw(r *rng) int {
	p := &d.parts[0]
	if len(d.parts) > 1 {
		at := r.float64() * d.sum
		for i := range d.parts {
			p = &d.parts[i]
			if at -= p.weight; at < 0 {
				break
			}
		}
	}
	if p.min == p.max {
		return p.min
	}
	return p.min + int(r.below(uint32(p.max-p.min+1)))
}

// Mean returns the mean size in bytes.
func (d Sizes) Mean() float64 {
	sum := 0.0
	for _, r := range d.parts {
		sum += r.weight * float64(r.min+r.max) / 2
	}
	if d.sum == 0 {
		return 0
	}
	return sum / d.sum
}
