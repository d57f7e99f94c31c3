package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"zabra.dev/zabra/wal/walfs"
)

// FuzzSegment takes its input for the records of a segment, whose header is good and
// whose seal, if it has one, names some end. Whatever it is, opening and reading end
// without panic and either tell of corruption or give records in order that every
// further start gives again.
func FuzzSegment(f *testing.F) {
	for seed := range uint64(4) {
		data, last := fuzzSubject(seed)
		f.Add(seed, true, []byte{}, data)
		f.Add(seed, false, []byte{}, data[:len(data)/2])
		f.Add(seed, false, last, data)
		torn := slices.Clone(data)
		copy(torn[100:], make([]byte, 100))
		f.Add(seed, false, []byte{}, torn)
		f.Add(seed, true, last, torn)
	}
	f.Fuzz(func(t *testing.T, salt uint64, fresh bool, seal, data []byte) {
		disk := walfs.NewMem()
		if err := disk.MkdirAll(testDir); err != nil {
			t.Fatal(err)
		}
		file, err := disk.Create(filepath.Join(testDir, segmentName(1)))
		if err != nil {
			t.Fatal(err)
		}
		h := segmentHeader{seq: 1, salt: salt, fresh: fresh}
		page := h.encode()
		if len(seal) == sealBytes {
			// A right checksum is beyond a fuzzer's luck.
			end, _ := h.decodeSeal(seal)
			copy(page[sealOffset:], h.encodeSeal(end))
		}
		if _, err := file.WriteAt(append(page, data...), 0); err != nil {
			t.Fatal(err)
		}
		rep, verr := Verify(disk, testDir)
		if verr != nil && !errors.Is(verr, ErrCorrupt) {
			t.Fatalf("verify: %v", verr)
		}
		if err := Dump(disk, testDir, new(bytes.Buffer)); (err == nil) != (verr == nil) {
			t.Fatalf("dump: %v, verify: %v", err, verr)
		}
		w, err := Open(disk, testDir, Options{Manual: true})
		if (err == nil) != (verr == nil) || (err != nil && !errors.Is(err, ErrCorrupt)) {
			t.Fatalf("open: %v, verify: %v", err, verr)
		}
		if err != nil {
			return
		}
		_, got, err := replayAll(w)
		if err != nil || int64(len(got)) != rep.Records {
			t.Fatalf("%d records, verify found %d: %v", len(got), rep.Records, err)
		}
		if !slices.IsSortedFunc(got, func(a, b entry) int { return int(max(-1, min(1, a.zxid-b.zxid))) }) {
			t.Fatalf("not in order: %v", got)
		}
		disk = disk.CrashClone(walfs.Crash{})
		if w, err = Open(disk, testDir, Options{Manual: true}); err != nil {
			t.Fatalf("open again: %v", err)
		}
		if r := w.Recovery(); !r.Sealed || r.TornBytes != 0 {
			t.Fatalf("open again: %+v", r)
		}
		_, again, err := replayAll(w)
		if err != nil || !slices.EqualFunc(got, again, func(a, b entry) bool { return a.zxid == b.zxid && bytes.Equal(a.payload, b.payload) }) {
			t.Fatalf("open again: %v, then %v, %v", got, again, err)
		}
	})
}

// fuzzSubject gives the records of a segment with a few groups, and its seal.
func fuzzSubject(salt uint64) (data, seal []byte) {
	rng := rand.New(rand.NewPCG(salt, 9))
	disk := walfs.NewMem()
	w, err := Open(disk, testDir, Options{Manual: true, SegmentBytes: MinSegmentBytes, Salt: func() uint64 { return salt }})
	if err != nil {
		panic(err)
	}
	zxid := int64(0)
	for range 4 {
		b := &Batch{}
		for range 1 + rng.IntN(3) {
			zxid = nextZxid(rng, zxid)
			b.AddRecord(zxid, fill(1+rng.IntN(60), byte(zxid)))
		}
		if err := w.Append(b); err != nil {
			panic(err)
		}
		w.Step()
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	file, err := disk.Open(filepath.Join(testDir, segmentName(1)))
	if err != nil {
		panic(err)
	}
	all := make([]byte, MinSegmentBytes)
	file.ReadAt(all, 0)
	return all[dataStart : w.out.off+40], all[sealOffset : sealOffset+sealBytes]
}

// FuzzSegmentHeader decodes arbitrary headers.
func FuzzSegmentHeader(f *testing.F) {
	h := segmentHeader{seq: 7, salt: 3, fresh: true, prev: position{seq: 6, end: 8192, zxid: 5, sum: 9}}
	f.Add(h.encode()[:segmentHeaderBytes], uint64(7))
	f.Add([]byte(segmentMagic), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seq uint64) {
		h, err := decodeSegmentHeader(data, seq)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		want := slices.Clone(data[:segmentHeaderBytes])
		seed := h.seed
		if got := h.encode(); h.seed == seed && !bytes.Equal(got[:segmentHeaderBytes], want) {
			t.Fatalf("decoded %+v, encodes differently", h)
		}
	})
}
