package zab

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// fuzzPacket makes a packet of two bytes: a type, with data that suits it or, with the top bit,
// does not, and a zxid near those that matter.
func fuzzPacket(typ, z byte) quorum.Packet {
	p := quorum.Packet{Type: quorum.PacketType(typ & 31), Zxid: zx(quorum.Epoch(z>>5)&3, int(z&31))}
	txn := testProposal(p.Zxid, int(z))[16 : 16+36]
	switch p.Type {
	case quorum.PacketProposal, quorum.PacketInform:
		p.Data = txn
		if z == 33 {
			p.Data = reconfigProposal(p.Zxid, members(0, []int64{1, 2, 4}, nil))
			p.Data = p.Data[16 : len(p.Data)-4]
		}
	case quorum.PacketLeaderInfo:
		p.Data = (&quorum.LeaderInfo{ProtocolVersion: quorum.ProtocolVersion, Features: quorum.AllFeatures}).Append(nil)
	case quorum.PacketFollowerInfo, quorum.PacketObserverInfo:
		p.Data = (&quorum.LearnerInfo{ServerID: int64(z & 7), ProtocolVersion: quorum.ProtocolVersion}).Append(nil)
	case quorum.PacketAckEpoch:
		p.Data = quorum.AppendAckEpoch(nil, quorum.EpochOf(p.Zxid)-1)
	case quorum.PacketCommitAndActivate:
		p.Data = quorum.AppendActivate(nil, int64(z&3))
	case quorum.PacketInformAndActivate:
		p.Data = append(quorum.AppendActivate(nil, int64(z&3)), txn...)
	case quorum.PacketRevalidate:
		p.Data = quorum.AppendRevalidate(nil, quorum.Touch{SessionID: 7})
	case quorum.PacketRequest:
		p.Data = (&quorum.Request{Op: proto.OpCode(z)}).Append(nil)
	case quorum.PacketNewLeader:
		p.Data = members(p.Zxid, []int64{1, 2, 3}, nil).AppendText(nil)
	}
	if typ&128 != 0 {
		p.Data = []byte{1, 2, 3}
	}
	raw := p.Append(nil)
	p, _, _ = quorum.DecodePacket(raw)
	return p
}

// FuzzLearner feeds a learner whatever a leader may send, two bytes per packet. It must not
// panic, and must log and apply only what follows.
func FuzzLearner(f *testing.F) {
	at := func(e quorum.Epoch, n int) byte { return byte(e<<5) | byte(n) }
	f.Add([]byte{17, at(2, 0), 13, at(1, 4), 2, at(1, 4), 4, at(1, 4), 2, at(2, 1), 10, at(2, 0), 4, at(2, 1), 12, 0, 5, 0, 2, at(2, 2), 4, at(2, 2), 7, 0, 6, 0}, uint8(0))
	f.Add([]byte{17, at(2, 0), 14, at(1, 2), 2, at(1, 3), 4, at(1, 3), 10, at(2, 0), 12, 0, 2, 65, 9, 65}, uint8(1))
	f.Add([]byte{17, at(2, 0), 15, at(1, 2), 2, at(1, 3), 4, at(1, 3), 10, at(2, 0), 12, 0}, uint8(4))
	f.Add([]byte{17, at(2, 0), 13, at(1, 3), 8, at(1, 4), 10, at(2, 0), 8, at(2, 1), 12, 0, 8, at(2, 2), 19, at(2, 3)}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, flags uint8) {
		opts := LearnerOptions{
			Self: 2, Leader: 1, Config: testConfig(3, 0), AcceptedEpoch: 1, CurrentEpoch: 1,
			LastZxid: zx(1, 3), DurableZxid: zx(1, 3), Timing: testTiming, ReconfigEnabled: flags&1 != 0,
		}
		if flags&2 != 0 {
			opts.Role = quorum.Observer
		}
		if flags&4 != 0 {
			opts.Features = quorum.AllFeatures
		}
		if flags&8 != 0 {
			opts.LastZxid = 0
		}
		l := NewLearner(opts)
		last, durable, epoch := opts.LastZxid, opts.LastZxid, opts.CurrentEpoch
		var out Outputs
		var next []Input
		turn := func(in Input) {
			l.Step(0, in, &out)
			l.EndTurn(0, &out)
			for i := range out.List {
				switch o := &out.List[i]; o.Kind {
				case OutAppend:
					if last > 0 && !quorum.Follows(last, o.Zxid) {
						t.Fatalf("logs 0x%x after 0x%x", o.Zxid, last)
					}
					last = o.Zxid
					if p, _, err := quorum.DecodePacket(o.Data); err != nil || p.Type != quorum.PacketProposal || p.Zxid != o.Zxid {
						t.Fatalf("logs %s as 0x%x, %v", format(&p), o.Zxid, err)
					}
				case OutTruncateLog:
					last = min(last, o.Zxid)
					durable = last
					next = append(next, Input{Kind: InTruncated, Zxid: o.Zxid, OK: true})
				case OutReceiveTree:
					last = o.Zxid
					next = append(next, Input{Kind: InTreeReceived, Zxid: o.Zxid, OK: flags&16 == 0})
				case OutTakeSnapshot:
					durable = o.Zxid
					next = append(next, Input{Kind: InSnapshotTaken, Zxid: o.Zxid})
				case OutPersistCurrentEpoch:
					if epoch = o.Epoch; durable != last {
						t.Fatalf("epoch %d stands for history up to 0x%x, on disk is 0x%x", epoch, last, durable)
					}
				case OutSend:
					if o.Type == quorum.PacketAck && (epoch != l.epoch || (quorum.CounterOf(o.Zxid) != 0 && o.Zxid > durable)) {
						t.Fatalf("%s, on disk are epoch %d and 0x%x", show(o), epoch, durable)
					}
				case OutCommit:
					if o.Zxid > last {
						t.Fatalf("applies 0x%x, logged is 0x%x", o.Zxid, last)
					}
				}
			}
			out.Reset()
		}
		turn(Input{Kind: InLinkOpened, Link: 1})
		for ; len(b) > 1 && l.phase != learnerDone; b = b[2:] {
			turn(Input{Kind: InPacket, Link: 1, Packet: fuzzPacket(b[0], b[1])})
			if (flags&32 == 0 || b[0]&64 != 0) && last > durable && !l.unlogged {
				durable = last
				next = append(next, Input{Kind: InLogDurable, Zxid: last})
			}
			for len(next) > 0 {
				in := next[0]
				next = next[1:]
				turn(in)
			}
		}
	})
}

