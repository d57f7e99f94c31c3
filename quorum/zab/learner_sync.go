package zab

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// beginSync takes the packet that says how this learner gets the leader's history.
func (l *Learner) beginSync(pkt *quorum.Packet, out *Outputs) {
	switch pkt.Type {
	case quorum.PacketDiff:
		if l.opts.LastZxid < 0 {
			l.violation(out, "DIFF to a learner without history")
			return
		}
		if _, ok := l.sameHistory(pkt, out); ok {
			l.inStep()
		}
	case quorum.PacketTrunc:
		if pkt.Zxid > l.last {
			l.distrust(out, fmt.Errorf("%w at 0x%x, it ends at 0x%x", ErrTruncate, pkt.Zxid, l.last))
			return
		}
		if _, ok := l.sameHistory(pkt, out); !ok {
			return
		}
		l.phase, l.deadline, l.patience = learnerCutting, 0, 0
		l.cutAt = pkt.Zxid
		o := out.add(OutTruncateLog)
		o.Zxid = pkt.Zxid
	case quorum.PacketSnap:
		proven, ok := l.sameHistory(pkt, out)
		if !ok {
			return
		}
		l.phase = learnerTree
		o := out.add(OutReceiveTree)
		o.Link, o.Zxid, o.Image, o.Compare, o.Data = l.link, pkt.Zxid, quorum.IsImage(pkt.Data), l.marks && !proven, pkt.Data
	default:
		l.violation(out, "%s where DIFF, TRUNC or SNAP is due", quorum.PacketName(pkt.Type))
	}
}

// inStep goes on when the own history is known to be the beginning of the leader's.
func (l *Learner) inStep() {
	l.phase, l.patience = learnerSyncing, l.opts.Timing.init()
	l.alive()
	l.appended, l.committed = l.last, l.last
}

// truncated goes on after the log was cut.
func (l *Learner) truncated(z quorum.Zxid, ok bool, out *Outputs) {
	if l.phase != learnerCutting {
		panic("zab: InTruncated without OutTruncateLog")
	}
	// The log must hold the very proposal at which it was cut, else it is not the leader's log.
	// The start of this learner's last epoch is no proposal, and fits what came before it.
	start := quorum.CounterOf(l.cutAt) == 0 && quorum.EpochOf(l.cutAt) == quorum.EpochOf(l.last)
	if !ok || (z != l.cutAt && !start) {
		l.distrust(out, fmt.Errorf("%w at 0x%x, only at 0x%x", ErrTruncate, l.cutAt, z))
		return
	}
	l.last, l.durable, l.applied = z, z, min(l.applied, z)
	l.inStep()
}

// treeReceived goes on after the tree came.
func (l *Learner) treeReceived(in *Input, out *Outputs) {
	if l.phase != learnerTree {
		panic("zab: InTreeReceived without OutReceiveTree")
	}
	z := in.Zxid
	if !in.OK {
		if errors.Is(in.Err, ErrForeign) {
			l.giveUp(out, in.Err)
			return
		}
		l.distrust(out, ErrTree)
		return
	}
	l.last, l.applied, l.unlogged, l.tree = z, z, true, z
	l.inStep()
	if l.opts.Bugs.TreeReplacesHistory {
		l.takeSnapshot(out)
	}
}

// syncing takes what comes between the first packet of the sync and UPTODATE (section 4.5).
//
// What is committed is logged as it comes, in front of NEWLEADER, and applied. That is the
// order of 3.9.3+, history before epoch, without holding all of it in memory; and unlike
// Java's, no log has a hole after TRUNC. After SNAP it is applied to the tree alone, and
// NEWLEADER makes an image of both: the image that was sent may be older than what is
// on this disk, which has to stay until it can be replaced as a whole. What is not
// committed is held until the learner serves.
func (l *Learner) syncing(pkt *quorum.Packet, out *Outputs) {
	switch pkt.Type {
	case quorum.PacketProposal:
		l.hold(pkt.Zxid, pkt.Raw, pkt.Data, out)
	case quorum.PacketInform:
		l.inform(pkt.Zxid, pkt.Data, out)
	case quorum.PacketCommit:
		l.commitHeld(pkt.Zxid, out)
	case quorum.PacketCommitAndActivate:
		designated, err := quorum.DecodeCommitAndActivate(pkt.Data)
		if err != nil {
			l.violation(out, "%v", err)
			return
		}
		if l.commitHeld(pkt.Zxid, out) {
			l.activate(l.lastSeen, designated, pkt.Zxid, out)
		}
	case quorum.PacketInformAndActivate:
		l.informAndActivate(pkt, out)
	case quorum.PacketNewLeader:
		l.newLeader(pkt, out)
	case quorum.PacketUpToDate:
		l.upToDate = true
		switch l.phase {
		case learnerSyncing:
			l.phase = learnerStoring
			l.store(out)
		case learnerReady:
			l.serve(out)
		}
	}
}

