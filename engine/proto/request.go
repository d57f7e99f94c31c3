package proto

import "zabra.dev/zabra/engine/jute"

// RequestHeaderBytes is the size of the xid and type in front of every request body.
const RequestHeaderBytes = 8

// A CreateRequest is the body of create, create2 and createContainer, and with TTLms that of
// createTTL. Byte fields are lent by the frame; nil is null.
type CreateRequest struct {
	Path  []byte
	Data  []byte
	ACL   RawACLs
	Flags int32
	TTLms int64 // only createTTL
}

// Decode reads the body for op.
func (r *CreateRequest) Decode(d *jute.Decoder, op OpCode) {
	r.Path, r.Data, r.ACL, r.Flags, r.TTLms = d.Buffer(), d.Buffer(), SkipACLs(d), d.Int32(), 0
	if op == OpCreateTTL {
		r.TTLms = d.Int64()
	}
}

// Append encodes the body for op.
func (r *CreateRequest) Append(dst []byte, op OpCode) []byte {
	dst = jute.AppendBuffer(dst, r.Path)
	dst = jute.AppendBuffer(dst, r.Data)
	dst = append(dst, r.ACL...)
	dst = jute.AppendInt32(dst, r.Flags)
	if op == OpCreateTTL {
		dst = jute.AppendInt64(dst, r.TTLms)
	}
	return dst
}

// A PathVersion is the body of delete and check.
type PathVersion struct {
	Path    []byte
	Version int32
}

// Decode reads the body.
func (r *PathVersion) Decode(d *jute.Decoder) { r.Path, r.Version = d.Buffer(), d.Int32() }

// Append encodes the body.
func (r *PathVersion) Append(dst []byte) []byte {
	return jute.AppendInt32(jute.AppendBuffer(dst, r.Path), r.Version)
}

// A PathWatch is the body of exists, getData, getChildren and getChildren2.
type PathWatch struct {
	Path  []byte
	Watch bool
}

// Decode reads the body.
func (r *PathWatch) Decode(d *jute.Decoder) { r.Path, r.Watch = d.Buffer(), d.Bool() }

// Append encodes the body.
func (r *PathWatch) Append(dst []byte) []byte {
	return jute.AppendBool(jute.AppendBuffer(dst, r.Path), r.Watch)
}

// A SetDataRequest is the body of setData.
type SetDataRequest struct {
	Path    []byte
	Data    []byte
	Version int32
}

// Decode reads the body.
func (r *SetDataRequest) Decode(d *jute.Decoder) {
	r.Path, r.Data, r.Version = d.Buffer(), d.Buffer(), d.Int32()
}

// Append encodes the body.
func (r *SetDataRequest) Append(dst []byte) []byte {
	dst = jute.AppendBuffer(dst, r.Path)
	dst = jute.AppendBuffer(dst, r.Data)
	return jute.AppendInt32(dst, r.Version)
}

// A SetACLRequest is the body of setACL.
type SetACLRequest struct {
	Path    []byte
	ACL     RawACLs
	Version int32
}

// Decode reads the body.
func (r *SetACLRequest) Decode(d *jute.Decoder) {
	r.Path, r.ACL, r.Version = d.Buffer(), SkipACLs(d), d.Int32()
}

// Append encodes the body.
func (r *SetACLRequest) Append(dst []byte) []byte {
	dst = jute.AppendBuffer(dst, r.Path)
	dst = append(dst, r.ACL...)
	return jute.AppendInt32(dst, r.Version)
}

// A PathKind is the body of addWatch (Kind is the mode) and of checkWatches and
// removeWatches (Kind is the watcher type).
type PathKind struct {
	Path []byte
	Kind int32
}

// Decode reads the body.
func (r *PathKind) Decode(d *jute.Decoder) { r.Path, r.Kind = d.Buffer(), d.Int32() }

// Append encodes the body.
func (r *PathKind) Append(dst []byte) []byte {
	return jute.AppendInt32(jute.AppendBuffer(dst, r.Path), r.Kind)
}

// A ReconfigRequest is the body of reconfig; nil strings are null.
type ReconfigRequest struct {
	Joining, Leaving, NewMembers []byte
	CurConfigID                  int64
}

// Decode reads the body.
func (r *ReconfigRequest) Decode(d *jute.Decoder) {
	r.Joining, r.Leaving, r.NewMembers, r.CurConfigID = d.Buffer(), d.Buffer(), d.Buffer(), d.Int64()
}

