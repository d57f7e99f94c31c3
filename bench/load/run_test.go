package load

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// Every request that is made is answered and counted, whatever the shape of the load.
func TestRunCountsEveryRequest(t *testing.T) {
	r := startResponder(t)
	for name, change := range map[string]func(*Config){
		"closed":        func(*Config) {},
		"one session":   func(c *Config) { c.Sessions, c.Outstanding = 1, 1 },
		"several loops": func(c *Config) { c.Loops = 3 },
		"big requests":  func(c *Config) { c.Payload, c.Requests = FixedSize(300_000), 1001 },
		"open":          func(c *Config) { c.Rate = 50_000 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, r.Addr().String(), "get:4,set:4,exists:1,children:1,sync:1,create:1,createdelete:1,ephemeral:1,multi:1,watch:1,session:0.1")
			cfg.MultiOps = 3
			cfg.Requests = 3001
			change(&cfg)
			res, err := Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if res.Total.Count != cfg.Requests || res.Total.Errors != 0 || res.Unfinished != 0 || res.Disconnects != 0 {
				t.Errorf("%d of %d requests, errors %v, %d unfinished, %d disconnects", res.Total.Count, cfg.Requests, res.Total.ErrorsBy, res.Unfinished, res.Disconnects)
			}
			if res.Reads.Count+res.Writes.Count != res.Total.Count {
				t.Errorf("%d reads and %d writes", res.Reads.Count, res.Writes.Count)
			}
			for _, k := range []Kind{Get, Set, Exists, Children, Sync, Create, CreateDelete, Delete, Ephemeral, DeleteEphem, Multi, Watch, Session} {
				if f := res.Op(k); f.Count == 0 || f.Latency.Max < f.Latency.P99 || f.Latency.P99 < f.Latency.P50 {
					t.Errorf("%s: %+v", k, f)
				}
			}
		})
	}
}

// An open loop charges the server for the requests that it should have got while it did not answer: of a first
// interval in which nothing is answered, every request has waited at least until its end, though only one was
// sent. (A closed loop would have noticed one slow request.)
func TestOpenLoopCountsFromTheIntendedTime(t *testing.T) {
	const rate, interval = 1000, 100 * time.Millisecond
	over := make(chan struct{})
	var once sync.Once
	s := startFake(t, func(_, request int, xid int32, op proto.OpCode) []byte {
		if op == proto.OpSync {
			<-over
		}
		return fine(xid)
	})
	cfg := config(t, s.addr(), "sync")
	cfg.Sessions, cfg.Outstanding = 1, 1
	cfg.Rate, cfg.Interval, cfg.Duration = rate, interval, 2*interval
	cfg.OnInterval = func(Interval) { once.Do(func() { close(over) }) }
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(rate * cfg.Duration / time.Second)
	if res.Total.Count != want || res.Unfinished != 0 {
		t.Fatalf("%d requests, %d unfinished; the schedule has %d", res.Total.Count, res.Unfinished, want)
	}
	// Half of the first interval's requests were intended before its middle.
	slow := int64(0)
	for _, b := range res.Total.Histogram.Distribution() {
		if b.From >= int64(interval/2)*99/100 { // the histogram rounds to three digits
			slow += b.Count
		}
	}
	if least := int64(rate * interval / 2 / time.Second); slow < least {
		t.Errorf("%d requests took half an interval, at least %d did", slow, least)
	}
	if res.Lateness.Count != want {
		t.Errorf("lateness of %d requests is known", res.Lateness.Count)
	}
}

// What was due and never answered is reported, neither forgotten nor counted as fast.
func TestOpenLoopReportsUnfinished(t *testing.T) {
	release := make(chan struct{})
	s := startFake(t, func(_, request int, xid int32, op proto.OpCode) []byte {
		if op == proto.OpSync && request >= 10 {
			<-release
		}
		return fine(xid)
	})
	defer close(release)
	cfg := config(t, s.addr(), "sync")
	cfg.Sessions, cfg.Outstanding, cfg.Rate, cfg.Duration, cfg.DrainTimeout = 1, 2, 1000, 100*time.Millisecond, time.Millisecond
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if res.Total.Count != 10 || res.Unfinished != 90 {
		t.Errorf("%d answered, %d unfinished; want 10 and 90", res.Total.Count, res.Unfinished)
	}
}

func TestUnreachableServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	for name, run := range map[string]func(Config) error{
		"run":  func(c Config) error { _, err := Run(context.Background(), c); return err },
		"fill": func(c Config) error { return Fill(context.Background(), c) },
	} {
		err := run(config(t, addr, "get"))
		if err == nil || !strings.Contains(err.Error(), "no server takes session") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that can be reached is enough.
	r := startResponder(t)
	cfg := config(t, addr, "get")
	cfg.Addrs = append(cfg.Addrs, r.Addr().String())
	cfg.Requests = 100
	if res, err := Run(context.Background(), cfg); err != nil || res.Total.Count != 100 {
		t.Errorf("with one of two servers: %+v, %v", res, err)
	}
	if _, err := Run(context.Background(), config(t, "no-port", "get")); err == nil || !strings.Contains(err.Error(), `"no-port"`) {
		t.Errorf("bad address: %v", err)
	}
}

// A server that dies in the middle of a run leaves what was measured until then.
func TestServerDies(t *testing.T) {
	r := startResponder(t)
	cfg := config(t, r.Addr().String(), "get:1,set:1")
	cfg.Duration, cfg.Interval, cfg.Patience = time.Minute, 50*time.Millisecond, time.Millisecond
	died := make(chan struct{})
	var once sync.Once
	cfg.OnInterval = func(Interval) {
		once.Do(func() {
			go func() {
				stopResponder(t, r)
				close(died)
			}()
		})
	}
	ends := 0
	cfg.OnWindow = func(end bool) {
		if end {
			ends++
		}
	}
	res, err := Run(context.Background(), cfg)
	<-died
	if !errors.Is(err, ErrNoSession) {
		t.Fatalf("error %v", err)
	}
	if res == nil || res.Total.Count == 0 || res.Measured <= 0 || res.Measured >= Duration(time.Minute) || len(res.Intervals) == 0 {
		t.Fatalf("result %+v", res)
	}
	if !strings.Contains(res.Incomplete, "no session was up") || res.Disconnects < 4 || ends != 1 {
		t.Errorf("incomplete %q, %d disconnects, %d ends of the window", res.Incomplete, res.Disconnects, ends)
	}
}

// A session whose connection breaks is taken up again; requests that were under way are lost, and counted.
func TestBrokenConnectionIsResumed(t *testing.T) {
	s := startFake(t, func(conn, request int, xid int32, _ proto.OpCode) []byte {
		if conn == 0 && request == 50 {
			return nil
		}
		return fine(xid)
	})
	cfg := config(t, s.addr(), "sync")
	cfg.Sessions, cfg.Outstanding, cfg.Requests = 1, 1, 200
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if res.Total.Count != 199 || res.Total.ErrorsBy[errLost.Name()] != 1 || res.Disconnects != 1 {
		t.Errorf("%d answered, errors %v, %d disconnects", res.Total.Count, res.Total.ErrorsBy, res.Disconnects)
	}
}

func TestErrorsAreCountedByCode(t *testing.T) {
	s := startFake(t, func(_, request int, xid int32, op proto.OpCode) []byte {
		switch {
		case op == proto.OpSync && request%4 == 3:
			return proto.AppendReplyHeader(nil, xid, 1, proto.ErrSystem)
		case op == proto.OpMulti:
			return proto.MultiHeader{Type: proto.OpError, Err: 0}.Append(fine(xid))
		}
		return fine(xid)
	})
	cfg := config(t, s.addr(), "sync")
	cfg.Sessions, cfg.Requests = 1, 400
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if f := res.Op(Sync); f.Count != 300 || f.Errors != 100 || f.ErrorsBy["SYSTEMERROR"] != 100 || f.Latency.Count != 300 {
		t.Errorf("%+v", f)
	}
	cfg = config(t, s.addr(), "multi")
	cfg.Requests = 40
	if res, err = Run(context.Background(), cfg); err != nil || res.Op(Multi).Errors != 40 {
		t.Errorf("failed multis: %+v, %v", res, err)
	}
}

