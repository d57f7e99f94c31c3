package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// TestLowerKnocksHigherCalls: of two servers the one with the higher id opens the connection, whoever has
// something to say first.
func TestLowerKnocksHigherCalls(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	s2 := openSite(t, 2, config, l2, nil)
	s1.Send(2, vote(5, config))
	if e := s2.next(PeerUp); e.From != 1 {
		t.Errorf("%+v", e)
	}
	if e := s2.next(Notified); e.From != 1 || e.Notification.ElectionEpoch != 5 || !e.Notification.Config.Equal(config) {
		t.Errorf("%+v", e)
	}
	s2.Send(1, vote(6, config))
	if e := s1.next(PeerUp); e.From != 2 {
		t.Errorf("%+v", e)
	}
	if e := s1.next(Notified); e.From != 2 || e.Notification.ElectionEpoch != 6 {
		t.Errorf("%+v", e)
	}
	for _, line := range []string{
		"INFO Election port bind maximum retries is 3",
		"INFO 1 is accepting connections now, my election bind port: /" + l1.Addr().String(),
		"INFO Have smaller server identifier, so dropping the connection: (myId:1 --> sid:2)",
		"INFO Received connection request from /127.0.0.1:",
	} {
		eventually(t, line, func() bool { return s1.log.has(line) })
	}

	// The peer goes; four lines tell.
	s2.Close()
	for _, line := range []string{
		"WARN Connection broken for id 2, my id = 1: EOF",
		"WARN Interrupting SendWorker thread from RecvWorker. sid: 2. myId: 1",
		"WARN Interrupted while waiting for message on queue",
		"WARN Send worker leaving thread id 2 my id = 1",
	} {
		eventually(t, line, func() bool { return s1.log.has(line) })
	}
	s1.Send(2, vote(7, config))
	if e := s1.next(PeerDown); e.From != 2 {
		t.Errorf("%+v", e)
	}
	if line := "WARN Cannot open channel to 2 at election address /" + l2.Addr().String(); !s1.log.has(line) {
		t.Errorf("no %q in\n%s", line, s1.log)
	}
}

// TestQueueOfOne: what waits is replaced, and what was sent last is sent again on a new connection.
func TestQueueOfOne(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	must(t, l2.Close())
	s1 := openSite(t, 1, config, l1, nil)
	for round := int64(1); round <= 5; round++ {
		s1.Send(2, vote(round, config))
		s1.next(PeerDown)
	}
	hi := jute.AppendInt64(nil, 2) // as 3.4 says it
	for range 3 {
		c := rawDial(t, s1.Addr(), hi)
		if n := rawFrame(t, c); n.ElectionEpoch != 5 {
			t.Fatalf("round %d", n.ElectionEpoch)
		}
		must(t, c.Close())
		eventually(t, "the end of the connection", func() bool { return !s1.Connected(2) })
	}
	s1.Send(2, vote(6, config))
	s1.next(PeerDown)
	c := rawDial(t, s1.Addr(), hi)
	if n := rawFrame(t, c); n.ElectionEpoch != 6 {
		t.Fatalf("round %d", n.ElectionEpoch)
	}
	s1.Send(2, vote(7, config))
	if n := rawFrame(t, c); n.ElectionEpoch != 7 {
		t.Fatalf("round %d", n.ElectionEpoch)
	}
}

// TestConnectBack: a lower server that knocks is called back where it says it is, or where the config
// says.
func TestConnectBack(t *testing.T) {
	noLeaks(t)
	l1, l2, elsewhere := listenLoopback(t), listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s2 := openSite(t, 2, config, l2, nil)
	f := func(hi []byte, at net.Listener) {
		t.Helper()
		rawClosed(t, rawDial(t, s2.Addr(), hi))
		must(t, at.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
		c, err := at.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(patience)))
		if h, err := readHello(c); err != nil || h.id != 2 || len(h.addrs) != 1 || h.addrs[0].Port != port(l2.Addr()) {
			t.Fatalf("%+v, %v", h, err)
		}
		s2.next(PeerUp)
	}
	addr := func(l net.Listener) []quorum.Addr { return []quorum.Addr{{Host: "127.0.0.1", Port: port(l.Addr())}} }
	f(appendHello(nil, 1, addr(elsewhere), false), elsewhere)
	f(appendHello(nil, 1, addr(elsewhere), true), elsewhere)
	f(appendHello(nil, 1, []quorum.Addr{{Host: "0.0.0.0", Port: 9}}, false), l1)
	f(jute.AppendInt64(nil, 1), l1)
	f(appendHello(nil, -5, addr(elsewhere), false), elsewhere) // unknown to every config
	if rawClosed(t, rawDial(t, s2.Addr(), jute.AppendInt64(nil, 0))); true {
		eventually(t, "the warning", func() bool { return s2.log.has("WARN Invalid server id: 0 ") })
	}

	// A connection that lives is torn down by a knock.
	c := rawDial(t, s2.Addr(), appendHello(nil, 1, addr(elsewhere), false))
	rawClosed(t, c)
	first, err := elsewhere.Accept()
	must(t, err)
	defer first.Close()
	must(t, first.SetDeadline(time.Now().Add(patience)))
	if _, err := readHello(first); err != nil {
		t.Fatal(err)
	}
	s2.next(PeerUp)
	f(appendHello(nil, 1, addr(elsewhere), false), elsewhere)
	rawClosed(t, first)
}

