package engine

import (
	"bytes"
	"hash/crc32"
	"slices"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// node is what every znode has: 48 bytes, no pointers. It is all that a compact one has: a
// znode that nothing has changed since its creation, and that has no children. What other ones
// need beside it is in a record of its own (extra), which Engine.extend makes at the first change;
// a znode has it until it is deleted, and its NodeRef stays the same.
//
// The first sixteen bytes, which never cross a cache line, are those that a lookup needs. The
// slab's free list lies over the first four.
type node struct {
	word    uint64    // id, length of the name, form: see below
	text    arena.Ref // the name, and the data behind it; 0 if both are empty
	parent  NodeRef
	czxid   proto.Zxid
	extra   uint64  // compact: ctime << 16 | number in the ACL table; else its record << 32 | that number
	next    NodeRef // siblings
	prev    NodeRef
	changes neighbours
}

// extra is what makes a compact node a full one: 80 bytes.
type extra struct {
	mzxid, pzxid      proto.Zxid
	ctime, mtime      int64
	owner             int64 // stored ephemeralOwner
	version, cversion int32 // cversion counts creations
	aversion          int32
	firstChild        NodeRef
	numChildren       int32
	nameLen           uint32 // and flagSystem
	dataLen           int32  // -1 is null
	crc               uint32 // CRC-32 of path and data, the root's path being empty
	mark              uint32 // of the tracker of changes
	member            uint32 // entry in the set of the owner's kind, or 0
}

// The word of a node, from the top: 48 bits of its id; 6 of the length of its name, or
// nameLenInExtra; 10 of its form, that is, of a compact one the length of its data or formNull.
const (
	formBits    = 10
	nameLenBits = 6
	idShift     = formBits + nameLenBits
	formMask    = 1<<formBits - 1

	formFull    = formMask     // has an extra
	formFullBig = formMask - 1 // likewise, and its text is a big blob
	formNull    = formMask - 2 // compact, data are null

	nameLenInExtra  = 1<<nameLenBits - 1
	compactNameMax  = nameLenInExtra - 1
	compactDataMax  = formNull - 1
	compactACLBits  = 16
	compactTimeBits = 64 - compactACLBits

	// maxNodeID is the last id that a node can have: a million creations a second reach it in
	// nine years.
	maxNodeID = 1<<(64-idShift) - 1
)

const (
	// flagSystem in nameLen marks nodes below /zookeeper, which the tree digest leaves out.
	flagSystem  = 1 << 31
	nameLenMask = flagSystem - 1
)

func (n *node) id() uint64 { return n.word >> idShift }

func (n *node) form() uint32 { return uint32(n.word) & formMask }

func (n *node) compact() bool { return n.form() < formFullBig }

// compactDataLen is the length of a compact node's data, -1 for null.
func (n *node) compactDataLen() int32 {
	if f := n.form(); f != formNull {
		return int32(f)
	}
	return -1
}

func (n *node) compactCtime() int64 { return int64(n.extra >> compactACLBits) }

func (e *Engine) extraOf(n *node) *extra { return e.extras.At(uint32(n.extra >> 32)) }

// acl returns the number in the ACL table.
func (n *node) acl() uint32 {
	if n.compact() {
		return uint32(n.extra & (1<<compactACLBits - 1))
	}
	return uint32(n.extra)
}

// fitsCompact tells whether a node that is not below /zookeeper can be made compact.
func fitsCompact(name, data []byte, acl uint32, s *proto.StatPersisted) bool {
	return len(name) <= compactNameMax && len(data) <= compactDataMax && acl < 1<<compactACLBits &&
		s.Mzxid == s.Czxid && s.Pzxid == s.Czxid && s.Mtime == s.Ctime && uint64(s.Ctime) < 1<<compactTimeBits &&
		s.Version|s.Cversion|s.Aversion == 0 && s.EphemeralOwner == 0
}

// extend makes a compact node a full one, which it must be before it is changed or gets a
// child, and returns its extra. Nothing that can be read of it changes.
func (e *Engine) extend(ref NodeRef, n *node) *extra {
	if !n.compact() {
		return e.extraOf(n)
	}
	crc, mark := e.compactCRC(n), e.nodeChanges.mark(uint32(ref))
	i := e.extras.Alloc()
	x := e.extras.At(i)
	ctime := n.compactCtime()
	*x = extra{
		mzxid: n.czxid, pzxid: n.czxid, ctime: ctime, mtime: ctime,
		nameLen: uint32(len(e.nameOf(n))), dataLen: n.compactDataLen(), crc: crc, mark: mark,
	}
	n.extra = uint64(i)<<32 | uint64(n.acl())
	n.word |= formFull
	return x
}

// nodeRecords shows nodes to their tracker of changes.
type nodeRecords struct{ e *Engine }

func (r nodeRecords) id(ref uint32) uint64 { return r.e.nodes.At(ref).id() }

func (r nodeRecords) mark(ref uint32) uint32 {
	n := r.e.nodes.At(ref)
	if n.compact() {
		return r.e.nodeChanges.createdMark(n.id())
	}
	return r.e.extraOf(n).mark
}

func (r nodeRecords) setMark(ref, mark uint32) {
	if n := r.e.nodes.At(ref); !n.compact() {
		r.e.extraOf(n).mark = mark
	}
}

func (r nodeRecords) neighbours(ref uint32) *neighbours { return &r.e.nodes.At(ref).changes }

func (r nodeRecords) appendImage(dst []byte, ref uint32) []byte { return r.e.appendNodeImage(dst, ref) }

// A Node is a znode's persisted stat with what else a server needs to prepare a change of it.
type Node struct {
	proto.StatPersisted
	NumChildren int32
	DataLength  int32  // 0 for null
	ACLID       uint32 // for ACLByID
	PathDataCRC uint32 // CRC-32 of path and data
}

// Digest returns the node's share of the tree digest.
func (n *Node) Digest() uint64 { return nodeDigest(n.PathDataCRC, &n.StatPersisted) }

// PathDataCRC returns the CRC-32 of path and data; the path of the root is empty.
func PathDataCRC(path, data []byte) uint32 {
	return crc32.Update(crcPath(rootAsEmpty(path)), crc32.IEEETable, data)
}

// compactCRC is what a full node has in crc. A compact one is small, and so it is not kept.
func (e *Engine) compactCRC(n *node) uint32 {
	return crc32.Update(e.pathCRC(n), crc32.IEEETable, e.dataOf(n))
}

// pathCRC returns the CRC-32 of the node's path.
func (e *Engine) pathCRC(n *node) uint32 {
	if n.parent == 0 {
		return 0
	}
	c := ^e.pathCRC(e.nodes.At(uint32(n.parent)))
	c = ^(crcTables[0][byte(c)^'/'] ^ c>>8)
	return crc32.Update(c, crc32.IEEETable, e.nameOf(n))
}

func rootAsEmpty(path []byte) []byte {
	if len(path) == 1 && path[0] == '/' {
		return path[:0]
	}
	return path
}

// pathHash is what the index stores of a path; the root is not in the index.
func pathHash(path []byte) uint32 { return uint32(xxhash.Sum64(path) >> 32) }

// Lookup returns the node at path, 0 if there is none. The empty path and "/" are the root;
// anything else that is no well-formed path is the path of no node. It does not allocate.
func (e *Engine) Lookup(path []byte) NodeRef {
	if len(path) == 0 || len(path) == 1 && path[0] == '/' {
		return e.root
	}
	for p := e.paths.probe(pathHash(path)); ; {
		ref := NodeRef(p.next())
		if ref == 0 || e.pathIs(ref, e.root, path) {
			return ref
		}
	}
}

// pathIs tells whether path leads from node top down to ref, comparing names from the end.
func (e *Engine) pathIs(ref, top NodeRef, path []byte) bool {
	for ref != top {
		if ref == 0 {
			return false
		}
		n := e.nodes.At(uint32(ref))
		name := e.nameOf(n)
		slash := len(path) - len(name) - 1
		if slash < 0 || path[slash] != '/' || !bytes.Equal(path[slash+1:], name) {
			return false
		}
		path = path[:slash]
		ref = n.parent
	}
	return len(path) == 0
}

func (e *Engine) nameOf(n *node) []byte {
	k := e.nameLen(n)
	switch {
	case k == 0:
		return nil
	case n.form() == formFullBig:
		return e.texts.Bytes(n.text, k+max(0, int(e.extraOf(n).dataLen)))[:k:k]
	}
	return e.texts.Head(n.text, k)
}

func (e *Engine) nameLen(n *node) int {
	if k := int(n.word>>formBits) & nameLenInExtra; k != nameLenInExtra {
		return k
	}
	return int(e.extraOf(n).nameLen & nameLenMask)
}

// isSystem tells whether the node is below /zookeeper. Such nodes are never compact.
func (e *Engine) isSystem(n *node) bool { return !n.compact() && e.extraOf(n).nameLen&flagSystem != 0 }

// Root returns the root.
func (e *Engine) Root() NodeRef { return e.root }

// Stat fills out with the stat that clients see (client protocol, section 5.1).
func (e *Engine) Stat(ref NodeRef, out *proto.Stat) { e.statOf(e.nodes.At(uint32(ref)), out) }

func (e *Engine) statOf(n *node, out *proto.Stat) {
	if n.compact() {
		ctime := n.compactCtime()
		*out = proto.Stat{
			Czxid: n.czxid, Mzxid: n.czxid, Ctime: ctime, Mtime: ctime,
			DataLength: max(0, n.compactDataLen()), Pzxid: n.czxid,
		}
		return
	}
	x := e.extraOf(n)
	owner := x.owner
	if owner != 0 {
		if k, _ := e.opts.ownerKind(owner); k != ownerSession {
			owner = 0
		}
	}
	*out = proto.Stat{
		Czxid: n.czxid, Mzxid: x.mzxid, Ctime: x.ctime, Mtime: x.mtime,
		Version: x.version, Cversion: 2*x.cversion - x.numChildren, Aversion: x.aversion,
		EphemeralOwner: owner, DataLength: max(0, x.dataLen), NumChildren: x.numChildren, Pzxid: x.pzxid,
	}
}

// Node fills out.
func (e *Engine) Node(ref NodeRef, out *Node) {
	n := e.nodes.At(uint32(ref))
	e.persistedStat(n, &out.StatPersisted)
	out.ACLID = n.acl()
	if n.compact() {
		out.NumChildren, out.DataLength, out.PathDataCRC = 0, max(0, n.compactDataLen()), e.compactCRC(n)
		return
	}
	x := e.extraOf(n)
	out.NumChildren, out.DataLength, out.PathDataCRC = x.numChildren, max(0, x.dataLen), x.crc
}

func (e *Engine) persistedStat(n *node, out *proto.StatPersisted) {
	if n.compact() {
		ctime := n.compactCtime()
		*out = proto.StatPersisted{Czxid: n.czxid, Mzxid: n.czxid, Pzxid: n.czxid, Ctime: ctime, Mtime: ctime}
		return
	}
	x := e.extraOf(n)
	*out = proto.StatPersisted{
		Czxid: n.czxid, Mzxid: x.mzxid, Ctime: x.ctime, Mtime: x.mtime,
		Version: x.version, Cversion: x.cversion, Aversion: x.aversion,
		EphemeralOwner: x.owner, Pzxid: x.pzxid,
	}
}

// setStat gives a full node its stat.
func (n *node) setStat(x *extra, s *proto.StatPersisted) {
	n.czxid, x.mzxid, x.pzxid, x.ctime, x.mtime = s.Czxid, s.Mzxid, s.Pzxid, s.Ctime, s.Mtime
	x.version, x.cversion, x.aversion, x.owner = s.Version, s.Cversion, s.Aversion, s.EphemeralOwner
}

// Data lends the node's data: nil for null, not nil for empty.
func (e *Engine) Data(ref NodeRef) []byte { return e.dataOf(e.nodes.At(uint32(ref))) }

var emptyData = []byte{}

func (e *Engine) dataOf(n *node) []byte {
	k := int(e.dataLen(n))
	switch {
	case k > 0:
		name := e.nameLen(n)
		return e.texts.Bytes(n.text, name+k)[name:]
	case k == 0:
		return emptyData
	}
	return nil
}

// dataLen returns the length of the data, -1 for null.
func (e *Engine) dataLen(n *node) int32 {
	if n.compact() {
		return n.compactDataLen()
	}
	return e.extraOf(n).dataLen
}

// ACL lends the node's list.
func (e *Engine) ACL(ref NodeRef) proto.RawACLs { return e.acls.get(e.nodes.At(uint32(ref)).acl()) }

// ACLByID lends the list that Node.ACLID names; 0 is the list of the built-in nodes, which
// grants everything to everybody and which Java numbers -1.
func (e *Engine) ACLByID(id uint32) proto.RawACLs { return e.acls.get(id) }

// Parent returns the parent, 0 for the root.
func (e *Engine) Parent(ref NodeRef) NodeRef { return e.nodes.At(uint32(ref)).parent }

// FirstChild returns a child, 0 if there is none. Children are in no order of meaning; it is
// the same on replicas with the same history.
func (e *Engine) FirstChild(ref NodeRef) NodeRef { return e.firstChild(e.nodes.At(uint32(ref))) }

func (e *Engine) firstChild(n *node) NodeRef {
	if n.compact() {
		return 0
	}
	return e.extraOf(n).firstChild
}

// NextSibling returns the next child of the same parent, 0 at the end.
func (e *Engine) NextSibling(ref NodeRef) NodeRef { return e.nodes.At(uint32(ref)).next }

// Name lends the last component of the node's path, empty for the root.
func (e *Engine) Name(ref NodeRef) []byte { return e.nameOf(e.nodes.At(uint32(ref))) }

// AppendPath appends the node's path, "/" for the root.
func (e *Engine) AppendPath(dst []byte, ref NodeRef) []byte {
	if ref == e.root {
		return append(dst, '/')
	}
	return e.appendPathBelow(dst, e.root, ref)
}

// appendPathBelow appends the path from top down to ref, which begins with a slash or is empty.
func (e *Engine) appendPathBelow(dst []byte, top, ref NodeRef) []byte {
	length := 0
	for r := ref; r != top; {
		n := e.nodes.At(uint32(r))
		length += 1 + e.nameLen(n)
		r = n.parent
	}
	start := len(dst)
	dst = slices.Grow(dst, length)[:start+length]
	for end := start + length; ref != top; {
		n := e.nodes.At(uint32(ref))
		name := e.nameOf(n)
		end -= len(name)
		copy(dst[end:], name)
		end--
		dst[end] = '/'
		ref = n.parent
	}
	return dst
}

// AppendChildren appends the names of the children as a vector of strings.
func (e *Engine) AppendChildren(dst []byte, ref NodeRef) []byte {
	dst = jute.AppendInt32(dst, e.NumChildren(ref))
	for c := e.FirstChild(ref); c != 0; {
		n := e.nodes.At(uint32(c))
		name := e.nameOf(n)
		dst = jute.AppendInt32(dst, int32(len(name)))
		dst = append(dst, name...)
		c = n.next
	}
	return dst
}

// NumChildren returns the number of children.
func (e *Engine) NumChildren(ref NodeRef) int32 {
	n := e.nodes.At(uint32(ref))
	if n.compact() {
		return 0
	}
	return e.extraOf(n).numChildren
}

// NumDescendants counts the nodes below ref. It walks them, except for the root.
func (e *Engine) NumDescendants(ref NodeRef) int {
	if ref == e.root {
		return e.NodeCount() - 1
	}
	count := -1
	e.walk(ref, func(NodeRef, *node) { count++ })
	return count
}

// EachTime calls f with the zxid and the time, in ms since 1970, of the creation and of the last write of each znode,
// but for the built-in ones and what is below them, until f returns false.
func (e *Engine) EachTime(f func(zxid proto.Zxid, timeMs int64) bool) {
	more := true
	e.walk(e.root, func(_ NodeRef, n *node) {
		if !more || n.czxid == 0 || e.isSystem(n) {
			return
		}
		if n.compact() {
			more = f(n.czxid, n.compactCtime())
			return
		}
		x := e.extraOf(n)
		if more = f(n.czxid, x.ctime); more && x.mzxid != n.czxid {
			more = f(x.mzxid, x.mtime)
		}
	})
}

// walk calls f with ref and every node below it, parents before children.
func (e *Engine) walk(ref NodeRef, f func(NodeRef, *node)) {
	for at := ref; ; {
		n := e.nodes.At(uint32(at))
		f(at, n)
		if child := e.firstChild(n); child != 0 {
			at = child
			continue
		}
		for at != ref && n.next == 0 {
			at = n.parent
			n = e.nodes.At(uint32(at))
		}
		if at == ref {
			return
		}
		at = n.next
	}
}
