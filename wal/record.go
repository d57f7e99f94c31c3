package wal

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// A record in a segment, little endian, beginning at a multiple of 8:
//
//	 0        4        8                16               24          24+len
//	+--------+--------+----------------+----------------+-------------+-----+
//	| len    | group  | zxid           | sum            | payload     | pad |
//	| u32    | u32    | i64            | u64            | len bytes   | 0..7|
//	+--------+--------+----------------+----------------+-------------+-----+
//	             |
//	             +-- bits 0..23: back, the distance to the first record of this
//	             |               record's sync group, in units of 8 bytes
//	             +-- bits 24..31: check, eight bits over the header alone
//
// sum is the xxhash64 of header and payload, with the record's seed standing in
// the sum field meanwhile. The seed mixes the segment's own seed with the record's
// offset, so a record is good at one place of one segment only. pad is zeroes and
// not covered.
//
// check lets the search for records behind a damaged one turn down almost every
// offset without summing what may be megabytes.

const (
	// HeaderSize is the room, in bytes, that precedes each payload in a batch and
	// on disk.
	HeaderSize = 24
	// MaxPayloadBytes bounds one payload.
	MaxPayloadBytes = 256 << 20

	recordAlign = 8
	sumOffset   = 16

	// backMax bounds the distance between a record and the first of its group, in
	// units of recordAlign: what the group field holds, 128 MiB.
	backMax  = 1<<24 - 1
	backMask = backMax
)

const (
	mixPrime1 = 0x9e3779b97f4a7c15
	mixPrime2 = 0xff51afd7ed558ccd
	mixPrime3 = 0xc4ceb9fe1a85ec53
)

// mix is a bijection that spreads each bit of x over all of the result (the
// finaliser of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= mixPrime2
	x ^= x >> 33
	x *= mixPrime3
	return x ^ x>>33
}

// recordSeed is different for all offsets of a segment, mixPrime1 being odd.
func recordSeed(segmentSeed uint64, off int64) uint64 {
	return mix(segmentSeed ^ uint64(off)*mixPrime1)
}

// headerCheck sums what a header says besides its checksum.
func headerCheck(seed uint64, length, back uint32, zxid int64) uint32 {
	x := mix(seed ^ (uint64(length)<<32 | uint64(back)))
	return uint32(mix(x+uint64(zxid)) >> 56)
}

// recordSize is the space that a record with a payload of n bytes takes.
func recordSize(n int) int64 {
	return int64(HeaderSize+n+recordAlign-1) &^ (recordAlign - 1)
}

// putHeader fills in the header of the record rec, which is header room and
// payload without padding, and returns its checksum. It only writes to the header.
func putHeader(rec []byte, seed uint64, back uint32, zxid int64) uint64 {
	length := uint32(len(rec) - HeaderSize)
	binary.LittleEndian.PutUint32(rec[0:], length)
	binary.LittleEndian.PutUint32(rec[4:], back|headerCheck(seed, length, back, zxid)<<24)
	binary.LittleEndian.PutUint64(rec[8:], uint64(zxid))
	binary.LittleEndian.PutUint64(rec[sumOffset:], seed)
	sum := xxhash.Sum64(rec)
	binary.LittleEndian.PutUint64(rec[sumOffset:], sum)
	return sum
}

// header is a decoded record header.
type header struct {
	length uint32
	back   uint32 // in units of recordAlign
	zxid   int64
	sum    uint64
}

func (h header) size() int64 { return recordSize(int(h.length)) }

// getHeader decodes the first HeaderSize bytes of b. It reports whether they can
// be a header at an offset with this seed; the payload may still be damaged.
func getHeader(b []byte, seed uint64) (header, bool) {
	_ = b[HeaderSize-1]
	group := binary.LittleEndian.Uint32(b[4:])
	h := header{
		length: binary.LittleEndian.Uint32(b[0:]),
		back:   group & backMask,
		zxid:   int64(binary.LittleEndian.Uint64(b[8:])),
		sum:    binary.LittleEndian.Uint64(b[sumOffset:]),
	}
	ok := h.length > 0 && h.length <= MaxPayloadBytes && h.zxid > 0 &&
		headerCheck(seed, h.length, h.back, h.zxid) == group>>24
	return h, ok
}

// checksum computes the sum that rec, header and payload without padding, must
// have. It uses the sum field for it and leaves it as it was.
func checksum(rec []byte, seed uint64) uint64 {
	stored := binary.LittleEndian.Uint64(rec[sumOffset:])
	binary.LittleEndian.PutUint64(rec[sumOffset:], seed)
	sum := xxhash.Sum64(rec)
	binary.LittleEndian.PutUint64(rec[sumOffset:], stored)
	return sum
}
