//go:build !race && !invariants

package arena

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Checked tells whether this build poisons freed memory and checks handles.
const Checked = false

const (
	// slabChunkRecords is a multiple of 4096, so that a chunk is whole pages whatever the record's size.
	slabChunkRecords = 1 << slabChunkBits
	slabChunkBits    = 13
	vecChunkBits     = 12
	// blobChunkBytes holds at least seven of the largest small blobs, so that a chunk's unused
	// end stays below 1/8; larger chunks would leave more memory in sparse classes.
	blobChunkBytes    = 1 << 20
	blobSmallMaxBytes = 128 << 10
)

// mapMemory returns n zeroed bytes outside Go's heap; n is rounded up to pages by the kernel.
func mapMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("arena: mapping %d bytes: %v", n, err))
	}
	return b
}

// unmapMemory gives back what mapMemory returned.
func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic(fmt.Sprintf("arena: unmapping %d bytes: %v", len(b), err))
	}
}

// adviseUnused lets the kernel take the pages of b, which must begin and end at page
// boundaries of one mapping. A refusal costs memory only.
func adviseUnused(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
