package arena

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A Ref addresses a blob within its Blobs. Together with the length, which tells whether the
// blob is small, it is the slot of a chunk in the high bits and a granule within the chunk
// in the low bits, or the number of a big blob. 0 is no blob.
type Ref uint32

// Blobs allocates byte strings. A blob of up to blobSmallMaxBytes lives in a cell of its
// size class: classes are one granule apart up to sixteen granules and then a sixteenth of a
// power of two, so a cell is at most 1/16 (or a granule) larger than its blob. Each chunk
// serves one class and has its own free list, which runs through the free cells; a chunk
// whose last blob is freed goes back to the operating system. A larger blob has a mapping of
// its own.
//
// Blobs knows no lengths: the caller keeps them and gives them to Bytes and Free.
type Blobs struct {
	granuleBits uint
	slotBits    uint // granules of a chunk, log2
	chunks      []chunk
	freeSlots   []uint32 // of chunks that went back
	classes     []class
	big         [][]byte // 0 is never used
	freeBig     []uint32
	usage       Usage
}

type class struct {
	cellBytes uint32
	partial   uint32 // head of the list of chunks with a free cell; 0 = none
	chunks    uint32 // number of chunks
}

// chunk is the memory behind a slot. Slot 0 is never used, so that Ref 0 and slot 0 can
// mean none.
type chunk struct {
	mem        []byte
	class      uint32
	free       uint32 // 1 + byte offset of the first free cell, 0 = none
	bump       uint32 // byte offset of the first cell never used
	live       uint32 // cells in use
	prev, next uint32 // neighbours in the class's partial list
	listed     bool   // whether in that list
	huge       bool   // resident as a whole
}

// classSteps is the number of classes between two powers of two.
const classSteps = 16

// NewBlobs returns an allocator whose cells are multiples of granuleBytes, a power of two
// from 4 to 4096: small ones fit small blobs better, large ones can address more
// (2^32 granules in all: 32 GiB at 8 bytes, 64 GiB at 16; big blobs come on top).
func NewBlobs(granuleBytes int) *Blobs {
	if granuleBytes < 4 || granuleBytes > 4096 || granuleBytes&(granuleBytes-1) != 0 {
		panic(fmt.Sprintf("arena: granule of %d bytes", granuleBytes))
	}
	b := &Blobs{granuleBits: uint(bits.TrailingZeros(uint(granuleBytes)))}
	b.slotBits = uint(bits.TrailingZeros(blobChunkBytes)) - b.granuleBits
	b.chunks, b.big = make([]chunk, 1), make([][]byte, 1)
	for c := 0; ; c++ {
		size := b.cellBytes(c)
		b.classes = append(b.classes, class{cellBytes: uint32(size)})
		if size >= blobSmallMaxBytes {
			return b
		}
	}
}

// classOf returns the class whose cells hold n > 0 bytes.
func (b *Blobs) classOf(n int) uint32 {
	g := uint(n-1) >> b.granuleBits // granules less one
	if g < classSteps {
		return uint32(g)
	}
	shift := uint(bits.Len(g)) - 5 // leaves the top five bits: 16..31
	return uint32(shift<<4 + g>>shift)
}

// cellBytes is the size of class c: the largest n with classOf(n) == c.
func (b *Blobs) cellBytes(c int) int {
	if c < classSteps {
		return (c + 1) << b.granuleBits
	}
	shift := uint(c>>4) - 1
	top := uint(c) - shift<<4 // 16..31
	return int((top + 1) << (shift + b.granuleBits))
}

// Alloc returns a blob of n > 0 bytes with undefined contents.
func (b *Blobs) Alloc(n int) Ref {
	b.usage.UsedBytes += int64(n)
	if n > blobSmallMaxBytes {
		return b.allocBig(n)
	}
	ci := b.classOf(n)
	cl := &b.classes[ci]
	slot := cl.partial
	if slot == 0 {
		slot = b.addChunk(ci)
	}
	c := &b.chunks[slot]
	size := cl.cellBytes
	b.usage.AllocatedBytes += int64(size)
	var off uint32
	if c.free != 0 {
		off = c.free - 1
		c.free = binary.LittleEndian.Uint32(c.mem[off:])
		if Checked {
			checkPoison(c.mem[off+4:off+size], "blob", uint32(b.ref(slot, off)))
		}
	} else {
		off = c.bump
		c.bump += size
		if !c.huge {
			b.usage.TouchedBytes += int64(size)
		}
	}
	c.live++
	if c.free == 0 && int(c.bump+size) > len(c.mem) {
		b.unlist(slot)
	}
	return b.ref(slot, off)
}

