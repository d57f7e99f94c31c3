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

// node is a znode's record: 128 bytes, two cache lines, no pointers.
//
// The slab's free list lies over czxid; everything else is zero (poison, in checked builds)
// once the record is freed, so that id tells a stale number from a live one.
type node struct {
	czxid, mzxid, pzxid proto.Zxid
	ctime, mtime        int64
	owner               int64 // stored ephemeralOwner
	tracked                   // id, place in the lists of changes; aux is the member record or 0
	version, cversion   int32 // cversion counts creations
	aversion            int32
	parent              NodeRef
	firstChild          NodeRef
	nextSibling         NodeRef
	prevSibling         NodeRef
	numChildren         int32
	acl                 uint32 // id in the ACL table
	crc                 uint32 // CRC-32 of path and data, the root's path being empty
	name, data          arena.Ref
	nameLen             uint32 // and flagSystem
	dataLen             int32  // -1 is null
}

const (
	// flagSystem in nameLen marks nodes below /zookeeper, which the tree digest leaves out.
	flagSystem  = 1 << 31
	nameLenMask = flagSystem - 1
)

// A Node is a znode's persisted stat with what else a server needs to prepare a change of it.
type Node struct {
	proto.StatPersisted
	NumChildren int32
	DataLength  int32  // 0 for null
	ACLID       uint32 // for ACLByID
	PathDataCRC uint32
}

// Digest returns the node's share of the tree digest.
func (n *Node) Digest() uint64 { return nodeDigest(n.PathDataCRC, &n.StatPersisted) }

// PathDataCRC returns the CRC-32 of path and data; the path of the root is empty.
func PathDataCRC(path, data []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(rootAsEmpty(path)), crc32.IEEETable, data)
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
	k := n.nameLen & nameLenMask
	if k == 0 {
		return nil
	}
	return e.names.Bytes(n.name, int(k))
}

// Root returns the root.
func (e *Engine) Root() NodeRef { return e.root }

// Stat fills out with the stat that clients see (client protocol, section 5.1).
func (e *Engine) Stat(ref NodeRef, out *proto.Stat) { e.statOf(e.nodes.At(uint32(ref)), out) }

func (e *Engine) statOf(n *node, out *proto.Stat) {
	owner := n.owner
	if owner != 0 {
		if k, _ := e.opts.ownerKind(owner); k != ownerSession {
			owner = 0
		}
	}
	*out = proto.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Cversion: 2*n.cversion - n.numChildren, Aversion: n.aversion,
		EphemeralOwner: owner, DataLength: max(0, n.dataLen), NumChildren: n.numChildren, Pzxid: n.pzxid,
	}
}

// Node fills out.
func (e *Engine) Node(ref NodeRef, out *Node) {
	n := e.nodes.At(uint32(ref))
	out.StatPersisted = n.stat()
	out.NumChildren, out.DataLength, out.ACLID, out.PathDataCRC = n.numChildren, max(0, n.dataLen), n.acl, n.crc
}

func (n *node) stat() proto.StatPersisted {
	return proto.StatPersisted{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Cversion: n.cversion, Aversion: n.aversion,
		EphemeralOwner: n.owner, Pzxid: n.pzxid,
	}
}

func (n *node) setStat(s *proto.StatPersisted) {
	n.czxid, n.mzxid, n.pzxid, n.ctime, n.mtime = s.Czxid, s.Mzxid, s.Pzxid, s.Ctime, s.Mtime
	n.version, n.cversion, n.aversion, n.owner = s.Version, s.Cversion, s.Aversion, s.EphemeralOwner
}

// Data lends the node's data: nil for null, not nil for empty.
func (e *Engine) Data(ref NodeRef) []byte { return e.dataOf(e.nodes.At(uint32(ref))) }

var emptyData = []byte{}

func (e *Engine) dataOf(n *node) []byte {
	switch {
	case n.dataLen > 0:
		return e.data.Bytes(n.data, int(n.dataLen))
	case n.dataLen == 0:
		return emptyData
	}
	return nil
}

// ACL lends the node's list.
func (e *Engine) ACL(ref NodeRef) proto.RawACLs { return e.acls.get(e.nodes.At(uint32(ref)).acl) }

// ACLByID lends the list that Node.ACLID names; 0 is the list of the built-in nodes, which
// grants everything to everybody and which Java numbers -1.
func (e *Engine) ACLByID(id uint32) proto.RawACLs { return e.acls.get(id) }

// Parent returns the parent, 0 for the root.
func (e *Engine) Parent(ref NodeRef) NodeRef { return e.nodes.At(uint32(ref)).parent }

// FirstChild returns a child, 0 if there is none. Children are in no order of meaning; it is
// the same on replicas with the same history.
func (e *Engine) FirstChild(ref NodeRef) NodeRef { return e.nodes.At(uint32(ref)).firstChild }

// NextSibling returns the next child of the same parent, 0 at the end.
func (e *Engine) NextSibling(ref NodeRef) NodeRef { return e.nodes.At(uint32(ref)).nextSibling }

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
		length += 1 + int(n.nameLen&nameLenMask)
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
	n := e.nodes.At(uint32(ref))
	dst = jute.AppendInt32(dst, n.numChildren)
	for c := n.firstChild; c != 0; {
		n := e.nodes.At(uint32(c))
		name := e.nameOf(n)
		dst = jute.AppendInt32(dst, int32(len(name)))
		dst = append(dst, name...)
		c = n.nextSibling
	}
	return dst
}

// NumChildren returns the number of children.
func (e *Engine) NumChildren(ref NodeRef) int32 { return e.nodes.At(uint32(ref)).numChildren }

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
		if !more || n.czxid == 0 || n.nameLen&flagSystem != 0 {
			return
		}
		if more = f(n.czxid, n.ctime); more && n.mzxid != n.czxid {
			more = f(n.mzxid, n.mtime)
		}
	})
}

// walk calls f with ref and every node below it, parents before children.
func (e *Engine) walk(ref NodeRef, f func(NodeRef, *node)) {
	for at := ref; ; {
		n := e.nodes.At(uint32(at))
		f(at, n)
		if n.firstChild != 0 {
			at = n.firstChild
			continue
		}
		for at != ref && n.nextSibling == 0 {
			at = n.parent
			n = e.nodes.At(uint32(at))
		}
		if at == ref {
			return
		}
		at = n.nextSibling
	}
}
