package quorum

import (
	"testing"

	"zabra.dev/zabra/engine/proto"
)

func markedProposal(h proto.TxnHeader, body []byte, digest uint64) []byte {
	packet, start := proto.BeginProposal(nil, h.Zxid)
	packet = append(h.Append(packet), body...)
	if digest != 0 {
		packet = proto.AppendTxnDigest(packet, digest)
	}
	return proto.EndProposal(packet, start)
}

func TestMark(t *testing.T) {
	create := (&proto.TxnBody{Path: []byte("/a"), Data: []byte("x"), ACL: proto.RawACLs(proto.AppendACLs(nil, nil))}).Append(nil, proto.OpCreate)
	multi := []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 7, 7, 7}
	for _, c := range []struct {
		typ  proto.OpCode
		body []byte
		told bool // the digest
	}{
		{proto.OpCreate, create, true}, {proto.OpMulti, multi, true}, {proto.OpCreateSession, []byte{0, 0, 1, 0}, true},
		{proto.OpCloseSession, nil, false}, {proto.OpError, []byte{0, 0, 0, 1}, false},
	} {
		h := proto.TxnHeader{SessionID: 0x1234, Cxid: 5, Zxid: 0x200000007, TimeMs: 99, Type: c.typ}
		for _, digest := range []uint64{0, 1<<63 + 17} {
			m, err := MarkOf(markedProposal(h, c.body, digest))
			want := Mark{TxnHeader: h}
			if c.told && digest != 0 {
				want.Digest, want.HasDigest = digest, true
			}
			if err != nil || m != want {
				t.Errorf("type %d: %+v, %v, want %+v", c.typ, m, err, want)
			}
			data := m.Append(nil)
			for _, front := range []string{"", ImageMarker} {
				if got, ok := DecodeMark(append([]byte(front), data...)); !ok || got != want {
					t.Errorf("type %d behind %q: %+v, %t", c.typ, front, got, ok)
				}
			}
			// Cut short it is none, or one without a digest.
			for n := range data {
				got, ok := DecodeMark(data[:n])
				if ok != (n >= markBytes) || got.HasDigest || ok && got.TxnHeader != h {
					t.Errorf("type %d, %d of %d bytes: %+v, %t", c.typ, n, len(data), got, ok)
				}
			}
		}
	}
	for _, none := range [][]byte{nil, []byte(ImageMarker), make([]byte, 60), []byte("MarkMark")} {
		if m, ok := DecodeMark(none); ok {
			t.Errorf("%q: %+v", none, m)
		}
	}
	// A vector that claims more than there is ends with what there is.
	if _, err := MarkOf(markedProposal(proto.TxnHeader{Type: proto.OpMulti}, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1}, 0)); err == nil {
		t.Error("a torn multi has a mark")
	}
	if _, err := MarkOf([]byte{1, 2, 3}); err == nil {
		t.Error("nonsense has a mark")
	}
}
