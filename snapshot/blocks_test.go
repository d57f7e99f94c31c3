package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

const testBlockMaxBytes = 1 << 20

// sentRecords writes records as blocks and gives both.
func sentRecords(t testing.TB, rng *rand.Rand, count, maxValueBytes int) (blocks []byte, records [][2][]byte) {
	t.Helper()
	var buf bytes.Buffer
	w := NewBlockWriter(&buf, 0)
	for i := range count {
		value := make([]byte, rng.Intn(maxValueBytes+1))
		rng.Read(value[:len(value)/2])
		r := [2][]byte{fmt.Appendf(nil, "key%06d", i), value}
		records = append(records, r)
		if err := w.Put(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), records
}

func TestBlocks(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for _, c := range []struct{ count, maxValueBytes int }{{0, 0}, {1, 0}, {1, 10}, {1000, 300}, {20, 600 << 10}, {3000, 1000}} {
		blocks, records := sentRecords(t, rng, c.count, c.maxValueBytes)
		r := bytes.NewReader(append(bytes.Clone(blocks), "behind"...))
		i := 0
		err := ReadBlocks(iotest.HalfReader(r), testBlockMaxBytes, new(uint64), func(key, value []byte) error {
			if !bytes.Equal(key, records[i][0]) || !bytes.Equal(value, records[i][1]) {
				t.Fatalf("record %d differs", i)
			}
			i++
			return nil
		})
		if err != nil || i != len(records) {
			t.Fatalf("%d of %d records, %v", i, len(records), err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "behind" {
			t.Errorf("%q was left", rest)
		}
	}
}

// TestBlocksDamaged flips each bit and cuts at each place: nothing gets through, and what comes before an error
// are records that were sent.
func TestBlocksDamaged(t *testing.T) {
	blocks, records := sentRecords(t, rand.New(rand.NewSource(2)), 12, 100)
	// Three blocks, to have boundaries.
	one := blocks[:len(blocks)-4]
	blocks = nil
	for n := range uint64(3) {
		b := bytes.Clone(one)
		binary.BigEndian.PutUint64(b[4:], blockHash(n, b[12:]))
		blocks = append(blocks, b...)
	}
	blocks = append(blocks, 0, 0, 0, 0)
	read := func(b []byte) (int, error) {
		n := 0
		err := ReadBlocks(bytes.NewReader(b), testBlockMaxBytes, new(uint64), func(key, value []byte) error {
			if want := records[n%len(records)]; !bytes.Equal(key, want[0]) || !bytes.Equal(value, want[1]) {
				t.Fatalf("record %d is another one", n)
			}
			n++
			return nil
		})
		return n, err
	}
	if n, err := read(blocks); n != 3*len(records) || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	for i := range blocks {
		if _, err := read(blocks[:i]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		for bit := range 8 {
			b := bytes.Clone(blocks)
			b[i] ^= 1 << bit
			if _, err := read(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
	twice := append(bytes.Clone(one), one...)
	if _, err := read(twice); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a block that comes twice: %v", err)
	}
}

// TestBlocksLimits: neither a length nor what a block claims to hold costs memory before it is checked.
func TestBlocksLimits(t *testing.T) {
	never := func(_, _ []byte) error { t.Error("a record"); return nil }
	for _, length := range []uint32{1, blockHashBytes, testBlockMaxBytes + 1, 1 << 31, 1<<32 - 1} {
		b := binary.BigEndian.AppendUint32(nil, length)
		if err := ReadBlocks(bytes.NewReader(append(b, make([]byte, 64)...)), testBlockMaxBytes, new(uint64), never); !errors.Is(err, ErrCorrupt) {
			t.Errorf("length %d: %v", length, err)
		}
	}
	huge := s2.Encode(nil, make([]byte, testBlockMaxBytes+1))
	b := binary.BigEndian.AppendUint32(nil, uint32(blockHashBytes+len(huge)))
	b = append(binary.BigEndian.AppendUint64(b, blockHash(0, huge)), huge...)
	if err := ReadBlocks(bytes.NewReader(b), testBlockMaxBytes, new(uint64), never); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a block of too much: %v", err)
	}
}

func TestBlocksErrors(t *testing.T) {
	want := errors.New("enough")
	blocks, _ := sentRecords(t, rand.New(rand.NewSource(3)), 3, 10)
	if err := ReadBlocks(bytes.NewReader(blocks), testBlockMaxBytes, new(uint64), func(_, _ []byte) error { return want }); !errors.Is(err, want) {
		t.Errorf("the caller's error: %v", err)
	}
	w := NewBlockWriter(failingWriter{want}, 0)
	if err := w.Put(nil, make([]byte, sentBlockBytes)); !errors.Is(err, want) {
		t.Errorf("Put: %v", err)
	}
	if err := NewBlockWriter(failingWriter{want}, 0).Close(); !errors.Is(err, want) {
		t.Errorf("Close: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// FuzzReadBlocks mends the checksums of what it is given, to get behind them.
func FuzzReadBlocks(f *testing.F) {
	blocks, _ := sentRecords(f, rand.New(rand.NewSource(4)), 20, 50)
	f.Add(blocks, true)
	f.Add(blocks[:len(blocks)/2], false)
	f.Add([]byte{0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend {
			b = bytes.Clone(b)
			for rest, n := b, uint64(0); len(rest) > 12; n++ {
				end := 4 + int64(binary.BigEndian.Uint32(rest))
				if end <= 12 || end > int64(len(rest)) {
					break
				}
				binary.BigEndian.PutUint64(rest[4:], xxhash.Sum64(rest[12:end])^xxhash.Sum64(binary.BigEndian.AppendUint64(nil, n)))
				rest = rest[end:]
			}
		}
		bytesGiven := 0
		_ = ReadBlocks(bytes.NewReader(b), testBlockMaxBytes, new(uint64), func(key, value []byte) error {
			bytesGiven += len(key) + len(value)
			if bytesGiven > testBlockMaxBytes*(1+len(b)/12) {
				t.Fatal("more than all blocks can hold")
			}
			return nil
		})
	})
}
