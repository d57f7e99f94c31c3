package javadata

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestDetect(t *testing.T) {
	d, err := Detect(dataDir(t, "quorum-follower"), "data", "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range slices.Concat(d.Snapshots, d.Logs) {
		names = append(names, fmt.Sprintf("%s=%x", strings.TrimPrefix(f.Name, "data/version-2/"), f.Zxid))
	}
	const want = "snapshot.0=0 snapshot.10000001f=10000001f snapshot.100000044=100000044 snapshot.100000066=100000066 " +
		"log.100000001=100000001 log.100000020=100000020 log.100000046=100000046 log.200000002=200000002"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s", got)
	}
	if d.AcceptedEpoch != 2 || d.CurrentEpoch != 2 || d.HasCurrentEpochTmp || d.HasInitialize || d.Empty() {
		t.Errorf("%+v", d)
	}
	fs := dataDir(t, "quorum-follower")
	put(t, fs, "data/initialize", nil)
	put(t, fs, "data/version-2/currentEpoch.tmp", []byte("3"))
	put(t, fs, "data/version-2/acceptedEpoch", []byte("17\nignored"))
	if d, err = Detect(fs, "data", "data"); err != nil || d.AcceptedEpoch != 17 || !d.HasCurrentEpochTmp || !d.HasInitialize {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range []string{"", "x", "-1", "99999999999999999999", strings.Repeat("1", 100)} {
		put(t, fs, "data/version-2/acceptedEpoch", []byte(bad))
		if _, err := Detect(fs, "data", ""); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "data/version-2/acceptedEpoch") {
			t.Errorf("epoch %q: %v", bad, err)
		}
	}
}

func TestNames(t *testing.T) {
	f := func(name, prefix string, want int64, wantOK bool) {
		t.Helper()
		if z, ok := zxidOf(name, prefix); ok != wantOK || ok && z != want {
			t.Errorf("%s: %#x %v", name, z, ok)
		}
	}
	f("log.1f", "log", 0x1f, true)
	f("log.1F", "log", 0x1f, true)
	f("snapshot.100000002.gz", "snapshot", 0x1_00000002, true)
	f("snapshot.5.tmp", "snapshot", 5, true) // what a crash leaves matches, too
	f("log.", "log", 0, false)
	f("log", "log", 0, false)
	f("log.txt", "log", 0, false)
	f("log.-5", "log", 0, false)
	f("logs.5", "log", 0, false)
	f("snapshot.5", "log", 0, false)
	f("log.8000000000000000", "log", 0, false)
	for zxid, want := range map[int64]string{0: "snapshot.0.gz", 0x2_0000abcd: "snapshot.20000abcd.gz"} {
		if got := SnapshotName(zxid, CompressionGzip); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if LogName(0x1f) != "log.1f" || SnapshotName(1, CompressionSnappy) != "snapshot.1.snappy" || SnapshotName(1, CompressionNone) != "snapshot.1" {
		t.Error("names")
	}
	for method, want := range map[string]Compression{"": CompressionNone, "gz": CompressionGzip, "snappy": CompressionSnappy, "CHECKED": CompressionNone} {
		if got := ParseCompression(method); got != want {
			t.Errorf("%q: %v", method, got)
		}
	}
}

// An epoch file is replaced by rename, so that a crash leaves the old or the new number.
func TestWriteEpoch(t *testing.T) {
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("v", 0o755); err != nil {
		t.Fatal(err)
	}
	if root, err := fs.OpenDir("/"); err != nil || errors.Join(root.Sync(), root.Close()) != nil {
		t.Fatal(err)
	}
	for _, epoch := range []int64{0, 1, 1 << 31} {
		if err := WriteEpoch(fs, "v", CurrentEpochFile, epoch); err != nil {
			t.Fatal(err)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		if got, err := ReadEpoch(crashed, "v", CurrentEpochFile); err != nil || got != epoch {
			t.Errorf("%d %v, want %d", got, err, epoch)
		}
		if text := string(get(t, fs, "v/currentEpoch")); text != fmt.Sprint(epoch) {
			t.Errorf("file holds %q", text)
		}
	}
	if names, err := fs.List("v"); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
}

// Purging keeps the newest sound snapshots and every log that they need (section 7; the cases were tried
// with a Java server).
func TestPlanPurge(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data/version-2", 0o755); err != nil {
		t.Fatal(err)
	}
	sound := vectorFiles(t)["standalone/data/version-2/snapshot.0"]
	for _, name := range []string{"0", "64", "c8", "12c", "190"} {
		put(t, fs, "data/version-2/snapshot."+name, sound)
	}
	put(t, fs, "data/version-2/snapshot.1f4", sound[:20]) // cut: does not count, stays
	for _, name := range []string{"1", "32", "65", "96", "c9", "12d", "191"} {
		put(t, fs, "data/version-2/log."+name, []byte("x"))
	}
	for _, name := range []string{"log.txt", "acceptedEpoch", "snapshot.bak", "other"} {
		put(t, fs, "data/version-2/"+name, nil)
	}
	f := func(keep int, want string) {
		t.Helper()
		d, err := Detect(fs, "data", "")
		if err == nil {
			_ = d
		}
		remove, err := PlanPurge(fs, d, keep)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range remove {
			names = append(names, strings.TrimPrefix(f.Name, "data/version-2/"))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("keep %d: %s, want %s", keep, got, want)
		}
	}
	if err := fs.Remove("data/version-2/acceptedEpoch"); err != nil {
		t.Fatal(err)
	}
	f(3, "snapshot.0 snapshot.64 log.1 log.32 log.65")
	f(2, "snapshot.0 snapshot.64 log.1 log.32 log.65")
	f(4, "snapshot.0 log.1")
	f(5, "")
	f(9, "")
}
