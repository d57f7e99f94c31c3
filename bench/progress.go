package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/procstat"
)

// A progress shows how a run goes: on a terminal one line that changes, else a line per interval. Its methods are called
// by the generator, one at a time.
type progress struct {
	w        io.Writer
	terminal bool
	pids     []int
	cpu      []time.Duration // of the processes, when the last line was shown
	at       time.Time
}

func newProgress(w io.Writer, m *meter) *progress {
	p := &progress{w: w, pids: m.pids, cpu: make([]time.Duration, len(m.pids))}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// interval shows an interval, and what the server processes of this machine take.
func (p *progress) interval(i load.Interval) {
	line := progressLine(i)
	now := time.Now()
	for n, pid := range p.pids {
		s, err := procstat.Read(pid)
		if err != nil {
			line += fmt.Sprintf("  server %d has ended", pid)
			continue
		}
		if !p.at.IsZero() {
			line += fmt.Sprintf("  server CPU %.0f%%", 100*(s.CPU-p.cpu[n]).Seconds()/now.Sub(p.at).Seconds())
		}
		line += fmt.Sprintf(" RSS %s", mebibytes(s.RSSBytes))
		p.cpu[n] = s.CPU
	}
	p.at = now
	if p.terminal {
		fmt.Fprintf(p.w, "\r\033[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// end leaves the terminal at the start of a line.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

// progressLine tells of one interval.
func progressLine(i load.Interval) string {
	perSecond := func(n int64) float64 { return float64(n) / time.Duration(i.Length).Seconds() }
	var b strings.Builder
	fmt.Fprintf(&b, "%6s", time.Duration(i.Start+i.Length))
	part := func(name string, l load.Latency) {
		if l.Count > 0 {
			fmt.Fprintf(&b, "  %s %s/s p50 %s p99 %s max %s", name, count(perSecond(l.Count)), short(l.P50), short(l.P99), short(l.Max))
		}
	}
	part("reads", i.Reads)
	part("writes", i.Writes)
	if i.Reads.Count+i.Writes.Count == 0 {
		b.WriteString("  no replies")
	}
	if i.Notifications > 0 {
		fmt.Fprintf(&b, "  events %s/s", count(perSecond(i.Notifications)))
	}
	if i.Errors > 0 {
		fmt.Fprintf(&b, "  errors %d", i.Errors)
	}
	return b.String()
}
