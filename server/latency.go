package server

import (
	"math/bits"

	"zabra.dev/zabra/server/metrics"
)

const (
	exactLatencyMs = 64 // latencies below have a bucket each
	latencyBuckets = exactLatencyMs + 32
)

// latencyHistogram counts latencies in milliseconds: exactly below exactLatencyMs, by powers of two
// above. A loop has its own, so that counting costs one increment; they are added up when
// somebody looks.
type latencyHistogram [latencyBuckets]int64

func (h *latencyHistogram) record(ms int64) {
	if ms < exactLatencyMs {
		h[ms]++
		return
	}
	h[min(exactLatencyMs+bits.Len64(uint64(ms/exactLatencyMs))-1, latencyBuckets-1)]++
}

// moveTo adds the counts to s, each with the least latency of its bucket, and zeroes them.
func (h *latencyHistogram) moveTo(s *metrics.Summary) {
	for i, n := range h {
		if n == 0 {
			continue
		}
		ms := int64(i)
		if i >= exactLatencyMs {
			ms = exactLatencyMs << (i - exactLatencyMs)
		}
		s.AddBatch(ms, n)
		h[i] = 0
	}
}