func (b *Blobs) ref(slot, off uint32) Ref { return Ref(slot<<b.slotBits | off>>b.granuleBits) }

// locate splits the Ref of a small blob into its slot and byte offset.
func (b *Blobs) locate(r Ref) (slot, off uint32) {
	return uint32(r) >> b.slotBits, uint32(r) & (1<<b.slotBits - 1) << b.granuleBits
}

func (b *Blobs) allocBig(n int) Ref {
	// Rounded as the kernel does, so that the report is true.
	mem := mapMemory((n+4095)&^4095, 0)
	b.countBig(mem, 1)
	if k := len(b.freeBig); k > 0 {
		i := b.freeBig[k-1]
		b.freeBig = b.freeBig[:k-1]
		b.big[i] = mem
		return Ref(i)
	}
	b.big = append(b.big, mem)
	return Ref(len(b.big) - 1)
}

func (b *Blobs) countBig(mem []byte, sign int64) {
	n := sign * int64(len(mem))
	b.usage.AllocatedBytes += n
	b.usage.TouchedBytes += n
	b.usage.MappedBytes += n
}

func (b *Blobs) takeSlot() uint32 {
	if k := len(b.freeSlots); k > 0 {
		slot := b.freeSlots[k-1]
		b.freeSlots = b.freeSlots[:k-1]
		return slot
	}
	slot := uint32(len(b.chunks))
	if uint64(slot)<<b.slotBits > 1<<32-1 {
		panic(fmt.Sprintf("arena: more than 2^32 granules of %d bytes", 1<<b.granuleBits))
	}
	b.chunks = append(b.chunks, chunk{})
	return slot
}

func (b *Blobs) addChunk(ci uint32) uint32 {
	slot := b.takeSlot()
	cl := &b.classes[ci]
	// A class's first chunk has small pages, for the many classes that stay small.
	huge := cl.chunks > 0 && blobChunkBytes >= hugePageBytes
	cl.chunks++
	small := allSmall
	if huge {
		small = 0
	}
	b.chunks[slot] = chunk{mem: mapMemory(blobChunkBytes, small), class: ci, huge: huge}
	b.usage.MappedBytes += blobChunkBytes
	if huge {
		b.usage.TouchedBytes += blobChunkBytes
	}
	b.list(slot)
	return slot
}

func (b *Blobs) list(slot uint32) {
	c := &b.chunks[slot]
	cl := &b.classes[c.class]
	c.prev, c.next, c.listed = 0, cl.partial, true
	if cl.partial != 0 {
		b.chunks[cl.partial].prev = slot
	}
	cl.partial = slot
}

func (b *Blobs) unlist(slot uint32) {
	c := &b.chunks[slot]
	if c.prev != 0 {
		b.chunks[c.prev].next = c.next
	} else {
		b.classes[c.class].partial = c.next
	}
	if c.next != 0 {
		b.chunks[c.next].prev = c.prev
	}
	c.prev, c.next, c.listed = 0, 0, false
}

// Bytes lends the n bytes of blob r, which must be its length, until Free(r) or Release. The
// writer may change them.
func (b *Blobs) Bytes(r Ref, n int) []byte {
	if n > blobSmallMaxBytes {
		return b.big[r][:n:n]
	}
	slot, off := b.locate(r)
	if Checked && (r == 0 || int(slot) >= len(b.chunks) || b.chunks[slot].mem == nil || b.chunks[slot].class != b.classOf(n)) {
		panic(fmt.Sprintf("arena: no blob %#x of %d bytes", uint32(r), n))
	}
	end := int(off) + n
	return b.chunks[slot].mem[off:end:end]
}

