package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	// maxPingInterval is the longest time without a request. Java's clients keep to it too,
	// so that middle boxes see traffic even with long session timeouts.
	maxPingInterval = 10 * time.Second
	// reconnect waits grow from min to max once all servers of the list have failed in a row.
	minReconnectWait = 20 * time.Millisecond
	maxReconnectWait = time.Second
	// minAttempt is the least time a connection attempt gets, however short the session
	// timeout is and however many servers there are.
	minAttempt = 250 * time.Millisecond
	// setWatchesBytes bounds the paths in one setWatches request (as in Java's client), so
	// that it stays far below jute.maxbuffer.
	setWatchesBytes = 128 << 10
)

// A conn is an established connection. Its queues are guarded by Client.mu.
type conn struct {
	nc      net.Conn
	wake    chan struct{} // token: out has something
	out     []byte        // encoded, not yet taken by the writer
	pending callQueue     // ordinary requests in xid order
	auths   callQueue     // auth packets without their reply; nil for repeated ones
	pings   callQueue     // pings likewise; nil for those of the writer
}

func (cn *conn) sendLocked(frame []byte) {
	cn.out = append(cn.out, frame...)
	notify(cn.wake)
}

// A callQueue is a FIFO of calls.
type callQueue struct {
	items []*Call
	head  int
}

func (q *callQueue) push(call *Call) {
	if q.head > 0 && q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	if q.head > 64 && q.head > len(q.items)/2 { // move down rather than grow for ever
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, call)
}

// pop returns the oldest call; false if there is none.
func (q *callQueue) pop() (*Call, bool) {
	if q.head == len(q.items) {
		return nil, false
	}
	call := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	return call, true
}

var (
	errExpired = errors.New("session expired")
	errAuth    = errors.New("authentication failed")
)

// run connects, serves, and connects again until the session ends.
func (c *Client) run() {
	failures := 0
	for next := 0; c.ctx.Err() == nil; next++ {
		addr := c.addrs[next%len(c.addrs)]
		connected, err := c.serve(addr)
		c.opts.Logf("client: %s: %v", addr, err)
		if connected {
			failures = 0
		} else {
			failures++
		}
		c.mu.Lock()
		switch {
		case errors.Is(err, errExpired):
			c.endLocked(StateExpired)
		case errors.Is(err, errAuth):
			c.endLocked(StateAuthFailed)
		default:
			c.expireWaitingLocked(failures > 0 && failures%len(c.addrs) == 0)
		}
		over := c.state.terminal() || c.closing
		c.mu.Unlock()
		if over {
			return
		}
		if failures >= len(c.addrs) {
			c.pause(failures / len(c.addrs))
		}
	}
}

// pause waits before the next round of attempts, longer with each round that failed.
func (c *Client) pause(rounds int) {
	wait := min(minReconnectWait<<min(rounds-1, 10), maxReconnectWait)
	wait = wait/2 + rand.N(wait/2+1) // clients that lost a server together must not return together
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.ctx.Done():
	}
}

// expireWaitingLocked fails the calls that have waited for a connection as long as the
// session timeout, or with FailFast all of them when every server has been tried in vain.
func (c *Client) expireWaitingLocked(roundFailed bool) {
	if roundFailed {
		close(c.roundFailed)
		c.roundFailed = make(chan struct{})
	}
	all := roundFailed && c.opts.FailFast
	now := time.Now()
	n := 0
	for n < len(c.waiting) && (all || now.Sub(c.waiting[n].since) >= c.session.Timeout) {
		c.waiting[n].complete(c, Reply{}, ErrConnectionLoss)
		n++
	}
	c.waiting = c.waiting[n:]
}

