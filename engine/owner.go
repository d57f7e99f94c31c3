package engine

import "zabra.dev/zabra/engine/proto"

// ownerKind is what an ephemeralOwner makes of a node (client protocol, section 5.4).
type ownerKind int

const (
	ownerNone ownerKind = iota
	ownerSession
	ownerContainer
	ownerTTL
)

// ttlFeatureMask covers the feature code of an owner with extended types; 0 is TTL, the only one.
const ttlFeatureMask = 0x00FFFF0000000000

// ownerKind returns the kind; ok is false for an owner with an unknown feature code, which
// only damage or a newer release can have written.
func (o *Options) ownerKind(owner int64) (kind ownerKind, ok bool) {
	if owner == 0 {
		return ownerNone, true
	}
	if o.ExtendedTypes {
		if o.Emulate353TTL && owner < 0 && owner != proto.OwnerContainer {
			return ownerTTL, true
		}
		if owner&proto.OwnerTTLMask == proto.OwnerTTLMask {
			return ownerTTL, owner&ttlFeatureMask == 0
		}
	}
	if owner == proto.OwnerContainer {
		return ownerContainer, true
	}
	return ownerSession, true
}

// ttlOwner returns the owner that stands for a TTL; ok is false if it is out of range.
func ttlOwner(ttlMs int64) (owner int64, ok bool) {
	return proto.OwnerTTLMask | ttlMs, ttlMs > 0 && ttlMs <= proto.MaxTTLMs
}

// TTLms returns the time to live of a TTL node in milliseconds, 0 for other nodes. owner is
// the stored one (Node.EphemeralOwner). Of the format of 3.5.3, too, only the low 40 bits
// count, as in Java.
func (o Options) TTLms(owner int64) int64 {
	if kind, _ := o.ownerKind(owner); kind != ownerTTL {
		return 0
	}
	return owner & proto.MaxTTLMs
}

// IsSessionOwner tells whether a stored owner makes the node an ephemeral of that session,
// so that it may have no children.
func (o Options) IsSessionOwner(owner int64) bool {
	kind, _ := o.ownerKind(owner)
	return kind == ownerSession
}

// IsContainerOwner tells whether a stored owner makes the node a container.
func (o Options) IsContainerOwner(owner int64) bool {
	kind, _ := o.ownerKind(owner)
	return kind == ownerContainer
}

// A member is a node's entry in a set that the engine keeps beside the tree: the ephemerals
// of a session, the containers, the TTL nodes. Sets are lists in order of entry.
type member struct {
	node       NodeRef
	session    uint32 // record of the session, 0 for containers and TTL nodes
	next, prev uint32
}

type memberList struct {
	head, tail uint32
	n          uint32
}

func (e *Engine) memberAppend(l *memberList, x *extra, ref NodeRef, session uint32) {
	i := e.members.Alloc()
	*e.members.At(i) = member{node: ref, session: session, prev: l.tail}
	if l.tail != 0 {
		e.members.At(l.tail).next = i
	} else {
		l.head = i
	}
	l.tail = i
	l.n++
	x.member = i
}

func (e *Engine) memberRemove(l *memberList, x *extra) {
	m := e.members.At(x.member)
	if m.prev != 0 {
		e.members.At(m.prev).next = m.next
	} else {
		l.head = m.next
	}
	if m.next != 0 {
		e.members.At(m.next).prev = m.prev
	} else {
		l.tail = m.prev
	}
	l.n--
	e.members.Free(x.member)
	x.member = 0
}

// join enters a new full node in the set that its owner asks for.
func (e *Engine) join(ref NodeRef, x *extra) {
	switch kind, _ := e.opts.ownerKind(x.owner); kind {
	case ownerContainer:
		e.memberAppend(&e.containers, x, ref, 0)
	case ownerTTL:
		e.memberAppend(&e.ttls, x, ref, 0)
	case ownerSession:
		s := e.sessions.findOrAdd(x.owner)
		e.memberAppend(&e.sessions.slab.At(s).ephemerals, x, ref, s)
		e.ephemerals++
	}
}

// leave takes a full node that is being deleted out of its set.
func (e *Engine) leave(x *extra) {
	switch kind, _ := e.opts.ownerKind(x.owner); kind {
	case ownerContainer:
		e.memberRemove(&e.containers, x)
	case ownerTTL:
		e.memberRemove(&e.ttls, x)
	case ownerSession:
		s := e.members.At(x.member).session
		e.memberRemove(&e.sessions.slab.At(s).ephemerals, x)
		e.ephemerals--
		e.sessions.dropIfUnused(s)
	}
}

func (e *Engine) eachMember(l *memberList, f func(NodeRef) bool) {
	for i := l.head; i != 0; {
		m := e.members.At(i)
		i = m.next
		if !f(m.node) {
			return
		}
	}
}

// EachContainer calls f with each container until f returns false. f must not write.
func (e *Engine) EachContainer(f func(NodeRef) bool) { e.eachMember(&e.containers, f) }

// EachTTL calls f with each TTL node until f returns false. f must not write.
func (e *Engine) EachTTL(f func(NodeRef) bool) { e.eachMember(&e.ttls, f) }

// ContainerCount returns the number of containers.
func (e *Engine) ContainerCount() int { return int(e.containers.n) }

// TTLCount returns the number of TTL nodes.
func (e *Engine) TTLCount() int { return int(e.ttls.n) }
