//go:build interop

package transport

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
)

// javaClasspath is where Debian's packages keep the jar whose manifest names the others, and one that has the
// server log to its standard error; the environment variable ZABRA_JAVA_CLASSPATH overrides it.
const javaClasspath = "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar:" +
	"/usr/share/java/netty-transport-native-unix-common.jar:/usr/share/java/slf4j-simple.jar"

// javaPatience is how long a JVM on a busy machine may take.
const javaPatience = 90 * time.Second

// javaEnsemble is a directory with the configuration of an ensemble of which Java runs some servers.
type javaEnsemble struct {
	t      *testing.T
	dir    string
	config *quorum.Config
	client map[quorum.ServerID]int
	cmds   map[quorum.ServerID]*exec.Cmd
}

// newJavaEnsemble makes the configuration of voters 1..3 and observer 4.
func newJavaEnsemble(t *testing.T) *javaEnsemble {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("no java")
	}
	if _, err := os.Stat(strings.Split(classpath(), ":")[0]); err != nil {
		t.Skip("no ZooKeeper jar")
	}
	e := &javaEnsemble{t: t, dir: t.TempDir(), client: map[quorum.ServerID]int{}, cmds: map[quorum.ServerID]*exec.Cmd{}}
	var text strings.Builder
	for id := quorum.ServerID(1); id <= 4; id++ {
		role := "participant"
		if id == 4 {
			role = "observer"
		}
		fmt.Fprintf(&text, "server.%d=127.0.0.1:%d:%d:%s\n", id, freePort(t), freePort(t), role)
		e.client[id] = freePort(t)
	}
	var err error
	e.config, err = quorum.ParseConfig([]byte(text.String()))
	must(t, err)
	for id := range e.client {
		home := filepath.Join(e.dir, fmt.Sprint(id))
		must(t, os.MkdirAll(filepath.Join(home, "data"), 0o755))
		must(t, os.WriteFile(filepath.Join(home, "data", "myid"), fmt.Appendln(nil, id), 0o644))
		cfg := fmt.Sprintf("tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\n"+
			"admin.enableServer=false\n4lw.commands.whitelist=*\npreAllocSize=64\n%s", filepath.Join(home, "data"), e.client[id], text.String())
		if id == 4 {
			cfg += "peerType=observer\n"
		}
		must(t, os.WriteFile(filepath.Join(home, "zoo.cfg"), []byte(cfg), 0o644))
	}
	t.Cleanup(func() {
		for id := range e.cmds {
			e.kill(id)
		}
		if t.Failed() {
			for id := range e.client {
				if log, err := os.ReadFile(e.logPath(id)); err == nil {
					lines := bytes.Split(log, []byte("\n"))
					t.Logf("end of the log of server %d:\n%s", id, bytes.Join(lines[max(0, len(lines)-40):], []byte("\n")))
				}
			}
		}
	})
	return e
}

func classpath() string {
	if cp := os.Getenv("ZABRA_JAVA_CLASSPATH"); cp != "" {
		return cp
	}
	return javaClasspath
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return port(l.Addr())
}

func (e *javaEnsemble) logPath(id quorum.ServerID) string {
	return filepath.Join(e.dir, fmt.Sprint(id), "log")
}

