package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// testConfig is that of a server with its data below dir, which is prepared.
func testConfig(t testing.TB, dir string, lines ...string) *config.Config {
	t.Helper()
	text := "tickTime=200\nmaxSessionTimeout=60000\nclientPortAddress=127.0.0.1\nclientPort=2181\nextendedTypesEnabled=true\n4lw.commands.whitelist=*\npreAllocSize=1024\ndataDir=" + dir + "\n"
	for _, l := range lines {
		text += l + "\n"
	}
	p, err := config.ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Parse(p, config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// testOptions are those of testConfig on a free loopback port.
func testOptions(t testing.TB, dir string, lines ...string) Options {
	t.Helper()
	o := FromConfig(testConfig(t, dir, lines...))
	o.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	o.NumLoops = 2
	return o
}

func startServer(t testing.TB, o Options) *Server {
	t.Helper()
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = t.Output()
	}
	s, err := Start(o, slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, s) })
	return s
}

func stopServer(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, s *Server) *client.Client {
	t.Helper()
	c, err := client.Dial(testContext(t), s.Addr(0).String(), client.Options{SessionTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dialRaw(t testing.TB, s *Server) *client.Raw {
	t.Helper()
	r, err := client.DialRaw(s.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

var openACL = proto.WorldAnyone

func mustCreate(t testing.TB, c *client.Client, path, data string) {
	t.Helper()
	if _, err := c.Create(testContext(t), path, []byte(data), openACL, client.Persistent); err != nil {
		t.Fatal(err)
	}
}

// A tree written by one process is found by the next: from the log alone, then from an image and the
// log behind it.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{}
	for round := range 4 {
		s := startServer(t, testOptions(t, dir))
		c := dial(t, s)
		ctx := testContext(t)
		for path, data := range want {
			got, _, err := c.GetData(ctx, path)
			if err != nil || string(got) != data {
				t.Fatalf("round %d: %s is %q, %v; want %q", round, path, got, err, data)
			}
		}
		for i := range 20 {
			path := fmt.Sprintf("/r%d-%d", round, i)
			mustCreate(t, c, path, path)
			want[path] = path
		}
		if round%2 == 1 {
			if err := <-s.replica.ckpt.request(s.replica); err != nil {
				t.Fatal(err)
			}
			mustCreate(t, c, fmt.Sprintf("/after%d", round), "x")
			want[fmt.Sprintf("/after%d", round)] = "x"
		}
		s.lockGates()
		zxid, digest := s.engine.LastZxid(), s.engine.Digest()
		s.unlockGates()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		stopServer(t, s)
		again, err := Start(testOptions(t, dir), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		again.lockGates()
		zxidAgain, digestAgain := again.engine.LastZxid(), again.engine.Digest()
		again.unlockGates()
		if zxidAgain <= zxid || digestAgain != digest {
			t.Fatalf("after restart: zxid %#x, digest %d; want above %#x, %d", zxidAgain, digestAgain, zxid, digest)
		}
		stopServer(t, again)
	}
}

// appendRequestFrame appends a request with its length in front.
func appendRequestFrame(dst []byte, xid int32, op proto.OpCode, body []byte) []byte {
	dst, start := beginFrame(dst)
	return endFrame(client.AppendRequest(dst, xid, op, body), start)
}

// Replies come in the order of requests whatever they are, and a read behind a write shows it.
func TestPipelineOrder(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	r := dialRaw(t, s)
	if _, err := r.NewSession(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	var out []byte
	const rounds = 200
	for i := range int32(rounds) {
		path := []byte(fmt.Sprintf("/n%d", i))
		out = appendRequestFrame(out, 4*i+1, proto.OpCreate, (&proto.CreateRequest{Path: path, Data: path, ACL: acl}).Append(nil, proto.OpCreate))
		out = appendRequestFrame(out, 4*i+2, proto.OpGetData, (&proto.PathWatch{Path: path}).Append(nil))
		out = appendRequestFrame(out, 4*i+3, proto.OpDelete, (&proto.PathVersion{Path: path, Version: -1}).Append(nil))
		out = appendRequestFrame(out, 4*i+4, proto.OpExists, (&proto.PathWatch{Path: path}).Append(nil))
	}
	if err := r.SendBytes(out); err != nil {
		t.Fatal(err)
	}
	last := proto.Zxid(0)
	for i := range int32(4 * rounds) {
		reply, err := r.ReadReply()
		if err != nil {
			t.Fatal(err)
		}
		want := proto.OK
		if i%4 == 3 {
			want = proto.ErrNoNode
		}
		if reply.Xid != i+1 || reply.Err != want || reply.Zxid < last {
			t.Fatalf("reply %d: %+v, want xid %d, err %v, zxid from %#x", i, reply, i+1, want, last)
		}
		last = reply.Zxid
	}
}

// The event of a change comes before the reply to its writer, and before any read that shows it.
func TestEventBeforeReply(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	r := dialRaw(t, s)
	if _, err := r.NewSession(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	create := (&proto.CreateRequest{Path: []byte("/w"), ACL: acl}).Append(nil, proto.OpCreate)
	if reply, err := r.Call(1, proto.OpExists, (&proto.PathWatch{Path: []byte("/w"), Watch: true}).Append(nil)); err != nil || reply.Err != proto.ErrNoNode {
		t.Fatalf("%+v, %v", reply, err)
	}
	if err := r.SendRequest(2, proto.OpCreate, create); err != nil {
		t.Fatal(err)
	}
	event, err := r.ReadReply()
	if err != nil || event.Xid != proto.XidNotification {
		t.Fatalf("got %+v, %v; want a notification", event, err)
	}
	reply, err := r.ReadReply()
	if err != nil || reply.Xid != 2 || reply.Err != proto.OK || event.Zxid != reply.Zxid {
		t.Fatalf("got %+v, %v; want the reply at %#x", reply, err, event.Zxid)
	}
}

func TestSessionExpiry(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	watcher := dial(t, s)
	r := dialRaw(t, s)
	if _, err := r.NewSession(400 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	if reply, err := r.Call(1, proto.OpCreate, (&proto.CreateRequest{Path: []byte("/e"), ACL: acl, Flags: proto.FlagEphemeral}).Append(nil, proto.OpCreate)); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	gone := make(chan client.Event, 4)
	if _, err := watcher.ExistsW(testContext(t), "/e", client.WatchChan(gone)); err != nil {
		t.Fatal(err)
	}
	select {
	case ev := <-gone:
		if ev.Type != proto.EventDeleted {
			t.Fatalf("got %v", ev)
		}
	case <-testContext(t).Done():
		t.Fatal("the ephemeral of a silent session stays")
	}
	// The silent connection is closed without another word.
	if rest, err := r.ReadAll(); len(rest) != 0 {
		t.Fatalf("got %x, %v", rest, err)
	}
}

func TestReattach(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	first := dialRaw(t, s)
	resp, err := first.NewSession(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	wrong := dialRaw(t, s)
	got, err := wrong.Handshake(proto.ConnectRequest{TimeoutMs: 20000, SessionID: resp.SessionID, Password: make([]byte, 16), HasReadOnly: true})
	if err != nil || got.SessionID != 0 || got.TimeoutMs != 0 {
		t.Fatalf("wrong password: %+v, %v", got, err)
	}
	if reply, err := first.Call(5, proto.OpExists, (&proto.PathWatch{Path: []byte("/")}).Append(nil)); err != nil || reply.Err != proto.OK {
		t.Fatalf("the owner was disturbed: %+v, %v", reply, err)
	}
	second := dialRaw(t, s)
	got, err = second.Handshake(proto.ConnectRequest{TimeoutMs: 10000, SessionID: resp.SessionID, Password: resp.Password[:]})
	if err != nil || got.SessionID != resp.SessionID || got.TimeoutMs != 10000 || got.HasReadOnly {
		t.Fatalf("re-attach: %+v, %v", got, err)
	}
	if rest, _ := first.ReadAll(); len(rest) != 0 {
		t.Fatalf("the first connection got %x", rest)
	}
}

func TestFourLetterWords(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	c := dial(t, s)
	mustCreate(t, c, "/x", "y")
	for _, w := range []string{"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr", "stat", "wchc", "wchp", "wchs"} {
		answer, err := client.FourLetter(s.Addr(0).String(), w)
		if err != nil || (answer == "" && w != "hash") {
			t.Errorf("%s: %q, %v", w, answer, err)
		}
	}
}

// A request of a kind that no client may send is answered in its place, then the connection closes.
func TestUnknownOperation(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	for _, op := range []proto.OpCode{0, -1, 13, 10, 99, proto.OpCreateSession, proto.OpDeleteContainer} {
		r := dialRaw(t, s)
		if _, err := r.NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		reply, err := r.Call(7, op, nil)
		if err != nil || reply.Xid != 7 || reply.Zxid != -1 || reply.Err != proto.ErrUnimplemented {
			t.Errorf("operation %d: %+v, %v", op, reply, err)
		}
		if rest, _ := r.ReadAll(); len(rest) != 0 {
			t.Errorf("operation %d: %x behind the reply", op, rest)
		}
	}
}
