package zab

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

func hex(z quorum.Zxid) string { return fmt.Sprintf("0x%x", z) }

// TestLearnerAgainstTraces plays the leader's side of recorded connections to a Learner, and
// compares what it sends with what the Java learner sent, byte by byte. Local clients'
// requests, touches and when the log was synced are taken from the recording. What may differ:
//
//   - an ACK may be earlier or later than PINGs, REQUESTs and REVALIDATEs: they are compared apart;
//   - learners before 3.8.5 acknowledge what was committed before NEWLEADER, and acknowledge
//     proposals before the second ACK of NEWLEADER; 3.9.3 and later do not, and neither does a Learner.
func TestLearnerAgainstTraces(t *testing.T) {
	for _, name := range traceNames(t) {
		t.Run(name, func(t *testing.T) { replayLearner(t, name) })
	}
}

// sides splits packets into those that keep their order among each other.
func learnerSides(packets []quorum.Packet) (protocol, pings, requests []quorum.Packet) {
	for _, p := range packets {
		switch p.Type {
		case quorum.PacketPing:
			pings = append(pings, p)
		case quorum.PacketRequest, quorum.PacketRevalidate:
			requests = append(requests, p)
		default:
			protocol = append(protocol, p)
		}
	}
	return protocol, pings, requests
}

func replayLearner(t *testing.T, name string) {
	trace := loadTrace(t, name)
	info := first(trace, quorum.PacketFollowerInfo, quorum.PacketObserverInfo)
	li, err := quorum.DecodeLearnerInfo(info.Data)
	if err != nil {
		t.Fatal(err)
	}
	ackEpoch := first(trace, quorum.PacketAckEpoch)
	current, err := quorum.DecodeAckEpoch(ackEpoch.Data)
	if err != nil {
		t.Fatal(err)
	}
	accepted := quorum.EpochOf(info.Zxid)
	if current == quorum.EpochAlreadyPromised {
		current = accepted
	}
	nl := first(trace, quorum.PacketNewLeader)
	config, err := quorum.ParseConfig(nl.Data)
	if err != nil {
		t.Fatal(err)
	}
	opts := LearnerOptions{
		Self: li.ServerID, Leader: 3, Config: config.WithVersion(li.ConfigVersion),
		ReconfigEnabled: len(name) > 8 && name[:8] == "reconfig",
		AcceptedEpoch:   accepted, CurrentEpoch: current, LastZxid: ackEpoch.Zxid, DurableZxid: ackEpoch.Zxid,
		Timing: testTiming,
	}
	if info.Type == quorum.PacketObserverInfo {
		opts.Role = quorum.Observer
	}
	if name == "reconfig-05-sid3-to-leader1" {
		opts.Leader = 1
	}
	l := NewLearner(opts)
	r := learnerReplay{t: t, l: l, trace: trace}
	r.turn(Input{Kind: InLinkOpened, Link: 1})
	for i := range trace {
		p := &trace[i]
		switch {
		case p.fromLeader:
			if l.phase == learnerDone {
				break // Java read on for a moment
			}
			r.turn(Input{Kind: InPacket, Link: 1, Packet: p.Packet})
			if p.tree != nil {
				if l.Expects() != ExpectTree {
					t.Fatalf("%s: no tree expected", name)
				}
				r.turn(Input{Kind: InTreeReceived, Zxid: p.Zxid, OK: true})
			}
		case p.Type == quorum.PacketRequest && l.phase == learnerServing:
			req, err := quorum.DecodeRequest(p.Data)
			if err != nil {
				t.Fatal(err)
			}
			kind := InRequest
			if req.Op == proto.OpSync {
				kind = InSyncRequest
				r.syncs++
			}
			r.turn(Input{Kind: kind, Packet: p.Packet})
		case p.Type == quorum.PacketRevalidate && l.phase == learnerServing:
			touch, err := quorum.DecodeRevalidate(p.Data)
			if err != nil {
				t.Fatal(err)
			}
			r.turn(Input{Kind: InRevalidate, Session: touch.SessionID, TimeoutMs: touch.TimeoutMs})
		}
	}
	if name == "hazard-diff-from-abandoned-log" {
		// Here the Java follower went wrong. Ours must see the hole.
		if !errors.Is(r.gaveUp, ErrGap) || !r.needSnap {
			t.Fatalf("gave up: %v", r.gaveUp)
		}
		return
	}
	r.compare(name)
}

// learnerReplay drives a Learner whose log is synced at once.
type learnerReplay struct {
	t        *testing.T
	l        *Learner
	trace    []tracePacket
	out      Outputs
	sent     []quorum.Packet
	pings    int
	syncs    int
	gaveUp   error
	needSnap bool
	appended []quorum.Zxid
	commits  quorum.Zxid
}

