//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
)

const debianZkCli = "/usr/share/zookeeper/bin/zkCli.sh"

func init() {
	register(
		tour{name: "zkCli", needs: []tool{toolZkCli}, run: zkCliSession},
		tour{name: "zkCli-oneshot", needs: []tool{toolZkCli}, run: zkCliOneShots},
	)
}

// shellCommands go through one shell, one after the other.
var shellCommands = []string{
	"ls /", "ls -s /", "ls -R /", "ls /none", "ls", "ls no",
	"create /a", "create /a x", "create /a/b 'b data'", "create -s /a/s- d", "create -e /a/e d", "create -s -e /a/es- d", "create -c /a/c d", "create -t 60000 /a/t d",
	"create -t 0 /a/t0 d", "create -c -s /a/cs d", "create /none/x d", "create /a/e/x d", "create /bad/ d", "create", "create -x /y",
	"create /acl d world:anyone:cdrwa", "create /acl2 d world:anyone:r", "create /acl3 d nope:x:r", "create /aclauth d auth::cdrwa",
	"get /a", "get -s /a/b", "get /none", "get -x /a", "get /a/c",
	"set /a new", "set -s /a new", "set -v 1 /a new", "set -v 99 /a new", "set /none x", "set /a",
	"stat /a", "stat /none", "getAcl /a", "getAcl -s /acl", "getAcl /none", "setAcl /a world:anyone:cdrwa", "setAcl -s /a world:anyone:cdrwa", "setAcl -v 99 /a world:anyone:cdrwa",
	"setAcl -R /a world:anyone:cdrwa", "setAcl /a nope:x:r", "setAcl /none world:anyone:r",
	"set /acl2 x", "get /acl2", "delete /acl2", "addauth digest bob:pw", "create /aclauth d auth::cdrwa", "getAcl /aclauth", "whoami",
	"sync /a", "sync /none", "getAllChildrenNumber /a", "getAllChildrenNumber /none", "getEphemerals", "getEphemerals /a", "getEphemerals /none",
	"get -w /a", "set /a watched", "ls -w /a", "create /a/w x", "stat -w /a/w", "delete /a/w", "addWatch /a", "addWatch -m PERSISTENT /a/b", "addWatch -m x /a/b",
	"set /a again", "removewatches /a", "removewatches /none", "printwatches off", "printwatches",
	"setquota -n 5 /a", "listquota /a", "setquota -b 100 /a", "listquota /a", "setquota -N 50 /a", "setquota -B 1000 /a", "listquota /a", "setquota -n 5 /a/b", "setquota -n 5 /none",
	"listquota /none", "delquota -n /a", "listquota /a", "delquota /a", "listquota /a", "delquota /a",
	"delete /a", "delete -v 99 /a/b", "delete -v 0 /a/b", "delete /none", "deleteall /a", "ls -R /", "deleteall /none",
	// No deleteall of the root: whether the original's shell tells of the failure is a race in its client, which
	// notes a failed multi after it has let go of who waits for it.
	"config", "config -s", "reconfig -add server.1=127.0.0.1:1:2;3", "reconfig -remove 1",
	"nonsense", "help", "version", "ls2 /", "rmr /x", "close", "ls /", "connect SERVER", "ls /", "quit",
}

var (
	shellTime  = regexp.MustCompile(`(ctime|mtime) = .*`)
	shellHex   = regexp.MustCompile(`0x[0-9a-f]*[1-9a-f][0-9a-f]*`)
	shellEvent = regexp.MustCompile(`WatchedEvent state:.*`)
)

