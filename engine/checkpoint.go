package engine

import (
	"errors"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A Checkpoint emits what the tree has that the last durable image lacks, exactly as of the
// zxid at which it was started, while transactions go on.
//
// Starting takes the lists of changes away from the engine in constant time. From then on a
// record that is still to be emitted is captured, as it was, by the transaction that first
// changes it (copy-before-write); the cost of that is bounded by the size of the change. So
// the memory that a checkpoint takes grows with what changes while it runs and with the
// number of changed or deleted records that it has to sort (16 bytes each), not with the data.
//
// The writer starts and ends a checkpoint; one other goroutine may call Next, holding a gate
// during each call and letting go between calls.
type Checkpoint struct {
	e        *Engine
	zxid     proto.Zxid
	digest   uint64
	nodes    int
	records  int
	captured *arena.Blobs

	meta     []byte
	acls     []uint64 // bit per id of an entry to emit
	aclsLive []uint64 // and whether it existed when the checkpoint started; else a tombstone is due
	nextACL  int
	sessions *part
	tree     *part

	phase phase
	key   [imageKeyBytes]byte
}

type phase int

const (
	phaseMeta phase = iota
	phaseACLs
	phaseSessions
	phaseNodes
	phaseDone
)

// ErrCheckpointRunning reports that a second checkpoint was started.
var ErrCheckpointRunning = errors.New("engine: a checkpoint is running")

// StartCheckpoint begins a checkpoint of the state at LastZxid. Only the writer may call it.
// It takes constant time. The only error is ErrCheckpointRunning.
func (e *Engine) StartCheckpoint() (*Checkpoint, error) {
	if e.checkpoint != nil {
		return nil, ErrCheckpointRunning
	}
	c := &Checkpoint{e: e, zxid: e.lastZxid, digest: e.digest, nodes: e.nodes.Len(), captured: arena.NewBlobs(granuleBytes)}
	c.records = 1 + e.DirtyCount()
	c.meta = e.appendMetaImage(nil)
	c.acls, c.aclsLive = e.acls.hold()
	c.sessions = e.sessions.changes.start(c.captured, 0)
	c.tree = e.nodeChanges.start(c.captured, e.lastNodeID)
	e.checkpoint = c
	return c, nil
}

// DirtyCount returns how many records of ACLs, sessions and nodes the last image lacks, has
// in an older state, or has too many.
func (e *Engine) DirtyCount() int {
	return e.acls.dirtyCount + e.sessions.changes.count() + e.nodeChanges.count()
}

// Zxid returns the zxid of the state that is emitted.
func (c *Checkpoint) Zxid() proto.Zxid { return c.zxid }

// Digest returns the tree digest of that state, 0 without Options.Digest.
func (c *Checkpoint) Digest() uint64 { return c.digest }

// NodeCount returns the number of znodes of that state.
func (c *Checkpoint) NodeCount() int { return c.nodes }

// Records returns about how many records Next will emit in all.
func (c *Checkpoint) Records() int { return c.records }

// CapturedBytes returns what the values that are held back take at the moment.
func (c *Checkpoint) CapturedBytes() int64 { return c.captured.Usage().AllocatedBytes }

// Next emits up to max records, by rising key; a nil value is a tombstone: the image must
// forget the key if it has it. key and value are lent until emit returns. It returns done
// when all records have been emitted. A call may emit fewer than max records, or none, and
// not be done: preparing counts as work, so that each call takes about the same time.
//
// Only one goroutine may be in Next. After an error from emit, which Next returns as it is,
// the checkpoint can only be aborted.
func (c *Checkpoint) Next(max int, emit func(key, value []byte) error) (done bool, err error) {
	for work := 0; work < max && c.phase != phaseDone; {
		var n int
		switch c.phase {
		case phaseMeta:
			n, done, err = 1, true, emit(c.imageKey(kindMeta, 0), c.meta)
		case phaseACLs:
			n, done, err = c.nextACLs(max-work, emit)
		case phaseSessions:
			n, done, err = c.sessions.step(max-work, func(id uint64, value []byte) error {
				return emit(c.imageKey(kindSession, id), value)
			})
		case phaseNodes:
			n, done, err = c.tree.step(max-work, func(id uint64, value []byte) error {
				return emit(c.imageKey(kindNode, id), value)
			})
		}
		if err != nil {
			return false, err
		}
		if done {
			c.phase++
		}
		work += n
	}
	return c.phase == phaseDone, nil
}

func (c *Checkpoint) imageKey(kind byte, id uint64) []byte {
	c.key[0] = kind
	jute.PutInt64(c.key[1:], int64(id))
	return c.key[:]
}

// nextACLs emits from the set of ids. The entries that existed at the start neither change nor
// go while the checkpoint runs.
func (c *Checkpoint) nextACLs(max int, emit func(key, value []byte) error) (work int, done bool, err error) {
	for ; c.nextACL < 64*len(c.acls); c.nextACL++ {
		w, bit := c.nextACL/64, uint64(1)<<(c.nextACL%64)
		if c.acls[w]&-bit == 0 {
			c.nextACL |= 63 // no more in this word
			continue
		}
		if c.acls[w]&bit == 0 {
			continue
		}
		if work == max {
			return work, false, nil
		}
		var val []byte
		if c.aclsLive[w]&bit != 0 {
			val = c.e.acls.get(uint32(c.nextACL))
		}
		if err := emit(c.imageKey(kindACL, uint64(c.nextACL)), val); err != nil {
			return work, false, err
		}
		work++
	}
	return work, true, nil
}

// Finish tells that the image is durable: the engine forgets what was emitted. Only the
// writer may call it, after Next was done.
func (c *Checkpoint) Finish() {
	if c.phase != phaseDone {
		panic("engine: a checkpoint was finished before all of it was emitted")
	}
	c.e.sessions.changes.finish()
	c.e.nodeChanges.finish()
	c.end()
}

// Abort gives up: everything the checkpoint had to emit counts as changed again. Only the
// writer may call it, at any time before Finish.
func (c *Checkpoint) Abort() {
	c.e.sessions.changes.abort()
	c.e.nodeChanges.abort()
	c.e.acls.restoreDirty(c.acls)
	c.end()
}

func (c *Checkpoint) end() {
	c.e.acls.unhold()
	c.captured.Release()
	c.e.checkpoint = nil
	c.phase = phaseDone
}
