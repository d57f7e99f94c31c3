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
	// Now is the clock of the windows that quantiles are taken from; time.Now if nil.
	Now func() time.Time
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
	for _, g := range c.Gauges() {
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
