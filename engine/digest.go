package engine

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"zabra.dev/zabra/engine/proto"
)

// crcTables are those of slicing-by-8: crcTables[k][b] is the CRC of byte b followed by k zero
// bytes. hash/crc32 has the same inside, but takes a slice, and one that escapes; a node's
// digest needs no more than seven and a half steps over words that are in registers anyway.
var crcTables = func() (t [8][256]uint32) {
	t[0] = *crc32.IEEETable
	for i := range 256 {
		for k := 1; k < 8; k++ {
			c := t[k-1][i]
			t[k][i] = t[0][c&0xFF] ^ c>>8
		}
	}
	return t
}()

// crcLong continues a (complemented) CRC over the eight big-endian bytes of v.
func crcLong(c uint32, v uint64) uint32 {
	v = bits.ReverseBytes64(v)
	lo, hi := uint32(v)^c, uint32(v>>32)
	return crcTables[0][hi>>24] ^ crcTables[1][hi>>16&0xFF] ^ crcTables[2][hi>>8&0xFF] ^ crcTables[3][hi&0xFF] ^
		crcTables[4][lo>>24] ^ crcTables[5][lo>>16&0xFF] ^ crcTables[6][lo>>8&0xFF] ^ crcTables[7][lo&0xFF]
}

// crcInt continues a (complemented) CRC over the four big-endian bytes of v.
func crcInt(c, v uint32) uint32 {
	c ^= bits.ReverseBytes32(v)
	return crcTables[0][c>>24] ^ crcTables[1][c>>16&0xFF] ^ crcTables[2][c>>8&0xFF] ^ crcTables[3][c&0xFF]
}

// crcPath is crc32.ChecksumIEEE for short strings, which that takes byte by byte and out of tables of its own.
func crcPath(path []byte) uint32 {
	c := ^uint32(0)
	for ; len(path) >= 8; path = path[8:] {
		c = crcLong(c, binary.BigEndian.Uint64(path))
	}
	if len(path) >= 4 {
		c = crcInt(c, binary.BigEndian.Uint32(path))
		path = path[4:]
	}
	for _, b := range path {
		c = crcTables[0][byte(c)^b] ^ c>>8
	}
	return ^c
}

// nodeDigest returns a node's share of the tree digest: the CRC-32 of path, data and the
// stat's fields in this order (quorum protocol, section 7.3).
func nodeDigest(pathDataCRC uint32, s *proto.StatPersisted) uint64 {
	return statDigest(pathDataCRC, s.Czxid, s.Mzxid, s.Pzxid, s.Ctime, s.Mtime, s.Version, s.Cversion, s.Aversion, s.EphemeralOwner)
}

func statDigest(pathDataCRC uint32, czxid, mzxid, pzxid, ctime, mtime int64, version, cversion, aversion int32, owner int64) uint64 {
	c := ^pathDataCRC
	c = crcLong(c, uint64(czxid))
	c = crcLong(c, uint64(mzxid))
	c = crcLong(c, uint64(pzxid))
	c = crcLong(c, uint64(ctime))
	c = crcLong(c, uint64(mtime))
	c = crcLong(c, uint64(uint32(version))<<32|uint64(uint32(cversion)))
	c = crcLong(c, uint64(uint32(aversion))<<32|uint64(owner)>>32)
	c = crcInt(c, uint32(owner))
	return uint64(^c)
}

// share returns what the node adds to the tree digest, 0 if it is left out or none is kept.
func (e *Engine) share(n *node) uint64 {
	switch {
	case !e.opts.Digest:
		return 0
	case n.compact():
		return compactShare(n, e.compactCRC(n))
	}
	x := e.extraOf(n)
	if x.nameLen&flagSystem != 0 {
		return 0
	}
	return statDigest(x.crc, n.czxid, x.mzxid, x.pzxid, x.ctime, x.mtime, x.version, x.cversion, x.aversion, x.owner)
}

// compactShare is the share of a compact node.
func compactShare(n *node, crc uint32) uint64 {
	ctime := n.compactCtime()
	return statDigest(crc, n.czxid, n.czxid, n.czxid, ctime, ctime, 0, 0, 0, 0)
}