// turn takes one event, and those that the outputs bring about.
func (r *learnerReplay) turn(in Input) {
	r.l.Step(0, in, &r.out)
	r.l.EndTurn(0, &r.out)
	var next []Input
	for i := range r.out.List {
		o := &r.out.List[i]
		switch o.Kind {
		case OutSend, OutAnswerPing:
			var touches []byte
			if o.Kind == OutAnswerPing {
				touches = r.recordedTouches()
			}
			b := o.AppendPackets(nil, nil, touches)
			for len(b) > 0 {
				p, n, err := quorum.DecodePacket(b)
				if err != nil {
					r.t.Fatal(err)
				}
				r.sent = append(r.sent, p)
				b = b[n:]
			}
		case OutAppend:
			if _, err := proto.ProposalTxn(o.Data); err != nil {
				r.t.Fatal(err)
			}
			if len(r.appended) > 0 && !quorum.Follows(r.appended[len(r.appended)-1], o.Zxid) {
				r.t.Fatalf("logs 0x%x after 0x%x", o.Zxid, r.appended[len(r.appended)-1])
			}
			r.appended = append(r.appended, o.Zxid)
			if !o.Unlogged {
				next = append(next, Input{Kind: InLogDurable, Zxid: o.Zxid})
			}
		case OutTruncateLog:
			next = append(next, Input{Kind: InTruncated, Zxid: o.Zxid, OK: true})
		case OutTakeSnapshot:
			next = append(next, Input{Kind: InSnapshotTaken, Zxid: o.Zxid})
		case OutCommit:
			if o.Zxid <= r.commits {
				r.t.Fatalf("applies 0x%x after 0x%x", o.Zxid, r.commits)
			}
			r.commits = o.Zxid
		case OutSyncDone:
			r.syncs--
		case OutGiveUp:
			r.gaveUp, r.needSnap = o.Reason, o.NeedSnap
		case OutWarn:
			r.t.Errorf("warns: %v", o.Reason)
		}
	}
	r.out.Reset()
	for _, in := range next {
		r.turn(in)
	}
}

// recordedTouches returns the touches of the recording's next PING.
func (r *learnerReplay) recordedTouches() []byte {
	n := 0
	for i := range r.trace {
		if p := &r.trace[i]; !p.fromLeader && p.Type == quorum.PacketPing {
			if n++; n > r.pings {
				r.pings++
				return p.Data
			}
		}
	}
	return nil
}

func (r *learnerReplay) compare(name string) {
	var want []quorum.Packet
	for i := range r.trace {
		if !r.trace[i].fromLeader {
			want = append(want, r.trace[i].Packet)
		}
	}
	wantProtocol, wantPings, wantRequests := learnerSides(want)
	gotProtocol, gotPings, gotRequests := learnerSides(r.sent)
	if len(name) < 14 || name[:14] != "follower-3.9.5" {
		wantProtocol = r.modern(wantProtocol)
	}
	check := func(what string, got, want []quorum.Packet, mayLack int) {
		r.t.Helper()
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) {
				if abs(len(got)-len(want)) > mayLack {
					r.t.Errorf("%s: %d packets sent, %d recorded", what, len(got), len(want))
				}
				return
			}
			if !bytes.Equal(got[i].Append(nil), want[i].Append(nil)) {
				r.t.Errorf("%s: packet %d is %s, recorded is %s", what, i, format(&got[i]), format(&want[i]))
				return
			}
		}
	}
	// The recording may end between a packet and its answer.
	check("protocol", gotProtocol, wantProtocol, 2)
	check("PINGs", gotPings, wantPings, 1)
	check("requests", gotRequests, wantRequests, 0)
	if r.syncs != 0 {
		r.t.Errorf("%d syncs without an answer", r.syncs)
	}
	if len(wantProtocol) < 4 {
		r.t.Errorf("only %d packets recorded", len(wantProtocol))
	}
}

func abs(x int) int { return max(x, -x) }

// modern makes of an old learner's packets those of 3.9.3: without ACKs of what was committed
// before NEWLEADER, and both ACKs of NEWLEADER in front of the other ACKs.
func (r *learnerReplay) modern(packets []quorum.Packet) []quorum.Packet {
	synced := map[quorum.Zxid]bool{}
	var epoch quorum.Zxid
	for i := range r.trace {
		p := &r.trace[i]
		if p.fromLeader && p.Type == quorum.PacketCommit {
			synced[p.Zxid] = true
		}
		if p.fromLeader && p.Type == quorum.PacketNewLeader {
			epoch = p.Zxid
			break
		}
	}
	packets = slices.DeleteFunc(slices.Clone(packets), func(p quorum.Packet) bool {
		return p.Type == quorum.PacketAck && synced[p.Zxid]
	})
	slices.SortStableFunc(packets, func(a, b quorum.Packet) int {
		late := func(p quorum.Packet) int {
			if p.Type == quorum.PacketAck && p.Zxid != epoch {
				return 1
			}
			return 0
		}
		return late(a) - late(b)
	})
	return packets
}
