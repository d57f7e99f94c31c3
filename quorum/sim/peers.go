package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
)

// This file is the side of the driver that other servers see: links, what is read from them and
// what is sent on them.

type heldLink struct {
	l    *link
	side int
}

// treePart is a part of the tree behind a SNAP packet.
type treePart struct {
	bytes []byte
	last  bool
}

// dialsMax and dialWait are the attempts that a learner makes (quorum protocol, section 4.3).
const (
	dialsMax = 5
	dialWait = 100 * ms
)

// dial connects to the leader.
func (s *server) dial() {
	m := s.learner
	addr := s.addrOf(s.leading)
	if addr.IsZero() {
		s.stepDown("the leader is in no member list", diskWait, quorum.NoServer)
		return
	}
	s.w.dial(s, s.w.server(s.leading), addr, func(l *link) {
		if s.learner != m {
			if l != nil {
				l.shut(0, true)
			}
			return
		}
		if l != nil {
			s.links = append(s.links, heldLink{l, 0})
			s.step(zab.Input{Kind: zab.InLinkOpened, Link: l.id})
			return
		}
		if s.dials++; s.dials == dialsMax {
			s.stepDown("cannot connect", 0, quorum.NoServer)
			return
		}
		s.inLife(dialWait, func() {
			if s.learner == m {
				s.dial()
			}
		})
	})
}

// accepted takes a learner's connection.
func (s *server) linkAccepted(l *link) {
	if s.leader == nil {
		l.shut(1, true)
		return
	}
	s.links = append(s.links, heldLink{l, 1})
	s.step(zab.Input{Kind: zab.InLinkOpened, Link: l.id})
}

// readLink takes what has come on a link, as far as the machine wants it.
func (s *server) readLink(l *link, side int) {
	e := &l.ends[side]
	if !s.holds(l) {
		if side == 0 && s.learner == nil || side == 1 && s.leader == nil {
			l.shut(side, true)
		}
		return
	}
	for len(e.inbox) > 0 && e.open {
		f := e.inbox[0]
		if side == 0 && !f.fin {
			switch s.learner.Expects() {
			case zab.ExpectNothing:
				return
			case zab.ExpectTree:
				if f.tree == nil {
					panic("sim: packets where a tree has to come")
				}
			}
		}
		e.inbox = e.inbox[1:]
		switch {
		case f.fin:
			e.open = false
			s.drop(l)
			s.step(zab.Input{Kind: zab.InLinkClosed, Link: l.id})
		case f.tree != nil:
			s.treeCame(f.tree)
		default:
			if !s.readPackets(l, side, f.bytes) {
				return
			}
		}
	}
}

// readPackets steps the machine for each packet in b. What a learner must not take yet stays.
func (s *server) readPackets(l *link, side int, b []byte) bool {
	e := &l.ends[side]
	for len(b) > 0 {
		if side == 0 && s.learner.Expects() != zab.ExpectPackets {
			e.inbox = append([]frame{{bytes: b}}, e.inbox...)
			return s.learner.Expects() == zab.ExpectTree
		}
		p, n, err := e.decoder.Decode(b)
		if err != nil {
			panic(err)
		}
		if side == 1 && (p.Type == quorum.PacketFollowerInfo) && !s.leader.Serving() && s.leader.Epoch() == 0 {
			if info, err := quorum.DecodeLearnerInfo(p.Data); err == nil {
				s.told[info.ServerID] = quorum.EpochOf(p.Zxid)
			}
		}
		if side == 1 && isSync(&p) && s.w.opts.Mistakes != SyncOvertakesWrites {
			if m := s.leader; !s.flush() || s.leader != m || !e.open {
				return false
			}
		}
		s.step(zab.Input{Kind: zab.InPacket, Link: l.id, Packet: p})
		b = b[n:]
	}
	return true
}

func isSync(p *quorum.Packet) bool {
	if p.Type != quorum.PacketRequest {
		return false
	}
	r, err := quorum.DecodeRequest(p.Data)
	return err == nil && r.Op == proto.OpSync
}

// treeCame collects the tree behind SNAP. It is installed when it is whole.
func (s *server) treeCame(p *treePart) {
	s.trees = append(s.trees, p)
	s.step(zab.Input{Kind: zab.InProgress})
	if !p.last {
		return
	}
	var b []byte
	for _, p := range s.trees {
		b = append(b, p.bytes...)
	}
	s.trees = nil
	m, err := decodeImage(b)
	if err != nil {
		panic(err) // links keep what they carry
	}
	if s.staged, err = m.load(); err != nil {
		panic(err)
	}
	s.stagedImage, s.stagedWindow = m, zab.NewWindow(m.zxid, 0)
	s.trace('s', "tree of 0x%x", m.zxid)
	s.step(zab.Input{Kind: zab.InTreeReceived, Zxid: m.zxid, OK: true})
}

