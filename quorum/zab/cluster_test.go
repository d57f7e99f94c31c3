package zab

import (
	"container/heap"
	"fmt"
	"math/rand"
	"time"

	"zabra.dev/zabra/quorum"
)

// A cluster is a whole ensemble of machines on a virtual clock, with links, disks and crashes
// drawn from one seed. Each server is driven as the server package drives it: in turns. The
// election is an oracle that picks the best of a quorum of servers that look for a leader.
//
// checker_test.go says what must hold.
type cluster struct {
	rng    *rand.Rand
	now    time.Duration
	events eventQueue
	seq    int
	nodes  []*node
	config *quorum.Config
	links  LinkID
	bugs   Bugs
	check  *checker
	calm   bool          // no more faults
	faults time.Duration // the longest pause between two
	disks  time.Duration // how long a slow disk takes at most
	moves  bool          // reconfigs happen
	trace  []string
	txns   int
	turns  int
}

var testTiming = Timing{Tick: 100 * time.Millisecond, InitLimit: 10, SyncLimit: 5}

// event is something that happens at a time.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || (q[i].at == q[j].at && q[i].seq < q[j].seq)
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

func (c *cluster) after(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.events, event{c.now + d, c.seq, do})
}

// run handles events until the clock shows end or done says so.
func (c *cluster) run(end time.Duration, done func() bool) {
	for len(c.events) > 0 && c.events[0].at <= end && c.check.failed == nil {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.do()
		if done != nil && done() {
			return
		}
	}
	c.now = end
}

func (c *cluster) chance(n int) bool { return !c.calm && c.rng.Intn(n) == 0 }

func (c *cluster) delay(most time.Duration) time.Duration {
	d := time.Duration(c.rng.Int63n(int64(most)))
	if c.chance(40) {
		d *= 20
	}
	return d + 10*time.Microsecond
}

func (c *cluster) logf(format string, args ...any) {
	if c.trace != nil {
		c.trace = append(c.trace, fmt.Sprintf("%10v ", c.now)+fmt.Sprintf(format, args...))
	}
}

// testConfig has the voters 1..voters and then observers.
func testConfig(voters, observers int) *quorum.Config {
	var members []quorum.Member
	for i := range voters + observers {
		m := quorum.Member{
			ID:            quorum.ServerID(i + 1),
			QuorumAddrs:   []quorum.Addr{{Host: "127.0.0.1", Port: 1000 + i}},
			ElectionAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: 2000 + i}},
		}
		if i >= voters {
			m.Role = quorum.Observer
		}
		members = append(members, m)
	}
	config, err := quorum.NewConfig(0, members, nil, nil)
	if err != nil {
		panic(err)
	}
	return config
}

func newCluster(seed int64, bugs Bugs) *cluster {
	c := &cluster{rng: rand.New(rand.NewSource(seed)), bugs: bugs}
	voters := []int{3, 3, 5, 4, 1}[c.rng.Intn(5)]
	c.config = testConfig(voters, c.rng.Intn(2))
	c.faults = []time.Duration{20, 60, 200}[c.rng.Intn(3)] * time.Millisecond
	c.disks = []time.Duration{4, 60, 300}[c.rng.Intn(3)] * time.Millisecond
	c.moves = voters > 2 && c.rng.Intn(3) == 0
	c.check = newChecker(c)
	for i := range c.config.Members {
		m := &c.config.Members[i]
		n := &node{c: c, id: m.ID, config: c.config, lastSeen: c.config, alive: true}
		if c.rng.Intn(2) == 0 {
			n.features = quorum.AllFeatures
		}
		n.window = n.newWindow(0)
		c.nodes = append(c.nodes, n)
	}
	c.after(0, c.elect)
	c.after(0, c.load)
	c.after(0, c.fault)
	return c
}

