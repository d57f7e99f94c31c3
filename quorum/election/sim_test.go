package election

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

var (
	simSeeds = flag.Int("election.seeds", 2000, "number of simulated ensembles")
	simSeed  = flag.Int64("election.seed", 0, "run this one seed with a trace")
)

// elector is what a simulated server elects with: an Election or a javaElection.
type elector interface {
	Start(time.Duration, History, *quorum.Config, *quorum.Config, []Output) []Output
	Receive(time.Duration, quorum.ServerID, quorum.Notification, []Output) []Output
	Tick(time.Duration, []Output) []Output
	PeerDown(time.Duration, quorum.ServerID, []Output) []Output
	PeerUp(time.Duration, quorum.ServerID, []Output) []Output
	NextDeadline() time.Duration
	State() quorum.State
	Vote() quorum.Vote
	SetPeerEpoch(quorum.Epoch)
}

// simNode is one server: its disk (history, accepted epoch) outlives a crash, the rest does not.
type simNode struct {
	id       quorum.ServerID
	java     bool
	e        elector
	up       bool
	life     int // counts crashes and elections; what was scheduled for an older one is void
	history  History
	accepted quorum.Epoch

	attached   bool // a learner that its leader knows
	serving    bool // a leader that a quorum follows
	tickAt     time.Duration
	lastSent   map[quorum.ServerID]quorum.Notification
	decisions  int
	lookingAt  time.Duration
	decidedIn  time.Duration
	castInLife map[quorum.Vote]bool
}

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// sim is an ensemble, its network and what drives the elections in a server: who lost a leader
// looks for the next. One seed is one run.
//
// The network of the election port: messages take a random time, so they overtake each other;
// they get lost and repeated at random; a cut link carries none. When a link comes up again,
// or a server, the connection manager at both ends sends its last message once more and tells
// the machine (PeerUp); a connection to a crashed server is refused (PeerDown).
type sim struct {
	t      *testing.T
	rng    *rand.Rand
	seed   int64
	config *quorum.Config
	nodes  []*simNode
	queue  simQueue
	seq    int
	now    time.Duration
	trace  bool

	loss, repeat float64
	delayMax     time.Duration
	cut          map[[2]quorum.ServerID]bool
	// cast has every LOOKING vote ever sent, by whom; led every server that ever said LEADING and
	// followed, by leader, every server that ever said that it leads or follows it.
	cast     map[quorum.Vote]map[quorum.ServerID]bool
	led      map[quorum.ServerID]bool
	followed map[quorum.ServerID]map[quorum.ServerID]bool
	epochs   quorum.Epoch
}

func newSim(t *testing.T, seed int64, config *quorum.Config, java func(quorum.ServerID) bool) *sim {
	s := &sim{
		t: t, rng: rand.New(rand.NewSource(seed)), seed: seed, config: config, trace: seed == *simSeed,
		delayMax: 2 * time.Millisecond, cut: map[[2]quorum.ServerID]bool{},
		cast: map[quorum.Vote]map[quorum.ServerID]bool{}, led: map[quorum.ServerID]bool{},
		followed: map[quorum.ServerID]map[quorum.ServerID]bool{},
	}
	for i := range config.Members {
		id := config.Members[i].ID
		s.nodes = append(s.nodes, &simNode{id: id, java: java(id)})
	}
	return s
}

func (s *sim) node(id quorum.ServerID) *simNode {
	for _, n := range s.nodes {
		if n.id == id {
			return n
		}
	}
	s.fail("no server %d", id)
	return nil
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %v: %s", s.seed, s.now, fmt.Sprintf(format, args...))
}

func (s *sim) log(format string, args ...any) {
	if s.trace {
		s.t.Logf("%v "+format, append([]any{s.now}, args...)...)
	}
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now + d, s.seq, do})
}

// inLife schedules what is void once n has crashed or begun another election.
func (s *sim) inLife(n *simNode, d time.Duration, do func()) {
	life := n.life
	s.after(d, func() {
		if n.up && n.life == life {
			do()
		}
	})
}

func (s *sim) runUntil(end time.Duration, done func() bool) {
	for len(s.queue) > 0 && s.queue[0].at <= end && !done() {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.do()
	}
	if !done() {
		s.now = end
	}
}

