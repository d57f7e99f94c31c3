package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// closeTimeout bounds the wait for the answer to closeSession.
const closeTimeout = 5 * time.Second

// A Client is a session. See the package comment.
type Client struct {
	opts   Options
	addrs  []string
	chroot string

	ctx         context.Context // ends run and everything that run started
	cancel      context.CancelFunc
	runDone     chan struct{}
	deliverDone chan struct{}
	slots       chan struct{} // holds a token per outstanding call
	events      eventQueue
	fallback    *Watcher // Options.OnEvent, nil without

	// mu guards everything below and the queues of conn. Nothing blocks and no handler runs
	// while it is held; eventQueue.mu may be taken under it.
	mu           sync.Mutex
	state        State
	stateChanged chan struct{} // closed and replaced when state changes
	closing      bool          // no new calls; run does not reconnect
	conn         *conn         // nil without an established connection
	xid          int32         // of the last ordinary request
	waiting      []*Call       // calls made while there is no connection, oldest first
	auths        [][]byte      // whole frames of auth packets, sent again on every connection
	watches      watchTable
	session      Session
	lastZxid     proto.Zxid    // highest zxid of ordinary replies
	seenWritable bool          // the session is known to a server that is not read-only
	remote       string        // address of the server last connected to
	roundFailed  chan struct{} // closed and replaced when every server has been tried in vain
}

// A Session is what attaches to a session again.
type Session struct {
	ID       proto.SessionID
	Password [proto.PasswordBytes]byte
	Timeout  time.Duration // as negotiated
}

// New returns a Client that connects to connectString (see ParseConnectString) in the
// background. The caller must end it with Close or Abandon.
func New(connectString string, opts Options) (*Client, error) {
	addrs, chroot, err := ParseConnectString(connectString)
	if err != nil {
		return nil, err
	}
	opts.setDefaults()
	if !opts.InOrder {
		rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	}
	c := &Client{
		opts:         opts,
		addrs:        addrs,
		chroot:       chroot,
		runDone:      make(chan struct{}),
		deliverDone:  make(chan struct{}),
		slots:        make(chan struct{}, opts.MaxOutstanding),
		events:       eventQueue{wake: make(chan struct{}, 1)},
		state:        StateConnecting,
		stateChanged: make(chan struct{}),
		roundFailed:  make(chan struct{}),
		watches:      newWatchTable(),
		session:      Session{ID: opts.SessionID, Timeout: opts.SessionTimeout},
		seenWritable: opts.SessionID != 0,
	}
	copy(c.session.Password[:], opts.Password)
	if opts.OnEvent != nil {
		c.fallback = WatchFunc(opts.OnEvent)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(c.runDone)
		c.run()
	}()
	go func() {
		defer close(c.deliverDone)
		c.events.run(c.ctx.Done())
	}()
	return c, nil
}

// Dial is New and WaitConnected; on an error the client is abandoned.
func Dial(ctx context.Context, connectString string, opts Options) (*Client, error) {
	c, err := New(connectString, opts)
	if err != nil {
		return nil, err
	}
	if err := c.WaitConnected(ctx); err != nil {
		c.Abandon()
		return nil, err
	}
	return c, nil
}

// DefaultWatcher returns the Watcher that stands for Options.OnEvent, nil without one.
func (c *Client) DefaultWatcher() *Watcher { return c.fallback }

// State returns the state of the session.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Session returns id, password and negotiated timeout; ID is 0 before the first connection.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// LastZxid returns the highest zxid seen in replies to ordinary requests.
func (c *Client) LastZxid() proto.Zxid {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastZxid
}

// Server returns the address, as in the connect string, of the server last connected to.
func (c *Client) Server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

// WaitConnected waits until requests can be sent. It returns the context's error,
// proto.ErrSessionExpired, proto.ErrAuthFailed, ErrClosed or, with FailFast, ErrConnectionLoss.
func (c *Client) WaitConnected(ctx context.Context) error { return c.WaitState(ctx, State.Connected) }

// WaitState waits until want is true of the state. When the session has ended and want does
// not hold, it returns the error that calls would get.
func (c *Client) WaitState(ctx context.Context, want func(State) bool) error {
	for {
		c.mu.Lock()
		state, changed := c.state, c.stateChanged
		var failed chan struct{} // never ready without FailFast
		if c.opts.FailFast {
			failed = c.roundFailed
		}
		c.mu.Unlock()
		if want(state) {
			return nil
		}
		if state.terminal() {
			return terminalError(state)
		}
		select {
		case <-changed:
		case <-failed:
			return ErrConnectionLoss
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func terminalError(s State) error {
	switch s {
	case StateExpired:
		return proto.ErrSessionExpired
	case StateAuthFailed:
		return proto.ErrAuthFailed
	}
	return ErrClosed
}

// Close closes the session, waits for the server's answer for at most five seconds, and ends
// the client. Calls in flight behind it fail with ErrClosed. Without a connection the session
// is left to expire. The error is that of closeSession; a second Close returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		<-c.runDone
		<-c.deliverDone
		return nil
	}
	c.closing = true
	var call *Call
	if c.conn != nil {
		call = newCall(proto.OpCloseSession, "", nil)
		c.enqueueLocked(call)
	}
	c.mu.Unlock()
	var err error
	if call != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		_, err = call.Wait(ctx)
		cancel()
		if errors.Is(err, ErrConnectionLoss) {
			err = nil // the session is gone or will expire; there is nothing left to do
		}
	}
	c.shutdown()
	return err
}

