package zab

import (
	"slices"
	"testing"

	"zabra.dev/zabra/quorum"
)

// TestLeaderTells: stage, learners and waiting syncs are told as they are.
func TestLeaderTells(t *testing.T) {
	r := newLeaderRig(t, testConfig(3, 1), 3, nil)
	stage := func(want Stage) {
		t.Helper()
		if got := r.l.Stage(); got != want {
			t.Errorf("stage %s, want %s", got, want)
		}
	}
	learners := func(want ...LearnerStatus) {
		t.Helper()
		if got := r.l.AppendLearners(nil); !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	r.start()
	stage(StageDiscovery)
	for _, id := range []LinkID{2, 4, 7} {
		r.open(id)
	}
	learners()
	r.info(2, followerInfo, 1)
	stage(StageDiscovery)
	learners(LearnerStatus{Link: 2, ID: 2, Voter: true})
	r.ackEpoch(2, 1, zx(1, 3))
	stage(StageSynchronization)
	r.ack(2, zx(2, 0))
	stage(StageBroadcast)
	r.join(4, observerInfo, zx(1, 3))
	r.join(7, followerInfo, zx(1, 3)) // a follower that is no member
	r.propose(2, nil)
	r.durable(zx(2, 2))
	r.ack(2, zx(2, 1))
	got := r.l.AppendLearners(nil)
	for i := range got {
		got[i].Sent = 0
	}
	want := []LearnerStatus{{Link: 2, ID: 2, Voter: true, InStep: true, Acked: zx(2, 1)}, {Link: 4, ID: 4, Observer: true, InStep: true}, {Link: 7, ID: 7, InStep: true}}
	for i := range want {
		if i < len(got) && !want[i].Voter {
			got[i].Acked = 0
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := r.l.PendingSyncs(); n != 0 {
		t.Errorf("%d syncs", n)
	}
	r.step(Input{Kind: InSync, Token: 7})
	r.step(Input{Kind: InSync, Token: 8})
	if n := r.l.PendingSyncs(); n != 2 {
		t.Errorf("%d syncs", n)
	}
	r.step(Input{Kind: InResign, Err: ErrResigned})
	stage(StageElection)
}

func TestLearnerTells(t *testing.T) {
	r := newLearnerRig(t, 3, nil)
	var stages []Stage
	note := func() {
		if s := r.l.Stage(); len(stages) == 0 || stages[len(stages)-1] != s {
			stages = append(stages, s)
		}
	}
	note()
	r.hello()
	note()
	r.packet(quorum.PacketDiff, zx(1, 3), nil)
	note()
	r = newLearnerRig(t, 3, nil)
	r.serve()
	note()
	r.step(Input{Kind: InLinkClosed, Link: 1})
	note()
	if want := []Stage{StageDiscovery, StageSynchronization, StageBroadcast, StageElection}; !slices.Equal(stages, want) {
		t.Errorf("%v", stages)
	}
	if got := StageSynchronization.String() + StageDiscovery.String() + StageElection.String() + StageBroadcast.String(); got != "synchronizationdiscoveryelectionbroadcast" {
		t.Error(got)
	}
}
