package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// startStandalone runs a standalone server in this process, with real files and sockets, and returns its address.
func startStandalone(tb testing.TB, lines string) string {
	tb.Helper()
	return startServer(tb, tb.TempDir(), "clientPort=2181\n"+lines)
}

// startServer runs a server on dir in this process, on a free port of the loopback address, and returns its address. It ends with tb.
func startServer(tb testing.TB, dir, lines string) string {
	tb.Helper()
	text := "tickTime=2000\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n4lw.commands.whitelist=*\ndataDir=" + dir + "\n" + lines
	path := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	cfg, _, err := config.Load(path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	opts := server.FromConfig(cfg)
	opts.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	if cfg.IsDistributed() {
		if err := server.EnsembleFromConfig(&opts, cfg, log); err != nil {
			tb.Fatal(err)
		}
	}
	s, err := server.Start(opts, log)
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

// startEnsemble runs an ensemble of three servers in this process and returns the addresses for clients once all serve.
func startEnsemble(tb *testing.B) []string {
	tb.Helper()
	const size = 3
	var lines strings.Builder
	for i, p := range freePorts(tb, 2*size) {
		switch i % 2 {
		case 0:
			fmt.Fprintf(&lines, "server.%d=127.0.0.1:%d", i/2+1, p)
		case 1:
			fmt.Fprintf(&lines, ":%d\n", p)
		}
	}
	var addrs []string
	for id := 1; id <= size; id++ {
		dir := tb.TempDir()
		if err := os.WriteFile(filepath.Join(dir, config.MyIDFile), []byte(fmt.Sprintln(id)), 0o644); err != nil {
			tb.Fatal(err)
		}
		addrs = append(addrs, startServer(tb, dir, "clientPort=2181\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n"+lines.String()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, addr := range addrs {
		c, err := client.Dial(ctx, addr, client.Options{})
		if err != nil {
			tb.Fatalf("the server at %s does not serve: %v", addr, err)
		}
		c.Close()
	}
	return addrs
}

// freePorts returns ports of the loopback address that nobody listened on a moment ago.
func freePorts(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close() // at the end, so that no port comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// BenchmarkStandalone measures a whole server, together with the generator, in one process: what a
// request costs in processor time (cpu-ns/op) and allocations is that of both; a request of the generator is about
// 300 ns of reading and 600 ns of writing, and no allocation.
func BenchmarkStandalone(b *testing.B) {
	sweep(b, func(b *testing.B) []string { return []string{startStandalone(b, "")} })
}

// BenchmarkEnsemble is BenchmarkStandalone for three servers, sessions spread over them: the throughput table of ZooKeeper's paper
// (section 5.1) for payloads and depths of pipelines. Messages between the servers go over the loopback, and all
// three sync.
func BenchmarkEnsemble(b *testing.B) { sweep(b, startEnsemble) }

// sweep measures mixes of gets and sets; start is called for each.
func sweep(b *testing.B, start func(b *testing.B) []string) {
	for _, reads := range []int{100, 95, 50, 0} {
		for _, payload := range []int{100, 1 << 10, 16 << 10} {
			for _, outstanding := range []int{1, 16} {
				b.Run(fmt.Sprintf("reads=%d/payload=%d/outstanding=%d", reads, payload, outstanding), func(b *testing.B) {
					var mix load.Mix
					mix[load.Get], mix[load.Set] = float64(reads), float64(100-reads)
					benchmarkMix(b, load.Config{
						Addrs: start(b), Mix: mix, Sessions: 48, Outstanding: outstanding, Payload: load.FixedSize(payload), Keys: 1000,
					}, payload)
				})
			}
		}
	}
}

func benchmarkMix(b *testing.B, cfg load.Config, payload int) {
	ctx := context.Background()
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
