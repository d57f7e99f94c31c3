package netpoll

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestThrottleAndResume: frames not taken are offered again after Resume, in order, none lost, while more keeps coming.
func TestThrottleAndResume(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		var taken [][]byte
		var takenCount atomic.Int64
		r.frames = func(c Conn, it *Frames) {
			p, ok := it.Next() // One per call.
			if !ok {
				t.Error("Frames called without a frame")
				return
			}
			taken = append(taken, bytes.Clone(p))
			takenCount.Add(1)
		}
		run(t, im, Options{NumLoops: 1}, r, func() {
			c := im.dial(t)
			var in []byte
			const frames = 300
			for i := range frames {
				in = appendFrame(in, bytes.Repeat([]byte{byte(i)}, i))
			}
			for len(in) > 0 {
				n := min(len(in), 777)
				c.send(in[:n])
				in = in[n:]
			}
			im.await(t, "opened", func() bool { return r.count("frames") > 0 })
			conn := r.conn(0)
			for takenCount.Load() < frames {
				before := takenCount.Load()
				conn.Resume()
				conn.Resume()
				im.await(t, "one more", func() bool { return takenCount.Load() > before })
			}
			for i, p := range taken {
				if !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, i)) {
					t.Fatalf("frame %d is %d bytes", i, len(p))
				}
			}
			n := r.count("frames")
			conn.Resume() // Nothing is left: no call.
			w := r.count("woken")
			conn.Loop().Wake()
			im.await(t, "woken", func() bool { return r.count("woken") > w })
			if r.count("frames") != n {
				t.Error("Frames was called without a frame")
			}
		})
	})
}

// TestInboundPause: a throttled connection buffers little and loses nothing, whatever the peer sends; output goes on meanwhile.
func TestInboundPause(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		const frame, frames = 10_000, 3_000 // 30 MB: more than sockets hold
		r := newRecorder(t)
		var open atomic.Bool
		var got, buffered atomic.Int64
		r.frames = func(c Conn, it *Frames) {
			c.SetHandshakeDone()
			for open.Load() {
				p, ok := it.Next()
				if !ok {
					break
				}
				if len(p) != frame || p[0] != byte(got.Load()) {
					t.Errorf("frame %d is wrong", got.Load())
				}
				got.Add(1)
			}
		}
		o := Options{NumLoops: 1, InboundPauseBytes: 100_000, InboundMaxBytes: 1 << 20}
		run(t, im, o, r, func() {
			c := im.dial(t)
			sent := make(chan struct{})
			send := func() {
				defer close(sent)
				for i := range frames {
					c.send(appendFrame(nil, bytes.Repeat([]byte{byte(i)}, frame)))
				}
			}
			if _, ok := im.(*memImpl); ok {
				send()
			} else {
				go send()
			}
			look := func() {
				conn := r.conn(0)
				conn.Loop().Post(func() {
					buffered.Store(int64(conn.InboundBuffered()))
					_ = conn.Write([]byte{7}) // Closed tells about failures.
				})
			}
			im.await(t, "opened", func() bool { return r.count("frames") > 0 })
			im.await(t, "paused", func() bool { look(); return buffered.Load() >= 100_000 })
			for range 20 {
				n := buffered.Swap(-1)
				im.await(t, "looked", func() bool { look(); return buffered.Load() >= 0 })
				// What one read brings above the mark, and what came between gnet's switching reading on and our switching it off.
				if m := buffered.Load(); m > 100_000+4*readBufferBytes {
					t.Fatalf("%d bytes are buffered, %d before", m, n)
				}
			}
			if _, err := c.recv(20); err != nil {
				t.Errorf("output does not go on: %v", err)
			}
			open.Store(true)
			r.conn(0).Resume()
			im.await(t, "all frames", func() bool { return got.Load() == frames })
			<-sent
		})
		if r.count("closed <nil>") != 1 {
			t.Error("not closed in order")
		}
	})
}

// TestInboundOverflow: without pausing, the hard limit holds.
func TestInboundOverflow(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		r.frames = func(Conn, *Frames) {}
		o := Options{InboundPauseBytes: -1, InboundMaxBytes: 1, FrameMaxBytes: 1000}
		run(t, im, o, r, func() {
			c := im.dial(t)
			c.send(bytes.Repeat(appendFrame(nil, make([]byte, 1000)), 300))
			im.await(t, "closed", func() bool { return r.closedWith(ErrInboundOverflow) })
			if n := im.stats().InboundOverflow; n != 1 {
				t.Errorf("%d counted", n)
			}
		})
	})
}

