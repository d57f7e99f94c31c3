package zab

import (
	"errors"
	"slices"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

const (
	followerInfo = quorum.PacketFollowerInfo
	observerInfo = quorum.PacketObserverInfo
)

func TestLeaderAlone(t *testing.T) {
	r := newLeaderRig(t, testConfig(1, 0), 3, nil)
	expect(t, r.start(), "accepted 2", "current 2", "commit 100000003", "serve 2")
	expect(t, r.propose(2, nil))
	expect(t, r.step(Input{Kind: InSync, Token: 7}))
	expect(t, r.durable(zx(2, 1)), "commit 200000001")
	expect(t, r.durable(zx(2, 2)), "commit 200000002", "synced 7")
	expect(t, r.tick(10*time.Second))
}

// TestLeaderEpoch is about getEpochToPropose and waitForEpochAck (section 4.4).
func TestLeaderEpoch(t *testing.T) {
	config := testConfig(5, 1)
	t.Run("highest accepted epoch of all", func(t *testing.T) {
		r := newLeaderRig(t, config, 3, nil)
		expect(t, r.start())
		r.open(2)
		r.open(3)
		r.open(6)
		r.open(9)
		expect(t, r.info(6, observerInfo, 8)) // an observer's counts as a number, not as a vote
		expect(t, r.info(9, followerInfo, 7)) // so does that of a server that is no member
		expect(t, r.info(2, followerInfo, 1))
		expect(t, r.info(3, followerInfo, 5), "accepted 9",
			"2<LEADERINFO 900000000", "3<LEADERINFO 900000000", "6<LEADERINFO 900000000", "9<LEADERINFO 900000000")
		r.open(4)
		expect(t, r.info(4, followerInfo, 1), "4<LEADERINFO 900000000")
		r.open(5)
		expect(t, r.info(5, followerInfo, 20), "warn: learner has accepted a newer epoch", "5<LEADERINFO 900000000")

		// Those who have promised before do not count, nor observers, nor -1.
		expect(t, r.ackEpoch(2, -1, zx(1, 3)))
		expect(t, r.ackEpoch(6, 1, zx(1, 3)))
		expect(t, r.ackEpoch(9, 1, zx(1, 3)))
		expect(t, r.ackEpoch(3, 1, -1))
		expect(t, r.ackEpoch(4, 1, zx(1, 3)))
		expect(t, r.ackEpoch(5, 1, zx(1, 2)), "current 9",
			"2<DIFF 100000003", "2<NEWLEADER 900000000",
			"3<snap",
			"6<DIFF 100000003", "6<NEWLEADER 900000000",
			"9<DIFF 100000003", "9<NEWLEADER 900000000",
			"4<DIFF 100000003", "4<NEWLEADER 900000000",
			"5<DIFF 100000003", "5<history 100000003..100000003", "5<NEWLEADER 900000000")
	})
	t.Run("ahead of the leader", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		r.open(2)
		r.info(2, followerInfo, 1)
		expect(t, r.ackEpoch(2, 2, zx(1, 1)), "close 2: learner is ahead of the leader")
		r.open(3)
		r.info(3, followerInfo, 1)
		expect(t, r.ackEpoch(3, 1, zx(1, 4)), "close 3: learner is ahead of the leader")
		r.open(2)
		r.info(2, followerInfo, 1)
		expect(t, r.ackEpoch(2, 0, zx(5, 1)), "current 2", "2<snap") // an older epoch, whatever its zxids
	})
	t.Run("late and ahead", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		r.follower(2)
		r.open(3)
		r.info(3, followerInfo, 1)
		expect(t, r.ackEpoch(3, 1, zx(1, 6)), "3<TRUNC 100000003", "3<NEWLEADER 200000000") // not looked at any more
	})
	t.Run("history that ends with the start of an epoch", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) {
			o.LastZxid, o.DurableZxid, o.AcceptedEpoch, o.CurrentEpoch = zx(2, 0), zx(2, 0), 2, 2
		})
		r.start()
		r.open(2)
		r.info(2, followerInfo, 1)
		expect(t, r.ackEpoch(2, 1, zx(1, 2)), "current 3",
			"2<DIFF 100000003", "2<history 100000003..100000003", "2<NEWLEADER 300000000")
	})
	t.Run("own history first", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) { o.DurableZxid = zx(1, 1) })
		r.start()
		r.open(2)
		r.info(2, followerInfo, 1)
		expect(t, r.ackEpoch(2, 1, zx(1, 3)))
		expect(t, r.durable(zx(1, 2)))
		expect(t, r.durable(zx(1, 3)), "current 2", "2<DIFF 100000003", "2<NEWLEADER 200000000")
	})
	t.Run("each phase within initLimit", func(t *testing.T) {
		init := testTiming.init()
		r := newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		expect(t, r.tick(init-1))
		expect(t, r.tick(1), "give up: no quorum of accepted epochs within 1s")

		r = newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		r.tick(init / 2)
		r.open(2)
		r.info(2, followerInfo, 1)
		expect(t, r.tick(init-1))
		expect(t, r.tick(1), "give up: no quorum of promises within 1s")

		r = newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		r.open(2)
		r.info(2, followerInfo, 1)
		r.tick(init / 2)
		r.ackEpoch(2, 1, zx(1, 3))
		expect(t, r.tick(init-1))
		expect(t, r.tick(1), "give up: no quorum of ACKs of NEWLEADER within 1s")
		expect(t, r.tick(init))
	})
	t.Run("a server that left has not acknowledged NEWLEADER", func(t *testing.T) {
		r := newLeaderRig(t, config, 3, nil)
		r.start()
		for _, id := range []LinkID{2, 3} {
			r.open(id)
			r.info(id, followerInfo, 1)
		}
		r.ackEpoch(2, 1, zx(1, 3))
		r.ackEpoch(3, 1, zx(1, 3))
		expect(t, r.ack(2, zx(2, 0)))
		r.step(Input{Kind: InLinkClosed, Link: 2})
		expect(t, r.ack(3, zx(2, 0)))
		expect(t, r.follower(4), "4<LEADERINFO 200000000", "4<DIFF 100000003", "4<NEWLEADER 200000000",
			"commit 100000003", "serve 2", "3<UPTODATE -1", "4<UPTODATE -1")
	})
}

