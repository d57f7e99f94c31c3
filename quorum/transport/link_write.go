package transport

import (
	"net"

	"zabra.dev/zabra/quorum"
)

// queue is what one turn of the writer writes: segments in order, of bytes that were copied and
// bytes that are referred to.
type queue struct {
	segments []segment
	copied   []byte
}

// segment is a part of the queue: bytes of someone else, with the reference to give back, or a
// range of queue.copied.
type segment struct {
	b   []byte
	ref Ref
	off int // of copied, if b is nil
	end int
}

// copy appends bytes to the queue's own, and returns them to be filled in.
func (q *queue) copy(n int) []byte {
	start := len(q.copied)
	if start+n > cap(q.copied) {
		grown := make([]byte, start, max(2*cap(q.copied), start+n, 4096))
		copy(grown, q.copied)
		q.copied = grown
	}
	q.copied = q.copied[:start+n]
	if k := len(q.segments); k > 0 && q.segments[k-1].b == nil {
		q.segments[k-1].end = start + n
	} else {
		q.segments = append(q.segments, segment{off: start, end: start + n})
	}
	return q.copied[start:]
}

// release gives the references back, and empties the queue.
func (q *queue) release() {
	for i := range q.segments {
		s := &q.segments[i]
		if s.ref != nil {
			s.ref.Release()
		}
	}
	q.reset()
}

func (q *queue) reset() {
	clear(q.segments)
	q.segments, q.copied = q.segments[:0], q.copied[:0]
	if cap(q.copied) > queueKeptMaxBytes {
		q.copied = nil
	}
}

// admitLocked counts n more bytes in, and reports whether they may be queued.
func (l *Link) admitLocked(n int) bool {
	if l.mu.reason != nil || l.mu.bytes+n > l.opts.QueueMaxBytes+l.mu.shared {
		return false
	}
	l.mu.bytes += n
	return true
}

// refuse returns why nothing is admitted: the link has ended, or ends now because it is full.
func (l *Link) refuse() error {
	if reason := l.reason(); reason != nil {
		return reason
	}
	l.fail(ErrSlow)
	return l.reason()
}

// QueuePacket queues a packet with null authinfo; it borrows data until return.
func (l *Link) QueuePacket(t quorum.PacketType, z quorum.Zxid, data []byte) error {
	n := quorum.PacketMinBytes + len(data)
	l.mu.Lock()
	if !l.admitLocked(n) {
		l.mu.Unlock()
		return l.refuse()
	}
	quorum.AppendPacket(l.mu.queue.copy(n)[:0], t, z, data)
	l.mu.Unlock()
	return nil
}

// QueueCopy queues whole packets; it borrows b until return.
func (l *Link) QueueCopy(b []byte) error {
	l.mu.Lock()
	ok := l.admitLocked(len(b))
	if ok {
		copy(l.mu.queue.copy(len(b)), b)
	}
	l.mu.Unlock()
	if !ok {
		return l.refuse()
	}
	return nil
}

// QueueBytes queues whole packets, which nobody may change any more. It takes ref, which may be nil, and
// releases it when b is written, or never will be.
func (l *Link) QueueBytes(b []byte, ref Ref) error {
	if len(b) <= copyMaxBytes {
		err := l.QueueCopy(b)
		if ref != nil {
			ref.Release()
		}
		return err
	}
	l.mu.Lock()
	if !l.admitLocked(len(b)) {
		l.mu.Unlock()
		if ref != nil {
			ref.Release()
		}
		return l.refuse()
	}
	l.mu.queue.segments = append(l.mu.queue.segments, segment{b: b, ref: ref})
	l.mu.Unlock()
	return nil
}

// QueueInform queues the INFORM of the transaction in proposal, a PROPOSAL packet; otherwise it is
// QueueBytes.
func (l *Link) QueueInform(proposal []byte, ref Ref) error {
	head, rest := quorum.InformOf(proposal)
	l.mu.Lock()
	if !l.admitLocked(len(proposal)) {
		l.mu.Unlock()
		if ref != nil {
			ref.Release()
		}
		return l.refuse()
	}
	copy(l.mu.queue.copy(len(head)), head)
	if len(rest) > copyMaxBytes {
		l.mu.queue.segments = append(l.mu.queue.segments, segment{b: rest, ref: ref})
		l.mu.Unlock()
		return nil
	}
	copy(l.mu.queue.copy(len(rest)), rest)
	l.mu.Unlock()
	if ref != nil {
		ref.Release()
	}
	return nil
}

