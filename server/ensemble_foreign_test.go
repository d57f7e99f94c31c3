package server

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/snapshot"
)

// elections makes the ensemble go through n more epochs.
func (e *testEnsemble) elections(n int) {
	e.t.Helper()
	for range n {
		l := e.leader()
		e.stop(l)
		e.leader()
		e.start(l)
	}
	e.leader()
}

// foreign reports whether server i has found that its data is not of the leader's ensemble.
func (e *testEnsemble) foreign(i int) (found bool) {
	e.servers[i].replica.postAndWait(func(r *replica) { found = r.ens.foreignTo != quorum.NoServer })
	return found
}

// A server with the data of another ensemble, whose epochs and zxids fit the leader's, does not serve and keeps what it
// has, whatever kind of synchronisation the leader chooses; with its own data it joins.
func TestForeignData(t *testing.T) {
	for _, c := range []struct {
		name                   string
		ours, theirs           int  // znodes
		ourEpochs, theirEpochs int  // elections after them
		snap                   bool // even where the log would do
		noLog                  bool // the leader's log does not go back to their zxid
	}{
		{name: "same epoch, behind", ours: 20, theirs: 5},
		{name: "same epoch, ahead", ours: 5, theirs: 20},
		{name: "same epoch, same zxid", ours: 5, theirs: 5},
		{name: "lower epoch", ours: 20, theirs: 5, ourEpochs: 2},
		{name: "lower epoch, more in it", ours: 5, theirs: 20, ourEpochs: 2},
		{name: "higher epoch", ours: 5, theirs: 5, theirEpochs: 2},
		{name: "by snapshot", ours: 20, theirs: 5, ourEpochs: 1, snap: true},
		{name: "by snapshot, no log", ours: 20, theirs: 5, ourEpochs: 1, snap: true, noLog: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := newTestEnsemble(t, 3)
			other.fill(other.leader(), c.theirs, "theirs")
			other.elections(c.theirEpochs)
			other.wantEqual()
			for i := range other.servers {
				other.stop(i)
			}

			e := newTestEnsembleWith(t, 3, func(o *Options) { o.Ensemble.ForceSnap = c.snap })
			e.fill(e.leader(), c.ours, "ours")
			e.elections(c.ourEpochs)
			if c.noLog {
				for i := range e.servers {
					e.stop(i)
					e.dirs[i] = t.TempDir()
					e.start(i)
					e.joins(i)
				}
			}
			lead := e.leader()
			out := (lead + 1) % 3
			e.stop(out)
			own := e.dirs[out]
			e.dirs[out] = other.dirs[out]
			e.start(out)
			if c.theirEpochs > 0 {
				// It cannot even accept the leader's epoch.
				waitFor(t, func() bool { return e.servers[out].figures.Counter("looking_count").Value() > 3 })
			} else {
				waitFor(t, func() bool { return e.foreign(out) })
			}
			if m := e.servers[out].Mode(); m != "" {
				t.Errorf("a stranger is %q", m)
			}
			e.fill(lead, 3, "more")
			if _, err := e.dial(lead).Exists(testContext(t), "/theirs0"); err == nil {
				t.Error("their data is in this ensemble")
			}
			e.stop(out)

			e.dirs[out] = own
			e.start(out)
			e.joins(out)

			// What it had is still there, and is a history that the others of its ensemble have.
			other.start(out)
			other.start((out + 1) % 3)
			l := other.leader()
			other.wantEqual()
			client := other.dial(l)
			for _, i := range []int{0, c.theirs - 1} {
				if _, err := client.Exists(testContext(t), fmt.Sprintf("/theirs%d", i)); err != nil {
					t.Error(err)
				}
			}
			if _, err := client.Exists(testContext(t), "/ours0"); err == nil {
				t.Error("data of the leader was put on top of theirs")
			}
		})
	}
}

// A tree that shares nothing with the leader's may be of the same ensemble, all of whose znodes are new: its server takes
// the leader's snapshot, and the tree is put aside.
func TestUnrelatedTree(t *testing.T) {
	other := newTestEnsemble(t, 3)
	other.fill(other.leader(), 5, "theirs")
	other.wantEqual()
	for i := range other.servers {
		other.stop(i)
	}
	e := newTestEnsembleWith(t, 3, func(o *Options) { o.Ensemble.ForceSnap = true })
	e.elections(2)
	e.fill(e.leader(), 5, "ours")
	out := (e.leader() + 1) % 3
	e.stop(out)
	e.dirs[out] = other.dirs[out]
	e.start(out)
	e.joins(out)
	e.stop(out)
	data := testOptions(t, e.dirs[out]).DataDir
	names, err := vfs.Default.List(vfs.Default.PathJoin(data, "aside"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	image, err := snapshot.OpenImage(vfs.Default, vfs.Default.PathJoin(data, "aside", names[0]), snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := engine.Load(engine.Options{Digest: true})
	if err := image.Scan(t.Context(), nil, l.Put); err != nil {
		t.Fatal(err)
	}
	tree, err := l.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if tree.Lookup([]byte("/theirs4")) == 0 || tree.Lookup([]byte("/ours0")) != 0 {
		t.Error("what was put aside is another tree")
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	if err := image.Close(); err != nil {
		t.Error(err)
	}
}

// A follower whose tree turns out not to be the leader's, at the digest of a transaction, stops serving it and takes
// the leader's.
func TestDivergedTree(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lead := e.leader()
	e.fill(lead, 5, "n")
	e.wantEqual()
	out := (lead + 1) % 3
	s := e.servers[out]
	s.replica.postAndWait(func(r *replica) {
		h := proto.TxnHeader{Zxid: r.engine.LastZxid(), TimeMs: 1, Type: proto.OpCreate}
		b := proto.TxnBody{Path: []byte("/rot"), Data: []byte("x"), ACL: proto.RawACLs(proto.AppendACLs(nil, openACL)), ParentCversion: -1}
		s.lockGates()
		_, err := r.engine.Apply(b.Append(h.Append(nil), proto.OpCreate), noSink{})
		s.unlockGates()
		if err != nil {
			t.Error(err)
		}
	})
	e.fill(lead, 5, "more")
	waitFor(t, func() bool { return e.servers[lead].figures.Counter("snap_count").Value() > 0 })
	e.joins(out)
	if n := s.figures.Counter("digest_mismatches_count").Value(); n == 0 {
		t.Error("no mismatch was counted")
	}
	if _, err := e.dial(out).Exists(testContext(t), "/rot"); err == nil {
		t.Error("the damaged tree is served")
	}
}
