package netpoll

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// The conformance suite: every driver and transport passes the same stories. A client is a peer with blocking calls; what the
// server side does is told by a recorder's log of handler calls.

// patience bounds every wait of the tests; it is never reached when they pass.
const patience = 20 * time.Second

type client interface {
	send(b []byte)
	// recv returns the next n bytes.
	recv(n int) ([]byte, error)
	// recvAll returns everything up to the end of the connection.
	recvAll() ([]byte, error)
	closeWrite()
	close()
	// stall makes the peer stop taking output (it must have room for n bytes at least), which for sockets is simply not reading.
	stall(n int)
}

type implementation interface {
	start(t *testing.T, o Options, h Handler)
	dial(t *testing.T) client
	loops() []Loop
	stats() Stats
	// await returns when cond is true. cond is called without synchronisation with the loops.
	await(t *testing.T, what string, cond func() bool)
	stop(t *testing.T)
}

// socketImpl runs over real sockets on the loopback interface.
type socketImpl struct {
	driver Driver
	tls    bool
	srv    *Server
}

func (s *socketImpl) start(t *testing.T, o Options, h Handler) {
	o.Driver = s.driver
	ln := Listener{Address: "127.0.0.1:0"}
	if s.tls {
		ln.TLS, _ = testTLS(t)
	}
	o.Listeners = []Listener{ln}
	o.Logf = t.Logf
	srv, err := Start(o, h)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = srv
}

func (s *socketImpl) dial(t *testing.T) client {
	c, err := net.Dial("tcp", s.srv.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if s.tls {
		_, conf := testTLS(t)
		c = tls.Client(c, conf)
	}
	return &socketClient{c}
}

func (s *socketImpl) loops() []Loop { return s.srv.Loops() }
func (s *socketImpl) stats() Stats  { return s.srv.Stats() }

func (s *socketImpl) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	awaitCond(t, what, cond)
}

func awaitCond(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(100 * time.Microsecond) // Between two looks at the condition.
	}
}

func (s *socketImpl) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.srv.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

type socketClient struct{ c net.Conn }

func (c *socketClient) send(b []byte) {
	_, _ = c.c.Write(b) // The server may have closed: what it did is what is tested.
}

func (c *socketClient) recv(n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := io.ReadFull(c.c, b)
	return b[:k], err
}

func (c *socketClient) recvAll() ([]byte, error) { return io.ReadAll(c.c) }
func (c *socketClient) closeWrite() {
	_ = c.c.(interface{ CloseWrite() error }).CloseWrite()
}
func (c *socketClient) close()    { c.c.Close() }
func (c *socketClient) stall(int) {}

// memImpl pumps a Mem from the test's own goroutine.
type memImpl struct {
	m *Mem
}

func (s *memImpl) start(t *testing.T, o Options, h Handler) {
	m, err := NewMem(o, h)
	if err != nil {
		t.Fatal(err)
	}
	s.m = m
}

func (s *memImpl) dial(*testing.T) client {
	return &memClient{s.m, s.m.Dial(s.m.peers % len(s.m.srv.loops))}
}
func (s *memImpl) loops() []Loop { return s.m.Loops() }
func (s *memImpl) stats() Stats  { return s.m.Stats() }
func (s *memImpl) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	// A cond may itself cause something and see it the next time.
	for range 3 {
		s.m.Run()
		if cond() {
			return
		}
	}
	t.Fatalf("not so: %s", what)
}
func (s *memImpl) stop(*testing.T) {
	for _, l := range s.m.srv.loops {
		l.Post(l.quit)
	}
	s.m.Run()
}

type memClient struct {
	m *Mem
	p *MemPeer
}

func (c *memClient) send(b []byte) { c.p.Send(b); c.m.Run() }
func (c *memClient) recv(n int) ([]byte, error) {
	c.m.Run()
	got := c.p.Receive()
	if len(got) < n {
		return got, io.ErrUnexpectedEOF
	}
	// What is beyond n stays for the next call.
	c.p.c.got = append([]byte(nil), got[n:]...)
	return got[:n], nil
}
func (c *memClient) recvAll() ([]byte, error) {
	c.p.SetWindow(-1)
	c.m.Run()
	got := c.p.Receive()
	c.m.Run()
	if !c.p.Closed() {
		return got, errors.New("connection is not closed")
	}
	return append(got, c.p.Receive()...), nil
}
func (c *memClient) closeWrite() { c.p.CloseWrite(); c.m.Run() }
func (c *memClient) close()      { c.p.CloseWrite(); c.m.Run() }
func (c *memClient) stall(n int) { c.p.SetWindow(n) }

