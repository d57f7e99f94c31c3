//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

func init() {
	register(tour{name: "go-zookeeper", run: goZkTour})
}

// A goTour is the tour with the Go client; its steps are named after its sections.
type goTour struct {
	t       *testing.T
	tr      *transcript
	s       *server
	c       *zk.Conn
	section string
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func (g *goTour) connect(addr string) (*zk.Conn, <-chan zk.Event) {
	c, ev, err := zk.Connect([]string{addr}, 30*time.Second, zk.WithLogger(quiet{}))
	must(g.t, err)
	g.t.Cleanup(c.Close)
	if !waitState(ev, zk.StateHasSession) {
		g.t.Fatalf("%s: go-zookeeper got no session", g.s.kind)
	}
	return c, ev
}

// waitState takes session events until the state comes.
func waitState(ev <-chan zk.Event, s zk.State) bool {
	deadline := time.After(replyTimeout)
	for {
		select {
		case e, ok := <-ev:
			if !ok {
				return false
			}
			if e.Type == zk.EventSession && e.State == s {
				return true
			}
		case <-deadline:
			return false
		}
	}
}

func (g *goTour) put(step string, vals ...any) {
	var out []string
	for _, v := range vals {
		switch v := v.(type) {
		case nil:
			out = append(out, "ok")
		case error:
			out = append(out, "error "+v.Error())
		case *zk.Stat:
			if v == nil || *v == (zk.Stat{}) {
				out = append(out, "nostat")
				continue
			}
			out = append(out, fmt.Sprintf("stat{m+%d p+%d v=%d cv=%d av=%d eph=%v dl=%d nc=%d}", v.Mzxid-v.Czxid, v.Pzxid-v.Czxid,
				v.Version, v.Cversion, v.Aversion, v.EphemeralOwner != 0, v.DataLength, v.NumChildren))
		case []byte:
			out = append(out, quote(v))
		case []string:
			s := append([]string(nil), v...)
			sort.Strings(s)
			out = append(out, "["+strings.Join(s, ",")+"]")
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	g.tr.add(g.section+"/"+step, strings.Join(out, " "))
}

func goZkTour(t *testing.T, s *server, tr *transcript) {
	g := &goTour{t: t, tr: tr, s: s}
	g.c, _ = g.connect(s.addr)
	for _, sec := range []struct {
		name string
		run  func()
	}{{"call", g.calls}, {"multi", g.multis}, {"watch", g.watches}, {"auth", g.auths}, {"lock", g.locks}, {"session", g.sessions}} {
		g.section = sec.name
		sec.run()
	}
}

var openACL = zk.WorldACL(zk.PermAll)

func (g *goTour) calls() {
	c := g.c
	put := func(step string, vals ...any) { g.put(step, vals...) }
	for _, f := range []int32{0, zk.FlagEphemeral, zk.FlagSequence, zk.FlagEphemeral | zk.FlagSequence} {
		p, err := c.Create(fmt.Sprintf("/g%d", f), []byte("x"), f, openACL)
		put(fmt.Sprintf("create %d", f), p, err)
	}
	p, err := c.CreateContainer("/gc", []byte("x"), zk.FlagContainer, openACL)
	put("container", p, err)
	p, err = c.CreateTTL("/gt", []byte("x"), zk.FlagTTL, openACL, time.Minute)
	put("ttl", p, err)
	p, err = c.CreateTTL("/gts", []byte("x"), zk.FlagPersistentSequentialWithTTL, openACL, time.Minute)
	put("ttl sequential", p, err)
	p, err = c.CreateProtectedEphemeralSequential("/g0/lock-", []byte("x"), openACL)
	if i := strings.Index(p, "-lock-"); i >= 0 {
		p = "GUID" + p[i:]
	}
	put("protected", p, err)
	p, err = c.Create("/g0", nil, 0, openACL)
	put("exists", p, err)
	p, err = c.Create("/none/x", nil, 0, openACL)
	put("no parent", p, err)
	p, err = c.Create("/g1/x", nil, 0, openACL)
	put("below ephemeral", p, err)
	p, err = c.Create("/bad", nil, 0, nil)
	put("no acl", p, err)
	d, st, err := c.Get("/g0")
	put("get", d, st, err)
	d, st, err = c.Get("/none")
	put("get missing", d, st, err)
	st, err = c.Set("/g0", []byte("yy"), 0)
	put("set", st, err)
	st, err = c.Set("/g0", []byte("yy"), 0)
	put("set bad version", st, err)
	ok, st, err := c.Exists("/g0")
	put("exists true", ok, st, err)
	ok, st, err = c.Exists("/none")
	put("exists false", ok, st, err)
	kids, st, err := c.Children("/")
	put("children", kids, st, err)
	kids, st, err = c.Children("/none")
	put("children missing", kids, st, err)
	acl, st, err := c.GetACL("/g0")
	put("acl", fmt.Sprint(acl), st, err)
	st, err = c.SetACL("/g0", openACL, 0)
	put("set acl", st, err)
	st, err = c.SetACL("/g0", openACL, 0)
	put("set acl bad version", st, err)
	p, err = c.Sync("/g0")
	put("sync", p, err)
	put("delete not empty", c.Delete("/g0", -1))
	put("delete bad version", c.Delete("/gt", 7))
	put("delete", c.Delete("/gt", 0))
	put("delete missing", c.Delete("/gt", 0))
	st, err = c.IncrementalReconfig(nil, []string{"1"}, -1)
	put("reconfig", st, err)
	st, err = c.Reconfig([]string{"server.1=127.0.0.1:1:2;3"}, -1)
	put("reconfig full", st, err)
	// Many in flight.
	var wg sync.WaitGroup
	var mu sync.Mutex
	names := map[string]bool{}
	for range 200 {
		wg.Go(func() {
			if p, err := c.Create("/many-", nil, zk.FlagEphemeral|zk.FlagSequence, openACL); err == nil {
				mu.Lock()
				names[p] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	put("concurrent", len(names))
}

func (g *goTour) multis() {
	show := func(step string, rs []zk.MultiResponse, err error) {
		var out []any
		for _, r := range rs {
			out = append(out, "{", r.String, r.Stat, r.Error, "}")
		}
		g.put(step, append(out, err)...)
	}
	rs, err := g.c.Multi(&zk.CreateRequest{Path: "/m", Data: []byte("1"), Acl: openACL},
		&zk.CreateRequest{Path: "/m/s-", Acl: openACL, Flags: zk.FlagEphemeral | zk.FlagSequence},
		&zk.SetDataRequest{Path: "/m", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/m", Version: 1},
		&zk.CreateRequest{Path: "/m/x", Acl: openACL}, &zk.DeleteRequest{Path: "/m/x", Version: -1})
	show("all", rs, err)
	rs, err = g.c.Multi(&zk.CheckVersionRequest{Path: "/m", Version: 1}, &zk.DeleteRequest{Path: "/none", Version: -1}, &zk.SetDataRequest{Path: "/m", Version: -1})
	show("fails", rs, err)
	rs, err = g.c.Multi()
	show("empty", rs, err)
	kids, st, err := g.c.Children("/m")
	g.put("children", kids, st, err)
}

// got takes the event of a watch channel.
func got(ch <-chan zk.Event) string {
	select {
	case e := <-ch:
		return fmt.Sprintf("%v %v", e.Type, e.Path)
	case <-time.After(replyTimeout):
		return "nothing"
	}
}

func (g *goTour) watches() {
	c := g.c
	_, err := c.Create("/w", nil, 0, openACL)
	g.put("node", err)
	_, _, ex, err := c.ExistsW("/w/n")
	g.put("exists", err)
	_, _, ch, err := c.ChildrenW("/w")
	g.put("children", err)
	_, _, ge, err := c.GetW("/w")
	g.put("get", err)
	_, _, no, err := c.GetW("/w/none")
	g.put("get missing", no == nil, err)
	c.Create("/w/n", nil, 0, openACL)
	g.put("exists event", got(ex))
	g.put("children event", got(ch))
	c.Set("/w", []byte("1"), -1)
	g.put("get event", got(ge))
	_, _, ge, _ = c.GetW("/w/n")
	_, _, ch, _ = c.ChildrenW("/w/n")
	_, _, pa, _ := c.ChildrenW("/w")
	c.Delete("/w/n", -1)
	g.put("deleted data", got(ge))
	g.put("deleted children", got(ch))
	g.put("deleted parent", got(pa))
	o, _ := g.connect(g.s.addr)
	o.Create("/w/e", nil, zk.FlagEphemeral, openACL)
	_, _, ge, _ = c.GetW("/w/e")
	o.Close()
	g.put("ephemeral of closed session", got(ge))
}

func (g *goTour) auths() {
	o, _ := g.connect(g.s.addr)
	g.put("add", g.c.AddAuth("digest", []byte("bob:pw")))
	p, err := g.c.Create("/auth", []byte("x"), 0, zk.AuthACL(zk.PermAll))
	g.put("create", p, err)
	acl, _, err := g.c.GetACL("/auth")
	g.put("acl", fmt.Sprint(acl), err)
	_, _, err = o.Get("/auth")
	g.put("other", err)
	g.put("other add", o.AddAuth("digest", []byte("bob:pw")))
	d, _, err := o.Get("/auth")
	g.put("other again", d, err)
	p, err = o.Create("/digest", nil, 0, zk.DigestACL(zk.PermAll, "al", "pw"))
	g.put("digest", p, err)
	_, _, err = o.Get("/digest")
	g.put("digest get", err)
	g.put("bad scheme", o.AddAuth("nope", []byte("x")))
}

func (g *goTour) locks() {
	o, _ := g.connect(g.s.addr)
	a, b := zk.NewLock(g.c, "/lock", openACL), zk.NewLock(o, "/lock", openACL)
	g.put("lock", a.Lock())
	g.put("lock twice", a.Lock())
	done := make(chan error, 1)
	go func() { done <- b.Lock() }()
	waits := false
	for range 500 {
		if kids, _, _ := g.c.Children("/lock"); len(kids) == 2 {
			waits = true
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case <-done:
		waits = false
	default:
	}
	g.put("second waits", waits)
	g.put("unlock", a.Unlock())
	select {
	case err := <-done:
		g.put("second has it", err)
	case <-time.After(replyTimeout):
		g.put("second has it", "no")
	}
	g.put("second unlock", b.Unlock())
	g.put("unlock twice", b.Unlock())
	// Many holders, one at a time.
	inside, most := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 4 {
		c := g.c
		if i%2 == 0 {
			c = o
		}
		wg.Go(func() {
			for range 5 {
				l := zk.NewLock(c, "/many", openACL)
				if err := l.Lock(); err != nil {
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				l.Unlock()
			}
		})
	}
	wg.Wait()
	g.put("most inside", most)
}

func (g *goTour) sessions() {
	px := startProxy(g.t, g.s.addr)
	cut := func(b byte) {
		c, err := net.Dial("tcp", px.control)
		must(g.t, err)
		defer c.Close()
		c.Write([]byte{b})
		_, err = c.Read([]byte{0})
		must(g.t, err)
	}
	for _, p := range []string{"/s", "/s/d", "/s/same", "/s/gone"} {
		g.c.Create(p, nil, 0, openACL)
	}
	c, ev := g.connect(px.addr)
	id := c.SessionID()
	_, err := c.Create("/s/e", nil, zk.FlagEphemeral, openACL)
	g.put("ephemeral", err)
	_, _, d, _ := c.GetW("/s/d")
	_, _, same, _ := c.GetW("/s/same")
	_, _, gone, _ := c.GetW("/s/gone")
	_, _, fresh, _ := c.ExistsW("/s/new")
	_, _, never, _ := c.ExistsW("/s/never")
	_, _, kids, _ := c.ChildrenW("/s")
	cut('d')
	g.put("cut", waitState(ev, zk.StateDisconnected))
	g.c.Set("/s/d", []byte("2"), -1)
	g.c.Delete("/s/gone", -1)
	g.c.Create("/s/new", nil, 0, openACL)
	cut('u')
	g.put("back", waitState(ev, zk.StateHasSession))
	g.put("same session", c.SessionID() == id)
	g.put("missed data", got(d))
	g.put("missed deleted", got(gone))
	g.put("missed created", got(fresh))
	g.put("missed children", got(kids))
	ok, _, err := c.Exists("/s/e")
	g.put("ephemeral lives", ok, err)
	g.c.Set("/s/same", []byte("2"), -1)
	g.put("rearmed data", got(same))
	g.c.Create("/s/never", nil, 0, openACL)
	g.put("rearmed exists", got(never))
	c.Close()
	ok, _, err = g.c.Exists("/s/e")
	g.put("ephemeral gone", ok, err)
	_, _, err = c.Exists("/s")
	g.put("closed", errors.Is(err, zk.ErrClosing) || errors.Is(err, zk.ErrConnectionClosed))
}
