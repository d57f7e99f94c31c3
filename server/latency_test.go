package server

import (
	"testing"

	"zabra.dev/zabra/server/metrics"
)

func TestLatencyHistogram(t *testing.T) {
	f := func(ms, want int64) {
		t.Helper()
		var h latencyHistogram
		h.record(ms)
		s := metrics.New().Summary("readlatency")
		h.moveTo(s)
		if v := s.Values(); v.Count != 1 || v.Max != want || h != (latencyHistogram{}) {
			t.Errorf("%d ms: got %+v, want one of %d", ms, v, want)
		}
	}
	f(0, 0)
	f(63, 63)
	f(64, 64)
	f(127, 64)
	f(128, 128)
	f(1000, 512)
}
