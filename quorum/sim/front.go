package sim

import (
	"slices"
	"time"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// front is the side of a server that clients see, and, while it leads, the session tracker.
type front struct {
	conns   []*conn // in order of their coming
	watches *watch.Table
	tracker tracker
	touched []quorum.Touch // since the last answer to a PING
	moving  []*conn        // wait for OutRevalidated, in order
	syncs   []*conn        // by token: index + 1
}

// A conn is a client's connection to a server.
type conn struct {
	w       *world
	c       *client
	s       *server
	life    int
	number  watch.ConnID // at s
	session proto.SessionID
	queue   []*op // requests that are not answered, in order
	// ready: the session is established here.
	ready                bool
	closedHere, gone     bool          // at the server; at the client
	toServerAt, toClient time.Duration // arrivals of the newest message of each direction
}

// up carries f to the server, down to the client, each in order.
func (k *conn) up(f func()) {
	k.toServerAt = max(k.toServerAt, k.w.now+k.w.delay())
	k.w.at(k.toServerAt, func() {
		if !k.s.up || k.s.life != k.life {
			if !k.s.hostDown {
				k.down(k.c.lostConn(k))
			}
			return
		}
		k.s.post(func() {
			if !k.closedHere {
				f()
			}
		})
	})
}

func (k *conn) down(f func()) {
	k.toClient = max(k.toClient, k.w.now+k.w.delay())
	k.w.at(k.toClient, func() {
		if !k.gone {
			f()
		}
	})
}

// accept takes a client's connect request: a new session, or one that it has.
func (s *server) accept(k *conn, session proto.SessionID, timeoutMs int32, seen quorum.Zxid) {
	if !s.serving || seen > s.engine.LastZxid() {
		k.closedHere = true
		k.down(k.c.lostConn(k))
		return
	}
	k.number = s.freeNumber()
	s.conns = append(s.conns, k)
	if session == 0 {
		k.session = s.newSessionID()
		o := &op{kind: opConnect, timeoutMs: timeoutMs, sent: true}
		k.queue = append(k.queue, o)
		s.forward(k, o, proto.OpCreateSession, jute.AppendInt32(nil, timeoutMs))
		return
	}
	k.session = session
	if s.leader != nil {
		s.attached(k, s.tracker.move(session, 0, timeoutMs, s.local()))
		return
	}
	s.moving = append(s.moving, k)
	s.step(zab.Input{Kind: zab.InRevalidate, Session: session, TimeoutMs: timeoutMs})
}

func (s *server) freeNumber() watch.ConnID {
	for n := watch.ConnID(0); ; n++ {
		if !slices.ContainsFunc(s.conns, func(k *conn) bool { return k.number == n }) {
			return n
		}
	}
}

// attached ends a connect request for a session that exists.
func (s *server) attached(k *conn, ok bool) {
	if k.closedHere {
		return
	}
	if !ok {
		k.down(func() { k.c.expired(k) })
		s.hangUp(k, false)
		return
	}
	for _, o := range slices.Clone(s.conns) {
		if o != k && o.session == k.session {
			s.hangUp(o, true)
		}
	}
	k.ready = true
	session, z := k.session, s.engine.LastZxid()
	k.down(func() { k.c.established(k, session, z) })
}

func (s *server) newSessionID() proto.SessionID {
	for {
		id := int64(s.id)<<56 | int64(s.rng.Uint64()>>8&0xffff_ffff_ffff)
		if _, known := s.engine.Session(id); !known && id != 0 {
			return id
		}
	}
}

// hangUp closes a connection.
func (s *server) hangUp(k *conn, tell bool) {
	if k.closedHere {
		return
	}
	k.closedHere = true
	s.watches.RemoveConn(k.number)
	s.conns = slices.DeleteFunc(s.conns, func(o *conn) bool { return o == k })
	if tell {
		k.down(k.c.lostConn(k))
	}
}

// dropClients breaks all connections of clients; dropClientsSilently does, and the clients see
// nothing of it if there is no kernel left to tell them.
func (s *server) dropClients() {
	for _, k := range slices.Clone(s.conns) {
		s.hangUp(k, true)
	}
}

func (s *server) dropClientsSilently(silent bool) {
	for _, k := range slices.Clone(s.conns) {
		s.hangUp(k, !silent)
	}
}

// request takes a request of an established session.
func (s *server) request(k *conn, o *op) {
	s.touch(k.session)
	k.queue = append(k.queue, o)
	s.pump(k)
}

// pump answers the reads at the front of the queue and sends on its way what may go: a write or
// sync behind others, but nothing behind a sync that is not answered. A later write could be
// applied before it is, and be seen by a read between the two.
func (s *server) pump(k *conn) {
	for len(k.queue) > 0 && k.queue[0].kind.reads() {
		o := k.queue[0]
		k.queue = k.queue[1:]
		s.read(k, o)
	}
	for _, o := range k.queue {
		if !o.sent && !o.kind.reads() {
			o.sent = true
			s.sendOn(k, o)
		}
		if o.kind == opSync && s.w.opts.Mistakes != WriteOvertakesSync || k.closedHere {
			return
		}
	}
}

// sendOn gives a write or sync to the machine.
func (s *server) sendOn(k *conn, o *op) {
	if o.kind != opSync {
		s.forward(k, o, o.opCode(), o.body)
		return
	}
	s.syncs = append(s.syncs, k)
	token := uint64(len(s.syncs))
	if m := s.leader; m != nil {
		s.post(func() { // not in the middle of outputs
			if s.leader != m {
				return
			}
			if s.w.opts.Mistakes == SyncOvertakesWrites || s.flush() && s.leader == m {
				s.step(zab.Input{Kind: zab.InSync, Token: token})
			}
		})
		return
	}
	r := quorum.Request{SessionID: k.session, Cxid: o.xid, Op: proto.OpSync, Body: o.body}
	s.step(zab.Input{Kind: zab.InSyncRequest, Token: token, Packet: quorum.Packet{Data: r.Append(nil), Auth: []proto.Identity{}}})
}

// forward sends a write on its way: it is prepared here, or by the leader.
func (s *server) forward(k *conn, o *op, code proto.OpCode, body []byte) {
	if s.leader != nil {
		s.requests = append(s.requests, prep.Request{
			Session: k.session, Xid: o.xid, Op: code, Body: body, Identities: o.identities(), Owner: zab.LinkID(0), TimeoutMs: o.timeoutMs,
		})
		return
	}
	r := quorum.Request{SessionID: k.session, Cxid: o.xid, Op: code, Body: body}
	s.step(zab.Input{Kind: zab.InRequest, Packet: quorum.Packet{Data: r.Append(nil), Auth: o.identities()}})
}

// identities are those of whoever asks: an operator is super, all others are nobody.
func (o *op) identities() []proto.Identity {
	if o.kind == opReconfig {
		return []proto.Identity{{Scheme: auth.SchemeSuper}}
	}
	return []proto.Identity{}
}

func (s *server) touch(session proto.SessionID) {
	if s.leader != nil {
		s.tracker.touch(session, s.local())
		return
	}
	timeoutMs, ok := s.engine.Session(session)
	if !ok || slices.ContainsFunc(s.touched, func(t quorum.Touch) bool { return t.SessionID == session }) {
		return
	}
	s.touched = append(s.touched, quorum.Touch{SessionID: session, TimeoutMs: timeoutMs})
}

// read answers from the tree as it is.
func (s *server) read(k *conn, o *op) {
	a := answer{zxid: s.engine.LastZxid(), err: proto.OK}
	if o.kind == opGet {
		var st proto.Stat
		if ref := s.engine.Lookup([]byte(o.path)); ref != 0 {
			s.engine.Stat(ref, &st)
			a.exists, a.version, a.data = true, st.Version, string(s.engine.Data(ref))
		}
		if o.watch {
			s.watches.AddData(k.number, watch.KeyOf([]byte(o.path)))
		}
	}
	k.down(func() { k.c.answered(k, o, a) })
}

// finish answers the write or sync at the front of the queue, and the reads behind it.
func (s *server) finish(k *conn, a answer) {
	o := k.queue[0]
	k.queue = k.queue[1:]
	if o.kind == opConnect {
		s.attached(k, a.err == proto.OK)
	} else {
		k.down(func() { k.c.answered(k, o, a) })
	}
	if !k.closedHere {
		s.pump(k)
	}
}

// syncDone answers a sync.
func (s *server) syncDone(token uint64) {
	k := s.syncs[token-1]
	if k.closedHere {
		return
	}
	if len(k.queue) == 0 || k.queue[0].kind != opSync {
		s.w.fail("session order", "server %d answers a sync of session 0x%x in front of other requests: %s %d", s.id, k.session, opNames[k.queue[0].kind], k.queue[0].xid)
	}
	s.finish(k, answer{zxid: s.engine.LastZxid()})
}

// eventSink hands changes to the watches of a server.
type eventSink struct {
	s    *server
	path string
	zxid quorum.Zxid
}

func (e *eventSink) Created(path, parent []byte, _, _ proto.RawACLs, z proto.Zxid) {
	e.path, e.zxid = string(path), z
	e.s.watches.Created(watch.KeyOf(path), watch.KeyOf(parent), e)
}

func (e *eventSink) Deleted(path, parent []byte, _, _ proto.RawACLs, z proto.Zxid) {
	e.path, e.zxid = string(path), z
	e.s.watches.Deleted(watch.KeyOf(path), watch.KeyOf(parent), e)
}

func (e *eventSink) DataChanged(path []byte, _ proto.RawACLs, z proto.Zxid) {
	e.path, e.zxid = string(path), z
	e.s.watches.DataChanged(watch.KeyOf(path), e)
}

// Notify implements watch.Notifier.
func (e *eventSink) Notify(numbers []watch.ConnID, _ proto.EventType, onParent bool) {
	if onParent {
		return
	}
	path, z := e.path, e.zxid
	for _, n := range numbers {
		for _, k := range e.s.conns {
			if k.number == n {
				k.down(func() { k.c.event(k, path, z) })
			}
		}
	}
}

// tracker is the leader's session tracker: the sessions, who owns them, and until when they
// live without a sign of their clients (quorum protocol, section 5.5).
type tracker struct {
	list []*tracked
}

type tracked struct {
	id        proto.SessionID
	timeoutMs int32
	owner     any // zab.LinkID of the learner, 0 for the leader itself; nil: nobody yet
	closing   bool
	deadline  time.Duration
}

func (t *tracker) find(id proto.SessionID) *tracked {
	for _, x := range t.list {
		if x.id == id {
			return x
		}
	}
	return nil
}

func (x *tracked) extend(now time.Duration) {
	x.deadline = now + time.Duration(x.timeoutMs)*time.Millisecond
}

func (t *tracker) touch(id proto.SessionID, now time.Duration) {
	if x := t.find(id); x != nil {
		x.extend(now)
	}
}

// move lets a session move to another owner.
func (t *tracker) move(id proto.SessionID, owner zab.LinkID, timeoutMs int32, now time.Duration) bool {
	x := t.find(id)
	if x == nil || x.closing {
		return false
	}
	x.owner, x.timeoutMs = owner, timeoutMs
	x.extend(now)
	return true
}

// Check implements prep.Sessions.
func (t *tracker) Check(id proto.SessionID, owner any) proto.ErrCode {
	x := t.find(id)
	switch {
	case x == nil || x.closing:
		return proto.ErrSessionExpired
	case x.owner == nil:
		x.owner = owner
	case x.owner != owner:
		return proto.ErrSessionMoved
	}
	return proto.OK
}

// CheckGlobal implements prep.Sessions.
func (t *tracker) CheckGlobal(id proto.SessionID, owner any) proto.ErrCode { return t.Check(id, owner) }

// Track implements prep.Sessions.
func (t *tracker) Track(id proto.SessionID, timeoutMs int32, owner any) proto.ErrCode {
	if x := t.find(id); x != nil && x.closing {
		return proto.ErrSessionExpired
	} else if x == nil {
		t.list = append(t.list, &tracked{id: id, timeoutMs: timeoutMs, owner: owner, deadline: 1 << 62})
	}
	return proto.OK
}

// SetClosing implements prep.Sessions.
func (t *tracker) SetClosing(id proto.SessionID) {
	if x := t.find(id); x != nil {
		x.closing = true
	}
}

func (t *tracker) remove(id proto.SessionID) {
	t.list = slices.DeleteFunc(t.list, func(x *tracked) bool { return x.id == id })
}