func (s *sim) linked(a, b quorum.ServerID) bool {
	return !s.cut[[2]quorum.ServerID{min(a, b), max(a, b)}]
}

func (s *sim) delay() time.Duration { return time.Duration(1 + s.rng.Int63n(int64(s.delayMax))) }

// boot starts a server from its disk.
func (s *sim) boot(n *simNode) {
	n.up = true
	if n.java {
		n.e = &javaElection{self: n.id}
	} else {
		n.e = New(n.id, Options{}, rand.New(rand.NewSource(s.rng.Int63())))
	}
	n.lastSent = map[quorum.ServerID]quorum.Notification{}
	s.log("%d up", n.id)
	s.look(n)
	for _, o := range s.nodes {
		if o != n && o.up && s.linked(n.id, o.id) {
			s.connect(n, o)
		}
	}
}

func (s *sim) crash(n *simNode) {
	s.log("%d crashes", n.id)
	n.up, n.attached, n.serving = false, false, false
	n.life++
}

// connect is what happens at both ends of a new connection.
func (s *sim) connect(a, b *simNode) {
	for _, p := range [2][2]*simNode{{a, b}, {b, a}} {
		from, to := p[0], p[1]
		if last, ok := from.lastSent[to.id]; ok {
			s.transmit(from, to.id, last)
		}
		s.take(from, from.e.PeerUp(s.now, to.id, nil))
	}
}

// look begins an election.
func (s *sim) look(n *simNode) {
	n.life++
	n.attached, n.serving = false, false
	n.lookingAt = s.now
	n.castInLife = map[quorum.Vote]bool{}
	s.log("%d looks, %x epoch %d", n.id, n.history.LastZxid, n.history.CurrentEpoch)
	s.take(n, n.e.Start(s.now, n.history, s.config, nil, nil))
}

// take carries the outputs of n out.
func (s *sim) take(n *simNode, out []Output) {
	for _, o := range out {
		switch o.Kind {
		case Send:
			s.checkSend(n, o)
			n.lastSent[o.To] = o.Notification
			s.transmit(n, o.To, o.Notification)
		case Decided:
			s.checkDecided(n, o.Vote)
			n.decisions++
			n.decidedIn = s.now - n.lookingAt
			s.log("%d decided %s after %v", n.id, voteText(o.Vote), n.decidedIn)
			s.follow(n)
		}
	}
	if d := n.e.NextDeadline(); d != Never && d != n.tickAt {
		n.tickAt = d
		s.after(max(d-s.now, 0), func() {
			if n.up && n.tickAt == d {
				n.tickAt = 0
				s.take(n, n.e.Tick(s.now, nil))
			}
		})
	}
}

func (s *sim) transmit(from *simNode, to quorum.ServerID, m quorum.Notification) {
	if !s.linked(from.id, to) {
		return
	}
	target := s.node(to)
	if !target.up {
		s.inLife(from, s.delay(), func() {
			if !target.up && s.linked(from.id, to) {
				s.take(from, from.e.PeerDown(s.now, to, nil))
			}
		})
		return
	}
	copies := 1
	if s.rng.Float64() < s.loss {
		copies = 0
	} else if s.rng.Float64() < s.repeat {
		copies = 2
	}
	incarnation := target.e
	for range copies {
		s.after(s.delay(), func() {
			if target.up && target.e == incarnation && s.linked(from.id, to) {
				s.log("%d to %d %s", from.id, to, voteText(m.Vote))
				s.take(target, target.e.Receive(s.now, from.id, m, nil))
			}
		})
	}
}