func (e *javaEnsemble) start(ids ...quorum.ServerID) {
	e.t.Helper()
	for _, id := range ids {
		cmd := exec.Command("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-Dzookeeper.forceSync=no",
			"-cp", classpath(), "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(e.dir, fmt.Sprint(id), "zoo.cfg"))
		log, err := os.OpenFile(e.logPath(id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		must(e.t, err)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		must(e.t, cmd.Start())
		must(e.t, log.Close())
		e.cmds[id] = cmd
	}
}

func (e *javaEnsemble) kill(id quorum.ServerID) {
	cmd := e.cmds[id]
	delete(e.cmds, id)
	must(e.t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
}

// logs waits until a server has logged what the pattern describes.
func (e *javaEnsemble) logs(id quorum.ServerID, pattern string) {
	e.t.Helper()
	re := regexp.MustCompile(pattern)
	e.until(fmt.Sprintf("%q in the log of server %d", pattern, id), func() bool {
		log, err := os.ReadFile(e.logPath(id))
		return err == nil && re.Match(log)
	})
}

func (e *javaEnsemble) until(what string, cond func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(javaPatience)
	for !cond() {
		if time.Now().After(deadline) {
			e.t.Fatalf("%s: not after %v", what, javaPatience)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// mode waits until a server serves in the given mode.
func (e *javaEnsemble) mode(id quorum.ServerID, want string) {
	e.t.Helper()
	e.until(fmt.Sprintf("server %d as %s", id, want), func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.client[id]))
		if err != nil {
			return false
		}
		defer c.Close()
		must(e.t, c.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := c.Write([]byte("srvr")); err != nil {
			return false
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(c)
		return err == nil && strings.Contains(b.String(), "Mode: "+want)
	})
}

// voter opens this code's server with the given id.
func (e *javaEnsemble) voter(id quorum.ServerID) *voter {
	v := newVoter(e.t, id, e.config, Network{}, election.Options{})
	e.t.Cleanup(v.close)
	return v
}

func (v *voter) decides(e *javaEnsemble, leader quorum.ServerID, state quorum.State) quorum.Vote {
	e.t.Helper()
	select {
	case vote := <-v.latest:
		if vote.Leader != leader || vote.State != state {
			e.t.Fatalf("decided %+v, want %v with leader %d", vote, state, leader)
		}
		return vote
	case <-time.After(javaPatience):
		e.t.Fatalf("no decision; log:\n%s", v.log)
		return quorum.Vote{}
	}
}

// TestJavaElectsUs: with the highest id of three fresh servers we are to lead, and the Java servers knock at our
// quorum port.
func TestJavaElectsUs(t *testing.T) {
	e := newJavaEnsemble(t)
	us := e.voter(3)
	us.begin <- election.History{}
	opened := make(chan *Link, 16)
	l, err := Listen(ListenerOptions{Addrs: e.config.Member(3).QuorumAddrs, Opened: func(l *Link) { opened <- l }})
	must(t, err)
	defer l.Close()
	e.start(1, 2)
	us.decides(e, 3, quorum.Leading)
	seen := map[quorum.ServerID]bool{}
	for len(seen) < 2 {
		select {
		case link := <-opened:
			first := make(chan quorum.LearnerInfo, 1)
			c := newCollector()
			c.onBatch = func(b *Batch) {
				if p := &b.Packets[0]; p.Type == quorum.PacketFollowerInfo {
					info, err := quorum.DecodeLearnerInfo(p.Data)
					if err != nil {
						t.Error(err)
					}
					first <- info
				}
			}
			link.Start(c)
			select {
			case info := <-first:
				if info.ProtocolVersion != quorum.ProtocolVersion || info.Features != 0 {
					t.Errorf("%+v", info)
				}
				seen[info.ServerID] = true
			case err := <-c.closed:
				t.Logf("a learner left: %v", err)
			case <-time.After(javaPatience):
				t.Fatal("a learner says nothing")
			}
			defer link.Close()
		case <-time.After(javaPatience):
			t.Fatalf("only %v came", seen)
		}
	}
	e.logs(1, `FOLLOWING - LEADER ELECTION TOOK`)
	e.logs(2, `FOLLOWING - LEADER ELECTION TOOK`)
}

// TestWeElectJava: with the lowest id we follow the Java server with the highest, which learns of our vote
// over the connection that it opened.
func TestWeElectJava(t *testing.T) {
	e := newJavaEnsemble(t)
	us := e.voter(1)
	us.begin <- election.History{}
	e.start(3)
	us.decides(e, 3, quorum.Following)
	e.start(2)
	e.mode(3, "leader")
	e.mode(2, "follower")
	e.logs(3, `Notification: my state:\w+; n.sid:1, n.state:LOOKING, n.leader:3`)
	answersJava(t, e, us, 1, 3)
}

// TestWeJoinJava: with the highest id we join an ensemble that runs, answer who asks, and elect a new leader
// with what is left of it.
func TestWeJoinJava(t *testing.T) {
	e := newJavaEnsemble(t)
	e.start(1, 2)
	e.mode(2, "leader")
	e.mode(1, "follower")
	us := e.voter(3)
	us.begin <- election.History{}
	if vote := us.decides(e, 2, quorum.Following); vote.PeerEpoch != 1 {
		t.Errorf("joined %+v", vote)
	}
	answersJava(t, e, us, 3, 2)

	e.kill(2)
	us.begin <- election.History{LastZxid: 0x100000000, CurrentEpoch: 0}
	us.decides(e, 1, quorum.Following) // it has the higher epoch
	e.logs(1, `LEADING - LEADER ELECTION TOOK`)
}

// answersJava lets a Java observer look for the leader and find our answer.
func answersJava(t *testing.T, e *javaEnsemble, us *voter, self, leader quorum.ServerID) {
	t.Helper()
	us.mu.Lock()
	us.e.SetPeerEpoch(1)
	us.mu.Unlock()
	e.start(4)
	e.logs(4, fmt.Sprintf(`Notification: my state:\w+; n.sid:%d, n.state:FOLLOWING, n.leader:%d, .*n.peerEpoch:0x1`, self, leader))
	e.mode(4, "observer")
}
