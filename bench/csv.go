package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/bench/load"
)

func us(d load.Duration) string { return strconv.FormatFloat(float64(d)/1e3, 'f', 1, 64) }

// writeCSV writes one line per kind of request, and one for all together, with the settings in each: lines of several
// runs can be put together. Latencies are in microseconds.
func writeCSV(w io.Writer, r *Report) error {
	c := csv.NewWriter(w)
	s := &r.Settings
	var cpu, rss int64
	for _, u := range r.Servers {
		cpu += int64(u.CPU)
		rss += u.RSS
	}
	// csv.Writer keeps the first error for Error.
	_ = c.Write(strings.Fields("started mix sessions outstanding rate payload keys dist seconds kind count per_second errors " +
		"min_us mean_us p50_us p90_us p99_us p999_us p9999_us max_us server_cpu_us server_rss_bytes"))
	for _, f := range append(append([]load.Figures(nil), r.Ops...), r.Total) {
		l := f.Latency
		_ = c.Write([]string{
			r.Started.UTC().Format(time.RFC3339), s.Mix, strconv.Itoa(s.Sessions), strconv.Itoa(s.Outstanding), strconv.FormatFloat(s.Rate, 'g', -1, 64),
			s.Payload, strconv.Itoa(s.Keys), s.KeyDist, strconv.FormatFloat(time.Duration(r.Measured).Seconds(), 'f', 3, 64),
			f.Kind, strconv.FormatInt(f.Count, 10), strconv.FormatFloat(f.PerSecond, 'f', 1, 64), strconv.FormatInt(f.Errors, 10),
			us(l.Min), us(l.Mean), us(l.P50), us(l.P90), us(l.P99), us(l.P999), us(l.P9999), us(l.Max),
			us(load.Duration(cpu)), strconv.FormatInt(rss, 10),
		})
	}
	c.Flush()
	return c.Error()
}

// writeIntervals writes the measurement as a series, one line per interval.
func writeIntervals(w io.Writer, r *Report) error {
	c := csv.NewWriter(w)
	_ = c.Write(strings.Fields("second reads writes read_p50_us read_p99_us read_max_us write_p50_us write_p99_us write_p999_us write_max_us notifications errors"))
	for _, i := range r.Intervals {
		_ = c.Write([]string{
			strconv.FormatFloat(time.Duration(i.Start).Seconds(), 'f', 3, 64), strconv.FormatInt(i.Reads.Count, 10), strconv.FormatInt(i.Writes.Count, 10),
			us(i.Reads.P50), us(i.Reads.P99), us(i.Reads.Max), us(i.Writes.P50), us(i.Writes.P99), us(i.Writes.P999), us(i.Writes.Max),
			strconv.FormatInt(i.Notifications, 10), strconv.FormatInt(i.Errors, 10),
		})
	}
	c.Flush()
	return c.Error()
}

// toFile has write write to a new file at path.
func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("bench: write %s: %w", path, err)
	}
	return nil
}
