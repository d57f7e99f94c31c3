package arena

import "unsafe"

// VecChunkLen is the number of values in each chunk of a Vec.
const VecChunkLen = 1 << vecChunkBits

// A Vec is a list of pointer-free values that grows at its end without moving. The zero Vec
// is empty and ready.
type Vec[T any] struct {
	chunks []*[VecChunkLen]T
	memory [][]byte
	n      int
}

// Append adds v at the end.
func (v *Vec[T]) Append(x T) {
	c := v.n >> vecChunkBits
	if c == len(v.chunks) {
		mem := mapMemory(VecChunkLen*int(unsafe.Sizeof(x)), allSmall)
		v.memory = append(v.memory, mem)
		v.chunks = append(v.chunks, (*[VecChunkLen]T)(unsafe.Pointer(&mem[0])))
	}
	v.chunks[c][v.n&(VecChunkLen-1)] = x
	v.n++
}

// Len returns the number of values.
func (v *Vec[T]) Len() int { return v.n }

// At returns the value at i, 0 <= i < Len().
func (v *Vec[T]) At(i int) T { return v.chunks[i>>vecChunkBits][i&(VecChunkLen-1)] }

// Chunks returns the number of chunks; all but the last are full.
func (v *Vec[T]) Chunks() int { return (v.n + VecChunkLen - 1) >> vecChunkBits }

// Chunk lends the values of chunk c until Release.
func (v *Vec[T]) Chunk(c int) []T {
	return v.chunks[c][:min(VecChunkLen, v.n-c<<vecChunkBits)]
}

// MappedBytes returns the address space in use.
func (v *Vec[T]) MappedBytes() int64 {
	var total int64
	for _, m := range v.memory {
		total += int64(len(m))
	}
	return total
}

// Release gives all memory back; the Vec is empty again.
func (v *Vec[T]) Release() {
	for _, m := range v.memory {
		unmapMemory(m)
	}
	*v = Vec[T]{}
}
