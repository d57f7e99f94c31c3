package sim

import (
	"math/rand"
	randv2 "math/rand/v2"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal/walfs"
)

// server is one machine with its disk, and the process on it while it runs.
type server struct {
	w   *world
	id  quorum.ServerID
	rng *randv2.Rand

	// The machine.
	mem         *walfs.Mem
	hostDown    bool // without power
	slow, full  int  // faults of the disk that are on
	failSyncs   int  // syncs that will fail
	pausedUntil time.Duration
	drift       float64
	written     map[string]int64 // by file: where its newest write begins
	given       *quorum.Config   // the member list in the configuration that its operator wrote
	// lost: the disk is gone and there is no other yet. blank: the disk is a new one, and has not got a
	// snapshot yet, so that the server has no say.
	lost, blank bool
	// hadConfig and hadNext are the versions of the member lists that are on disk.
	hadConfig, hadNext int64
	// votedFor has the votes that it has ever sent.
	votedFor map[ballot]bool

	// The process.
	up      bool
	life    int // counts starts and ends
	inbox   []func()
	turnAt  time.Duration // of the next turn, -1: none is due
	timerAt time.Duration // when the next deadline wakes the server, -1: none

	disk        // log, image, epochs (disk.go)
	memberLists // reconfig.go
	engine      *engine.Engine
	window      *zab.Window
	hist        history // what the checkers know of it
	election    *election.Election
	lastVote    []*quorum.Notification // by id - 1: last sent
	lastVoteAt  []time.Duration        // by id - 1: when it arrives

	replica // driver.go
	front   // front.go
}

func newServer(w *world, id quorum.ServerID) *server {
	s := &server{
		w: w, id: id, rng: rngFor(w.opts.Seed, rngServer+uint64(id)),
		mem: walfs.NewMemSectors(w.plan.sectorBytes), drift: w.plan.drift[id-1], given: w.plan.given(id), votedFor: map[ballot]bool{},
	}
	return s
}

// local is the server's clock: it drifts.
func (s *server) local() time.Duration { return time.Duration(float64(s.w.now) * s.drift) }

// global gives the first moment at which the server's clock shows t.
func (s *server) global(t time.Duration) time.Duration {
	g := time.Duration(float64(t) / s.drift)
	for time.Duration(float64(g)*s.drift) < t {
		g++
	}
	return g
}

// wallMs is the wall clock, which is wrong by a different amount on each server.
func (s *server) wallMs() int64 {
	return 1_700_000_000_000 + int64(s.local()/time.Millisecond) + 977*int64(s.id)
}

var allSchemes = func() *auth.Registry {
	r, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		panic(err)
	}
	return r
}()

// boot starts the process from what is on the disk.
func (s *server) boot() {
	if s.up || s.lost {
		return
	}
	n := len(s.w.servers)
	s.up, s.hostDown = true, false
	s.life++
	s.inbox, s.turnAt, s.timerAt = nil, -1, -1
	s.written = map[string]int64{}
	s.replica = replica{}
	s.front = front{watches: watch.New()}
	s.lastVote, s.lastVoteAt = make([]*quorum.Notification, n), make([]time.Duration, n)
	s.election = election.New(s.id, election.Options{ReconfigEnabled: s.w.plan.reconfig, StaleVotes: s.w.opts.Mistakes == StaleVotes, MaxNotificationInterval: 1600 * ms}, rand.New(rand.NewSource(s.rng.Int64())))
	s.mem.SetHook(s.diskHook)
	if err := s.recover(); err != nil {
		s.die(err)
		return
	}
	what := ""
	if s.damaged {
		what = ", damaged"
	}
	s.trace('+', "up: epochs %d/%d, history 0x%x, image 0x%x%s", s.accepted, s.current, s.lastZxid(), s.imageZxid(), what)
	s.w.check.kept("start")
	s.look()
	for _, o := range s.w.servers {
		if o != s && o.up && !s.w.isCut(o.id, s.id) && !s.w.isCut(s.id, o.id) {
			s.w.electionUp(s, o)
		}
	}
}

// die ends the process because of an error that it must not survive. It is started again.
func (s *server) die(err error) {
	s.trace('x', "dies: %v", err)
	s.end(false)
	s.w.after(s.w.span(s.w.cpu, 100*ms, 400*ms), s.boot)
}

