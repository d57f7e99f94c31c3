package server

import (
	"strings"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/snapshot/javadata"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// Options are what a Server needs to know. FromConfig fills them in from a configuration file;
// tests may set them by hand.
type Options struct {
	// DataDir holds the image of the tree, LogDir the log; both are directories of Zabra's own.
	DataDir, LogDir string
	// Listen are the client ports, that of ClientPort first.
	Listen []netpoll.Listener
	// Ensemble makes the server a member of an ensemble; nil: it stands alone.
	Ensemble *EnsembleOptions
	// ServerID goes into session ids; 1 for a standalone server.
	ServerID int64

	TickMs                                   int64
	MinSessionTimeoutMs, MaxSessionTimeoutMs int32

	// FrameMaxBytes bounds a request (jute.maxbuffer), FieldMaxBytes a field in it.
	FrameMaxBytes, FieldMaxBytes int
	GlobalOutstandingMax         int64
	OutboundMaxBytes             int // of replies that a client has not read; 0: netpoll's default
	CnxnsPerAddressMax, CnxnsMax int // 0: no limit
	SessionlessTimeoutMs         int64
	// LargeRequestThreshold is the frame size above which a write counts as large, 0 or less: none does;
	// LargeRequestsMaxBytes bounds those in flight.
	LargeRequestThreshold int
	LargeRequestsMaxBytes int64
	Throttle              ThrottleOptions
	ConnectTokens         int // 0: off
	ConnectFillInterval   time.Duration
	ConnectFillCount      int
	ConnectWeights        *config.SessionWeights // nil: every connection costs one token
	TCPKeepAlive          time.Duration
	NumLoops              int // 0: netpoll's default
	// FourLetter admits four-letter words.
	FourLetter config.FourLetter
	// ClientPort, SecureClientPort (-1: none) and ListenBacklog are what the word conf tells.
	ClientPort, SecureClientPort, ListenBacklog int
	EagerACLCheck                               bool
	Engine                                      engine.Options
	Prep                                        prep.Options
	Auth                                        auth.Options
	EnforceSchemes                              string // comma list; empty: none is demanded
	X509                                        bool   // certificates of clients are identities
	X509SuperUser                               string // name of the certificate that is super
	SASL                                        SASLOptions
	EnsembleScheme                              bool // clients may say which ensemble they mean
	EnsembleNames                               []string
	HandshakesMax                               int // TLS handshakes at a time; 0: no limit
	WAL                                         wal.Options
	LogFS                                       walfs.FS // of the log; nil: the host's
	SnapCount                                   int
	SnapSizeLimitBytes                          int64
	SnapRetainCount                             int
	CheckpointIntervalMin                       time.Duration        // least time between two images that the triggers ask for
	SnapshotCompression                         javadata.Compression // of snapshots that leave in Java's format
	ContainerInterval                           time.Duration
	ContainerPerMinute                          int
	ContainerNeverUsedMax                       time.Duration
	FsyncWarning                                time.Duration
	Stalls                                      StallOptions
	AuditLog                                    bool // who changed what goes to the log
	MetricsProvider                             config.MetricsProvider

	FinishTime time.Duration // a stopping server answers what it has read for so long; 0: a second
}

// checkpointIntervalMin keeps what a restart replays below a second's work, at half a million writes per
// second and more.
const checkpointIntervalMin = 5 * time.Second

// spareSegments is how many files of the log may wait for reuse: at a high rate of writes an image sets as
// many free at once, and a file that is reused need not be filled with zeroes again.
const spareSegments = 16

// segmentBytes is the size of the files of the log, which are as large as they are made: that of
// preAllocSize or, where there is one, the smaller txnLogSizeLimitInKb.
func segmentBytes(s *config.Storage) int64 {
	n := s.PreAllocBytes
	if s.LogSizeLimitBytes > 0 && (n == 0 || s.LogSizeLimitBytes < n) {
		n = s.LogSizeLimitBytes
	}
	return min(n, wal.MaxSegmentBytes)
}

// FromConfig gives the options of a standalone server.
func FromConfig(c *config.Config) Options {
	o := Options{
		DataDir: c.Storage.ImagePath(), LogDir: c.Storage.WALPath(),
		ServerID:              1,
		TickMs:                c.Sessions.TickTime.Milliseconds(),
		MinSessionTimeoutMs:   int32(c.Sessions.MinTimeout.Milliseconds()),
		MaxSessionTimeoutMs:   int32(c.Sessions.MaxTimeout.Milliseconds()),
		FrameMaxBytes:         c.Limits.FrameMaxBytes,
		FieldMaxBytes:         c.Limits.FrameMaxBytes + c.Limits.FrameExtraBytes,
		GlobalOutstandingMax:  int64(c.Limits.GlobalOutstandingMax),
		CnxnsPerAddressMax:    c.Client.CnxnsPerAddressMax,
		CnxnsMax:              c.Client.CnxnsMax,
		SessionlessTimeoutMs:  c.Client.SessionlessTimeout.Milliseconds(),
		LargeRequestThreshold: c.Limits.LargeRequestThreshold,
		LargeRequestsMaxBytes: int64(c.Limits.LargeRequestTotalBytes),
		Throttle: ThrottleOptions{
			RequestsMax: c.Throttle.RequestsMax, DropStale: c.Throttle.DropStale, StaleConnectionCheck: c.Throttle.StaleConnectionCheck,
			StaleLatencyCheck: c.Throttle.StaleLatencyCheck, OpWaitMaxMs: c.Throttle.OpWaitMax.Milliseconds(),
		},
		ConnectTokens:         c.Throttle.ConnectionTokens,
		ConnectFillInterval:   c.Throttle.ConnectionFillTime,
		ConnectFillCount:      c.Throttle.ConnectionFillCount,
		ConnectWeights:        c.Throttle.Weights,
		FinishTime:            finishTimeOf(c),
		EagerACLCheck:         c.Auth.EagerACLCheck,
		FourLetter:            c.FourLetter,
		ClientPort:            -1,
		SecureClientPort:      -1,
		ListenBacklog:         c.Client.ListenBacklog,
		SnapCount:             c.Storage.SnapCount,
		SnapSizeLimitBytes:    c.Storage.SnapSizeLimitBytes,
		SnapRetainCount:       c.Autopurge.SnapRetainCount,
		CheckpointIntervalMin: checkpointIntervalMin,
		SnapshotCompression:   javadata.ParseCompression(c.Storage.SnapshotCompression),
		ContainerInterval:     c.Container.CheckInterval,
		ContainerPerMinute:    c.Container.DeletionsPerMinute,
		ContainerNeverUsedMax: c.Container.NeverUsedIntervalMax,
		FsyncWarning:          c.Storage.FsyncWarningThreshold,
		Stalls:                StallOptions{Enabled: c.Pause.Enabled, Sleep: c.Pause.SleepTime, Info: c.Pause.InfoThreshold, Warn: c.Pause.WarnThreshold},
		MetricsProvider:       c.Metrics.Provider,
		AuditLog:              c.Auth.AuditEnabled,
		Engine:                engine.Options{Digest: c.Storage.DigestEnabled, ExtendedTypes: c.Sessions.TTLNodesEnabled},
		Prep: prep.Options{
			EnforceQuota: c.Limits.EnforceQuota, CloseSessionTxn: c.Sessions.CloseTxnEnabled,
			ReconfigEnabled: c.Ensemble.ReconfigEnabled, BufferMaxBytes: c.Limits.FrameMaxBytes + c.Limits.FrameExtraBytes,
		},
		Auth: auth.Options{
			DigestAlg: c.Auth.DigestAlgorithm, SuperDigest: c.Auth.SuperDigest, SkipACL: c.Auth.SkipACL, DigestEnabled: c.Auth.DigestEnabled,
		},
		WAL: wal.Options{SegmentBytes: segmentBytes(&c.Storage), NoSync: !c.Storage.ForceSync, SpareSegments: spareSegments},
	}
	o.X509SuperUser, o.EnsembleNames = c.Auth.X509SuperUser, c.Auth.EnsembleNames
	o.useProviders(c.Auth.Providers)
	if c.Auth.EnforceEnabled {
		o.EnforceSchemes = strings.Join(c.Auth.EnforceSchemes, ",")
	}
	if c.Client.TCPKeepAlive {
		o.TCPKeepAlive = time.Minute
	}
	if c.Client.Plain.Enabled {
		o.ClientPort = c.Client.Plain.Port
		o.Listen = append(o.Listen, netpoll.Listener{Address: c.Client.Plain.String(), Backlog: max(0, c.Client.ListenBacklog)})
	}
	return o
}
