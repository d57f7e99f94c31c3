package config

import (
	"fmt"
	"log/slog"
	"strconv"
)

// storageKeys and pipelineKeys are the rows of spec/operations.md 1.7.
func storageKeys() []*Key {
	return []*Key{
		prop("snapCount", "100000", KindInt, "transactions", func(c *Config) any { return &c.Storage.SnapCount }).checked(checkSnapCount),
		prop("snapSizeLimitInKb", "4194304", KindSize, "KiB", func(c *Config) any { return &c.Storage.SnapSizeLimitBytes }),
		prop("txnLogSizeLimitInKb", "-1", KindSize, "KiB", func(c *Config) any { return &c.Storage.LogSizeLimitBytes }),
		prop("preAllocSize", "65536", KindSize, "KiB", nil).checked(checkPreAllocSize),
		prop("snapshot.compression.method", "", KindString, "", func(c *Config) any { return &c.Storage.SnapshotCompression }).checked(checkCompression),
		prop("snapshot.trust.empty", "false", KindBool, "", func(c *Config) any { return &c.Storage.TrustEmptySnapshot }).
			without("it is about the files of a Java server, for which zabra import has the flag -trust-empty"),
		prop("serializeLastProcessedZxid.enabled", "true", KindBool, "", func(c *Config) any { return &c.Storage.SerializeLastZxid }),
		prop("digest.enabled", "true", KindBool, "", func(c *Config) any { return &c.Storage.DigestEnabled }),
		prop("forceSync", "yes", KindYesNo, "", func(c *Config) any { return &c.Storage.ForceSync }),
		prop("fsync.warningthresholdms", "1000", KindDuration, "ms", func(c *Config) any { return &c.Storage.FsyncWarningThreshold }).also("fsync.warningthresholdms"),
		prop("commitLogCount", "500", KindInt, "proposals", nil).checked(checkCommitLogCount),
		prop("snapshotSizeFactor", "0.33", KindFloat, "", nil).checked(checkSnapshotSizeFactor),
		prop("datadir.autocreate", "true", KindBool, "", func(c *Config) any { return &c.Storage.DirAutocreate }),
		prop("db.autocreate", "true", KindBool, "", func(c *Config) any { return &c.Storage.DBAutocreate }).
			kept("a server with an empty directory votes at once: do not start one with the id of a server that has lost its disk while others are down"),
		prop("flushDelay", "0", KindDuration, "ms", func(c *Config) any { return &c.Storage.FlushDelay }).
			without("the log syncs what has come in while it synced before, so that nothing need wait for company"),
		prop("maxWriteQueuePollTime", "", KindDuration, "ms", nil).without("the log flushes whatever is queued and never polls"),
		prop("maxBatchSize", "1000", KindInt, "requests", func(c *Config) any { return &c.Storage.BatchMax }).
			without("what the log syncs at a time is bounded by its bytes"),
	}
}

const reasonTracker = "the last messages of a link that broke are not kept"

