//go:build interop

package javadata

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-zookeeper/zk"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// javaClasspath is where Debian's packages keep the jar whose manifest names the others, and one that has the
// server log to its standard error; the environment variable ZABRA_JAVA_CLASSPATH overrides it.
const javaClasspath = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"

// javaServer is a standalone Java server on loopback.
type javaServer struct {
	addr, log string
	cmd       *exec.Cmd
}

func startJava(t *testing.T, dataDir string, extra ...string) *javaServer {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("no java")
	}
	cp := os.Getenv("ZABRA_JAVA_CLASSPATH")
	if cp == "" {
		cp = javaClasspath
	}
	if _, err := os.Stat(strings.Split(cp, ":")[0]); err != nil {
		t.Skip("no ZooKeeper jar")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &javaServer{addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.addr) // it is an address of ours
	conf := t.TempDir()
	cfg := fmt.Sprintf("tickTime=2000\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\nextendedTypesEnabled=true\npreAllocSize=64\nmaxClientCnxns=0\n%s\n",
		dataDir, port, strings.Join(extra, "\n"))
	s.log = filepath.Join(conf, "log")
	out, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := os.WriteFile(filepath.Join(conf, "zoo.cfg"), []byte(cfg), 0o644); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(java, "-Xmx256m", "-cp", cp, "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(conf, "zoo.cfg"))
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	return s
}

// kill ends the server as a power cut does.
func (s *javaServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // an error means that it has ended by itself
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *javaServer) output(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// connect opens a session, at most a minute after the server was started.
func (s *javaServer) connect(t *testing.T, timeout time.Duration) *zk.Conn {
	t.Helper()
	s.awaitServing(t)
	c, events, err := zk.Connect([]string{s.addr}, timeout, zk.WithLogInfo(false), zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	deadline := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return c
			}
		case <-deadline:
			t.Fatalf("no session:\n%s", s.output(t))
		}
	}
}

// awaitServing waits until the server serves: one that is asked between its bind and its start leaves the
// connection open without an answer, and the client waits on it for ever.
func (s *javaServer) awaitServing(t *testing.T) {
	t.Helper()
	for range 1200 {
		if strings.Contains(s.output(t), "Using checkIntervalMs") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the server does not start:\n%s", s.output(t))
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// clientNode is what a client sees of a node.
type clientNode struct {
	stat     zk.Stat
	data     string
	acl      []zk.ACL
	children []string
}

// readTree reads everything below path.
func readTree(t *testing.T, c *zk.Conn, path string, into map[string]clientNode) {
	t.Helper()
	data, stat, err := c.Get(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	acl, _, err := c.GetACL(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	children, _, err := c.Children(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	slices.Sort(children)
	into[path] = clientNode{*stat, string(data), acl, children}
	for _, child := range children {
		readTree(t, c, strings.TrimSuffix(path, "/")+"/"+child, into)
	}
}

// engineTree is the same from an engine.
func engineTree(e *engine.Engine) map[string]clientNode {
	tree := map[string]clientNode{}
	_ = walk(e, func(_ []byte, ref engine.NodeRef) error {
		var s proto.Stat
		e.Stat(ref, &s)
		n := clientNode{data: string(e.Data(ref)), stat: zk.Stat{Czxid: s.Czxid, Mzxid: s.Mzxid, Ctime: s.Ctime, Mtime: s.Mtime,
			Version: s.Version, Cversion: s.Cversion, Aversion: s.Aversion, EphemeralOwner: s.EphemeralOwner,
			DataLength: s.DataLength, NumChildren: s.NumChildren, Pzxid: s.Pzxid}}
		for _, a := range e.ACL(ref).Decode() {
			n.acl = append(n.acl, zk.ACL{Perms: a.Perms, Scheme: a.Scheme, ID: a.ID})
		}
		for c := e.FirstChild(ref); c != 0; c = e.NextSibling(c) {
			n.children = append(n.children, string(e.Name(c)))
		}
		slices.Sort(n.children)
		tree[string(e.AppendPath(nil, ref))] = n
		return nil
	})
	return tree
}

func compareClientTrees(t *testing.T, got, want map[string]clientNode) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d nodes, want %d", len(got), len(want))
	}
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			t.Errorf("%s is missing", path)
			continue
		}
		if path == engine.PathConfig { // each server writes it at start
			g.stat, g.data = w.stat, w.data
		}
		if len(g.children) == 0 && len(w.children) == 0 {
			g.children, w.children = nil, nil
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s:\n got %+v\nwant %+v", path, g, w)
		}
	}
}

// digestComplaints are what a Java server logs when a digest does not match.
func digestComplaints(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if strings.Contains(strings.ToLower(line), "mismatch") || strings.Contains(line, "problem reading snap") || strings.Contains(line, "not matching") {
			lines = append(lines, line)
		}
	}
	return lines
}

