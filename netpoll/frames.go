package netpoll

import "encoding/binary"

const frameHeaderBytes = 4

// Frames iterates over the whole frames of a connection. The bytes it looks at are in up to two pieces: what
// was left over by earlier calls (in a pooled buffer of the connection) and the chunk the poller has just read. A frame across
// the seam is joined in a third buffer; that can happen once per call, because from then on only the chunk is left.
type Frames struct {
	c    *conn
	seg  []byte  // the piece being parsed, from the next frame on
	next []byte  // the piece after it, or nil
	join *buffer // the frame across the seam, lent until finish
	// inPend says that seg lies in c.pend.
	inPend bool
	stop   stopReason
	word   int // for stopWord: index into the words
}

// stopReason is why Next returned false.
type stopReason uint8

const (
	stopNot     stopReason = iota // it did not
	stopPartial                   // no whole frame is left
	stopLength                    // the next frame's length is out of range
	stopWord                      // a four-letter word, with its argument, is next
	stopClosed                    // the connection is closed or closing
)

// Next returns the payload of the next whole frame, or false when there is none. Payloads may be empty. The
// payload is lent until the Handler.Frames call returns.
func (f *Frames) Next() (payload []byte, ok bool) {
	seg := f.seg
	c := f.c
	if len(seg) >= frameHeaderBytes && c.handshakeDone && c.state == stateOpen {
		n := int(int32(binary.BigEndian.Uint32(seg)))
		if uint(n) <= uint(c.l.opts.FrameMaxBytes) && n <= len(seg)-frameHeaderBytes {
			end := frameHeaderBytes + n
			f.seg = seg[end:]
			return seg[frameHeaderBytes:end:end], true
		}
	}
	return f.nextSlow()
}

// Ahead lends the payload of a frame without taking it: of the next one if off is 0, and of the one behind a frame that Ahead
// has lent if off is what came with it. It is a look at what is whole in one piece already; ok is false where Next knows
// more, or is not going to give the frame.
func (f *Frames) Ahead(off int) (payload []byte, behind int, ok bool) {
	c := f.c
	if len(f.seg)-off < frameHeaderBytes || !c.handshakeDone || c.state != stateOpen {
		return nil, 0, false
	}
	off += frameHeaderBytes
	n := int(int32(binary.BigEndian.Uint32(f.seg[off-frameHeaderBytes:])))
	if uint(n) > uint(c.l.opts.FrameMaxBytes) || n > len(f.seg)-off {
		return nil, 0, false
	}
	return f.seg[off : off+n : off+n], off + n, true
}

// nextSlow handles the seam, words and everything that ends the iteration.
func (f *Frames) nextSlow() ([]byte, bool) {
	c := f.c
	n, st := f.examine()
	f.stop = st
	if st != stopNot {
		return nil, false
	}
	end := frameHeaderBytes + n
	if end <= len(f.seg) {
		payload := f.seg[frameHeaderBytes:end:end]
		f.seg = f.seg[end:]
		return payload, true
	}
	invariant(f.inPend && f.join == nil, "frame across the seam without a seam")
	rest := end - len(f.seg)
	// Room behind the pending bytes is the usual case for large frames: nothing lent so far moves.
	var frame []byte
	if p := c.pend; len(p.b)+rest <= cap(p.b) {
		p.b = append(p.b, f.next[:rest]...)
		frame = p.b[len(p.b)-end:]
	} else {
		f.join = getBuffer(end)
		f.join.b = append(append(f.join.b, f.seg...), f.next[:rest]...)
		frame = f.join.b
	}
	f.seg, f.next, f.inPend = f.next[rest:], nil, false
	return frame[frameHeaderBytes:end:end], true
}

// examine looks at the start of the next frame without taking it: stopNot with the payload's length n when
// a whole frame is there.
func (f *Frames) examine() (n int, st stopReason) {
	if f.stop != stopNot {
		return 0, f.stop
	}
	c := f.c
	if c.state != stateOpen || c.discard {
		return 0, stopClosed
	}
	if len(f.seg) == 0 && f.next != nil {
		f.seg, f.next, f.inPend = f.next, nil, false
	}
	head, avail, ok := f.header()
	if !ok {
		return 0, stopPartial
	}
	if !c.handshakeDone {
		if i := c.l.srv.findWord(head); i >= 0 {
			f.word = i
			if avail < frameHeaderBytes+c.l.srv.words[i].ArgBytes {
				return 0, stopPartial
			}
			return 0, stopWord
		}
	}
	n = int(int32(head))
	if n < 0 || n > c.l.opts.FrameMaxBytes {
		return 0, stopLength
	}
	if avail < frameHeaderBytes+n {
		return 0, stopPartial
	}
	return n, stopNot
}