func forEach(t *testing.T, f func(t *testing.T, im implementation)) {
	for name, im := range map[string]func() implementation{
		"gnet":     func() implementation { return &socketImpl{driver: DriverGnet} },
		"gnet-tls": func() implementation { return &socketImpl{driver: DriverGnet, tls: true} },
		"net":      func() implementation { return &socketImpl{driver: DriverNet} },
		"net-tls":  func() implementation { return &socketImpl{driver: DriverNet, tls: true} },
		"mem":      func() implementation { return &memImpl{} },
	} {
		t.Run(name, func(t *testing.T) { f(t, im()) })
	}
}

// recorder is a scripted handler: it logs calls, checks their rules, and lets a test replace each of them.
type recorder struct {
	t       *testing.T
	opened  func(c Conn) bool
	frames  func(c Conn, it *Frames)
	word    func(c Conn, word string, arg []byte)
	closed  func(c Conn, reason error)
	woken   func(l Loop)
	running [64]sync.Mutex // by loop: taken with TryLock, to see that calls never overlap

	mu     sync.Mutex // guards the log
	log    []string
	reason map[uint64]error // of closed connections
	conns  []Conn
}

func newRecorder(t *testing.T) *recorder {
	return &recorder{t: t, reason: make(map[uint64]error)}
}

func (r *recorder) call(l Loop, format string, args ...any) func() {
	if !r.running[l.Index()].TryLock() {
		r.t.Errorf("handler calls of loop %d overlap or nest", l.Index())
		return func() {}
	}
	r.mu.Lock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
	r.mu.Unlock()
	return r.running[l.Index()].Unlock
}

func (r *recorder) Opened(c Conn) bool {
	defer r.call(c.Loop(), "opened")()
	r.mu.Lock()
	r.conns = append(r.conns, c)
	r.mu.Unlock()
	if r.opened != nil {
		return r.opened(c)
	}
	return true
}

func (r *recorder) Frames(c Conn, it *Frames) {
	defer r.call(c.Loop(), "frames")()
	if r.frames != nil {
		r.frames(c, it)
		return
	}
	r.echo(c, it)
}

func (r *recorder) echo(c Conn, it *Frames) {
	var out []byte
	for p, ok := it.Next(); ok; p, ok = it.Next() {
		out = appendFrame(out, p)
	}
	_ = c.Write(out) // Closed tells about failures.
}

func (r *recorder) Word(c Conn, word string, arg []byte) {
	defer r.call(c.Loop(), "word %s %q", word, arg)()
	if r.word != nil {
		r.word(c, word, arg)
		return
	}
	_ = c.Write([]byte("answer to " + word)) // Closed tells about failures.
	c.CloseAfterFlush()
}

func (r *recorder) Closed(c Conn, reason error) {
	defer r.call(c.Loop(), "closed %v", reason)()
	r.mu.Lock()
	if _, dup := r.reason[c.ID()]; dup {
		r.t.Errorf("Closed twice for connection %d", c.ID())
	}
	r.reason[c.ID()] = reason
	r.mu.Unlock()
	if err := c.Write([]byte("late")); !errors.Is(err, ErrClosed) {
		r.t.Errorf("Write in Closed: %v", err)
	}
	if r.closed != nil {
		r.closed(c, reason)
	}
}

func (r *recorder) Woken(l Loop) {
	defer r.call(l, "woken %d", l.Index())()
	if r.woken != nil {
		r.woken(l)
	}
}

// conn returns the i-th connection opened.
func (r *recorder) conn(i int) Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[i]
}

func (r *recorder) count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.log {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// closedWith tells whether a connection was closed, and that its reason is want.
func (r *recorder) closedWith(want error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reason) == 0 {
		return false
	}
	for _, reason := range r.reason {
		if !errors.Is(reason, want) && reason != want {
			r.t.Errorf("closed with %v, want %v", reason, want)
		}
	}
	return true
}

func appendFrame(dst, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(payload))), payload...)
}

// run starts im with h, runs f and stops.
func run(t *testing.T, im implementation, o Options, r *recorder, f func()) {
	t.Helper()
	if o.NumLoops == 0 {
		o.NumLoops = 2
	}
	if o.Words == nil {
		o.Words = []Word{{"ruok", 0}, {"stmk", 8}, {"\xff\xf4\xff\xfd", 0}}
	}
	im.start(t, o, r)
	f()
	im.stop(t)
	im.await(t, "every opened connection is closed", func() bool { return r.count("opened") == r.count("closed") })
	if n := im.stats().Conns; n != 0 {
		t.Errorf("%d connections are counted after Stop", n)
	}
}

