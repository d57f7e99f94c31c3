package logging

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var lineForm = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \[myid:(\d*)\] - (TRACE|DEBUG|INFO |WARN |ERROR) \[(.*):([^:@]+)@(\d+)\] - (.*)$`)

// TestRecordedLines takes lines of a Java server apart and puts them together again: byte for byte the same.
func TestRecordedLines(t *testing.T) {
	f, err := os.Open("testdata/boot-server1.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	levels := map[string]slog.Level{"DEBUG": slog.LevelDebug, "INFO ": slog.LevelInfo, "WARN ": slog.LevelWarn, "ERROR": slog.LevelError}
	lines := 0
	for scanner := bufio.NewScanner(f); scanner.Scan(); lines++ {
		want := scanner.Text()
		m := lineForm.FindStringSubmatch(want)
		if m == nil {
			t.Errorf("line of another form: %s", want)
			continue
		}
		at, err := time.Parse("2006-01-02 15:04:05,000", m[1])
		if err != nil {
			t.Fatal(err)
		}
		id := int64(noMyID)
		if m[2] != "" {
			if id, err = strconv.ParseInt(m[2], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		number, err := strconv.Atoi(m[6])
		if err != nil {
			t.Fatal(err)
		}
		got := appendEscaped(appendHead(nil, at, id, levels[m[3]], m[4], m[5], number), m[7])
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if lines < 100 {
		t.Errorf("%d lines recorded", lines)
	}
}

// parts logs one record and returns the parts of its line: id, level, thread, class, line, message.
func parts(t *testing.T, prepare func(*Handler), emit func(*slog.Logger)) []string {
	t.Helper()
	var b bytes.Buffer
	h := New(&b, LevelTrace)
	if prepare != nil {
		prepare(h)
	}
	emit(slog.New(h))
	if strings.Count(b.String(), "\n") != 1 {
		t.Fatalf("not one line: %q", b.String())
	}
	m := lineForm.FindStringSubmatch(strings.TrimSuffix(b.String(), "\n"))
	if m == nil {
		t.Fatalf("line of another form: %q", b.String())
	}
	return m[2:]
}

func TestLines(t *testing.T) {
	f := func(emit func(*slog.Logger), level, thread, class, message string) {
		t.Helper()
		p := parts(t, func(h *Handler) { h.SetMyID(3) }, emit)
		got := []string{p[0], p[1], p[2], p[3], p[5]}
		if want := []string{"3", level, thread, class, message}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if p[4] == "0" {
			t.Errorf("%s: line 0", message)
		}
	}
	cause := errors.New("Connection refused")
	f(func(l *slog.Logger) { l.Info("LOOKING") }, "INFO ", "main", "logging", "LOOKING")
	f(func(l *slog.Logger) {
		Thread(Component(l, "QuorumPeer"), "QuorumPeer[myid=3]").Warn("PeerState set to LOOKING")
	},
		"WARN ", "QuorumPeer[myid=3]", "QuorumPeer", "PeerState set to LOOKING")
	f(func(l *slog.Logger) { l.Error("x", ThreadKey, "SyncThread:3", ComponentKey, "wal") }, "ERROR", "SyncThread:3", "wal", "x")
	f(func(l *slog.Logger) { l.Warn("Cannot open channel to 2", Err(cause), "n", 2) }, "WARN ", "main", "logging", "Cannot open channel to 2 n=2: Connection refused")
	f(func(l *slog.Logger) { l.With(Err(cause)).Debug("m") }, "DEBUG", "main", "logging", "m: Connection refused")
	f(func(l *slog.Logger) {
		l.With("a", 1).WithGroup("g").With("b", "two words").Info("m", "c", true, slog.Group("h", "d", 1.5))
	},
		"INFO ", "main", "logging", `m a=1 g.b="two words" g.c=true g.h.d=1.5`)
	f(func(l *slog.Logger) { l.Info("m", "e", "", "d", 2*time.Second, "u", uint64(7), "n", nil) }, "INFO ", "main", "logging", `m e="" d=2s u=7 n=<nil>`)
	f(func(l *slog.Logger) { l.Info("path /a\n2026-01-01 forged\r\x00", "k", "v\nw") }, "INFO ", "main", "logging", `path /a\n2026-01-01 forged\r\x00 k=v\nw`)
	f(func(l *slog.Logger) { l.Info("Removing file: date\tP ä") }, "INFO ", "main", "logging", "Removing file: date\tP ä")
	f(func(l *slog.Logger) { l.Log(t.Context(), LevelTrace, "m") }, "TRACE", "main", "logging", "m")

	if p := parts(t, nil, func(l *slog.Logger) { l.Info("before the id is known") }); p[0] != "" {
		t.Errorf("id %q before it is known", p[0])
	}
}

// TestDerivedDoNotShare: two loggers derived from one do not write into each other's attributes.
func TestDerivedDoNotShare(t *testing.T) {
	var b bytes.Buffer
	base := slog.New(New(&b, slog.LevelInfo)).With("base", 1)
	one, two := base.With("one", 1, Err(errors.New("first"))), base.With("two", 2, Err(errors.New("second")))
	one.Info("m")
	two.Info("m")
	base.Info("m")
	for i, want := range []string{"m base=1 one=1: first", "m base=1 two=2: second", "m base=1"} {
		if line := strings.Split(b.String(), "\n")[i]; !strings.HasSuffix(line, "] - "+want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
}

func TestSetLevel(t *testing.T) {
	var b bytes.Buffer
	h := New(&b, slog.LevelWarn)
	log := Component(slog.New(h), "x")
	log.Info("no")
	h.SetLevel(slog.LevelInfo)
	log.Info("yes")
	h.SetLevel(LevelOff)
	log.Error("no")
	if !strings.HasSuffix(b.String(), "- yes\n") || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%q", b.String())
	}
}

func TestLevelSources(t *testing.T) {
	f := func(s LevelSources, want slog.Level, complaints int) {
		t.Helper()
		level, c := s.Level()
		if level != want || len(c) != complaints {
			t.Errorf("%+v: %v %q, want %v and %d", s, level, c, want, complaints)
		}
	}
	f(LevelSources{}, slog.LevelInfo, 0)
	f(LevelSources{Log4jProp: "DEBUG,CONSOLE"}, slog.LevelDebug, 0)
	f(LevelSources{Log4jProp: "WARN, ROLLINGFILE", LogLevel: "ERROR"}, slog.LevelWarn, 0)
	f(LevelSources{RootLogger: "ERROR,CONSOLE", Log4jProp: "DEBUG,CONSOLE"}, slog.LevelError, 0)
	f(LevelSources{LogLevel: "error"}, slog.LevelError, 0)
	f(LevelSources{Log4jProp: "DEBUG,CONSOLE", ConsoleThreshold: "WARN"}, slog.LevelWarn, 0)
	f(LevelSources{Log4jProp: "ERROR", ConsoleThreshold: "INFO"}, slog.LevelError, 0)
	f(LevelSources{Log4jProp: "CONSOLE"}, slog.LevelInfo, 1)
	f(LevelSources{RootLogger: "loud", Log4jProp: "OFF"}, LevelOff, 1)
}

func TestSampler(t *testing.T) {
	s := Sampler{Interval: time.Minute}
	start := time.Unix(1000, 0)
	f := func(after time.Duration, suppressed int64, ok bool) {
		t.Helper()
		if n, o := s.Allow(start.Add(after)); n != suppressed || o != ok {
			t.Errorf("after %v: %d %v, want %d %v", after, n, o, suppressed, ok)
		}
	}
	f(0, 0, true)
	f(time.Second, 0, false)
	f(59*time.Second, 0, false)
	f(time.Minute, 2, true)
	f(time.Minute, 0, false)
	f(time.Hour, 1, true)
	f(2*time.Hour, 0, true)
}

func TestSamplerWarn(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(New(&b, slog.LevelInfo))
	s := Sampler{Interval: time.Hour}
	for range 3 {
		s.Warn(log, "Too many connections", slog.Int("max", 60))
	}
	s.next.Store(0)
	s.Warn(log, "Too many connections", slog.Int("max", 60))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "[main:logging@") || strings.Contains(lines[0], "@0]") ||
		!strings.HasSuffix(lines[0], "Too many connections max=60") || !strings.HasSuffix(lines[1], "Too many connections max=60 suppressed=2") {
		t.Errorf("%q", lines)
	}
}

// TestConcurrent: lines of many goroutines are whole. For the race detector, too.
func TestConcurrent(t *testing.T) {
	var b bytes.Buffer
	h := New(&b, slog.LevelInfo)
	log := slog.New(h)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			mine := Thread(log, "worker-"+strconv.Itoa(g))
			for i := range 50 {
				h.SetMyID(int64(i))
				mine.Info("m", "g", g)
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 400 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !lineForm.MatchString(line) {
			t.Errorf("%q", line)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// TestAllocations pins what a line costs: nothing, with scalar attributes too.
func TestAllocations(t *testing.T) {
	log := Thread(slog.New(New(discard{}, slog.LevelInfo)), "SyncThread:1")
	ctx := t.Context()
	for name, f := range map[string]func(){
		"message": func() { log.Info("Snapshot taken") },
		"attributes": func() {
			log.LogAttrs(ctx, slog.LevelInfo, "Snapshot taken", slog.Int64("ms", 12), slog.String("path", "/x"))
		},
		"disabled": func() { log.Debug("no") },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkInfo(b *testing.B) {
	log := Thread(slog.New(New(discard{}, slog.LevelInfo)), "SyncThread:1")
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "Snapshot taken", slog.Int64("ms", 12), slog.String("path", "/x"))
	}
}
