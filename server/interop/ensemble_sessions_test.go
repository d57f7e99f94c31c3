//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// set lays the servers out anew with more settings and -D words.
func (e *ensemble) set(cfg map[string]string, props ...string) {
	for _, m := range e.members {
		for k, v := range cfg {
			m.cfg[k] = v
		}
		m.props = props
		m.become(e.t, m.kind)
	}
}

// leads has the servers fall and come back until m leads.
func (e *ensemble) leads(m *member) {
	e.t.Helper()
	for range 8 {
		lead := e.leader()
		if lead == m {
			return
		}
		lead.kill()
		e.leader()
		e.run(lead)
	}
	e.t.Fatalf("server %d (%s) does not come to lead\n%s", m.id, m.kind, e.logs())
}

// A trail is what is seen of one server, a line per step, with ids and zxids relative.
type trail struct {
	t     *testing.T
	m     *member
	lines []string
	zxid  proto.Zxid // of the last reply
	xid   int32
}

func (tr *trail) put(step, format string, args ...any) {
	tr.lines = append(tr.lines, step+" | "+fmt.Sprintf(format, args...))
}

func (tr *trail) connect(step string, m *member, req proto.ConnectRequest) (*client.Raw, proto.ConnectResponse) {
	tr.t.Helper()
	r, err := client.DialRaw(m.addr)
	must(tr.t, err)
	tr.t.Cleanup(func() { r.Close() })
	req.TimeoutMs, req.HasReadOnly = 20_000, true
	resp, err := r.Handshake(req)
	switch {
	case err != nil:
		tr.put(step, "no answer")
	case resp.SessionID == 0:
		tr.put(step, "expired, read-only %v", resp.ReadOnly)
	default:
		same := req.SessionID != 0 && resp.SessionID == req.SessionID
		tr.put(step, "session, the same %v, of this server %v, timeout %d, read-only %v", same, resp.SessionID>>56 == int64(m.id), resp.TimeoutMs, resp.ReadOnly)
	}
	return r, resp
}

func again(s proto.ConnectResponse) proto.ConnectRequest {
	return proto.ConnectRequest{SessionID: s.SessionID, Password: s.Password[:]}
}

// call records the code of a reply, by how much the zxid has moved, and the codes in a multi's reply.
func (tr *trail) call(step string, r *client.Raw, op proto.OpCode, body []byte) {
	tr.t.Helper()
	tr.xid++
	reply, err := r.Call(tr.xid, op, body)
	if err != nil {
		tr.put(step, "no answer")
		return
	}
	moved := reply.Zxid - tr.zxid
	tr.zxid = reply.Zxid
	var codes []int32
	if op == proto.OpMulti && len(reply.Body) > 0 {
		d := jute.NewDecoder(reply.Body, 0)
		for {
			var h proto.MultiHeader
			if h.Decode(&d); h.Done || d.Err() != nil {
				break
			}
			codes = append(codes, int32(h.Err))
			switch h.Type {
			case proto.OpError:
				d.Int32()
			case proto.OpCreate:
				d.Buffer()
			}
		}
	}
	tr.put(step, "err %d, zxid +%d %v", reply.Err, moved, codes)
}

// hangup records whether the server closes the connection.
func (tr *trail) hangup(step string, r *client.Raw) {
	frame, err := r.ReadFrame()
	tr.put(step, "%d bytes, closed %v", len(frame), err != nil && !strings.Contains(err.Error(), "timeout"))
}

// figures records keys of mntr.
func (tr *trail) figures(step string, keys ...string) {
	values := map[string]string{}
	for line := range strings.Lines(string(tr.m.word("mntr"))) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "\t")
		values[strings.TrimPrefix(k, "zk_")] = v
	}
	for _, k := range keys {
		tr.put(step+" "+k, "%s", values[k])
	}
}

func createBody(path string, flags int32) []byte {
	return (&proto.CreateRequest{Path: []byte(path), ACL: proto.AppendACLs(nil, proto.WorldAnyone), Flags: flags}).Append(nil, proto.OpCreate)
}

func multiBody(creates ...[]byte) (b []byte) {
	for _, c := range creates {
		b = append(proto.MultiHeader{Type: proto.OpCreate, Err: -1}.Append(b), c...)
	}
	return proto.MultiDone.Append(b)
}

