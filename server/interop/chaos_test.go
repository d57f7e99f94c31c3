//go:build interop

package interop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

var (
	soakFlag   = flag.Duration("interop.soak", 25*time.Second, "how long servers are killed, stopped and cut off")
	faultsFlag = flag.Uint64("interop.faults", 0, "seed of what happens to them; 0: drawn and told")
)

const (
	chaosClients   = 5
	chaosPace      = 4 * time.Millisecond // between the operations of one client
	chaosOpTimeout = 20 * time.Second
	expiryTimeout  = 30 * time.Second // for the last session of a dead client to be gone
)

// chaosConfig makes servers notice within about a second that a peer is lost.
var chaosConfig = map[string]string{"tickTime": "200", "initLimit": "25", "syncLimit": "5"}

// A chaos is an ensemble to which bad things happen, and clients who write down what they see.
type chaos struct {
	t   *testing.T
	e   *ensemble
	l   *lan // nil: the network stays whole
	rng *rand.Rand
	h   *history

	mu        sync.Mutex // guards the fields below
	lives     []*life
	sequences []sequence
	pairs     map[string]error // what became of a multi of two creates, by common prefix
	faults    map[string]int
}

// A life is one session of a client and what became of it.
type life struct {
	id        proto.SessionID
	ephemeral string
	created   bool // the ephemeral, for sure
	fate      string
}

// The fates of sessions.
const (
	fateClosed    = "closed"
	fateAbandoned = "abandoned"
	fateExpired   = "expired"
	fateAlive     = "alive"
)

// A sequence is one acknowledged sequential node.
type sequence struct {
	path      string
	number    int
	call, ret int64
}

// Servers of one ensemble are killed, stopped and cut off from each other and from their clients while those
// write, and what the clients have seen is judged: registers are linearizable, nothing acknowledged is lost,
// sequence numbers grow, sessions end once with their ephemerals, and all servers end with the same tree and log.
func TestPartitions(t *testing.T) {
	if subject() != zabra {
		t.Skip("an ensemble test is about Zabra")
	}
	path := zabraBinary(t)
	*binaryFlag = path
	inside, reason := alone(t, "-interop.zabra="+path)
	switch {
	case !inside && reason == "":
		return // it was done in there
	case !inside:
		leaveOut("an ensemble with partitions", tool("network namespaces: "+reason))
		t.Logf("no network namespaces here (%s): servers are killed and stopped, but not cut off from each other", reason)
	}
	seed := *faultsFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	dir, err := os.MkdirTemp("", "zabra-chaos-")
	must(t, err)
	t.Logf("-interop.faults=%d, files in %s", seed, dir)
	c := &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 0)), h: newHistory(), pairs: map[string]error{}, faults: map[string]int{}}
	if inside {
		c.l = newLAN(t, 3)
	}
	c.e = newEnsembleOn(t, c.l, chaosConfig, 0, zabra, zabra, zabra)
	for _, m := range c.e.members {
		m.server.dir = filepath.Join(dir, fmt.Sprintf("server-%d", m.id))
		m.become(t, zabra)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("failed: histories, data and logs are kept in %s; again: -interop.faults=%d", dir, seed)
			return
		}
		if os.Getenv("ZABRA_INTEROP_KEEP") == "" {
			must(t, os.RemoveAll(dir))
		}
	})
	c.run(*soakFlag)
}

