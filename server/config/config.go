package config

import (
	"net"
	"strconv"
	"time"
)

// Endpoint is a host as the operator wrote it and a port. Host is a name, an IPv4 address, an IPv6
// address without brackets, or empty for the wildcard address. Names are resolved at each use.
type Endpoint struct {
	Host string
	Port int // 0..65535
}

// String returns host:port with IPv6 hosts in brackets; an empty host gives ":port", which net.Listen
// reads as the wildcard address.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// Listener is an endpoint that may be switched off.
type Listener struct {
	Enabled bool
	Endpoint
}

// Config is the effective configuration of one server. It is read-only after Load, Parse, Default or
// FromArgs have returned it, and may then be read from any goroutine. Durations and sizes are already in
// Go units whatever the unit of the key; fields that count ticks or snapshots say so in their name.
type Config struct {
	Path string // file it was read from, as given; empty without a file

	Client     Client
	Sessions   Sessions
	Storage    Storage
	Limits     Limits
	Throttle   Throttle
	Auth       Auth
	FourLetter FourLetter
	Admin      Admin
	Metrics    Metrics
	Ensemble   Ensemble
	TLS        TLS
	SASL       SASL
	Autopurge  Autopurge
	Container  Container
	Pause      PauseMonitor
	Process    Process

	// Raw holds the pairs of zoo.cfg in the file's order, duplicates included; nil without a file.
	Raw *Properties

	settings map[string]Setting
	order    []string
}

// Client is the client side of the server.
type Client struct {
	Plain  Listener // clientPort, clientPortAddress, or the own member line
	Secure Listener // secureClientPort, secureClientPortAddress

	ListenBacklog         int  // clientPortListenBacklog; -1 is the system's default
	CnxnsPerAddressMax    int  // maxClientCnxns; 0 is no limit
	CnxnsMax              int  // maxCnxns; 0 is no limit
	TCPKeepAlive          bool // clientTcpKeepAlive
	PortUnification       bool // client.portUnification: TLS and plain on the plain port
	SessionlessTimeout    time.Duration
	HandshakesOutstanding int // netty.server.outstandingHandshake.limit; -1 is no limit
}

// Sessions holds what governs sessions.
type Sessions struct {
	TickTime              time.Duration
	MinTimeout            time.Duration // effective: 2 ticks when not set
	MaxTimeout            time.Duration // effective: 20 ticks when not set
	LocalEnabled          bool          // localSessionsEnabled
	LocalUpgradingEnabled bool          // localSessionsUpgradingEnabled
	CloseTxnEnabled       bool          // closeSessionTxn.enabled
	TTLNodesEnabled       bool          // extendedTypesEnabled
	ReadOnlyEnabled       bool          // readonlymode.enabled
}

// Storage holds directories, snapshots and logs.
type Storage struct {
	DataDir    string // as written; snapshots, myid, pid file
	DataLogDir string // as written; equals DataDir when not set

	SnapCount             int   // transactions between snapshots, at least 2
	SnapSizeLimitBytes    int64 // log bytes between snapshots; 0 or less is off
	LogSizeLimitBytes     int64 // log bytes after which a segment is rolled; 0 or less is off
	PreAllocBytes         int64 // step of log preallocation
	SnapshotCompression   string
	TrustEmptySnapshot    bool
	SerializeLastZxid     bool
	DigestEnabled         bool
	ForceSync             bool          // false: fsync is skipped, acknowledged writes can be lost
	FsyncWarningThreshold time.Duration // a slower fsync is logged
	CommitLogCount        int           // proposals kept for DIFF, at least 500
	SnapshotSizeFactor    float64       // share of the snapshot size up to which the log serves DIFF; negative is off
	DirAutocreate         bool          // datadir.autocreate
	DBAutocreate          bool          // db.autocreate
	FlushDelay            time.Duration // a write may wait that long for company
	BatchMax              int           // maxBatchSize, requests per flush; 0 is no limit
}

// Limits bounds requests and records.
type Limits struct {
	FrameMaxBytes           int // jute.maxbuffer
	FrameExtraBytes         int // jute.maxbuffer.extrasize
	GlobalOutstandingMax    int // globalOutstandingLimit
	LargeRequestTotalBytes  int // largeRequestMaxBytes
	LargeRequestThreshold   int // bytes from which a request is large; -1 is off
	EnforceQuota            bool
	MessageTrackerEnabled   bool
	MessageTrackerBufferLen int // messages
}

