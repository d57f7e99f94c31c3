package zab

import (
	"fmt"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// pipeline is a leader and two followers in steady state that hand packets to each other.
type pipeline struct {
	leader    *leaderRig
	followers [2]*Learner
	outs      [2]Outputs
	proposals []Proposal
	packets   [][]byte
	decoder   quorum.Decoder
	wire      []byte
}

// newPipeline makes turns of batch proposals. Between Zabra servers ACKs and COMMITs are cumulative.
func newPipeline(t *testing.T, batch int, features quorum.Features) *pipeline {
	config := testConfig(3, 0)
	p := &pipeline{leader: newLeaderRig(t, config, 0, func(o *LeaderOptions) {
		o.LastZxid, o.DurableZxid, o.Features = 0, 0, features
	})}
	p.leader.start()
	for i := range p.followers {
		id := quorum.ServerID(i + 2)
		p.followers[i] = NewLearner(LearnerOptions{Self: id, Leader: 1, Config: config, Timing: testTiming, Features: features})
		r := learnerRig{t: t, l: p.followers[i]}
		r.hello()
		r.packet(diff, 0, nil)
		r.packet(newLeader, zx(2, 0), nil)
		r.packet(upToDate, -1, nil)
		li := quorum.LearnerInfo{ServerID: id, ProtocolVersion: quorum.ProtocolVersion, Features: features}
		p.leader.open(LinkID(id))
		p.leader.packet(LinkID(id), followerInfo, zx(1, 0), li.Append(nil))
	}
	for id := LinkID(2); id <= 3; id++ {
		p.leader.ackEpoch(id, 1, 0)
	}
	for id := LinkID(2); id <= 3; id++ {
		p.leader.ack(id, zx(2, 0))
	}
	if !p.leader.l.Serving() || !p.followers[0].Serving() || !p.followers[1].Serving() {
		t.Fatal("not in steady state")
	}
	p.proposals = make([]Proposal, batch)
	p.packets = make([][]byte, batch)
	for i := range p.packets {
		p.packets[i] = testProposal(zx(2, 1), i)
	}
	return p
}

// round takes one batch from proposal to commit on all three servers.
func (p *pipeline) round() {
	l, out := p.leader.l, &p.leader.out
	last := l.last
	for i := range p.proposals {
		last++
		b := p.packets[i]
		for j := range 8 {
			b[4+j] = byte(last >> (56 - 8*j))
		}
		p.proposals[i] = Proposal{Zxid: last, Packet: b}
	}
	l.Step(0, Input{Kind: InPropose, Proposals: p.proposals}, out)
	p.endLeaderTurn()
	l.Step(0, Input{Kind: InLogDurable, Zxid: last}, out)
	for i, f := range p.followers {
		f.Step(0, Input{Kind: InLogDurable, Zxid: last}, &p.outs[i])
		p.endFollowerTurn(i)
	}
	p.endLeaderTurn()
	for i := range p.followers {
		p.endFollowerTurn(i)
	}
	if l.Committed() != last || p.followers[0].applied != last || p.followers[1].applied != last {
		panic(fmt.Sprintf("committed 0x%x, applied 0x%x and 0x%x of 0x%x", l.Committed(), p.followers[0].applied, p.followers[1].applied, last))
	}
}

// endLeaderTurn hands the leader's packets to the followers.
func (p *pipeline) endLeaderTurn() {
	l, out := p.leader.l, &p.leader.out
	l.EndTurn(0, out)
	for i := range out.List {
		o := &out.List[i]
		switch o.Kind {
		case OutSendProposals:
			w := l.Window()
			for j := w.After(o.From - 1); j < w.Len() && w.At(j).Zxid <= o.Zxid; j++ {
				p.deliver(o.Link, w.At(j).Packet)
			}
		case OutSend:
			p.wire = o.AppendPackets(p.wire[:0], nil, nil)
			p.deliver(o.Link, p.wire)
		}
	}
	out.Reset()
}

func (p *pipeline) deliver(link LinkID, b []byte) {
	for len(b) > 0 {
		packet, n, err := p.decoder.Decode(b)
		if err != nil {
			panic(err)
		}
		i := int(link - 2)
		p.followers[i].Step(0, Input{Kind: InPacket, Link: 1, Packet: packet}, &p.outs[i])
		b = b[n:]
	}
}

// endFollowerTurn hands the follower's ACKs to the leader.
func (p *pipeline) endFollowerTurn(i int) {
	out := &p.outs[i]
	p.followers[i].EndTurn(0, out)
	for j := range out.List {
		if o := &out.List[j]; o.Kind == OutSend {
			p.wire = o.AppendPackets(p.wire[:0], nil, nil)
			for b := p.wire; len(b) > 0; b = b[quorum.PacketMinBytes:] {
				packet, _, err := p.decoder.Decode(b)
				if err != nil {
					panic(err)
				}
				p.leader.l.Step(0, Input{Kind: InPacket, Link: LinkID(i + 2), Packet: packet}, &p.leader.out)
			}
		}
	}
	out.Reset()
}

// TestSteadyStateAllocs pins that a turn in steady state allocates nothing, neither at the
// leader nor at the followers, once rings and output lists have their size.
func TestSteadyStateAllocs(t *testing.T) {
	for _, features := range []quorum.Features{0, quorum.AllFeatures} {
		p := newPipeline(t, 16, features)
		for range 200 {
			p.round()
		}
		if n := testing.AllocsPerRun(500, p.round); n != 0 {
			t.Errorf("features %d: %v allocations per turn of 16 proposals, want 0", features, n)
		}
	}
}

// TestIdleAllocs pins PINGs and syncs likewise.
func TestIdleAllocs(t *testing.T) {
	r := newLeaderRig(t, testConfig(3, 0), 3, nil)
	r.start()
	r.follower(2)
	r.follower(3)
	req := quorum.Request{Op: proto.OpSync}
	data, touches := req.Append(nil), quorum.AppendTouch(nil, quorum.Touch{SessionID: 1, TimeoutMs: 2})
	step := func(in Input) { r.l.Step(r.now, in, &r.out) }
	end := func() {
		r.l.EndTurn(r.now, &r.out)
		r.out.Reset()
	}
	turn := func() {
		r.now += testTiming.Tick / 2
		step(Input{Kind: InTick})
		step(Input{Kind: InSync, Token: 1})
		step(Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: quorum.PacketRequest, Data: data}})
		step(Input{Kind: InSync, Link: 2})
		end()
		for id := LinkID(2); id <= 3; id++ {
			for range 2 {
				step(Input{Kind: InPacket, Link: id, Packet: quorum.Packet{Type: ping, Zxid: zx(2, 0), Data: touches}})
			}
		}
		end()
	}
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(500, turn); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if r.l.round.waiting.len() > 0 || !r.l.Serving() {
		t.Error("not a steady state")
	}
}

// BenchmarkSteadyState takes proposals to their commit on a leader and two followers, packets
// encoded and decoded, without logs and sockets.
func BenchmarkSteadyState(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		for _, features := range []quorum.Features{0, quorum.AllFeatures} {
			b.Run(fmt.Sprintf("batch=%d/cumulative=%v", batch, features != 0), func(b *testing.B) {
				p := newPipeline(&testing.T{}, batch, features)
				for range 2000/batch + 1 {
					p.round()
				}
				b.ReportAllocs()
				for b.Loop() {
					p.round()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch), "ns/proposal")
			})
		}
	}
}