// FuzzLeader feeds a leader whatever its learners may send, three bytes per packet, between
// proposals of its own. It must not panic, must send nothing but packets, and must not commit
// what it has not proposed.
func FuzzLeader(f *testing.F) {
	at := func(e quorum.Epoch, n int) byte { return byte(e<<5) | byte(n) }
	join := func(link byte, z byte) []byte { return []byte{link, 11, link, link, 18, z, link, 3, at(2, 0)} }
	f.Add(append(append(join(1, at(1, 3)), 3, 64, 0, 1, 3, at(2, 1), 1, 5, 0, 1, 1, 9), join(2, at(2, 1))...))
	f.Add(append(append(join(1, at(1, 2)), 7, 100, 0, 3, 0, 0), join(0, 0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := NewWindow(0, 0)
		for i := 1; i <= 3; i++ {
			w.Append(zx(1, i), testProposal(zx(1, i), i), nil)
		}
		l := NewLeader(LeaderOptions{
			Self: 3, Config: testConfig(3, 1), AcceptedEpoch: 1, CurrentEpoch: 1, LastZxid: zx(1, 3), DurableZxid: zx(1, 3),
			Timing: testTiming, Features: quorum.AllFeatures, ReconfigEnabled: true,
		}, w, noHistory{})
		var out Outputs
		var now time.Duration
		var next []Input
		turn := func(in Input) {
			l.Step(now, in, &out)
			l.EndTurn(now, &out)
			for i := range out.List {
				switch o := &out.List[i]; o.Kind {
				case OutSend, OutSendProposals, OutSendHistory:
					for p := o.AppendPackets(nil, w, nil); len(p) > 0; {
						_, n, err := quorum.DecodePacket(p)
						if err != nil {
							t.Fatalf("%s: %v", show(o), err)
						}
						p = p[n:]
					}
				case OutStreamSnap:
					next = append(next, Input{Kind: InStreamed, Link: o.Link, Zxid: zx(1, 2), OK: true})
				case OutCommit:
					if o.Zxid > max(l.last, zx(1, 3)) {
						t.Fatalf("commits 0x%x of 0x%x", o.Zxid, l.last)
					}
				case OutRevalidate:
					next = append(next, Input{Kind: InRevalidated, Link: o.Link, Session: o.Session, OK: true})
				case OutRequest:
					next = append(next, Input{Kind: InSync, Link: o.Link})
				}
			}
			out.Reset()
		}
		l.Start(now, &out)
		turn(Input{Kind: InTick})
		links := [3]LinkID{}
		free := LinkID(1)
		for ; len(b) > 2 && l.phase != leaderDone; b = b[3:] {
			i := int(b[0] & 3)
			if i == 3 {
				now += time.Duration(b[1]) * time.Millisecond
				turn(Input{Kind: InTick})
				if l.Serving() {
					z := l.last + 1
					turn(Input{Kind: InPropose, Proposals: []Proposal{{Zxid: z, Packet: testProposal(z, 0)}}})
					turn(Input{Kind: InSync, Token: 1})
					if b[0]&4 != 0 {
						turn(Input{Kind: InLogDurable, Zxid: z})
					}
				}
				continue
			}
			if links[i] == 0 || l.peerAt(links[i]) == nil {
				links[i] = free
				free++
				turn(Input{Kind: InLinkOpened, Link: links[i]})
			}
			turn(Input{Kind: InPacket, Link: links[i], Packet: fuzzPacket(b[1], b[2])})
			for len(next) > 0 {
				in := next[0]
				next = next[1:]
				turn(in)
			}
		}
	})
}

// FuzzReconfig feeds a learner reconfig transactions.
func FuzzReconfig(f *testing.F) {
	f.Add(reconfigProposal(zx(2, 1), members(0, []int64{1, 2, 4}, nil)))
	f.Add(testProposal(zx(2, 1), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := quorum.DecodePacket(b)
		if err != nil || n != len(b) || p.Type != quorum.PacketProposal {
			return
		}
		binary.BigEndian.PutUint64(b[4:], uint64(zx(2, 1)))
		p.Zxid = zx(2, 1)
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.ReconfigEnabled = true })
		r.serve()
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: p}, &r.out)
		for i := range r.out.List {
			if o := &r.out.List[i]; o.Kind == OutAppend && !bytes.Equal(o.Data, b) {
				t.Fatal("logs something else")
			}
		}
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: quorum.PacketCommitAndActivate, Zxid: p.Zxid, Data: quorum.AppendActivate(nil, 1)}}, &r.out)
	})
}
