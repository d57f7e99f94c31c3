package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/config"
)

// A server with the data of another ensemble, one that has seen more epochs, is not let in, and loses nothing either; with
// its data out of the way it joins.
func TestStrangeHistory(t *testing.T) {
	other := newTestEnsemble(t, 3)
	other.fill(other.leader(), 3, "theirs")
	for range 3 { // each election is an epoch
		l := other.leader()
		other.stop(l)
		other.leader()
		other.start(l)
	}
	other.leader()
	other.wantEqual()
	for i := range other.servers {
		other.stop(i)
	}

	e := newTestEnsemble(t, 3)
	lead := e.leader()
	e.fill(lead, 3, "ours")
	out := (lead + 1) % 3
	e.stop(out)
	own := e.dirs[out]
	e.dirs[out] = other.dirs[out]
	e.start(out)
	s := e.servers[out]
	// It tries, and tries again.
	waitFor(t, func() bool { return s.figures.Counter("looking_count").Value() > 3 })
	if m := s.Mode(); m != "" {
		t.Fatalf("a stranger is %q", m)
	}
	if now := e.servers[lead].Mode(); now != "leader" {
		t.Fatalf("the leader is %q", now)
	}
	e.fill(lead, 3, "more")
	if st, err := e.dial(lead).Exists(testContext(t), "/theirs0"); err == nil {
		t.Fatalf("their data is here: %+v", st)
	}
	e.stop(out)

	e.dirs[out] = own
	e.start(out)
	e.leader()
	e.wantEqual()
	// What it had is still there.
	other.start(out)
	other.start((out + 1) % 3)
	c := other.dial(other.leader())
	if _, err := c.Exists(testContext(t), "/theirs0"); err != nil {
		t.Fatal(err)
	}
}

// Nonsense, half handshakes and packets that are too large at the ports of a leader end their connections and nothing else.
func TestNonsenseAtPeerPorts(t *testing.T) {
	e := newTCPEnsemble(t, 3)
	for i := range e.servers {
		e.start(i, "jute.maxbuffer=20000\n")
	}
	lead := e.leader()
	e.fill(lead, 5, "before")
	info := quorum.LearnerInfo{ServerID: 9, ProtocolVersion: quorum.ProtocolVersion}
	hello := quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 0, info.Append(nil))
	for _, port := range e.ports[2*lead : 2*lead+2] {
		for name, say := range map[string][]byte{
			"nothing":         nil,
			"HTTP":            []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
			"zeros":           make([]byte, 4096),
			"ones":            []byte(strings.Repeat("\xff", 4096)),
			"half a packet":   hello[:7],
			"half handshake":  hello,
			"too large":       quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 0, make([]byte, 50000)),
			"announced large": {0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},
			"wrong packet":    quorum.AppendPacket(nil, quorum.PacketCommit, 1, nil),
			"the leader's id": quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 0, (&quorum.LearnerInfo{ServerID: int64(lead + 1), ProtocolVersion: quorum.ProtocolVersion}).Append(nil)),
			"old handshake":   quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 0, (&quorum.LearnerInfo{ServerID: 9, ProtocolVersion: 1}).Append(nil)),
		} {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := c.Write(say); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer c.Close()
		}
	}
	before := e.servers[lead].figures.Counter("looking_count").Value()
	e.fill(lead, 20, "during")
	e.fill((lead+1)%3, 20, "during-too")
	e.wantEqual()
	if now := e.servers[lead].figures.Counter("looking_count").Value(); now != before {
		t.Error("the leader has given up")
	}
	// The others find their way past all that.
	e.stop((lead + 1) % 3)
	e.start((lead+1)%3, "jute.maxbuffer=20000\n")
	e.leader()
	e.wantEqual()
}

// Two servers with one id take the leader's connection from each other; writes go on, and what is acknowledged stays.
func TestTwoServersWithOneID(t *testing.T) {
	e := newTCPEnsemble(t, 3)
	for i := range e.servers {
		e.start(i, "")
	}
	lead := e.leader()
	twin := (lead + 1) % 3
	// The twin has the same id, and says that it is elsewhere.
	ports := stablePorts(t, 2)
	was := fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", twin+1, e.ports[2*twin], e.ports[2*twin+1])
	f := &tcpEnsemble{testEnsemble: &testEnsemble{t: t, servers: make([]*Server, 3)}, ports: e.ports,
		lines: strings.Replace(e.lines, was, fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", twin+1, ports[0], ports[1]), 1)}
	for range 3 {
		f.dirs = append(f.dirs, t.TempDir())
	}
	f.start(twin, "")
	e.fill(lead, 20, "during")
	waitFor(t, func() bool {
		return f.servers[twin].Mode() == "follower" || e.servers[twin].figures.Counter("looking_count").Value() > 1
	})
	e.fill(lead, 20, "later")
	f.stop(twin)
	e.leader()
	e.wantEqual()
	c := e.dial(twin)
	for _, path := range []string{"/during0", "/during19", "/later0", "/later19"} {
		if _, err := c.Exists(testContext(t), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A port that is taken ends the server with words that name it; the others elect without it.
func TestTakenPeerPorts(t *testing.T) {
	for _, c := range []struct{ what string }{{"quorum"}, {"election"}} {
		t.Run(c.what, func(t *testing.T) {
			e := newTCPEnsemble(t, 3)
			port := e.ports[4] // of the server with the highest id, which leads when all are empty
			if c.what == "election" {
				port = e.ports[5]
			}
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var list []*Server
			for i := range e.servers {
				list = append(list, e.start(i, "electionPortBindRetry=1\n"))
			}
			select {
			case <-list[2].Failed():
			case <-time.After(30 * time.Second):
				t.Fatal("the server goes on")
			}
			var ce *config.Error
			if err := list[2].Err(); !errors.As(err, &ce) || ce.ExitCode != config.ExitQuorumBind ||
				!strings.Contains(err.Error(), c.what+" port") || !strings.Contains(err.Error(), fmt.Sprint(port)) {
				t.Errorf("it ends with %v", err)
			}
			e.stop(2)
			e.fill(e.leader(), 3, "n")
			e.wantEqual()
		})
	}
}

// A myid that no line has, and one that is somebody else's, are told.
func TestWrongMyID(t *testing.T) {
	e := newTCPEnsemble(t, 2)
	if _, err := e.options(0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dirs[0], "data", "myid"), []byte("7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(filepath.Join(e.dirs[0], "zoo.cfg"), nil)
	if err == nil {
		_, err = ensembleFromConfig(c, nil)
	}
	var ce *config.Error
	if !errors.As(err, &ce) || !strings.Contains(err.Error(), "7") || ce.Fix == "" {
		t.Errorf("got %v", err)
	}
}
