package transport

import (
	"errors"
	"net"
	"sync"
	"time"

	"zabra.dev/zabra/quorum"
)

// ErrSlow is the reason of a link that was closed because more waited to be sent than may.
var ErrSlow = errors.New("transport: peer does not keep up")

// Ref is one reference to the memory of a packet that is shared between links.
type Ref interface{ Release() }

// Handler is told what comes from a link. Its methods are called on the link's reader goroutine, one at
// a time, and must not call Close.
type Handler interface {
	// Packets takes the batch: it, or whoever it passes the batch on to, calls Release once. While as
	// many batches as a link has are not released, nothing more is read.
	Packets(b *Batch)
	// Closed comes once and last, with the reason.
	Closed(reason error)
}

// LinkOptions describe one end of a link; zero values mean the defaults.
type LinkOptions struct {
	// Learner: the peer is a leader, and a tree follows its SNAP packets.
	Learner bool
	Limits  quorum.Limits
	// QueueMaxBytes bounds what may wait to be sent, besides what SetShared tells; beyond it the link is
	// closed. Default 64 MiB.
	QueueMaxBytes int
	// ReadTimeout ends the link when nothing comes for so long. Default: no end.
	ReadTimeout time.Duration
	// Delay leaves Nagle's algorithm on (leader.nodelay=false, follower.nodelay=false).
	Delay bool
	// Authenticate, if given, comes before anything else is read or written, on the reader goroutine.
	Authenticate func(net.Conn) error
}

const defaultQueueMaxBytes = 64 << 20

// lingerMax is how long Shutdown lets the writer write what is queued.
const lingerMax = time.Second

// Link is one connection between a leader and a learner. Packets may be queued from any goroutine; those
// of one goroutine keep their order.
//
// Queue… methods leave what they queue to the next Flush, so that all of a turn is one write. After
// the link has ended they return its reason, and have released what they were given.
type Link struct {
	conn    net.Conn
	vectors bool // conn takes several buffers with one system call
	opts    LinkOptions
	ended   chan struct{} // closed when both goroutines are done
	onEnd   func()        // told to whoever counts links; may be nil

	stopping chan struct{} // closed when the link is to end, by Shutdown or by an error
	wake     chan struct{} // room for one: the writer has something to do

	mu struct {
		sync.Mutex            // guards the fields below; nothing blocks while it is held
		room       *sync.Cond // bytes went down, or the link ends
		queue      queue
		flushed    bool  // the queue is to be written
		bytes      int   // queued or being written
		shared     int   // of SetShared
		reason     error // not nil once the link is to end
		started    bool
		over       bool // stopped before it was started
	}

	deadline struct {
		sync.Mutex // guards timeout and the setting of the read deadline by it
		timeout    time.Duration
	}

	// The rest belongs to the reader, and to ReceiveTree while the reader waits for that.
	dec   *quorum.Decoder
	carry []byte      // read, not decoded
	free  chan *Batch // released, nil for those that are not made yet
	trees chan *treeReader
	image bool // the last SNAP said that an image's records follow
}

// NewLink makes a link of a connection, which it takes. Nothing is read or written before Start.
func NewLink(conn net.Conn, opts LinkOptions) *Link {
	if opts.QueueMaxBytes <= 0 {
		opts.QueueMaxBytes = defaultQueueMaxBytes
	}
	l := &Link{
		conn: conn, opts: opts,
		ended: make(chan struct{}), stopping: make(chan struct{}), wake: make(chan struct{}, 1),
		dec: quorum.NewDecoder(opts.Limits), free: make(chan *Batch, slabsMax), trees: make(chan *treeReader),
	}
	if p, ok := conn.(*prefixConn); ok {
		l.conn, l.carry = p.Conn, p.prefix
		conn = p.Conn
	}
	l.mu.room = sync.NewCond(&l.mu)
	l.deadline.timeout = opts.ReadTimeout
	for range slabsMax {
		l.free <- nil
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		l.vectors = true
		if opts.Delay {
			// What cannot be set stays as fast as it is.
			_ = tcp.SetNoDelay(false)
		}
	}
	return l
}

