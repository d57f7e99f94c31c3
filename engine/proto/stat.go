package proto

import "zabra.dev/zabra/engine/jute"

// Stat is what clients see of a znode. Times are milliseconds of the leader's wall clock;
// Cversion is the client's figure (creations plus deletions), EphemeralOwner is 0 for
// containers and TTL nodes (client protocol, sections 5.1 and 5.4).
type Stat struct {
	Czxid, Mzxid                Zxid
	Ctime, Mtime                int64
	Version, Cversion, Aversion int32
	EphemeralOwner              int64
	DataLength, NumChildren     int32
	Pzxid                       Zxid
}

// StatBytes is the encoded size of a Stat.
const StatBytes = 68

// Append appends the 68 encoded bytes.
func (s *Stat) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, s.Czxid)
	dst = jute.AppendInt64(dst, s.Mzxid)
	dst = jute.AppendInt64(dst, s.Ctime)
	dst = jute.AppendInt64(dst, s.Mtime)
	dst = jute.AppendInt32(dst, s.Version)
	dst = jute.AppendInt32(dst, s.Cversion)
	dst = jute.AppendInt32(dst, s.Aversion)
	dst = jute.AppendInt64(dst, s.EphemeralOwner)
	dst = jute.AppendInt32(dst, s.DataLength)
	dst = jute.AppendInt32(dst, s.NumChildren)
	return jute.AppendInt64(dst, s.Pzxid)
}

// Decode reads a Stat; the decoder's error tells of a short one.
func (s *Stat) Decode(d *jute.Decoder) {
	s.Czxid, s.Mzxid, s.Ctime, s.Mtime = d.Int64(), d.Int64(), d.Int64(), d.Int64()
	s.Version, s.Cversion, s.Aversion = d.Int32(), d.Int32(), d.Int32()
	s.EphemeralOwner = d.Int64()
	s.DataLength, s.NumChildren = d.Int32(), d.Int32()
	s.Pzxid = d.Int64()
}

// StatPersisted is what the tree, Java's snapshots and the tree digest hold of a znode.
// Cversion counts creations below the node; EphemeralOwner is the stored one
// (storage formats, section 3.1).
type StatPersisted struct {
	Czxid, Mzxid                Zxid
	Ctime, Mtime                int64
	Version, Cversion, Aversion int32
	EphemeralOwner              int64
	Pzxid                       Zxid
}

// StatPersistedBytes is the encoded size of a StatPersisted.
const StatPersistedBytes = 60

// Append appends the 60 encoded bytes.
func (s *StatPersisted) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, s.Czxid)
	dst = jute.AppendInt64(dst, s.Mzxid)
	dst = jute.AppendInt64(dst, s.Ctime)
	dst = jute.AppendInt64(dst, s.Mtime)
	dst = jute.AppendInt32(dst, s.Version)
	dst = jute.AppendInt32(dst, s.Cversion)
	dst = jute.AppendInt32(dst, s.Aversion)
	dst = jute.AppendInt64(dst, s.EphemeralOwner)
	return jute.AppendInt64(dst, s.Pzxid)
}

// Decode reads a StatPersisted; the decoder's error tells of a short one.
func (s *StatPersisted) Decode(d *jute.Decoder) {
	s.Czxid, s.Mzxid, s.Ctime, s.Mtime = d.Int64(), d.Int64(), d.Int64(), d.Int64()
	s.Version, s.Cversion, s.Aversion = d.Int32(), d.Int32(), d.Int32()
	s.EphemeralOwner = d.Int64()
	s.Pzxid = d.Int64()
}

// Owners with a meaning other than a session id (client protocol, section 5.4).
const (
	// OwnerContainer marks a container.
	OwnerContainer int64 = -1 << 63
	// OwnerTTLMask is the high byte of the owner of a TTL node; the low 40 bits are the TTL in ms.
	OwnerTTLMask int64 = -1 << 56
	// MaxTTLMs is the largest TTL.
	MaxTTLMs int64 = 0xFFFFFFFFFF
)
