package netpoll

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be a herd of clients for TestManyConns: descriptors are counted per process.
func TestMain(m *testing.M) {
	if addr := os.Getenv("NETPOLL_TEST_HERD"); addr != "" {
		if err := herd(addr); err != nil {
			fmt.Println("herd:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// herd opens connections, plays one frame on each, says so, and leaves when its input ends.
func herd(spec string) error {
	addr, count, _ := strings.Cut(spec, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return err
		}
	}
	frame := appendFrame(nil, []byte("hello"))
	for range 2 {
		for _, c := range conns {
			if _, err := c.Write(frame); err != nil {
				return err
			}
		}
		got := make([]byte, len(frame))
		for _, c := range conns {
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, frame) {
				return fmt.Errorf("got %q: %v", got, err)
			}
		}
	}
	fmt.Println("all answered")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestManyConns serves ten thousand connections at once and reports what an idle one costs.
func TestManyConns(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	limit, err := raiseFileLimit()
	if err != nil {
		t.Fatal(err)
	}
	n = min(n, int(limit)-1000)
	for _, d := range []Driver{DriverGnet, DriverNet} {
		im := &socketImpl{driver: d}
		r := newRecorder(t)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		im.start(t, Options{NumLoops: 2}, r)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("NETPOLL_TEST_HERD=%s %d", im.srv.Addr(0), n))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if line != "all answered\n" {
			t.Errorf("herd: %q, %v", line, err)
		}
		if st := im.stats(); st.Conns != n || st.Accepted != uint64(n) || st.AcceptErrors != 0 {
			t.Errorf("%+v", st)
		}
		r.mu.Lock()
		r.log, r.conns = nil, nil
		r.mu.Unlock()
		runtime.GC()
		runtime.ReadMemStats(&after)
		t.Logf("driver %d, %d connections: %d bytes of heap and %d of stack each", d, n,
			int(after.HeapAlloc-before.HeapAlloc)/n, int(after.StackInuse-before.StackInuse)/n)
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("herd: %v", err)
		}
		im.await(t, "all closed", func() bool { return im.stats().Conns == 0 })
		im.stop(t)
	}
}

// TestOutOfDescriptors: a failed accept is counted and survived; the connection is served when there are descriptors again.
func TestOutOfDescriptors(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Driver{DriverGnet, DriverNet} {
		im := &socketImpl{driver: d}
		r := newRecorder(t)
		run(t, im, Options{}, r, func() {
			client, err := net.Dial("tcp", im.srv.Addr(0).String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			im.await(t, "opened", func() bool { return r.count("opened") == 1 })
			// The next client's descriptor is the last one there is.
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fd) + 1, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
			second, err := net.Dial("tcp", im.srv.Addr(0).String())
			if err == nil {
				defer second.Close()
				im.await(t, "accept fails", func() bool { return im.stats().AcceptErrors > 0 })
			}
			if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); e != nil {
				t.Fatal(e)
			}
			if err != nil {
				t.Fatal(err)
			}
			c := &socketClient{second}
			c.send(appendFrame(nil, []byte("x")))
			if _, err := c.recv(5); err != nil {
				t.Errorf("after the shortage: %v", err)
			}
		})
	}
}

