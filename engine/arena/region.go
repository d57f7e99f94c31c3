package arena

import "unsafe"

// regionPageBytes is the step in which parts of a Region can be given back: a multiple of
// every page size in use.
const regionPageBytes = 64 << 10

// A Region is one zeroed mapping of values of type T, which must be free of pointers.
type Region[T any] struct {
	Values []T
	memory []byte
	gone   int // bytes before this offset were given back by DropBefore
}

// NewRegion maps n > 0 values.
func NewRegion[T any](n int) Region[T] {
	var zero T
	mem := mapMemory(n * int(unsafe.Sizeof(zero)))
	return Region[T]{Values: unsafe.Slice((*T)(unsafe.Pointer(&mem[0])), n), memory: mem}
}

// DropBefore tells that the values before index i will not be read again but as zeroes. It
// gives their memory back in larger steps, so that the final Release is short.
func (r *Region[T]) DropBefore(i int) {
	const step = 16 * regionPageBytes
	var zero T
	end := i * int(unsafe.Sizeof(zero)) &^ (regionPageBytes - 1)
	if end-r.gone >= step {
		adviseUnused(r.memory[r.gone:end])
		r.gone = end
	}
}

// MappedBytes returns the address space in use, less what DropBefore gave back.
func (r *Region[T]) MappedBytes() int64 { return int64(len(r.memory) - r.gone) }

// Release gives the memory back; the Region is empty.
func (r *Region[T]) Release() {
	if r.memory != nil {
		unmapMemory(r.memory)
	}
	*r = Region[T]{}
}
