package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// These scenarios use every operation of a standalone server with TTL nodes and tickTime 500 or
// 1000, so that encodings, chroots, watches and sessions are judged by servers, the original one
// among them.

func testServer(t *testing.T, addr string) {
	t.Run("operations", func(t *testing.T) { testOperations(t, addr, "") })
	t.Run("chroot", func(t *testing.T) {
		c := dial(t, addr, client.Options{})
		_, err := c.Create(testContext(t), "/root", nil, proto.WorldAnyone, client.Persistent)
		ok(t, err)
		testOperations(t, addr, "/root")
	})
	t.Run("multi", func(t *testing.T) { testMulti(t, addr) })
	t.Run("watches", func(t *testing.T) { testWatches(t, addr) })
	t.Run("reconnect", func(t *testing.T) { testReconnect(t, addr) })
	t.Run("sessions", func(t *testing.T) { testSessions(t, addr) })
	t.Run("auth", func(t *testing.T) { testAuth(t, addr) })
	t.Run("pipeline", func(t *testing.T) { testPipeline(t, addr) })
}

func testOperations(t *testing.T, addr, chroot string) {
	c := dial(t, addr+chroot, client.Options{})
	ctx := testContext(t)
	open := proto.WorldAnyone

	p, err := c.Create(ctx, "/a", []byte("one"), open, client.Persistent)
	ok(t, err)
	if p != "/a" {
		t.Fatalf("created %q", p)
	}
	_, err = c.Create(ctx, "/a", nil, open, client.Persistent)
	wantErr(t, err, proto.ErrNodeExists)
	p, st, err := c.Create2(ctx, "/a/s-", nil, open, client.PersistentSequential)
	ok(t, err)
	if p != "/a/s-0000000000" || st.Czxid == 0 {
		t.Fatalf("created %q %+v", p, st)
	}
	p, err = c.Create(ctx, "/a/c", nil, open, client.Container)
	ok(t, err)
	if p != "/a/c" {
		t.Fatalf("created %q", p)
	}
	_, st, err = c.CreateTTL(ctx, "/a/t", []byte("x"), open, client.PersistentWithTTL, time.Hour)
	ok(t, err)
	if st.EphemeralOwner != 0 || st.DataLength != 1 {
		t.Fatalf("%+v", st)
	}
	_, err = c.Create(ctx, "/a/e", []byte{}, open, client.Ephemeral)
	ok(t, err)
	eph, err := c.GetEphemerals(ctx, "/")
	ok(t, err)
	if !slices.Equal(eph, []string{"/a/e"}) {
		t.Fatalf("ephemerals %v", eph)
	}

	data, st, err := c.GetData(ctx, "/a")
	ok(t, err)
	if string(data) != "one" || st.NumChildren != 4 {
		t.Fatalf("%q %+v", data, st)
	}
	if data, _, err = c.GetData(ctx, "/a/c"); err != nil || data != nil {
		t.Fatalf("null data: %q, %v", data, err)
	}
	if data, _, err = c.GetData(ctx, "/a/e"); err != nil || data == nil || len(data) != 0 {
		t.Fatalf("empty data: %v, %v", data, err)
	}
	st, err = c.SetData(ctx, "/a", []byte("two"), 0)
	ok(t, err)
	if st.Version != 1 {
		t.Fatalf("%+v", st)
	}
	_, err = c.SetData(ctx, "/a", nil, 7)
	wantErr(t, err, proto.ErrBadVersion)
	var e *client.Error
	if !errors.As(err, &e) || e.Path != "/a" || e.Op != proto.OpSetData {
		t.Fatalf("%#v", err)
	}

	_, err = c.Exists(ctx, "/none")
	wantErr(t, err, proto.ErrNoNode)
	names, err := c.GetChildren(ctx, "/a")
	ok(t, err)
	slices.Sort(names)
	if !slices.Equal(names, []string{"c", "e", "s-0000000000", "t"}) {
		t.Fatalf("%v", names)
	}
	if _, st, err = c.GetChildren2(ctx, "/a"); err != nil || st.NumChildren != 4 {
		t.Fatalf("%+v %v", st, err)
	}
	n, err := c.GetAllChildrenNumber(ctx, "/a")
	ok(t, err)
	if n != 4 {
		t.Fatalf("%d descendants", n)
	}

	acl := []proto.ACL{{Perms: proto.PermAll &^ proto.PermAdmin, Scheme: "world", ID: "anyone"}, {Perms: proto.PermRead | proto.PermAdmin, Scheme: "ip", ID: "127.0.0.1"}}
	st, err = c.SetACL(ctx, "/a/c", acl, client.AnyVersion)
	ok(t, err)
	if st.Aversion != 1 {
		t.Fatalf("%+v", st)
	}
	got, _, err := c.GetACL(ctx, "/a/c")
	ok(t, err)
	if !slices.Equal(got, acl) {
		t.Fatalf("%v", got)
	}
	_, err = c.Create(ctx, "/x", nil, nil, client.Persistent)
	wantErr(t, err, proto.ErrInvalidACL)

	ok(t, c.Sync(ctx, "/a"))
	ok(t, c.Ping(ctx))
	who, err := c.WhoAmI(ctx)
	ok(t, err)
	if !slices.Contains(who, client.ClientInfo{Scheme: "ip", User: "127.0.0.1"}) {
		t.Fatalf("%v", who)
	}
	if _, st, err = c.GetConfig(ctx); err != nil || st.Version != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	_, _, err = c.Reconfig(ctx, client.Reconfig{Leaving: "3", FromVersion: -1})
	wantErr(t, err, proto.ErrReconfigDisabled)

	call := c.Submit(ctx, proto.OpExists, "/", append([]byte{0, 0, 0, 1}, '/', 0))
	r, err := call.Wait(ctx)
	ok(t, err)
	if len(r.Body) != proto.StatBytes || r.Zxid != c.LastZxid() {
		t.Fatalf("%+v", r)
	}
	for _, p := range []string{"/a/e", "/a/t", "/a/c", "/a/s-0000000000", "/a"} {
		ok(t, c.Delete(ctx, p, client.AnyVersion))
	}
}

