package quorum

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A Mark is one transaction of the leader's history, by which a learner can tell whether its own data is of the same
// ensemble: there, a zxid never stands for two transactions. On a link that has FeatureMark it is in the data of DIFF
// and TRUNC, and of SNAP behind the ImageMarker if there is one, where Java has none:
//
//	[magic "Mark"][header of the transaction, 32 bytes][digest as behind a transaction: nothing, or 12 bytes]
type Mark struct {
	proto.TxnHeader
	// Digest is that of the leader's tree after the transaction, if HasDigest.
	Digest    uint64
	HasDigest bool
}

const markMagic int32 = 0x4d61726b // "Mark"

const markBytes = 4 + proto.TxnHeaderBytes

// Append encodes the mark.
func (m *Mark) Append(dst []byte) []byte {
	dst = m.TxnHeader.Append(jute.AppendInt32(dst, markMagic))
	if m.HasDigest {
		dst = proto.AppendTxnDigest(dst, m.Digest)
	}
	return dst
}

// DecodeMark reads the mark out of the data of DIFF, TRUNC or SNAP; ok is false if there is none. A Digest that is cut
// short counts as none.
func DecodeMark(data []byte) (m Mark, ok bool) {
	if IsImage(data) {
		data = data[len(ImageMarker):]
	}
	if len(data) < markBytes || jute.Int32(data) != markMagic {
		return Mark{}, false
	}
	d := jute.NewDecoder(data[4:], 0)
	m.TxnHeader.Decode(&d)
	m.Digest, m.HasDigest = proto.DecodeTxnDigest(&d)
	if !m.HasDigest {
		m.Digest = 0
	}
	return m, d.Err() == nil
}

// MarkOf reads the mark out of a PROPOSAL packet.
func MarkOf(packet []byte) (m Mark, err error) {
	txn, err := proto.ProposalTxn(packet)
	if err != nil {
		return Mark{}, err
	}
	d := jute.NewDecoder(txn, 0)
	m.TxnHeader.Decode(&d)
	switch m.Type {
	case proto.OpMulti:
		for n := d.VectorLen(); n > 0 && d.Err() == nil; n-- {
			d.Int32()
			d.Buffer()
		}
	case proto.OpCloseSession:
		// What stands behind is a list of paths, or a digest, or both, and old servers write neither: it is not told apart
		// here.
		return m, d.Err()
	case proto.OpError:
		return m, d.Err()
	default:
		var b proto.TxnBody
		if err := b.Decode(&d, m.Type); err != nil {
			return Mark{}, fmt.Errorf("quorum: transaction 0x%x: %w", uint64(m.Zxid), err)
		}
	}
	if err := d.Err(); err != nil {
		return Mark{}, fmt.Errorf("quorum: transaction 0x%x: %w", uint64(m.Zxid), err)
	}
	m.Digest, m.HasDigest = proto.DecodeTxnDigest(&d)
	if !m.HasDigest {
		m.Digest = 0
	}
	return m, nil
}

// IsImage reports whether the data of a SNAP packet says that an image's records follow.
func IsImage(data []byte) bool {
	return len(data) >= len(ImageMarker) && string(data[:len(ImageMarker)]) == ImageMarker
}
