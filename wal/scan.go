package wal

import (
	"encoding/binary"
	"errors"
	"io"

	"zabra.dev/zabra/wal/walfs"
)

// scanBytes is how much a scanner reads at once: enough for a disk to stream, and
// few enough to stay in the processor's cache until it is checked.
const scanBytes = 512 << 10

// record is one that a scanner found. The payload is lent until its next call.
type record struct {
	header
	off     int64 // of its header in the segment
	payload []byte
}

func (r record) end() int64 { return r.off + r.size() }

// group is the offset of the first record that was written and synced together
// with r.
func (r record) group() int64 { return r.off - int64(r.back)*recordAlign }

// found says what is at a scanner's position.
type found uint8

const (
	foundRecord  found = iota
	foundEnd           // no room for a record before the limit
	foundDamaged       // bytes that are no record that belongs here; see scanner.damage
)

// scanner reads a segment's records in order, checking each.
type scanner struct {
	file walfs.File
	name string
	seed uint64
	// limit is where the last record ends at the latest. It may grow between calls.
	limit int64

	last   position // behind the newest record read
	group  int64    // offset of the first record of its group
	damage damage

	buf    []byte // bytes of the file from bufOff on
	bufOff int64
}

// damage describes bytes that are no record.
type damage struct {
	reason    string
	want, got uint64
	// plausible is true when the header passes its own check, so that this was
	// a record once, of size bytes.
	plausible bool
	size      int64
}

// newScanner starts at the first record of s, which it does not keep.
func newScanner(file walfs.File, s *segment, limit int64) *scanner {
	return &scanner{file: file, name: s.name, seed: s.seed, limit: limit,
		last: s.start(), group: dataStart}
}

// at lends the n bytes at off, fewer where the limit or the file ends, until its
// next call. The buffer grows only to what is there to be read.
func (sc *scanner) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), sc.limit-off))
	if n <= 0 {
		return nil, nil
	}
	if off >= sc.bufOff && off+int64(n) <= sc.bufOff+int64(len(sc.buf)) {
		at := off - sc.bufOff
		return sc.buf[at : at+int64(n)], nil
	}
	want := int(min(max(int64(n), scanBytes), sc.limit-off))
	if cap(sc.buf) < want {
		sc.buf = make([]byte, want)
	}
	sc.bufOff = off
	got, err := sc.file.ReadAt(sc.buf[:want], off)
	sc.buf = sc.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		sc.buf = sc.buf[:0]
		return nil, segmentError(sc.name, "read", err)
	}
	return sc.buf[:min(n, got)], nil
}

// next reads what is at the position, and moves behind it if it is a record. The
// error is one of reading, or a *CorruptError for a record that is intact
// and cannot have been written there.
func (sc *scanner) next() (record, found, error) {
	off := sc.last.end
	if sc.limit-off < HeaderSize {
		return record{}, foundEnd, nil
	}
	r, ok, err := sc.read(off)
	if err != nil || !ok {
		return record{}, foundDamaged, err
	}
	if r.zxid <= sc.last.zxid {
		return record{}, foundDamaged, sc.corrupt("zxid that does not increase", 0, 0)
	}
	if g := r.group(); g != sc.group && g != off {
		return record{}, foundDamaged, sc.corrupt("record of a foreign group", 0, 0)
	}
	sc.group = r.group()
	sc.last.end, sc.last.zxid, sc.last.sum = r.end(), r.zxid, r.sum
	return r, foundRecord, nil
}

// read reads the record at off without regard to its neighbours. If there is no
// good one it returns false and says in sc.damage why.
func (sc *scanner) read(off int64) (record, bool, error) {
	sc.damage = damage{}
	b, err := sc.at(off, HeaderSize)
	if err != nil {
		return record{}, false, err
	}
	if len(b) < HeaderSize {
		sc.damage.reason = "end of file"
		return record{}, false, nil
	}
	seed := recordSeed(sc.seed, off)
	h, ok := getHeader(b, seed)
	r := record{header: h, off: off}
	switch {
	case !ok:
		sc.damage.reason = "bad record header"
		return record{}, false, nil
	case r.end() > sc.limit:
		sc.damage = damage{reason: "record reaches beyond the end", plausible: true, size: r.size()}
		return record{}, false, nil
	case r.group() < dataStart:
		sc.damage.reason = "bad record header"
		return record{}, false, nil
	}
	size := HeaderSize + int(h.length)
	b, err = sc.at(off, size)
	if err != nil {
		return record{}, false, err
	}
	if len(b) < size {
		sc.damage = damage{reason: "end of file inside a record", plausible: true, size: r.size()}
		return record{}, false, nil
	}
	if got := checksum(b, seed); got != h.sum {
		sc.damage = damage{reason: "record checksum", want: h.sum, got: got, plausible: true, size: r.size()}
		return record{}, false, nil
	}
	r.payload = b[HeaderSize:size:size]
	return r, true, nil
}

// corrupt gives the error for damage at the position.
func (sc *scanner) corrupt(reason string, want, got uint64) *CorruptError {
	return &CorruptError{Segment: sc.name, Offset: sc.last.end, Reason: reason,
		Want: want, Got: got, LastGood: sc.last.zxid}
}

// behind is what is found behind damage.
type behind struct {
	// proof is true if a good record was found of a group begun behind the damage:
	// what is damaged was durable once.
	proof bool
	// firstGood is the first good record, or has off 0. Its payload is gone.
	firstGood record
	// goodEnd is the end of the last good record, or 0.
	goodEnd int64
	// writtenEnd is the end of the last byte that is not zero, or 0.
	writtenEnd int64
}

