package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/netpoll"
)

// stillLoop and stillConn are a loop and a connection that nothing runs, so that a test can take each
// step of a request's life by itself.
type stillLoop struct{}

func (stillLoop) Index() int       { return 0 }
func (stillLoop) Wake()            {}
func (stillLoop) Post(func()) bool { return false }

type stillConn struct{ context any }

func (c *stillConn) ID() uint64                 { return 1 }
func (c *stillConn) Loop() netpoll.Loop         { return stillLoop{} }
func (c *stillConn) RemoteAddr() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:1") }
func (c *stillConn) LocalAddr() netip.AddrPort  { return netip.MustParseAddrPort("127.0.0.1:2181") }
func (c *stillConn) Context() any               { return c.context }
func (c *stillConn) SetContext(v any)           { c.context = v }
func (c *stillConn) Write(b []byte) error       { return nil }
func (c *stillConn) OutboundBuffered() int      { return 0 }
func (c *stillConn) InboundBuffered() int       { return 0 }
func (c *stillConn) Resume()                    {}
func (c *stillConn) CloseAfterFlush()           {}
func (c *stillConn) Close()                     {}
func (c *stillConn) SetHandshakeDone()          {}
func (c *stillConn) HandshakeDone() bool        { return true }
func (c *stillConn) TLS() *tls.ConnectionState  { return nil }

// stillServer is a server of which nothing runs: its log works in Step, its replica in turn.
func stillServer(tb testing.TB, lines ...string) *Server {
	tb.Helper()
	o := testOptions(tb, tb.TempDir(), append(lines, "preAllocSize=65536")...)
	o.WAL.Manual = true
	o.CheckpointIntervalMin = 1 << 62
	s, err := newServer(o, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.open(); err != nil {
		tb.Fatal(err)
	}
	s.loops = []*clientLoop{{srv: s, watches: watch.New(), stats: zeroStats}}
	s.connectSink()
	tb.Cleanup(func() {
		s.cancel()
		if err := s.closeStorage(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// stillClient is an established connection of s with a session in the tracker.
func stillClient(s *Server) *clientConn {
	l := s.loops[0]
	c := &clientConn{np: &stillConn{}, loop: l, state: connEstablished, identities: []proto.Identity{auth.IPIdentity(netip.MustParseAddr("127.0.0.1"))}}
	l.addConn(c)
	x := s.replica.sessions.create(30_000, c, s.nowMs())
	x.durable = true
	c.session = x.id
	return c
}

// write takes requests of one kind through the pipeline: queue, preparation, log, application, reply.
func (c *clientConn) write(op proto.OpCode, bodies ...[]byte) {
	s := c.loop.srv
	b := s.getBatch()
	nowNs := s.nowNs()
	for i, body := range bodies {
		c.queue.pushWrite(int32(i+1), op, nowNs)
		b.addWrite(c, int32(i+1), op, body, nowNs)
	}
	c.inPipeline += len(bodies)
	s.outstanding.Add(int64(len(bodies)))
	s.replica.submit(b)
	s.replica.turn()
	s.replica.wal.Step()
	s.replica.turn()
	c.loop.flush()
}

func createBody(path string, data []byte) []byte {
	r := proto.CreateRequest{Path: []byte(path), Data: data, ACL: proto.AppendACLs(nil, openACL)}
	return r.Append(nil, proto.OpCreate)
}

func setBody(path string, data []byte) []byte {
	return (&proto.SetDataRequest{Path: []byte(path), Data: data, Version: -1}).Append(nil)
}

// From the arena to the wire a read allocates nothing, whatever it reads.
func TestReadsDoNotAllocate(t *testing.T) {
	s := stillServer(t)
	c := stillClient(s)
	c.write(proto.OpCreate, createBody("/a", make([]byte, 1024)), createBody("/a/b", nil), createBody("/a/c", nil))
	body := (&proto.PathWatch{Path: []byte("/a")}).Append(nil)
	watched := (&proto.PathWatch{Path: []byte("/a"), Watch: true}).Append(nil)
	for op, body := range map[proto.OpCode][]byte{
		proto.OpGetData: body, proto.OpExists: body, proto.OpGetChildren2: watched, proto.OpPing: nil, proto.OpGetACL: body[:len(body)-1],
	} {
		read := func() {
			c.serveRead(1, op, body, 0)
			c.out = c.out[:0]
		}
		read()
		if n := testing.AllocsPerRun(200, read); n != 0 {
			t.Errorf("%v: %v allocations", op, n)
		}
	}
}

// In steady state a write allocates nothing either.
func TestWritesDoNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops a part of what it is given under the race detector")
	}
	s := stillServer(t)
	c := stillClient(s)
	c.write(proto.OpCreate, createBody("/a", nil))
	var bodies [][]byte
	for range 16 {
		bodies = append(bodies, setBody("/a", make([]byte, 1024)))
	}
	turn := func() { c.write(proto.OpSetData, bodies...) }
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(200, turn); n != 0 {
		t.Errorf("%v allocations for 16 writes", n)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("op=getData/size=%d", size), func(b *testing.B) {
			s := stillServer(b)
			c := stillClient(s)
			c.write(proto.OpCreate, createBody("/a", make([]byte, size)))
			body := (&proto.PathWatch{Path: []byte("/a")}).Append(nil)
			b.ReportAllocs()
			for b.Loop() {
				c.serveRead(1, proto.OpGetData, body, 0)
				if len(c.out) > 64<<10 {
					c.out = c.out[:0]
				}
			}
		})
	}
}

// BenchmarkWrite is everything of a write but the network: ns/op is per write, with one sync per turn.
func BenchmarkWrite(b *testing.B) {
	for _, turn := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("op=setData/size=1024/turn=%d", turn), func(b *testing.B) {
			s := stillServer(b)
			c := stillClient(s)
			c.write(proto.OpCreate, createBody("/a", nil))
			var bodies [][]byte
			for range turn {
				bodies = append(bodies, setBody("/a", make([]byte, 1024)))
			}
			syncs := s.replica.wal.Stats().Syncs
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += turn {
				c.write(proto.OpSetData, bodies...)
			}
			b.ReportMetric(float64(s.replica.wal.Stats().Syncs-syncs)/float64(b.N), "fsync/op")
		})
	}
}

// BenchmarkFanOut is one change that all of many connections watch: ns/op is per change.
func BenchmarkFanOut(b *testing.B) {
	const watchers = 100_000
	s := stillServer(b)
	writer := stillClient(s)
	writer.write(proto.OpCreate, createBody("/a", nil))
	l := s.loops[0]
	for range watchers {
		c := &clientConn{np: &stillConn{}, loop: l, state: connEstablished}
		l.addConn(c)
		l.watches.AddPersistent(c.slot, watch.KeyOf([]byte("/a")))
	}
	body := setBody("/a", nil)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		writer.write(proto.OpSetData, body)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/watchers, "ns/watcher")
}
