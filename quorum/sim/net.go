package sim

import (
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// The network between servers. Each pair has two directions, which can be cut one by one. On
// a cut direction nothing arrives: what is under way waits, as TCP repeats it, until the cut ends.
// So a connection whose end is not seen by the other side is half-open until that side times
// out, or sends something and is told.

func (w *world) cutIndex(from, to quorum.ServerID) int {
	return int(from)*(len(w.servers)+1) + int(to)
}

func (w *world) isCut(from, to quorum.ServerID) bool { return w.cuts[w.cutIndex(from, to)] > 0 }

// cut adds to or takes from the cuts of one direction; the last one gone, what waited goes on.
func (w *world) cut(from, to quorum.ServerID, delta int) {
	w.cuts[w.cutIndex(from, to)] += delta
	if delta > 0 || w.isCut(from, to) {
		return
	}
	for _, l := range w.links {
		for side := range l.ends {
			if l.ends[1-side].s.id == from && l.ends[side].s.id == to {
				l.pump(side)
			}
		}
	}
	a, b := w.server(from), w.server(to)
	if !w.isCut(to, from) && a.up && b.up {
		w.electionUp(a, b)
	}
}

// delay gives the time that a packet takes.
func (w *world) delay() time.Duration {
	p := w.plan
	d := w.span(w.net, p.delayMin, p.delayMax)
	if w.spikes > 0 {
		d *= 20
	} else if w.net.IntN(100) == 0 {
		d *= 8
	}
	return d
}

// A link is a connection of the quorum port. Side 0 is the learner, which dialled, side 1 the
// leader.
type link struct {
	w    *world
	id   zab.LinkID
	ends [2]linkEnd
}

// A linkEnd is what one side has of a link.
type linkEnd struct {
	s    *server
	life int  // of s, when the link was made
	open bool // s has not closed it and has not seen it closed
	// flight is under way to this side, inbox has arrived there and is not read yet.
	flight, inbox []frame
	lastAt        time.Duration // arrival of the newest in flight
	pumping       bool
	decoder       *quorum.Decoder
	cut           bool // the connection broke and this end has not seen it: nothing arrives behind what is lost, but its end
}

// A frame is what one write put on a link: whole packets; or a part of the tree behind a SNAP; or
// the end of the connection.
type frame struct {
	at    time.Duration
	bytes []byte
	tree  *treePart
	fin   bool
}

// dial has s connect to the server to. done is called with the link, or with nil if there was
// nobody that accepts.
func (w *world) dial(s *server, to *server, addr quorum.Addr, done func(*link)) {
	life := s.life
	w.after(w.delay()+w.delay(), func() {
		if !s.up || s.life != life {
			return
		}
		if w.isCut(s.id, to.id) || w.isCut(to.id, s.id) || !to.up || to.leader == nil || !to.listensOn(addr) {
			s.post(func() { done(nil) })
			return
		}
		w.nextLink++
		l := &link{w: w, id: w.nextLink}
		l.ends[0] = linkEnd{s: s, life: s.life, open: true, decoder: quorum.NewDecoder(quorum.Limits{})}
		l.ends[1] = linkEnd{s: to, life: to.life, open: true, decoder: quorum.NewDecoder(quorum.Limits{})}
		w.links = append(w.links, l)
		to.post(func() { to.linkAccepted(l) })
		s.post(func() { done(l) })
	})
}

// send puts a frame on the way from one side to the other.
func (l *link) send(from int, f frame) {
	e := &l.ends[1-from]
	if (!l.ends[from].open || e.cut) && !f.fin {
		return
	}
	f.at = max(e.lastAt, l.w.now+l.w.delay())
	e.lastAt = f.at
	e.flight = append(e.flight, f)
	l.pump(1 - from)
}

// pump sees to it that what is in flight to a side arrives.
func (l *link) pump(side int) {
	e := &l.ends[side]
	if e.pumping || len(e.flight) == 0 || l.w.isCut(l.ends[1-side].s.id, e.s.id) {
		return
	}
	e.pumping = true
	l.w.at(e.flight[0].at, func() {
		e.pumping = false
		if len(e.flight) == 0 || l.w.isCut(l.ends[1-side].s.id, e.s.id) {
			return
		}
		f := e.flight[0]
		e.flight = e.flight[1:]
		l.arrive(side, f)
		l.pump(side)
	})
}

func (l *link) arrive(side int, f frame) {
	e := &l.ends[side]
	if !e.s.up && e.s.hostDown {
		return // nobody is there to say so
	}
	if !e.s.up || e.s.life != e.life || !e.open {
		// The connection is unknown here; the other side is told.
		if !f.fin {
			l.send(side, frame{fin: true})
		}
		return
	}
	e.inbox = append(e.inbox, f)
	e.s.post(func() { e.s.readLink(l, side) })
}

// shut closes one side. tell says whether the other side gets to know.
func (l *link) shut(side int, tell bool) {
	e := &l.ends[side]
	if !e.open {
		return
	}
	e.open = false
	e.inbox = nil
	if tell {
		l.send(side, frame{fin: true})
	}
	if !l.ends[0].alive() && !l.ends[1].alive() {
		l.w.forget(l)
	}
}

func (e *linkEnd) alive() bool { return e.open && e.s.up && e.s.life == e.life }

func (w *world) forget(l *link) {
	for i := range w.links {
		if w.links[i] == l {
			w.links = append(w.links[:i:i], w.links[i+1:]...)
			return
		}
	}
}

// The election port. As its connection manager does, each direction holds one message that
// waits, a newer one in place of an older, and a new connection carries the last message ever
// sent once more (quorum protocol, section 2.4).

// electionSend carries a notification.
func (w *world) electionSend(from *server, to quorum.ServerID, n quorum.Notification) {
	peer := w.server(to)
	from.votedFor[ballotOf(n.Vote)] = true
	from.lastVote[to-1] = &n
	if w.isCut(from.id, to) || w.isCut(to, from.id) {
		return
	}
	if !peer.up {
		if !peer.hostDown {
			life := from.life
			w.after(w.delay()+w.delay(), func() {
				if from.life == life && !peer.up {
					from.post(func() { from.elect(from.election.PeerDown(from.local(), to, nil)) })
				}
			})
		}
		return
	}
	w.electionDeliver(from, peer, n)
}

func (w *world) electionDeliver(from, peer *server, n quorum.Notification) {
	life := peer.life
	k := peer.id - 1
	at := max(w.now+w.delay(), from.lastVoteAt[k])
	from.lastVoteAt[k] = at
	w.at(at, func() {
		if !peer.up || peer.life != life || w.isCut(from.id, peer.id) {
			return
		}
		peer.post(func() { peer.elect(peer.election.Receive(peer.local(), from.id, n, nil)) })
	})
}

// electionUp is a new connection between two servers.
func (w *world) electionUp(a, b *server) {
	for _, p := range [2][2]*server{{a, b}, {b, a}} {
		from, to := p[0], p[1]
		if n := from.lastVote[to.id-1]; n != nil {
			w.electionDeliver(from, to, *n)
		}
		from.post(func() { from.elect(from.election.PeerUp(from.local(), to.id, nil)) })
	}
}