func readBody(path string) []byte { return (&proto.PathWatch{Path: []byte(path)}).Append(nil) }

func setBody(path string) []byte {
	return (&proto.SetDataRequest{Path: []byte(path), Data: []byte("x"), Version: -1}).Append(nil)
}

// localSessions goes through the life of local sessions at m.
func localSessions(t *testing.T, m, other *member, path string) []string {
	t.Helper()
	tr := &trail{t: t, m: m}
	first, _ := tr.connect("first", m, proto.ConnectRequest{})
	tr.call("make", first, proto.OpCreate, createBody(path, proto.FlagPersistent))
	tr.lines = tr.lines[:len(tr.lines)-1] // an absolute zxid

	r, s := tr.connect("connect", m, proto.ConnectRequest{})
	tr.call("nothing happened", r, proto.OpExists, readBody(path))
	tr.figures("two sessions", "local_sessions", "global_sessions")
	tr.call("create", r, proto.OpCreate, createBody(path+"/p", proto.FlagPersistent))
	tr.call("multi", r, proto.OpMulti, multiBody(createBody(path+"/a", 0), createBody(path+"/b", 0)))
	tr.call("set", r, proto.OpSetData, setBody(path))
	tr.call("container with the flag of an ephemeral", r, proto.OpCreateContainer, createBody(path+"/c", proto.FlagContainer))
	tr.call("sync", r, proto.OpSync, jute.AppendString(nil, path))
	tr.connect("other server", other, again(s))
	back, _ := tr.connect("again", m, again(s))
	tr.hangup("before", r)
	r = back
	tr.call("ephemeral", r, proto.OpCreate, createBody(path+"/e1", proto.FlagEphemeral))
	tr.figures("after ephemeral", "local_sessions", "global_sessions", "ephemerals_count")
	tr.call("ephemeral again", r, proto.OpCreate, createBody(path+"/e2", proto.FlagEphemeral))
	tr.call("ephemeral with a bad path", r, proto.OpCreate, createBody("bad", proto.FlagEphemeral))
	tr.call("multi with ephemeral", r, proto.OpMulti, multiBody(createBody(path+"/q", 0), createBody(path+"/e3", proto.FlagEphemeral)))
	moved, got := tr.connect("move", other, again(s))
	if got.SessionID != 0 {
		tr.call("set there", moved, proto.OpSetData, setBody(path))
		tr.call("close there", moved, proto.OpCloseSession, nil)
		tr.hangup("closed", r)
	} else {
		tr.call("close", r, proto.OpCloseSession, nil)
		tr.hangup("closed", r)
		tr.connect("closed, again", m, again(s))
	}

	r, s = tr.connect("for a multi", m, proto.ConnectRequest{})
	tr.call("multi with ephemeral first", r, proto.OpMulti, multiBody(createBody(path+"/m", 0), createBody(path+"/e4", proto.FlagEphemeral)))
	tr.figures("after multi", "local_sessions", "global_sessions")
	tr.call("close", r, proto.OpCloseSession, nil)
	tr.hangup("closed", r)
	tr.connect("after close", m, again(s))
	r, _ = tr.connect("to close", m, proto.ConnectRequest{})
	tr.call("close local", r, proto.OpCloseSession, nil)
	tr.hangup("closed", r)
	tr.call("close first", first, proto.OpCloseSession, nil)
	tr.figures("in the end", "local_sessions")
	dump := string(m.word("dump"))
	tr.put("dump", "%v %v %v", strings.Contains(dump, "\nLocal Session Sets ("), strings.Contains(dump, "\nGlobal Sessions("), strings.Contains(dump, "\nGlobal Session Sets ("))
	return tr.lines
}

func wantSameTrail(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s: Zabra\n\t%s\nJava\n\t%s", what, g, w)
		} else if *showFlag {
			t.Logf("%s: %s", what, g)
		}
	}
}

