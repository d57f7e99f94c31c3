package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/config"
)

// Of two servers the one that its oracle allows goes on alone, be it as leader without its follower or as follower without
// its leader; without a yes it serves nobody.
func TestOracleOfTwo(t *testing.T) {
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint("oracle", i+1)) }
	say := func(i int, what string) {
		t.Helper()
		if err := os.WriteFile(path(i), []byte(what), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := newTestEnsembleWith(t, 2, func(o *Options) { o.Ensemble.OraclePath = path(int(o.ServerID) - 1) })
	check := func(paths ...string) {
		t.Helper()
		e.leader()
		e.wantEqual()
		for i, s := range e.servers {
			if s == nil {
				continue
			}
			c := e.dial(i)
			for _, p := range paths {
				if _, err := c.Exists(testContext(t), p); err != nil {
					t.Errorf("server %d: %s: %v", i+1, p, err)
				}
			}
		}
	}
	lead := e.leader() // the files do not exist yet: two are enough
	other := 1 - lead
	mustCreate(t, e.dial(lead), "/both", "x")

	say(lead, "1\n")
	time.Sleep(3 * oracleInterval) // it knows before
	c := e.dial(lead)
	e.stop(other)
	mustCreate(t, c, "/leader-alone", "x")
	if e.servers[lead].Mode() != "leader" {
		t.Error("it did not go on")
	}
	say(lead, "0\n")
	waitFor(t, func() bool { return e.servers[lead].Mode() == "" })
	say(lead, "1\n")
	waitFor(t, func() bool { return e.servers[lead].Mode() == "leader" })
	mustCreate(t, e.dial(lead), "/again", "x")
	e.start(other)
	check("/both", "/leader-alone", "/again")
	if e.servers[lead].Mode() != "leader" {
		t.Error("it does not lead any more")
	}

	say(lead, "0")
	say(other, "maybe")
	e.stop(lead)
	waitFor(t, func() bool { return e.servers[other].Mode() == "" })
	time.Sleep(5 * oracleInterval)
	if m := e.servers[other].Mode(); m != "" {
		t.Error("it serves without a yes, as", m)
	}
	say(other, "1")
	waitFor(t, func() bool { return e.servers[other].Mode() == "leader" })
	mustCreate(t, e.dial(other), "/follower-alone", "x")
	e.start(lead)
	check("/both", "/leader-alone", "/again", "/follower-alone")
}

// An oracle that has no say is told of.
func TestOracleWithoutTie(t *testing.T) {
	for servers, said := range map[string]bool{"server.1=a:1:2\nserver.2=b:1:2": false, "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2": true} {
		members, err := quorum.ParseConfig([]byte(servers))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		c := &config.Config{Ensemble: config.Ensemble{OraclePath: "/oracle"}}
		checkOracle(c, members, func(msg string, _ ...any) { got = msg })
		if (got != "") != said || said && !strings.Contains(got, "no effect while there are 3 participants") {
			t.Errorf("%s: %q", servers, got)
		}
	}
}

// What an oracle's file may hold, and what is said where it is none.
func TestOracleFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "oracle")
	ask := func() (bool, string) {
		o := &oracleFile{path: path, patience: time.Minute}
		yes, err := o.ask()
		if err == nil {
			return yes, ""
		}
		return yes, err.Error()
	}
	if yes, err := ask(); yes || !strings.Contains(err, "no such file") {
		t.Errorf("missing: %v, %q", yes, err)
	}
	for _, tt := range []struct {
		text string
		yes  bool
		err  string
	}{
		{"1", true, ""}, {"1\r\n", true, ""}, {"0\n", false, ""},
		{"", false, "is empty, and should hold 0 or 1"}, {"yes", false, "begins with 'y', and should hold 0 or 1"}, {" 1", false, "begins with ' '"},
	} {
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if yes, err := ask(); yes != tt.yes || (err == "") != (tt.err == "") || !strings.Contains(err, tt.err) {
			t.Errorf("%q: %v, %q", tt.text, yes, err)
		}
	}
	path = dir
	if yes, err := ask(); yes || !strings.Contains(err, "is a directory") {
		t.Errorf("directory: %v, %q", yes, err)
	}

	// A file system that hangs says no, and is asked once at a time.
	path = filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip("no named pipes here: ", err)
	}
	o := &oracleFile{path: path, patience: time.Millisecond}
	for range 3 {
		if yes, err := o.ask(); yes || err != errOracleHangs {
			t.Fatalf("hangs: %v, %v", yes, err)
		}
	}
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("1"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	o.patience = time.Minute
	if yes, err := o.ask(); !yes || err != nil {
		t.Fatalf("after it hung: %v, %v", yes, err)
	}
}