// TestLastSeenAddress: the addresses of a pending config are tried after those of the committed one.
func TestLastSeenAddress(t *testing.T) {
	noLeaks(t)
	l1, l2, gone := listenLoopback(t), listenLoopback(t), listenLoopback(t)
	must(t, gone.Close())
	committed, pending := configOf(t, gone, l2), configOf(t, l1, l2)
	s2 := openSite(t, 2, committed, l2, nil)
	s1 := openSite(t, 1, pending, l1, nil)
	s2.Send(1, vote(1, committed))
	s2.next(PeerDown)
	s2.SetConfigs(committed, pending)
	s2.Send(1, vote(2, committed))
	if e := s1.next(Notified); e.Notification.ElectionEpoch != 2 {
		t.Errorf("%+v", e)
	}
}

// TestHigherReplaces: a second connection of a higher server takes the place of the first.
func TestHigherReplaces(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	hi := jute.AppendInt64(nil, 2)
	first := rawDial(t, s1.Addr(), hi)
	s1.next(PeerUp)
	second := rawDial(t, s1.Addr(), hi)
	s1.next(PeerUp)
	rawClosed(t, first)
	s1.Send(2, vote(4, config))
	if n := rawFrame(t, second); n.ElectionEpoch != 4 {
		t.Errorf("round %d", n.ElectionEpoch)
	}
	if s1.log.has("Connection broken") {
		t.Errorf("replacing is reported as breaking:\n%s", s1.log)
	}
}

// TestSilentAndGarbage: connections that say nothing, or nonsense, keep nobody out.
func TestSilentAndGarbage(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	var silent []net.Conn
	for range 3 * handshakesMax {
		silent = append(silent, rawDial(t, s1.Addr(), nil))
	}
	half := rawDial(t, s1.Addr(), jute.AppendInt64(nil, helloVersion1))
	for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x7f\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		c := rawDial(t, s1.Addr(), []byte(b))
		if b[0] == 'G' {
			continue // a high id as 3.4 says it; its first "length" ends it
		}
		rawClosed(t, c)
	}
	eventually(t, "the error", func() bool { return s1.log.has("ERROR Initial message parsing error!") })
	c := rawDial(t, s1.Addr(), append(jute.AppendInt64(nil, 2), frame(vote(9, config))...))
	for {
		if e := s1.next(Notified); e.From == 2 && e.Notification.ElectionEpoch == 9 {
			break
		}
	}
	rawClosed(t, silent[0]) // the oldest made room
	must(t, c.Close())
	must(t, half.Close())

	// Who stays silent is dropped after the handshake timeout.
	s2 := openSite(t, 2, config, l2, func(o *CnxOptions) { o.HandshakeTimeout = 20 * time.Millisecond })
	rawClosed(t, rawDial(t, s2.Addr(), nil))
	rawClosed(t, rawDial(t, s2.Addr(), jute.AppendInt64(nil, helloVersion2)))
	// And one that has said its name is not.
	c = rawDial(t, s2.Addr(), jute.AppendInt64(nil, 3))
	s2.next(PeerUp)
	must(t, c.SetReadDeadline(time.Now().Add(60*time.Millisecond)))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a quiet connection: %v", err)
	}
}