// IsBig tells whether a blob of n bytes is a big one.
func IsBig(n int) bool { return n > blobSmallMaxBytes }

// Head lends the first n bytes of blob r, which is not big and at least as long, until Free(r)
// or Release: for callers who do not have its length at hand.
func (b *Blobs) Head(r Ref, n int) []byte {
	slot, off := b.locate(r)
	if Checked && (r == 0 || int(slot) >= len(b.chunks) || b.chunks[slot].mem == nil || int(b.classes[b.chunks[slot].class].cellBytes) < n) {
		panic(fmt.Sprintf("arena: no blob %#x of %d bytes or more", uint32(r), n))
	}
	end := int(off) + n
	return b.chunks[slot].mem[off:end:end]
}

// Free takes blob r back; n is its length.
func (b *Blobs) Free(r Ref, n int) {
	b.usage.UsedBytes -= int64(n)
	if n > blobSmallMaxBytes {
		b.countBig(b.big[r], -1)
		unmapMemory(b.big[r])
		b.big[r] = nil
		b.freeBig = append(b.freeBig, uint32(r))
		return
	}
	slot, off := b.locate(r)
	c := &b.chunks[slot]
	size := b.classes[c.class].cellBytes
	if Checked {
		if got := b.classOf(n); got != c.class || off%size != 0 || off >= c.bump || c.live == 0 {
			panic(fmt.Sprintf("arena: freeing blob %#x of %d bytes, which class %d does not hold", uint32(r), n, c.class))
		}
		poison(c.mem[off : off+size])
	}
	b.usage.AllocatedBytes -= int64(size)
	c.live--
	if c.live == 0 && b.hasRoomBeside(slot) {
		b.dropChunk(slot)
		return
	}
	binary.LittleEndian.PutUint32(c.mem[off:], c.free)
	c.free = off + 1
	if !c.listed {
		b.list(slot)
	}
}

// hasRoomBeside tells whether another chunk of the class has a free cell. An empty chunk
// stays otherwise, so that alternating Alloc and Free does not map and unmap each time.
func (b *Blobs) hasRoomBeside(slot uint32) bool {
	c := &b.chunks[slot]
	first := b.classes[c.class].partial
	return first != 0 && (first != slot || c.next != 0)
}

func (b *Blobs) dropChunk(slot uint32) {
	c := &b.chunks[slot]
	if c.listed {
		b.unlist(slot)
	}
	b.classes[c.class].chunks--
	b.usage.MappedBytes -= blobChunkBytes
	if c.huge {
		b.usage.TouchedBytes -= blobChunkBytes
	} else {
		b.usage.TouchedBytes -= int64(c.bump)
	}
	unmapMemory(c.mem)
	*c = chunk{}
	b.freeSlots = append(b.freeSlots, slot)
}

// Resize returns a blob of n bytes in place of r, which had old bytes. The first keep of them,
// no more than either length, are those of r, and the others undefined. The memory is the same
// if both lengths have one class; r is gone if the returned Ref differs.
func (b *Blobs) Resize(r Ref, old, n, keep int) Ref {
	if old <= blobSmallMaxBytes && n <= blobSmallMaxBytes && b.classOf(old) == b.classOf(n) {
		b.usage.UsedBytes += int64(n - old)
		return r
	}
	s := b.Alloc(n)
	copy(b.Bytes(s, n)[:keep], b.Bytes(r, old)[:keep])
	b.Free(r, old)
	return s
}

// Usage reports bytes; Allocated less Used is what rounding to classes wastes.
func (b *Blobs) Usage() Usage { return b.usage }

// Release gives all memory back; the Blobs is empty again.
func (b *Blobs) Release() {
	for i := range b.chunks {
		if b.chunks[i].mem != nil {
			unmapMemory(b.chunks[i].mem)
		}
	}
	for _, mem := range b.big {
		if mem != nil {
			unmapMemory(mem)
		}
	}
	*b = *NewBlobs(1 << b.granuleBits)
}
