package bench

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"zabra.dev/zabra/bench/load"
)

// short formats a duration with three digits.
func short(d load.Duration) string {
	v := time.Duration(d)
	switch {
	case v >= 10*time.Second:
		return v.Round(100 * time.Millisecond).String()
	case v >= time.Second:
		return v.Round(10 * time.Millisecond).String()
	case v >= time.Millisecond:
		return fmt.Sprintf("%.3gms", float64(v)/1e6)
	case v >= time.Microsecond:
		return fmt.Sprintf("%.3gµs", float64(v)/1e3)
	}
	return v.String()
}

// count formats a rate or a count.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// writeTable writes a result for people.
func writeTable(w io.Writer, r *Report) {
	s := &r.Settings
	loop := fmt.Sprintf("closed loop, %d x %d outstanding", s.Sessions, s.Outstanding)
	if s.Rate > 0 {
		loop = fmt.Sprintf("open loop, %s/s over %d sessions", count(s.Rate), s.Sessions)
	}
	fmt.Fprintf(w, "%s: mix %s, %s, payload %s bytes, %d keys (%s), %s measured, seed %d\n",
		strings.Join(s.Addrs, ","), s.Mix, loop, s.Payload, s.Keys, s.KeyDist, r.Measured, s.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "request\tper second\tcount\terrors\tmin\tp50\tp90\tp99\tp99.9\tp99.99\tmax\t")
	rows := append([]load.Figures(nil), r.Ops...)
	if len(rows) != 1 {
		rows = append(rows, r.Total)
	}
	for _, f := range rows {
		l := f.Latency
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Kind, count(f.PerSecond), f.Count, f.Errors,
			short(l.Min), short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.P9999), short(l.Max))
	}
	t.Flush()
	for _, f := range rows {
		var codes []string
		for code, n := range f.ErrorsBy {
			codes = append(codes, fmt.Sprintf("%s %d", code, n))
		}
		sort.Strings(codes)
		if len(codes) > 0 && f.Kind != "total" {
			fmt.Fprintf(w, "errors of %s: %s\n", f.Kind, strings.Join(codes, ", "))
		}
	}
	if r.Disconnects > 0 {
		fmt.Fprintf(w, "connections broken: %d, sessions resumed: %d, longest silence %s (writes %s)\n",
			r.Disconnects, r.Resumed, short(r.LongestSilence), short(r.LongestWriteSilence))
	}
	if s.Rate > 0 {
		fmt.Fprintf(w, "sent after the intended time: p50 %s, p99 %s, max %s; unfinished: %d\n",
			short(r.Lateness.P50), short(r.Lateness.P99), short(r.Lateness.Max), r.Unfinished)
	}
	for _, u := range r.Servers {
		fmt.Fprintf(w, "server %s (pid %d): CPU %s = %.0f%% of a core", u.Addr, u.PID, u.CPU, 100*float64(u.CPU)/float64(r.Measured))
		if r.Total.Count > 0 && len(r.Servers) == 1 {
			fmt.Fprintf(w, ", %s per request", short(load.Duration(r.cpuPerOp())))
		}
		fmt.Fprintf(w, ", resident %s (peak %s)", mebibytes(u.RSS), mebibytes(u.PeakRSS))
		fmt.Fprintln(w)
	}
	perRequest := time.Duration(0)
	if r.Total.Count > 0 {
		perRequest = time.Duration(r.GeneratorCPU) / time.Duration(r.Total.Count)
	}
	fmt.Fprintf(w, "generator: CPU %s, %s per request; machine: %d x %s, load average %s\n",
		r.GeneratorCPU, short(load.Duration(perRequest)), r.Machine.CPUs, r.Machine.Model, r.Machine.LoadAverage)
	if r.Incomplete != "" {
		fmt.Fprintf(w, "INCOMPLETE: %s\n", r.Incomplete)
	}
}
