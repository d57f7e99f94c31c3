//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

const (
	loadPace    = 8 * time.Millisecond // between the writes of one client
	loadTimeout = 30 * time.Second     // for what must come about once servers are up
	loadSession = 60 * time.Second     // longer than any server is away
	noNode      = "\x00absent"         // the node is not there
)

// A load writes through every server of an ensemble, each client through one, and knows what
// must be in the tree at the end.
type load struct {
	t      *testing.T
	root   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex          // guards the fields below
	may     map[string][]string // what the data of a path may be; one entry if the last write was acknowledged
	acked   int
	unknown int           // writes without an answer
	by      []int         // acknowledged writes of each client
	more    chan struct{} // closed and replaced at each acknowledged write
}

func startLoad(t *testing.T, addrs []string) *load {
	t.Helper()
	return startLoadBelow(t, "/w", addrs)
}

// startLoadBelow has client i write below root and i.
func startLoadBelow(t *testing.T, root string, addrs []string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, root: root, cancel: cancel, may: map[string][]string{}, by: make([]int, len(addrs)), more: make(chan struct{})}
	c := dialEnsemble(t, addrs, nil)
	for i := range addrs {
		insist(t, c, func(ctx context.Context) error {
			_, err := c.Create(ctx, fmt.Sprintf("%s%d", root, i), nil, proto.WorldAnyone, client.Persistent)
			return err
		})
	}
	for i, a := range addrs {
		l.done.Go(func() { l.write(ctx, i, a) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// write is one client: it makes nodes and changes and removes some of them.
func (l *load) write(ctx context.Context, i int, addr string) {
	c, err := client.New(addr, client.Options{SessionTimeout: loadSession, FailFast: true})
	if err != nil {
		l.t.Error(err)
		return
	}
	defer c.Close()
	tick := time.NewTicker(loadPace)
	defer tick.Stop()
	sure := "" // the last node whose state is known
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if c.WaitConnected(ctx) != nil {
			if c.State() == client.StateExpired {
				l.t.Errorf("the session of the client of server %d expired", i+1)
				return
			}
			continue
		}
		path, data := sure, strconv.Itoa(n)
		opCtx, cancel := context.WithTimeout(context.Background(), loadTimeout)
		switch {
		case sure != "" && n%4 == 1:
			_, err = c.SetData(opCtx, path, []byte(data), -1)
		case sure != "" && n%16 == 2:
			data = noNode
			err = c.Delete(opCtx, path, -1)
		default:
			path = fmt.Sprintf("%s%d/%d", l.root, i, n)
			_, err = c.Create(opCtx, path, []byte(data), proto.WorldAnyone, client.Persistent)
		}
		cancel()
		sure = ""
		if l.note(i, path, data, err) && data != noNode {
			sure = path
		}
	}
}

// note keeps what came of a write and reports whether it was acknowledged.
func (l *load) note(i int, path, data string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.may[path] = []string{data}
		l.acked++
		if i >= 0 {
			l.by[i]++
		}
		close(l.more)
		l.more = make(chan struct{})
		return true
	case errors.Is(err, client.ErrConnectionLoss), errors.Is(err, context.DeadlineExceeded):
		if l.may[path] == nil {
			l.may[path] = []string{noNode}
		}
		l.may[path] = append(l.may[path], data)
		l.unknown++
	default:
		l.t.Errorf("%s = %q: %v", path, data, err)
	}
	return false
}

// await waits for n more acknowledged writes.
func (l *load) await(n int) {
	l.t.Helper()
	deadline := time.After(loadTimeout)
	l.mu.Lock()
	want := l.acked + n
	for l.acked < want {
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			l.t.Fatalf("%d writes were not acknowledged within %v", n, loadTimeout)
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// dialEnsemble returns a client of all addresses with a session; the test's end closes it.
func dialEnsemble(t *testing.T, addrs []string, onEvent func(client.Event)) *client.Client {
	t.Helper()
	c, err := client.New(strings.Join(addrs, ","), client.Options{SessionTimeout: loadSession, OnEvent: onEvent})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	must(t, c.WaitConnected(ctx))
	return c
}

// insist repeats an operation that may be repeated until it has an answer.
func insist(t *testing.T, c *client.Client, op func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	for {
		err := op(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, client.ErrConnectionLoss) {
			err = c.WaitConnected(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A keeper holds one session, with an ephemeral, a watch and a counter, for as long as the test, and nodes of
// all kinds that nobody touches.
type keeper struct {
	t       *testing.T
	l       *load
	root    string
	c       *client.Client // the session
	by      *client.Client // another one, which fires the watch
	id      proto.SessionID
	fired   chan client.Event
	number  int        // of the last sequential node
	zxid    proto.Zxid // of the last write
	carried map[string]znode
}

func startKeeper(t *testing.T, addrs []string, l *load) *keeper {
	t.Helper()
	return startKeeperBelow(t, "/keep", addrs, l)
}

func startKeeperBelow(t *testing.T, root string, addrs []string, l *load) *keeper {
	t.Helper()
	k := &keeper{t: t, l: l, root: root, fired: make(chan client.Event, 100), number: -1, carried: map[string]znode{}}
	k.c = dialEnsemble(t, addrs, func(ev client.Event) {
		if ev.State == client.StateExpired {
			t.Error("the kept session expired")
		}
	})
	k.by = dialEnsemble(t, addrs, nil)
	k.id = k.c.Session().ID
	for _, n := range []struct {
		path string
		mode client.CreateMode
	}{{"", client.Persistent}, {"/watched", client.Persistent}, {"/here", client.Ephemeral}, {"/count", client.Persistent},
		{"/container", client.Container}, {"/container/child", client.Persistent}, {"/emptied", client.Persistent}} {
		insist(t, k.c, func(ctx context.Context) error {
			_, err := k.c.Create(ctx, root+n.path, nil, proto.WorldAnyone, n.mode)
			return err
		})
	}
	readers := []proto.ACL{{Perms: proto.PermRead, Scheme: "world", ID: "anyone"}}
	for _, f := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, _, err := k.c.CreateTTL(ctx, root+"/ttl", []byte("t"), proto.WorldAnyone, client.PersistentWithTTL, time.Hour)
			return err
		},
		func(ctx context.Context) error {
			_, err := k.c.Create(ctx, root+"/emptied/child", nil, proto.WorldAnyone, client.Persistent)
			return err
		},
		func(ctx context.Context) error { return k.c.Delete(ctx, root+"/emptied/child", 0) },
		func(ctx context.Context) error {
			_, err := k.c.SetData(ctx, root+"/emptied", []byte("new"), 0)
			return err
		},
		func(ctx context.Context) error {
			_, err := k.c.SetACL(ctx, root+"/container/child", readers, -1)
			return err
		},
	} {
		insist(t, k.c, f)
	}
	for _, n := range []string{"/container", "/container/child", "/ttl", "/emptied", "/here"} {
		k.carried[root+n] = k.read(root + n)
	}
	k.check()
	return k
}

// read gives a node as the session sees it.
func (k *keeper) read(path string) (z znode) {
	k.t.Helper()
	insist(k.t, k.c, func(ctx context.Context) error {
		data, st, err := k.c.GetData(ctx, path)
		if err == nil {
			z.Data, z.Stat = string(data), st
			z.ACL, _, err = k.c.GetACL(ctx, path)
		}
		return err
	})
	return z
}

// arm sets the watch.
func (k *keeper) arm() {
	k.t.Helper()
	insist(k.t, k.c, func(ctx context.Context) error {
		_, _, err := k.c.GetDataW(ctx, k.root+"/watched", client.WatchChan(k.fired))
		return err
	})
}

// fire changes the watched node and waits for the event.
func (k *keeper) fire() {
	k.t.Helper()
	insist(k.t, k.by, func(ctx context.Context) error {
		_, err := k.by.SetData(ctx, k.root+"/watched", []byte("x"), -1)
		return err
	})
	deadline := time.After(loadTimeout)
	for {
		select {
		case ev := <-k.fired:
			switch ev.Type {
			case client.EventNone:
				continue
			case proto.EventDataChanged:
				return
			}
			k.t.Errorf("the watch got %v", ev)
			return
		case <-deadline:
			k.t.Fatalf("the watch got nothing; client at %s, %v", k.c.Server(), k.c.State())
		}
	}
}

// check uses all that the session has.
func (k *keeper) check() {
	k.t.Helper()
	k.arm()
	k.fire()
	insist(k.t, k.c, func(ctx context.Context) error {
		st, err := k.c.Exists(ctx, k.root+"/here")
		if err == nil && st.EphemeralOwner != int64(k.id) {
			k.t.Errorf("the ephemeral belongs to %#x, not to %#x", st.EphemeralOwner, k.id)
		}
		return err
	})
	for range 5 {
		insist(k.t, k.c, func(ctx context.Context) error {
			path, st, err := k.c.Create2(ctx, k.root+"/count/n-", []byte("n"), proto.WorldAnyone, client.PersistentSequential)
			if err != nil {
				return err
			}
			if st.Czxid <= k.zxid {
				k.t.Errorf("zxid 0x%x after 0x%x", st.Czxid, k.zxid)
			}
			k.zxid = st.Czxid
			n, err := strconv.Atoi(path[len(path)-10:])
			if err == nil && n <= k.number {
				k.t.Errorf("sequence number %d after %d", n, k.number)
			}
			k.number = n
			k.l.note(-1, path, "n", nil)
			return err
		})
	}
	for path, want := range k.carried {
		if got := k.read(path); !reflect.DeepEqual(got, want) {
			k.t.Errorf("%s is %+v, was %+v", path, got, want)
		}
	}
	if id := k.c.Session().ID; id != k.id {
		k.t.Errorf("the session is %#x, was %#x", id, k.id)
	}
}

// A znode is all that a client sees of one, and its path.
type znode struct {
	Data string
	Stat proto.Stat
	ACL  []proto.ACL
}

// readTree reads the tree by way of one server, after a sync.
func readTree(t *testing.T, addr string) map[string]znode {
	c := dialEnsemble(t, []string{addr}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	if err := c.Sync(ctx, "/"); err != nil {
		t.Errorf("%s: sync: %v", addr, err)
		return nil
	}
	tree := map[string]znode{}
	var mu sync.Mutex // guards tree and first
	var first error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	var visit func(path string)
	visit = func(path string) {
		slots <- struct{}{}
		var z znode
		data, stat, err := c.GetData(ctx, path)
		z.Data, z.Stat = string(data), stat
		var names []string
		if err == nil {
			z.ACL, _, err = c.GetACL(ctx, path)
		}
		if err == nil && stat.NumChildren > 0 {
			names, err = c.GetChildren(ctx, path)
		}
		<-slots
		mu.Lock()
		tree[path] = z
		if err != nil && first == nil {
			first = err
		}
		mu.Unlock()
		for _, n := range names {
			wg.Go(func() { visit(strings.TrimSuffix(path, "/") + "/" + n) })
		}
	}
	visit("/")
	wg.Wait()
	if first != nil {
		t.Errorf("%s: reading the tree: %v", addr, first)
	}
	return tree
}

// finish ends the load and compares what each server shows with the others and with what
// was acknowledged.
func (e *ensemble) finish(l *load, k *keeper) {
	e.t.Helper()
	l.stop()
	k.check()
	trees := make([]map[string]znode, len(e.members))
	var wg sync.WaitGroup
	for i, m := range e.members {
		wg.Go(func() { trees[i] = readTree(e.t, m.addr) })
	}
	wg.Wait()
	e.wantDigests()
	l.mu.Lock()
	defer l.mu.Unlock()
	e.t.Logf("%d writes acknowledged, by client %v, %d unanswered; %d nodes", l.acked, l.by, l.unknown, len(trees[0]))
	for i, n := range l.by {
		if n < 50 {
			e.t.Errorf("only %d writes were acknowledged through server %d", n, i+1)
		}
	}
	hurt := e.cutByJava()
	first := -1
	for i, m := range e.members {
		if hurt[m.id] != "" {
			e.t.Logf("server %d (%s) is not compared: a Java leader cut off what it had itself: %s", m.id, m.kind, hurt[m.id])
			continue
		}
		e.wantWrites(m, trees[i], l.may)
		if first >= 0 {
			e.wantSame(e.members[first], m, trees[first], trees[i])
		} else {
			first = i
		}
	}
	if first < 0 {
		e.t.Error("no server is left to be compared")
	}
}

var javaSyncs = regexp.MustCompile(`org\.apache\.zookeeper\.\S*LearnerHandler.*Synchronizing with Learner sid: (\d+) maxCommittedLog=0x([0-9a-f]+) ` +
	`minCommittedLog=0x[0-9a-f]+ lastProcessedZxid=0x([0-9a-f]+) peerLastZxid=0x([0-9a-f]+)`)

// cutByJava names the Java learners that a Java leader has told to cut off what is in its own tree, with the line that tells.
// A Java server that begins to lead may have applied proposals from its log which are not in its list of committed ones;
// it sends a learner that has them back to the end of that list, and never sends them again. Seen between two 3.8.0, after the
// leader of both had been killed; what they lost is lost without Zabra, too.
func (e *ensemble) cutByJava() map[int]string {
	hurt := map[int]string{}
	for _, m := range e.members {
		b, err := os.ReadFile(filepath.Join(m.dir, "log"))
		if err != nil {
			e.t.Errorf("log of server %d: %v", m.id, err)
		}
		for _, s := range javaSyncs.FindAllStringSubmatch(string(b), -1) {
			id, _ := strconv.Atoi(s[1])
			var zxids [3]uint64 // end of the list, of the tree, of the learner
			for i := range zxids {
				zxids[i], _ = strconv.ParseUint(s[2+i], 16, 64)
			}
			for _, learner := range e.members {
				if learner.id == id && learner.kind != zabra && zxids[0] < zxids[2] && zxids[2] <= zxids[1] {
					hurt[id] = s[0]
				}
			}
		}
	}
	return hurt
}

// TestJavaSyncLine: the line by which a Java leader says that it cuts too much is recognised.
func TestJavaSyncLine(t *testing.T) {
	line := "[LearnerHandler-/127.0.0.1:58730] INFO org.apache.zookeeper.server.quorum.LearnerHandler - Synchronizing with Learner sid: 1 " +
		"maxCommittedLog=0x400000146 minCommittedLog=0x300000001 lastProcessedZxid=0x40000014f peerLastZxid=0x40000014e"
	if s := javaSyncs.FindStringSubmatch(line); !slices.Equal(s[1:], []string{"1", "400000146", "40000014f", "40000014e"}) {
		t.Errorf("got %q", s)
	}
}

func (e *ensemble) wantWrites(m *member, tree map[string]znode, may map[string][]string) {
	var wrong []string
	for path, datas := range may {
		got := noNode
		if z, ok := tree[path]; ok {
			got = z.Data
		}
		if !slices.Contains(datas, got) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want one of %q", path, got, datas))
		}
	}
	e.complain(fmt.Sprintf("server %d (%s): not as acknowledged", m.id, m.kind), wrong)
}

func (e *ensemble) wantSame(ma, mb *member, a, b map[string]znode) {
	paths := map[string]bool{}
	for p := range a {
		paths[p] = true
	}
	for p := range b {
		paths[p] = true
	}
	var wrong []string
	for p := range paths {
		za, oka := a[p]
		zb, okb := b[p]
		if p == "/zookeeper/config" {
			za.Stat.Mtime, zb.Stat.Mtime = 0, 0 // each server's own: the node is made at start
		}
		if oka != okb || !reflect.DeepEqual(za, zb) {
			wrong = append(wrong, fmt.Sprintf("%s: %v %+v and %v %+v", p, oka, za, okb, zb))
		}
	}
	e.complain(fmt.Sprintf("servers %d (%s) and %d (%s) differ", ma.id, ma.kind, mb.id, mb.kind), wrong)
}

// complain reports the first few of what is wrong.
func (e *ensemble) complain(what string, wrong []string) {
	e.t.Helper()
	if len(wrong) == 0 {
		return
	}
	sort.Strings(wrong)
	e.t.Errorf("%s in %d places:\n%s", what, len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
}

// wantDigests compares the digests that servers remember of the same zxids, and wants no server to have seen a
// transaction after which its tree had another digest than the leader's.
func (e *ensemble) wantDigests() {
	e.t.Helper()
	seen := map[string]string{} // by zxid
	common := 0
	for _, m := range e.members {
		if m.stumbled() || m.fuzzy {
			continue // its digests are those of a tree to which some of what was in it was applied once more
		}
		if !strings.Contains(string(m.word("mntr")), "\nzk_digest_mismatches_count\t0\n") {
			e.t.Errorf("server %d (%s) has met transactions whose digest is not its own, or does not say", m.id, m.kind)
		}
		for line := range strings.Lines(string(m.word("hash"))) {
			zxid, digest, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok {
				continue
			}
			if have, ok := seen[zxid]; !ok {
				seen[zxid] = digest
			} else if common++; have != digest {
				e.t.Errorf("server %d (%s) has digest %s at zxid %s, another one %s", m.id, m.kind, digest, zxid, have)
			}
		}
	}
	e.t.Logf("%d digests compared", common) // servers keep one in 128 transactions since their start
}
