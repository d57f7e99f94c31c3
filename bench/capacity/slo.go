package capacity

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"zabra.dev/zabra/bench/load"
)

// ErrSLO is the kind of every error of ParseSLO.
var ErrSLO = errors.New("capacity: bad objective")

// An SLO is the latency that a load must keep: an upper bound per percentile, over all requests of a step.
type SLO struct{ bounds []bound }

type bound struct {
	name string // one of quantileNames
	max  time.Duration
}

// quantileNames are what an SLO may bound, in the order in which it is written.
var quantileNames = []string{"mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"}

// Quantile returns the latency with the name (mean, p50, p90, p99, p99.9, p99.99, max), false for another name.
func Quantile(l *load.Latency, name string) (time.Duration, bool) {
	switch name {
	case "mean":
		return time.Duration(l.Mean), true
	case "p50":
		return time.Duration(l.P50), true
	case "p90":
		return time.Duration(l.P90), true
	case "p99":
		return time.Duration(l.P99), true
	case "p99.9":
		return time.Duration(l.P999), true
	case "p99.99":
		return time.Duration(l.P9999), true
	case "max":
		return time.Duration(l.Max), true
	}
	return 0, false
}

// ParseSLO reads "p99=20ms" or several of these with commas. Errors match ErrSLO.
func ParseSLO(s string) (SLO, error) {
	var o SLO
	given := map[string]time.Duration{}
	for _, part := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, known := Quantile(new(load.Latency), name); !ok || !known {
			return SLO{}, fmt.Errorf("%w: %q is not PERCENTILE=DURATION, such as p99=20ms; percentiles: %s", ErrSLO, part, strings.Join(quantileNames, ", "))
		}
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return SLO{}, fmt.Errorf("%w: %q of %s is not a time above 0, such as 20ms", ErrSLO, value, name)
		}
		if _, twice := given[name]; twice {
			return SLO{}, fmt.Errorf("%w: %s stands there twice", ErrSLO, name)
		}
		given[name] = d
	}
	for _, name := range quantileNames {
		if d, ok := given[name]; ok {
			o.bounds = append(o.bounds, bound{name, d})
		}
	}
	return o, nil
}

// String returns the objective in the form that ParseSLO reads.
func (o SLO) String() string {
	var parts []string
	for _, b := range o.bounds {
		parts = append(parts, b.name+"="+b.max.String())
	}
	return strings.Join(parts, ",")
}

// MarshalText writes the objective as String does.
func (o SLO) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *SLO) UnmarshalText(b []byte) error {
	v, err := ParseSLO(string(b))
	if err == nil {
		*o = v
	}
	return err
}

// Bounds calls f with every percentile's name and its bound.
func (o SLO) Bounds(f func(name string, max time.Duration)) {
	for _, b := range o.bounds {
		f(b.name, b.max)
	}
}

const (
	// minShare is the share of the offered load that must have been answered: less means that a queue grew.
	minShare = 0.97
	// maxErrorShare is the share of requests that may fail.
	maxErrorShare = 0.001
)

// Violations tells why the step did not keep the objective; empty when it did.
func (o SLO) Violations(s *Step) []string {
	var v []string
	if s.Incomplete != "" {
		v = append(v, "ended early: "+s.Incomplete)
	}
	for _, b := range o.bounds {
		if got, _ := Quantile(&s.Latency, b.name); got > b.max {
			v = append(v, fmt.Sprintf("%s %s is above %s", b.name, Short(got), b.max))
		}
	}
	if due := s.Offered * time.Duration(s.Measured).Seconds(); due > 0 && float64(s.Unfinished) > (1-minShare)*due {
		v = append(v, fmt.Sprintf("%.0f %% of the offered load was answered", max(0, 100*(1-float64(s.Unfinished)/due))))
	}
	if n := s.Count + s.Errors; n == 0 {
		v = append(v, "no reply")
	} else if float64(s.Errors) > maxErrorShare*float64(n) {
		v = append(v, fmt.Sprintf("%.2g %% of the requests failed", 100*float64(s.Errors)/float64(n)))
	}
	if s.Disconnects > 0 {
		v = append(v, fmt.Sprintf("%d connections broke", s.Disconnects))
	}
	return v
}

// Short formats a duration with three digits.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d >= time.Microsecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%d ns", d)
}

// Count formats a rate or a count with three or four digits.
func Count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3g k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