// serve makes one connection and reads from it until it breaks. connected tells whether the
// handshake succeeded.
func (c *Client) serve(addr string) (connected bool, err error) {
	attempt := max(c.Session().Timeout/time.Duration(len(c.addrs)), minAttempt)
	dialCtx, cancel := context.WithTimeout(c.ctx, attempt)
	defer cancel()
	nc, err := c.opts.Dial(dialCtx, addr)
	if err != nil {
		return false, err
	}
	defer nc.Close()
	// Closing the connection is what ends a read when the client is closed.
	stop := context.AfterFunc(c.ctx, func() { _ = nc.Close() })
	defer stop()

	br := bufio.NewReaderSize(nc, 32<<10)
	_ = nc.SetDeadline(time.Now().Add(attempt)) // a dead connection fails the next call
	resp, err := c.handshake(nc, br)
	if err == nil && c.opts.Login != nil {
		err = c.logIn(nc, br)
	}
	if err != nil {
		return false, err
	}
	_ = nc.SetDeadline(time.Time{})

	cn := &conn{nc: nc, wake: make(chan struct{}, 1)}
	timeout := time.Duration(resp.TimeoutMs) * time.Millisecond
	if !c.establish(cn, addr, resp) {
		return false, ErrClosed
	}
	var helpers sync.WaitGroup
	quit := make(chan struct{})
	helpers.Go(func() { c.write(cn, timeout, quit) })
	if resp.ReadOnly {
		helpers.Go(func() { c.seekWritable(cn, addr, quit) })
	}
	err = c.read(cn, br, timeout)
	_ = nc.Close() // ends a write under way
	close(quit)
	helpers.Wait()
	c.lose(cn)
	return true, err
}

func (c *Client) handshake(nc net.Conn, br *bufio.Reader) (proto.ConnectResponse, error) {
	c.mu.Lock()
	req := proto.ConnectRequest{
		LastZxidSeen: c.lastZxid,
		TimeoutMs:    int32(c.opts.SessionTimeout / time.Millisecond),
		Password:     make([]byte, proto.PasswordBytes),
		ReadOnly:     c.opts.ReadOnly,
		HasReadOnly:  true,
	}
	// A session made by a read-only server is unknown to every other one.
	if c.seenWritable {
		req.SessionID = c.session.ID
		copy(req.Password, c.session.Password[:])
	}
	c.mu.Unlock()
	frame := req.Append(make([]byte, 4, 64))
	jute.PutInt32(frame, int32(len(frame)-4))
	if _, err := nc.Write(frame); err != nil {
		return proto.ConnectResponse{}, err
	}
	frame, err := readFrame(br, c.opts.MaxFrameBytes)
	if err != nil {
		return proto.ConnectResponse{}, fmt.Errorf("no session: %w", err)
	}
	resp, err := DecodeConnectResponse(frame)
	if err != nil {
		return resp, err
	}
	if resp.TimeoutMs <= 0 {
		return resp, errExpired
	}
	return resp, nil
}

// establish makes cn the client's connection: identities first, then watches, then the calls
// that waited. It returns false if the client was closed meanwhile.
func (c *Client) establish(cn *conn, addr string, resp proto.ConnectResponse) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.session = Session{ID: resp.SessionID, Password: resp.Password, Timeout: time.Duration(resp.TimeoutMs) * time.Millisecond}
	c.remote = addr
	c.conn = cn
	for _, a := range c.auths {
		cn.auths.push(nil)
		cn.sendLocked(a)
	}
	for _, frame := range c.watches.setWatches(c.lastZxid) {
		cn.sendLocked(frame)
	}
	for _, call := range c.waiting {
		c.enqueueLocked(call)
	}
	c.waiting = nil
	if resp.ReadOnly {
		c.setStateLocked(StateConnectedReadOnly)
	} else {
		c.seenWritable = true
		c.setStateLocked(StateConnected)
	}
	return true
}

// lose forgets cn and fails what was in flight on it.
func (c *Client) lose(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	var err error = ErrConnectionLoss
	if c.closing {
		err = ErrClosed
	}
	for _, q := range []*callQueue{&cn.pending, &cn.auths, &cn.pings} {
		for call, ok := q.pop(); ok; call, ok = q.pop() {
			if call == nil {
				continue
			}
			if call.op == proto.OpCloseSession {
				call.complete(c, Reply{}, ErrConnectionLoss)
				continue
			}
			call.complete(c, Reply{}, err)
		}
	}
	if !c.closing {
		c.setStateLocked(StateDisconnected)
	}
}

