package javadata

import (
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"

	"zabra.dev/zabra/engine/jute"
)

const (
	sourceBufferBytes = 64 << 10
	// growBytes bounds how much is allocated for a length before its bytes have been seen.
	growBytes = 1 << 20
)

// A source reads fields of a stream, counts offsets and keeps the Adler-32 of everything that was taken. Its
// methods are not called again after an error.
type source struct {
	r        io.Reader
	file     string
	maxBytes int // of one buffer or string

	buf         []byte // buf[hashed:pos] was taken and not hashed yet, buf[pos:end] is read ahead
	hashed, pos int
	end         int
	base        int64 // offset of buf[0]
	sum         hash.Hash32
}

func newSource(r io.Reader, file string, maxBytes int) *source {
	return &source{r: r, file: file, maxBytes: maxBytes, buf: make([]byte, sourceBufferBytes), sum: adler32.New()}
}

func (s *source) offset() int64 { return s.base + int64(s.pos) }

// fail says what is wrong with the field that starts at offset at.
func (s *source) fail(at int64, field string, err error) error {
	return &FileError{File: s.file, Offset: at, Field: field, Err: err}
}

// fill has at least n bytes (n <= sourceBufferBytes) read ahead. At the end of the stream it returns io.EOF.
func (s *source) fill(n int) error {
	if s.end-s.pos >= n {
		return nil
	}
	s.hash()
	copy(s.buf, s.buf[s.pos:s.end])
	s.base += int64(s.pos)
	s.end -= s.pos
	s.pos, s.hashed = 0, 0
	for s.end < n {
		m, err := s.r.Read(s.buf[s.end:])
		s.end += m
		if err != nil && s.end < n {
			return err
		}
	}
	return nil
}

func (s *source) hash() {
	s.sum.Write(s.buf[s.hashed:s.pos])
	s.hashed = s.pos
}

// adler is the Adler-32 of everything taken.
func (s *source) adler() uint32 {
	s.hash()
	return s.sum.Sum32()
}

// ahead returns how many bytes are left in the stream, at most n (which fits the buffer).
func (s *source) ahead(n int) (int, error) {
	if err := s.fill(n); err != nil && err != io.EOF {
		return 0, err
	}
	return min(n, s.end-s.pos), nil
}

// take lends the next n bytes, which fit the buffer, until the next call.
func (s *source) take(n int, field string) ([]byte, error) {
	if err := s.fill(n); err != nil {
		return nil, s.fail(s.offset(), field, s.cut(err, n))
	}
	b := s.buf[s.pos : s.pos+n]
	s.pos += n
	return b, nil
}

// cut turns the end of the stream into ErrCut.
func (s *source) cut(err error, want int) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: want %d bytes, have %d", ErrCut, want, s.end-s.pos)
	}
	return err
}

func (s *source) int32(field string) (int32, error) {
	b, err := s.take(4, field)
	if err != nil {
		return 0, err
	}
	return jute.Int32(b), nil
}

func (s *source) int64(field string) (int64, error) {
	b, err := s.take(8, field)
	if err != nil {
		return 0, err
	}
	return jute.Int64(b), nil
}

// appendBytes appends n bytes to dst. It allocates no more than what the stream turns out to have, and a
// little ahead.
func (s *source) appendBytes(dst []byte, n int, field string) ([]byte, error) {
	at := s.offset()
	for n > 0 {
		if s.pos == s.end {
			if err := s.fill(1); err != nil {
				return dst, s.fail(at, field, s.cut(err, n))
			}
		}
		m := min(n, s.end-s.pos)
		dst = append(dst, s.buf[s.pos:s.pos+m]...)
		s.pos += m
		n -= m
	}
	return dst, nil
}

// length reads the length of a buffer or string: -1 is null.
func (s *source) length(field string) (int, error) {
	at := s.offset()
	n, err := s.int32(field)
	if err != nil {
		return 0, err
	}
	if n < -1 || int(n) > s.maxBytes {
		return 0, s.fail(at, field, fmt.Errorf("%w %d, limit %d", ErrLength, n, s.maxBytes))
	}
	return int(n), nil
}

// buffer reads a buffer or string into *mem, which grows as needed, and lends it: nil is null.
func (s *source) buffer(mem *[]byte, field string) ([]byte, error) {
	n, err := s.length(field)
	if err != nil || n == -1 {
		return nil, err
	}
	if *mem == nil {
		*mem = make([]byte, 0, min(n, growBytes)+64)
	}
	b, err := s.appendBytes((*mem)[:0], n, field)
	if cap(b) > cap(*mem) {
		*mem = b[:0]
	}
	return b, err
}