// TestSlowConsumer: a peer that never reads is closed when the limit is reached; the writer sees it by ErrSlowConsumer.
func TestSlowConsumer(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		var last error
		r.frames = func(c Conn, it *Frames) {
			for _, ok := it.Next(); ok; _, ok = it.Next() {
			}
			big := make([]byte, 1<<20)
			for range 1000 {
				if last = c.Write(big); last != nil {
					if c.OutboundBuffered() < 3<<20 {
						t.Errorf("refused with %d waiting", c.OutboundBuffered())
					}
					break
				}
			}
			if err := c.Write([]byte("more")); !errors.Is(err, ErrClosed) {
				t.Errorf("write after refusal: %v", err)
			}
		}
		run(t, im, Options{OutboundMaxBytes: 3 << 20}, r, func() {
			c := im.dial(t)
			c.stall(1000)
			c.send(appendFrame(nil, []byte("go")))
			im.await(t, "closed", func() bool { return r.closedWith(ErrSlowConsumer) })
			if !errors.Is(last, ErrSlowConsumer) {
				t.Errorf("write: %v", last)
			}
		})
	})
}

// TestCloseAfterFlush: all output arrives, then the end, though the peer had stalled and had sent more.
func TestCloseAfterFlush(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		const size = 20 << 20
		r := newRecorder(t)
		var closing atomic.Bool
		r.frames = func(c Conn, it *Frames) {
			it.Next()
			if err := c.Write(bytes.Repeat([]byte("abcdefghijklmnop"), size/16)); err != nil {
				t.Error(err)
			}
			c.CloseAfterFlush()
			if _, ok := it.Next(); ok {
				t.Error("a frame after CloseAfterFlush")
			}
			if err := c.Write([]byte("more")); !errors.Is(err, ErrClosed) {
				t.Errorf("write after CloseAfterFlush: %v", err)
			}
			closing.Store(true)
		}
		run(t, im, Options{}, r, func() {
			c := im.dial(t)
			c.stall(1000)
			two := appendFrame(appendFrame(nil, []byte("one")), []byte("two"))
			c.send(two)
			im.await(t, "closing", closing.Load)
			c.send(two)
			c.closeWrite() // Must not cut the flush short.
			got, err := c.recvAll()
			if err != nil || len(got) != size || !bytes.HasSuffix(got, []byte("mnop")) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			im.await(t, "closed", func() bool { return r.closedWith(nil) })
		})
		if n := r.count("frames"); n != 1 {
			t.Errorf("%d frames calls", n)
		}
	})
}

// TestFlushTimeout: a peer that does not read holds a closing connection for FlushTimeout only.
func TestFlushTimeout(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		r.frames = func(c Conn, it *Frames) {
			it.Next()
			if err := c.Write(make([]byte, 20<<20)); err != nil {
				t.Error(err)
			}
			c.CloseAfterFlush()
		}
		run(t, im, Options{FlushTimeout: 30 * time.Millisecond}, r, func() {
			c := im.dial(t)
			c.stall(1000)
			c.send(appendFrame(nil, []byte("one")))
			if m, ok := im.(*memImpl); ok {
				m.m.Advance(29 * time.Millisecond)
				m.m.Run()
				if r.count("closed") != 0 {
					t.Error("closed too early")
				}
				m.m.Advance(time.Millisecond)
			}
			im.await(t, "closed", func() bool { return r.closedWith(ErrFlushTimeout) })
		})
	})
}

// TestWakePostClose: Wakes coalesce, posted functions run in order and on the loop, Close works from anywhere, any number of times.
func TestWakePostClose(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		run(t, im, Options{NumLoops: 2}, r, func() {
			for _, l := range im.loops() {
				hold, held := make(chan struct{}), make(chan struct{})
				var order []int
				if _, ok := im.(*memImpl); ok {
					close(hold)
					held = make(chan struct{}, 1)
				}
				before := r.count("woken")
				l.Post(func() { held <- struct{}{}; <-hold })
				if _, ok := im.(*memImpl); !ok {
					<-held
				}
				for i := range 100 {
					l.Wake()
					l.Post(func() { order = append(order, i) })
				}
				done := make(chan struct{})
				l.Post(func() { close(done) })
				if _, ok := im.(*memImpl); !ok {
					close(hold)
				}
				im.await(t, "posted functions and Woken", func() bool {
					select {
					case <-done:
						return r.count("woken") > before
					default:
						return false
					}
				})
				if n := r.count("woken") - before; n != 1 {
					t.Errorf("%d Woken calls for Wakes while the loop was held", n)
				}
				for i := range order {
					if order[i] != i {
						t.Fatalf("order %v", order)
					}
				}
			}
			c := im.dial(t)
			c.send(appendFrame(nil, []byte("x")))
			if _, err := c.recv(5); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				r.conn(0).Close()
			}
			if _, err := c.recvAll(); err != nil && !isReset(err) {
				t.Error(err)
			}
			im.await(t, "closed", func() bool { return r.closedWith(nil) })
		})
		for _, l := range im.loops() {
			if _, ok := im.(*socketImpl); ok && l.Post(func() { t.Error("ran after Stop") }) {
				t.Error("a stopped loop takes posts")
			}
			l.Wake() // Harmless.
		}
	})
}

