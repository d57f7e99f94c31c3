package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// A Collector gives a registry and the gauges of a server to Prometheus under the raw names of
// ZooKeeper 3.6 to 3.9, which dashboards and alert rules use.
type Collector struct {
	Registry *Registry
	// Gauges is called at each scrape.
	Gauges func() []Gauge
}

// Describe implements prometheus.Collector; it describes nothing, since gauge sets come and go.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// quantiles that Java exports for advanced summaries; a basic one has the median alone, which
// needs a reservoir that it does not keep here.
var quantiles = []float64{0.5, 0.9, 0.99}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	for _, g := range c.Gauges() {
		if g.Key == "" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Name, nil, nil), prometheus.GaugeValue, g.Value)
		} else {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Name, []string{"key"}, nil), prometheus.GaugeValue, g.Value, g.Key)
		}
	}
	for _, name := range counterNames {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, name, nil, nil), prometheus.CounterValue, float64(c.Registry.counters[name].Value()))
	}
	for _, names := range [][]string{basicNames, advancedNames} {
		for _, name := range names {
			s := c.Registry.summaries[name]
			v := s.Values()
			out <- prometheus.MustNewConstSummary(prometheus.NewDesc(name, name, nil, nil), uint64(v.Count), float64(v.Sum), s.quantiles())
		}
	}
}

func (s *Summary) quantiles() map[float64]float64 {
	if !s.advanced {
		return nil
	}
	s.mu.Lock()
	sorted := slices.Clone(s.reservoir)
	s.mu.Unlock()
	if len(sorted) == 0 {
		return nil
	}
	slices.Sort(sorted)
	out := make(map[float64]float64, len(quantiles))
	for _, q := range quantiles {
		out[q] = float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
	}
	return out
}
