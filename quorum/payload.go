package quorum

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// ProtocolVersion is the version of the handshake of ZooKeeper 3.4 and later, in LearnerInfo
// and LEADERINFO. A learner with a lower one wants the old handshake (section 4.9).
const ProtocolVersion int32 = 0x10000

// ErrPayload reports a packet whose data does not have the shape of its type.
var ErrPayload = errors.New("quorum: malformed packet data")

func payloadError(t PacketType, data []byte, want string) error {
	return fmt.Errorf("%w: %s with %d bytes of data, want %s", ErrPayload, PacketName(t), len(data), want)
}

// LearnerInfo is the data of FOLLOWERINFO and OBSERVERINFO (quorum protocol, section 4.1).
type LearnerInfo struct {
	ServerID        ServerID
	Anonymous       bool // the data was null: the leader invents a negative id
	ProtocolVersion int32
	ConfigVersion   int64 // of the learner's committed config; 0 when a 3.4 learner sent none
	Features        Features
}

// Append encodes the LearnerInfo in the form of 3.5 and later, the features behind it.
func (l *LearnerInfo) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, l.ServerID)
	dst = jute.AppendInt32(dst, l.ProtocolVersion)
	dst = jute.AppendInt64(dst, l.ConfigVersion)
	return appendFeatures(dst, l.Features)
}

// DecodeLearnerInfo reads the data of FOLLOWERINFO or OBSERVERINFO in all its lengths: null,
// 8 (id alone, protocol version 1), 12 (3.4), 20 (3.5 and later), 32 (with features). Other
// lengths from 8 on count as the next shorter one, as in Java. Shorter data is ErrPayload.
func DecodeLearnerInfo(data []byte) (LearnerInfo, error) {
	l := LearnerInfo{ProtocolVersion: 1}
	if data == nil {
		l.Anonymous = true
		return l, nil
	}
	if len(data) < 8 {
		return LearnerInfo{}, payloadError(PacketFollowerInfo, data, "8, 12, 20 or more")
	}
	l.ServerID = jute.Int64(data)
	if len(data) >= 12 {
		l.ProtocolVersion = jute.Int32(data[8:])
	}
	if len(data) >= 20 {
		l.ConfigVersion = jute.Int64(data[12:])
		l.Features = decodeFeatures(data[20:])
	}
	return l, nil
}

// LeaderInfo is the data of LEADERINFO; the new epoch is in the packet's zxid.
type LeaderInfo struct {
	ProtocolVersion int32
	Features        Features
}

// Append encodes the LeaderInfo.
func (l *LeaderInfo) Append(dst []byte) []byte {
	return appendFeatures(jute.AppendInt32(dst, l.ProtocolVersion), l.Features)
}

// DecodeLeaderInfo reads the data of LEADERINFO.
func DecodeLeaderInfo(data []byte) (LeaderInfo, error) {
	if len(data) < 4 {
		return LeaderInfo{}, payloadError(PacketLeaderInfo, data, "4 or more")
	}
	return LeaderInfo{ProtocolVersion: jute.Int32(data), Features: decodeFeatures(data[4:])}, nil
}

// EpochAlreadyPromised is the epoch in an ACKEPOCH of a learner that had accepted the leader's
// epoch before: it does not count as a promise again.
const EpochAlreadyPromised Epoch = -1

// AppendAckEpoch encodes the data of ACKEPOCH: the learner's current epoch, or EpochAlreadyPromised.
func AppendAckEpoch(dst []byte, currentEpoch Epoch) []byte {
	return jute.AppendInt32(dst, int32(currentEpoch))
}

// DecodeAckEpoch reads the data of ACKEPOCH.
func DecodeAckEpoch(data []byte) (currentEpoch Epoch, err error) {
	if len(data) < 4 {
		return 0, payloadError(PacketAckEpoch, data, "4")
	}
	return Epoch(jute.Int32(data)), nil
}

// Request is the data of REQUEST (quorum protocol, section 5.3); the requester's identities are
// the packet's Auth.
type Request struct {
	SessionID proto.SessionID
	Cxid      int32 // the client's xid; 0 for createSession
	Op        proto.OpCode
	Body      []byte // the client's request record without its header, not null
}

// RequestHeadBytes is the size of a Request in front of its body.
const RequestHeadBytes = 8 + 4 + 4

