package prep

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// Sizes of what the overlay keeps for reuse.
const (
	// slotsMin is the smallest table; at most half of a table is in use.
	slotsMin = 256
	// bufferKeepMaxBytes bounds the path and list buffers of a record that waits for reuse, so
	// that one huge request does not stay in memory for good.
	bufferKeepMaxBytes = 1024
	// idleKeepMaxRecords bounds what is kept for reuse when nothing is outstanding: enough for
	// the default limit of requests in process many times over.
	idleKeepMaxRecords = 1 << 16
)

// A record is a node as it will be after the last prepared transaction that touched it.
type record struct {
	engine.Node        // the state, if live; ACLID counts only if !ownACL
	path        []byte // own copy, the root is empty
	acl         []byte // own copy of the list, if ownACL
	hash        uint64 // of path
	digest      uint64 // share of the node in the tree digest; 0 if not live or not counted
	zxid        proto.Zxid

	created proto.Zxid // of the prepared create that this incarnation of the node comes from, else 0

	live   bool // false: the node is deleted
	ownACL bool

	// Links of the list of ephemerals that prepared transactions create: live, created not 0,
	// owned by a session.
	ephemeralPrev, ephemeralNext *record
	inEphemerals                 bool
}

// A touch remembers that a transaction changed a record.
type touch struct {
	zxid proto.Zxid
	rec  *record
}

// An undo is the state of a record before the multi that is being prepared.
type undo struct {
	rec          *record
	isNew        bool
	node         engine.Node
	acl          []byte
	digest       uint64
	zxid         proto.Zxid
	created      proto.Zxid
	live, ownACL bool
}

// An overlay holds the outstanding records: an open-addressing table with linear probing, the
// ring of touches in zxid order, and the journal of the multi in progress. Records, buffers,
// ring and table are reused, so that steady state allocates nothing.
type overlay struct {
	slots []*record // length a power of two; nil is free
	count int
	free  []*record

	ring       []touch // length a power of two
	head, tail uint64  // touches at ring[i & mask] for head <= i < tail

	journal []undo

	ephemeralHead, ephemeralTail *record // in order of their creates
}

// pathHash is the hash of a tree path.
func pathHash(path []byte) uint64 { return xxhash.Sum64(path) }

