package netpoll

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/panjf2000/gnet/v2"
)

// bareGnet is the ceiling: gnet alone, echoing bytes without looking at them.
type bareGnet struct {
	gnet.BuiltinEventEngine
}

func (*bareGnet) OnTraffic(c gnet.Conn) gnet.Action {
	b, _ := c.Next(-1)
	_, _ = c.Write(b)
	return gnet.None
}

// startBare runs bareGnet on a listener, enrolling connections as the gnet driver does.
func startBare(b *testing.B) (addr string, stop func()) {
	cli, err := gnet.NewClient(&bareGnet{}, gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPDelay), gnet.WithLogger(gnetLogger{b.Logf}))
	if err != nil {
		b.Fatal(err)
	}
	if err := cli.Start(); err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := cli.Enroll(c); err != nil {
				b.Error(err)
			}
		}
	})
	return ln.Addr().String(), func() {
		ln.Close()
		wg.Wait()
		if err := cli.Stop(); err != nil {
			b.Error(err)
		}
	}
}

func startEcho(b testing.TB, d Driver) (addr string, stop func()) {
	s, err := Start(Options{Listeners: []Listener{{Address: "127.0.0.1:0"}}, Driver: d, NumLoops: 1}, &echoHandler{})
	if err != nil {
		b.Fatal(err)
	}
	return s.Addr(0).String(), func() {
		if err := s.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkEcho is the ceiling of a server that does nothing: frames there and back, one Write per readiness, one loop, the load
// in the same process. One operation is one frame.
func BenchmarkEcho(b *testing.B) {
	const conns = 64
	for _, size := range []int{100, 1 << 20} {
		for _, depth := range []int{1, 8, 32} {
			if size > 100 && depth > 8 {
				continue
			}
			for _, im := range []string{"bare-gnet", "gnet", "net"} {
				b.Run(fmt.Sprintf("size=%d/depth=%d/%s", size, depth, im), func(b *testing.B) {
					var addr string
					var stop func()
					switch im {
					case "bare-gnet":
						addr, stop = startBare(b)
					case "gnet":
						addr, stop = startEcho(b, DriverGnet)
					default:
						addr, stop = startEcho(b, DriverNet)
					}
					defer stop()
					n := conns
					if size > 100 {
						n = 4
					}
					play(b, addr, n, depth, appendFrame(nil, make([]byte, min(size, DefaultFrameMaxBytes))))
				})
			}
		}
	}
}

// play sends b.N frames over n connections, depth at a time on each.
func play(b *testing.B, addr string, n, depth int, frame []byte) {
	batch := bytes.Repeat(frame, depth)
	cs := make([]net.Conn, n)
	for i := range cs {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		cs[i] = c
	}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	rounds := (b.N + n*depth - 1) / (n * depth)
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, c := range cs {
		big := len(batch) > 64<<10
		if big {
			// More than the sockets hold: somebody has to read meanwhile.
			wg.Go(func() {
				for range rounds {
					if _, err := c.Write(batch); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			in := make([]byte, len(batch))
			for range rounds {
				if !big {
					if _, err := c.Write(batch); err != nil {
						b.Error(err)
						return
					}
				}
				if _, err := io.ReadFull(c, in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// counter is a handler that takes all frames and counts bytes.
type counter struct {
	echoHandler
	frames, bytes int
}

func (h *counter) Frames(c Conn, it *Frames) {
	for p, ok := it.Next(); ok; p, ok = it.Next() {
		h.frames++
		h.bytes += len(p)
	}
}

// feeder is one loop and one connection without a driver, fed by hand.
func feeder(t testing.TB, h Handler) (*loop, *memConn) {
	m, err := NewMem(Options{NumLoops: 1}, h)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Dial(0)
	m.Run()
	p.c.SetHandshakeDone()
	return m.srv.loops[0], p.c
}

// BenchmarkParse is the cost of framing alone, with frames whole in their read and with frames across reads.
func BenchmarkParse(b *testing.B) {
	for _, size := range []int{100, 1000, 1 << 20} {
		frame := appendFrame(nil, make([]byte, min(size, DefaultFrameMaxBytes)))
		for _, read := range []int{readBufferBytes, readBufferBytes - 7} {
			var stream []byte
			for len(stream) < 8<<20 {
				stream = append(stream, frame...)
			}
			b.Run(fmt.Sprintf("size=%d/read=%d", size, read), func(b *testing.B) {
				h := &counter{}
				l, c := feeder(b, h)
				b.ReportAllocs()
				b.SetBytes(int64(len(stream)))
				for b.Loop() {
					for i := 0; i < len(stream); i += read {
						l.onData(&c.conn, stream[i:min(len(stream), i+read)])
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(h.frames), "ns/frame")
			})
		}
	}
}

// BenchmarkWake is one wake-up of an idle loop and the way back.
func BenchmarkWake(b *testing.B) {
	for _, d := range []Driver{DriverGnet, DriverNet} {
		b.Run(fmt.Sprintf("driver=%d", d), func(b *testing.B) {
			h := &waker{woken: make(chan struct{}, 1)}
			s, err := Start(Options{Driver: d, NumLoops: 1}, h)
			if err != nil {
				b.Fatal(err)
			}
			l := s.Loops()[0]
			b.ReportAllocs()
			for b.Loop() {
				l.Wake()
				<-h.woken
			}
			if err := s.Stop(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}

type waker struct {
	echoHandler
	woken chan struct{}
}

func (h *waker) Woken(Loop) { h.woken <- struct{}{} }

// TestAllocs pins what is allocated per readiness: nothing, whether frames are whole, across reads, or left and resumed.
func TestAllocs(t *testing.T) {
	if poisonOn {
		t.Skip("the race detector allocates")
	}
	whole := bytes.Repeat(appendFrame(nil, make([]byte, 100)), 32)
	f := func(name string, fn func()) {
		t.Helper()
		fn() // The pools get their buffers.
		if a := testing.AllocsPerRun(300, fn); a != 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
	l, c := feeder(t, &counter{})
	f("whole frames", func() { l.onData(&c.conn, whole) })
	f("frames across reads", func() {
		l.onData(&c.conn, whole[:1000])
		l.onData(&c.conn, whole[1000:2002])
		l.onData(&c.conn, whole[2002:])
	})
	big := appendFrame(nil, make([]byte, 300_000))
	f("large frames", func() {
		for i := 0; i < len(big); i += readBufferBytes {
			l.onData(&c.conn, big[i:min(len(big), i+readBufferBytes)])
		}
	})

	for _, d := range []Driver{DriverGnet, DriverNet} {
		addr, stop := startEcho(t, d)
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		in := make([]byte, len(whole))
		round := func() {
			if _, err := nc.Write(whole); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, in); err != nil {
				t.Fatal(err)
			}
		}
		round()
		// 32 frames a round. A writer goroutine of the net driver may be new, so that one is only bounded.
		a := testing.AllocsPerRun(300, round)
		if d == DriverGnet && a != 0 || a > 3 {
			t.Errorf("echo on driver %d: %v allocations per round", d, a)
		}
		nc.Close()
		stop()
	}
	if !bytes.Equal(whole[:4], binary.BigEndian.AppendUint32(nil, 100)) {
		t.Error("input was changed")
	}
}
