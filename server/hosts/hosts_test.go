package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeSSH runs the command on this machine, in the directory of the host, as ssh does in the home directory there.
const fakeSSH = `#!/bin/sh
while [ "$1" != -- ]; do printf '%s ' "$1" >>"$FAKE/options"; shift; done
shift
host=$1
shift
[ -d "$FAKE/$host" ] || { echo "ssh: Could not resolve hostname $host" >&2; exit 255; }
cd "$FAKE/$host" && exec sh -c "$*"
`

// fakeServer is zkServer.sh of a host whose server is the files mode and up in its directory. After a leader has
// stopped, the host that next names leads, as soon as it is asked. A server that was started serves from the second question on.
const fakeServer = `#!/bin/sh
host=$(basename "$PWD")
say() { echo "$host $*" >>../log; }
echo "Using config: $2" >&2
[ -e broken ] && [ "$1" != status ] && { echo "Starting zookeeper ... FAILED TO START"; exit 1; }
case $1 in
status)
	if [ -e starting ]; then mv starting up; echo "Error contacting service. It is probably not running."; exit 1; fi
	[ -e up ] || { echo "Error contacting service. It is probably not running."; exit 1; }
	[ -e ../next ] && [ "$(cat ../next)" = "$host" ] && { echo leader >mode; rm ../next; }
	echo "Client port found: 2181."; echo "Mode: $(cat mode)" ;;
stop) say stop "$2"; rm -f up; echo "Stopping zookeeper ... STOPPED" ;;
start) say start "$2"; touch up; echo "Starting zookeeper ... STARTED" ;;
restart)
	say restart "$2"; rm -f up; touch starting
	[ "$(cat mode)" = leader ] && { echo follower >mode; cat heir >../next; }
	echo "Stopping zookeeper ... STOPPED"; echo "Starting zookeeper ... STARTED" ;;
esac
`

// A bench is a set of hosts below dir.
type bench struct {
	t      *testing.T
	dir    string
	script string
}

