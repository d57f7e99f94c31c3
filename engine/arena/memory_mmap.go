//go:build !race && !invariants

package arena

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Checked tells whether this build poisons freed memory and checks handles.
const Checked = false

const (
	// slabChunkRecords makes a chunk of any records whose length is a multiple of 16 bytes whole
	// huge pages. Only those are resident that have been reached.
	slabChunkRecords = 1 << slabChunkBits
	slabChunkBits    = 17
	vecChunkBits     = 12
	// blobChunkBytes is one huge page. It holds at least seven of the largest small blobs, so
	// that a chunk's unused end stays below 1/8.
	blobChunkBytes    = hugePageBytes
	blobSmallMaxBytes = 256 << 10

	hugePageBytes = 2 << 20
)

// mapMemory returns n zeroed bytes outside Go's heap; the kernel rounds up to pages. What
// lies behind the first small bytes, if it is at least a huge page, is aligned to and backed by
// huge pages where the system allows: a tree is read at random places, and with small pages
// the walk through the page tables then costs more than the reads (four times the whole lookup
// in a virtual machine). The price is that a page is resident as a whole once it is touched.
// small is a multiple of the size of a huge page, or allSmall.
func mapMemory(n, small int) []byte {
	size := uintptr(n)
	huge := n-hugePageBytes >= small
	if huge {
		size += hugePageBytes
	}
	p, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("arena: mapping %d bytes: %v", n, err))
	}
	if !huge {
		return unsafe.Slice((*byte)(p), n)
	}
	head := -uintptr(p) & (hugePageBytes - 1)
	end := roundUp(uintptr(n), unix.Getpagesize()) // of what stays
	if head > 0 {
		unmap(p, head)
	}
	if tail := size - head - end; tail > 0 {
		unmap(unsafe.Add(p, head+end), tail)
	}
	b := unsafe.Slice((*byte)(unsafe.Add(p, head)), n)
	_ = unix.Madvise(b[small:], unix.MADV_HUGEPAGE) // a refusal costs speed only
	return b
}

func roundUp(n uintptr, page int) uintptr { return (n + uintptr(page) - 1) &^ (uintptr(page) - 1) }

func unmap(p unsafe.Pointer, n uintptr) {
	if err := unix.MunmapPtr(p, n); err != nil {
		panic(fmt.Sprintf("arena: unmapping %d bytes: %v", n, err))
	}
}

// unmapMemory gives back what mapMemory returned.
func unmapMemory(b []byte) {
	unmap(unsafe.Pointer(&b[0]), roundUp(uintptr(len(b)), unix.Getpagesize()))
}

// adviseUnused lets the kernel take the pages of b, which must begin and end at page
// boundaries of one mapping. A refusal costs memory only.
func adviseUnused(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

// adviseNeeded makes the kernel back the pages of b now, if it can (Linux 5.14 and later).
func adviseNeeded(b []byte) { _ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) }
