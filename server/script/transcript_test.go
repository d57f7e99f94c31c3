package script

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// step is one recorded command with what it printed.
type step struct {
	command  string
	out, err []string
	exit     string
}

func readTranscript(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile("testdata/zkServer.txt")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, line := range strings.Split(string(text), "\n") {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{command: command})
			continue
		}
		if len(steps) == 0 {
			continue
		}
		s := &steps[len(steps)-1]
		if out, ok := strings.CutPrefix(line, "[out] "); ok {
			if out != "/usr/bin/java" { // printed by the search for java, which is not made here
				s.out = append(s.out, out)
			}
		} else if err, ok := strings.CutPrefix(line, "[err] "); ok {
			s.err = append(s.err, err)
		} else if exit, ok := strings.CutPrefix(line, "[exit "); ok {
			s.exit = strings.TrimSuffix(exit, "]")
		}
	}
	return steps
}

var (
	portForm    = regexp.MustCompile(`Client port found: \d+\.`)
	processForm = regexp.MustCompile(`running as process \d+\.`)
	versionForm = regexp.MustCompile(`^Apache ZooKeeper, version \S+ \d{4}-\d\d-\d\d \d\d:\d\d UTC$`)
)

// normal replaces what differs from run to run.
func normal(line string) string {
	line = portForm.ReplaceAllString(line, "Client port found: N.")
	line = processForm.ReplaceAllString(line, "running as process N.")
	return versionForm.ReplaceAllString(line, "Apache ZooKeeper, version V")
}

// TestTranscript runs the commands of the recorded session of the original scripts, in order, against a
// stand-in server, and compares streams and exit codes line by line. Settings that the transcript does not
// show are taken from what it printed. Two commands are expected to do otherwise: restart keeps --config
// here, and print-cmd prints this server's command.
func TestTranscript(t *testing.T) {
	b := newBench(t, standardConfig)
	real := strings.NewReplacer("/opt/zookeeper", "ROOT/opt", "/srv/zk/s1", "ROOT/srv")
	steps := readTranscript(t)
	if len(steps) < 20 {
		t.Fatalf("%d commands recorded", len(steps))
	}
	for _, s := range steps {
		words := strings.Fields(real.Replace(s.command))
		words[0] = strings.TrimPrefix(words[0], "ROOT/opt/bin/")
		initializing := words[0] == InitializeName
		var env []string
		if len(s.err) > 0 && s.err[0] == "JMX disabled by user request" {
			env = append(env, "JMXDISABLE=true")
		}
		if len(s.out) > 0 && strings.HasPrefix(s.out[0], "ZooKeeper data directory is missing") {
			env = append(env, "ZOO_DATADIR_AUTOCREATE_DISABLE=1")
			if err := os.RemoveAll(b.path("srv/data")); err != nil {
				t.Fatal(err)
			}
		}
		r := b.runProcess(append(env, words...)...)
		wantOut, wantErr, wantExit := s.out, s.err, s.exit
		if !initializing {
			switch words[len(words)-1] {
			case "restart":
				wantOut = []string{"Stopping zookeeper ... STOPPED", "Starting zookeeper ... STARTED"}
				wantErr = []string{s.err[0], s.err[1], s.err[0], s.err[1], s.err[0], s.err[1]}
				wantExit = "0"
			case "print-cmd":
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				wantOut = []string{`"` + self + `" "server" "ROOT/srv/conf/zoo.cfg" > "ROOT/srv/log/zookeeper--server-vm.out" 2>&1 < /dev/null`}
			}
		}
		compare := func(stream, got string, want []string) {
			t.Helper()
			var lines []string
			if got != "" {
				lines = strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			}
			for i, w := range want {
				want[i] = normal(real.Replace(w))
				// The usage pads the path, which is longer or shorter here.
				want[i] = strings.Join(strings.Fields(want[i]), " ")
			}
			for i, l := range lines {
				lines[i] = strings.Join(strings.Fields(normal(l)), " ")
			}
			if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); g != w {
				t.Errorf("%s: %s\n%s\nwant\n%s", s.command, stream, g, w)
			}
		}
		compare("stdout", r.out, wantOut)
		compare("stderr", r.err, wantErr)
		if got := strconv.Itoa(r.exit); got != wantExit {
			t.Errorf("%s: exit %s, want %s", s.command, got, wantExit)
		}
	}
}
