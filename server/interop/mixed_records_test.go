//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// Every kind of transaction through every server under a leader of each kind: what clients are told, what becomes
// of sessions that move and that die, and in the end equal trees and digests, which servers of the other kind have
// computed as well.
func TestMixedRecords(t *testing.T) {
	forEachJava(t, "all records in a mixed ensemble", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, zabra, java)
		for _, m := range e.members {
			m.props = []string{"-Dznode.container.checkIntervalMs=300", "-Dzookeeper.extendedTypesEnabled=true"}
		}
		z := e.members[1]
		e.run(e.members...)
		e.leadBy(e.members[2])
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		for i := range e.members {
			e.records(i)
		}
		k.check()
		e.leadBy(z)
		for i := range e.members {
			e.records(i)
		}
		e.finish(l, k)
	})
}

// recordsTimeout bounds what is done through one server.
const recordsTimeout = 60 * time.Second

// records does everything through server i, and looks at it through the next one and the one after that.
func (e *ensemble) records(i int) {
	t := e.t
	lead := e.leader()
	at, next, third := e.members[i], e.members[(i+1)%len(e.members)], e.members[(i+2)%len(e.members)]
	root := fmt.Sprintf("/rec-%s-%d", lead.kind, at.id)
	what := fmt.Sprintf("through server %d (%s) under server %d (%s)", at.id, at.kind, lead.id, lead.kind)
	ctx, cancel := context.WithTimeout(context.Background(), recordsTimeout)
	defer cancel()
	a, b, c := dialEnsemble(t, []string{at.addr}, nil), dialEnsemble(t, []string{next.addr}, nil), dialEnsemble(t, []string{third.addr}, nil)
	ok := func(step string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %s: %v", what, step, err)
		}
	}
	fails := func(step string, err error, want proto.ErrCode) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %s: %v, want %v", what, step, err, want)
		}
	}
	create := func(c *client.Client, path string, mode client.CreateMode) {
		t.Helper()
		_, err := c.Create(ctx, root+path, []byte("x"), proto.WorldAnyone, mode)
		ok("create "+path, err)
	}
	create(a, "", client.Persistent)
	_, st, err := a.Create2(ctx, root+"/two", []byte("x"), proto.WorldAnyone, client.Persistent)
	ok("create2", err)
	ok("sync", b.Sync(ctx, root))
	seen, err := b.Exists(ctx, root+"/two")
	if ok("read after a sync", err); seen != st {
		t.Errorf("%s: create2 told %+v, the next server shows %+v", what, st, seen)
	}

	// A sequence goes on whatever server asks, and over deletes and failures.
	create(a, "/seq", client.Persistent)
	for n, c := range []*client.Client{a, b, c, a, b, c} {
		path, err := c.Create(ctx, root+"/seq/n", nil, proto.WorldAnyone, client.PersistentSequential)
		ok("sequential", err)
		if want := fmt.Sprintf("%s/seq/n%010d", root, n); path != want {
			t.Errorf("%s: sequential node %s, want %s", what, path, want)
		}
		if n == 2 {
			ok("delete", c.Delete(ctx, path, 0))
			_, err = c.Create(ctx, root+"/seq", nil, proto.WorldAnyone, client.Persistent)
			fails("create of what is there", err, proto.ErrNodeExists)
		}
	}

	fails("delete of a parent", a.Delete(ctx, root+"/seq", -1), proto.ErrNotEmpty)
	fails("delete of nothing", a.Delete(ctx, root+"/no", -1), proto.ErrNoNode)
	fails("delete of another version", a.Delete(ctx, root+"/two", 7), proto.ErrBadVersion)
	_, err = a.SetData(ctx, root+"/two", nil, 7)
	fails("set of another version", err, proto.ErrBadVersion)
	_, err = a.Create(ctx, root+"/no/child", nil, proto.WorldAnyone, client.Persistent)
	fails("create without a parent", err, proto.ErrNoNode)
	_, err = a.Create(ctx, root+"/bad", nil, []proto.ACL{{Perms: 31, Scheme: "nonsense", ID: "x"}}, client.Persistent)
	fails("create with a bad ACL", err, proto.ErrInvalidACL)

	results, err := a.Multi(ctx, client.CheckOp(root+"/two", 0), client.CreateOp(root+"/m1", []byte("1"), proto.WorldAnyone, client.Persistent),
		client.CreateOp(root+"/seq/m", nil, proto.WorldAnyone, client.PersistentSequential), client.SetDataOp(root+"/two", []byte("2"), 0),
		client.DeleteOp(root+"/m1", 0), client.Create2Op(root+"/m2", nil, proto.WorldAnyone, client.Container),
		client.CreateTTLOp(root+"/m3", nil, proto.WorldAnyone, client.PersistentWithTTL, time.Hour))
	if ok("multi", err); err == nil && results[2].Path != root+"/seq/m0000000006" {
		t.Errorf("%s: multi made %s", what, results[2].Path)
	}
	results, err = a.Multi(ctx, client.CreateOp(root+"/never", nil, proto.WorldAnyone, client.Persistent), client.SetDataOp(root+"/two", []byte("3"), -1),
		client.CheckOp(root+"/two", 99), client.DeleteOp(root+"/two", -1))
	var codes []proto.ErrCode
	for _, r := range results {
		codes = append(codes, r.Err)
	}
	if want := []proto.ErrCode{0, 0, proto.ErrBadVersion, proto.ErrRuntimeInconsistency}; !slices.Equal(codes, want) {
		t.Errorf("%s: failing multi: %v (%v), want %v", what, codes, err, want)
	}
	ok("sync", c.Sync(ctx, root))
	_, err = c.Exists(ctx, root+"/never")
	fails("what a failing multi would have made", err, proto.ErrNoNode)
	data, st, err := c.GetData(ctx, root+"/two")
	if ok("get", err); string(data) != "2" || st.Version != 1 {
		t.Errorf("%s: after the multis %q, version %d", what, data, st.Version)
	}

	acl := []proto.ACL{{Perms: proto.PermRead, Scheme: "world", ID: "anyone"}, {Perms: proto.PermAll, Scheme: "digest", ID: "u:vMOQ/wDGrzvK3JXqkRkIIH5QSmE="}}
	_, err = a.SetACL(ctx, root+"/two", acl, 0)
	ok("setACL", err)
	if lead.kind == zabra { // Java judges by the ACL before, until the leader has applied the new one
		_, err = b.SetData(ctx, root+"/two", nil, -1)
		fails("set against the ACL", err, proto.ErrNoAuth)
	}
	ok("sync", b.Sync(ctx, root))
	got, _, err := b.GetACL(ctx, root+"/two")
	acl[1].ID = "u:x" // as it is shown to those who have not this right
	if ok("getACL", err); !reflect.DeepEqual(got, acl) {
		t.Errorf("%s: ACL %v, want %v", what, got, acl)
	}

	// Containers and nodes with a time to live go when the leader finds them so.
	create(a, "/container", client.Container)
	create(b, "/container/child", client.Persistent)
	ok("delete of the child", a.Delete(ctx, root+"/container/child", 0))
	_, _, err = a.CreateTTL(ctx, root+"/short", nil, proto.WorldAnyone, client.PersistentWithTTL, 400*time.Millisecond)
	ok("create with a time to live", err)
	e.awaitGone(ctx, what, b, root+"/container")
	e.awaitGone(ctx, what, c, root+"/short")

	e.sessionDies(ctx, what, root, at, b, true)
	e.sessionDies(ctx, what, root, at, c, false)
	e.sessionMoves(ctx, what, root, at, next, third)
	for _, cl := range []*client.Client{a, b, c} {
		ok("close", cl.Close())
	}
}

