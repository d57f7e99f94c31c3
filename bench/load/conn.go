package load

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// ErrProtocol reports an answer that no ZooKeeper server gives.
var ErrProtocol = errors.New("load: protocol violation")

type connState uint8

const (
	connDown      connState = iota // no socket; to be dialled at retryAtNs
	connDialing                    // connect(2) is under way
	connHandshake                  // the connect request has been sent
	connUp
	connFree // of a session churn that is over
)

// A conn is one session of the generator and its connection. It belongs to its loop.
type conn struct {
	fd         int
	index      int32 // in loop.conns
	generation int32
	session    int // number among all sessions; -1 in a churn
	state      connState

	out     []byte // encoded requests, those before outAt are sent
	outAt   int
	wantOut bool // the poller watches for room for output
	dirty   bool // in loop.dirty

	rest []byte    // start of a frame whose end has not come
	skip int       // bytes still to come of the reply that head is of
	head replyHead // valid while skip > 0

	ring     ring
	inflight int // requests under way that count against Outstanding, churns included
	churns   int // churns under way on the account of this session
	xid      int32
	timeout  int32 // ms, negotiated
	id       proto.SessionID
	password [proto.PasswordBytes]byte
	lastZxid proto.Zxid // highest seen, as a client sends it when it resumes

	server     int   // index of the address in use
	attempts   int   // since the session was last up
	retryAtNs  int64 // connDown
	lastSentNs int64
	failure    error // why the connection broke last

	prefix  []byte   // of the names of the session's own znodes
	number  uint64   // of the next of them
	owed    Kind     // Delete or DeleteEphem of number-1 to be sent next; else 0
	watched []uint32 // keys watched from the start

	// Of a churn: the session on whose account it goes, and the time that its latency counts from.
	owner   *conn
	startNs int64
}

// A pending request is one under way.
type pending struct {
	atNs int64 // when it was sent; in an open loop when it should have been
	xid  int32
	kind Kind
	// extra requests do not count against Outstanding.
	extra bool
}

// ring is a FIFO of pending requests that reuses its memory.
type ring struct {
	items []pending // its length is a power of two
	head  uint32
	tail  uint32 // head <= tail <= head+len(items), modulo 2^32
}

func (r *ring) len() int { return int(r.tail - r.head) }

func (r *ring) push(p pending) {
	if int(r.tail-r.head) == len(r.items) {
		items := make([]pending, max(16, 2*len(r.items)))
		n := r.tail - r.head
		for i := range n {
			items[i] = r.items[(r.head+i)&uint32(len(r.items)-1)]
		}
		r.items, r.head, r.tail = items, 0, n
	}
	r.items[r.tail&uint32(len(r.items)-1)] = p
	r.tail++
}

func (r *ring) pop() (pending, bool) {
	if r.head == r.tail {
		return pending{}, false
	}
	p := r.items[r.head&uint32(len(r.items)-1)]
	r.head++
	return p, true
}

// nextXid numbers requests from 1 up; those below 1 have meanings of their own.
func (c *conn) nextXid() int32 {
	if c.xid++; c.xid < 1 {
		c.xid = 1
	}
	return c.xid
}

func (c *conn) tag() tag { return tag{c.index, c.generation} }

// dial starts a connection to the conn's server.
func (l *loop) dial(c *conn) {
	fd, err := l.servers[c.server].dial()
	if err != nil {
		l.broke(c, err)
		return
	}
	c.fd, c.state = fd, connDialing
	if err := l.poll.add(fd, c.tag(), true); err != nil {
		l.broke(c, err)
		return
	}
	c.wantOut = true
}

// handshake sends the connect request, for a new session or for the one that the conn had.
func (l *loop) handshake(c *conn) {
	if err := dialed(c.fd); err != nil {
		l.broke(c, err)
		return
	}
	c.state = connHandshake
	req := proto.ConnectRequest{
		LastZxidSeen: c.lastZxid, TimeoutMs: int32(l.cfg.SessionTimeout.Milliseconds()), SessionID: c.id,
		Password: c.password[:], HasReadOnly: true,
	}
	start := len(c.out)
	c.out = req.Append(jute.AppendInt32(c.out, 0))
	endRequest(c.out, start)
	l.flush(c)
}

