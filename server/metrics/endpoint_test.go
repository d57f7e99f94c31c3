package metrics

import (
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func parse(t *testing.T, r io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(r)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// leaderOnly are gauges of a leader or its ensemble.
var leaderOnly = []string{
	"synced_observers", "synced_followers", "synced_non_voting_followers", "learners", "pending_syncs", "leader_uptime", "quorum_size",
	"last_proposal_size", "min_proposal_size", "max_proposal_size",
}

// asked are the gauges that a server gives, with a value each; see server.Gauges.
var asked = []string{
	"avg_latency", "min_latency", "max_latency", "packets_received", "packets_sent", "num_alive_connections", "outstanding_requests", "uptime",
	"znode_count", "watch_count", "ephemerals_count", "approximate_data_size", "global_sessions", "local_sessions",
	"open_file_descriptor_count", "max_file_descriptor_count", "connection_drop_probability", "last_client_response_size",
	"max_client_response_size", "min_client_response_size", "outstanding_tls_handshake", "auth_failed_count",
	"non_mtls_remote_conn_count", "non_mtls_local_conn_count",
}

func testEndpoint(t *testing.T, r *Registry, runtime bool) string {
	t.Helper()
	gauges := func() (list []Gauge) {
		for _, name := range asked {
			list = append(list, Gauge{Name: name, Value: 1})
		}
		return append(list, Gauge{Name: "quota_count_limit_per_namespace", Key: `a"b`, Value: 3}, Gauge{Name: "quota_count_limit_per_namespace", Key: `a"b`, Value: 4})
	}
	sums := func() []KeyedSum {
		return []KeyedSum{{Name: "read_per_namespace", Key: "app", Count: 2, Sum: 150}, {Name: "read_per_namespace", Key: "app", Count: 1}}
	}
	e, err := StartEndpoint(EndpointOptions{Address: "127.0.0.1:0", Runtime: runtime}, &Collector{Registry: r, Gauges: gauges, KeyedSums: sums}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + e.Addr().String()
}

func fetch(t *testing.T, url string) *http.Response {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestNamesOfJava compares with what a Java server's endpoint was recorded to say: every family that has a
// sample there is here, with the same type, the same labels and the same quantiles.
func TestNamesOfJava(t *testing.T) {
	f, err := os.Open("testdata/leader-3.8.0.metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := parse(t, f)
	resp := fetch(t, testEndpoint(t, New(), false)+"/metrics")
	if typ := resp.Header.Get("Content-Type"); !strings.HasPrefix(typ, "text/plain; version=0.0.4; charset=utf-8") {
		t.Errorf("content type %q", typ)
	}
	got := parse(t, resp.Body)
	compared := 0
	for name, w := range want {
		// Sets by server are those of an ensemble, sets by namespace come with data.
		if len(w.Metric) == 0 || slices.Contains(leaderOnly, name) || len(w.Metric[0].Label) > 0 && w.GetType() == dto.MetricType_SUMMARY {
			continue
		}
		g := got[name]
		if g == nil {
			t.Errorf("no %s", name)
			continue
		}
		compared++
		if g.GetType() != w.GetType() {
			t.Errorf("%s is a %v, want %v", name, g.GetType(), w.GetType())
			continue
		}
		if w.GetType() == dto.MetricType_SUMMARY {
			qs := func(m *dto.Metric) (list []float64) {
				for _, q := range m.Summary.Quantile {
					list = append(list, q.GetQuantile())
				}
				return list
			}
			if !slices.Equal(qs(g.Metric[0]), qs(w.Metric[0])) {
				t.Errorf("%s has quantiles %v, want %v", name, qs(g.Metric[0]), qs(w.Metric[0]))
			}
		}
	}
	if compared < 120 {
		t.Errorf("%d families compared", compared)
	}
	if set := got["quota_count_limit_per_namespace"]; set == nil || set.Metric[0].Label[0].GetName() != "key" || set.Metric[0].Label[0].GetValue() != `a"b` {
		t.Errorf("gauge set: %v", set)
	}
	if got["go_goroutines"] != nil || got["process_open_fds"] != nil {
		t.Error("figures of the runtime although they are not asked for")
	}
}

func TestEndpoint(t *testing.T) {
	r := New()
	r.Counter("diff_count").Add(3)
	r.CounterOf("quota_exceeded_error_per_namespace", "app").Add(2)
	r.Summary("fsynctime").AddBatch(4, 10)
	url := testEndpoint(t, r, true)
	got := parse(t, fetch(t, url+"/metrics").Body)
	if got["diff_count"].Metric[0].Counter.GetValue() != 3 {
		t.Errorf("%v", got["diff_count"])
	}
	if s := got["fsynctime"].Metric[0].Summary; s.GetSampleCount() != 10 || s.GetSampleSum() != 40 || s.Quantile[0].GetValue() != 4 {
		t.Errorf("%v", s)
	}
	if s := got["snapshottime"].Metric[0].Summary; s.GetSampleCount() != 0 || !math.IsNaN(s.Quantile[0].GetValue()) {
		t.Errorf("%v", s)
	}
	if m := got["quota_exceeded_error_per_namespace"].Metric[0]; m.Counter.GetValue() != 2 || m.Label[0].GetValue() != "app" {
		t.Errorf("%v", m)
	}
	// Two that look alike come once.
	if m := got["read_per_namespace"].Metric; len(m) != 1 || m[0].Summary.GetSampleCount() != 2 || m[0].Summary.GetSampleSum() != 150 || m[0].Label[0].GetValue() != "app" {
		t.Errorf("%v", m)
	}
	if got["go_goroutines"] == nil || got["process_open_fds"] == nil {
		t.Error("no figures of the runtime")
	}
	if n := len(parse(t, fetch(t, url+"/metrics?name[]=diff_count&name[]=uptime").Body)); n != 2 {
		t.Errorf("%d families through the filter", n)
	}
	for path, want := range map[string]int{"/": 404, "/metrics/": 404, "/metricsx": 404, "/commands": 404} {
		if got := fetch(t, url+path).StatusCode; got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	resp, err := http.Post(url+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d, %v", resp.StatusCode, err)
	}
	taken := strings.TrimPrefix(url, "http://")
	if _, err := StartEndpoint(EndpointOptions{Address: taken}, &Collector{Registry: r, Gauges: func() []Gauge { return nil }}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("taken address: %v", err)
	}
}

// TestHistogram compares quantiles with those of the sorted values.
func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var h histogram
		var values []int64
		limit := int64(1) << rng.IntN(62)
		for range 1 + rng.IntN(500) {
			v, n := rng.Int64N(limit), int64(1+rng.IntN(5))
			h.add(v, n)
			for range n {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		d := h.sorted(&histogram{})
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			got, ok := d.quantile(q)
			want := values[min(len(values)-1, int(q*float64(len(values))))]
			if !ok || got > want || want >= exactBelow && got < want-want/subBuckets || want < exactBelow && got != want {
				t.Fatalf("round %d, q %v: %d, want about %d", round, q, got, want)
			}
		}
	}
	for _, v := range []int64{0, 1, exactBelow - 1, exactBelow, exactBelow + 1, 1 << 20, math.MaxInt64} {
		if b := bucketOf(v); valueOf(b) > v || b < math.MaxInt32 && v < math.MaxInt64/2 && valueOf(b+1) <= v {
			t.Errorf("%d: bucket %d from %d", v, b, valueOf(b))
		}
	}
	if bucketOf(-5) != 0 {
		t.Error("a negative value has a bucket of its own")
	}
}

// TestWindow: quantiles forget what is ten minutes old; counts do not.
func TestWindow(t *testing.T) {
	r := New()
	s := r.Summary("readlatency")
	at := time.Unix(1000, 0)
	median := func() float64 { return s.quantiles(at)[0.5] }
	s.AddBatch(100, 50)
	if m := median(); m != 100 {
		t.Errorf("median %v", m)
	}
	at = at.Add(4 * time.Minute)
	s.AddBatch(1, 200)
	if m := median(); m != 1 {
		t.Errorf("median %v", m)
	}
	for range 3 {
		at = at.Add(windowSpan)
		median()
	}
	if m := median(); !math.IsNaN(m) {
		t.Errorf("median %v of nothing new", m)
	}
	s.Add(7)
	if m, v := median(), s.Values(); m != 7 || v.Count != 251 || v.Percentiles[0] != 1 {
		t.Errorf("median %v, %+v", m, v)
	}
	r.Reset()
	if m := median(); !math.IsNaN(m) {
		t.Errorf("median %v after a reset", m)
	}
}

// TestBias: many of one value and few of another are told apart, in whichever order they come.
func TestBias(t *testing.T) {
	for _, order := range [][2]int64{{0, 5}, {5, 0}} {
		s := New().Summary("readlatency")
		for _, v := range order {
			n := int64(1_000_000)
			if v == 5 {
				n = 4096
			}
			s.AddBatch(v, n)
		}
		if v := s.Values(); v.Percentiles[0] != 0 || v.Percentiles[1] != 0 || v.Percentiles[3] != 5 {
			t.Errorf("%v: %v", order, v.Percentiles)
		}
	}
}

func BenchmarkSummaryAdd(b *testing.B) {
	s := New().Summary("readlatency")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(int64(i & 63))
	}
}

func TestAllocations(t *testing.T) {
	s, c := New().Summary("fsynctime"), New().Counter("diff_count")
	s.Add(3)
	if n := testing.AllocsPerRun(100, func() { s.AddBatch(3, 2); c.Add(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