func pipelineKeys() []*Key {
	t := []*Key{
		prop("globalOutstandingLimit", "1000", KindInt, "requests", func(c *Config) any { return &c.Limits.GlobalOutstandingMax }),
		prop("request_throttle_max_requests", "0", KindInt, "requests", func(c *Config) any { return &c.Throttle.RequestsMax }).alias("requestThrottleLimit"),
		prop("request_throttle_stall_time", "100", KindDuration, "ms", func(c *Config) any { return &c.Throttle.StallTime }).
			alias("requestThrottleStallTime").without("a request that waits goes on as soon as there is room"),
		prop("request_throttle_drop_stale", "true", KindBool, "", func(c *Config) any { return &c.Throttle.DropStale }).alias("requestThrottleDropStale"),
		prop("request_stale_latency_check", "false", KindBool, "", func(c *Config) any { return &c.Throttle.StaleLatencyCheck }).alias("requestStaleLatencyCheck"),
		prop("request_stale_connection_check", "true", KindBool, "", func(c *Config) any { return &c.Throttle.StaleConnectionCheck }).alias("requestStaleConnectionCheck"),
		prop("request_throttler.shutdownTimeout", "10000", KindDuration, "ms", func(c *Config) any { return &c.Throttle.ShutdownTimeout }),
		prop("throttled_op_wait_time", "0", KindDuration, "ms", func(c *Config) any { return &c.Throttle.OpWaitMax }).alias("throttledOpWaitTime"),
		prop("largeRequestMaxBytes", "104857600", KindInt, "bytes", func(c *Config) any { return &c.Limits.LargeRequestTotalBytes }).checked(checkLargeRequestMax),
		prop("largeRequestThreshold", "-1", KindInt, "bytes", func(c *Config) any { return &c.Limits.LargeRequestThreshold }).checked(checkLargeRequestThreshold),
		bareProp("jute.maxbuffer", "1048575", KindInt, "bytes", func(c *Config) any { return &c.Limits.FrameMaxBytes }).checked(checkMaxBuffer),
		bareProp("jute.maxbuffer.extrasize", "", KindInt, "bytes", func(c *Config) any { return &c.Limits.FrameExtraBytes }),
		prop("closeSessionTxn.enabled", "true", KindBool, "", func(c *Config) any { return &c.Sessions.CloseTxnEnabled }),
		prop("extendedTypesEnabled", "false", KindBool, "", func(c *Config) any { return &c.Sessions.TTLNodesEnabled }),
		prop("enforceQuota", "false", KindBool, "", func(c *Config) any { return &c.Limits.EnforceQuota }),
		prop("enableEagerACLCheck", "false", KindBool, "", func(c *Config) any { return &c.Auth.EagerACLCheck }),
		prop("skipACL", "no", KindYesNo, "", func(c *Config) any { return &c.Auth.SkipACL }),
		bareProp("znode.container.checkIntervalMs", "60000", KindDuration, "ms", func(c *Config) any { return &c.Container.CheckInterval }).checked(positive),
		bareProp("znode.container.maxPerMinute", "10000", KindInt, "deletions", func(c *Config) any { return &c.Container.DeletionsPerMinute }).checked(positive),
		bareProp("znode.container.maxNeverUsedIntervalMs", "0", KindDuration, "ms", func(c *Config) any { return &c.Container.NeverUsedIntervalMax }),
		bareProp("readonlymode.enabled", "false", KindBool, "", func(c *Config) any { return &c.Sessions.ReadOnlyEnabled }),
		prop("messageTracker.Enabled", "false", KindBool, "", func(c *Config) any { return &c.Limits.MessageTrackerEnabled }).without(reasonTracker),
		prop("messageTracker.BufferSize", "10", KindInt, "messages", func(c *Config) any { return &c.Limits.MessageTrackerBufferLen }).without(reasonTracker),
	}
	t = append(t, noEffect("replies are encoded straight from the tree, without a cache", KindInt,
		"maxResponseCacheSize=400", "maxGetChildrenResponseCacheSize=400")...)
	t = append(t, noEffect(reasonJava, KindInt,
		"commitProcessor.numWorkerThreads", "commitProcessor.maxReadBatchSize=-1", "commitProcessor.maxCommitBatchSize=1",
		"commitProcessor.shutdownTimeout=5000", "bitHashCacheSize=10", "intBufferStartingSizeBytes=1024",
		"watcherCleanThreshold=1000", "watcherCleanIntervalInSeconds=600", "watcherCleanThreadsNum=2",
		"maxInProcessingDeadWatchers=-1")...)
	t = append(t, noEffect("there is one watch manager", KindString,
		"watchManagerName=org.apache.zookeeper.server.watch.WatchManager")...)
	t = append(t, noEffect("the TTL encoding of release 3.5.3 is not supported", KindBool, "emulate353TTLNodes=false")...)
	return append(t, noEffect("statistics per request path are not written to the log", KindString, "pathStats.*")...)
}

