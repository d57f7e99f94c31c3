//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// The rules and hazards of the quorum protocol (sections 4.13, 4.14, 5.2 and 10) and the tests that hold Zabra to them.
// Those of quorum/zab play the other side's deviations, recorded ones or scripted, to the state machines, which are the
// same code as in the process; those of this package have real servers.
//
//	4.13  LEADERINFO below acceptedEpoch                     zab TestLearnerDeviations, server TestJoinsAfterNewerEpoch
//	      first packet of the leader, NEWLEADER among them   zab TestLearnerDeviations (first packet)
//	      neither DIFF nor TRUNC nor SNAP after ACKEPOCH     zab TestLearnerDeviations
//	      SNAP with another signature, half a tree           zab TestLearnerSync (half a tree), transport TestSnapFailures
//	      NEWLEADER of another epoch, none, twice            zab TestLearnerDeviations
//	      SNAP or TRUNC and proposals behind it              zab TestLearnerSync, TestMixedTruncation
//	      TRUNC to what the log does not hold                zab TestLearnerSync (TRUNC where the log has nothing), TestDecideSync
//	      gaps in the synchronisation and in steady state    zab TestLearnerDeviations
//	      COMMIT out of order, COMMIT of nothing             zab TestLearnerDeviations
//	      between NEWLEADER and UPTODATE                     zab TestLearnerAgainstTraces, TestMixedEnsemble (joins under load)
//	      silence                                            zab TestLearnerDeviations, TestPartitions (cut off, deaf, mute)
//	4.14  each row                                           zab TestLeaderDeviations
//	      a follower that answers PINGs, not proposals       TestPartitions (one direction of one link), server TestStuckLearner
//	4.6   DIFF out of an abandoned log                       TestMixedAbandonedLog, zab TestLearnerAgainstTraces (hazard-...)
//	      old logs removed after a SNAP                      TestMixedAbandonedLog (the dump of the log)
//	      TRUNC of each kind by the other                    TestMixedTruncation
//	5.2   one transaction a request, answers in order        server TestAnswersToJavaLearner, TestMixedRecords, zab TestRound
//	6.4   create2 in a multi is written as create            TestMixedRecords (multi, with equal digests)
//	10    ACKs of the releases at NEWLEADER                  zab TestLeaderReleases, TestMixedEnsemble (3.8.0 and 3.9)
//	      observers in sync get no outstanding proposals     zab TestLeaderCommit (observers and strangers), TestMixedObservers
//	      digests of transactions                            every test here that ends in finish (wantDigests)

// leadBy sees to it that the server leads: it and the voter with the lowest id elect, alone and with the same
// history, and of two such the higher id wins. All that ran run afterwards.
func (e *ensemble) leadBy(m *member) {
	e.t.Helper()
	helper := e.members[0]
	for range 5 {
		if e.leader() == m {
			return
		}
		var rest []*member
		for _, o := range e.members {
			if o.running && !o.observer {
				o.kill()
				if o != m && o != helper {
					rest = append(rest, o)
				}
			}
		}
		e.run(m, helper)
		e.run(rest...)
	}
	e.t.Fatalf("server %d (%s) does not come to lead\n%s", m.id, m.kind, e.logs())
}

// abandon has the leader log proposals that nobody else ever gets, and kills it. On a network the others do not
// notice before it is dead; here the voters are killed first, and left so. It returns the paths of the nodes that
// must never be.
func (e *ensemble) abandon(n int) (paths []string) {
	e.t.Helper()
	lead := e.leader()
	c := dialEnsemble(e.t, []string{lead.addr}, nil)
	defer c.Abandon()
	for i, m := range e.members {
		switch {
		case !m.running || m == lead:
		case e.l != nil:
			e.l.cut(slices.Index(e.members, lead), i)
		case !m.observer:
			m.kill()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	var calls []*client.Call
	for i := range n {
		path := fmt.Sprintf("/abandoned-%d-%d", lead.id, i)
		paths = append(paths, path)
		r := proto.CreateRequest{Path: []byte(path), Data: []byte("x"), ACL: proto.RawACLs(proto.AppendACLs(nil, proto.WorldAnyone))}
		calls = append(calls, c.Submit(ctx, proto.OpCreate, path, r.Append(nil, proto.OpCreate)))
	}
	logged := lead.awaitLogged(e.t, paths[n-1])
	lead.kill()
	if !logged {
		e.t.Fatalf("server %d (%s) did not log a proposal that nobody acknowledges\n%s", lead.id, lead.kind, lead.logTail())
	}
	for i, call := range calls {
		if _, err := call.Wait(ctx); err == nil {
			e.t.Errorf("%s was acknowledged by server %d alone", paths[i], lead.id)
		}
	}
	if e.l != nil {
		e.leader() // what the dead one still sends out of its buffers finds nobody any more
		e.l.heal()
	}
	return paths
}

// awaitLogged waits until the text is in the server's log of transactions.
func (m *member) awaitLogged(t *testing.T, text string) bool {
	t.Helper()
	pattern := filepath.Join(m.dir, "data", "version-2", "log.*")
	if m.kind == zabra {
		pattern = filepath.Join(m.dir, "data", "zabra", "wal", "*.wal")
	}
	for deadline := time.Now().Add(loadTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		names, err := filepath.Glob(pattern)
		must(t, err)
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), text) {
				return true
			}
		}
	}
	return false
}

// wantNone checks that no server shows the paths.
func (e *ensemble) wantNone(paths []string) {
	e.t.Helper()
	for _, m := range e.members {
		if !m.running {
			continue
		}
		c := dialEnsemble(e.t, []string{m.addr}, nil)
		for _, p := range paths {
			var err error
			insist(e.t, c, func(ctx context.Context) error {
				if _, err = c.Exists(ctx, p); errors.Is(err, proto.ErrNoNode) {
					return nil
				}
				return err
			})
			if err == nil {
				e.t.Errorf("server %d (%s) shows %s, which was never committed", m.id, m.kind, p)
			}
		}
		must(e.t, c.Close())
	}
}