// RemoteAddr returns the peer's address, as Java prints it: /IP:PORT.
func (l *Link) RemoteAddr() string { return javaAddr(l.conn.RemoteAddr()) }

// Start begins to read and to write. It is called once. If the link was shut down before, nothing happens
// any more, and Closed is not called: who shut it down knows.
func (l *Link) Start(h Handler) {
	l.mu.Lock()
	over := l.mu.over
	l.mu.started = true
	l.mu.Unlock()
	if !over {
		go l.run(h)
	}
}

// run is the reader goroutine.
func (l *Link) run(h Handler) {
	var err error
	if l.opts.Authenticate != nil {
		l.armDeadline()
		err = l.opts.Authenticate(l.conn)
	}
	var writer sync.WaitGroup
	writer.Add(1)
	go func() { // ends when the link does; waited for below
		defer writer.Done()
		l.write()
	}()
	if err == nil {
		err = l.read(h)
	}
	if err != nil {
		l.fail(err)
	}
	writer.Wait()
	l.conn.Close() // closed already unless the writer ended after a Shutdown
	l.finish()
	h.Closed(l.reason())
	close(l.ended)
}

// finish gives up what is still queued.
func (l *Link) finish() {
	l.mu.Lock()
	l.mu.queue.release()
	l.mu.Unlock()
	if l.onEnd != nil {
		l.onEnd()
	}
}

// fail ends the link at once.
func (l *Link) fail(reason error) {
	l.stop(reason)
	l.conn.Close()
}

// stop makes the goroutines end: the reader at once, the writer when it has written what is queued. It reports
// whether the link is not started and will never be.
func (l *Link) stop(reason error) (over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.reason == nil {
		if reason == nil {
			reason = ErrClosed
		}
		l.mu.reason = reason
		l.mu.flushed = true
		close(l.stopping)
		l.mu.room.Broadcast()
		l.wakeWriter()
		if !l.mu.started {
			l.mu.over = true
			return true
		}
	}
	return false
}

// Shutdown ends the link: what is queued is written if the peer takes it within a second, and no batch is
// handed over any more but one that is on its way. It does not wait and may be called anywhere, also in a Handler; nil
// means ErrClosed.
func (l *Link) Shutdown(reason error) {
	if l.stop(reason) {
		l.conn.Close()
		l.finish()
		close(l.ended)
		return
	}
	// An error means that the connection is closed already.
	_ = l.conn.SetWriteDeadline(time.Now().Add(lingerMax))
}

// Close is Shutdown, and waits until both goroutines have ended and Closed has returned.
func (l *Link) Close() {
	l.Shutdown(nil)
	<-l.ended
}

// reason returns why the link has ended or is about to.
func (l *Link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.reason
}

// SetReadTimeout changes the time without a byte after which the link ends, from now on; 0: none.
func (l *Link) SetReadTimeout(d time.Duration) {
	l.deadline.Lock()
	l.deadline.timeout = d
	l.deadline.Unlock()
	l.armDeadline()
}

// armDeadline lets the time run anew.
func (l *Link) armDeadline() {
	l.deadline.Lock()
	defer l.deadline.Unlock()
	var t time.Time
	if l.deadline.timeout > 0 {
		t = time.Now().Add(l.deadline.timeout)
	}
	// It fails when the connection is closed, which the read behind it reports.
	_ = l.conn.SetReadDeadline(t)
}

// SetShared tells that n bytes of what may be queued are in memory whether they are queued here or not: so many more
// than QueueMaxBytes may wait.
func (l *Link) SetShared(n int) {
	l.mu.Lock()
	l.mu.shared = n
	l.mu.Unlock()
}

// QueuedBytes returns how much waits to be sent.
func (l *Link) QueuedBytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.bytes
}
