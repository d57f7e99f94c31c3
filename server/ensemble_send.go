package server

import (
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/transport"
	"zabra.dev/zabra/quorum/zab"
)

// peerLink is one connection of the quorum port and what this turn wants sent on it: small packets are gathered in
// out, and proposals are queued by reference to the slab that they were encoded in. flush makes one write of both.
type peerLink struct {
	link     peerConn
	out      []byte // not queued yet
	observer bool   // of one that this follower serves
	queued   bool   // something is, since the last flush
	openedMs int64  // wall clock
	received int64  // packets
}

// outKeptMaxBytes keeps the memory of one giant turn from staying with a link.
const outKeptMaxBytes = 256 << 10

// spill queues what was gathered.
func (l *peerLink) spill() {
	if len(l.out) == 0 {
		return
	}
	l.link.Queue(l.out)
	l.queued = true
	if l.out = l.out[:0]; cap(l.out) > outKeptMaxBytes {
		l.out = nil
	}
}

// flush lets go what this turn has for the link, in one write.
func (l *peerLink) flush() {
	l.spill()
	if l.queued {
		l.queued = false
		l.link.Flush()
	}
}

// sendProposals queues those that an OutSendProposals or OutSendHistory asks for. They are the window's: a learner that
// takes nothing keeps no more memory from being used again than the window does, and what its link may hold.
func (e *ensemble) sendProposals(l *peerLink, o *zab.Output) {
	l.spill()
	l.queued = true
	w := e.window
	l.link.SetShared(w.Bytes())
	for i := w.After(o.From - 1); i < w.Len() && w.At(i).Zxid <= o.Zxid; i++ {
		entry := w.At(i)
		s, _ := entry.Ref.(*slab)
		switch inform := o.Type == quorum.PacketInform; {
		case s != nil && s.sparse() && inform:
			head, rest := quorum.InformOf(entry.Packet)
			l.out = append(append(l.out, head...), rest...)
		case s != nil && s.sparse():
			l.out = append(l.out, entry.Packet...)
		case inform:
			l.spill()
			l.link.QueueInform(entry.Packet, shared(entry))
		default:
			l.spill()
			l.link.QueueShared(entry.Packet, shared(entry))
		}
		if o.Kind == zab.OutSendHistory && !o.Cumulative {
			l.out = quorum.AppendPacket(l.out, quorum.PacketCommit, entry.Zxid, nil)
		}
	}
	if o.Kind == zab.OutSendHistory && o.Cumulative {
		l.out = quorum.AppendPacket(l.out, quorum.PacketCommit, o.Zxid, nil)
	}
}

// shared gives one more reference to the memory of an entry; nil if the collector sees to it.
func shared(e *zab.Entry) transport.Ref {
	s, ok := e.Ref.(*slab)
	if !ok {
		return nil
	}
	s.refs.Add(1)
	return s
}

// sparse tells that most of the slab's memory holds nothing. A light turn leaves such slabs; what is in them is copied
// for a link, so that one that takes nothing keeps at most four times the bytes that it counts.
func (s *slab) sparse() bool { return 4*len(s.batch.Buf) < cap(s.batch.Buf) }
