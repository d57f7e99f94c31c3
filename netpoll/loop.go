package netpoll

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// loop is the part of an event loop that all drivers share.
type loop struct {
	srv   *Server
	opts  *Options
	index int
	// trigger makes the driver call run soon, on the loop's goroutine. It is called from any goroutine but the loop's. again does the
	// same and is called on the loop, at the end of run: it lets the sockets have their turn first.
	trigger, again func()

	// due is set from schedule until run begins; woken from Wake until Handler.Woken is called. running is set while
	// run is at work: it sees to what becomes due meanwhile.
	due, woken, tickDue, running atomic.Bool

	// mu guards what other goroutines hand to the loop. It is held for appends and swaps only.
	mu struct {
		sync.Mutex
		posted          []func()
		resumes, closes []*conn
		streams         []*streamConn // connections with something for the loop to do
		ended           bool          // no more posts are taken
	}
	// The slices run swaps with those in mu.
	posted  []func()
	pulled  []*conn
	streams []*streamConn

	// Below: the loop's goroutine only, except that Stop looks at timer when the loop has ended.
	busy     bool    // a handler call may be running
	todo     []*conn // to be closed, flushed or reported when it has returned
	flushing []*conn // closing after flush, output still waiting
	conns    []*conn
	frames   Frames
	timer    *time.Timer // the next look at flushing
	quitting bool        // Stop was called: refuse what is still being opened
}

var _ Loop = (*loop)(nil)

func (l *loop) Index() int { return l.index }

func (l *loop) Wake() {
	if !l.woken.Load() && l.woken.CompareAndSwap(false, true) {
		l.schedule()
	}
}

// schedule makes run be called. Between it and run, which are
//
//	schedule                  run
//	1. due = true             1. running = true, due = false
//	2. running?               2. work
//	3. if not: trigger        3. running = false
//	                          4. due? if so: again
//
// either schedule sees that run is not at work, or run sees what is due; if both do, one run has nothing to do.
func (l *loop) schedule() {
	if !l.due.Load() && l.due.CompareAndSwap(false, true) && !l.running.Load() {
		l.trigger()
	}
}

func (l *loop) Post(f func()) bool {
	l.mu.Lock()
	ok := !l.mu.ended
	if ok {
		l.mu.posted = append(l.mu.posted, f)
	}
	l.mu.Unlock()
	if ok {
		l.schedule()
	}
	return ok
}

// endPosts posts f as the last function the loop takes.
func (l *loop) endPosts(f func()) {
	l.mu.Lock()
	l.mu.ended = true
	l.mu.posted = append(l.mu.posted, f)
	l.mu.Unlock()
	l.schedule()
}

func (l *loop) enqueue(list *[]*conn, c *conn) {
	l.mu.Lock()
	*list = append(*list, c)
	l.mu.Unlock()
	l.schedule()
}

// run does what other goroutines asked for: posted functions, then closes, input of stream connections, Woken and
// resumed connections.
func (l *loop) run() {
	l.running.Store(true)
	l.due.Store(false)
	l.mu.Lock()
	posted := l.mu.posted
	l.mu.posted = l.posted[:0]
	l.mu.Unlock()
	l.enter()
	for i, f := range posted {
		posted[i] = nil
		f()
		l.settle()
	}
	l.posted = recycle(posted)
	l.pull(&l.mu.closes, func(c *conn) {
		c.fail(nil)
		l.settle()
	})
	l.runStreams()
	if l.woken.Swap(false) {
		l.srv.handler.Woken(l)
		l.settle()
	}
	l.pull(&l.mu.resumes, func(c *conn) {
		c.resumeDue.Store(false)
		l.resume(c)
	})
	if l.tickDue.Swap(false) {
		l.checkFlushing()
	}
	l.leave()
	l.running.Store(false)
	if l.due.Load() {
		l.again()
	}
}

// pull calls f for each connection of one of the lists in mu, which it empties.
func (l *loop) pull(list *[]*conn, f func(*conn)) {
	l.mu.Lock()
	if len(*list) == 0 {
		l.mu.Unlock()
		return
	}
	got := *list
	*list = l.pulled[:0]
	l.mu.Unlock()
	for i, c := range got {
		got[i] = nil
		f(c)
	}
	l.pulled = recycle(got)
}

// recycledMax bounds the capacity of a list kept for reuse: one burst must not stay in memory.
const recycledMax = 4096

func recycle[T any](s []T) []T {
	if cap(s) > recycledMax {
		return nil
	}
	return s[:0]
}

func (l *loop) enter() {
	invariant(!l.busy, "nested entry into a loop")
	l.busy = true
}

func (l *loop) leave() {
	l.settle()
	l.busy = false
}

// later puts c on the list of connections to be settled.
func (l *loop) later(c *conn) {
	if !c.queued {
		c.queued = true
		l.todo = append(l.todo, c)
	}
}

// settle does, between handler calls, what they and the transports left to do: closing, flushing, reporting. It is the
// only place that calls Closed, and it never runs inside another handler call.
func (l *loop) settle() {
	for i := 0; i < len(l.todo); i++ {
		c := l.todo[i]
		l.todo[i] = nil
		c.queued = false
		switch c.state {
		case stateFlushing:
			l.flush(c)
		case stateDoomed:
			c.tr.close(false)
		case stateGone:
			l.finish(c)
		}
	}
	l.todo = recycle(l.todo)
}

