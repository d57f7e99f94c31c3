package javadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"zabra.dev/zabra/engine/proto"
)

// nullSink takes everything.
type nullSink struct{ err error }

func (s nullSink) Session(proto.SessionID, int32) error { return nil }
func (s nullSink) ACL(int64, proto.RawACLs) error       { return nil }
func (s nullSink) Node(*SnapshotNode) error             { return s.err }

// A snapshot cut anywhere is refused, except where Java takes the rest for a part that is not there; and
// every flipped bit is noticed.
func TestSnapshotCutOrFlipped(t *testing.T) {
	whole := vectorFiles(t)["standalone-3.9.5/data/version-2/snapshot.20"]
	read := func(b []byte) (Trailer, error) {
		return ReadSnapshot(bytes.NewReader(b), "test", Options{}, nullSink{})
	}
	nodesEnd := len(whole) - 54
	for n := range whole {
		trailer, err := read(whole[:n])
		left := n - nodesEnd
		// The last zxid part alone has 21 bytes: a digest part cut to as many is seen by its seal.
		ok := left >= 0 && left < digestBytes || left >= 33 && left < 33+lastZxidBytes
		if ok != (err == nil) {
			t.Errorf("%d bytes behind seal 1: %v", left, err)
		}
		if ok && (trailer.HasDigest != (left >= 33) || trailer.HasLastZxid || trailer.IgnoredBytes != left%33) {
			t.Errorf("%d bytes behind seal 1: %+v", left, trailer)
		}
		if err != nil && !isDamage(err) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	longer := append(bytes.Clone(whole), 1, 2, 3)
	if trailer, err := read(longer); err != nil || !trailer.HasLastZxid || trailer.IgnoredBytes == 0 {
		t.Errorf("3 bytes more: %+v %v", trailer, err)
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		if _, err := read(b); err == nil {
			t.Errorf("flip at %d of %d was not noticed", at, len(whole))
		} else if err != nil && !isDamage(err) {
			t.Errorf("flip at %d: %v", at, err)
		}
	}
}

// The four kinds of endings are told by their length.
func TestTrailers(t *testing.T) {
	whole := vectorFiles(t)["standalone-3.9.5/data/version-2/snapshot.20"]
	var c collected
	full, err := ReadSnapshot(bytes.NewReader(whole), "test", Options{}, &c)
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range allParts {
		want := full
		want.HasDigest, want.HasLastZxid = parts.digest(), parts.lastZxid()
		b := c.write(t, want)
		got, err := ReadSnapshot(bytes.NewReader(b), "test", Options{}, nullSink{})
		if err != nil || got.HasDigest != want.HasDigest || got.HasLastZxid != want.HasLastZxid || got.HasDigest && got.Digest != want.Digest {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		wantBytes := map[Parts]int{PartsNone: 0, PartsDigest: 33, PartsZxid: 21, PartsDigestAndZxid: 54}[parts]
		if len(b) != len(whole)-54+wantBytes {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}

// Reading does not depend on how the stream comes, and its errors keep their cause.
func TestSnapshotStreams(t *testing.T) {
	whole := vectorFiles(t)["fuzzy-snapshot/data/version-2/snapshot.1c8"]
	var want, got collected
	if _, err := ReadSnapshot(bytes.NewReader(whole), "test", Options{}, &want); err != nil {
		t.Fatal(err)
	}
	for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(whole)), iotest.HalfReader(bytes.NewReader(whole)), iotest.DataErrReader(bytes.NewReader(whole))} {
		got = collected{}
		if _, err := ReadSnapshot(r, "test", Options{}, &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%d nodes, %v", len(got.nodes), err)
		}
	}
	broken := errors.New("cable pulled")
	for _, n := range []int{0, 3, 1000, len(whole) - 60, len(whole) - 5} {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))
		if _, err := ReadSnapshot(r, "test", Options{}, nullSink{}); !errors.Is(err, broken) {
			t.Errorf("stream broken at %d: %v", n, err)
		}
	}
	stop := errors.New("stop")
	if _, err := ReadSnapshot(bytes.NewReader(whole), "test", Options{}, nullSink{stop}); !errors.Is(err, stop) || !strings.Contains(err.Error(), `node ""`) {
		t.Errorf("error of the sink: %v", err)
	}
}

