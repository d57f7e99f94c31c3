package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/wal"
)

// newDiskEnsemble gives each of three servers a disk of its own, with a log in small files.
func newDiskEnsemble(t *testing.T, change func(*Options)) (*testEnsemble, []*faultyFS) {
	disks := []*faultyFS{{}, {}, {}}
	e := newTestEnsembleWith(t, 3, func(o *Options) {
		o.LogFS = disks[o.ServerID-1]
		o.WAL.SegmentBytes, o.WAL.SpareSegments = 256<<10, 1
		o.SnapCount = 1 << 30
		if change != nil {
			change(o)
		}
	})
	return e, disks
}

// A diskLoad creates nodes and remembers those that were acknowledged.
type diskLoad struct {
	e     *testEnsemble
	tried int
	made  []string
}

// write creates nodes until done says so. Attempts may fail.
func (l *diskLoad) write(c *client.Client, done func() bool) {
	l.e.t.Helper()
	data := make([]byte, 32<<10)
	waitFor(l.e.t, func() bool {
		path := fmt.Sprintf("/n%d", l.tried)
		l.tried++
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := c.Create(ctx, path, data, openACL, client.Persistent); err == nil {
			l.made = append(l.made, path)
		}
		return done()
	})
}

// some creates nodes while there is space.
func (l *diskLoad) some(c *client.Client) {
	l.e.t.Helper()
	n := len(l.made)
	l.write(c, func() bool { return len(l.made) >= n+10 })
}

// check wants all that was acknowledged on all servers.
func (l *diskLoad) check() {
	t := l.e.t
	t.Helper()
	l.e.wantEqual()
	for i := range l.e.servers {
		c := l.e.dial(i)
		for _, path := range l.made {
			if _, err := c.Exists(testContext(t), path); err != nil {
				t.Fatalf("%s at server %d: %v", path, i, err)
			}
		}
	}
}

func (e *testEnsemble) wantAlive() {
	e.t.Helper()
	for i, s := range e.servers {
		select {
		case <-s.Failed():
			e.t.Fatalf("server %d ended: %v", i, s.Err())
		default:
		}
	}
}

// A leader without space for its log lets another lead, and follows when it has space again. A follower without
// stays away until then.
func TestEnsembleFullDisk(t *testing.T) {
	e, disks := newDiskEnsemble(t, nil)
	l := &diskLoad{e: e}
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprintf("leader %v", leads), func(t *testing.T) {
			leader := e.leader()
			full, at := leader, (leader+1)%3
			if !leads {
				full, at = at, leader
			}
			c := e.dial(at)
			l.some(c)
			disks[full].full.Store(true)
			l.write(c, func() bool { return e.servers[full].Mode() == "" })
			l.some(c) // the others go on
			if m := e.servers[full].Mode(); m != "" {
				t.Errorf("the server without space is %s", m)
			}
			e.wantAlive()
			disks[full].full.Store(false)
			e.leader()
			l.check()
		})
	}
}

// Without space anywhere nobody serves, and nothing that was acknowledged is lost; with some all comes back.
func TestEnsembleFullDisks(t *testing.T) {
	e, disks := newDiskEnsemble(t, withReadOnlyMode)
	l := &diskLoad{e: e}
	at := (e.leader() + 1) % 3
	c := e.dial(at)
	l.some(c)
	for _, d := range disks {
		d.full.Store(true)
	}
	modes := func(want string) func() bool {
		return func() bool {
			for _, s := range e.servers {
				if s.Mode() != want {
					return false
				}
			}
			return true
		}
	}
	l.write(c, func() bool { return e.servers[at].Mode() != "follower" && e.servers[at].Mode() != "leader" })
	waitFor(t, modes("read-only"))
	e.wantAlive()
	if _, resp, err := connectReadOnly(t, e.servers[at], proto.ConnectRequest{}); err != nil || !resp.ReadOnly {
		t.Errorf("reading without space: %+v, %v", resp, err)
	}
	for _, d := range disks {
		d.full.Store(false)
	}
	waitFor(t, func() bool { return e.servers[at].Mode() == "follower" || e.servers[at].Mode() == "leader" })
	l.some(c)
	e.leader()
	l.check()
}