// searchBehind looks for good records at every offset behind the damage at the
// position. It stops at the first proof; with any, at the first good record. It
// leaves the position alone.
func (sc *scanner) searchBehind(any bool) (behind, error) {
	damaged := sc.last.end
	var b behind
	// A candidate may be long; reading it must not move the window of the search.
	probe := scanner{file: sc.file, name: sc.name, seed: sc.seed, limit: sc.limit}
	for off := damaged; ; {
		window, err := sc.at(off, scanBytes)
		if err != nil {
			return b, err
		}
		if len(window) < HeaderSize {
			for i, c := range window {
				if c != 0 {
					b.writtenEnd = off + int64(i) + 1
				}
			}
			return b, nil
		}
		i := 0
		for ; i+HeaderSize <= len(window); i += recordAlign {
			at := off + int64(i)
			if binary.LittleEndian.Uint64(window[i:]) == 0 {
				continue
			}
			b.writtenEnd = at + recordAlign
			if _, ok := getHeader(window[i:], recordSeed(sc.seed, at)); !ok || at == damaged {
				continue
			}
			r, ok, err := probe.read(at)
			if err != nil {
				return b, err
			}
			if !ok {
				continue
			}
			r.payload = nil
			if b.firstGood.off == 0 {
				b.firstGood = r
			}
			b.goodEnd = r.end()
			b.writtenEnd = max(b.writtenEnd, r.end())
			b.proof = b.proof || r.group() > damaged
			if b.proof || any {
				return b, nil
			}
			i += int(r.size()) // nothing inside a good record is one
			break
		}
		off += int64(i)
	}
}

// damageError gives the error for damage at the position that no crash explains:
// that of bytes which are known to have been durable.
func (sc *scanner) damageError() (*CorruptError, error) {
	d := sc.damage // the search overwrites it
	e := sc.corrupt(d.reason, d.want, d.got)
	b, err := sc.searchBehind(true)
	if err != nil {
		return nil, err
	}
	e.FirstGoodAfter = b.firstGood.zxid
	return e, nil
}

// tail is how the newest segment ends.
type tail struct {
	last   position // behind the newest good record
	group  int64    // offset of the first record of the newest group
	sealed bool     // a seal says so
	// tornBytes is how much was written behind last and is not whole; 0 if nothing
	// is known to be there.
	tornBytes int64
}

// newTailScanner gives a scanner for the newest segment, and the end that its seal
// names, if it has one.
func newTailScanner(file walfs.File, s *segment) (sc *scanner, end position, sealed bool, err error) {
	var b [sealBytes]byte
	if n, err := file.ReadAt(b[:], sealOffset); n < len(b) && !errors.Is(err, io.EOF) {
		return nil, position{}, false, segmentError(s.name, "read seal", err)
	}
	limit := s.bytes
	if end, sealed = s.decodeSeal(b[:]); sealed {
		limit = min(limit, end.end)
	}
	return newScanner(file, s, limit), end, sealed, nil
}

// scanTail reads the newest segment to its end, and decides whether it ends in
// a torn write, which is part of the answer, or is damaged, which is
// a *CorruptError. See README.md for the argument.
func scanTail(file walfs.File, s *segment) (tail, error) {
	sc, end, sealed, err := newTailScanner(file, s)
	if err != nil {
		return tail{}, err
	}
	for {
		_, what, err := sc.next()
		switch {
		case err != nil:
			return tail{}, err
		case what == foundRecord:
		case sealed:
			if what == foundEnd && sc.last == end {
				return tail{last: sc.last, group: sc.group, sealed: true}, nil
			}
			return tail{}, sc.broken(what, end)
		case what == foundEnd:
			return tail{last: sc.last, group: sc.group}, nil
		default:
			return sc.tail(s.fresh)
		}
	}
}

// broken gives the error for a segment in which not all records up to end were read,
// though they were durable.
func (sc *scanner) broken(what found, end position) error {
	if what == foundDamaged {
		e, err := sc.damageError()
		if err != nil {
			return err
		}
		return e
	}
	return sc.corrupt("end that is not the one recorded", end.sum, sc.last.sum)
}

// tail judges damage at the position in the newest segment.
func (sc *scanner) tail(fresh bool) (tail, error) {
	d := sc.damage
	b, err := sc.searchBehind(false)
	if err != nil {
		return tail{}, err
	}
	if b.proof {
		e := sc.corrupt(d.reason, d.want, d.got)
		e.FirstGoodAfter = b.firstGood.zxid
		return tail{}, e
	}
	t := tail{last: sc.last, group: sc.group}
	tornEnd := b.goodEnd
	if d.plausible {
		tornEnd = max(tornEnd, min(sc.last.end+d.size, sc.limit))
	}
	if fresh {
		// Not so in a recycled file, where an older life shows behind the end.
		tornEnd = max(tornEnd, b.writtenEnd)
	}
	t.tornBytes = max(0, tornEnd-sc.last.end)
	return t, nil
}

// seek reads up to the newest record with a zxid that is at most zxid, and leaves
// the position behind it. Damage on the way is a *CorruptError.
func (sc *scanner) seek(zxid int64) (position, error) {
	best := sc.last
	for {
		r, what, err := sc.next()
		switch {
		case err != nil:
			return position{}, err
		case what == foundDamaged:
			return position{}, sc.broken(what, position{})
		case what == foundEnd, r.zxid > zxid:
			return best, nil
		}
		best = sc.last
	}
}
