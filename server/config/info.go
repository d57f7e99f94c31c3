package config

import (
	"fmt"
	"net/netip"
)

// InfoLines returns what the Java server logs at INFO while it reads a configuration, in its order and
// words. resolved names are printed as written. Source: spec/operations.md 6.2.
func (c *Config) InfoLines() []string {
	var lines []string
	if c.Path != "" {
		lines = append(lines, "Reading configuration from: "+c.Path)
	}
	for _, l := range []struct {
		name string
		Listener
	}{{"clientPort", c.Client.Plain}, {"secureClientPort", c.Client.Secure}} {
		if !l.Enabled {
			lines = append(lines, l.name+" is not set")
			continue
		}
		host := orWildcard(l.Host)
		if a, err := netip.ParseAddr(host); err == nil {
			host = bracketed(a.String())
		}
		lines = append(lines, fmt.Sprintf("%sAddress is %s:%d", l.name, host, l.Port))
	}
	if p := c.Ensemble.ObserverMasterPort; p > 0 {
		lines = append(lines, fmt.Sprintf("observerMasterPort is %d", p))
	} else {
		lines = append(lines, "observerMasterPort is not set")
	}
	return append(lines, "metricsProvider.className is "+c.Metrics.ClassName)
}