// TestConnFacts: ids are unique, loops are numbered, addresses are those of the sockets and stay after the close.
func TestConnFacts(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		run(t, im, Options{NumLoops: 3}, r, func() {
			for i, l := range im.loops() {
				if l.Index() != i {
					t.Errorf("loop %d has index %d", i, l.Index())
				}
			}
			for range 6 {
				c := im.dial(t)
				c.send(appendFrame(nil, []byte("x")))
				if _, err := c.recv(5); err != nil {
					t.Fatal(err)
				}
				c.close()
			}
			im.await(t, "all are closed", func() bool { return r.count("closed <nil>") == 6 })
			ids := make(map[uint64]bool)
			loops := make(map[int]bool)
			for _, c := range r.conns {
				ids[c.ID()] = true
				loops[c.Loop().Index()] = true
				if !c.RemoteAddr().Addr().IsLoopback() || !c.RemoteAddr().Addr().Is4() || !c.LocalAddr().Addr().IsLoopback() || c.RemoteAddr().Port() == 0 {
					t.Errorf("addresses %v, %v", c.RemoteAddr(), c.LocalAddr())
				}
				_, isSocket := im.(*socketImpl)
				if wantTLS := isSocket && im.(*socketImpl).tls; wantTLS != (c.TLS() != nil) {
					t.Errorf("TLS state is %v", c.TLS())
				}
			}
			if len(ids) != 6 {
				t.Errorf("ids %v", ids)
			}
		})
	})
}

// TestRefusedByHandler: Opened returning false closes, without Closed.
func TestRefusedByHandler(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		r.opened = func(Conn) bool { return false }
		im.start(t, Options{NumLoops: 1}, r)
		c := im.dial(t)
		c.send(appendFrame(nil, []byte("hello")))
		if got, _ := c.recvAll(); len(got) > 0 {
			t.Errorf("got %q", got)
		}
		im.stop(t)
		if r.count("opened") != 1 || r.count("closed") != 0 || r.count("frames") != 0 {
			t.Errorf("calls: %q", r.log)
		}
	})
}

// TestSegmentation: whatever the segments, the same frames arrive, also those behind the first one in one segment.
func TestSegmentation(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		r.frames = func(c Conn, it *Frames) {
			c.SetHandshakeDone() // Before Next: a frame of the length 'ruok' is not meant here.
			r.echo(c, it)
		}
		run(t, im, Options{}, r, func() {
			var stream []byte
			for _, n := range []int{0, 1, 0, 3, 4, 5, 100, 511, 512, 513, 4096, 70000, 7} {
				stream = appendFrame(stream, bytes.Repeat([]byte{byte(n)}, n))
			}
			for _, size := range []int{len(stream), 65536, 1000, 7, 3} {
				if size < 1000 && len(stream) > 1000 {
					stream = stream[:4+0+4+1+4+4+3+4+4+4+5+4+100] // The byte by byte cases need no long frames.
				}
				c := im.dial(t)
				for i := 0; i < len(stream); i += size {
					c.send(stream[i:min(len(stream), i+size)])
				}
				got, err := c.recv(len(stream))
				if err != nil || !bytes.Equal(got, stream) {
					t.Fatalf("segments of %d: %d bytes came back (%v), want %d", size, len(got), err, len(stream))
				}
				c.close()
			}
		})
	})
}

// TestLengthLimits: exactly the limit is accepted; a bad length closes before its body has come, after the frames before
// it were delivered.
func TestLengthLimits(t *testing.T) {
	f := func(name string, in []byte, wantFrames int, wantClosed bool) {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(t *testing.T, im implementation) {
				r := newRecorder(t)
				frames := 0
				r.frames = func(c Conn, it *Frames) {
					for _, ok := it.Next(); ok; _, ok = it.Next() {
						frames++
					}
					_ = c.Write([]byte{1}) // Closed tells about failures.
				}
				run(t, im, Options{FrameMaxBytes: 1000, NumLoops: 1}, r, func() {
					c := im.dial(t)
					c.send(in)
					if wantClosed {
						if _, err := c.recvAll(); err != nil && !isReset(err) {
							t.Error(err)
						}
						im.await(t, "closed", func() bool { return r.closedWith(ErrFrameLength) })
						if n := im.stats().FrameLength; n != 1 {
							t.Errorf("%d counted", n)
						}
					} else if _, err := c.recv(1); err != nil {
						t.Error(err)
					}
				})
				if frames != wantFrames {
					t.Errorf("%d frames, want %d", frames, wantFrames)
				}
			})
		})
	}
	f("at the limit", appendFrame(nil, make([]byte, 1000)), 1, false)
	f("one over", binary.BigEndian.AppendUint32(nil, 1001), 0, true)
	f("negative", binary.BigEndian.AppendUint32(nil, 1<<31), 0, true)
	f("minus one", binary.BigEndian.AppendUint32(nil, 1<<32-1), 0, true)
	f("garbage", []byte("GET / HTTP/1.1\r\n\r\n"), 0, true)
	f("behind a frame", append(appendFrame(nil, []byte("good")), "junk"...), 1, true)
}

