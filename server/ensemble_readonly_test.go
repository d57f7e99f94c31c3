package server

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

func withReadOnlyMode(o *Options) { o.Ensemble.ReadOnlyMode = true }

// connectReadOnly asks for a session as a client does that is content with a server in read-only mode.
func connectReadOnly(t *testing.T, s *Server, req proto.ConnectRequest) (*client.Raw, proto.ConnectResponse, error) {
	t.Helper()
	r := dialRaw(t, s)
	req.ReadOnly, req.HasReadOnly, req.TimeoutMs = true, true, 20_000
	resp, err := r.Handshake(req)
	return r, resp, err
}

// A server without a quorum serves reads after a while, to those that want that, and goes back to normal.
func TestReadOnlyMode(t *testing.T) {
	e := newTestEnsembleWith(t, 3, withReadOnlyMode)
	leader := e.leader()
	left, others := e.servers[leader], []int{(leader + 1) % 3, (leader + 2) % 3}
	c := e.dial(leader)
	mustCreate(t, c, "/n", "x")
	if _, err := c.Create(testContext(t), "/e", nil, openACL, client.Ephemeral); err != nil {
		t.Fatal(err)
	}
	global := c.Session()
	c.Abandon()
	if r, resp, err := connectReadOnly(t, left, proto.ConnectRequest{}); err != nil || resp.ReadOnly || resp.SessionID == 0 {
		t.Fatalf("a server with a quorum answers %+v, %v", resp, err)
	} else {
		wantReply(t, r, 1, proto.OpSetData, setBody("/n", []byte("y")), proto.OK)
	}
	for _, i := range others {
		e.stop(i)
	}
	waitFor(t, func() bool { return left.Mode() == "read-only" })

	for word, want := range map[string]string{"isro": "ro", "srvr": "READ-ONLY mode; serving only read-only clients\n", "stat": "Mode: read-only\n", "mntr": "zk_server_state\tread-only\n", "dump": "Global Sessions(2):\n"} {
		if answer, err := client.FourLetter(left.Addr(0).String(), word); err != nil || !strings.Contains(answer, want) {
			t.Errorf("%s says %q, %v; want %q in it", word, answer, err, want)
		}
	}
	if resp, err := dialRaw(t, left).NewSession(20 * time.Second); err == nil {
		t.Errorf("a client that wants to write was let in: %+v", resp)
	}
	if _, resp, err := connectReadOnly(t, left, proto.ConnectRequest{SessionID: global.ID, Password: global.Password[:]}); err == nil {
		t.Errorf("a global session was let in: %+v", resp)
	}
	if _, resp, err := connectReadOnly(t, left, proto.ConnectRequest{SessionID: 77, Password: passwordOf(77)}); err != nil || resp.SessionID != 0 || !resp.ReadOnly {
		t.Errorf("an unknown session got %+v, %v; want the answer for one that has expired", resp, err)
	}
	r, session, err := connectReadOnly(t, left, proto.ConnectRequest{})
	if err != nil || !session.ReadOnly || byte(session.SessionID>>56) != byte(leader+1) {
		t.Fatalf("%+v, %v; want a session of the server's own, for reading", session, err)
	}
	zxid := left.Info().Zxid
	var all []byte
	xid := int32(0)
	var want []proto.ErrCode
	add := func(op proto.OpCode, body []byte, code proto.ErrCode) {
		xid++
		f := client.AppendRequest(nil, xid, op, body)
		all = append(jute.AppendInt32(all, int32(len(f))), f...)
		want = append(want, code)
	}
	for range 3 {
		add(proto.OpGetData, readBody("/n"), proto.OK)
		add(proto.OpSetData, setBody("/n", nil), proto.ErrNotReadOnly)
		add(proto.OpCreate, flaggedBody("/x", proto.FlagEphemeral), proto.ErrNotReadOnly)
		add(proto.OpMulti, multiBody("-/x"), proto.ErrNotReadOnly)
		add(proto.OpSync, jute.AppendString(nil, "/n"), proto.ErrNotReadOnly)
		add(proto.OpExists, readBody("/e"), proto.OK)
		add(proto.OpGetChildren, readBody("/"), proto.OK)
		add(proto.OpDelete, (&proto.PathVersion{Path: []byte("/n"), Version: -1}).Append(nil), proto.ErrNotReadOnly)
	}
	if err := r.SendBytes(all); err != nil {
		t.Fatal(err)
	}
	for n := int32(1); n <= xid; n++ {
		reply, err := r.ReadReply()
		if err != nil || reply.Xid != n || reply.Err != want[n-1] || reply.Zxid != zxid {
			t.Fatalf("%+v, %v; want request %d answered by %v at 0x%x", reply, err, n, want[n-1], zxid)
		}
	}
	again, resp, err := connectReadOnly(t, left, proto.ConnectRequest{SessionID: session.SessionID, Password: session.Password[:]})
	if err != nil || resp.SessionID != session.SessionID || !resp.ReadOnly {
		t.Fatalf("%+v, %v; want the session back", resp, err)
	}
	wantHangup(t, r)
	if n := gauge(left, "local_sessions"); n != 1 {
		t.Errorf("%d local sessions, want 1", n)
	}
	wantReply(t, again, 1, proto.OpCloseSession, nil, proto.OK)
	wantHangup(t, again)
	r, session, err = connectReadOnly(t, left, proto.ConnectRequest{})
	if err != nil {
		t.Fatal(err)
	}

	e.start(others[0])
	wantHangup(t, r)
	e.leader()
	if answer, err := client.FourLetter(left.Addr(0).String(), "isro"); err != nil || answer != "rw" {
		t.Errorf("isro says %q, %v", answer, err)
	}
	if _, resp, err := connectReadOnly(t, left, proto.ConnectRequest{SessionID: session.SessionID, Password: session.Password[:]}); err != nil || resp.SessionID != 0 {
		t.Errorf("a session of read-only mode outlived it: %+v, %v", resp, err)
	}
	mustCreate(t, e.dial(leader), "/after", "x")
	waitFor(t, func() bool { return left.outstanding.Load() == 0 })
	e.wantEqual()
}

func passwordOf(id proto.SessionID) []byte {
	p := proto.SessionPassword(id)
	return p[:]
}

// Without the setting nobody is served while there is no leader.
func TestNoReadOnlyModeUnasked(t *testing.T) {
	e := newTestEnsemble(t, 3)
	leader := e.leader()
	left := e.servers[leader]
	for i := range e.servers {
		if i != leader {
			e.stop(i)
		}
	}
	waitFor(t, func() bool { return left.Mode() == "" })
	done := make(chan bool, 1)
	left.replica.post(func(r *replica) { done <- r.ens.readOnlyAt() == never })
	if !<-done {
		t.Error("read-only mode would begin")
	}
	if _, resp, err := connectReadOnly(t, left, proto.ConnectRequest{}); err == nil {
		t.Errorf("somebody was let in: %+v", resp)
	}
}

// The settings come from the configuration file.
func TestSessionSettings(t *testing.T) {
	dir := t.TempDir()
	text := "tickTime=200\ninitLimit=5\nsyncLimit=5\nclientPort=2181\ndataDir=" + dir + "\nserver.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\n" +
		"localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\nreadonlymode.enabled=true\n"
	p, err := config.ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Parse(p, config.Source{ReadFile: func(string) ([]byte, error) { return []byte("1\n"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	o := FromConfig(cfg)
	if err := EnsembleFromConfig(&o, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if x := o.Ensemble; !x.LocalSessions || !x.LocalUpgrading || !x.ReadOnlyMode {
		t.Errorf("got %+v", x)
	}
}
