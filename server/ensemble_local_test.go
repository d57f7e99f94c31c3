package server

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/client"
)

func withLocalSessions(o *Options) { o.Ensemble.LocalSessions = true }
func withUpgrading(o *Options)     { o.Ensemble.LocalSessions, o.Ensemble.LocalUpgrading = true, true }

func readBody(path string) []byte { return (&proto.PathWatch{Path: []byte(path)}).Append(nil) }

func flaggedBody(path string, flags int32) []byte {
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	return (&proto.CreateRequest{Path: []byte(path), ACL: acl, Flags: flags}).Append(nil, proto.OpCreate)
}

// multiBody makes a multi of creates of ephemerals and, for paths that begin with "-", of persistent nodes.
func multiBody(paths ...string) (b []byte) {
	for _, path := range paths {
		b = proto.MultiHeader{Type: proto.OpCreate, Err: -1}.Append(b)
		if rest, ok := strings.CutPrefix(path, "-"); ok {
			b = append(b, flaggedBody(rest, proto.FlagPersistent)...)
		} else {
			b = append(b, flaggedBody(path, proto.FlagEphemeral)...)
		}
	}
	return proto.MultiDone.Append(b)
}

func wantReply(t *testing.T, r *client.Raw, xid int32, op proto.OpCode, body []byte, want proto.ErrCode) client.Reply {
	t.Helper()
	reply, err := r.Call(xid, op, body)
	if err != nil || reply.Xid != xid || reply.Err != want {
		t.Fatalf("request %d of type %d: %+v, %v; want %v", xid, op, reply, err, want)
	}
	return reply
}

// attach tries to take a session over at server i.
func (e *testEnsemble) attach(i int, s proto.ConnectResponse) (*client.Raw, bool) {
	e.t.Helper()
	r := dialRaw(e.t, e.servers[i])
	got, err := r.Handshake(proto.ConnectRequest{TimeoutMs: s.TimeoutMs, SessionID: s.SessionID, Password: s.Password[:], HasReadOnly: true})
	if err != nil {
		e.t.Fatal(err)
	}
	return r, got.SessionID == s.SessionID
}

func newSession(t *testing.T, s *Server, timeout time.Duration) (*client.Raw, proto.ConnectResponse) {
	t.Helper()
	r := dialRaw(t, s)
	resp, err := r.NewSession(timeout)
	if err != nil || resp.SessionID == 0 {
		t.Fatalf("%+v, %v", resp, err)
	}
	return r, resp
}

func gauge(s *Server, name string) int {
	for _, g := range s.Gauges() {
		if g.Name == name {
			return int(g.Value)
		}
	}
	return -1
}

// wantHangup waits until the server closes the connection without another frame.
func wantHangup(t *testing.T, r *client.Raw) {
	t.Helper()
	if frame, err := r.ReadFrame(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Fatalf("got %x, %v; want the end of the connection", frame, err)
	}
}

