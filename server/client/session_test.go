package client_test

import (
	"bytes"
	"context"
	"encoding/hex"
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

// The first frame is that of client protocol, section 15.
func TestHandshakeBytes(t *testing.T) {
	got := make(chan []byte, 1)
	f := startFake(t, func(s *peer) {
		frame, err := s.ReadFrame()
		if err != nil {
			s.fail("%v", err)
		}
		got <- frame
	})
	c, err := client.New(f.addr, client.Options{SessionTimeout: 5 * time.Second})
	ok(t, err)
	defer c.Abandon()
	want, _ := hex.DecodeString("00000000" + "0000000000000000" + "00001388" + "0000000000000000" + "00000010" + "00000000000000000000000000000000" + "00")
	if frame := <-got; !bytes.Equal(frame, want) {
		t.Fatalf("got %x, want %x", frame, want)
	}
}

// On a new connection of a session: same id, password and last zxid; then identities, then
// watches, then the calls that waited, and notifications still find their watchers.
func TestReconnect(t *testing.T) {
	const timeout = 10 * time.Second
	waiting := make(chan struct{})
	f := startFake(t,
		func(s *peer) {
			if req := s.accept(timeout, false); req.SessionID != 0 || req.LastZxidSeen != 0 {
				s.fail("first connection: %+v", req)
			}
			xid, _ := s.want(proto.OpAuth)
			s.reply(xid, 0, proto.OK, nil)
			xid, _ = s.want(proto.OpExists)
			s.reply(xid, 77, proto.ErrNoNode, nil)
			xid, _ = s.want(proto.OpAddWatch)
			s.reply(xid, 0, proto.OK, jute.AppendInt32(nil, 0))
			s.want(proto.OpSetData) // in flight: its fate stays unknown
		},
		func(s *peer) {
			<-waiting
			req := s.accept(timeout, false)
			if pw := proto.SessionPassword(s.sessionID); req.SessionID != s.sessionID || !bytes.Equal(req.Password, pw[:]) || req.LastZxidSeen != 77 {
				s.fail("second connection: %+v", req)
			}
			xid, body := s.want(proto.OpAuth)
			if !bytes.Contains(body, []byte("al:pw")) || xid != proto.XidAuth {
				s.fail("auth: xid %d, %q", xid, body)
			}
			s.reply(xid, 0, proto.OK, nil)
			xid, body = s.want(proto.OpSetWatches2)
			var want []byte
			want = jute.AppendInt64(want, 77)
			want = jute.AppendInt32(want, 0)
			want = jute.AppendString(jute.AppendInt32(want, 1), "/root/e")
			want = jute.AppendInt32(want, 0)
			want = jute.AppendInt32(want, 0)
			want = jute.AppendString(jute.AppendInt32(want, 1), "/root")
			if !bytes.Equal(body, want) {
				s.fail("setWatches2: got %x, want %x", body, want)
			}
			s.notify(proto.EventCreated, "/root/e", -1)
			s.reply(xid, 77, proto.OK, nil)
			xid, body = s.want(proto.OpSync)
			s.reply(xid, 78, proto.OK, body)
			s.serveClose()
		})
	states := make(chan client.Event, 8)
	c := dial(t, f.addr+"/root", client.Options{OnEvent: func(e client.Event) { states <- e }})
	ctx := testContext(t)
	wantState(t, states, client.StateConnected)
	ok(t, c.AddAuth(ctx, "digest", []byte("al:pw")))
	exists, under := make(chan client.Event, 8), make(chan client.Event, 8)
	_, err := c.ExistsW(ctx, "/e", client.WatchChan(exists))
	wantErr(t, err, proto.ErrNoNode)
	ok(t, c.AddWatch(ctx, "/", client.WatchChan(under), true))
	_, err = c.SetData(ctx, "/e", nil, -1)
	wantErr(t, err, client.ErrConnectionLoss)
	wantState(t, states, client.StateDisconnected)
	call := c.Submit(ctx, proto.OpSync, "/s", jute.AppendString(nil, "/s"))
	close(waiting)
	_, err = call.Wait(ctx)
	ok(t, err)
	wantState(t, states, client.StateConnected)
	wantEvent(t, exists, proto.EventCreated, "/e")
	wantEvent(t, under, proto.EventCreated, "/e")
	if z := c.LastZxid(); z != 78 {
		t.Fatalf("last zxid %d", z)
	}
	ok(t, c.Close())
	wantState(t, states, client.StateClosed)
	// The recursive watch lived until the end of the session and is told of it.
	wantState(t, under, client.StateClosed)
	if len(exists) != 0 {
		t.Fatalf("one-shot watch heard %v", <-exists)
	}
}

func TestExpired(t *testing.T) {
	f := startFake(t,
		func(s *peer) {
			s.accept(10*time.Second, false)
			xid, body := s.want(proto.OpGetData)
			s.reply(xid, 5, proto.OK, make([]byte, 4+proto.StatBytes))
			if !bytes.HasSuffix(body, []byte{1}) {
				s.fail("no watch flag: %x", body)
			}
		},
		func(s *peer) { s.accept(0, false) })
	states, data := make(chan client.Event, 8), make(chan client.Event, 8)
	c := dial(t, f.addr, client.Options{OnEvent: func(e client.Event) { states <- e }})
	ctx := testContext(t)
	if b, _, err := c.GetDataW(ctx, "/x", client.WatchChan(data)); err != nil || b == nil {
		t.Fatalf("%v, %v", b, err)
	}
	wantState(t, states, client.StateConnected)
	wantState(t, states, client.StateDisconnected)
	wantState(t, states, client.StateExpired)
	wantState(t, data, client.StateExpired)
	_, err := c.Exists(ctx, "/")
	wantErr(t, err, proto.ErrSessionExpired)
	wantErr(t, c.WaitConnected(ctx), proto.ErrSessionExpired)
	ok(t, c.Close())
	if s := c.State(); s != client.StateExpired {
		t.Fatalf("state %v", s)
	}
}

func TestAuthFailed(t *testing.T) {
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		xid, _ := s.want(proto.OpAuth)
		s.reply(xid, 0, proto.ErrAuthFailed, nil)
	})
	c := dial(t, f.addr, client.Options{})
	ctx := testContext(t)
	wantErr(t, c.AddAuth(ctx, "digest", []byte("x:y")), proto.ErrAuthFailed)
	ok(t, c.WaitState(ctx, func(s client.State) bool { return s == client.StateAuthFailed }))
	_, err := c.Exists(ctx, "/")
	wantErr(t, err, proto.ErrAuthFailed)
}

