package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// base is a minimal zoo.cfg of a standalone server.
const base = "dataDir=/data\nclientPort=2181\n"

func parse(t *testing.T, text string, env ...string) (*Config, []Warning, error) {
	t.Helper()
	p, err := ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Parse(p, Source{Path: "zoo.cfg", Env: env})
}

func mustParse(t *testing.T, text string, env ...string) (*Config, []Warning) {
	t.Helper()
	c, warnings, err := parse(t, text, env...)
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

func messages(warnings []Warning) []string {
	out := make([]string, len(warnings))
	for i, w := range warnings {
		out[i] = w.String()
	}
	return out
}

// TestDefaults pins the defaults that clients and operators observe. Source: the tables of chapter 1.
func TestDefaults(t *testing.T) {
	c, warnings := mustParse(t, base)
	if len(warnings) != 0 {
		t.Errorf("warnings %q", messages(warnings))
	}
	for _, want := range []struct {
		name      string
		got, want any
	}{
		{"tickTime", c.Sessions.TickTime, 3 * time.Second},
		{"minSessionTimeout", c.Sessions.MinTimeout, 6 * time.Second},
		{"maxSessionTimeout", c.Sessions.MaxTimeout, time.Minute},
		{"maxClientCnxns", c.Client.CnxnsPerAddressMax, 60},
		{"clientPort", c.Client.Plain, Listener{true, Endpoint{"", 2181}}},
		{"secureClientPort", c.Client.Secure, Listener{}},
		{"dataLogDir", c.Storage.DataLogDir, "/data"},
		{"snapCount", c.Storage.SnapCount, 100000},
		{"snapSizeLimitInKb", c.Storage.SnapSizeLimitBytes, int64(4 << 30)},
		{"preAllocSize", c.Storage.PreAllocBytes, int64(64 << 20)},
		{"commitLogCount", c.Storage.CommitLogCount, 500},
		{"snapshotSizeFactor", c.Storage.SnapshotSizeFactor, 0.33},
		{"forceSync", c.Storage.ForceSync, true},
		{"datadir.autocreate", c.Storage.DirAutocreate, true},
		{"jute.maxbuffer", c.Limits.FrameMaxBytes, 0xfffff},
		{"jute.maxbuffer.extrasize", c.Limits.FrameExtraBytes, 0xfffff},
		{"globalOutstandingLimit", c.Limits.GlobalOutstandingMax, 1000},
		{"skipACL", c.Auth.SkipACL, false},
		{"leaderServes", c.Ensemble.LeaderServes, true},
		{"standaloneEnabled", c.Ensemble.StandaloneEnabled, true},
		{"admin.enableServer", c.Admin.Enabled, true},
		{"admin.serverPort", c.Admin.Port, 8080},
		{"whitelist", c.FourLetter, FourLetter{Words: []string{"srvr"}}},
		{"autopurge", c.Autopurge, Autopurge{SnapRetainCount: 3}},
		{"container interval", c.Container.CheckInterval, time.Minute},
		{"metrics", c.Metrics.Provider, MetricsDefault},
		{"sessionless", c.Client.SessionlessTimeout, 10 * time.Second},
		{"electionPortBindRetry", c.Ensemble.ElectionBindRetries, 3},
		{"clientAuth", c.TLS.Client.ClientAuth, "need"},
		{"client hostname verification", c.TLS.Client.ClientHostnameVerification, false},
		{"quorum client hostname verification", c.TLS.Quorum.ClientHostnameVerification, true},
		{"distributed", c.IsDistributed(), false},
	} {
		if !reflect.DeepEqual(want.got, want.want) {
			t.Errorf("%s: %v, want %v", want.name, want.got, want.want)
		}
	}
}

// TestValues checks that values reach their fields in the right unit, with exactly the warnings listed.
func TestValues(t *testing.T) {
	f := func(line string, got func(*Config) any, want any, warn ...string) {
		t.Helper()
		c, warnings, err := parse(t, base+line+"\n")
		if err != nil {
			t.Errorf("%s: %v", line, err)
			return
		}
		if v := got(c); !reflect.DeepEqual(v, want) {
			t.Errorf("%s: %v, want %v", line, v, want)
		}
		if len(warnings) != len(warn) {
			t.Errorf("%s: warnings %q, want %d", line, messages(warnings), len(warn))
			return
		}
		for i, w := range warnings {
			if !strings.Contains(w.Message, warn[i]) {
				t.Errorf("%s: warning %q, want %q in it", line, w.Message, warn[i])
			}
		}
	}
	f("tickTime 2000", func(c *Config) any { return c.Sessions.MaxTimeout }, 40*time.Second)
	f("tickTime: +2000", func(c *Config) any { return c.Sessions.TickTime }, 2*time.Second)
	f("clientPort=0", func(c *Config) any { return c.Client.Plain }, Listener{true, Endpoint{"", 0}})
	f("maxClientCnxns=-1", func(c *Config) any { return c.Client.CnxnsPerAddressMax }, 0)
	f("autopurge.purgeInterval=24", func(c *Config) any { return c.Autopurge.PurgeInterval }, 24*time.Hour)
	f("reconfigEnabled=TRUE", func(c *Config) any { return c.Ensemble.ReconfigEnabled }, true)
	f("snapCount=0x10", func(c *Config) any { return c.Storage.SnapCount }, 16)
	f("snapCount=-1", func(c *Config) any { return c.Storage.SnapCount }, 2, "SnapCount should be 2 or more. Now, snapCount is reset to 2")
	f("snapSizeLimitInKb=-1", func(c *Config) any { return c.Storage.SnapSizeLimitBytes }, int64(-1024))
	f("preAllocSize=1024", func(c *Config) any { return c.Storage.PreAllocBytes }, int64(1<<20))
	f("commitLogCount=9", func(c *Config) any { return c.Storage.CommitLogCount }, 500, "less than the recommended 500")
	f("snapshotSizeFactor=2", func(c *Config) any { return c.Storage.SnapshotSizeFactor }, 0.33, "going to use the default 0.33")
	f("snapshotSizeFactor=-1", func(c *Config) any { return c.Storage.SnapshotSizeFactor }, -1.0)
	f("largeRequestThreshold=0", func(c *Config) any { return c.Limits.LargeRequestThreshold }, -1, "Invalid large request threshold 0.")
	f("largeRequestMaxBytes=0", func(c *Config) any { return c.Limits.LargeRequestTotalBytes }, 104857600, "Invalid max bytes", "stay at 104857600")
	f("maxCnxns=-3", func(c *Config) any { return c.Client.CnxnsMax }, 0, "maxCnxns should be greater")
	f("electionPortBindRetry=0", func(c *Config) any { return c.Ensemble.ElectionBindRetries }, 0)
	f("electionPortBindRetry=-2", func(c *Config) any { return c.Ensemble.ElectionBindRetries }, 3, "contains invalid value: -2(must be >= 0). Use default value of 3")
	weights := func(c *Config) any { return *c.Throttle.Weights }
	const weigh = "connection_throttle_weight_enabled=true\n"
	f(weigh, weights, SessionWeights{Global: 3, Renew: 2, Local: 1})
	f(weigh+"connection_throttle_global_session_weight=2\nconnection_throttle_local_session_weight=4", weights, SessionWeights{Global: 4, Renew: 4, Local: 4},
		"The global session weight 2 is less than the local session weight 4", "The renew session weight 2 is less")
	f("connection_throttle_renew_session_weight=0\n"+weigh, weights, SessionWeights{Global: 3, Renew: 2, Local: 1}, "Invalid renew session weight 0")
	f(weigh+"connection_throttle_tokens=10\nconnection_throttle_fill_count=2", func(c *Config) any { return [2]int{c.Throttle.ConnectionTokens, c.Throttle.ConnectionFillCount} }, [2]int{30, 6})
	f("connection_throttle_local_session_weight=7", func(c *Config) any { return c.Throttle.Weights == nil }, true)
	f("request_throttler.shutdownTimeout=2500", func(c *Config) any { return c.Throttle.ShutdownTimeout }, 2500*time.Millisecond)
	f("observer.reconnectDelayMs=250", func(c *Config) any { return c.Ensemble.ObserverReconnectDelay }, 250*time.Millisecond)
	f("oraclePath=/etc/oracle", func(c *Config) any { return c.Ensemble.OraclePath }, "/etc/oracle")
	f("oraclePath=oracle", func(c *Config) any { return c.Ensemble.OraclePath }, "oracle", "oracle is relative")
	f("forceSync=no", func(c *Config) any { return c.Storage.ForceSync }, false)
	f("forceSync=false", func(c *Config) any { return c.Storage.ForceSync }, true, "forceSync=false counts as yes")
	f("skipACL=yes", func(c *Config) any { return c.Auth.SkipACL }, true)
	f("skipACL=true", func(c *Config) any { return c.Auth.SkipACL }, false, "skipACL=true counts as no")
	f("leaderServes=no", func(c *Config) any { return c.Ensemble.LeaderServes }, false)
	f("admin.enableServer=false", func(c *Config) any { return c.Admin.Enabled }, false)
	f("admin.enableServer=no", func(c *Config) any { return c.Admin.Enabled }, true, "counts as true")
	f("enforceQuota=on", func(c *Config) any { return c.Limits.EnforceQuota }, false, "enforceQuota=on counts as false")
	f("digest.enabled=False", func(c *Config) any { return c.Storage.DigestEnabled }, false)
	f("jute.maxbuffer=4194304", func(c *Config) any { return c.Limits.FrameMaxBytes + c.Limits.FrameExtraBytes }, 8388608, "jute.maxbuffer in zoo.cfg is honoured here")
	f("zookeeper.snapCount=5", func(c *Config) any { return c.Storage.SnapCount }, 100000, "prefix zookeeper. is implied; write snapCount")
	f("connectionMaxTokens=7", func(c *Config) any { return c.Throttle.ConnectionTokens }, 7, "honoured as connection_throttle_tokens")
	f("maxConcurrentSnapSyncs=4", func(c *Config) any { return c.Ensemble.ConcurrentSnapSyncsMax }, 4, "honoured as leader.maxConcurrentSnapSyncs")
	f("syncEnabled=true\nobserver.syncEnabled=false", func(c *Config) any { return c.Ensemble.SyncEnabled }, false, "observer.syncEnabled is accepted but has no effect")
	f("observer.syncEnabled=true\nsyncEnabled=false", func(c *Config) any { return c.Ensemble.SyncEnabled }, true, "no effect", "no effect")
	f("4lw.commands.whitelist=ruok , mntr,,ruok", func(c *Config) any { return c.FourLetter.Words }, []string{"ruok", "mntr", "srvr"})
	f("4lw.commands.whitelist=stat, foo", func(c *Config) any { return c.FourLetter.Enabled("stat") }, true, `holds "foo"`)
	f("4lw.commands.whitelist=*", func(c *Config) any { return c.FourLetter.Enabled("wchp") }, true)
	f("readonlymode.enabled=true", func(c *Config) any { return c.FourLetter.Enabled("isro") }, true, "only as -Dreadonlymode.enabled")
	f("metricsProvider.className="+prometheusMetricsProvider+"\nmetricsProvider.httpPort=7070", func(c *Config) any {
		return []any{c.Metrics.Provider, c.Metrics.Properties}
	}, []any{MetricsPrometheus, map[string]string{"httpPort": "7070"}})
	f("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider", func(c *Config) any { return len(c.Auth.Providers) }, 1)
	f("authProvider.1=com.example.Mine", func(c *Config) any { return len(c.Auth.Providers) }, 0, "Problems loading com.example.Mine")
	f("sessionRequireClientSASLAuth=true", func(c *Config) any { return c.Auth.EnforceSchemes }, []string{"sasl"})
	f("nio.numWorkerThreads=abc", func(c *Config) any { return nil }, nil, "nio.numWorkerThreads has no effect: it tunes threads")
	f("quorum.cnxn.threads.size=20", func(c *Config) any { return nil }, nil, "has no effect")
	f("autopurge.purgeInterval=0", func(c *Config) any { return c.Autopurge.PurgeInterval }, time.Duration(0), "removed all the same")
	f("sslQuorum=true", func(c *Config) any { return c.TLS.QuorumEnabled }, true)
	f("sslQuorum=false", func(c *Config) any { return c.TLS.QuorumEnabled }, false)
	f("ssl.quorum.clientAuth=NONE", func(c *Config) any { return c.TLS.Quorum.ClientAuth }, "none")
	f("ssl.keyStore.location=/k.pem", func(c *Config) any { return c.TLS.Client.KeyStore.Location }, "/k.pem")
	f("request.timeout=5", func(c *Config) any { return nil }, nil)
	f("ticktime=5", func(c *Config) any { return nil }, nil, "unknown key ticktime has no effect; did you mean tickTime?")
	f("nonsenseKey=1", func(c *Config) any { return nil }, nil, "unknown key nonsenseKey has no effect")
	f("=1", func(c *Config) any { return nil }, nil, "line 3 has no key")
	f("dataDir=data", func(c *Config) any { return c.Storage.DataDir }, "data", "data is relative. Prepend ./ to indicate that you're sure!")
	f("clientPortAddress=[::1]", func(c *Config) any { return c.Client.Plain.Host }, "::1")
}

// TestRefusals checks wrong values beyond those of the recorded starts: exit code, message, and that the
// one-line text names key, value, place and a fix.
func TestRefusals(t *testing.T) {
	f := func(line string, exit int, message string) {
		t.Helper()
		_, _, err := parse(t, base+line+"\n")
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want %s", line, err, message)
			return
		}
		if e.ExitCode != exit || e.Message != message || e.Fix == "" || ExitCodeOf(err) != exit {
			t.Errorf("%s: %d %q fix %q, want %d %q", line, e.ExitCode, e.Message, e.Fix, exit, message)
		}
		key, value, _ := strings.Cut(line, "=")
		text := err.Error()
		for _, part := range []string{key, value, "zoo.cfg", "fix: ", "config: "} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q lacks %q", line, text, part)
			}
		}
	}
	f("tickTime=-5", 2, "tickTime must be above 0")
	f("tickTime=3000000000", 2, `For input string: "3000000000"`)
	f("tickTime=", 2, `For input string: ""`)
	f("snapCount=1.5", 2, `For input string: "1.5"`)
	f("snapCount=0x", 2, `For input string: "0x"`)
	f("snapCount=--5", 2, `For input string: "--5"`)
	f("autopurge.purgeInterval=2147483647", 2, "autopurge.purgeInterval is too large")
	f("secureClientPort=65536", 2, "port out of range:65536")
	f("observerMasterPort=70000", 2, "port out of range:70000")
	f("jute.maxbuffer=0", 2, "jute.maxbuffer must be above 0")
	f("admin.serverPort=-1", 2, "port out of range:-1")
	f("admin.commandURL=commands", 2, "admin.commandURL must begin with a slash")
	f("ssl.clientAuth=maybe", 2, "Invalid client auth: maybe")
	f("ssl.trustStore.type=zip", 2, "Invalid store type: zip")
	f("connection_throttle_local_session_weight=x", 2, `For input string: "x"`)
	f("connection_throttle_drop_increase=x", 1, `For input string: "x"`)
	f("serverCnxnFactory=com.x.Y", 1, "Couldn't instantiate com.x.Y")
	f("enforce.auth.enabled=true", 1, "zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must be  configured.")
	f("DigestAuthenticationProvider.digestAlg=rot13", 2, "rot13 MessageDigest not available")
	f("fastleader.maxNotificationInterval=10", 2, "fastleader.minNotificationInterval must not be larger than fastleader.maxNotificationInterval")
	f("server.1=host", 2, "host"+memberForm)
	f("weight.1=x", 2, `For input string: "x"`)
}