func TestFrames(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	hi := jute.AppendInt64(nil, 2)
	for _, n := range []int32{0, -1, quorum.NotificationMaxBytes + 1} {
		c := rawDial(t, s1.Addr(), jute.AppendInt32(hi[:8:8], n))
		rawClosed(t, c)
		line := fmt.Sprintf("WARN Connection broken for id 2, my id = 1: transport: unreasonable message length: %d", n)
		eventually(t, line, func() bool { return s1.log.has(line) })
	}
	// What cannot be read is skipped, a config that cannot be read is left out, old and byte-wise
	// messages are read.
	c := rawDial(t, s1.Addr(), hi)
	long := make([]byte, quorum.NotificationMaxBytes)
	short := vote(3, config).Append(nil)[:40]
	broken := vote(4, config).Append(nil)
	broken[len(broken)-1] = 'x'
	out := jute.AppendBuffer(nil, make([]byte, 27))
	jute.PutInt32(long, 77)
	out = jute.AppendBuffer(out, long)
	out = append(out, frame(vote(2, config))...)
	out = append(out, frame(vote(2, config))...)
	out = jute.AppendBuffer(out, short)
	out = jute.AppendBuffer(out, broken)
	out = append(out, frame(vote(5, config))...)
	for len(out) > 0 {
		n := min(len(out), 1+len(out)/3)
		if _, err := c.Write(out[:n]); err != nil {
			t.Fatal(err)
		}
		out = out[n:]
	}
	for _, want := range []struct {
		round   int64
		version int32
		config  bool
	}{{2, 2, true}, {2, 2, true}, {3, 0, false}, {4, 2, false}, {5, 2, true}} {
		e := s1.next(Notified)
		if e.From != 2 || e.Notification.ElectionEpoch != want.round || e.Notification.Version != want.version || (e.Notification.Config != nil) != want.config {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	for _, line := range []string{
		"WARN Skipping the processing of a partial / malformed response message sent by sid=2 (message length: 27)",
		"ERROR Something went wrong while processing config received from 2",
	} {
		if !s1.log.has(line) {
			t.Errorf("no %q in\n%s", line, s1.log)
		}
	}
}

// TestRecordedPeer plays the openers of the recorded election connections.
func TestRecordedPeer(t *testing.T) {
	noLeaks(t)
	l := listenLoopback(t)
	config := configOf(t, l)
	s := openSite(t, 1, config, l, nil)
	for _, name := range []string{
		"election/first-election-2-of-3/01-sid2-to-sid1", "election/late-joiner-sid3/01-sid3-to-sid1", "election/multi-address-v2/01-sid2-to-sid1",
		"election/hierarchical-groups/01-sid2-to-sid1", "reconfig/election/09-sid4-to-sid1", "quorum/mixed-3.8.0-leader-3.9.5-followers/election-01-sid3-to-sid1",
	} {
		stream, err := os.ReadFile("../testdata/" + name + ".c2s.bin")
		must(t, err)
		c := rawDial(t, s.Addr(), stream)
		rest := stream[20+jute.Int32(stream[16:]):]
		for len(rest) > 0 {
			msg := rest[4 : 4+jute.Int32(rest)]
			rest = rest[4+len(msg):]
			want, text, err := quorum.DecodeNotification(msg)
			must(t, err)
			e := s.next(Notified)
			if e.From != jute.Int64(stream[8:]) || e.Notification.Vote != want.Vote || e.Notification.Config.String() != string(text) {
				t.Errorf("%s: %+v, want %+v", name, e, want)
			}
		}
		must(t, c.Close())
	}
}

func TestOwnIDAndStrangers(t *testing.T) {
	noLeaks(t)
	l1 := listenLoopback(t)
	config := configOf(t, l1)
	s1 := openSite(t, 1, config, l1, nil)
	rawClosed(t, rawDial(t, s1.Addr(), jute.AppendInt64(nil, 1)))
	if !s1.log.has("WARN We got a connection request from a server with our own ID.") {
		t.Errorf("log:\n%s", s1.log)
	}
	var strangers []net.Conn
	for id := int64(100); id < 100+strangersMax; id++ {
		strangers = append(strangers, rawDial(t, s1.Addr(), jute.AppendInt64(nil, id)))
		if e := s1.next(PeerUp); e.From != id {
			t.Fatalf("%+v", e)
		}
	}
	rawClosed(t, rawDial(t, s1.Addr(), jute.AppendInt64(nil, 1000)))
	s1.Send(100, vote(3, config))
	if n := rawFrame(t, strangers[0]); n.ElectionEpoch != 3 {
		t.Errorf("round %d", n.ElectionEpoch)
	}
}

// TestEventsBound: who does not drain loses the oldest events, and is woken once.
func TestEventsBound(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	wakes := make(chan struct{}, 1000)
	s1 := openSite(t, 1, config, l1, func(o *CnxOptions) { o.Wake = func() { wakes <- struct{}{} } })
	c := rawDial(t, s1.Addr(), jute.AppendInt64(nil, 2))
	for round := int64(1); round <= 3*eventsMax; round++ {
		if _, err := c.Write(frame(vote(round, nil))); err != nil {
			t.Fatal(err)
		}
	}
	must(t, c.Close())
	eventually(t, "the end", func() bool { return s1.log.has("Connection broken") })
	events := s1.Drain(nil)
	if len(events) != eventsMax || events[0].Notification.ElectionEpoch != 2*eventsMax+1 || events[eventsMax-1].Notification.ElectionEpoch != 3*eventsMax {
		t.Errorf("%d events, first %+v", len(events), events[0])
	}
	if len(wakes) != 1 {
		t.Errorf("%d wake-ups", len(wakes))
	}
	if len(s1.Drain(nil)) != 0 {
		t.Error("events twice")
	}
}

func TestReset(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	c := rawDial(t, s1.Addr(), append(jute.AppendInt64(nil, 2), frame(vote(1, config))...))
	s1.next(Notified)
	s1.Send(2, vote(5, config))
	rawFrame(t, c)
	s1.Reset()
	rawClosed(t, c)
	if s1.Connected(2) || len(s1.Drain(nil)) != 0 || s1.log.has("Connection broken") {
		t.Errorf("after Reset:\n%s", s1.log)
	}
	c = rawDial(t, s1.Addr(), jute.AppendInt64(nil, 2))
	s1.next(PeerUp)
	s1.Send(2, vote(6, config)) // and not the last one again
	if n := rawFrame(t, c); n.ElectionEpoch != 6 {
		t.Errorf("round %d", n.ElectionEpoch)
	}
	s1.Close()
	s1.Reset()
	s1.Send(2, vote(7, config))
}

func TestBindFails(t *testing.T) {
	noLeaks(t)
	l := listenLoopback(t)
	config := configOf(t, l)
	failed := make(chan error, 1)
	attempts := 0
	taken := errors.New("taken")
	s := openSite(t, 1, config, nil, func(o *CnxOptions) {
		o.BindPause = time.Millisecond
		o.ListenFailed = func(err error) { failed <- err }
		o.Network = Network{Listen: func(context.Context, string) (net.Listener, error) {
			attempts++
			return nil, taken
		}}
	})
	if err := <-failed; !errors.Is(err, taken) || attempts != 3 {
		t.Errorf("%v after %d attempts", err, attempts)
	}
	address := l.Addr().String()
	for _, line := range []string{
		"ERROR Exception while listening to address " + address + ": taken",
		"ERROR As I'm leaving the listener thread, I won't be able to participate in leader election any longer: " + address,
	} {
		if !s.log.has(line) {
			t.Errorf("no %q in\n%s", line, s.log)
		}
	}
	if s.Addr() != nil {
		t.Error("an address without a port")
	}

	// For ever means until it works.
	tries := 0
	s = openSite(t, 1, config, nil, func(o *CnxOptions) {
		o.BindAttempts, o.BindPause = -1, time.Millisecond
		o.Network = Network{Listen: func(context.Context, string) (net.Listener, error) {
			if tries++; tries <= 10 {
				return nil, taken
			}
			return l, nil
		}}
	})
	eventually(t, "the port", func() bool { return s.Addr() != nil })
	if !s.log.has("retries is infinite") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestBadOptions(t *testing.T) {
	l := listenLoopback(t)
	config := configOf(t, l)
	f := func(o CnxOptions) {
		t.Helper()
		if m, err := OpenCnx(o); err == nil {
			m.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
	f(CnxOptions{Self: 1, Committed: config})
	f(CnxOptions{Self: 1, Addrs: []quorum.Addr{{Host: "127.0.0.1"}}})
	f(CnxOptions{Self: 1, Addrs: []quorum.Addr{{Host: string(make([]byte, 3000))}}, Committed: config})
}

// TestPeerDiesWhileKnocked: a process that dies takes connections until its last socket is closed. A knock that it took
// with it is repeated at once, and tells that nobody is there.
func TestPeerDiesWhileKnocked(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	s1 := openSite(t, 1, config, l1, nil)
	s1.Send(2, vote(1, config))
	eventually(t, "the knock", func() bool { return s1.log.has("dropping the connection") })
	l2.Close()
	if e := s1.next(PeerDown); e.From != 2 {
		t.Errorf("%+v", e)
	}
}

// TestCloseWhileBusy closes managers in the middle of dialing, knocking and shaking hands.
func TestCloseWhileBusy(t *testing.T) {
	noLeaks(t)
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	// A server that takes connections and never calls back.
	go func() {
		for {
			c, err := l2.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	s1 := openSite(t, 1, config, l1, nil)
	s1.Send(2, vote(1, config))
	eventually(t, "the knock", func() bool { return s1.log.has("dropping the connection") })
	rawDial(t, s1.Addr(), nil)
	rawDial(t, s1.Addr(), jute.AppendInt64(nil, 3))
	s1.next(PeerUp)
	s1.Close()

	l3 := listenLoopback(t)
	s := openSite(t, 1, config, l3, func(o *CnxOptions) {
		o.Auth = authOf("x", false) // nobody answers
	})
	s.Send(2, vote(1, config))
	s.Close()
}