func (c *chaos) run(howLong time.Duration) {
	t, e := c.t, c.e
	e.run(e.members...)
	load := startLoad(t, e.addrs())
	keep := startKeeper(t, e.addrs(), load)
	for _, path := range []string{"/r", "/s", "/e", "/m"} {
		insist(t, keep.c, func(ctx context.Context) error {
			_, err := keep.c.Create(ctx, path, nil, proto.WorldAnyone, client.Persistent)
			return err
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for i := range chaosClients {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
		done.Go(func() { c.client(ctx, i, rng) })
	}
	t.Cleanup(func() { cancel(); done.Wait() })
	for end := time.Now().Add(howLong); time.Now().Before(end) && !t.Failed(); {
		c.sleep(300, 1500)
		c.misfortune()
		e.leader()
		keep.check()
	}
	cancel()
	done.Wait()
	t.Logf("misfortunes: %v", c.faults)
	c.wantSessions()
	e.finish(load, keep)
	c.h.finish(t, keep.c, filepath.Dir(e.members[0].dir))
	c.wantSequences()
	c.wantPairs()
	for _, m := range e.members {
		m.end(t)
	}
	c.wantLogs()
}

func (c *chaos) sleep(least, most int) {
	time.Sleep(time.Duration(least+c.rng.IntN(most-least)) * time.Millisecond)
}

// misfortune lets one thing happen, and lets it pass.
func (c *chaos) misfortune() {
	ms := c.e.members
	n := len(ms)
	lead := slices.Index(ms, c.e.leader())
	victim := c.rng.IntN(n)
	if c.rng.IntN(2) == 0 {
		victim = lead
	}
	other := (victim + 1 + c.rng.IntN(n-1)) % n
	third := n - victim - other
	choices := 5
	if c.l != nil {
		choices = 13
	}
	// Outages of both sides of the time after which a peer is given up.
	outage := func() { c.sleep(100, 3500) }
	kill := func(is ...int) {
		for _, i := range is {
			ms[i].kill()
		}
	}
	rise := func(is ...int) {
		for _, i := range is {
			c.e.launch(ms[i])
		}
	}
	signal := func(i int, s syscall.Signal) { must(c.t, ms[i].cmd.Process.Signal(s)) }
	what := ""
	switch c.rng.IntN(choices) {
	case 0:
		what = "kill"
		kill(victim)
		outage()
		rise(victim)
	case 1:
		what = "kill two"
		kill(victim, other)
		outage()
		rise(victim)
		c.sleep(1, 500)
		rise(other)
	case 2:
		what = "kill all"
		kill(0, 1, 2)
		rise(2, 1, 0)
	case 3:
		what = "stop"
		signal(victim, syscall.SIGSTOP)
		outage()
		signal(victim, syscall.SIGCONT)
	case 4:
		what = "stop two, kill the third"
		signal(victim, syscall.SIGSTOP)
		signal(other, syscall.SIGSTOP)
		c.sleep(100, 1500)
		kill(third)
		signal(other, syscall.SIGCONT)
		c.sleep(100, 1500)
		signal(victim, syscall.SIGCONT)
		rise(third)
	case 5:
		what = "cut off"
		c.part([]int{victim}, []int{other, third})
		outage()
	case 6:
		what = "cut one link"
		c.part([]int{victim}, []int{other})
		outage()
	case 7:
		what = "mute: nothing of it reaches a peer"
		c.l.cut(victim, other)
		c.l.cut(victim, third)
		outage()
	case 8:
		what = "deaf: nothing reaches it from a peer"
		c.l.cut(other, victim)
		c.l.cut(third, victim)
		outage()
	case 9:
		what = "one direction of one link"
		c.l.cut(victim, other)
		outage()
	case 10:
		what = "answers to clients lost"
		c.l.cut(victim, clients)
		outage()
	case 11:
		what = "all apart"
		c.part([]int{victim}, []int{other, third})
		c.part([]int{other}, []int{third})
		outage()
	case 12:
		what = "killed while cut off, another killed after"
		c.part([]int{victim}, []int{other, third})
		c.sleep(100, 1500)
		kill(victim)
		rise(victim)
		c.sleep(100, 1500)
		c.l.heal()
		kill(other)
		rise(other)
	}
	if c.l != nil {
		c.l.heal()
	}
	c.faults[what]++
	c.t.Logf("%v: %s, server %d (then %d), the leader was %d", time.Since(c.h.began).Round(time.Millisecond), what, victim+1, other+1, lead+1)
}

// part cuts all links between the two sides.
func (c *chaos) part(a, b []int) {
	for _, i := range a {
		for _, j := range b {
			c.l.cut(i, j)
			c.l.cut(j, i)
		}
	}
}

// client lives through sessions, one after the other.
func (c *chaos) client(ctx context.Context, who int, rng *rand.Rand) {
	n := 0
	for ctx.Err() == nil {
		timeout := time.Duration(1000+rng.IntN(4000)) * time.Millisecond
		cl, err := client.New(strings.Join(c.e.addrs(), ","), client.Options{SessionTimeout: timeout, FailFast: true})
		if err != nil {
			c.t.Error(err)
			return
		}
		fate := c.live(ctx, who, cl, rng, &n)
		switch fate.fate {
		case fateAbandoned, fateAlive:
			cl.Abandon()
			if fate.fate == fateAlive && fate.id != 0 {
				fate.fate = fateAbandoned
			}
		case fateClosed:
			if cl.Close() != nil {
				fate.fate = fateAbandoned
			}
		case fateExpired:
			cl.Abandon()
		}
		if fate.id != 0 {
			c.mu.Lock()
			c.lives = append(c.lives, fate)
			c.mu.Unlock()
		}
	}
}

// live spends one session; n counts over all of a client.
func (c *chaos) live(ctx context.Context, who int, cl *client.Client, rng *rand.Rand, n *int) *life {
	x := &life{fate: fateAlive}
	tick := time.NewTicker(chaosPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return x
		case <-tick.C:
		}
		if cl.WaitConnected(ctx) != nil {
			if cl.State() == client.StateExpired {
				x.fate = fateExpired
				return x
			}
			continue
		}
		x.id = cl.Session().ID
		*n++ // here, since the next session must not make the nodes of this one, which may be there still
		opCtx, cancel := context.WithTimeout(context.Background(), chaosOpTimeout)
		err := c.act(opCtx, who, cl, rng, *n, x)
		cancel()
		switch {
		case err == nil, errors.Is(err, client.ErrConnectionLoss), errors.Is(err, proto.ErrSessionMoved):
		case errors.Is(err, proto.ErrSessionExpired):
			x.fate = fateExpired
			return x
		default:
			c.t.Errorf("client %d: %v", who, err)
		}
		switch rng.IntN(1000) {
		case 0:
			x.fate = fateAbandoned
			return x
		case 1:
			x.fate = fateClosed
			return x
		case 2, 3, 4:
			cl.DropConnection() // on to another server
		}
	}
}

// act does one thing in a session.
func (c *chaos) act(ctx context.Context, who int, cl *client.Client, rng *rand.Rand, n int, x *life) error {
	data := fmt.Sprintf("%d.%d", who, n)
	if x.ephemeral == "" {
		x.ephemeral = "/e/" + data
		_, err := cl.Create(ctx, x.ephemeral, nil, proto.WorldAnyone, client.Ephemeral)
		x.created = err == nil
		return err
	}
	switch rng.IntN(20) {
	case 0, 1:
		s := sequence{call: c.h.now()}
		path, err := cl.Create(ctx, "/s/n-", []byte(data), proto.WorldAnyone, client.PersistentSequential)
		if err != nil {
			return err
		}
		s.path, s.ret = path, c.h.now()
		if s.number, err = strconv.Atoi(path[max(0, len(path)-10):]); err != nil {
			return err
		}
		c.mu.Lock()
		c.sequences = append(c.sequences, s)
		c.mu.Unlock()
		return nil
	case 2:
		_, err := cl.Multi(ctx, client.CreateOp("/m/"+data+"a", nil, proto.WorldAnyone, client.Persistent), client.CreateOp("/m/"+data+"b", nil, proto.WorldAnyone, client.Persistent))
		c.mu.Lock()
		c.pairs["/m/"+data] = err
		c.mu.Unlock()
		return err
	}
	return c.h.step(ctx, who, cl, rng, data)
}

// wantSessions waits until no session of a dead client is left, and looks at what they leave.
func (c *chaos) wantSessions() {
	t := c.t
	fates := map[string]int{}
	for _, x := range c.lives {
		fates[x.fate]++
	}
	t.Logf("sessions: %v", fates)
	for _, m := range c.e.members {
		cl := dialEnsemble(t, []string{m.addr}, nil)
		deadline := time.Now().Add(expiryTimeout)
		for {
			var left []string
			insist(t, cl, func(ctx context.Context) (err error) {
				if err = cl.Sync(ctx, "/"); err == nil {
					left, err = cl.GetChildren(ctx, "/e")
				}
				return err
			})
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("server %d: ephemerals of dead sessions are left after %v: %v", m.id, expiryTimeout, left)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// wantSequences checks that a number that was given out before another was asked for is the smaller one.
func (c *chaos) wantSequences() {
	slices.SortFunc(c.sequences, func(a, b sequence) int { return a.number - b.number })
	oldestCall := int64(-1) // latest call of all smaller numbers
	var wrong []string
	for i, s := range c.sequences {
		if i > 0 && s.number == c.sequences[i-1].number {
			wrong = append(wrong, fmt.Sprintf("%d was given out twice", s.number))
		}
		if s.ret < oldestCall {
			wrong = append(wrong, fmt.Sprintf("%d was given out before a smaller one was asked for", s.number))
		}
		oldestCall = max(oldestCall, s.call)
	}
	c.t.Logf("%d sequence numbers", len(c.sequences))
	c.e.complain("sequence numbers", wrong)
	c.wantPaths("sequential nodes", func(names map[string]bool) (wrong []string) {
		for _, s := range c.sequences {
			if !names[s.path] {
				wrong = append(wrong, s.path+" was acknowledged and is not there")
			}
		}
		return wrong
	}, "/s")
}

// wantPairs checks that what one multi makes is there as a whole or not at all.
func (c *chaos) wantPairs() {
	c.wantPaths("pairs of one multi", func(names map[string]bool) (wrong []string) {
		for path, err := range c.pairs {
			a, b := names[path+"a"], names[path+"b"]
			switch {
			case a != b:
				wrong = append(wrong, path+" is there by half")
			case err == nil && !a:
				wrong = append(wrong, path+" was acknowledged and is not there")
			case refused(err) && a:
				wrong = append(wrong, fmt.Sprintf("%s was refused (%v) and is there", path, err))
			}
		}
		return wrong
	}, "/m")
}

func (c *chaos) wantPaths(what string, judge func(names map[string]bool) []string, parent string) {
	cl := dialEnsemble(c.t, c.e.addrs(), nil)
	names := map[string]bool{}
	insist(c.t, cl, func(ctx context.Context) error {
		children, err := cl.GetChildren(ctx, parent)
		for _, n := range children {
			names[parent+"/"+n] = true
		}
		return err
	})
	c.e.complain(what, judge(names))
}

// loggedTxn finds in a line of a dump what wantLogs looks at.
var loggedTxn = regexp.MustCompile(`^{"hdr": {"session": "([0-9a-fx-]+)", "cxid": -?[0-9]+, "zxid": "0x([0-9a-f]+)", "time": [0-9]+, "type": "([^"]+)"`)

// wantLogs compares the logs of the servers, which have ended, transaction by transaction, and looks for the end
// of each session in them.
func (c *chaos) wantLogs() {
	t := c.t
	type entry struct {
		session, kind, text string
		server              int
	}
	txns := map[uint64]entry{}
	both := 0
	for _, m := range c.e.members {
		out, err := exec.Command(zabraBinary(t), "dump", filepath.Join(m.dir, "data", "zabra", "wal")).Output()
		if err != nil {
			t.Errorf("server %d: dump: %v", m.id, err)
			continue
		}
		for line := range strings.Lines(string(out)) {
			_, text, _ := strings.Cut(strings.TrimSpace(line), " {")
			text = "{" + text
			found := loggedTxn.FindStringSubmatch(text)
			if found == nil {
				t.Errorf("server %d: strange line in the dump of its log: %s", m.id, line)
				return
			}
			zxid, err := strconv.ParseUint(found[2], 16, 64)
			must(t, err)
			if have, ok := txns[zxid]; !ok {
				txns[zxid] = entry{found[1], found[3], text, m.id}
			} else if both++; have.text != text {
				t.Errorf("zxid 0x%x is in the log of server %d as\n%s\nand of server %d as\n%s", zxid, have.server, have.text, m.id, text)
			}
		}
	}
	if both == 0 {
		t.Error("no transaction is in two logs")
	}
	born, ended := map[string]bool{}, map[string]uint64{}
	for _, zxid := range slices.Sorted(maps.Keys(txns)) {
		x := txns[zxid]
		if x.kind == "error" {
			continue
		}
		if before := ended[x.session]; before != 0 {
			t.Errorf("session %s ended at 0x%x and has at 0x%x\n%s", x.session, before, zxid, x.text)
		}
		switch x.kind {
		case "createSession":
			born[x.session] = true
		case "closeSession":
			ended[x.session] = zxid
		}
	}
	for _, x := range c.lives {
		if id := fmt.Sprintf("0x%x", uint64(x.id)); born[id] && ended[id] == 0 {
			t.Errorf("session %s was %s, and no log tells of its end", id, x.fate)
		}
	}
	t.Logf("%d transactions in the logs, %d comparisons; %d sessions began, %d ended", len(txns), both, len(born), len(ended))
}
