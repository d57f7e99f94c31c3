package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"zabra.dev/zabra/server/config"
)

// stablePorts gives free ports of the loopback address that the system gives to no outgoing connection.
func stablePorts(t *testing.T, n int) (list []int) {
	t.Helper()
	for range 10000 {
		if len(list) == n {
			return list
		}
		p := 12000 + rand.IntN(18000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		defer l.Close()
		list = append(list, p)
	}
	t.Fatal("no free ports")
	return nil
}

// tcpEnsemble is a number of servers in this process that reach each other over TCP, as their zoo.cfg says.
type tcpEnsemble struct {
	*testEnsemble
	lines string // server.N
	ports []int  // quorum and election port of each
}

func newTCPEnsemble(t *testing.T, voters int) *tcpEnsemble {
	e := &tcpEnsemble{testEnsemble: &testEnsemble{t: t, servers: make([]*Server, voters)}, ports: stablePorts(t, 2*voters)}
	for i := range voters {
		e.dirs = append(e.dirs, t.TempDir())
		e.lines += fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", i+1, e.ports[2*i], e.ports[2*i+1])
	}
	return e
}

// options are those of server i with more lines in its zoo.cfg.
func (e *tcpEnsemble) options(i int, more string) (Options, error) {
	e.t.Helper()
	cfg := filepath.Join(e.dirs[i], "zoo.cfg")
	writeFile(e.t, cfg, "tickTime=200\ninitLimit=50\nsyncLimit=20\npreAllocSize=1024\nclientPortAddress=127.0.0.1\nclientPort=0\n4lw.commands.whitelist=*\n"+
		"dataDir="+filepath.Join(e.dirs[i], "data")+"\n"+e.lines+more)
	writeFile(e.t, filepath.Join(e.dirs[i], "data", "myid"), fmt.Sprintln(i+1))
	c, _, err := config.Load(cfg, nil)
	if err != nil {
		return Options{}, err
	}
	if _, err := c.Storage.PrepareDirs(); err != nil {
		return Options{}, err
	}
	o := FromConfig(c)
	o.NumLoops = 1
	return o, EnsembleFromConfig(&o, c, slog.New(slog.DiscardHandler))
}

func (e *tcpEnsemble) start(i int, more string) *Server {
	e.t.Helper()
	o, err := e.options(i, more)
	if err != nil {
		e.t.Fatal(err)
	}
	if len(o.Listen) == 0 {
		o.Listen = testOptions(e.t, e.dirs[i]).Listen
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
	return s
}

func tlsLines(t *testing.T, more string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("certs", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	return "ssl.quorum.keyStore.location=" + filepath.Join(dir, "server.pem") + "\nssl.quorum.trustStore.location=" + filepath.Join(dir, "ca.pem") + "\n" + more
}

// Servers speak TLS with each other on both ports, and an ensemble goes from plain to TLS one server at a time.
func TestEnsembleTLS(t *testing.T) {
	e := newTCPEnsemble(t, 3)
	on, both, plainBoth := tlsLines(t, "sslQuorum=true\n"), tlsLines(t, "sslQuorum=true\nportUnification=true\n"), tlsLines(t, "portUnification=true\n")
	steps := [][]string{{plainBoth, plainBoth, plainBoth}, {both, plainBoth, plainBoth}, {both, both, plainBoth}, {both, both, both}, {on, both, both}, {on, on, both}, {on, on, on}}
	for n, step := range steps {
		for i := range e.servers {
			if n > 0 && step[i] == steps[n-1][i] {
				continue
			}
			if e.servers[i] != nil {
				e.stop(i)
			}
			e.start(i, step[i])
		}
		lead := e.leader()
		e.fill(lead, 3, fmt.Sprintf("step%d-", n))
		e.fill((lead+1)%3, 3, fmt.Sprintf("step%d-too-", n))
		e.wantEqual()
	}
}

// A server whose certificate is that of another host, or that speaks no TLS, is not let in; the others go on.
func TestEnsembleTLSStrangers(t *testing.T) {
	e := newTCPEnsemble(t, 3)
	on := tlsLines(t, "sslQuorum=true\n")
	e.start(0, on)
	e.start(1, on)
	lead := e.leader()
	dir, err := filepath.Abs(filepath.Join("certs", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"", on + "ssl.quorum.keyStore.location=" + filepath.Join(dir, "elsewhere.pem") + "\n"} {
		s := e.start(2, more)
		e.fill(lead, 5, fmt.Sprintf("n%d-", len(more)))
		waitFor(t, func() bool { return s.figures.Counter("looking_count").Value() > 0 })
		e.fill((lead+1)%2, 5, fmt.Sprintf("m%d-", len(more)))
		if m := s.Mode(); m != "" {
			t.Errorf("a stranger is %s", m)
		}
		e.stop(2)
	}
	e.start(2, on)
	e.leader()
	e.wantEqual()
}

// Stores that are no good are told at the start, by the name of the key.
func TestEnsembleTLSBadStores(t *testing.T) {
	e := newTCPEnsemble(t, 2)
	for more, want := range map[string]string{
		"sslQuorum=true\n":       "ssl.quorum.keyStore.location not specified",
		"portUnification=true\n": "ssl.quorum.keyStore.location not specified",
		"sslQuorum=true\nssl.quorum.keyStore.location=/nowhere.jks\n":              "/nowhere.jks",
		tlsLines(t, "sslQuorum=true\nssl.quorum.trustStore.location=/nowhere.p12"): "/nowhere.p12",
	} {
		_, err := e.options(0, more)
		var ce *config.Error
		if !errors.As(err, &ce) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", more, err)
		}
	}
}
