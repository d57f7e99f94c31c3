// Package metrics holds the figures of a server under ZooKeeper's names, and writes them the two
// ways ZooKeeper does: as lines of the word mntr (with names like avg_fsynctime) and as
// Prometheus metrics.
//
// All names of the reference exist from the start, since dashboards add them up; one that has
// no meaning here stays 0. A Registry may be used from any goroutine. Counters are atomic;
// summaries take a lock, so a hot path adds what it has gathered once per batch (AddBatch), not once
// per request.
// Source: operations, section 5.
package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"zabra.dev/zabra/server/fourlw"
)

// A Counter only grows, except by Reset.
type Counter struct{ v atomic.Int64 }

// Add adds n.
func (c *Counter) Add(n int64) int64 { return c.v.Add(n) }

// Value returns the count.
func (c *Counter) Value() int64 { return c.v.Load() }

// A Summary gathers values: count, sum, least and greatest, and the distribution, over the time since
// the start or the last reset and over the last minutes.
type Summary struct {
	advanced bool

	mu              sync.Mutex // guards what follows
	count, sum      int64
	lowest, highest int64
	all             histogram
	recent          window
}

// Add takes one value.
func (s *Summary) Add(v int64) { s.AddBatch(v, 1) }

// AddBatch takes n values that are all v.
func (s *Summary) AddBatch(v, n int64) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 || v < s.lowest {
		s.lowest = v
	}
	if s.count == 0 || v > s.highest {
		s.highest = v
	}
	s.count += n
	s.sum += v * n
	s.all.add(v, n)
}

// Values are what a Summary holds at one moment. Percentiles are those of P50 to P999 in order and
// nil for a basic one.
type Values struct {
	Count, Sum, Min, Max int64
	Percentiles          []int64
}

// percentiles of advanced summaries, in mntr's names and as fractions.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}}

// Avg is the mean, 0 when there are no values.
func (v *Values) Avg() float64 {
	if v.Count == 0 {
		return 0
	}
	return float64(v.Sum) / float64(v.Count)
}

// Values returns what the summary holds.
func (s *Summary) Values() Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := Values{Count: s.count, Sum: s.sum, Min: s.lowest, Max: s.highest}
	if !s.advanced {
		return v
	}
	d := s.all.sorted(&histogram{})
	for _, p := range percentiles {
		at, _ := d.quantile(p.q)
		v.Percentiles = append(v.Percentiles, at)
	}
	return v
}

func (s *Summary) reset() {
	s.mu.Lock()
	s.count, s.sum, s.lowest, s.highest = 0, 0, 0, 0
	s.all, s.recent = histogram{}, window{}
	s.mu.Unlock()
}

// A Gauge is read when it is asked for. Text gauges appear in mntr only.
type Gauge struct {
	Name string
	// Key makes it one of a gauge set.
	Key   string
	Value float64
}

// A Registry holds the counters and summaries of one server.
type Registry struct {
	counters  map[string]*Counter
	summaries map[string]*Summary
	sets      map[string]*counterSet
}

// counterSet is a set of counters by key, which come into being when they are first asked for.
type counterSet struct {
	mu       sync.Mutex // guards counters
	counters map[string]*Counter
}

// maxSetKeys bounds the keys of a set, which clients may choose; what is beyond counts under none.
const maxSetKeys = 1024

func (s *counterSet) counter(key string) *Counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counters[key]
	if c == nil {
		c = &Counter{}
		if len(s.counters) < maxSetKeys {
			s.counters[key] = c
		}
	}
	return c
}

// each calls f for each key, in order.
func (s *counterSet) each(f func(key string, n int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.counters)) {
		f(key, s.counters[key].Value())
	}
}

// New returns a registry with every name of the reference.
func New() *Registry {
	r := &Registry{counters: map[string]*Counter{}, summaries: map[string]*Summary{}, sets: map[string]*counterSet{}}
	for _, name := range counterNames {
		r.counters[name] = &Counter{}
	}
	for _, name := range counterSetNames {
		r.sets[name] = &counterSet{counters: map[string]*Counter{}}
	}
	for _, name := range basicNames {
		r.summaries[name] = &Summary{}
	}
	for _, name := range advancedNames {
		r.summaries[name] = &Summary{advanced: true}
	}
	return r
}

// Counter returns the counter of that name, which must be in the reference.
func (r *Registry) Counter(name string) *Counter {
	c := r.counters[name]
	if c == nil {
		panic("metrics: no counter " + name)
	}
	return c
}

// CounterOf returns the counter with that key of the set of that name, which must be in the reference.
func (r *Registry) CounterOf(name, key string) *Counter {
	s := r.sets[name]
	if s == nil {
		panic("metrics: no counter set " + name)
	}
	return s.counter(key)
}

// Summary returns the summary of that name, which must be in the reference.
func (r *Registry) Summary(name string) *Summary {
	s := r.summaries[name]
	if s == nil {
		panic("metrics: no summary " + name)
	}
	return s
}

// Reset zeroes everything, as srst does.
func (r *Registry) Reset() {
	for _, c := range r.counters {
		c.v.Store(0)
	}
	for _, s := range r.sets {
		s.mu.Lock()
		clear(s.counters)
		s.mu.Unlock()
	}
	for _, s := range r.summaries {
		s.reset()
	}
}

// Pairs appends the lines of mntr: gauges, gauge sets, counters, counter sets, basic and advanced summaries.
func (r *Registry) Pairs(dst []fourlw.Pair, gauges []Gauge) []fourlw.Pair {
	for _, set := range []bool{false, true} {
		for _, g := range gauges {
			if (g.Key != "") == set {
				name := g.Name
				if set {
					name = g.Key + "_" + name
				}
				dst = append(dst, fourlw.Pair{Key: name, Value: formatGauge(g)})
			}
		}
	}
	num := func(key string, v int64) {
		dst = append(dst, fourlw.Pair{Key: key, Value: strconv.FormatInt(v, 10)})
	}
	for _, name := range counterNames {
		num(name, r.counters[name].Value())
	}
	for _, name := range counterSetNames {
		r.sets[name].each(func(key string, n int64) { num(key+"_"+name, n) })
	}
	for _, names := range [][]string{basicNames, advancedNames} {
		for _, name := range names {
			v := r.summaries[name].Values()
			dst = append(dst, fourlw.Pair{Key: "avg_" + name, Value: fourlw.FormatAvg(v.Avg())})
			num("min_"+name, v.Min)
			num("max_"+name, v.Max)
			num("cnt_"+name, v.Count)
			num("sum_"+name, v.Sum)
			for i, p := range v.Percentiles {
				num(percentiles[i].name+"_"+name, p)
			}
		}
	}
	return dst
}

// fractional are the gauges that Java prints with decimals.
var fractional = []string{"avg_latency", "connection_drop_probability"}

func formatGauge(g Gauge) string {
	if slices.Contains(fractional, g.Name) {
		return fourlw.FormatAvg(g.Value)
	}
	return fmt.Sprintf("%.0f", g.Value)
}
