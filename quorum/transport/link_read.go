package transport

import (
	"errors"
	"fmt"
	"io"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// Batch is what came in one piece. Its packets are lent until Release.
type Batch struct {
	Packets []quorum.Packet

	link     *Link
	buf      []byte
	released bool
}

// Release gives the batch's memory back to its link. It may be called on any goroutine, once, also after
// the link has ended.
func (b *Batch) Release() {
	if b.released {
		panic("transport: a batch was released twice")
	}
	b.released = true
	clear(b.Packets)
	b.Packets = b.Packets[:0]
	if cap(b.buf) > slabKeptMaxBytes {
		b.buf = nil
	}
	b.link.free <- b // has room for all that there are
}

// batchMaxPackets bounds a batch, so that its list does not outgrow its bytes.
const batchMaxPackets = 1024

// takeBatch waits for a batch that is free; nil when the link is to end.
func (l *Link) takeBatch() *Batch {
	select {
	case <-l.stopping:
		return nil
	default:
	}
	select {
	case b := <-l.free:
		if b == nil {
			b = &Batch{link: l}
		}
		if b.buf == nil {
			b.buf = make([]byte, 0, slabBytes)
		}
		b.released = false
		return b
	case <-l.stopping:
		return nil
	}
}

// read reads packets and hands them over until the link ends; nil after a Shutdown.
func (l *Link) read(h Handler) error {
	for {
		b := l.takeBatch()
		if b == nil {
			return nil
		}
		snap, err := l.fill(b)
		if err != nil {
			return err
		}
		select {
		case <-l.stopping:
			return nil
		default:
		}
		h.Packets(b)
		if snap {
			if err := l.offerTree(); err != nil {
				return err
			}
		}
	}
}

// fill reads until the batch has a packet, and decodes all that have come; the rest is kept for
// the next. snap tells that the last packet is a SNAP and a tree comes behind it.
func (l *Link) fill(b *Batch) (snap bool, err error) {
	b.buf = append(b.buf[:0], l.carry...)
	l.carry = l.carry[:0]
	for {
		used, need := 0, 0
		for len(b.Packets) < batchMaxPackets && !snap {
			p, n, err := l.dec.Decode(b.buf[used:])
			if errors.Is(err, quorum.ErrNeedMore) {
				need = used + n
				break
			}
			if err != nil && len(b.Packets) > 0 {
				break // those before it are good; it comes again
			}
			if err != nil {
				return false, err
			}
			used += n
			b.Packets = append(b.Packets, p)
			if snap = l.opts.Learner && p.Type == quorum.PacketSnap; snap {
				l.image = quorum.IsImage(p.Data)
			}
		}
		if len(b.Packets) > 0 {
			l.carry = append(l.carry, b.buf[used:]...)
			if len(l.carry) == 0 && cap(l.carry) > slabKeptMaxBytes {
				l.carry = nil
			}
			return snap, nil
		}
		if len(b.buf) == cap(b.buf) {
			// A large packet. Its length is within the limits; memory follows what really comes.
			grown := make([]byte, len(b.buf), max(min(need, 2*cap(b.buf)), len(b.buf)+1))
			copy(grown, b.buf)
			b.buf = grown
		}
		n, err := l.receive(b.buf[len(b.buf):cap(b.buf)])
		if err != nil {
			return false, err
		}
		b.buf = b.buf[:len(b.buf)+n]
	}
}

// receive reads some bytes, at least one.
func (l *Link) receive(b []byte) (int, error) {
	l.armDeadline()
	n, err := l.conn.Read(b)
	if n > 0 {
		return n, nil // the error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// ReceiveTree lets f read what follows a SNAP packet, the last one of its batch: the raw tree and the
// signature, then io.EOF. What f leaves of it is skipped. It waits until the reader is behind that packet,
// returns an error, which also ends the link, if f does or if what came is not a whole tree with its
// signature, and may be called on any goroutine but that of the callbacks. Only after it has
// returned nil is the tree known to be whole; then packets come again.
func (l *Link) ReceiveTree(f func(io.Reader) error) error {
	var t *treeReader
	select {
	case t = <-l.trees:
	case <-l.stopping:
		return l.reason()
	}
	err := f(t)
	if err == nil {
		_, err = io.Copy(io.Discard, t)
	}
	t.result <- err
	return err
}

// offerTree waits until somebody has received the tree.
func (l *Link) offerTree() error {
	t := &treeReader{l: l, result: make(chan error, 1)}
	if l.image {
		t.scan = new(quorum.ImageScanner)
	} else {
		t.scan = &quorum.SnapScanner{StringMaxBytes: l.opts.Limits.DataMaxBytes}
	}
	select {
	case l.trees <- t:
	case <-l.stopping:
		return nil
	}
	return <-t.result
}

// A treeScanner finds the end of a tree.
type treeScanner interface {
	Scan(b []byte) (n int, err error)
	Done() bool
}

// treeReader reads the tree behind a SNAP packet, and its signature. The link's reader waits meanwhile, so that
// carry and the connection are its own.
type treeReader struct {
	l      *Link
	scan   treeScanner
	result chan error // has room for the one result
	buf    []byte     // memory for what is read
	rest   []byte     // of carry or buf, not given out yet
	sign   int        // bytes of the signature seen
	err    error
}

var treeSignature = jute.AppendString(nil, quorum.SnapSignature)

// Read implements io.Reader.
func (t *treeReader) Read(p []byte) (int, error) {
	if t.err == nil && len(p) > 0 {
		n, err := t.read(p)
		t.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, t.err
}

func (t *treeReader) read(p []byte) (int, error) {
	if t.sign == len(treeSignature) {
		t.l.carry = append(t.l.carry[:0], t.rest...)
		t.rest = nil
		return 0, io.EOF
	}
	if len(t.rest) == 0 {
		if t.buf == nil {
			t.buf = make([]byte, slabBytes)
			t.rest = append(t.rest, t.l.carry...)
			t.l.carry = t.l.carry[:0]
		}
		if len(t.rest) == 0 {
			n, err := t.l.receive(t.buf)
			if err != nil {
				return 0, fmt.Errorf("transport: snapshot stream: %w", err)
			}
			t.rest = t.buf[:n]
		}
	}
	in := t.rest[:min(len(t.rest), len(p))]
	n := 0
	if !t.scan.Done() {
		var err error
		if n, err = t.scan.Scan(in); err != nil {
			return 0, err
		}
	} else {
		for n < len(in) && t.sign < len(treeSignature) {
			if in[n] != treeSignature[t.sign] {
				return 0, fmt.Errorf("%w: another signature behind the tree", quorum.ErrSnapshot)
			}
			n++
			t.sign++
		}
	}
	copy(p, in[:n])
	t.rest = t.rest[n:]
	return n, nil
}
