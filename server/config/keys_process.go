package config

import (
	"fmt"
	"strings"
)

// adminKeys, processKeys and clientSideKeys are the last tables of spec/operations.md 1.8.
func adminKeys() []*Key {
	return []*Key{
		prop("admin.enableServer", "true", KindYesNo, "", func(c *Config) any { return &c.Admin.Enabled }),
		prop("admin.serverAddress", "0.0.0.0", KindString, "", func(c *Config) any { return &c.Admin.Address }),
		prop("admin.serverPort", "8080", KindInt, "", func(c *Config) any { return &c.Admin.Port }).checked(checkAdminPort),
		prop("admin.idleTimeout", "30000", KindDuration, "ms", func(c *Config) any { return &c.Admin.IdleTimeout }),
		prop("admin.commandURL", "/commands", KindString, "", func(c *Config) any { return &c.Admin.CommandURL }).checked(checkCommandURL),
		prop("admin.httpVersion", "11", KindInt, "", nil).without("HTTP/1.1 is always served"),
		prop("admin.portUnification", "false", KindBool, "", func(c *Config) any { return &c.Admin.PortUnification }),
		prop("admin.forceHttps", "false", KindBool, "", func(c *Config) any { return &c.Admin.ForceHTTPS }),
		prop("admin.needClientAuth", "false", KindBool, "", func(c *Config) any { return &c.Admin.NeedClientAuth }),
		prop("admin.snapshot.enabled", "true", KindBool, "", func(c *Config) any { return &c.Admin.SnapshotEnabled }),
		prop("admin.restore.enabled", "true", KindBool, "", func(c *Config) any { return &c.Admin.RestoreEnabled }),
		prop("admin.rateLimiterIntervalInMS", "300000", KindDuration, "ms", func(c *Config) any { return &c.Admin.RateLimitInterval }),
	}
}

func checkAdminPort(b *builder, _ *Key, s Setting) *Error {
	if p := b.cfg.Admin.Port; p < 0 || p > 65535 {
		return b.refuse(s, fmt.Sprintf("port out of range:%d", p), "give a port from 1 to 65535, or set admin.enableServer=false")
	}
	return nil
}

func checkCommandURL(b *builder, _ *Key, s Setting) *Error {
	if !strings.HasPrefix(s.Value, "/") {
		return b.refuse(s, "admin.commandURL must begin with a slash", "write /"+s.Value)
	}
	return nil
}

const reasonLog = "the log goes to standard error, redirect that; zkServer.sh start does, into ZOO_LOG_DIR"

func processKeys() []*Key {
	t := []*Key{
		prop("log.dir", "", KindPath, "", func(c *Config) any { return &c.Process.LogDir }).without(reasonLog),
		prop("log.file", "", KindPath, "", func(c *Config) any { return &c.Process.LogFile }).without(reasonLog),
		prop("root.logger", "", KindString, "", func(c *Config) any { return &c.Process.RootLogger }),
		prop("console.threshold", "", KindString, "", func(c *Config) any { return &c.Process.ConsoleThreshold }),
		prop("log.threshold", "", KindString, "", nil).without("the log goes to one place, of which console.threshold and root.logger set the level"),
	}
	return append(t, noEffect("there is no JMX here, the AdminServer and /metrics show the same figures", KindString,
		"jmx.log4j.disable", "jmx.log4j.mbean")...)
}

func clientSideKeys() []*Key {
	names := []string{"request.timeout", "client.secure", "clientCnxnSocket", "sasl.client", "sasl.clientconfig",
		"sasl.client.username", "sasl.client.canonicalize.hostname", "sasl.client.allowReverseDnsLookup",
		"server.principal", "server.realm", "disableAutoWatchReset", "shuffleDnsResponse",
		"hostProvider.dnsSrvRefreshIntervalSeconds"}
	t := make([]*Key, len(names))
	for i, n := range names {
		t[i] = prop(n, "", KindString, "", nil)
		t[i].Treatment = ClientSide
	}
	return t
}
