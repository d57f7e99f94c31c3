package quorum

import (
	"errors"
	"math/rand"
	"testing"

	"zabra.dev/zabra/engine/jute"
)

func TestImageScanner(t *testing.T) {
	var stream []byte
	for _, n := range []int{1, 4, 5000, 70000} {
		stream = append(jute.AppendInt32(stream, int32(n)), make([]byte, n)...)
	}
	stream = jute.AppendInt32(stream, 0)
	end := len(stream)
	stream = append(stream, "behind"...)
	rng := rand.New(rand.NewSource(1))
	for range 200 {
		var s ImageScanner
		at := 0
		for most := 1 + rng.Intn(2*end); !s.Done(); {
			piece := stream[at:min(at+1+rng.Intn(most), len(stream))]
			n, err := s.Scan(piece)
			if err != nil || n < len(piece) && !s.Done() {
				t.Fatalf("%d of %d at %d: %v", n, len(piece), at, err)
			}
			at += n
		}
		if at != end {
			t.Fatalf("the end is at %d, found at %d", end, at)
		}
	}
	for _, length := range []int32{-1, -1 << 31, ImageBlockMaxBytes + 1} {
		if _, err := new(ImageScanner).Scan(jute.AppendInt32(nil, length)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func FuzzImageScanner(f *testing.F) {
	f.Add(jute.AppendInt32(append(jute.AppendInt32(nil, 2), 1, 2), 0), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, halves ImageScanner
		n, err := whole.Scan(b)
		cut = min(max(cut, 0), len(b))
		k, err2 := halves.Scan(b[:cut])
		if err2 == nil && k == cut {
			var m int
			m, err2 = halves.Scan(b[cut:])
			k += m
		}
		if n != k || (err == nil) != (err2 == nil) || whole.Done() != halves.Done() {
			t.Fatalf("whole: %d, %v, %v; in two: %d, %v, %v", n, err, whole.Done(), k, err2, halves.Done())
		}
	})
}
