package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
)

// clientPortKeys and ensembleKeys are the first two tables of spec/operations.md 1.8.
func clientPortKeys() []*Key {
	t := []*Key{
		prop("maxCnxns", "0", KindInt, "connections", func(c *Config) any { return &c.Client.CnxnsMax }).checked(checkMaxCnxns),
		prop("serverCnxnFactory", "org.apache.zookeeper.server.NIOServerCnxnFactory", KindString, "", nil).
			without("this server has event loops of its own, which serve plain and TLS connections").checked(checkCnxnFactory),
		prop("4lw.commands.whitelist", "srvr", KindList, "", nil).checked(checkWhitelist),
		prop("clientTcpKeepAlive", "false", KindBool, "", func(c *Config) any { return &c.Client.TCPKeepAlive }),
		prop("nio.sessionlessCnxnTimeout", "10000", KindDuration, "ms", func(c *Config) any { return &c.Client.SessionlessTimeout }).checked(positive),
		prop("netty.server.outstandingHandshake.limit", "-1", KindInt, "handshakes", func(c *Config) any { return &c.Client.HandshakesOutstanding }).
			alias("outstandingHandshake.limit"),
		prop("client.portUnification", "false", KindBool, "", func(c *Config) any { return &c.Client.PortUnification }),
		prop("client.certReload", "false", KindBool, "", func(c *Config) any { return &c.Auth.CertReload }),
		prop("connection_throttle_tokens", "0", KindInt, "tokens", func(c *Config) any { return &c.Throttle.ConnectionTokens }).alias("connectionMaxTokens"),
		prop("connection_throttle_fill_time", "1", KindDuration, "ms", func(c *Config) any { return &c.Throttle.ConnectionFillTime }).alias("connectionTokenFillTime"),
		prop("connection_throttle_fill_count", "1", KindInt, "tokens", func(c *Config) any { return &c.Throttle.ConnectionFillCount }).alias("connectionTokenFillCount"),
	}
	const probabilistic = "new connections are throttled by the token bucket alone"
	real := noEffect(probabilistic, KindFloat, "connection_throttle_drop_increase=0.02",
		"connection_throttle_drop_decrease=0.002", "connection_throttle_decrease_ratio=0")
	for i, name := range []string{"connectionDropIncrease", "connectionDropDecrease", "connectionDecreaseRatio"} {
		real[i].alias(name).checked(checkReal)
	}
	t = append(t, real...)
	freeze := noEffect(probabilistic, KindInt, "connection_throttle_freeze_time=-1")
	freeze[0].alias("connectionFreezeTime")
	t = append(t, freeze...)
	t = append(t, prop("connection_throttle_weight_enabled", "false", KindBool, "", nil).checked(checkWeights))
	for _, w := range sessionWeights {
		t = append(t, prop(w.key, strconv.Itoa(w.standard), KindInt, "tokens", nil).checked(checkWeight))
	}
	netty := noEffect(reasonJava, KindBool, "netty.advancedFlowControl.enabled=false", "netty.server.earlyDropSecureConnectionHandshakes=false")
	netty[0].alias("advancedFlowControlEnabled")
	t = append(t, netty...)
	return append(t, noEffect(reasonJava, KindInt, "nio.numSelectorThreads", "nio.numWorkerThreads",
		"nio.directBufferBytes=65536", "nio.shutdownTimeout=5000")...)
}

