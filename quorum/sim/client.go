package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// client is one user of the ensemble: a session, in which it keeps several requests going, and
// which it moves to another server when its connection breaks or nothing comes of it.
type client struct {
	w         *world
	number    int
	rng       *rand.Rand
	session   proto.SessionID
	timeoutMs int32
	seen      quorum.Zxid // newest zxid seen in this session
	k         *conn       // nil while there is none
	ready     bool        // k is established
	since     time.Duration
	xid       int32
	waiting   []*op // outstanding, in order
	watched   []watched
	versions  map[string]int32 // as last seen
	reader    bool             // never writes, so that nothing it asks for waits behind a write
	dead      bool
	done      bool // has had its answers after the faults
	final     *op
	errands   []uint64 // reconfigs that it has to ask for
}

// watched is a watch that has not fired: the state at zxid was read.
type watched struct {
	path string
	zxid quorum.Zxid
}

type opKind uint8

const (
	opConnect opKind = iota
	opCreate
	opEphemeral
	opDelete
	opSet
	opGet
	opSync
	opPing
	opClose
	opReconfig
)

var opNames = [...]string{"connect", "create", "ephemeral", "delete", "set", "get", "sync", "ping", "close", "reconfig"}

func (k opKind) reads() bool { return k == opGet || k == opPing }

// op is one request of a client.
type op struct {
	kind      opKind
	c         *client
	session   proto.SessionID
	xid       int32
	path      string
	data      string
	expect    int32 // version
	watch     bool
	timeoutMs int32
	body      []byte
	sent      bool // by its server to the machine
	// sync is the sync right in front of a get, which makes that linearizable.
	sync *op

	at       time.Duration
	call     int64       // moment of invocation, in events
	ret      int64       // of the answer; 0: none came
	floor    quorum.Zxid // what was completed at invocation
	answered bool
	answer   answer
}

type answer struct {
	zxid    quorum.Zxid
	err     proto.ErrCode
	exists  bool
	version int32
	data    string
}

func (o *op) opCode() proto.OpCode {
	switch o.kind {
	case opCreate, opEphemeral:
		return proto.OpCreate
	case opDelete:
		return proto.OpDelete
	case opSet:
		return proto.OpSetData
	case opClose:
		return proto.OpCloseSession
	case opReconfig:
		return proto.OpReconfig
	}
	panic(fmt.Sprintf("sim: %s is no write", opNames[o.kind]))
}

var openACL = proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: proto.PermAll, Scheme: "world", ID: "anyone"}}))

func (o *op) encode() {
	switch o.kind {
	case opCreate, opEphemeral:
		r := proto.CreateRequest{Path: []byte(o.path), Data: []byte(o.data), ACL: openACL}
		if o.kind == opEphemeral {
			r.Flags = proto.FlagEphemeral
		}
		o.body = r.Append(nil, proto.OpCreate)
	case opDelete:
		r := proto.PathVersion{Path: []byte(o.path), Version: o.expect}
		o.body = r.Append(nil)
	case opSet:
		r := proto.SetDataRequest{Path: []byte(o.path), Data: []byte(o.data), Version: o.expect}
		o.body = r.Append(nil)
	case opSync:
		o.body = jute.AppendBuffer(nil, []byte("/"))
	}
}

// answerOf is what a client is told of its transaction.
func answerOf(r *engine.Result) answer {
	return answer{zxid: r.Header.Zxid, err: r.Err, version: r.Stat.Version}
}

func timeoutOf(body []byte) int32 { return jute.Int32(body) }

func newClient(w *world, number int) *client {
	c := &client{w: w, number: number, rng: rngFor(w.opts.Seed, rngClient+uint64(number)), versions: map[string]int32{}}
	c.reader = c.rng.IntN(4) == 0
	c.timeoutMs = int32(400 + c.rng.IntN(1200))
	w.after(w.span(c.rng, 10*ms, 100*ms), c.think)
	return c
}

// connect dials some server.
func (c *client) connect() {
	if c.dead || c.k != nil {
		return
	}
	s := c.w.servers[c.rng.IntN(len(c.w.servers))]
	k := &conn{w: c.w, c: c, s: s, life: s.life}
	c.k, c.ready, c.since = k, false, c.w.now
	session, timeoutMs, seen := c.session, c.timeoutMs, c.seen
	if !s.up {
		c.w.after(c.w.delay()+c.w.delay(), c.lostConn(k))
		return
	}
	k.up(func() { s.accept(k, session, timeoutMs, seen) })
}