// TestPrecedence: the default, SERVER_JVMFLAGS, JVMFLAGS, zoo.cfg, weakest first.
func TestPrecedence(t *testing.T) {
	f := func(file string, env []string, want int) {
		t.Helper()
		c, _ := mustParse(t, base+file, env...)
		if c.Storage.SnapCount != want {
			t.Errorf("%q %q: snapCount %d, want %d", file, env, c.Storage.SnapCount, want)
		}
	}
	f("", nil, 100000)
	f("", []string{"SERVER_JVMFLAGS=-Dzookeeper.snapCount=11"}, 11)
	f("", []string{"JVMFLAGS=-Dzookeeper.snapCount=12", "SERVER_JVMFLAGS=-Dzookeeper.snapCount=11"}, 12)
	f("", []string{"JVMFLAGS=-Dzookeeper.snapCount=12 -Dzookeeper.snapCount=13"}, 13)
	f("snapCount=14", []string{"JVMFLAGS=-Dzookeeper.snapCount=garbage"}, 14)
	f("", []string{"JVMFLAGS=-Dzookeeper.tickTime=5"}, 100000)

	c, _ := mustParse(t, base+"snapCount=14\nsnapCount=15\n", "JVMFLAGS=-Dzookeeper.snapCount=1 -Dzookeeper.forceSync=no")
	want := []Setting{
		{"forceSync", "no", FromProperty, "JVMFLAGS", 0},
		{"dataDir", "/data", FromFile, "zoo.cfg", 1},
		{"clientPort", "2181", FromFile, "zoo.cfg", 2},
		{"snapCount", "15", FromFile, "zoo.cfg", 4},
	}
	if got := c.Settings(); !slices.Equal(got, want) {
		t.Errorf("settings %v, want %v", got, want)
	}
	if !c.IsSet("forceSync") || c.IsSet("tickTime") {
		t.Error("IsSet is wrong")
	}
	if got := len(c.Raw.All()); got != 4 {
		t.Errorf("%d raw pairs, want 4", got)
	}
}

