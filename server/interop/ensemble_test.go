//go:build interop

package interop

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ensembleLimit bounds one run of an ensemble test against one Java line.
const ensembleLimit = 90 * time.Second

// ensembleConfig goes on top of baseConfig: short ticks, so that elections and the discovery
// of a lost peer do not take up the time of the test, and so many proposals in memory that how a server is brought
// up to date does not depend on how fast it starts.
var ensembleConfig = map[string]string{"tickTime": "1000", "initLimit": "20", "syncLimit": "10", "standaloneEnabled": "false",
	"commitLogCount": "50000"}

// The ways in which a learner can be brought up to date, as its own log tells.
const (
	byDiff  = "DIFF"
	bySnap  = "SNAP"
	byTrunc = "TRUNC"
)

// A member is one server of an ensemble, of one kind at a time.
type member struct {
	*server
	id       int
	observer bool
	cfg      map[string]string
	line     string // addresses of the quorum and election ports, where they are not in cfg alone
	running  bool
	twice    bool // in an earlier life it was brought up to date more than once
	// fuzzy: a Java leader has sent this Java server a snapshot, which holds some of what is sent behind it, so that
	// its tree comes out right and its digest does not.
	fuzzy bool
	mark  int // length of the log when the process was launched
}

// An ensemble is some servers on ports that stay the same whatever kind runs there.
type ensemble struct {
	t       *testing.T
	l       *lan // nil: all are here
	members []*member
}

// takenPorts are those that stablePort has given out.
var takenPorts sync.Map

// stablePort returns a free port below the range out of which the system gives ports to
// outgoing connections: a server that is down for a while must find its port free again.
func stablePort(t testing.TB) int {
	low := 32768
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			if n, err := strconv.Atoi(f[0]); err == nil && n > 11000 {
				low = n
			}
		}
	}
	for range 1000 {
		p := 10000 + rand.N(low-10000)
		if _, taken := takenPorts.LoadOrStore(p, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		must(t, l.Close())
		return p
	}
	t.Fatal("no free port")
	return 0
}

// newEnsemble lays out a server of each kind, without starting any. The test's end stops them.
func newEnsemble(t *testing.T, kinds ...kind) *ensemble {
	t.Helper()
	return newEnsembleOn(t, nil, nil, 0, kinds...)
}

// newEnsembleOn lays out an ensemble on the hosts of a network, or all of it here if that is nil, with settings
// on top of ensembleConfig. The last of the servers are observers.
func newEnsembleOn(t *testing.T, l *lan, cfg map[string]string, observers int, kinds ...kind) *ensemble {
	t.Helper()
	e := &ensemble{t: t, l: l}
	lines := map[string]string{}
	host := func(i int) string {
		if l == nil {
			return "127.0.0.1"
		}
		return hostIP(i)
	}
	for i := range kinds {
		line := fmt.Sprintf("%s:%d:%d", host(i), stablePort(t), stablePort(t))
		if i >= len(kinds)-observers {
			line += ":observer"
		}
		lines[fmt.Sprintf("server.%d", i+1)] = line
	}
	for i, k := range kinds {
		m := &member{server: &server{dir: t.TempDir()}, id: i + 1, observer: i >= len(kinds)-observers,
			cfg: map[string]string{"clientPort": strconv.Itoa(stablePort(t)), "clientPortAddress": host(i)}}
		if l != nil {
			m.at = l.place(i)
		}
		if m.observer {
			m.cfg["peerType"] = "observer"
		}
		for _, from := range []map[string]string{ensembleConfig, cfg, lines} {
			maps.Copy(m.cfg, from)
		}
		e.members = append(e.members, m)
		m.become(t, k)
		t.Cleanup(func() {
			m.end(t)
			m.wantSoundLog(t)
			if t.Failed() {
				e.keep(m)
			}
		})
	}
	return e
}

