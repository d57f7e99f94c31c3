package proto

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
)

// A TxnHeader starts every transaction (quorum protocol, section 6.1).
type TxnHeader struct {
	SessionID SessionID // "clientId"; 0 for what servers do by themselves
	Cxid      int32
	Zxid      Zxid
	TimeMs    int64 // leader's wall clock when the request was prepared
	Type      OpCode
}

// TxnHeaderBytes is the encoded size of a TxnHeader.
const TxnHeaderBytes = 32

// Append encodes the header.
func (h *TxnHeader) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, h.SessionID)
	dst = jute.AppendInt32(dst, h.Cxid)
	dst = jute.AppendInt64(dst, h.Zxid)
	dst = jute.AppendInt64(dst, h.TimeMs)
	return jute.AppendInt32(dst, int32(h.Type))
}

// Decode reads the header.
func (h *TxnHeader) Decode(d *jute.Decoder) {
	h.SessionID, h.Cxid, h.Zxid, h.TimeMs, h.Type = d.Int64(), d.Int32(), d.Int64(), d.Int64(), OpCode(d.Int32())
}

// A TxnBody is the body of a single transaction or of one operation of a multi; which fields
// count depends on the type (quorum protocol, section 6.2). Byte fields are lent by the
// input; nil is null.
type TxnBody struct {
	Path           []byte
	Data           []byte
	ACL            RawACLs
	Ephemeral      bool  // create, create2
	ParentCversion int32 // the parent's stored cversion after this create; -1 means plus one
	TTLms          int64
	Version        int32 // setData, setACL, reconfig: the new version
	TimeoutMs      int32 // createSession
	Err            ErrCode
}

// ErrTxnType reports a transaction type that no log or quorum carries.
var ErrTxnType = fmt.Errorf("proto: unknown transaction type")

// Decode reads the body of a transaction of the given type. It reads neither closeSession
// nor multi, whose shapes differ.
func (b *TxnBody) Decode(d *jute.Decoder, typ OpCode) error {
	*b = TxnBody{}
	switch typ {
	case OpCreate, OpCreate2:
		b.Path, b.Data, b.ACL, b.Ephemeral, b.ParentCversion = d.Buffer(), d.Buffer(), SkipACLs(d), d.Bool(), d.Int32()
	case OpCreateContainer:
		b.Path, b.Data, b.ACL, b.ParentCversion = d.Buffer(), d.Buffer(), SkipACLs(d), d.Int32()
	case OpCreateTTL:
		b.Path, b.Data, b.ACL, b.ParentCversion, b.TTLms = d.Buffer(), d.Buffer(), SkipACLs(d), d.Int32(), d.Int64()
	case OpDelete, OpDeleteContainer:
		b.Path = d.Buffer()
	case OpSetData, OpReconfig:
		b.Path, b.Data, b.Version = d.Buffer(), d.Buffer(), d.Int32()
	case OpSetACL:
		b.Path, b.ACL, b.Version = d.Buffer(), SkipACLs(d), d.Int32()
	case OpCheck:
		b.Path, b.Version = d.Buffer(), d.Int32()
	case OpCreateSession:
		b.TimeoutMs = d.Int32()
	case OpError:
		b.Err = ErrCode(d.Int32())
	default:
		return fmt.Errorf("%w: %d", ErrTxnType, typ)
	}
	return d.Err()
}

