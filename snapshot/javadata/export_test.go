package javadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

var allParts = map[string]Parts{"none": PartsNone, "digest": PartsDigest, "both": PartsDigestAndZxid, "zxid": PartsZxid}

// What is exported and loaded again is the same state, with all parts and methods.
func TestExportAndLoad(t *testing.T) {
	for _, set := range []string{"standalone", "quorum-follower", "fuzzy-snapshot"} {
		e, _ := mustLoad(t, dataDir(t, set), withDigest)
		want := stateOf(e)
		for name, parts := range allParts {
			for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionSnappy} {
				t.Run(fmt.Sprintf("%s/%s/%s", set, name, c.Extension()), func(t *testing.T) {
					fs := vfs.NewMem()
					file, err := ExportFile(e, fs, "data/version-2", ExportOptions{Compression: c, Parts: parts})
					if err != nil {
						t.Fatal(err)
					}
					if names, err := fs.List("data/version-2"); err != nil || len(names) != 1 || !strings.HasSuffix(file, names[0]) {
						t.Fatalf("%v %v", names, err)
					}
					back, r := mustLoad(t, fs, withDigest)
					compareTree(t, back, set)
					if got := stateOf(back); !reflect.DeepEqual(got, want) {
						t.Fatalf("got %+v\nwant %+v", got, want)
					}
					tr := r.Trailer
					if tr.HasDigest != parts.digest() || tr.HasLastZxid != parts.lastZxid() || tr.HasLastZxid && tr.LastZxid != want.zxid {
						t.Fatalf("trailer %+v", tr)
					}
					if parts.digest() && (r.DigestsMatched != 1 || tr.Digest != want.digest || tr.DigestZxid != want.zxid) {
						t.Fatalf("trailer %+v, %d digests matched", tr, r.DigestsMatched)
					}
				})
			}
		}
	}
}

