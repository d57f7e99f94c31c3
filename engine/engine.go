// Package engine is the replicated state machine: the data tree, the session table and the
// ACL table, and what each transaction does to them.
//
// # What it promises
//
// The same transactions give the same tree, stats, digest and image records on every server,
// and the same tree digest as Java's servers compute. There is no I/O in this package, no
// goroutine, no clock and no global mutable state: time comes in transaction headers.
//
// # Memory
//
// Nothing that grows with the data is visible to Go's collector (package arena). A znode is a
// record of 48 bytes (node), an index entry of about 12 (index), and a blob of its name and
// data. That is all of a compact znode: one without children that nothing has changed since its
// creation, which most are. Others have a second record of 80 bytes (extra) with the rest of
// the persisted stat, the first child, the CRC of path and data (so that the digest of a
// node never touches its data again), and the entry in a set (ephemerals of a session,
// containers, TTL nodes). Lists of ACLs are interned with reference counts.
//
// # Who calls
//
// One goroutine writes (Apply, SetLastZxid, SetConfigNode, RemoveOrphans, StartCheckpoint,
// Checkpoint.Finish and Abort, Close); while it does, nobody else may be inside the package.
// Between writes any number of goroutines may read at once; no read method writes anything,
// not even a cache. What a read method lends (names, data, ACLs) is valid until the next
// write, that is, until the reader lets go of its gate. Checkpoint.Next counts as a read of
// the tree, but only one goroutine may be in it.
//
// # Image
//
// Checkpoints emit what changed since the last one as ordered key-value records, exactly as
// of the zxid at which they were started, while the tree goes on (checkpoint.go); a Loader
// rebuilds an Engine from all records in order; a Builder does it from the nodes of a Java
// snapshot. See image.go for the layout.
//
// Sources: client protocol sections 5 and 6, quorum protocol sections 6 and 7, storage
// formats section 4.
package engine

import (
	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// Options are the settings that change what transactions mean. They must be equal on all
// servers of an ensemble.
type Options struct {
	// Digest keeps the tree digest up to date and compares it with those in transactions.
	Digest bool
	// ExtendedTypes makes TTL nodes TTL nodes; without it their owner is taken for a session.
	ExtendedTypes bool
	// Emulate353TTL takes every negative owner but the container's for that of a TTL node, as
	// release 3.5.3 wrote them (client protocol, section 5.4).
	Emulate353TTL bool
}

// A NodeRef is the number of a znode's record; 0 is no node. It is valid until the node is
// deleted and says nothing about other engines.
type NodeRef uint32

// An Engine holds one replica's state. Use New, a Loader or a Builder to make one, and Close
// it to give its memory back.
type Engine struct {
	opts Options

	nodes    arena.Slab[node]
	extras   arena.Slab[extra]
	texts    *arena.Blobs // names of znodes, each with its data behind it
	aclBytes *arena.Blobs // lists of ACLs
	paths    index        // by pathHash

	root, zookeeper, quota, config NodeRef

	lastNodeID  uint64 // ids of nodes only grow
	nodeChanges tracker

	acls     aclTable
	sessions sessionTable
	quotas   quotaTable

	members    arena.Slab[member]
	containers memberList
	ttls       memberList

	lastZxid   proto.Zxid
	digest     uint64
	dataBytes  int64
	ephemerals int // session ephemerals

	checkpoint *Checkpoint // the running one

	// Memory that the writer uses again and again.
	txn           txn
	result        Result
	warmer        Warmer // of the operations of a multi
	belowPath     []byte // of removeBelow
	ephemeralPath []byte // of removeEphemerals
	quotaPath     []byte
	quotaText     []byte
}

// granuleBytes is the step of the smallest blobs: eight bytes waste four on average and can
// address 32 GiB.
const granuleBytes = 8

// Paths of the built-in nodes (client protocol, section 5.7).
const (
	PathZookeeper = "/zookeeper"
	PathQuota     = "/zookeeper/quota"
	PathConfig    = "/zookeeper/config"
)

// New returns an engine with the built-in nodes, zxid 0.
func New(opts Options) (*Engine, error) {
	e := newEmpty(opts)
	open := proto.RawACLs(nil)
	e.root = e.addNode(0, nil, nil, []byte{}, open, &proto.StatPersisted{})
	e.zookeeper = e.addNode(e.root, []byte("zookeeper"), []byte(PathZookeeper), []byte{}, open, &proto.StatPersisted{})
	e.quota = e.addNode(e.zookeeper, []byte("quota"), []byte(PathQuota), []byte{}, open, &proto.StatPersisted{})
	read := proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: proto.PermRead, Scheme: "world", ID: "anyone"}}))
	e.config = e.addNode(e.zookeeper, []byte("config"), []byte(PathConfig), []byte{}, read, &proto.StatPersisted{Aversion: -1})
	return e, nil
}

