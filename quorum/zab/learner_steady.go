package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// serving takes a packet in steady state (section 4.8).
func (l *Learner) serving(pkt *quorum.Packet, out *Outputs) {
	switch pkt.Type {
	case quorum.PacketProposal:
		if l.observer {
			l.odd(pkt, out)
			return
		}
		l.proposal(pkt, out)
	case quorum.PacketCommit:
		if l.observer {
			l.odd(pkt, out)
			return
		}
		l.commits(pkt.Zxid, out)
	case quorum.PacketCommitAndActivate:
		designated, err := quorum.DecodeCommitAndActivate(pkt.Data)
		if err != nil {
			l.violation(out, "%v", err)
			return
		}
		if l.commits(pkt.Zxid, out) {
			l.activate(l.lastSeen, designated, pkt.Zxid, out)
		}
	case quorum.PacketInform:
		l.informed(pkt.Zxid, pkt.Data, out)
	case quorum.PacketInformAndActivate:
		l.informAndActivate(pkt, out)
	case quorum.PacketPing:
		o := out.add(OutAnswerPing)
		o.Link, o.Zxid = l.link, pkt.Zxid
	case quorum.PacketRevalidate:
		r, err := quorum.DecodeRevalidateReply(pkt.Data)
		if err != nil {
			l.violation(out, "%v", err)
			return
		}
		l.apply(out)
		o := out.add(OutRevalidated)
		o.Session, o.OK = r.SessionID, r.Valid
	case quorum.PacketSync:
		if l.syncs.len() == 0 {
			l.odd(pkt, out)
			return
		}
		l.apply(out) // what the sync waited for comes first
		o := out.add(OutSyncDone)
		o.Token = l.syncs.pop().token
	default:
		l.odd(pkt, out)
	}
}

func (l *Learner) odd(pkt *quorum.Packet, out *Outputs) {
	out.warn(l.link, fmt.Errorf("%w: %s from leader %d", ErrProtocol, quorum.PacketName(pkt.Type), l.opts.Leader))
}

// proposal logs what it is given. The ACK waits for InLogDurable.
func (l *Learner) proposal(pkt *quorum.Packet, out *Outputs) {
	if !l.follows(pkt.Zxid, out) {
		return
	}
	if quorum.EpochOf(pkt.Zxid) != l.epoch {
		l.violation(out, "proposal 0x%x in epoch %d", pkt.Zxid, l.epoch)
		return
	}
	if !l.sawConfig(pkt.Data, out) {
		return
	}
	l.last = pkt.Zxid
	l.log(pkt.Zxid, pkt.Raw, out)
	if l.opts.Bugs.AckBeforeDurable {
		l.ackLogged(out)
	}
}

// informed logs a committed transaction.
func (l *Learner) informed(z quorum.Zxid, txn []byte, out *Outputs) bool {
	if !l.follows(z, out) {
		return false
	}
	if !l.sawConfig(txn, out) {
		return false
	}
	l.last, l.committed = z, z
	start := len(out.buf)
	out.buf = quorum.AppendPacket(out.buf, quorum.PacketProposal, z, txn)
	l.log(z, out.buf[start:len(out.buf):len(out.buf)], out)
	return true
}

// informAndActivate takes a committed reconfig, at an observer.
func (l *Learner) informAndActivate(pkt *quorum.Packet, out *Outputs) {
	designated, txn, err := quorum.DecodeInformAndActivate(pkt.Data)
	if err != nil {
		l.violation(out, "%v", err)
		return
	}
	ok := false
	if l.phase == learnerServing {
		ok = l.informed(pkt.Zxid, txn, out)
	} else {
		ok = l.inform(pkt.Zxid, txn, out)
	}
	if ok {
		l.activate(l.lastSeen, designated, pkt.Zxid, out)
	}
}

// logDurable takes how far the log is on disk.
func (l *Learner) logDurable(z quorum.Zxid, out *Outputs) {
	if l.unlogged || l.phase == learnerTree || l.phase == learnerCutting || z <= l.durable {
		return
	}
	l.durable = z
	if l.opts.AcksDuringSync && l.phase >= learnerStoring && l.phase < learnerServing && !l.observer {
		out.sendRange(l.link, quorum.PacketAck, z, z, l.cumulative)
	}
	switch l.phase {
	case learnerStoring:
		l.store(out)
	case learnerServing:
		l.ackLogged(out)
	}
}

// ackLogged acknowledges what is on disk: each proposal, or on a cumulative link the last.
func (l *Learner) ackLogged(out *Outputs) {
	z := min(l.durable, l.appended)
	if l.opts.Bugs.AckBeforeDurable {
		z = l.appended
	}
	if l.observer || z <= l.acked {
		return
	}
	out.sendRange(l.link, quorum.PacketAck, l.acked+1, z, l.cumulative)
	l.acked = z
}

// activate makes config the committed one. If it gives this server another role or leader, the
// connection is given up, behind the commit (section 8.4).
func (l *Learner) activate(config *quorum.Config, designated quorum.ServerID, z quorum.Zxid, out *Outputs) {
	if !l.opts.ReconfigEnabled || config.Version <= l.config.Version {
		return
	}
	l.apply(out)
	moved := designated != quorum.NoServer && designated != l.opts.Leader
	if designated == quorum.NoServer && !config.SameMembers(l.config) {
		// At UPTODATE nobody is named, though a leader that completed the reconfig of an earlier one may not
		// be the one to lead from then on: an election has to find out who is.
		_, stays := quorum.DesignatedLeader(l.config, config, l.opts.Leader, func(quorum.ServerID) quorum.Zxid { return 0 })
		moved = !stays
	}
	l.config = config
	o := out.add(OutActivateConfig)
	o.Config, o.Server, o.Zxid = config, designated, z
	if role := config.RoleOf(l.opts.Self); moved || role != l.opts.Role {
		l.giveUp(out, fmt.Errorf("%w: now %v, leader %d", ErrReconfigured, role, designated))
		out.List[len(out.List)-1].Server = designated
	}
}
