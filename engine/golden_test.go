package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/adler32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// The directories below testdata are logs and snapshots that Java servers left, and what a
// client of a Java server read of the tree afterwards.

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// javaLog returns the transactions of a log file (storage formats, section 2.1).
func javaLog(t testing.TB, b []byte) (txns [][]byte) {
	t.Helper()
	if string(b[:4]) != "ZKLG" {
		t.Fatal("no log file")
	}
	for b = b[16:]; len(b) >= 12; {
		n := int(binary.BigEndian.Uint32(b[8:]))
		if n == 0 {
			return txns
		}
		txn := b[12 : 12+n]
		if sum := binary.BigEndian.Uint64(b); sum != uint64(adler32.Checksum(txn)) || b[12+n] != 'B' {
			t.Fatalf("record %d is damaged", len(txns))
		}
		txns = append(txns, txn)
		b = b[13+n:]
	}
	return txns
}

// javaLogs returns the transactions of all logs of a directory in order.
func javaLogs(t testing.TB, dir string) (txns [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "log.*.gz"))
	if err != nil || len(names) == 0 {
		t.Fatal("no logs", err)
	}
	zxid := func(name string) uint64 {
		z, err := strconv.ParseUint(strings.Split(filepath.Base(name), ".")[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	slices.SortFunc(names, func(a, b string) int { return int(int64(zxid(a) - zxid(b))) })
	for _, name := range names {
		name = strings.TrimPrefix(strings.TrimSuffix(name, ".gz"), "testdata"+string(filepath.Separator))
		txns = append(txns, javaLog(t, readGolden(t, name))...)
	}
	return txns
}

// javaSnapshot loads a snapshot file (storage formats, section 3.1) and returns the zxid and
// digest of its digest part.
func javaSnapshot(t testing.TB, b []byte, opts Options, zxid proto.Zxid) (e *Engine, digestZxid proto.Zxid, digest uint64) {
	t.Helper()
	d := jute.NewDecoder(b, 0)
	if string(d.Bytes(4)) != "ZKSN" {
		t.Fatal("no snapshot file")
	}
	d.Bytes(12)
	builder, err := NewBuilder(opts)
	if err != nil {
		t.Fatal(err)
	}
	for n := d.Int32(); n > 0; n-- {
		builder.AddSession(d.Int64(), d.Int32())
	}
	acls := map[int64]proto.RawACLs{}
	for n := d.Int32(); n > 0; n-- {
		id := d.Int64()
		acls[id] = proto.SkipACLs(&d)
	}
	for {
		path := d.Buffer()
		if string(path) == "/" {
			break
		}
		data, acl := d.Buffer(), d.Int64()
		var st proto.StatPersisted
		st.Decode(&d)
		if err := builder.AddNode(path, data, acls[acl], &st); err != nil {
			t.Fatal(err)
		}
	}
	d.Bytes(8 + 5) // seal 1
	digestZxid = d.Int64()
	d.Int32()
	digest = uint64(d.Int64())
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	e, err = builder.Finish(zxid)
	if err != nil {
		t.Fatal(err)
	}
	return e, digestZxid, digest
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

func parseHex(t testing.TB, s string) int64 {
	t.Helper()
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}

// compareJSON compares the engine with what a client read from a Java server.
func compareJSON(t *testing.T, e *Engine, b []byte) {
	t.Helper()
	var nodes []jsonNode
	if err := json.Unmarshal(b, &nodes); err != nil {
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
		if got := string(e.AppendPath(nil, ref)); got != want.Path {
			t.Errorf("path of %s: got %s", want.Path, got)
		}
		var got proto.Stat
		e.Stat(ref, &got)
		w := want.Stat
		wantStat := proto.Stat{Czxid: parseHex(t, w.Czxid), Mzxid: parseHex(t, w.Mzxid), Ctime: w.Ctime, Mtime: w.Mtime,
			Version: w.Version, Cversion: w.Cversion, Aversion: w.Aversion, EphemeralOwner: parseHex(t, w.EphemeralOwner),
			DataLength: w.DataLength, NumChildren: w.NumChildren, Pzxid: parseHex(t, w.Pzxid)}
		if want.Path == PathConfig { // written by each server from its own configuration
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

// TestJavaLogs replays whole logs of Java servers: every digest that the transactions carry
// must be met, and the tree must be the one that clients saw.
func TestJavaLogs(t *testing.T) {
	for _, dir := range []string{"standalone", "quorum-follower", "standalone-3.9.5", "standalone-no-digest-no-closesessiontxn", "fuzzy-snapshot"} {
		t.Run(dir, func(t *testing.T) {
			e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
			digests := 0
			txns := javaLogs(t, dir)
			for _, txn := range txns {
				r, err := e.Apply(txn, nil)
				if err != nil {
					t.Fatal(err)
				}
				if r.DigestMismatch {
					t.Fatalf("zxid %#x: digest %#x, Java has %#x", r.Header.Zxid, e.Digest(), r.TxnDigest)
				}
				if r.Header.Type != proto.OpError && r.Header.Type != proto.OpMulti && r.Err != proto.OK {
					t.Errorf("zxid %#x: %v", r.Header.Zxid, r.Err)
				}
				if r.HasDigest {
					digests++
				}
				e.check(t)
			}
			compareJSON(t, e, readGolden(t, dir+"/tree.json"))
			wantDigests := dir != "standalone-no-digest-no-closesessiontxn"
			if (digests > len(txns)/2) != wantDigests {
				t.Errorf("%d of %d transactions had a digest", digests, len(txns))
			}
		})
	}
}

// TestJavaSnapshots loads snapshots of Java servers and replays what their logs have after
// them. One snapshot is fuzzy: it has effects of transactions that are replayed over it.
func TestJavaSnapshots(t *testing.T) {
	f := func(dir, hexZxid string, fuzzy bool) {
		t.Helper()
		zxid := parseHex(t, hexZxid)
		e, digestZxid, digest := javaSnapshot(t, readGolden(t, dir+"/snapshot."+hexZxid), Options{Digest: true, ExtendedTypes: true}, zxid)
		defer e.Close()
		e.check(t)
		if digestZxid == zxid && e.Digest() != digest {
			t.Fatalf("%s: digest %#x, Java has %#x", dir, e.Digest(), digest)
		}
		met := digestZxid == zxid
		replayed, ignored := 0, 0
		for _, txn := range javaLogs(t, dir) {
			if jute.Int64(txn[12:]) <= zxid {
				continue
			}
			r, err := e.Apply(txn, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Header.Zxid >= digestZxid && r.DigestMismatch {
				t.Fatalf("%s: zxid %#x: digest %#x, Java has %#x", dir, r.Header.Zxid, e.Digest(), r.TxnDigest)
			}
			if r.Header.Zxid == digestZxid {
				if met = true; e.Digest() != digest {
					t.Fatalf("%s: digest at %#x is %#x, Java has %#x", dir, digestZxid, e.Digest(), digest)
				}
			}
			if r.Header.Type != proto.OpError && r.Err != proto.OK {
				ignored++
			}
			e.check(t)
			replayed++
		}
		if replayed == 0 || fuzzy != (ignored > 0) || !met {
			t.Errorf("%s: %d replayed, %d without effect, digest part of %#x met: %v", dir, replayed, ignored, digestZxid, met)
		}
		compareJSON(t, e, readGolden(t, dir+"/tree.json"))
	}
	f("fuzzy-snapshot", "1c8", true)
	f("quorum-follower", "100000066", false)
	f("standalone-3.9.5", "20", false)
}
