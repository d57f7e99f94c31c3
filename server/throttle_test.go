package server

import (
	"fmt"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// submitAged hands writes to the replica as if they had been read that long ago.
func (c *clientConn) submitAged(age time.Duration, firstXid int32, op proto.OpCode, bodies ...[]byte) {
	s := c.loop.srv
	b := s.getBatch()
	at := s.nowNs() - int64(age)
	for i, body := range bodies {
		c.queue.pushWrite(firstXid+int32(i), op, at)
		b.addWrite(c, firstXid+int32(i), op, body, at)
	}
	c.inPipeline += len(bodies)
	s.outstanding.Add(int64(len(bodies)))
	s.replica.submit(b)
}

// replies takes the replies off the outbound bytes: xid and error of each.
func (c *clientConn) replies(t *testing.T) (list []string) {
	t.Helper()
	for out := c.out; len(out) > 0; {
		n := int(jute.Int32(out))
		d := jute.NewDecoder(out[4:4+n], 0)
		xid, _, code := d.Int32(), d.Int64(), d.Int32()
		list = append(list, fmt.Sprintf("%d:%d", xid, code))
		out = out[4+n:]
	}
	c.out = c.out[:0]
	return list
}

func (s *Server) counters(names ...string) (list []int64) {
	for _, n := range names {
		list = append(list, s.figures.Counter(n).Value())
	}
	return list
}

// With a limit of two, five requests take three rounds through the log, in order.
func TestThrottleLetsThroughByAndBy(t *testing.T) {
	s := stillServer(t, "request_throttle_max_requests=2")
	c := stillClient(s)
	c.submitAged(0, 1, proto.OpCreate, createBody("/a", nil), createBody("/b", nil), createBody("/c", nil), createBody("/d", nil), createBody("/e", nil))
	r := s.replica
	var got []string
	for round := 1; round <= 3; round++ {
		r.turn()
		if n := r.pending.len(); n > 2 {
			t.Fatalf("round %d: %d in process", round, n)
		}
		r.wal.Step()
		r.turn()
		got = append(got, c.replies(t)...)
		select {
		case <-r.wake:
		default:
			if round < 3 {
				t.Fatalf("round %d: nobody takes up what waits", round)
			}
		}
	}
	if want := "[1:0 2:0 3:0 4:0 5:0]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if n := s.counters("request_throttle_wait_count", "throttled_ops", "stale_requests_dropped"); n[0] < 2 || n[1] != 0 || n[2] != 0 {
		t.Errorf("waits, throttled, dropped: %v", n)
	}
	if n := s.figures.Summary("request_throttle_queue_time_ms").Values().Count; n != 5 || s.outstanding.Load() != 0 || c.inPipeline != 0 {
		t.Errorf("%d queue times, %d outstanding, %d of the connection", n, s.outstanding.Load(), c.inPipeline)
	}
}

// What has waited too long is answered with an error in its place and not executed; the end of a session is.
func TestThrottledOp(t *testing.T) {
	s := stillServer(t, "throttled_op_wait_time=1000")
	c := stillClient(s)
	c.submitAged(0, 1, proto.OpCreate, createBody("/a", nil))
	c.submitAged(5*time.Second, 2, proto.OpCreate, createBody("/b", nil))
	c.submitAged(0, 3, proto.OpCreate, createBody("/c", nil))
	c.submitAged(5*time.Second, 4, proto.OpCloseSession, nil)
	for range 2 {
		s.replica.turn()
		s.replica.wal.Step()
	}
	s.replica.turn()
	if got, want := fmt.Sprint(c.replies(t)), "[1:0 2:-127 3:0 4:0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s.engine.Lookup([]byte("/b")) != 0 || s.engine.Lookup([]byte("/c")) == 0 {
		t.Error("the throttled request was executed, or one behind it was not")
	}
	if n := s.counters("throttled_ops"); n[0] != 1 || s.outstanding.Load() != 0 {
		t.Errorf("%v throttled, %d outstanding", n, s.outstanding.Load())
	}
	// Alone it is answered at once.
	d := stillClient(s)
	d.submitAged(5*time.Second, 1, proto.OpCreate, createBody("/d", nil))
	s.replica.turn()
	if got := fmt.Sprint(d.replies(t)); got != "[1:-127]" {
		t.Errorf("%s", got)
	}
}

