package javadata

import (
	"errors"
	"fmt"
	"hash/adler32"
	"io"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	logMagic = "ZKLG"
	// recordEnd is the byte behind every record.
	recordEnd = 'B'
)

// A LogRecord is one record of a log file.
type LogRecord struct {
	Offset   int64 // of the checksum
	Checksum int64
	Txn      []byte // header, body and digest: lent until the next call of Next
	Zxid     proto.Zxid
}

// LogEnd says how a log file ended (the table of section 2.4).
type LogEnd int

const (
	// EndNone: the file has not ended yet.
	EndNone LogEnd = iota
	// EndOfFile: right behind a record.
	EndOfFile
	// EndPadding: at a record of length 0 or -1, as preallocated space is.
	EndPadding
	// EndCut: inside a record.
	EndCut
	// EndNoMark: at a record whose last byte is not 'B'.
	EndNoMark
)

func (e LogEnd) String() string {
	return [...]string{"not at its end", "end of file", "zero length", "cut record", "record without end mark"}[e]
}

// A LogReader reads the records of one log file.
type LogReader struct {
	s       *source
	version int32
	dbid    int64

	end   LogEnd
	endAt int64
	mem   []byte
	rec   LogRecord
}

// NewLogReader reads the header of a log file. Errors: *FileError with ErrCut for a file that is shorter
// than a header (also an empty one), ErrFormat for another magic, or what r returned.
func NewLogReader(r io.Reader, file string, opts Options) (*LogReader, error) {
	l := &LogReader{s: newSource(r, file, opts.fieldBytesMax())}
	b, err := l.s.take(fileHeaderBytes, "header")
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != logMagic {
		return nil, l.s.fail(0, "magic", fmt.Errorf("%w: %q is not %q", ErrFormat, b[:4], logMagic))
	}
	l.version, l.dbid = jute.Int32(b[4:]), jute.Int64(b[8:])
	return l, nil // Java checks neither
}

// Next lends the next record until the next call; io.EOF after the last one, when End says how the file
// ended. Anything behind that point is ignored, in the middle of a file too, as in Java. Other errors are
// *FileError: ErrLength, ErrFormat for a record that holds no transaction header, what the reader returned,
// or ErrChecksum, with which the record comes all the same and Next may be called again.
func (l *LogReader) Next() (*LogRecord, error) {
	if l.end != EndNone {
		return nil, io.EOF
	}
	s, at := l.s, l.s.offset()
	left, err := s.ahead(12)
	if err != nil {
		return nil, s.fail(at, "checksum and length", err)
	}
	switch {
	case left == 0:
		return l.ended(EndOfFile, at)
	case left < 12:
		return l.ended(EndCut, at)
	}
	b, err := s.take(12, "checksum and length")
	if err != nil {
		return nil, err
	}
	checksum, n := jute.Int64(b), jute.Int32(b[8:])
	switch {
	case n == 0 || n == -1:
		return l.ended(EndPadding, at)
	case n < 0 || int(n) > s.maxBytes:
		return nil, s.fail(at+8, "record length", fmt.Errorf("%w %d, limit %d", ErrLength, n, s.maxBytes))
	}
	if l.mem, err = s.appendBytes(l.mem[:0], int(n), "record"); err == nil {
		b, err = s.take(1, "end of the record")
	}
	if errors.Is(err, ErrCut) {
		return l.ended(EndCut, at)
	}
	if err != nil {
		return nil, err
	}
	if b[0] != recordEnd {
		return l.ended(EndNoMark, at)
	}
	l.rec = LogRecord{Offset: at, Checksum: checksum, Txn: l.mem}
	if len(l.mem) >= proto.TxnHeaderBytes {
		l.rec.Zxid = jute.Int64(l.mem[12:])
	}
	if want := int64(adler32.Checksum(l.mem)); checksum != want {
		return &l.rec, s.fail(at, "record", fmt.Errorf("%w: %#x, want %#x", ErrChecksum, uint64(checksum), want))
	}
	if len(l.mem) < proto.TxnHeaderBytes {
		return nil, s.fail(at, "record", fmt.Errorf("%w: %d bytes are no transaction", ErrFormat, len(l.mem)))
	}
	return &l.rec, nil
}

func (l *LogReader) ended(how LogEnd, at int64) (*LogRecord, error) {
	l.end, l.endAt = how, at
	return nil, io.EOF
}

// End says how and where the records ended, once Next has returned io.EOF.
func (l *LogReader) End() (how LogEnd, offset int64) { return l.end, l.endAt }
