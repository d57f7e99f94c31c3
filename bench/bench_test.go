package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
)

// startStandalone runs a standalone server in this process, with real files and sockets, and returns its address.
func startStandalone(tb testing.TB, lines string) string {
	tb.Helper()
	text := "tickTime=2000\nclientPortAddress=127.0.0.1\nclientPort=2181\nmaxClientCnxns=0\n4lw.commands.whitelist=*\ndataDir=" + tb.TempDir() + "\n" + lines
	p, err := config.ParseProperties([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	cfg, _, err := config.Parse(p, config.Source{})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		tb.Fatal(err)
	}
	opts := server.FromConfig(cfg)
	opts.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	s, err := server.Start(opts, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s.Addr(0).String()
}

// BenchmarkStandalone measures a whole server, together with the generator, in one process: what a
// request costs in processor time (cpu-ns/op) and allocations is that of both; a request of the generator is about
// 300 ns of reading and 600 ns of writing, and no allocation.
func BenchmarkStandalone(b *testing.B) {
	for _, reads := range []int{100, 95, 50, 0} {
		for _, payload := range []int{100, 1 << 10, 16 << 10} {
			for _, outstanding := range []int{1, 16} {
				b.Run(fmt.Sprintf("reads=%d/payload=%d/outstanding=%d", reads, payload, outstanding), func(b *testing.B) {
					var mix load.Mix
					mix[load.Get], mix[load.Set] = float64(reads), float64(100-reads)
					benchmarkMix(b, load.Config{
						Mix: mix, Sessions: 48, Outstanding: outstanding, Payload: load.FixedSize(payload), Keys: 1000,
					}, payload)
				})
			}
		}
	}
}

func benchmarkMix(b *testing.B, cfg load.Config, payload int) {
	ctx := context.Background()
	cfg.Addrs = []string{startStandalone(b, "")}
	if err := load.Fill(ctx, cfg); err != nil {
		b.Fatal(err)
	}
	// What a server allocates once (buffers of connections, pools, log segments) is not what a request costs.
	warm := cfg
	warm.Requests = 50_000
	if _, err := load.Run(ctx, warm); err != nil {
		b.Fatal(err)
	}
	cfg.Requests = int64(b.N)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	b.SetBytes(int64(payload))
	b.ResetTimer()
	res, err := load.Run(ctx, cfg)
	b.StopTimer()
	runtime.ReadMemStats(&after)
	if err != nil {
		b.Fatal(err)
	}
	if res.Total.Errors > 0 || res.Total.Count != cfg.Requests {
		b.Fatalf("%d of %d requests succeeded: %v", res.Total.Count, cfg.Requests, res.Total.ErrorsBy)
	}
	n := float64(b.N)
	b.ReportMetric(float64(res.Total.Latency.P50)/1e3, "p50-us")
	b.ReportMetric(float64(res.Total.Latency.P99)/1e3, "p99-us")
	b.ReportMetric(float64(res.GeneratorCPU)/n, "cpu-ns/op")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/op")
}
