package zab

import (
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// TestOracle is about the leader of an ensemble of two whose oracle says yes.
func TestOracle(t *testing.T) {
	two := testConfig(2, 0)
	with := func(o quorum.Oracle, electors ...quorum.ServerID) func(*LeaderOptions) {
		return func(opts *LeaderOptions) { opts.Oracle, opts.Electors = o, electors }
	}
	yes, no := Input{Kind: InOracle, OK: true}, Input{Kind: InOracle}
	gone := Input{Kind: InLinkClosed, Link: 2}

	t.Run("alone from the start", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, with(quorum.OracleYes, 1))
		expect(t, r.start(), "accepted 2", "current 2", "commit 100000003", "serve 2")
		expect(t, r.propose(2, nil))
		expect(t, r.step(Input{Kind: InSync, Token: 7})) // what it was asked behind is not durable
		expect(t, r.durable(zx(2, 1)), "commit 200000001")
		expect(t, r.durable(zx(2, 2)), "commit 200000002", "synced 7")
		expect(t, r.tick(10*time.Second))
		r.now += time.Second
		expect(t, r.step(no))
		expect(t, r.propose(1, nil))
		expect(t, r.durable(zx(2, 3))) // no more
		expect(t, r.tick(10*time.Second), "give up: no quorum*")
	})
	t.Run("not without a yes", func(t *testing.T) {
		for _, o := range []quorum.Oracle{quorum.NoOracle, quorum.OracleNo} {
			r := newLeaderRig(t, two, 3, with(o, 1))
			expect(t, r.start())
			expect(t, r.tick(time.Hour), "give up: no quorum*")
		}
		r := newLeaderRig(t, two, 3, with(quorum.OracleNo, 1))
		expect(t, r.start())
		expect(t, r.step(yes), "accepted 2", "current 2", "commit 100000003", "serve 2")
	})
	t.Run("three are no tie", func(t *testing.T) {
		r := newLeaderRig(t, testConfig(3, 0), 3, with(quorum.OracleYes, 1))
		expect(t, r.start())
		expect(t, r.tick(time.Hour), "give up: no quorum*")
	})
	t.Run("who has voted is waited for", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, with(quorum.OracleYes, 1, 2))
		expect(t, r.start())
		expect(t, r.tick(testTiming.Tick-1))
		expect(t, r.open(2))
		expect(t, r.info(2, followerInfo, 5), "accepted 6", "2<LEADERINFO 600000000")

		r = newLeaderRig(t, two, 3, with(quorum.OracleYes, 1, 2))
		expect(t, r.start())
		expect(t, r.tick(testTiming.Tick), "accepted 2", "current 2", "commit 100000003", "serve 2")
	})
	t.Run("the other's acks are needed while it is there", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, with(quorum.OracleYes, 1, 2))
		r.start()
		r.follower(2)
		if !r.l.Serving() {
			t.Fatal("not serving")
		}
		expect(t, r.propose(1, nil), "2<PROPOSALs 200000001..200000001")
		expect(t, r.durable(zx(2, 1)))
		expect(t, r.ack(2, zx(2, 1)), "2<COMMIT 200000001", "commit 200000001")
		expect(t, r.propose(2, nil), "2<PROPOSALs 200000002..200000003")
		expect(t, r.durable(zx(2, 2)))
		expect(t, r.step(gone), "commit 200000002")
		expect(t, r.durable(zx(2, 3)), "commit 200000003")

		// It comes back: what is proposed while it is brought up to date does not wait, what it is sent does.
		expect(t, r.open(2))
		expect(t, r.info(2, followerInfo, 2), "2<LEADERINFO 200000000")
		expect(t, r.propose(1, nil))
		expect(t, r.durable(zx(2, 4)), "commit 200000004")
		expect(t, r.ackEpoch(2, -1, zx(2, 2)), "2<DIFF 200000004", "2<history 200000003..200000004", "2<NEWLEADER 200000000")
		expect(t, r.propose(1, nil), "2<PROPOSALs 200000005..200000005")
		expect(t, r.durable(zx(2, 5)))
		expect(t, r.ack(2, zx(2, 0)), "2<UPTODATE -1")
		expect(t, r.ack(2, zx(2, 5)), "2<COMMIT 200000005", "commit 200000005")
	})
	t.Run("no oracle's yes, no commit when it leaves", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, with(quorum.OracleNo, 1, 2))
		r.start()
		r.follower(2)
		r.propose(1, nil)
		r.durable(zx(2, 1))
		expect(t, r.step(gone))
		expect(t, r.step(yes), "commit 200000001") // the oracle learns of it, too
		expect(t, r.tick(10*time.Second))
	})
	t.Run("the other has seen a newer epoch", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, with(quorum.OracleYes, 1))
		r.start()
		expect(t, r.open(2))
		expect(t, r.info(2, followerInfo, 3), "give up: learner has accepted a newer epoch")
	})
	t.Run("a reconfig takes the dead one out", func(t *testing.T) {
		r := newLeaderRig(t, two, 3, func(o *LeaderOptions) {
			o.Oracle, o.ReconfigEnabled = quorum.OracleYes, true
		})
		r.start()
		one := testConfig(1, 0)
		if !r.l.HasSyncedQuorum(one) || !r.l.HasSyncedQuorum(two) || r.l.HasSyncedQuorum(testConfig(3, 0)) {
			t.Error("wrong quorums")
		}
		expect(t, r.propose(1, one), "save config 200000001")
		expect(t, r.durable(zx(2, 1)), "commit 200000001", "activate config 200000001 leader 1")
		expect(t, r.step(no))
		expect(t, r.tick(10*time.Second))
	})
}
