package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"zabra.dev/zabra/server/fourlw"
)

func TestPairs(t *testing.T) {
	r := New()
	r.Counter("diff_count").Add(3)
	s := r.Summary("fsynctime")
	s.Add(2)
	s.AddBatch(5, 2)
	adv := r.Summary("readlatency")
	for v := range int64(1000) {
		adv.Add(v)
	}
	text := string(fourlw.AppendMntr(nil, r.Pairs(nil, []Gauge{
		{Name: "quota_bytes_usage_per_namespace", Key: "app", Value: 7}, {Name: "znode_count", Value: 5}, {Name: "avg_latency", Value: 0.5}})))
	for _, want := range []string{
		"zk_znode_count\t5\n", "zk_avg_latency\t0.5\n", "zk_app_quota_bytes_usage_per_namespace\t7\n", "zk_diff_count\t3\n",
		"zk_avg_fsynctime\t4.0\nzk_min_fsynctime\t2\nzk_max_fsynctime\t5\nzk_cnt_fsynctime\t3\nzk_sum_fsynctime\t12\n",
		"zk_cnt_readlatency\t1000\nzk_sum_readlatency\t499500\nzk_p50_readlatency\t500\nzk_p95_readlatency\t950\nzk_p99_readlatency\t990\nzk_p999_readlatency\t999\n",
		"zk_avg_snapshottime\t0.0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Reset()
	if v := s.Values(); v.Count != 0 || v.Max != 0 || r.Counter("diff_count").Value() != 0 {
		t.Errorf("after reset: %+v", v)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, names := range [][]string{counterNames, basicNames, advancedNames} {
		for _, n := range names {
			if seen[n] {
				t.Errorf("%s twice", n)
			}
			seen[n] = true
		}
	}
}

func TestPrometheus(t *testing.T) {
	r := New()
	r.Counter("diff_count").Add(3)
	r.Summary("readlatency").Add(4)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&Collector{Registry: r, Gauges: func() []Gauge { return []Gauge{{Name: "znode_count", Value: 5}} }})
	want := `# HELP diff_count diff_count
# TYPE diff_count counter
diff_count 3
# HELP readlatency readlatency
# TYPE readlatency summary
readlatency{quantile="0.5"} 4
readlatency{quantile="0.9"} 4
readlatency{quantile="0.99"} 4
readlatency_sum 4
readlatency_count 1
# HELP znode_count znode_count
# TYPE znode_count gauge
znode_count 5
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "diff_count", "readlatency", "znode_count"); err != nil {
		t.Error(err)
	}
}
