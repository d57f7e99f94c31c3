package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// CnxOptions describe the election port of one server. Fields without a default are required.
type CnxOptions struct {
	Self quorum.ServerID
	// Addrs are the server's own election addresses, as it advertises and, unless ListenAllIPs,
	// binds them.
	Addrs []quorum.Addr
	// ListenAllIPs binds the ports of Addrs on all addresses of the machine (quorumListenOnAllIPs).
	ListenAllIPs bool
	// MultiAddress tells peers all Addrs; only 3.6 and later understand that.
	MultiAddress bool
	// Committed and LastSeen are the configs that addresses of peers are looked up in, in this
	// order; LastSeen may be nil.
	Committed, LastSeen *quorum.Config

	// ConnectTimeout bounds connecting (zookeeper.cnxTimeout) and each write. Default 5 s.
	ConnectTimeout time.Duration
	// HandshakeTimeout bounds the time in which a peer says who it is (quorumCnxnTimeoutMs, or
	// syncLimit ticks). Default 10 s.
	HandshakeTimeout time.Duration
	// BindAttempts is the number of attempts to bind a port, BindPause apart
	// (zookeeper.electionPortBindRetry); negative: no end. Defaults 3 and 1 s.
	BindAttempts int
	BindPause    time.Duration

	Network Network
	// Auth comes behind the initial message.
	Auth Auth

	// Wake is called when there is something to Drain where there was nothing. It must not block.
	Wake func()
	// ListenFailed is called when a port could not be bound, after which the server cannot take
	// part in elections; Java exits with code 14. It must not call Close.
	ListenFailed func(error)
	// Log takes the lines of Java's QuorumCnxManager. Default: none.
	Log *slog.Logger
}

func (o CnxOptions) withDefaults() CnxOptions {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.BindAttempts == 0 {
		o.BindAttempts = 3
	}
	if o.BindPause <= 0 {
		o.BindPause = time.Second
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	if o.ListenFailed == nil {
		o.ListenFailed = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Network = o.Network.withDefaults()
	return o
}

// EventKind tells what happened on the election port.
type EventKind uint8

const (
	// Notified: From sent Notification.
	Notified EventKind = iota + 1
	// PeerUp: a connection with From was made.
	PeerUp
	// PeerDown: all addresses of From refused a connection; it is not running.
	PeerDown
)

// Event is something that the election has to know.
type Event struct {
	Kind         EventKind
	From         quorum.ServerID
	Notification quorum.Notification
}

// ErrClosed reports the use of something closed.
var ErrClosed = errors.New("transport: closed")

// CnxManager is the election port of one server: a connection with each peer that notifications go
// to or come from. Its methods may be called from any goroutine.
type CnxManager struct {
	opts   CnxOptions
	log    *slog.Logger
	hello  []byte
	ctx    context.Context // until Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines

	mu struct {
		sync.Mutex          // guards the fields below; nothing blocks while it is held
		closed              bool
		committed, lastSeen *quorum.Config
		peers               map[quorum.ServerID]*cnxPeer
		events              []Event
		listeners           []net.Listener
		handshakes          []net.Conn // that came in and have not said who they are, oldest first
		// generation counts the Resets; what began in an older one is void.
		generation int
		// ended is cancelled by the next Reset.
		ended  context.Context
		cancel context.CancelFunc
	}
}

// cnxPeer is what is known of one other server; all of it is guarded by CnxManager.mu.
type cnxPeer struct {
	id  quorum.ServerID
	cnx *cnx // nil when not connected
	// waiting is the frame to be sent next, last the one sent last; both may be nil.
	waiting, last []byte
	dialing       bool
	// wanted says that another connection is to be made if the dialing that goes on has ended without
	// one; callBack has the addresses to use for it, if they are not those of the config.
	callBack []quorum.Addr
	wanted   bool
	// sentAt is when the last frame was taken to be sent. retry says that it may be sent once more if
	// the connection breaks just then: a Send is worth one more attempt, not more.
	sentAt time.Time
	retry  bool
	// knocked is closed when a connection comes in while the dial goroutine waits for one.
	knocked chan struct{}
}

// OpenCnx binds the election port and gives its manager. A port that cannot be bound at once is tried again
// in the background.
func OpenCnx(opts CnxOptions) (*CnxManager, error) {
	opts = opts.withDefaults()
	if len(opts.Addrs) == 0 || opts.Committed == nil {
		return nil, fmt.Errorf("transport: server %d has no election address or no config", opts.Self)
	}
	m := &CnxManager{
		opts:  opts,
		log:   opts.Log,
		hello: appendHello(nil, opts.Self, opts.Addrs, opts.MultiAddress),
	}
	if len(m.hello) > 20+helloAddrsMaxBytes {
		return nil, fmt.Errorf("transport: election addresses of %d bytes, limit %d", len(m.hello)-20, helloAddrsMaxBytes)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mu.committed, m.mu.lastSeen = opts.Committed, opts.LastSeen
	m.mu.peers = make(map[quorum.ServerID]*cnxPeer)
	m.mu.ended, m.mu.cancel = context.WithCancel(m.ctx)
	m.listenAll()
	return m, nil
}

// SetConfigs replaces the configs that addresses are looked up in. Connections stay.
func (m *CnxManager) SetConfigs(committed, lastSeen *quorum.Config) {
	m.mu.Lock()
	m.mu.committed, m.mu.lastSeen = committed, lastSeen
	m.mu.Unlock()
}

// Reset closes all connections and forgets what was sent, what waits and what came in, as when Java makes a
// new manager because the election is restarted for another config. The ports stay bound.
func (m *CnxManager) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return
	}
	m.mu.generation++
	m.mu.cancel()
	m.mu.ended, m.mu.cancel = context.WithCancel(m.ctx)
	for _, p := range m.mu.peers {
		if p.cnx != nil {
			p.cnx.close()
		}
	}
	clear(m.mu.peers)
	m.mu.events = m.mu.events[:0]
}

// Shut ends all connections and takes no more. It does not wait for anything; only Close is of use afterwards.
func (m *CnxManager) Shut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.closed = true
	m.mu.cancel()
	m.cancel()
	for _, l := range m.mu.listeners {
		l.Close() // what fails to close is closed already
	}
	for _, c := range m.mu.handshakes {
		c.Close()
	}
	for _, p := range m.mu.peers {
		if p.cnx != nil {
			p.cnx.close()
		}
	}
}

