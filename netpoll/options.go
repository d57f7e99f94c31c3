package netpoll

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"time"
)

// Defaults of Options.
const (
	// DefaultFrameMaxBytes is Java's default of jute.maxbuffer, 0xFFFFF.
	DefaultFrameMaxBytes = 0xFFFFF
	// DefaultInboundMaxBytes bounds what a throttled connection costs where its socket cannot be paused.
	DefaultInboundMaxBytes = 4 << 20
	// DefaultInboundPauseBytes is one read of the poller: a throttled connection holds about two of them.
	DefaultInboundPauseBytes = 64 << 10
	// DefaultOutboundMaxBytes leaves room for some of the largest replies (child lists of a million names).
	DefaultOutboundMaxBytes = 64 << 20
	// DefaultFlushTimeout bounds CloseAfterFlush.
	DefaultFlushTimeout = 5 * time.Second
	// DefaultTLSHandshakeTimeout bounds the TLS handshake.
	DefaultTLSHandshakeTimeout = 10 * time.Second
	// DefaultFDReserve is what is kept from connections for log segments, snapshots, peers and listeners.
	DefaultFDReserve = 256

	// readBufferBytes is the loop's read buffer. Larger was measured to gain nothing for 1 MiB frames.
	readBufferBytes = 64 << 10
	// acceptorsPerListener goroutines accept on each listener: an accept waits for one turn of the loop
	// that gets the connection, and a busy loop must not hold up the others.
	acceptorsPerListener = 4
	// drainTick is how often a connection that is closing after flush is looked at.
	drainTick = 5 * time.Millisecond
)

// Driver selects what runs the loops.
type Driver uint8

const (
	// DriverGnet runs each loop as a gnet event loop.
	DriverGnet Driver = iota
	// DriverNet runs each loop as a plain goroutine, with one more goroutine per connection for reading.
	DriverNet
)

// Word is a four-letter word.
type Word struct {
	// Text is its four bytes.
	Text string
	// ArgBytes is the count of bytes that belong to the word after its text (stmk: 8).
	ArgBytes int
}

// Listener is one listening address.
type Listener struct {
	// Address is host:port; port 0 lets the system choose, an empty host listens on all addresses.
	Address string
	// Backlog of listen(2), 0 for the system's maximum. Source: clientPortListenBacklog.
	Backlog int
	// TLS, when set, makes this a TLS listener.
	TLS *tls.Config
	// PlainToo makes a TLS listener accept plain connections too: the first byte tells. A connection that sends nothing is closed
	// after TLSHandshakeTimeout. Source: client.portUnification.
	PlainToo bool
}

// Options configures Start and NewMem. The zero value of each field selects its default.
type Options struct {
	Listeners []Listener
	// NumLoops defaults to half of GOMAXPROCS, at least 1: the other cores belong to the log, the replica and peers.
	NumLoops int
	Driver   Driver

	// Words are looked for at frame starts until SetHandshakeDone.
	Words []Word

	// FrameMaxBytes is the largest accepted payload; exactly that many are accepted. Source: jute.maxbuffer.
	FrameMaxBytes int
	// InboundMaxBytes closes a connection with ErrInboundOverflow when more than this is buffered. It is
	// raised to hold one frame of FrameMaxBytes.
	InboundMaxBytes int
	// InboundPauseBytes: a connection whose handler left frames and that has buffered this much is not read until
	// the handler has taken them. Negative: never pause.
	InboundPauseBytes int
	// OutboundMaxBytes: a Write that finds this much waiting closes the connection with ErrSlowConsumer. One Write
	// may go over the limit, since a reply has no limit of its own.
	OutboundMaxBytes int
	// ConnsMax bounds connections in total; those over it are accepted and closed. It defaults to, and is at
	// most, the limit of file descriptors less FDReserve. Source: zookeeper.maxCnxns.
	ConnsMax  int
	FDReserve int
	// TCPKeepAlive turns TCP keepalive on with this idle time; 0 is off. Source: zookeeper.clientTcpKeepAlive.
	TCPKeepAlive time.Duration
	FlushTimeout time.Duration
	// TLSHandshakeTimeout bounds a TLS handshake, TLSHandshakesMax the count of them that are going on at
	// a time (0: no limit); those over it are closed. Source: zookeeper.netty.server.outstandingHandshake.limit.
	TLSHandshakeTimeout time.Duration
	TLSHandshakesMax    int

	// OnFatal is called, at most once, from any goroutine, when a loop ended without Stop: the server cannot
	// go on. nil: panic.
	OnFatal func(error)
	// Logf gets messages for the operator (accept errors, gnet's warnings). It must not block. nil: dropped.
	Logf func(format string, args ...any)
}

// withDefaults checks o and fills in defaults.
func (o Options) withDefaults() (Options, error) {
	if o.NumLoops == 0 {
		o.NumLoops = max(1, runtime.GOMAXPROCS(0)/2)
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.FrameMaxBytes, DefaultFrameMaxBytes)
	def(&o.InboundMaxBytes, DefaultInboundMaxBytes)
	def(&o.InboundPauseBytes, DefaultInboundPauseBytes)
	def(&o.OutboundMaxBytes, DefaultOutboundMaxBytes)
	def(&o.FDReserve, DefaultFDReserve)
	if o.FlushTimeout == 0 {
		o.FlushTimeout = DefaultFlushTimeout
	}
	if o.TLSHandshakeTimeout == 0 {
		o.TLSHandshakeTimeout = DefaultTLSHandshakeTimeout
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.NumLoops < 0 || o.FrameMaxBytes < 0 || o.InboundMaxBytes < 0 || o.OutboundMaxBytes < 0 || o.ConnsMax < 0 || o.FDReserve < 0 {
		return o, fmt.Errorf("netpoll: negative limit in options")
	}
	// A partial frame of the largest size, and the rest of the read that brought its end, must fit.
	o.InboundMaxBytes = max(o.InboundMaxBytes, o.FrameMaxBytes+frameHeaderBytes+readBufferBytes)
	for _, l := range o.Listeners {
		if l.PlainToo && l.TLS == nil {
			return o, fmt.Errorf("netpoll: listener %s accepts plain connections too, but has no TLS", l.Address)
		}
	}
	for _, w := range o.Words {
		if len(w.Text) != frameHeaderBytes || w.ArgBytes < 0 || w.ArgBytes > o.FrameMaxBytes {
			return o, fmt.Errorf("netpoll: word %q with %d argument bytes is not a four-letter word", w.Text, w.ArgBytes)
		}
	}
	return o, nil
}
