package zab

import (
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

const (
	newLeader = quorum.PacketNewLeader
	upToDate  = quorum.PacketUpToDate
	diff      = quorum.PacketDiff
	trunc     = quorum.PacketTrunc
	snap      = quorum.PacketSnap
	commit    = quorum.PacketCommit
	ping      = quorum.PacketPing
)

// TestLearnerSync goes through the ways to be brought to the leader's history (section 4.5).
func TestLearnerSync(t *testing.T) {
	t.Run("DIFF", func(t *testing.T) {
		r := newLearnerRig(t, 3, nil)
		expect(t, r.hello(), "1<FOLLOWERINFO 100000000", "accepted 2", "1<ACKEPOCH 100000003")
		expect(t, r.packet(diff, zx(1, 5), nil), "commit 100000003") // this end of the own log is the leader's
		expect(t, r.pair(zx(1, 4)), "append 100000004", "commit 100000004")
		expect(t, r.packet(ping, zx(2, 0), nil)) // not answered before UPTODATE
		expect(t, r.pair(zx(1, 5)), "append 100000005", "commit 100000005")
		expect(t, r.proposal(zx(2, 1))) // outstanding
		expect(t, r.durable(zx(1, 4)))
		// History first, then the epoch, then the ACK.
		expect(t, r.packet(newLeader, zx(2, 0), nil))
		expect(t, r.durable(zx(1, 5)), "current 2", "1<ACK 200000000")
		expect(t, r.proposal(zx(2, 2)))
		expect(t, r.packet(commit, zx(2, 1), nil))
		expect(t, r.packet(ping, zx(2, 2), nil))
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2", "append 200000001", "append 200000002", "commit 200000001")
		expect(t, r.durable(zx(2, 2)), "1<ACK 200000001..200000002")
		expect(t, r.packet(commit, zx(2, 2), nil), "commit 200000002")
	})
	t.Run("own tail not on disk yet", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.DurableZxid = zx(1, 2) })
		r.hello()
		r.packet(diff, zx(1, 3), nil)
		expect(t, r.packet(newLeader, zx(2, 0), nil))
		expect(t, r.durable(zx(1, 3)), "current 2", "1<ACK 200000000")
	})
	t.Run("same epoch again", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.AcceptedEpoch, o.CurrentEpoch = 2, 2 })
		r.step(Input{Kind: InLinkOpened, Link: 1})
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: quorum.PacketLeaderInfo, Zxid: zx(2, 0), Data: []byte{0, 1, 0, 0}}}, &r.out)
		o := &r.out.List[0]
		if e, err := quorum.DecodeAckEpoch(o.Data); o.Type != quorum.PacketAckEpoch || e != quorum.EpochAlreadyPromised || err != nil {
			t.Errorf("%s %d %v", show(o), e, err)
		}
		r.out.Reset()
		r.packet(diff, zx(1, 3), nil)
		expect(t, r.packet(newLeader, zx(2, 0), nil), "1<ACK 200000000") // the epoch is stored already
	})
	t.Run("TRUNC", func(t *testing.T) {
		r := newLearnerRig(t, 6, nil)
		r.hello()
		expect(t, r.packet(trunc, zx(1, 4), nil), "truncate 100000004")
		if r.l.Expects() != ExpectNothing {
			t.Error("takes packets while the log is cut")
		}
		expect(t, r.durable(zx(1, 6))) // of before the cut
		expect(t, r.tick(time.Minute)) // cutting may take its time
		expect(t, r.step(Input{Kind: InTruncated, Zxid: zx(1, 4), OK: true}), "commit 100000004")
		expect(t, r.pair(zx(1, 5)), "append 100000005", "commit 100000005")
		expect(t, r.packet(newLeader, zx(2, 0), nil))
		expect(t, r.durable(zx(1, 5)), "current 2", "1<ACK 200000000")
	})
	t.Run("TRUNC where the log has nothing", func(t *testing.T) {
		for _, c := range []struct {
			at, reached quorum.Zxid
			ok          bool
			want        []string
		}{
			{zx(1, 4), zx(1, 3), true, []string{"give up: log cannot be cut at 0x100000004, only at 0x100000003, need snap"}},
			{zx(1, 4), 0, false, []string{"give up: log cannot be cut at 0x100000004, only at 0x0, need snap"}},
			{zx(1, 0), 0, true, nil}, // the start of this epoch: all of it goes
			{zx(0, 0), 0, true, nil},
		} {
			r := newLearnerRig(t, 6, nil)
			r.hello()
			r.packet(trunc, c.at, nil)
			expect(t, r.step(Input{Kind: InTruncated, Zxid: c.reached, OK: c.ok}), c.want...)
		}
		r := newLearnerRig(t, 3, nil)
		r.hello()
		expect(t, r.packet(trunc, zx(1, 4), nil), "give up: log cannot be cut at 0x100000004, it ends at 0x100000003, need snap")
	})
	t.Run("SNAP", func(t *testing.T) {
		r := newLearnerRig(t, 6, nil)
		r.hello()
		// The tree is older than what is on disk: that stays until the tree has everything.
		expect(t, r.packet(snap, zx(1, 2), nil), "tree 100000002")
		if r.l.Expects() != ExpectTree {
			t.Error("takes packets inside a tree")
		}
		r.now += testTiming.init() - 1
		r.step(Input{Kind: InProgress})
		expect(t, r.tick(testTiming.init()-1))
		expect(t, r.step(Input{Kind: InTreeReceived, Zxid: zx(1, 2), OK: true}))
		expect(t, r.pair(zx(1, 3)), "keep 100000003", "commit 100000003")
		expect(t, r.durable(zx(1, 6))) // of the old log
		expect(t, r.proposal(zx(1, 4)))
		expect(t, r.packet(commit, zx(1, 4), nil), "keep 100000004", "commit 100000004")
		expect(t, r.proposal(zx(2, 1)))
		expect(t, r.packet(newLeader, zx(2, 0), nil), "snapshot 100000004")
		expect(t, r.packet(commit, zx(2, 1), nil))
		expect(t, r.step(Input{Kind: InSnapshotTaken, Zxid: zx(1, 4)}), "current 2", "1<ACK 200000000")
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2", "append 200000001", "commit 200000001")
		expect(t, r.durable(zx(2, 1)), "1<ACK 200000001")
	})
	t.Run("SNAP at the start of an epoch", func(t *testing.T) {
		r := newLearnerRig(t, 0, nil)
		r.hello()
		r.packet(snap, zx(2, 0), nil)
		r.step(Input{Kind: InTreeReceived, Zxid: zx(2, 0), OK: true})
		expect(t, r.packet(newLeader, zx(2, 0), nil), "snapshot 200000000")
		r.step(Input{Kind: InSnapshotTaken, Zxid: zx(2, 0)})
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2")
		expect(t, r.pair(zx(2, 1)), "append 200000001", "commit 200000001")
	})
	t.Run("SNAP, and what is in the tree once more", func(t *testing.T) {
		r := newLearnerRig(t, 0, nil)
		r.hello()
		r.packet(snap, zx(2, 6), nil)
		r.step(Input{Kind: InTreeReceived, Zxid: zx(2, 6), OK: true})
		expect(t, r.pair(zx(2, 3)))
		expect(t, r.proposal(zx(2, 4)))
		expect(t, r.packet(newLeader, zx(2, 0), nil), "snapshot 200000006")
		expect(t, r.packet(commit, zx(2, 4), nil))
		expect(t, r.pair(zx(2, 5)))
		expect(t, r.pair(zx(2, 6)))
		expect(t, r.pair(zx(2, 7)))
		expect(t, r.step(Input{Kind: InSnapshotTaken, Zxid: zx(2, 6), OK: true}), "current 2", "1<ACK 200000000")
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "1<ACK 200000005..200000006", "serve 2", "append 200000007", "commit 200000007")
		expect(t, r.durable(zx(2, 7)), "1<ACK 200000007")
		// Serving, it takes nothing twice.
		expect(t, r.proposal(zx(2, 7)), "give up: gap between proposals, need snap")
	})
	t.Run("SNAP, and a gap in what is in the tree", func(t *testing.T) {
		r := newLearnerRig(t, 0, nil)
		r.hello()
		r.packet(snap, zx(2, 6), nil)
		r.step(Input{Kind: InTreeReceived, Zxid: zx(2, 6), OK: true})
		r.packet(newLeader, zx(2, 0), nil)
		r.proposal(zx(2, 3))
		expect(t, r.proposal(zx(2, 5)), "give up: gap between proposals, need snap")
	})
	t.Run("half a tree", func(t *testing.T) {
		r := newLearnerRig(t, 3, nil)
		r.hello()
		r.packet(snap, zx(1, 9), nil)
		expect(t, r.step(Input{Kind: InTreeReceived, Zxid: zx(1, 9)}), "give up: snapshot not received, need snap")
	})
	t.Run("without a usable history", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.LastZxid = -1 })
		expect(t, r.hello(), "1<FOLLOWERINFO 100000000", "accepted 2", "1<ACKEPOCH -1")
		expect(t, r.packet(diff, -1, nil), "give up: protocol violation")
	})
	t.Run("observer", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.Role = quorum.Observer })
		expect(t, r.hello(), "1<OBSERVERINFO 100000000", "accepted 2", "1<ACKEPOCH 100000003")
		r.packet(diff, zx(1, 5), nil)
		expect(t, r.pair(zx(1, 4)), "append 100000004", "commit 100000004")
		txn := make([]byte, 36)
		expect(t, r.packet(quorum.PacketInform, zx(1, 5), txn), "append 100000005", "commit 100000005")
		r.durable(zx(1, 5))
		expect(t, r.packet(newLeader, zx(2, 0), nil), "current 2", "1<ACK 200000000")
		expect(t, r.packet(quorum.PacketInform, zx(2, 1), txn))
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2", "append 200000001", "commit 200000001")
		expect(t, r.durable(zx(2, 1))) // observers acknowledge nothing
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: quorum.PacketInform, Zxid: zx(2, 2), Data: txn}}, &r.out)
		p, _, err := quorum.DecodePacket(r.out.List[0].Data)
		if err != nil || p.Type != quorum.PacketProposal || p.Zxid != zx(2, 2) || len(p.Data) != len(txn) {
			t.Errorf("logs %s, %v", format(&p), err)
		}
		r.out.Reset()
		expect(t, r.proposal(zx(2, 3)), "warn: protocol violation", "commit 200000002")
		expect(t, r.packet(commit, zx(2, 3), nil), "warn: protocol violation")
		expect(t, r.packet(quorum.PacketInform, zx(2, 4), txn), "give up: gap between proposals, need snap")
	})
	t.Run("cumulative", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.Features = quorum.AllFeatures })
		r.hello()
		r.packet(diff, zx(1, 6), nil)
		for i := 4; i <= 6; i++ {
			r.proposal(zx(1, i))
		}
		expect(t, r.packet(commit, zx(1, 6), nil), "append 100000004", "append 100000005", "append 100000006", "commit 100000006")
		r.durable(zx(1, 6))
		r.packet(newLeader, zx(2, 0), nil)
		r.packet(upToDate, -1, nil)
		for i := 1; i <= 3; i++ {
			r.proposal(zx(2, i))
		}
		expect(t, r.durable(zx(2, 3)), "1<ACK 200000003")
		expect(t, r.packet(commit, zx(2, 2), nil), "commit 200000002")
		expect(t, r.packet(commit, zx(2, 2), nil), "warn: protocol violation")
		expect(t, r.packet(commit, zx(2, 4), nil), "give up: protocol violation")
	})
}