// TestLeaderDeviations goes through section 4.14: what a learner does, what the leader does.
func TestLeaderDeviations(t *testing.T) {
	init, sync := testTiming.init(), testTiming.sync()
	// serving has leader 1 and follower 2 of 3 serve; follower 2 is kept alive by answers.
	serving := func(t *testing.T) *leaderRig {
		r := newLeaderRig(t, testConfig(5, 1), 3, nil)
		r.start()
		for _, id := range []LinkID{2, 3} {
			r.open(id)
			r.info(id, followerInfo, 1)
		}
		for _, id := range []LinkID{2, 3} {
			r.ackEpoch(id, 1, zx(1, 3))
		}
		r.ack(2, zx(2, 0))
		expect(t, r.ack(3, zx(2, 0)), "commit 100000003", "serve 2", "2<UPTODATE -1", "3<UPTODATE -1")
		return r
	}
	// pass lets time pass while 2 and 3, and those named, answer PINGs.
	pass := func(r *leaderRig, d time.Duration, also ...LinkID) []string {
		var s []string
		for end := r.now + d; r.now < end; {
			s = append(s, r.tick(min(testTiming.Tick/2, end-r.now))...)
			for _, id := range append([]LinkID{2, 3}, also...) {
				s = append(s, r.packet(id, quorum.PacketPing, r.l.last, []byte{})...)
			}
		}
		return s
	}
	t.Run("silent after connecting", func(t *testing.T) {
		r := serving(t)
		r.open(4)
		expect(t, pass(r, init-1))
		expect(t, pass(r, 1), "close 4: peer silent")
	})
	t.Run("silent after LEADERINFO", func(t *testing.T) {
		r := serving(t)
		r.open(4)
		pass(r, init/2)
		r.info(4, followerInfo, 1)
		expect(t, pass(r, init-1))
		expect(t, pass(r, 1), "close 4: peer silent")
	})
	t.Run("never acknowledges NEWLEADER", func(t *testing.T) {
		r := serving(t)
		r.open(4)
		r.info(4, followerInfo, 1)
		r.ackEpoch(4, 1, zx(1, 3))
		r.now += testTiming.Tick / 2
		if s := r.step(Input{Kind: InTick}); !slices.Contains(s, "4<PING 200000000") {
			t.Errorf("no PING meanwhile: %v", s)
		}
		expect(t, pass(r, init-testTiming.Tick/2-1))
		expect(t, pass(r, 1), "close 4: peer silent")
	})
	t.Run("answers no PING", func(t *testing.T) {
		r := serving(t)
		r.follower(4)
		expect(t, pass(r, sync-1))
		expect(t, pass(r, 1), "close 4: peer silent")
	})
	t.Run("answers PINGs, does not acknowledge a proposal", func(t *testing.T) {
		r := serving(t)
		r.follower(4)
		expect(t, r.propose(1, nil), "2<PROPOSALs 200000001..200000001", "3<PROPOSALs 200000001..200000001", "4<PROPOSALs 200000001..200000001")
		r.ack(2, zx(2, 1))
		r.ack(3, zx(2, 1))
		expect(t, pass(r, sync-1, 4))
		expect(t, pass(r, 1, 4), "close 4: proposal not acknowledged in time")
	})
	t.Run("acknowledges the watched proposal, then no more", func(t *testing.T) {
		r := serving(t)
		r.follower(4)
		r.propose(1, nil)
		pass(r, sync/2, 4)
		r.propose(2, nil)
		for _, id := range []LinkID{2, 3} {
			r.ack(id, zx(2, 3))
		}
		r.ack(4, zx(2, 1))
		expect(t, pass(r, sync-1, 4)) // from when the later ones were sent
		expect(t, pass(r, 1, 4), "close 4: proposal not acknowledged in time")
	})
	t.Run("acknowledges all", func(t *testing.T) {
		r := serving(t)
		r.follower(4)
		r.propose(1, nil)
		r.propose(1, nil)
		for _, id := range []LinkID{2, 3, 4} {
			r.ack(id, zx(2, 2))
		}
		expect(t, pass(r, 3*sync, 4))
	})
	t.Run("first packet after the sync is no ACK", func(t *testing.T) {
		r := serving(t)
		r.open(4)
		r.info(4, followerInfo, 1)
		r.ackEpoch(4, 1, zx(1, 3))
		expect(t, r.packet(4, quorum.PacketPing, 0, nil), "close 4: protocol violation")
	})
	t.Run("first ACK has another zxid", func(t *testing.T) {
		r := serving(t)
		r.open(4)
		r.info(4, followerInfo, 1)
		r.ackEpoch(4, 1, zx(1, 3))
		expect(t, r.ack(4, zx(1, 3))) // unlike Java, which takes it for the ACK of NEWLEADER
		expect(t, r.ack(4, zx(2, 0)), "4<UPTODATE -1")
	})
	t.Run("odd ACKs and packets", func(t *testing.T) {
		r := serving(t)
		r.propose(2, nil)
		expect(t, r.ack(2, zx(2, 9)), "warn: protocol violation")
		expect(t, r.ack(2, zx(1, 2)))
		expect(t, r.ack(2, zx(2, 0)))
		r.ack(3, zx(2, 2))
		r.ack(2, zx(2, 2))
		expect(t, r.durable(zx(2, 2)), "2<COMMIT 200000001..200000002", "3<COMMIT 200000001..200000002", "commit 200000002")
		expect(t, r.ack(2, zx(2, 1)))
		expect(t, r.packet(2, quorum.PacketDiff, 0, nil), "warn: protocol violation")
		expect(t, r.packet(2, 99, 0, nil), "warn: protocol violation")
		expect(t, r.packet(2, quorum.PacketRequest, -1, make([]byte, 15)), "close 2: protocol violation")
		expect(t, r.packet(2, quorum.PacketPing, 0, nil)) // nothing of it any more
	})
	t.Run("bad first packets", func(t *testing.T) {
		r := serving(t)
		for i, data := range [][]byte{{1}, make([]byte, 8), (&quorum.LearnerInfo{ServerID: 1, ProtocolVersion: quorum.ProtocolVersion}).Append(nil),
			(&quorum.LearnerInfo{ServerID: 4, ProtocolVersion: quorum.ProtocolVersion, ConfigVersion: 5}).Append(nil)} {
			want := []string{"protocol violation", "handshake from before ZooKeeper 3.4", "protocol violation", "learner has a newer config"}[i]
			r.open(40)
			expect(t, r.packet(40, followerInfo, 0, data), "close 40: "+want)
		}
		r.open(41)
		expect(t, r.packet(41, quorum.PacketAck, 0, nil), "close 41: protocol violation")
		r.open(42)
		r.info(42, followerInfo, 1)
		expect(t, r.packet(42, quorum.PacketAckEpoch, 0, []byte{1}), "close 42: protocol violation")
	})
	t.Run("no data: anonymous", func(t *testing.T) {
		r := serving(t)
		r.open(50)
		expect(t, r.packet(50, observerInfo, 0, nil), "close 50: handshake*") // its version is 1
	})
	t.Run("connects again", func(t *testing.T) {
		r := serving(t)
		r.propose(1, nil)
		r.ack(2, zx(2, 1)) // 3 voters of 5 are needed
		r.open(22)
		li := quorum.LearnerInfo{ServerID: 2, ProtocolVersion: quorum.ProtocolVersion}
		expect(t, r.packet(22, followerInfo, zx(2, 0), li.Append(nil)), "close 2: server connected again", "22<LEADERINFO 200000000")
		// Its log, with 2:1, is cut, so its ACK must not count any more.
		expect(t, r.ackEpoch(22, -1, zx(2, 1)), "22<snap")
		expect(t, r.durable(zx(2, 1)))
		expect(t, r.ack(3, zx(2, 1)))
		expect(t, r.step(Input{Kind: InStreamed, Link: 22, Zxid: zx(1, 3), OK: true}), "22<PROPOSALs 200000001..200000001", "22<NEWLEADER 200000000")
		expect(t, r.ack(22, zx(2, 0)), "22<UPTODATE -1")
		expect(t, r.ack(22, zx(2, 1)), "3<COMMIT 200000001", "22<COMMIT 200000001", "commit 200000001")
	})
	t.Run("followers leave", func(t *testing.T) {
		r := serving(t)
		r.step(Input{Kind: InLinkClosed, Link: 3})
		var s []string
		for len(s) == 0 && r.now < time.Minute {
			s = r.tick(testTiming.Tick / 2)
		}
		expect(t, s, "give up: no quorum")
		if r.now > 2*testTiming.Tick {
			t.Errorf("took %v", r.now)
		}
		released := 0
		expect(t, r.step(Input{Kind: InPropose, Proposals: []Proposal{{Ref: countRef{&released}}}}))
		if released != 1 {
			t.Error("a proposal that comes too late is not released")
		}
	})
}