// A Java server loads what we export, with every part and method that it understands: a client sees the same
// nodes, stats, lists and sessions, and what the server then logs has digests that we meet.
func TestJavaLoadsExport(t *testing.T) {
	for _, set := range []string{"standalone-gz", "quorum-follower"} {
		for _, opts := range []ExportOptions{
			{CompressionNone, PartsNone},
			{CompressionNone, PartsDigest},
			{CompressionGzip, PartsDigestAndZxid},
			{CompressionSnappy, PartsDigest},
		} {
			t.Run(fmt.Sprintf("%s%s/parts=%d", set, opts.Compression.Extension(), opts.Parts), func(t *testing.T) {
				e, _ := mustLoad(t, dataDir(t, set), withDigest)
				want := engineTree(e)
				zxid, digest, sessions := e.LastZxid(), e.Digest(), stateOf(e).sessions
				dir := t.TempDir()
				file, err := ExportFile(e, vfs.Default, filepath.Join(dir, VersionDir), opts)
				if err != nil {
					t.Fatal(err)
				}
				j := startJava(t, dir)
				c := j.connect(t, 20*time.Second)
				if err := c.AddAuth("digest", []byte("bob:secret")); err != nil {
					t.Fatal(err)
				}
				got := map[string]clientNode{}
				readTree(t, c, "/", got)
				compareClientTrees(t, got, want)
				if _, err := c.Create("/after", []byte("x"), 0, zk.WorldACL(zk.PermAll)); err != nil {
					t.Fatal(err)
				}
				j.kill()
				log := j.output(t)
				if !strings.Contains(log, "Reading snapshot "+file) {
					t.Errorf("the server did not read %s:\n%s", file, log)
				}
				if bad := digestComplaints(log); len(bad) > 0 {
					t.Errorf("the server complains: %s", bad)
				}

				// And back: our snapshot with Java's log behind it, or Java's own snapshot.
				fromOurs, _, err := Load(vfs.Default, dir, "", withDigest)
				if err != nil {
					t.Fatal(err)
				}
				defer fromOurs.Close()
				if fromOurs.LastZxid() < zxid+2 || fromOurs.Lookup([]byte("/after")) == 0 {
					t.Errorf("the way back ends at %#x", fromOurs.LastZxid())
				}
				for id, timeoutMs := range sessions {
					if got, ok := fromOurs.Session(id); !ok || got != timeoutMs {
						t.Errorf("session %#x: timeout %d %v, want %d", id, got, ok, timeoutMs)
					}
				}
				_, r, err := Load(vfs.Default, dir, "", withDigest)
				if err != nil || r.DigestsMatched == 0 || r.DigestsMismatched > 0 {
					t.Errorf("%v, %+v", err, r)
				}
				if digest == 0 {
					t.Error("no digest to compare")
				}
			})
		}
	}
}

// writeHistory does what applications do, and leaves two sessions open.
func writeHistory(t *testing.T, c, second *zk.Conn) {
	t.Helper()
	open := zk.WorldACL(zk.PermAll)
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AddAuth("digest", []byte("bob:secret")); err != nil {
		t.Fatal(err)
	}
	check(c.Create("/app", []byte("data"), 0, open))
	check(c.Create("/app/empty", []byte{}, 0, open))
	check(c.Create("/app/null", nil, 0, open))
	check(c.Create("/app/é中", []byte("name"), 0, open))
	check(c.Set("/app", []byte("data 2"), -1))
	check(c.Create("/private", []byte("s"), 0, zk.DigestACL(zk.PermAll, "bob", "secret")))
	check(c.Create("/readable", []byte("s"), 0, append(zk.WorldACL(zk.PermRead), zk.DigestACL(zk.PermAll, "bob", "secret")...)))
	check(c.SetACL("/app/empty", zk.DigestACL(zk.PermRead|zk.PermAdmin, "bob", "secret"), -1))
	check(c.CreateContainer("/cont", []byte("c"), zk.FlagContainer, open))
	check(c.Create("/cont/child", nil, 0, open))
	check(c.CreateTTL("/ttl", []byte("t"), zk.FlagTTL, open, time.Hour))
	check(c.Create("/app/e1", []byte("1"), zk.FlagEphemeral, open))
	check(second.Create("/app/e2-", []byte("2"), zk.FlagEphemeral|zk.FlagSequence, open))
	for i := range 60 {
		path, err := c.Create("/app/s-", []byte(fmt.Sprint(i)), zk.FlagSequence, open)
		check(path, err)
		switch i % 3 {
		case 0:
			check(nil, c.Delete(path, -1))
		case 1:
			check(c.Set(path, bytes.Repeat([]byte("x"), i*20), 0))
		}
	}
	check(c.Multi(&zk.CreateRequest{Path: "/m", Acl: open}, &zk.CreateRequest{Path: "/m/1", Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: "/m", Data: []byte("set"), Version: 0}, &zk.CheckVersionRequest{Path: "/m", Version: 1}))
	if _, err := c.Multi(&zk.CreateRequest{Path: "/never", Acl: open}, &zk.CheckVersionRequest{Path: "/m", Version: 77}); !errors.Is(err, zk.ErrBadVersion) {
		t.Fatal(err)
	}
	if err := c.Delete("/nowhere", -1); !errors.Is(err, zk.ErrNoNode) {
		t.Fatal(err)
	}
	check(c.Create("/zookeeper/quota/app", nil, 0, open))
	check(c.Create("/zookeeper/quota/app/zookeeper_limits", []byte("count=1000,bytes=-1"), 0, open))
	check(c.Create("/zookeeper/quota/app/zookeeper_stats", []byte("count=0,bytes=0"), 0, open))
	check(c.Create("/app/quotaed", []byte("12345"), 0, open))
}

