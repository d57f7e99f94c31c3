package quorum

import (
	"bytes"
	"errors"
	"testing"

	"zabra.dev/zabra/engine/jute"
)

// TestSnapScanPieces finds the end of each recorded tree, whole and in pieces of all small sizes.
func TestSnapScanPieces(t *testing.T) {
	trees := 0
	recordedStreams(t, func(name string, stream []byte) {
		eachPacket(t, name, stream, func(p *Packet, raw []byte) {
			if p != nil {
				return
			}
			trees++
			in := append(bytes.Clone(raw), snapTail...)
			for size := 1; size < 40; size++ {
				var s SnapScanner
				off := 0
				for !s.Done() {
					n, err := s.Scan(in[off:min(off+size, len(in))])
					if err != nil || n == 0 {
						t.Fatalf("%s, pieces of %d, at %d: %d, %v", name, size, off, n, err)
					}
					off += n
				}
				if off != len(raw) {
					t.Fatalf("%s, pieces of %d: end at %d, want %d", name, size, off, len(raw))
				}
			}
		})
	})
	if trees < 5 {
		t.Errorf("%d trees recorded", trees)
	}
}

func TestSnapScanRefusals(t *testing.T) {
	f := func(b []byte) {
		t.Helper()
		var s SnapScanner
		if n, err := s.Scan(b); !errors.Is(err, ErrSnapshot) || s.Done() {
			t.Errorf("%x: %d, %v", b, n, err)
		}
	}
	f(jute.AppendInt32(nil, -1))
	f(jute.AppendInt32(jute.AppendInt32(nil, 0), -1))
	noNodes := jute.AppendInt32(jute.AppendInt32(nil, 0), 0)
	f(jute.AppendInt32(noNodes, -2))
	f(jute.AppendString(noNodes, "x"))
	f(jute.AppendInt32(noNodes, 3<<20))
}

func FuzzSnapScan(f *testing.F) {
	recordedStreams(f, func(name string, stream []byte) {
		eachPacket(f, name, stream, func(p *Packet, raw []byte) {
			if p == nil && len(raw) < 3000 {
				f.Add(raw, 7)
			}
		})
	})
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		var whole, pieces SnapScanner
		n, err := whole.Scan(b)
		if n > len(b) || (err == nil && !whole.Done() && n != len(b)) {
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		size = max(size, 1)
		off := 0
		var err2 error
		for off < len(b) && err2 == nil && !pieces.Done() {
			var k int
			k, err2 = pieces.Scan(b[off:min(off+min(size, len(b)), len(b))])
			off += k
		}
		if off != n || (err == nil) != (err2 == nil) || pieces.Done() != whole.Done() {
			t.Fatalf("whole %d %v, in pieces of %d %d %v", n, err, size, off, err2)
		}
	})
}