// Append encodes the Request. It borrows Body until return.
func (r *Request) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, r.SessionID)
	dst = jute.AppendInt32(dst, r.Cxid)
	dst = jute.AppendInt32(dst, int32(r.Op))
	return append(dst, r.Body...)
}

// DecodeRequest reads the data of REQUEST and lends Body. A leader closes the connection of a
// learner that sends less than RequestHeadBytes (section 4.14).
func DecodeRequest(data []byte) (Request, error) {
	if len(data) < RequestHeadBytes {
		return Request{}, payloadError(PacketRequest, data, "16 or more")
	}
	return Request{
		SessionID: jute.Int64(data),
		Cxid:      jute.Int32(data[8:]),
		Op:        proto.OpCode(jute.Int32(data[12:])),
		Body:      data[RequestHeadBytes:],
	}, nil
}

// Touch tells that a session was active: timeoutMs is its timeout.
type Touch struct {
	SessionID proto.SessionID
	TimeoutMs int32
}

const touchBytes = 8 + 4

// AppendTouch appends one entry to the data of a learner's PING.
func AppendTouch(dst []byte, t Touch) []byte {
	return jute.AppendInt32(jute.AppendInt64(dst, t.SessionID), t.TimeoutMs)
}

// Touches is the checked data of a learner's PING: entries of 12 bytes, lent by the packet.
type Touches []byte

// DecodeTouches checks the data of a learner's PING, which may be null, and lends it.
func DecodeTouches(data []byte) (Touches, error) {
	if len(data)%touchBytes != 0 {
		return nil, payloadError(PacketPing, data, "a multiple of 12")
	}
	return Touches(data), nil
}

// Len returns the number of entries.
func (t Touches) Len() int { return len(t) / touchBytes }

// At returns entry i, 0 <= i < Len.
func (t Touches) At(i int) Touch {
	b := t[i*touchBytes:]
	return Touch{SessionID: jute.Int64(b), TimeoutMs: jute.Int32(b[8:])}
}

// AppendRevalidate encodes the data of a learner's REVALIDATE: may this session move to me?
func AppendRevalidate(dst []byte, t Touch) []byte { return AppendTouch(dst, t) }

// DecodeRevalidate reads the data of a learner's REVALIDATE.
func DecodeRevalidate(data []byte) (Touch, error) {
	if len(data) < touchBytes {
		return Touch{}, payloadError(PacketRevalidate, data, "12")
	}
	return Touches(data).At(0), nil
}

// RevalidateReply is the data of the leader's REVALIDATE.
type RevalidateReply struct {
	SessionID proto.SessionID
	Valid     bool
}

// Append encodes the reply.
func (r *RevalidateReply) Append(dst []byte) []byte {
	return jute.AppendBool(jute.AppendInt64(dst, r.SessionID), r.Valid)
}

// DecodeRevalidateReply reads the data of the leader's REVALIDATE.
func DecodeRevalidateReply(data []byte) (RevalidateReply, error) {
	if len(data) < 9 {
		return RevalidateReply{}, payloadError(PacketRevalidate, data, "9")
	}
	return RevalidateReply{SessionID: jute.Int64(data), Valid: data[8] != 0}, nil
}

// AppendActivate encodes the data of COMMITANDACTIVATE, or the front of that of
// INFORMANDACTIVATE, which the transaction follows (section 8.4).
func AppendActivate(dst []byte, designatedLeader ServerID) []byte {
	return jute.AppendInt64(dst, designatedLeader)
}

// DecodeCommitAndActivate reads the data of COMMITANDACTIVATE.
func DecodeCommitAndActivate(data []byte) (designatedLeader ServerID, err error) {
	if len(data) < 8 {
		return 0, payloadError(PacketCommitAndActivate, data, "8")
	}
	return jute.Int64(data), nil
}

// DecodeInformAndActivate reads the data of INFORMANDACTIVATE and lends the transaction in it.
func DecodeInformAndActivate(data []byte) (designatedLeader ServerID, txn []byte, err error) {
	if len(data) < 8+proto.TxnHeaderBytes {
		return 0, nil, payloadError(PacketInformAndActivate, data, "40 or more")
	}
	return jute.Int64(data), data[8:], nil
}
