package sim

import (
	"strings"
	"testing"
)

// TestBugs plants each known bug of other implementations, and each mistake that a driver could
// make, and shows that some seed of a range finds it. Where disks are not looked at, the bug must
// do harm that is seen from outside.
func TestBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("hunts for bugs")
	}
	tests := []struct {
		bug     string
		effects bool
		mood    FaultKind
		seeds   int64
		checks  string // that may find it
	}{
		{"EpochBeforeHistory", false, 0, 300, "epoch"},
		{"AckNewLeaderBeforeDurable", false, 0, 300, "durability"},
		{"AckBeforeDurable", false, 0, 100, "durability"},
		{"AckBeforeDurable", true, FaultStorm, 2000, "lost write, committed prefix, agreement, digest"},
		{"CommitCountsOldEpoch", false, 0, 300, "durability"},
		{"AsyncLogLostOnLeader", false, 0, 300, "durability"},
		{"AsyncLogLostOnLeader", true, FaultPower, 2000, "lost write, committed prefix, agreement, digest"},
		{"AcksOutliveLink", false, FaultBreak, 2000, "durability"},
		{"CommitWithoutQuorum", false, 0, 100, "durability"},
		{"CommitWithoutQuorum", true, FaultSplit, 300, "lost write, committed prefix, agreement, digest, one leader"},
		{"TreeReplacesHistory", false, 0, 2000, "durability, digest, agreement, panic"},
		{"SyncUnconfirmed", false, FaultIsolate, 6000, "linearizability"},
		{"KeepLogAfterSnap", false, FaultIsolate, 6000, "digest, agreement, panic, lost write, liveness"},
		{"EpochNotSynced", false, 0, 300, "liveness, epoch, one leader"},
		{"SyncOvertakesWrites", false, 0, 100, "session order"},
		{"WriteOvertakesSync", false, 0, 300, "session order"},
		{"ReconfigOldQuorumOnly", false, FaultReconfig, 2000, "durability"},
		{"ReconfigOldQuorumOnly", true, FaultReconfig, 6000, "lost write, committed prefix, agreement, digest"},
		{"ProposedConfigNotStored", false, FaultReconfig, 2000, "config"},
		{"EmptyDiskVotes", true, FaultLoseDisk, 6000, "lost write, committed prefix, agreement, digest, one leader"},
		{"NewLeaderBeforeHistory", false, 0, 300, "durability, epoch"},
		{"PendingForgotten", false, 0, 300, "protocol"},
		{"StaleVotes", false, FaultBreak, 2000, "election"},
		{"AheadPromises", false, 0, 6000, "committed prefix, durability, lost write, epoch"},
		{"TreeSurvivesCut", false, FaultIsolate, 2000, "digest, panic"},
		{"ReceivedTreeVotes", false, 0, 2000, "digest, agreement, panic, lost write"},
		{"AppendsOutliveRole", false, 0, 2000, "agreement, digest, panic"},
		{"SyncNotInWindow", false, 0, 2000, "digest, agreement"},
	}
	for _, tc := range tests {
		name := tc.bug
		if tc.effects {
			name += "/effects"
		}
		t.Run(name, func(t *testing.T) {
			o := plant(t, tc.bug)
			o.EffectsOnly, o.Mood = tc.effects, tc.mood
			failed, passed, _ := hunt(o, 1, tc.seeds, 1)
			if len(failed) == 0 {
				t.Fatalf("%d seeds do not find it", passed)
			}
			r := failed[0]
			t.Logf("seed %d, %s", r.Seed, strings.SplitN(r.Violation.Error(), "\n", 2)[0])
			if !strings.Contains(tc.checks, r.Violation.Check) {
				t.Errorf("found by %q, want one of %s", r.Violation.Check, tc.checks)
			}
		})
	}
}

// TestEachBugIsPlanted: each name changes the options that it is for.
func TestEachBugIsPlanted(t *testing.T) {
	for _, name := range bugNames() {
		if o := plant(t, name); o.Mistakes == NoMistake && o.Bugs == (Options{}).Bugs {
			t.Errorf("%s is not planted", name)
		}
	}
}

// TestShrink: what is left of a failing schedule still fails, and nothing of it can be spared.
func TestShrink(t *testing.T) {
	o := plant(t, "CommitWithoutQuorum")
	o.EffectsOnly, o.Mood = true, FaultSplit
	failed, _, _ := hunt(o, 1, 300, 1)
	if len(failed) == 0 {
		t.Fatal("no seed fails")
	}
	o.Seed = failed[0].Seed
	r := Shrink(o, failed[0])
	if r.Violation == nil || r.Violation.Check != failed[0].Violation.Check {
		t.Fatalf("shrunk to %v, from %v", r.Violation, failed[0].Violation)
	}
	for i := range r.Injected {
		o.Keep = append(append([]int{}, r.Injected[:i]...), r.Injected[i+1:]...)
		if s := Run(o); s.Violation != nil && s.Violation.Check == r.Violation.Check {
			t.Errorf("fault %d is not needed", r.Injected[i])
		}
	}
	if text := r.Report(""); !strings.Contains(text, "again: go test") {
		t.Error(text)
	}
}

// TestSameSeedSameRun: a run depends on nothing but its options.
func TestSameSeedSameRun(t *testing.T) {
	for seed := int64(1); seed <= 20; seed++ {
		var lines [2][]string
		var results [2]*Result
		for i := range lines {
			results[i] = Run(Options{Seed: seed, Trace: func(line string) { lines[i] = append(lines[i], line) }})
		}
		a, b := results[0], results[1]
		if a.Events != b.Events || a.Committed != b.Committed || a.Acked != b.Acked || a.Elapsed != b.Elapsed {
			t.Fatalf("seed %d: %+v, then %+v", seed, a, b)
		}
		for i := range lines[0] {
			if lines[0][i] != lines[1][i] {
				t.Fatalf("seed %d: %q, then %q", seed, lines[0][i], lines[1][i])
			}
		}
	}
}