// TestJVMFlags checks what becomes of every sort of word in the JVM variables.
func TestJVMFlags(t *testing.T) {
	f := func(flags string, got func(*Config) any, want any, warn ...string) {
		t.Helper()
		c, warnings := mustParse(t, base, "JVMFLAGS="+flags)
		if v := got(c); !reflect.DeepEqual(v, want) {
			t.Errorf("%s: %v, want %v", flags, v, want)
		}
		if len(warnings) != len(warn) {
			t.Errorf("%s: warnings %q, want %d", flags, messages(warnings), len(warn))
			return
		}
		for i, w := range warnings {
			if !strings.Contains(w.Message, warn[i]) {
				t.Errorf("%s: warning %q, want %q in it", flags, w.Message, warn[i])
			}
		}
	}
	f("-Djute.maxbuffer=0x400000", func(c *Config) any { return c.Limits.FrameMaxBytes }, 4<<20)
	f("-Dfsync.warningthresholdms=7", func(c *Config) any { return c.Storage.FsyncWarningThreshold }, 7*time.Millisecond)
	f("-Dzookeeper.fsync.warningthresholdms=8", func(c *Config) any { return c.Storage.FsyncWarningThreshold }, 8*time.Millisecond)
	f("-Dzookeeper.multiAddress.enabled=true", func(c *Config) any { return c.Ensemble.MultiAddressEnabled }, true)
	f("-Dzookeeper.4lw.commands.whitelist=*", func(c *Config) any { return c.FourLetter.All }, true)
	f("-Dzookeeper.superUser.alice=cn", func(c *Config) any { return c.Auth.SuperUsers }, []string{"cn"})
	f("-Xmx512m -Xms512m -XX:+UseG1GC", func(c *Config) any { return c.Process.HeapMaxBytes }, int64(512<<20), "no effect: -Xms512m -XX:+UseG1GC")
	f("-Xmx2G", func(c *Config) any { return c.Process.HeapMaxBytes }, int64(2<<30))
	f("-Xmxlots", func(c *Config) any { return c.Process.HeapMaxBytes }, int64(0), "no effect: -Xmxlots")
	f("-Dcom.sun.management.jmxremote", func(c *Config) any { return nil }, nil, "no effect: -Dcom.sun")
	f("-Dzookeeper.tickTime=5", func(c *Config) any { return c.Sessions.TickTime }, 3*time.Second, "takes tickTime from zoo.cfg only")
	f("-Dzookeeper.snapcount=5", func(c *Config) any { return c.Storage.SnapCount }, 100000, "did you mean snapCount?")
	f("-javaagent:/opt/jmx_prometheus_javaagent.jar=9404:/opt/c.yml", func(c *Config) any { return c.Metrics.JavaAgentPort }, 9404, "port 9404 serves this server's own /metrics")
	f("-javaagent:/opt/jmx_prometheus_javaagent.jar=0.0.0.0:9404:/opt/c.yml", func(c *Config) any { return c.Metrics.JavaAgentPort }, 9404, "port 9404")
	f("-javaagent:/opt/apm.jar", func(c *Config) any { return c.Metrics.JavaAgentPort }, 0, "no Java process to load an agent into")
	f(`-Dzookeeper.log.dir="/var/my log"`, func(c *Config) any { return c.Process.LogDir }, "/var/my log", "log.dir has no effect: the log goes to standard error")

	c, _ := mustParse(t, base, "ZK_SERVER_HEAP=100")
	if c.Process.HeapMaxBytes != 100<<20 {
		t.Errorf("ZK_SERVER_HEAP: %d bytes", c.Process.HeapMaxBytes)
	}
}

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                nil,
		" a  b\tc\nd ":    {"a", "b", "c", "d"},
		`-Dx="a b" 'c d'`: {"-Dx=a b", "c d"},
		`a""b ''`:         {"ab", ""},
		`"open end`:       {"open end"},
	} {
		if got := SplitWords(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestLoad reads real files: a dynamic file with a version in its name, the next one, myid.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dynamic := write("zoo.cfg.dynamic.10000000b", "server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\n"+
		"server.2=127.0.0.1:2889:3889:observer;127.0.0.1:2182\nserver.3=localhost:2890:3890;2183")
	write("zoo.cfg.dynamic.next", "server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\nversion=10000000c")
	write("myid", " 3 \nrest\n")
	path := write("zoo.cfg", "dataDir="+dir+"\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2183\nclientPortAddress=localhost\ndynamicConfigFile="+dynamic+"\n")
	c, _, err := Load(path, nil)
	if err == nil {
		t.Fatalf("localhost:2183 and 0.0.0.0:2183 were taken for the same address: %+v", c.Client)
	}
	if want := "client address for this server (id = 3) in static config file is localhost/127.0.0.1:2183 is different from client address found in dynamic file: /0.0.0.0:2183"; !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %s", err, want)
	}
	write("zoo.cfg", "dataDir="+dir+"\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2183\ndynamicConfigFile="+dynamic+"\n")
	c, warnings, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &c.Ensemble
	if e.MyID != 3 || !e.HasMyID || e.Quorum.Version != 0x10000000b || len(e.Quorum.Members) != 3 || e.PeerType != Participant {
		t.Errorf("ensemble %+v, quorum %+v", e, e.Quorum)
	}
	if e.Next == nil || e.Next.Version != 0x10000000c || len(e.Next.Members) != 1 {
		t.Errorf("next %+v", e.Next)
	}
	if c.Client.Plain != (Listener{true, Endpoint{"0.0.0.0", 2183}}) {
		t.Errorf("client port %+v", c.Client.Plain)
	}
	if e.QuorumCnxnTimeout != 2*time.Second || !c.IsDistributed() {
		t.Errorf("timeout %v, distributed %v", e.QuorumCnxnTimeout, c.IsDistributed())
	}
	if want := []string{"No server failure will be tolerated. You need at least 3 servers."}; !slices.Equal(messages(warnings), want) {
		t.Errorf("warnings %q", messages(warnings))
	}
	if want := []string{"Reading configuration from: " + path, "clientPortAddress is 0.0.0.0:2183", "secureClientPort is not set",
		"observerMasterPort is not set", "metricsProvider.className is " + defaultMetricsProvider}; !slices.Equal(c.InfoLines(), want) {
		t.Errorf("info %q, want %q", c.InfoLines(), want)
	}
}