// header returns the first four bytes of the next frame, when they are there, and the count of bytes available in all.
func (f *Frames) header() (head uint32, avail int, ok bool) {
	avail = len(f.seg) + len(f.next)
	if len(f.seg) >= frameHeaderBytes {
		return binary.BigEndian.Uint32(f.seg), avail, true
	}
	if avail < frameHeaderBytes {
		return 0, avail, false
	}
	var h [frameHeaderBytes]byte
	k := copy(h[:], f.seg)
	copy(h[k:], f.next)
	return binary.BigEndian.Uint32(h[:]), avail, true
}

// gather returns n bytes that are off bytes behind the start of the next frame and known to be there. They
// are lent until finish.
func (f *Frames) gather(off, n int) []byte {
	if off+n <= len(f.seg) {
		return f.seg[off : off+n : off+n]
	}
	all := append(append([]byte(nil), f.seg...), f.next[:off+n-len(f.seg)]...)
	return all[off:]
}

// start begins an iteration over what c has left and chunk, which is borrowed until finish.
func (f *Frames) start(c *conn, chunk []byte) {
	invariant(f.c == nil, "nested frame iteration")
	*f = Frames{c: c, seg: chunk}
	if c.pend != nil {
		*f = Frames{c: c, seg: c.pend.b[c.pendOff:], inPend: true}
		if len(chunk) > 0 {
			f.next = chunk
		}
	}
}

// finish ends the iteration: whatever was not taken is kept in c.pend. Payloads lent since start are
// no longer valid.
func (f *Frames) finish() {
	c := f.c
	if c.state != stateOpen || c.discard {
		putBuffer(c.pend)
		c.pend, c.pendOff = nil, 0
	} else {
		f.keep()
	}
	putBuffer(f.join)
	*f = Frames{}
}

// keep moves the bytes not taken into c.pend. A buffer grows by factors, towards the size of the first frame when
// its length is known. In place, bytes are moved down only when at least as many have been taken as are left. So, amortised, a
// byte moves a constant number of times however many reads a frame takes.
func (f *Frames) keep() {
	c := f.c
	if !f.inPend {
		putBuffer(c.pend)
		c.pend, c.pendOff = nil, 0
		if len(f.seg) > 0 {
			c.pend = getBuffer(f.sizeHint())
			c.pend.b = append(c.pend.b, f.seg...)
		}
		return
	}
	p := c.pend
	c.pendOff = len(p.b) - len(f.seg)
	total := len(f.seg) + len(f.next)
	if total == 0 {
		putBuffer(p)
		c.pend, c.pendOff = nil, 0
		return
	}
	want := f.sizeHint()
	switch {
	case want <= cap(p.b)-c.pendOff:
	case want <= cap(p.b) && c.pendOff >= len(f.seg):
		p.b = append(p.b[:0], f.seg...)
		c.pendOff = 0
	default:
		q := getBuffer(max(want, min(2*total, c.l.opts.InboundMaxBytes)))
		q.b = append(q.b, f.seg...)
		putBuffer(p)
		c.pend, c.pendOff = q, 0
		p = q
	}
	p.b = append(p.b, f.next...)
}

// sizeHint is the room wanted for the bytes not taken: all of them and what is missing of the first frame, but
// at most pendGrowth times what has really come, so that a peer cannot make us hold a large buffer by a length alone.
func (f *Frames) sizeHint() int {
	head, avail, ok := f.header()
	if n := int(int32(head)); ok && n >= 0 && n <= f.c.l.opts.FrameMaxBytes {
		return max(avail, min(frameHeaderBytes+n, pendGrowth*avail))
	}
	return avail
}

// pendGrowth: a 1 MiB frame read by 64 KiB is moved twice (at 64 and 256 KiB) before its buffer has the final size.
const pendGrowth = 4