// Append encodes the body.
func (r *ReconfigRequest) Append(dst []byte) []byte {
	dst = jute.AppendBuffer(dst, r.Joining)
	dst = jute.AppendBuffer(dst, r.Leaving)
	dst = jute.AppendBuffer(dst, r.NewMembers)
	return jute.AppendInt64(dst, r.CurConfigID)
}

// An AuthPacket is the body of auth.
type AuthPacket struct {
	Type   int32
	Scheme []byte
	Auth   []byte
}

// Decode reads the body.
func (r *AuthPacket) Decode(d *jute.Decoder) {
	r.Type, r.Scheme, r.Auth = d.Int32(), d.Buffer(), d.Buffer()
}

// Append encodes the body.
func (r *AuthPacket) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, r.Type)
	dst = jute.AppendBuffer(dst, r.Scheme)
	return jute.AppendBuffer(dst, r.Auth)
}

// A MultiHeader stands in front of each operation and result of a multi.
type MultiHeader struct {
	Type OpCode
	Done bool
	Err  ErrCode
}

// MultiHeaderBytes is the encoded size of a MultiHeader.
const MultiHeaderBytes = 9

// Decode reads the header.
func (h *MultiHeader) Decode(d *jute.Decoder) {
	h.Type, h.Done, h.Err = OpCode(d.Int32()), d.Bool(), ErrCode(d.Int32())
}

// Append encodes the header.
func (h MultiHeader) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, int32(h.Type))
	dst = jute.AppendBool(dst, h.Done)
	return jute.AppendInt32(dst, int32(h.Err))
}

// MultiDone ends a multi request or reply.
var MultiDone = MultiHeader{Type: OpError, Done: true, Err: -1}

// A ConnectRequest is the first frame on a connection (client protocol, section 2.1).
type ConnectRequest struct {
	ProtocolVersion int32
	LastZxidSeen    Zxid
	TimeoutMs       int32
	SessionID       SessionID
	Password        []byte
	ReadOnly        bool
	HasReadOnly     bool // whether the optional last byte was there
}

// Decode reads the frame.
func (r *ConnectRequest) Decode(d *jute.Decoder) {
	r.ProtocolVersion, r.LastZxidSeen, r.TimeoutMs = d.Int32(), d.Int64(), d.Int32()
	r.SessionID, r.Password = d.Int64(), d.Buffer()
	r.HasReadOnly = d.Err() == nil && len(d.Rest()) > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
}

// Append encodes the frame's payload.
func (r *ConnectRequest) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, r.ProtocolVersion)
	dst = jute.AppendInt64(dst, r.LastZxidSeen)
	dst = jute.AppendInt32(dst, r.TimeoutMs)
	dst = jute.AppendInt64(dst, r.SessionID)
	dst = jute.AppendBuffer(dst, r.Password)
	if r.HasReadOnly {
		dst = jute.AppendBool(dst, r.ReadOnly)
	}
	return dst
}

// A ConnectResponse answers a ConnectRequest, without a reply header (client protocol, section 2.2).
type ConnectResponse struct {
	TimeoutMs   int32
	SessionID   SessionID
	Password    [PasswordBytes]byte
	ReadOnly    bool
	HasReadOnly bool
}

// Append encodes the frame's payload.
func (r *ConnectResponse) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, 0)
	dst = jute.AppendInt32(dst, r.TimeoutMs)
	dst = jute.AppendInt64(dst, r.SessionID)
	dst = jute.AppendBuffer(dst, r.Password[:])
	if r.HasReadOnly {
		dst = jute.AppendBool(dst, r.ReadOnly)
	}
	return dst
}

// ReplyHeaderBytes is the encoded size of a reply header.
const ReplyHeaderBytes = 16

// AppendReplyHeader appends xid, zxid and err.
func AppendReplyHeader(dst []byte, xid int32, zxid Zxid, err ErrCode) []byte {
	dst = jute.AppendInt32(dst, xid)
	dst = jute.AppendInt64(dst, zxid)
	return jute.AppendInt32(dst, int32(err))
}

// PasswordBytes is the size of every session password.
const PasswordBytes = 16

// SessionPassword computes the password of a session, the same on every server, Java's
// included, or sessions could not move (client protocol, section 2.5).
func SessionPassword(id SessionID) (pw [PasswordBytes]byte) {
	const multiplier, mask = 0x5DEECE66D, 1<<48 - 1
	seed := (uint64(id) ^ 0xB3415C00 ^ multiplier) & mask
	for i := 0; i < PasswordBytes; i += 4 {
		seed = (seed*multiplier + 0xB) & mask
		v := uint32(seed >> 16)
		pw[i], pw[i+1], pw[i+2], pw[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	return pw
}
