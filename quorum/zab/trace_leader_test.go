package zab

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// TestLeaderAgainstTraces plays the learner's side of recorded connections to a Leader, and
// compares what it sends with what the Java leader sent, byte by byte. What the leader had
// before, its proposals, and when they were committed are taken from the recording: the other
// followers, made up here, complete each quorum at that moment. What may differ:
//
//   - PINGs: their number is a matter of time, and a sync adds some;
//   - which of several servers that have acknowledged as much is the designated leader.
func TestLeaderAgainstTraces(t *testing.T) {
	for _, name := range traceNames(t) {
		switch name {
		case "observer-via-observer-master":
			continue // the other side is no leader
		case "hazard-diff-from-abandoned-log":
			continue // a leader with a hole in its history; see TestWindow and TestDiffStream
		}
		t.Run(name, func(t *testing.T) { replayLeader(t, name) })
	}
}

// tracedLink is the recorded link; fakeLink that of a made-up follower.
const tracedLink LinkID = 1

func fakeLink(id quorum.ServerID) LinkID { return LinkID(100 + id) }

// leaderReplay drives a Leader.
type leaderReplay struct {
	t        *testing.T
	l        *Leader
	trace    []tracePacket
	out      Outputs
	self     quorum.ServerID
	fakes    []quorum.ServerID
	sent     []quorum.Packet // to the recorded learner
	requests int
	reply    int // next recorded REVALIDATE reply
	last     quorum.Zxid
	epoch    quorum.Epoch
	joined   bool // the made-up followers
}

// floorAll is a History that serves everybody that is not new.
type floorAll struct{ base quorum.Zxid }

func (f floorAll) Floor(peer quorum.Zxid) (quorum.Zxid, bool) { return peer, peer >= f.base }
func (floorAll) Proposal(quorum.Zxid) ([]byte, bool)          { return nil, false }

func replayLeader(t *testing.T, name string) {
	trace := loadTrace(t, name)
	nl := first(trace, quorum.PacketNewLeader)
	lastSeen, err := quorum.ParseConfig(nl.Data)
	if err != nil {
		t.Fatal(err)
	}
	info := first(trace, quorum.PacketFollowerInfo, quorum.PacketObserverInfo)
	li, err := quorum.DecodeLearnerInfo(info.Data)
	if err != nil {
		t.Fatal(err)
	}
	epoch := quorum.EpochOf(first(trace, quorum.PacketLeaderInfo).Zxid)
	peer := first(trace, quorum.PacketAckEpoch).Zxid
	self := quorum.ServerID(3)
	switch {
	case strings.HasSuffix(name, "leader1"):
		self = 1
	case name == "join-trunc" || name == "join-snap-after-lost-proposals":
		self = 2
	}
	r := &leaderReplay{t: t, trace: trace, self: self}
	for i := range lastSeen.Members {
		if m := lastSeen.Members[i]; m.Role == quorum.Participant && m.ID != self && m.ID != li.ServerID {
			r.fakes = append(r.fakes, m.ID)
		}
	}

	// What the leader had before, as far as it shows, with made-up proposals where it does not.
	sync := first(trace, quorum.PacketDiff, quorum.PacketTrunc, quorum.PacketSnap)
	known := map[quorum.Zxid][]byte{}
	for i := range trace {
		if p := &trace[i]; p.fromLeader && p.Type == quorum.PacketProposal {
			known[p.Zxid] = p.Raw
		}
	}
	var past []Proposal
	end := sync.Zxid // of the history when the learner came
	for e := quorum.Epoch(1); e <= epoch; e++ {
		lastOfEpoch := quorum.Zxid(0)
		switch {
		case e == quorum.EpochOf(end):
			lastOfEpoch = end
		case e == quorum.EpochOf(peer) && peer < end:
			lastOfEpoch = quorum.EpochStart(e) + 4 // of join-snap-after-lost-proposals
		}
		for z := quorum.EpochStart(e) + 1; z <= lastOfEpoch; z++ {
			packet := known[z]
			if packet == nil {
				packet = testProposal(z, 0)
			}
			past = append(past, Proposal{Zxid: z, Packet: packet})
		}
	}
	window := NewWindow(0, 0)
	initial := quorum.Zxid(0)
	for len(past) > 0 && quorum.EpochOf(past[0].Zxid) < epoch {
		window.Append(past[0].Zxid, past[0].Packet, nil)
		initial = past[0].Zxid
		past = past[1:]
	}
	opts := LeaderOptions{
		Self: self, Config: lastSeen.WithVersion(li.ConfigVersion), LastSeen: lastSeen,
		ReconfigEnabled: strings.HasPrefix(name, "reconfig"),
		AcceptedEpoch:   epoch - 1, CurrentEpoch: epoch - 1, LastZxid: initial, DurableZxid: initial,
		Timing: testTiming,
	}
	if opts.ReconfigEnabled && quorum.CounterOf(lastSeen.Version) == 0 {
		// The first config gets its version from this leader.
		opts.Config, opts.LastSeen = lastSeen.WithVersion(0), lastSeen.WithVersion(0)
	}
	if name == "reconfig-05-sid3-to-leader1" || name == "reconfig-03-sid4-to-leader3" || name == "reconfig-04-sid4-to-leader3" {
		opts.Config, opts.LastSeen = lastSeen, lastSeen
	}
	r.l = NewLeader(opts, window, floorAll{base: 1})
	r.last = quorum.EpochStart(epoch)
	r.l.Start(0, &r.out)
	r.finish()
	r.epoch = epoch
	// A voter that came before the leader served is in sync with the old history, and needed for
	// the quorum, unless it is ahead of it.
	early := quorum.EpochOf(end) < epoch && lastSeen.IsVoter(li.ServerID) && sync.Type != quorum.PacketTrunc
	if !early {
		r.fakeJoins()
		if !r.l.Serving() {
			t.Fatal("the leader does not serve")
		}
	}
	for _, p := range past {
		r.propose(p.Zxid, p.Packet)
		r.commit(p.Zxid)
	}
	r.sent = nil
	r.play()
	r.compare()
}

