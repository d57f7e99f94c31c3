package snapshot

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// FormatVersion is the version of the metadata record and of the key layout that this package writes.
const FormatVersion = 1

// Meta describes an image. Zxid, Digest, Records, TakenAtMs and App are the caller's; the rest is set by
// the store when the checkpoint is committed.
type Meta struct {
	// Zxid: the image is the state right after this transaction.
	Zxid int64
	// Digest is the caller's digest of the state, stored and given back.
	Digest uint64
	// Records is the number of live records, which every full scan is checked against; below 0 means unknown.
	Records int64
	// TakenAtMs is the wall clock when the checkpoint was taken, in ms since 1970.
	TakenAtMs int64
	// App is opaque to the store. Commit borrows it; Meta gives a copy.
	App []byte

	// Generation counts replacements: it is 1 for the first image and rises with each NewReplacement.
	// Record keys of different generations have nothing to do with each other.
	Generation uint64
	// Checkpoint counts the checkpoints of the generation, from 1.
	Checkpoint uint64
	// FormatVersion is the version that wrote the image.
	FormatVersion int
}

// The metadata record, the value of key 0x02:
//
//	[version 1][zxid 8][digest 8][records 8][takenAtMs 8][generation 8][checkpoint 8][app n][xxhash64 8]
//
// Integers are big-endian; the hash covers everything in front of it.
const (
	metaFixedBytes = 1 + 6*8
	metaHashBytes  = 8
)

// Key prefixes inside pebble.
const (
	recordPrefix byte = 0x01
	metaPrefix   byte = 0x02
	endPrefix    byte = 0x03 // above everything
)

var (
	metaKey    = []byte{metaPrefix}
	lowerBound = []byte{recordPrefix}
	upperBound = []byte{endPrefix}
)

func (m *Meta) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, FormatVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Zxid))
	dst = binary.BigEndian.AppendUint64(dst, m.Digest)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Records))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.TakenAtMs))
	dst = binary.BigEndian.AppendUint64(dst, m.Generation)
	dst = binary.BigEndian.AppendUint64(dst, m.Checkpoint)
	dst = append(dst, m.App...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// decode reads what append wrote and copies App.
func (m *Meta) decode(b []byte) error {
	if len(b) < metaFixedBytes+metaHashBytes {
		return fmt.Errorf("%w: metadata record of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != FormatVersion {
		return fmt.Errorf("snapshot: image has format version %d, this program reads %d", b[0], FormatVersion)
	}
	body, want := b[:len(b)-metaHashBytes], binary.BigEndian.Uint64(b[len(b)-metaHashBytes:])
	if got := xxhash.Sum64(body); got != want {
		return fmt.Errorf("%w: metadata record: hash is %#x, want %#x", ErrCorrupt, got, want)
	}
	u64 := func(i int) uint64 { return binary.BigEndian.Uint64(body[1+8*i:]) }
	*m = Meta{
		Zxid: int64(u64(0)), Digest: u64(1), Records: int64(u64(2)), TakenAtMs: int64(u64(3)),
		Generation: u64(4), Checkpoint: u64(5), FormatVersion: int(b[0]),
	}
	if app := body[metaFixedBytes:]; len(app) > 0 {
		m.App = append([]byte(nil), app...)
	}
	return nil
}
