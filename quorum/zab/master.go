package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// NewObserverMaster returns a Leader that stands in for the leader towards observers, at a follower that serves
// (section 4.12): it brings them up to date, tells them what InCommitted tells it, and passes on what they ask. It
// takes no followers, waits for nobody, proposes nothing and never gives up; it ends when its follower's role
// does. Of opts LastZxid is the newest committed zxid, or the start of the epoch, CurrentEpoch that of the
// leader, and DurableZxid how far the follower's log is on disk. The window stays the follower's: nothing that
// outputs refer to may be trimmed before they are done.
func NewObserverMaster(opts LeaderOptions, window *Window, history History) *Leader {
	l := NewLeader(opts, window, history)
	l.master, l.muted, l.phase = true, true, leaderServing
	l.epoch, l.last = opts.CurrentEpoch, opts.LastZxid
	l.newLeaderText = l.config.AppendText(nil)
	return l
}

// refuse closes the connection of a learner that an observer master cannot take and reports whether it did.
func (l *Leader) refuse(p *peer, accepted quorum.Epoch, out *Outputs) bool {
	switch {
	case !l.master:
		return false
	case !p.observer:
		l.close(p, out, fmt.Errorf("%w: follower %d at the port for observers", ErrProtocol, p.id))
	case accepted > l.epoch:
		l.close(p, out, fmt.Errorf("%w: observer %d epoch %d, this is %d", ErrNewerEpoch, p.id, accepted, l.epoch))
	default:
		return false
	}
	return true
}

// informUpTo tells all observers of what is committed now.
func (l *Leader) informUpTo(in *Input, out *Outputs) {
	if !l.master {
		panic("zab: InCommitted at a leader")
	}
	plain := in.Zxid
	if in.Config != nil {
		plain--
	}
	l.inform(plain, out)
	if in.Config == nil {
		return
	}
	l.config, l.lastSeen = in.Config, in.Config
	l.newLeaderText = l.config.AppendText(nil)
	if in.Zxid <= l.committed {
		return // it came with the history
	}
	text := out.keep(quorum.AppendActivate(nil, in.Server), l.txnOf(in.Zxid))
	for _, p := range l.peers {
		if p.state >= peerSynced {
			out.send(p.link, quorum.PacketInformAndActivate, in.Zxid, text)
			p.sent, p.commitSent = in.Zxid, in.Zxid
		}
	}
	l.committed, l.last = in.Zxid, in.Zxid
}

// inform sends what is committed up to z and not sent yet.
func (l *Leader) inform(z quorum.Zxid, out *Outputs) {
	if z <= l.committed {
		return
	}
	for _, p := range l.peers {
		if p.state < peerSynced || p.commitSent >= z {
			continue
		}
		o := out.add(OutSendProposals)
		o.Link, o.Type, o.From, o.Zxid = p.link, quorum.PacketInform, p.commitSent+1, z
		p.sent, p.commitSent = z, z
	}
	l.committed, l.last = z, z
}
