package walfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"syscall"
)

// inode is the content of a file, independent of its names.
type inode struct {
	sectorBytes int
	data        []byte // what reads see

	// sizes are the sizes the file had since the last sync, the durable one first
	// and the current one last; empty when the current one is durable.
	sizes []int64
	// dirty has, for each sector written since the last sync, the contents it had:
	// the durable one first, then one per write. Each is a whole sector, zeroes
	// standing for what is behind the end of the file.
	dirty map[int64][][]byte
	// lost is like dirty, for sectors whose sync failed: they read as written but
	// no later sync makes them durable; only writing them anew moves them to dirty.
	lost map[int64][][]byte
}

func newInode(sectorBytes int) *inode {
	return &inode{sectorBytes: sectorBytes, dirty: map[int64][][]byte{}, lost: map[int64][][]byte{}}
}

// sector gives a copy of sector s.
func (ino *inode) sector(s int64) []byte {
	b := make([]byte, ino.sectorBytes)
	if off := s * int64(ino.sectorBytes); off < int64(len(ino.data)) {
		copy(b, ino.data[off:])
	}
	return b
}

// touch runs change, which may alter the bytes [off, off+n), and records the
// contents of the sectors in there before and after.
func (ino *inode) touch(off, n int64, change func()) {
	if n <= 0 {
		change()
		return
	}
	first, last := off/int64(ino.sectorBytes), (off+n-1)/int64(ino.sectorBytes)
	for s := first; s <= last; s++ {
		if v := ino.lost[s]; v != nil {
			ino.dirty[s] = v
			delete(ino.lost, s)
		} else if ino.dirty[s] == nil {
			ino.dirty[s] = [][]byte{ino.sector(s)}
		}
	}
	change()
	for s := first; s <= last; s++ {
		ino.dirty[s] = append(ino.dirty[s], ino.sector(s))
	}
}

// setSize changes the file's size; what it gains is zeroes.
func (ino *inode) setSize(size int64) {
	old := int64(len(ino.data))
	if size == old {
		return
	}
	if len(ino.sizes) == 0 {
		ino.sizes = append(ino.sizes, old)
	}
	ino.sizes = append(ino.sizes, size)
	if size > old {
		ino.data = append(ino.data, make([]byte, size-old)...)
		return
	}
	clear(ino.data[size:])
	ino.data = ino.data[:size]
}

func (ino *inode) write(p []byte, off int64) {
	end := off + int64(len(p))
	ino.touch(off, int64(len(p)), func() {
		if end > int64(len(ino.data)) {
			ino.setSize(end)
		}
		copy(ino.data[off:], p)
	})
}

func (ino *inode) truncate(size int64) {
	old := int64(len(ino.data))
	if size < old {
		ino.touch(size, old-size, func() { ino.setSize(size) })
		return
	}
	ino.setSize(size)
}

func (ino *inode) synced() {
	ino.sizes = nil
	clear(ino.dirty)
}

func (ino *inode) syncFailed() {
	maps.Copy(ino.lost, ino.dirty)
	clear(ino.dirty)
}

// memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	ino    *inode
	name   string // when it was opened
	write  bool
	direct bool // under Mem.mu, like closed
	closed bool
}

func (f *memFile) check(op string, write bool) error {
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if write && !f.write {
		return pathError(op, f.name, fs.ErrPermission)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.m.before(Op{Kind: OpRead, Name: f.name, Off: off, Bytes: len(p)}); err != nil {
		return 0, pathError("read", f.name, err)
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File. A direct write that is not aligned is refused, as a disk would.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	limit := len(p)
	hookErr := f.m.before(Op{Kind: OpWrite, Name: f.name, Off: off, Bytes: len(p)})
	if hookErr != nil {
		limit = 0
		var short *ShortWriteError
		if errors.As(hookErr, &short) {
			limit = min(short.Bytes, len(p))
		}
		hookErr = pathError("write", f.name, hookErr)
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if f.direct && !aligned(p, off) {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	p = p[:limit]
	if len(p) == 0 {
		return 0, hookErr
	}
	if err := f.m.grow(f.ino, off+int64(len(p))); err != nil {
		return 0, pathError("write", f.name, err)
	}
	f.ino.write(p, off)
	return len(p), hookErr
}

// SetDirect implements File.
func (f *memFile) SetDirect(on bool) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("fcntl", true); err != nil {
		return err
	}
	f.direct = on
	return nil
}

func (f *memFile) Allocate(bytes int64) error {
	if err := f.m.before(Op{Kind: OpAllocate, Name: f.name, Bytes: int(bytes)}); err != nil {
		return pathError("fallocate", f.name, err)
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("fallocate", true); err != nil {
		return err
	}
	if bytes <= int64(len(f.ino.data)) {
		return nil
	}
	if err := f.m.grow(f.ino, bytes); err != nil {
		return pathError("fallocate", f.name, err)
	}
	f.ino.setSize(bytes)
	return nil
}

func (f *memFile) Truncate(bytes int64) error {
	if err := f.m.before(Op{Kind: OpTruncate, Name: f.name, Bytes: int(bytes)}); err != nil {
		return pathError("truncate", f.name, err)
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if err := f.m.grow(f.ino, bytes); err != nil {
		return pathError("truncate", f.name, err)
	}
	f.ino.truncate(bytes)
	return nil
}

func (f *memFile) Sync() error { return f.sync("fsync") }

func (f *memFile) Datasync() error { return f.sync("fdatasync") }

func (f *memFile) sync(call string) error {
	hookErr := f.m.before(Op{Kind: OpSync, Name: f.name})
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check(call, false); err != nil {
		return err
	}
	if hookErr != nil {
		f.ino.syncFailed()
		return pathError(call, f.name, hookErr)
	}
	f.ino.synced()
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.ino.data)), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}