// TestLearnerDeviations goes through section 4.13: what a leader does wrong, what the learner does.
func TestLearnerDeviations(t *testing.T) {
	syncing := func(t *testing.T) *learnerRig {
		r := newLearnerRig(t, 3, nil)
		r.hello()
		r.packet(diff, zx(1, 3), nil)
		return r
	}
	serving := func(t *testing.T) *learnerRig {
		r := newLearnerRig(t, 3, nil)
		r.serve()
		return r
	}
	t.Run("LEADERINFO below acceptedEpoch", func(t *testing.T) {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.AcceptedEpoch = 3 })
		expect(t, r.hello(), "1<FOLLOWERINFO 300000000", "give up: leader of an old epoch")
	})
	t.Run("first packet", func(t *testing.T) {
		for _, c := range []struct {
			typ  quorum.PacketType
			data []byte
			want string
		}{
			{ping, nil, "give up: protocol violation"},
			{newLeader, nil, "give up: handshake from before ZooKeeper 3.4"},
			{quorum.PacketLeaderInfo, []byte{1}, "give up: protocol violation"},
			{quorum.PacketLeaderInfo, []byte{0, 0, 0, 1}, "give up: handshake from before ZooKeeper 3.4"},
		} {
			r := newLearnerRig(t, 3, nil)
			r.step(Input{Kind: InLinkOpened, Link: 1})
			expect(t, r.packet(c.typ, zx(2, 0), c.data), c.want)
		}
	})
	t.Run("after ACKEPOCH neither DIFF nor TRUNC nor SNAP", func(t *testing.T) {
		r := newLearnerRig(t, 3, nil)
		r.hello()
		expect(t, r.packet(ping, zx(2, 0), nil), "give up: protocol violation")
	})
	t.Run("NEWLEADER with another epoch", func(t *testing.T) {
		r := syncing(t)
		expect(t, r.packet(newLeader, zx(7, 0), nil), "current 2", "1<ACK 200000000")
	})
	t.Run("NEWLEADER twice", func(t *testing.T) {
		r := syncing(t)
		r.packet(newLeader, zx(2, 0), nil)
		expect(t, r.packet(newLeader, zx(2, 0), nil), "give up: protocol violation")
	})
	t.Run("UPTODATE without NEWLEADER", func(t *testing.T) {
		r := syncing(t)
		r.pair(zx(1, 4))
		expect(t, r.packet(upToDate, -1, nil))
		expect(t, r.durable(zx(1, 4)), "current 2", "1<ACK 200000000", "serve 2")
	})
	t.Run("UPTODATE before the ACK", func(t *testing.T) {
		r := syncing(t)
		r.pair(zx(1, 4))
		r.packet(newLeader, zx(2, 0), nil)
		expect(t, r.packet(upToDate, -1, nil))
		expect(t, r.durable(zx(1, 4)), "current 2", "1<ACK 200000000", "serve 2")
	})
	t.Run("UPTODATE twice", func(t *testing.T) {
		r := serving(t)
		expect(t, r.packet(upToDate, -1, nil), "warn: protocol violation")
	})
	t.Run("gaps in the sync", func(t *testing.T) {
		for _, c := range []struct {
			first, second quorum.Zxid
		}{
			{zx(1, 5), 0},        // leaves one out
			{zx(1, 3), 0},        // known
			{zx(1, 2), 0},        // old
			{zx(2, 2), 0},        // leaves out the start of the epoch
			{zx(1, 4), zx(1, 6)}, // as in the middle
			{zx(1, 4), zx(3, 4)}, // as a leader with abandoned proposals in its log does
			{zx(2, 1), zx(1, 4)}, // backwards
		} {
			r := syncing(t)
			z := c.first
			if c.second != 0 {
				r.pair(c.first)
				z = c.second
			}
			expect(t, r.proposal(z), "give up: gap between proposals, need snap")
		}
	})
	t.Run("an empty learner takes any first proposal", func(t *testing.T) {
		r := newLearnerRig(t, 0, nil)
		r.hello()
		r.packet(diff, 0, nil)
		expect(t, r.pair(zx(1, 7)), "append 100000007", "commit 100000007")
		r = newLearnerRig(t, 0, nil)
		r.hello()
		r.packet(diff, 0, nil)
		r.proposal(zx(2, 7))
		r.packet(newLeader, zx(2, 0), nil)
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2", "append 200000007")
		expect(t, r.durable(zx(2, 7)), "1<ACK 200000007")
		expect(t, r.packet(commit, zx(2, 7), nil), "commit 200000007")
	})
	t.Run("gap in steady state", func(t *testing.T) {
		r := serving(t)
		r.proposal(zx(2, 1))
		expect(t, r.proposal(zx(2, 3)), "give up: gap between proposals, need snap")
	})
	t.Run("proposal of another epoch", func(t *testing.T) {
		r := serving(t)
		expect(t, r.proposal(zx(3, 1)), "give up: protocol violation")
		r = syncing(t)
		r.proposal(zx(1, 4))
		r.packet(newLeader, zx(2, 0), nil)
		expect(t, r.packet(upToDate, -1, nil), "1<ACK 200000000", "serve 2", "give up: protocol violation")
	})
	t.Run("COMMIT while an older proposal is pending", func(t *testing.T) {
		r := serving(t)
		r.proposal(zx(2, 1))
		r.proposal(zx(2, 2))
		expect(t, r.packet(commit, zx(2, 2), nil), "give up: protocol violation")
		r = syncing(t)
		r.proposal(zx(1, 4))
		r.proposal(zx(1, 5))
		expect(t, r.packet(commit, zx(1, 5), nil), "give up: protocol violation")
	})
	t.Run("COMMIT with nothing pending", func(t *testing.T) {
		r := serving(t)
		expect(t, r.packet(commit, zx(2, 1), nil), "warn: protocol violation")
		expect(t, r.pair(zx(2, 1)), "append 200000001", "commit 200000001")
		expect(t, r.packet(commit, zx(2, 1), nil), "warn: protocol violation")
		r = syncing(t)
		expect(t, r.packet(commit, zx(1, 3), nil), "warn: protocol violation")
	})
	t.Run("COMMIT before the own log is synced", func(t *testing.T) {
		r := serving(t)
		expect(t, r.pair(zx(2, 1)), "append 200000001", "commit 200000001")
		expect(t, r.durable(zx(2, 1)), "1<ACK 200000001")
	})
	t.Run("strange packets", func(t *testing.T) {
		r := serving(t)
		expect(t, r.packet(77, 0, nil), "warn: protocol violation")
		expect(t, r.packet(quorum.PacketSync, 0, nil), "warn: protocol violation") // nobody asked
		expect(t, r.packet(quorum.PacketRevalidate, -1, []byte{1}), "give up: protocol violation")
		r = syncing(t)
		expect(t, r.packet(77, 0, nil)) // ignored meanwhile, as in Java
		expect(t, r.packet(quorum.PacketSync, 0, nil))
	})
	t.Run("silence", func(t *testing.T) {
		init, sync := testTiming.init(), testTiming.sync()
		r := newLearnerRig(t, 3, nil)
		r.step(Input{Kind: InLinkOpened, Link: 1})
		expect(t, r.tick(init-1))
		expect(t, r.tick(1), "give up: peer silent")
		if r.l.NextDeadline() == 0 {
			t.Error("no deadline")
		}
		r = syncing(t)
		expect(t, r.tick(init-1))
		r.pair(zx(1, 4))
		expect(t, r.tick(init-1))
		r.durable(zx(1, 4))
		r.packet(newLeader, zx(2, 0), nil)
		expect(t, r.tick(sync-1))
		r.packet(ping, zx(2, 0), nil)
		expect(t, r.tick(sync-1))
		expect(t, r.tick(1), "give up: peer silent")
		r = serving(t)
		expect(t, r.tick(sync-1))
		expect(t, r.packet(ping, zx(2, 0), nil), "1<answer 200000000")
		expect(t, r.tick(sync), "give up: peer silent")
		expect(t, r.tick(sync))
	})
	t.Run("link closed", func(t *testing.T) {
		r := serving(t)
		expect(t, r.step(Input{Kind: InLinkClosed, Link: 5}))
		expect(t, r.step(Input{Kind: InPacket, Link: 5}))
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: quorum.PacketProposal, Zxid: zx(2, 1)}}, &r.out)
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: commit, Zxid: zx(2, 1)}}, &r.out)
		expect(t, r.step(Input{Kind: InLinkClosed, Link: 1}), "append 200000001", "commit 200000001", "give up: connection closed")
	})
}