// flush closes c when its output is out, or puts it on the list of those that wait for that.
func (l *loop) flush(c *conn) {
	putBuffer(c.pend)
	c.pend, c.pendOff = nil, 0
	c.flushWait.Store(true)
	if c.tr.buffered() == 0 {
		c.tr.close(true)
		return
	}
	if c.flushBy.IsZero() {
		// The peer's end of input must not cut the flush short.
		c.tr.pause(true)
		c.flushBy = l.srv.now().Add(l.opts.FlushTimeout)
		l.flushing = append(l.flushing, c)
		l.armTick()
	}
}

// checkFlushing looks at the connections that are closing after flush.
func (l *loop) checkFlushing() {
	now := l.srv.now()
	keep := l.flushing[:0]
	for _, c := range l.flushing {
		switch {
		case c.state != stateFlushing:
		case c.tr.buffered() == 0:
			l.later(c)
		case !now.Before(c.flushBy):
			c.fail(ErrFlushTimeout)
		default:
			keep = append(keep, c)
		}
	}
	clear(l.flushing[len(keep):])
	l.flushing = keep
	if len(keep) > 0 {
		l.armTick()
	}
}

// armTick makes run look at the flushing connections after drainTick. The in-memory driver looks at each step.
func (l *loop) armTick() {
	switch {
	case l.srv.virtual:
	case l.timer == nil:
		l.timer = time.AfterFunc(drainTick, func() {
			l.tickDue.Store(true)
			l.schedule()
		})
	default:
		l.timer.Reset(drainTick)
	}
}

// finish forgets a connection whose transport is closed and reports it.
func (l *loop) finish(c *conn) {
	putBuffer(c.pend)
	c.pend, c.pendOff = nil, 0
	if c.slot >= 0 {
		last := l.conns[len(l.conns)-1]
		l.conns[c.slot], last.slot = last, c.slot
		l.conns[len(l.conns)-1] = nil
		l.conns = l.conns[:len(l.conns)-1]
		c.slot = -1
	}
	l.srv.connEnded()
	if c.opened {
		c.opened = false
		l.srv.handler.Closed(c, c.reason)
	}
}

// onOpen is called by the driver, on the loop, for a new connection.
func (l *loop) onOpen(c *conn) {
	l.enter()
	l.open(c)
	l.leave()
}

func (l *loop) open(c *conn) {
	c.slot = len(l.conns)
	l.conns = append(l.conns, c)
	if l.quitting || !l.srv.handler.Opened(c) {
		c.fail(nil)
	} else {
		c.opened = true
	}
}

// onData is called by the driver, on the loop, with bytes that have been read. It borrows chunk until return.
func (l *loop) onData(c *conn, chunk []byte) {
	l.enter()
	l.input(c, chunk)
	l.leave()
	poison(chunk)
}

// resume offers the frames that were left.
func (l *loop) resume(c *conn) {
	if c.pend != nil {
		l.input(c, nil)
	}
}

// input parses pending bytes and chunk, and offers frames to the handler.
func (l *loop) input(c *conn, chunk []byte) {
	if c.state != stateOpen {
		return
	}
	if c.discard {
		c.tr.pause(true)
		return
	}
	f := &l.frames
	f.start(c, chunk)
	_, st := f.examine()
	if st == stopNot {
		l.srv.handler.Frames(c, f)
		// The handler may have stopped at a frame, or been told that there is none.
		if st = f.stop; st == stopNot {
			_, st = f.examine()
		}
	}
	switch {
	case c.state != stateOpen:
	case st == stopLength:
		c.fail(ErrFrameLength)
	case st == stopWord:
		l.word(c, f)
	}
	f.finish()
	if c.state == stateOpen && !c.discard {
		l.backPressure(c, st == stopNot)
	}
	l.settle()
}

// backPressure pauses and resumes reading. left says that the handler has left whole frames.
func (l *loop) backPressure(c *conn, left bool) {
	n := c.InboundBuffered()
	if n > l.opts.InboundMaxBytes {
		c.fail(ErrInboundOverflow)
		return
	}
	pause := left && l.opts.InboundPauseBytes >= 0 && n >= l.opts.InboundPauseBytes
	// A paused socket that brought bytes all the same is paused again: see gnetConn.pause.
	if pause || c.paused {
		c.paused = pause
		c.tr.pause(pause)
	}
}

// word hands a four-letter word to the handler. Its argument may lie across the seam.
func (l *loop) word(c *conn, f *Frames) {
	w := &l.srv.words[f.word]
	arg := f.gather(frameHeaderBytes, w.ArgBytes)
	c.discard = true
	// A peer that has sent its word may shut down its side at once and wait for the answer: do not see that.
	c.tr.pause(true)
	l.srv.handler.Word(c, w.Text, arg)
}

// gone is called by transports, on the loop, when the connection's transport is closed for whatever reason. It may be called
// inside a handler call (a Write that failed): the handler is told later.
func (l *loop) gone(c *conn, err error) {
	if c.state == stateGone {
		return
	}
	if c.state != stateDoomed && err != nil && !isEOF(err) {
		c.reason = err
	}
	c.state = stateGone
	l.later(c)
	if !l.busy {
		l.enter()
		l.leave()
	}
}

// isEOF tells whether err is the peer's orderly end.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// quit is run on the loop by Stop: every connection is closed after its output has gone out.
func (l *loop) quit() {
	l.quitting = true
	for _, c := range l.conns {
		c.CloseAfterFlush()
	}
}

// closeAll is run on the loop at the end of Stop.
func (l *loop) closeAll() {
	for _, c := range l.conns {
		c.fail(nil)
	}
	l.settle()
}

// invariant panics when ok is false: the package itself is broken.
func invariant(ok bool, what string) {
	if !ok {
		panic("netpoll: BUG: " + what)
	}
}