type countRef struct{ n *int }

func (r countRef) Release() { *r.n++ }

// TestLeaderReleases follows the ACKs that followers of different releases send for proposals
// a and b that were sent before NEWLEADER (section 10).
func TestLeaderReleases(t *testing.T) {
	n, a, b := zx(2, 0), zx(2, 1), zx(2, 2)
	for name, acks := range map[string][]quorum.Zxid{
		"3.4":            {n, n, a, b},
		"3.8.0 early":    {a, b, n, n},
		"3.8.0 between":  {a, n, b, n},
		"3.8.0 late":     {n, a, b, n},
		"3.8.6":          {n, n, a, b},
		"3.9.3":          {n, n, a, b}, // uncommitted ones
		"cumulative ACK": {n, n, b},
	} {
		t.Run(name, func(t *testing.T) {
			r := newLeaderRig(t, testConfig(5, 0), 3, nil)
			r.start()
			for _, id := range []LinkID{2, 3} {
				r.open(id)
				r.info(id, followerInfo, 1)
			}
			for _, id := range []LinkID{2, 3} {
				r.ackEpoch(id, 1, zx(1, 3))
			}
			r.ack(2, n)
			r.ack(3, n)
			r.propose(2, nil)
			r.ack(2, b)
			r.step(Input{Kind: InLinkClosed, Link: 3})
			r.durable(b)
			r.open(4)
			r.info(4, followerInfo, 1)
			expect(t, r.ackEpoch(4, 1, zx(1, 3)), "4<DIFF 100000003", "4<PROPOSALs 200000001..200000002", "4<NEWLEADER 200000000")
			committedAt := -1
			counts := false
			for i, z := range acks {
				r.ack(4, z)
				counts = counts || z == n
				if r.l.Committed() > n && !counts {
					t.Fatalf("committed 0x%x before the ACK of NEWLEADER", r.l.Committed())
				}
				if r.l.Committed() == b && committedAt < 0 {
					committedAt = i
				}
			}
			want := max(slices.Index(acks, n), slices.Index(acks, b))
			if committedAt != want {
				t.Errorf("committed at ACK %d, want %d", committedAt, want)
			}
		})
	}
}