// Flush lets the writer write what is queued, with one system call if it is not very much. What other turns
// queue and flush while it writes is its next write.
func (l *Link) Flush() {
	l.mu.Lock()
	l.mu.flushed = true
	l.mu.Unlock()
	l.wakeWriter()
}

// Send is QueueBytes without a reference, and Flush. It takes b.
func (l *Link) Send(b []byte) error {
	err := l.QueueBytes(b, nil)
	l.Flush()
	return err
}

// SendWait is Send for what comes in bulk, a synchronisation: it waits while much is waiting already, so
// that the queue stays for what cannot wait. It takes b.
func (l *Link) SendWait(b []byte) error {
	l.Flush()
	l.mu.Lock()
	for l.mu.reason == nil && l.mu.bytes > 0 && l.mu.bytes+len(b) > min(bulkMaxBytes, l.opts.QueueMaxBytes/2) {
		l.mu.room.Wait()
	}
	l.mu.Unlock()
	return l.Send(b)
}

func (l *Link) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write is the writer goroutine: it takes all that is queued, writes it, and looks again, until the link
// is to end and nothing is queued.
func (l *Link) write() {
	w := linkWriter{l: l}
	var taken queue
	for {
		l.mu.Lock()
		if l.mu.flushed {
			taken, l.mu.queue = l.mu.queue, taken
			l.mu.flushed = false
		}
		ending := l.mu.reason != nil
		l.mu.Unlock()
		if len(taken.segments) == 0 {
			if ending {
				l.conn.Close() // ends the reader after a Shutdown
				return
			}
			<-l.wake
			continue
		}
		err := w.writeQueue(&taken)
		if err != nil {
			l.fail(err)
		}
		// References are given back here whether they were written or not.
		written := 0
		for i := range taken.segments {
			s := &taken.segments[i]
			written += len(s.b) + s.end - s.off
		}
		taken.release()
		l.mu.Lock()
		l.mu.bytes -= written
		l.mu.room.Broadcast()
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// linkWriter writes queues; it belongs to the writer goroutine.
type linkWriter struct {
	l *Link
	// vector collects the buffers of one system call; buffers is what net consumes of it.
	vector  [][]byte
	buffers net.Buffers
	// joined collects the bytes for a connection that takes one buffer only.
	joined []byte
}

// writeQueue writes the segments in order.
func (w *linkWriter) writeQueue(q *queue) error {
	for i := range q.segments {
		s := &q.segments[i]
		b := s.b
		if b == nil {
			b = q.copied[s.off:s.end]
		}
		if err := w.add(b); err != nil {
			return err
		}
	}
	return w.flush()
}

// vectorMax is the number of buffers that one system call takes at most.
const vectorMax = 1024

// add appends b, which stays valid until the next flush, to the next write.
func (w *linkWriter) add(b []byte) error {
	if !w.l.vectors {
		return w.join(b)
	}
	w.vector = append(w.vector, b)
	if len(w.vector) == vectorMax {
		return w.flush()
	}
	return nil
}

// join copies b into the next write.
func (w *linkWriter) join(b []byte) error {
	for len(b) > 0 {
		if w.joined == nil {
			w.joined = make([]byte, 0, joinedBytes)
		}
		k := min(len(b), cap(w.joined)-len(w.joined))
		w.joined = append(w.joined, b[:k]...)
		b = b[k:]
		if len(w.joined) == cap(w.joined) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what was added or joined; at most one of the two is not empty.
func (w *linkWriter) flush() error {
	if len(w.vector) > 0 {
		w.buffers = w.vector
		_, err := w.buffers.WriteTo(w.l.conn)
		clear(w.vector)
		w.vector = w.vector[:0]
		return err
	}
	if len(w.joined) > 0 {
		_, err := w.l.conn.Write(w.joined)
		w.joined = w.joined[:0]
		return err
	}
	return nil
}
