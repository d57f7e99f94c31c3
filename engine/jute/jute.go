// Package jute is ZooKeeper's wire encoding: big-endian integers, one-byte booleans, and
// buffers, strings and vectors that a 32-bit length precedes, where -1 is null.
//
// Encoding appends to a caller's slice and never fails. Decoding walks a borrowed slice with
// a Decoder that remembers its first error, so that a record is read field by field and
// checked once. Decoded buffers and strings alias the input: whoever decodes a frame lends
// its bytes on and must copy what outlives the frame. A null buffer decodes to a nil slice,
// an empty one to a non-nil slice of length zero; the two are different values everywhere
// in ZooKeeper.
//
// The package does no I/O and keeps no state. Source: client protocol, section 1.2.
package jute

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort reports that the input ended inside a field.
var ErrShort = errors.New("jute: input ends inside a field")

// ErrLength reports a buffer or string whose length is below -1 or above the limit of the Decoder.
var ErrLength = errors.New("jute: unreasonable length")

// AppendInt32 appends v.
func AppendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendInt64 appends v.
func AppendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBuffer appends b with its length; nil becomes the null buffer. Borrows b until return.
func AppendBuffer(dst, b []byte) []byte {
	if b == nil {
		return AppendInt32(dst, -1)
	}
	dst = AppendInt32(dst, int32(len(b)))
	return append(dst, b...)
}

// AppendString appends s with its length. A Go string is never null; for a string that may be
// null hold its bytes and use AppendBuffer, which has the same layout.
func AppendString(dst []byte, s string) []byte {
	dst = AppendInt32(dst, int32(len(s)))
	return append(dst, s...)
}

// PutInt32 overwrites the four bytes at the start of b.
func PutInt32(b []byte, v int32) { binary.BigEndian.PutUint32(b, uint32(v)) }

// PutInt64 overwrites the eight bytes at the start of b.
func PutInt64(b []byte, v int64) { binary.BigEndian.PutUint64(b, uint64(v)) }

// Int32 reads the four bytes at the start of b.
func Int32(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) }

// Int64 reads the eight bytes at the start of b.
func Int64(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// A Decoder reads fields from a borrowed slice. After the first error every further read
// returns the zero value and Err tells that first error; Offset then stands at the field
// that failed. The zero Decoder is at the end of an empty input.
type Decoder struct {
	buf       []byte
	off       int
	maxLength int
	err       error
}

// NewDecoder returns a Decoder over b, which it borrows for as long as it or anything it
// returned is in use. maxLengthBytes bounds every buffer and string (jute.maxbuffer plus
// its extra size); a value of 0 or less leaves only the input's own length as the bound.
func NewDecoder(b []byte, maxLengthBytes int) Decoder {
	return Decoder{buf: b, maxLength: maxLengthBytes}
}

// Err returns the first error, or nil. It matches ErrShort or ErrLength.
func (d *Decoder) Err() error { return d.err }

// Offset returns the number of bytes consumed.
func (d *Decoder) Offset() int { return d.off }

// Rest lends the bytes not consumed.
func (d *Decoder) Rest() []byte { return d.buf[d.off:] }

func (d *Decoder) fail(kind error, want int) {
	if d.err == nil {
		d.err = fmt.Errorf("%w (offset %d, want %d, have %d)", kind, d.off, want, len(d.buf)-d.off)
	}
}

// Int32 reads an int.
func (d *Decoder) Int32() int32 {
	if d.err != nil || len(d.buf)-d.off < 4 {
		d.fail(ErrShort, 4)
		return 0
	}
	v := Int32(d.buf[d.off:])
	d.off += 4
	return v
}

// Int64 reads a long.
func (d *Decoder) Int64() int64 {
	if d.err != nil || len(d.buf)-d.off < 8 {
		d.fail(ErrShort, 8)
		return 0
	}
	v := Int64(d.buf[d.off:])
	d.off += 8
	return v
}

// Bool reads one byte; any non-zero value is true.
func (d *Decoder) Bool() bool {
	if d.err != nil || len(d.buf)-d.off < 1 {
		d.fail(ErrShort, 1)
		return false
	}
	v := d.buf[d.off] != 0
	d.off++
	return v
}

// Buffer reads a buffer or a string and lends its bytes; nil is null.
func (d *Decoder) Buffer() []byte {
	start := d.off
	n := int(d.Int32())
	if d.err != nil || n == -1 {
		return nil
	}
	if n < -1 || (d.maxLength > 0 && n > d.maxLength) {
		d.off = start
		d.fail(ErrLength, n)
		return nil
	}
	if len(d.buf)-d.off < n {
		d.off = start
		d.fail(ErrShort, n)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

// VectorLen reads the element count of a vector: -1 is null, anything below -1 counts as
// empty as it does in Java. The count is not checked against the input: a caller that
// allocates by it must bound it by Rest first.
func (d *Decoder) VectorLen() int {
	n := int(d.Int32())
	if n < -1 {
		return 0
	}
	return n
}

// Bytes reads n raw bytes without a length in front and lends them.
func (d *Decoder) Bytes(n int) []byte {
	if d.err != nil || n < 0 || len(d.buf)-d.off < n {
		d.fail(ErrShort, n)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}
