package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

// collector is a Handler that keeps the bytes of the packets that come.
type collector struct {
	mu      sync.Mutex // guards the fields below
	raw     []byte
	batches int
	held    []*Batch
	hold    bool // keep batches instead of releasing them
	last    quorum.PacketType
	closed  chan error
	onBatch func(*Batch)
}

func newCollector() *collector { return &collector{closed: make(chan error, 2)} }

func (c *collector) Packets(b *Batch) {
	c.mu.Lock()
	c.batches++
	for _, p := range b.Packets {
		c.raw = append(c.raw, p.Raw...)
		c.last = p.Type
	}
	if c.hold {
		c.held = append(c.held, b)
		b = nil
	}
	c.mu.Unlock()
	if b != nil {
		if c.onBatch != nil {
			c.onBatch(b)
		}
		b.Release()
	}
}

func (c *collector) Closed(reason error) { c.closed <- reason }

func (c *collector) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.raw)
}

func (c *collector) got(n int) func() bool {
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.raw) >= n
	}
}

func (c *collector) reason(t testing.TB) error {
	t.Helper()
	select {
	case err := <-c.closed:
		return err
	case <-time.After(patience):
		t.Fatal("the link does not end")
		return nil
	}
}

// connPair returns two ends of a TCP connection.
func connPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	l := listenLoopback(t)
	a, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// linkTo makes a started link whose other end the test holds.
func linkTo(t testing.TB, opts LinkOptions) (*Link, *collector, net.Conn) {
	t.Helper()
	a, b := connPair(t)
	must(t, b.SetDeadline(time.Now().Add(patience)))
	l, c := NewLink(a, opts), newCollector()
	l.Start(c)
	t.Cleanup(l.Close)
	return l, c, b
}

// countedRef counts the references that are out.
type countedRef struct{ out *atomic.Int64 }

func (r countedRef) Release() {
	if r.out.Add(-1) < 0 {
		panic("released twice")
	}
}

// TestLinkRoundTrip sends random packets of all sizes in all ways, over TCP and over a connection without
// vectored writes, and checks that they come in order, and that every reference came back.
func TestLinkRoundTrip(t *testing.T) {
	noLeaks(t)
	for _, kind := range []string{"tcp", "pipe"} {
		a, b := connPair(t)
		if kind == "pipe" {
			a, b = net.Pipe()
		}
		rng := rand.New(rand.NewSource(1))
		out, in := NewLink(a, LinkOptions{QueueMaxBytes: 1 << 30}), NewLink(b, LinkOptions{})
		co, ci := newCollector(), newCollector()
		out.Start(co)
		in.Start(ci)
		var refs atomic.Int64
		var want []byte
		for range 1000 {
			size := rng.Intn(300)
			switch rng.Intn(100) {
			case 0:
				size = rng.Intn(2 << 20)
			case 1, 2, 3, 4, 5, 6, 7, 8, 9:
				size = rng.Intn(10000)
			}
			data := make([]byte, size)
			rng.Read(data)
			zxid := quorum.Zxid(rng.Int63())
			packet := quorum.AppendPacket(nil, quorum.PacketProposal, zxid, data)
			var err error
			switch rng.Intn(5) {
			case 0:
				want = append(want, packet...)
				err = out.QueuePacket(quorum.PacketProposal, zxid, data)
			case 1:
				want = append(want, packet...)
				refs.Add(1)
				err = out.QueueBytes(packet, countedRef{&refs})
			case 2:
				want = quorum.AppendPacket(want, quorum.PacketInform, zxid, data)
				refs.Add(1)
				err = out.QueueInform(packet, countedRef{&refs})
			case 3:
				want = append(want, packet...)
				err = out.Send(packet)
			case 4:
				want = append(want, packet...)
				err = out.SendWait(packet)
			}
			must(t, err)
			if rng.Intn(20) == 0 {
				out.Flush()
			}
		}
		out.Flush()
		eventually(t, "all", ci.got(len(want)))
		if !bytes.Equal(ci.bytes(), want) {
			t.Fatalf("%s: other bytes", kind)
		}
		eventually(t, "the end of writing", func() bool { return out.QueuedBytes() == 0 })
		if refs.Load() != 0 {
			t.Errorf("%s: %d references are out", kind, refs.Load())
		}
		out.Close()
		if err := co.reason(t); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", kind, err)
		}
		if err := ci.reason(t); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", kind, err)
		}
		in.Close()
	}
}

