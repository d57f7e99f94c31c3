package javadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
	"testing"
	"testing/iotest"
)

func logBytes(records ...[]byte) []byte {
	b := append([]byte(logMagic), 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, r := range records {
		b = append(b, logRecord(r)...)
	}
	return b
}

func logRecord(txn []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(adler32.Checksum(txn)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(txn)))
	return append(append(b, txn...), recordEnd)
}

// txnBytes is a transaction of 36 bytes: an error with code -101.
func txnBytes(zxid int64) []byte {
	b := make([]byte, 36)
	binary.BigEndian.PutUint64(b[12:], uint64(zxid))
	binary.BigEndian.PutUint32(b[28:], 0xffffffff)
	binary.BigEndian.PutUint32(b[32:], uint32(0x100000000-101))
	return b
}

func readLog(b []byte) (zxids []int64, end LogEnd, at int64, err error) {
	l, err := NewLogReader(bytes.NewReader(b), "log", Options{})
	if err != nil {
		return nil, EndNone, 0, err
	}
	for {
		rec, err := l.Next()
		if err != nil {
			end, at = l.End()
			if err == io.EOF {
				err = nil
			}
			return zxids, end, at, err
		}
		zxids = append(zxids, rec.Zxid)
	}
}

// The table of section 2.4, row by row.
func TestLogEnds(t *testing.T) {
	two := logBytes(txnBytes(1), txnBytes(2))
	third := logRecord(txnBytes(3))
	f := func(name string, b []byte, records int, end LogEnd, wantErr error) {
		t.Helper()
		zxids, got, at, err := readLog(b)
		if len(zxids) != records || got != end || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %d records, %v, %v; want %d, %v, %v", name, len(zxids), got, err, records, end, wantErr)
		}
		if end != EndNone && records == 2 && at != int64(len(two)) {
			t.Errorf("%s: ended at %d, want %d", name, at, len(two))
		}
	}
	with := func(change func(b []byte)) []byte {
		b := append(bytes.Clone(two), third...)
		change(b[len(two):])
		return append(b, logRecord(txnBytes(4))...)
	}
	f("right behind a record", two, 2, EndOfFile, nil)
	for n := 1; n < len(third); n++ {
		f("cut in a record", append(bytes.Clone(two), third[:n]...), 2, EndCut, nil)
	}
	f("padding", append(bytes.Clone(two), make([]byte, 5000)...), 2, EndPadding, nil)
	f("length 0 with a checksum", with(func(b []byte) { copy(b[8:12], []byte{0, 0, 0, 0}) }), 2, EndPadding, nil)
	f("length null", with(func(b []byte) { copy(b[8:12], []byte{255, 255, 255, 255}) }), 2, EndPadding, nil)
	f("negative length", with(func(b []byte) { copy(b[8:12], []byte{255, 255, 255, 254}) }), 2, EndNone, ErrLength)
	f("absurd length", with(func(b []byte) { copy(b[8:12], []byte{127, 0, 0, 0}) }), 2, EndNone, ErrLength)
	f("another end byte", with(func(b []byte) { b[len(third)-1] = 'C' }), 2, EndNoMark, nil)
	f("another end byte and checksum", with(func(b []byte) { b[len(third)-1], b[7] = 'C', b[7]+1 }), 2, EndNoMark, nil)
	f("checksum", with(func(b []byte) { b[7]++ }), 2, EndNone, ErrChecksum)
	f("checksum beyond 32 bit", with(func(b []byte) { b[0]++ }), 2, EndNone, ErrChecksum)
	f("record without header", append(bytes.Clone(two), logRecord([]byte("short"))...), 2, EndNone, ErrFormat)
	f("empty file", nil, 0, EndNone, ErrCut)
	f("half a header", two[:15], 0, EndNone, ErrCut)
	f("only a header", two[:16], 0, EndOfFile, nil)
	f("another magic", append([]byte("ZKSN"), two[4:]...), 0, EndNone, ErrFormat)
	f("another version", append(append([]byte(nil), two[:4]...), append([]byte{9, 9, 9, 9}, two[8:]...)...), 2, EndOfFile, nil)
}

// A wrong checksum does not keep the records behind it from being read.
func TestLogAfterChecksum(t *testing.T) {
	b := logBytes(txnBytes(1), txnBytes(2), txnBytes(3))
	b[len(b)-2*len(logRecord(txnBytes(1)))+20]++
	l, err := NewLogReader(iotest.OneByteReader(bytes.NewReader(b)), "log", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var good, bad int
	for {
		rec, err := l.Next()
		if err == io.EOF {
			break
		}
		if rec == nil {
			t.Fatal(err)
		}
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good != 2 || bad != 1 {
		t.Fatalf("%d good, %d bad", good, bad)
	}
	if _, err := l.Next(); err != io.EOF {
		t.Fatalf("after the end: %v", err)
	}
}

// Reading allocates nothing per record.
func TestLogReadAllocs(t *testing.T) {
	var records [][]byte
	for i := range int64(5000) {
		records = append(records, txnBytes(i))
	}
	b := logBytes(records...)
	n := testing.AllocsPerRun(5, func() {
		if zxids, _, _, err := readLogCount(b); zxids != 5000 || err != nil {
			t.Fatal(zxids, err)
		}
	})
	// The buffer, the hash, the reader, and the growth of the record's memory.
	if n > 12 {
		t.Errorf("%v allocations for 5000 records", n)
	}
}

func readLogCount(b []byte) (n int, end LogEnd, at int64, err error) {
	l, err := NewLogReader(bytes.NewReader(b), "log", Options{})
	for err == nil {
		if _, err = l.Next(); err == nil {
			n++
		}
	}
	end, at = l.End()
	if err == io.EOF {
		err = nil
	}
	return n, end, at, err
}
