package zab

import (
	"bytes"
	"testing"

	"zabra.dev/zabra/quorum"
)

// A learner tells how far the leader's image has come to a leader that can go on with it, and to no other.
func TestLearnerTellsPlace(t *testing.T) {
	place := quorum.ImagePlace{Image: 5, Blocks: 7, Key: []byte("key")}
	for _, c := range []struct {
		name     string
		features quorum.Features
		resume   func() []byte
		told     bool
	}{
		{"told", quorum.AllFeatures, func() []byte { return place.Append(nil) }, true},
		{"nothing to tell", quorum.AllFeatures, func() []byte { return nil }, false},
		{"never anything", quorum.AllFeatures, nil, false},
		{"an earlier Zabra", quorum.AllFeatures &^ quorum.FeatureResume, func() []byte { return place.Append(nil) }, false},
		{"Java", 0, func() []byte { return place.Append(nil) }, false},
	} {
		r := newLearnerRig(t, 3, func(o *LearnerOptions) { o.Features, o.Resume = quorum.AllFeatures, c.resume })
		r.step(Input{Kind: InLinkOpened, Link: 1})
		info := quorum.LeaderInfo{ProtocolVersion: quorum.ProtocolVersion, Features: c.features}
		r.l.Step(0, Input{Kind: InPacket, Link: 1, Packet: quorum.Packet{Type: quorum.PacketLeaderInfo, Zxid: zx(2, 0), Data: info.Append(nil)}}, &r.out)
		var data []byte
		for i := range r.out.List {
			if r.out.List[i].Type == quorum.PacketAckEpoch {
				data = r.out.List[i].Data
			}
		}
		got, ok := quorum.AckEpochPlace(data)
		if epoch, err := quorum.DecodeAckEpoch(data); err != nil || epoch != 1 {
			t.Errorf("%s: epoch %d, %v", c.name, epoch, err)
		}
		if ok != c.told || ok && (got.Image != 5 || got.Blocks != 7 || string(got.Key) != "key") || !ok && len(data) != 4 {
			t.Errorf("%s: %+v in %x", c.name, got, data)
		}
	}
}

// The leader keeps what the learner tells, and only from one that said that it can go on.
func TestLeaderTakesPlace(t *testing.T) {
	for _, features := range []quorum.Features{quorum.AllFeatures, quorum.AllFeatures &^ quorum.FeatureResume, 0} {
		r := newLeaderRig(t, testConfig(3, 0), 3, func(o *LeaderOptions) { o.Features = quorum.AllFeatures })
		r.l.Start(0, &r.out)
		r.out.Reset()
		r.step(Input{Kind: InLinkOpened, Link: 2})
		info := quorum.LearnerInfo{ServerID: 2, ProtocolVersion: quorum.ProtocolVersion, Features: features}
		r.step(Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: quorum.PacketFollowerInfo, Zxid: zx(1, 0), Data: info.Append(nil)}})
		data := (&quorum.ImagePlace{Image: 5, Blocks: 7, Key: []byte("key")}).Append(quorum.AppendAckEpoch(nil, 1))
		lent := bytes.Clone(data)
		r.step(Input{Kind: InPacket, Link: 2, Packet: quorum.Packet{Type: quorum.PacketAckEpoch, Zxid: zx(1, 3), Data: lent}})
		clear(lent) // it was lent until the outputs were done
		ok, place := r.l.Resumes(2)
		want := features.Has(quorum.FeatureResume)
		if ok != want || (place != nil) != want || want && (place.Image != 5 || place.Blocks != 7 || string(place.Key) != "key") {
			t.Errorf("features %x: %t, %+v", features, ok, place)
		}
		if ok, place := r.l.Resumes(9); ok || place != nil {
			t.Error("a link that is not there resumes")
		}
	}
}