// checkSend: a vote is never worse than one's own, goes to somebody else, and tells the truth.
func (s *sim) checkSend(n *simNode, o Output) {
	v := o.Notification.Vote
	if o.To == n.id || s.config.Member(o.To) == nil {
		s.fail("%d sends to %d", n.id, o.To)
	}
	v.State, v.Version = 0, 0
	switch o.Notification.State {
	case quorum.Looking:
		e := Election{self: n.id, committed: s.config, history: n.history}
		mine := e.initialProposal()
		mine.ElectionEpoch = v.ElectionEpoch
		if s.config.IsVoter(o.To) && v != mine && !e.better(v, mine) {
			s.fail("%d votes %s, worse than its own %s", n.id, voteText(v), voteText(mine))
		}
		if s.config.IsVoter(o.To) && s.config.IsVoter(n.id) {
			s.castVote(n, v)
		}
	case quorum.Leading:
		if v.Leader != n.id {
			s.fail("%d leads under %d", n.id, v.Leader)
		}
		s.led[n.id] = true
		fallthrough
	case quorum.Following:
		if s.followed[v.Leader] == nil {
			s.followed[v.Leader] = map[quorum.ServerID]bool{}
		}
		s.followed[v.Leader][n.id] = true
	}
}

func (s *sim) castVote(n *simNode, v quorum.Vote) {
	if s.cast[v] == nil {
		s.cast[v] = map[quorum.ServerID]bool{}
	}
	s.cast[v][n.id] = true
}

// checkDecided: a quorum cast the vote, or follows a leader that says so.
func (s *sim) checkDecided(n *simNode, v quorum.Vote) {
	if !s.config.IsVoter(v.Leader) || s.config.WeightOf(v.Leader) == 0 && s.config.VoterCount() > 1 {
		s.fail("%d decided for %d", n.id, v.Leader)
	}
	if !s.config.IsVoter(n.id) {
		return // may have been told of an election that is over
	}
	e := v
	e.State, e.Version = 0, 0
	cast := s.config.ContainsQuorum(func(id quorum.ServerID) bool { return s.cast[e][id] || id == n.id })
	settled := (s.led[v.Leader] || v.Leader == n.id) &&
		s.config.ContainsQuorum(func(id quorum.ServerID) bool { return s.followed[v.Leader][id] || s.cast[e][id] })
	if !cast && !settled {
		s.fail("%d decided %s without a quorum; cast %v, followed %v", n.id, voteText(v), s.cast[e], s.followed[v.Leader])
	}
}

const (
	simConnectTime = 30 * time.Millisecond // between the attempts of a learner
	simAttempts    = 15
	simInitLimit   = time.Second
)

// follow is what a server does with a decision: a leader waits for a quorum, a learner connects.
func (s *sim) follow(n *simNode) {
	n.life++
	if n.e.State() == quorum.Leading {
		s.serve(n)
		s.inLife(n, simInitLimit, func() {
			if !n.serving {
				s.log("%d gives up leading", n.id)
				s.look(n)
			}
		})
		return
	}
	s.attach(n, simAttempts)
}

func (s *sim) attach(n *simNode, attempts int) {
	s.inLife(n, s.delay(), func() {
		leader := s.node(n.e.Vote().Leader)
		if leader.up && leader.e.State() == quorum.Leading && s.linked(n.id, leader.id) {
			n.attached = true
			s.serve(leader)
			return
		}
		if attempts == 1 {
			s.look(n)
			return
		}
		s.inLife(n, simConnectTime, func() { s.attach(n, attempts-1) })
	})
}

// serve makes leader serve when a quorum is attached, in an epoch of its own, and brings those
// that are attached into it.
func (s *sim) serve(leader *simNode) {
	follows := func(id quorum.ServerID) bool {
		n := s.node(id)
		return n == leader || n.up && n.attached && n.e.Vote().Leader == leader.id
	}
	if !s.config.ContainsQuorum(follows) {
		return
	}
	if !leader.serving {
		leader.serving = true
		epoch := leader.accepted
		for _, n := range s.nodes {
			if follows(n.id) {
				epoch = max(epoch, n.accepted)
			}
		}
		epoch++
		if epoch <= s.epochs {
			s.fail("%d leads epoch %d again", leader.id, epoch)
		}
		s.epochs = epoch
		leader.history = History{LastZxid: quorum.EpochStart(epoch), CurrentEpoch: epoch}
		s.log("%d serves epoch %d", leader.id, epoch)
	}
	for _, n := range s.nodes {
		if follows(n.id) {
			n.history, n.accepted = leader.history, leader.history.CurrentEpoch
			n.e.SetPeerEpoch(leader.history.CurrentEpoch)
		}
	}
}

