package bench

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
)

// line finds the line of a table whose cells are as wanted.
func line(table string, cells ...string) bool {
	for i, c := range cells {
		cells[i] = regexp.QuoteMeta(c)
	}
	return regexp.MustCompile(`(?m)^` + strings.Join(cells, ` {2,}`) + `$`).MatchString(table)
}

func ms(n int) load.Duration { return load.Duration(time.Duration(n) * time.Millisecond) }

func TestWriteFailover(t *testing.T) {
	f := &Failover{Setting: Setting{Servers: 3}, Sessions: 9}
	for i, n := range []int{40, 10, 30, 20} {
		f.Trials = append(f.Trials, Outage{"java", eventStop, i, ms(10 * n), ms(20 * n)}, Outage{"zabra", eventStop, i, ms(n), ms(2 * n)})
	}
	f.Trials = append(f.Trials, Outage{"zabra", eventKill, 1, ms(5), ms(6)})
	var b bytes.Buffer
	writeFailover(&b, f)
	for _, want := range [][]string{
		{"stop", "java", "4", "100ms", "250ms", "400ms", "200ms", "500ms", "800ms"},
		{"stop", "zabra", "4", "10ms", "25ms", "40ms", "20ms", "50ms", "80ms"},
		{"kill", "zabra", "1", "5ms", "5ms", "5ms", "6ms", "6ms", "6ms"},
	} {
		if !line(b.String(), want...) {
			t.Errorf("no line %v in\n%s", want, b.String())
		}
	}
}

func TestWriteJoining(t *testing.T) {
	j := &Joining{Setting: Setting{Servers: 3}, Znodes: 1000, Rate: 10}
	for i, n := range []int{4, 1, 3} {
		for k, c := range []string{"java", "zabra"} {
			j.Joins = append(j.Joins, Join{Contender: c, Round: i, Took: ms(n), Before: load.Latency{P99: ms(n + 10 + k)}, During: load.Latency{P99: ms(n + 20 + k), Max: ms(n + 30 + k)}})
		}
	}
	var b bytes.Buffer
	writeJoining(&b, j)
	for _, want := range [][]string{
		{"java", "empty server to serving", "1ms", "3ms", "4ms"},
		{"zabra", "p99 of writes before", "12ms", "14ms", "15ms"},
		{"java", "p99 of writes during the join", "21ms", "23ms", "24ms"},
		{"zabra", "longest write during the join", "32ms", "34ms", "35ms"},
	} {
		if !line(b.String(), want...) {
			t.Errorf("no line %v in\n%s", want, b.String())
		}
	}
}

func TestTrialFlags(t *testing.T) {
	for _, args := range [][]string{
		{"failover", "-servers", "2"}, {"failover", "-rounds", "0"}, {"failover", "-sessions", "0"}, {"failover", "-pause", "0"},
		{"join", "-servers", "2"}, {"join", "-znodes", "0"}, {"join", "-rate", "0"}, {"join", "more"},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), args, &out, &errOut); code != exitUsage || errOut.Len() == 0 {
			t.Errorf("%v: exit %d, %s", args, code, errOut.String())
		}
	}
}