// elect is the oracle. It runs all the time.
func (c *cluster) elect() {
	c.after(c.delay(40*time.Millisecond), c.elect)
	var looking []*node
	var leader *node
	for _, n := range c.nodes {
		if n.alive && n.leader == nil && n.learner == nil {
			looking = append(looking, n)
		}
		if n.alive && n.leader != nil && (leader == nil || c.rng.Intn(2) == 0) {
			leader = n
		}
	}
	c.tellConfigs(looking)
	c.rng.Shuffle(len(looking), func(i, j int) { looking[i], looking[j] = looking[j], looking[i] })
	if leader != nil && (c.calm || c.rng.Intn(3) > 0) {
		for _, n := range looking {
			if c.calm || c.rng.Intn(2) == 0 {
				n.follow(leader)
			}
		}
		return
	}
	var best *node
	set := map[quorum.ServerID]bool{}
	some := c.rng.Intn(2) == 0
	for _, n := range looking {
		if some && best != nil && best.agreed(set) {
			break // no more than needed
		}
		set[n.id] = true
		if n.config.IsVoter(n.id) && (best == nil || n.better(best)) {
			best = n
		}
	}
	if best == nil || !best.agreed(set) {
		return
	}
	c.logf("elected %d epoch %d zxid 0x%x", best.id, best.current, best.lastZxid())
	best.lead()
	for _, n := range looking {
		if n != best && set[n.id] {
			n.follow(best)
		}
	}
}

// tellConfigs has those that look for a leader learn of the newest committed config, as
// notifications do.
func (c *cluster) tellConfigs(looking []*node) {
	if !c.moves {
		return
	}
	newest := c.config
	for _, n := range c.nodes {
		if n.alive && n.config.Version > newest.Version {
			newest = n.config
		}
	}
	for _, n := range looking {
		if n.config.Version < newest.Version && (c.calm || c.rng.Intn(2) == 0) {
			n.config = newest
			if n.lastSeen.Version < newest.Version {
				n.lastSeen = newest
			}
		}
	}
}

// agreed reports whether the servers in set, which look for a leader, can agree on n: they are a
// quorum of its committed config and of its last seen one. Those of them that know of a newer
// config do not follow without a quorum of that.
func (n *node) agreed(set map[quorum.ServerID]bool) bool {
	for _, s := range n.c.nodes {
		if !set[s.id] {
			continue
		}
		for _, config := range []*quorum.Config{s.config, s.lastSeen} {
			if !config.ContainsQuorum(func(id quorum.ServerID) bool { return set[id] }) {
				return false
			}
		}
	}
	return true
}

// reconfig has the leader propose another set of voters.
func (c *cluster) reconfig(n *node) {
	if !c.moves || n.leader == nil || !n.leader.Serving() || n.leader.LastSeen().Version > n.leader.Config().Version {
		return
	}
	var voters, observers []quorum.ServerID
	for _, m := range c.nodes {
		switch c.rng.Intn(4) {
		case 0:
		case 1:
			observers = append(observers, m.id)
		default:
			voters = append(voters, m.id)
		}
	}
	if len(voters) < 2 {
		return
	}
	config := members(0, voters, observers)
	if n.leader.HasSyncedQuorum(config) {
		n.post(item{reconfig: config})
	}
}

// load has clients write and sync.
func (c *cluster) load() {
	c.after(c.delay(30*time.Millisecond), c.load)
	for _, n := range c.nodes {
		if !n.alive {
			continue
		}
		if n.leader != nil && n.leader.Serving() && c.rng.Intn(2) == 0 {
			k := 1 + c.rng.Intn(4)
			n.post(item{propose: k})
		}
		if n.serving() && c.rng.Intn(3) == 0 {
			n.post(item{sync: true})
		}
	}
}