// follows checks that z comes right behind what this learner has. Java lets a first proposal
// have any zxid; here that goes for an empty history only, since a leader that leaves out
// transactions would make the two trees differ for good.
func (l *Learner) follows(z quorum.Zxid, out *Outputs) bool {
	if quorum.Follows(l.last, z) || (l.opts.Bugs.HolesAccepted && z > l.last) {
		return true
	}
	if l.last == 0 && z > 0 {
		l.committed, l.acked = z-1, z-1
		return true
	}
	l.distrust(out, fmt.Errorf("%w: 0x%x after 0x%x", ErrGap, z, l.last))
	return false
}

// hold keeps a proposal until its COMMIT, or until this learner serves.
func (l *Learner) hold(z quorum.Zxid, packet, txn []byte, out *Outputs) bool {
	if z <= l.tree {
		return l.repeated(z, txn, out)
	}
	if !l.follows(z, out) {
		return false
	}
	if !l.sawConfig(txn, out) {
		return false
	}
	l.last = z
	l.held = append(l.held, heldProposal{zxid: z, packet: packet})
	return true
}

// repeated passes over a proposal that is in the tree already. Java's leader forwards to a
// learner from the zxid at which it decided on SNAP, and reads the zxid of SNAP later.
func (l *Learner) repeated(z quorum.Zxid, txn []byte, out *Outputs) bool {
	if !l.sawConfig(txn, out) {
		return false
	}
	if l.phase == learnerSyncing {
		return true
	}
	// Java's leader may wait for the ACK of what it sends behind NEWLEADER.
	if l.lateFrom == 0 {
		l.lateFrom = z
	} else if z != l.lateTo+1 {
		l.distrust(out, fmt.Errorf("%w: 0x%x after 0x%x", ErrGap, z, l.lateTo))
		return false
	}
	l.lateTo = z
	return true
}

// inform takes a committed transaction.
func (l *Learner) inform(z quorum.Zxid, txn []byte, out *Outputs) bool {
	start := len(out.buf)
	out.buf = quorum.AppendPacket(out.buf, quorum.PacketProposal, z, txn)
	return l.hold(z, out.buf[start:len(out.buf):len(out.buf)], txn, out) && l.commitHeld(z, out)
}

// commitHeld takes the COMMIT of a held proposal, and logs it unless NEWLEADER has come.
func (l *Learner) commitHeld(z quorum.Zxid, out *Outputs) bool {
	if z <= l.tree {
		return true // of a repeated proposal
	}
	if l.opts.Bugs.PendingForgotten && l.phase != learnerSyncing {
		l.violation(out, "COMMIT of 0x%x, none is pending", z)
		return false
	}
	if !l.commits(z, out) {
		return false
	}
	if l.phase == learnerSyncing {
		n := 0
		for n < len(l.held) && l.held[n].zxid <= z {
			n++
		}
		l.logHeld(n, out)
	}
	return true
}

// commits checks a COMMIT: it is that of the oldest proposal that is not committed, or, on
// a cumulative link, of any.
func (l *Learner) commits(z quorum.Zxid, out *Outputs) bool {
	if l.committed >= l.last || z <= l.committed {
		out.warn(l.link, fmt.Errorf("%w: COMMIT of 0x%x, committed is 0x%x of 0x%x", ErrProtocol, z, l.committed, l.last))
		return false
	}
	oldest := l.committed + 1
	if len(l.held) > 0 && l.held[0].zxid > l.committed {
		oldest = l.held[0].zxid
	}
	if z != oldest && (!l.cumulative || z < oldest || z > l.last) {
		l.violation(out, "COMMIT of 0x%x, pending are 0x%x..0x%x", z, oldest, l.last)
		return false
	}
	l.committed = z
	return true
}

// logHeld logs the n oldest held proposals.
func (l *Learner) logHeld(n int, out *Outputs) {
	for i := range n {
		h := &l.held[i]
		packet := h.packet
		if h.owned {
			// Lent until the outputs are done, while the memory may be used again at once.
			packet = out.keep(packet)
			l.spare = append(l.spare, h.packet)
		}
		l.log(h.zxid, packet, out)
	}
	kept := copy(l.held, l.held[n:])
	clear(l.held[kept:])
	l.held = l.held[:kept]
}

func (l *Learner) log(z quorum.Zxid, packet []byte, out *Outputs) {
	l.appended = z
	o := out.add(OutAppend)
	o.Zxid, o.Data, o.Unlogged = z, packet, l.unlogged
}

