package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/audit"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/logging"
)

// lineBuffer is where a server logs in a test.
type lineBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

var auditLine = regexp.MustCompile(`(?m)^\S+ \S+ \[myid:\] - (INFO |ERROR) \[SyncThread:0:Slf4jAuditLogger@\d+\] - (.*)$`)

// audited returns level and text of the audit lines so far, TABs as blanks.
func (l *lineBuffer) audited() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range auditLine.FindAllStringSubmatch(l.b.String(), -1) {
		lines = append(lines, m[1][:1]+" "+strings.ReplaceAll(m[2], "\t", " "))
	}
	return lines
}

func ownerName(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	return u.Username
}

// TestAuditLog: each write of a client leaves the line of a Java server, whose rules are those of operations,
// section 6.9.
func TestAuditLog(t *testing.T) {
	owner := ownerName(t)
	var out lineBuffer
	s, err := Start(testOptions(t, t.TempDir(), "audit.enable=true"), slog.New(logging.New(&out, slog.LevelInfo)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, s) })
	ctx, c := testContext(t), dial(t, s)
	id := fmt.Sprintf("session=0x%x", c.Session().ID)
	var want []string
	line := func(format string, args ...any) {
		level, text, _ := strings.Cut(fmt.Sprintf(format, args...), " ")
		want = append(want, level+" "+id+" "+text)
	}
	fails := func(err error) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
	}
	works := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const me = "user=127.0.0.1 ip=127.0.0.1"

	for _, x := range []struct {
		mode client.CreateMode
		kind string
	}{
		{client.Persistent, "persistent"}, {client.Ephemeral, "ephemeral"}, {client.PersistentSequential, "persistent_sequential"},
		{client.EphemeralSequential, "ephemeral_sequential"}, {client.Container, "container"},
	} {
		path, err := c.Create(ctx, "/"+x.kind, nil, openACL, x.mode)
		works(err)
		line("I %s operation=create znode=%s znode_type=%s result=success", me, path, x.kind)
	}
	for _, x := range []struct {
		mode client.CreateMode
		kind string
	}{{client.PersistentWithTTL, "persistent_with_ttl"}, {client.PersistentSequentialWithTTL, "persistent_sequential_with_ttl"}} {
		path, _, err := c.CreateTTL(ctx, "/"+x.kind, nil, openACL, x.mode, time.Hour)
		works(err)
		line("I %s operation=create znode=%s znode_type=%s result=success", me, path, x.kind)
	}
	_, err = c.Create(ctx, "/persistent", nil, openACL, client.EphemeralSequential)
	works(err)
	line("I %s operation=create znode=/persistent0000000007 znode_type=ephemeral_sequential result=success", me)
	_, err = c.Create(ctx, "/persistent", nil, openACL, client.Persistent)
	fails(err)
	line("E %s operation=create znode=/persistent znode_type=persistent result=failure", me)
	_, err = c.SetData(ctx, "/persistent", []byte("x"), -1)
	works(err)
	line("I %s operation=setData znode=/persistent result=success", me)
	_, err = c.SetData(ctx, "/persistent", nil, 17)
	fails(err)
	line("E %s operation=setData znode=/persistent result=failure", me)
	_, err = c.SetACL(ctx, "/persistent", []proto.ACL{{Perms: proto.PermAll, Scheme: "ip", ID: "127.0.0.1"}, {Perms: proto.PermRead | proto.PermDelete, Scheme: "world", ID: "anyone"}}, -1)
	works(err)
	line("I %s operation=setAcl znode=/persistent acl=ip:127.0.0.1:cdrwaworld:anyone:dr result=success", me)
	_, err = c.SetACL(ctx, "/none", openACL, -1)
	fails(err)
	line("E %s operation=setAcl znode=/none acl=world:anyone:cdrwa result=failure", me)
	fails(c.Delete(ctx, "/none", -1))
	line("E %s operation=delete znode=/none result=failure", me)
	works(c.Delete(ctx, "/persistent", -1))
	line("I %s operation=delete znode=/persistent result=success", me)

	// Who has shown another name is called by both; super has none.
	works(c.AddAuth(ctx, "digest", []byte("bob:secret")))
	both := strings.Replace(me, "user=127.0.0.1", "user=127.0.0.1,bob", 1)

	// A multi tells of each of its operations; a sequential node has no type then, and what is checked no line.
	results, err := c.Multi(ctx, client.CreateOp("/m", nil, openACL, client.Persistent), client.CreateOp("/m/s-", nil, openACL, client.PersistentSequential),
		client.CreateTTLOp("/m/t", nil, openACL, client.PersistentWithTTL, time.Hour), client.CheckOp("/m", 0), client.SetDataOp("/m", []byte("1"), 0), client.DeleteOp("/m/t", 0))
	works(err)
	line("I %s operation=create znode=/m znode_type=persistent result=success", both)
	line("I %s operation=create znode=%s result=success", both, results[1].Path)
	line("I %s operation=create znode=/m/t result=success", both)
	line("I %s operation=setData znode=/m result=success", both)
	line("I %s operation=delete znode=/m/t result=success", both)
	_, err = c.Multi(ctx, client.SetDataOp("/m", []byte("2"), -1), client.DeleteOp("/none", -1))
	fails(err)
	line("E %s operation=multiOperation result=failure", both)
	_, _, err = c.Reconfig(ctx, client.Reconfig{Joining: "server.9=127.0.0.1:1:2;3"})
	fails(err)
	line("E %s operation=reconfig result=failure", both)

	// Reads leave none.
	_, _, err = c.GetData(ctx, "/m")
	works(err)
	works(c.Close())
	// The ephemerals go with the session, newest or oldest first.
	waitFor(t, func() bool { return len(out.audited()) >= len(want)+3 })
	stopServer(t, s)

	got := out.audited()
	gone := got[len(want):]
	slices.Sort(gone)
	i := len(want)
	for _, path := range []string{"/ephemeral", "/ephemeral_sequential0000000003", "/persistent0000000007"} {
		line("I user=%s operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode=%s result=success", owner, path)
	}
	slices.Sort(want[i:])
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAuditOff: without the key there is no line, and nothing is kept for one.
func TestAuditOff(t *testing.T) {
	var out lineBuffer
	s, err := Start(testOptions(t, t.TempDir()), slog.New(logging.New(&out, slog.LevelInfo)))
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, dial(t, s), "/a", "")
	stopServer(t, s)
	if got := out.audited(); len(got) != 0 || s.replica.auditor != nil {
		t.Errorf("%q", got)
	}
}