// Local sessions look the same at servers of both kinds, as followers and as leaders of the other kind.
func TestLocalSessionsInMixedEnsemble(t *testing.T) {
	forEachJava(t, "local sessions", func(t *testing.T, java kind) {
		for _, upgrading := range []bool{true, false} {
			t.Run(fmt.Sprintf("upgrading %v", upgrading), func(t *testing.T) {
				e := newEnsemble(t, java, java, zabra)
				e.set(map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": strconv.FormatBool(upgrading)})
				z := e.members[2]
				e.run(e.members[:2]...)
				lead := e.leader()
				e.run(z)
				follower := e.members[0]
				if follower == lead {
					follower = e.members[1]
				}
				wantSameTrail(t, "follower", localSessions(t, z, follower, "/a"), localSessions(t, follower, z, "/b"))
				javaLeads := localSessions(t, lead, z, "/c")
				e.leads(z)
				wantSameTrail(t, "leader", localSessions(t, z, follower, "/d"), javaLeads)
				wantSameTrail(t, "follower of Zabra", localSessions(t, follower, z, "/e"), localSessions(t, follower, z, "/f"))
			})
		}
	})
}

// readOnlyMode looks at m, which has lost its quorum, as clients and operators do. global is a session that all
// servers know.
func readOnlyMode(t *testing.T, m *member, global proto.ConnectResponse) []string {
	t.Helper()
	tr := &trail{t: t, m: m}
	tr.put("isro", "%s", m.word("isro"))
	for line := range strings.Lines(string(m.word("srvr"))) {
		if strings.HasPrefix(line, "Mode") || strings.HasPrefix(line, "READ") {
			tr.put("srvr", "%s", strings.TrimSpace(line))
		}
	}
	tr.figures("mntr", "server_state", "peer_state", "quorum_size", "local_sessions", "global_sessions")
	var keys []string
	for line := range strings.Lines(string(m.word("conf"))) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		keys = append(keys, key)
	}
	tr.put("conf", "%v", keys)
	tr.connect("to write", m, proto.ConnectRequest{})
	ro := func(req proto.ConnectRequest) proto.ConnectRequest { req.ReadOnly = true; return req }
	tr.connect("global session", m, ro(again(global)))
	pw := proto.SessionPassword(77)
	tr.connect("unknown session", m, ro(proto.ConnectRequest{SessionID: 77, Password: pw[:]}))
	r, s := tr.connect("to read", m, ro(proto.ConnectRequest{}))
	tr.call("from here", r, proto.OpExists, readBody("/"))
	tr.lines = tr.lines[:len(tr.lines)-1]
	tr.call("get", r, proto.OpGetData, readBody("/n"))
	tr.call("children", r, proto.OpGetChildren2, readBody("/"))
	tr.call("create", r, proto.OpCreate, createBody("/x", 0))
	tr.call("ephemeral", r, proto.OpCreate, createBody("/x", proto.FlagEphemeral))
	tr.call("container", r, proto.OpCreateContainer, createBody("/x", proto.FlagContainer))
	tr.call("set", r, proto.OpSetData, setBody("/n"))
	tr.call("delete", r, proto.OpDelete, (&proto.PathVersion{Path: []byte("/n"), Version: -1}).Append(nil))
	tr.call("multi", r, proto.OpMulti, multiBody(createBody("/x", 0)))
	tr.call("sync", r, proto.OpSync, jute.AppendString(nil, "/"))
	tr.call("who", r, proto.OpWhoAmI, nil)
	dump := string(m.word("dump"))
	tr.put("dump", "%v %v", strings.Contains(dump, "\nLocal Session Sets ("), strings.Contains(dump, "\nGlobal Sessions("))
	tr.figures("one session", "local_sessions")
	r2, _ := tr.connect("again", m, ro(again(s)))
	tr.hangup("before", r)
	tr.call("close", r2, proto.OpCloseSession, nil)
	tr.hangup("closed", r2)
	tr.connect("closed, again", m, ro(again(s)))
	return tr.lines
}

// awaitMode waits until the server says that it is in that mode.
func (m *member) awaitMode(t *testing.T, mode string) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); m.mode() != mode; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("server %d (%s) is %q, want %q\n%s", m.id, m.kind, m.mode(), mode, m.logTail())
		}
	}
}

// alone leaves m running and waits until it serves read-only.
func (e *ensemble) alone(m *member) {
	e.t.Helper()
	for _, x := range e.members {
		if x != m && x.running {
			x.kill()
		}
	}
	m.awaitMode(e.t, "read-only")
}