// An empty engine gives the snapshot.0 that Java writes, byte for byte, but for the order of siblings and
// the ids of lists; the sizes are equal.
func TestExportEmpty(t *testing.T) {
	e, err := engine.New(engine.Options{Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got := exportBytes(t, e, ExportOptions{Parts: PartsDigest})
	want := vectorFiles(t)["standalone/data/version-2/snapshot.0"]
	if len(got) != len(want) {
		t.Fatalf("%d bytes, Java writes %d:\n% x\n% x", len(got), len(want), got, want)
	}
	if !bytes.Equal(sortedNodes(t, got), sortedNodes(t, want)) {
		t.Fatalf("got:\n% x\nJava:\n% x", sortedNodes(t, got), sortedNodes(t, want))
	}
}

// sortedNodes writes a snapshot again with its nodes in order of their paths.
func sortedNodes(t *testing.T, b []byte) []byte {
	t.Helper()
	var c collected
	trailer, err := ReadSnapshot(bytes.NewReader(b), "test", Options{}, &c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		for j := i; j > 0 && string(c.nodes[j].Path) < string(c.nodes[j-1].Path); j-- {
			c.nodes[j], c.nodes[j-1] = c.nodes[j-1], c.nodes[j]
		}
	}
	return c.write(t, trailer)
}

// Every snapshot of every set, read and written again, is the same bytes.
func TestRewriteIsIdentical(t *testing.T) {
	names := vectorNames(t, func(n string) bool {
		return strings.Contains(n, "/version-2/snapshot.") && !strings.HasPrefix(n, "recovery/")
	})
	for _, name := range names {
		r, err := Decompress(bytes.NewReader(vectorFiles(t)[name]), CompressionOf(name))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if again := rewriteSnapshot(t, plain, func(*SnapshotNode) {}); !bytes.Equal(again, plain) {
			t.Errorf("%s: not the same bytes", name)
		}
	}
}

func TestWriterSequence(t *testing.T) {
	node := SnapshotNode{Path: []byte{}}
	for name, f := range map[string]func(w *SnapshotWriter) error{
		"ACLs first":       func(w *SnapshotWriter) error { return w.ACLs(0) },
		"session too many": func(w *SnapshotWriter) error { return errors.Join(w.Sessions(0), w.Session(1, 1)) },
		"session missing":  func(w *SnapshotWriter) error { return errors.Join(w.Sessions(1), w.ACLs(0)) },
		"list missing": func(w *SnapshotWriter) error {
			return errors.Join(w.Sessions(0), w.ACLs(1), w.Node(&node))
		},
		"negative count": func(w *SnapshotWriter) error { return w.Sessions(-1) },
		"no nodes":       func(w *SnapshotWriter) error { return errors.Join(w.Sessions(0), w.ACLs(0), w.Finish(Trailer{})) },
		"root as slash": func(w *SnapshotWriter) error {
			return errors.Join(w.Sessions(0), w.ACLs(0), w.Node(&SnapshotNode{Path: []byte("/")}))
		},
		"node after the end": func(w *SnapshotWriter) error {
			return errors.Join(w.Sessions(0), w.ACLs(0), w.Node(&node), w.Finish(Trailer{}), w.Node(&node))
		},
	} {
		w := NewSnapshotWriter(io.Discard)
		if err := f(w); !errors.Is(err, ErrSequence) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Finish(Trailer{}); !errors.Is(err, ErrSequence) {
			t.Errorf("%s: the error is not kept: %v", name, err)
		}
	}
}

// failingWriter fails once n bytes are written.
type failingWriter struct{ n int }

var errFull = errors.New("no space left")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestExportReportsWriteErrors(t *testing.T) {
	e, _ := mustLoad(t, dataDir(t, "fuzzy-snapshot"), withDigest)
	for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionSnappy} {
		size := len(exportBytes(t, e, ExportOptions{Compression: c}))
		for n := 0; n < size; n += 1 + size/9 {
			if err := Export(e, &failingWriter{n}, ExportOptions{Compression: c}); !errors.Is(err, errFull) {
				t.Errorf("%q, %d bytes of %d: %v", c.Extension(), n, size, err)
			}
		}
	}
}

// Random trees survive the way out and back, deep ones and names of all bytes too.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		b, err := engine.NewBuilder(withDigest.Engine)
		if err != nil {
			t.Fatal(err)
		}
		paths := []string{""}
		stat := func() *proto.StatPersisted {
			return &proto.StatPersisted{Czxid: rnd.Int64(), Mzxid: rnd.Int64(), Ctime: rnd.Int64(), Mtime: rnd.Int64(),
				Version: rnd.Int32(), Cversion: rnd.Int32(), Aversion: rnd.Int32(), Pzxid: rnd.Int64()}
		}
		for i := range rnd.IntN(10) {
			b.AddSession(rnd.Int64()-1<<62, int32(i))
		}
		if err := b.AddNode(nil, []byte("root"), nil, stat()); err != nil {
			t.Fatal(err)
		}
		for i := range rnd.IntN(400) {
			path := fmt.Sprintf("%s/%c%d", paths[rnd.IntN(len(paths))], 'a'+rune(rnd.IntN(20000)), i)
			if rnd.IntN(2) == 0 {
				paths = append(paths, path)
			}
			st := stat()
			st.EphemeralOwner = []int64{0, 0, 0, rnd.Int64N(1 << 55), proto.OwnerContainer, proto.OwnerTTLMask | 5000}[rnd.IntN(6)]
			var data []byte
			if rnd.IntN(5) > 0 {
				data = make([]byte, rnd.IntN(300))
				for i := range data {
					data[i] = byte(rnd.Uint32())
				}
			}
			acl := proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: int32(rnd.IntN(32)), Scheme: "digest", ID: fmt.Sprint(rnd.IntN(5))}}))
			if rnd.IntN(3) == 0 {
				acl = nil
			}
			if err := b.AddNode([]byte(path), data, acl, st); err != nil {
				t.Fatal(err)
			}
		}
		zxid := rnd.Int64()
		e, err := b.Finish(zxid)
		if err != nil {
			t.Fatal(err)
		}
		plain := exportBytes(t, e, ExportOptions{Parts: PartsDigestAndZxid})
		back, trailer, err := LoadStream(bytes.NewReader(plain), "stream", zxid, withDigest)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := stateOf(back), stateOf(e); !reflect.DeepEqual(got, want) || trailer.Digest != want.digest {
			t.Fatalf("seed %d: another state", seed)
		}
		if err := errors.Join(e.Close(), back.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