// TestMixUps: what is most likely a slip of the pen is told.
func TestMixUps(t *testing.T) {
	f := func(lines string, want ...string) {
		t.Helper()
		dir := layout(t, map[string]string{"data/myid": "1"})
		path := filepath.Join(dir, "zoo.cfg")
		text := "tickTime=2000\ninitLimit=5\nsyncLimit=2\nclientPort=2181\ndataDir=" + dir + "/data\n" + lines
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := Load(path, nil)
		if err != nil || !slices.Equal(messages(warnings), want) {
			t.Errorf("%q: %q, %v; want %q", lines, messages(warnings), err, want)
		}
	}
	f("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n")
	f("server.1=a:1:2\nserver.2=b:1:2\nserver.2=c:1:2\nserver.3=d:1:2\n",
		"server.2 stands in line 7 and in line 8, and only the last one counts. Give each server its own number.")
	f("server.1=a:1:2\nserver.2=a:3:4\nserver.3=a:5:3\n",
		"server.2 and server.3 have the same address a:3, so only one of them can run. Give each its own ports.")
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "zoo.cfg")
	f := func(path, message string, cause error) {
		t.Helper()
		_, _, err := Load(path, nil)
		var e *Error
		if !errors.As(err, &e) || e.Message != message || e.ExitCode != 2 || e.Fix == "" {
			t.Errorf("%s: %v, want %s", path, err, message)
		}
		if cause != nil && !errors.Is(err, cause) {
			t.Errorf("%s: %v is no %v", path, err, cause)
		}
	}
	f(missing, missing+" file is missing", fs.ErrNotExist)
	bad := filepath.Join(dir, "bad.cfg")
	if err := os.WriteFile(bad, []byte(`dataDir=C:\users`), 0o644); err != nil {
		t.Fatal(err)
	}
	f(bad, `Malformed \uxxxx encoding.`, ErrMalformedEscape)
	if _, warnings, err := Load("relative.cfg", nil); err == nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0].Message, "relative.cfg is relative.") {
		t.Errorf("relative path: %v, warnings %q", err, messages(warnings))
	}
}

