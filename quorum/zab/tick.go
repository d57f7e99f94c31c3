package zab

import (
	"fmt"
	"time"

	"zabra.dev/zabra/quorum"
)

// tick does what time demands.
func (l *Leader) tick(out *Outputs) {
	if l.phase != leaderServing && l.now >= l.deadline {
		waitedFor := [...]string{leaderDiscovery: "accepted epochs", leaderAckEpoch: "promises", leaderNewLeader: "ACKs of NEWLEADER"}
		l.giveUp(out, fmt.Errorf("%w of %s within %v", ErrNoQuorum, waitedFor[l.phase], l.opts.Timing.init()))
		return
	}
	for i := 0; i < len(l.peers); i++ {
		if p := l.peers[i]; p.deadline != 0 && l.now >= p.deadline {
			l.close(p, out, fmt.Errorf("%w: server %d", ErrTimeout, p.id))
			i--
		}
	}
	if l.now < l.nextPing {
		return
	}
	if l.oracle == quorum.OracleYes && l.phase != leaderServing {
		l.recount(out) // the other voter was waited for
	}
	half := l.opts.Timing.Tick / 2
	if l.nextPing += half; l.nextPing <= l.now {
		l.nextPing = l.now + half // after a pause there is nothing to catch up on
	}
	for i := 0; i < len(l.peers); i++ {
		p := l.peers[i]
		if p.watched.zxid != 0 && l.now-p.watched.at >= l.opts.Timing.sync() {
			l.close(p, out, fmt.Errorf("%w: 0x%x by server %d", ErrAckTimeout, p.watched.zxid, p.id))
			i--
			continue
		}
		if p.state >= peerSynced {
			l.ping(p, out)
		}
	}
	if l.muted && !l.master && l.now-l.mutedAt >= l.opts.Timing.Tick {
		// Its followers have been told by now, and whoever comes to it waits for commits in vain. Java's goes on for as
		// long as enough of them do.
		l.giveUp(out, fmt.Errorf("%w: %d has to lead", ErrReconfigured, l.heir))
		return
	}
	// Every second time, which is once per tick, it is counted who is still there.
	if l.halfTicks++; l.halfTicks%2 == 0 && l.phase == leaderServing && !l.master && !l.hasFreshQuorum() {
		l.giveUp(out, fmt.Errorf("%w: too few followers heard of within %v", ErrNoQuorum, l.opts.Timing.sync()))
	}
}

// hasFreshQuorum reports whether a quorum is still there. For a pending config followers alone count: what has
// become an observer, when the reconfig was on its way, does not acknowledge it.
func (l *Leader) hasFreshQuorum() bool {
	return l.contains(l.config, l.isFresh) && (l.lastSeen.Version <= l.config.Version || l.contains(l.lastSeen, l.isFreshFollower))
}

// NextDeadline returns when the next InTick is due at the latest.
func (l *Leader) NextDeadline() time.Duration {
	next := l.nextPing
	if l.phase != leaderServing {
		next = min(next, l.deadline)
	}
	for _, p := range l.peers {
		if p.deadline != 0 {
			next = min(next, p.deadline)
		}
	}
	return next
}