// settle lets those notice that lost their leader or their followers; it runs at intervals.
func (s *sim) settle() {
	for _, n := range s.nodes {
		if !n.up {
			continue
		}
		if n.attached {
			leader := s.node(n.e.Vote().Leader)
			if !leader.up || leader.e.State() != quorum.Leading || !s.linked(n.id, leader.id) {
				n.attached = false
				s.inLife(n, time.Duration(s.rng.Int63n(int64(20*time.Millisecond))), func() { s.look(n) })
			}
		}
		if n.serving {
			if !s.config.ContainsQuorum(func(id quorum.ServerID) bool {
				o := s.node(id)
				return o == n || o.up && o.attached && o.e.Vote().Leader == n.id
			}) {
				n.serving = false
				s.inLife(n, time.Duration(s.rng.Int63n(int64(20*time.Millisecond))), func() { s.look(n) })
			} else if s.rng.Intn(3) == 0 {
				s.write(n)
			}
		}
	}
	s.after(10*time.Millisecond, s.settle)
}

// write adds a transaction on the leader and some of its followers.
func (s *sim) write(leader *simNode) {
	leader.history.LastZxid++
	for _, n := range s.nodes {
		if n.up && n.attached && n.e.Vote().Leader == leader.id && s.rng.Intn(3) > 0 {
			n.history.LastZxid = leader.history.LastZxid
		}
	}
}

// settled reports whether all servers that are up have the same serving leader.
func (s *sim) settledOn() (leader quorum.ServerID, ok bool) {
	for _, n := range s.nodes {
		if n.up && n.serving {
			if ok {
				return 0, false
			}
			leader, ok = n.id, true
		}
	}
	for _, n := range s.nodes {
		if n.up && n.id != leader && (!n.attached || n.e.Vote().Leader != leader) {
			return 0, false
		}
	}
	return leader, ok
}

func (s *sim) describe() string {
	var b strings.Builder
	for _, n := range s.nodes {
		fmt.Fprintf(&b, "%d up=%v java=%v %v %s attached=%v serving=%v; ", n.id, n.up, n.java, n.e.State(), voteText(n.e.Vote()), n.attached, n.serving)
	}
	return b.String()
}

// chaos does one random thing.
func (s *sim) chaos() {
	n := s.nodes[s.rng.Intn(len(s.nodes))]
	o := s.nodes[s.rng.Intn(len(s.nodes))]
	pair := [2]quorum.ServerID{min(n.id, o.id), max(n.id, o.id)}
	switch s.rng.Intn(6) {
	case 0, 1:
		if n.up {
			s.crash(n)
		} else {
			s.boot(n)
		}
	case 2:
		if n != o && !s.cut[pair] {
			s.log("cut %v", pair)
			s.cut[pair] = true
		}
	case 3:
		s.mend(pair)
	case 4:
		s.loss, s.repeat = s.rng.Float64()*0.5, s.rng.Float64()*0.5
		s.delayMax = []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond}[s.rng.Intn(3)]
	case 5:
		s.settleNow(n)
	}
}

// settleNow makes a server give up what it has, as a broken quorum connection would.
func (s *sim) settleNow(n *simNode) {
	if n.up && n.e.State() != quorum.Looking {
		s.look(n)
	}
}

func (s *sim) mend(pair [2]quorum.ServerID) {
	if !s.cut[pair] {
		return
	}
	s.log("mend %v", pair)
	delete(s.cut, pair)
	if a, b := s.node(pair[0]), s.node(pair[1]); a.up && b.up {
		s.connect(a, b)
	}
}

// heal ends all faults.
func (s *sim) heal() {
	s.loss, s.repeat, s.delayMax = 0, 0, 2*time.Millisecond
	for i, a := range s.nodes {
		for _, b := range s.nodes[:i] {
			s.mend([2]quorum.ServerID{min(a.id, b.id), max(a.id, b.id)})
		}
	}
	for _, n := range s.nodes {
		if !n.up {
			s.boot(n)
		}
	}
}

var simConfigs = []string{
	"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2",
	"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2",
	"server.1=a:1:2\nserver.2=b:1:2",
	"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer",
	"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2:3\nweight.3=0",
	"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\nserver.6=f:1:2\nserver.7=g:1:2:observer\n" +
		"group.1=1:2:3\ngroup.2=4:5:6\nweight.1=2",
}