func TestDefaultServer(t *testing.T) {
	t.Chdir(t.TempDir())
	c, warnings, err := Default([]string{"JVMFLAGS=-Dzookeeper.skipACL=yes"})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, messages(warnings))
	}
	if c.Client.Plain != (Listener{true, Endpoint{"", 2181}}) || c.Storage.DataDir != "./zabra-data" || c.IsDistributed() ||
		!c.FourLetter.Enabled("ruok") || !c.Auth.SkipACL || c.Autopurge.PurgeInterval != time.Hour {
		t.Errorf("%+v", c)
	}
}

func TestFromArgs(t *testing.T) {
	c, _, err := FromArgs([]string{"2182", "/d", "1000", "5"}, nil)
	if err != nil || c.Client.Plain.Port != 2182 || c.Storage.DataDir != "/d" || c.Sessions.TickTime != time.Second || c.Client.CnxnsPerAddressMax != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, args := range [][]string{{}, {"1"}, {"1", "2", "3", "4", "5"}, {"x", "/d"}} {
		if _, _, err := FromArgs(args, nil); ExitCodeOf(err) != ExitInvalidInvocation {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestErrorLevels: what Java logs at ERROR although it goes on is not a mere warning.
func TestErrorLevels(t *testing.T) {
	_, warnings := mustParse(t, base+"server.1=h:1:2\n")
	if len(warnings) != 1 || warnings[0].Level != slog.LevelError {
		t.Errorf("%+v", warnings)
	}
}

// TestOwnClientAddress covers the rules on clientPort given twice.
func TestOwnClientAddress(t *testing.T) {
	resolve := func(host string) (netip.Addr, error) {
		if host == "zk1" {
			return netip.MustParseAddr("10.0.0.1"), nil
		}
		return netip.Addr{}, errors.New("no such host")
	}
	f := func(static, client string, ok bool) {
		t.Helper()
		p, err := ParseProperties([]byte("dataDir=/d\ninitLimit=1\nsyncLimit=1\nserver.1=zk1:1:2;" + client + "\nserver.2=h2:1:2\n" + static))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Parse(p, Source{Resolve: resolve, ReadFile: func(string) ([]byte, error) { return []byte("1"), nil }})
		if (err == nil) != ok {
			t.Errorf("%q with %q: %v", static, client, err)
		}
	}
	f("", "2181", true)
	f("clientPort=2181", "2181", true)
	f("clientPort=2181", "zk1:2181", true) // a wildcard agrees with every address of that port
	f("clientPort=2182", "2181", false)
	f("clientPort=2181\nclientPortAddress=zk1", "10.0.0.1:2181", true)
	f("clientPort=2181\nclientPortAddress=10.0.0.1", "zk1:2181", true)
	f("clientPort=2181\nclientPortAddress=10.0.0.2", "zk1:2181", false)
	f("clientPort=2181\nclientPortAddress=0.0.0.0", "zk1:2181", true)
	f("clientPort=2181\nclientPortAddress=nowhere", "2181", false)
}

// An oracle breaks the tie of two under the majority rule; with another rule Java silently drops that.
func TestOracleNeedsMajority(t *testing.T) {
	_, _, err := parse(t, base+"oraclePath=/o\nserver.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\n")
	if err == nil || !strings.Contains(err.Error(), "oraclePath does not go with group.N and weight.N lines") {
		t.Errorf("%v", err)
	}
}

// A dataDir that is a file is what is wrong, not the rights of a file below it.
func TestDataDirIsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(file, []byte("clientPort=2181\ndataDir="+file+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(file, nil); err == nil || !strings.Contains(err.Error(), "give a directory as dataDir: "+file+" is none") {
		t.Errorf("%v", err)
	}
}
