// Package walfs is the file system that package wal writes to: a small
// interface with two implementations.
//
//   - OS is the real one: direct writes, fdatasync, fallocate, flock.
//   - Mem keeps files in memory and models what a power cut does to them. It is
//     for tests and for the whole-cluster simulator, and is driven from outside
//     only: it has no goroutine, no clock and no randomness of its own.
//
// Traced wraps either and reports every call as one line, which is how tests pin
// the order of create, sync, rename and directory sync.
//
// # What Mem models
//
// A file has its current bytes, which reads see, and for every sector that was
// written since the last successful sync the list of contents that sector has
// had. [Mem.CrashClone] picks one of them for each sector by a seeded coin, so
// any subset of an unsynced write may survive, in any order, torn at sector
// boundaries; bytes that were synced are never touched. File sizes and directory
// entries (create, rename, remove) survive likewise: those before the last
// SyncDir for certain, later ones by the coin, a rename always whole.
//
// A sync that fails leaves the bytes readable but not durable, and a later sync
// that succeeds does not make them so; only writing them again does. That is how
// Linux page caches behave, and what makes a failed fsync final.
//
// Beyond that, errors can be injected into any operation ([Mem.SetHook]), the
// disk can be full ([Mem.SetCapacity]), and bits can rot ([Mem.FlipBit]).
//
// Not modelled: sectors that become unreadable, permissions, hard links, a
// parent directory that loses a subdirectory (MkdirAll is durable at once).
package walfs