// TestSimulation lets random ensembles of Elections, and of Elections and Java's, elect through
// crashes, partitions, loss, repetition and reordering, and checks every decision; after the
// faults end, all must agree on one leader. A seed that fails is run again with
// -election.seed=N -v.
func TestSimulation(t *testing.T) {
	run := func(seed int64) {
		rng := rand.New(rand.NewSource(seed))
		config := mustConfig(t, simConfigs[rng.Intn(len(simConfigs))])
		kind := rng.Intn(3) // all ours, mixed, mostly Java
		javaVoters := 0
		s := newSim(t, seed, config, func(id quorum.ServerID) bool {
			// A Java observer and a looking Java voter answer each other for as long as they look.
			java := rng.Intn(3) < kind && (config.IsVoter(id) || javaVoters == 0)
			if java {
				javaVoters++
			}
			return java
		})
		for _, n := range s.nodes {
			if rng.Intn(3) > 0 {
				s.after(time.Duration(rng.Int63n(int64(300*time.Millisecond))), func() {
					if !n.up {
						s.boot(n)
					}
				})
			}
		}
		for _, n := range s.nodes {
			n.history = History{LastZxid: quorum.Zxid(rng.Intn(3))}
			n.e = New(n.id, Options{}, s.rng) // never started, for the log of servers that stay down
		}
		s.after(0, s.settle)
		never := func() bool { return false }
		for range 5 + rng.Intn(25) {
			s.runUntil(s.now+time.Duration(rng.Int63n(int64(400*time.Millisecond))), never)
			s.chaos()
		}
		s.runUntil(s.now+time.Second, never)
		s.heal()
		// Java peers repeat at doubling intervals, begun long ago; their connections' last messages,
		// which come again at the healing, make up for that, as in reality.
		end := s.now + 30*time.Second
		s.runUntil(end, func() bool { _, ok := s.settledOn(); return ok })
		if _, ok := s.settledOn(); !ok {
			s.fail("no agreement: %s", s.describe())
		}
	}
	if *simSeed != 0 {
		run(*simSeed)
		return
	}
	seeds := *simSeeds
	if testing.Short() {
		seeds /= 10
	}
	for seed := int64(1); seed <= int64(seeds); seed++ {
		run(seed)
	}
}

// TestFailoverTime kills the leader of a quiet ensemble again and again and measures, in simulated
// time, how long the others look: no longer than it takes to hear of each other, as nobody waits
// for a server that is down. The same with Java's machine shows what finalizeWait and its missed
// votes cost.
func TestFailoverTime(t *testing.T) {
	measure := func(java bool) (worst, sum time.Duration, n int) {
		for seed := int64(1); seed <= 30; seed++ {
			s := newSim(t, seed, mustConfig(t, simConfigs[0]), func(quorum.ServerID) bool { return java })
			s.heal()
			s.after(0, s.settle)
			agreed := func() bool { _, ok := s.settledOn(); return ok }
			for range 20 {
				s.runUntil(s.now+10*time.Second, agreed)
				id, ok := s.settledOn()
				if !ok {
					s.fail("no leader: %s", s.describe())
				}
				leader := s.node(id)
				s.crash(leader)
				s.runUntil(s.now+time.Second, func() bool { return false })
				for _, o := range s.nodes {
					if o != leader {
						worst, sum, n = max(worst, o.decidedIn), sum+o.decidedIn, n+1
					}
				}
				s.boot(leader)
			}
		}
		return worst, sum, n
	}
	worst, sum, n := measure(false)
	javaWorst, javaSum, javaN := measure(true)
	t.Logf("looking: mean %v, worst %v; Java: mean %v, worst %v", sum/time.Duration(n), worst, javaSum/time.Duration(javaN), javaWorst)
	// One server may notice up to 30 ms before the other (settle); then both need a few messages of 2 ms.
	if worst > 40*time.Millisecond {
		t.Errorf("an election took %v", worst)
	}
	if javaSum < 5*sum {
		t.Errorf("Java's took %v, ours %v", javaSum, sum)
	}
}
