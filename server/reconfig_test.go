package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// A reconfigRig is an ensemble of servers that are started from files, with the network between them in memory.
type reconfigRig struct {
	testEnsemble
	ports []int    // client ports
	peers [][2]int // quorum and election ports
	tcp   bool     // the network between the servers is that of the machine
}

// freshPort gives a free port that no server has.
func (e *reconfigRig) freshPort() int {
	for {
		p := freePort(e.t)
		if !slices.Contains(e.ports, p) && !slices.ContainsFunc(e.peers, func(q [2]int) bool { return q[0] == p || q[1] == p }) {
			return p
		}
	}
}

// freePort gives a free port below the range of outgoing connections.
func freePort(t testing.TB) int {
	t.Helper()
	for p := 12000 + int(time.Now().UnixNano()/1000)%17000; p < 30000; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err == nil {
			_ = l.Close()
			return p
		}
	}
	t.Fatal("no free port")
	return 0
}

// line is the value of the server line of server i, counted from 0, in a role.
func (e *reconfigRig) line(i int, role string) string {
	return fmt.Sprintf("127.0.0.1:%d:%d:%s;127.0.0.1:%d", e.peers[i][0], e.peers[i][1], role, e.ports[i])
}

func (e *reconfigRig) cfgPath(i int) string { return filepath.Join(e.dirs[i], "zoo.cfg") }