// A session is known to its server alone, whatever the role of that is, until it creates an ephemeral.
func TestLocalSessions(t *testing.T) {
	e := newTestEnsembleOf(t, 3, 1, withUpgrading)
	e.leader()
	waitFor(t, func() bool { return e.servers[3].Mode() == "observer" })
	for i, s := range e.servers {
		t.Run(s.Mode(), func(t *testing.T) {
			other := (i + 1) % len(e.servers)
			path := fmt.Sprintf("/n%d", i)
			before := s.Info().Zxid
			r, session := newSession(t, s, 20*time.Second)
			wantReply(t, r, 1, proto.OpExists, readBody("/zookeeper"), proto.OK)
			if after := s.Info().Zxid; after != before {
				t.Errorf("a local session moved the zxid from 0x%x to 0x%x", before, after)
			}
			if l, g := gauge(s, "local_sessions"), gauge(s, "global_sessions"); l != 1 || g != 0 {
				t.Errorf("%d local sessions and %d global ones, want 1 and 0", l, g)
			}
			wantReply(t, r, 2, proto.OpCreate, flaggedBody(path, proto.FlagPersistent), proto.OK)
			wantReply(t, r, 3, proto.OpMulti, multiBody("-"+path+"/a", "-"+path+"/b"), proto.OK)
			if _, ok := e.attach(other, session); ok {
				t.Error("a local session moved to another server")
			}
			again, ok := e.attach(i, session)
			if !ok {
				t.Fatal("a local session was not taken up again where it lives")
			}
			wantHangup(t, r)
			r = again
			sets := "Local Session Sets (1)/(1):\n"
			if answer, err := client.FourLetter(s.Addr(0).String(), "dump"); err != nil || !strings.Contains(answer, sets) || !strings.Contains(answer, "\n\t"+hexID(session.SessionID)+"\n") {
				t.Errorf("dump says %q, %v", answer, err)
			}
			if n := s.touched(); n != 0 {
				t.Errorf("%d local sessions would be told to the leader", n)
			}

			// The upgrade, with what stands in front and behind in one go.
			var frames [][]byte
			add := func(xid int32, op proto.OpCode, body []byte) {
				frames = append(frames, client.AppendRequest(nil, xid, op, body))
			}
			add(4, proto.OpCreate, flaggedBody(path+"/c", proto.FlagPersistent))
			add(5, proto.OpMulti, multiBody("-"+path+"/d", path+"/e1"))
			add(6, proto.OpSync, jute.AppendString(nil, path))
			add(7, proto.OpCreate, flaggedBody(path+"/e2", proto.FlagEphemeral))
			add(8, proto.OpExists, readBody(path+"/e2"))
			for _, f := range frames {
				if err := r.SendFrame(f); err != nil {
					t.Fatal(err)
				}
			}
			for xid := int32(4); xid <= 8; xid++ {
				if reply, err := r.ReadReply(); err != nil || reply.Xid != xid || reply.Err != proto.OK {
					t.Fatalf("%+v, %v; want request %d answered", reply, err, xid)
				}
			}
			if l, g := gauge(s, "local_sessions"), gauge(s, "global_sessions"); l != 0 || g != 1 {
				t.Errorf("after the upgrade %d local sessions and %d global ones, want 0 and 1", l, g)
			}
			if n := s.touched(); i < 3 && s.Mode() == "follower" && n != 1 {
				t.Errorf("%d sessions would be told to the leader, want the global one", n)
			}
			moved, ok := e.attach(other, session)
			if !ok {
				t.Fatal("an upgraded session did not move to another server")
			}
			wantReply(t, moved, 9, proto.OpSetData, setBody(path+"/e2", []byte("x")), proto.OK)
			wantReply(t, moved, 10, proto.OpCloseSession, nil, proto.OK)
			c := e.dial(i)
			ctx := testContext(t)
			if err := c.Sync(ctx, path); err != nil {
				t.Fatal(err)
			}
			if names, err := c.GetChildren(ctx, path); err != nil || len(names) != 4 {
				t.Errorf("%v, %v; want the four persistent children", names, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return gauge(s, "local_sessions") == 0 && s.outstanding.Load() == 0 })
		})
	}
	e.wantEqual()
}

// touched counts the sessions that an answer to a PING would tell of.
func (s *Server) touched() (n int) {
	s.replica.postAndWait(func(r *replica) {
		r.ens.answeredMs = 0
		r.ens.collectTouches()
		n = quorum.Touches(r.ens.touches).Len()
	})
	return n
}

// Without upgrading an ephemeral is refused, in the words of a Java server of the same role, and the session stays.
func TestLocalSessionsWithoutUpgrading(t *testing.T) {
	e := newTestEnsembleWith(t, 3, withLocalSessions)
	leader := e.leader()
	for i, s := range e.servers {
		r, _ := newSession(t, s, 20*time.Second)
		first := wantReply(t, r, 1, proto.OpCreate, flaggedBody(fmt.Sprintf("/n%d", i), proto.FlagPersistent), proto.OK)
		refused := wantReply(t, r, 2, proto.OpCreate, flaggedBody("/e", proto.FlagEphemeral), proto.ErrEphemeralOnLocal)
		if refused.Zxid != first.Zxid+1 {
			t.Errorf("refused with zxid 0x%x, want 0x%x", refused.Zxid, first.Zxid+1)
		}
		wantReply(t, r, 3, proto.OpCreate2, flaggedBody("/e", proto.FlagEphemeralSequential), proto.ErrEphemeralOnLocal)
		multi := wantReply(t, r, 4, proto.OpMulti, multiBody("-/a", "/e"), proto.OK)
		want := proto.ErrSessionExpired
		if i == leader {
			want = proto.ErrEphemeralOnLocal
		}
		// Two errors: of what was taken back, and of the ephemeral.
		d := jute.NewDecoder(multi.Body, 0)
		var got []proto.ErrCode
		for {
			var h proto.MultiHeader
			if h.Decode(&d); h.Done || d.Err() != nil {
				break
			}
			got = append(got, proto.ErrCode(d.Int32()))
		}
		if len(got) != 2 || got[1] != want {
			t.Errorf("multi at server %d: %v, want %v for the ephemeral", i, got, want)
		}
		wantReply(t, r, 5, proto.OpExists, readBody("/a"), proto.ErrNoNode)
		wantReply(t, r, 6, proto.OpDelete, (&proto.PathVersion{Path: fmt.Appendf(nil, "/n%d", i), Version: -1}).Append(nil), proto.OK)
		if n := gauge(s, "local_sessions"); n != 1 {
			t.Errorf("%d local sessions, want 1", n)
		}
	}
	e.wantEqual()
}

