package zab

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// checker says what must hold in a cluster, at every event:
//
//   - what two servers have applied while serving is the same, as far as both have got;
//   - a leader that begins to serve has everything that was committed in earlier epochs, so nothing
//     that was acknowledged to a client is lost;
//   - an epoch has one leader;
//   - the epochs on a disk never fall;
//   - a sync shows everything that was committed anywhere when it was asked for;
//   - no machine warns or takes a packet for one that must not be sent: all of them keep the protocol.
type checker struct {
	c       *cluster
	canon   []record // everything committed, in order
	leaders map[quorum.Epoch]quorum.ServerID
	failed  error
	syncs   int
	configs int // activated, at all servers together
}

func newChecker(c *cluster) *checker {
	return &checker{c: c, leaders: map[quorum.Epoch]quorum.ServerID{}}
}

func (k *checker) fail(format string, args ...any) {
	if k.failed == nil {
		k.failed = fmt.Errorf("at %v: %s", k.c.now, fmt.Sprintf(format, args...))
	}
}

func (k *checker) blames(n *node, reason error) {
	if errors.Is(reason, ErrProtocol) || errors.Is(reason, ErrGap) {
		k.fail("server %d: %v", n.id, reason)
	}
}

func (k *checker) epoch(n *node, before, after quorum.Epoch) {
	if after < before {
		k.fail("server %d: epoch falls from %d to %d", n.id, before, after)
	}
}

// applied compares what n has applied with what is known to be committed.
func (k *checker) applied(n *node) {
	k.compare(n, n.stable)
}

func (k *checker) compare(n *node, from int) {
	h := n.history()
	for i := from; i < n.applied; i++ {
		if i >= len(k.canon) {
			k.canon = append(k.canon, h[i])
			continue
		}
		if k.canon[i].zxid != h[i].zxid || !bytes.Equal(k.canon[i].packet, h[i].packet) {
			k.fail("server %d has applied 0x%x as transaction %d, committed is 0x%x", n.id, h[i].zxid, i, k.canon[i].zxid)
			return
		}
	}
}

func (k *checker) serves(n *node, e quorum.Epoch) {
	k.compare(n, 0)
	if n.leader == nil {
		return
	}
	if other, ok := k.leaders[e]; ok {
		k.fail("epoch %d is led by %d and %d", e, other, n.id)
	}
	k.leaders[e] = n.id
	// An old leader may begin late, without having noticed that its followers have a new one.
	if n.applied < len(k.canon) && quorum.EpochOf(k.canon[n.applied].zxid) < e {
		k.fail("leader %d of epoch %d has %d transactions, committed are %d", n.id, e, n.applied, len(k.canon))
	}
}

func (k *checker) synced(n *node, atLeast int) {
	k.syncs++
	if n.applied < atLeast {
		k.fail("server %d answers a sync with %d transactions, committed were %d", n.id, n.applied, atLeast)
	}
}

// runSeed runs one ensemble to its end.
// With a bug it ends with the faults, since one that only hinders progress proves nothing.
func runSeed(seed int64, bugs Bugs, trace bool) *cluster {
	c := newCluster(seed, bugs)
	if trace {
		c.trace = []string{}
	}
	c.run(3*time.Second, nil)
	if c.check.failed == nil && bugs == (Bugs{}) {
		c.heal()
	}
	return c
}

func TestCluster(t *testing.T) {
	seeds := int64(3000)
	if testing.Short() {
		seeds = 500
	}
	var txns, turns, syncs, epochs, configs int
	for seed := range seeds {
		c := runSeed(seed, Bugs{}, false)
		if c.check.failed != nil {
			for _, line := range runSeed(seed, Bugs{}, true).trace {
				t.Log(line)
			}
			t.Fatalf("seed %d: %v", seed, c.check.failed)
		}
		txns += len(c.check.canon)
		turns += c.turns
		syncs += c.check.syncs
		epochs += len(c.check.leaders)
		configs += c.check.configs
	}
	t.Logf("%d seeds: %d transactions committed, %d epochs, %d syncs, %d configs activated, %d turns", seeds, txns, epochs, syncs, configs, turns)
}

// TestClusterFindsBugs plants each bug in turn: some seed has to fail, else the checker or the
// faults are too weak to prove anything.
func TestClusterFindsBugs(t *testing.T) {
	bugs := reflect.TypeFor[Bugs]()
	for i := range bugs.NumField() {
		if bugs.Field(i).Name == "HolesAccepted" {
			continue // needs a driver whose window has holes: quorum/sim plants both
		}
		t.Run(bugs.Field(i).Name, func(t *testing.T) {
			var b Bugs
			reflect.ValueOf(&b).Elem().Field(i).SetBool(true)
			for seed := int64(0); seed < 20000; seed++ {
				if c := runSeed(seed, b, false); c.check.failed != nil {
					t.Logf("seed %d: %v", seed, c.check.failed)
					return
				}
			}
			t.Error("no seed fails")
		})
	}
}
