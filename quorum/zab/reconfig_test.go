package zab

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// members returns a config of some of the servers of testConfig(5, 0) as voters, and observers.
func members(version quorum.Zxid, voters, observers []quorum.ServerID) *quorum.Config {
	all := testConfig(9, 0)
	var list []quorum.Member
	for _, id := range voters {
		list = append(list, *all.Member(id))
	}
	for _, id := range observers {
		m := *all.Member(id)
		m.Role = quorum.Observer
		list = append(list, m)
	}
	config, err := quorum.NewConfig(version, list, nil, nil)
	if err != nil {
		panic(err)
	}
	return config
}

// reconfigProposal makes the PROPOSAL of a reconfig.
func reconfigProposal(z quorum.Zxid, config *quorum.Config) []byte {
	b, start := proto.BeginProposal(nil, z)
	h := proto.TxnHeader{Zxid: z, Type: proto.OpReconfig}
	b = h.Append(b)
	body := proto.TxnBody{Path: []byte("/zookeeper/config"), Data: config.WithVersion(z).AppendText(nil), Version: -1}
	return proto.EndProposal(body.Append(b, proto.OpReconfig), start)
}

func reconfigEnabled(o *LeaderOptions) { o.ReconfigEnabled = true }

// TestLeaderReconfig is about who has to acknowledge while a reconfig is pending, and who leads
// then (sections 8.3 and 8.4).
func TestLeaderReconfig(t *testing.T) {
	ids := func(ids ...quorum.ServerID) []quorum.ServerID { return ids }
	// begin has server 1 lead the voters 1..3, with 2 and 3 and the further ones connected.
	begin := func(t *testing.T, also ...LinkID) *leaderRig {
		r := newLeaderRig(t, members(0, ids(1, 2, 3), ids(6)), 3, reconfigEnabled)
		r.start()
		// The first config gets its version now.
		r.open(2)
		r.info(2, followerInfo, 1)
		r.ackEpoch(2, 1, zx(1, 3))
		expect(t, r.ack(2, zx(2, 0)), "commit 100000003", "activate config 200000000 leader 1", "serve 2", "2<UPTODATE -1")
		r.follower(3)
		for _, id := range also {
			r.follower(id)
		}
		return r
	}
	t.Run("both quorums", func(t *testing.T) {
		r := begin(t, 4, 5)
		r.propose(1, nil)
		// 2:2 makes 1, 4, 5 the voters. 2:1 needs the old quorum only.
		expect(t, r.propose(1, members(0, ids(1, 4, 5), nil)), "save config 200000002",
			"2<PROPOSALs 200000002..200000002", "3<PROPOSALs 200000002..200000002", "4<PROPOSALs 200000002..200000002", "5<PROPOSALs 200000002..200000002")
		r.propose(1, nil)
		r.durable(zx(2, 3))
		expect(t, r.ack(4, zx(2, 3))) // the old quorum is missing
		expect(t, r.ack(2, zx(2, 2)),
			"2<COMMIT 200000001", "3<COMMIT 200000001", "4<COMMIT 200000001", "5<COMMIT 200000001", "commit 200000001",
			"2<COMMITANDACTIVATE 200000002", "3<COMMITANDACTIVATE 200000002", "4<COMMITANDACTIVATE 200000002", "5<COMMITANDACTIVATE 200000002",
			"commit 200000002", "activate config 200000002 leader 1",
			// 2:3 was proposed while the reconfig was pending. The new quorum has it.
			"2<COMMIT 200000003", "3<COMMIT 200000003", "4<COMMIT 200000003", "5<COMMIT 200000003", "commit 200000003")
		expect(t, r.propose(1, nil), "2<*", "3<*", "4<*", "5<*") // 2:4
		r.durable(zx(2, 4))
		expect(t, r.ack(3, zx(2, 4)))
		expect(t, r.ack(5, zx(2, 4)), "2<COMMIT 200000004", "3<COMMIT 200000004", "4<COMMIT 200000004", "5<COMMIT 200000004", "commit 200000004")
		// The next reconfig, back.
		expect(t, r.propose(1, members(0, ids(1, 2, 3), nil)), "save config 200000005", "2<*", "3<*", "4<*", "5<*")
		r.durable(zx(2, 5))
		expect(t, r.ack(3, zx(2, 5)))
		expect(t, r.ack(4, zx(2, 5)), "2<*", "3<*", "4<*", "5<*", "commit 200000005", "activate config 200000005 leader 1")
	})
	t.Run("observers are told the transaction", func(t *testing.T) {
		r := begin(t)
		r.join(6, observerInfo, zx(1, 3))
		z := r.l.last + 1
		p := Proposal{Zxid: z, Packet: reconfigProposal(z, members(0, ids(1, 2), ids(6))), Config: members(z, ids(1, 2), ids(6))}
		r.step(Input{Kind: InPropose, Proposals: []Proposal{p}})
		r.durable(z)
		r.l.Step(0, Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: quorum.PacketAck, Zxid: z}}, &r.out)
		r.l.EndTurn(0, &r.out)
		for i := range r.out.List {
			if o := &r.out.List[i]; o.Link == 6 {
				leader, txn, err := quorum.DecodeInformAndActivate(o.Data)
				want, _ := proto.ProposalTxn(p.Packet)
				if o.Type != quorum.PacketInformAndActivate || err != nil || leader != 1 || string(txn) != string(want) {
					t.Errorf("%s, leader %d, %v", show(o), leader, err)
				}
				return
			}
		}
		t.Error("the observer is told nothing")
	})
	t.Run("the leader leaves", func(t *testing.T) {
		r := begin(t)
		r.propose(1, members(0, ids(2, 3), nil))
		r.propose(2, nil)
		r.durable(zx(2, 3))
		r.ack(2, zx(2, 1))
		// Both new voters have the reconfig; 3 has more of what follows, and is designated.
		expect(t, r.ack(3, zx(2, 3)), "2<COMMITANDACTIVATE 200000001", "3<COMMITANDACTIVATE 200000001", "commit 200000001", "activate config 200000001 leader 3")
		// From now on it commits nothing more, though it has the quorums.
		expect(t, r.ack(2, zx(2, 3)))
		// It does not keep them, and it is not elected who leads next.
		r.packet(2, quorum.PacketPing, 0, nil)
		r.packet(3, quorum.PacketPing, 0, nil)
		expect(t, r.tick(testTiming.Tick/2))
		expect(t, r.tick(testTiming.Tick/2), "give up: reconfigured, leader 3")
	})
	t.Run("a dead leader's reconfig is completed by one that it removes", func(t *testing.T) {
		old, next := members(zx(1, 0), ids(1, 2, 3), nil), members(zx(1, 3), ids(2, 3), ids(1))
		r := newLeaderRig(t, old, 3, func(o *LeaderOptions) { o.ReconfigEnabled, o.LastSeen = true, next })
		r.start()
		for id := LinkID(2); id <= 3; id++ {
			r.open(id)
			r.info(id, followerInfo, 1)
		}
		for id := LinkID(2); id <= 3; id++ {
			r.ackEpoch(id, 1, zx(1, 3))
		}
		r.ack(2, zx(2, 0))
		// Who follows is up to date, and has the list; but this one commits nothing, so it must not keep them.
		expect(t, r.ack(3, zx(2, 0)), "commit 100000003", "activate config 100000003 leader 3",
			"2<UPTODATE -1", "3<UPTODATE -1", "give up: reconfigured")
	})
	t.Run("the leader leaves, and goes when its followers have gone", func(t *testing.T) {
		r := begin(t)
		r.propose(1, members(0, ids(2, 3), nil))
		r.durable(zx(2, 1))
		r.ack(2, zx(2, 1))
		r.ack(3, zx(2, 1))
		expect(t, r.step(Input{Kind: InLinkClosed, Link: 3}))
		expect(t, r.step(Input{Kind: InLinkClosed, Link: 2}), "give up: reconfigured, leader 3")
	})
	t.Run("a dead leader's reconfig is completed", func(t *testing.T) {
		// 1:3 was a reconfig to 1, 4, 5 of which only this server knows that it was proposed.
		old, next := members(zx(1, 0), ids(1, 2, 3), nil), members(zx(1, 3), ids(1, 4, 5), nil)
		r := newLeaderRig(t, old, 3, func(o *LeaderOptions) { o.ReconfigEnabled, o.LastSeen = true, next })
		r.start()
		r.open(2)
		r.open(4)
		// Epoch, promises and NEWLEADER need both quorums.
		expect(t, r.info(2, followerInfo, 1))
		expect(t, r.info(4, followerInfo, 1), "accepted 2", "2<*", "4<*")
		expect(t, r.ackEpoch(2, 1, zx(1, 3)))
		expect(t, r.ackEpoch(4, 1, zx(1, 3)), "current 2", "2<*", "2<*", "4<*", "4<*")
		expect(t, r.ack(2, zx(2, 0)))
		expect(t, r.ack(4, zx(2, 0)), "commit 100000003", "activate config 100000003 leader 1", "serve 2", "2<*", "4<*")
		r.propose(1, nil)
		r.durable(zx(2, 1))
		expect(t, r.ack(2, zx(2, 1)))
		expect(t, r.ack(4, zx(2, 1)), "2<*", "4<*", "commit 200000001")
	})
	t.Run("a reconfig that the history does not reach", func(t *testing.T) {
		old, next := members(zx(1, 0), ids(1, 2, 3), nil), members(zx(1, 4), ids(1, 4, 5), nil)
		r := newLeaderRig(t, old, 3, func(o *LeaderOptions) { o.ReconfigEnabled, o.LastSeen = true, next })
		r.start()
		r.open(2)
		expect(t, r.info(2, followerInfo, 1), "accepted 2", "2<*")
		expect(t, r.ackEpoch(2, 1, zx(1, 3)), "current 2", "2<*", "2<*")
		expect(t, r.ack(2, zx(2, 0)), "commit 100000003", "serve 2", "2<*")
	})
	t.Run("old voters are not waited for once the reconfig is committed", func(t *testing.T) {
		r := begin(t)
		expect(t, r.propose(1, members(0, ids(1), ids(2, 3))), "save config 200000001", "2<*", "3<*")
		r.propose(1, nil)
		r.durable(zx(2, 2))
		// 2:2 was proposed before the commit, and server 2 acknowledges it no more: it is an observer now.
		expect(t, r.ack(2, zx(2, 1)), "2<COMMITANDACTIVATE 200000001", "3<COMMITANDACTIVATE 200000001", "commit 200000001",
			"activate config 200000001 leader 1", "2<COMMIT 200000002", "3<COMMIT 200000002", "commit 200000002")
		// Who has been made an observer and is still connected as a follower is no voter for the next.
		if r.l.HasSyncedQuorum(members(0, ids(1, 2), nil)) {
			t.Error("a server that is about to connect as an observer counts as a follower")
		}
	})
	t.Run("a voter that has become an observer does not hold a reconfig up for ever", func(t *testing.T) {
		r := begin(t)
		r.propose(1, members(0, ids(1, 2), ids(3)))
		r.step(Input{Kind: InLinkClosed, Link: 2})
		r.join(2, observerInfo, zx(1, 3))
		for range 2 {
			r.packet(2, quorum.PacketPing, 0, nil)
			r.packet(3, quorum.PacketPing, 0, nil)
		}
		expect(t, r.tick(2*testTiming.Tick), "give up: no quorum")
	})
	t.Run("fresh followers of both", func(t *testing.T) {
		r := begin(t, 4)
		r.propose(1, members(0, ids(1, 4, 5), nil))
		r.step(Input{Kind: InLinkClosed, Link: 4})
		expect(t, r.tick(2*testTiming.Tick), "give up: no quorum")
	})
}