// TestAuditOfEnsemble: a request is told of by the server that has its client, be it the leader or not; the end
// of ephemerals by each.
func TestAuditOfEnsemble(t *testing.T) {
	owner := ownerName(t)
	e := newTestEnsemble(t, 3)
	e.leader()
	outs := make([]*lineBuffer, 3)
	for i, s := range e.servers {
		outs[i] = &lineBuffer{}
		log := logging.Thread(slog.New(logging.New(outs[i], slog.LevelInfo)), "SyncThread:0")
		s.replica.postAndWait(func(r *replica) { r.auditor = &auditor{srv: s, log: audit.New(log)} })
	}
	ctx := testContext(t)
	want := make([][]string, 3)
	for i := range e.servers {
		c := e.dial(i)
		id := fmt.Sprintf("session=0x%x", c.Session().ID)
		path := fmt.Sprintf("/e%d", i)
		if _, err := c.Create(ctx, path, nil, openACL, client.Ephemeral); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, "/none", -1); err == nil {
			t.Fatal("no error")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		want[i] = append(want[i], "I "+id+" user=127.0.0.1 ip=127.0.0.1 operation=create znode="+path+" znode_type=ephemeral result=success",
			"E "+id+" user=127.0.0.1 ip=127.0.0.1 operation=delete znode=/none result=failure")
		for j := range want {
			want[j] = append(want[j], "I "+id+" user="+owner+" operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode="+path+" result=success")
		}
	}
	for i, out := range outs {
		waitFor(t, func() bool { return len(out.audited()) >= len(want[i]) })
		if got := out.audited(); !slices.Equal(got, want[i]) {
			t.Errorf("server %d: got\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want[i], "\n"))
		}
	}
}
