package server

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
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

// A leader that cannot read its log back sends a snapshot to a learner that needs what is there. Method: one
// byte flips in the log of the leader, among what it has no longer in memory and a follower has missed.
func TestJoinsLeaderWithDamagedLog(t *testing.T) {
	for _, c := range []struct {
		name string
		at   float64 // where the byte is, in the part of the log that is used
	}{{"in what is missed", 0.9}, {"in what it has", 0.05}} {
		t.Run(c.name, func(t *testing.T) {
			e := newTestEnsembleWith(t, 3, func(o *Options) { o.Ensemble.SnapSizeFactor = 0 })
			leader := e.leader()
			behind := (leader + 1) % 3
			e.fill(leader, 60, "before")
			e.wantEqual()
			e.stop(behind)
			e.fill(leader, 2*zab.DefaultCommitLogCount, "n")
			flipLogByte(t, e.servers[leader], c.at)
			before := e.servers[leader].figures.Counter("snap_count").Value()
			e.start(behind)
			e.joins(behind)
			if got := e.servers[leader].figures.Counter("snap_count").Value(); got == before {
				t.Error("the follower was brought up to date without a snapshot")
			}
			// The damage is remembered: the next one is not refused first.
			e.stop(behind)
			e.fill(leader, 2*zab.DefaultCommitLogCount, "m")
			e.start(behind)
			e.joins(behind)
			if got := e.leader(); got != leader {
				t.Errorf("server %d leads, the leader was %d", got, leader)
			}
		})
	}
}

// flipLogByte changes one byte of the newest file of a log, part of the way through what is in it.
func flipLogByte(t *testing.T, s *Server, part float64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.opts.LogDir, "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	f, err := os.OpenFile(files[len(files)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, b := int64(part*float64(s.replica.wal.Stats().Bytes)), make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// What a learner has missed comes out of the log if that is small beside the tree (snapshotSizeFactor), and as a snapshot
// otherwise; out of memory it always comes.
func TestJoinsByLogOrSnapshot(t *testing.T) {
	for _, c := range []struct {
		name   string
		factor float64
		writes int
		snap   bool
	}{
		{"large log", 0.33, 2 * zab.DefaultCommitLogCount, true},
		{"larger factor", 1000, 2 * zab.DefaultCommitLogCount, false},
		{"no limit", 0, 2 * zab.DefaultCommitLogCount, false},
		{"never", -1, 2 * zab.DefaultCommitLogCount, true},
		{"in memory", -1, zab.DefaultCommitLogCount / 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newTestEnsembleWith(t, 3, func(o *Options) { o.Ensemble.SnapSizeFactor = c.factor })
			leader := e.leader()
			behind := (leader + 1) % 3
			e.fill(leader, 1, "n")
			e.wantEqual()
			e.stop(behind)
			e.overwrite(leader, c.writes)
			before := e.snapshots()
			e.start(behind)
			e.joins(behind)
			if got := e.snapshots() > before; got != c.snap {
				t.Errorf("by a snapshot: %v", got)
			}
		})
	}
}

// A leader that was started anew has the end of its log in memory.
func TestJoinsRestartedLeader(t *testing.T) {
	e := newTestEnsembleWith(t, 3, func(o *Options) { o.Ensemble.SnapSizeFactor = -1 })
	leader := e.leader()
	behind := (leader + 1) % 3
	e.fill(leader, 5, "n")
	e.wantEqual()
	e.stop(behind)
	e.overwrite(leader, 100)
	e.wantEqual()
	for i, s := range e.servers {
		if s != nil {
			e.stop(i)
		}
	}
	e.start(leader)
	e.start((leader + 2) % 3)
	e.leader()
	before := e.snapshots()
	e.start(behind)
	e.joins(behind)
	if e.snapshots() > before {
		t.Error("a snapshot was sent for 100 transactions")
	}
}

// overwrite writes n times to a node.
func (e *testEnsemble) overwrite(i, n int) {
	e.t.Helper()
	c := e.dial(i)
	for range n {
		if _, err := c.SetData(testContext(e.t), "/n0", []byte("some data"), -1); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// snapshots counts those sent to learners, and all other images taken, by the servers that run.
func (e *testEnsemble) snapshots() (n int64) {
	for _, s := range e.servers {
		if s != nil {
			n += s.figures.Counter("snap_count").Value()
		}
	}
	return n
}

// A learner that gets the whole tree gets the records of an image from a leader that has them, and goes on from
// there; also if the leader cannot serve without it.
func TestJoinsBySnap(t *testing.T) {
	for _, image := range []bool{true, false} {
		t.Run(fmt.Sprintf("image=%t", image), func(t *testing.T) {
			e := newTestEnsemble(t, 3)
			e.fill(e.leader(), 50, "before")
			if image {
				for _, s := range e.servers {
					if err := <-s.replica.ckpt.request(s.replica); err != nil {
						t.Fatal(err)
					}
				}
				e.fill(e.leader(), 5, "behind-image")
			}
			for i := range e.servers {
				e.stop(i)
			}
			e.change = func(o *Options) { o.Ensemble.ForceSnap = true }
			e.start(0)
			e.start(1)
			e.fill(e.leader(), 50, "while")
			const behind = 2
			if err := os.RemoveAll(filepath.Dir(testOptions(t, e.dirs[behind]).DataDir)); err != nil {
				t.Fatal(err)
			}
			e.start(behind)
			e.joins(behind)
			e.fill(behind, 20, "joined")
			e.wantEqual()
			e.net.mu.Lock()
			snaps := e.net.snaps
			e.net.mu.Unlock()
			images := 0
			for _, data := range snaps {
				if quorum.IsImage([]byte(data)) {
					images++
				}
			}
			if len(snaps) < 2 || images == 0 || (images < len(snaps)) == image {
				t.Errorf("SNAPs with data %q", snaps)
			}
			// What came is on the learner's own disk.
			e.stop(behind)
			e.start(behind)
			e.joins(behind)
		})
	}
}