// newReconfigRig lays out n servers, the first voters of which are started with a static member list. The others
// are joiners, whose list has them as observers beside the voters. lines go into each zoo.cfg; a first one of "tcp" has the
// servers speak to each other over the machine's network.
func newReconfigRig(t *testing.T, n, voters int, lines ...string) *reconfigRig {
	t.Helper()
	e := &reconfigRig{testEnsemble: testEnsemble{t: t, net: newMemNet(), servers: make([]*Server, n)}}
	if len(lines) > 0 && lines[0] == "tcp" {
		e.tcp, lines = true, lines[1:]
	}
	for range n {
		e.ports = append(e.ports, e.freshPort())
		first := e.freshPort()
		e.peers = append(e.peers, [2]int{first, 0})
		e.peers[len(e.peers)-1][1] = e.freshPort()
		e.dirs = append(e.dirs, t.TempDir())
	}
	for i := range n {
		text := "tickTime=100\ninitLimit=50\nsyncLimit=20\nmaxSessionTimeout=60000\nreconfigEnabled=true\nskipACL=yes\npreAllocSize=1024\n4lw.commands.whitelist=*\n" +
			"dataDir=" + filepath.Join(e.dirs[i], "data") + "\n"
		for _, l := range lines {
			text += l + "\n"
		}
		for v := range voters {
			text += fmt.Sprintf("server.%d=%s\n", v+1, e.line(v, "participant"))
		}
		if i >= voters {
			text += fmt.Sprintf("server.%d=%s\n", i+1, e.line(i, "observer"))
		}
		writeFile(t, e.cfgPath(i), text)
		writeFile(t, filepath.Join(e.dirs[i], "data", "myid"), fmt.Sprintln(i+1))
	}
	for i := range voters {
		e.start(i)
	}
	return e
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (e *reconfigRig) start(i int) {
	e.t.Helper()
	c, _, err := config.Load(e.cfgPath(i), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := c.Storage.PrepareDirs(); err != nil {
		e.t.Fatal(err)
	}
	o := FromConfig(c)
	if err := EnsembleFromConfig(&o, c, slog.New(slog.DiscardHandler)); err != nil {
		e.t.Fatal(err)
	}
	o.NumLoops = 2
	if !e.tcp {
		o.Ensemble.Network = e.net.of(int64(i + 1))
	}
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = e.t.Output()
	}
	s, err := Start(o, slog.New(slog.NewTextHandler(out, nil)).With("server", i+1))
	if err != nil {
		e.t.Fatal(err)
	}
	e.servers[i] = s
	e.t.Cleanup(func() { stopServer(e.t, s) })
}

// dial connects to server i wherever its client port is now.
func (e *reconfigRig) dial(i int) *client.Client {
	e.t.Helper()
	return dial(e.t, e.servers[i])
}

// reconfig asks server i for a change and gives the new text.
func (e *reconfigRig) reconfig(i int, r client.Reconfig) string {
	e.t.Helper()
	c := e.dial(i)
	defer c.Close()
	text, stat, err := c.Reconfig(testContext(e.t), r)
	if err != nil {
		e.t.Fatalf("reconfig %+v at server %d: %v", r, i+1, err)
	}
	q, err := quorum.ParseConfig(text)
	if err != nil || stat.Mzxid != q.Version || stat.Version != -1 || int(stat.DataLength) != len(text) {
		e.t.Fatalf("%q, %+v, %v", text, stat, err)
	}
	return string(text)
}

// awaitConfig waits until these servers have the text as their committed config and in their trees.
func (e *reconfigRig) awaitConfig(text string, ids ...int) {
	e.t.Helper()
	for _, i := range ids {
		waitFor(e.t, func() bool {
			m, ok := e.servers[i].Membership()
			return ok && m.Config.String() == text
		})
		s := e.servers[i]
		waitFor(e.t, func() bool {
			s.lockGates()
			defer s.unlockGates()
			return string(s.engine.Data(s.engine.ConfigNode())) == text
		})
	}
}

// wantFiles checks the files of server i after its committed config became text.
func (e *reconfigRig) wantFiles(i int, text string) {
	e.t.Helper()
	members, version, _ := strings.Cut(text, "\nversion=")
	path := e.cfgPath(i)
	dynamic := path + ".dynamic." + version
	if got := readFile(e.t, dynamic); got != members {
		e.t.Errorf("server %d: %s has %q, want %q", i+1, dynamic, got, members)
	}
	static := readFile(e.t, path)
	if strings.Contains(static, "server.") || !strings.HasSuffix(static, "\ndynamicConfigFile="+dynamic+"\n") {
		e.t.Errorf("server %d: zoo.cfg is\n%s", i+1, static)
	}
	if _, err := os.Stat(path + config.NextSuffix); !errors.Is(err, os.ErrNotExist) {
		e.t.Errorf("server %d: the file of the last seen config is still there: %v", i+1, err)
	}
}

// currentText is the committed config of server i.
func (e *reconfigRig) currentText(i int) string {
	e.t.Helper()
	m, ok := e.servers[i].Membership()
	if !ok {
		e.t.Fatal("no membership")
	}
	return m.Config.String()
}

// The first leader gives the config that all came with a version; the files follow, and are what a restart begins with.
func TestReconfigFirstConfig(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	e.leader()
	want := fmt.Sprintf("server.1=%s\nserver.2=%s\nserver.3=%s\nversion=100000000", e.line(0, "participant"), e.line(1, "participant"), e.line(2, "participant"))
	e.awaitConfig(want, 0, 1, 2)
	for i := range e.servers {
		e.wantFiles(i, want)
		if c := e.dial(i); c != nil {
			text, stat, err := c.GetConfig(testContext(t))
			if err != nil || string(text) != want || stat.Mzxid != 1<<32 || stat.Version != -1 {
				t.Errorf("%q, %+v, %v", text, stat, err)
			}
		}
	}
	for i := range e.servers {
		e.stop(i)
	}
	for i := range e.servers {
		e.start(i)
	}
	e.leader()
	e.awaitConfig(want, 0, 1, 2)
}

// A server joins as a non-voting follower, is made a voter, an observer, and removed, all by requests to others and
// without a restart; watches of the config node fire everywhere.
func TestReconfigJoinDemoteLeave(t *testing.T) {
	e := newReconfigRig(t, 4, 3)
	l := e.leader()
	follower := (l + 1) % 3
	events := make(chan client.Event, 16)
	watching := e.dial((l + 2) % 3)
	if _, _, err := watching.GetConfigW(testContext(t), client.WatchChan(events)); err != nil {
		t.Fatal(err)
	}
	e.start(3)
	waitFor(t, func() bool { return e.servers[3].Mode() == "follower" })
	if m, _ := e.servers[3].Membership(); m.Config.Member(4) != nil {
		t.Errorf("the joiner is in %s", m.Config)
	}
	// It has taken the config of the others over, files included.
	e.wantFiles(3, e.currentText(l))

	text := e.reconfig(follower, client.Reconfig{Joining: "server.4=" + e.line(3, "participant"), FromVersion: -1})
	e.awaitConfig(text, 0, 1, 2, 3)
	for i := range e.servers {
		e.wantFiles(i, text)
	}
	select {
	case ev := <-events:
		if ev.Type != proto.EventDataChanged || ev.Path != client.ConfigPath {
			t.Errorf("event %+v", ev)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the watch of the config node does not fire")
	}
	// Four voters: with one of the old ones down, the new one's vote is needed.
	e.stop((l + 2) % 3)
	c := e.dial(3)
	mustCreate(t, c, "/by-the-joiner", "x")
	e.start((l + 2) % 3)
	e.leader()

	text = e.reconfig(3, client.Reconfig{Joining: "server.4=" + e.line(3, "observer"), FromVersion: -1})
	waitFor(t, func() bool { return e.servers[3].Mode() == "observer" })
	e.awaitConfig(text, 0, 1, 2, 3)
	e.wantFiles(3, text)
	c = e.dial(3)
	mustCreate(t, c, "/by-the-observer", "x")

	text = e.reconfig(e.leader(), client.Reconfig{Leaving: "4", FromVersion: -1})
	e.awaitConfig(text, 0, 1, 2)
	// The server that has left goes on as a follower without a vote.
	waitFor(t, func() bool { return e.servers[3].Mode() == "follower" })
	e.awaitConfig(text, 3)
	e.wantFiles(3, text)
	c = e.dial(3)
	mustCreate(t, c, "/by-the-departed", "x")
	e.wantEqual()
}

// A leader that leaves, or becomes an observer, hands over to the leader that it designates; the client that asked for it
// is answered.
func TestReconfigLeaderHandsOver(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	for _, step := range []string{"leave", "observe"} {
		l := e.leader()
		r := client.Reconfig{Leaving: fmt.Sprint(l + 1), FromVersion: -1}
		mode := "follower"
		if step == "observe" {
			mode = "observer"
			r = client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", l+1, e.line(l, "observer")), FromVersion: -1}
		}
		text := e.reconfig(l, r)
		waitFor(t, func() bool { return e.servers[l].Mode() == mode })
		if next := e.leader(); next == l {
			t.Fatal("the leader still leads")
		}
		e.awaitConfig(text, 0, 1, 2)
		for i := range e.servers {
			mustCreate(t, e.dial(i), fmt.Sprintf("/%s-%d", step, i), "x")
		}
		e.wantEqual()
		// Back in, for the next step.
		text = e.reconfig(l, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", l+1, e.line(l, "participant")), FromVersion: -1})
		e.awaitConfig(text, 0, 1, 2)
	}
	// What the servers have on disk is enough to go on with.
	text := e.currentText(0)
	for i := range e.servers {
		e.stop(i)
	}
	for i := range e.servers {
		e.start(i)
	}
	e.leader()
	e.awaitConfig(text, 0, 1, 2)
}

// An ensemble of one grows to three, loses the server that it began with, and shrinks to one again.
func TestReconfigFromOne(t *testing.T) {
	e := newReconfigRig(t, 3, 1, "standaloneEnabled=false")
	if e.leader() != 0 {
		t.Fatal("no leader")
	}
	mustCreate(t, e.dial(0), "/alone", "x")
	for i := 1; i < 3; i++ {
		e.start(i)
		waitFor(t, func() bool { return e.servers[i].Mode() == "follower" })
		text := e.reconfig(i, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", i+1, e.line(i, "participant")), FromVersion: -1})
		for j := range i + 1 {
			e.awaitConfig(text, j)
		}
	}
	text := e.reconfig(1, client.Reconfig{Leaving: "1", FromVersion: -1})
	e.awaitConfig(text, 0, 1, 2)
	e.leader()
	e.stop(0)
	mustCreate(t, e.dial(1), "/two", "x")
	text = e.reconfig(2, client.Reconfig{Leaving: "2", FromVersion: -1})
	e.awaitConfig(text, 1, 2)
	if e.leader() != 2 {
		t.Fatal("server 3 does not lead")
	}
	mustCreate(t, e.dial(1), "/one-voter", "x")
	e.stop(1)
	c := e.dial(2)
	for _, path := range []string{"/alone", "/two", "/one-voter"} {
		if _, err := c.Exists(testContext(t), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A server that was down while it was made an observer learns of it from the others.
func TestReconfigWhileDown(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	l := e.leader()
	f := (l + 1) % 3
	e.stop(f)
	text := e.reconfig(l, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", f+1, e.line(f, "observer")), FromVersion: -1})
	e.start(f)
	waitFor(t, func() bool { return e.servers[f].Mode() == "observer" })
	e.awaitConfig(text, 0, 1, 2)
	e.wantFiles(f, text)
	mustCreate(t, e.dial(f), "/x", "x")
}

// Servers move to other quorum and election ports, the leader last, and find each other there when leaders fall.
func TestReconfigPeerPorts(t *testing.T) {
	e := newReconfigRig(t, 3, 3, "tcp")
	l := e.leader()
	mustCreate(t, e.dial(l), "/n", "x")
	for k := range 3 {
		i := (l + 1 + k) % 3
		e.peers[i] = [2]int{e.freshPort(), e.peers[i][1]}
		e.peers[i][1] = e.freshPort()
		text := e.reconfig(e.leader(), client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", i+1, e.line(i, "participant")), FromVersion: -1})
		e.awaitConfig(text, 0, 1, 2)
	}
	if e.leader() == l {
		t.Fatal("the leader still leads, though its quorum port has moved")
	}
	for i := range e.servers {
		e.stop(i)
		e.leader()
		mustCreate(t, e.dial((i+1)%3), fmt.Sprintf("/without-%d", i), "x")
		e.start(i)
		e.leader()
	}
	e.wantEqual()
}

// A server that cannot write its configuration files goes on, and after a restart learns from the others what it could
// not keep.
func TestReconfigUnwritable(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	l := e.leader()
	f := (l + 1) % 3
	old := e.currentText(f)
	for _, name := range []string{"zoo.cfg.tmp", "zoo.cfg.dynamic.next.tmp"} {
		if err := os.Mkdir(filepath.Join(e.dirs[f], name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := e.reconfig(f, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", l+1, e.line(l, "observer")), FromVersion: -1})
	waitFor(t, func() bool { return e.servers[l].Mode() == "observer" })
	e.awaitConfig(text, 0, 1, 2)
	e.stop(f)
	if o, err := ensembleFromConfig(mustLoad(t, e.cfgPath(f)), slog.New(slog.DiscardHandler)); err != nil || o.Config.String() != old || o.LastSeen != nil {
		t.Fatalf("%+v, %v", o, err)
	}
	e.start(f)
	e.leader()
	e.awaitConfig(text, 0, 1, 2)
	mustCreate(t, e.dial(f), "/x", "x")
}

// A whole new list is taken, with weights too; from then on incremental changes are refused.
func TestReconfigWhole(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	l := e.leader()
	lines := fmt.Sprintf("server.1=%s,server.2=%s,server.3=%s", e.line(0, "participant"), e.line(1, "participant"), e.line(2, "participant"))
	version := quorum.EpochStart(1)
	text := e.reconfig(l, client.Reconfig{Members: lines + ",group.1=1:2:3,weight.1=1,weight.2=1,weight.3=1", FromVersion: version})
	if !strings.Contains(text, "\ngroup.1=1:2:3\nweight.1=1\n") {
		t.Errorf("%q", text)
	}
	e.awaitConfig(text, 0, 1, 2)
	c := e.dial(l)
	if _, _, err := c.Reconfig(testContext(t), client.Reconfig{Leaving: "1", FromVersion: -1}); !errors.Is(err, proto.ErrBadArguments) {
		t.Errorf("incremental change of a hierarchical config: %v", err)
	}
	text = e.reconfig(l, client.Reconfig{Members: strings.ReplaceAll(lines, ",", "\n"), FromVersion: -1})
	e.awaitConfig(text, 0, 1, 2)
	mustCreate(t, e.dial((l+1)%3), "/x", "x")
}

// What is refused, and with which code (client protocol, section 4.2).
func TestReconfigRefused(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	l := e.leader()
	before := e.currentText(l)
	c := e.dial((l + 1) % 3)
	for _, tc := range []struct {
		name string
		r    client.Reconfig
		want proto.ErrCode
	}{
		{"another version", client.Reconfig{Leaving: "1", FromVersion: 7}, proto.ErrBadVersion},
		{"a joiner that is not there", client.Reconfig{Joining: "server.4=127.0.0.1:1:2:participant;3,server.5=127.0.0.1:4:5;6,server.6=127.0.0.1:7:8;9", FromVersion: -1}, proto.ErrNewConfigNoQuorum},
		{"no client port", client.Reconfig{Joining: "server.4=127.0.0.1:1:2:participant", FromVersion: -1}, proto.ErrBadArguments},
		{"no shape", client.Reconfig{Joining: "server.4", FromVersion: -1}, proto.ErrBadArguments},
		{"no number joins", client.Reconfig{Joining: "server.x=127.0.0.1:1:2;3", FromVersion: -1}, proto.ErrMarshalling},
		{"no number leaves", client.Reconfig{Leaving: "one", FromVersion: -1}, proto.ErrMarshalling},
		{"one voter is left", client.Reconfig{Leaving: "1,2", FromVersion: -1}, proto.ErrBadArguments},
		{"unknown key", client.Reconfig{Members: "server.1=127.0.0.1:1:2;3,clientPort=4", FromVersion: -1}, proto.ErrBadArguments},
		{"observers alone", client.Reconfig{Members: "server.1=127.0.0.1:1:2:observer;3", FromVersion: -1}, proto.ErrMarshalling},
		{"nobody", client.Reconfig{Members: "version=1", FromVersion: -1}, proto.ErrBadArguments},
	} {
		if _, _, err := c.Reconfig(testContext(t), tc.r); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	// Ids that are not there may leave; a change of nothing makes a new version.
	text := e.reconfig(l, client.Reconfig{Leaving: "9", FromVersion: -1})
	if members, _, _ := strings.Cut(text, "\nversion="); !strings.HasPrefix(before, members) || text == before {
		t.Errorf("%q after %q", text, before)
	}
	e.awaitConfig(text, 0, 1, 2)
}

// Without being super, and without skipACL, nobody may reconfigure.
func TestReconfigNoAuth(t *testing.T) {
	e := newReconfigRig(t, 3, 3, "skipACL=no", "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=") // super:test
	e.leader()
	c := e.dial(0)
	if _, _, err := c.Reconfig(testContext(t), client.Reconfig{Leaving: "9", FromVersion: -1}); !errors.Is(err, proto.ErrNoAuth) {
		t.Fatal(err)
	}
	if err := c.AddAuth(testContext(t), "digest", []byte("super:test")); err != nil {
		t.Fatal(err)
	}
	// The refused one is not in the way.
	if _, _, err := c.Reconfig(testContext(t), client.Reconfig{Leaving: "9", FromVersion: -1}); err != nil {
		t.Fatal(err)
	}
}

// Two reconfigs in one batch: the second one comes while the first is under way.
func TestReconfigInProgress(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	r := dialRaw(t, e.servers[e.leader()])
	if _, err := r.NewSession(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	body := (&proto.ReconfigRequest{Leaving: []byte("9"), CurConfigID: -1}).Append(nil)
	var both []byte
	for xid := range int32(2) {
		both = jute.AppendInt32(both, int32(8+len(body)))
		both = jute.AppendInt32(jute.AppendInt32(both, xid+1), int32(proto.OpReconfig))
		both = append(both, body...)
	}
	if err := r.SendBytes(both); err != nil {
		t.Fatal(err)
	}
	for _, want := range []proto.ErrCode{proto.OK, proto.ErrReconfigInProgress} {
		reply, err := r.ReadReply()
		if err != nil || reply.Err != want {
			t.Fatalf("%+v, %v, want %v", reply, err, want)
		}
	}
}

// A new client address takes effect at once; connections stay, and so do the words that tell of the port.
func TestReconfigClientPort(t *testing.T) {
	e := newReconfigRig(t, 3, 3)
	l := e.leader()
	f := (l + 1) % 3
	c := e.dial(f)
	old := e.servers[f].Addr(0).String()
	e.ports[f] = freePort(t)
	text := e.reconfig(l, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", f+1, e.line(f, "participant")), FromVersion: -1})
	e.awaitConfig(text, 0, 1, 2)
	want := fmt.Sprintf("127.0.0.1:%d", e.ports[f])
	waitFor(t, func() bool { return e.servers[f].Addr(0).String() == want })
	if nc, err := net.Dial("tcp", old); err == nil {
		_ = nc.Close()
		t.Errorf("%s is still open", old)
	}
	mustCreate(t, c, "/through-the-old-connection", "x")
	d, err := client.Dial(testContext(t), want, client.Options{SessionTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mustCreate(t, d, "/through-the-new-port", "x")
	conf, err := client.FourLetter(want, "conf")
	if err != nil || !strings.Contains(conf, fmt.Sprintf("clientPort=%d\n", e.ports[f])) || !strings.Contains(conf, text[:strings.Index(text, "\n")]) {
		t.Errorf("%q, %v", conf, err)
	}
}

// A reconfig that was proposed and not committed is kept beside the configuration, and completed by the next leader.
func TestReconfigUnfinished(t *testing.T) {
	e := newReconfigRig(t, 4, 3)
	l := e.leader()
	e.start(3)
	waitFor(t, func() bool { return e.servers[3].Mode() == "follower" })
	before := e.currentText(l)
	c := e.dial(l)
	// The leader is not told that its proposal has arrived.
	var others []int
	for i := range e.servers {
		if i != l {
			others = append(others, i)
			e.net.setMute(int64(i+1), true)
		}
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() {
		_, _, err := c.Reconfig(ctx, client.Reconfig{Joining: "server.4=" + e.line(3, "participant"), FromVersion: -1})
		done <- err
	}()
	for i := range e.servers {
		next := e.cfgPath(i) + config.NextSuffix
		waitFor(t, func() bool {
			_, err := os.Stat(next)
			return err == nil
		})
		if i == 3 {
			continue // it is no member yet, and could not be started anew
		}
		text := readFile(t, next)
		o, err := ensembleFromConfig(mustLoad(t, e.cfgPath(i)), slog.New(slog.DiscardHandler))
		if err != nil || o.LastSeen == nil || o.LastSeen.String() != text || o.Config.String() != before || e.currentText(i) != before {
			t.Fatalf("%+v, %v, file %q, before %q", o, err, text, before)
		}
	}
	want := readFile(t, e.cfgPath(l)+config.NextSuffix)
	e.stop(l)
	cancel()
	if err := <-done; err == nil {
		t.Fatal("a leader without a quorum committed a reconfig")
	}
	c.Abandon()
	for _, i := range others {
		e.net.setMute(int64(i+1), false)
	}
	e.leader()
	e.awaitConfig(want, others...)
	e.start(l)
	e.leader()
	e.awaitConfig(want, l)
	for i := range e.servers {
		e.wantFiles(i, want)
		mustCreate(t, e.dial(i), fmt.Sprintf("/after-%d", i), "x")
	}
	e.wantEqual()
}

func mustLoad(t testing.TB, path string) *config.Config {
	t.Helper()
	c, _, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
