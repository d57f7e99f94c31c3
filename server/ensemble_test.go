package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/client"
)

// testEnsemble is a number of servers in this process on a network in memory.
type testEnsemble struct {
	t       *testing.T
	net     *memNet
	config  *quorum.Config
	dirs    []string
	servers []*Server // nil: not running
	change  func(*Options)
	mayFail bool // servers may have ended by themselves
}

func newTestEnsemble(t *testing.T, voters int) *testEnsemble {
	t.Helper()
	return newTestEnsembleWith(t, voters, func(*Options) {})
}

// newTestEnsembleWith starts servers whose options change has changed.
func newTestEnsembleWith(t *testing.T, voters int, change func(*Options)) *testEnsemble {
	t.Helper()
	return newTestEnsembleOf(t, voters, 0, change)
}

// newTestEnsembleOf has observers behind the voters.
func newTestEnsembleOf(t *testing.T, voters, observers int, change func(*Options)) *testEnsemble {
	t.Helper()
	var members []quorum.Member
	e := &testEnsemble{t: t, net: newMemNet(), change: change}
	for i := range voters + observers {
		m := quorum.Member{ID: int64(i + 1), QuorumAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: 2888 + i}}, ElectionAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: 3888 + i}}}
		if i >= voters {
			m.Role = quorum.Observer
		}
		members = append(members, m)
		e.dirs = append(e.dirs, t.TempDir())
	}
	var err error
	if e.config, err = quorum.NewConfig(0, members, nil, nil); err != nil {
		t.Fatal(err)
	}
	e.servers = make([]*Server, len(members))
	for i := range members {
		e.start(i)
	}
	return e
}

func (e *testEnsemble) start(i int) {
	e.t.Helper()
	o := testOptions(e.t, e.dirs[i])
	id := int64(i + 1)
	o.ServerID = id
	o.CheckpointIntervalMin = 0
	o.Ensemble = &EnsembleOptions{
		Self: id, Config: e.config, EpochDir: filepath.Dir(o.DataDir), Network: e.net.of(id), LeaderServes: true,
		Timing: zab.Timing{Tick: 100 * time.Millisecond, InitLimit: 50, SyncLimit: 20}, SnapSizeFactor: 0.33,
	}
	e.change(&o)
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = e.t.Output()
	}
	s, err := Start(o, slog.New(slog.NewTextHandler(out, nil)).With("server", id))
	if err != nil {
		e.t.Fatal(err)
	}
	e.servers[i] = s
	e.t.Cleanup(func() {
		if e.mayFail {
			_ = s.Stop(context.Background())
		} else {
			stopServer(e.t, s)
		}
	})
}

func (e *testEnsemble) stop(i int) {
	e.t.Helper()
	stopServer(e.t, e.servers[i])
	e.servers[i] = nil
}

// leader waits until one server leads and all that run are in their places, and returns its index.
func (e *testEnsemble) leader() int {
	e.t.Helper()
	found := -1
	waitFor(e.t, func() bool {
		found = -1
		for i, s := range e.servers {
			if s == nil {
				continue
			}
			switch s.Mode() {
			case "":
				return false
			case "leader":
				found = i
			}
		}
		return found >= 0
	})
	return found
}

func (e *testEnsemble) dial(i int) *client.Client {
	e.t.Helper()
	return dial(e.t, e.servers[i])
}

// wantEqual waits until all servers that run have the same tree.
func (e *testEnsemble) wantEqual() {
	e.t.Helper()
	type state struct {
		zxid   proto.Zxid
		digest uint64
		nodes  int
	}
	waitFor(e.t, func() bool {
		var first *state
		for _, s := range e.servers {
			if s == nil {
				continue
			}
			s.lockGates()
			st := state{s.engine.LastZxid(), s.engine.Digest(), s.engine.NodeCount()}
			s.unlockGates()
			if first == nil {
				first = &st
			} else if *first != st {
				return false
			}
		}
		return true
	})
}