func (s *server) holds(l *link) bool {
	return slices.ContainsFunc(s.links, func(h heldLink) bool { return h.l == l })
}

func (s *server) linkOf(id zab.LinkID) (heldLink, bool) {
	for _, h := range s.links {
		if h.l.id == id {
			return h, true
		}
	}
	return heldLink{}, false
}

func (s *server) drop(l *link) {
	s.links = slices.DeleteFunc(s.links, func(h heldLink) bool { return h.l == l })
}

func (s *server) send(o *zab.Output) {
	h, ok := s.linkOf(o.Link)
	if !ok {
		return
	}
	var touches []byte
	if o.Kind == zab.OutAnswerPing {
		touches = []byte{}
		for _, t := range s.touched {
			touches = quorum.AppendTouch(touches, t)
		}
		s.touched = nil
	}
	if o.Kind == zab.OutSend && o.Type == quorum.PacketTrunc {
		s.w.syncs[2]++
	}
	if o.Kind == zab.OutSend && o.Type == quorum.PacketDiff {
		s.w.syncs[0]++
	}
	h.l.send(h.side, frame{bytes: o.AppendPackets(nil, s.window, touches)})
}

// streamDiff sends history out of the log.
func (s *server) streamDiff(o *zab.Output) {
	s.w.syncs[1]++
	d, id := zab.NewDiffStream(o), o.Link
	from, to := o.From, o.Zxid
	r, err := s.log.NewReader(from + 1)
	if err != nil {
		s.streamed(id, 0, err)
		return
	}
	m := s.leader
	var next func()
	next = func() {
		h, ok := s.linkOf(id)
		if !ok || s.leader != m {
			r.Close()
			return
		}
		var b []byte
		for range 8 {
			z, packet, err := r.Next()
			if err == nil && !d.Done() {
				b, err = d.Append(b, z, packet)
			}
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the log ends before 0x%x", to)
			}
			if err != nil {
				r.Close()
				s.streamed(id, 0, err)
				return
			}
			if d.Done() {
				r.Close()
				h.l.send(h.side, frame{bytes: d.Flush(b)})
				s.streamed(id, to, nil)
				return
			}
		}
		h.l.send(h.side, frame{bytes: d.Flush(b)})
		s.inLife(s.w.span(s.w.cpu, 100*us, ms), func() { s.post(next) })
	}
	next()
}

// streamed tells the machine how a stream has ended.
func (s *server) streamed(id zab.LinkID, z quorum.Zxid, err error) {
	if err != nil {
		s.trace('w', "cannot send history: %v", err)
		s.noHistory = true
	}
	s.post(func() { s.step(zab.Input{Kind: zab.InStreamed, Link: id, Zxid: z, OK: err == nil}) })
}

// streamSnap sends the tree as it is.
func (s *server) streamSnap(o *zab.Output) {
	s.w.syncs[3]++
	h, ok := s.linkOf(o.Link)
	if !ok {
		return
	}
	m := s.image
	if m == nil || !s.w.plan.oldImages {
		m = s.wholeImage()
	}
	h.l.send(h.side, frame{bytes: quorum.AppendPacket(nil, quorum.PacketSnap, m.zxid, nil)})
	b, id := m.encode(), o.Link
	var next func()
	next = func() {
		h, ok := s.linkOf(id)
		if !ok {
			return
		}
		n := min(len(b), 1024)
		h.l.send(h.side, frame{tree: &treePart{bytes: b[:n], last: n == len(b)}})
		if b = b[n:]; len(b) == 0 {
			s.streamed(id, m.zxid, nil)
			return
		}
		s.inLife(s.w.span(s.w.cpu, 100*us, ms), func() { s.post(next) })
	}
	next()
}

// logHistory is the zab.History of a server.
type logHistory struct{ s *server }

// Proposal implements zab.History.
func (h logHistory) Proposal(z quorum.Zxid) ([]byte, bool) {
	floor, ok := h.Floor(z)
	if !ok {
		return nil, false
	}
	return h.s.logged(floor)
}

// logged returns the proposal of z that the log has on disk.
func (s *server) logged(z quorum.Zxid) ([]byte, bool) {
	r, err := s.log.NewReader(z)
	if err != nil {
		return nil, false
	}
	got, packet, err := r.Next()
	packet = bytes.Clone(packet)
	r.Close()
	return packet, err == nil && got == z
}

func (h logHistory) Floor(peer quorum.Zxid) (quorum.Zxid, bool) {
	s := h.s
	if s.noHistory || s.w.plan.logFactor < 0 {
		return 0, false
	}
	floor, _, err := s.log.Floor(peer)
	if err != nil {
		s.noHistory = s.noHistory || errors.Is(err, wal.ErrCorrupt)
		return 0, false
	}
	return floor, true
}
