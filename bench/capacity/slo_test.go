package capacity

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
)

func TestParseSLO(t *testing.T) {
	ok := func(s, want string) {
		t.Helper()
		o, err := ParseSLO(s)
		if err != nil || o.String() != want {
			t.Errorf("%q: %q, %v; want %q", s, o, err, want)
		}
		var again SLO
		if err := again.UnmarshalText([]byte(o.String())); err != nil || again.String() != want {
			t.Errorf("%q read again: %q, %v", want, again, err)
		}
	}
	ok("p99=20ms", "p99=20ms")
	ok(" p99.9=1s, p50=500us", "p50=500µs,p99.9=1s")
	ok("max=1m,mean=3ms", "mean=3ms,max=1m0s")
	bad := func(s, part string) {
		t.Helper()
		if _, err := ParseSLO(s); !errors.Is(err, ErrSLO) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", s, err, part)
		}
	}
	bad("", "is not PERCENTILE=DURATION")
	bad("p99", "is not PERCENTILE=DURATION")
	bad("p98=20ms", "percentiles: mean, p50")
	bad("p99=20", "is not a time above 0")
	bad("p99=-1ms", "is not a time above 0")
	bad("p99=1ms,p99=2ms", "twice")
}

func TestViolations(t *testing.T) {
	o, err := ParseSLO("p99=20ms")
	if err != nil {
		t.Fatal(err)
	}
	good := func() *Step {
		return &Step{Offered: 1000, Measured: load.Duration(2 * time.Second), Count: 1998, Unfinished: 2, Latency: load.Latency{P99: load.Duration(20 * time.Millisecond)}}
	}
	check := func(part string, change func(*Step)) {
		t.Helper()
		s := good()
		change(s)
		got := strings.Join(o.Violations(s), "; ")
		if part == "" && got != "" || !strings.Contains(got, part) {
			t.Errorf("%q, want %q", got, part)
		}
	}
	check("", func(*Step) {})
	check("", func(s *Step) { s.Offered, s.Unfinished = 0, 1000 })
	check("p99 20 ms is above 20ms", func(s *Step) { s.Latency.P99++ })
	check("90 % of the offered load", func(s *Step) { s.Unfinished = 200 })
	check("of the requests failed", func(s *Step) { s.Errors = 5 })
	check("no reply", func(s *Step) { s.Count = 0 })
	check("3 connections broke", func(s *Step) { s.Disconnects = 3 })
	check("ended early: gone", func(s *Step) { s.Incomplete = "gone" })
}

func TestParseNeed(t *testing.T) {
	n, err := ParseNeed("reads=200000, writes=20k,payload=1KiB,znodes=5M,sessions=1e3")
	if want := (Need{200_000, 20_000, 1024, 5_000_000, 1000}); err != nil || n != want {
		t.Errorf("%+v, %v; want %+v", n, err, want)
	}
	again, err := ParseNeed(n.String())
	if err != nil || again != n {
		t.Errorf("%q read again: %+v, %v", n, again, err)
	}
	if n, err := ParseNeed("writes=0.5M"); err != nil || n != (Need{Writes: 500_000, Payload: 1024}) {
		t.Errorf("%+v, %v", n, err)
	}
	for s, part := range map[string]string{
		"":                           "is not NAME=NUMBER",
		"reads":                      "is not NAME=NUMBER",
		"reads=much":                 `reads: "much" is not a number`,
		"reads=-1":                   "is not a number",
		"reads=NaN":                  "is not a number",
		"reeds=1":                    `no "reeds"`,
		"reads=1,reads=2":            "twice",
		"znodes=5M":                  "neither reads nor writes",
		"reads=1,payload=5MiB":       "more than a znode can hold",
		"reads=10000000000000000000": "is not a number",
	} {
		if _, err := ParseNeed(s); !errors.Is(err, ErrNeed) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", s, err, part)
		}
	}
}
