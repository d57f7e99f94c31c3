package server

import (
	"io"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// How long a server works on what it has read when it is stopped.
func TestFinishTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Second, "request_throttler.shutdownTimeout=2500\n": 2500 * time.Millisecond, "request_throttle_max_requests=10\n": 10 * time.Second,
		"request_throttler.shutdownTimeout=0\n": finishPoll,
	} {
		p, err := config.ParseProperties([]byte("dataDir=/d\nclientPort=2181\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Parse(p, config.Source{})
		if err != nil {
			t.Fatal(err)
		}
		if got := finishTimeOf(c); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A server that is stopped answers what it has read, writes that its disk is slow with and what stands behind them, and then
// closes; it takes no new session meanwhile.
func TestStopAnswers(t *testing.T) {
	fs := &faultyFS{}
	o := testOptions(t, t.TempDir())
	o.LogFS = fs
	o.FinishTime = time.Minute
	s := startServer(t, o)
	mustCreate(t, dial(t, s), "/a", "")
	r := dialRaw(t, s)
	if _, err := r.NewSession(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	fs.held.Lock()
	held := true
	release := func() {
		if held {
			held = false
			fs.held.Unlock()
		}
	}
	defer release()
	var frames [][]byte
	var xids []int32
	add := func(xid int32, op proto.OpCode, body []byte) {
		frames, xids = append(frames, client.AppendRequest(nil, xid, op, body)), append(xids, xid)
	}
	for i := range int32(20) {
		add(i+1, proto.OpSetData, (&proto.SetDataRequest{Path: []byte("/a"), Version: -1}).Append(nil))
	}
	add(-2, proto.OpPing, nil)
	if err := r.SendFrame(frames...); err != nil {
		t.Fatal(err)
	}
	var conn *clientConn
	waitFor(t, func() bool {
		for _, l := range s.loops {
			l.gate.Lock()
			for _, c := range l.conns {
				if c != nil && c.stats.received == int64(len(frames))+1 {
					conn = c
				}
			}
			l.gate.Unlock()
		}
		return conn != nil
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stopServer(t, s)
	}()
	waitFor(t, func() bool {
		conn.loop.gate.Lock()
		defer conn.loop.gate.Unlock()
		return conn.state == connClosing
	})
	late := dialRaw(t, s)
	if _, err := late.NewSession(20 * time.Second); err == nil {
		t.Error("a stopping server takes a session")
	}
	release()
	for _, xid := range xids {
		reply, err := r.ReadReply()
		if err != nil || reply.Xid != xid || reply.Err != proto.OK {
			t.Fatalf("reply to %d: %+v, %v", xid, reply, err)
		}
	}
	if _, err := r.ReadFrame(); err != io.EOF {
		t.Errorf("behind the replies: %v", err)
	}
	<-stopped
}