// write is the goroutine that owns the sending side of cn: it takes all that has been
// queued and writes it at once, and pings when it has sent nothing for a third of the
// session timeout. It ends with the first error, which the reader sees too.
func (c *Client) write(cn *conn, timeout time.Duration, quit <-chan struct{}) {
	interval := min(timeout/3, maxPingInterval)
	idle := time.NewTimer(interval)
	defer idle.Stop()
	var spare []byte
	for {
		ping := false
		select {
		case <-cn.wake:
		case <-idle.C:
			ping = true
		case <-quit:
			return
		}
		c.mu.Lock()
		if ping && len(cn.out) == 0 {
			cn.pings.push(nil)
			cn.out = append(cn.out, pingFrame...)
		}
		buf := cn.out
		cn.out = spare[:0]
		c.mu.Unlock()
		if len(buf) > 0 {
			_ = cn.nc.SetWriteDeadline(time.Now().Add(timeout)) // a dead connection fails the write
			if _, err := cn.nc.Write(buf); err != nil {
				c.opts.Logf("client: write: %v", err)
				_ = cn.nc.Close()
				return
			}
		}
		spare = buf
		if cap(spare) > 1<<20 { // one large request must not stay in memory
			spare = nil
		}
		idle.Reset(interval)
	}
}

// pingFrame is a whole ping request; servers answer it with the same xid.
var pingFrame = jute.AppendInt32(jute.AppendInt32(jute.AppendInt32(nil, 8), proto.XidPing), int32(proto.OpPing))

// read handles frames until the connection breaks or the session ends. A server that says
// nothing for two thirds of the session timeout, in which at least one ping went out, is lost.
func (c *Client) read(cn *conn, br *bufio.Reader, timeout time.Duration) error {
	for {
		if br.Buffered() < 4 {
			_ = cn.nc.SetReadDeadline(time.Now().Add(timeout * 2 / 3)) // as in write
		}
		frame, err := readFrame(br, c.opts.MaxFrameBytes)
		if err != nil {
			return err
		}
		reply, err := DecodeReply(frame)
		if err != nil {
			return err
		}
		if err := c.handle(cn, reply); err != nil {
			return err
		}
	}
}

// handle gives a reply to the call it belongs to. An error ends the connection.
func (c *Client) handle(cn *conn, r Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Xid {
	case proto.XidNotification:
		e, err := DecodeEvent(r)
		if err != nil {
			return err
		}
		to := c.watches.fire(e)
		e.Path = c.fromServer(e.Path)
		c.events.push(e, to)
		return nil
	case proto.XidSetWatches:
		return nil
	case proto.XidPing:
		if call, ok := cn.pings.pop(); ok && call != nil {
			call.complete(c, r, nil)
		}
		return nil
	case proto.XidAuth:
		call, ok := cn.auths.pop()
		if ok && call != nil {
			call.complete(c, r, nil)
		}
		if r.Err != proto.OK {
			return errAuth
		}
		return nil
	}
	call, ok := cn.pending.pop()
	if !ok {
		return fmt.Errorf("%w: xid %d without a request", ErrProtocol, r.Xid)
	}
	if r.Xid != call.reply.Xid {
		err := fmt.Errorf("%w: xid %d, expected %d", ErrProtocol, r.Xid, call.reply.Xid)
		call.complete(c, Reply{}, err)
		return err
	}
	if r.Zxid > 0 {
		c.lastZxid = max(c.lastZxid, r.Zxid)
	}
	if call.onReply != nil {
		call.onReply(c, r.Err)
	}
	call.complete(c, r, nil)
	return nil
}

// seekWritable asks the other servers whether they are read-write and, when one is, breaks
// cn so that run moves on. It ends with quit.
func (c *Client) seekWritable(cn *conn, current string, quit <-chan struct{}) {
	wait := 100 * time.Millisecond
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		for _, addr := range c.addrs {
			select {
			case <-t.C:
			case <-quit:
				return
			}
			if c.isWritable(addr, quit) {
				c.opts.Logf("client: %s is read-write, leaving read-only %s", addr, current)
				_ = cn.nc.Close()
				return
			}
			wait = min(2*wait, 10*time.Second)
			t.Reset(wait)
		}
	}
}

// isWritable asks one server with the word isro (client protocol, section 1.3).
func (c *Client) isWritable(addr string, quit <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	nc, err := c.opts.Dial(ctx, addr)
	if err != nil {
		return false
	}
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-quit:
		case <-ctx.Done():
		case <-done:
		}
		_ = nc.Close()
	})
	defer watch.Wait()
	defer close(done)
	if _, err := nc.Write([]byte("isro")); err != nil {
		return false
	}
	var answer [2]byte
	n := 0
	for n < len(answer) {
		k, err := nc.Read(answer[n:])
		n += k
		if err != nil {
			break
		}
	}
	return string(answer[:n]) == "rw"
}
