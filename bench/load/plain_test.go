package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// plainRun is what the event loops replace: a goroutine per session, net.Conn and bufio, requests from the same templates
// and one write for all that one read has made room for. It is there to be compared with.
func plainRun(cfg Config) error {
	r, err := newRunner(cfg)
	if err != nil {
		return err
	}
	defer r.closePollers()
	var left atomic.Int64
	left.Store(cfg.Requests)
	errs := make([]error, cfg.Sessions)
	var wg sync.WaitGroup
	for i := range cfg.Sessions {
		wg.Go(func() { errs[i] = plainSession(r, &left) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func plainSession(r *runner, left *atomic.Int64) error {
	nc, err := net.Dial("tcp", r.cfg.Addrs[0])
	if err != nil {
		return err
	}
	defer nc.Close()
	br := bufio.NewReaderSize(nc, 64<<10)
	skip := func() error {
		head, err := br.Peek(4)
		if err != nil {
			return err
		}
		_, err = br.Discard(4 + int(jute.Int32(head)))
		return err
	}
	req := proto.ConnectRequest{TimeoutMs: 30_000, Password: make([]byte, proto.PasswordBytes), HasReadOnly: true}
	hello := req.Append(jute.AppendInt32(nil, 0))
	endRequest(hello, 0)
	if _, err := nc.Write(hello); err != nil {
		return err
	}
	if err := skip(); err != nil {
		return err
	}
	// A loop of its own only for its choice of requests.
	l := *r.loops[0]
	l.rec = newRecorder(r.cfg.Mix.Kinds())
	l.phase = phase{source: mixSource{}, fromNs: 1, untilNs: 1 << 62}
	c := &conn{prefix: l.sessions[0].prefix}
	began := time.Now()
	for done := false; ; {
		for !done && c.ring.len() < r.cfg.Outstanding {
			if done = left.Add(-1) < 0; !done {
				l.phase.source.next(&l, c, l.nowNs)
			}
		}
		if c.ring.len() == 0 {
			return nil
		}
		if len(c.out) > 0 {
			if _, err := nc.Write(c.out); err != nil {
				return err
			}
			c.out = c.out[:0]
		}
		for first := true; first || br.Buffered() >= headBytes && c.ring.len() > 0; first = false {
			b, err := br.Peek(4 + proto.ReplyHeaderBytes)
			if err != nil {
				return io.ErrUnexpectedEOF
			}
			l.nowNs = int64(time.Since(began))
			l.answered(c, headOf(b))
			if err := skip(); err != nil {
				return err
			}
		}
	}
}

// BenchmarkGenerator compares the event loops with the plain client, against a responder in the same process: cpu-ns/op
// holds the responder's part too, which is the same for both.
func BenchmarkGenerator(b *testing.B) {
	clients := map[string]func(Config) error{
		"loops": func(c Config) error { _, err := Run(context.Background(), c); return err },
		"plain": plainRun,
	}
	for _, mix := range []string{"get", "set"} {
		for _, client := range []string{"loops", "plain"} {
			b.Run("mix="+mix+"/client="+client, func(b *testing.B) {
				r := startResponder(b)
				cfg := config(b, r.Addr().String(), mix)
				cfg.Sessions, cfg.Outstanding, cfg.Payload = 48, 16, FixedSize(1<<10)
				cfg.Requests = int64(b.N)
				before := processCPU()
				b.ResetTimer()
				if err := clients[client](cfg); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(processCPU()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