// positive refuses a number below 1.
func positive(b *builder, k *Key, s Setting) *Error {
	if n, err := b.int(k, s, 64, "give a whole number above 0"); err != nil || n > 0 {
		return err
	}
	return b.refuse(s, fmt.Sprintf("%s must be above 0", k.Name), "give a whole number above 0")
}

func checkSnapCount(b *builder, _ *Key, s Setting) *Error {
	if n := &b.cfg.Storage.SnapCount; *n < 2 {
		b.warn(slog.LevelWarn, s.Key, "SnapCount should be 2 or more. Now, snapCount is reset to 2")
		*n = 2
	}
	return nil
}

// checkPreAllocSize keeps Java's leniency, which its log line shows: garbage leaves the default.
func checkPreAllocSize(b *builder, k *Key, s Setting) *Error {
	n, err := strconv.ParseInt(s.Value, 10, 64)
	if err != nil {
		b.warn(slog.LevelWarn, s.Key, s.Value+" is not a valid value for preAllocSize")
		n, _ = strconv.ParseInt(k.Default, 10, 64)
	}
	if n < 0 || n > 1<<40 {
		return b.refuse(s, "preAllocSize out of range", "give a number of KiB, 65536 is the default")
	}
	b.cfg.Storage.PreAllocBytes = n * 1024
	return nil
}

func checkCompression(b *builder, _ *Key, s Setting) *Error {
	switch s.Value {
	case "", "CHECKED", "gz", "snappy":
	default:
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("%s=%s is unknown, snapshots are written plain; use gz or snappy", s.Key, s.Value))
		b.cfg.Storage.SnapshotCompression = ""
	}
	return nil
}

// checkCommitLogCount keeps Java's leniency, which its log line shows: garbage leaves the default.
func checkCommitLogCount(b *builder, _ *Key, s Setting) *Error {
	const least = 500
	n, err := strconv.ParseInt(s.Value, 10, 32)
	switch {
	case err != nil:
		b.warn(slog.LevelError, s.Key, "Error parsing zookeeper.commitLogCount - use default value 500")
		n = least
	case n < least:
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("The configured commitLogCount %d is less than the recommended %d, going to use the recommended one", n, least))
		n = least
	}
	b.cfg.Storage.CommitLogCount = int(n)
	return nil
}

// checkSnapshotSizeFactor keeps Java's leniency, which its log line shows: garbage leaves the default.
func checkSnapshotSizeFactor(b *builder, k *Key, s Setting) *Error {
	const name = "zookeeper.snapshotSizeFactor"
	f, err := strconv.ParseFloat(s.Value, 64)
	switch {
	case err != nil || f != f:
		b.warn(slog.LevelError, s.Key, "Error parsing "+name+", using default value "+k.Default)
	case f > 1:
		b.warn(slog.LevelWarn, s.Key, "The configured "+name+" is invalid, going to use the default "+k.Default)
	default:
		b.cfg.Storage.SnapshotSizeFactor = f
		return nil
	}
	b.cfg.Storage.SnapshotSizeFactor, _ = strconv.ParseFloat(k.Default, 64)
	return nil
}

func checkLargeRequestMax(b *builder, k *Key, s Setting) *Error {
	n := &b.cfg.Limits.LargeRequestTotalBytes
	if *n <= 0 {
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("Invalid max bytes for all large requests %d. It should be a positive number.", *n))
		b.warn(slog.LevelWarn, s.Key, "Will not change the setting. The max bytes stay at "+k.Default)
		*n, _ = strconv.Atoi(k.Default)
	}
	return nil
}

func checkLargeRequestThreshold(b *builder, _ *Key, s Setting) *Error {
	if n := &b.cfg.Limits.LargeRequestThreshold; *n == 0 || *n < -1 {
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("Invalid large request threshold %d. It should be -1 or positive. Setting to -1 ", *n))
		*n = -1
	}
	return nil
}

func checkMaxBuffer(b *builder, _ *Key, s Setting) *Error {
	if b.cfg.Limits.FrameMaxBytes <= 0 {
		return b.refuse(s, "jute.maxbuffer must be above 0", "give a number of bytes, 1048575 is the default")
	}
	return nil
}
