package config

import (
	"fmt"
	"log/slog"
	"strings"
)

const (
	defaultMetricsProvider    = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
	nullMetricsProvider       = "org.apache.zookeeper.metrics.impl.NullMetricsProvider"
	prometheusMetricsProvider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
)

// metricsKeys are the rows of metricsProvider in spec/operations.md 1.4, with those of 5.1 that the
// Prometheus provider knows.
func metricsKeys() []*Key {
	const name = "metricsProvider."
	row := func(key, def string, kind Kind, unit string, target func(*Config) any) *Key {
		return fixed(name+key, def, kind, unit, target).checked(checkMetricsProperty)
	}
	t := []*Key{
		fixed(name+"className", defaultMetricsProvider, KindString, "", func(c *Config) any { return &c.Metrics.ClassName }).checked(checkMetricsProvider),
		row("httpHost", "0.0.0.0", KindString, "", func(c *Config) any { return &c.Metrics.HTTPHost }),
		row("httpPort", "7000", KindInt, "", func(c *Config) any { return &c.Metrics.HTTPPort }),
		row("httpsPort", "", KindInt, "", func(c *Config) any { return &c.Metrics.HTTPSPort }),
		// Not strict, unlike the other booleans of the file.
		row("exportJvmInfo", "true", KindString, "", nil),
		row("ssl.keyStore.location", "", KindPath, "", func(c *Config) any { return &c.Metrics.TLS.KeyStore.Location }),
		row("ssl.keyStore.password", "", KindString, "", func(c *Config) any { return &c.Metrics.TLS.KeyStore.Password }),
		row("ssl.keyStore.type", "", KindString, "", func(c *Config) any { return &c.Metrics.TLS.KeyStore.Type }),
		row("ssl.trustStore.location", "", KindPath, "", func(c *Config) any { return &c.Metrics.TLS.TrustStore.Location }),
		row("ssl.trustStore.password", "", KindString, "", func(c *Config) any { return &c.Metrics.TLS.TrustStore.Password }),
		row("ssl.trustStore.type", "", KindString, "", func(c *Config) any { return &c.Metrics.TLS.TrustStore.Type }),
		row("ssl.need.client.auth", "true", KindString, "", nil),
		row("ssl.want.client.auth", "true", KindString, "", nil),
		row("ssl.enabledProtocols", "", KindList, "", func(c *Config) any { return &c.Metrics.TLS.EnabledProtocols }),
		row("ssl.ciphersuites", "", KindList, "", func(c *Config) any { return &c.Metrics.TLS.CipherSuites }),
	}
	queue := "figures are noted at once, without a queue"
	for _, key := range []string{"numWorkerThreads=1", "maxQueueSize=1000000", "workerShutdownTimeoutMs=1000"} {
		key, def, _ := strings.Cut(key, "=")
		t = append(t, row(key, def, KindString, "", nil).without(queue))
	}
	t = append(t, row("prometheusMetricsSummaryRotateIntervalSeconds", "60", KindString, "", nil).without("quantiles are those of the last five to ten minutes"))
	return append(t, fixed(name+"*", "", KindString, "", nil).without("the provider knows no such key").checked(checkMetricsProperty))
}

// checkMetricsProperty keeps the property and checks those with a meaning.
func checkMetricsProperty(b *builder, k *Key, s Setting) *Error {
	m := &b.cfg.Metrics
	name := strings.TrimPrefix(s.Key, "metricsProvider.")
	switch name {
	case "exportJvmInfo":
		m.ExportRuntime = strings.EqualFold(s.Value, "true")
	case "httpPort", "httpsPort":
		if port := max(m.HTTPPort, m.HTTPSPort); port > 65535 || min(m.HTTPPort, m.HTTPSPort) < 0 {
			return b.refuse(s, fmt.Sprintf("port out of range:%d", port), "give a port from 1 to 65535, or drop the key")
		}
	case "ssl.need.client.auth":
		m.needClientAuth = strings.EqualFold(s.Value, "true")
	case "ssl.want.client.auth":
		m.wantClientAuth = strings.EqualFold(s.Value, "true")
	}
	m.TLS.ClientAuth = "none"
	if m.wantClientAuth {
		m.TLS.ClientAuth = "want"
	}
	if m.needClientAuth {
		m.TLS.ClientAuth = "need"
	}
	if s.Origin == FromDefault {
		return nil
	}
	m.Properties[name] = s.Value
	if k.Treatment == Honoured {
		b.late = append(b.late, func() *Error {
			if m.Provider != MetricsPrometheus {
				b.warn(slog.LevelWarn, s.Key, s.Key+" has no effect: metricsProvider.className names a provider without an endpoint")
			}
			return nil
		})
	}
	return nil
}

func checkMetricsProvider(b *builder, _ *Key, s Setting) *Error {
	switch s.Value {
	case defaultMetricsProvider:
		b.cfg.Metrics.Provider = MetricsDefault
	case nullMetricsProvider:
		b.cfg.Metrics.Provider = MetricsNull
	case prometheusMetricsProvider:
		b.cfg.Metrics.Provider = MetricsPrometheus
	default:
		return b.refuse(s, "metrics provider class was not found",
			"write "+prometheusMetricsProvider+", "+nullMetricsProvider+", or drop the key for the default provider")
	}
	return nil
}