// TestLearnerPipes is about what the learner passes on for local clients.
func TestLearnerPipes(t *testing.T) {
	r := newLearnerRig(t, 3, nil)
	r.serve()
	expect(t, r.step(Input{Kind: InRequest, Packet: quorum.Packet{Data: []byte("request")}}), "1<REQUEST -1")
	expect(t, r.step(Input{Kind: InSyncRequest, Token: 7, Packet: quorum.Packet{Data: []byte("sync")}}), "1<REQUEST -1")
	expect(t, r.step(Input{Kind: InSyncRequest, Token: 8, Packet: quorum.Packet{Data: []byte("sync")}}), "1<REQUEST -1")
	expect(t, r.step(Input{Kind: InRevalidate, Session: 0x12, TimeoutMs: 4000}), "1<REVALIDATE -1")
	// What was committed before the answer is applied before it.
	for _, p := range []quorum.Packet{
		{Type: quorum.PacketProposal, Zxid: zx(2, 1)}, {Type: commit, Zxid: zx(2, 1)}, {Type: quorum.PacketSync},
		{Type: quorum.PacketProposal, Zxid: zx(2, 2)}, {Type: commit, Zxid: zx(2, 2)},
		{Type: quorum.PacketRevalidate, Data: (&quorum.RevalidateReply{SessionID: 0x12, Valid: true}).Append(nil)},
	} {
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: p}, &r.out)
	}
	expect(t, r.packet(quorum.PacketSync, 0, nil), "append 200000001", "commit 200000001", "synced 7",
		"append 200000002", "commit 200000002", "revalidated 12 true", "synced 8")
	expect(t, r.step(Input{Kind: InResign, Err: ErrResigned}), "give up: resigned")
}

// TestLearnerHoldsCopies checks that held proposals do not alias the input's bytes beyond the turn.
func TestLearnerHoldsCopies(t *testing.T) {
	r := newLearnerRig(t, 3, nil)
	r.hello()
	r.packet(diff, zx(1, 3), nil)
	r.packet(newLeader, zx(2, 0), nil)
	want := string(testProposal(zx(2, 1), 42))
	for round := range 3 {
		b := testProposal(zx(2, 1+round), 42+round)
		p, _, _ := quorum.DecodePacket(b)
		r.step(Input{Kind: InPacket, Link: 1, Packet: p})
		clear(b)
	}
	r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: upToDate}}, &r.out)
	for i := range r.out.List {
		if o := &r.out.List[i]; o.Kind == OutAppend {
			if string(o.Data) != want {
				t.Error("a held proposal changed")
			}
			return
		}
	}
	t.Error("nothing logged")
}
