package javadata

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/gzip"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// testdata/storage.tar.gz holds data directories as Java servers left them (SET/data), what a client read
// of them (SET/tree.json), and the text of each file made by an independent decoder (SET/decoded);
// recovery/CASE/data are damaged copies, and recovery/expected.json what Java does with each.
var vectors = sync.OnceValues(func() (map[string][]byte, error) {
	b, err := os.ReadFile(filepath.Join("testdata", "storage.tar.gz"))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[strings.TrimPrefix(h.Name, "storage/")], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
})

func vectorFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := vectors()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func vectorNames(t testing.TB, match func(string) bool) (names []string) {
	t.Helper()
	for name := range vectorFiles(t) {
		if match(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		t.Fatal("no such files")
	}
	return names
}

// dataDir copies SET/data to a file system in memory; the dataDir there is "data".
func dataDir(t testing.TB, set string) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data/version-2", 0o755); err != nil {
		t.Fatal(err)
	}
	found := false
	for name, b := range vectorFiles(t) {
		if rest, ok := strings.CutPrefix(name, set+"/"); ok && strings.HasPrefix(rest, "data/") {
			put(t, fs, rest, b)
			found = true
		}
	}
	if !found {
		t.Fatalf("no set %s", set)
	}
	return fs
}

func put(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, writeCategory)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(slices.Clone(b))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

var withDigest = LoadOptions{Engine: engine.Options{Digest: true, ExtendedTypes: true}}

func mustLoad(t testing.TB, fs vfs.FS, opts LoadOptions) (*engine.Engine, *Report) {
	t.Helper()
	e, r, err := Load(fs, "data", "", opts)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, r
}

type jsonNode struct {
	Path string
	Data *string `json:"data_hex"`
	Stat struct {
		Czxid, Mzxid, Pzxid, EphemeralOwner string
		Ctime, Mtime                        int64
		Version, Cversion, Aversion         int32
		DataLength, NumChildren             int32
	}
	ACL []struct {
		Perms      int32
		Scheme, ID string
	}
	Children []string
}

func hexZxid(t testing.TB, s string) int64 {
	t.Helper()
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}

// compareTree compares the engine with what a client read from a Java server.
func compareTree(t *testing.T, e *engine.Engine, set string) {
	t.Helper()
	var nodes []jsonNode
	if err := json.Unmarshal(vectorFiles(t)[set+"/tree.json"], &nodes); err != nil {
		t.Fatal(err)
	}
	if e.NodeCount() != len(nodes) {
		t.Errorf("%d nodes, want %d", e.NodeCount(), len(nodes))
	}
	for _, want := range nodes {
		ref := e.Lookup([]byte(want.Path))
		if ref == 0 {
			t.Errorf("%s is missing", want.Path)
			continue
		}
		var got proto.Stat
		e.Stat(ref, &got)
		w := want.Stat
		wantStat := proto.Stat{Czxid: hexZxid(t, w.Czxid), Mzxid: hexZxid(t, w.Mzxid), Ctime: w.Ctime, Mtime: w.Mtime,
			Version: w.Version, Cversion: w.Cversion, Aversion: w.Aversion, EphemeralOwner: hexZxid(t, w.EphemeralOwner),
			DataLength: w.DataLength, NumChildren: w.NumChildren, Pzxid: hexZxid(t, w.Pzxid)}
		if want.Path == engine.PathConfig { // each server writes it from its own configuration
			got.Mtime, got.Mzxid, got.Version, got.DataLength = wantStat.Mtime, wantStat.Mzxid, wantStat.Version, wantStat.DataLength
		} else if data := e.Data(ref); (data == nil) != (want.Data == nil) || data != nil && hex.EncodeToString(data) != *want.Data {
			t.Errorf("data of %s: got %q", want.Path, data)
		}
		if got != wantStat {
			t.Errorf("stat of %s:\n got %+v\nwant %+v", want.Path, got, wantStat)
		}
		var acl []proto.ACL
		for _, a := range want.ACL {
			acl = append(acl, proto.ACL(a))
		}
		if raw := proto.AppendACLs(nil, acl); !bytes.Equal(raw, e.ACL(ref)) {
			t.Errorf("ACL of %s: got %v, want %v", want.Path, e.ACL(ref).Decode(), acl)
		}
		children := []string{}
		for c := e.FirstChild(ref); c != 0; c = e.NextSibling(c) {
			children = append(children, string(e.Name(c)))
		}
		slices.Sort(children)
		slices.Sort(want.Children)
		if !slices.Equal(children, want.Children) {
			t.Errorf("children of %s: got %v, want %v", want.Path, children, want.Children)
		}
	}
}

// A record of everything that an engine holds, to compare two of them.
type state struct {
	zxid     proto.Zxid
	digest   uint64
	sessions map[proto.SessionID]int32
	nodes    map[string]nodeState
}

type nodeState struct {
	stat proto.StatPersisted
	data string
	null bool
	acl  string // decoded, or "built in"
}

func stateOf(e *engine.Engine) state {
	s := state{e.LastZxid(), e.Digest(), map[proto.SessionID]int32{}, map[string]nodeState{}}
	e.EachSession(func(id proto.SessionID, timeoutMs int32) { s.sessions[id] = timeoutMs })
	_ = walk(e, func(path []byte, ref engine.NodeRef) error {
		var n engine.Node
		e.Node(ref, &n)
		data := e.Data(ref)
		acl := "built in"
		if n.ACLID != 0 {
			acl = string(e.ACL(ref))
		}
		s.nodes[string(path)] = nodeState{n.StatPersisted, string(data), data == nil, acl}
		return nil
	})
	return s
}
