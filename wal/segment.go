package wal

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"zabra.dev/zabra/wal/walfs"
)

// A segment file, little endian:
//
//	0                72       512    544             4096
//	+----------------+--------+------+---------------+---------+---------
//	| segment header | zeroes | seal | zeroes        | record  | record ...
//	+----------------+--------+------+---------------+---------+---------
//
// Segment header:
//
//	 0         8         12        16        24        32
//	+---------+---------+---------+---------+---------+
//	| "ZABRAWAL"        | version | flags   | seq     | salt    |
//	|         | u64     | u32     | u32     | u64     | u64     |
//	+---------+---------+---------+---------+---------+
//	 32        40        48        56        64        72
//	+---------+---------+---------+---------+---------+
//	| prevSeq | prevEnd | prevZxid| prevSum | sum     |
//	| u64     | i64     | i64     | u64     | u64     |
//	+---------+---------+---------+---------+---------+
//
// seq is also the file's name and is never used twice in a directory; salt is
// random. The prev fields say where the log before this segment ends: in segment
// prevSeq at offset prevEnd, with a record (or seal) whose checksum is prevSum and
// zxid prevZxid. What the earlier segment holds behind prevEnd is void. prevSeq is 0,
// with prevEnd and prevSum, when the log starts here, behind prevZxid.
//
// sum is the xxhash64 of the 64 bytes before it. It is also the segment's seed,
// which goes into every record's checksum.
//
// Seal, all zeroes as long as records are appended:
//
//	 0         8         16        24        32
//	+---------+---------+---------+---------+
//	| end     | zxid    | lastSum | sum     |
//	| i64     | i64     | u64     | u64     |
//	+---------+---------+---------+---------+
//
// It says that the segment ends at offset end, behind a record with that zxid and
// checksum lastSum, and that all this was durable when the seal was written. sum is
// the xxhash64 of the 24 bytes before it, behind the segment's seed. The seal matters
// in the newest segment only; for the others the next one's header says where they end.
//
// Header and seal have a page to themselves, and a sector each, so that no append
// rewrites them, and damage to the last records leaves the seal that tells of it.

const (
	segmentMagic   = "ZABRAWAL"
	segmentVersion = 1

	segmentHeaderBytes = 72
	sealOffset         = 512
	sealBytes          = 32
	// dataStart is where records begin.
	dataStart = 4096
	pageBytes = 4096

	// flagFresh says that all behind the header was zeroes when the segment was
	// begun, so that whatever else is found there was written as records.
	flagFresh = 1

	segmentSuffix = ".wal"
	sparePrefix   = "spare-" // zeroes only, behind what may be a header
	usedPrefix    = "used-"  // a segment of earlier
	tempPrefix    = "tmp-"
	badSuffix     = ".bad"
	lockName      = "LOCK"
)

// position is a place in the log: the end of a record.
type position struct {
	seq  uint64 // segment; 0 for the start of the log
	end  int64  // offset in it, behind a record
	zxid int64  // newest zxid up to there
	sum  uint64 // checksum of the record that ends there
}

// segmentHeader is the decoded header of a segment.
type segmentHeader struct {
	seq   uint64
	salt  uint64
	fresh bool
	prev  position
	seed  uint64 // the header's checksum
}

// encode gives the header's page and sets the seed.
func (h *segmentHeader) encode() []byte {
	page := make([]byte, pageBytes)
	b := page[:0]
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	var flags uint32
	if h.fresh {
		flags |= flagFresh
	}
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, h.prev.seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prev.end))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prev.zxid))
	b = binary.LittleEndian.AppendUint64(b, h.prev.sum)
	h.seed = xxhash.Sum64(b)
	binary.LittleEndian.AppendUint64(b, h.seed)
	return page
}

// decodeSegmentHeader decodes b, which begins a file named for seq. The error says
// what is wrong with it: ErrVersion, or a *CorruptError without a Segment.
func decodeSegmentHeader(b []byte, seq uint64) (segmentHeader, error) {
	bad := func(reason string) (segmentHeader, error) {
		return segmentHeader{}, &CorruptError{Reason: reason}
	}
	if len(b) < segmentHeaderBytes {
		return bad("file is shorter than a segment header")
	}
	if string(b[:8]) != segmentMagic {
		return bad("segment header without its magic word")
	}
	sumAt := segmentHeaderBytes - 8
	h := segmentHeader{
		fresh: binary.LittleEndian.Uint32(b[12:])&flagFresh != 0,
		seq:   binary.LittleEndian.Uint64(b[16:]),
		salt:  binary.LittleEndian.Uint64(b[24:]),
		prev: position{
			seq:  binary.LittleEndian.Uint64(b[32:]),
			end:  int64(binary.LittleEndian.Uint64(b[40:])),
			zxid: int64(binary.LittleEndian.Uint64(b[48:])),
			sum:  binary.LittleEndian.Uint64(b[56:]),
		},
		seed: binary.LittleEndian.Uint64(b[sumAt:]),
	}
	if got := xxhash.Sum64(b[:sumAt]); got != h.seed {
		return segmentHeader{}, &CorruptError{Reason: "segment header checksum", Want: h.seed, Got: got}
	}
	// From here on the header is what some writer meant.
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("%w: segment %s has version %d, this program knows %d",
			ErrVersion, segmentName(seq), v, segmentVersion)
	}
	if h.seq != seq {
		return bad(fmt.Sprintf("segment header says it is segment %d", h.seq))
	}
	if h.prev.seq >= seq {
		return bad(fmt.Sprintf("segment header says it continues later segment %d", h.prev.seq))
	}
	if h.prev.seq != 0 && (h.prev.end <= dataStart || h.prev.end%recordAlign != 0) {
		return bad(fmt.Sprintf("segment header says its predecessor ends at %d", h.prev.end))
	}
	return h, nil
}