// Servers of both kinds that have lost the quorum look the same.
func TestReadOnlyModeInMixedEnsemble(t *testing.T) {
	forEachJava(t, "read-only mode", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, zabra, java)
		// Java has no sessions in this mode unless it has local ones at all.
		e.set(map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}, "-Dreadonlymode.enabled=true")
		e.run(e.members...)
		e.leader()
		tr := &trail{t: t}
		r, global := tr.connect("global", e.members[0], proto.ConnectRequest{})
		tr.call("make", r, proto.OpCreate, createBody("/n", 0))
		tr.call("global", r, proto.OpCreate, createBody("/e", proto.FlagEphemeral))
		trails := map[kind][]string{}
		for _, m := range e.members[:2] {
			e.alone(m)
			trails[m.kind] = readOnlyMode(t, m, global)
			r, _ := tr.connect("left over", m, proto.ConnectRequest{ReadOnly: true})
			for _, x := range e.members {
				if x != m {
					x.launch(t)
					x.running = true
				}
			}
			e.leader()
			tr.put("then", "%s", m.word("isro"))
			tr.hangup("then", r)
			if last := tr.lines[len(tr.lines)-2:]; last[0] != "then | rw" || last[1] != "then | 0 bytes, closed true" {
				t.Errorf("server %d (%s) with a quorum again: %v", m.id, m.kind, last)
			}
		}
		wantSameTrail(t, "read-only", trails[zabra], trails[java])
		b, err := os.ReadFile(e.members[1].dir + "/log")
		must(t, err)
		for _, line := range []string{"Attempting to start ReadOnlyZooKeeperServer", "Read-only server started", "Refusing session request for not-read-only client /127.0.0.1", "Refusing global session reconnection in RO mode /127.0.0.1"} {
			if !strings.Contains(string(b), line) {
				t.Errorf("the log does not say %q", line)
			}
		}
	})
}

// A sessionClient is a program that goes through a life of sessions, "local" or "readonly", given servers, a mode and a
// path.
type sessionClient struct {
	name    string
	needs   []tool
	command func(t *testing.T) []string
}

func sessionClients() []sessionClient {
	java := func(client kind) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			args := append([]string{"java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}, quickJVM...)
			return append(args, "-cp", compileJava(t)+":"+clientClasspath(client), "SessionTour")
		}
	}
	return []sessionClient{
		{"java-client-3.8", []tool{toolJavac, toolJava38}, java(java38)},
		{"java-client-3.9", []tool{toolJavac, toolJava38, toolJava39}, java(java39)},
		{"kazoo", []tool{toolKazoo}, func(t *testing.T) []string {
			src, err := filepath.Abs(filepath.Join("testdata", "py", "session_tour.py"))
			must(t, err)
			return []string{"/usr/bin/python3", src}
		}},
	}
}

// forEachClient runs the test with each client that is at hand.
func forEachClient(t *testing.T, what string, run func(t *testing.T, c sessionClient)) {
	for _, c := range sessionClients() {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range c.needs {
				if !have(n) {
					leaveOut(what+" with "+c.name, n)
					t.Skipf("no %s", n)
				}
			}
			run(t, c)
		})
	}
}

// run lets the client run to its end and returns its lines. Once it says that it waits, waiting is called.
func (c *sessionClient) run(t *testing.T, servers, mode, path string, waiting func()) []string {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	must(t, err)
	defer out.Close()
	errs, err := os.Create(filepath.Join(dir, "err"))
	must(t, err)
	defer errs.Close()
	args := append(c.command(t), servers, mode, path)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, errs
	must(t, startProcess(cmd, nil))
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	said := func() string {
		b, err := os.ReadFile(out.Name())
		must(t, err)
		return string(b)
	}
	end := time.After(programTimeout)
	for {
		select {
		case err := <-done:
			if err != nil {
				b, _ := os.ReadFile(errs.Name())
				t.Errorf("%s: %v\n%s%s", c.name, err, said(), tail(string(b), 4000))
			}
			return strings.Split(strings.TrimSpace(said()), "\n")
		case <-end:
			cmd.Process.Kill()
			<-done
			t.Fatalf("%s is not done after %v\n%s", c.name, programTimeout, said())
		case <-time.After(50 * time.Millisecond):
			if waiting != nil && strings.Contains(said(), "\nwaiting |") {
				waiting()
				waiting = nil
			}
		}
	}
}