// A directory that a Java server leaves behind when it is killed gives the tree that its clients saw, with
// its sessions, and every digest in it is met; and so it does after another start of the server, from the
// snapshot that that writes.
func TestLoadJavaDirectory(t *testing.T) {
	for _, extra := range [][]string{
		{"snapCount=20"},
		{"snapCount=100000"},
		{"snapCount=30", "snapshot.compression.method=gz"},
		{"snapCount=30", "snapshot.compression.method=snappy"},
		{"digest.enabled=false"},
	} {
		t.Run(strings.Join(extra, ","), func(t *testing.T) {
			dir := t.TempDir()
			j := startJava(t, dir, extra...)
			c, second := j.connect(t, 30*time.Second), j.connect(t, 10*time.Second)
			writeHistory(t, c, second)
			want := map[string]clientNode{}
			readTree(t, c, "/", want)
			sessions := map[proto.SessionID]int32{c.SessionID(): 30000, second.SessionID(): 10000}
			j.kill()
			digests := !slices.Contains(extra, "digest.enabled=false")
			check := func(t *testing.T, sessions map[proto.SessionID]int32) {
				t.Helper()
				e, r, err := Load(vfs.Default, dir, "", withDigest)
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				compareClientTrees(t, engineTree(e), want)
				for id, timeoutMs := range sessions {
					if got, ok := e.Session(id); !ok || got != timeoutMs {
						t.Errorf("session %#x: timeout %d %v, want %d", uint64(id), got, ok, timeoutMs)
					}
				}
				if e.EphemeralCount() != 2 || e.ContainerCount() != 1 || e.TTLCount() != 1 {
					t.Errorf("%d ephemerals, %d containers, %d TTL nodes", e.EphemeralCount(), e.ContainerCount(), e.TTLCount())
				}
				if r.DigestsMismatched > 0 || digests != (r.DigestsMatched > 0) || len(r.Holes)+len(r.Skipped)+len(r.UnknownACLs) > 0 {
					t.Errorf("%+v", r)
				}
				t.Logf("%s and %d transactions", filepath.Base(r.Snapshot), r.Txns)
			}
			check(t, sessions)
			j = startJava(t, dir, extra...) // writes a snapshot of what it has loaded
			third := j.connect(t, 10*time.Second)
			sessions[third.SessionID()] = 10000
			j.kill()
			check(t, sessions)
		})
	}
}

// With a wrong digest in the file the server does complain, so that the silence above means something.
func TestJavaChecksDigest(t *testing.T) {
	e, _ := mustLoad(t, dataDir(t, "standalone-gz"), withDigest)
	var c collected
	trailer, err := ReadSnapshot(bytes.NewReader(exportBytes(t, e, ExportOptions{Parts: PartsDigest})), "test", Options{}, &c)
	if err != nil {
		t.Fatal(err)
	}
	trailer.Digest++
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, VersionDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, VersionDir, SnapshotName(e.LastZxid(), CompressionNone)), c.write(t, trailer), 0o644); err != nil {
		t.Fatal(err)
	}
	j := startJava(t, dir)
	j.connect(t, 10*time.Second)
	j.kill()
	if bad := digestComplaints(j.output(t)); len(bad) == 0 {
		t.Fatalf("no complaint:\n%s", j.output(t))
	}
}
