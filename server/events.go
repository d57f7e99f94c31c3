package server

import (
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/server/metrics"
)

// eventSink is what the engine tells of each change while the replica applies it under all
// gates: it fires the watches of every loop, in the order that the client protocol demands
// (section 7.4), each event going behind what its connection has been sent already.
//
// Requests that wait in a connection's queue stand behind an unfinished write of that connection and
// will see a later state, so the event may go ahead of their replies.
type eventSink struct {
	loops []*clientLoop

	// The change at hand, for Notify.
	loop           *clientLoop
	path, parent   []byte
	acl, parentACL proto.RawACLs
	zxid           proto.Zxid
	frame          []byte // scratch: the notification
	// notified counts those told of the change, by event type.
	notified [proto.EventChildrenChanged + 1]int64
	counts   [proto.EventChildrenChanged + 1]*metrics.Summary
}

// begin notes the change at hand.
func (k *eventSink) begin(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	k.path, k.parent, k.acl, k.parentACL, k.zxid = path, parent, acl, parentACL, zxid
}

// end counts those who were told of it.
func (k *eventSink) end() {
	for typ, n := range k.notified {
		if n > 0 {
			k.counts[typ].Add(n)
			k.notified[typ] = 0
		}
	}
}

// Created implements engine.Sink.
func (k *eventSink) Created(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	k.begin(path, parent, acl, parentACL, zxid)
	node, above := watch.KeyOf(path), watch.KeyOf(parent)
	for _, l := range k.loops {
		k.loop = l
		l.watches.Created(node, above, k)
	}
	k.end()
}

// Deleted implements engine.Sink.
func (k *eventSink) Deleted(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	k.begin(path, parent, acl, parentACL, zxid)
	k.loops[0].namespaces.write(path, 0)
	node, above := watch.KeyOf(path), watch.KeyOf(parent)
	for _, l := range k.loops {
		k.loop = l
		l.watches.Deleted(node, above, k)
	}
	k.end()
}

// DataChanged implements engine.Sink.
func (k *eventSink) DataChanged(path []byte, acl proto.RawACLs, zxid proto.Zxid) {
	k.begin(path, nil, acl, nil, zxid)
	node := watch.KeyOf(path)
	for _, l := range k.loops {
		k.loop = l
		l.watches.DataChanged(node, k)
	}
	k.end()
}

// Notify implements watch.Notifier: the event is encoded once and goes to each connection whose
// identities may read the node that it is about (client protocol, section 7.8).
func (k *eventSink) Notify(conns []watch.ConnID, typ proto.EventType, onParent bool) {
	path, acl := k.path, k.acl
	if onParent {
		path, acl = k.parent, k.parentACL
	}
	k.frame = appendNotification(k.frame[:0], typ, path, k.zxid)
	registry := k.loop.srv.auth
	sent := int64(0)
	for _, id := range conns {
		c := k.loop.conns[id]
		if !registry.Allowed(acl, proto.PermRead, c.identities) {
			continue
		}
		c.out = append(c.outBuffer(), k.frame...)
		c.stats.sent++
		sent++
		c.markDirty()
	}
	k.loop.stats.sent += sent
	k.loop.watchBytes += sent * int64(len(k.frame))
	k.notified[typ] += sent
}