// TestLeaderCommit is about who counts (section 4.10).
func TestLeaderCommit(t *testing.T) {
	t.Run("majority, in order, with the leader's own log", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(5, 0), 0, func(o *LeaderOptions) { o.LastZxid, o.DurableZxid = 0, 0 })
		r.start()
		for _, id := range []LinkID{2, 3, 4} {
			r.open(id)
			r.info(id, followerInfo, 1)
		}
		for _, id := range []LinkID{2, 3, 4} {
			r.ackEpoch(id, 1, 0)
		}
		r.ack(2, zx(2, 0))
		expect(t, r.ack(3, zx(2, 0)), "serve 2", "2<UPTODATE*", "3<UPTODATE*")
		expect(t, r.ack(4, zx(2, 0)), "4<UPTODATE*")
		r.propose(3, nil)
		expect(t, r.ack(2, zx(2, 3)))
		expect(t, r.ack(3, zx(2, 2)))
		expect(t, r.ack(4, zx(2, 1)), "2<COMMIT 200000001", "3<COMMIT 200000001", "4<COMMIT 200000001", "commit 200000001") // without the leader
		expect(t, r.durable(zx(2, 2)), "2<COMMIT 200000002", "3<COMMIT 200000002", "4<COMMIT 200000002", "commit 200000002")
		expect(t, r.ack(4, zx(2, 3)))
		expect(t, r.durable(zx(2, 3)), "2<COMMIT 200000003", "3<COMMIT 200000003", "4<COMMIT 200000003", "commit 200000003")
	})
	t.Run("observers and strangers", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 1), 3, nil)
		r.start()
		r.follower(2)
		expect(t, r.join(4, observerInfo, zx(1, 2)), "4<LEADERINFO 200000000", "4<DIFF 100000003", "4<history 100000003..100000003", "4<NEWLEADER 200000000", "4<UPTODATE*")
		expect(t, r.join(9, followerInfo, zx(1, 3)), "9<LEADERINFO 200000000", "9<DIFF 100000003", "9<NEWLEADER 200000000", "9<UPTODATE*")
		expect(t, r.propose(2, nil), "2<PROPOSALs 200000001..200000002", "9<PROPOSALs 200000001..200000002")
		r.durable(zx(2, 2))
		expect(t, r.ack(4, zx(2, 2)), "warn: protocol violation") // was sent nothing
		expect(t, r.ack(9, zx(2, 2)))                             // has no vote
		// Followers first, then observers, then this server.
		expect(t, r.ack(2, zx(2, 2)), "2<COMMIT 200000001..200000002", "9<COMMIT 200000001..200000002",
			"4<INFORMs 200000001..200000002", "commit 200000002")
		// An observer that comes now gets no outstanding proposals, a follower does.
		r.propose(1, nil)
		r.open(5)
		r.info(5, observerInfo, 1)
		expect(t, r.ackEpoch(5, 1, zx(1, 3)), "5<DIFF 200000002", "5<history 200000001..200000002", "5<NEWLEADER 200000000")
		r.open(3)
		r.info(3, followerInfo, 1)
		expect(t, r.ackEpoch(3, 1, zx(2, 1)), "3<DIFF 200000002", "3<history 200000002..200000002", "3<PROPOSALs 200000003..200000003", "3<NEWLEADER 200000000")
		expect(t, r.ack(3, zx(2, 0)), "3<UPTODATE*")
		r.ack(3, zx(2, 3))
		expect(t, r.durable(zx(2, 3)), "2<COMMIT 200000003", "9<COMMIT 200000003", "3<COMMIT 200000003",
			"4<INFORMs 200000003..200000003", "5<INFORMs 200000003..200000003", "commit 200000003")
	})
	t.Run("groups and weights", func(t *testing.T) {
		flat := testConfig(5, 0)
		config, err := quorum.NewConfig(0, flat.Members, []quorum.Group{{ID: 1, Members: []int64{1, 2, 3}}, {ID: 2, Members: []int64{4, 5}}},
			[]quorum.Weight{{ID: 3, Weight: 0}, {ID: 4, Weight: 3}})
		if err != nil {
			t.Fatal(err)
		}
		r := newLeaderRig(t, config, 3, nil)
		r.start()
		for _, id := range []LinkID{2, 3, 5, 4} {
			r.open(id)
		}
		expect(t, r.info(2, followerInfo, 1))
		expect(t, r.info(3, followerInfo, 1))
		expect(t, r.info(5, followerInfo, 1)) // four of five, yet half of a group is missing
		expect(t, r.info(4, followerInfo, 1), "accepted 2", "2<*", "3<*", "5<*", "4<*")
		for _, id := range []LinkID{2, 3, 5, 4} {
			r.ackEpoch(id, 1, zx(1, 3))
		}
		for _, id := range []LinkID{2, 3, 5, 4} {
			if r.l.Serving() {
				t.Error("serves without server 4")
			}
			r.ack(id, zx(2, 0))
		}
		r.propose(1, nil)
		r.durable(zx(2, 1))
		expect(t, r.ack(3, zx(2, 1)))
		expect(t, r.ack(4, zx(2, 1)))
		expect(t, r.ack(2, zx(2, 1)), "2<*", "3<*", "5<*", "4<*", "commit 200000001")
	})
	t.Run("many in a turn", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.start()
		r.follower(2)
		for range 3 {
			z := r.l.last + 1
			r.l.Step(r.now, Input{Kind: InPropose, Proposals: []Proposal{{Zxid: z, Packet: testProposal(z, 0)}}}, &r.out)
		}
		r.l.Step(r.now, Input{Kind: InLogDurable, Zxid: zx(2, 3)}, &r.out)
		expect(t, r.end(), "2<PROPOSALs 200000001..200000003")
		for z := zx(2, 1); z <= zx(2, 3); z++ {
			r.l.Step(r.now, Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: quorum.PacketAck, Zxid: z}}, &r.out)
		}
		expect(t, r.end(), "2<COMMIT 200000001..200000003", "commit 200000003")
	})
}

