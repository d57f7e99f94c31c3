package netpoll

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// streamReadMin is what an idle stream connection holds for reading; a connection that fills its buffer gets a larger
	// one for the next read, up to readBufferBytes (for TLS, up to a record).
	streamReadMin  = 4 << 10
	tlsRecordBytes = 16 << 10
	// streamCloseTimeout bounds the flushing of output when the peer has half-closed and the writing of TLS's close_notify.
	streamCloseTimeout = time.Second
)

// streamConn is a connection on a net.Conn, TLS or not. Its reading goroutine (owned by Server.readers) hands each chunk to the
// loop and waits until it has been parsed; so one chunk per connection is on its way, and a paused connection is simply
// not told to go on. A second goroutine exists while output is waiting.
type streamConn struct {
	conn
	nc       net.Conn
	tlsState *tls.ConnectionState // constant; nil for plain TCP

	// goOn lets the reader go on; done is closed when the connection is gone.
	goOn chan struct{}
	done chan struct{}

	writer sync.WaitGroup // the writer goroutine

	// Loop only.
	waiting, held bool // the reader waits for goOn; reading is paused

	outBytes atomic.Int64 // in out and on its way in the writer
	mu       struct {
		sync.Mutex
		queued  bool // in the loop's list of streams
		open    bool // to be opened
		chunk   []byte
		err     error // reading or writing ended with this
		ended   bool  // err is valid
		out     []*buffer
		spare   []*buffer // an empty list for the next exchange
		writing bool      // the writer goroutine exists
	}
}

// newStream makes a connection of nc, which it takes, on the next loop in turn.
func (s *Server) newStream(nc net.Conn, st *tls.ConnectionState) *streamConn {
	c := &streamConn{nc: nc, tlsState: st, goOn: make(chan struct{}, 1), done: make(chan struct{})}
	l := s.loops[s.nextLoop.Add(1)%uint64(len(s.loops))]
	c.init(l, c, nc.RemoteAddr().(*net.TCPAddr).AddrPort(), nc.LocalAddr().(*net.TCPAddr).AddrPort())
	return c
}

// tell puts the connection on the loop's list. c.mu must be held, and is released.
func (c *streamConn) tellLocked() {
	queued := c.mu.queued
	c.mu.queued = true
	c.mu.Unlock()
	if queued {
		return
	}
	c.l.mu.Lock()
	c.l.mu.streams = append(c.l.mu.streams, c)
	c.l.mu.Unlock()
	c.l.schedule()
}

// readLoop reads until the connection ends.
func (c *streamConn) readLoop(bufferMax int) {
	c.mu.Lock()
	c.mu.open = true
	c.tellLocked()
	size := streamReadMin
	buf := getBuffer(size)
	defer func() { putBuffer(buf) }()
	next := size
	for {
		select {
		case <-c.goOn: // The loop is done with buf.
		case <-c.done:
			return
		}
		if next != size {
			putBuffer(buf)
			size = next
			buf = getBuffer(size)
		}
		n, err := c.nc.Read(buf.b[:size])
		c.mu.Lock()
		c.mu.chunk = buf.b[:n]
		if err != nil && !c.mu.ended {
			c.mu.err, c.mu.ended = err, true
		}
		c.tellLocked()
		if err != nil {
			<-c.done // The loop reads buf until then.
			return
		}
		switch {
		case n == size:
			next = min(4*size, bufferMax)
		case n < size/8:
			next = max(size/4, streamReadMin)
		}
	}
}

// runStreams does what the goroutines of stream connections have asked for.
func (l *loop) runStreams() {
	l.mu.Lock()
	if len(l.mu.streams) == 0 {
		l.mu.Unlock()
		return
	}
	got := l.mu.streams
	l.mu.streams = l.streams[:0]
	l.mu.Unlock()
	for i, c := range got {
		got[i] = nil
		c.poll()
	}
	l.streams = recycle(got)
}

