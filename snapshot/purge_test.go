package snapshot

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestPlanPurge(t *testing.T) {
	f := func(zxids []int64, keep int, want ...int64) {
		t.Helper()
		before := slices.Clone(zxids)
		if got := PlanPurge(zxids, keep); !slices.Equal(got, want) {
			t.Errorf("PlanPurge(%v, %d) = %v, want %v", zxids, keep, got, want)
		}
		if !slices.Equal(zxids, before) {
			t.Errorf("the argument was changed: %v", zxids)
		}
	}
	f(nil, 3)
	f([]int64{5}, 3)
	f([]int64{7, 5, 6}, 3)
	f([]int64{7, 5, 6, 9}, 3, 5)
	f([]int64{1 << 40, 3, 2 << 40, 9, 4}, 3, 3, 4)
	f([]int64{2, 1}, 0, 1, 2)
	f([]int64{2, 1}, -1, 1, 2)
	f([]int64{-2, 1}, 1, -2)
}

func TestLogNeededAfter(t *testing.T) {
	f := func(current int64, retained []int64, want int64) {
		t.Helper()
		if got := LogNeededAfter(current, retained); got != want {
			t.Errorf("LogNeededAfter(%d, %v) = %d, want %d", current, retained, got, want)
		}
	}
	f(9, nil, 9)
	f(9, []int64{5, 7, 9}, 5)
	f(3, []int64{5}, 3)
}

// Retained images follow the checkpoints, the same zxid again gives the newer image, and purging keeps the
// newest.
func TestRetainAndPurge(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, Options{})
	images := map[int64]model{}
	retain := func(zxid int64, m model, replace bool) {
		t.Helper()
		mustCommit(t, s, zxid, wholeImage(m), m, replace)
		for range 2 { // the second time there is nothing to do
			got, err := s.Retain()
			if err != nil || got.Zxid != zxid {
				t.Fatalf("retain: %+v %v", got, err)
			}
		}
		images[zxid] = m
	}
	retain(1, model{"a": "1"}, true)
	retain(0x1f, model{"a": "2"}, true)
	retain(0x1_00000002, model{"a": "3"}, true)
	retain(0x1_00000003, model{"a": "4"}, true)
	retain(0x1f, model{"b": "another history"}, true)
	check := func(want ...int64) {
		t.Helper()
		list, err := s.ListRetained()
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, r := range list {
			got = append(got, r.Zxid)
			im, err := s.OpenRetained(r.Zxid)
			if err != nil {
				t.Fatal(err)
			}
			wantImage(t, im, images[r.Zxid])
			if err := im.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("retained %v, want %v", got, want)
		}
	}
	check(1, 0x1f, 0x1_00000002, 0x1_00000003)
	if removed, err := s.Purge(3); err != nil || !slices.Equal(removed, []int64{1}) {
		t.Fatalf("purge: %v %v", removed, err)
	}
	check(0x1f, 0x1_00000002, 0x1_00000003)
	mustClose(t, s)
	s = mustOpen(t, fs, Options{})
	defer mustClose(t, s)
	check(0x1f, 0x1_00000002, 0x1_00000003)
	if removed, err := s.Purge(0); err != nil || len(removed) != 3 {
		t.Fatalf("purge: %v %v", removed, err)
	}
	check()
	wantImage(t, s, images[0x1f])
	if _, err := s.Retain(); err != nil {
		t.Fatal(err)
	}
	check(0x1f)
}

func TestProgress(t *testing.T) {
	p := Progress{What: "image 0x5", Unit: "records", Total: 1000, Every: 5 * time.Second}
	f := func(done int64, at time.Duration, want string) {
		t.Helper()
		got, due := p.Line(done, at)
		if got != want || due != (want != "") {
			t.Errorf("Line(%d, %v) = %q %v, want %q", done, at, got, due, want)
		}
	}
	f(0, 100*time.Second, "")
	f(100, 104*time.Second, "")
	f(250, 105*time.Second, "image 0x5: 250 of 1000 records (25%) in 5s (50/s, about 15s left)")
	f(260, 106*time.Second, "")
	f(500, 110*time.Second, "image 0x5: 500 of 1000 records (50%) in 10s (50/s, about 10s left)")
	f(2000, 120*time.Second, "image 0x5: 2000 records in 20s (100/s)")
	p = Progress{What: "log", Unit: "transactions", Every: time.Second}
	f(0, 0, "")
	f(0, time.Second, "log: 0 transactions in 1s (0/s)")
	p = Progress{What: "log", Unit: "transactions", Every: time.Second, Total: 10}
	f(0, 0, "")
	f(0, time.Second, "log: 0 of 10 transactions (0%) in 1s (0/s)")
}