// Clients see no difference between local sessions at servers of both kinds, whoever leads.
func TestLocalSessionClients(t *testing.T) {
	if subject() != zabra || !have(toolJava38) {
		t.Skipf("no %s, or another subject than Zabra", toolJava38)
	}
	e := newEnsemble(t, java38, zabra, java38)
	e.set(map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"})
	e.run(e.members...)
	for _, zabraLeads := range []bool{false, true} {
		if zabraLeads {
			e.leads(e.members[1])
		} else if e.leader() == e.members[1] {
			e.leads(e.members[2])
		}
		t.Run(fmt.Sprintf("Zabra leads %v", zabraLeads), func(t *testing.T) {
			forEachClient(t, "local sessions", func(t *testing.T, c sessionClient) {
				trails := map[kind][]string{}
				for _, m := range e.members[:2] {
					path := fmt.Sprintf("/%s-%v-%s", c.name, zabraLeads, m.kind)
					for _, line := range c.run(t, m.addr, "local", path, nil) {
						trails[m.kind] = append(trails[m.kind], strings.ReplaceAll(line, path, "PATH"))
					}
				}
				if len(trails[java38]) < 6 {
					t.Errorf("the client saw only %v", trails[java38])
				}
				wantSameTrail(t, c.name, trails[zabra], trails[java38])
			})
		})
	}
}

// Clients that ask for it read from a server of either kind that has lost the quorum, and write when it is back.
func TestReadOnlyClients(t *testing.T) {
	if subject() != zabra || !have(toolJava38) {
		t.Skipf("no %s, or another subject than Zabra", toolJava38)
	}
	e := newEnsemble(t, java38, zabra, zabra)
	e.set(map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}, "-Dreadonlymode.enabled=true")
	e.run(e.members...)
	e.leader()
	tr := &trail{t: t}
	r, _ := tr.connect("make", e.members[0], proto.ConnectRequest{})
	tr.call("make", r, proto.OpCreate, createBody("/n", 0))
	forEachClient(t, "read-only mode", func(t *testing.T, c sessionClient) {
		trails := map[kind][]string{}
		for _, m := range e.members[:2] {
			e.alone(m)
			path := fmt.Sprintf("/%s-%s", c.name, m.kind)
			back := e.members[2]
			lines := c.run(t, m.addr+","+back.addr, "readonly", path, func() {
				back.launch(t)
				back.running = true
			})
			for _, line := range lines {
				trails[m.kind] = append(trails[m.kind], strings.ReplaceAll(line, path, "PATH"))
			}
			e.leader()
			for _, x := range e.members {
				if !x.running {
					e.run(x)
				}
			}
		}
		if !slices.ContainsFunc(trails[java38], func(l string) bool { return strings.HasPrefix(l, "create | error") }) {
			t.Errorf("the client was not refused: %v", trails[java38])
		}
		wantSameTrail(t, c.name, trails[zabra], trails[java38])
	})
}

// The shells of both kinds read from a Zabra server that has lost the quorum.
func TestReadOnlyShells(t *testing.T) {
	if subject() != zabra {
		t.Skip("a test of Zabra")
	}
	e := newEnsemble(t, zabra, zabra, zabra)
	e.set(nil, "-Dreadonlymode.enabled=true")
	e.run(e.members...)
	e.leader()
	e.alone(e.members[0])
	link := filepath.Join(t.TempDir(), "zkCli.sh")
	must(t, os.Symlink(zabraBinary(t), link))
	shells := map[string]string{"Zabra's": link}
	if have(toolZkCli) {
		shells["Java's"] = "/usr/share/zookeeper/bin/zkCli.sh"
	} else {
		leaveOut("read-only mode with the shell", toolZkCli)
	}
	for name, shell := range shells {
		for _, f := range []struct{ command, want string }{{"ls /", "[zookeeper]"}, {"create /x", "Not a read-only call"}} {
			out, _ := exec.Command(shell, append([]string{"-r", "-server", e.members[0].addr}, strings.Fields(f.command)...)...).CombinedOutput()
			if !strings.Contains(string(out), f.want) {
				t.Errorf("%s shell: %s says %s", name, f.command, out)
			}
		}
	}
}
