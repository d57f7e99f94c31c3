package walfs

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// DefaultSectorBytes is the unit in which an unsynced write survives a crash:
// disks promise that a sector is either old or new, and no more.
const DefaultSectorBytes = 512

// Mem is a file system in memory that can crash. See the package comment for
// what it models. Its methods may be called from any goroutine.
type Mem struct {
	mu sync.Mutex // guards everything below

	sectorBytes   int
	capacityBytes int64 // 0: no limit

	names   map[string]*inode    // what a process sees
	durable map[string]*inode    // what is certain after a crash
	ops     map[string][]nameOp  // by directory: its changes since the last SyncDir
	dirs    map[string]bool      // directories, always durable
	locks   map[string]*lockFile // held locks

	hook    func(Op) error
	opCount int
}

// nameOp is one unsynced change of a directory.
type nameOp struct {
	kind    OpKind // OpCreate, OpRename or OpRemove
	name    string
	newName string // OpRename
	ino     *inode // OpCreate: the new file
}

// NewMem gives an empty file system with DefaultSectorBytes.
func NewMem() *Mem { return NewMemSectors(DefaultSectorBytes) }

// NewMemSectors gives an empty file system whose unsynced writes survive or are
// lost in units of sectorBytes, which must be positive. One byte is the harshest
// disk: a write may be torn anywhere.
func NewMemSectors(sectorBytes int) *Mem {
	if sectorBytes <= 0 {
		panic(fmt.Sprintf("walfs: sector of %d bytes", sectorBytes))
	}
	return &Mem{
		sectorBytes: sectorBytes,
		names:       map[string]*inode{},
		durable:     map[string]*inode{},
		ops:         map[string][]nameOp{},
		dirs:        map[string]bool{},
		locks:       map[string]*lockFile{},
	}
}

var _ FS = (*Mem)(nil)

func (m *Mem) Create(name string) (File, error) {
	name = filepath.Clean(name)
	if err := m.before(Op{Kind: OpCreate, Name: name}); err != nil {
		return nil, pathError("create", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[filepath.Dir(name)] {
		return nil, pathError("create", name, fs.ErrNotExist)
	}
	if ino := m.names[name]; ino != nil {
		ino.truncate(0)
		return &memFile{m: m, ino: ino, name: name, write: true}, nil
	}
	ino := newInode(m.sectorBytes)
	m.change(nameOp{kind: OpCreate, name: name, ino: ino})
	return &memFile{m: m, ino: ino, name: name, write: true}, nil
}

func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

func (m *Mem) OpenRW(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, write bool) (File, error) {
	name = filepath.Clean(name)
	if err := m.before(Op{Kind: OpOpen, Name: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	ino := m.names[name]
	if ino == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &memFile{m: m, ino: ino, name: name, write: write}, nil
}

func (m *Mem) Rename(oldName, newName string) error {
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	if err := m.before(Op{Kind: OpRename, Name: oldName, NewName: newName}); err != nil {
		return pathError("rename", oldName, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[oldName] == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	if filepath.Dir(oldName) != filepath.Dir(newName) {
		return pathError("rename", oldName, syscall.EXDEV)
	}
	m.change(nameOp{kind: OpRename, name: oldName, newName: newName})
	return nil
}

func (m *Mem) Remove(name string) error {
	name = filepath.Clean(name)
	if err := m.before(Op{Kind: OpRemove, Name: name}); err != nil {
		return pathError("remove", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	m.change(nameOp{kind: OpRemove, name: name})
	return nil
}

func (m *Mem) List(dir string) ([]Info, error) {
	dir = filepath.Clean(dir)
	if err := m.before(Op{Kind: OpList, Name: dir}); err != nil {
		return nil, pathError("list", dir, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var infos []Info
	for name, ino := range m.names {
		if filepath.Dir(name) == dir {
			infos = append(infos, Info{Name: filepath.Base(name), Bytes: int64(len(ino.data))})
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = filepath.Clean(dir); !m.dirs[dir]; dir = filepath.Dir(dir) {
		m.dirs[dir] = true
	}
	return nil
}

func (m *Mem) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	if err := m.before(Op{Kind: OpSyncDir, Name: dir}); err != nil {
		return pathError("fsync", dir, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range m.ops[dir] {
		op.apply(m.durable)
	}
	delete(m.ops, dir)
	return nil
}

// lockFile is a held lock.
type lockFile struct {
	m    *Mem
	name string
}

func (l *lockFile) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.name] == l {
		delete(l.m.locks, l.name)
	}
	return nil
}

func (m *Mem) Lock(name string) (io.Closer, error) {
	name = filepath.Clean(name)
	if err := m.before(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, pathError("lock", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] != nil {
		return nil, pathError("lock", name, ErrLocked)
	}
	if m.names[name] == nil {
		m.change(nameOp{kind: OpCreate, name: name, ino: newInode(m.sectorBytes)})
	}
	l := &lockFile{m: m, name: name}
	m.locks[name] = l
	return l, nil
}

// change applies op to the names that processes see and remembers it as unsynced.
func (m *Mem) change(op nameOp) {
	op.apply(m.names)
	dir := filepath.Dir(op.name)
	m.ops[dir] = append(m.ops[dir], op)
}

// apply does op to names; it does nothing when op's file is not there, as happens
// in a crash that lost an earlier operation but kept this one.
func (op nameOp) apply(names map[string]*inode) {
	switch op.kind {
	case OpCreate:
		names[op.name] = op.ino
	case OpRemove:
		delete(names, op.name)
	case OpRename:
		if ino := names[op.name]; ino != nil {
			delete(names, op.name)
			names[op.newName] = ino
		}
	}
}

// usedBytes is the space taken by files that have a name.
func (m *Mem) usedBytes() int64 {
	var sum int64
	for _, ino := range m.names {
		sum += int64(len(ino.data))
	}
	return sum
}

// grow checks that ino may grow to size.
func (m *Mem) grow(ino *inode, size int64) error {
	more := size - int64(len(ino.data))
	if more > 0 && m.capacityBytes > 0 && m.usedBytes()+more > m.capacityBytes {
		return syscall.ENOSPC
	}
	return nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
