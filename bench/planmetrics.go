package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errNoFigure reports a metrics page without the figures of the process.
var errNoFigure = errors.New("bench: the page has no process_cpu_seconds_total and process_resident_memory_bytes: set metricsProvider.exportJvmInfo=true")

// metricsPatience bounds a request for metrics, metricsMost the bytes of the answer that are read.
const (
	metricsPatience = 5 * time.Second
	metricsMost     = 16 << 20
)

// A processFigure is what a server's process has used so far, and holds.
type processFigure struct {
	cpuSeconds float64
	rssBytes   int64
	writeCalls int64 // -1: unknown
}

// askMetrics reads the figures of a process from a page in the text format of Prometheus, as ZooKeeper's and Zabra's
// PrometheusMetricsProvider have it.
func askMetrics(ctx context.Context, page string) (processFigure, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return processFigure{}, fmt.Errorf("bench: metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return processFigure{}, fmt.Errorf("bench: metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return processFigure{}, fmt.Errorf("bench: metrics: %s answers %s", page, resp.Status)
	}
	f, err := parseMetrics(io.LimitReader(resp.Body, metricsMost))
	if err != nil {
		return processFigure{}, fmt.Errorf("%s: %w", page, err)
	}
	return f, nil
}

func parseMetrics(r io.Reader) (processFigure, error) {
	f := processFigure{writeCalls: -1}
	found := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name != "process_cpu_seconds_total" && name != "process_resident_memory_bytes" {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return f, fmt.Errorf("bench: metrics: %s: %w", name, err)
		}
		if found++; name == "process_cpu_seconds_total" {
			f.cpuSeconds = v
		} else {
			f.rssBytes = int64(v)
		}
	}
	if err := lines.Err(); err != nil {
		return f, fmt.Errorf("bench: metrics: %w", err)
	}
	if found != 2 {
		return f, errNoFigure
	}
	return f, nil
}

// parsePages reads -metrics: a page for each server.
func parsePages(s string, servers int) ([]string, error) {
	pages := strings.Split(s, ",")
	if len(pages) != servers {
		return nil, fmt.Errorf("%d pages for %d servers: one for each, in their order", len(pages), servers)
	}
	for _, p := range pages {
		if u, err := url.Parse(p); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%q is not the address of a page, such as http://h1:7000/metrics", p)
		}
	}
	return pages, nil
}