// TestLearnerReconfig is about when a learner takes a config over (sections 8.4 and 8.6).
func TestLearnerReconfig(t *testing.T) {
	ids := func(ids ...quorum.ServerID) []quorum.ServerID { return ids }
	enabled := func(o *LearnerOptions) { o.ReconfigEnabled = true }
	next := members(0, ids(1, 2, 4), nil)
	activate := func(leader quorum.ServerID) []byte { return quorum.AppendActivate(nil, leader) }
	reconfig := func(r *learnerRig, z quorum.Zxid, c *quorum.Config) []string {
		p, _, _ := quorum.DecodePacket(reconfigProposal(z, c))
		return r.step(Input{Kind: InPacket, Link: 1, Packet: p})
	}
	serving := func(t *testing.T, change func(*LearnerOptions)) *learnerRig {
		r := newLearnerRig(t, 3, change)
		r.serve()
		if !r.l.Serving() {
			t.Fatal("does not serve")
		}
		return r
	}
	t.Run("in steady state", func(t *testing.T) {
		r := serving(t, enabled)
		expect(t, reconfig(r, zx(2, 1), next), "save config 200000001", "append 200000001")
		expect(t, r.durable(zx(2, 1)), "1<ACK 200000001")
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), activate(1)), "commit 200000001", "activate config 200000001 leader 1")
		expect(t, r.proposal(zx(2, 2)), "append 200000002")
	})
	t.Run("disabled", func(t *testing.T) {
		r := serving(t, nil)
		expect(t, reconfig(r, zx(2, 1), next), "append 200000001")
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), activate(4)), "commit 200000001")
	})
	t.Run("another leader", func(t *testing.T) {
		r := serving(t, enabled)
		reconfig(r, zx(2, 1), next)
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), activate(4)),
			"commit 200000001", "activate config 200000001 leader 4", "give up: reconfigured, leader 4")
	})
	t.Run("another role", func(t *testing.T) {
		r := serving(t, enabled)
		reconfig(r, zx(2, 1), members(0, ids(1, 3), ids(2)))
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), activate(1)),
			"commit 200000001", "activate config 200000001 leader 1", "give up: reconfigured, leader 1")
	})
	t.Run("removed: goes on without a vote", func(t *testing.T) {
		r := serving(t, enabled)
		reconfig(r, zx(2, 1), members(0, ids(1, 3), nil))
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), activate(1)), "commit 200000001", "activate config 200000001 leader 1")
	})
	t.Run("observer", func(t *testing.T) {
		observer := func(o *LearnerOptions) {
			o.ReconfigEnabled, o.Role, o.Config = true, quorum.Observer, members(0, ids(1, 3), ids(2))
		}
		r := serving(t, observer)
		txn, _ := proto.ProposalTxn(reconfigProposal(zx(2, 1), members(0, ids(1, 3, 4), ids(2))))
		expect(t, r.packet(quorum.PacketInformAndActivate, zx(2, 1), append(activate(1), txn...)),
			"save config 200000001", "append 200000001", "commit 200000001", "activate config 200000001 leader 1")
		txn, _ = proto.ProposalTxn(reconfigProposal(zx(2, 2), members(0, ids(1, 2, 3), nil)))
		expect(t, r.packet(quorum.PacketInformAndActivate, zx(2, 2), append(activate(1), txn...)),
			"save config 200000002", "append 200000002", "commit 200000002", "activate config 200000002 leader 1", "give up: reconfigured, leader 1")
	})
	t.Run("during the sync", func(t *testing.T) {
		r := newLearnerRig(t, 3, enabled)
		r.hello()
		r.packet(quorum.PacketDiff, zx(1, 5), nil)
		expect(t, reconfig(r, zx(1, 4), next), "save config 100000004")
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(1, 4), activate(1)), "append 100000004", "commit 100000004", "activate config 100000004 leader 1")
		expect(t, reconfig(r, zx(1, 5), members(0, ids(1, 2), nil)), "save config 100000005")
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(1, 5), activate(2)),
			"append 100000005", "commit 100000005", "activate config 100000005 leader 2", "give up: reconfigured, leader 2")
	})
	t.Run("of NEWLEADER", func(t *testing.T) {
		for _, c := range []struct {
			config *quorum.Config
			want   []string
		}{
			{members(zx(2, 0), ids(1, 2, 3), nil), []string{"activate config 200000000", "1<ACK 200000000", "serve 2"}},
			{members(zx(2, 0), ids(1, 3), ids(2)), []string{"activate config 200000000", "give up: reconfigured"}},
			{members(zx(2, 0), ids(2, 3), ids(1)), []string{"activate config 200000000", "give up: reconfigured"}}, // not its leader's any more
			{members(0, ids(1, 3), ids(2)), []string{"1<ACK 200000000", "serve 2"}},                                // not newer
			{members(zx(2, 1), ids(1, 3), ids(2)), []string{"1<ACK 200000000", "serve 2"}},                         // pending
		} {
			r := newLearnerRig(t, 3, enabled)
			r.hello()
			r.packet(quorum.PacketDiff, zx(1, 3), nil)
			want := []string{"current 2", "1<ACK 200000000"}
			if c.config.Version > 0 {
				want = append([]string{fmt.Sprintf("save config %x", c.config.Version)}, want...)
			}
			expect(t, r.packet(quorum.PacketNewLeader, zx(2, 0), c.config.AppendText(nil)), want...)
			expect(t, r.packet(quorum.PacketUpToDate, -1, nil), c.want...)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		r := serving(t, enabled)
		expect(t, r.packet(quorum.PacketCommitAndActivate, zx(2, 1), []byte{1}), "give up: protocol violation")
		r = serving(t, enabled)
		expect(t, r.packet(quorum.PacketInformAndActivate, zx(2, 1), []byte{1}), "give up: protocol violation")
		r = serving(t, enabled)
		b, start := proto.BeginProposal(nil, zx(2, 1))
		h := proto.TxnHeader{Zxid: zx(2, 1), Type: proto.OpReconfig}
		b = jute.AppendString(h.Append(b), "/zookeeper/config")
		p, _, _ := quorum.DecodePacket(proto.EndProposal(b, start))
		expect(t, r.step(Input{Kind: InPacket, Link: 1, Packet: p}), "give up: protocol violation")
		r = newLearnerRig(t, 3, enabled)
		r.hello()
		r.packet(quorum.PacketDiff, zx(1, 3), nil)
		expect(t, r.packet(quorum.PacketNewLeader, zx(2, 0), []byte("nonsense")), "give up: protocol violation")
	})
}