// A length that promises much costs no memory before its bytes have come.
func TestLengthsDoNotAllocate(t *testing.T) {
	var out bytes.Buffer
	w := NewSnapshotWriter(&out)
	if err := errors.Join(w.Sessions(0), w.ACLs(0), w.spill(true)); err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(out.Bytes(), 1<<30)
	b = append(b, "/short"...)
	huge := Options{JuteMaxBufferBytes: 1 << 30}
	n := testing.AllocsPerRun(5, func() {
		if _, err := ReadSnapshot(bytes.NewReader(b), "test", huge, nullSink{}); !errors.Is(err, ErrCut) {
			t.Fatal(err)
		}
	})
	if n > 30 {
		t.Errorf("%v allocations", n)
	}
	if _, err := ReadSnapshot(bytes.NewReader(b), "test", Options{}, nullSink{}); !errors.Is(err, ErrLength) {
		t.Errorf("length above the limit: %v", err)
	}
	res := testing.Benchmark(func(b2 *testing.B) {
		b2.ReportAllocs()
		for range b2.N {
			_, _ = ReadSnapshot(bytes.NewReader(b), "test", huge, nullSink{})
		}
	})
	if res.AllocedBytesPerOp() > 2*growBytes {
		t.Errorf("%d bytes allocated", res.AllocedBytesPerOp())
	}
}

func TestCompressedDamage(t *testing.T) {
	for _, name := range []string{"standalone-gz/data/version-2/snapshot.23.gz", "standalone-snappy/data/version-2/snapshot.23.snappy"} {
		whole := vectorFiles(t)[name]
		read := func(b []byte) error {
			r, err := Decompress(bytes.NewReader(b), CompressionOf(name))
			if err == nil {
				_, err = ReadSnapshot(r, name, Options{}, nullSink{})
			}
			return err
		}
		if err := read(whole); err != nil {
			t.Fatal(err)
		}
		plain := func(b []byte) string {
			r, err := Decompress(bytes.NewReader(b), CompressionOf(name))
			if err != nil {
				t.Fatal(err)
			}
			p, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(p)
		}
		want := plain(whole)
		for at := range whole {
			if err := read(whole[:at]); err == nil || !isDamage(err) {
				t.Errorf("%s cut to %d of %d: %v", name, at, len(whole), err)
			}
			b := bytes.Clone(whole)
			b[at] ^= 1 << (at % 8)
			if err := read(b); err == nil {
				// Some bits do not matter: times and flags in gzip's header, versions in snappy's, and
				// which of two equal places a copy comes from.
				if plain(b) != want {
					t.Errorf("%s flipped at %d was not noticed", name, at)
				}
			} else if !isDamage(err) {
				t.Errorf("%s flipped at %d: %v", name, at, err)
			}
		}
	}
}

// What Compress writes Decompress reads, across chunks and however it is cut into writes.
func TestCompressRoundTrip(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789abcdef, "), 10_000)
	for _, size := range []int{0, 1, snappyChunkBytes - 1, snappyChunkBytes, snappyChunkBytes + 1, len(in)} {
		for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionSnappy} {
			for _, step := range []int{1000, 1 << 20} {
				var out bytes.Buffer
				w := Compress(&out, c)
				for rest := in[:size]; len(rest) > 0; {
					n := min(step, len(rest))
					if _, err := w.Write(rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				r, err := Decompress(&out, c)
				if err != nil {
					t.Fatal(err)
				}
				back, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(back, in[:size]) {
					t.Fatalf("%q, %d bytes in steps of %d: %d bytes, %v", c.Extension(), size, step, len(back), err)
				}
			}
		}
	}
}
