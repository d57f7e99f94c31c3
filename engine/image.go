package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// An image is the state at one zxid as a set of records:
//
//	key = [kind u8][id u64 BE]
//
// Read in order of their keys, records need only what came before them: ids of nodes only
// grow, so parents come before their children.
//
//	kind         id                  value
//	1 meta       0                   see below
//	2 acl        number in the table the list, encoded as in requests
//	3 session    session id          timeout in ms, i32 BE
//	4 node       node id             see below
//
// The meta record is in every checkpoint. Its first byte is the version of all values:
//
//	[version u8 = 1][flags u8: 1 = has digest][lastZxid i64 BE][digest u64 BE]
//	uvarint: last node id given, number of acl records, sessions, nodes
//
// A node, with numbers as uvarints, in zigzag form where they are signed; d(x) is a
// difference, modulo 2^64:
//
//	parent id (0: the root) | acl number
//	czxid, d(mzxid-czxid), d(pzxid-czxid), ctime, d(mtime-ctime)
//	version, cversion, aversion, ephemeralOwner
//	length of the name, name | 0 for null, else 1 + length of the data, data
const imageKeyBytes = 9

const (
	kindMeta    byte = 1
	kindACL     byte = 2
	kindSession byte = 3
	kindNode    byte = 4
)

const imageVersion = 1

const imageHasDigest = 1

// ErrImage reports records that are no whole image of a state.
var ErrImage = errors.New("engine: bad image")

type imageMeta struct {
	hasDigest  bool
	lastZxid   proto.Zxid
	digest     uint64
	lastNodeID uint64
	acls       int
	sessions   int
	nodes      int
}

func (e *Engine) appendMetaImage(dst []byte) []byte {
	flags := byte(0)
	if e.opts.Digest {
		flags |= imageHasDigest
	}
	dst = append(dst, imageVersion, flags)
	dst = jute.AppendInt64(dst, e.lastZxid)
	dst = jute.AppendInt64(dst, int64(e.digest))
	dst = binary.AppendUvarint(dst, e.lastNodeID)
	dst = binary.AppendUvarint(dst, uint64(e.acls.slab.Len()))
	dst = binary.AppendUvarint(dst, uint64(e.sessions.open))
	return binary.AppendUvarint(dst, uint64(e.nodes.Len()))
}

func (m *imageMeta) decode(value []byte) error {
	if len(value) < 18 || value[0] != imageVersion {
		return fmt.Errorf("%w: meta record of %d bytes, want version %d", ErrImage, len(value), imageVersion)
	}
	m.hasDigest = value[1]&imageHasDigest != 0
	m.lastZxid, m.digest = jute.Int64(value[2:]), uint64(jute.Int64(value[10:]))
	r := varints{b: value[18:]}
	m.lastNodeID = r.uint()
	m.acls, m.sessions, m.nodes = int(r.uint()), int(r.uint()), int(r.uint())
	if r.bad || len(r.b) > 0 || m.lastNodeID >= maxNodeID {
		return fmt.Errorf("%w: meta record", ErrImage)
	}
	return nil
}

func (t *sessionTable) appendImage(dst []byte, ref uint32) []byte {
	return jute.AppendInt32(dst, t.slab.At(ref).timeoutMs)
}

// appendNodeImage appends the value of a node's record.
func (e *Engine) appendNodeImage(dst []byte, ref uint32) []byte {
	n := e.nodes.At(ref)
	var parent uint64
	if n.parent != 0 {
		parent = e.nodes.At(uint32(n.parent)).id()
	}
	var st proto.StatPersisted
	e.persistedStat(n, &st)
	dst = binary.AppendUvarint(dst, parent)
	dst = binary.AppendUvarint(dst, uint64(n.acl()))
	dst = binary.AppendVarint(dst, st.Czxid)
	dst = binary.AppendVarint(dst, st.Mzxid-st.Czxid)
	dst = binary.AppendVarint(dst, st.Pzxid-st.Czxid)
	dst = binary.AppendVarint(dst, st.Ctime)
	dst = binary.AppendVarint(dst, st.Mtime-st.Ctime)
	dst = binary.AppendVarint(dst, int64(st.Version))
	dst = binary.AppendVarint(dst, int64(st.Cversion))
	dst = binary.AppendVarint(dst, int64(st.Aversion))
	dst = binary.AppendVarint(dst, st.EphemeralOwner)
	name := e.nameOf(n)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = append(dst, name...)
	dst = binary.AppendUvarint(dst, uint64(int64(e.dataLen(n))+1))
	return append(dst, e.dataOf(n)...)
}

type nodeImage struct {
	parent uint64
	acl    uint32
	stat   proto.StatPersisted
	name   []byte
	data   []byte // nil is null
}

func (m *nodeImage) decode(value []byte) bool {
	r := varints{b: value}
	m.parent = r.uint()
	m.acl = uint32(r.uint())
	s := &m.stat
	s.Czxid = r.int()
	s.Mzxid, s.Pzxid = s.Czxid+r.int(), s.Czxid+r.int()
	s.Ctime = r.int()
	s.Mtime = s.Ctime + r.int()
	s.Version, s.Cversion, s.Aversion = int32(r.int()), int32(r.int()), int32(r.int())
	s.EphemeralOwner = r.int()
	m.name = r.bytes(r.uint())
	m.data = nil
	if n := r.uint(); n > 0 {
		m.data = r.bytes(n - 1)
	}
	return !r.bad && len(r.b) == 0
}

// varints reads numbers; bad stays set after the first that is none.
type varints struct {
	b   []byte
	bad bool
}

func (r *varints) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}
