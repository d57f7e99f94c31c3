package load

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseMix(t *testing.T) {
	ok := func(input, want string) {
		t.Helper()
		m, err := ParseMix(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
		} else if got := m.String(); got != want {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	}
	bad := func(input, part string) {
		t.Helper()
		_, err := ParseMix(input)
		if !errors.Is(err, ErrMix) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error %v, want one with %q", input, err, part)
		}
	}
	ok("get", "get:1")
	ok("set:5,get:95", "get:95,set:5")
	ok(" get:0.5 , sync:2", "get:0.5,sync:2")
	ok("createdelete:1,ephemeral:1,session:0.001", "createdelete:1,ephemeral:1,session:0.001")
	bad("", `no request is called ""`)
	bad("gets", `no request is called "gets" (there are: get, exists,`)
	bad("delete:1", "no request is called") // comes of createdelete only
	bad("get:1,get:2", "twice")
	for _, w := range []string{"0", "-1", "x", "", "NaN", "+Inf", "1e10"} {
		bad("get:"+w, "weight")
	}
}

// The picker gives each kind a part of the 32-bit numbers that is its share, up to rounding.
func TestPickerShares(t *testing.T) {
	m, err := ParseMix("get:70,set:20,multi:9.9,session:0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := newPicker(m)
	// The picker is monotonic, so the bounds of a kind's part are found by bisection.
	first := func(k Kind) uint64 {
		lo, hi := uint64(0), uint64(1)<<32
		for lo < hi {
			if mid := (lo + hi) / 2; p.pick(uint32(mid)) < k {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return lo
	}
	for k, want := range map[Kind]float64{Get: 0.7, Set: 0.2, Multi: 0.099, Session: 0.001} {
		got := float64(first(k+1)-first(k)) / (1 << 32)
		if math.Abs(got-want) > 1e-8 {
			t.Errorf("%s: share %g, want %g", k, got, want)
		}
	}
}

func TestParseSizes(t *testing.T) {
	ok := func(input, want string, most int) {
		t.Helper()
		d, err := ParseSizes(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
		} else if d.String() != want || d.Max() != most {
			t.Errorf("%q: got %q of at most %d, want %q of at most %d", input, d, d.Max(), want, most)
		}
	}
	bad := func(input, part string) {
		t.Helper()
		if _, err := ParseSizes(input); !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error %v, want one with %q", input, err, part)
		}
	}
	ok("0", "0", 0)
	ok("1KiB", "1024", 1024)
	ok("64B-4KiB", "64-4096", 4096)
	ok("100:70,1KiB-2KiB:29,512KiB:1", "100:70,1024-2048:29,524288:1", 512<<10)
	bad("", "not a count of bytes")
	bad("1kb", "not a count of bytes")
	bad("-5", "not a count of bytes")
	bad("5-3", "ends before it begins")
	bad("1MiB", "more than a request can carry")
	bad("4GiB", "more than a request can carry")
	bad("100:0", "weight")
}

func TestSizesStayInRange(t *testing.T) {
	d, err := ParseSizes("10-20:3,100:1")
	if err != nil {
		t.Fatal(err)
	}
	r := rng(7)
	small, n := 0, 40000
	for range n {
		switch v := d.draw(&r); {
		case v >= 10 && v <= 20:
			small++
		case v != 100:
			t.Fatalf("drew %d", v)
		}
	}
	if share := float64(small) / float64(n); math.Abs(share-0.75) > 0.02 {
		t.Errorf("a share of %g is small, want 0.75", share)
	}
}