func TestLeaderRollover(t *testing.T) {
	r := newLeaderRig(t, testConfig(1, 0), 3, nil)
	r.start()
	r.l.last = quorum.EpochStart(2) + quorum.MaxCounter - 1
	r.l.window.Reset(r.l.last)
	released := 0
	var batch []Proposal
	for i := range 3 {
		batch = append(batch, Proposal{Zxid: r.l.last + 1 + quorum.Zxid(i), Packet: []byte{1}, Ref: countRef{&released}})
	}
	expect(t, r.step(Input{Kind: InPropose, Proposals: batch}), "give up: epoch has no zxid left")
	if released != 2 {
		t.Errorf("%d references released, want those of the proposals that were not made", released)
	}
}

// TestLeaderPipes is about what the leader hands on for the driver (sections 5.2 to 5.5).
func TestLeaderPipes(t *testing.T) {
	r := newLeaderRig(t, testConfig(3, 0), 3, nil)
	r.start()
	r.follower(2)
	req := quorum.Request{SessionID: 5, Cxid: 1, Op: proto.OpCreate, Body: []byte{}}
	expect(t, r.packet(2, quorum.PacketRequest, -1, req.Append(nil)), "request of 2")
	expect(t, r.packet(2, quorum.PacketRevalidate, -1, quorum.AppendRevalidate(nil, quorum.Touch{SessionID: 0x12, TimeoutMs: 4000})), "revalidate 12 4000 of 2")
	expect(t, r.step(Input{Kind: InRevalidated, Link: 2, Session: 0x12, OK: true}), "2<REVALIDATE -1")
	expect(t, r.packet(2, quorum.PacketPing, 0, quorum.AppendTouch(quorum.AppendTouch(nil, quorum.Touch{}), quorum.Touch{})), "touch 2 by 2")
	expect(t, r.packet(2, quorum.PacketPing, 0, []byte{1}), "close 2: protocol violation")
	expect(t, r.step(Input{Kind: InRevalidated, Link: 2, Session: 0x12, OK: true}))
	expect(t, r.step(Input{Kind: InResign, Err: errors.New("stopped")}), "give up: resigned")
	expect(t, r.step(Input{Kind: InTick}))
}