// newLeader takes NEWLEADER: everything before it is the history of the epoch.
func (l *Learner) newLeader(pkt *quorum.Packet, out *Outputs) {
	if l.phase != learnerSyncing {
		l.violation(out, "NEWLEADER twice")
		return
	}
	if len(pkt.Data) > 0 && l.opts.ReconfigEnabled {
		config, err := quorum.ParseConfig(pkt.Data)
		if err != nil {
			l.violation(out, "NEWLEADER: %v", err)
			return
		}
		l.offered = config
		l.seen(config, out)
	}
	l.phase = learnerStoring
	l.patience = l.opts.Timing.sync()
	l.alive()
	if l.opts.Bugs.EpochBeforeHistory {
		l.storeEpoch(out)
	}
	if l.opts.Bugs.AckNewLeaderBeforeDurable {
		out.send(l.link, quorum.PacketAck, quorum.EpochStart(l.epoch), nil)
	}
	l.store(out)
}

// store acknowledges NEWLEADER once the history is on disk: the history first, then the epoch
// that stands for it, then the ACK.
func (l *Learner) store(out *Outputs) {
	if l.phase != learnerStoring {
		return
	}
	if l.unlogged && !l.taking {
		l.takeSnapshot(out)
	}
	if l.unlogged || l.durable < l.appended {
		return
	}
	l.storeEpoch(out)
	l.phase = learnerReady
	if l.upToDate {
		l.serve(out) // sends the one ACK
		return
	}
	if !l.opts.Bugs.AckNewLeaderBeforeDurable {
		out.send(l.link, quorum.PacketAck, quorum.EpochStart(l.epoch), nil)
	}
}

func (l *Learner) takeSnapshot(out *Outputs) {
	l.taking = true
	l.apply(out)
	o := out.add(OutTakeSnapshot)
	o.Zxid = l.appended
}

// snapshotTaken goes on after the tree is on disk.
func (l *Learner) snapshotTaken(z quorum.Zxid, out *Outputs) {
	if !l.taking {
		panic("zab: InSnapshotTaken without OutTakeSnapshot")
	}
	l.unlogged, l.taking, l.durable = false, false, z
	l.store(out)
}

func (l *Learner) storeEpoch(out *Outputs) {
	if l.opts.CurrentEpoch != l.epoch {
		l.opts.CurrentEpoch = l.epoch
		o := out.add(OutPersistCurrentEpoch)
		o.Epoch = l.epoch
	}
}

// serve acts on UPTODATE. What was held is now logged and acknowledged as usual.
func (l *Learner) serve(out *Outputs) {
	// A config proposed in this epoch and not committed is only pending, though Java takes it over.
	start := quorum.EpochStart(l.epoch)
	if l.offered != nil && l.offered.Version <= max(l.committed, start) {
		l.activate(l.offered, quorum.NoServer, start, out)
		if l.phase == learnerDone {
			return
		}
	}
	out.send(l.link, quorum.PacketAck, quorum.EpochStart(l.epoch), nil)
	if l.lateFrom != 0 && !l.observer {
		out.sendRange(l.link, quorum.PacketAck, l.lateFrom, l.lateTo, l.cumulative)
	}
	l.tree, l.lateFrom, l.lateTo = 0, 0, 0
	l.apply(out)
	l.acked = max(l.acked, l.appended, start)
	l.applied, l.committed = l.acked, max(l.committed, start)
	o := out.add(OutServe)
	o.Epoch = l.epoch
	l.phase = learnerServing
	for i := range l.held {
		if quorum.EpochOf(l.held[i].zxid) != l.epoch {
			l.violation(out, "proposal 0x%x of an old epoch is not committed", l.held[i].zxid)
			return
		}
	}
	l.logHeld(len(l.held), out)
	l.ackLogged(out)
}

// sawConfig looks for a reconfig in a proposal and makes its config the last seen one.
func (l *Learner) sawConfig(txn []byte, out *Outputs) bool {
	if !l.opts.ReconfigEnabled || len(txn) < proto.TxnHeaderBytes {
		return true
	}
	d := jute.NewDecoder(txn, len(txn))
	var h proto.TxnHeader
	if h.Decode(&d); h.Type != proto.OpReconfig {
		return true
	}
	var b proto.TxnBody
	if err := b.Decode(&d, h.Type); err != nil {
		l.violation(out, "reconfig 0x%x: %v", h.Zxid, err)
		return false
	}
	config, err := quorum.ParseConfig(b.Data)
	if err != nil {
		l.violation(out, "reconfig 0x%x: %v", h.Zxid, err)
		return false
	}
	l.seen(config, out)
	return true
}

func (l *Learner) seen(config *quorum.Config, out *Outputs) {
	if config.Version <= l.lastSeen.Version {
		return
	}
	l.lastSeen = config
	o := out.add(OutSaveConfig)
	o.Config = config
}