// Each server ends the local sessions that it does not hear of, and hears of those that ping.
func TestLocalSessionsExpire(t *testing.T) {
	e := newTestEnsembleWith(t, 3, withLocalSessions)
	e.leader()
	for i, s := range e.servers {
		silent, session := newSession(t, s, 400*time.Millisecond)
		left, leftSession := newSession(t, s, 400*time.Millisecond)
		_ = left.Close()
		const pinging = time.Second
		c, err := client.Dial(testContext(t), s.Addr(0).String(), client.Options{SessionTimeout: pinging})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Abandon()
		before, began := c.Session().ID, time.Now()
		wantHangup(t, silent)
		waitFor(t, func() bool { return gauge(s, "local_sessions") == 1 })
		for _, x := range []proto.ConnectResponse{session, leftSession} {
			if _, ok := e.attach(i, x); ok {
				t.Errorf("server %d took up a session that it had expired", i)
			}
		}
		waitFor(t, func() bool { return time.Since(began) > 2*pinging })
		if _, err := c.Exists(testContext(t), "/zookeeper"); err != nil || c.Session().ID != before {
			t.Errorf("a session that pings did not live on: %v", err)
		}
	}
	// They end with the role of their server.
	leader := e.leader()
	at := (leader + 1) % 3
	r, session := newSession(t, e.servers[at], 20*time.Second)
	e.stop(leader)
	wantHangup(t, r)
	e.leader()
	if _, ok := e.attach(at, session); ok {
		t.Error("a local session outlived the role of its server")
	}
}

// A session that has become global lives as long as its server hears of it, and its ephemerals with it.
func TestUpgradedSessionExpires(t *testing.T) {
	e := newTestEnsembleWith(t, 3, withUpgrading)
	follower := (e.leader() + 1) % 3
	const timeout = 1500 * time.Millisecond
	c, err := client.Dial(testContext(t), e.servers[follower].Addr(0).String(), client.Options{SessionTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	id, began := c.Session().ID, time.Now()
	if _, err := c.Create(testContext(t), "/e", nil, openACL, client.Ephemeral); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return time.Since(began) > 2*timeout })
	other := e.dial(e.leader())
	if _, err := other.Exists(testContext(t), "/e"); err != nil || c.Session().ID != id {
		t.Errorf("the ephemeral of a session that pings: %v", err)
	}
	c.Abandon()
	waitFor(t, func() bool {
		_, err := other.Exists(testContext(t), "/e")
		return errors.Is(err, proto.ErrNoNode)
	})
	e.wantEqual()
}

// The end of a local session is answered behind all that was asked before it, and takes no zxid.
func TestLocalSessionCloses(t *testing.T) {
	e := newTestEnsembleWith(t, 3, withUpgrading)
	e.leader()
	mustCreate(t, e.dial(0), "/n", "x")
	for i, s := range e.servers {
		r, session := newSession(t, s, 20*time.Second)
		var all []byte
		xid := int32(0)
		add := func(op proto.OpCode, body []byte) {
			xid++
			f := client.AppendRequest(nil, xid, op, body)
			all = append(jute.AppendInt32(all, int32(len(f))), f...)
		}
		for range 20 {
			add(proto.OpSetData, setBody("/n", []byte("y")))
			add(proto.OpSync, jute.AppendString(nil, "/n"))
			add(proto.OpExists, readBody("/n"))
		}
		add(proto.OpCloseSession, nil)
		if err := r.SendBytes(all); err != nil {
			t.Fatal(err)
		}
		var zxid proto.Zxid
		for n := int32(1); n <= xid; n++ {
			reply, err := r.ReadReply()
			if err != nil || reply.Xid != n || reply.Err != proto.OK {
				t.Fatalf("server %d: %+v, %v; want request %d answered", i, reply, err, n)
			}
			if n == xid && reply.Zxid != zxid {
				t.Errorf("closed at 0x%x, want 0x%x", reply.Zxid, zxid)
			}
			zxid = reply.Zxid
		}
		wantHangup(t, r)
		if _, ok := e.attach(i, session); ok {
			t.Error("a closed session came back")
		}
		waitFor(t, func() bool { return s.outstanding.Load() == 0 })
	}
	e.wantEqual()
}
