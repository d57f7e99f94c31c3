// Package arena is memory that Go's collector does not see: anonymous mappings, cut into
// records and blobs that uint32 handles address.
//
//	Slab[T]   records of one pointer-free type, addressed by index, at stable addresses
//	Blobs     byte strings in size classes, addressed by a Ref
//	Vec[T]    an append-only list of pointer-free values
//	Region    one plain mapping whose parts can be given back
//
// Everything grows by chunks and never moves, so what a reader holds stays valid while a
// writer allocates. Freed memory is reused; chunks of blobs that have become empty go back
// to the operating system. Nothing here locks: one writer at a time and no reader while it
// writes is the caller's duty (the engine's gates).
//
// In builds with the tag race or invariants the memory is ordinary Go memory, so that the
// race detector sees the accesses; chunks are small, so that growth happens in small tests;
// freed memory is poisoned, and handles are checked. A bad handle panics there.
//
// Running out of memory panics, as it does for Go's own heap.
package arena

import "math"

// allSmall is what mapMemory is given for memory without huge pages.
const allSmall = math.MaxInt