// shellText takes out of the shell's output what differs from run to run; the events are
// returned on their own, since another thread prints them.
func shellText(s *server, out string) (lines []string, events []string) {
	out = shellTime.ReplaceAllString(out, "$1 = TIME")
	out = shellHex.ReplaceAllString(out, "0xHEX")
	out = strings.ReplaceAll(out, s.addr, "SERVER")
	for l := range strings.SplitSeq(out, "\n") {
		if e := shellEvent.FindString(l); e != "" {
			events = append(events, e)
			l = strings.Replace(l, e, "", 1)
		}
		l = strings.TrimSpace(l)
		if l == "" || l == "WATCHER::" || strings.HasPrefix(l, "SLF4J") || strings.HasPrefix(l, "ZooKeeper CLI version") {
			continue
		}
		lines = append(lines, l)
	}
	return lines, events
}

func zkCliCommand(s *server, args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	cmd := exec.CommandContext(ctx, debianZkCli, append([]string{"-server", s.addr}, args...)...)
	cmd.Env = append(os.Environ(), "CLIENT_JVMFLAGS="+strings.Join(quickJVM, " "))
	cmd.Dir = s.dir
	cmd.WaitDelay = 5 * time.Second
	return cmd, cancel
}

// zkCliSession feeds the shell through its standard input. Behind each command it asks for
// a node that cannot be there, so that the answers can be told apart. In front of that is a sync, whose answer goes
// through the shell's event thread: events of a command are printed before the next one, not into its output, nor
// when they are not printed any more.
func zkCliSession(t *testing.T, s *server, tr *transcript) {
	cmd, cancel := zkCliCommand(s)
	defer cancel()
	var in strings.Builder
	for i, c := range shellCommands {
		fmt.Fprintf(&in, "%s\nsync /\nls /-mark-%d\n", strings.ReplaceAll(c, "SERVER", s.addr), i)
	}
	cmd.Stdin = strings.NewReader(in.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := startProcess(cmd, nil)
	if err == nil {
		err = cmd.Wait()
	}
	tr.add("exit", fmt.Sprint(err))
	lines, events := shellText(s, out.String())
	i := 0
	var answer []string
	flush := func() {
		name := "end"
		if i < len(shellCommands) {
			name = shellCommands[i]
		}
		if name == "whoami" {
			sort.Strings(answer) // the identities of a connection are a set
		}
		tr.add(fmt.Sprintf("%d %s", i, name), strings.Join(answer, "\\n"))
		answer = nil
		i++
	}
	for _, l := range lines {
		if strings.Contains(l, fmt.Sprintf("/-mark-%d", i)) {
			flush()
			continue
		}
		if strings.HasPrefix(l, "[") && strings.HasSuffix(l, "]") {
			l = sortedList(l)
		}
		answer = append(answer, l)
	}
	flush()
	sort.Strings(events)
	tr.add("events", strings.Join(events, "; "))
	if i < len(shellCommands)/2 {
		t.Errorf("%s: the shell answered only %d commands:\n%s", s.kind, i, tail(out.String(), 3000))
	}
}

// sortedList sorts a printed list of children, whose order is that of a hash table.
func sortedList(l string) string {
	names := strings.Split(strings.Trim(l, "[]"), ", ")
	sort.Strings(names)
	return "[" + strings.Join(names, ", ") + "]"
}

// zkCliOneShots runs commands as processes of their own: exit status and streams.
func zkCliOneShots(t *testing.T, s *server, tr *transcript) {
	for _, c := range []string{"create /o data", "create /o data", "get -s /o", "get /none", "set -v 7 /o x", "ls -R /", "stat /o",
		"delete /none", "deleteall /o", "nonsense", "config", "getAcl /none"} {
		cmd, cancel := zkCliCommand(s, strings.Fields(c)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := startProcess(cmd, nil)
		if err == nil {
			err = cmd.Wait()
		}
		cancel()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Errorf("%s: zkCli.sh %s: %v", s.kind, c, err)
		}
		o, _ := shellText(s, out.String())
		e, _ := shellText(s, errs.String())
		step := fmt.Sprintf("%d %s", len(tr.steps), c)
		tr.add(step, fmt.Sprintf("exit=%d out=%q err=%q", code, o, e))
	}
}
