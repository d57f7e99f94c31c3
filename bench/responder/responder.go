// Package responder answers ZooKeeper requests at once with replies of the right form and size, and does nothing else: no
// tree, no sessions, no log. What the generator reaches against it, on the same event loops that the server uses, is
// the ceiling of any server built on them. For bench/ only; it is no server.
package responder

import (
	"context"
	"fmt"
	"net"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
)

// A Responder is running. It belongs to whoever started it.
type Responder struct {
	np *netpoll.Server
}

// Options configures Start.
type Options struct {
	Address   string // host:port
	DataBytes int    // size of the data in the replies to getData
	NumLoops  int    // 0: netpoll's default
}

// Start listens and answers. The caller must call Stop.
func Start(o Options) (*Responder, error) {
	h := &handler{data: make([]byte, o.DataBytes)}
	np, err := netpoll.Start(netpoll.Options{Listeners: []netpoll.Listener{{Address: o.Address}}, NumLoops: o.NumLoops, Words: []netpoll.Word{{Text: "srvr"}}}, h)
	if err != nil {
		return nil, fmt.Errorf("responder: %w", err)
	}
	return &Responder{np: np}, nil
}

// Addr returns the bound address.
func (r *Responder) Addr() net.Addr { return r.np.Addr(0) }

// Stop closes all connections and waits until all goroutines have ended, at most as long as ctx lasts.
func (r *Responder) Stop(ctx context.Context) error { return r.np.Stop(ctx) }

// A handler is stateless but for what the connections' contexts hold.
type handler struct {
	data []byte
}

// connState is the context of a connection.
type connState struct {
	connected bool
	out       []byte // replies of one call of Frames, reused
}

func (h *handler) Opened(c netpoll.Conn) bool {
	c.SetContext(&connState{})
	return true
}

func (h *handler) Closed(netpoll.Conn, error) {}
func (h *handler) Woken(netpoll.Loop)         {}

// Word answers srvr in the form by which a serving server is recognised.
func (h *handler) Word(c netpoll.Conn, _ string, _ []byte) {
	_ = c.Write([]byte("Mode: standalone\n")) // the peer may have gone
	c.CloseAfterFlush()
}

// sessionID is that of all sessions, which nobody tells apart.
const sessionID = 0x100000000000001

func (h *handler) Frames(c netpoll.Conn, it *netpoll.Frames) {
	s := c.Context().(*connState)
	out := s.out[:0]
	bye := false
	for !bye {
		frame, ok := it.Next()
		if !ok {
			break
		}
		start := len(out)
		out = jute.AppendInt32(out, 0)
		switch {
		case !s.connected:
			s.connected = true
			c.SetHandshakeDone()
			r := proto.ConnectResponse{TimeoutMs: 30_000, SessionID: sessionID, Password: proto.SessionPassword(sessionID), HasReadOnly: true}
			out = r.Append(out)
		case len(frame) < proto.RequestHeaderBytes:
			bye, out = true, out[:start]
			continue
		default:
			out = h.appendReply(out, frame)
			bye = proto.OpCode(jute.Int32(frame[4:])) == proto.OpCloseSession
		}
		jute.PutInt32(out[start:], int32(len(out)-start-4))
	}
	s.out = out
	_ = c.Write(out) // an error means that the connection is closing
	if bye {
		c.CloseAfterFlush()
	}
}

// appendReply appends the payload of a successful reply.
func (h *handler) appendReply(dst, frame []byte) []byte {
	op := proto.OpCode(jute.Int32(frame[4:]))
	dst = proto.AppendReplyHeader(dst, jute.Int32(frame), 1, proto.OK)
	var stat proto.Stat
	switch op {
	case proto.OpGetData:
		dst = jute.AppendBuffer(dst, h.data)
		dst = stat.Append(dst)
	case proto.OpExists, proto.OpSetData:
		dst = stat.Append(dst)
	case proto.OpGetChildren2:
		dst = stat.Append(jute.AppendInt32(dst, 0))
	case proto.OpCreate, proto.OpSync:
		d := jute.NewDecoder(frame[proto.RequestHeaderBytes:], 0)
		dst = jute.AppendBuffer(dst, d.Buffer())
	case proto.OpMulti:
		dst = proto.MultiDone.Append(dst)
	}
	return dst
}
