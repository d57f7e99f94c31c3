package watch

const (
	// chunkLen records make a chunk of a slab. The first chunk starts with chunkMin and doubles.
	chunkShift = 14
	chunkLen   = 1 << chunkShift
	chunkMin   = 64
)

// slab is an array of records that grows without moving more than one chunk. Records are addressed by number.
type slab[T any] struct {
	chunks [][]T
	len    uint32 // records handed out so far; number 0 is never used for a record
}

func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>chunkShift][i&(chunkLen-1)]
}

// extend adds one zero record and returns its number.
func (s *slab[T]) extend() uint32 {
	i := s.len
	switch c := int(i >> chunkShift); {
	case c == len(s.chunks) && c == 0:
		s.chunks = append(s.chunks, make([]T, chunkMin))
	case c == len(s.chunks):
		s.chunks = append(s.chunks, make([]T, chunkLen))
	case c == 0 && int(i) == len(s.chunks[0]):
		grown := make([]T, 2*len(s.chunks[0]))
		copy(grown, s.chunks[0])
		s.chunks[0] = grown
	}
	s.len++
	if s.len == 0 {
		panic("watch: more than 2^32 records in one table")
	}
	return i
}

// shrink forgets the last record.
func (s *slab[T]) shrink() { s.len-- }

// capacity is the count of records there is memory for.
func (s *slab[T]) capacity() int {
	n := 0
	for _, c := range s.chunks {
		n += len(c)
	}
	return n
}
