//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/client"
)

// reconfigConfig goes on top of ensembleConfig.
var reconfigConfig = map[string]string{"reconfigEnabled": "true", "skipACL": "yes", "initLimit": "10", "syncLimit": "5"}

// newReconfigEnsemble lays out servers of these kinds, without starting any. The first ones are the voters to begin with;
// each of the others knows these and itself, as an observer, as a joiner has to.
func newReconfigEnsemble(t *testing.T, voters int, kinds ...kind) *ensemble {
	t.Helper()
	e := &ensemble{t: t}
	for i, k := range kinds {
		m := &member{server: &server{dir: t.TempDir(), kind: k}, id: i + 1, cfg: map[string]string{"clientPort": strconv.Itoa(stablePort(t))}}
		m.line = fmt.Sprintf("127.0.0.1:%d:%d", stablePort(t), stablePort(t))
		e.members = append(e.members, m)
		t.Cleanup(func() { m.end(t) })
	}
	for i, m := range e.members {
		for _, from := range []map[string]string{ensembleConfig, reconfigConfig} {
			for k, v := range from {
				m.cfg[k] = v
			}
		}
		for _, v := range e.members[:voters] {
			m.cfg[fmt.Sprintf("server.%d", v.id)] = v.spec("participant")
		}
		if i >= voters {
			m.cfg[fmt.Sprintf("server.%d", m.id)] = m.spec("observer")
		}
		m.become(t, m.kind)
	}
	return e
}

// spec is the value of the server line.
func (m *member) spec(role string) string {
	return m.line + ":" + role + ";127.0.0.1:" + m.cfg["clientPort"]
}