// TestLeaderDisloyalVoter: a voter that looks again ends the wait for the epoch only where a limit says so, once the
// limit has passed, and only if it had voted for this leader.
func TestLeaderDisloyalVoter(t *testing.T) {
	for _, c := range []struct {
		name    string
		max     time.Duration
		after   time.Duration
		server  quorum.ServerID
		epoch   bool // the epoch is found before
		givesUp bool
	}{
		{"no limit", -1, time.Second, 2, false, false},
		{"too soon", 100 * time.Millisecond, 100 * time.Millisecond, 2, false, false},
		{"late", 100 * time.Millisecond, 101 * time.Millisecond, 2, false, true},
		{"voted for another", 100 * time.Millisecond, time.Second, 3, false, false},
		{"epoch found", 100 * time.Millisecond, time.Second, 2, true, false},
		{"at once", 0, 1, 2, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) {
				o.Electors, o.EpochWaitMax = []quorum.ServerID{1, 2}, c.max
			})
			r.start()
			if c.epoch {
				r.open(3)
				r.info(3, quorum.PacketFollowerInfo, 1)
			}
			r.now += c.after
			got := r.step(Input{Kind: InLooking, Server: c.server})
			if c.givesUp {
				expect(t, got, "give up: voter changed its mind")
			} else {
				expect(t, got)
			}
		})
	}
}

