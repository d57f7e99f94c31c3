package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// A fake is a server whose every connection is served by a script, a function of the test.
// The frames of both directions have the same form, so a client.Raw serves it, too.
type fake struct {
	t        *testing.T
	addr     string
	listener net.Listener
	wg       sync.WaitGroup
}

// startFake serves the n-th connection with scripts[n]; further ones are closed at once. A
// script returns when it is done, and its connection is closed then.
func startFake(t *testing.T, scripts ...func(s *peer)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String(), listener: l}
	f.wg.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if n >= len(scripts) {
				_ = nc.Close()
				continue
			}
			f.wg.Go(func() {
				defer nc.Close()
				scripts[n](&peer{Raw: client.NewRaw(nc), t: t, sessionID: 0x1000000000000})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.wg.Wait()
	})
	return f
}

// A peer is the server's end of one connection. Its methods report failures with Errorf,
// for they run on the fake's goroutines; ok turns false with the first.
type peer struct {
	*client.Raw
	t         *testing.T
	sessionID proto.SessionID
	failed    bool
}

func (s *peer) fail(format string, args ...any) {
	s.failed = true
	s.t.Errorf(format, args...)
}

// accept answers the handshake and returns the request.
func (s *peer) accept(timeout time.Duration, readOnly bool) (req proto.ConnectRequest) {
	frame, err := s.ReadFrame()
	if err != nil {
		s.fail("handshake: %v", err)
		return req
	}
	d := jute.NewDecoder(frame, 0)
	req.Decode(&d)
	if d.Err() != nil {
		s.fail("handshake: %v", d.Err())
	}
	resp := proto.ConnectResponse{TimeoutMs: int32(timeout / time.Millisecond), SessionID: s.sessionID, HasReadOnly: true, ReadOnly: readOnly}
	if timeout > 0 {
		resp.Password = proto.SessionPassword(s.sessionID)
	} else {
		resp.SessionID = 0
	}
	if err := s.SendFrame(resp.Append(nil)); err != nil {
		s.fail("handshake: %v", err)
	}
	return req
}

// request reads the next request that is not a ping; pings are answered.
func (s *peer) request() (xid int32, op proto.OpCode, body []byte) {
	for !s.failed {
		frame, err := s.ReadFrame()
		if err != nil {
			s.fail("request: %v", err)
			break
		}
		if len(frame) < proto.RequestHeaderBytes {
			s.fail("request of %d bytes", len(frame))
			break
		}
		xid, op = jute.Int32(frame), proto.OpCode(jute.Int32(frame[4:]))
		if op != proto.OpPing {
			return xid, op, frame[8:]
		}
		s.reply(proto.XidPing, 0, proto.OK, nil)
	}
	return 0, 0, nil
}

// want is request for one that must be op.
func (s *peer) want(want proto.OpCode) (xid int32, body []byte) {
	xid, op, body := s.request()
	if !s.failed && op != want {
		s.fail("got request %v, want %v", op, want)
	}
	return xid, body
}

func (s *peer) reply(xid int32, zxid proto.Zxid, code proto.ErrCode, body []byte) {
	if err := s.SendFrame(append(proto.AppendReplyHeader(nil, xid, zxid, code), body...)); err != nil && !s.failed {
		s.fail("reply: %v", err)
	}
}

func (s *peer) notify(typ proto.EventType, path string, zxid proto.Zxid) {
	b := jute.AppendInt32(nil, int32(typ))
	b = jute.AppendInt32(b, proto.StateSyncConnected)
	s.reply(proto.XidNotification, zxid, proto.OK, jute.AppendString(b, path))
}

// serveClose answers pings until closeSession, answers that and ends.
func (s *peer) serveClose() {
	if s.failed {
		return
	}
	xid, _ := s.want(proto.OpCloseSession)
	s.reply(xid, 0, proto.OK, nil)
}

// hang reads until the client closes, answering nothing.
func (s *peer) hang() { _, _ = io.Copy(io.Discard, s.Conn) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, addr string, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(testContext(t), addr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// next returns the next event; without one the test fails after ten seconds.
func next(t *testing.T, ch <-chan client.Event) client.Event {
	t.Helper()
	select {
	case e := <-ch:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
		panic("unreachable")
	}
}

func wantEvent(t *testing.T, ch <-chan client.Event, typ proto.EventType, path string) {
	t.Helper()
	if e := next(t, ch); e.Type != typ || e.Path != path {
		t.Fatalf("got %v, want %s %s", e, client.EventTypeName(typ), path)
	}
}

func wantState(t *testing.T, ch <-chan client.Event, s client.State) {
	t.Helper()
	if e := next(t, ch); e.Type != client.EventNone || e.State != s {
		t.Fatalf("got %v, want state %v", e, s)
	}
}