// awaitGone waits by a watch until the node is not there.
func (e *ensemble) awaitGone(ctx context.Context, what string, c *client.Client, path string) {
	e.t.Helper()
	events := make(chan client.Event, 10)
	for {
		_, err := c.ExistsW(ctx, path, client.WatchChan(events))
		if errors.Is(err, proto.ErrNoNode) {
			return
		}
		if err != nil {
			e.t.Errorf("%s: %s is not gone: %v", what, path, err)
			return
		}
		select {
		case <-events:
		case <-ctx.Done():
			e.t.Errorf("%s: %s is not gone, and nothing happens to it", what, path)
			return
		}
	}
}

// sessionDies lets a session with ephemerals end, by its client or by the leader, while another server is watched.
func (e *ensemble) sessionDies(ctx context.Context, what, root string, at *member, watcher *client.Client, byClient bool) {
	e.t.Helper()
	c, err := client.Dial(ctx, at.addr, client.Options{SessionTimeout: 2 * time.Second})
	if err != nil {
		e.t.Errorf("%s: %v", what, err)
		return
	}
	var paths []string
	for i, mode := range []client.CreateMode{client.Ephemeral, client.EphemeralSequential, client.EphemeralSequential} {
		path, err := c.Create(ctx, root+"/mortal-"+strconv.FormatBool(byClient)+strconv.Itoa(i), nil, proto.WorldAnyone, mode)
		if err != nil {
			e.t.Errorf("%s: ephemeral: %v", what, err)
		}
		paths = append(paths, path)
	}
	must(e.t, watcher.Sync(ctx, root))
	if st, err := watcher.Exists(ctx, paths[0]); err != nil || st.EphemeralOwner != int64(c.Session().ID) {
		e.t.Errorf("%s: ephemeral of session 0x%x is %+v, %v", what, uint64(c.Session().ID), st, err)
	}
	if byClient {
		must(e.t, c.Close())
	} else {
		c.Abandon()
	}
	for _, p := range paths {
		e.awaitGone(ctx, what, watcher, p)
	}
	// It is over everywhere: nobody takes the session any more.
	for _, m := range e.members {
		again, err := client.New(m.addr, client.Options{SessionTimeout: 2 * time.Second, SessionID: c.Session().ID, Password: passwordOf(c)})
		must(e.t, err)
		err = again.WaitConnected(ctx)
		if !errors.Is(err, proto.ErrSessionExpired) {
			e.t.Errorf("%s: server %d (%s) about an ended session: %v", what, m.id, m.kind, err)
		}
		again.Abandon()
	}
}