// An idle client pings; one whose server falls silent leaves it before the session expires.
func TestPingAndSilence(t *testing.T) {
	pinged := make(chan struct{})
	f := startFake(t,
		func(s *peer) {
			s.accept(300*time.Millisecond, false)
			for range 3 {
				frame, err := s.ReadFrame()
				if err != nil || !bytes.Equal(frame, []byte{0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11}) {
					s.fail("ping: %x, %v", frame, err)
					return
				}
				s.reply(proto.XidPing, 1<<40, proto.OK, nil)
			}
			close(pinged)
			s.hang() // the client must close
		},
		func(s *peer) {
			if req := s.accept(10*time.Second, false); req.SessionID != s.sessionID || req.LastZxidSeen != 0 {
				s.fail("%+v", req) // the zxid of a ping is not remembered
			}
			s.serveClose()
		})
	states := make(chan client.Event, 8)
	c := dial(t, f.addr, client.Options{OnEvent: func(e client.Event) { states <- e }})
	wantState(t, states, client.StateConnected)
	<-pinged
	wantState(t, states, client.StateDisconnected)
	wantState(t, states, client.StateConnected)
	ok(t, c.Ping(testContext(t)))
	ok(t, c.Close())
}

// Servers that refuse or cut the handshake are passed over.
func TestServerList(t *testing.T) {
	refusing := startFake(t)
	f := startFake(t, func(s *peer) { s.accept(10*time.Second, false); s.serveClose() })
	down, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	ok(t, down.Close())
	c := dial(t, down.Addr().String()+","+refusing.addr+","+f.addr, client.Options{InOrder: true})
	if c.Server() != f.addr {
		t.Fatalf("connected to %s", c.Server())
	}
	ok(t, c.Close())
}