// established takes the connect response.
func (l *loop) established(c *conn, frame []byte) {
	d := jute.NewDecoder(frame[4:], 0)
	d.Int32() // protocol version
	timeout, id, password := d.Int32(), d.Int64(), d.Buffer()
	if d.Err() != nil || len(password) != proto.PasswordBytes {
		l.fail(fmt.Errorf("%w: %s: connect response of %d bytes", ErrProtocol, l.servers[c.server].name, len(frame)-4))
		return
	}
	if timeout <= 0 || id == 0 {
		c.id, c.password = 0, [proto.PasswordBytes]byte{}
		l.broke(c, fmt.Errorf("load: %s: the session has expired", l.servers[c.server].name))
		return
	}
	if c.id == id {
		l.resumed++
	}
	c.id, c.timeout, c.state, c.attempts = id, timeout, connUp, 0
	copy(c.password[:], password)
	if c.owner != nil {
		// The second half of the churn.
		c.out = appendHeaderOnly(c.out, c.nextXid(), proto.OpCloseSession)
		c.ring.push(pending{atNs: c.startNs, xid: c.xid, kind: Session})
		l.markDirty(c)
		return
	}
	l.sessionUp(c)
}

// receive reads once and handles what has come.
func (l *loop) receive(c *conn) {
	at := copy(l.in, c.rest)
	n, err := read(c.fd, l.in[at:])
	if err != nil {
		if err != unix.EAGAIN && err != unix.EINTR {
			l.broke(c, fmt.Errorf("load: %s: %w", l.servers[c.server].name, err))
		}
		return
	}
	if n == 0 {
		if c.owner != nil && c.state == connUp && c.ring.len() == 0 {
			return // a churn that is over
		}
		l.broke(c, fmt.Errorf("load: %s: connection closed by the server: %w", l.servers[c.server].name, io.EOF))
		return
	}
	b := l.in[:at+n]
	c.rest = c.rest[:0]
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(b))
			b, c.skip = b[n:], c.skip-n
			if c.skip == 0 && !l.answered(c, c.head) {
				return
			}
			continue
		}
		if len(b) < 4 {
			break
		}
		size := 4 + int(jute.Int32(b))
		if size < 4 || size > maxReplyBytes || c.state == connUp && size < 4+proto.ReplyHeaderBytes {
			l.fail(fmt.Errorf("%w: %s: frame of %d bytes", ErrProtocol, l.servers[c.server].name, size-4))
			return
		}
		if len(b) < size {
			whole := c.state != connUp || len(b) < headBytes || jute.Int32(b[4:]) == proto.XidNotification
			if !whole {
				c.head, c.skip = headOf(b), size-len(b)
				b = nil
			}
			break
		}
		frame := b[:size]
		b = b[size:]
		if c.state != connUp {
			l.established(c, frame)
		} else if jute.Int32(frame[4:]) == proto.XidNotification {
			l.notified(c, frame)
		} else if !l.answered(c, headOf(frame)) {
			return
		}
		if c.state != connUp {
			return
		}
	}
	c.rest = append(c.rest, b...)
	if len(c.rest) > len(l.in)/2 {
		l.fail(fmt.Errorf("%w: %s: notification of more than %d bytes", ErrProtocol, l.servers[c.server].name, len(c.rest)))
	}
}

// maxReplyBytes bounds a reply, to notice garbage; the lists of children of large znodes are tens of megabytes.
const maxReplyBytes = 1 << 30

// answered accounts for a reply. It returns false when the connection is gone afterwards.
func (l *loop) answered(c *conn, h replyHead) bool {
	if h.xid == proto.XidPing {
		return true
	}
	p, ok := c.ring.pop()
	if !ok || p.xid != h.xid {
		l.fail(fmt.Errorf("%w: %s: reply to request %d, want %d", ErrProtocol, l.servers[c.server].name, h.xid, p.xid))
		return false
	}
	c.lastZxid = max(c.lastZxid, h.zxid)
	if p.kind == Multi && h.err == proto.OK && h.multiFailed {
		h.err = errMulti
	}
	if c.owner != nil {
		l.churned(c, h.err)
		return false
	}
	if !p.extra {
		c.inflight--
	}
	l.record(p.kind, p.atNs, h.err)
	return true
}