func passwordOf(c *client.Client) []byte { p := c.Session().Password; return p[:] }

// sessionMoves takes one session from server to server.
func (e *ensemble) sessionMoves(ctx context.Context, what, root string, ms ...*member) {
	e.t.Helper()
	var old *client.Client
	path := ""
	for i, m := range append(slices.Clone(ms), ms...) {
		opts := client.Options{SessionTimeout: 20 * time.Second}
		if old != nil {
			opts.SessionID, opts.Password = old.Session().ID, passwordOf(old)
			old.Abandon() // or it would take the session back
		}
		c, err := client.Dial(ctx, m.addr, opts)
		if err != nil {
			e.t.Errorf("%s: moving the session to server %d (%s): %v", what, m.id, m.kind, err)
			return
		}
		if old != nil {
			if c.Session().ID != opts.SessionID {
				e.t.Errorf("%s: moved to server %d (%s), the session 0x%x is 0x%x", what, m.id, m.kind, uint64(opts.SessionID), uint64(c.Session().ID))
			}
		} else if path, err = c.Create(ctx, root+"/mover", nil, proto.WorldAnyone, client.Ephemeral); err != nil {
			e.t.Errorf("%s: %v", what, err)
		}
		st, err := c.SetData(ctx, path, nil, -1)
		if err != nil || st.EphemeralOwner != int64(c.Session().ID) || int(st.Version) != i+1 {
			e.t.Errorf("%s: write after the move to server %d (%s): %+v, %v", what, m.id, m.kind, st, err)
		}
		old = c
	}
	if err := old.Close(); err != nil {
		e.t.Errorf("%s: close after moves: %v", what, err)
	}
}

// Two clients that share a session take it from each other all the time, at servers of both kinds. Whoever
// writes first with it gets his answer or loses his connection, and all servers serve on.
func TestMixedContendedSession(t *testing.T) {
	forEachJava(t, "a session that several clients use", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, zabra, java)
		e.run(e.members...)
		for _, lead := range []*member{e.members[2], e.members[1]} {
			e.leadBy(lead)
			e.contend("/contended-" + string(lead.kind))
		}
	})
}

// contend lets clients of all servers write to one node in one session, and asks all servers for more afterwards.
func (e *ensemble) contend(path string) {
	t := e.t
	first := dialEnsemble(t, e.addrs(), nil)
	opts := client.Options{SessionTimeout: loadSession, SessionID: first.Session().ID, Password: passwordOf(first)}
	insist(t, first, func(ctx context.Context) error {
		_, err := first.Create(ctx, path, nil, proto.WorldAnyone, client.Ephemeral)
		return err
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var done sync.WaitGroup
	for _, m := range e.members {
		done.Go(func() {
			for ctx.Err() == nil {
				c, err := client.New(m.addr, opts)
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					if c.WaitConnected(ctx) == nil {
						_, _ = c.SetData(ctx, path, nil, -1) // it may have been lost to another
					}
				}
				c.Abandon()
			}
		})
	}
	done.Wait()
	for _, m := range e.members {
		c, err := client.New(m.addr, client.Options{SessionTimeout: loadSession})
		must(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
		_, err = c.Create(ctx, "/served-", nil, proto.WorldAnyone, client.PersistentSequential)
		cancel()
		if err != nil {
			t.Errorf("server %d (%s) under %s does not serve any more: %v", m.id, m.kind, e.leader().kind, err)
		}
		c.Abandon()
	}
}
