package zab

import (
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// TestRound is about when a sync is answered.
func TestRound(t *testing.T) {
	begin := func(t *testing.T) *leaderRig {
		r := newLeaderRig(t, testConfig(5, 1), 3, nil)
		r.start()
		for _, id := range []LinkID{2, 3, 4} {
			r.open(id)
			r.info(id, followerInfo, 1)
		}
		for _, id := range []LinkID{2, 3, 4} {
			r.ackEpoch(id, 1, zx(1, 3))
		}
		for _, id := range []LinkID{2, 3, 4} {
			r.ack(id, zx(2, 0))
		}
		r.join(6, observerInfo, zx(1, 3))
		return r
	}
	pong := func(r *leaderRig, id LinkID, z quorum.Zxid) []string { return r.packet(id, ping, z, []byte{}) }
	sync := func(r *leaderRig, token uint64) []string { return r.step(Input{Kind: InSync, Token: token}) }
	learnerSync := func(r *leaderRig, id LinkID) []string {
		req := quorum.Request{SessionID: 1, Op: proto.OpSync}
		return r.packet(id, quorum.PacketRequest, -1, req.Append(nil))
	}
	pings := []string{"2<PING 200000000", "3<PING 200000000", "4<PING 200000000"}

	t.Run("a quorum answers", func(t *testing.T) {
		r := begin(t)
		expect(t, sync(r, 7), pings...) // observers are not asked
		expect(t, pong(r, 6, zx(2, 0)))
		expect(t, pong(r, 2, zx(2, 0)))
		expect(t, pong(r, 2, zx(2, 0))) // one too many
		expect(t, pong(r, 3, zx(2, 0)), "synced 7")
		expect(t, pong(r, 4, zx(2, 0)))
	})
	t.Run("answers to earlier PINGs do not count", func(t *testing.T) {
		r := begin(t)
		r.now += testTiming.Tick / 2
		r.step(Input{Kind: InTick})
		expect(t, sync(r, 7), pings...)
		expect(t, pong(r, 2, zx(2, 0)))
		expect(t, pong(r, 3, zx(2, 0)))
		expect(t, pong(r, 4, zx(2, 0)))
		expect(t, pong(r, 2, zx(2, 0)))
		expect(t, pong(r, 3, zx(2, 0)), "synced 7")
	})
	t.Run("the answer repeats the zxid", func(t *testing.T) {
		r := begin(t)
		expect(t, sync(r, 7), pings...)
		expect(t, pong(r, 2, zx(1, 9)))
		expect(t, pong(r, 3, zx(2, 0)))
		expect(t, pong(r, 2, zx(2, 0)), "synced 7")
	})
	t.Run("one round for all that came before it", func(t *testing.T) {
		r := begin(t)
		sync(r, 1)
		expect(t, sync(r, 2)) // after the PINGs: the next round's
		expect(t, learnerSync(r, 3))
		pong(r, 2, zx(2, 0))
		expect(t, pong(r, 3, zx(2, 0)), append(pings, "synced 1")...)
		pong(r, 2, zx(2, 0))
		expect(t, pong(r, 3, zx(2, 0)), "synced 2", "3<SYNC 0")
	})
	t.Run("what was proposed before has committed", func(t *testing.T) {
		r := begin(t)
		r.propose(2, nil)
		expect(t, learnerSync(r, 2), "2<PING 200000002", "3<PING 200000002", "4<PING 200000002")
		r.propose(1, nil)
		pong(r, 2, zx(2, 2))
		expect(t, pong(r, 3, zx(2, 2)))
		r.durable(zx(2, 3))
		r.ack(2, zx(2, 1))
		expect(t, r.ack(3, zx(2, 3)), "2<COMMIT 200000001", "3<COMMIT 200000001", "4<COMMIT 200000001", "6<INFORMs 200000001..200000001", "commit 200000001")
		// SYNC is behind the COMMITs that it waited for.
		expect(t, r.ack(2, zx(2, 2)), "2<COMMIT 200000002", "3<COMMIT 200000002", "4<COMMIT 200000002", "6<INFORMs 200000002..200000002", "commit 200000002", "2<SYNC 0")
	})
	t.Run("no COMMIT overtakes an earlier SYNC to a Java learner", func(t *testing.T) {
		r := begin(t)
		r.propose(1, nil)
		expect(t, learnerSync(r, 2), "2<PING 200000001", "3<PING 200000001", "4<PING 200000001")
		learnerSync(r, 6)
		r.propose(2, nil)
		learnerSync(r, 2)
		r.durable(zx(2, 3))
		r.ack(2, zx(2, 3))
		// 2 and the observer may not know of what was proposed behind their syncs.
		expect(t, r.ack(3, zx(2, 3)), "2<COMMIT 200000001", "3<COMMIT 200000001..200000003", "4<COMMIT 200000001..200000003",
			"6<INFORMs 200000001..200000001", "commit 200000003")
		pong(r, 2, zx(2, 1))
		expect(t, pong(r, 3, zx(2, 1)), "2<PING 200000003", "3<PING 200000003", "4<PING 200000003",
			"2<SYNC 0", "2<COMMIT 200000002..200000003")
		pong(r, 2, zx(2, 3))
		expect(t, pong(r, 3, zx(2, 3)), "6<SYNC 0", "6<INFORMs 200000002..200000003", "2<SYNC 0")
	})
	t.Run("nor to one that serves Java's observers", func(t *testing.T) {
		for features, held := range map[quorum.Features]bool{quorum.AllFeatures: false, quorum.AllFeatures &^ quorum.FeatureLooseSync: true, 0: true} {
			r := begin(t)
			r.l.opts.Features = quorum.AllFeatures
			r.open(5)
			li := quorum.LearnerInfo{ServerID: 5, ProtocolVersion: quorum.ProtocolVersion, Features: features}
			r.packet(5, observerInfo, zx(1, 0), li.Append(nil))
			r.ackEpoch(5, 1, zx(1, 3))
			r.ack(5, zx(2, 0))
			learnerSync(r, 5)
			r.propose(1, nil)
			r.durable(zx(2, 1))
			r.ack(2, zx(2, 1))
			told := false
			for _, s := range r.ack(3, zx(2, 1)) {
				told = told || strings.HasPrefix(s, "5<INFORM")
			}
			if told == held {
				t.Errorf("features %b: told %v", features, told)
			}
		}
	})
	t.Run("a sync comes behind the requests before it", func(t *testing.T) {
		r := begin(t)
		// 2:1 is prepared for a request of 2, and not proposed yet.
		r.step(Input{Kind: InSync, Link: 2, Zxid: zx(2, 1)})
		pong(r, 2, zx(2, 0))
		expect(t, pong(r, 3, zx(2, 0)))
		r.propose(2, nil)
		r.durable(zx(2, 2))
		r.ack(2, zx(2, 2))
		expect(t, r.ack(3, zx(2, 2)), "2<COMMIT 200000001", "3<COMMIT 200000001..200000002", "4<COMMIT 200000001..200000002", "6<INFORMs 200000001..200000002",
			"commit 200000002", "2<SYNC 0", "2<COMMIT 200000002")
	})
	t.Run("a reconfig waits for the syncs of Java learners", func(t *testing.T) {
		for _, leaves := range []bool{false, true} {
			r := begin(t)
			learnerSync(r, 2)
			r.propose(1, members(0, []int64{1, 2, 3}, nil))
			r.durable(zx(2, 1))
			r.ack(2, zx(2, 1))
			expect(t, r.ack(3, zx(2, 1)))
			commits := []string{"3<COMMITANDACTIVATE 200000001", "4<COMMITANDACTIVATE 200000001", "6<INFORMANDACTIVATE 200000001", "commit 200000001", "activate config 200000001 leader 1"}
			if leaves {
				r.ack(4, zx(2, 1))
				expect(t, r.step(Input{Kind: InLinkClosed, Link: 2}), commits...)
				continue
			}
			pong(r, 2, zx(2, 0))
			expect(t, pong(r, 3, zx(2, 0)), append([]string{"2<SYNC 0", "2<COMMITANDACTIVATE 200000001"}, commits...)...)
		}
	})
	t.Run("a learner that leaves gets nothing", func(t *testing.T) {
		r := begin(t)
		learnerSync(r, 2)
		learnerSync(r, 2)
		sync(r, 1)
		r.step(Input{Kind: InLinkClosed, Link: 2})
		pong(r, 3, zx(2, 0))
		expect(t, pong(r, 4, zx(2, 0)), "3<PING 200000000", "4<PING 200000000")
		pong(r, 3, zx(2, 0))
		expect(t, pong(r, 4, zx(2, 0)), "synced 1")
	})
	t.Run("a follower that comes during the round is asked at the next PING", func(t *testing.T) {
		r := begin(t)
		sync(r, 1)
		r.step(Input{Kind: InLinkClosed, Link: 2})
		r.step(Input{Kind: InLinkClosed, Link: 3})
		r.follower(5)
		expect(t, pong(r, 4, zx(2, 0)))
		expect(t, pong(r, 5, zx(2, 0))) // answers nothing
		r.now += testTiming.Tick / 2
		r.step(Input{Kind: InTick})
		expect(t, pong(r, 5, zx(2, 0)), "synced 1")
	})
	t.Run("both configs of a pending reconfig", func(t *testing.T) {
		r := newLeaderRig(t, members(0, []int64{1, 2, 3}, nil), 3, nil)
		r.start()
		r.follower(2)
		r.follower(4)
		r.propose(1, members(0, []int64{1, 4, 5}, nil))
		sync(r, 1)
		expect(t, pong(r, 2, zx(2, 1)))
		expect(t, pong(r, 4, zx(2, 1)))
		r.durable(zx(2, 1))
		r.ack(2, zx(2, 1))
		expect(t, r.ack(4, zx(2, 1)), "2<*", "4<*", "commit 200000001", "activate config 200000001 leader 1", "synced 1")
	})
}