// With no server calls wait for the session timeout, and no longer.
func TestNoServer(t *testing.T) {
	f := startFake(t)
	c, err := client.New(f.addr, client.Options{SessionTimeout: 50 * time.Millisecond})
	ok(t, err)
	defer c.Abandon()
	_, err = c.Exists(testContext(t), "/")
	wantErr(t, err, client.ErrConnectionLoss)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Exists(ctx, "/")
	wantErr(t, err, context.Canceled)
	wantErr(t, c.WaitConnected(ctx), context.Canceled)
}

// With FailFast one vain round through the servers is enough.
func TestFailFast(t *testing.T) {
	a, b := startFake(t), startFake(t)
	c, err := client.New(a.addr+","+b.addr, client.Options{SessionTimeout: time.Hour, FailFast: true})
	ok(t, err)
	defer c.Abandon()
	_, err = c.Exists(testContext(t), "/")
	wantErr(t, err, client.ErrConnectionLoss)
	wantErr(t, c.WaitConnected(testContext(t)), client.ErrConnectionLoss)
}

// FlushEvents returns when the handlers have seen what came before.
func TestFlushEvents(t *testing.T) {
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		xid, _ := s.want(proto.OpAddWatch)
		s.reply(xid, 0, proto.OK, nil)
		for range 100 {
			s.notify(proto.EventDataChanged, "/x", 1)
		}
		xid, body := s.want(proto.OpSync)
		s.reply(xid, 1, proto.OK, body)
		s.serveClose()
	})
	c := dial(t, f.addr, client.Options{})
	ctx := testContext(t)
	seen := 0 // written by the handler, read after FlushEvents
	ok(t, c.AddWatch(ctx, "/x", client.WatchFunc(func(client.Event) { seen++ }), false))
	ok(t, c.Sync(ctx, "/"))
	ok(t, c.FlushEvents(ctx))
	if seen != 100 {
		t.Fatalf("%d events", seen)
	}
	ok(t, c.Close())
	ok(t, c.FlushEvents(ctx))
}

// A session made on a read-only server is left behind when a read-write one turns up.
func TestReadOnly(t *testing.T) {
	f := startFake(t,
		func(s *peer) {
			s.sessionID = 5
			if req := s.accept(10*time.Second, true); !req.ReadOnly {
				s.fail("%+v", req)
			}
			xid, _ := s.want(proto.OpSetData)
			s.reply(xid, 3, proto.ErrNotReadOnly, nil)
			s.hang()
		},
		func(s *peer) { isro(s, "ro") },
		func(s *peer) { isro(s, "rw") },
		func(s *peer) {
			if req := s.accept(10*time.Second, false); req.SessionID != 0 {
				s.fail("%+v", req)
			}
			s.serveClose()
		})
	states := make(chan client.Event, 8)
	c := dial(t, f.addr, client.Options{ReadOnly: true, OnEvent: func(e client.Event) { states <- e }})
	wantState(t, states, client.StateConnectedReadOnly)
	_, err := c.SetData(testContext(t), "/", nil, -1)
	wantErr(t, err, proto.ErrNotReadOnly)
	wantState(t, states, client.StateDisconnected)
	wantState(t, states, client.StateConnected)
	ok(t, c.Close())
}

func isro(s *peer, answer string) {
	word := make([]byte, 4)
	if _, err := io.ReadFull(s.Conn, word); err != nil || string(word) != "isro" {
		s.fail("%q, %v", word, err)
	}
	if _, err := s.Conn.Write([]byte(answer)); err != nil {
		s.fail("%v", err)
	}
}

// A reply that belongs to no request, or to another one, breaks the connection.
func TestWrongXid(t *testing.T) {
	f := startFake(t,
		func(s *peer) {
			s.accept(10*time.Second, false)
			xid, _ := s.want(proto.OpExists)
			s.reply(xid+1, 1, proto.OK, nil)
			s.hang()
		},
		func(s *peer) {
			s.accept(10*time.Second, false)
			s.reply(9, 1, proto.OK, nil)
			s.hang()
		},
		func(s *peer) { s.accept(10*time.Second, false); s.serveClose() })
	states := make(chan client.Event, 8)
	c := dial(t, f.addr, client.Options{OnEvent: func(e client.Event) { states <- e }})
	_, err := c.Exists(testContext(t), "/")
	wantErr(t, err, client.ErrProtocol)
	for range 2 {
		wantState(t, states, client.StateConnected)
		wantState(t, states, client.StateDisconnected)
	}
	wantState(t, states, client.StateConnected)
	ok(t, c.Close())
}

