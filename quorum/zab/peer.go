package zab

import (
	"bytes"
	"fmt"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// peerState is how far a learner's connection has come.
type peerState uint8

const (
	peerNew       peerState = iota // its first packet is awaited
	peerWaitEpoch                  // it waits for the epoch
	peerAckEpoch                   // has LEADERINFO; its ACKEPOCH is awaited
	peerWaitSync                   // has acknowledged; a quorum that has is awaited
	peerStreaming                  // the driver sends it history
	peerSynced                     // has NEWLEADER; its ACK is awaited
	peerReady                      // has acknowledged NEWLEADER; waits for the leader to serve
	peerServing                    // has UPTODATE
)

// peer is a learner's connection at the leader.
type peer struct {
	link       LinkID
	id         quorum.ServerID
	state      peerState
	observer   bool
	bySnap     bool               // it is brought up to date by SNAP
	cumulative bool               // takes cumulative COMMITs; its ACKs are taken as such anyway
	image      bool               // takes the records of an image
	marks      bool               // takes marks
	resumes    bool               // takes the rest of an image
	place      *quorum.ImagePlace // how far it has the image of an earlier synchronisation; nil: it has none
	features   quorum.Features    // to be told in LEADERINFO
	zxid       quorum.Zxid        // of its ACKEPOCH

	deadline   time.Duration // for the next packet; 0: none is expected
	freshUntil time.Duration // counts as alive until then

	sent       quorum.Zxid // newest proposal handed over
	commitSent quorum.Zxid // newest commit handed over
	acked      quorum.Zxid // newest proposal acknowledged
	ackCounts  bool        // NEWLEADER is acknowledged
	watched    watch       // the proposal whose ACK is timed
	later      watch       // the newest behind it

	// inOrder: it is a Java learner, or serves such ones, see hold. syncs are its unanswered syncs then.
	inOrder bool
	syncs   syncQueue

	pingsSent, pingsAnswered uint64 // since UPTODATE
	roundPing                uint64 // the PING whose answer confirms the round of syncs; 0: none
	roundZxid                quorum.Zxid
}

// watch is a proposal and when it was sent; zxid 0 is none.
type watch struct {
	zxid quorum.Zxid
	at   time.Duration
}

// packet takes a packet from a learner.
func (l *Leader) packet(p *peer, pkt *quorum.Packet, out *Outputs) {
	if p.state >= peerSynced {
		p.freshUntil = l.now + l.opts.Timing.sync()
	}
	if p.state == peerServing {
		p.deadline = p.freshUntil
		l.steady(p, pkt, out)
		return
	}
	switch {
	case p.state == peerNew && (pkt.Type == quorum.PacketFollowerInfo || pkt.Type == quorum.PacketObserverInfo):
		l.learnerInfo(p, pkt, out)
	case p.state == peerAckEpoch && pkt.Type == quorum.PacketAckEpoch:
		l.ackEpoch(p, pkt, out)
	case (p.state == peerSynced || p.state == peerReady) && pkt.Type == quorum.PacketAck:
		if p.state == peerSynced && pkt.Zxid == quorum.EpochStart(l.epoch) {
			l.ackNewLeader(p, out)
			return
		}
		// Some Java followers acknowledge proposals of the synchronisation first (section 10).
		l.ack(p, pkt.Zxid, out)
	default:
		l.close(p, out, fmt.Errorf("%w: %s from server %d in the handshake", ErrProtocol, quorum.PacketName(pkt.Type), p.id))
	}
}

// learnerInfo takes FOLLOWERINFO or OBSERVERINFO.
func (l *Leader) learnerInfo(p *peer, pkt *quorum.Packet, out *Outputs) {
	info, err := quorum.DecodeLearnerInfo(pkt.Data)
	if err != nil {
		l.close(p, out, fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	if info.Anonymous {
		l.names--
		info.ServerID = l.names
	}
	if info.ProtocolVersion < quorum.ProtocolVersion {
		l.close(p, out, fmt.Errorf("%w: server %d, version 0x%x", ErrOldProtocol, info.ServerID, info.ProtocolVersion))
		return
	}
	if info.ConfigVersion > l.config.Version {
		l.close(p, out, fmt.Errorf("%w: server %d has 0x%x, committed is 0x%x", ErrConfigVersion, info.ServerID, info.ConfigVersion, l.config.Version))
		return
	}
	if info.ServerID == l.opts.Self {
		l.close(p, out, fmt.Errorf("%w: a learner with the leader's id %d", ErrProtocol, info.ServerID))
		return
	}
	if old := l.peerOf(info.ServerID); old != nil {
		// What it acknowledged on that connection must not be counted any more: it may be told
		// to cut it off on this one.
		l.close(old, out, fmt.Errorf("%w: server %d", ErrReplaced, info.ServerID))
	}
	p.id = info.ServerID
	p.observer = pkt.Type == quorum.PacketObserverInfo
	shared := info.Features & l.opts.Features
	p.cumulative, p.image = shared.Has(quorum.FeatureCumulativeCommit), shared.Has(quorum.FeatureImage)
	p.marks, p.resumes = shared.Has(quorum.FeatureMark), shared.Has(quorum.FeatureResume)
	p.state, p.deadline = peerWaitEpoch, 0
	p.inOrder = !shared.Has(quorum.FeatureLooseSync)
	if info.Features != 0 {
		p.features = l.opts.Features // a Java learner is told nothing
	}
	if l.refuse(p, quorum.EpochOf(pkt.Zxid), out) {
		return
	}
	if l.phase == leaderDiscovery {
		l.offerEpoch(p.id, quorum.EpochOf(pkt.Zxid), out)
		return
	}
	if accepted := quorum.EpochOf(pkt.Zxid); accepted > l.epoch {
		if l.ledAlone(p.id) {
			l.giveUp(out, fmt.Errorf("%w: server %d epoch %d, this is %d, led without it", ErrNewerEpoch, p.id, accepted, l.epoch))
			return
		}
		out.warn(p.link, fmt.Errorf("%w: server %d epoch %d, this is %d", ErrNewerEpoch, p.id, accepted, l.epoch))
		out.List[len(out.List)-1].Server = p.id
	}
	l.sendLeaderInfo(p, out)
}

// offerEpoch takes a server's accepted epoch, and fixes the new epoch once a quorum has told
// theirs (getEpochToPropose).
//
// While a reconfig is pending that is a quorum of both configs, as it has to be for NEWLEADER, and so it is for
// promises. Java asks the committed one alone. Then somebody elected by the voters of the other config, where
// that is committed already, could choose the same epoch.
func (l *Leader) offerEpoch(id quorum.ServerID, accepted quorum.Epoch, out *Outputs) {
	l.highestAccepted = max(l.highestAccepted, accepted)
	if l.isVoter(id) {
		l.offered.add(id)
	}
	if !l.offered.has(l.opts.Self) || !l.isQuorum(l.offered.has) {
		return
	}
	l.epoch = l.highestAccepted + 1
	o := out.add(OutPersistAcceptedEpoch)
	o.Epoch = l.epoch
	l.phase, l.deadline = leaderAckEpoch, l.now+l.opts.Timing.init()
	for _, p := range l.peers {
		if p.state == peerWaitEpoch {
			l.sendLeaderInfo(p, out)
		}
	}
	l.promiseOwn(out)
}

func (l *Leader) sendLeaderInfo(p *peer, out *Outputs) {
	info := quorum.LeaderInfo{ProtocolVersion: quorum.ProtocolVersion, Features: p.features}
	start := len(out.buf)
	out.buf = info.Append(out.buf)
	out.send(p.link, quorum.PacketLeaderInfo, quorum.EpochStart(l.epoch), out.buf[start:len(out.buf):len(out.buf)])
	p.state, p.deadline = peerAckEpoch, l.now+l.opts.Timing.init()
}

// ackEpoch takes a learner's history and, unless it had made it before, its promise.
func (l *Leader) ackEpoch(p *peer, pkt *quorum.Packet, out *Outputs) {
	current, err := quorum.DecodeAckEpoch(pkt.Data)
	if err != nil {
		l.close(p, out, fmt.Errorf("%w: %w", ErrProtocol, err))
		return
	}
	p.zxid, p.deadline, p.state = pkt.Zxid, 0, peerWaitSync
	if place, ok := quorum.AckEpochPlace(pkt.Data); ok && p.resumes {
		place.Key = bytes.Clone(place.Key)
		p.place = &place
	}
	if l.phase != leaderAckEpoch {
		l.synchronise(p, out)
		return
	}
	if current == quorum.EpochAlreadyPromised {
		return
	}
	ahead := current > l.opts.CurrentEpoch || (current == l.opts.CurrentEpoch && p.zxid > l.opts.LastZxid)
	if ahead && !l.opts.Bugs.AheadPromises {
		l.close(p, out, fmt.Errorf("%w: server %d with epoch %d and zxid 0x%x, leader with %d and 0x%x", ErrAhead, p.id, current, p.zxid, l.opts.CurrentEpoch, l.opts.LastZxid))
		return
	}
	if p.zxid != -1 {
		l.promise(p.id, out)
	}
}

// promiseOwn counts the leader itself, once its own history is on disk: what follows is that its
// currentEpoch is stored, which stands for that history.
func (l *Leader) promiseOwn(out *Outputs) {
	if l.durable >= l.opts.LastZxid || l.opts.Bugs.AsyncLogLostOnLeader {
		l.promise(l.opts.Self, out)
	}
}

// promise counts a server that will follow no older leader. A quorum of them begins the
// synchronisation (waitForEpochAck).
func (l *Leader) promise(id quorum.ServerID, out *Outputs) {
	if l.isVoter(id) {
		l.promised.add(id)
	}
	if !l.promised.has(l.opts.Self) || !l.isQuorum(l.promised.has) {
		return
	}
	o := out.add(OutPersistCurrentEpoch)
	o.Epoch = l.epoch
	l.last = quorum.EpochStart(l.epoch)
	l.phase, l.deadline = leaderNewLeader, l.now+l.opts.Timing.init()
	if l.opts.ReconfigEnabled && l.config.Version == 0 && l.lastSeen.Version == 0 {
		// The first config of an ensemble gets its version now (section 1.6).
		l.lastSeen = l.lastSeen.WithVersion(l.last)
	}
	l.newLeaderText = l.lastSeen.AppendText(nil)
	for i := 0; i < len(l.peers); i++ {
		p := l.peers[i]
		if p.state != peerWaitSync {
			continue
		}
		if l.synchronise(p, out); i < len(l.peers) && l.peers[i] != p {
			i-- // it was closed
		}
	}
	l.tryServe(out)
}

// synchronise begins to bring a learner to the leader's history.
func (l *Leader) synchronise(p *peer, out *Outputs) {
	if l.master && p.zxid > l.committed && quorum.EpochOf(p.zxid) == l.epoch {
		// Another server has told it what is committed here in a moment. It must not be cut off.
		l.close(p, out, fmt.Errorf("%w: observer %d with 0x%x, here 0x%x is committed", ErrAhead, p.id, p.zxid, l.committed))
		return
	}
	plan := decideSync(p.zxid, l.committed, l.window, l.history, l.opts.ForceSnap)
	p.bySnap = plan.kind == syncSnap
	if p.observer && l.syncsFull(p.bySnap) {
		l.close(p, out, fmt.Errorf("%w: observer %d", ErrBusy, p.id))
		return
	}
	switch plan.kind {
	case syncSnap:
		p.state = peerStreaming
		mark := l.mark(p, p.zxid, out)
		o := out.add(OutStreamSnap)
		o.Link, o.Server, o.Image, o.Data = p.link, p.id, p.image, mark
	case syncTrunc:
		out.send(p.link, quorum.PacketTrunc, plan.zxid, l.mark(p, plan.from, out))
		l.catchUp(p, plan.from, out)
	default:
		out.send(p.link, quorum.PacketDiff, plan.zxid, l.mark(p, plan.from, out))
		l.catchUp(p, plan.from, out)
	}
}

// syncsFull reports whether as many learners are being brought up to date as may.
func (l *Leader) syncsFull(bySnap bool) bool {
	most := l.opts.DiffSyncsMax
	if bySnap {
		most = l.opts.SnapSyncsMax
	}
	n := 0
	for _, p := range l.peers {
		if (p.state == peerStreaming || p.state == peerSynced) && p.bySnap == bySnap {
			n++
		}
	}
	return most > 0 && n >= most
}

// catchUp goes on with a learner that has everything up to at. What the window holds is sent
// from there, and the learner then gets what is new like all others; what it does not hold, the
// driver streams from disk first, while more may be committed. So nothing is queued for it
// meanwhile.
func (l *Leader) catchUp(p *peer, at quorum.Zxid, out *Outputs) {
	if !l.window.continues(at) {
		p.state = peerStreaming
		o := out.add(OutStreamDiff)
		o.Link, o.Server, o.From, o.Zxid, o.Cumulative = p.link, p.id, at, min(l.historyEnd(), l.durable), p.cumulative
		return
	}
	if l.opts.Bugs.NewLeaderBeforeHistory {
		out.send(p.link, quorum.PacketNewLeader, quorum.EpochStart(l.epoch), l.newLeaderText)
	}
	i := l.window.After(at)
	if end := l.historyEnd(); i < l.window.Len() && l.window.At(i).Zxid <= end {
		o := out.add(OutSendHistory)
		o.Link, o.Type, o.From, o.Zxid, o.Cumulative = p.link, quorum.PacketProposal, l.window.At(i).Zxid, end, p.cumulative
	}
	if l.phase == leaderServing && !p.observer && l.last > l.committed {
		o := out.add(OutSendProposals)
		o.Link, o.Type, o.From, o.Zxid = p.link, quorum.PacketProposal, l.committed+1, l.last
	}
	p.sent, p.commitSent = l.last, l.committed
	if l.phase != leaderServing {
		p.commitSent = l.last
	}
	if !l.opts.Bugs.NewLeaderBeforeHistory {
		out.send(p.link, quorum.PacketNewLeader, quorum.EpochStart(l.epoch), l.newLeaderText)
	}
	p.state, p.deadline = peerSynced, l.now+l.opts.Timing.init()
	p.freshUntil = l.now + l.opts.Timing.init() + l.opts.Timing.sync()
}

// historyEnd returns the newest committed proposal in the log. The start of an epoch, at which an
// image may have been made or received, is none: it must not be named in a COMMIT, nor waited
// for in a stream. The window goes to the end of the history, so it knows.
func (l *Leader) historyEnd() quorum.Zxid {
	end := l.committed
	if quorum.CounterOf(end) == 0 && l.phase == leaderServing {
		end = l.opts.LastZxid
	}
	if quorum.CounterOf(end) != 0 {
		return end
	}
	if i := l.window.After(end); i > 0 {
		return l.window.At(i - 1).Zxid
	}
	return min(end, l.window.Base())
}

// streamed goes on after the driver has sent history up to zxid.
func (l *Leader) streamed(p *peer, zxid quorum.Zxid, ok bool, out *Outputs) {
	if p.state != peerStreaming {
		panic(fmt.Sprintf("zab: InStreamed for server %d, which streams nothing", p.id))
	}
	if !ok {
		l.close(p, out, fmt.Errorf("%w: to server %d", ErrStream, p.id))
		return
	}
	l.catchUp(p, zxid, out)
}

// ackNewLeader counts a learner that has the whole history and the epoch on disk
// (waitForNewLeaderAck).
func (l *Leader) ackNewLeader(p *peer, out *Outputs) {
	p.state, p.ackCounts, p.deadline = peerReady, true, 0
	l.dirty = true // ACKs that came before count from now on
	if l.phase == leaderServing {
		l.upToDate(p, out)
		return
	}
	l.tryServe(out)
}

// hasHistory reports whether server id has acknowledged NEWLEADER and is still there: one that
// has left may be following a newer leader. It may be an observer yet, whom the last seen config
// makes a voter.
func (l *Leader) hasHistory(id quorum.ServerID) bool {
	if id == l.opts.Self {
		return true
	}
	p := l.peerOf(id)
	return p != nil && p.ackCounts
}

// tryServe begins to broadcast once a quorum has the leader's history.
func (l *Leader) tryServe(out *Outputs) {
	acked := l.hasHistory
	if l.opts.Bugs.CommitCountsOldEpoch {
		acked = l.promised.has
	}
	if l.phase != leaderNewLeader || !l.isQuorum(acked) {
		return
	}
	l.phase = leaderServing
	if l.opts.LastZxid > 0 {
		o := out.add(OutCommit)
		o.Zxid = l.opts.LastZxid
	}
	l.committed = l.last
	l.eras = append(l.eras[:0], era{from: l.last + 1, a: l.config})
	l.completeReconfig(out)
	if !l.muted {
		o := out.add(OutServe)
		o.Epoch = l.epoch
	}
	for _, p := range l.peers {
		if p.state == peerReady {
			l.upToDate(p, out)
		}
	}
	if l.muted {
		// The list that an earlier leader proposed is committed, and has no place for this one as the leader. Nobody
		// is told who is to lead, so learners would stay, and wait for commits.
		l.giveUp(out, fmt.Errorf("%w: leader %d completed 0x%x", ErrReconfigured, l.opts.Self, l.config.Version))
	}
}

// upToDate lets a learner serve.
func (l *Leader) upToDate(p *peer, out *Outputs) {
	out.send(p.link, quorum.PacketUpToDate, quorum.NoZxid, nil)
	p.state = peerServing
	p.deadline = l.now + l.opts.Timing.sync()
	p.freshUntil = p.deadline
}

// steady takes a packet from a learner that serves.
func (l *Leader) steady(p *peer, pkt *quorum.Packet, out *Outputs) {
	switch pkt.Type {
	case quorum.PacketAck:
		l.ack(p, pkt.Zxid, out)
	case quorum.PacketPing:
		touches, err := quorum.DecodeTouches(pkt.Data)
		if err != nil {
			l.close(p, out, fmt.Errorf("%w: %w", ErrProtocol, err))
			return
		}
		l.pong(p, pkt.Zxid)
		if touches.Len() > 0 {
			o := out.add(OutTouch)
			o.Link, o.Server, o.Data = p.link, p.id, touches
		}
	case quorum.PacketRevalidate:
		t, err := quorum.DecodeRevalidate(pkt.Data)
		if err != nil {
			l.close(p, out, fmt.Errorf("%w: %w", ErrProtocol, err))
			return
		}
		o := out.add(OutRevalidate)
		o.Link, o.Server, o.Session, o.TimeoutMs = p.link, p.id, t.SessionID, t.TimeoutMs
	case quorum.PacketRequest:
		r, err := quorum.DecodeRequest(pkt.Data)
		if err != nil {
			l.close(p, out, fmt.Errorf("%w: %w", ErrProtocol, err))
			return
		}
		if r.Op == proto.OpSync && l.master {
			o := out.add(OutForwardSync)
			o.Link, o.Server, o.Data, o.Auth = p.link, p.id, pkt.Data, pkt.Auth
			return
		}
		o := out.add(OutRequest)
		o.Link, o.Server, o.Data, o.Auth = p.link, p.id, pkt.Data, pkt.Auth
	default:
		out.warn(p.link, fmt.Errorf("%w: %s from server %d", ErrProtocol, quorum.PacketName(pkt.Type), p.id))
	}
}
