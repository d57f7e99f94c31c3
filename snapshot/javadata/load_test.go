package javadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
)

// Every data set gives the tree that clients of a Java server saw, with every digest met.
func TestLoadDataSets(t *testing.T) {
	for _, set := range []struct {
		name     string
		snapshot string
		txns     int64
		parts    [3]int // seals, has digest, has last zxid
		lastZxid int64
	}{
		{"standalone", "snapshot.0", 0x23, [3]int{2, 1, 0}, 0x23},
		{"standalone-gz", "snapshot.23.gz", 1, [3]int{2, 1, 0}, 0x24},
		{"standalone-snappy", "snapshot.23.snappy", 1, [3]int{2, 1, 0}, 0x24},
		{"standalone-no-digest-no-closesessiontxn", "snapshot.0", 0x23, [3]int{1, 0, 0}, 0x23},
		{"standalone-3.9.5", "snapshot.20", 1, [3]int{3, 1, 1}, 0x21},
		{"quorum-follower", "snapshot.100000066", 4, [3]int{2, 1, 0}, 0x200000004},
		{"fuzzy-snapshot", "snapshot.1c8", 0x373 - 0x1c8, [3]int{2, 1, 0}, 0x373},
	} {
		t.Run(set.name, func(t *testing.T) {
			e, r := mustLoad(t, dataDir(t, set.name), withDigest)
			compareTree(t, e, set.name)
			if r.Snapshot != "data/version-2/"+set.snapshot || r.Txns != set.txns || r.LastZxid != set.lastZxid || e.LastZxid() != set.lastZxid {
				t.Errorf("snapshot %s, %d transactions to %#x (engine %#x)", r.Snapshot, r.Txns, r.LastZxid, e.LastZxid())
			}
			b := func(v bool) int { return map[bool]int{true: 1}[v] }
			if tr := r.Trailer; [3]int{tr.Seals, b(tr.HasDigest), b(tr.HasLastZxid)} != set.parts || tr.IgnoredBytes != 0 {
				t.Errorf("trailer %+v", tr)
			}
			if r.DigestsMismatched != 0 || (r.DigestsMatched == 0) != strings.Contains(set.name, "no-digest") {
				t.Errorf("%d digests matched, %d did not", r.DigestsMatched, r.DigestsMismatched)
			}
			if len(r.Skipped) > 0 || len(r.Holes) > 0 || r.OutOfOrder > 0 || len(r.UnknownACLs) > 0 {
				t.Errorf("report: %+v", r)
			}
			for _, l := range r.Logs {
				if l.End != EndPadding || l.Records == 0 {
					t.Errorf("log: %+v", l)
				}
			}
		})
	}
}

// Each snapshot of each set with the log behind it leads to the same tree, however old it is.
func TestLoadFromEachSnapshot(t *testing.T) {
	for _, set := range []string{"quorum-follower", "fuzzy-snapshot", "standalone-gz", "standalone-snappy", "standalone-3.9.5"} {
		d, err := Detect(dataDir(t, set), "data", "")
		if err != nil {
			t.Fatal(err)
		}
		for keep := range d.Snapshots {
			fs := dataDir(t, set)
			for _, f := range d.Snapshots[keep+1:] {
				if err := fs.Remove(f.Name); err != nil {
					t.Fatal(err)
				}
			}
			e, r := mustLoad(t, fs, withDigest)
			compareTree(t, e, set)
			if r.Snapshot != d.Snapshots[keep].Name || r.DigestsMismatched > 0 {
				t.Errorf("%s: %s loaded, %d digests did not match", set, r.Snapshot, r.DigestsMismatched)
			}
		}
	}
}

// TestRecoveryCases does with damaged directories what Java does, row by row of expected.json, but where we
// are stricter on purpose.
func TestRecoveryCases(t *testing.T) {
	var rows []struct {
		Case       string
		BasedOn    string `json:"based_on"`
		Java380    string `json:"java_3_8_0"`
		JavaMaster string `json:"java_master"`
		Error      string
	}
	if err := json.Unmarshal(vectorFiles(t)["recovery/expected.json"], &rows); err != nil || len(rows) < 14 {
		t.Fatal(len(rows), err)
	}
	wantErr := map[string]error{
		"log-last-record-bad-crc":          ErrChecksum,
		"log-middle-record-bad-crc":        ErrChecksum,
		"log-bad-magic-newest-file":        ErrFormat,
		"snapshot-missing-but-log-present": ErrSnapshotMissing,
		"q-all-snapshots-cut":              ErrSnapshotMissing,
		"q-middle-log-missing":             ErrHole, // Java starts, with transactions missing
	}
	check := func(t *testing.T, name, java, basedOn string, opts LoadOptions) {
		e, r := mustLoad(t, dataDir(t, "recovery/"+name), opts)
		// Java counts the root twice.
		if got := fmt.Sprintf("starts, zxid %#x nodes %d", e.LastZxid(), e.NodeCount()+1); got != java {
			t.Errorf("%s, Java %s", got, java)
		}
		if basedOn == "quorum-follower" && !opts.AllowDamage {
			compareTree(t, e, basedOn)
			if len(r.Skipped) != 1 && name != "q-snapshot-newest-without-digest-seal" {
				t.Errorf("skipped: %v", r.Skipped)
			}
		}
	}
	for _, row := range rows {
		t.Run(row.Case, func(t *testing.T) {
			fails := wantErr[row.Case]
			javaFails := strings.HasPrefix(row.JavaMaster, "exits")
			if fails == nil {
				if javaFails {
					t.Fatal("Java does not start, we do")
				}
				check(t, row.Case, row.JavaMaster, row.BasedOn, withDigest)
				return
			}
			_, _, err := Load(dataDir(t, "recovery/"+row.Case), "data", "", withDigest)
			if !errors.Is(err, fails) {
				t.Fatalf("got %v, want %v", err, fails)
			}
			if !javaFails {
				lenient := withDigest
				lenient.AllowDamage = true
				check(t, row.Case, row.JavaMaster, row.BasedOn, lenient)
			}
		})
	}
}

