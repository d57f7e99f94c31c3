package zab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// show writes an output as one line, for tests that compare what a machine does.
func show(o *Output) string {
	switch o.Kind {
	case OutPersistAcceptedEpoch:
		return fmt.Sprintf("accepted %d", o.Epoch)
	case OutPersistCurrentEpoch:
		return fmt.Sprintf("current %d", o.Epoch)
	case OutSend:
		s := fmt.Sprintf("%d<%s", o.Link, quorum.PacketName(o.Type))
		if o.From != 0 {
			s += fmt.Sprintf(" %x..", o.From)
		} else {
			s += " "
		}
		return s + fmt.Sprintf("%x", o.Zxid)
	case OutSendProposals:
		return fmt.Sprintf("%d<%ss %x..%x", o.Link, quorum.PacketName(o.Type), o.From, o.Zxid)
	case OutSendHistory:
		return fmt.Sprintf("%d<history %x..%x", o.Link, o.From, o.Zxid)
	case OutStreamDiff:
		return fmt.Sprintf("%d<stream %x..%x", o.Link, o.From, o.Zxid)
	case OutStreamSnap:
		return fmt.Sprintf("%d<snap", o.Link)
	case OutClose:
		return fmt.Sprintf("close %d: %s", o.Link, reason(o.Reason))
	case OutAppend:
		if o.Unlogged {
			return fmt.Sprintf("keep %x", o.Zxid)
		}
		return fmt.Sprintf("append %x", o.Zxid)
	case OutTruncateLog:
		return fmt.Sprintf("truncate %x", o.Zxid)
	case OutReceiveTree:
		return fmt.Sprintf("tree %x", o.Zxid)
	case OutTakeSnapshot:
		return fmt.Sprintf("snapshot %x", o.Zxid)
	case OutCommit:
		return fmt.Sprintf("commit %x", o.Zxid)
	case OutServe:
		return fmt.Sprintf("serve %d", o.Epoch)
	case OutGiveUp:
		s := "give up: " + reason(o.Reason)
		if o.NeedSnap {
			s += ", need snap"
		}
		if o.Server != quorum.NoServer {
			s += fmt.Sprintf(", leader %d", o.Server)
		}
		return s
	case OutSaveConfig:
		return fmt.Sprintf("save config %x", o.Config.Version)
	case OutActivateConfig:
		s := fmt.Sprintf("activate config %x", o.Config.Version)
		if o.Server != quorum.NoServer {
			s += fmt.Sprintf(" leader %d", o.Server)
		}
		return s
	case OutSyncDone:
		return fmt.Sprintf("synced %d", o.Token)
	case OutTouch:
		return fmt.Sprintf("touch %d by %d", len(o.Data)/12, o.Server)
	case OutRequest:
		return fmt.Sprintf("request of %d", o.Server)
	case OutRevalidate:
		return fmt.Sprintf("revalidate %x %d of %d", o.Session, o.TimeoutMs, o.Server)
	case OutRevalidated:
		return fmt.Sprintf("revalidated %x %v", o.Session, o.OK)
	case OutAnswerPing:
		return fmt.Sprintf("%d<answer %x", o.Link, o.Zxid)
	case OutForwardSync:
		return fmt.Sprintf("sync of %d", o.Server)
	case OutWarn:
		return "warn: " + reason(o.Reason)
	}
	return fmt.Sprintf("output %d", o.Kind)
}

// reason shortens an error to its sentinel.
func reason(err error) string {
	s := strings.TrimPrefix(err.Error(), "zab: ")
	if i := strings.IndexByte(s, ':'); i >= 0 {
		s = s[:i]
	}
	return s
}

func showAll(out *Outputs) []string {
	var s []string
	for i := range out.List {
		s = append(s, show(&out.List[i]))
	}
	return s
}