// keep copies data and log of a server to where they outlive the test.
func (e *ensemble) keep(m *member) {
	dir := filepath.Join(os.TempDir(), "zabra-interop-failed")
	name := filepath.Join(dir, fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", " ", "-").Replace(e.t.Name()), m.id))
	err := errors.Join(os.RemoveAll(name), os.MkdirAll(dir, 0o755), os.CopyFS(name, os.DirFS(m.dir)))
	e.t.Logf("data and log of server %d (%s) are in %s (%v)", m.id, m.kind, name, err)
}

// become makes an empty server of the kind out of one that is not running.
func (m *member) become(t testing.TB, k kind) {
	t.Helper()
	m.kind, m.fuzzy = k, false
	must(t, os.RemoveAll(filepath.Join(m.dir, "data")))
	m.configure(t, m.cfg)
	must(t, os.WriteFile(filepath.Join(m.dir, "data", "myid"), fmt.Appendln(nil, m.id), 0o644))
}

// end ends the process if there is one: Zabra by SIGTERM, Java by SIGKILL.
func (m *member) end(t testing.TB) {
	t.Helper()
	if m.running {
		m.running = false
		m.stop(t)
	}
}

// kill ends the process by SIGKILL.
func (m *member) kill() {
	m.running = false
	m.cmd.Process.Kill()
	<-m.done
}

// run launches the servers and waits until all of them serve.
func (e *ensemble) run(ms ...*member) {
	e.t.Helper()
	for _, m := range ms {
		e.launch(m)
	}
	for _, m := range ms {
		if err := m.awaitServing(); err != nil {
			e.t.Fatalf("server %d: %v\n%s", m.id, err, e.logs())
		}
		m.fuzzy = m.fuzzy || m.kind != zabra && slices.Contains(m.syncs(), bySnap) && e.javaLeads()
	}
}

// javaLeads tells whether a Java server says that it leads.
func (e *ensemble) javaLeads() bool {
	return slices.ContainsFunc(e.members, func(m *member) bool { return m.kind != zabra && m.mode() == "leader" })
}

// launch launches a server without waiting for it.
func (e *ensemble) launch(m *member) {
	e.t.Helper()
	b, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	m.twice = m.twice || len(m.syncs()) > 1
	m.mark = len(b)
	m.server.launch(e.t)
	m.running = true
}

// join runs one server and checks that it was brought up to date in one of the ways, as it says.
func (e *ensemble) join(m *member, hows ...string) {
	e.t.Helper()
	began := time.Now()
	e.run(m)
	// A 3.8 server that joins under load may stumble over its own start and join once more:
	// the first time is what counts. Zabra has no such excuse.
	got := m.syncs()
	e.t.Logf("server %d (%s) joined by %v in %v", m.id, m.kind, got, time.Since(began).Round(time.Millisecond))
	if len(got) == 0 || !slices.Contains(hows, got[0]) || m.kind == zabra && len(got) > 1 {
		e.t.Errorf("server %d (%s) joined by %v, want one of %v\n%s", m.id, m.kind, got, hows, m.logTail())
	}
}

// syncs tells from the log of this life how the server was brought up to date, each time that it was.
func (m *member) syncs() (hows []string) {
	b, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	for line := range strings.Lines(string(b[min(m.mark, len(b)):])) {
		switch {
		case strings.Contains(line, "Getting a diff from the leader"):
			hows = append(hows, byDiff)
		case strings.Contains(line, "Getting a snapshot from leader"):
			hows = append(hows, bySnap)
		case strings.Contains(line, "Truncating log to get in sync"):
			hows = append(hows, byTrunc)
		}
	}
	return hows
}

// stumbled tells of a 3.8 server whether it has joined more than once in some life, as it does when it stumbles over
// its own start under load. Then it has logged and applied some transactions twice.
func (m *member) stumbled() bool { return m.kind == java38 && (m.twice || len(m.syncs()) > 1) }

// mode is what srvr says, "" when the server does not serve.
func (m *member) mode() string {
	if !m.running {
		return ""
	}
	_, rest, _ := strings.Cut(string(m.ask("srvr", time.Second)), "Mode: ")
	mode, _, _ := strings.Cut(rest, "\n")
	return mode
}

// leader waits until all servers that run serve and exactly one of them leads.
func (e *ensemble) leader() *member {
	e.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		var lead *member
		leaders, serving, running := 0, 0, 0
		for _, m := range e.members {
			if !m.running {
				continue
			}
			running++
			switch m.mode() {
			case "leader":
				leaders++
				lead = m
				serving++
			case "follower", "observer":
				serving++
			}
		}
		if leaders == 1 && serving == running {
			return lead
		}
		time.Sleep(50 * time.Millisecond)
	}
	e.t.Fatalf("no leader within %v\n%s", startTimeout, e.logs())
	return nil
}

