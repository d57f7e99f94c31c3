package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// AppendPackets appends the bytes of an output that sends: OutSend, OutSendProposals,
// OutSendHistory; and of OutAnswerPing, with the touches in touches. window is the leader's and
// may be nil for a learner. A driver that writes with vectors takes proposals from the window
// itself and needs this for the rest only.
func (o *Output) AppendPackets(dst []byte, window *Window, touches []byte) []byte {
	switch o.Kind {
	case OutSend:
		if o.From != 0 {
			for z := o.From; z <= o.Zxid; z++ {
				dst = quorum.AppendPacket(dst, o.Type, z, nil)
			}
			return dst
		}
		p := quorum.Packet{Type: o.Type, Zxid: o.Zxid, Data: o.Data, Auth: o.Auth}
		return p.Append(dst)
	case OutSendProposals, OutSendHistory:
		for i := window.After(o.From - 1); i < window.Len() && window.At(i).Zxid <= o.Zxid; i++ {
			e := window.At(i)
			if o.Type == quorum.PacketInform {
				head, rest := quorum.InformOf(e.Packet)
				dst = append(append(dst, head...), rest...)
				continue
			}
			dst = append(dst, e.Packet...)
			if o.Kind == OutSendHistory && !o.Cumulative {
				dst = quorum.AppendPacket(dst, quorum.PacketCommit, e.Zxid, nil)
			}
		}
		if o.Kind == OutSendHistory && o.Cumulative {
			dst = quorum.AppendPacket(dst, quorum.PacketCommit, o.Zxid, nil)
		}
		return dst
	case OutAnswerPing:
		if touches == nil {
			touches = []byte{} // null from a learner would be new to a Java leader
		}
		return quorum.AppendPacket(dst, quorum.PacketPing, o.Zxid, touches)
	}
	panic(fmt.Sprintf("zab: output %d sends nothing", o.Kind))
}

// DiffStream writes the PROPOSALs and COMMITs of an OutStreamDiff from records of the log, and
// refuses a history with holes, which must not be sent as committed (quorum protocol, section 4.6).
type DiffStream struct {
	last, to   quorum.Zxid
	cumulative bool
}

// NewDiffStream begins the stream that an OutStreamDiff asks for.
func NewDiffStream(o *Output) DiffStream {
	return DiffStream{last: o.From, to: o.Zxid, cumulative: o.Cumulative}
}

// Append appends the bytes for the next record of the log: packet is its payload, a PROPOSAL,
// which is borrowed until return. Records at or below From are skipped. The error is ErrHole;
// the link has to be closed then. It must not be called after Done.
func (d *DiffStream) Append(dst []byte, zxid quorum.Zxid, packet []byte) ([]byte, error) {
	if zxid <= d.last {
		return dst, nil
	}
	if !quorum.Follows(d.last, zxid) || zxid > d.to {
		return dst, fmt.Errorf("%w: 0x%x after 0x%x on the way to 0x%x", ErrHole, zxid, d.last, d.to)
	}
	d.last = zxid
	dst = append(dst, packet...)
	if !d.cumulative {
		dst = quorum.AppendPacket(dst, quorum.PacketCommit, zxid, nil)
	}
	return dst, nil
}

// Flush appends what makes the peer commit everything so far. It is to be called at the end
// and, so that the peer need not hold everything in memory, now and then before.
func (d *DiffStream) Flush(dst []byte) []byte {
	if !d.cumulative {
		return dst
	}
	return quorum.AppendPacket(dst, quorum.PacketCommit, d.last, nil)
}

// Done reports whether everything asked for has been appended.
func (d *DiffStream) Done() bool { return d.last >= d.to }