func TestProtocolViolation(t *testing.T) {
	for name, reply := range map[string]func(xid int32) []byte{
		"order": func(xid int32) []byte { return fine(xid + 1) },
		"short": func(int32) []byte { return make([]byte, 3) },
	} {
		s := startFake(t, func(_, request int, xid int32, _ proto.OpCode) []byte {
			if request < 20 {
				return fine(xid)
			}
			return reply(xid)
		})
		cfg := config(t, s.addr(), "sync")
		cfg.Duration = time.Minute
		res, err := Run(context.Background(), cfg)
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), s.addr()) {
			t.Errorf("%s: %v", name, err)
		}
		if res == nil || res.Total.Count == 0 || res.Incomplete == "" {
			t.Errorf("%s: result %+v", name, res)
		}
	}
}

func TestMissingKeys(t *testing.T) {
	s := startFake(t, func(_, _ int, xid int32, op proto.OpCode) []byte {
		if op == proto.OpExists {
			return proto.AppendReplyHeader(nil, xid, 1, proto.ErrNoNode)
		}
		return fine(xid)
	})
	res, err := Run(context.Background(), config(t, s.addr(), "get"))
	if !errors.Is(err, ErrNotFilled) || !errors.Is(err, proto.ErrNoNode) || res != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestContextEndsRun(t *testing.T) {
	r := startResponder(t)
	ctx, cancel := context.WithCancel(context.Background())
	cfg := config(t, r.Addr().String(), "get")
	cfg.Duration, cfg.Interval = time.Minute, 20*time.Millisecond
	cfg.OnInterval = func(Interval) { cancel() }
	res, err := Run(ctx, cfg)
	if !errors.Is(err, context.Canceled) || res == nil || res.Total.Count == 0 || res.Incomplete == "" {
		t.Errorf("%+v, %v", res, err)
	}
}

// A request costs the generator no allocation.
func TestRequestsDoNotAllocate(t *testing.T) {
	cfg := config(t, "127.0.0.1:1", "get:4,set:4,exists:1,children:1,sync:1,create:1,createdelete:1,ephemeral:1,multi:1,watch:1")
	cfg.KeyDist.ZipfExponent = 0.99
	r, err := newRunner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.closePollers()
	l := r.loops[0]
	l.phase = phase{source: mixSource{}, fromNs: 1, untilNs: 1 << 62}
	l.nowNs = 1000
	c := l.sessions[0]
	request := func() {
		c.out = c.out[:0]
		if !l.phase.source.next(l, c, l.nowNs) {
			t.Fatal("no request")
		}
		l.nowNs += 100
		if !l.answered(c, replyHead{xid: c.xid}) {
			t.Fatal("the reply does not match")
		}
	}
	for range 1000 {
		request() // buffers grow to their size
	}
	if n := testing.AllocsPerRun(10_000, request); n != 0 {
		t.Errorf("%g allocations per request", n)
	}
}

// BenchmarkRequest is the generator's own part of a request: without system calls.
func BenchmarkRequest(b *testing.B) {
	for _, mix := range []string{"get", "set"} {
		b.Run(mix, func(b *testing.B) {
			cfg := config(b, "127.0.0.1:1", mix)
			cfg.Payload = FixedSize(1 << 10)
			r, err := newRunner(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer r.closePollers()
			l := r.loops[0]
			l.phase = phase{source: mixSource{}, fromNs: 1, untilNs: 1 << 62}
			c := l.sessions[0]
			b.ReportAllocs()
			for b.Loop() {
				if len(c.out) > 32<<10 {
					c.out = c.out[:0]
				}
				l.phase.source.next(l, c, l.nowNs)
				l.nowNs += 100
				l.answered(c, replyHead{xid: c.xid})
			}
		})
	}
}