// Append encodes the body for the given type, with the restrictions of Decode.
func (b *TxnBody) Append(dst []byte, typ OpCode) []byte {
	switch typ {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		dst = jute.AppendBuffer(dst, b.Path)
		dst = jute.AppendBuffer(dst, b.Data)
		dst = append(dst, b.ACL...)
		if typ == OpCreate || typ == OpCreate2 {
			dst = jute.AppendBool(dst, b.Ephemeral)
		}
		dst = jute.AppendInt32(dst, b.ParentCversion)
		if typ == OpCreateTTL {
			dst = jute.AppendInt64(dst, b.TTLms)
		}
	case OpDelete, OpDeleteContainer:
		dst = jute.AppendBuffer(dst, b.Path)
	case OpSetData, OpReconfig:
		dst = jute.AppendBuffer(dst, b.Path)
		dst = jute.AppendBuffer(dst, b.Data)
		dst = jute.AppendInt32(dst, b.Version)
	case OpSetACL:
		dst = jute.AppendBuffer(dst, b.Path)
		dst = append(dst, b.ACL...)
		dst = jute.AppendInt32(dst, b.Version)
	case OpCheck:
		dst = jute.AppendBuffer(dst, b.Path)
		dst = jute.AppendInt32(dst, b.Version)
	case OpCreateSession:
		dst = jute.AppendInt32(dst, b.TimeoutMs)
	case OpError:
		dst = jute.AppendInt32(dst, int32(b.Err))
	default:
		panic(fmt.Sprintf("proto: no body for transaction type %d", typ))
	}
	return dst
}

// DigestVersion is the version of the tree digest that transactions and snapshots carry.
const DigestVersion int32 = 2

// TxnDigestBytes is the encoded size of the digest behind a transaction.
const TxnDigestBytes = 12

// AppendTxnDigest appends the digest of the tree after the transaction (quorum protocol, section 6.6).
func AppendTxnDigest(dst []byte, digest uint64) []byte {
	dst = jute.AppendInt32(dst, DigestVersion)
	return jute.AppendInt64(dst, int64(digest))
}

// DecodeTxnDigest reads what stands behind a transaction's body. A short rest or another
// version means that there is none: ok is false.
func DecodeTxnDigest(d *jute.Decoder) (digest uint64, ok bool) {
	if d.Err() != nil || len(d.Rest()) < TxnDigestBytes {
		return 0, false
	}
	version := d.Int32()
	return uint64(d.Int64()), version == DigestVersion
}

// PacketType is the first field of a QuorumPacket.
type PacketType int32

// PacketProposal is the type of the packet around each logged transaction; the others are
// the quorum's business.
const PacketProposal PacketType = 2

// A proposal is the packet [type 2][zxid][length][transaction][authinfo null]; the log
// stores it whole, so that the same bytes go to disk and to learners
// (quorum protocol, section 4.1).
const (
	proposalPrefixBytes = 4 + 8 + 4
	proposalSuffixBytes = 4
	// ProposalOverheadBytes is what the packet adds to a transaction.
	ProposalOverheadBytes = proposalPrefixBytes + proposalSuffixBytes
)

// BeginProposal appends the packet's prefix with room for the length and returns the
// offset that EndProposal needs.
func BeginProposal(dst []byte, zxid Zxid) (out []byte, start int) {
	start = len(dst)
	dst = jute.AppendInt32(dst, int32(PacketProposal))
	dst = jute.AppendInt64(dst, zxid)
	return jute.AppendInt32(dst, 0), start
}

// EndProposal fills the length in and closes the packet.
func EndProposal(dst []byte, start int) []byte {
	jute.PutInt32(dst[start+12:], int32(len(dst)-start-proposalPrefixBytes))
	return jute.AppendInt32(dst, -1)
}

// ProposalTxn lends the transaction inside a proposal packet.
func ProposalTxn(packet []byte) ([]byte, error) {
	d := jute.NewDecoder(packet, 0)
	if typ := PacketType(d.Int32()); d.Err() == nil && typ != PacketProposal {
		return nil, fmt.Errorf("proto: packet of type %d where a proposal is wanted", typ)
	}
	d.Int64()
	txn := d.Buffer()
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("proto: proposal packet: %w", err)
	}
	if len(txn) < TxnHeaderBytes {
		return nil, fmt.Errorf("proto: proposal packet holds %d bytes, a transaction has at least %d", len(txn), TxnHeaderBytes)
	}
	return txn, nil
}
