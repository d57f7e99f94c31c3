package walfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// OpKind names a kind of operation of Mem.
type OpKind uint8

const (
	OpCreate OpKind = iota + 1
	OpOpen
	OpRead
	OpWrite
	OpAllocate
	OpTruncate
	OpSync // Sync and Datasync
	OpRename
	OpRemove
	OpList
	OpSyncDir
	OpLock
)

var opNames = [...]string{"", "create", "open", "read", "write", "allocate", "truncate",
	"sync", "rename", "remove", "list", "syncdir", "lock"}

func (k OpKind) String() string {
	if int(k) < len(opNames) {
		return opNames[k]
	}
	return fmt.Sprintf("OpKind(%d)", uint8(k))
}

// Mutates reports whether operations of this kind change what is on the disk, or
// how certain it is.
func (k OpKind) Mutates() bool {
	switch k {
	case OpOpen, OpRead, OpList, OpLock:
		return false
	}
	return true
}

// Op describes an operation that is about to happen.
type Op struct {
	Kind    OpKind
	Index   int    // how many operations this Mem saw before
	Name    string // full name of the file or directory
	NewName string // OpRename
	Off     int64  // OpRead, OpWrite
	Bytes   int    // OpRead, OpWrite: how many; OpAllocate, OpTruncate: new size
}

// ErrCrashed is what hooks return for everything that happens after a crash.
var ErrCrashed = errors.New("walfs: the machine is down")

// ShortWriteError, returned by a hook for an OpWrite, makes the write fail with it
// after its first Bytes bytes were written.
type ShortWriteError struct {
	Bytes int
	Err   error
}

func (e *ShortWriteError) Error() string {
	return fmt.Sprintf("after %d bytes: %v", e.Bytes, e.Err)
}

func (e *ShortWriteError) Unwrap() error { return e.Err }

// SetHook has hook called before every operation, from the goroutine that does it;
// an error it returns is what the operation returns, without being done (see
// ShortWriteError for the exception). A sync that a hook lets fail leaves the
// unsynced bytes readable and never durable. The hook may call CrashClone. A nil
// hook takes it away.
func (m *Mem) SetHook(hook func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// before counts an operation and asks the hook about it, outside of the lock.
func (m *Mem) before(op Op) error {
	m.mu.Lock()
	op.Index = m.opCount
	m.opCount++
	hook := m.hook
	m.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// OpCount returns how many operations there were.
func (m *Mem) OpCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opCount
}

// SetCapacity bounds the sum of all file sizes, in bytes; 0 takes the bound away.
// Growing a file beyond it fails with ENOSPC; overwriting never does.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacityBytes = bytes
}

// UsedBytes returns the sum of all file sizes.
func (m *Mem) UsedBytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usedBytes()
}

// FlipBit inverts bit (0..7) of the byte at off of a file, in what reads see and
// in all that may survive a crash. It returns fs.ErrNotExist when there is no such
// file or byte.
func (m *Mem) FlipBit(name string, off int64, bit uint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	ino := m.names[name]
	if ino == nil || off < 0 || off >= int64(len(ino.data)) {
		return pathError("flip", name, fs.ErrNotExist)
	}
	mask := byte(1) << (bit & 7)
	ino.data[off] ^= mask
	s, at := off/int64(ino.sectorBytes), off%int64(ino.sectorBytes)
	for _, v := range ino.dirty[s] {
		v[at] ^= mask
	}
	for _, v := range ino.lost[s] {
		v[at] ^= mask
	}
	return nil
}

// Crash says what of the unsynced state survives.
type Crash struct {
	// Rand decides. It may be nil when KeepPercent is 0 or 100.
	Rand *rand.Rand
	// KeepPercent is the chance of each unsynced sector, size and directory change
	// to survive; of those with several states since the last sync any but the
	// durable one is as likely. 0 loses all, 100 keeps the newest of all.
	KeepPercent int
	// Reorder lets each directory change survive or not by itself. Otherwise a
	// prefix of the changes of each directory survives, as with a journal.
	Reorder bool
}

