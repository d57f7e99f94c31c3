package load

import (
	"errors"
	"math"
	"testing"
)

func TestParseKeyDist(t *testing.T) {
	ok := func(input, want string) {
		t.Helper()
		if d, err := ParseKeyDist(input); err != nil || d.String() != want {
			t.Errorf("%q: got %q, %v; want %q", input, d, err, want)
		}
	}
	ok("uniform", "uniform")
	ok("zipf", "zipf:0.99")
	ok("zipf:1.5", "zipf:1.5")
	for _, input := range []string{"", "zipf:", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:99", "uniform:1", "normal"} {
		if _, err := ParseKeyDist(input); !errors.Is(err, ErrKeys) {
			t.Errorf("%q: error %v", input, err)
		}
	}
}

// The probability of each rank, added up over the slots of the table, is that of the distribution.
func TestAliasTableIsExact(t *testing.T) {
	for _, n := range []int{2, 3, 10, 1000, 65537} {
		for _, s := range []float64{0.5, 0.99, 1, 2} {
			weight := func(i int) float64 { return math.Pow(float64(i+1), -s) }
			sum := 0.0
			for i := range n {
				sum += weight(i)
			}
			got := make([]float64, n)
			for i, slot := range aliasTable(n, weight) {
				keep := float64(slot.keep) / (1 << 32)
				got[i] += keep / float64(n)
				got[slot.other] += (1 - keep) / float64(n)
			}
			for i := range n {
				if want := weight(i) / sum; math.Abs(got[i]-want) > 1e-9 {
					t.Fatalf("n=%d s=%g: rank %d has probability %g, want %g", n, s, i, got[i], want)
				}
			}
		}
	}
}

// Ranks are spread over the keys by a permutation, and the hottest key is as hot as it should be.
func TestKeyPicker(t *testing.T) {
	for _, n := range []int{1, 2, 7, 1000, 1024} {
		p := newKeyPicker(n, KeyDist{ZipfExponent: 0.99})
		if n > 1 {
			seen := map[uint32]bool{}
			for slot := range uint32(n) {
				seen[uint32(uint64(slot)*uint64(p.step)%uint64(n))] = true
			}
			if len(seen) != n {
				t.Errorf("n=%d: %d ranks share keys", n, n-len(seen))
			}
		}
		r := rng(3)
		for range 1000 {
			if k := p.draw(&r); k >= uint32(n) {
				t.Fatalf("n=%d: drew key %d", n, k)
			}
		}
	}
	count := func(d KeyDist) (hottest float64, distinct int) {
		const n, draws = 100, 100_000
		p := newKeyPicker(n, d)
		r := rng(11)
		var counts [n]int
		for range draws {
			counts[p.draw(&r)]++
		}
		most := 0
		for _, c := range counts {
			most = max(most, c)
			if c > 0 {
				distinct++
			}
		}
		return float64(most) / draws, distinct
	}
	if hottest, distinct := count(KeyDist{}); hottest > 0.015 || distinct != 100 {
		t.Errorf("uniform: the hottest of 100 keys has %g, %d were drawn", hottest, distinct)
	}
	h100 := 0.0
	for i := range 100 {
		h100 += 1 / float64(i+1)
	}
	if hottest, distinct := count(KeyDist{ZipfExponent: 1}); math.Abs(hottest-1/h100) > 0.01 || distinct != 100 {
		t.Errorf("zipf: the hottest of 100 keys has %g, want %g; %d were drawn", hottest, 1/h100, distinct)
	}
}