func newEmpty(opts Options) *Engine {
	e := &Engine{
		opts:     opts,
		texts:    arena.NewBlobs(granuleBytes),
		aclBytes: arena.NewBlobs(granuleBytes),
	}
	e.acls.init(e.aclBytes)
	e.nodeChanges.init(true, nodeRecords{e})
	e.sessions.init()
	return e
}

// Close gives the memory back. Nothing of the engine, nor anything it lent, may be used afterwards.
func (e *Engine) Close() error {
	if e.checkpoint != nil {
		e.checkpoint.Abort()
	}
	e.nodes.Release()
	e.extras.Release()
	e.texts.Release()
	e.aclBytes.Release()
	e.paths.release()
	e.nodeChanges.release()
	e.acls.release()
	e.sessions.release()
	e.quotas.release()
	e.members.Release()
	return nil
}

// Options returns the settings.
func (e *Engine) Options() Options { return e.opts }

// LastZxid returns the zxid of the last transaction applied, or what SetLastZxid set.
func (e *Engine) LastZxid() proto.Zxid { return e.lastZxid }

// SetLastZxid moves the zxid without a transaction, as the start of an epoch does
// (quorum protocol, section 7.1). Only the writer may call it.
func (e *Engine) SetLastZxid(zxid proto.Zxid) { e.lastZxid = zxid }

// Digest returns the tree digest, version 2 (quorum protocol, section 7.3); 0 without Options.Digest.
func (e *Engine) Digest() uint64 { return e.digest }

// NodeCount returns the number of znodes, built-in ones and the root included.
func (e *Engine) NodeCount() int { return e.nodes.Len() }

// DataBytes returns the sum of the lengths of all paths (that of the root is empty) and data:
// Java's approximateDataSize.
func (e *Engine) DataBytes() int64 { return e.dataBytes }

// EphemeralCount returns the number of session ephemerals.
func (e *Engine) EphemeralCount() int { return e.ephemerals }

// MemoryStats tells where the memory of an Engine is.
type MemoryStats struct {
	Nodes      arena.Usage // records of znodes
	Extras     arena.Usage // second records of those that are not compact
	Texts      arena.Usage // names and data
	ACLs       arena.Usage // lists of ACLs
	IndexBytes int64       // mapped for the index of paths
	Sessions   arena.Usage // session records
	Members    arena.Usage // ephemerals, containers, TTL nodes
	Captured   arena.Usage // values that a running checkpoint holds back
	OtherBytes int64       // mapped for tombstones, sorting, and the smaller indexes
}

// TouchedBytes sums what is resident at most.
func (m *MemoryStats) TouchedBytes() int64 {
	return m.Nodes.TouchedBytes + m.Extras.TouchedBytes + m.Texts.TouchedBytes + m.ACLs.TouchedBytes + m.IndexBytes +
		m.Sessions.TouchedBytes + m.Members.TouchedBytes + m.Captured.TouchedBytes + m.OtherBytes
}

// MemoryStats returns the current figures.
func (e *Engine) MemoryStats() MemoryStats {
	m := MemoryStats{
		Nodes: e.nodes.Usage(), Extras: e.extras.Usage(), Texts: e.texts.Usage(), ACLs: e.aclBytes.Usage(),
		IndexBytes: e.paths.mappedBytes(),
		Sessions:   e.sessions.slab.Usage(), Members: e.members.Usage(),
		OtherBytes: e.acls.otherBytes() + e.sessions.index.mappedBytes() + e.quotas.otherBytes() + e.nodeChanges.otherBytes() + e.sessions.changes.otherBytes(),
	}
	if c := e.checkpoint; c != nil {
		m.Captured = c.captured.Usage()
	}
	return m
}