// Writes through any server are seen, after a sync, through any other.
func TestEnsembleServes(t *testing.T) {
	e := newTestEnsemble(t, 3)
	e.leader()
	ctx := testContext(t)
	for i := range e.servers {
		c := e.dial(i)
		path := fmt.Sprintf("/from%d", i)
		mustCreate(t, c, path, "x")
		if _, err := c.SetData(ctx, path, []byte("y"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.SetData(ctx, path, []byte("z"), 7); err == nil {
			t.Fatal("a wrong version was taken")
		}
		for j := range e.servers {
			d := e.dial(j)
			if err := d.Sync(ctx, path); err != nil {
				t.Fatalf("sync at %d: %v", j, err)
			}
			if got, _, err := d.GetData(ctx, path); err != nil || string(got) != "y" {
				t.Fatalf("written at %d, read at %d: %q, %v", i, j, got, err)
			}
		}
	}
	e.wantEqual()
	for i, s := range e.servers {
		answer, err := client.FourLetter(s.Addr(0).String(), "srvr")
		if err != nil || !strings.Contains(answer, "Mode: "+s.Mode()+"\n") {
			t.Errorf("server %d: %q, %v", i, answer, err)
		}
	}
}

// A session moves from server to server; its ephemerals are there until it ends, and go everywhere.
func TestEnsembleSessions(t *testing.T) {
	e := newTestEnsemble(t, 3)
	e.leader()
	ctx := testContext(t)
	r := dialRaw(t, e.servers[0])
	resp, err := r.NewSession(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	eph := (&proto.CreateRequest{Path: []byte("/e"), ACL: acl, Flags: proto.FlagEphemeral}).Append(nil, proto.OpCreate)
	if reply, err := r.Call(1, proto.OpCreate, eph); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	_ = r.Close()
	for i := range e.servers {
		m := dialRaw(t, e.servers[i])
		got, err := m.Handshake(proto.ConnectRequest{TimeoutMs: 10000, SessionID: resp.SessionID, Password: resp.Password[:], HasReadOnly: true})
		if err != nil || got.SessionID != resp.SessionID {
			t.Fatalf("move to %d: %+v, %v", i, got, err)
		}
		if reply, err := m.Call(2, proto.OpSetData, setBody("/e", []byte{byte(i)})); err != nil || reply.Err != proto.OK {
			t.Fatalf("write after the move to %d: %+v, %v", i, reply, err)
		}
	}
	// The last connection closes the session.
	m := dialRaw(t, e.servers[0])
	if _, err := m.Handshake(proto.ConnectRequest{TimeoutMs: 10000, SessionID: resp.SessionID, Password: resp.Password[:], HasReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if reply, err := m.Call(3, proto.OpCloseSession, nil); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	for i := range e.servers {
		c := e.dial(i)
		if err := c.Sync(ctx, "/e"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exists(ctx, "/e"); err == nil {
			t.Fatalf("the ephemeral of a closed session is still at %d", i)
		}
	}
	gone := dialRaw(t, e.servers[1])
	if got, err := gone.Handshake(proto.ConnectRequest{TimeoutMs: 10000, SessionID: resp.SessionID, Password: resp.Password[:], HasReadOnly: true}); err != nil || got.SessionID != 0 {
		t.Fatalf("a closed session came back: %+v, %v", got, err)
	}
	e.wantEqual()
}

// Nothing acknowledged is lost when leaders come and go, and who was away catches up: by the log, or by
// a snapshot when it comes empty.
func TestEnsembleFailover(t *testing.T) {
	e := newTestEnsemble(t, 3)
	written := 0
	write := func(n int) {
		t.Helper()
		leader := e.leader()
		at := (leader + 1) % 3
		if e.servers[at] == nil {
			at = leader
		}
		c := e.dial(at)
		for range n {
			mustCreate(t, c, fmt.Sprintf("/n%d", written), "x")
			written++
		}
		_ = c.Close()
	}
	write(20)
	for round := range 3 {
		l := e.leader()
		e.stop(l)
		write(20)
		if round == 1 {
			e.dirs[l] = t.TempDir() // comes back with nothing
		}
		e.start(l)
		write(5)
		e.wantEqual()
	}
	for i := range e.servers {
		c := e.dial(i)
		ctx := testContext(t)
		if err := c.Sync(ctx, "/"); err != nil {
			t.Fatal(err)
		}
		for n := range written {
			if _, err := c.Exists(ctx, fmt.Sprintf("/n%d", n)); err != nil {
				t.Fatalf("node %d of %d at server %d: %v", n, written, i, err)
			}
		}
	}
}

// A leader that is cut off stops serving; what it had not got acknowledged is given up when it comes back.
func TestEnsemblePartition(t *testing.T) {
	e := newTestEnsemble(t, 3)
	l := e.leader()
	c := e.dial(l)
	mustCreate(t, c, "/before", "x")
	e.net.setCut(int64(l+1), true)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	_, err := c.Create(ctx, "/lost", nil, openACL, client.Persistent)
	cancel()
	if err == nil {
		t.Fatal("a leader without a quorum acknowledged a write")
	}
	c.Abandon()
	waitFor(t, func() bool { return e.servers[l].Mode() != "leader" })
	other := (l + 1) % 3
	waitFor(t, func() bool {
		return e.servers[other].Mode() == "leader" || e.servers[(l+2)%3].Mode() == "leader"
	})
	d := e.dial(other)
	mustCreate(t, d, "/after", "x")
	e.net.setCut(int64(l+1), false)
	e.leader()
	e.wantEqual()
	back := e.dial(l)
	if _, err := back.Exists(testContext(t), "/after"); err != nil {
		t.Fatal(err)
	}
}

// What a leader has prepared in the turn in which it gives up is part of its history, as all that was before.
func TestGivesUpWithPreparedRequest(t *testing.T) {
	e := newTestEnsemble(t, 3)
	leader := e.leader()
	c := e.dial(leader)
	mustCreate(t, c, "/before", "x")
	req := quorum.Request{SessionID: c.Session().ID, Cxid: 1000, Op: proto.OpCreate, Body: flaggedBody("/late", proto.FlagPersistent)}
	var last, logged proto.Zxid
	e.servers[leader].replica.postAndWait(func(r *replica) {
		r.ens.remoteRequest(&zab.Output{Data: req.Append(nil), Server: localOwner})
		r.ens.step(zab.Input{Kind: zab.InResign, Err: errors.New("test")})
		r.ens.endTurn()
		last, logged = r.engine.LastZxid(), r.wal.LastZxid()
	})
	c.Abandon()
	if last != logged || quorum.CounterOf(last) < 3 {
		t.Errorf("the tree ends at 0x%x, the log at 0x%x", last, logged)
	}
	waitFor(t, func() bool { return e.servers[leader].Mode() != "" })
	e.fill(e.leader(), 5, "after")
	e.wantEqual()
	e.stop(leader)
	e.start(leader)
	e.joins(leader)
}