// The errors of damaged logs name the file, the offset and the field.
func TestErrorsNameThePlace(t *testing.T) {
	_, _, err := Load(dataDir(t, "recovery/log-middle-record-bad-crc"), "data", "", withDigest)
	var fe *FileError
	if !errors.As(err, &fe) || fe.File != "data/version-2/log.1" || fe.Offset == 0 || fe.Field != "record" {
		t.Fatalf("%v (%+v)", err, fe)
	}
}

func TestTrustEmpty(t *testing.T) {
	fs := dataDir(t, "standalone")
	if err := fs.Remove("data/version-2/snapshot.0"); err != nil {
		t.Fatal(err)
	}
	opts := withDigest
	opts.TrustEmpty = true
	e, r := mustLoad(t, fs, opts)
	compareTree(t, e, "standalone")
	if r.Snapshot != "" {
		t.Fatalf("snapshot %s", r.Snapshot)
	}
	// Nothing at all is an empty tree.
	empty := vfs.NewMem()
	e, r = mustLoad(t, empty, withDigest)
	if e.LastZxid() != 0 || e.NodeCount() != 4 || r.Txns != 0 {
		t.Fatalf("zxid %#x, %d nodes", e.LastZxid(), e.NodeCount())
	}
	d, err := Detect(empty, "data", "logs")
	if err != nil || !d.Empty() || d.AcceptedEpoch != -1 || d.LogDir != "logs/version-2" {
		t.Fatalf("%+v %v", d, err)
	}
}

// A snapshot that another server had sent is lost, and replay from an older one would jump over what it
// covered: a hole, or only the digests, tell. Here the log lost a record in the middle without a hole.
func TestDigestAfterFallback(t *testing.T) {
	fs := dataDir(t, "standalone-3.9.5")
	newest := "data/version-2/snapshot.20"
	b := get(t, fs, newest)
	b[len(b)/2] ^= 1
	put(t, fs, newest, b)
	if _, r := mustLoad(t, fs, withDigest); len(r.Skipped) != 1 || !errors.Is(r.Skipped[0].Err, ErrChecksum) {
		t.Fatalf("skipped: %v", r.Skipped)
	}
	// Replay with another data for one node: an abandoned transaction at the zxid of a committed one.
	log := get(t, fs, "data/version-2/log.1")
	put(t, fs, "data/version-2/log.1", replaceInRecord(t, log, []byte("alpha3"), []byte("ALPHA3")))
	_, r, err := Load(fs, "data", "", withDigest)
	if !errors.Is(err, ErrDigest) || r.FirstMismatch != 8 {
		t.Fatalf("%v, first at %#x", err, r.FirstMismatch)
	}
	lenient := withDigest
	lenient.AllowDamage = true
	if _, r := mustLoad(t, fs, lenient); r.DigestsMismatched == 0 {
		t.Fatal("mismatch is not reported")
	}
	// Without a fallback it is only reported, as in Java.
	if err := fs.Remove(newest); err != nil {
		t.Fatal(err)
	}
	if _, r := mustLoad(t, fs, withDigest); r.DigestsMismatched == 0 {
		t.Fatal("mismatch is not reported")
	}
}

// A node whose list is not in the table of a fuzzy snapshot gets it from the log, or is closed and reported.
func TestUnknownACL(t *testing.T) {
	build := func(withLog bool) *vfs.MemFS {
		fs := dataDir(t, "standalone-gz")
		e, _ := mustLoad(t, fs, withDigest)
		snap := exportBytes(t, e, ExportOptions{})
		snap = rewriteSnapshot(t, snap, func(n *SnapshotNode) {
			if string(n.Path) == "/acl1" {
				n.ACL = 999
			}
		})
		fs = vfs.NewMem()
		if err := fs.MkdirAll("data/version-2", 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, fs, "data/version-2/snapshot.1", snap)
		if withLog {
			put(t, fs, "data/version-2/log.1", vectorFiles(t)["standalone/data/version-2/log.1"])
		}
		return fs
	}
	e, r := mustLoad(t, build(false), withDigest)
	ref := e.Lookup([]byte("/acl1"))
	if !reflect.DeepEqual(r.UnknownACLs, []string{"/acl1"}) || string(e.ACL(ref)) != string(closedACL) {
		t.Fatalf("%v, ACL %v", r.UnknownACLs, e.ACL(ref).Decode())
	}
	e, r = mustLoad(t, build(true), LoadOptions{Engine: engine.Options{ExtendedTypes: true}})
	ref = e.Lookup([]byte("/acl1"))
	if len(r.UnknownACLs) > 0 || e.ACL(ref).Decode()[0].Scheme != "digest" {
		t.Fatalf("%v, ACL %v", r.UnknownACLs, e.ACL(ref).Decode())
	}
}