// poll runs on the loop.
func (c *streamConn) poll() {
	l := c.l
	c.mu.Lock()
	open, chunk, err, ended := c.mu.open, c.mu.chunk, c.mu.err, c.mu.ended
	c.mu.queued, c.mu.open, c.mu.chunk = false, false, nil
	c.mu.Unlock()
	if open {
		c.waiting = true
		l.open(&c.conn)
		l.settle()
	}
	if len(chunk) > 0 {
		c.waiting = true
		l.input(&c.conn, chunk)
		poison(chunk)
	}
	// While reading is paused its end is not looked at, as it is with a poller.
	if ended && c.state != stateGone && !(c.held && isEOF(err)) {
		c.closeNow(isEOF(err), false)
		l.gone(&c.conn, err)
		l.settle()
	}
	c.release()
}

// release lets the reader go on unless reading is paused.
func (c *streamConn) release() {
	if c.waiting && !c.held && c.state != stateGone {
		c.waiting = false
		c.goOn <- struct{}{}
	}
}

func (c *streamConn) pause(on bool) {
	c.held = on
	if on {
		return
	}
	c.release()
	c.mu.Lock()
	if c.mu.ended {
		c.tellLocked()
	} else {
		c.mu.Unlock()
	}
}

func (c *streamConn) write(b []byte) {
	c.outBytes.Add(int64(len(b)))
	c.mu.Lock()
	c.mu.out = appendChunks(c.mu.out, b)
	start := !c.mu.writing
	c.mu.writing = true
	c.mu.Unlock()
	if start {
		c.writer.Add(1)
		c.l.srv.readers.Go(c.writeLoop)
	}
}

// writeLoop writes what is waiting and ends when nothing is left.
func (c *streamConn) writeLoop() {
	defer c.writer.Done()
	for {
		c.mu.Lock()
		out := c.mu.out
		if len(out) == 0 {
			c.mu.writing = false
			c.mu.Unlock()
			return
		}
		c.mu.out, c.mu.spare = c.mu.spare, nil
		c.mu.Unlock()
		n, err := c.writeChunks(out)
		if err != nil {
			c.mu.Lock()
			c.mu.err, c.mu.ended = err, true
			c.tellLocked()
			return // writing stays set: nothing more is written.
		}
		c.mu.Lock()
		c.mu.spare = recycle(out)
		c.mu.Unlock()
		if c.outBytes.Add(-int64(n)) == 0 && c.flushWait.Load() {
			c.l.tickDue.Store(true)
			c.l.schedule()
		}
	}
}

// writeChunks writes and frees all chunks, and returns their length in all. TLS makes records of them; for TCP they are one write.
func (c *streamConn) writeChunks(out []*buffer) (n int, err error) {
	if c.tlsState == nil && len(out) > 1 {
		vec := make(net.Buffers, len(out))
		for i, p := range out {
			vec[i] = p.b
			n += len(p.b)
		}
		_, err = vec.WriteTo(c.nc)
	} else {
		for _, p := range out {
			n += len(p.b)
			if err == nil {
				_, err = c.nc.Write(p.b)
			}
		}
	}
	for i, p := range out {
		out[i] = nil
		putBuffer(p)
	}
	return n, err
}

func (c *streamConn) buffered() int { return int(c.outBytes.Load()) }

func (c *streamConn) close(drain bool) {
	c.closeNow(c.reason == nil, drain)
	c.l.gone(&c.conn, nil)
}

// closeNow closes the network connection, on a goroutine of its own since TLS writes when closing. With flush, output that
// waits is given streamCloseTimeout.
func (c *streamConn) closeNow(flush, drain bool) {
	close(c.done)
	c.l.srv.readers.Go(func() {
		_ = c.nc.SetWriteDeadline(c.l.srv.now().Add(streamCloseTimeout))
		if flush {
			c.writer.Wait()
		}
		if drain {
			c.drain()
		}
		_ = c.nc.Close() // Whatever was to be sent has been sent.
	})
}

// drain drops input that has arrived: see transport.close. It reads the socket beside the reader, if that is still there, which
// is why it does not use the net.Conn's own Read.
func (c *streamConn) drain() {
	nc := c.nc
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	// An error means that the socket is closed: nothing to do.
	if rc, err := nc.(*net.TCPConn).SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { drainSocket(int(fd)) })
	}
}

func (c *streamConn) tls() *tls.ConnectionState { return c.tlsState }