// awaitMode waits until the server serves in this mode.
func (e *ensemble) awaitMode(m *member, want string) {
	e.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for m.mode() != want {
		if time.Now().After(deadline) {
			e.t.Fatalf("server %d (%s) is %q, want %q\n%s", m.id, m.kind, m.mode(), want, e.logs())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// configOf reads the configuration by way of one server, nil when that does not answer.
func configOf(t *testing.T, m *member) *quorum.Config {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.New(m.addr, client.Options{SessionTimeout: loadSession})
	must(t, err)
	defer c.Close()
	if err := c.WaitConnected(ctx); err != nil {
		return nil
	}
	if err := c.Sync(ctx, client.ConfigPath); err != nil {
		return nil
	}
	text, _, err := c.GetConfig(ctx)
	if err != nil {
		return nil
	}
	q, err := quorum.ParseConfig(text)
	if err != nil {
		t.Errorf("server %d (%s): %q: %v", m.id, m.kind, text, err)
	}
	return q
}

// awaitConfig waits until all servers that run show the same configuration as text, and have it in their files.
func (e *ensemble) awaitConfig(text string) {
	e.t.Helper()
	want, err := quorum.ParseConfig([]byte(text))
	if err != nil {
		e.t.Fatalf("%q: %v", text, err)
	}
	for _, m := range e.members {
		if !m.running {
			continue
		}
		deadline := time.Now().Add(15 * time.Second)
		for {
			got := configOf(e.t, m)
			if got != nil && got.Version == want.Version && got.SameMembers(want) {
				break
			}
			if time.Now().After(deadline) {
				e.t.Fatalf("server %d (%s) has %v, want %v\n%s", m.id, m.kind, got, want, e.logs())
			}
			time.Sleep(50 * time.Millisecond)
		}
		static, err := os.ReadFile(filepath.Join(m.dir, "zoo.cfg"))
		must(e.t, err)
		_, pointer, _ := strings.Cut(string(static), "dynamicConfigFile=")
		pointer = strings.TrimSpace(pointer)
		if want := fmt.Sprintf("%s.dynamic.%x", filepath.Join(m.dir, "zoo.cfg"), want.Version); pointer != want {
			e.t.Errorf("server %d (%s): zoo.cfg points to %q, want %q", m.id, m.kind, pointer, want)
			continue
		}
		dynamic, err := os.ReadFile(pointer)
		must(e.t, err)
		got, err := quorum.ParseConfig(dynamic)
		if err != nil || !got.SameMembers(want) {
			e.t.Errorf("server %d (%s): %s has %q, want %v", m.id, m.kind, pointer, dynamic, want)
		}
		if _, err := os.Stat(filepath.Join(m.dir, "zoo.cfg.dynamic.next")); !errors.Is(err, os.ErrNotExist) {
			e.t.Errorf("server %d (%s): the file of the last seen configuration is still there: %v", m.id, m.kind, err)
		}
	}
}

// reconfig asks one server by Zabra's own client.
func (e *ensemble) reconfig(m *member, r client.Reconfig) string {
	e.t.Helper()
	c := dialEnsemble(e.t, []string{m.addr}, nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	r.FromVersion = -1
	text, _, err := c.Reconfig(ctx, r)
	if err != nil {
		e.t.Fatalf("reconfig %+v at server %d (%s): %v\n%s", r, m.id, m.kind, err, e.logs())
	}
	return string(text)
}

// reconfigByShell asks one server by Java's shell.
func (e *ensemble) reconfigByShell(m *member, args ...string) string {
	e.t.Helper()
	cmd, cancel := zkCliCommand(m.server, append([]string{"reconfig"}, args...)...)
	defer cancel()
	out, err := cmd.Output()
	_, text, ok := strings.Cut(string(out), "Committed new configuration:\n")
	if err != nil || !ok {
		e.t.Fatalf("%v: %v\n%s\n%s", args, err, out, e.logs())
	}
	return strings.TrimSpace(text)
}

// kazooReconfig makes an incremental change: hosts, joining, leaving.
const kazooReconfig = `
import sys
from kazoo.client import KazooClient
zk = KazooClient(hosts=sys.argv[1])
zk.start(30)
data, stat = zk.reconfig(joining=sys.argv[2] or None, leaving=sys.argv[3] or None, new_members=None)
print(data.decode())
zk.stop()
`

// reconfigByKazoo asks one server by kazoo, or by Zabra's client where there is no kazoo.
func (e *ensemble) reconfigByKazoo(m *member, joining, leaving string) string {
	e.t.Helper()
	if !have(toolKazoo) {
		leaveOut("a reconfiguration by kazoo", toolKazoo)
		return e.reconfig(m, client.Reconfig{Joining: joining, Leaving: leaving})
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/usr/bin/python3", "-c", kazooReconfig, m.addr, joining, leaving).Output()
	if err != nil {
		e.t.Fatalf("kazoo: %v\n%s\n%s", err, out, e.logs())
	}
	return strings.TrimSpace(string(out))
}

// awaitLeaderOf has leaders fall until one of this kind leads.
func (e *ensemble) awaitLeaderOf(want kind) *member {
	e.t.Helper()
	for range 8 {
		lead := e.leader()
		if lead.kind == want {
			return lead
		}
		// A server that has seen nothing of an epoch but its start would lose to one that led it.
		for _, m := range e.members {
			if !m.running {
				continue
			}
			c := dialEnsemble(e.t, []string{m.addr}, nil)
			insist(e.t, c, func(ctx context.Context) error {
				_, err := c.Create(ctx, "/fall-", nil, proto.WorldAnyone, client.PersistentSequential)
				return err
			})
			c.Close()
		}
		lead.kill()
		e.leader()
		e.run(lead)
	}
	e.t.Fatalf("no %s leads\n%s", want, e.logs())
	return nil
}

// Servers of both kinds join, change their roles and leave, the leader among them, while clients write; every one of
// Zabra's client, Java's shell and kazoo asks for it, of servers of both kinds.
func TestReconfigMixed(t *testing.T) {
	for _, lead := range []string{"Zabra", "Java"} {
		t.Run(lead+" leads", func(t *testing.T) {
			forEachJava(t, "a reconfiguration", func(t *testing.T, java kind) {
				if !have(toolZkCli) {
					leaveOut("a reconfiguration", toolZkCli)
					t.Skipf("no %s", toolZkCli)
				}
				kinds := []kind{java, zabra, zabra, java, zabra}
				if lead == "Java" {
					kinds = []kind{zabra, zabra, java, zabra, java}
				}
				e := newReconfigEnsemble(t, 3, kinds...)
				e.run(e.members[:3]...)
				old := e.awaitLeaderOf(kinds[2])
				first := configOf(t, old)
				if first == nil || first.Version != 1<<32 {
					t.Fatalf("the first configuration is %v", first)
				}
				e.awaitConfig(first.String())
				l := startLoad(t, e.addrs()[:3])
				k := startKeeper(t, e.addrs()[:3], l)
				other := func(of kind) *member {
					for _, m := range e.members[:3] {
						if m != old && m.kind == of {
							return m
						}
					}
					return old
				}

				four, five := e.members[3], e.members[4]
				e.run(four)
				e.awaitMode(four, "follower")
				text := e.reconfigByShell(other(java), "-add", fmt.Sprintf("server.4=%s", four.spec("participant")))
				e.awaitConfig(text)
				l.await(50)
				t.Logf("server 4 (%s) has joined", four.kind)

				text = e.reconfig(other(zabra), client.Reconfig{Joining: "server.4=" + four.spec("observer")})
				e.awaitMode(four, "observer")
				e.awaitConfig(text)
				k.check()
				t.Logf("server 4 (%s) observes", four.kind)

				e.run(five)
				e.awaitMode(five, "follower")
				text = e.reconfigByKazoo(four, "server.5="+five.spec("participant"), "")
				e.awaitConfig(text)
				l.await(50)
				t.Logf("server 5 (%s) has joined", five.kind)

				// The leader leaves.
				text = e.reconfigByKazoo(other(zabra), "", fmt.Sprint(old.id))
				e.awaitMode(old, "follower")
				next := e.leader()
				if next == old {
					t.Fatalf("the removed leader leads\n%s", e.logs())
				}
				e.awaitConfig(text)
				l.await(50)
				k.check()
				t.Logf("server %d (%s) leads after server %d (%s) has left", next.id, next.kind, old.id, old.kind)

				// It comes back, and 4 goes.
				text = e.reconfigByShell(old, "-add", fmt.Sprintf("server.%d=%s", old.id, old.spec("participant")), "-remove", "4")
				e.awaitMode(four, "follower")
				e.awaitConfig(text)
				l.await(50)

				// What is on disk is enough to begin anew with.
				for _, m := range []*member{e.members[0], e.members[1], e.members[2], five} {
					m.end(t)
					e.run(m)
				}
				e.leader()
				e.awaitConfig(text)
				l.await(400) // all remember the digest of every 128th zxid since they began anew
				e.finish(l, k)
			})
		})
	}
}

// An ensemble of Java servers becomes one of Zabra: a Zabra server joins, a Java server leaves and is stopped, three
// times, while clients write and one session lives through all of it.
func TestMigrationByReconfig(t *testing.T) {
	forEachJava(t, "a migration by reconfiguration", func(t *testing.T, java kind) {
		e := newReconfigEnsemble(t, 3, java, java, java, zabra, zabra, zabra)
		e.run(e.members[:3]...)
		e.leader()
		all := strings.Join(e.addrs(), ",")
		l := startLoad(t, []string{all, all})
		k := startKeeper(t, e.addrs(), l)
		for i := range 3 {
			goes, comes := e.members[i], e.members[3+i]
			e.run(comes)
			e.awaitMode(comes, "follower")
			// What the newest server is asked for, all servers do.
			text := e.reconfig(comes, client.Reconfig{Joining: fmt.Sprintf("server.%d=%s", comes.id, comes.spec("participant"))})
			e.awaitConfig(text)
			text = e.reconfig(comes, client.Reconfig{Leaving: fmt.Sprint(goes.id)})
			e.awaitConfig(text)
			goes.end(t)
			l.await(100)
			k.check()
			lead := e.leader()
			t.Logf("server %d (%s) is in place of server %d (%s), server %d (%s) leads", comes.id, comes.kind, goes.id, goes.kind, lead.id, lead.kind)
		}
		e.members = e.members[3:]
		e.finish(l, k)
	})
}
