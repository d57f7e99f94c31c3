package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Duration is written in results as Go writes it ("1.5s").
type Duration time.Duration

// String returns the duration as Go writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	*d = Duration(v)
	return nil
}

// A Result is what a Run has measured.
type Result struct {
	Started  time.Time `json:"started"`
	Measured Duration  `json:"measured"` // length of the window; less than asked for when incomplete
	Settings Settings  `json:"settings"`
	Total    Figures   `json:"total"` // of all requests, without notifications
	Reads    Figures   `json:"reads"`
	Writes   Figures   `json:"writes"`
	Ops      []Figures `json:"ops"` // per kind, notifications included
	// Intervals are in the order of time. Requests that were answered after the end are in none of them.
	Intervals []Interval `json:"intervals"`
	// Unfinished counts the requests of an open loop's schedule that had no answer after the drain timeout, never
	// having been sent included.
	Unfinished int64 `json:"unfinished"`
	// Disconnects counts broken connections of sessions, Resumed those that got their session back.
	Disconnects int64 `json:"disconnects"`
	Resumed     int64 `json:"resumed"`
	// LongestSilence is the longest time within the window in which a loop got no successful reply,
	// LongestWriteSilence the same for writes (0 when there was none).
	LongestSilence      Duration `json:"longest_silence"`
	LongestWriteSilence Duration `json:"longest_write_silence"`
	// Lateness is how long after their intended time the requests of an open loop were sent.
	Lateness Latency `json:"lateness"`
	// GeneratorCPU is the processor time that the process of the generator took in the window.
	GeneratorCPU Duration `json:"generator_cpu"`
	// Incomplete tells why the run ended before its time; empty when it did not.
	Incomplete string `json:"incomplete,omitempty"`
}

// Settings are those of a Config that a figure cannot be understood without.
type Settings struct {
	Addrs             []string `json:"addrs"`
	Mix               string   `json:"mix"`
	Sessions          int      `json:"sessions"`
	Outstanding       int      `json:"outstanding"`
	Loops             int      `json:"loops"`
	Rate              float64  `json:"rate"` // per second; 0: closed loop
	Poisson           bool     `json:"poisson,omitempty"`
	Payload           string   `json:"payload"` // bytes
	Keys              int      `json:"keys"`
	KeysPerDir        int      `json:"keys_per_dir"`
	KeyDist           string   `json:"key_dist"`
	MultiOps          int      `json:"multi_ops"`
	WatchesPerSession int      `json:"watches_per_session,omitempty"`
	Warmup            Duration `json:"warmup"`
	Duration          Duration `json:"duration"`
	Seed              uint64   `json:"seed"`
}

func (c *Config) settings() Settings {
	return Settings{
		Addrs: c.Addrs, Mix: c.Mix.String(), Sessions: c.Sessions, Outstanding: c.Outstanding, Loops: c.Loops,
		Rate: c.Rate, Poisson: c.Poisson, Payload: c.Payload.String(), Keys: c.Keys, KeysPerDir: c.KeysPerDir,
		KeyDist: c.KeyDist.String(), MultiOps: c.MultiOps, WatchesPerSession: c.WatchesPerSession,
		Warmup: Duration(c.Warmup), Duration: Duration(c.Duration), Seed: c.Seed,
	}
}

// Figures are those of one kind of requests or of several together.
type Figures struct {
	Kind      string           `json:"kind"` // a Kind's name, or total, reads, writes
	Count     int64            `json:"count"`
	PerSecond float64          `json:"per_second"` // successful ones
	Errors    int64            `json:"errors"`
	ErrorsBy  map[string]int64 `json:"errors_by,omitempty"` // by the name of the code
	Latency   Latency          `json:"latency"`
	Histogram Histogram        `json:"histogram"`
}

// Latency summarises a histogram. Count 0 leaves the rest 0.
type Latency struct {
	Count int64    `json:"count"`
	Min   Duration `json:"min"`
	Mean  Duration `json:"mean"`
	P50   Duration `json:"p50"`
	P90   Duration `json:"p90"`
	P99   Duration `json:"p99"`
	P999  Duration `json:"p999"`
	P9999 Duration `json:"p9999"`
	Max   Duration `json:"max"`
}

// latencyOf summarises h, which may be nil.
func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h == nil || h.TotalCount() == 0 {
		return Latency{}
	}
	q := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9, 99.99})
	return Latency{
		Count: h.TotalCount(), Min: Duration(h.Min()), Mean: Duration(h.Mean()), P50: Duration(q[0]), P90: Duration(q[1]),
		P99: Duration(q[2]), P999: Duration(q[3]), P9999: Duration(q[4]), Max: Duration(h.Max()),
	}
}

// A Histogram is written in results in HdrHistogram's own compressed encoding (V2, base64), which
// its tools read. nil is an empty one.
type Histogram struct{ *hdrhistogram.Histogram }

// MarshalJSON writes the encoding as a string, null for an empty histogram.
func (h Histogram) MarshalJSON() ([]byte, error) {
	if h.Histogram == nil || h.TotalCount() == 0 {
		return []byte("null"), nil
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("load: histogram: %w", err)
	}
	return json.Marshal(string(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("load: histogram: %w", err)
	}
	if h.Histogram = nil; s == nil {
		return nil
	}
	decoded, err := hdrhistogram.Decode([]byte(*s))
	if err != nil {
		return fmt.Errorf("load: histogram: %w", err)
	}
	h.Histogram = decoded
	return nil
}

// An Interval is a slice of the measurement.
type Interval struct {
	Start         Duration `json:"start"` // from the start of the measurement
	Length        Duration `json:"length"`
	Reads         Latency  `json:"reads"`
	Writes        Latency  `json:"writes"`
	Notifications int64    `json:"notifications,omitempty"`
	Errors        int64    `json:"errors,omitempty"`
}

// Op returns the figures of a kind, the zero Figures when the run had none.
func (r *Result) Op(k Kind) Figures {
	for _, f := range r.Ops {
		if f.Kind == k.String() {
			return f
		}
	}
	return Figures{}
}

// figures fills in the figures from the total of all loops.
func (r *Result) figures(total *recorder, window time.Duration) {
	r.Measured = Duration(window)
	sum := func(name string, want func(Kind) bool) Figures {
		f := Figures{Kind: name, Histogram: Histogram{newHistogram()}}
		for k := range numKinds {
			if !want(k) {
				continue
			}
			if h := total.hist[k]; h != nil {
				f.Histogram.Merge(h)
			}
			for code, n := range total.errors[k] {
				if f.ErrorsBy == nil {
					f.ErrorsBy = map[string]int64{}
				}
				f.ErrorsBy[code.Name()] += n
				f.Errors += n
			}
		}
		f.Count = f.Histogram.TotalCount()
		f.Latency = latencyOf(f.Histogram.Histogram)
		if window > 0 {
			f.PerSecond = float64(f.Count) / window.Seconds()
		}
		if f.Count == 0 {
			f.Histogram.Histogram = nil
		}
		return f
	}
	r.Total = sum("total", func(k Kind) bool { return k != Notification })
	r.Reads = sum("reads", func(k Kind) bool { return k != Notification && !k.IsWrite() })
	r.Writes = sum("writes", Kind.IsWrite)
	for k := range numKinds {
		if f := sum(k.String(), func(o Kind) bool { return o == k }); f.Count+f.Errors > 0 {
			r.Ops = append(r.Ops, f)
		}
	}
}
