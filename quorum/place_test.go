package quorum

import (
	"bytes"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

func TestImagePlace(t *testing.T) {
	for _, p := range []ImagePlace{{}, {Image: 1<<63 + 5, Blocks: 7}, {Image: 2, Blocks: 1 << 40, Key: []byte("123456789")}, {Image: 2, Key: make([]byte, placeKeyMaxBytes)}} {
		b := p.Append(nil)
		same := func(got ImagePlace) bool {
			return got.Image == p.Image && got.Blocks == p.Blocks && bytes.Equal(got.Key, p.Key)
		}
		if got, ok := AckEpochPlace(append(AppendAckEpoch(nil, 7), b...)); !ok || !same(got) {
			t.Errorf("%+v in ACKEPOCH: %+v, %t", p, got, ok)
		}
		if epoch, err := DecodeAckEpoch(append(AppendAckEpoch(nil, 7), b...)); err != nil || epoch != 7 {
			t.Errorf("epoch %d, %v", epoch, err)
		}
		h := proto.TxnHeader{SessionID: 1, Zxid: 9, Type: proto.OpError}
		for _, front := range [][]byte{nil, (&Mark{TxnHeader: h}).Append(nil), (&Mark{TxnHeader: h, HasDigest: true, Digest: 5}).Append(nil)} {
			data := append(append([]byte(ImageMarker), front...), b...)
			if got, ok := SnapPlace(data); !ok || !same(got) {
				t.Errorf("%+v in SNAP: %+v, %t", p, got, ok)
			}
			if m, ok := DecodeMark(data); ok != (front != nil) || ok && m.Zxid != 9 {
				t.Errorf("the mark in front of the place: %+v, %t", m, ok)
			}
			if _, ok := SnapPlace(data[len(ImageMarker):]); ok {
				t.Error("a place where no image follows")
			}
		}
		for n := range b {
			if _, ok := DecodeImagePlace(b[:n]); ok {
				t.Errorf("%d of %d bytes are a place", n, len(b))
			}
		}
	}
	large := (&ImagePlace{Key: make([]byte, placeKeyMaxBytes+1)}).Append(nil)
	if _, ok := DecodeImagePlace(large); ok {
		t.Error("a key that is too large is taken")
	}
	for _, data := range [][]byte{nil, {1}, AppendAckEpoch(nil, 1)} {
		if _, ok := AckEpochPlace(data); ok {
			t.Errorf("a place in %x", data)
		}
	}
}