// lostConn gives what to do when the client sees that k is closed.
func (c *client) lostConn(k *conn) func() {
	return func() {
		if c.k != k {
			return
		}
		k.gone = true
		c.k, c.ready, c.watched = nil, false, nil
		c.w.lost += len(c.waiting)
		c.waiting = nil
		c.w.after(c.w.span(c.rng, 5*ms, 100*ms), c.connect)
	}
}

// quit closes the client's side.
func (c *client) quit() {
	k := c.k
	if k == nil {
		return
	}
	s := k.s
	k.up(func() { s.hangUp(k, false) })
	c.lostConn(k)()
}

// die takes the client away for good, in the middle of things.
func (c *client) die() {
	c.quit()
	c.dead = true
}

func (c *client) established(k *conn, session proto.SessionID, z quorum.Zxid) {
	if c.k != k {
		return
	}
	if session != c.session {
		c.session, c.seen = session, 0
	}
	if z < c.seen {
		c.w.fail("session order", "client %d has seen 0x%x and is let in at 0x%x by server %d", c.number, c.seen, z, k.s.id)
	}
	c.seen, c.ready = z, true
}

func (c *client) expired(k *conn) {
	if c.k != k {
		return
	}
	c.session, c.seen = 0, 0
	c.lostConn(k)()
}

// patience is how long a client waits for an answer before it goes to another server.
const patience = 600 * ms

// waitingMax bounds the requests that a client has outstanding.
const waitingMax = 4

// think makes the client do something, from time to time.
func (c *client) think() {
	if c.dead {
		return
	}
	c.w.after(c.w.span(c.rng, ms, 30*ms), c.think)
	switch {
	case c.k != nil && !c.ready && c.w.now-c.since > patience,
		len(c.waiting) > 0 && c.w.now-c.waiting[0].at > patience:
		c.quit()
	case !c.ready || c.done && c.rng.IntN(4) > 0:
	case c.done:
		if len(c.waiting) == 0 {
			c.issue(&op{kind: opPing})
		}
	case c.w.quiet:
		if c.final == nil || c.final.c == nil || !slices.Contains(c.waiting, c.final) {
			path := keyOf(c.rng.IntN(keys))
			c.issue(&op{kind: opSet, path: path, data: c.value(), expect: -1})
			c.final = c.syncGet(path, false)
		}
	case len(c.errands) > 0 && len(c.waiting) < waitingMax:
		r := c.w.reconfigRequest(rand.New(rand.NewPCG(c.errands[0], 3)))
		if c.errands = c.errands[1:]; r != nil {
			c.issue(&op{kind: opReconfig, body: r.Append(nil)})
		}
	case len(c.waiting) < waitingMax:
		c.act()
	}
}

// keys is the number of paths that all clients write to.
const keys = 5

func keyOf(i int) string { return fmt.Sprintf("/k%d", i) }

func (c *client) value() string { return fmt.Sprintf("%d.%d", c.number, c.xid+1) }

func (c *client) act() {
	path := keyOf(c.rng.IntN(keys))
	expect := int32(-1)
	if v, ok := c.versions[path]; ok && c.rng.IntN(2) == 0 {
		expect = v
	}
	n := c.rng.IntN(100)
	if c.reader {
		n = 67 + n*32/100
	}
	switch {
	case n < 20:
		c.issue(&op{kind: opCreate, path: path, data: c.value()})
	case n < 50:
		c.issue(&op{kind: opSet, path: path, data: c.value(), expect: expect})
	case n < 60:
		c.issue(&op{kind: opDelete, path: path, expect: expect})
	case n < 67:
		c.issue(&op{kind: opEphemeral, path: fmt.Sprintf("/e%d", c.rng.IntN(keys)), data: c.value()})
	case n < 80:
		c.syncGet(path, c.rng.IntN(3) == 0)
	case n < 98:
		c.issue(&op{kind: opGet, path: path, watch: c.rng.IntN(2) == 0})
	case n < 99:
		c.issue(&op{kind: opPing})
	default:
		c.issue(&op{kind: opClose})
	}
}

// syncGet issues a linearizable read.
func (c *client) syncGet(path string, watch bool) *op {
	sync := &op{kind: opSync}
	c.issue(sync)
	get := &op{kind: opGet, path: path, watch: watch, sync: sync}
	c.issue(get)
	return get
}