// A server that finds no space for the tree that the leader sends, or to cut its log, or to store an epoch, tries again
// until there is some.
func TestJoinsWhenThereIsSpace(t *testing.T) {
	t.Run("snapshot", func(t *testing.T) {
		e, disks := newDiskEnsemble(t, nil)
		e.fill(e.leader(), 5, "before")
		behind := (e.leader() + 1) % 3
		e.stop(behind)
		e.dirs[behind] = t.TempDir()
		e.fill(e.leader(), 5, "n")
		e.startWithFullDir(behind, disks[behind])
		waitFor(t, func() bool { return e.waitsForSpace(behind) })
		e.wantAlive()
		disks[behind].dirFull.Store(false)
		e.joins(behind)
		// The log begins behind the snapshot, for the next start, too.
		e.fill(behind, 5, "after")
		e.stop(behind)
		e.start(behind)
		e.joins(behind)
	})
	t.Run("cut", func(t *testing.T) {
		e, disks := newDiskEnsemble(t, nil)
		leader := e.leader()
		e.fill(leader, 5, "before")
		c := e.dial(leader)
		e.net.setCut(int64(leader+1), true)
		_ = c.Submit(testContext(t), proto.OpCreate, "/lost", flaggedBody("/lost", proto.FlagPersistent))
		waitFor(t, func() bool { return e.servers[leader].Mode() == "" })
		c.Abandon()
		other := (leader + 1) % 3
		waitFor(t, func() bool {
			return e.servers[other].Mode() == "leader" || e.servers[(leader+2)%3].Mode() == "leader"
		})
		e.fill(other, 5, "after")
		disks[leader].dirFull.Store(true)
		e.net.setCut(int64(leader+1), false)
		waitFor(t, func() bool { return e.waitsForSpace(leader) })
		e.wantAlive()
		disks[leader].dirFull.Store(false)
		e.joins(leader)
	})
	t.Run("epoch", func(t *testing.T) {
		e := newTestEnsemble(t, 3)
		e.fill(e.leader(), 5, "before")
		leader := e.leader()
		at := (leader + 1) % 3
		store := e.servers[at].replica.ens.epochs
		write := store.writeFile
		set := func(f func(string, []byte, fs.FileMode) error) {
			e.servers[at].replica.postAndWait(func(*replica) { store.writeFile = f })
		}
		set(func(name string, _ []byte, _ fs.FileMode) error {
			return &fs.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
		})
		e.stop(leader)
		waitFor(t, func() bool { return e.waitsForSpace(at) })
		set(write)
		e.leader()
		e.start(leader)
		e.joins(leader)
	})
}

// startWithFullDir starts server i, whose disk then has room for no further file of the log.
func (e *testEnsemble) startWithFullDir(i int, disk *faultyFS) {
	e.net.setCut(int64(i+1), true)
	e.start(i)
	disk.dirFull.Store(true)
	e.net.setCut(int64(i+1), false)
}

func (e *testEnsemble) waitsForSpace(i int) (waits bool) {
	s := e.servers[i]
	s.replica.postAndWait(func(r *replica) { waits = r.ens.waitsForSpace() })
	return waits
}

// A failed sync ends a member for good.
func TestEnsembleFailedSync(t *testing.T) {
	e, disks := newDiskEnsemble(t, nil)
	e.mayFail = true
	leader := e.leader()
	s := e.servers[leader]
	disks[leader].syncFails.Store(true)
	c := e.dial((leader + 1) % 3)
	// It fails or succeeds, as the other two go on or not.
	_, _ = c.SetData(testContext(t), "/zookeeper", nil, client.AnyVersion)
	<-s.Failed()
	if !errors.Is(s.Err(), wal.ErrFailed) && !errors.Is(s.Err(), syscall.EIO) {
		t.Errorf("got %v", s.Err())
	}
	disks[leader].syncFails.Store(false)
	if s.Serving() {
		t.Error("it serves")
	}
}
