package arena

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A Ref addresses a blob within its Blobs: the slot of its chunk in the high bits, the
// granule within the chunk in the low bits. 0 is no blob.
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
	freeSlots   []uint32 // slots of chunks that went back
	classes     []class
	used        int64
	allocated   int64
	touched     int64
	mapped      int64
}

type class struct {
	cellBytes uint32
	partial   uint32 // head of the list of chunks with a free cell; 0 = none
}

// chunk is the memory behind a slot. Slot 0 is never used, so that Ref 0 and slot 0 can
// mean none.
type chunk struct {
	mem        []byte
	class      int32  // bigClass for a blob of its own
	free       uint32 // 1 + byte offset of the first free cell, 0 = none
	bump       uint32 // byte offset of the first cell never used
	live       uint32 // cells in use
	prev, next uint32 // neighbours in the class's partial list
	listed     bool   // whether in that list
}

const bigClass = -1

// classSteps is the number of classes between two powers of two.
const classSteps = 16

// NewBlobs returns an allocator whose cells are multiples of granuleBytes, a power of two
// from 4 to 4096: small ones fit small blobs better, large ones can address more
// (2^32 granules in all: 32 GiB at 8 bytes, 64 GiB at 16).
func NewBlobs(granuleBytes int) *Blobs {
	if granuleBytes < 4 || granuleBytes > 4096 || granuleBytes&(granuleBytes-1) != 0 {
		panic(fmt.Sprintf("arena: granule of %d bytes", granuleBytes))
	}
	b := &Blobs{granuleBits: uint(bits.TrailingZeros(uint(granuleBytes)))}
	b.slotBits = uint(bits.TrailingZeros(blobChunkBytes)) - b.granuleBits
	b.chunks = make([]chunk, 1)
	for g := 1; ; g++ {
		size := b.cellBytes(g - 1)
		b.classes = append(b.classes, class{cellBytes: uint32(size)})
		if size >= blobSmallMaxBytes {
			return b
		}
	}
}

// classOf returns the class whose cells hold n > 0 bytes.
func (b *Blobs) classOf(n int) int {
	g := uint(n-1) >> b.granuleBits // granules less one
	if g < classSteps {
		return int(g)
	}
	shift := uint(bits.Len(g)) - 5 // leaves the top five bits: 16..31
	return int(shift)<<4 + int(g>>shift)
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
	b.used += int64(n)
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
	b.allocated += int64(size)
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
		b.touched += int64(size)
	}
	c.live++
	if c.free == 0 && int(c.bump+size) > len(c.mem) {
		b.unlist(slot)
	}
	return b.ref(slot, off)
}

func (b *Blobs) ref(slot, off uint32) Ref { return Ref(slot<<b.slotBits | off>>b.granuleBits) }

// locate splits a Ref into its slot and byte offset.
func (b *Blobs) locate(r Ref) (slot, off uint32) {
	return uint32(r) >> b.slotBits, uint32(r) & (1<<b.slotBits - 1) << b.granuleBits
}

func (b *Blobs) allocBig(n int) Ref {
	slot := b.takeSlot()
	// Rounded as the kernel does, so that the report is true.
	mem := mapMemory((n + 4095) &^ 4095)
	b.chunks[slot] = chunk{mem: mem, class: bigClass, live: 1}
	b.allocated += int64(len(mem))
	b.touched += int64(len(mem))
	b.mapped += int64(len(mem))
	return b.ref(slot, 0)
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

func (b *Blobs) addChunk(ci int) uint32 {
	slot := b.takeSlot()
	b.chunks[slot] = chunk{mem: mapMemory(blobChunkBytes), class: int32(ci)}
	b.mapped += blobChunkBytes
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

// Bytes lends the n bytes of blob r, as many as it was allocated with or fewer, until
// Free(r) or Release. The writer may change them.
func (b *Blobs) Bytes(r Ref, n int) []byte {
	slot, off := b.locate(r)
	if Checked && (r == 0 || int(slot) >= len(b.chunks) || b.chunks[slot].mem == nil) {
		panic(fmt.Sprintf("arena: no blob %#x", uint32(r)))
	}
	end := int(off) + n
	return b.chunks[slot].mem[off:end:end]
}

// Free takes blob r back. n must be the length it was allocated with (or last resized to).
func (b *Blobs) Free(r Ref, n int) {
	slot, off := b.locate(r)
	c := &b.chunks[slot]
	b.used -= int64(n)
	if c.class == bigClass {
		b.allocated -= int64(len(c.mem))
		b.touched -= int64(len(c.mem))
		b.dropChunk(slot)
		return
	}
	size := b.classes[c.class].cellBytes
	if Checked {
		if got := b.classOf(n); got != int(c.class) || off%size != 0 || off >= c.bump || c.live == 0 {
			panic(fmt.Sprintf("arena: freeing blob %#x of %d bytes, which class %d does not hold", uint32(r), n, c.class))
		}
		poison(c.mem[off : off+size])
	}
	b.allocated -= int64(size)
	c.live--
	if c.live == 0 && (c.prev != 0 || c.next != 0 || !c.listed && b.classes[c.class].partial != 0) {
		// Another chunk of the class has room, so alternating Alloc and Free does not map and
		// unmap each time.
		if c.listed {
			b.unlist(slot)
		}
		b.touched -= int64(c.bump)
		b.dropChunk(slot)
		return
	}
	binary.LittleEndian.PutUint32(c.mem[off:], c.free)
	c.free = off + 1
	if !c.listed {
		b.list(slot)
	}
}

func (b *Blobs) dropChunk(slot uint32) {
	b.mapped -= int64(len(b.chunks[slot].mem))
	unmapMemory(b.chunks[slot].mem)
	b.chunks[slot] = chunk{}
	b.freeSlots = append(b.freeSlots, slot)
}

// Resize returns a blob of n bytes in place of r, which had old bytes. Contents are
// undefined. The memory is the same if both lengths have one class; r is gone if the
// returned Ref differs.
func (b *Blobs) Resize(r Ref, old, n int) Ref {
	if old <= blobSmallMaxBytes && n <= blobSmallMaxBytes && b.classOf(old) == b.classOf(n) {
		b.used += int64(n - old)
		return r
	}
	b.Free(r, old)
	return b.Alloc(n)
}

// Usage reports bytes; Allocated less Used is what rounding to classes wastes.
func (b *Blobs) Usage() Usage {
	return Usage{UsedBytes: b.used, AllocatedBytes: b.allocated, TouchedBytes: b.touched, MappedBytes: b.mapped}
}

// Release gives all memory back; the Blobs is empty again.
func (b *Blobs) Release() {
	for i := range b.chunks {
		if b.chunks[i].mem != nil {
			unmapMemory(b.chunks[i].mem)
		}
	}
	*b = *NewBlobs(1 << b.granuleBits)
}
