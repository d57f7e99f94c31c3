package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/admin"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/metrics"
)

// endpoints are what a server listens on beside its client ports.
type endpoints struct {
	admin   *admin.AdminServer // nil: not wanted
	metrics []*metrics.Endpoint
}

// startEndpoints starts what cfg asks for. The error is for exitWith; nothing is left running then.
func startEndpoints(cfg *config.Config, s *server.Server, log *slog.Logger) (*endpoints, error) {
	e := &endpoints{}
	if err := e.startMetrics(cfg, s, log); err != nil {
		e.stop(log)
		return nil, err
	}
	if cfg.Admin.Enabled {
		opts, err := admin.FromConfig(cfg, configText(cfg, log), log)
		if err == nil {
			e.admin, err = admin.Start(opts, s, log)
		}
		if err != nil && cfg.IsDistributed() {
			// A member of an ensemble goes on without, as a Java server does.
			log.Warn("Problem starting AdminServer", "err", err)
			return e, nil
		}
		if err != nil {
			e.stop(log)
			return nil, &config.Error{ExitCode: config.ExitAdminServer, Message: err.Error(),
				Key: "admin.serverPort", Value: fmt.Sprint(cfg.Admin.Port), Fix: "free the port, choose another one, or set admin.enableServer=false"}
		}
		warnOpenRestore(cfg, s, log)
	}
	return e, nil
}

// startMetrics starts the Prometheus provider, and what stands for the exporter that -javaagent names.
func (e *endpoints) startMetrics(cfg *config.Config, s *server.Server, log *slog.Logger) error {
	m := &cfg.Metrics
	start := func(key, host string, port int, secure *tls.Config, plainToo bool) error {
		o := metrics.EndpointOptions{Address: net.JoinHostPort(host, strconv.Itoa(port)), Runtime: m.ExportRuntime, TLS: secure, PlainToo: plainToo}
		endpoint, err := metrics.StartEndpoint(o, &metrics.Collector{Registry: s.Figures(), Gauges: s.Gauges, KeyedSums: s.NamespaceSums}, log)
		if err != nil {
			return &config.Error{ExitCode: config.ExitUnexpected, Message: err.Error(), Key: key, Value: strconv.Itoa(port), Fix: "free the port or choose another one"}
		}
		e.metrics = append(e.metrics, endpoint)
		return nil
	}
	prometheus := m.Provider == config.MetricsPrometheus
	// As on a Java server, a port for HTTPS alone means no plain one.
	plain := prometheus && (m.HTTPSPort == 0 || cfg.IsSet("metricsProvider.httpPort"))
	unified := plain && m.HTTPPort == m.HTTPSPort
	if plain && !unified {
		if err := start("metricsProvider.httpPort", m.HTTPHost, m.HTTPPort, nil, false); err != nil {
			return err
		}
	}
	if prometheus && m.HTTPSPort != 0 {
		secure, err := certs.ServerConfig(certs.Options{Side: &m.TLS, Prefix: "metricsProvider.ssl.", Log: log})
		if err != nil {
			return &config.Error{ExitCode: config.ExitInvalidInvocation, Message: err.Error(), Key: "metricsProvider.httpsPort", Value: strconv.Itoa(m.HTTPSPort),
				Fix: "give key and trust stores in PEM, PKCS12 or JKS with their passwords, or drop the key"}
		}
		if err := start("metricsProvider.httpsPort", m.HTTPHost, m.HTTPSPort, secure, unified); err != nil {
			return err
		}
	}
	if m.JavaAgentPort != 0 && !(plain && m.JavaAgentPort == m.HTTPPort) {
		return start("JVMFLAGS", "0.0.0.0", m.JavaAgentPort, nil, false)
	}
	return nil
}

// stop ends them.
func (e *endpoints) stop(log *slog.Logger) {
	for _, m := range e.metrics {
		if err := m.Stop(); err != nil {
			log.Warn("Stopping the metrics endpoint was not clean", "err", err)
		}
	}
	if e.admin != nil {
		if err := e.admin.Stop(); err != nil {
			log.Warn("Stopping the AdminServer was not clean", "err", err)
		}
	}
}

// configText reads what the command initial_configuration tells: the text of zoo.cfg as it is now.
func configText(cfg *config.Config, log *slog.Logger) []byte {
	if cfg.Path == "" {
		return nil
	}
	text, err := os.ReadFile(cfg.Path)
	if err != nil {
		log.Warn("The configuration file cannot be read again; initial_configuration will tell nothing", "err", err)
		return nil
	}
	return text
}

// warnOpenRestore tells that anybody may replace the data, as on a Java server: any made-up identity has the
// rights that the root gives to everybody.
func warnOpenRestore(cfg *config.Config, s *server.Server, log *slog.Logger) {
	addr, err := netip.ParseAddr(cfg.Admin.Address)
	if !cfg.IsDistributed() && cfg.Admin.RestoreEnabled && cfg.Storage.SerializeLastZxid && (err != nil || !addr.IsLoopback()) && s.MayAdminister(nil) {
		log.Warn(fmt.Sprintf("Whoever reaches the AdminServer on %s, port %d may replace all data by the restore command, as long as the ACL of / is open. "+
			"Set an ACL on /, or admin.restore.enabled=false, or admin.serverAddress=127.0.0.1", cfg.Admin.Address, cfg.Admin.Port))
	}
}