// Requests of closed connections are dropped, unless told otherwise; one that is older than its session's
// timeout takes the connection and all later requests with it.
func TestStaleRequests(t *testing.T) {
	run := func(lines []string, change func(c *clientConn), age time.Duration) (s *Server, c *clientConn, created string) {
		s = stillServer(t, append(lines, "request_throttle_max_requests=100")...)
		c = stillClient(s)
		c.timeoutMs = 1000
		change(c)
		c.submitAged(age, 1, proto.OpCreate, createBody("/old", nil))
		c.submitAged(0, 2, proto.OpCreate, createBody("/new", nil))
		for range 2 {
			s.replica.turn()
			s.replica.wal.Step()
		}
		s.replica.turn()
		for _, path := range []string{"/old", "/new"} {
			if s.engine.Lookup([]byte(path)) != 0 {
				created += path
			}
		}
		return s, c, created
	}
	closed := func(c *clientConn) { c.state = connClosed }
	open := func(*clientConn) {}
	for _, f := range []struct {
		name           string
		lines          []string
		change         func(*clientConn)
		age            time.Duration
		created        string
		stale, dropped int64
	}{
		{"all is well", nil, open, 0, "/old/new", 0, 0},
		{"closed", nil, closed, 0, "", 0, 2},
		{"closed, kept", []string{"request_throttle_drop_stale=false"}, closed, 0, "/old/new", 2, 0},
		{"closed, not looked at", []string{"request_stale_connection_check=false"}, closed, 0, "/old/new", 0, 0},
		{"old, not looked at", nil, open, time.Minute, "/old/new", 0, 0},
		{"old", []string{"request_stale_latency_check=true"}, open, time.Minute, "", 0, 2},
	} {
		t.Run(f.name, func(t *testing.T) {
			s, c, created := run(f.lines, f.change, f.age)
			if n := s.counters("stale_requests", "stale_requests_dropped"); created != f.created || n[0] != f.stale || n[1] != f.dropped {
				t.Errorf("created %q, %d stale, %d dropped; want %q, %d, %d", created, n[0], n[1], f.created, f.stale, f.dropped)
			}
			if s.outstanding.Load() != 0 || c.inPipeline != 0 {
				t.Errorf("%d outstanding, %d of the connection", s.outstanding.Load(), c.inPipeline)
			}
		})
	}
}

// A server with nothing to throttle has no throttler.
func TestNoThrottler(t *testing.T) {
	if s := stillServer(t); s.replica.throttler != nil {
		t.Error("there is a throttler")
	}
}

// Many clients behind a limit of one: everybody is served, in order.
func TestThrottleUnderLoad(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir(), "request_throttle_max_requests=1"))
	const clients, requests = 4, 50
	var conns []*client.Raw
	for i := range clients {
		r := dialRaw(t, s)
		if _, err := r.NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		var out []byte
		for x := range int32(requests) {
			path := fmt.Sprintf("/c%d-%d", i, x)
			out = appendRequestFrame(out, 2*x+1, proto.OpCreate, createBody(path, nil))
			out = appendRequestFrame(out, 2*x+2, proto.OpExists, (&proto.PathWatch{Path: []byte(path)}).Append(nil))
		}
		if err := r.SendBytes(out); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, r)
	}
	for i, r := range conns {
		for x := range int32(2 * requests) {
			reply, err := r.ReadReply()
			if err != nil || reply.Xid != x+1 || reply.Err != proto.OK {
				t.Fatalf("client %d, reply %d: %+v, %v", i, x, reply, err)
			}
		}
	}
}

// Large requests in flight are bounded: the connection that exceeds the bound is closed, and what is answered
// counts no more.
func TestLargeRequests(t *testing.T) {
	s := stillServer(t, "largeRequestThreshold=1000", "largeRequestMaxBytes=5000")
	c := stillClient(s)
	frame := func(xid int32, size int) []byte {
		return appendRequestFrame(nil, xid, proto.OpSetData, setBody("/a", make([]byte, size)))[4:]
	}
	c.write(proto.OpCreate, createBody("/a", nil))
	b := s.getBatch()
	take := func(xid int32, size int) bool {
		n := len(b.requests)
		ok := c.request(frame(xid, size), b, s.nowNs())
		c.inPipeline += len(b.requests) - n
		return ok
	}
	if !take(1, 2000) || !take(2, 100) || !take(3, 2000) {
		t.Fatal("requests within the bound are refused")
	}
	if n := s.largeBytes.Load(); n < 4000 || n > 4200 {
		t.Errorf("%d bytes of large requests in flight", n)
	}
	if take(4, 2000) {
		t.Error("a request above the bound is taken")
	}
	if n := s.counters("large_requests_rejected"); n[0] != 1 {
		t.Errorf("%v rejected", n)
	}
	s.outstanding.Add(int64(len(b.requests)))
	s.replica.submit(b)
	s.replica.turn()
	s.replica.wal.Step()
	s.replica.turn()
	if n := s.largeBytes.Load(); n != 0 || c.largeBytes != 0 {
		t.Errorf("%d bytes in flight after all is answered", n)
	}
	b = s.getBatch()
	if !take(5, 4000) {
		t.Fatal("there is no room although nothing is in flight")
	}
	c.state = connClosed
	c.loop.removeConn(c)
	if n := s.largeBytes.Load(); n != 0 {
		t.Errorf("%d bytes in flight of a closed connection", n)
	}
}
