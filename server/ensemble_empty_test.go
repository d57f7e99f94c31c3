package server

import (
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/quorum"
)

// A server that lost its disk has no say until it has got a snapshot, if its operator wants that
// (db.autocreate=false and no file initialize). Method: it is asked for its history before and after.
func TestEmptyDatabaseHasNoSay(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lost := (e.leader() + 1) % 3
	e.fill(e.leader(), 3, "n")
	history := func() (last, offered quorum.Zxid) {
		asked := make(chan struct{})
		e.servers[lost].replica.post(func(r *replica) {
			last, offered = r.engine.LastZxid(), r.ens.historyEnd()
			close(asked)
		})
		<-asked
		return last, offered
	}
	for i := range e.servers {
		e.stop(i)
	}
	e.dirs[lost] = t.TempDir()
	e.change = func(o *Options) { o.Ensemble.EmptyHasNoSay = true }
	e.start(lost)
	if last, offered := history(); last != 0 || offered != -1 {
		t.Errorf("an empty server has 0x%x and counts with 0x%x, want -1", last, offered)
	}
	for i := range e.servers {
		if i != lost {
			e.start(i)
		}
	}
	e.joins(lost)
	if last, offered := history(); last == 0 || offered != last {
		t.Errorf("a server with the history up to 0x%x counts with 0x%x", last, offered)
	}
	name := filepath.Join(filepath.Dir(testOptions(t, e.dirs[lost]).DataDir), currentEpochFile)
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}
