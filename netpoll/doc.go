// Package netpoll carries framed client connections on a fixed set of event loops.
//
// A frame is what ZooKeeper puts on every client connection, in both directions:
//
//	+----------------+----------------------+
//	| length i32 BE  | payload, length bytes |
//	+----------------+----------------------+
//
// and the one exception to it: before the handshake the first four bytes of a frame may be a
// four-letter word (client-protocol 1.3). The package knows nothing else of ZooKeeper; the words are
// handed in by Options.Words.
//
// # Shape
//
// A Server owns loops 0..NumLoops-1. A connection belongs to one loop for life, and every Handler call
// for a loop's connections happens on that loop, one at a time. What runs a loop (the driver) and what
// moves the bytes of a connection (the transport) are separate:
//
//	driver     transport   used for
//	gnet       gnet        plain TCP in production: one goroutine and one epoll set per loop
//	gnet, net  stream      TLS, on the same loops: one reading goroutine per connection
//	net        stream      plain TCP where gnet is not wanted (comparison, portability)
//	Mem        Mem         tests and the simulator: no goroutines, pumped by Step
//
// So a TLS listener and a plain one share loops, and the layers above see one Conn.
//
// # Why gnet's own listeners are not used
//
// gnet's engine ends when accept(2) fails, for instance for want of file descriptors. Here connections are
// accepted by net.Listener (which reports such an error and can go on) and enrolled into the loops of a gnet.Client.
// This also allows a listen backlog, several listeners, and a Stop that does not poll.
//
// # Limits
//
// Each has a name in Options, an error by which Handler.Closed tells it, and a counter in Stats:
// a frame's length (checked as soon as its four bytes are in, before any buffer is sized by it), bytes buffered
// inbound while the handler does not take frames, bytes buffered outbound for a peer that does not read, the
// time a closing connection may take to flush, and connections in total.
//
// Inbound back-pressure is real: when a handler leaves frames and more than InboundPauseBytes are buffered, the
// socket is not read until the handler has taken them, so that TCP slows the peer down as it does with a Java server. gnet
// offers no such thing; the gnet transport switches off EPOLLIN in the loop's epoll set itself. Where that
// set cannot be found the hard limit InboundMaxBytes remains.
//
// # Buffers
//
// Bytes are parsed where the poller read them. What has to stay (a partial frame, frames not taken) moves into a
// pooled buffer of a power-of-two size class, sized for the whole frame at once when its length is known: every byte
// is copied at most once plus, for frames not taken, amortised doubling. Nothing is allocated per frame.
// Under the race and invariants builds, lent bytes are overwritten when their time is over.
package netpoll