// TestSelfWake: a handler that keeps waking itself does not keep the loop from its sockets.
func TestSelfWake(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		var done atomic.Bool
		wakes := 0
		r.woken = func(l Loop) {
			wakes++
			if _, ok := im.(*memImpl); !done.Load() && !(ok && wakes > 1000) {
				l.Wake()
			}
		}
		run(t, im, Options{NumLoops: 1}, r, func() {
			im.loops()[0].Wake()
			c := im.dial(t)
			c.send(appendFrame(nil, []byte("x")))
			if _, err := c.recv(5); err != nil {
				t.Error(err)
			}
			done.Store(true)
		})
	})
}

// TestReset: a broken connection is told with its error, also if it breaks while the handler writes to it; the recorder checks
// that Closed is not nested.
func TestReset(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		gone, gate := make(chan struct{}), make(chan struct{}, 1)
		r.frames = func(c Conn, it *Frames) {
			for _, ok := it.Next(); ok; _, ok = it.Next() {
			}
			gate <- struct{}{}
			<-gone
			for range 16 {
				_ = c.Write(make([]byte, 256<<10)) // Fails at some point.
			}
		}
		if _, ok := im.(*memImpl); ok {
			close(gone)
		}
		run(t, im, Options{NumLoops: 1, OutboundMaxBytes: 1 << 30}, r, func() {
			c := im.dial(t)
			c.send(appendFrame(nil, []byte("x")))
			<-gate
			switch c := c.(type) {
			case *memClient:
				c.p.Reset(syscall.ECONNRESET)
			case *socketClient:
				nc := c.c
				if tc, ok := nc.(interface{ NetConn() net.Conn }); ok {
					nc = tc.NetConn()
				}
				if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
				nc.Close()
				close(gone)
			}
			im.await(t, "closed", func() bool { return r.count("closed") == 1 })
			s, ok := im.(*socketImpl)
			stream := ok && (s.tls || s.driver == DriverNet)
			for _, reason := range r.reason {
				// A stream's reader sees a plain end when its writer got the socket's error first.
				if !(errors.Is(reason, syscall.ECONNRESET) || errors.Is(reason, syscall.EPIPE) || stream && reason == nil) {
					t.Errorf("reason %v", reason)
				}
			}
		})
	})
}

// TestConnsMax: connections over the limit are closed at once; a place that becomes free can be taken.
func TestConnsMax(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		run(t, im, Options{ConnsMax: 2}, r, func() {
			ping := func(c client) error {
				c.send(appendFrame(nil, []byte("x")))
				_, err := c.recv(5)
				return err
			}
			var cs []client
			for range 2 {
				c := im.dial(t)
				if err := ping(c); err != nil {
					t.Fatal(err)
				}
				cs = append(cs, c)
			}
			if err := ping(im.dial(t)); err == nil {
				t.Error("a third connection is served")
			}
			if n := im.stats().RefusedConns; n != 1 {
				t.Errorf("%d refused", n)
			}
			cs[0].close()
			im.await(t, "place is free", func() bool { return im.stats().Conns == 1 })
			if err := ping(im.dial(t)); err != nil {
				t.Errorf("after one has left: %v", err)
			}
		})
	})
}

// TestStopCutShort: Stop with a context that ends gives up flushing, and still closes and reports everything.
func TestStopCutShort(t *testing.T) {
	for _, d := range []Driver{DriverGnet, DriverNet} {
		im := &socketImpl{driver: d}
		r := newRecorder(t)
		r.frames = func(c Conn, it *Frames) {
			it.Next()
			if err := c.Write(make([]byte, 30<<20)); err != nil {
				t.Error(err)
			}
		}
		im.start(t, Options{NumLoops: 1, FlushTimeout: time.Hour}, r)
		c := im.dial(t)
		c.send(appendFrame(nil, []byte("x")))
		im.await(t, "written", func() bool { return r.count("frames") == 1 })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := im.srv.Stop(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Stop: %v", err)
		}
		if r.count("closed") != 1 {
			t.Errorf("calls: %q", r.log)
		}
		if err := im.srv.Stop(context.Background()); !errors.Is(err, context.Canceled) {
			t.Errorf("second Stop: %v", err)
		}
		if _, err := net.Dial("tcp", im.srv.Addr(0).String()); err == nil {
			t.Error("still listening")
		}
	}
}

// TestAddressInUse: the error names the address.
func TestAddressInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	_, err = Start(Options{Listeners: []Listener{{Address: "127.0.0.1:0"}, {Address: addr}}}, newRecorder(t))
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Start: %v", err)
	}
}