func (c Crash) keeps() bool {
	switch {
	case c.KeepPercent <= 0:
		return false
	case c.KeepPercent >= 100:
		return true
	}
	return c.Rand.IntN(100) < c.KeepPercent
}

// pick chooses among n states, of which 0 is durable and n-1 the newest.
func (c Crash) pick(n int) int {
	switch {
	case n <= 1 || !c.keeps():
		return 0
	case c.KeepPercent >= 100:
		return n - 1
	}
	return 1 + c.Rand.IntN(n-1)
}

// CrashClone gives a new file system as a machine would find it that lost power
// now: m goes on unaffected. All that survived is durable there; locks are free,
// and there is no hook. The same state and the same seed give the same clone.
func (m *Mem) CrashClone(c Crash) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMemSectors(m.sectorBytes)
	clone.capacityBytes = m.capacityBytes
	maps.Copy(clone.dirs, m.dirs)

	names := maps.Clone(m.durable)
	for _, dir := range slices.Sorted(maps.Keys(m.ops)) {
		for _, op := range m.ops[dir] {
			if c.keeps() {
				op.apply(names)
			} else if !c.Reorder {
				break
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ino := names[name].crash(c)
		clone.names[name], clone.durable[name] = ino, ino
	}
	return clone
}

// Clone gives a copy of the file system with all its uncertainty, as a process finds
// it that starts after all others were killed: m goes on unaffected, locks are free
// in the clone, and there is no hook.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMemSectors(m.sectorBytes)
	clone.capacityBytes = m.capacityBytes
	maps.Copy(clone.dirs, m.dirs)
	inodes := map[*inode]*inode{nil: nil}
	copyOf := func(ino *inode) *inode {
		if _, ok := inodes[ino]; !ok {
			inodes[ino] = ino.clone()
		}
		return inodes[ino]
	}
	for name, ino := range m.names {
		clone.names[name] = copyOf(ino)
	}
	for name, ino := range m.durable {
		clone.durable[name] = copyOf(ino)
	}
	for dir, ops := range m.ops {
		ops = slices.Clone(ops)
		for i := range ops {
			ops[i].ino = copyOf(ops[i].ino)
		}
		clone.ops[dir] = ops
	}
	return clone
}

func (ino *inode) clone() *inode {
	fresh := newInode(ino.sectorBytes)
	fresh.data = slices.Clone(ino.data)
	fresh.sizes = slices.Clone(ino.sizes)
	deep := func(to, from map[int64][][]byte) {
		for s, versions := range from {
			versions = slices.Clone(versions)
			for i := range versions {
				versions[i] = slices.Clone(versions[i])
			}
			to[s] = versions
		}
	}
	deep(fresh.dirty, ino.dirty)
	deep(fresh.lost, ino.lost)
	return fresh
}

// crash gives the inode as it is found after a crash.
func (ino *inode) crash(c Crash) *inode {
	size := int64(len(ino.data))
	if len(ino.sizes) > 0 {
		size = ino.sizes[c.pick(len(ino.sizes))]
	}
	data := make([]byte, size)
	copy(data, ino.data)
	put := func(sectors map[int64][][]byte) {
		for _, s := range slices.Sorted(maps.Keys(sectors)) {
			versions := sectors[s]
			v := versions[c.pick(len(versions))]
			if off := s * int64(ino.sectorBytes); off < size {
				copy(data[off:], v)
			}
		}
	}
	put(ino.dirty)
	put(ino.lost)
	fresh := newInode(ino.sectorBytes)
	fresh.data = data
	return fresh
}

// ReleaseLocks frees all locks, as the end of the processes that hold them does.
// What they wrote without syncing stays readable, and uncertain.
func (m *Mem) ReleaseLocks() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.locks)
}
