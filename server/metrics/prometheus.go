package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Collector gives a registry and the gauges of a server to Prometheus under the raw names of
// ZooKeeper 3.6 to 3.9, which dashboards and alert rules use.
type Collector struct {
	Registry *Registry
	// Gauges is called at each scrape.
	Gauges func() []Gauge
	// KeyedSums is called at each scrape; nil if there are none.
	KeyedSums func() []KeyedSum
	// Now is the clock of the windows that quantiles are taken from; time.Now if nil.
	Now func() time.Time
}

// A KeyedSum is one member of a summary set, without quantiles.
type KeyedSum struct {
	Name, Key  string
	Count, Sum int64
}

// Describe implements prometheus.Collector; it describes nothing, since gauge sets come and go.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// quantiles that Java exports.
var (
	basicQuantiles    = []float64{0.5}
	advancedQuantiles = []float64{0.5, 0.9, 0.99}
)

// keyLabel is the label of sets.
var keyLabel = []string{"key"}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	if c.Now != nil {
		now = c.Now()
	}
	// Names of different nodes can look alike as text; a metric must not come twice.
	seen := map[[2]string]bool{}
	again := func(name, key string) bool {
		k := [2]string{name, key}
		was := seen[k]
		seen[k] = true
		return was
	}
	for _, g := range c.Gauges() {
		if again(g.Name, g.Key) {
			continue
		}
		if g.Key == "" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Name, nil, nil), prometheus.GaugeValue, g.Value)
		} else {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Name, keyLabel, nil), prometheus.GaugeValue, g.Value, g.Key)
		}
	}
	for _, name := range counterNames {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, name, nil, nil), prometheus.CounterValue, float64(c.Registry.counters[name].Value()))
	}
	for _, name := range counterSetNames {
		desc := prometheus.NewDesc(name, name, keyLabel, nil)
		c.Registry.sets[name].each(func(key string, n int64) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), key)
		})
	}
	if c.KeyedSums != nil {
		for _, s := range c.KeyedSums() {
			if !again(s.Name, s.Key) {
				out <- prometheus.MustNewConstSummary(prometheus.NewDesc(s.Name, s.Name, keyLabel, nil), uint64(s.Count), float64(s.Sum), nil, s.Key)
			}
		}
	}
	for _, names := range [][]string{basicNames, advancedNames} {
		for _, name := range names {
			s := c.Registry.summaries[name]
			v := s.Values()
			out <- prometheus.MustNewConstSummary(prometheus.NewDesc(name, name, nil, nil), uint64(v.Count), float64(v.Sum), s.quantiles(now))
		}
	}
}

// quantiles are those of the last minutes, NaN when there were no values.
func (s *Summary) quantiles(now time.Time) map[float64]float64 {
	list := basicQuantiles
	if s.advanced {
		list = advancedQuantiles
	}
	s.mu.Lock()
	d := s.recent.at(&s.all, now)
	s.mu.Unlock()
	out := make(map[float64]float64, len(list))
	for _, q := range list {
		out[q] = math.NaN()
		if v, ok := d.quantile(q); ok {
			out[q] = float64(v)
		}
	}
	return out
}