func newBench(t *testing.T, modes ...string) *bench {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell to stand in for hosts")
	}
	b := &bench{t: t, dir: t.TempDir()}
	b.script = filepath.Join(b.dir, "it's a $dir", "zkServer.sh")
	b.write("bin/ssh", fakeSSH)
	b.write("it's a $dir/zkServer.sh", fakeServer)
	for i, mode := range modes {
		host := fmt.Sprintf("h%d", i+1)
		b.write(host+"/mode", mode+"\n")
		b.write(host+"/up", "")
		b.write(host+"/heir", fmt.Sprintf("h%d\n", (i+1)%len(modes)+1))
	}
	b.write("hosts", "h1 conf/zoo.cfg\nh2 /a dir/it's; rm -r *.cfg\nh3\n")
	t.Setenv("FAKE", b.dir)
	t.Setenv("PATH", filepath.Join(b.dir, "bin")+":"+os.Getenv("PATH"))
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// log returns what the servers were told, and forgets it.
func (b *bench) log() []string {
	b.t.Helper()
	path := filepath.Join(b.dir, "log")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func (b *bench) run(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	var out, errOut bytes.Buffer
	args = append([]string{"-f", filepath.Join(b.dir, "hosts"), "-script", b.script}, args...)
	code = run(ctx, args, &program{pollTime: time.Millisecond, stdout: &out, stderr: &errOut})
	return out.String(), errOut.String(), code
}

// expect runs a command and compares what it says and what the servers were told.
func (b *bench) expect(code int, out, errOut string, log []string, args ...string) {
	b.t.Helper()
	gotOut, gotErr, gotCode := b.run(b.t.Context(), args...)
	if gotOut != out || gotErr != errOut || gotCode != code {
		b.t.Errorf("%v: exit %d, want %d\n%s--- want\n%s--- standard error\n%s--- want\n%s", args, gotCode, code, gotOut, out, gotErr, errOut)
	}
	got := b.log()
	if slices.Contains(args, "start") || slices.Contains(args, "stop") {
		slices.Sort(got) // they go to all hosts at once
	}
	if !slices.Equal(got, log) {
		b.t.Errorf("%v: the servers were told %q, want %q", args, got, log)
	}
}

const odd = "/a dir/it's; rm -r *.cfg"

// Words reach zkServer.sh as they are, whatever a shell would make of them; a path that is missing stays missing.
func TestStartStopStatus(t *testing.T) {
	b := newBench(t, "follower", "leader", "observer")
	b.expect(0, "h1  conf/zoo.cfg              follower\nh2  "+odd+"  leader\nh3                            observer\n", "", nil, "status")
	b.expect(0, "h1 conf/zoo.cfg: Stopping zookeeper ... STOPPED\nh2 "+odd+": Stopping zookeeper ... STOPPED\nh3: Stopping zookeeper ... STOPPED\n", "",
		[]string{"h1 stop conf/zoo.cfg", "h2 stop " + odd, "h3 stop "}, "stop")
	out, errOut, code := b.run(t.Context(), "status")
	if code != 1 || strings.Count(out, "not serving: Error contacting service. It is probably not running.\n") != 3 || !strings.Contains(errOut, "h3 does not serve") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	b.expect(0, "h1 conf/zoo.cfg: Starting zookeeper ... STARTED\nh2 "+odd+": Starting zookeeper ... STARTED\nh3: Starting zookeeper ... STARTED\n", "",
		[]string{"h1 start conf/zoo.cfg", "h2 start " + odd, "h3 start "}, "start")
	options, err := os.ReadFile(filepath.Join(b.dir, "options"))
	if err != nil || !strings.Contains(string(options), "-o BatchMode=yes -o ConnectTimeout=10 ") {
		t.Errorf("options of ssh: %q, %v", options, err)
	}
	b.run(t.Context(), "-o", "Port=2222", "status")
	if options, err = os.ReadFile(filepath.Join(b.dir, "options")); err != nil || !strings.Contains(string(options), "-o Port=2222 ") {
		t.Errorf("options of ssh: %q, %v", options, err)
	}
}

// The leader comes last, each server serves again before the next one goes down.
func TestRestart(t *testing.T) {
	b := newBench(t, "leader", "follower", "observer")
	b.expect(0, "h2 "+odd+" (follower): restart\nh2 "+odd+": follower, all serve\nh3 (observer): restart\nh3: observer, all serve\n"+
		"h1 conf/zoo.cfg (leader): restart\nh1 conf/zoo.cfg: follower, all serve\n", "",
		[]string{"h2 restart " + odd, "h3 restart ", "h1 restart conf/zoo.cfg"}, "restart")
	if mode, err := os.ReadFile(filepath.Join(b.dir, "h2", "mode")); err != nil || string(mode) != "leader\n" {
		t.Errorf("h2 is %s, %v", mode, err)
	}
	// Where another server has become the leader meanwhile, that one comes last.
	b.write("h3/heir", "h3\n")
	b.expect(0, "h1 conf/zoo.cfg (follower): restart\nh1 conf/zoo.cfg: follower, all serve\nh3 (observer): restart\nh3: observer, all serve\n"+
		"h2 "+odd+" (leader): restart\nh2 "+odd+": follower, all serve\n", "",
		[]string{"h1 restart conf/zoo.cfg", "h3 restart ", "h2 restart " + odd}, "restart")
}

// Nothing is restarted where that could cost the quorum, and nothing more after a failure.
func TestRestartStops(t *testing.T) {
	b := newBench(t, "leader", "follower", "follower")
	b.write("hosts", "h1\nh2\nh3\nh4\n")
	out, errOut, code := b.run(t.Context(), "restart")
	if code != 1 || out != "" || !strings.Contains(errOut, "nothing was restarted: h4 does not serve (ssh: exit status 255: ssh: Could not resolve hostname h4)") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	b.write("hosts", "h2\nh3\n")
	if _, errOut, code = b.run(t.Context(), "restart"); code != 1 || !strings.Contains(errOut, "0 of the servers lead") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	b.write("hosts", "h1\nh2\nh3\n")
	b.write("h3/broken", "")
	out, errOut, code = b.run(t.Context(), "restart")
	if code != 1 || !strings.Contains(out, "h3: exit code 1\n  Starting zookeeper ... FAILED TO START\n") ||
		!strings.HasSuffix(errOut, "h3 did not restart; these are as they were: h1\n") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if got := b.log(); !slices.Equal(got, []string{"h2 restart "}) {
		t.Errorf("%q", got)
	}
	if err := os.Remove(filepath.Join(b.dir, "h3", "broken")); err != nil {
		t.Fatal(err)
	}
	// One that does not come back in time is the last one, too.
	if err := os.Remove(filepath.Join(b.dir, "h1", "heir")); err != nil {
		t.Fatal(err)
	}
	b.write("h1/heir", "nobody\n")
	out, errOut, code = b.run(t.Context(), "-wait", "500ms", "restart")
	if code != 1 || !strings.Contains(errOut, "after 500ms: 0 of the servers lead") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.write("h1/mode", "leader\n")
	b.log()
	if _, errOut, code = b.run(ctx, "restart"); code != 1 || !strings.Contains(errOut, "canceled; these are as they were: ") || b.log() != nil {
		t.Errorf("interrupted: exit %d\n%s", code, errOut)
	}
}

func TestParseList(t *testing.T) {
	got, err := ParseList("# servers\n\n u@a \r\n\tb\t /x y/zoo.cfg \n b /z #1\n")
	want := []Host{{"u@a", ""}, {"b", "/x y/zoo.cfg"}, {"b", "/z #1"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                "no server",
		"# none\n":        "no server",
		"a\n-oProxy=x y":  "line 2",
		"a c\n\nb\na   c": "line 4: a c stands in line 1",
	} {
		if _, err := ParseList(text); !errors.Is(err, ErrList) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBadCommandLine(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Usage: zabra hosts"},
		{[]string{"burn"}, "Usage: zabra hosts"},
		{[]string{"stop", "h1"}, "Usage: zabra hosts"},
		{[]string{"-wait", "x", "stop"}, "-wait"},
		{[]string{"-f", "none", "stop"}, "-f: open none"},
		{[]string{"-f", filepath.Join(b.dir, "empty"), "stop"}, "no server in it"},
	} {
		b.write("empty", "\n")
		if _, errOut, code := b.run(t.Context(), c.args...); code != exitUsage || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, errOut)
		}
	}
}

// Without ssh that is said, once per server.
func TestNoSSH(t *testing.T) {
	b := newBench(t, "leader")
	b.write("hosts", "h1\n")
	t.Setenv("PATH", t.TempDir())
	if out, _, code := b.run(t.Context(), "stop"); code != 1 || !strings.Contains(out, "h1: ssh: ") {
		t.Errorf("exit %d, %s", code, out)
	}
}
