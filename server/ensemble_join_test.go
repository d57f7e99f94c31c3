package server

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/quorum"
)

// fill makes n nodes through server i.
func (e *testEnsemble) fill(i, n int, prefix string) {
	e.t.Helper()
	c := e.dial(i)
	for k := range n {
		mustCreate(e.t, c, fmt.Sprintf("/%s%d", prefix, k), "x")
	}
	if err := c.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// joins waits until server i has its place and the tree of the others.
func (e *testEnsemble) joins(i int) {
	e.t.Helper()
	waitFor(e.t, func() bool { m := e.servers[i].Mode(); return m == "follower" || m == "leader" })
	e.leader()
	e.wantEqual()
}

// A leader whose image is of the start of an epoch has no proposal of that zxid to send: one that is behind joins
// by what there is.
func TestJoinsLeaderWithImageOfEpochStart(t *testing.T) {
	e := newTestEnsemble(t, 3)
	behind := (e.leader() + 1) % 3
	e.stop(behind)
	e.fill(e.leader(), 10, "n")
	restart := func() {
		for i := range e.servers {
			if i != behind {
				e.stop(i)
			}
		}
		for i := range e.servers {
			if i != behind {
				e.start(i)
			}
		}
		e.leader()
	}
	restart() // now the newest zxid is the start of an epoch
	for i, s := range e.servers {
		if i == behind {
			continue
		}
		waitFor(t, func() bool { s.lockGates(); defer s.unlockGates(); return quorum.CounterOf(s.engine.LastZxid()) == 0 })
		if err := <-s.replica.ckpt.request(s.replica); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	e.start(behind)
	e.joins(behind)
}

// A server that accepted a newer epoch in an attempt that came to nothing finds its way back.
func TestJoinsAfterNewerEpoch(t *testing.T) {
	e := newTestEnsemble(t, 3)
	follower := (e.leader() + 1) % 3
	e.fill(e.leader(), 3, "n")
	e.stop(follower)
	name := filepath.Join(filepath.Dir(testOptions(t, e.dirs[follower]).DataDir), "acceptedEpoch")
	if _, err := os.Stat(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("7"), 0o644); err != nil {
		t.Fatal(err)
	}
	e.start(follower)
	e.joins(follower)
	if got := quorum.EpochOf(e.servers[e.leader()].engine.LastZxid()); got < 8 {
		t.Errorf("the epoch is %d", got)
	}
}
