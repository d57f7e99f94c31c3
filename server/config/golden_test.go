package config

import (
	"bufio"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// startupCase is one configuration that a Java server of release 3.8.0 was started with, and what it did.
type startupCase struct {
	name    string
	config  string
	myid    string // content of the myid file; empty: none
	dynamic string // content of /srv/zk/ce/conf/dyn.cfg; empty: none
	exit    int    // -1: still running
	reason  string // the text that names the cause
	logged  []string
}

// readStartupCases parses the transcript format of testdata/startup-3.8.0.txt.
func readStartupCases(t *testing.T) []startupCase {
	t.Helper()
	f, err := os.Open("testdata/startup-3.8.0.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []startupCase
	var c *startupCase
	inDynamic := false
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		line := scanner.Text()
		if name, ok := strings.CutPrefix(line, "### "); ok {
			cases = append(cases, startupCase{name: name})
			c, inDynamic = &cases[len(cases)-1], false
			continue
		}
		if c == nil {
			continue
		}
		body, isOut := strings.CutPrefix(line, "[out] ")
		switch {
		case strings.HasPrefix(line, "    (myid file: "):
			c.myid = strings.TrimSuffix(strings.TrimPrefix(line, "    (myid file: "), ")")
		case line == "    (dynamic file:)":
			inDynamic = true
		case strings.HasPrefix(line, "    ") && inDynamic:
			c.dynamic += strings.TrimSpace(line) + "\n"
		case strings.HasPrefix(line, "    "):
			c.config += strings.TrimSpace(line) + "\n"
		case strings.HasPrefix(line, "[exit "):
			if c.exit, err = strconv.Atoi(strings.TrimSuffix(line[len("[exit "):], "]")); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(line, "[still running"):
			c.exit = -1
		case isOut && strings.HasPrefix(body, "[myid:"):
			_, message, _ := strings.Cut(body, "] - ")
			_, message, _ = strings.Cut(message, "] - ")
			c.logged = append(c.logged, message)
		case isOut:
			// The first Caused by holds the reason, or else the exception itself.
			text, caused := strings.CutPrefix(body, "Caused by: ")
			if _, message, ok := strings.Cut(text, ": "); ok && (c.reason == "" || caused && strings.HasPrefix(c.reason, "Error processing")) {
				c.reason = message
			}
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

// startupDeviations lists the recorded cases in which this server does otherwise, and why.
var startupDeviations = map[string]struct {
	exit   int
	reason string
	why    string
}{
	"secureClientPort with NIO factory":                       {-1, "", "there is no connection factory without TLS here"},
	"multi address with multiAddress.enabled=true in zoo.cfg": {-1, "", "the Java defect that the key comes too late is not imitated"},
	"Integer system property with garbage (ignored)":          {2, `For input string: "abc"`, "a wrong number is refused, not silently replaced"},
	"maxBatchSize garbage":                                    {2, `For input string: "xx"`, "a wrong number is refused, not silently replaced"},
	"cnxTimeout garbage":                                      {2, `For input string: "xx"`, "a wrong number is refused, standalone too"},
	"admin.rateLimiterIntervalInMS garbage, admin on":         {2, `For input string: "x"`, "refused at the start, not at the first command"},
	"audit.enable bad class":                                  {1, "Couldn't instantiate com.x.Y", "the Java process is left half dead"},
	"dataDir is a file":                                       {-1, "", "found by PrepareDirs, tested there"},
	"dataLogDir holding snapshots":                            {-1, "", "found by PrepareDirs, tested there"},
	"admin port in use":                                       {-1, "", "found when the AdminServer binds"},
	"client port in use":                                      {-1, "", "found when the client port is bound"},
}

// TestStartup compares what is accepted and refused, exit codes and messages with the recorded starts of
// a Java server. Method: each recorded zoo.cfg is parsed with its myid and dynamic file in memory.
func TestStartup(t *testing.T) {
	cases := readStartupCases(t)
	if len(cases) < 60 {
		t.Fatalf("%d cases read, the transcript holds more than 60", len(cases))
	}
	seen := map[string]bool{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen[c.name] = true
			wantExit, wantReason := c.exit, c.reason
			if d, ok := startupDeviations[c.name]; ok {
				wantExit, wantReason = d.exit, d.reason
			}
			p, err := ParseProperties([]byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			cfg, warnings, err := Parse(p, Source{
				Path: "/srv/zk/ce/conf/zoo.cfg",
				ReadFile: func(path string) ([]byte, error) {
					switch {
					case path == "/srv/zk/ce/data/myid" && c.myid != "":
						return []byte(c.myid + "\n"), nil
					case path == "/srv/zk/ce/conf/dyn.cfg" && c.dynamic != "":
						return []byte(c.dynamic), nil
					}
					return nil, fs.ErrNotExist
				},
				Resolve: func(string) (netip.Addr, error) { return netip.Addr{}, errors.New("no such host") },
			})
			if wantExit == -1 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if cfg == nil {
					t.Fatal("neither configuration nor error")
				}
			} else {
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("error %v, want exit %d: %s", err, wantExit, wantReason)
				}
				if e.ExitCode != wantExit {
					t.Errorf("exit %d, want %d", e.ExitCode, wantExit)
				}
				if e.Message != wantReason {
					t.Errorf("message\n %q, want\n %q", e.Message, wantReason)
				}
				if e.Fix == "" {
					t.Errorf("no fix in %v", err)
				}
			}
			for _, line := range c.logged {
				if !isConfigWarning(line) {
					continue
				}
				if !slices.ContainsFunc(warnings, func(w Warning) bool { return w.Message == line }) {
					t.Errorf("warning %q missing in %q", line, warnings)
				}
			}
		})
	}
	for name := range startupDeviations {
		if !seen[name] {
			t.Errorf("deviation for %q, which is not in the transcript", name)
		}
	}
}

// isConfigWarning reports whether a recorded log line comes from reading the configuration, rather than
// from parts of the server that start later.
func isConfigWarning(line string) bool {
	for _, start := range []string{"Invalid autopurge", "No server failure", "Non-optimal", "Invalid configuration, only one",
		"Peer type from servers", "data is relative", "SnapCount should", "abc is not a valid value for preAllocSize",
		"Error parsing zookeeper.commitLogCount"} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}
