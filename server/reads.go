package server

import (
	"bytes"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
)

// serveRead answers a request that needs no quorum from the tree, straight into the
// connection's outbound bytes. The caller holds the gate of the connection's loop (the loop
// itself) or all gates (the replica). body is borrowed until return.
//
// Each operation appends its body behind a header that is filled in last: an error cuts the
// body off again.
func (c *clientConn) serveRead(xid int32, op proto.OpCode, body []byte, receivedNs int64) {
	s := c.loop.srv
	zxid := s.engine.LastZxid()
	switch op {
	case proto.OpPing:
		xid = proto.XidPing
	case proto.OpSetWatches, proto.OpSetWatches2:
		// The notifications that fire at once stand in front of the reply.
		code := c.setWatches(op, body)
		c.out = appendHeaderReply(c.outBuffer(), xid, zxid, code)
		c.replied(xid, op, zxid, receivedNs, 4+proto.ReplyHeaderBytes, &c.loop.readLatency)
		return
	}
	out, start := beginFrame(c.outBuffer())
	c.out = proto.AppendReplyHeader(out, xid, zxid, proto.OK)
	var code proto.ErrCode
	keepBody := false
	if op == proto.OpMultiRead {
		code, keepBody = c.multiRead(body)
	} else {
		code = c.readBody(op, body)
	}
	if code != proto.OK {
		if !keepBody {
			c.out = c.out[:start+4+proto.ReplyHeaderBytes]
		}
		jute.PutInt32(c.out[start+4+proto.ReplyHeaderBytes-4:], int32(code))
	}
	c.out = endFrame(c.out, start)
	c.replied(xid, op, zxid, receivedNs, len(c.out)-start, &c.loop.readLatency)
}

// readBody appends the body of the reply to op.
func (c *clientConn) readBody(op proto.OpCode, body []byte) proto.ErrCode {
	switch op {
	case proto.OpPing:
		return proto.OK
	case proto.OpExists, proto.OpGetData, proto.OpGetChildren, proto.OpGetChildren2:
		d := c.decodeBody(body)
		var r proto.PathWatch
		r.Decode(&d)
		if d.Err() != nil || r.Path == nil {
			return proto.ErrMarshalling
		}
		if op == proto.OpExists {
			return c.exists(r)
		}
		return c.readNode(op, r)
	case proto.OpGetACL:
		return c.getACL(body)
	case proto.OpSync:
		// One server alone has nothing to catch up with: the reply's place in the order of the
		// session is all there is to it (client protocol, section 11.4).
		d := c.decodeBody(body)
		path := d.Buffer()
		if d.Err() != nil {
			return proto.ErrMarshalling
		}
		c.out = jute.AppendBuffer(c.out, path)
		return proto.OK
	case proto.OpCheckWatches, proto.OpRemoveWatches:
		return c.watcherRequest(op, body)
	case proto.OpAddWatch:
		return c.addWatch(body)
	case proto.OpGetEphemerals:
		return c.getEphemerals(body)
	case proto.OpGetAllChildrenNum:
		return c.getAllChildrenNumber(body)
	case proto.OpWhoAmI:
		c.out = jute.AppendInt32(c.out, int32(len(c.identities)))
		for _, id := range c.identities {
			c.out = jute.AppendString(c.out, id.Scheme)
			c.out = jute.AppendString(c.out, c.loop.srv.auth.UserName(id))
		}
		return proto.OK
	}
	return proto.ErrUnimplemented
}

// allowed checks the ACL of n against the identities of the connection.
func (c *clientConn) allowed(n engine.NodeRef, perms int32) bool {
	s := c.loop.srv
	return s.auth.Allowed(s.engine.ACL(n), perms, c.identities)
}

// find gives the znode of path if the connection has one of the permissions there.
func (c *clientConn) find(path []byte, perms int32) (engine.NodeRef, proto.ErrCode) {
	n := c.loop.srv.engine.Lookup(path)
	if n == 0 {
		return 0, proto.ErrNoNode
	}
	if !c.allowed(n, perms) {
		return 0, proto.ErrNoAuth
	}
	return n, proto.OK
}

func (c *clientConn) exists(r proto.PathWatch) proto.ErrCode {
	e := c.loop.srv.engine
	if bytes.IndexByte(r.Path, 0) >= 0 {
		return proto.ErrBadArguments
	}
	n := e.Lookup(r.Path)
	if n != 0 && !c.allowed(n, proto.PermRead) {
		return proto.ErrNoAuth
	}
	if r.Watch {
		c.loop.watches.AddData(c.slot, watch.KeyOf(r.Path))
	}
	if n == 0 {
		return proto.ErrNoNode
	}
	c.loop.namespaces.read(r.Path, 0)
	c.appendStat(n)
	return proto.OK
}

func (c *clientConn) appendStat(n engine.NodeRef) {
	var st proto.Stat
	c.loop.srv.engine.Stat(n, &st)
	c.out = st.Append(c.out)
}

