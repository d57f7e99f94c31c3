package server

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// monitor reads mntr as a map.
func monitor(t *testing.T, s *Server) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, p := range s.MonitorPairs() {
		if v, err := strconv.ParseFloat(p.Value, 64); err == nil {
			out[p.Key] = v
		}
	}
	return out
}

// TestStageFigures: what clients do shows in the figures of the stages, with exact counts.
func TestStageFigures(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	c := dial(t, s)
	ctx := testContext(t)
	const writes, reads = 20, 5
	for i := range writes {
		mustCreate(t, c, "/n"+strconv.Itoa(i), "0123456789")
	}
	for range reads {
		if _, _, err := c.GetData(ctx, "/n0"); err != nil {
			t.Fatal(err)
		}
	}
	m := monitor(t, s)
	for name, want := range map[string]float64{
		// The createSession is a request, too.
		"prep_processor_request_queued": writes + 1, "sync_processor_request_queued": writes + 1, "outstanding_changes_queued": writes + 1,
		"outstanding_changes_removed": writes + 1, "cnt_prep_processor_queue_time_ms": writes + 1, "cnt_sync_processor_queue_and_flush_time_ms": writes + 1,
		"cnt_write_final_proc_time_ms": writes + 1, "cnt_propagation_latency": writes + 1, "connection_request_count": 1,
		"connection_drop_count": 0, "cnt_updatelatency": writes, "cnt_readlatency": reads, "stale_replies": 0,
	} {
		if m[name] != want {
			t.Errorf("%s is %v, want %v", name, m[name], want)
		}
	}
	if m["cnt_fsynctime"] < writes || m["cnt_sync_processor_batch_size"] < writes || m["cnt_fsynctime"] != m["cnt_sync_processor_queue_flush_time_ms"] {
		t.Errorf("%v syncs, %v groups for %d writes one after the other", m["cnt_fsynctime"], m["cnt_sync_processor_batch_size"], writes)
	}
	if m["bytes_received_count"] < (writes+reads)*20 || m["response_bytes"] < (writes+reads)*20 {
		t.Errorf("%v bytes received, %v sent", m["bytes_received_count"], m["response_bytes"])
	}
	left := make(chan int, 1)
	s.replica.post(func(r *replica) { left <- len(r.stages.marks) - r.stages.head })
	if n := <-left; n != 0 {
		t.Errorf("%d turns are still noted as under way", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return monitor(t, s)["connection_drop_count"] == 1 })
	if m = monitor(t, s); m["cnt_close_session_prep_time"] != 1 {
		t.Errorf("close_session_prep_time counts %v", m["cnt_close_session_prep_time"])
	}
	s.ResetStats()
	if m = monitor(t, s); m["prep_processor_request_queued"] != 0 || m["cnt_fsynctime"] != 0 || m["cnt_updatelatency"] != 0 || m["bytes_received_count"] != 0 {
		t.Errorf("after srst: %v", m)
	}
}

// TestSessionFigures: expiry and re-attaching are counted.
func TestSessionFigures(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	r := dialRaw(t, s)
	resp, err := r.NewSession(400 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	again := dialRaw(t, s)
	if _, err := again.Handshake(proto.ConnectRequest{TimeoutMs: 400, SessionID: resp.SessionID, Password: resp.Password[:]}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return monitor(t, s)["stale_sessions_expired"] == 1 })
	if m := monitor(t, s); m["connection_revalidate_count"] != 1 || m["connection_request_count"] != 2 {
		t.Errorf("%v revalidated, %v connect requests", m["connection_revalidate_count"], m["connection_request_count"])
	}
}

// TestQuotaFigures: limits, usage and refusals add up by the first component of the path.
func TestQuotaFigures(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir(), "enforceQuota=true"))
	c := dial(t, s)
	ctx := testContext(t)
	for _, p := range [][2]string{
		{"/app", "abc"}, {"/app/a", "defg"}, {"/app/b", ""}, {"/other", ""},
		{"/zookeeper/quota/app", ""}, {"/zookeeper/quota/app/a", ""}, {"/zookeeper/quota/app/b", ""},
		{"/zookeeper/quota/app/a/zookeeper_limits", "count=10,bytes=100=;byteHardLimit=4;countHardLimit=-1"}, {"/zookeeper/quota/app/a/zookeeper_stats", "count=0,bytes=0"},
		{"/zookeeper/quota/app/b/zookeeper_limits", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=5"}, {"/zookeeper/quota/app/b/zookeeper_stats", "count=0,bytes=0"},
	} {
		mustCreate(t, c, p[0], p[1])
	}
	if _, err := c.SetData(ctx, "/app/a", []byte("too long"), -1); !errors.Is(err, proto.ErrQuotaExceeded) {
		t.Fatal(err)
	}
	if _, err := c.Multi(ctx, client.SetDataOp("/app/a", []byte("too long"), -1)); err == nil {
		t.Fatal("a multi exceeds the quota")
	}
	m := monitor(t, s)
	for name, want := range map[string]float64{
		"app_quota_count_limit_per_namespace": 15, "app_quota_bytes_limit_per_namespace": 4,
		"app_quota_count_usage_per_namespace": 2, "app_quota_bytes_usage_per_namespace": 4, "app_quota_exceeded_error_per_namespace": 2,
	} {
		if m[name] != want {
			t.Errorf("%s is %v, want %v", name, m[name], want)
		}
	}
	if _, ok := m["other_quota_count_limit_per_namespace"]; ok {
		t.Error("a namespace without a quota has a limit")
	}
}

// TestMetricsProviders: without a provider there are no figures; what Prometheus scrapes does not fall.
func TestMetricsProviders(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.MetricsProvider = config.MetricsNull
	null := startServer(t, o)
	if pairs := null.MonitorPairs(); len(pairs) != 2 || !null.Stats().ProviderNull {
		t.Errorf("%v", pairs)
	}
	o = testOptions(t, t.TempDir())
	o.MetricsProvider = config.MetricsPrometheus
	s := startServer(t, o)
	mustCreate(t, dial(t, s), "/x", "")
	s.ResetStats()
	if m := monitor(t, s); m["prep_processor_request_queued"] != 2 || m["packets_received"] != 0 {
		t.Errorf("%v requests, %v packets", m["prep_processor_request_queued"], m["packets_received"])
	}
}
