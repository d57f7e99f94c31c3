package server

import (
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
)

// addWatch arms a persistent watch; the node need not exist and no permission is needed
// (client protocol, section 7.2).
func (c *clientConn) addWatch(body []byte) proto.ErrCode {
	d := c.decodeBody(body)
	var r proto.PathKind
	r.Decode(&d)
	if d.Err() != nil || r.Path == nil {
		return proto.ErrMarshalling
	}
	switch r.Kind {
	case proto.WatchModePersistent:
		c.loop.watches.AddPersistent(c.slot, watch.KeyOf(r.Path))
	case proto.WatchModePersistentRecursive:
		c.loop.watches.AddRecursive(c.slot, watch.KeyOf(r.Path))
	default:
		return proto.ErrMarshalling
	}
	c.out = jute.AppendInt32(c.out, 0)
	return proto.OK
}

// watcherRequest is checkWatches or removeWatches (client protocol, section 7.9).
func (c *clientConn) watcherRequest(op proto.OpCode, body []byte) proto.ErrCode {
	d := c.decodeBody(body)
	var r proto.PathKind
	r.Decode(&d)
	if d.Err() != nil || r.Path == nil || r.Kind < proto.WatcherChildren || r.Kind > proto.WatcherPersistentRecursive {
		return proto.ErrMarshalling
	}
	found := false
	if op == proto.OpCheckWatches {
		found = c.loop.watches.Check(c.slot, watch.KeyOf(r.Path), r.Kind)
	} else {
		found = c.loop.watches.Remove(c.slot, watch.KeyOf(r.Path), r.Kind)
	}
	if !found {
		return proto.ErrNoWatcher
	}
	return proto.OK
}

// The lists of setWatches and setWatches2, in the order they are encoded and handled.
const (
	listData = iota
	listExist
	listChild
	listPersistent
	listRecursive
	setWatchesLists  = listChild + 1
	setWatches2Lists = listRecursive + 1
)

// setWatches arms the watches of a client that has come back, or tells it at once what it has
// missed (client protocol, section 7.7). Notifications are appended to the outbound bytes.
func (c *clientConn) setWatches(op proto.OpCode, body []byte) proto.ErrCode {
	lists := setWatchesLists
	if op == proto.OpSetWatches2 {
		lists = setWatches2Lists
	}
	// A first pass makes sure of the whole request, so that a bad one arms nothing.
	d := c.decodeBody(body)
	d.Int64()
	for range lists {
		n := d.VectorLen()
		if n < 0 {
			return proto.ErrMarshalling
		}
		for i := 0; i < n && d.Err() == nil; i++ {
			if d.Buffer() == nil {
				return proto.ErrMarshalling
			}
		}
	}
	if d.Err() != nil {
		return proto.ErrMarshalling
	}
	d = c.decodeBody(body)
	relativeZxid := d.Int64()
	for list := range lists {
		for n := d.VectorLen(); n > 0; n-- {
			c.resetWatch(list, d.Buffer(), relativeZxid)
		}
	}
	return proto.OK
}

func (c *clientConn) resetWatch(list int, path []byte, relativeZxid proto.Zxid) {
	watches, e := c.loop.watches, c.loop.srv.engine
	switch list {
	case listPersistent:
		watches.AddPersistent(c.slot, watch.KeyOf(path))
		return
	case listRecursive:
		watches.AddRecursive(c.slot, watch.KeyOf(path))
		return
	}
	n := e.Lookup(path)
	var st proto.Stat
	if n != 0 {
		e.Stat(n, &st)
	}
	switch {
	case list == listExist && n != 0:
		c.notify(proto.EventCreated, path, -1)
	case list == listExist:
		watches.AddData(c.slot, watch.KeyOf(path))
	case n == 0:
		c.notify(proto.EventDeleted, path, -1)
	case list == listData && st.Mzxid > relativeZxid:
		c.notify(proto.EventDataChanged, path, -1)
	case list == listData:
		watches.AddData(c.slot, watch.KeyOf(path))
	case st.Pzxid > relativeZxid:
		c.notify(proto.EventChildrenChanged, path, -1)
	default:
		watches.AddChild(c.slot, watch.KeyOf(path))
	}
}

// notify appends a watch event. The caller holds the gate of the connection's loop.
func (c *clientConn) notify(typ proto.EventType, path []byte, zxid proto.Zxid) {
	c.out = appendNotification(c.outBuffer(), typ, path, zxid)
	c.stats.sent++
	c.loop.stats.sent++
}
