package sim

import (
	"math/rand/v2"
	"slices"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/wal/walfs"
)

// inject does a fault of the schedule.
func (w *world) inject(f *Fault) {
	s := w.target(f.Server)
	w.trace(0, '*', "%v", f)
	switch f.Kind {
	case FaultKill:
		s.crash(f, false)
	case FaultPower:
		s.crash(f, true)
	case FaultStorm:
		for _, s := range w.servers {
			g := *f
			g.Rand += uint64(s.id)
			s.crash(&g, true)
		}
	case FaultPause:
		s.pausedUntil = max(s.pausedUntil, w.now+f.For)
	case FaultIsolate, FaultDeaf, FaultMute:
		for _, o := range w.servers {
			if o != s && f.Kind != FaultMute {
				w.cutFor(f, o.id, s.id)
			}
			if o != s && f.Kind != FaultDeaf {
				w.cutFor(f, s.id, o.id)
			}
		}
	case FaultCut:
		w.cutFor(f, f.Server, f.Peer)
	case FaultSplit:
		for _, a := range w.servers {
			for _, b := range w.servers {
				if slices.Contains(f.Set, a.id) != slices.Contains(f.Set, b.id) {
					w.cutFor(f, a.id, b.id)
				}
			}
		}
	case FaultBreak:
		w.breakLinks(s, f.Rand)
	case FaultClients:
		s.dropClients()
	case FaultSlowDisk:
		s.slow++
		w.until(f, func() { s.slow-- })
	case FaultFailSync:
		s.failSyncs = 1
	case FaultFullDisk:
		s.mem.SetCapacity(max(1, s.mem.UsedBytes()))
		s.full++
		w.until(f, func() {
			if s.full--; s.full == 0 {
				s.mem.SetCapacity(0)
			}
		})
	case FaultRot:
		s.rot(f.Rand)
	case FaultSpike:
		w.spikes++
		w.until(f, func() { w.spikes-- })
	case FaultReconfig:
		w.operate(f.Rand)
	case FaultLoseDisk:
		s.loseDisk()
	case FaultClientDies:
		w.clients[f.Rand].die()
	}
}

// target is the server that a fault is for.
func (w *world) target(id quorum.ServerID) *server {
	if id != 0 {
		return w.server(id)
	}
	best := w.servers[0]
	epoch := quorum.Epoch(-1)
	for _, s := range w.servers {
		if s.up && s.leader != nil && s.leader.Epoch() > epoch {
			best, epoch = s, s.leader.Epoch()
		}
	}
	return best
}

func (w *world) cutFor(f *Fault, from, to quorum.ServerID) {
	w.cut(from, to, 1)
	w.until(f, func() { w.cut(from, to, -1) })
}

// until ends a fault in its time, unless all have been ended before.
func (w *world) until(f *Fault, end func()) {
	w.after(f.For, func() {
		if !w.quiet {
			end()
		}
	})
}

// breakLinks breaks each link of s with a chance of one half. Of a broken one either end, or
// both, see nothing of it until they send.
func (w *world) breakLinks(s *server, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, l := range slices.Clone(w.links) {
		if (l.ends[0].s != s && l.ends[1].s != s) || rng.IntN(2) == 0 {
			continue
		}
		seen := 1 + rng.IntN(3) // bits: which ends see it
		for side := range l.ends {
			e := &l.ends[side]
			if seen&(1<<side) != 0 && e.alive() {
				e.inbox = append(e.inbox, frame{fin: true})
				e.s.post(func() { e.s.readLink(l, side) })
			}
			if seen&(1<<side) == 0 {
				e.flight, e.cut = nil, true
			}
		}
	}
}

// heal ends all faults: nothing is cut, every server runs, on a good disk.
func (w *world) heal() {
	w.quiet, w.spikes = true, 0
	for _, c := range w.clients {
		c.errands = nil
	}
	for _, s := range w.servers {
		s.pausedUntil, s.slow, s.failSyncs, s.full = w.now, 0, 0, 0
		s.mem.SetCapacity(0)
	}
	for from := range w.servers {
		for to := range w.servers {
			a, b := w.servers[from].id, w.servers[to].id
			if k := w.cuts[w.cutIndex(a, b)]; k > 0 {
				w.cut(a, b, -k)
			}
		}
	}
}

// operate has a client that lives ask for a reconfig.
func (w *world) operate(seed uint64) {
	for i := range w.clients {
		if c := w.clients[(seed+uint64(i))%uint64(len(w.clients))]; !c.dead {
			c.errands = append(c.errands, seed)
			return
		}
	}
}

// loseDisk takes the disk of a server away, with its process. One at a time: its operator starts the server with
// an empty disk when all others serve under one leader. Had they not, one of them could take what the
// server has promised and forgotten, an epoch that it accepted, for granted. A disk without which the others are no quorum
// is not lost: with two voters, say, nothing but an operator who takes that risk gets such an ensemble going again.
func (s *server) loseDisk() {
	for _, o := range s.w.servers {
		if o.lost || o != s && !(suffice(o.config, s.id) && suffice(o.lastSeen, s.id)) {
			return
		}
	}
	if s.up {
		s.end(true)
	}
	s.trace('!', "loses its disk")
	s.w.replaced++
	s.lost, s.blank = true, true
	s.hadConfig, s.hadNext = 0, 0
	s.mem = walfs.NewMemSectors(s.w.plan.sectorBytes)
	s.hist = history{}
	s.damaged = true
	s.replaceDisk()
}

// suffice reports whether a member list, nil for none, has a quorum without a server.
func suffice(c *quorum.Config, without quorum.ServerID) bool {
	return c == nil || c.ContainsQuorum(func(id quorum.ServerID) bool { return id != without })
}

// replaceDisk is the operator, who looks from time to time whether the server may be started.
func (s *server) replaceDisk() {
	w := s.w
	w.after(100*ms, func() {
		if w.opts.Mistakes != EmptyDiskVotes && !w.othersServe(s) {
			s.replaceDisk()
			return
		}
		s.lost, s.given = false, w.target(0).config
		s.boot()
	})
}

// othersServe reports whether all servers but s serve under one leader.
func (w *world) othersServe(s *server) bool {
	var leader *server
	for _, o := range w.servers {
		if o != s && o.up && o.serving && o.leader != nil {
			if leader != nil {
				return false
			}
			leader = o
		}
	}
	for _, o := range w.servers {
		if o != s && o != leader && (leader == nil || !o.up || !o.serving || o.learner == nil || o.leading != leader.id || o.learner.Epoch() != leader.leader.Epoch()) {
			return false
		}
	}
	return leader != nil
}