// encodeSeal gives the seal that says that the segment ends at end.
func (h *segmentHeader) encodeSeal(end position) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, sealBytes), uint64(end.end))
	b = binary.LittleEndian.AppendUint64(b, uint64(end.zxid))
	b = binary.LittleEndian.AppendUint64(b, end.sum)
	return binary.LittleEndian.AppendUint64(b, h.sealSum(b))
}

// decodeSeal decodes sealBytes bytes. It reports whether they are a seal of this
// segment.
func (h *segmentHeader) decodeSeal(b []byte) (position, bool) {
	end := position{
		seq:  h.seq,
		end:  int64(binary.LittleEndian.Uint64(b[0:])),
		zxid: int64(binary.LittleEndian.Uint64(b[8:])),
		sum:  binary.LittleEndian.Uint64(b[16:]),
	}
	return end, binary.LittleEndian.Uint64(b[24:]) == h.sealSum(b[:24])
}

func (h *segmentHeader) sealSum(b []byte) uint64 {
	var buf [32]byte
	binary.LittleEndian.PutUint64(buf[:], h.seed)
	copy(buf[8:], b)
	return xxhash.Sum64(buf[:])
}

// segment is a part of the log. After it entered WAL.segments the fields below mu
// are guarded by WAL.mu.
type segment struct {
	segmentHeader
	name string // in the log's directory

	// under WAL.mu
	bytes   int64    // file size
	last    position // where its durable records end; end is dataStart if there are none
	readers int      // how many readers have it open
}

func (s *segment) empty() bool { return s.last.end == dataStart }

// start is where a segment with header h ends while it has no records.
func (h *segmentHeader) start() position {
	return position{seq: h.seq, end: dataStart, zxid: h.prev.zxid, sum: h.prev.sum}
}

func segmentName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, segmentSuffix) }
func badName(seq uint64) string     { return fmt.Sprintf("%016x%s", seq, badSuffix) }
func spareName(n uint64) string     { return fmt.Sprintf("%s%016x", sparePrefix, n) }
func usedName(n uint64) string      { return fmt.Sprintf("%s%016x", usedPrefix, n) }
func tempName(n uint64) string      { return fmt.Sprintf("%s%016x", tempPrefix, n) }

// spareFile is a file of SegmentBytes that is ready to become a segment.
type spareFile struct {
	name  string
	fresh bool // as rawFile.fresh
}

func parseHex(s string) (uint64, bool) {
	if len(s) != 16 || strings.ToLower(s) != s {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}

// dirFile is a file of a log's directory, with the number in its name.
type dirFile struct {
	walfs.Info
	number uint64
}

// dirListing is what is in a log's directory, each kind in order of its numbers.
// Files of other names are nobody's business.
type dirListing struct {
	segments, spares, used, temps, bad []dirFile
}

func listDir(fsys walfs.FS, dir string) (dirListing, error) {
	infos, err := fsys.List(dir)
	if err != nil {
		return dirListing{}, fmt.Errorf("wal: %w", err)
	}
	var l dirListing
	for _, fi := range infos {
		add := func(list *[]dirFile, hex string) {
			if n, ok := parseHex(hex); ok {
				*list = append(*list, dirFile{Info: fi, number: n})
			}
		}
		switch {
		case strings.HasSuffix(fi.Name, segmentSuffix):
			add(&l.segments, strings.TrimSuffix(fi.Name, segmentSuffix))
		case strings.HasSuffix(fi.Name, badSuffix):
			add(&l.bad, strings.TrimSuffix(fi.Name, badSuffix))
		case strings.HasPrefix(fi.Name, sparePrefix):
			add(&l.spares, strings.TrimPrefix(fi.Name, sparePrefix))
		case strings.HasPrefix(fi.Name, usedPrefix):
			add(&l.used, strings.TrimPrefix(fi.Name, usedPrefix))
		case strings.HasPrefix(fi.Name, tempPrefix):
			add(&l.temps, strings.TrimPrefix(fi.Name, tempPrefix))
		}
	}
	return l, nil
}

// nextNumber is above the numbers of all these files.
func nextNumber(lists ...[]dirFile) uint64 {
	next := uint64(1)
	for _, l := range lists {
		for _, f := range l {
			next = max(next, f.number+1)
		}
	}
	return next
}

func (w *WAL) path(name string) string { return filepath.Join(w.dir, name) }