// end takes the process away. The kernel closes its connections if there still is one.
func (s *server) end(power bool) {
	s.dropClientsSilently(power)
	for _, l := range s.w.linksOf(s) {
		for side := range l.ends {
			if e := &l.ends[side]; e.s == s && e.life == s.life {
				l.shut(side, !power)
			}
		}
	}
	s.up, s.hostDown = false, power
	s.life++
	s.discard()
	s.mem.SetHook(nil)
	s.mem.ReleaseLocks()
}

// discard gives memory outside of the collector's sight back.
func (s *server) discard() {
	if s.engine != nil {
		s.engine.Close()
		s.engine = nil
	}
	if s.staged != nil {
		s.staged.Close()
		s.staged = nil
	}
	s.log, s.ckpt, s.leader, s.learner = nil, nil, nil, nil
}

func (w *world) linksOf(s *server) []*link {
	var out []*link
	for _, l := range w.links {
		if l.ends[0].s == s || l.ends[1].s == s {
			out = append(out, l)
		}
	}
	return out
}

// crash ends the process by a fault, perhaps in the middle of what its log has to write.
func (s *server) crash(f *Fault, power bool) {
	if !s.up {
		return
	}
	rng := randv2.New(randv2.NewPCG(f.Rand, 2))
	var clone *walfs.Mem
	take := func() {
		if power && clone == nil {
			clone = s.mem.CrashClone(walfs.Crash{Rand: rng, KeepPercent: f.Keep, Reorder: f.Rand%4 == 0})
		}
	}
	if f.Mid > 0 && s.log != nil {
		ops := 0
		s.mem.SetHook(func(op walfs.Op) error {
			if !op.Kind.Mutates() {
				return nil
			}
			if ops++; ops <= f.Mid {
				return nil
			}
			take()
			return walfs.ErrCrashed
		})
		s.dying = true
		s.log.Step()
		s.dying = false
	}
	take()
	s.trace('!', "crashes (%v)", f.Kind)
	s.end(power)
	if clone != nil {
		s.mem = clone
		if s.full > 0 {
			s.mem.SetCapacity(max(1, s.mem.UsedBytes()))
		}
	}
	s.w.after(f.For, s.boot)
}

// post has the server do f in its next turn.
func (s *server) post(f func()) {
	if !s.up {
		return
	}
	s.inbox = append(s.inbox, f)
	s.wake()
}

// wake makes a turn due.
func (s *server) wake() {
	at := s.w.now + s.w.span(s.w.cpu, 5*us, 50*us)
	if s.turnAt >= 0 && s.turnAt <= at {
		return
	}
	s.turnAt = at
	s.scheduleTurn(at)
}

func (s *server) scheduleTurn(at time.Duration) {
	life := s.life
	s.w.at(max(at, s.pausedUntil), func() {
		if s.life != life {
			return
		}
		if s.w.now < s.pausedUntil {
			s.scheduleTurn(s.pausedUntil)
			return
		}
		if s.turnAt < 0 || s.turnAt > s.w.now {
			return // an earlier one has done it
		}
		s.turn()
	})
}

// arm makes sure that the server wakes when it has to do something at a certain time.
func (s *server) arm(deadline time.Duration) {
	at := max(s.global(deadline), s.w.now+us)
	if s.timerAt >= 0 && s.timerAt <= at && s.timerAt > s.w.now {
		return
	}
	s.timerAt = at
	life := s.life
	s.w.at(at, func() {
		if s.life == life && s.timerAt == at {
			s.timerAt = -1
			s.wake()
		}
	})
}

func (s *server) trace(mark rune, format string, args ...any) { s.w.trace(s.id, mark, format, args...) }

// newPreparer begins to prepare requests as the leader of an epoch.
func (s *server) newPreparer(epoch quorum.Epoch) {
	s.prep = prep.New(s.engine, allSchemes, &s.tracker, prep.Options{
		CloseSessionTxn: true, ReconfigEnabled: s.w.plan.reconfig, Reconfigurer: judge{s},
	})
	s.prep.Reset(quorum.EpochStart(epoch))
}