// TestLeaderSyncLimits: observers beyond the limits lose their connection, followers count but are always let in, and
// who has acknowledged NEWLEADER makes room.
func TestLeaderSyncLimits(t *testing.T) {
	r := newLeaderRig(t, testConfig(3, 3), 3, func(o *LeaderOptions) { o.SnapSyncsMax, o.DiffSyncsMax = 1, 2 })
	r.start()
	r.follower(2)
	greet := func(id LinkID, typ quorum.PacketType, z quorum.Zxid) []string {
		r.open(id)
		r.info(id, typ, 1)
		return r.ackEpoch(id, 1, z)
	}
	old := zx(1, 3)
	expect(t, greet(4, quorum.PacketObserverInfo, -1), "4<snap")
	expect(t, greet(5, quorum.PacketObserverInfo, -1), "close 5: too many synchronisations at a time")
	expect(t, greet(5, quorum.PacketObserverInfo, old), "5<DIFF 100000003", "5<NEWLEADER 200000000")
	expect(t, greet(3, quorum.PacketFollowerInfo, -1), "3<snap")
	r.step(Input{Kind: InLinkClosed, Link: 3})
	expect(t, greet(3, quorum.PacketFollowerInfo, old), "3<DIFF 100000003", "3<NEWLEADER 200000000")
	expect(t, greet(6, quorum.PacketObserverInfo, old), "close 6: too many synchronisations at a time")
	r.ack(5, zx(2, 0))
	expect(t, greet(6, quorum.PacketObserverInfo, old), "6<DIFF 100000003", "6<NEWLEADER 200000000")
	r.step(Input{Kind: InLinkClosed, Link: 4})
	expect(t, greet(4, quorum.PacketObserverInfo, -1), "4<snap")
}