// notified takes a watch event.
func (l *loop) notified(c *conn, frame []byte) {
	d := jute.NewDecoder(frame[4+proto.ReplyHeaderBytes:], 0)
	kind, _, path := proto.EventType(d.Int32()), d.Int32(), d.Buffer()
	if d.Err() != nil {
		l.fail(fmt.Errorf("%w: %s: notification: %w", ErrProtocol, l.servers[c.server].name, d.Err()))
		return
	}
	key, ok := l.forms.keyOf(path)
	if !ok || int(key) >= len(l.lastSetNs) {
		return
	}
	if sentNs := l.lastSetNs[key].Load(); kind == proto.EventDataChanged && sentNs != 0 {
		l.record(Notification, sentNs, proto.OK)
	}
	if len(c.watched) > 0 && !l.ending {
		l.rewatch(c, key)
	}
}

// rewatch sends a getData that watches key again.
func (l *loop) rewatch(c *conn, key uint32) {
	c.out = l.forms.appendKey(c.out, &l.forms.watch, c.nextXid(), key)
	c.ring.push(pending{atNs: l.nowNs, xid: c.xid, kind: Rewatch, extra: true})
	l.markDirty(c)
}

// broke closes what is left of a connection. A session is dialled again later, with the next
// server; a churn is over.
func (l *loop) broke(c *conn, err error) {
	wasUp := c.state == connUp
	l.closeSocket(c)
	for {
		p, ok := c.ring.pop()
		if !ok {
			break
		}
		if c.owner == nil {
			l.record(p.kind, p.atNs, errLost)
		}
	}
	c.inflight = c.churns
	c.failure = err
	c.owed = 0
	if c.owner != nil {
		l.churned(c, errLost)
		return
	}
	if wasUp {
		l.disconnects++
		l.up--
		if l.up == 0 {
			l.allDownNs = l.nowNs
		}
	}
	c.attempts++
	c.server = (c.server + 1) % len(l.servers)
	c.state = connDown
	c.retryAtNs = l.nowNs + min(int64(c.attempts/len(l.servers))*retryStepNs, retryMaxNs)
	l.down++
	l.lastFailure = err
}

// closeSocket forgets the socket and what was buffered for it.
func (l *loop) closeSocket(c *conn) {
	if c.fd >= 0 {
		l.poll.remove(c.fd)
		unix.Close(c.fd)
		c.fd = -1
	}
	c.generation++
	c.wantOut = false
	c.out, c.outAt = c.out[:0], 0
	c.rest, c.skip = c.rest[:0], 0
}

// flush writes as much of the outbound bytes as the socket takes.
func (l *loop) flush(c *conn) {
	for c.outAt < len(c.out) {
		n, err := write(c.fd, c.out[c.outAt:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			l.broke(c, fmt.Errorf("load: %s: %w", l.servers[c.server].name, err))
			return
		}
		c.outAt += n
		c.lastSentNs = l.nowNs
	}
	if c.outAt == len(c.out) {
		c.out, c.outAt = c.out[:0], 0
	} else if c.outAt > maxSentBytes {
		n := copy(c.out, c.out[c.outAt:])
		c.out, c.outAt = c.out[:n], 0
	}
	if want := len(c.out) > 0; want != c.wantOut {
		c.wantOut = want
		if err := l.poll.watchOut(c.fd, c.tag(), want); err != nil {
			l.broke(c, err)
		}
	}
}

// maxSentBytes is how much that has been sent may stand in front of what has not.
const maxSentBytes = 64 << 10

// markDirty has the conn flushed at the end of the turn.
func (l *loop) markDirty(c *conn) {
	if !c.dirty {
		c.dirty = true
		l.dirty = append(l.dirty, c)
	}
}
