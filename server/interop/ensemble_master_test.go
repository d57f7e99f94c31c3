//go:build interop

package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// newObserved lays out three voters and an observer behind them, which finds its masters on the port for observers. Each
// server has an address of its own, since the port is the same everywhere.
func newObserved(t *testing.T, kinds ...kind) *ensemble {
	t.Helper()
	e := newEnsemble(t, kinds...)
	port := stablePort(t)
	for _, m := range e.members {
		for i := range e.members {
			name := fmt.Sprintf("server.%d", i+1)
			line := strings.Replace(m.cfg[name], "127.0.0.1", fmt.Sprintf("127.0.0.%d", i+1), 1)
			if i == 3 {
				line += ":observer"
			}
			m.cfg[name] = line
		}
		m.cfg["observerMasterPort"] = fmt.Sprint(port)
		if m.id == 4 {
			m.cfg["peerType"] = "observer"
		}
		m.become(t, m.kind)
	}
	return e
}

// TestObserverMasters: an observer of one kind behind followers of the other, and of its own: it catches up, tells and is
// told what is written, and finds another when its follower goes.
func TestObserverMasters(t *testing.T) {
	forEachJava(t, "observer masters", func(t *testing.T, java kind) {
		for _, c := range []struct{ voters, observer kind }{{zabra, java}, {java, zabra}, {zabra, zabra}} {
			t.Run(fmt.Sprintf("%s behind %s", c.observer, c.voters), func(t *testing.T) {
				e := newObserved(t, c.voters, c.voters, c.voters, c.observer)
				o := e.members[3]
				e.run(e.members[:3]...)
				lead := e.leader()
				ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
				defer cancel()
				create := func(m *member, path string) {
					t.Helper()
					c := dialEnsemble(t, []string{m.addr}, nil)
					defer c.Close()
					if _, err := c.Create(ctx, path, []byte("x"), proto.WorldAnyone, client.Persistent); err != nil {
						t.Fatalf("%s through server %d: %v\n%s", path, m.id, err, e.logs())
					}
				}
				want := func(m *member, path string) {
					t.Helper()
					c := dialEnsemble(t, []string{m.addr}, nil)
					defer c.Close()
					if err := c.Sync(ctx, path); err != nil {
						t.Fatalf("sync at server %d: %v\n%s", m.id, err, e.logs())
					}
					if _, err := c.Exists(ctx, path); err != nil {
						t.Fatalf("%s at server %d: %v\n%s", path, m.id, err, e.logs())
					}
				}
				create(lead, "/before")
				e.run(o)
				want(o, "/before")
				for round := range 3 {
					up, down := fmt.Sprintf("/up%d", round), fmt.Sprintf("/down%d", round)
					create(o, up)
					want(lead, up)
					create(lead, down)
					want(o, down)
					// Each follower goes in turn; once that is the one that serves the observer.
					var f *member
					for _, m := range e.members[:3] {
						if m != lead && (f == nil || round%2 == 0) {
							f = m
						}
					}
					f.kill()
					create(lead, down+"-away")
					if err := o.awaitServing(); err != nil {
						t.Fatal(err)
					}
					want(o, down+"-away")
					e.run(f)
					if now := e.leader(); now != lead {
						t.Logf("server %d leads now", now.id)
						lead = now
					}
				}
				if ms := e.mastersOf(o); len(ms) != 1 || ms[0] == lead {
					t.Errorf("the observer is served by %v", ms)
				}
				tree := readTree(t, lead.addr)
				deadline := time.Now().Add(startTimeout)
				for {
					other := readTree(t, o.addr)
					if len(other) == len(tree) {
						e.wantSame(lead, o, tree, other)
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("%d nodes at the leader, %d at the observer", len(tree), len(other))
					}
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
	})
}

// mastersOf gives the followers that say that they serve an observer.
func (e *ensemble) mastersOf(o *member) (list []*member) {
	for _, m := range e.members {
		if m == o || !m.running || m.mode() != "follower" {
			continue
		}
		if strings.Contains(string(m.ask("mntr", time.Second)), "zk_synced_observers\t1") {
			list = append(list, m)
		}
	}
	return list
}