// TestObserverMaster: what a follower does for observers in its leader's place, and what it does not.
func TestObserverMaster(t *testing.T) {
	opts := LeaderOptions{Self: 2, Config: testConfig(3, 3), CurrentEpoch: 2, LastZxid: zx(2, 2), DurableZxid: zx(2, 2), Timing: testTiming}
	w := NewWindow(zx(1, 3), 0)
	for i := 1; i <= 4; i++ {
		w.Append(zx(2, i), testProposal(zx(2, i), i), nil) // 3 and 4 are not committed
	}
	r := &leaderRig{t: t, l: NewObserverMaster(opts, w, noHistory{})}
	expect(t, r.start())

	// Observers come any time and wait for nobody; the history is what is committed.
	expect(t, r.open(4))
	expect(t, r.info(4, quorum.PacketObserverInfo, 1), "4<LEADERINFO 200000000")
	expect(t, r.ackEpoch(4, 1, zx(2, 1)), "4<DIFF 200000002", "4<history 200000002..200000002", "4<NEWLEADER 200000000")
	// What is committed before the ACK is told, too; UPTODATE comes with the ACK.
	expect(t, r.step(Input{Kind: InCommitted, Zxid: zx(2, 3)}), "4<INFORMs 200000003..200000003")
	expect(t, r.ack(4, zx(2, 0)), "4<UPTODATE -1")
	expect(t, r.step(Input{Kind: InCommitted, Zxid: zx(2, 4)}), "4<INFORMs 200000004..200000004")
	expect(t, r.step(Input{Kind: InCommitted, Zxid: zx(2, 4)}))

	// A reconfig is told with its designated leader, and is the config from then on.
	w.Append(zx(2, 5), testProposal(zx(2, 5), 5), nil)
	w.Append(zx(2, 6), testProposal(zx(2, 6), 6), nil)
	next := testConfig(3, 3).WithVersion(zx(2, 6))
	expect(t, r.step(Input{Kind: InCommitted, Zxid: zx(2, 6), Config: next, Server: 3}), "4<INFORMs 200000005..200000005", "4<INFORMANDACTIVATE 200000006")
	if r.l.Config() != next {
		t.Error("the config stays")
	}

	// Followers, observers of a newer epoch, and those who are ahead for the moment are turned away.
	r.open(3)
	expect(t, r.info(3, quorum.PacketFollowerInfo, 1), "close 3: protocol violation")
	r.open(5)
	expect(t, r.info(5, quorum.PacketObserverInfo, 3), "close 5: learner has accepted a newer epoch")
	r.open(6)
	r.info(6, quorum.PacketObserverInfo, 2)
	expect(t, r.ackEpoch(6, 2, zx(2, 7)), "close 6: learner is ahead of the leader")

	// What observers ask is passed on, and answered to the one that asked.
	request := func(op proto.OpCode) []byte {
		req := quorum.Request{SessionID: 7, Cxid: 1, Op: op}
		return req.Append(nil)
	}
	expect(t, r.packet(4, quorum.PacketRequest, -1, request(proto.OpSetData)), "request of 4")
	expect(t, r.packet(4, quorum.PacketRequest, -1, request(proto.OpSync)), "sync of 4")
	expect(t, r.step(Input{Kind: InSyncAnswered, Link: 4}), "4<SYNC 0")
	expect(t, r.step(Input{Kind: InRevalidated, Link: 4, Session: 7, OK: true}), "4<REVALIDATE -1")
	expect(t, r.packet(4, quorum.PacketPing, zx(2, 4), quorum.AppendTouch(nil, quorum.Touch{SessionID: 7, TimeoutMs: 9})), "touch 1 by 4")

	// An observer that is silent is let go; the master itself goes on alone.
	all := r.tick(testTiming.sync() + testTiming.Tick)
	if len(all) != 1 || all[0] != "close 4: peer silent" {
		t.Errorf("%q", all)
	}
	expect(t, r.step(Input{Kind: InSyncAnswered, Link: 4}))
	r.open(4)
	r.info(4, quorum.PacketObserverInfo, 2)
	expect(t, r.ackEpoch(4, 2, zx(2, 6)), "4<DIFF 200000006", "4<NEWLEADER 200000000")
}