func (c *clientConn) readNode(op proto.OpCode, r proto.PathWatch) proto.ErrCode {
	e := c.loop.srv.engine
	n, code := c.find(r.Path, proto.PermRead)
	if code != proto.OK {
		return code
	}
	if op == proto.OpGetData {
		if r.Watch {
			c.loop.watches.AddData(c.slot, watch.KeyOf(r.Path))
		}
		data := e.Data(n)
		c.loop.namespaces.read(r.Path, len(data))
		c.out = jute.AppendBuffer(c.out, data)
		c.appendStat(n)
		return proto.OK
	}
	if r.Watch {
		c.loop.watches.AddChild(c.slot, watch.KeyOf(r.Path))
	}
	start := len(c.out)
	c.out = e.AppendChildren(c.out, n)
	// The names alone, without the lengths in front of the list and of each.
	c.loop.namespaces.read(r.Path, len(c.out)-start-4-4*int(e.NumChildren(n)))
	if op == proto.OpGetChildren2 {
		c.appendStat(n)
	}
	return proto.OK
}

func (c *clientConn) getACL(body []byte) proto.ErrCode {
	e := c.loop.srv.engine
	d := c.decodeBody(body)
	path := d.Buffer()
	if d.Err() != nil || path == nil {
		return proto.ErrMarshalling
	}
	n, code := c.find(path, proto.PermRead|proto.PermAdmin)
	if code != proto.OK {
		return code
	}
	c.out = c.loop.srv.auth.RedactACL(c.out, e.ACL(n), c.identities)
	c.appendStat(n)
	return proto.OK
}

// multiRead answers each operation for itself (client protocol, section 6.5). Of a request that does not
// decode, or mixes reads and writes, nothing is answered; one of writes alone, or with a null path, fails
// with the results so far behind the error.
func (c *clientConn) multiRead(body []byte) (code proto.ErrCode, keepBody bool) {
	// A first pass makes sure of the whole request.
	d := c.decodeBody(body)
	reads, writes := 0, 0
	for {
		var h proto.MultiHeader
		h.Decode(&d)
		if d.Err() != nil {
			return proto.ErrMarshalling, false
		}
		if h.Done {
			break
		}
		switch h.Type {
		case proto.OpGetData, proto.OpGetChildren:
			var r proto.PathWatch
			r.Decode(&d)
			reads++
		case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
			var r proto.CreateRequest
			r.Decode(&d, h.Type)
			writes++
		case proto.OpDelete, proto.OpCheck:
			var r proto.PathVersion
			r.Decode(&d)
			writes++
		case proto.OpSetData:
			var r proto.SetDataRequest
			r.Decode(&d)
			writes++
		default:
			return proto.ErrMarshalling, false
		}
		if d.Err() != nil || reads > 0 && writes > 0 {
			return proto.ErrMarshalling, false
		}
	}
	if writes > 0 {
		c.out = proto.MultiDone.Append(c.out)
		return proto.ErrMarshalling, true
	}
	d = c.decodeBody(body)
	for {
		var h proto.MultiHeader
		h.Decode(&d)
		if h.Done {
			c.out = proto.MultiDone.Append(c.out)
			return proto.OK, true
		}
		var r proto.PathWatch
		r.Decode(&d)
		if r.Path == nil {
			c.out = proto.MultiDone.Append(c.out)
			return proto.ErrMarshalling, true
		}
		r.Watch = false
		start := len(c.out)
		c.out = proto.MultiHeader{Type: h.Type}.Append(c.out)
		if code := c.readNode(h.Type, r); code != proto.OK {
			c.out = proto.MultiHeader{Type: proto.OpError, Err: code}.Append(c.out[:start])
			c.out = jute.AppendInt32(c.out, int32(code))
		}
	}
}

func (c *clientConn) getEphemerals(body []byte) proto.ErrCode {
	e := c.loop.srv.engine
	d := c.decodeBody(body)
	prefix := d.Buffer()
	if d.Err() != nil {
		return proto.ErrMarshalling
	}
	if blank := bytes.TrimSpace(prefix); len(blank) == 0 || string(blank) == "/" {
		prefix = nil
	}
	countAt, count := len(c.out), int32(0)
	c.out = jute.AppendInt32(c.out, 0)
	e.EachEphemeral(c.session, func(n engine.NodeRef) bool {
		at := len(c.out)
		c.out = e.AppendPath(jute.AppendInt32(c.out, 0), n)
		if path := c.out[at+4:]; bytes.HasPrefix(path, prefix) {
			jute.PutInt32(c.out[at:], int32(len(path)))
			count++
		} else {
			c.out = c.out[:at]
		}
		return true
	})
	jute.PutInt32(c.out[countAt:], count)
	return proto.OK
}

func (c *clientConn) getAllChildrenNumber(body []byte) proto.ErrCode {
	e := c.loop.srv.engine
	d := c.decodeBody(body)
	path := d.Buffer()
	if d.Err() != nil || path == nil {
		return proto.ErrMarshalling
	}
	n, code := c.find(path, proto.PermRead)
	if code != proto.OK {
		return code
	}
	c.out = jute.AppendInt32(c.out, int32(e.NumDescendants(n)))
	return proto.OK
}
