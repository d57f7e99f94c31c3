package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// startServer runs a server until the test ends and returns when it has logged want.
func startServer(t *testing.T, dir, cfg, want string) {
	t.Helper()
	cmd := command(t, dir, "server", cfg)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	var seen []string
	for !strings.Contains(strings.Join(seen, "\n"), want) && lines.Scan() {
		seen = append(seen, lines.Text())
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("server ended with %v; it logged\n%s", err, strings.Join(seen, "\n"))
		}
	})
}

// TestEndpoints: AdminServer and metrics are served as zoo.cfg says, and a port that is taken ends the second
// server with Java's codes.
func TestEndpoints(t *testing.T) {
	const provider = "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
	dir := t.TempDir()
	adminPort, metricsPort := freePort(t), freePort(t)
	admin := []string{"admin.enableServer=true", "admin.serverAddress=127.0.0.1", fmt.Sprintf("admin.serverPort=%d", adminPort)}
	prometheus := []string{provider, "metricsProvider.httpHost=127.0.0.1", fmt.Sprintf("metricsProvider.httpPort=%d", metricsPort)}
	cfg, _ := writeConfig(t, dir, append(append([]string{}, admin...), prometheus...)...)
	startServer(t, dir, cfg, "Started AdminServer on address 127.0.0.1")

	body := func(url string) string {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", url, resp.StatusCode, err)
		}
		return string(b)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d/commands/", adminPort)
	if got := body(base + "ruok"); got != "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}" {
		t.Errorf("ruok: %s", got)
	}
	if got := body(base + "icfg"); !strings.Contains(got, provider) {
		t.Errorf("icfg: %s", got)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body(fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort))))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"znode_count", "fsynctime", "outstanding_requests", "process_resident_memory_bytes", "go_goroutines"} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	refused := func(code int, want string, lines []string) {
		other := t.TempDir()
		cfg, _ := writeConfig(t, other, lines...)
		if _, errOut, got := zabra(t, other, "server", cfg); got != code || !strings.Contains(errOut, want) {
			t.Errorf("exit %d, want %d with %q; got\n%s", got, code, want, errOut)
		}
	}
	refused(4, "Unable to start AdminServer, exiting abnormally", admin)
	refused(1, "metricsProvider.httpPort", prometheus)
}
