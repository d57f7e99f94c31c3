package client

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	// defaultMaxFrameBytes bounds a reply. Servers do not limit replies, and the lists of
	// children of large znodes exceed the 1 MiB at which Java clients stop.
	defaultMaxFrameBytes = 64 << 20
	// rawTimeout is the time limit of one read or write of a Raw.
	rawTimeout = 10 * time.Second
)

// A Reply is one frame from a server after the handshake: its header and what follows it.
type Reply struct {
	Xid  int32
	Zxid proto.Zxid
	Err  proto.ErrCode
	Body []byte // given to the receiver
}

// A Raw is a connection that sends and shows frames and knows nothing of what they mean.
// It is for tests of servers. One goroutine may send while another reads.
type Raw struct {
	// Conn may be used directly, for writes and deadlines; not for reads, which are buffered.
	Conn net.Conn
	// Timeout bounds each send and each read; 0 is no limit. DialRaw sets ten seconds.
	Timeout time.Duration
	// MaxFrameBytes bounds a frame that is read; NewRaw sets 64 MiB.
	MaxFrameBytes int

	br *bufio.Reader
}

// DialRaw opens a TCP connection to addr (host:port) and sends nothing.
func DialRaw(addr string) (*Raw, error) {
	nc, err := net.DialTimeout("tcp", addr, rawTimeout)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return NewRaw(nc), nil
}

// NewRaw takes an open connection.
func NewRaw(nc net.Conn) *Raw {
	return &Raw{Conn: nc, Timeout: rawTimeout, MaxFrameBytes: defaultMaxFrameBytes, br: bufio.NewReaderSize(nc, 16<<10)}
}

// Close closes the connection; the session lives on at the server.
func (r *Raw) Close() error { return r.Conn.Close() }

// SendBytes writes b as it is, in one write. Borrows b until return.
func (r *Raw) SendBytes(b []byte) error {
	if r.Timeout > 0 {
		_ = r.Conn.SetWriteDeadline(time.Now().Add(r.Timeout)) // a dead connection fails the write
	}
	_, err := r.Conn.Write(b)
	return err
}

// SendFrame writes each payload with its length in front, all in one write. Borrows the
// payloads until return.
func (r *Raw) SendFrame(payloads ...[]byte) error {
	var b []byte
	for _, p := range payloads {
		b = append(jute.AppendInt32(b, int32(len(p))), p...)
	}
	return r.SendBytes(b)
}

// ReadFrame reads one frame and gives its payload. At the orderly end of the stream the
// error is io.EOF, inside a frame io.ErrUnexpectedEOF.
func (r *Raw) ReadFrame() ([]byte, error) {
	if r.Timeout > 0 {
		_ = r.Conn.SetReadDeadline(time.Now().Add(r.Timeout)) // a dead connection fails the read
	}
	return readFrame(r.br, r.MaxFrameBytes)
}

// ReadAll reads until the server closes and gives everything that came.
func (r *Raw) ReadAll() ([]byte, error) {
	if r.Timeout > 0 {
		_ = r.Conn.SetReadDeadline(time.Now().Add(r.Timeout)) // as in ReadFrame
	}
	return io.ReadAll(r.br)
}

// Handshake sends req and reads the response. A refused session, which a server answers by
// closing, is io.EOF; an expired one is a response with TimeoutMs 0.
func (r *Raw) Handshake(req proto.ConnectRequest) (proto.ConnectResponse, error) {
	if err := r.SendFrame(req.Append(nil)); err != nil {
		return proto.ConnectResponse{}, err
	}
	frame, err := r.ReadFrame()
	if err != nil {
		return proto.ConnectResponse{}, err
	}
	return DecodeConnectResponse(frame)
}

// NewSession is Handshake for a new session, with the read-only byte present and zero.
func (r *Raw) NewSession(timeout time.Duration) (proto.ConnectResponse, error) {
	return r.Handshake(proto.ConnectRequest{
		TimeoutMs:   int32(timeout / time.Millisecond),
		Password:    make([]byte, proto.PasswordBytes),
		HasReadOnly: true,
	})
}

// SendRequest sends one request frame. Borrows body until return.
func (r *Raw) SendRequest(xid int32, op proto.OpCode, body []byte) error {
	return r.SendFrame(AppendRequest(nil, xid, op, body))
}

// ReadReply reads one frame as a reply; a notification is a reply with xid -1.
func (r *Raw) ReadReply() (Reply, error) {
	frame, err := r.ReadFrame()
	if err != nil {
		return Reply{}, err
	}
	return DecodeReply(frame)
}

// Call is SendRequest and then ReadReply of the next frame, whatever it is.
func (r *Raw) Call(xid int32, op proto.OpCode, body []byte) (Reply, error) {
	if err := r.SendRequest(xid, op, body); err != nil {
		return Reply{}, err
	}
	return r.ReadReply()
}

// AppendRequest appends the payload of a request frame: header and body.
func AppendRequest(dst []byte, xid int32, op proto.OpCode, body []byte) []byte {
	dst = jute.AppendInt32(dst, xid)
	dst = jute.AppendInt32(dst, int32(op))
	return append(dst, body...)
}

// DecodeReply splits a frame's payload into header and body. Takes frame.
func DecodeReply(frame []byte) (Reply, error) {
	if len(frame) < proto.ReplyHeaderBytes {
		return Reply{}, fmt.Errorf("%w: %d bytes cannot hold a reply header", ErrProtocol, len(frame))
	}
	return Reply{
		Xid:  jute.Int32(frame),
		Zxid: jute.Int64(frame[4:]),
		Err:  proto.ErrCode(jute.Int32(frame[12:])),
		Body: frame[proto.ReplyHeaderBytes:],
	}, nil
}

// DecodeConnectResponse decodes the payload of the handshake's answer. A password that is
// not 16 bytes is an error: servers always send 16 (client protocol, section 2.2).
func DecodeConnectResponse(frame []byte) (proto.ConnectResponse, error) {
	d := jute.NewDecoder(frame, 0)
	d.Int32() // protocol version
	r := proto.ConnectResponse{TimeoutMs: d.Int32(), SessionID: d.Int64()}
	pw := d.Buffer()
	if d.Err() != nil {
		return proto.ConnectResponse{}, fmt.Errorf("%w: connect response: %w", ErrProtocol, d.Err())
	}
	if copy(r.Password[:], pw) != len(r.Password) || len(pw) != len(r.Password) {
		return proto.ConnectResponse{}, fmt.Errorf("%w: connect response: password of %d bytes", ErrProtocol, len(pw))
	}
	r.HasReadOnly = len(d.Rest()) > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
	return r, nil
}

// readFrame reads a length and then that many bytes, which it gives.
func readFrame(br *bufio.Reader, maxBytes int) ([]byte, error) {
	head, err := br.Peek(4)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(head)))
	if n < 0 || n > maxBytes {
		return nil, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrProtocol, n, maxBytes)
	}
	_, _ = br.Discard(4) // the peeked bytes are there
	frame := make([]byte, n)
	if _, err := io.ReadFull(br, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}

// FourLetter sends word to addr and gives the reply, all that comes until the server closes.
// The whole exchange has ten seconds (client protocol, section 1.3).
func FourLetter(addr, word string) (string, error) {
	r, err := DialRaw(addr)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := r.SendBytes([]byte(word)); err != nil {
		return "", fmt.Errorf("client: %s to %s: %w", word, addr, err)
	}
	b, err := r.ReadAll()
	if err != nil {
		return string(b), fmt.Errorf("client: %s to %s: %w", word, addr, err)
	}
	return string(b), nil
}