// Close ends all connections and goroutines.
func (m *CnxManager) Close() {
	m.Shut()
	m.wg.Wait()
}

// Addr returns the address that the first port is bound to, nil while none is.
func (m *CnxManager) Addr() net.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.listeners) == 0 {
		return nil
	}
	return m.mu.listeners[0].Addr()
}

// Send sends a notification to a peer, in place of one that still waits; if there is no connection it
// makes one. It borrows n until return and does not block. There is no use in telling whether it worked:
// an election repeats itself.
func (m *CnxManager) Send(to quorum.ServerID, n *quorum.Notification) {
	if to == m.opts.Self {
		panic(fmt.Sprintf("transport: server %d sends to itself", to))
	}
	frame := make([]byte, 4, 512)
	frame = n.Append(frame)
	jute.PutInt32(frame, int32(len(frame)-4))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return
	}
	p := m.peerLocked(to)
	p.waiting, p.retry = frame, true
	if p.cnx != nil {
		p.cnx.wakeWriter()
		return
	}
	if p.dialing && to > m.opts.Self {
		p.wanted = true // this is a knock; if nobody comes, knock again
	}
	m.dialLocked(p)
}

// Connected reports whether there is a connection with a peer.
func (m *CnxManager) Connected(id quorum.ServerID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.peers[id]
	return p != nil && p.cnx != nil
}

// Drain appends the events that have come since the last call to dst, oldest first, and returns it.
func (m *CnxManager) Drain(dst []Event) []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	dst = append(dst, m.mu.events...)
	clear(m.mu.events)
	m.mu.events = m.mu.events[:0]
	return dst
}

// emit queues an event of the given generation, and wakes who drains. Beyond the limit the oldest one
// is dropped: elections repeat what counts.
func (m *CnxManager) emit(generation int, e Event) {
	m.mu.Lock()
	if m.mu.closed || generation != m.mu.generation {
		m.mu.Unlock()
		return
	}
	if len(m.mu.events) == eventsMax {
		m.mu.events = append(m.mu.events[:0], m.mu.events[1:]...)
	}
	m.mu.events = append(m.mu.events, e)
	wake := len(m.mu.events) == 1
	m.mu.Unlock()
	if wake {
		m.opts.Wake()
	}
}

func (m *CnxManager) peerLocked(id quorum.ServerID) *cnxPeer {
	p := m.mu.peers[id]
	if p == nil {
		p = &cnxPeer{id: id}
		m.mu.peers[id] = p
	}
	return p
}

// memberLocked returns the lines of a server in both configs, nil where it has none.
func (m *CnxManager) memberLocked(id quorum.ServerID) (committed, lastSeen *quorum.Member) {
	committed = m.mu.committed.Member(id)
	if m.mu.lastSeen != nil {
		lastSeen = m.mu.lastSeen.Member(id)
	}
	return committed, lastSeen
}

// goLocked starts a goroutine that Close waits for.
func (m *CnxManager) goLocked(f func()) {
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		f()
	}()
}
