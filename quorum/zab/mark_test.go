package zab

import (
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// timed is a proposal of z that was made at a time, with a digest if it is not 0.
func timed(z quorum.Zxid, timeMs int64, digest uint64) []byte {
	h := proto.TxnHeader{SessionID: 7, Cxid: 1, Zxid: z, TimeMs: timeMs, Type: proto.OpCreateSession}
	packet, start := proto.BeginProposal(nil, z)
	packet = append(h.Append(packet), 0, 0, 0, 1)
	if digest != 0 {
		packet = proto.AppendTxnDigest(packet, digest)
	}
	return proto.EndProposal(packet, start)
}

// A learner that has another transaction at the zxid of the leader's mark follows nobody, and nothing of its data is
// touched; one that cannot tell by its log compares the trees.
func TestLearnerComparesMark(t *testing.T) {
	own := map[quorum.Zxid][]byte{zx(1, 2): timed(zx(1, 2), 20, 0), zx(1, 3): timed(zx(1, 3), 30, 0)}
	for _, c := range []struct {
		name    string
		first   quorum.PacketType
		at      quorum.Zxid // of the packet
		mark    []byte      // nil: none
		digest  uint64      // of the own tree
		want    string      // begins the first output
		compare bool
	}{
		{"same", quorum.PacketDiff, zx(1, 3), timed(zx(1, 3), 30, 0), 0, "", false},
		{"same, another digest", quorum.PacketDiff, zx(1, 3), timed(zx(1, 3), 30, 8), 9, "", false},
		{"other", quorum.PacketDiff, zx(1, 3), timed(zx(1, 3), 31, 0), 0, "give up: the data is not of the leader's ensemble", false},
		{"other before the end", quorum.PacketTrunc, zx(1, 2), timed(zx(1, 2), 31, 0), 0, "give up: the data is not of the leader's ensemble", false},
		{"same before the end", quorum.PacketTrunc, zx(1, 2), timed(zx(1, 2), 20, 0), 0, "truncate 100000002", false},
		{"other, by tree", quorum.PacketSnap, zx(1, 9), timed(zx(1, 3), 31, 0), 0, "give up: the data is not of the leader's ensemble", false},
		{"same, by tree", quorum.PacketSnap, zx(1, 9), timed(zx(1, 3), 30, 0), 0, "tree ", false},
		{"none", quorum.PacketDiff, zx(1, 3), nil, 0, "", false},
		{"none, by tree", quorum.PacketSnap, zx(1, 9), nil, 0, "tree ", true},
		{"not in the log", quorum.PacketDiff, zx(1, 3), timed(zx(1, 1), 10, 0), 0, "", false},
		{"not in the log, by tree", quorum.PacketSnap, zx(1, 9), timed(zx(1, 1), 10, 0), 0, "tree ", true},
		{"newer than this", quorum.PacketSnap, zx(1, 9), timed(zx(1, 5), 10, 0), 0, "tree ", true},
	} {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) {
			o.Features = quorum.AllFeatures
			o.Proposal = func(z quorum.Zxid) ([]byte, bool) { p, ok := own[z]; return p, ok }
			o.Digest, o.HasDigest = c.digest, c.digest != 0
		})
		checkMark(t, r, c.name, c.first, c.at, c.mark, c.want, c.compare)
	}
	for _, c := range []struct {
		name    string
		first   quorum.PacketType
		digest  uint64
		want    string
		compare bool
	}{
		{"same tree", quorum.PacketDiff, 8, "", false},
		{"another tree", quorum.PacketDiff, 9, "give up: the tree is not the leader's, need snap", false},
		{"another tree, by tree", quorum.PacketSnap, 9, "tree ", true},
		{"same tree, by tree", quorum.PacketSnap, 8, "tree ", false},
		{"no digest", quorum.PacketDiff, 0, "", false},
	} {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) {
			o.Features = quorum.AllFeatures
			o.Proposal = func(quorum.Zxid) ([]byte, bool) { return nil, false }
			o.Digest, o.HasDigest = c.digest, c.digest != 0
		})
		checkMark(t, r, "empty log, "+c.name, c.first, zx(1, 3), timed(zx(1, 3), 30, 8), c.want, c.compare)
	}
}

