package arena

import "unsafe"

// A Region is one zeroed mapping of values of type T, which must be free of pointers.
type Region[T any] struct {
	Values []T
	memory []byte
	gone   int // bytes before this offset were given back by DropBefore
}

// NewRegion maps n > 0 values.
func NewRegion[T any](n int) Region[T] {
	var zero T
	mem := mapMemory(n*int(unsafe.Sizeof(zero)), 0)
	return Region[T]{Values: unsafe.Slice((*T)(unsafe.Pointer(&mem[0])), n), memory: mem}
}

// DropBefore tells that the values before index i will not be read again but as zeroes. It
// gives their memory back by huge pages, so that the final Release is short.
func (r *Region[T]) DropBefore(i int) {
	var zero T
	if end := i * int(unsafe.Sizeof(zero)) &^ (hugePageBytes - 1); end > r.gone {
		adviseUnused(r.memory[r.gone:end])
		r.gone = end
	}
}

// Pages returns the number of steps in which Touch goes through the region.
func (r *Region[T]) Pages() int { return (len(r.memory) + hugePageBytes - 1) / hugePageBytes }

// Touch makes the kernel back step i, 0 <= i < Pages(), now and not at the first use.
func (r *Region[T]) Touch(i int) {
	adviseNeeded(r.memory[i*hugePageBytes : min(len(r.memory), (i+1)*hugePageBytes)])
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