func testMulti(t *testing.T, addr string) {
	c := dial(t, addr, client.Options{})
	ctx := testContext(t)
	open := proto.WorldAnyone
	rs, err := c.Multi(ctx,
		client.CreateOp("/m", []byte("v"), open, client.Persistent),
		client.CreateOp("/m/s-", nil, open, client.PersistentSequential),
		client.CreateOp("/m/c", nil, open, client.Container),
		client.CreateTTLOp("/m/t", nil, open, client.PersistentWithTTL, time.Hour),
		client.SetDataOp("/m", []byte("w"), 0),
		client.CheckOp("/m", 1),
		client.DeleteOp("/m/s-0000000000", client.AnyVersion),
	)
	ok(t, err)
	if len(rs) != 7 || rs[0].Path != "/m" || rs[1].Path != "/m/s-0000000000" || rs[2].Path != "/m/c" || rs[4].Stat.Version != 1 {
		t.Fatalf("%+v", rs)
	}
	rs, err = c.Multi(ctx, client.CheckOp("/m", 1), client.DeleteOp("/nope", 3), client.CheckOp("/m", 1))
	wantErr(t, err, proto.ErrNoNode)
	var e *client.Error
	if !errors.As(err, &e) || e.Path != "/nope" {
		t.Fatalf("%v", err)
	}
	if rs[0].Err != proto.OK || rs[2].Err != proto.ErrRuntimeInconsistency {
		t.Fatalf("%+v", rs)
	}
	rs, err = c.Multi(ctx)
	if err != nil || len(rs) != 0 {
		t.Fatalf("empty multi: %v %v", rs, err)
	}
	rs, err = c.MultiRead(ctx, client.GetDataOp("/m"), client.GetChildrenOp("/m"), client.GetDataOp("/nope"))
	ok(t, err)
	slices.Sort(rs[1].Children)
	if string(rs[0].Data) != "w" || !slices.Equal(rs[1].Children, []string{"c", "t"}) || rs[2].Err != proto.ErrNoNode {
		t.Fatalf("%+v", rs)
	}
}

