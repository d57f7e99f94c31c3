package quorum

import (
	"errors"
	"testing"

	"zabra.dev/zabra/engine/jute"
)

func TestLearnerInfoLengths(t *testing.T) {
	full := (&LearnerInfo{ServerID: 3, ProtocolVersion: ProtocolVersion, ConfigVersion: 0x100000003, Features: AllFeatures}).Append(nil)
	if len(full) != 32 {
		t.Fatalf("%d bytes", len(full))
	}
	f := func(data []byte, want LearnerInfo) {
		t.Helper()
		got, err := DecodeLearnerInfo(data)
		if err != nil || got != want {
			t.Errorf("%d bytes: %+v, %v; want %+v", len(data), got, err, want)
		}
	}
	java := LearnerInfo{ServerID: 3, ProtocolVersion: ProtocolVersion, ConfigVersion: 0x100000003}
	ours := java
	ours.Features = AllFeatures
	f(nil, LearnerInfo{Anonymous: true, ProtocolVersion: 1})
	f(full[:8], LearnerInfo{ServerID: 3, ProtocolVersion: 1})
	f(full[:12], LearnerInfo{ServerID: 3, ProtocolVersion: ProtocolVersion})
	f(full[:19], LearnerInfo{ServerID: 3, ProtocolVersion: ProtocolVersion})
	f(full[:20], java)
	f(full[:31], java)
	f(full, ours)
	f(append(full[:32:32], 1, 2), ours)
	f(append(full[:20:20], make([]byte, 12)...), java) // no magic
	f(java.Append(nil), java)
	if len(java.Append(nil)) != 20 {
		t.Error("a LearnerInfo without features is not Java's")
	}
	if _, err := DecodeLearnerInfo(full[:7]); !errors.Is(err, ErrPayload) {
		t.Errorf("7 bytes: %v", err)
	}
}

func TestLeaderInfo(t *testing.T) {
	for _, features := range []Features{0, FeatureCumulativeAck, AllFeatures} {
		l := LeaderInfo{ProtocolVersion: ProtocolVersion, Features: features}
		b := l.Append(nil)
		if got, err := DecodeLeaderInfo(b); err != nil || got != l {
			t.Errorf("%+v, %v; want %+v", got, err, l)
		}
		if jute.Int32(b) != ProtocolVersion || (features == 0) != (len(b) == 4) {
			t.Errorf("%x is not what Java reads", b)
		}
	}
	if !AllFeatures.Has(FeatureCumulativeAck|FeatureCumulativeCommit) || Features(0).Has(FeatureCumulativeAck) || FeatureCumulativeCommit.Has(AllFeatures) {
		t.Error("Has")
	}
}

func TestShortPayloads(t *testing.T) {
	f := func(shortest int, decode func([]byte) error) {
		t.Helper()
		for n := range shortest {
			if err := decode(make([]byte, n)); !errors.Is(err, ErrPayload) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if err := decode(make([]byte, shortest)); err != nil {
			t.Errorf("%d bytes: %v", shortest, err)
		}
		if err := decode(nil); !errors.Is(err, ErrPayload) {
			t.Errorf("null: %v", err)
		}
	}
	f(16, func(b []byte) error { _, err := DecodeRequest(b); return err })
	f(4, func(b []byte) error { _, err := DecodeLeaderInfo(b); return err })
	f(4, func(b []byte) error { _, err := DecodeAckEpoch(b); return err })
	f(12, func(b []byte) error { _, err := DecodeRevalidate(b); return err })
	f(9, func(b []byte) error { _, err := DecodeRevalidateReply(b); return err })
	f(8, func(b []byte) error { _, err := DecodeCommitAndActivate(b); return err })
	f(40, func(b []byte) error { _, _, err := DecodeInformAndActivate(b); return err })
	for n, ok := range map[int]bool{0: true, 1: false, 11: false, 12: true, 13: false, 24: true} {
		if _, err := DecodeTouches(make([]byte, n)); (err == nil) != ok {
			t.Errorf("touches of %d bytes: %v", n, err)
		}
	}
}

func TestZxids(t *testing.T) {
	if z := EpochStart(5) + 7; EpochOf(z) != 5 || CounterOf(z) != 7 {
		t.Errorf("%x", z)
	}
	f := func(prev, z Zxid, want bool) {
		t.Helper()
		if Follows(prev, z) != want {
			t.Errorf("Follows(%x, %x) is %v", prev, z, !want)
		}
	}
	f(0x100000001, 0x100000002, true)
	f(0x100000001, 0x100000003, false)
	f(0x100000002, 0x100000002, false)
	f(0x100000002, 0x100000001, false)
	f(0x100000002, 0x200000001, true)
	f(0x100000002, 0x300000001, true)
	f(0x100000002, 0x200000002, false)
	f(0x200000002, 0x100000001, false)
	f(0x200000000, 0x200000001, true)
	f(0, 1, true)
}
