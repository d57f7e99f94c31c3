package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// Options say what to run.
type Options struct {
	Seed int64
	// Bugs are planted in all servers.
	Bugs zab.Bugs
	// Mistakes are planted in the driver of all servers.
	Mistakes Mistakes
	// EffectsOnly turns the checks off that look at what servers have on their disks (durability,
	// epoch): a bug is found only when it does harm that a client, or another server, sees.
	EffectsOnly bool
	// Mood makes one kind of fault frequent; 0 leaves that to the seed.
	Mood FaultKind
	// Keep has the indices of the faults to inject, in rising order; nil means all of the
	// seed's schedule.
	Keep []int
	// Trace takes one line for each change of state; nil for none.
	Trace func(line string)
}

// Result is what a run showed.
type Result struct {
	Seed      int64
	Violation *Violation // nil if all was well
	Plan      string     // the ensemble, in one line
	Schedule  []Fault    // the seed's whole schedule
	Injected  []int      // indices of the faults that were to be injected
	Elapsed   time.Duration
	Events    int    // of the queue
	Committed int    // transactions
	Acked     int    // operations of clients that got an answer
	Lost      int    // operations of clients whose outcome the client does not know
	Epochs    int    // that were served
	Reconfigs int    // member lists that were committed
	Rollovers int    // epochs that ran out of zxids
	Replaced  int    // disks that were lost
	Syncs     [4]int // DIFF from memory, DIFF from the log, TRUNC, SNAP
}

// A Violation is what a checker found.
type Violation struct {
	Check string        // which of the checks, see the package comment
	At    time.Duration // virtual time
	What  string
}

func (v *Violation) Error() string { return fmt.Sprintf("%s at %v: %s", v.Check, v.At, v.What) }

// Run runs one seed. Equal options give equal results.
func Run(o Options) *Result {
	w := newWorld(o)
	r := &Result{Seed: o.Seed, Plan: w.plan.String(), Schedule: w.plan.faults, Injected: o.Keep}
	if o.Keep == nil {
		for i := range w.plan.faults {
			r.Injected = append(r.Injected, i)
		}
	}
	func() {
		defer func() {
			switch p := recover().(type) {
			case nil:
			case *Violation:
				r.Violation = p
			default:
				// A machine, the engine or the log found one of its invariants broken.
				r.Violation = &Violation{Check: "panic", At: w.now, What: fmt.Sprintf("%v\n%s", p, debug.Stack())}
			}
		}()
		w.run(r.Injected)
	}()
	w.close()
	r.Elapsed, r.Events = w.now, w.events
	r.Committed, r.Acked, r.Lost = len(w.check.log), w.acked, w.lost
	r.Epochs, r.Syncs = len(w.check.served), w.syncs
	r.Reconfigs, r.Rollovers, r.Replaced = w.reconfigs, w.rollovers, w.replaced
	return r
}

// world is one ensemble, its network, its clients and the virtual time that they all live in.
// Everything happens in events, one after the other, in the order of their times and, where
// these are equal, of their making.
type world struct {
	opts   Options
	plan   *plan
	now    time.Duration
	queue  eventQueue
	seq    uint64
	events int

	net *rand.Rand // delays and losses
	cpu *rand.Rand // how long turns take, when clients think

	servers []*server // by id, from 1 on
	clients []*client
	links   []*link // open ones
	cuts    []int   // by from*n+to: how many faults cut this direction
	spikes  int     // faults that slow the network down
	check   *checker

	nextLink  zab.LinkID
	quiet     bool // no faults any more
	syncs     [4]int
	moments   int64 // invocations and answers of clients
	acked     int
	lost      int
	reconfigs int // member lists that were committed
	rollovers int
	replaced  int
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
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

// rngFor gives the stream of random numbers for one purpose, so that taking a fault out of
// the schedule changes the rest of the run as little as possible.
func rngFor(seed int64, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(seed), purpose))
}

const (
	rngPlan = iota + 1
	rngNet
	rngCPU
	rngFaults
	rngPast
	rngServer = 100 // plus the server's id
	rngClient = 200 // plus the client's number
)

func newWorld(o Options) *world {
	w := &world{opts: o, net: rngFor(o.Seed, rngNet), cpu: rngFor(o.Seed, rngCPU)}
	w.plan = newPlan(o.Seed, o.Mood)
	w.check = newChecker(w)
	n := w.plan.servers
	w.cuts = make([]int, (n+1)*(n+1))
	for i := range n {
		w.servers = append(w.servers, newServer(w, quorum.ServerID(i+1)))
	}
	if w.plan.oldEpoch {
		w.prehistory()
	}
	for i := range w.plan.clients {
		w.clients = append(w.clients, newClient(w, i))
	}
	return w
}

func (w *world) close() {
	for _, s := range w.servers {
		s.discard()
	}
	w.check.close()
}

// after schedules do.
func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

func (w *world) at(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{max(t, w.now), w.seq, do})
}

// eventsMax bounds a run: more means that something spins without virtual time going on.
const eventsMax = 2_000_000

// runUntil lets events happen up to the time end, or until done.
func (w *world) runUntil(end time.Duration, done func() bool) bool {
	for {
		if done != nil && done() {
			return true
		}
		if len(w.queue) == 0 || w.queue[0].at > end {
			w.now = end
			return false
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		if w.events++; w.events > eventsMax {
			w.fail("liveness", "%d events by now", w.events)
		}
		e.do()
	}
}

// liveWithin is how long the ensemble may take, once faults have stopped, until every server
// serves the same history and every client has had an answer; in ticks.
const liveWithin = 200

func (w *world) run(keep []int) {
	for _, s := range w.servers {
		w.after(w.span(w.net, 0, 3*w.plan.timing.Tick), s.boot)
	}
	for _, c := range w.clients {
		w.after(w.span(w.net, 0, 5*w.plan.timing.Tick), c.connect)
	}
	for _, i := range keep {
		f := &w.plan.faults[i]
		w.at(f.At, func() { w.inject(f) })
	}
	w.runUntil(w.plan.end, nil)
	w.trace(0, '=', "faults end")
	w.heal()
	deadline := w.now + liveWithin*w.plan.timing.Tick
	if !w.runUntil(deadline, w.settled) {
		w.fail("liveness", "%s", w.unsettled())
	}
	w.check.finish()
}

func (w *world) fail(check, format string, args ...any) {
	panic(&Violation{Check: check, At: w.now, What: fmt.Sprintf(format, args...)})
}

// trace writes one line; see the legend in the package comment.
func (w *world) trace(server quorum.ServerID, mark rune, format string, args ...any) {
	if w.opts.Trace == nil {
		return
	}
	who := "    "
	if server != 0 {
		who = fmt.Sprintf("s%-3d", server)
	}
	w.opts.Trace(fmt.Sprintf("%10.3fms %s %c %s", float64(w.now)/1e6, who, mark, fmt.Sprintf(format, args...)))
}

// span gives a random time in [lo, hi].
func (w *world) span(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(rng.Int64N(int64(hi-lo)+1))
}

func (w *world) server(id quorum.ServerID) *server { return w.servers[id-1] }