// A reply too short for its record is an error of the call alone.
func TestShortReply(t *testing.T) {
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		xid, _ := s.want(proto.OpExists)
		s.reply(xid, 1, proto.OK, []byte{1, 2, 3})
		s.serveClose()
	})
	c := dial(t, f.addr, client.Options{})
	_, err := c.Exists(testContext(t), "/")
	wantErr(t, err, client.ErrProtocol)
	var e *client.Error
	if !errors.As(err, &e) || e.Op != proto.OpExists {
		t.Fatalf("%#v", err)
	}
	ok(t, c.Close())
}

// A gatedConn counts writes and holds the second one, the first after the handshake, until
// the gate opens.
type gatedConn struct {
	net.Conn
	mu     sync.Mutex // guards writes
	writes int
	held   chan struct{}
	gate   chan struct{}
}

func (g *gatedConn) Write(b []byte) (int, error) {
	g.mu.Lock()
	g.writes++
	n := g.writes
	g.mu.Unlock()
	if n == 2 {
		close(g.held)
		<-g.gate
	}
	return g.Conn.Write(b)
}

// Calls that come while a write is under way go out in one write, in order.
func TestPipelining(t *testing.T) {
	const calls = 100
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		for i := range calls + 1 {
			xid, body := s.want(proto.OpSync)
			if xid != int32(i+1) {
				s.fail("xid %d, want %d", xid, i+1)
			}
			s.reply(xid, proto.Zxid(i), proto.OK, body)
		}
		s.serveClose()
	})
	g := &gatedConn{held: make(chan struct{}), gate: make(chan struct{})}
	c := dial(t, f.addr, client.Options{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", addr)
		g.Conn = nc
		return g, err
	}})
	ctx := testContext(t)
	first := c.Submit(ctx, proto.OpSync, "/", jute.AppendString(nil, "/"))
	<-g.held
	var rest []*client.Call
	for range calls {
		rest = append(rest, c.Submit(ctx, proto.OpSync, "/", jute.AppendString(nil, "/")))
	}
	close(g.gate)
	for i, call := range append([]*client.Call{first}, rest...) {
		r, err := call.Wait(ctx)
		ok(t, err)
		if r.Zxid != proto.Zxid(i) {
			t.Fatalf("call %d got the reply of %d", i, r.Zxid)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writes != 3 {
		t.Fatalf("%d writes, want the handshake, the first call and all others", g.writes)
	}
}

// MaxOutstanding makes Submit wait, and its context ends the wait.
func TestMaxOutstanding(t *testing.T) {
	release := make(chan struct{})
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		xid, body := s.want(proto.OpSync)
		<-release
		s.reply(xid, 1, proto.OK, body)
		xid, body = s.want(proto.OpSync)
		s.reply(xid, 1, proto.OK, body)
		s.serveClose()
	})
	c := dial(t, f.addr, client.Options{MaxOutstanding: 1})
	ctx := testContext(t)
	first := c.Submit(ctx, proto.OpSync, "/", jute.AppendString(nil, "/"))
	gone, cancel := context.WithCancel(ctx)
	cancel()
	wantErr(t, c.Sync(gone, "/"), context.Canceled)
	close(release)
	_, err := first.Wait(ctx)
	ok(t, err)
	ok(t, c.Sync(ctx, "/"))
}

// Abandon sends nothing; calls under way and later ones fail.
func TestAbandon(t *testing.T) {
	got := make(chan struct{})
	f := startFake(t, func(s *peer) {
		s.accept(10*time.Second, false)
		s.want(proto.OpSync)
		close(got)
		if b, err := io.ReadAll(s.Conn); err != nil || len(b) != 0 {
			s.fail("after Abandon: %x, %v", b, err)
		}
	})
	c := dial(t, f.addr, client.Options{})
	ctx := testContext(t)
	call := c.Submit(ctx, proto.OpSync, "/", jute.AppendString(nil, "/"))
	<-got
	c.Abandon()
	_, err := call.Wait(ctx)
	wantErr(t, err, client.ErrClosed)
	wantErr(t, c.Sync(ctx, "/"), client.ErrClosed)
	wantErr(t, c.WaitConnected(ctx), client.ErrClosed)
}
