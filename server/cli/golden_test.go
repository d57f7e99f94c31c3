package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// The golden files are transcripts of the original. Each command is given to Main, and
// streams and exit code are compared, without what differs from run to run.

// A transcript is one command of a golden file.
type transcript struct {
	command  string // without the program and -server
	out, err []string
	exit     int
}

func readTranscripts(t *testing.T, name string) (all []transcript) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if command, ok := strings.CutPrefix(line, "$ zkCli.sh -server HOST "); ok {
			all = append(all, transcript{command: command})
			continue
		}
		if line == "" {
			continue
		}
		tr := &all[len(all)-1]
		switch {
		case strings.HasPrefix(line, "[out] "):
			tr.out = append(tr.out, line[len("[out] "):])
		case strings.HasPrefix(line, "[err] "):
			tr.err = append(tr.err, line[len("[err] "):])
		default:
			if _, err := fmt.Sscanf(line, "[exit %d]", &tr.exit); err != nil {
				t.Fatalf("%s: %q", name, line)
			}
		}
	}
	return all
}

// varying is what two runs do not have in common.
var varying = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(Zxid|ephemeralOwner) = 0x[0-9a-f]+`), "$1 = HEX"},
	{regexp.MustCompile(`(?m)^([cm]time) = \w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}$`), "$1 = DATE"},
	{regexp.MustCompile(`(?m)^(ZooKeeper CLI version: ).*$`), "${1}VERSION"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST"},
	{regexp.MustCompile(`zxid: -?\d+`), "zxid: N"},
}

// regexpPrompt is a prompt of any state and number.
var regexpPrompt = regexp.MustCompile(`\[zk: [^]]*\] `)

func normalise(s string) string {
	for _, v := range varying {
		s = v.what.ReplaceAllString(s, v.with)
	}
	return s
}

// lines normalises an output, and leaves out events, which the original prints anywhere, and
// what its environment adds.
func lines(all []string) (kept []string) {
	for _, line := range all {
		switch {
		case line == "", line == "WATCHER::", line == "/usr/bin/java", strings.HasPrefix(line, "WatchedEvent "):
		default:
			kept = append(kept, normalise(line))
		}
	}
	return kept
}

// run gives a one-shot command to Main.
func run(addr string, args ...string) (out, err string, exit int) {
	var o, e bytes.Buffer
	exit = Main(append([]string{"-server", addr, "-timeout", "10000"}, args...), strings.NewReader(""), &o, &e)
	return o.String(), e.String(), exit
}

// replay gives every command of a golden file to Main, and compares what comes of it except
// for those in skip.
func replay(t *testing.T, addr, name string, skip ...string) {
	for _, tr := range readTranscripts(t, name) {
		out, err, exit := run(addr, splitLine(tr.command)...)
		if slices.Contains(skip, tr.command) {
			continue
		}
		gotOut, gotErr := lines(strings.Split(out, "\n")), lines(strings.Split(err, "\n"))
		if wantOut := lines(tr.out); !slices.Equal(gotOut, wantOut) {
			t.Errorf("%s: standard output\n got %q\nwant %q", tr.command, gotOut, wantOut)
		}
		if wantErr := lines(tr.err); !slices.Equal(gotErr, wantErr) {
			t.Errorf("%s: standard error\n got %q\nwant %q", tr.command, gotErr, wantErr)
		}
		if exit != tr.exit {
			t.Errorf("%s: exit code %d, want %d", tr.command, exit, tr.exit)
		}
	}
}

// plant makes the znodes that the golden files start from.
func plant(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	create := func(path, data string, mode client.CreateMode) {
		t.Helper()
		if _, err := c.Create(ctx, path, []byte(data), proto.WorldAnyone, mode); err != nil {
			t.Fatal(err)
		}
	}
	create("/app", "app data", client.Persistent)
	create("/app/config", "k=v", client.Persistent)
	create("/app/workers", "", client.Persistent)
	for range 3 {
		create("/app/workers/w-", "", client.PersistentSequential)
	}
	create("/queue", "", client.Persistent)
}

// testCases replays many small commands, most of them wrong in one way or another, recorded
// from a distribution build of 3.8.0. The server must be fresh, as testGolden's, and enforce quotas.
func testCases(t *testing.T, addr string) {
	replay(t, addr, "one-shot-cases-3.8.0.txt",
		"get", "get -s", "set", "set /a", // 3.9 has more flags, and lists them
		"setAcl -R /a world:anyone:cdrwa", // 3.8 prints two errors on one line
		"addauth digest",                  // 3.8 does not wait for the refusal
		"delete /u 5",                     // 3.8 deletes whatever version there is
	)
}

// testGolden runs all golden files against a standalone server that has no znodes but its own,
// TTL nodes, no reconfiguration, and a session timeout of 10 s or more.
func testGolden(t *testing.T, addr string) {
	plant(t, addr)
	t.Run("3.10", func(t *testing.T) {
		replay(t, addr, "one-shot-3.10.0-SNAPSHOT.txt",
			"config", "config -c", "config -s", // an ensemble's; TestConfig has them
			"-h", // prints help here
		)
	})
	t.Run("interactive", func(t *testing.T) { replayInteractive(t, addr) })
	t.Run("3.8", func(t *testing.T) {
		replay(t, addr, "one-shot-3.8.0.txt",
			"help", "get -b /app", // 3.9 has more commands and flags
		)
	})
}

// interactiveInput is what the recorded session was fed with, as far as its output tells.
const interactiveInput = `ls /
create /i v1
get -s -w /i
set /i v2
create -e /i/e
getEphemerals
ls -w /i
delete /i/e
addWatch -m PERSISTENT /i
set /i v3
set /i v4
removewatches /i
create "/i/with space" "a b c"
ls /i
get /i x
stat /i
history
redo 0
printwatches
printwatches off
printwatches
set /i quiet
deleteall /i
bogus
connect HOST
ls /
close
ls /
`

// replayInteractive compares a whole session with the recorded one, events and all: there
// the original had time to print them where they belong.
func replayInteractive(t *testing.T, addr string) {
	text, err := os.ReadFile("testdata/interactive-3.10.0-SNAPSHOT.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(text), "/usr/bin/java\n")
	want = regexp.MustCompile(`(?m)^Nov 21.*\nWARNING: .*\n`).ReplaceAllString(want, "")
	want = strings.Replace(want, "(CONNECTING)", "(CONNECTED)", 1) // the original does not wait
	want = strings.TrimSuffix(want, "[exit 0]\n")

	var got bytes.Buffer
	input := strings.ReplaceAll(interactiveInput, "HOST", addr)
	if exit := Main([]string{"-server", addr, "-timeout", "10000"}, strings.NewReader(input), &got, &got); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	if g, w := normalise(got.String()), normalise(want); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}