// expect compares what a machine did with lines; a line may end in * to match what begins so.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		if prefix, star := strings.CutSuffix(want[i], "*"); star {
			ok = strings.HasPrefix(got[i], prefix)
		} else {
			ok = got[i] == want[i]
		}
	}
	if !ok {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// leaderRig drives one Leader by hand. Learner n is on link n.
type leaderRig struct {
	t   *testing.T
	l   *Leader
	now time.Duration
	out Outputs
}

// noHistory serves nobody from disk.
type noHistory struct{}

func (noHistory) Floor(quorum.Zxid) (quorum.Zxid, bool) { return 0, false }
func (noHistory) Proposal(quorum.Zxid) ([]byte, bool)   { return nil, false }

// newLeaderRig has leader 1 of epoch 1, with history 1:1..1:last, lead epoch 2.
func newLeaderRig(t *testing.T, config *quorum.Config, last int, change func(*LeaderOptions)) *leaderRig {
	opts := LeaderOptions{
		Self: 1, Config: config, AcceptedEpoch: 1, CurrentEpoch: 1,
		LastZxid: zx(1, last), DurableZxid: zx(1, last), Timing: testTiming,
	}
	w := NewWindow(0, 0)
	for i := 1; i <= last; i++ {
		w.Append(zx(1, i), testProposal(zx(1, i), i), nil)
	}
	if change != nil {
		change(&opts)
	}
	return &leaderRig{t: t, l: NewLeader(opts, w, noHistory{})}
}

func zx(e quorum.Epoch, n int) quorum.Zxid { return quorum.EpochStart(e) + quorum.Zxid(n) }

func (r *leaderRig) end() []string {
	r.l.EndTurn(r.now, &r.out)
	// Syncs of learners come back, in their order, as a driver has it.
	for i := 0; i < len(r.out.List); i++ {
		o := &r.out.List[i]
		if o.Kind != OutRequest {
			continue
		}
		if req, err := quorum.DecodeRequest(o.Data); err == nil && req.Op == proto.OpSync {
			link := o.Link
			r.out.List = append(r.out.List[:i], r.out.List[i+1:]...)
			r.l.Step(r.now, Input{Kind: InSync, Link: link}, &r.out)
			r.l.EndTurn(r.now, &r.out)
			i--
		}
	}
	s := showAll(&r.out)
	r.out.Reset()
	return s
}

func (r *leaderRig) start() []string {
	r.l.Start(r.now, &r.out)
	return r.end()
}

func (r *leaderRig) step(in Input) []string {
	r.l.Step(r.now, in, &r.out)
	return r.end()
}

func (r *leaderRig) open(id LinkID) []string { return r.step(Input{Kind: InLinkOpened, Link: id}) }

func (r *leaderRig) packet(id LinkID, typ quorum.PacketType, z quorum.Zxid, data []byte) []string {
	return r.step(Input{Kind: InPacket, Link: id, Packet: quorum.Packet{Type: typ, Zxid: z, Data: data}})
}

func (r *leaderRig) info(id LinkID, typ quorum.PacketType, accepted quorum.Epoch) []string {
	li := quorum.LearnerInfo{ServerID: quorum.ServerID(id), ProtocolVersion: quorum.ProtocolVersion}
	return r.packet(id, typ, quorum.EpochStart(accepted), li.Append(nil))
}

func (r *leaderRig) ackEpoch(id LinkID, current quorum.Epoch, z quorum.Zxid) []string {
	return r.packet(id, quorum.PacketAckEpoch, z, quorum.AppendAckEpoch(nil, current))
}

func (r *leaderRig) ack(id LinkID, z quorum.Zxid) []string {
	return r.packet(id, quorum.PacketAck, z, nil)
}

func (r *leaderRig) durable(z quorum.Zxid) []string {
	return r.step(Input{Kind: InLogDurable, Zxid: z})
}

// join takes learner id from its connection to the ACK of NEWLEADER.
func (r *leaderRig) join(id LinkID, typ quorum.PacketType, z quorum.Zxid) []string {
	s := r.open(id)
	s = append(s, r.info(id, typ, 1)...)
	s = append(s, r.ackEpoch(id, 1, z)...)
	return append(s, r.ack(id, quorum.EpochStart(r.l.Epoch()))...)
}

func (r *leaderRig) follower(id LinkID) []string {
	return r.join(id, quorum.PacketFollowerInfo, r.l.opts.LastZxid)
}

// propose proposes n transactions; reconfig, if not nil, is the last of them.
func (r *leaderRig) propose(n int, reconfig *quorum.Config) []string {
	var batch []Proposal
	for i := range n {
		z := r.l.last + 1 + quorum.Zxid(i)
		batch = append(batch, Proposal{Zxid: z, Packet: testProposal(z, 0)})
	}
	if reconfig != nil {
		last := &batch[n-1]
		last.Config = reconfig.WithVersion(last.Zxid)
	}
	return r.step(Input{Kind: InPropose, Proposals: batch})
}

// tick lets d pass, ticking as often as is asked for, and returns what happened, without PINGs.
func (r *leaderRig) tick(d time.Duration) []string {
	var all []string
	for end := r.now + d; ; {
		r.now = min(max(r.l.NextDeadline(), r.now+1), end)
		for _, s := range r.step(Input{Kind: InTick}) {
			if !strings.Contains(s, "<PING") {
				all = append(all, s)
			}
		}
		if r.now == end || r.l.phase == leaderDone {
			return all
		}
	}
}

// learnerRig drives one Learner by hand; the link is 1.
type learnerRig struct {
	t   *testing.T
	l   *Learner
	now time.Duration
	out Outputs
}

// newLearnerRig has learner 2 with history 1:1..1:last follow leader 1.
func newLearnerRig(t *testing.T, last int, change func(*LearnerOptions)) *learnerRig {
	opts := LearnerOptions{
		Self: 2, Leader: 1, Config: testConfig(3, 0), AcceptedEpoch: 1, CurrentEpoch: 1,
		LastZxid: zx(1, last), DurableZxid: zx(1, last), Timing: testTiming,
	}
	if last == 0 {
		opts.LastZxid, opts.DurableZxid = 0, 0
	}
	if change != nil {
		change(&opts)
	}
	return &learnerRig{t: t, l: NewLearner(opts)}
}

func (r *learnerRig) step(in Input) []string {
	r.l.Step(r.now, in, &r.out)
	r.l.EndTurn(r.now, &r.out)
	s := showAll(&r.out)
	r.out.Reset()
	return s
}

func (r *learnerRig) packet(typ quorum.PacketType, z quorum.Zxid, data []byte) []string {
	p := quorum.Packet{Type: typ, Zxid: z, Data: data}
	p, _, _ = quorum.DecodePacket(p.Append(nil))
	return r.step(Input{Kind: InPacket, Link: 1, Packet: p})
}

func (r *learnerRig) proposal(z quorum.Zxid) []string {
	p, _, _ := quorum.DecodePacket(testProposal(z, 0))
	return r.step(Input{Kind: InPacket, Link: 1, Packet: p})
}

func (r *learnerRig) pair(z quorum.Zxid) []string {
	return append(r.proposal(z), r.packet(quorum.PacketCommit, z, nil)...)
}

func (r *learnerRig) durable(z quorum.Zxid) []string {
	return r.step(Input{Kind: InLogDurable, Zxid: z})
}

// hello connects and takes the learner to the end of discovery.
func (r *learnerRig) hello() []string {
	s := r.step(Input{Kind: InLinkOpened, Link: 1})
	info := quorum.LeaderInfo{ProtocolVersion: quorum.ProtocolVersion, Features: r.l.opts.Features}
	return append(s, r.packet(quorum.PacketLeaderInfo, zx(2, 0), info.Append(nil))...)
}

// serve takes the learner to steady state by an empty DIFF.
func (r *learnerRig) serve() []string {
	s := r.hello()
	s = append(s, r.packet(quorum.PacketDiff, r.l.last, nil)...)
	s = append(s, r.packet(quorum.PacketNewLeader, zx(2, 0), nil)...)
	return append(s, r.packet(quorum.PacketUpToDate, quorum.NoZxid, nil)...)
}

func (r *learnerRig) tick(d time.Duration) []string {
	r.now += d
	return r.step(Input{Kind: InTick})
}