// isReset: a connection closed with unread input may be reset.
func isReset(err error) bool {
	var ne net.Error
	return !(errors.As(err, &ne) && ne.Timeout())
}

// TestWords: words are seen at frame starts until the handshake is done, whole or in pieces, with their argument, and what follows is ignored.
func TestWords(t *testing.T) {
	f := func(name, want string, pieces ...string) {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(t *testing.T, im implementation) {
				r := newRecorder(t)
				run(t, im, Options{}, r, func() {
					c := im.dial(t)
					for _, p := range pieces {
						c.send([]byte(p))
					}
					if _, err := c.recvAll(); err != nil {
						t.Error(err)
					}
					im.await(t, "closed", func() bool { return r.closedWith(nil) })
					if r.count("word") != 1 || r.count(want) != 1 {
						t.Errorf("calls: %q", r.log)
					}
				})
			})
		})
	}
	f("whole", `word ruok ""`, "ruok")
	f("newline", `word ruok ""`, "ruok\n")
	f("pieces", `word ruok ""`, "r", "u", "o", "k")
	f("telnet", "word \xff\xf4\xff\xfd", "\xff\xf4\xff\xfd")
	f("argument", `word stmk "12345678"`, "stmk12345678")
	f("argument in pieces", `word stmk "12345678"`, "st", "mk1", "2345", "678")
	f("trailing", `word stmk "12345678"`, "stmk12345678ruokruok")
	f("after a frame", `word ruok ""`, "\x00\x00\x00\x01xruok")
	f("after a frame across the seam", `word stmk "abcdefgh"`, "\x00\x00\x00\x01xst", "mkabcd", "efgh")
}

// TestNoWordsAfterHandshake: the same bytes are a length then.
func TestNoWordsAfterHandshake(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		r.frames = func(c Conn, it *Frames) {
			if _, ok := it.Next(); !ok {
				t.Error("no frame")
			}
			if c.HandshakeDone() {
				t.Error("done already")
			}
			c.SetHandshakeDone()
			if p, ok := it.Next(); ok {
				t.Errorf("got %q", p)
			}
		}
		run(t, im, Options{}, r, func() {
			c := im.dial(t)
			c.send([]byte("\x00\x00\x00\x01xruok"))
			im.await(t, "closed", func() bool { return r.closedWith(ErrFrameLength) })
			if r.count("word") != 0 {
				t.Errorf("calls: %q", r.log)
			}
		})
	})
}

// TestWordAnsweredLater: the peer sends a word, shuts down its sending side, and gets an answer made on another turn.
func TestWordAnsweredLater(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		if s, ok := im.(*socketImpl); ok && s.driver == DriverGnet && !s.tls {
			defer func() { requirePausing(t, s.srv) }()
		}
		r := newRecorder(t)
		var mu sync.Mutex
		var asked Conn
		r.word = func(c Conn, word string, arg []byte) {
			mu.Lock()
			defer mu.Unlock()
			asked = c
		}
		run(t, im, Options{}, r, func() {
			c := im.dial(t)
			c.send([]byte("ruok"))
			c.closeWrite()
			im.await(t, "asked", func() bool { mu.Lock(); defer mu.Unlock(); return asked != nil })
			for range 3 {
				// Several turns of the loop see the end of input, if it is looked at.
				n := r.count("woken")
				asked.Loop().Wake()
				im.await(t, "woken", func() bool { return r.count("woken") > n })
			}
			if !asked.Loop().Post(func() {
				if err := asked.Write([]byte("imok")); err != nil {
					t.Errorf("write: %v", err)
				}
				asked.CloseAfterFlush()
			}) {
				t.Error("post refused")
			}
			if got, err := c.recvAll(); err != nil || string(got) != "imok" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	})
}

func requirePausing(t *testing.T, s *Server) {
	for i, fd := range s.driver.(*gnetDriver).epfds {
		if fd < 0 {
			t.Errorf("loop %d: epoll descriptor not found in this version of gnet", i)
		}
	}
}