// TestLoopDies: an event loop that ends by itself is reported once, and Stop does not hang.
func TestLoopDies(t *testing.T) {
	r := newRecorder(t)
	fatal := make(chan error, 10)
	s, err := Start(Options{
		Listeners: []Listener{{Address: "127.0.0.1:0"}}, NumLoops: 2,
		OnFatal: func(err error) { fatal <- err },
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	d := s.driver.(*gnetDriver)
	if err := d.loops[1].Execute(context.Background(), endLoop{}); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, ErrLoopEnded) {
		t.Errorf("reported: %v", err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if len(fatal) != 0 {
		t.Error("reported more than once")
	}
}

type endLoop struct{}

func (endLoop) Run(context.Context) error { return gneterrors.ErrEngineShutdown }

// TestNoGoroutinesLeft: Stop waits for everything it started.
func TestNoGoroutinesLeft(t *testing.T) {
	for _, im := range []*socketImpl{{driver: DriverGnet}, {driver: DriverNet}, {driver: DriverGnet, tls: true}} {
		before := runtime.NumGoroutine()
		r := newRecorder(t)
		im.start(t, Options{NumLoops: 3}, r)
		for range 5 {
			c := im.dial(t)
			c.send(appendFrame(nil, []byte("x")))
			if _, err := c.recv(5); err != nil {
				t.Fatal(err)
			}
		}
		im.stop(t)
		// A goroutine that is over may be counted for an instant.
		awaitCond(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	}
}

// TestTLSFailures: what is not TLS, does not speak, or is one too many, is closed and counted; Stop does not wait for it.
func TestTLSFailures(t *testing.T) {
	server, client := testTLS(t)
	r := newRecorder(t)
	s, err := Start(Options{
		Listeners: []Listener{{Address: "127.0.0.1:0", TLS: server}}, NumLoops: 1,
		TLSHandshakesMax: 2, TLSHandshakeTimeout: time.Hour,
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.Addr(0).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	plain := dial()
	if _, err := plain.Write(appendFrame(nil, make([]byte, 44))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(plain); err != nil && !isReset(err) {
		t.Error(err)
	}
	awaitCond(t, "counted", func() bool { return s.Stats().TLSHandshakeErrors == 1 })
	nobody := tls.Client(dial(), &tls.Config{RootCAs: client.RootCAs, ServerName: client.ServerName}) // No certificate.
	if _, err := io.ReadAll(nobody); err == nil {
		t.Error("a client without certificate is served")
	}
	awaitCond(t, "counted", func() bool { return s.Stats().TLSHandshakeErrors == 2 && s.handshakes.Load() == 0 })
	dial()
	dial()
	awaitCond(t, "two wait", func() bool { return s.handshakes.Load() == 2 })
	if _, err := io.ReadAll(dial()); err != nil && !isReset(err) {
		t.Error(err)
	}
	awaitCond(t, "third refused", func() bool { return s.Stats().RefusedConns == 1 })
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if r.count("opened") != 0 || s.Stats().Conns != 0 {
		t.Errorf("calls %q, %+v", r.log, s.Stats())
	}
}

// TestPeerCertificate: it is there when Opened is called.
func TestPeerCertificate(t *testing.T) {
	im := &socketImpl{driver: DriverGnet, tls: true}
	r := newRecorder(t)
	var name atomic.Value
	r.opened = func(c Conn) bool {
		name.Store(c.TLS().PeerCertificates[0].Subject.CommonName)
		return true
	}
	run(t, im, Options{}, r, func() {
		c := im.dial(t)
		c.send(appendFrame(nil, []byte("x")))
		if _, err := c.recv(5); err != nil {
			t.Fatal(err)
		}
	})
	if name.Load() != "test" {
		t.Errorf("name %v", name.Load())
	}
}

// TestPlainToo: one port for both, and a plain connection is then served by gnet.
func TestPlainToo(t *testing.T) {
	server, client := testTLS(t)
	r := newRecorder(t)
	s, err := Start(Options{
		Listeners: []Listener{{Address: "127.0.0.1:0", TLS: server, PlainToo: true}},
		NumLoops:  1, Words: []Word{{"ruok", 0}},
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"ruok", "\x00\x00\x00\x01x"} {
		for _, secure := range []bool{false, true} {
			c, err := net.Dial("tcp", s.Addr(0).String())
			if err != nil {
				t.Fatal(err)
			}
			if secure {
				c = tls.Client(c, client)
			}
			n := r.count("frames") + r.count("word")
			if _, err := c.Write([]byte(in)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Errorf("%q, TLS %v: %v", in, secure, err)
			}
			if r.count("frames")+r.count("word") != n+1 {
				t.Errorf("calls: %q", r.log)
			}
			last := r.conn(r.count("opened") - 1)
			if (last.TLS() != nil) != secure {
				t.Errorf("TLS state %v", last.TLS())
			}
			if _, ok := last.(*conn).tr.(*gnetConn); ok == secure {
				t.Errorf("transport %T", last.(*conn).tr)
			}
			c.Close()
		}
	}
	silent, err := net.Dial("tcp", s.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	awaitCond(t, "it is there", func() bool { return s.handshakes.Load() == 1 })
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestBigFrames: pipelined frames of the largest size come through whole, both ways.
func TestBigFrames(t *testing.T) {
	forEach(t, func(t *testing.T, im implementation) {
		r := newRecorder(t)
		frame := appendFrame(nil, bytes.Repeat([]byte("0123456789abcde"), DefaultFrameMaxBytes/15))
		frame = frame[:4+DefaultFrameMaxBytes/15*15]
		const frames = 8
		run(t, im, Options{Words: []Word{}}, r, func() {
			c := im.dial(t)
			go1 := make(chan struct{})
			send := func() {
				defer close(go1)
				for range frames {
					c.send(frame)
				}
			}
			if _, ok := im.(*memImpl); ok {
				send()
			} else {
				go send()
			}
			got, err := c.recv(frames * len(frame))
			if err != nil || !bytes.Equal(got, bytes.Repeat(frame, frames)) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
			<-go1
		})
	})
}
