package config

import (
	"fmt"
	"log/slog"
	"strings"
)

const (
	reasonJava    = "it tunes threads or memory of the Java server, which this server does not have"
	reasonBuiltIn = "this server always works that way"
	reasonHook    = "it is a test hook of the Java server"
	reasonPlug    = "it names a Java class, and this server loads none"
	reasonReach   = "the addresses of a server are tried one after the other, without a probe"
)

// fixedKeys are the rows of spec/operations.md 1.4.
func fixedKeys() []*Key {
	quorumReason := "the connections between servers need no thread each"
	return []*Key{
		fixed("dataDir", "", KindPath, "", func(c *Config) any { return &c.Storage.DataDir }).checked(checkPath),
		fixed("dataLogDir", "", KindPath, "", func(c *Config) any { return &c.Storage.DataLogDir }).checked(checkPath),
		fixed("clientPort", "", KindPort, "", func(c *Config) any { return &c.Client.Plain }),
		fixed("clientPortAddress", "", KindString, "", func(c *Config) any { return &c.Client.Plain.Host }),
		fixed("secureClientPort", "", KindPort, "", func(c *Config) any { return &c.Client.Secure }),
		fixed("secureClientPortAddress", "", KindString, "", func(c *Config) any { return &c.Client.Secure.Host }),
		fixed("observerMasterPort", "0", KindInt, "", func(c *Config) any { return &c.Ensemble.ObserverMasterPort }).
			checked(checkObserverMasterPort),
		fixed("clientPortListenBacklog", "-1", KindInt, "connections", func(c *Config) any { return &c.Client.ListenBacklog }),
		fixed("tickTime", "3000", KindDuration, "ms", func(c *Config) any { return &c.Sessions.TickTime }),
		fixed("maxClientCnxns", "60", KindInt, "connections", func(c *Config) any { return &c.Client.CnxnsPerAddressMax }).checked(checkMaxClientCnxns),
		fixed("minSessionTimeout", "", KindDuration, "ms", func(c *Config) any { return &c.Sessions.MinTimeout }),
		fixed("maxSessionTimeout", "", KindDuration, "ms", func(c *Config) any { return &c.Sessions.MaxTimeout }),
		fixed("initLimit", "", KindInt, "ticks", func(c *Config) any { return &c.Ensemble.InitLimitTicks }),
		fixed("syncLimit", "", KindInt, "ticks", func(c *Config) any { return &c.Ensemble.SyncLimitTicks }),
		fixed("connectToLearnerMasterLimit", "0", KindInt, "ticks", func(c *Config) any { return &c.Ensemble.ConnectLimitTicks }),
		fixed("electionAlg", "3", KindInt, "", nil).checked(checkElectionAlg),
		fixed("peerType", "participant", KindString, "", nil).checked(checkPeerType),
		fixed("server.*", "", KindMember, "", nil),
		fixed("group.*", "", KindMember, "", nil),
		fixed("weight.*", "", KindMember, "", nil),
		fixed("dynamicConfigFile", "", KindPath, "", func(c *Config) any { return &c.Ensemble.DynamicPath }),
		fixed("standaloneEnabled", "true", KindBool, "", func(c *Config) any { return &c.Ensemble.StandaloneEnabled }),
		fixed("reconfigEnabled", "false", KindBool, "", func(c *Config) any { return &c.Ensemble.ReconfigEnabled }),
		fixed("quorumListenOnAllIPs", "false", KindBool, "", func(c *Config) any { return &c.Ensemble.ListenOnAllIPs }),
		fixed("syncEnabled", "true", KindBool, "", func(c *Config) any { return &c.Ensemble.SyncEnabled }).kept("observers always have a log and snapshots"),
		fixed("localSessionsEnabled", "false", KindBool, "", func(c *Config) any { return &c.Sessions.LocalEnabled }),
		fixed("localSessionsUpgradingEnabled", "false", KindBool, "", func(c *Config) any { return &c.Sessions.LocalUpgradingEnabled }),
		fixed("autopurge.snapRetainCount", "3", KindInt, "snapshots", func(c *Config) any { return &c.Autopurge.SnapRetainCount }).checked(checkSnapRetainCount),
		fixed("autopurge.purgeInterval", "0", KindDuration, "h", func(c *Config) any { return &c.Autopurge.PurgeInterval }).checked(checkPurgeInterval),
		fixed("sslQuorum", "false", KindBool, "", func(c *Config) any { return &c.TLS.QuorumEnabled }),
		fixed("portUnification", "false", KindBool, "", func(c *Config) any { return &c.TLS.QuorumPortUnification }),
		fixed("sslQuorumReloadCertFiles", "false", KindBool, "", func(c *Config) any { return &c.TLS.QuorumReloadCertFiles }),
		fixed("quorum.auth.enableSasl", "false", KindBool, "", func(c *Config) any { return &c.SASL.QuorumEnabled }),
		fixed("quorum.auth.learnerRequireSasl", "false", KindBool, "", func(c *Config) any { return &c.SASL.QuorumLearnerRequired }),
		fixed("quorum.auth.serverRequireSasl", "false", KindBool, "", func(c *Config) any { return &c.SASL.QuorumServerRequired }),
		fixed("quorum.auth.learner.saslLoginContext", "QuorumLearner", KindString, "", func(c *Config) any { return &c.SASL.QuorumLearnerContext }),
		fixed("quorum.auth.server.saslLoginContext", "QuorumServer", KindString, "", func(c *Config) any { return &c.SASL.QuorumServerContext }),
		fixed("quorum.auth.kerberos.servicePrincipal", "zkquorum/localhost", KindString, "", func(c *Config) any { return &c.SASL.QuorumServicePrincipal }).kept(reasonKerberos),
		fixed("quorum.cnxn.threads.size", "20", KindInt, "threads", nil).without(quorumReason),
		fixed("multiAddress.enabled", "false", KindBool, "", func(c *Config) any { return &c.Ensemble.MultiAddressEnabled }).onlineToo(),
		fixed("multiAddress.reachabilityCheckEnabled", "true", KindBool, "", func(c *Config) any { return &c.Ensemble.ReachabilityCheckEnabled }).onlineToo().without(reasonReach),
		fixed("multiAddress.reachabilityCheckTimeoutMs", "1000", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.ReachabilityCheckTimeout }).onlineToo().without(reasonReach),
		fixed("oraclePath", "", KindPath, "", func(c *Config) any { return &c.Ensemble.OraclePath }).checked(checkPath),
		fixed("jvm.pause.monitor", "false", KindBool, "", func(c *Config) any { return &c.Pause.Enabled }),
		fixed("jvm.pause.sleep.time.ms", "500", KindDuration, "ms", func(c *Config) any { return &c.Pause.SleepTime }),
		fixed("jvm.pause.info-threshold.ms", "1000", KindDuration, "ms", func(c *Config) any { return &c.Pause.InfoThreshold }),
		fixed("jvm.pause.warn-threshold.ms", "10000", KindDuration, "ms", func(c *Config) any { return &c.Pause.WarnThreshold }),
	}
}

