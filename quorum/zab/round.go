package zab

import (
	"zabra.dev/zabra/quorum"
)

// A sync is answered when a quorum has answered a PING that was sent after the sync came, and
// everything proposed before it is committed. The first shows that no newer leader had
// committed anything by then, so what follows is linearizable, unlike Java's sync. One round of
// PINGs confirms all syncs that came before it; those that come meanwhile wait for the next.

// syncWait is a sync that waits; link 0 is a client of this server.
type syncWait struct {
	link  LinkID
	token uint64
	after quorum.Zxid // the last proposal when it came
}

// syncQueue is a FIFO that reuses its memory.
type syncQueue struct {
	items []syncWait
	head  int
}

func (q *syncQueue) len() int { return len(q.items) - q.head }

func (q *syncQueue) push(w syncWait) { q.items = append(q.items, w) }

func (q *syncQueue) pop() syncWait {
	w := q.items[q.head]
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 1024 && 2*q.head >= len(q.items) {
		q.items, q.head = q.items[:copy(q.items, q.items[q.head:])], 0
	}
	return w
}

// moveTo appends all of q to to and empties q.
func (q *syncQueue) moveTo(to *syncQueue) {
	to.items = append(to.items, q.items[q.head:]...)
	q.items, q.head = q.items[:0], 0
}

func (q *syncQueue) forget(link LinkID) {
	kept := q.items[:0]
	for _, w := range q.items[q.head:] {
		if w.link != link {
			kept = append(kept, w)
		}
	}
	q.items, q.head = kept, 0
}

// sync takes a sync up: of a client of this server, or of a learner's.
func (l *Leader) sync(in *Input) {
	w := syncWait{link: in.Link, token: in.Token, after: l.last}
	if w.link != 0 {
		p := l.peerAt(w.link)
		if p == nil {
			return
		}
		if p.inOrder {
			w.after = max(l.last, in.Zxid)
			p.syncs.push(w)
		}
	}
	l.round.waiting.push(w)
}

// hold returns how much of what is committed up to z a learner may be told now. Java's CommitProcessor expects the answers
// to its requests, SYNC and COMMITs, in the order of the requests. If a COMMIT overtakes the SYNC of an earlier sync, which has
// to wait for its round, no client of that server is answered any more, for good. So what was proposed behind a sync is not
// said to be committed before the sync is answered.
func (p *peer) hold(z quorum.Zxid) quorum.Zxid {
	if p.syncs.len() > 0 {
		return min(z, p.syncs.items[p.syncs.head].after)
	}
	return z
}

// holdsBelow reports whether some learner has an unanswered sync from before z was proposed. The COMMIT of a reconfig, which
// names the designated leader, is sent to all at once, so it waits.
func (l *Leader) holdsBelow(z quorum.Zxid) bool {
	for _, p := range l.peers {
		if p.hold(z) < z {
			return true
		}
	}
	return false
}

// needed returns up to where the window may be trimmed.
func (l *Leader) needed() quorum.Zxid {
	z := min(l.committed, l.durable)
	for _, p := range l.peers {
		if p.observer && p.syncs.len() > 0 {
			z = min(z, p.commitSent)
		}
	}
	return z
}

type syncRound struct {
	waiting   syncQueue // for the next round
	asked     syncQueue // for the answers of this one
	confirmed syncQueue // for commits
	open      bool      // a round is under way
}

func (r *syncRound) forget(link LinkID) {
	r.waiting.forget(link)
	r.asked.forget(link)
	r.confirmed.forget(link)
}

// answerSyncs opens and closes rounds and answers what is confirmed and committed.
func (l *Leader) answerSyncs(out *Outputs) {
	r := &l.round
	for r.open || r.waiting.len() > 0 {
		if !r.open {
			r.open = true
			r.waiting.moveTo(&r.asked)
			for _, p := range l.peers {
				p.roundPing = 0
				if p.state == peerServing && l.isVoter(p.id) {
					l.ping(p, out)
				}
			}
		}
		if !l.isQuorum(l.confirms) && !l.opts.Bugs.SyncUnconfirmed {
			break
		}
		r.open = false
		r.asked.moveTo(&r.confirmed)
	}
	for r.confirmed.len() > 0 && r.confirmed.items[r.confirmed.head].after <= l.committed {
		if w := r.confirmed.pop(); w.link == 0 {
			o := out.add(OutSyncDone)
			o.Token = w.token
		} else {
			out.send(w.link, quorum.PacketSync, 0, nil)
			if p := l.peerAt(w.link); p.inOrder {
				p.syncs.pop()
				l.tell(p, l.committed, out)
				l.dirty = true // a reconfig may have waited
			}
		}
	}
}

// ping sends PING. A learner answers those that it gets behind UPTODATE, one by one; so the
// n-th answer is to the n-th of these, or to a later one.
func (l *Leader) ping(p *peer, out *Outputs) {
	out.send(p.link, quorum.PacketPing, l.last, nil)
	if p.state != peerServing {
		return
	}
	p.pingsSent++
	if l.round.open && p.roundPing == 0 {
		p.roundPing, p.roundZxid = p.pingsSent, l.last
	}
}

// pong takes a learner's PING, which repeats the zxid of the one that it answers.
func (l *Leader) pong(p *peer, z quorum.Zxid) {
	if p.pingsAnswered == p.pingsSent {
		return // answers nothing
	}
	if p.pingsAnswered+1 == p.roundPing && z != p.roundZxid {
		return // not the answer that counts
	}
	p.pingsAnswered++
}
