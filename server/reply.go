package server

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// beginFrame appends room for the length of a frame and returns where the frame starts.
func beginFrame(dst []byte) (out []byte, start int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// endFrame fills in the length of the frame that starts at start.
func endFrame(dst []byte, start int) []byte {
	jute.PutInt32(dst[start:], int32(len(dst)-start-4))
	return dst
}

// appendHeaderReply appends a whole reply frame without a body.
func appendHeaderReply(dst []byte, xid int32, zxid proto.Zxid, code proto.ErrCode) []byte {
	dst = jute.AppendInt32(dst, proto.ReplyHeaderBytes)
	return proto.AppendReplyHeader(dst, xid, zxid, code)
}

// appendNotification appends a whole watch event frame (client protocol, section 7.3).
func appendNotification(dst []byte, typ proto.EventType, path []byte, zxid proto.Zxid) []byte {
	dst, start := beginFrame(dst)
	dst = proto.AppendReplyHeader(dst, proto.XidNotification, zxid, proto.OK)
	dst = jute.AppendInt32(dst, int32(typ))
	dst = jute.AppendInt32(dst, proto.StateSyncConnected)
	dst = jute.AppendBuffer(dst, path)
	return endFrame(dst, start)
}

// appendWriteReply appends the reply to an applied write (client protocol, sections 3.4 and
// 6). op is the operation that the client asked for, which can differ from the type that
// was logged.
func appendWriteReply(dst []byte, xid int32, op proto.OpCode, zxid proto.Zxid, res *engine.Result) []byte {
	if res.Err != proto.OK && op != proto.OpMulti {
		return appendHeaderReply(dst, xid, zxid, res.Err)
	}
	dst, start := beginFrame(dst)
	if op != proto.OpMulti {
		dst = proto.AppendReplyHeader(dst, xid, zxid, proto.OK)
		dst = appendOpBody(dst, op, &res.OpResult)
		return endFrame(dst, start)
	}
	if res.Header.Type != proto.OpMulti {
		// The request as a whole was refused (client protocol, section 6.1).
		dst = proto.AppendReplyHeader(dst, xid, zxid, res.Err)
		return endFrame(dst, start)
	}
	dst = proto.AppendReplyHeader(dst, xid, zxid, proto.OK)
	for i := range res.Multi {
		sub := &res.Multi[i]
		if sub.Type == proto.OpError {
			dst = proto.MultiHeader{Type: proto.OpError, Err: sub.Err}.Append(dst)
			dst = jute.AppendInt32(dst, int32(sub.Err))
			continue
		}
		typ := resultType(sub.Type)
		dst = proto.MultiHeader{Type: typ}.Append(dst)
		dst = appendOpBody(dst, typ, sub)
	}
	dst = proto.MultiDone.Append(dst)
	return endFrame(dst, start)
}

// appendReconfigReply appends the reply to a reconfig that has been applied: the new configuration, and the Stat of its
// node (client protocol, section 3.4).
func appendReconfigReply(dst []byte, xid int32, zxid proto.Zxid, config []byte, stat *proto.Stat) []byte {
	dst, start := beginFrame(dst)
	dst = proto.AppendReplyHeader(dst, xid, zxid, proto.OK)
	dst = jute.AppendBuffer(dst, config)
	return endFrame(stat.Append(dst), start)
}

// resultType maps the type of an operation in a multi to that of its result
// (client protocol, section 6.2).
func resultType(typ proto.OpCode) proto.OpCode {
	switch typ {
	case proto.OpCreateContainer, proto.OpCreateTTL:
		return proto.OpCreate2
	}
	return typ
}

func appendOpBody(dst []byte, op proto.OpCode, res *engine.OpResult) []byte {
	switch op {
	case proto.OpCreate:
		return jute.AppendBuffer(dst, res.Path)
	case proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		dst = jute.AppendBuffer(dst, res.Path)
		return res.Stat.Append(dst)
	case proto.OpSetData, proto.OpSetACL:
		return res.Stat.Append(dst)
	}
	return dst
}