func (e *ensemble) logs() string {
	var b strings.Builder
	for _, m := range e.members {
		fmt.Fprintf(&b, "--- log of server %d (%s, running: %v)\n%s\n", m.id, m.kind, m.running, m.logTail())
	}
	return b.String()
}

func (e *ensemble) addrs() (as []string) {
	for _, m := range e.members {
		as = append(as, m.addr)
	}
	return as
}

// forEachJava runs the test against every Java line at hand and names what is left out.
func forEachJava(t *testing.T, name string, run func(t *testing.T, java kind)) {
	if subject() != zabra {
		t.Skip("an ensemble test is about Zabra")
	}
	for _, j := range []struct {
		k kind
		t tool
	}{{java38, toolJava38}, {java39, toolJava39}} {
		t.Run(string(j.k), func(t *testing.T) {
			if !have(j.t) {
				leaveOut(name, j.t)
				t.Skipf("no %s", j.t)
			}
			zabraBinary(t)
			if os.Getenv(inLAN) == "" {
				t.Parallel() // they wait more than they work; the hosts of a network are there once only
			}
			began := time.Now()
			run(t, j.k)
			took := time.Since(began)
			t.Logf("took %v", took.Round(time.Second))
			if took > ensembleLimit {
				t.Logf("longer than the %v that it is made for: a slow machine", ensembleLimit)
			}
		})
	}
}

// Two Java servers and Zabra: Zabra joins, follows and leads, and each kind brings the other
// up to date, while clients write through all of them.
func TestMixedEnsemble(t *testing.T) {
	forEachJava(t, "a mixed ensemble", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, java, zabra)
		z := e.members[2]
		e.run(e.members[:2]...)
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		l.await(100)
		e.join(z, bySnap)
		k.check()

		z.end(t)
		l.await(100)
		e.join(z, byDiff)
		k.check()

		old := e.leader()
		if old == z {
			t.Fatal("Zabra leads already")
		}
		t.Logf("killing the leader, server %d", old.id)
		k.arm()
		old.kill()
		lead := e.leader()
		t.Logf("server %d (%s) leads", lead.id, lead.kind)
		k.fire()
		l.await(100)
		e.run(old)
		t.Logf("the old leader is back by %v", old.syncs())
		// Every leader falls, Zabra too.
		for range 4 {
			lead = e.leader()
			lead.kill()
			next := e.leader()
			l.await(100)
			e.run(lead)
			t.Logf("server %d (%s) took over from server %d (%s), which is back by %v", next.id, next.kind, lead.id, lead.kind, lead.syncs())
			k.check()
		}
		for range 5 {
			if lead = e.leader(); lead == z {
				break
			}
			lead.kill()
			e.leader()
			e.run(lead)
		}
		if lead = e.leader(); lead != z {
			t.Fatalf("Zabra does not come to lead\n%s", e.logs())
		}
		k.check()

		f := e.members[0]
		f.kill()
		l.await(100)
		e.join(f, byDiff)
		f = e.members[1]
		f.kill()
		must(t, os.RemoveAll(filepath.Join(f.dir, "data", "version-2")))
		l.await(100)
		e.join(f, bySnap)
		k.check()
		if e.leader() != z {
			t.Errorf("Zabra lost its followers\n%s", e.logs())
		}
		e.finish(l, k)
	})
}

// An ensemble is taken from Java to Zabra and back, server by server, while clients write
// and one session lives through all of it.
func TestRollingMigration(t *testing.T) {
	forEachJava(t, "a rolling migration", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, java, java)
		e.run(e.members...)
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		replace := func(m *member, to kind) {
			l.await(100)
			k.arm()
			m.end(t)
			e.leader()
			k.fire()
			m.become(t, to)
			e.join(m, bySnap)
			lead := e.leader()
			t.Logf("server %d is now %s, server %d (%s) leads", m.id, to, lead.id, lead.kind)
			k.check()
		}
		for _, m := range e.members {
			replace(m, zabra)
		}
		for _, m := range slices.Backward(e.members) {
			replace(m, java)
		}
		e.finish(l, k)
	})
}