// TestOneWritePerTurn: what a turn queues is one write, and comes as one batch.
func TestOneWritePerTurn(t *testing.T) {
	a, b := net.Pipe()
	counted := &countingConn{Conn: a}
	out, in := NewLink(counted, LinkOptions{}), NewLink(b, LinkOptions{})
	ci := newCollector()
	out.Start(newCollector())
	in.Start(ci)
	defer out.Close()
	defer in.Close()
	for turn := int64(1); turn <= 10; turn++ {
		for range 100 {
			must(t, out.QueuePacket(quorum.PacketCommit, 1, nil))
		}
		out.Flush()
		eventually(t, "the turn", ci.got(int(turn)*100*quorum.PacketMinBytes))
		if n := counted.writes.Load(); n != turn {
			t.Errorf("turn %d: %d writes", turn, n)
		}
	}
	if ci.batches != 10 {
		t.Errorf("%d batches", ci.batches)
	}
}

type countingConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestBackPressure: batches that are not released stop the reading, and nothing is lost.
func TestBackPressure(t *testing.T) {
	noLeaks(t)
	_, c, peer := linkTo(t, LinkOptions{})
	c.hold = true
	const packets = 40000
	go func() { // ends with the peer's connection or when all is written
		b := quorum.AppendPacket(nil, quorum.PacketAck, 5, make([]byte, 100))
		for range packets {
			if _, err := peer.Write(b); err != nil {
				return
			}
		}
	}()
	size := quorum.PacketMinBytes + 100
	all := c.got(packets * size)
	rounds := 0
	for !all() {
		rounds++
		eventually(t, "batches", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.held) > slabsMax {
				t.Fatalf("%d batches are out", len(c.held))
			}
			return len(c.held) == slabsMax || len(c.raw) == packets*size
		})
		c.mu.Lock()
		held := c.held
		c.held = nil
		c.mu.Unlock()
		for _, b := range held {
			for _, p := range b.Packets {
				if p.Type != quorum.PacketAck || len(p.Data) != 100 {
					t.Fatalf("%+v", p)
				}
			}
			b.Release()
		}
	}
	if rounds < 3 {
		t.Errorf("all in %d rounds", rounds)
	}
}

func TestReleaseTwice(t *testing.T) {
	_, c, peer := linkTo(t, LinkOptions{})
	c.hold = true
	_, err := peer.Write(quorum.AppendPacket(nil, quorum.PacketAck, 5, nil))
	must(t, err)
	eventually(t, "the batch", c.got(1))
	c.held[0].Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	c.held[0].Release()
}

// TestOverflow: a peer that does not read is let go when its queue is full; all references come back.
func TestOverflow(t *testing.T) {
	noLeaks(t)
	l, c, _ := linkTo(t, LinkOptions{QueueMaxBytes: 1 << 20})
	var refs atomic.Int64
	packet := quorum.AppendPacket(nil, quorum.PacketProposal, 1, make([]byte, 10000))
	var err error
	for n := 0; err == nil; n++ {
		if n > 100000 {
			t.Fatal("no end")
		}
		refs.Add(1)
		err = l.QueueBytes(packet, countedRef{&refs})
		l.Flush()
		if n := l.QueuedBytes(); n > 1<<20 {
			t.Fatalf("%d bytes queued", n)
		}
	}
	if !errors.Is(err, ErrSlow) || !errors.Is(c.reason(t), ErrSlow) {
		t.Errorf("%v", err)
	}
	refs.Add(3)
	for _, err := range []error{
		l.QueueBytes(packet, countedRef{&refs}), l.QueueBytes(packet[:9], countedRef{&refs}), l.QueueInform(packet, countedRef{&refs}),
		l.QueuePacket(quorum.PacketAck, 1, nil), l.Send(packet), l.SendWait(packet),
	} {
		if !errors.Is(err, ErrSlow) {
			t.Errorf("afterwards: %v", err)
		}
	}
	eventually(t, "the references", func() bool { return refs.Load() == 0 })
}