// Throttle holds request and connection throttling.
type Throttle struct {
	RequestsMax          int           // request_throttle_max_requests; 0 is off
	StallTime            time.Duration // request_throttle_stall_time
	DropStale            bool
	StaleLatencyCheck    bool
	StaleConnectionCheck bool
	OpWaitMax            time.Duration // throttled_op_wait_time; 0 is off

	ConnectionTokens    int           // connection_throttle_tokens; 0 is off
	ConnectionFillTime  time.Duration // connection_throttle_fill_time
	ConnectionFillCount int
	// Weights is what a new connection costs; nil: one token (connection_throttle_weight_enabled).
	Weights *SessionWeights

	ShutdownTimeout time.Duration // request_throttler.shutdownTimeout
}

// SessionWeights are the tokens that a connection costs, by its kind. Source: BlueThrottle.
type SessionWeights struct {
	Global, Renew, Local int // for a new session, one that comes back, and a new local one; all above 0
}

// Auth holds authentication and ACL settings.
type Auth struct {
	SuperDigest         string // DigestAuthenticationProvider.superDigest: "super:" + base64(hash)
	DigestAlgorithm     string
	DigestEnabled       bool
	X509SuperUser       string
	SuperUsers          []string // superUser, superUser.SUFFIX
	SaslSuperPassword   string
	AnySASLUser         string // letAnySaslUserDoX
	IPUseXForwardedFor  bool
	Providers           map[string]string // authProvider.NAME: the name to the Java class
	SSLProvider         string            // ssl.authProvider
	EnforceEnabled      bool
	EnforceSchemes      []string
	SessionRequireSasl  bool
	AllowSaslFailed     bool
	EnsembleNames       []string
	SkipACL             bool
	EagerACLCheck       bool
	AuditEnabled        bool
	FIPSMode            bool
	CertReload          bool // client.certReload
	RequireKerberos     bool
	KerberosAuthToLocal string
}

// FourLetter is the whitelist of four-letter words.
type FourLetter struct {
	All   bool     // the list holds "*"
	Words []string // in the order written, srvr always among them, duplicates removed
}

// Enabled reports whether the whitelist admits word.
func (f *FourLetter) Enabled(word string) bool {
	if f.All {
		return true
	}
	for _, w := range f.Words {
		if w == word {
			return true
		}
	}
	return false
}

// Admin is the AdminServer.
type Admin struct {
	Enabled           bool
	Address           string // admin.serverAddress
	Port              int
	IdleTimeout       time.Duration
	CommandURL        string // begins with a slash
	PortUnification   bool
	ForceHTTPS        bool
	NeedClientAuth    bool
	SnapshotEnabled   bool
	RestoreEnabled    bool
	RateLimitInterval time.Duration
}

// MetricsProvider names the provider that metricsProvider.className selects.
type MetricsProvider int

const (
	MetricsDefault    MetricsProvider = iota // four-letter words and AdminServer only
	MetricsPrometheus                        // additionally /metrics over HTTP
	MetricsNull                              // nothing is collected
)

// Metrics configures the metrics provider.
type Metrics struct {
	Provider      MetricsProvider
	ClassName     string            // as written, or the default provider's
	HTTPHost      string            // metricsProvider.httpHost
	HTTPPort      int               // metricsProvider.httpPort; 0 lets the system choose
	HTTPSPort     int               // metricsProvider.httpsPort; 0 is none
	TLS           TLSSide           // metricsProvider.ssl.*, for HTTPSPort
	ExportRuntime bool              // metricsProvider.exportJvmInfo: figures of the process and the runtime, too
	Properties    map[string]string // metricsProvider.* without the prefix, as written
	JavaAgentPort int               // port of a JMX exporter named by -javaagent; 0 is none

	needClientAuth, wantClientAuth bool
}

// PeerType is participant or observer.
type PeerType int

const (
	Participant PeerType = iota
	Observer
)

// String returns the lower-case word of member lines.
func (t PeerType) String() string {
	if t == Observer {
		return "observer"
	}
	return "participant"
}