// step takes one event as a turn.
func (r *leaderReplay) step(in Input) {
	r.l.Step(0, in, &r.out)
	r.finish()
}

func (r *leaderReplay) finish() {
	r.l.EndTurn(0, &r.out)
	var next []Input
	for i := range r.out.List {
		o := &r.out.List[i]
		switch o.Kind {
		case OutSend, OutSendProposals, OutSendHistory:
			if o.Link == tracedLink {
				r.record(o.AppendPackets(nil, r.l.Window(), nil))
			} else if o.Type == quorum.PacketPing {
				next = append(next, fakePacket(o.Link, quorum.PacketPing, o.Zxid, []byte{}))
			}
		case OutStreamSnap:
			if o.Link != tracedLink {
				next = append(next, Input{Kind: InStreamed, Link: o.Link, Zxid: r.l.opts.LastZxid, OK: true})
				continue
			}
			snap := first(r.trace, quorum.PacketSnap)
			r.sent = append(r.sent, snap.Packet)
			next = append(next, Input{Kind: InStreamed, Link: o.Link, Zxid: snap.Zxid, OK: true})
		case OutStreamDiff:
			s := NewDiffStream(o)
			var b []byte
			var err error
			for j := range r.trace {
				if p := &r.trace[j]; p.fromLeader && p.Type == quorum.PacketProposal && !s.Done() {
					if b, err = s.Append(b, p.Zxid, p.Raw); err != nil {
						r.t.Fatal(err)
					}
				}
			}
			r.record(s.Flush(b))
			next = append(next, Input{Kind: InStreamed, Link: o.Link, Zxid: o.Zxid, OK: s.Done()})
		case OutRevalidate:
			for r.trace[r.reply].Type != quorum.PacketRevalidate || !r.trace[r.reply].fromLeader {
				r.reply++
			}
			answer, err := quorum.DecodeRevalidateReply(r.trace[r.reply].Data)
			if err != nil || answer.SessionID != o.Session {
				r.t.Fatalf("reply to session 0x%x: %+v, %v", o.Session, answer, err)
			}
			r.reply++
			next = append(next, Input{Kind: InRevalidated, Link: o.Link, Session: o.Session, OK: answer.Valid})
		case OutRequest:
			if req, err := quorum.DecodeRequest(o.Data); err == nil && req.Op == proto.OpSync {
				next = append(next, Input{Kind: InSync, Link: o.Link})
			} else {
				r.requests++
			}
		case OutWarn, OutGiveUp:
			r.t.Errorf("output %d: %v", o.Kind, o.Reason)
		}
	}
	r.out.Reset()
	for _, in := range next {
		r.step(in)
	}
}

func (r *leaderReplay) record(b []byte) {
	for len(b) > 0 {
		p, n, err := quorum.DecodePacket(b)
		if err != nil {
			r.t.Fatal(err)
		}
		r.sent = append(r.sent, p)
		b = b[n:]
	}
}

func fakePacket(link LinkID, typ quorum.PacketType, z quorum.Zxid, data []byte) Input {
	return Input{Kind: InPacket, Link: link, Packet: quorum.Packet{Type: typ, Zxid: z, Data: data}}
}