func (c *client) issue(o *op) {
	c.xid++
	o.c, o.xid, o.session, o.at = c, c.xid, c.session, c.w.now
	o.call, o.floor = c.w.tick(), c.w.check.completed
	o.encode()
	c.waiting = append(c.waiting, o)
	c.w.check.ops = append(c.w.check.ops, o)
	k := c.k
	s := k.s
	k.up(func() { s.request(k, o) })
}

// tick numbers the invocations and answers of clients.
func (w *world) tick() int64 {
	w.moments++
	return w.moments
}

// answered takes an answer and checks what a client may rely on.
func (c *client) answered(k *conn, o *op, a answer) {
	w := c.w
	if len(c.waiting) == 0 || c.waiting[0] != o {
		w.fail("session order", "client %d is answered %s %d out of order", c.number, opNames[o.kind], o.xid)
	}
	c.waiting = c.waiting[1:]
	w.acked++
	o.ret, o.answer, o.answered = w.tick(), a, true
	if a.zxid < c.seen {
		w.fail("session order", "client %d has seen 0x%x and server %d answers %s %d at 0x%x", c.number, c.seen, k.s.id, opNames[o.kind], o.xid, a.zxid)
	}
	c.seen = a.zxid
	for _, x := range c.watched {
		if z := w.check.changedAfter(x.path, x.zxid); z != 0 && z <= a.zxid {
			w.fail("watches", "client %d sees 0x%x at server %d and not the event for %s of 0x%x", c.number, a.zxid, k.s.id, x.path, z)
		}
	}
	switch o.kind {
	case opGet:
		c.gotten(k, o, a)
	case opCreate, opEphemeral, opDelete, opSet, opClose, opReconfig:
		if z, ok := w.check.taken[requestKey{o.session, o.xid}]; !ok || z != a.zxid {
			w.fail("lost write", "client %d is told that its %s %d is 0x%x, which is not committed", c.number, opNames[o.kind], o.xid, a.zxid)
		}
		c.linearizes(o, a.zxid, o.floor+1)
		if o.kind == opSet && a.err == proto.OK {
			c.versions[o.path] = a.version
		}
		if o.kind == opCreate && a.err == proto.OK {
			c.versions[o.path] = 0
		}
		if o.kind == opClose {
			c.expired(k)
		} else if a.err == proto.ErrSessionMoved || a.err == proto.ErrSessionExpired {
			c.quit()
		}
	}
	if o == c.final {
		c.done = true
	}
}

// gotten checks a read: it is that of the state that the server says it has.
func (c *client) gotten(k *conn, o *op, a answer) {
	w := c.w
	if v := w.check.stateAt(o.path, a.zxid); v.exists != a.exists || v.version != a.version || v.data != a.data {
		w.fail("reads", "server %d at 0x%x gives %s as %v %d %q, want %v %d %q", k.s.id, a.zxid, o.path, a.exists, a.version, a.data, v.exists, v.version, v.data)
	}
	if o.sync != nil {
		c.linearizes(o, a.zxid, o.sync.floor)
	}
	if a.exists {
		c.versions[o.path] = a.version
	} else {
		delete(c.versions, o.path)
	}
	if o.watch && !slices.ContainsFunc(c.watched, func(x watched) bool { return x.path == o.path }) {
		c.watched = append(c.watched, watched{o.path, a.zxid})
	}
}

// linearizes checks an operation against those that were complete before it began: in the
// common history it has to be at least at least.
func (c *client) linearizes(o *op, z, least quorum.Zxid) {
	if z < least {
		c.w.fail("linearizability", "client %d: %s %d on %s is at 0x%x, what was complete before it at 0x%x", c.number, opNames[o.kind], o.xid, o.path, z, least)
	}
	c.w.check.completed = max(c.w.check.completed, z)
}

// event takes a watch event.
func (c *client) event(k *conn, path string, z quorum.Zxid) {
	if c.k != k {
		return
	}
	for i, x := range c.watched {
		if x.path != path {
			continue
		}
		if first := c.w.check.changedAfter(path, x.zxid); first != z {
			c.w.fail("watches", "client %d read %s at 0x%x and is told of 0x%x, not of 0x%x", c.number, path, x.zxid, z, first)
		}
		c.watched = slices.Delete(c.watched, i, i+1)
		return
	}
	// The answer to the read that set the watch comes first on the connection.
	c.w.fail("watches", "client %d is told of 0x%x at %s, which it does not watch", c.number, z, path)
}