func testWatches(t *testing.T, addr string) {
	ctx := testContext(t)
	admin := dial(t, addr, client.Options{})
	_, err := admin.Create(ctx, "/w", nil, proto.WorldAnyone, client.Persistent)
	ok(t, err)
	c := dial(t, addr+"/w", client.Options{})
	ch := make(chan client.Event, 16)
	w := client.WatchChan(ch)
	_, err = c.ExistsW(ctx, "/x", w)
	wantErr(t, err, proto.ErrNoNode)
	_, err = c.Create(ctx, "/x", nil, proto.WorldAnyone, client.Persistent)
	ok(t, err)
	wantEvent(t, ch, proto.EventCreated, "/x")
	_, _, err = c.GetDataW(ctx, "/x", w)
	ok(t, err)
	_, err = c.SetData(ctx, "/x", []byte("1"), -1)
	ok(t, err)
	wantEvent(t, ch, proto.EventDataChanged, "/x")
	_, _, err = c.GetChildren2W(ctx, "/", w)
	ok(t, err)
	_, err = c.GetChildrenW(ctx, "/x", w)
	ok(t, err)
	ok(t, c.Delete(ctx, "/x", -1))
	wantEvent(t, ch, proto.EventDeleted, "/x")
	wantEvent(t, ch, proto.EventChildrenChanged, "/")

	ok(t, c.AddWatch(ctx, "/p", w, false))
	ok(t, c.CheckWatches(ctx, "/p", proto.WatcherAny))
	rch := make(chan client.Event, 16)
	rw := client.WatchChan(rch)
	ok(t, c.AddWatch(ctx, "/", rw, true))
	for range 2 {
		_, err = c.Create(ctx, "/p", nil, proto.WorldAnyone, client.Persistent)
		ok(t, err)
		ok(t, c.Delete(ctx, "/p", -1))
		wantEvent(t, ch, proto.EventCreated, "/p")
		wantEvent(t, ch, proto.EventDeleted, "/p")
		wantEvent(t, rch, proto.EventCreated, "/p")
		wantEvent(t, rch, proto.EventDeleted, "/p")
	}
	ok(t, c.RemoveWatches(ctx, "/p", nil, proto.WatcherAny, false))
	wantEvent(t, ch, client.EventPersistentWatchRemoved, "/p")
	wantErr(t, c.RemoveWatches(ctx, "/p", nil, proto.WatcherAny, false), proto.ErrNoWatcher)
	wantErr(t, c.CheckWatches(ctx, "/p", proto.WatcherAny), proto.ErrNoWatcher)
}

func testReconnect(t *testing.T, addr string) {
	ctx := testContext(t)
	admin := dial(t, addr, client.Options{})
	states := make(chan client.Event, 16)
	c := dial(t, addr, client.Options{OnEvent: func(e client.Event) { states <- e }})
	session := c.Session()
	wantState(t, states, client.StateConnected)
	ok(t, c.AddAuth(ctx, "digest", []byte("al:pw")))
	for _, p := range []string{"/r", "/r/data", "/r/child"} {
		_, err := c.Create(ctx, p, nil, proto.WorldAnyone, client.Persistent)
		ok(t, err)
	}
	ch := make(chan client.Event, 16)
	w := client.WatchChan(ch)
	_, _, err := c.GetDataW(ctx, "/r/data", w)
	ok(t, err)
	_, err = c.ExistsW(ctx, "/r/new", w)
	wantErr(t, err, proto.ErrNoNode)
	_, err = c.GetChildrenW(ctx, "/r/child", w)
	ok(t, err)

	c.DropConnection()
	wantState(t, states, client.StateDisconnected)
	wantState(t, states, client.StateConnected)
	if s := c.Session(); s != session {
		t.Fatalf("session %+v became %+v", session, s)
	}
	who, err := c.WhoAmI(ctx)
	ok(t, err)
	if !slices.Contains(who, client.ClientInfo{Scheme: "digest", User: "al"}) {
		t.Fatalf("identities after reconnect: %v", who)
	}
	_, err = admin.SetData(ctx, "/r/data", nil, -1)
	ok(t, err)
	wantEvent(t, ch, proto.EventDataChanged, "/r/data")
	_, err = admin.Create(ctx, "/r/child/x", nil, proto.WorldAnyone, client.Persistent)
	ok(t, err)
	wantEvent(t, ch, proto.EventChildrenChanged, "/r/child")
	_, err = admin.Create(ctx, "/r/new", nil, proto.WorldAnyone, client.Persistent)
	ok(t, err)
	wantEvent(t, ch, proto.EventCreated, "/r/new")

	// Persistent watches need setWatches2; many long paths need more than one request.
	ok(t, c.AddWatch(ctx, "/r", w, true))
	long := strings.Repeat("x", 1000)
	for i := range 200 {
		_, err := c.ExistsW(ctx, fmt.Sprintf("/r-%d-%s", i, long), w)
		wantErr(t, err, proto.ErrNoNode)
	}
	c.DropConnection()
	wantState(t, states, client.StateDisconnected)
	wantState(t, states, client.StateConnected)
	ok(t, c.CheckWatches(ctx, "/r-199-"+long, proto.WatcherData))
	_, err = admin.SetData(ctx, "/r/data", nil, -1)
	ok(t, err)
	wantEvent(t, ch, proto.EventDataChanged, "/r/data")
}

