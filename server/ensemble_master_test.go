package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum/zab"
)

// observed starts three voters and an observer that follows one of the followers, and waits for it.
func observed(t *testing.T, change func(*Options)) (e *testEnsemble, observer int) {
	t.Helper()
	e = newTestEnsembleOf(t, 3, 1, func(o *Options) {
		o.Ensemble.ObserverMasterPort = 2191
		if change != nil {
			change(o)
		}
	})
	e.leader()
	return e, 3
}

// masters tells which servers have an observer in step.
func (e *testEnsemble) masters() (list []int) {
	for i, s := range e.servers {
		if s == nil {
			continue
		}
		m, _ := s.Membership()
		for j := range m.Learners {
			if m.Learners[j].Observer && m.Learners[j].InStep {
				list = append(list, i)
			}
		}
	}
	return list
}

// An observer hangs on a follower: what is written anywhere is seen there, its own writes, syncs and sessions work, and
// when its follower goes it finds another.
func TestObserverMaster(t *testing.T) {
	e, observer := observed(t, nil)
	ctx := testContext(t)
	for round := range 3 {
		leader := e.leader()
		masters := e.masters()
		if len(masters) != 1 || masters[0] == leader {
			t.Fatalf("served by %v, the leader is %d", masters, leader)
		}
		c := e.dial(observer)
		for i, s := range e.servers {
			if s == nil {
				continue
			}
			d := e.dial(i)
			path := fmt.Sprintf("/r%d-from%d", round, i)
			mustCreate(t, d, path, "x")
			if err := c.Sync(ctx, path); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.GetData(ctx, path); err != nil {
				t.Fatalf("written at %d, not at the observer: %v", i, err)
			}
			mustCreate(t, c, path+"/back", "y")
			if err := d.Sync(ctx, path); err != nil {
				t.Fatal(err)
			}
			if _, _, err := d.GetData(ctx, path+"/back"); err != nil {
				t.Fatalf("written at the observer, not at %d: %v", i, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		e.wantEqual()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		// Its follower goes, and comes back.
		e.stop(masters[0])
		e.fill(e.leader(), 20, fmt.Sprintf("away%d-", round))
		e.wantEqual()
		e.start(masters[0])
		e.leader()
		e.wantEqual()
	}
}

// An observer gets what it has missed out of the follower's memory, its log, or as a snapshot.
func TestObserverMasterBringsUpToDate(t *testing.T) {
	for _, c := range []struct {
		name   string
		factor float64
		writes int
	}{{"memory", -1, 100}, {"log", 0, 3 * zab.DefaultCommitLogCount}, {"snapshot", -1, 3 * zab.DefaultCommitLogCount}} {
		t.Run(c.name, func(t *testing.T) {
			e, observer := observed(t, func(o *Options) { o.Ensemble.SnapSizeFactor = c.factor })
			e.fill(e.leader(), 1, "n")
			e.wantEqual()
			e.stop(observer)
			e.overwrite(e.leader(), c.writes)
			e.start(observer)
			e.leader()
			e.wantEqual()
			c := e.dial(observer)
			mustCreate(t, c, "/after", "x")
			e.wantEqual()
		})
	}
}

// A session that was made elsewhere moves to the observer and is kept alive from there.
func TestObserverMasterSessions(t *testing.T) {
	e, observer := observed(t, nil)
	r := dialRaw(t, e.servers[e.leader()])
	resp, err := r.NewSession(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	eph := (&proto.CreateRequest{Path: []byte("/e"), ACL: acl, Flags: proto.FlagEphemeral}).Append(nil, proto.OpCreate)
	if reply, err := r.Call(1, proto.OpCreate, eph); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	_ = r.Close()
	hello := proto.ConnectRequest{TimeoutMs: 2000, SessionID: resp.SessionID, Password: resp.Password[:], HasReadOnly: true}
	m := dialRaw(t, e.servers[observer])
	if got, err := m.Handshake(hello); err != nil || got.SessionID != resp.SessionID {
		t.Fatalf("%+v, %v", got, err)
	}
	// Longer than the session would live without what the observer tells of it.
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		if reply, err := m.Call(-2, proto.OpPing, nil); err != nil || reply.Err != proto.OK {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	if reply, err := m.Call(2, proto.OpSetData, setBody("/e", []byte("x"))); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	if reply, err := m.Call(3, proto.OpCloseSession, nil); err != nil || reply.Err != proto.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	gone := dialRaw(t, e.servers[observer])
	if got, err := gone.Handshake(hello); err != nil || got.SessionID != 0 {
		t.Fatalf("a closed session came back: %+v, %v", got, err)
	}
	e.wantEqual()
}

// An observer waits a random time before it connects (observer.reconnectDelayMs), but not between the observer masters that
// it tries one after the other, nor before the first of all.
func TestReconnectDelay(t *testing.T) {
	e := newTestEnsembleOf(t, 3, 1, func(*Options) {})
	e.leader()
	waits := func(i int, masterPort, times int) (waited []bool) {
		e.servers[i].replica.postAndWait(func(r *replica) {
			o := *r.ens
			o.opts.ReconnectDelayMax, o.opts.ObserverMasterPort, o.masterTurn, o.mastersTried, o.mastersExhausted = time.Hour, masterPort, 0, 0, false
			for range times {
				_, byMaster := o.chooseMaster(1)
				d := o.reconnectDelay(byMaster)
				if d > time.Hour {
					t.Errorf("waits %v", d)
				}
				waited = append(waited, d > 0)
			}
		})
		return waited
	}
	if got := waits(3, 0, 2); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("at the leader: %v", got)
	}
	if got := waits(3, 4000, 5); !slices.Equal(got, []bool{false, false, true, false, true}) {
		t.Errorf("at two observer masters: %v", got)
	}
	if got := waits(0, 0, 1); got[0] {
		t.Error("a voter waits")
	}
}
