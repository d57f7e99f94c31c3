package javadata

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const packetSnap = 15

// snapStream returns what a leader sent a learner: the zxid of its SNAP packet and everything behind that
// packet. The files are recorded connections of Java servers.
func snapStream(t *testing.T, name string) (zxid proto.Zxid, stream []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if b, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	d := jute.NewDecoder(b, 0)
	for d.Err() == nil {
		typ, zxid := d.Int32(), d.Int64()
		d.Buffer()
		if n := d.Int32(); n != -1 {
			t.Fatalf("packet with %d identities", n)
		}
		if typ == packetSnap {
			return zxid, d.Rest()
		}
	}
	t.Fatal("no SNAP packet")
	return 0, nil
}

// The tree of a Java leader is read to its end and not further, and written again it is the same bytes.
func TestLeadersTree(t *testing.T) {
	signature := []byte("\x00\x00\x00\x0aBenWasHere")
	for _, name := range []string{"join-snap.s2c.bin", "join-snap-under-load.s2c.bin.gz"} {
		zxid, stream := snapStream(t, name)
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			var c collected
			rest, err := ReadTree(r, name, Options{}, &c)
			if err != nil {
				t.Fatal(err)
			}
			behind, err := io.ReadAll(io.MultiReader(bytes.NewReader(rest), r))
			if err != nil || !bytes.HasPrefix(behind, signature) {
				t.Fatalf("behind the tree: %.40x, %v", behind, err)
			}
			var again bytes.Buffer
			w := NewTreeWriter(&again)
			if got := c.writeTo(t, w, &again, Trailer{}); !bytes.Equal(got, stream[:len(stream)-len(behind)]) {
				t.Fatalf("%s: written otherwise", name)
			}
		}
		e, rest, err := LoadTree(bytes.NewReader(stream), name, zxid, withDigest)
		if err != nil || !bytes.HasPrefix(rest, signature) {
			t.Fatal(err)
		}
		var tree bytes.Buffer
		if err := ExportTree(e, &tree); err != nil {
			t.Fatal(err)
		}
		back, rest, err := LoadTree(&tree, name, zxid, withDigest)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%d bytes left, %v", len(rest), err)
		}
		if got, want := stateOf(back), stateOf(e); !reflect.DeepEqual(got, want) || len(want.nodes) < 10 {
			t.Fatalf("another state: %d nodes, want %d", len(got.nodes), len(want.nodes))
		}
		if err := errors.Join(e.Close(), back.Close()); err != nil {
			t.Fatal(err)
		}
		// A tree that breaks off leaves nothing behind.
		for _, n := range []int{0, 5, 100, len(stream) / 4} {
			if _, _, err := LoadTree(bytes.NewReader(stream[:n]), name, zxid, withDigest); !errors.Is(err, ErrCut) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

func TestZxidInStream(t *testing.T) {
	e, _ := mustLoad(t, dataDir(t, "standalone"), withDigest)
	for name, parts := range allParts {
		plain := exportBytes(t, e, ExportOptions{Parts: parts})
		back, _, err := LoadStream(bytes.NewReader(plain), "backup", ZxidInStream, withDigest)
		if !parts.lastZxid() {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if back.LastZxid() != e.LastZxid() {
			t.Errorf("%s: zxid %#x", name, back.LastZxid())
		}
		if err := back.Close(); err != nil {
			t.Fatal(err)
		}
	}
	junk := append([]byte("ZKSN"), make([]byte, 12)...)
	if _, _, err := LoadStream(bytes.NewReader(junk), "backup", 1, withDigest); !errors.Is(err, ErrCut) {
		t.Errorf("%v", err)
	}
	// Nodes that form no tree.
	orphan := collected{nodes: []SnapshotNode{{Path: []byte{}, ACL: -1}, {Path: []byte("/a/b"), ACL: -1}}}
	if _, _, err := LoadStream(bytes.NewReader(orphan.write(t, Trailer{})), "backup", 1, withDigest); !errors.Is(err, engine.ErrSnapshot) || !isDamage(err) {
		t.Errorf("%v", err)
	}
}