// A leader that logged what it could not commit comes back to one of the other kind, which has it cut its log. The
// leader of the truncation has not had a transaction in its epoch: else it sends a snapshot (TestMixedAbandonedLog).
func TestMixedTruncation(t *testing.T) {
	if subject() != zabra {
		t.Skip("an ensemble test is about Zabra")
	}
	path := zabraBinary(t)
	inside, reason := alone(t, "-interop.zabra="+path)
	if !inside && reason == "" {
		return // it was done in there
	}
	var l *lan
	byZabra := []string{byTrunc}
	if inside {
		l = newLAN(t, 3)
	} else {
		leaveOut("truncation of a Java server by Zabra", tool("network namespaces: "+reason))
		byZabra = append(byZabra, bySnap) // Zabra truncates to what it has in memory, and has just been started
	}
	forEachJava(t, "truncation of logs", func(t *testing.T, java kind) {
		for _, kinds := range [][]kind{{java, java, zabra}, {zabra, zabra, java}} {
			t.Run(fmt.Sprintf("of %s by %s", kinds[2], kinds[0]), func(t *testing.T) {
				e := newEnsembleOn(t, l, map[string]string{"syncLimit": "4"}, 0, kinds...)
				first, second, cut := e.members[0], e.members[1], e.members[2]
				e.run(e.members...)
				e.leadBy(cut)
				c := dialEnsemble(t, e.addrs(), nil)
				insist(t, c, func(ctx context.Context) error {
					_, err := c.Create(ctx, "/kept", nil, proto.WorldAnyone, client.Persistent)
					return err
				})
				c.Abandon()
				for _, m := range e.members {
					readTree(t, m.addr) // everybody has it all
				}
				gone := e.abandon(3)
				if !first.running {
					e.run(first, second)
				}
				if kinds[0] == zabra {
					e.join(cut, byZabra...)
				} else {
					e.join(cut, byTrunc)
				}
				e.wantNone(gone)
				l := startLoad(t, e.addrs())
				k := startKeeper(t, e.addrs(), l)
				l.await(100)
				// What it logs from here on must be in the right place: it comes back to it, and leads with it.
				cut.kill()
				l.await(50)
				e.join(cut, byDiff)
				e.leadBy(cut)
				l.await(300)
				e.wantNone(gone)
				e.finish(l, k)
			})
		}
	})
}

// Zabra leads, logs what it cannot commit, and comes back when others have gone on: it gets a snapshot, and must
// lose what it had logged before, since it leads again later and brings up to date, out of its log, an observer
// that was away since before all this (quorum protocol, section 4.6, where Java does wrong).
func TestMixedAbandonedLog(t *testing.T) {
	forEachJava(t, "an abandoned log", func(t *testing.T, java kind) {
		e := newEnsembleOn(t, nil, nil, 1, java, java, zabra, java)
		first, second, z, away := e.members[0], e.members[1], e.members[2], e.members[3]
		e.run(e.members...)
		e.leadBy(z)
		l := startLoad(t, e.addrs())
		l.await(100)
		l.stop()
		readTree(t, away.addr)
		away.kill()
		gone := e.abandon(5)
		e.run(first, second)
		more := startLoadBelow(t, "/later", e.addrs()[:2])
		more.await(50)
		e.join(z, bySnap)
		out, err := exec.Command(zabraBinary(t), "dump", filepath.Join(z.dir, "data", "zabra", "wal")).CombinedOutput()
		if err != nil {
			t.Errorf("dump: %v\n%s", err, out)
		}
		if strings.Contains(string(out), gone[0]) {
			t.Errorf("the log still has %s after a snapshot", gone[0])
		}
		k := startKeeper(t, e.addrs()[:3], more)
		z.end(t)
		more.await(50)
		e.run(z) // with nothing in memory but what its log has
		e.leadBy(z)
		more.await(50)
		e.run(away)
		t.Logf("the observer (%s) joined by %v", java, away.syncs())
		e.wantNone(gone)
		more.await(50)
		more.stop()
		maps.Copy(more.may, l.may)
		e.finish(more, k)
	})
}

// Observers of each kind under leaders of each kind, and clients at them.
func TestMixedObservers(t *testing.T) {
	forEachJava(t, "observers", func(t *testing.T, java kind) {
		e := newEnsembleOn(t, nil, nil, 2, java, zabra, java, zabra, java)
		z, o1, o2 := e.members[1], e.members[3], e.members[4]
		e.run(e.members...)
		if lead := e.leader(); lead == z {
			lead.kill()
			e.leader()
			e.run(lead)
		}
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		ko := startKeeperBelow(t, "/keep-at-observers", []string{o1.addr, o2.addr}, l)
		round := func() {
			for _, o := range []*member{o1, o2} {
				if o.mode() != "observer" {
					t.Errorf("server %d (%s) is %q, want observer", o.id, o.kind, o.mode())
				}
				o.end(t)
				l.await(50)
				e.join(o, byDiff)
				o.end(t)
				must(t, os.RemoveAll(filepath.Join(o.dir, "data", "version-2")))
				must(t, os.RemoveAll(filepath.Join(o.dir, "data", "zabra")))
				l.await(50)
				hows := []string{bySnap}
				if e.leader() == z {
					hows = append(hows, byDiff) // its log may reach back to the beginning
				}
				e.join(o, hows...)
			}
			k.check()
			ko.check()
		}
		round()
		e.leadBy(z)
		round()
		e.finish(l, k)
	})
}