// fakeJoins brings the other followers in, with the leader's own history.
func (r *leaderReplay) fakeJoins() {
	if r.joined {
		return
	}
	r.joined = true
	for _, id := range r.fakes {
		li := quorum.LearnerInfo{ServerID: id, ProtocolVersion: quorum.ProtocolVersion}
		r.step(Input{Kind: InLinkOpened, Link: fakeLink(id)})
		r.step(fakePacket(fakeLink(id), quorum.PacketFollowerInfo, quorum.EpochStart(r.epoch-1), li.Append(nil)))
	}
	for _, id := range r.fakes {
		r.step(fakePacket(fakeLink(id), quorum.PacketAckEpoch, r.l.opts.LastZxid, quorum.AppendAckEpoch(nil, r.l.opts.CurrentEpoch)))
	}
	for _, id := range r.fakes {
		r.step(fakePacket(fakeLink(id), quorum.PacketAck, quorum.EpochStart(r.epoch), nil))
	}
}

func (r *leaderReplay) propose(z quorum.Zxid, packet []byte) {
	if z != r.last+1 {
		r.t.Fatalf("proposal 0x%x after 0x%x", z, r.last)
	}
	r.last = z
	p := Proposal{Zxid: z, Packet: packet}
	txn, err := proto.ProposalTxn(packet)
	if err != nil {
		r.t.Fatal(err)
	}
	d := jute.NewDecoder(txn, len(txn))
	var h proto.TxnHeader
	if h.Decode(&d); h.Type == proto.OpReconfig {
		var b proto.TxnBody
		if err := b.Decode(&d, h.Type); err != nil {
			r.t.Fatal(err)
		}
		if p.Config, err = quorum.ParseConfig(b.Data); err != nil {
			r.t.Fatal(err)
		}
	}
	r.step(Input{Kind: InPropose, Proposals: []Proposal{p}})
}

// commit completes the quorum for z.
func (r *leaderReplay) commit(z quorum.Zxid) {
	if z <= r.l.Committed() {
		return
	}
	for _, id := range r.fakes {
		r.step(fakePacket(fakeLink(id), quorum.PacketAck, z, nil))
	}
	r.step(Input{Kind: InLogDurable, Zxid: z})
}

// play plays the recording: what the learner sent is stepped, what the leader sent tells when
// things happened at the leader.
func (r *leaderReplay) play() {
	r.step(Input{Kind: InLinkOpened, Link: tracedLink})
	for i := range r.trace {
		p := &r.trace[i]
		if !p.fromLeader {
			r.step(Input{Kind: InPacket, Link: tracedLink, Packet: p.Packet})
			continue
		}
		switch p.Type {
		case quorum.PacketProposal:
			if p.Zxid > r.last {
				r.propose(p.Zxid, p.Raw)
			}
		case quorum.PacketInform:
			r.propose(p.Zxid, quorum.AppendProposalOf(nil, &p.Packet))
			r.commit(p.Zxid)
		case quorum.PacketInformAndActivate:
			_, txn, err := quorum.DecodeInformAndActivate(p.Data)
			if err != nil {
				r.t.Fatal(err)
			}
			r.propose(p.Zxid, quorum.AppendPacket(nil, quorum.PacketProposal, p.Zxid, txn))
			r.commit(p.Zxid)
		case quorum.PacketUpToDate:
			r.fakeJoins()
		case quorum.PacketCommit, quorum.PacketCommitAndActivate:
			r.commit(p.Zxid)
		}
	}
}

func (r *leaderReplay) compare() {
	var want []quorum.Packet
	for i := range r.trace {
		if p := &r.trace[i]; p.fromLeader {
			want = append(want, p.Packet)
		}
	}
	noPings := func(p quorum.Packet) bool { return p.Type == quorum.PacketPing }
	want = slices.DeleteFunc(want, noPings)
	got := slices.DeleteFunc(r.sent, noPings)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			r.t.Errorf("%d packets sent, %d recorded", len(got), len(want))
			return
		}
		if got[i].Type == quorum.PacketCommitAndActivate {
			designated, err := quorum.DecodeCommitAndActivate(got[i].Data)
			recorded, _ := quorum.DecodeCommitAndActivate(want[i].Data)
			if err != nil || (designated != recorded && (designated == r.self || recorded == r.self || !r.l.config.IsVoter(designated))) {
				r.t.Errorf("designated leader %d, recorded is %d, %v", designated, recorded, err)
			}
			got[i].Data = want[i].Data
		}
		if !bytes.Equal(got[i].Append(nil), want[i].Append(nil)) {
			r.t.Errorf("packet %d of %d is %s, recorded is %s", i, len(want), format(&got[i]), format(&want[i]))
			return
		}
	}
}