func checkPath(b *builder, _ *Key, s Setting) *Error {
	b.warnRelative(s.Key, s.Value)
	return nil
}

// warnRelative warns about a path of which the working directory decides where it leads.
func (b *builder) warnRelative(key, path string) {
	if path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "./") {
		b.warn(slog.LevelWarn, key, path+" is relative. Prepend ./ to indicate that you're sure!")
	}
}

func checkObserverMasterPort(b *builder, k *Key, s Setting) *Error {
	port := &b.cfg.Ensemble.ObserverMasterPort
	if *port > 65535 {
		return b.refuse(s, fmt.Sprintf("port out of range:%d", *port), "give a port from 1 to 65535, or 0 for none")
	}
	*port = max(*port, 0)
	return nil
}

func checkMaxClientCnxns(b *builder, _ *Key, s Setting) *Error {
	b.cfg.Client.CnxnsPerAddressMax = max(b.cfg.Client.CnxnsPerAddressMax, 0)
	return nil
}

func checkElectionAlg(b *builder, k *Key, s Setting) *Error {
	n, err := b.int(k, s, 32, "write 3, or drop the key")
	if err != nil {
		return err
	}
	if n != 3 {
		return b.refuse(s, "Invalid electionAlg value. Only 3 is supported.", "write 3, or drop the key")
	}
	return nil
}

func checkPeerType(b *builder, _ *Key, s Setting) *Error {
	t, ok := parsePeerType(s.Value)
	if !ok {
		return b.refuse(s, "Unrecognised peertype: "+s.Value, "write participant or observer")
	}
	b.cfg.Ensemble.PeerType = t
	return nil
}

// checkPurgeInterval: old snapshots are removed whenever one has been taken, which is at least as often as
// asked for, unless it is not asked for at all.
func checkPurgeInterval(b *builder, _ *Key, s Setting) *Error {
	if b.cfg.Autopurge.PurgeInterval <= 0 {
		b.warn(slog.LevelWarn, s.Key, s.Key+"="+s.Value+" does not keep old snapshots: those beyond autopurge.snapRetainCount are removed all the same")
	}
	return nil
}

func checkSnapRetainCount(b *builder, _ *Key, s Setting) *Error {
	if n := &b.cfg.Autopurge.SnapRetainCount; *n < 3 {
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("Invalid autopurge.snapRetainCount: %d. Defaulting to 3", *n))
		*n = 3
	}
	return nil
}