func ensembleKeys() []*Key {
	t := []*Key{
		prop("cnxTimeout", "5000", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.CnxTimeout }).checked(positive),
		prop("quorumCnxnTimeoutMs", "", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.QuorumCnxnTimeout }),
		prop("electionPortBindRetry", "3", KindInt, "attempts", func(c *Config) any { return &c.Ensemble.ElectionBindRetries }).checked(checkBindRetry),
		prop("tcpKeepAlive", "false", KindBool, "", func(c *Config) any { return &c.Ensemble.TCPKeepAlive }),
		prop("fastleader.minNotificationInterval", "200", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.NotificationIntervalMin }).checked(positive),
		prop("fastleader.maxNotificationInterval", "60000", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.NotificationIntervalMax }).checked(positive),
		prop("leader.maxTimeToWaitForEpoch", "-1", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.LeaderEpochWaitMax }).alias("maxTimeToWaitForEpoch"),
		prop("leader.maxConcurrentSnapSyncs", "10", KindInt, "learners", func(c *Config) any { return &c.Ensemble.ConcurrentSnapSyncsMax }).alias("maxConcurrentSnapSyncs").checked(positive),
		prop("leader.maxConcurrentDiffSyncs", "100", KindInt, "learners", func(c *Config) any { return &c.Ensemble.ConcurrentDiffSyncsMax }).alias("maxConcurrentDiffSyncs").checked(positive),
		prop("leaderServes", "yes", KindYesNo, "", func(c *Config) any { return &c.Ensemble.LeaderServes }),
		prop("leaderConnectDelayDuringRetryMs", "100", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.LeaderConnectDelay }),
		prop("forceSnapshotSync", "false", KindBool, "", func(c *Config) any { return &c.Ensemble.ForceSnapshotSync }),
		prop("observer.reconnectDelayMs", "0", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.ObserverReconnectDelay }),
		prop("observer.election.DelayMs", "200", KindDuration, "ms", func(c *Config) any { return &c.Ensemble.ObserverElectionDelay }),
		prop("observer.syncEnabled", "", KindBool, "", nil).checked(checkObserverSync).kept("observers always have a log and snapshots"),
		prop("observerMaster.sizeLimit", "33554432", KindInt, "bytes", nil).without("observers of a follower are served out of what commitLogCount keeps, and out of the log"),
		bareProp("leader.nodelay", "true", KindBool, "", func(c *Config) any { return &c.Ensemble.LeaderNoDelay }),
		bareProp("follower.nodelay", "true", KindBool, "", func(c *Config) any { return &c.Ensemble.FollowerNoDelay }),
		prop("kerberos.canonicalizeHostNames", "false", KindBool, "", func(c *Config) any { return &c.SASL.CanonicalizeHostNames }).kept(reasonKerberos),
		prop("leader.ackLoggingFrequency", "1000", KindInt, "acks", nil).without("acknowledgements are not logged one by one"),
	}
	async := noEffect(reasonBuiltIn+", a stuck socket blocks nobody", KindBool,
		"learner.asyncSending=false", "learner.closeSocketAsync=false", "leader.closeSocketAsync=false")
	for _, k := range async {
		k.bare = k.Name
	}
	t = append(t, async...)
	t = append(t, noEffect("the request pipeline has no stages that could be skipped", KindBool,
		"follower.skipLearnerRequestToNextProcessor=false", "forward_learner_requests_to_commit_processor_disabled=false")...)
	return append(t, noEffect(reasonHook, KindString, "testingonly.initialZxid", "test.allowDiscontinuousProposals", "controllerPort")...)
}

func checkMaxCnxns(b *builder, _ *Key, s Setting) *Error {
	if n := &b.cfg.Client.CnxnsMax; *n < 0 {
		b.warn(slog.LevelWarn, s.Key, "maxCnxns should be greater than or equal to 0, using default value 0.")
		*n = 0
	}
	return nil
}

func checkCnxnFactory(b *builder, _ *Key, s Setting) *Error {
	switch s.Value {
	case "org.apache.zookeeper.server.NIOServerCnxnFactory", "org.apache.zookeeper.server.NettyServerCnxnFactory":
		return nil
	}
	err := b.refuse(s, "Couldn't instantiate "+s.Value,
		"write org.apache.zookeeper.server.NIOServerCnxnFactory or ...NettyServerCnxnFactory, or drop the key")
	err.ExitCode = ExitUnexpected
	return err
}

// checkReal refuses garbage in a real-valued setting even though the setting has no effect: the Java
// server does not start with it either.
func checkReal(b *builder, _ *Key, s Setting) *Error {
	if _, err := strconv.ParseFloat(s.Value, 64); err != nil {
		e := b.refuse(s, fmt.Sprintf("For input string: \"%s\"", s.Value), "give a real number such as 0.02, or drop the key")
		e.ExitCode = ExitUnexpected
		return e
	}
	return nil
}

func checkBindRetry(b *builder, k *Key, s Setting) *Error {
	if n := &b.cfg.Ensemble.ElectionBindRetries; *n < 0 {
		b.warn(slog.LevelInfo, s.Key, fmt.Sprintf("'%s' contains invalid value: %d(must be >= 0). Use default value of %s instead.", k.Property, *n, k.Default))
		*n = 3
	}
	return nil
}

// checkObserverSync lets the property override syncEnabled, whatever the order of the two.
func checkObserverSync(b *builder, _ *Key, s Setting) *Error {
	b.late = append(b.late, func() *Error {
		b.cfg.Ensemble.SyncEnabled = b.lenientBool(s)
		return nil
	})
	return nil
}

// fourLetterWords are the words a server knows. Source: spec/operations.md 3.
var fourLetterWords = []string{"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok",
	"srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"}

func checkWhitelist(b *builder, _ *Key, s Setting) *Error {
	f := &b.cfg.FourLetter
	*f = FourLetter{}
	for _, w := range splitList(s.Value) {
		if w == "*" {
			f.All = true
			break
		}
		if !slices.Contains(fourLetterWords, w) {
			b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("%s holds %q, which is no four letter word and has no effect", s.Key, w))
		}
		f.Words = append(f.Words, w)
	}
	return nil
}
