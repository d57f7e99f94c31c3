package watch

import (
	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/proto"
)

// ConnID is the slot number of a connection inside its loop: dense, small, and free for another connection after
// RemoveConn. It is less than ConnIDMax.
type ConnID uint32

// ConnIDMax bounds connection numbers: three bits of their word hold modes.
const ConnIDMax ConnID = 1 << (32 - modeBits)

// Key is a path with its hash. The table borrows Path until the call returns.
type Key struct {
	Path []byte
	Hash uint64 // xxhash64 of Path
}

// KeyOf hashes a path, which the Key borrows as long as it is used.
func KeyOf(path []byte) Key { return Key{path, xxhash.Sum64(path)} }

// Notifier is told which connections have to be notified.
type Notifier interface {
	// Notify reports connections that get the event t: about the changed node itself or, if onParent, about its
	// parent. conns is lent until return, none is in it twice, and a lookup with many matches makes several calls. Standard watches
	// are consumed already, so delivery may be refused (the ACL filter of section 7.8). Notify must not use the table.
	Notify(conns []ConnID, t proto.EventType, onParent bool)
}

// batchSize is the most connections one Notify call gets: 1 KiB of numbers.
const batchSize = 256

// Table holds the watches of one loop's connections.
type Table struct {
	data, child pairs
	store       blobs
	// marks tells, per connection, in which lookup it was told last (by its number, sweep), to tell it once only. It
	// is used when a connection can be met more than once.
	marks   []uint32
	sweep   uint32
	batch   [batchSize]ConnID
	batched int
}

// New makes an empty table.
func New() *Table {
	t := &Table{}
	t.data.init(&t.store)
	t.child.init(&t.store)
	return t
}

// AddData sets a standard watch in the data table: getData, and exists whether the node is there or not.
func (t *Table) AddData(c ConnID, k Key) { t.data.add(c, k, standard) }

// AddChild sets a standard watch in the child table: getChildren.
func (t *Table) AddChild(c ConnID, k Key) { t.child.add(c, k, standard) }

// AddPersistent sets a persistent watch in both tables: addWatch mode 0.
func (t *Table) AddPersistent(c ConnID, k Key) {
	t.data.add(c, k, persistent)
	t.child.add(c, k, persistent)
}

// AddRecursive sets a persistent-recursive watch, in the data table: addWatch mode 1.
func (t *Table) AddRecursive(c ConnID, k Key) { t.data.add(c, k, recursive) }

// typeModes returns which modes in the data and child tables a watcher type stands for. Source: section 7.9.
func typeModes(watcherType int32) (data, child modes) {
	switch watcherType {
	case proto.WatcherChildren:
		return 0, standard
	case proto.WatcherData:
		return standard, 0
	case proto.WatcherAny:
		return modeMask, modeMask
	case proto.WatcherPersistent:
		return persistent, persistent
	case proto.WatcherPersistentRecursive:
		return recursive, 0
	}
	return 0, 0
}

// Check tells whether the connection has a watch of that type (proto.WatcherChildren and so on) at exactly that path. It
// is false for an unknown type.
func (t *Table) Check(c ConnID, k Key, watcherType int32) bool {
	md, mc := typeModes(watcherType)
	if md != 0 {
		if _, m := t.data.get(c, k); m&md != 0 {
			return true
		}
	}
	if mc != 0 {
		if _, m := t.child.get(c, k); m&mc != 0 {
			return true
		}
	}
	return false
}

// Remove removes the watches Check would find, and tells whether there were any.
func (t *Table) Remove(c ConnID, k Key, watcherType int32) bool {
	md, mc := typeModes(watcherType)
	removed := false
	if md != 0 {
		if i, m := t.data.get(c, k); m&md != 0 {
			t.data.setModes(i, m&^md)
			removed = true
		}
	}
	if mc != 0 {
		if i, m := t.child.get(c, k); m&mc != 0 {
			t.child.setModes(i, m&^mc)
			removed = true
		}
	}
	t.release()
	return removed
}

// RemoveConn removes all watches of a connection. Its number may then be used for another one.
func (t *Table) RemoveConn(c ConnID) {
	t.data.removeConn(c)
	t.child.removeConn(c)
	t.release()
}

// releaseMin is how many entries a table must have had before its memory is released when it is empty.
const releaseMin = chunkLen

// release gives memory back when everything is empty and was large once.
func (t *Table) release() {
	if t.data.len() != 0 || t.child.len() != 0 || t.data.entries.len+t.child.entries.len < releaseMin {
		return
	}
	t.store = blobs{}
	t.data.init(&t.store)
	t.child.init(&t.store)
	t.marks = nil
}
