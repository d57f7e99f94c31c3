package engine

import (
	"bytes"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// aclTable interns lists of ACLs as encoded. An id is the number of the entry's record; it is
// reused once no node has the list, but not while a checkpoint runs (hold), which may still
// have to emit it. Contents never change, so a bit per id tells what an image lacks.
type aclTable struct {
	slab  arena.Slab[aclEntry]
	bytes *arena.Blobs
	index index

	live       []uint64 // bit per id: allocated
	dirty      []uint64 // bit per id: allocated or freed since the last image
	dirtyCount int
	held       bool
	freed      []uint32 // entries without users, to be freed when not held any more
}

type aclEntry struct {
	hash  uint32
	users uint32 // nodes with this list
	raw   arena.Ref
	n     uint32 // length in bytes, and flagFreed
}

// flagFreed in n marks entries that are in aclTable.freed.
const flagFreed = 1 << 31

var (
	openACL  = proto.RawACLs(proto.AppendACLs(nil, proto.WorldAnyone))
	emptyACL = proto.RawACLs{0, 0, 0, 0}
)

func (t *aclTable) init(blobs *arena.Blobs) { t.bytes = blobs }

func (t *aclTable) release() {
	t.slab.Release()
	t.index.release()
}

func (t *aclTable) raw(a *aclEntry) proto.RawACLs {
	return proto.RawACLs(t.bytes.Bytes(a.raw, int(a.n&^flagFreed)))
}

func (t *aclTable) get(id uint32) proto.RawACLs {
	if id == 0 {
		return openACL
	}
	return t.raw(t.slab.At(id))
}

// intern returns the id of the list, with one user more. The null list (or none at all) is
// the built-in open list, id 0; an open list that a client gave has an id of its own, as in
// Java. Lengths below -1 count as empty.
func (t *aclTable) intern(raw proto.RawACLs) uint32 {
	if len(raw) == 0 {
		return 0
	}
	if n := jute.Int32(raw); n == -1 {
		return 0
	} else if n < -1 {
		raw = emptyACL
	}
	h := uint32(xxhash.Sum64(raw) >> 32)
	for p := t.index.probe(h); ; {
		id := p.next()
		if id == 0 {
			break
		}
		if a := t.slab.At(id); bytes.Equal(t.raw(a), raw) {
			a.users++
			return id
		}
	}
	id := t.slab.Alloc()
	t.place(id, h, raw).users = 1
	t.touch(id)
	return id
}

// place fills the entry of id.
func (t *aclTable) place(id, h uint32, raw proto.RawACLs) *aclEntry {
	a := t.slab.At(id)
	*a = aclEntry{hash: h, raw: t.bytes.Alloc(len(raw)), n: uint32(len(raw))}
	copy(t.raw(a), raw)
	t.index.insert(h, id)
	for int(id/64) >= len(t.live) {
		t.live, t.dirty = append(t.live, 0), append(t.dirty, 0)
	}
	t.live[id/64] |= 1 << (id % 64)
	return a
}

// drop takes one user from the list.
func (t *aclTable) drop(id uint32) {
	if id == 0 {
		return
	}
	a := t.slab.At(id)
	a.users--
	switch {
	case a.users != 0:
	case !t.held:
		t.free(id)
	case a.n&flagFreed == 0:
		a.n |= flagFreed
		t.freed = append(t.freed, id)
	}
}

func (t *aclTable) free(id uint32) {
	a := t.slab.At(id)
	t.index.remove(a.hash, id)
	t.bytes.Free(a.raw, int(a.n&^flagFreed))
	t.slab.Free(id)
	t.live[id/64] &^= 1 << (id % 64)
	t.touch(id)
}

// unhold ends the time in which entries are kept for a checkpoint.
func (t *aclTable) unhold() {
	t.held = false
	for _, id := range t.freed {
		a := t.slab.At(id)
		a.n &^= flagFreed
		if a.users == 0 {
			t.free(id)
		}
	}
	t.freed = t.freed[:0]
}

// dropUnused frees the lists that no node has. No image should have one; if it does, the next
// one is told to forget it.
func (t *aclTable) dropUnused() {
	for i, w := range t.live {
		for ; w != 0; w &= w - 1 {
			if id := uint32(i*64 + bits.TrailingZeros64(w)); t.slab.At(id).users == 0 {
				t.free(id)
			}
		}
	}
}

func (t *aclTable) touch(id uint32) {
	w, bit := &t.dirty[id/64], uint64(1)<<(id%64)
	if *w&bit == 0 {
		*w |= bit
		t.dirtyCount++
	}
}

// hold hands what an image lacks to a checkpoint: the ids whose entries came or went, and
// which of them exist. No entry is freed before unhold.
func (t *aclTable) hold() (dirty, live []uint64) {
	t.held = true
	dirty, live = t.dirty, make([]uint64, len(t.dirty))
	for i := range dirty {
		live[i] = dirty[i] & t.live[i]
	}
	t.dirty, t.dirtyCount = make([]uint64, len(dirty)), 0
	return dirty, live
}

// restoreDirty takes back what hold handed over.
func (t *aclTable) restoreDirty(d []uint64) {
	for i, w := range d {
		for ; w != 0; w &= w - 1 {
			t.touch(uint32(i*64 + bits.TrailingZeros64(w)))
		}
	}
}

func (t *aclTable) otherBytes() int64 {
	return t.index.mappedBytes() + t.slab.Usage().TouchedBytes + int64(len(t.dirty))*16
}
