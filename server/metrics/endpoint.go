package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"zabra.dev/zabra/server/certs"
)

// EndpointOptions are the settings of an Endpoint; names in parentheses are keys of zoo.cfg behind
// metricsProvider.
type EndpointOptions struct {
	Address string // host:port (httpHost, httpPort or httpsPort)
	// Runtime adds the figures of the process and of Go's runtime, go_* and process_* (exportJvmInfo).
	Runtime bool
	// TLS makes it HTTPS, PlainToo HTTP as well on the same port.
	TLS      *tls.Config
	PlainToo bool
}

// An Endpoint serves /metrics, and nothing else, until Stop.
type Endpoint struct {
	http     http.Server
	listener net.Listener
	log      *slog.Logger
	done     chan struct{} // closed when http has ended
}

const (
	// headerTimeout and idleTimeout keep connections that say nothing from staying.
	headerTimeout = 30 * time.Second
	idleTimeout   = 5 * time.Minute
	// scrapesMax bounds what is gathered at a time: each scrape takes all gates for a moment.
	scrapesMax = 4
	// shutdownTimeout is how long a stop waits for scrapes.
	shutdownTimeout = 2 * time.Second
)

// StartEndpoint binds the address and serves what c collects. The error names the address. The caller must
// call Stop. Source: operations, section 5.1.
func StartEndpoint(o EndpointOptions, c *Collector, log *slog.Logger) (*Endpoint, error) {
	handler, err := newHandler(o, c, log)
	if err != nil {
		return nil, err
	}
	// The context only bounds name resolution.
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("metrics: cannot listen on %s: %w", o.Address, err)
	}
	switch {
	case o.TLS == nil:
	case o.PlainToo:
		l = certs.Unify(l, o.TLS, nil)
	default:
		l = tls.NewListener(l, o.TLS)
	}
	e := &Endpoint{listener: l, log: log, done: make(chan struct{})}
	e.http = http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() {
		defer close(e.done)
		if err := e.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("The metrics endpoint ended", "err", err)
		}
	}()
	log.Info(fmt.Sprintf("Serving metrics on %s/metrics", l.Addr()))
	return e, nil
}

func newHandler(o EndpointOptions, c *Collector, log *slog.Logger) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	list := []prometheus.Collector{c}
	if o.Runtime {
		list = append(list, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	for _, x := range list {
		if err := reg.Register(x); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	serve := promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		// No OpenMetrics: it would put _total behind the names of counters, which dashboards do not know.
		MaxRequestsInFlight: scrapesMax,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			serve.ServeHTTP(w, r)
		}
	}), nil
}

// Addr is the bound address.
func (e *Endpoint) Addr() net.Addr { return e.listener.Addr() }

// Stop ends the service: scrapes under way are given a moment, then their connections are closed.
func (e *Endpoint) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := e.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.http.Close()
	}
	<-e.done
	return err
}
