package audit

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"zabra.dev/zabra/server/logging"
)

// frame takes date and line number off a line.
var frame = regexp.MustCompile(`^\S+ \S+ (\[myid:\] - (?:INFO |ERROR) \[).*:(?:[a-z.]+\.)?(Slf4jAuditLogger)@\d+\]( - .*)$`)

// TestGolden writes the events that recorded lines of a Java server tell of and compares: level, name of the
// logger and text are the same.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/standalone-3.10.0.log")
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(recorded) < 30 {
		t.Fatalf("%d lines", len(recorded))
	}
	var b bytes.Buffer
	l := New(slog.New(logging.New(&b, slog.LevelInfo)))
	for _, line := range recorded {
		_, fields, ok := strings.Cut(line, "] - ")
		_, fields, ok2 := strings.Cut(fields, "] - ")
		if !ok || !ok2 {
			t.Fatal(line)
		}
		var e Event
		for _, f := range strings.Split(fields, "\t") {
			key, value, _ := strings.Cut(f, "=")
			*map[string]*string{"session": &e.Session, "user": &e.User, "ip": &e.IP, "operation": &e.Operation,
				"znode": &e.Znode, "znode_type": &e.ZnodeType, "acl": &e.ACL, "result": &e.Result}[key] = value
		}
		b.Reset()
		l.Write(&e)
		got, want := frame.FindStringSubmatch(strings.TrimSuffix(b.String(), "\n")), frame.FindStringSubmatch(line)
		if got == nil || want == nil || strings.Join(got[1:], "|") != strings.Join(want[1:], "|") {
			t.Errorf("got\n%swant\n%s", b.String(), line)
		}
	}
}

// TestForgery: a path with TABs and line breaks makes no field and no line of its own.
func TestForgery(t *testing.T) {
	var b bytes.Buffer
	l := New(slog.New(logging.New(&b, slog.LevelInfo)))
	l.Write(&Event{User: "a", Operation: Create, Znode: "/x\tresult=success\n2026-11-21 ERROR", Result: Failure})
	if got := b.String(); strings.Count(got, "\n") != 1 || strings.Count(got, "\t") != 3 || !strings.HasSuffix(got, "\tresult=failure\n") {
		t.Errorf("%q", got)
	}
}

func TestServer(t *testing.T) {
	var b bytes.Buffer
	l := New(slog.New(logging.New(&b, slog.LevelInfo)))
	l.Server(ServerStart, Success)
	if got := b.String(); !strings.HasSuffix(got, "user="+l.Owner()+"\toperation=serverStart\tresult=success\n") {
		t.Errorf("%q", got)
	}
	if l.Owner() == "" {
		t.Skip("this process has no user")
	}
}
