package watch

import (
	"encoding/binary"
	"math/bits"
)

// Paths are kept in blocks of 8-byte units inside chunks; a ref is the number of a block's first unit.
// Classes of block sizes: every count of units up to exactClasses, then four steps per doubling, up to hugeUnits. Longer paths
// have a slice of their own each, and a ref into the list of those.
const (
	unitShift      = 3
	blobChunkUnits = 1 << 15 // 256 KiB
	blobChunkMin   = 1 << 8
	exactClasses   = 32
	hugeUnits      = 1 << 12 // 32 KiB
	blobClasses    = exactClasses + 4*7 + 1
)

// blobs stores byte strings, which are found by ref and length.
type blobs struct {
	chunks [][]byte
	used   uint32              // units handed out of all chunks so far
	free   [blobClasses]uint32 // lists of free blocks, by ref+1, linked through their first bytes
	huge   [][]byte
	noHuge []uint32 // free places in huge
}

// blobClass returns the class of blocks for n bytes and its size in units; huge if there is none.
func blobClass(n int) (class int, units uint32, huge bool) {
	u := uint32(max(1, (n+1<<unitShift-1)>>unitShift))
	if u <= exactClasses {
		return int(u) - 1, u, false
	}
	if n > hugeUnits<<unitShift {
		return 0, 0, true
	}
	// u-1 has its top bit at position e; the two bits below tell the step.
	e := bits.Len32(u-1) - 1
	step := (u - 1) >> (e - 2) & 3
	return exactClasses + 4*(e-5) + int(step), (4 + step + 1) << (e - 2), false
}

// put copies b, which it borrows until return.
func (s *blobs) put(b []byte) (ref uint32) {
	class, units, huge := blobClass(len(b))
	if huge {
		h := append([]byte(nil), b...)
		if n := len(s.noHuge); n > 0 {
			ref = s.noHuge[n-1]
			s.noHuge = s.noHuge[:n-1]
			s.huge[ref] = h
			return ref
		}
		s.huge = append(s.huge, h)
		return uint32(len(s.huge) - 1)
	}
	if f := s.free[class]; f != 0 {
		ref = f - 1
		s.free[class] = binary.NativeEndian.Uint32(s.at(ref))
	} else {
		ref = s.extend(units)
	}
	copy(s.at(ref), b)
	return ref
}

// get lends the bytes until they are dropped or put is called.
func (s *blobs) get(ref uint32, n int) []byte {
	if n > hugeUnits<<unitShift {
		return s.huge[ref]
	}
	return s.at(ref)[:n:n]
}

func (s *blobs) drop(ref uint32, n int) {
	class, _, huge := blobClass(n)
	if huge {
		s.huge[ref] = nil
		s.noHuge = append(s.noHuge, ref)
		return
	}
	binary.NativeEndian.PutUint32(s.at(ref), s.free[class])
	s.free[class] = ref + 1
}

// at returns the rest of the chunk from the block's start on.
func (s *blobs) at(ref uint32) []byte {
	return s.chunks[ref/blobChunkUnits][ref%blobChunkUnits<<unitShift:]
}

// extend hands out units that were never used. A chunk's rest that is too short is wasted.
func (s *blobs) extend(units uint32) (ref uint32) {
	if left := blobChunkUnits - s.used%blobChunkUnits; units > left {
		s.used += left
	}
	ref = s.used
	s.used += units
	if s.used < ref {
		panic("watch: more than 32 GiB of paths in one table")
	}
	switch c := int(ref / blobChunkUnits); {
	case c > 0 && c == len(s.chunks):
		s.chunks = append(s.chunks, make([]byte, blobChunkUnits<<unitShift))
	case c == 0 && (len(s.chunks) == 0 || int(s.used)<<unitShift > len(s.chunks[0])):
		n := blobChunkMin
		for n < int(s.used) {
			n *= 2
		}
		grown := make([]byte, n<<unitShift)
		if len(s.chunks) == 0 {
			s.chunks = append(s.chunks, nil)
		}
		copy(grown, s.chunks[0])
		s.chunks[0] = grown
	}
	return ref
}

// bytes is the memory held.
func (s *blobs) bytes() int {
	n := 0
	for _, c := range s.chunks {
		n += len(c)
	}
	for _, h := range s.huge {
		n += len(h)
	}
	return n
}
