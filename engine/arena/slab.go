package arena

import (
	"fmt"
	"unsafe"
)

// A Slab holds records of type T, which must be free of pointers and at least four bytes
// long. Index 0 is never given out, so it can mean "none". Memory of freed records is
// reused, newest first; a Slab gives nothing back before Release. The zero Slab is empty
// and ready.
type Slab[T any] struct {
	chunks []*[slabChunkRecords]T
	memory [][]byte
	next   uint32 // lowest index never given out; 0 before the first Alloc
	free   uint32 // head of the free list, which runs through the records' first four bytes
	live   int
}

// Alloc returns the index of a zeroed record.
func (s *Slab[T]) Alloc() uint32 {
	s.live++
	if i := s.free; i != 0 {
		raw := s.raw(i)
		s.free = *(*uint32)(unsafe.Pointer(&raw[0]))
		if Checked {
			checkPoison(raw[4:], "record", i)
		}
		clear(raw)
		return i
	}
	if s.next == 0 {
		s.next = 1
	}
	i := s.next
	if int(i>>slabChunkBits) == len(s.chunks) {
		s.grow()
	}
	if i == ^uint32(0) {
		panic("arena: a slab holds at most 2^32-2 records")
	}
	s.next++
	return i
}

func (s *Slab[T]) grow() {
	var zero T
	// The first chunk begins with small pages, for the many slabs that stay small.
	small := 0
	if len(s.chunks) == 0 {
		small = hugePageBytes
	}
	mem := mapMemory(slabChunkRecords*int(unsafe.Sizeof(zero)), small)
	s.memory = append(s.memory, mem)
	s.chunks = append(s.chunks, (*[slabChunkRecords]T)(unsafe.Pointer(&mem[0])))
}

// At returns the record at i, which must have been given out by Alloc and not freed. The
// pointer stays valid until Free(i) or Release.
func (s *Slab[T]) At(i uint32) *T {
	if Checked && (i == 0 || i >= s.next) {
		panic(fmt.Sprintf("arena: record %d of %d", i, s.next))
	}
	return &s.chunks[i>>slabChunkBits][i&(slabChunkRecords-1)]
}

// Free takes the record at i back. In checked builds its bytes are poisoned, otherwise zeroed,
// but for the first four.
func (s *Slab[T]) Free(i uint32) {
	raw := s.raw(i)
	if Checked {
		poison(raw)
	} else {
		clear(raw)
	}
	*(*uint32)(unsafe.Pointer(&raw[0])) = s.free
	s.free = i
	s.live--
}

func (s *Slab[T]) raw(i uint32) []byte {
	p := s.At(i)
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// Len returns the number of records in use.
func (s *Slab[T]) Len() int { return s.live }

// Usage reports bytes: mapped, and of those in use by live records.
func (s *Slab[T]) Usage() Usage {
	var zero T
	size := int64(unsafe.Sizeof(zero))
	u := Usage{UsedBytes: int64(s.live) * size, AllocatedBytes: int64(s.live) * size}
	for _, m := range s.memory {
		u.MappedBytes += int64(len(m))
	}
	if s.next > 0 {
		u.TouchedBytes = int64(s.next) * size
	}
	return u
}

// Release gives all memory back; the Slab is empty again.
func (s *Slab[T]) Release() {
	for _, m := range s.memory {
		unmapMemory(m)
	}
	*s = Slab[T]{}
}

// Usage tells where memory went. Used <= Allocated <= Touched <= Mapped.
type Usage struct {
	UsedBytes      int64 // what callers asked for and hold
	AllocatedBytes int64 // the same rounded up to size classes: the difference is waste
	TouchedBytes   int64 // cells ever given out: what is resident at most
	MappedBytes    int64 // address space
}

// Add sums two reports.
func (u Usage) Add(v Usage) Usage {
	return Usage{u.UsedBytes + v.UsedBytes, u.AllocatedBytes + v.AllocatedBytes, u.TouchedBytes + v.TouchedBytes, u.MappedBytes + v.MappedBytes}
}