// Abandon ends the client without a word to the server, as a crash would: the session and
// its ephemerals live until the session timeout.
func (c *Client) Abandon() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.shutdown()
}

func (c *Client) shutdown() {
	c.cancel()
	<-c.runDone
	c.mu.Lock()
	c.endLocked(StateClosed)
	c.mu.Unlock()
	c.events.close()
	<-c.deliverDone
}

// FlushEvents waits until every event that was there before the call has been handled. It must
// not be called by a handler.
func (c *Client) FlushEvents(ctx context.Context) error {
	handled := make(chan struct{})
	c.events.push(Event{}, []*Watcher{WatchFunc(func(Event) { close(handled) })})
	select {
	case <-handled:
		return nil
	case <-c.deliverDone:
		return nil // everything that was there before has been handled
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DropConnection breaks the connection, if there is one; the client then reconnects. For
// tests and for leaving a server that is to be stopped.
func (c *Client) DropConnection() {
	c.mu.Lock()
	cn := c.conn
	c.mu.Unlock()
	if cn != nil {
		_ = cn.nc.Close() // run sees the error of its read
	}
}

// setStateLocked moves to state and tells the session's handler, and at the end of the session
// every Watcher. A terminal state stays.
func (c *Client) setStateLocked(state State) {
	if c.state == state || c.state.terminal() {
		return
	}
	c.state = state
	close(c.stateChanged)
	c.stateChanged = make(chan struct{})
	var to []*Watcher
	if c.fallback != nil {
		to = append(to, c.fallback)
	}
	if state.terminal() {
		to = c.watches.drain(to)
	}
	c.events.push(Event{Type: EventNone, State: state, Zxid: -1}, to)
}

// endLocked moves to a terminal state and fails every call that waits for a connection.
func (c *Client) endLocked(state State) {
	c.setStateLocked(state)
	err := terminalError(c.state)
	for _, call := range c.waiting {
		call.complete(c, Reply{}, err)
	}
	c.waiting = nil
}

// A Call is a request under way.
type Call struct {
	op      proto.OpCode
	path    string
	frame   []byte // length, header (xid still to be set) and body
	since   time.Time
	slot    bool                                // whether it holds a token of Client.slots
	onReply func(c *Client, code proto.ErrCode) // on the reading goroutine, under Client.mu; may be nil

	done  chan struct{}
	reply Reply // valid after done, like err
	err   error
}

func newCall(op proto.OpCode, path string, body func(dst []byte) []byte) *Call {
	frame := make([]byte, 4+proto.RequestHeaderBytes, 96)
	jute.PutInt32(frame[8:], int32(op))
	if body != nil {
		frame = body(frame)
	}
	jute.PutInt32(frame, int32(len(frame)-4))
	return &Call{op: op, path: path, frame: frame, done: make(chan struct{})}
}

// Done is closed when the call is over.
func (call *Call) Done() <-chan struct{} { return call.done }

// Wait waits for the end of the call and returns the reply. A code other than OK is an
// *Error, beside which the reply is still valid.
func (call *Call) Wait(ctx context.Context) (Reply, error) {
	select {
	case <-call.done:
		return call.reply, call.err
	case <-ctx.Done():
		return Reply{}, &Error{Op: call.op, Path: call.path, Err: ctx.Err()}
	}
}

// complete ends the call. It is called once, by whoever took the call off its queue.
func (call *Call) complete(c *Client, r Reply, err error) {
	call.reply = r
	if err == nil && r.Err != proto.OK {
		err = r.Err
	}
	if err != nil {
		call.err = &Error{Op: call.op, Path: call.path, Err: err}
	}
	if call.slot {
		<-c.slots
	}
	close(call.done)
}

// Submit sends one request of any kind without waiting for its reply: body is the encoded
// request record (borrowed until return), path is for error messages only. No chroot is
// applied and no watch is registered. It blocks only while MaxOutstanding requests are under way.
func (c *Client) Submit(ctx context.Context, op proto.OpCode, path string, body []byte) *Call {
	return c.submit(ctx, newCall(op, path, func(dst []byte) []byte { return append(dst, body...) }))
}

func (c *Client) submit(ctx context.Context, call *Call) *Call {
	select {
	case c.slots <- struct{}{}:
		call.slot = true
	case <-ctx.Done():
		call.complete(c, Reply{}, ctx.Err())
		return call
	case <-c.ctx.Done():
		call.complete(c, Reply{}, ErrClosed)
		return call
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state.terminal():
		call.complete(c, Reply{}, terminalError(c.state))
	case c.closing:
		call.complete(c, Reply{}, ErrClosed)
	case c.conn == nil:
		call.since = time.Now()
		c.waiting = append(c.waiting, call)
	default:
		c.enqueueLocked(call)
	}
	return call
}

// enqueueLocked gives the call its xid and hands it to the connection's writer.
func (c *Client) enqueueLocked(call *Call) {
	frame := call.frame
	call.frame = nil
	switch call.op {
	case proto.OpPing:
		call.reply.Xid = proto.XidPing
		c.conn.pings.push(call)
	case proto.OpAuth:
		call.reply.Xid = proto.XidAuth
		c.conn.auths.push(call)
	default:
		c.xid++
		if c.xid <= 0 { // wrapped: xids of ordinary requests are positive
			c.xid = 1
		}
		call.reply.Xid = c.xid
		c.conn.pending.push(call)
	}
	jute.PutInt32(frame[4:], call.reply.Xid)
	if call.op == proto.OpAuth {
		c.auths = append(c.auths, frame)
	}
	c.conn.sendLocked(frame)
}
