package quorum

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
)

// ImageMarker begins the data of a SNAP packet behind which blocks stand; Java's SNAP has none. It is
// only sent on a link that has FeatureImage.
const ImageMarker = "Zabra image 1"

// ImageBlockMaxBytes bounds a block; one holds at least a record, which may be of any size that a request may
// have. Who reads blocks lets memory follow what really comes.
const ImageBlockMaxBytes = 256 << 20

// ImageScanner finds the end of the blocks that follow a SNAP packet with ImageMarker:
//
//	blocks = n x (length i32 > 0, length bytes), length i32 = 0
//
// What is in the bytes is the caller's. The zero ImageScanner is at the start. It holds no bytes and
// allocates nothing.
type ImageScanner struct {
	skip int // bytes of the current block that are still to come
	word [4]byte
	have int // bytes in word
	done bool
}

// Done reports whether all blocks have been seen.
func (s *ImageScanner) Done() bool { return s.done }

// Scan is as SnapScanner.Scan.
func (s *ImageScanner) Scan(b []byte) (n int, err error) {
	for n < len(b) && !s.done {
		if s.skip > 0 {
			k := min(s.skip, len(b)-n)
			s.skip -= k
			n += k
			continue
		}
		s.word[s.have] = b[n]
		s.have++
		n++
		if s.have < len(s.word) {
			continue
		}
		s.have, s.skip = 0, int(jute.Int32(s.word[:]))
		if s.skip < 0 || s.skip > ImageBlockMaxBytes {
			return n, fmt.Errorf("%w: block of %d bytes, limit %d", ErrSnapshot, s.skip, ImageBlockMaxBytes)
		}
		s.done = s.skip == 0
	}
	return n, nil
}
