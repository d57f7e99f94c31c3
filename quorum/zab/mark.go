package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// In an ensemble a zxid stands for one transaction, everywhere and for good. So a learner whose log has another
// transaction at a zxid of the leader's is of another ensemble, or of a copy of this one that went its own way. Nothing
// of the leader's must be put on top of its data, which nobody could take apart again, and nothing may be cut off it.
// The zxids alone do not tell: that of one ensemble's last transaction often is one of the other's, too.

// mark gives the leader's newest transaction up to at, for a learner whose history ends there or is to be cut there.
// It is nil if there is none, or the learner does not take it.
func (l *Leader) mark(p *peer, at quorum.Zxid, out *Outputs) []byte {
	if !p.marks || at <= 0 {
		return nil
	}
	var packet []byte
	if i := l.window.After(at); i > 0 {
		packet = l.window.At(i - 1).Packet
	} else {
		var ok bool
		if packet, ok = l.history.Proposal(at); !ok {
			return nil
		}
	}
	m, err := quorum.MarkOf(packet)
	if err != nil {
		return nil
	}
	start := len(out.buf)
	out.buf = m.Append(out.buf)
	return out.buf[start:len(out.buf):len(out.buf)]
}

// sameHistory compares the own history with the mark in the leader's first packet of the synchronisation. proven tells
// that it is of the leader's ensemble. If ok is false this learner has given up.
//
// Where the log does not have the zxid, because it begins behind it, the trees' digests are compared, if this
// learner's ends there. They may differ in one ensemble too, after a fault of some server or disk: the leader's
// snapshot makes that good, and the driver compares the trees before.
func (l *Learner) sameHistory(pkt *quorum.Packet, out *Outputs) (proven, ok bool) {
	if !l.marks {
		return false, true
	}
	theirs, have := quorum.DecodeMark(pkt.Data)
	if !have || theirs.Zxid > l.last {
		return false, true
	}
	if l.opts.Proposal != nil {
		if packet, have := l.opts.Proposal(theirs.Zxid); have {
			ours, err := quorum.MarkOf(packet)
			if err == nil && ours.TxnHeader == theirs.TxnHeader {
				return true, true
			}
			if err == nil {
				l.giveUp(out, foreign(&ours, &theirs))
				return false, false
			}
		}
	}
	if theirs.Zxid != l.opts.LastZxid || !theirs.HasDigest || !l.opts.HasDigest {
		return false, true
	}
	if theirs.Digest == l.opts.Digest {
		return true, true
	}
	if pkt.Type != quorum.PacketSnap {
		l.distrust(out, fmt.Errorf("%w: at 0x%x it has digest %d, the leader's %d", ErrDiverged, uint64(theirs.Zxid), int64(l.opts.Digest), int64(theirs.Digest)))
		return false, false
	}
	return false, true
}

func foreign(ours, theirs *quorum.Mark) error {
	tell := func(m *quorum.Mark) string {
		s := fmt.Sprintf("session 0x%x, cxid %d, type %d, time %d", uint64(m.SessionID), m.Cxid, m.Type, m.TimeMs)
		if m.HasDigest {
			s += fmt.Sprintf(", digest %d", int64(m.Digest))
		}
		return s
	}
	return fmt.Errorf("%w: zxid 0x%x is another transaction here (%s) than there (%s)", ErrForeign, uint64(theirs.Zxid), tell(ours), tell(theirs))
}