// TestSendWait: who sends in bulk waits for the peer, and is woken when the link ends.
func TestSendWait(t *testing.T) {
	noLeaks(t)
	l, c, peer := linkTo(t, LinkOptions{})
	done := make(chan error, 1)
	const total = 40 << 20
	go func() {
		var err error
		for n := 0; n < total && err == nil; n += 1 << 20 {
			err = l.SendWait(make([]byte, 1<<20))
			if q := l.QueuedBytes(); q > bulkMaxBytes {
				err = fmt.Errorf("%d bytes queued", q)
			}
		}
		done <- err
	}()
	if n, err := io.CopyN(io.Discard, peer, total); err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	must(t, <-done)
	go func() {
		var err error
		for err == nil {
			err = l.SendWait(make([]byte, 1<<20))
		}
		done <- err
	}()
	eventually(t, "a full queue", func() bool { return l.QueuedBytes() > bulkMaxBytes-(1<<20) })
	l.fail(io.ErrClosedPipe)
	if err := <-done; err != io.ErrClosedPipe || c.reason(t) != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
}

func TestReadTimeout(t *testing.T) {
	noLeaks(t)
	_, c, _ := linkTo(t, LinkOptions{ReadTimeout: 5 * time.Millisecond})
	if err := c.reason(t); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	l, c, peer := linkTo(t, LinkOptions{})
	_, err := peer.Write(quorum.AppendPacket(nil, quorum.PacketAck, 5, nil))
	must(t, err)
	eventually(t, "the packet", c.got(1))
	l.SetReadTimeout(time.Hour)
	l.SetReadTimeout(5 * time.Millisecond) // holds for the read that waits
	if err := c.reason(t); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestMalformed(t *testing.T) {
	noLeaks(t)
	_, c, peer := linkTo(t, LinkOptions{Limits: quorum.Limits{DataMaxBytes: 100}})
	_, err := peer.Write(quorum.AppendPacket(quorum.AppendPacket(nil, quorum.PacketAck, 5, nil), quorum.PacketAck, 5, make([]byte, 101)))
	must(t, err)
	if err := c.reason(t); !errors.Is(err, quorum.ErrPacket) {
		t.Errorf("%v", err)
	}
	if len(c.bytes()) != quorum.PacketMinBytes {
		t.Error("the good packet in front of the bad one is missing")
	}
}

// TestShutdown: what is queued is written, also when the link is ended from a callback.
func TestShutdown(t *testing.T) {
	noLeaks(t)
	why := errors.New("why")
	l, c, peer := linkTo(t, LinkOptions{})
	c.onBatch = func(*Batch) {
		if err := l.QueuePacket(quorum.PacketUpToDate, 7, make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		l.Shutdown(why)
		l.Shutdown(nil)
	}
	_, err := peer.Write(quorum.AppendPacket(nil, quorum.PacketAck, 5, nil))
	must(t, err)
	b, err := io.ReadAll(peer)
	if err != nil || len(b) != 1<<20+quorum.PacketMinBytes {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := c.reason(t); err != why {
		t.Errorf("%v", err)
	}

	// A peer that does not read cannot hold it up.
	l, c, _ = linkTo(t, LinkOptions{})
	must(t, l.QueueBytes(make([]byte, 32<<20), nil))
	l.Close()
	c.reason(t)

	// Before Start there is nobody to tell.
	a, b2 := connPair(t)
	l = NewLink(a, LinkOptions{})
	var refs atomic.Int64
	refs.Add(1)
	must(t, l.QueueBytes(make([]byte, 1000), countedRef{&refs}))
	l.Close()
	l.Close()
	must(t, b2.SetDeadline(time.Now().Add(patience)))
	rawClosed(t, b2)
	c = newCollector()
	l.Start(c)
	if refs.Load() != 0 || len(c.closed) != 0 {
		t.Error("not let go")
	}
}

func TestLinkAuthenticate(t *testing.T) {
	noLeaks(t)
	no := errors.New("no")
	_, c, _ := linkTo(t, LinkOptions{Authenticate: func(net.Conn) error { return no }})
	if err := c.reason(t); err != no {
		t.Errorf("%v", err)
	}
	_, c, peer := linkTo(t, LinkOptions{Authenticate: func(conn net.Conn) error {
		_, err := io.ReadFull(conn, make([]byte, 3))
		return err
	}})
	_, err := peer.Write(quorum.AppendPacket([]byte("yes"), quorum.PacketAck, 5, nil))
	must(t, err)
	eventually(t, "the packet", c.got(quorum.PacketMinBytes))
}
