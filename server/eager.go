package server

import (
	"bytes"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// eagerACLCheck refuses writes that the local tree already forbids, before they cost a
// transaction. What is wrong in other ways passes, to be refused in the normal way.
// Source: client protocol, section 8.9 (zookeeper.enableEagerACLCheck).
func (c *clientConn) eagerACLCheck(op proto.OpCode, body []byte) proto.ErrCode {
	s := c.loop.srv
	d := c.decodeBody(body)
	var path []byte
	var acl proto.RawACLs
	var perms int32
	switch op {
	case proto.OpCreate, proto.OpCreate2:
		var r proto.CreateRequest
		r.Decode(&d, op)
		path, acl, perms = parentOf(r.Path), r.ACL, proto.PermCreate
	case proto.OpDelete:
		var r proto.PathVersion
		r.Decode(&d)
		path, perms = parentOf(r.Path), proto.PermDelete
	case proto.OpSetData:
		var r proto.SetDataRequest
		r.Decode(&d)
		path, perms = r.Path, proto.PermWrite
	case proto.OpSetACL:
		var r proto.SetACLRequest
		r.Decode(&d)
		path, acl, perms = r.Path, r.ACL, proto.PermAdmin
	default:
		return proto.OK
	}
	if d.Err() != nil || path == nil {
		return proto.OK
	}
	if acl != nil {
		if _, code := s.auth.FixUp(nil, acl, c.identities); code == proto.ErrInvalidACL {
			return code
		}
	}
	if n := s.engine.Lookup(path); n != 0 && !c.allowed(n, perms) {
		return proto.ErrNoAuth
	}
	return proto.OK
}

// parentOf lends the path of the parent, nil if path has none.
func parentOf(path []byte) []byte {
	switch slash := bytes.LastIndexByte(path, '/'); slash {
	case -1:
		return nil
	case 0:
		return path[:1]
	default:
		return path[:slash]
	}
}

// decodeBody starts a decoder with the limits that requests have.
func (c *clientConn) decodeBody(body []byte) jute.Decoder {
	return jute.NewDecoder(body, c.loop.srv.opts.FieldMaxBytes)
}