// Ensemble holds membership, election and replication settings.
type Ensemble struct {
	MyID    int64
	HasMyID bool // a myid file was there

	Quorum      *Quorum // member list; never nil, empty without member lines
	DynamicPath string  // dynamicConfigFile as written; empty when members are in zoo.cfg
	Next        *Quorum // last seen, not yet committed list of PATH.dynamic.next; nil without that file
	PeerType    PeerType

	StandaloneEnabled bool
	ReconfigEnabled   bool
	ListenOnAllIPs    bool
	SyncEnabled       bool // observers write logs and snapshots too

	InitLimitTicks     int
	SyncLimitTicks     int
	ConnectLimitTicks  int    // connectToLearnerMasterLimit; 0 means InitLimitTicks
	ObserverMasterPort int    // 0 is off
	OraclePath         string // file that breaks the tie of two servers, as written; empty: there is none

	CnxTimeout              time.Duration // to open an election connection
	QuorumCnxnTimeout       time.Duration // read timeout of election sockets; effective: tickTime x syncLimit when not set
	ElectionBindRetries     int           // 0 is for ever
	TCPKeepAlive            bool
	NotificationIntervalMin time.Duration
	NotificationIntervalMax time.Duration
	LeaderEpochWaitMax      time.Duration // negative is off
	ConcurrentSnapSyncsMax  int
	ConcurrentDiffSyncsMax  int
	LeaderServes            bool
	LeaderConnectDelay      time.Duration
	ForceSnapshotSync       bool
	ObserverReconnectDelay  time.Duration
	ObserverElectionDelay   time.Duration
	LeaderNoDelay           bool
	FollowerNoDelay         bool

	MultiAddressEnabled      bool
	ReachabilityCheckEnabled bool
	ReachabilityCheckTimeout time.Duration
}

// Self returns the member line of this server; ok is false when there is none.
func (e *Ensemble) Self() (m Member, ok bool) {
	if !e.HasMyID {
		return Member{}, false
	}
	return e.Quorum.Member(e.MyID)
}

// IsDistributed reports whether the server runs as a member of an ensemble; otherwise it runs standalone.
// Source: QuorumPeerConfig.isDistributed.
func (c *Config) IsDistributed() bool {
	return !c.Ensemble.StandaloneEnabled || c.Ensemble.Quorum.CountOf(Participant) > 1
}

// Store is one key or trust store.
type Store struct {
	Location     string
	Password     string
	PasswordPath string // wins over Password
	Type         string // JKS, PEM, PKCS12, BCFKS or empty: by the file's extension
}

// TLSSide is the TLS configuration of one kind of connection.
type TLSSide struct {
	KeyStore                   Store
	TrustStore                 Store
	Protocol                   string
	EnabledProtocols           []string
	CipherSuites               []string // Java suite names
	ClientAuth                 string   // need, want or none
	HostnameVerification       bool
	ClientHostnameVerification bool
	AllowReverseDNSLookup      bool
	HandshakeDetectionTimeout  time.Duration
}

// TLS holds the TLS settings of client ports and of connections between servers.
type TLS struct {
	Client                TLSSide
	Quorum                TLSSide
	QuorumEnabled         bool // sslQuorum
	QuorumPortUnification bool // portUnification
	QuorumReloadCertFiles bool // sslQuorumReloadCertFiles
}

// SASL holds SASL between servers and the JAAS configuration.
type SASL struct {
	QuorumEnabled            bool
	QuorumLearnerRequired    bool
	QuorumServerRequired     bool
	QuorumLearnerContext     string
	QuorumServerContext      string
	QuorumServicePrincipal   string
	ServerContext            string // sasl.serverconfig: JAAS section for clients
	JAASFile                 string // java.security.auth.login.config
	CanonicalizeHostNames    bool
	RemoveHostFromPrincipal  bool
	RemoveRealmFromPrincipal bool
}

// Autopurge removes old snapshots.
type Autopurge struct {
	SnapRetainCount int
	PurgeInterval   time.Duration // 0 is off
}

// Container holds the sweep of container and TTL nodes.
type Container struct {
	CheckInterval        time.Duration
	DeletionsPerMinute   int
	NeverUsedIntervalMax time.Duration // 0 is never
}

// PauseMonitor is the detector of stalls of the whole process (jvm.pause.*).
type PauseMonitor struct {
	Enabled       bool
	SleepTime     time.Duration
	InfoThreshold time.Duration
	WarnThreshold time.Duration
}

// Process holds what concerns the process and its log.
type Process struct {
	LogDir           string
	LogFile          string
	RootLogger       string // zookeeper.root.logger, for example "INFO, CONSOLE"
	ConsoleThreshold string // zookeeper.console.threshold
	HeapMaxBytes     int64  // -Xmx; 0 when not given
}