// get finds the record of a path.
func (o *overlay) get(path []byte, hash uint64) *record {
	mask := uint64(len(o.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		r := o.slots[i]
		if r == nil {
			return nil
		}
		if r.hash == hash && bytes.Equal(r.path, path) {
			return r
		}
	}
}

// insert adds an empty record for a path that has none. It copies path.
func (o *overlay) insert(path []byte, hash uint64) *record {
	if 2*(o.count+1) > len(o.slots) {
		o.grow()
	}
	var r *record
	if n := len(o.free); n > 0 {
		r = o.free[n-1]
		o.free = o.free[:n-1]
	} else {
		r = new(record)
	}
	r.path, r.hash = append(r.path[:0], path...), hash
	o.place(r)
	o.count++
	return r
}

func (o *overlay) place(r *record) {
	mask := uint64(len(o.slots) - 1)
	i := r.hash & mask
	for o.slots[i] != nil {
		i = (i + 1) & mask
	}
	o.slots[i] = r
}

func (o *overlay) grow() {
	old := o.slots
	o.slots = make([]*record, max(slotsMin, 2*len(old)))
	for _, r := range old {
		if r != nil {
			o.place(r)
		}
	}
}

// remove takes a record out and keeps it for reuse.
func (o *overlay) remove(r *record) {
	o.unlinkEphemeral(r)
	mask := uint64(len(o.slots) - 1)
	i := r.hash & mask
	for o.slots[i] != r {
		i = (i + 1) & mask
	}
	// Close the gap: a later record of the run moves into it unless it is home behind it.
	for j := i; ; {
		j = (j + 1) & mask
		next := o.slots[j]
		if next == nil {
			break
		}
		if home := next.hash & mask; (j-home)&mask >= (j-i)&mask {
			o.slots[i] = next
			i = j
		}
	}
	o.slots[i] = nil
	o.count--

	path, acl := r.path, r.acl
	if cap(path) > bufferKeepMaxBytes {
		path = nil
	}
	if cap(acl) > bufferKeepMaxBytes {
		acl = nil
	}
	*r = record{path: path[:0], acl: acl[:0]}
	o.free = append(o.free, r)
}

// touched notes that the transaction zxid changes r, once for each transaction. In a multi it
// first saves what r was.
func (o *overlay) touched(r *record, zxid proto.Zxid, isNew, inMulti bool) {
	if r.zxid == zxid && !isNew {
		return
	}
	if inMulti {
		o.save(r, isNew)
	}
	r.zxid = zxid
	if n := uint64(len(o.ring)); o.tail-o.head == n {
		ring := make([]touch, max(slotsMin, 2*n))
		for i := o.head; i < o.tail; i++ {
			ring[i&uint64(len(ring)-1)] = o.ring[i&(n-1)]
		}
		o.ring = ring
	}
	o.ring[o.tail&uint64(len(o.ring)-1)] = touch{zxid, r}
	o.tail++
}

func (o *overlay) save(r *record, isNew bool) {
	n := len(o.journal)
	if n < cap(o.journal) {
		o.journal = o.journal[:n+1]
	} else {
		o.journal = append(o.journal, undo{})
	}
	u := &o.journal[n]
	u.rec, u.isNew = r, isNew
	if isNew {
		return
	}
	u.node, u.digest, u.zxid = r.Node, r.digest, r.zxid
	u.live, u.ownACL, u.created = r.live, r.ownACL, r.created
	u.acl = append(u.acl[:0], r.acl...)
}

// rollback undoes everything since the journal was last empty.
func (o *overlay) rollback(t *engine.Options) {
	for i := len(o.journal) - 1; i >= 0; i-- {
		u := &o.journal[i]
		r := u.rec
		o.tail--
		if u.isNew {
			o.remove(r)
			continue
		}
		r.Node, r.digest, r.zxid = u.node, u.digest, u.zxid
		r.live, r.ownACL, r.created = u.live, u.ownACL, u.created
		r.acl = append(r.acl[:0], u.acl...)
		o.unlinkEphemeral(r)
		if r.live && r.created != 0 && t.IsSessionOwner(r.EphemeralOwner) {
			o.linkEphemeral(r)
		}
	}
	o.forget()
}

// forget empties the journal.
func (o *overlay) forget() {
	for i := range o.journal {
		u := &o.journal[i]
		u.rec = nil
		if cap(u.acl) > bufferKeepMaxBytes {
			u.acl = nil
		}
	}
	o.journal = o.journal[:0]
}

// applied drops the records that no transaction after zxid has touched.
func (o *overlay) applied(zxid proto.Zxid) {
	mask := uint64(len(o.ring) - 1)
	for ; o.head < o.tail; o.head++ {
		t := &o.ring[o.head&mask]
		if t.zxid > zxid {
			return
		}
		if t.rec.zxid == t.zxid {
			o.remove(t.rec)
		}
		t.rec = nil
	}
	if o.count == 0 && len(o.free) > idleKeepMaxRecords {
		*o = overlay{}
	}
}

func (o *overlay) linkEphemeral(r *record) {
	r.inEphemerals = true
	r.ephemeralPrev, r.ephemeralNext = o.ephemeralTail, nil
	if o.ephemeralTail != nil {
		o.ephemeralTail.ephemeralNext = r
	} else {
		o.ephemeralHead = r
	}
	o.ephemeralTail = r
}

func (o *overlay) unlinkEphemeral(r *record) {
	if !r.inEphemerals {
		return
	}
	if r.ephemeralPrev != nil {
		r.ephemeralPrev.ephemeralNext = r.ephemeralNext
	} else {
		o.ephemeralHead = r.ephemeralNext
	}
	if r.ephemeralNext != nil {
		r.ephemeralNext.ephemeralPrev = r.ephemeralPrev
	} else {
		o.ephemeralTail = r.ephemeralPrev
	}
	r.ephemeralPrev, r.ephemeralNext, r.inEphemerals = nil, nil, false
}