// fault crashes and restarts servers, cuts links and makes images.
func (c *cluster) fault() {
	if c.calm {
		return
	}
	c.after(c.delay(c.faults), c.fault)
	n := c.nodes[c.rng.Intn(len(c.nodes))]
	switch k := c.rng.Intn(10); {
	case !n.alive:
		if k < 6 {
			n.restart()
		}
	case k == 0:
		n.crash()
	case k == 1: // the leader, and perhaps others in the same moment
		all := c.rng.Intn(3) == 0
		for _, m := range c.nodes {
			if m.alive && (m.leader != nil || (all && c.rng.Intn(2) == 0)) {
				m.crash()
			}
		}
	case k == 2:
		for _, l := range n.links {
			if c.rng.Intn(2) == 0 {
				l.cut = true // silently: both sides have to find out
			}
		}
	case k == 3:
		for _, l := range append([]*link(nil), n.links...) {
			l.close()
		}
	case k == 4:
		n.checkpoint()
	case k == 6:
		for _, m := range c.nodes {
			if m.alive {
				c.reconfig(m)
			}
		}
	case k == 5:
		n.slow = c.rng.Intn(2) == 0
	}
}

// heal ends all faults and waits until everybody has everything.
func (c *cluster) heal() {
	c.calm = true
	for _, n := range c.nodes {
		if !n.alive {
			n.restart()
		}
	}
	end := c.now + 60*time.Second
	start := c.now
	c.run(end, func() bool { return c.now-start > time.Second && c.settled() })
	if c.check.failed == nil && !c.settled() {
		c.check.fail("the ensemble does not settle after all faults have ended")
	}
}

// settled reports whether everybody serves and has applied all there is.
func (c *cluster) settled() bool {
	for _, n := range c.nodes {
		if !n.serving() || len(n.history()) != n.applied || n.applied != len(c.check.canon) {
			if n.leader != nil && n.leader.Serving() && n.applied >= len(c.check.canon) {
				continue // clients go on writing
			}
			if n.learner != nil && n.serving() && len(c.check.canon)-n.applied < 50 {
				continue
			}
			return false
		}
	}
	return true
}

// A link is a connection, in both directions in order.
type link struct {
	c          *cluster
	id         LinkID
	ends       [2]*node // the learner, the leader
	last       [2]time.Duration
	cut        bool
	closed     bool
	gone       [2]bool // the end knows
	inbox      [2][]byte
	generation [2]int // of the ends when the link was made
}

func (c *cluster) connect(learner, leader *node) {
	c.links++
	l := &link{c: c, id: c.links, ends: [2]*node{learner, leader}, generation: [2]int{learner.generation, leader.generation}}
	learner.links = append(learner.links, l)
	leader.links = append(leader.links, l)
	learner.post(item{link: l, input: Input{Kind: InLinkOpened, Link: l.id}})
	leader.post(item{link: l, input: Input{Kind: InLinkOpened, Link: l.id}})
}

// send carries bytes from one end to the other.
func (l *link) send(from *node, b []byte) {
	if l.closed || l.cut {
		return
	}
	to := 0
	if l.ends[0] == from {
		to = 1
	}
	at := max(l.c.now+l.c.delay(3*time.Millisecond), l.last[to])
	l.last[to] = at
	l.c.after(at-l.c.now, func() {
		if l.cut || l.gone[to] || l.ends[to].generation != l.generation[to] {
			return
		}
		if l.closed && l.c.rng.Intn(2) == 0 {
			l.cut = true // what was under way is lost from here on
			return
		}
		l.ends[to].post(item{link: l, bytes: b})
	})
}

// close closes the link; each end hears of it later, or never.
func (l *link) close() {
	if l.closed {
		return
	}
	l.closed = true
	for i, n := range l.ends {
		n.forget(l)
		if l.c.chance(3) {
			continue
		}
		l.c.after(max(l.c.delay(5*time.Millisecond), l.last[i]-l.c.now), func() {
			if !l.gone[i] && n.generation == l.generation[i] {
				l.gone[i] = true
				n.post(item{link: l, input: Input{Kind: InLinkClosed, Link: l.id}})
			}
		})
	}
}
