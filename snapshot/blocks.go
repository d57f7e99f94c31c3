package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

// Blocks carry an image's records over a network:
//
//	blocks  = block ... end
//	block   = [length of what follows u32 > 0][xxhash64 u64][s2 of the records]
//	records = n x ([bytes of key uvarint][key][bytes of value uvarint][value])
//	end     = [0 u32]
//
// The hash is that of the compressed records, xor that of the block's number (u64, from 0 on), so that no block
// can be lost, come twice or be damaged unnoticed. Numbers of a fixed size are big-endian.

// sentBlockBytes is the size at which a block is written; it has whole records.
const sentBlockBytes = 256 << 10

const blockHashBytes = 8

// A BlockWriter writes records as blocks.
type BlockWriter struct {
	w          io.Writer
	records    []byte
	compressed []byte
	n          uint64 // blocks written
}

// NewBlockWriter returns a BlockWriter to w, which is given a block at a time. The first has number n: 0 unless this goes
// on where an earlier BlockWriter's blocks got to.
func NewBlockWriter(w io.Writer, n uint64) *BlockWriter {
	return &BlockWriter{w: w, n: n, records: make([]byte, 0, sentBlockBytes+sentBlockBytes/4)}
}

// Blocks returns the number that the next block will have.
func (b *BlockWriter) Blocks() uint64 { return b.n }

// Put adds a record and borrows it until return. After an error, of the io.Writer, the BlockWriter is of no use.
func (b *BlockWriter) Put(key, value []byte) error {
	b.records = appendField(appendField(b.records, key), value)
	if len(b.records) < sentBlockBytes {
		return nil
	}
	return b.flush()
}

// Close writes what is left and the end. It does not close the io.Writer.
func (b *BlockWriter) Close() error {
	if len(b.records) > 0 {
		if err := b.flush(); err != nil {
			return err
		}
	}
	_, err := b.w.Write(make([]byte, 4))
	return err
}

func (b *BlockWriter) flush() error {
	const head = 4 + blockHashBytes
	most := s2.MaxEncodedLen(len(b.records))
	if most < 0 || most > math.MaxUint32-blockHashBytes {
		return fmt.Errorf("snapshot: a block with a record of %d bytes", len(b.records))
	}
	if cap(b.compressed) < head+most {
		b.compressed = make([]byte, head+most)
	}
	out := b.compressed[:head+most]
	out = out[:head+len(s2.Encode(out[head:], b.records))]
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	binary.BigEndian.PutUint64(out[4:], blockHash(b.n, out[head:]))
	b.n++
	b.records = b.records[:0]
	_, err := b.w.Write(out)
	return err
}

// blockHash is of block n with the compressed records.
func blockHash(n uint64, compressed []byte) uint64 {
	return xxhash.Sum64(compressed) ^ xxhash.Sum64(binary.BigEndian.AppendUint64(nil, n))
}

func appendField(dst, field []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(field))), field...)
}

// ReadBlocks reads blocks of at most blockMaxBytes, the first of which has number *next, to their end and not further, and
// calls f with each record, which is lent until f returns; an error of f ends it. Blocks that are damaged, or not whole,
// are ErrCorrupt. After each block whose records f has been given, all of them, *next is the number of the one behind it;
// no record of a block comes to f before the whole block has come and its checksum is right. Memory follows what really
// comes.
func ReadBlocks(r io.Reader, blockMaxBytes int, next *uint64, f func(key, value []byte) error) error {
	var block bytes.Buffer
	var records []byte
	for ; ; *next++ {
		n := *next
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("snapshot: block %d: %w", n, cutOff(err))
		}
		length := int64(binary.BigEndian.Uint32(head[:]))
		if length == 0 {
			return nil
		}
		if length <= blockHashBytes || length > int64(blockMaxBytes) {
			return fmt.Errorf("%w: block %d of %d bytes, limit %d", ErrCorrupt, n, length, blockMaxBytes)
		}
		block.Reset()
		if _, err := io.CopyN(&block, r, length); err != nil {
			return fmt.Errorf("snapshot: block %d: %w", n, cutOff(err))
		}
		b := block.Bytes()
		if binary.BigEndian.Uint64(b) != blockHash(n, b[blockHashBytes:]) {
			return fmt.Errorf("%w: block %d has another checksum", ErrCorrupt, n)
		}
		size, err := s2.DecodedLen(b[blockHashBytes:])
		if err != nil || size > blockMaxBytes {
			return fmt.Errorf("%w: block %d holds %d bytes, limit %d", ErrCorrupt, n, size, blockMaxBytes)
		}
		if cap(records) < size {
			records = make([]byte, size)
		}
		if records, err = s2.Decode(records[:cap(records)], b[blockHashBytes:]); err != nil {
			return fmt.Errorf("%w: block %d: %w", ErrCorrupt, n, err)
		}
		if err := eachRecord(records, f); err != nil {
			return fmt.Errorf("snapshot: block %d: %w", n, err)
		}
	}
}

// cutOff makes an end in the middle of something an error.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func eachRecord(b []byte, f func(key, value []byte) error) error {
	for len(b) > 0 {
		var key, value []byte
		var ok bool
		if key, b, ok = cutField(b); !ok {
			return fmt.Errorf("%w: key of a record", ErrCorrupt)
		}
		if value, b, ok = cutField(b); !ok {
			return fmt.Errorf("%w: value of a record", ErrCorrupt)
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func cutField(b []byte) (field, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