func checkMark(t *testing.T, r *learnerRig, name string, first quorum.PacketType, at quorum.Zxid, mark []byte, want string, compare bool) {
	t.Helper()
	r.hello()
	var data []byte
	if mark != nil {
		m, err := quorum.MarkOf(mark)
		if err != nil {
			t.Fatal(err)
		}
		data = m.Append(nil)
	}
	p := quorum.Packet{Type: first, Zxid: at, Data: data}
	r.l.Step(r.now, Input{Kind: InPacket, Link: 1, Packet: p}, &r.out)
	compared := false
	for i := range r.out.List {
		compared = compared || r.out.List[i].Compare
	}
	got := showAll(&r.out)
	r.out.Reset()
	if strings.HasPrefix(want, "give up") != (r.l.phase == learnerDone) || compared != compare ||
		want != "" && (len(got) == 0 || !strings.HasPrefix(got[0], want)) || want == "" && len(got) > 0 {
		t.Errorf("%s: %q, compare %t, want %q, %t", name, got, compared, want, compare)
	}
}

// A tree that turns out to be of another ensemble ends the role without a wish for a snapshot.
func TestLearnerForeignTree(t *testing.T) {
	r := newLearnerRig(t, 3, nil)
	r.hello()
	r.packet(quorum.PacketSnap, zx(1, 9), nil)
	expect(t, r.step(Input{Kind: InTreeReceived, Link: 1, Zxid: zx(1, 9), Err: ErrForeign}), "give up: the data is not of the leader's ensemble")
}

// A leader tells its newest transaction that is not above the learner's, out of memory or out of the log, and Java's
// learners nothing.
func TestLeaderTellsMark(t *testing.T) {
	for _, c := range []struct {
		name     string
		features quorum.Features
		peer     quorum.Zxid
		want     quorum.Zxid // 0: none
	}{
		{"in the window", quorum.AllFeatures, zx(1, 2), zx(1, 2)},
		{"at its end", quorum.AllFeatures, zx(1, 3), zx(1, 3)},
		{"behind the end, to be cut", quorum.AllFeatures, zx(1, 7), zx(1, 3)},
		{"empty", quorum.AllFeatures, 0, 0},
		{"without history", quorum.AllFeatures, -1, 0},
		{"Java", 0, zx(1, 2), 0},
		{"an earlier Zabra", quorum.AllFeatures &^ quorum.FeatureMark, zx(1, 2), 0},
	} {
		r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) { o.Features = quorum.AllFeatures })
		r.l.window.Reset(zx(1, 0))
		for i := 1; i <= 3; i++ {
			r.l.window.Append(zx(1, i), timed(zx(1, i), int64(i), 5), nil)
		}
		data := leaderAnswers(t, r, c.features, c.peer)
		m, ok := quorum.DecodeMark(data)
		if ok != (c.want != 0) || m.Zxid != c.want || ok && (m.TimeMs != int64(quorum.CounterOf(c.want)) || m.Digest != 5) || !ok && data != nil {
			t.Errorf("%s: %+v, %q", c.name, m, data)
		}
	}
	r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) { o.Features = quorum.AllFeatures })
	r.l.window.Reset(zx(1, 3))
	r.l.history = onDisk{timed(zx(1, 2), 2, 0)}
	if m, ok := quorum.DecodeMark(leaderAnswers(t, r, quorum.AllFeatures, zx(1, 2))); !ok || m.Zxid != zx(1, 2) {
		t.Errorf("out of the log: %+v, %t", m, ok)
	}
}

// onDisk is a History of one proposal.
type onDisk struct{ packet []byte }

func (h onDisk) Floor(peer quorum.Zxid) (quorum.Zxid, bool)    { return peer, true }
func (h onDisk) Proposal(quorum.Zxid) (packet []byte, ok bool) { return h.packet, true }

// leaderAnswers takes learner 2 up to the first packet of its synchronisation and returns the data of that.
func leaderAnswers(t *testing.T, r *leaderRig, features quorum.Features, peer quorum.Zxid) []byte {
	t.Helper()
	r.l.Start(0, &r.out)
	r.out.Reset()
	r.step(Input{Kind: InLinkOpened, Link: 2})
	step := func(typ quorum.PacketType, z quorum.Zxid, data []byte) {
		r.l.Step(0, Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: typ, Zxid: z, Data: data}}, &r.out)
	}
	info := quorum.LearnerInfo{ServerID: 2, ProtocolVersion: quorum.ProtocolVersion, Features: features}
	step(quorum.PacketFollowerInfo, zx(1, 0), info.Append(nil))
	p := r.l.peerAt(2)
	if p == nil {
		t.Fatal("the learner was not let in")
	}
	p.zxid = peer
	r.out.Reset()
	r.l.synchronise(p, &r.out)
	o := &r.out.List[0]
	switch {
	case o.Kind == OutStreamSnap:
	case o.Kind == OutSend && (o.Type == quorum.PacketDiff || o.Type == quorum.PacketTrunc):
	default:
		t.Fatalf("the synchronisation begins with %s", showAll(&r.out))
	}
	return o.Data
}