func testSessions(t *testing.T, addr string) {
	ctx := testContext(t)
	c := dial(t, addr, client.Options{SessionTimeout: 2 * time.Second})
	if s := c.Session(); s.Timeout != 2*time.Second || s.Password != proto.SessionPassword(s.ID) {
		t.Fatalf("%+v", s)
	}
	_, err := c.Create(ctx, "/eph", nil, proto.WorldAnyone, client.Ephemeral)
	ok(t, err)
	s := c.Session()
	c.Abandon()
	_, err = c.Exists(ctx, "/")
	if !errors.Is(err, client.ErrClosed) {
		t.Fatalf("%v", err)
	}

	// The session outlives the client and can be taken over.
	states := make(chan client.Event, 16)
	heir := dial(t, addr, client.Options{SessionTimeout: 2 * time.Second, SessionID: s.ID, Password: s.Password[:], OnEvent: func(e client.Event) { states <- e }})
	if got := heir.Session(); got.ID != s.ID {
		t.Fatalf("%+v", got)
	}
	wantState(t, states, client.StateConnected)
	// Idle for as long as another, dead session needs to expire: pings keep this one.
	dead := dial(t, addr, client.Options{SessionTimeout: 2 * time.Second})
	_, err = dead.Create(ctx, "/dead", nil, proto.WorldAnyone, client.Ephemeral)
	ok(t, err)
	dead.Abandon()
	watch := dial(t, addr, client.Options{})
	ch := make(chan client.Event, 4)
	_, err = watch.ExistsW(ctx, "/dead", client.WatchChan(ch))
	ok(t, err)
	wantEvent(t, ch, proto.EventDeleted, "/dead")
	st, err := watch.ExistsW(ctx, "/eph", client.WatchChan(ch))
	ok(t, err)
	if st.EphemeralOwner != s.ID {
		t.Fatalf("%+v", st)
	}
	ok(t, heir.Close())
	wantState(t, states, client.StateClosed)
	wantEvent(t, ch, proto.EventDeleted, "/eph")
	_, err = watch.Exists(ctx, "/eph")
	wantErr(t, err, proto.ErrNoNode)

	// A session that is gone is expired.
	late, err := client.New(addr, client.Options{SessionID: s.ID, Password: s.Password[:]})
	ok(t, err)
	defer late.Close()
	wantErr(t, late.WaitConnected(ctx), proto.ErrSessionExpired)
	_, err = late.Exists(ctx, "/")
	wantErr(t, err, proto.ErrSessionExpired)
}

func testAuth(t *testing.T, addr string) {
	ctx := testContext(t)
	c := dial(t, addr, client.Options{})
	ok(t, c.AddAuth(ctx, "digest", []byte("bob:pw")))
	_, err := c.Create(ctx, "/private", []byte("s"), []proto.ACL{{Perms: proto.PermAll, Scheme: "auth"}}, client.Persistent)
	ok(t, err)
	other := dial(t, addr, client.Options{})
	_, _, err = other.GetData(ctx, "/private")
	wantErr(t, err, proto.ErrNoAuth)
	wantErr(t, other.AddAuth(ctx, "nonsense", []byte("x")), proto.ErrAuthFailed)
	err = other.WaitState(ctx, func(s client.State) bool { return s == client.StateAuthFailed })
	ok(t, err)
	_, _, err = other.GetData(ctx, "/private")
	wantErr(t, err, proto.ErrAuthFailed)
}

// Many goroutines share one connection; each must get its own answers in its own order.
func testPipeline(t *testing.T, addr string) {
	ctx := testContext(t)
	c := dial(t, addr, client.Options{MaxOutstanding: 64})
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			p := fmt.Sprintf("/pipe-%d", g)
			if _, err := c.Create(ctx, p, []byte(p), proto.WorldAnyone, client.Persistent); err != nil {
				t.Error(err)
				return
			}
			for i := range 20 {
				st, err := c.SetData(ctx, p, []byte(p), int32(i))
				if err != nil || st.Version != int32(i+1) {
					t.Errorf("%s: %+v, %v", p, st, err)
					return
				}
				if data, _, err := c.GetData(ctx, p); err != nil || !bytes.Equal(data, []byte(p)) {
					t.Errorf("%s: %q, %v", p, data, err)
				}
			}
		})
	}
	wg.Wait()
}
