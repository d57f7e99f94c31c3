package server

import (
	"os"
	"strconv"
	"syscall"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
)

// MonitorPairs gives the lines of mntr. Any goroutine may call it.
func (s *Server) MonitorPairs() []fourlw.Pair {
	pairs := []fourlw.Pair{{Key: "version", Value: Version()}, {Key: "server_state", Value: s.Mode()}}
	if m, ok := s.Membership(); ok && !s.readOnly.Load() { // Java's read-only server knows of no ensemble
		pairs = append(pairs, fourlw.Pair{Key: "peer_state", Value: m.peerState()})
	}
	if s.opts.MetricsProvider == config.MetricsNull {
		return pairs
	}
	return append(s.figures.Pairs(pairs, s.Gauges()), s.namespacePairs()...)
}

// Figures is the registry of counters and summaries.
func (s *Server) Figures() *metrics.Registry { return s.figures }

// Gauges reads the gauges of operations, section 5.3. Any goroutine may call it.
func (s *Server) Gauges() []metrics.Gauge {
	info := s.Info()
	open, most := fileDescriptors()
	sum, watches := zeroStats, 0
	s.lockGates()
	ephemerals, dataBytes, sessions := s.engine.EphemeralCount(), s.engine.DataBytes(), s.engine.SessionCount()
	for _, l := range s.loops {
		sum.add(&l.stats)
		watches += l.watches.NumWatches()
		l.readLatency.moveTo(s.figures.Summary("readlatency"))
		l.updateLatency.moveTo(s.figures.Summary("updatelatency"))
		s.figures.Counter("watch_bytes").Add(l.watchBytes)
		s.figures.Counter("bytes_received_count").Add(l.receivedBytes)
		s.figures.Counter("response_bytes").Add(l.responseBytes)
		l.watchBytes, l.receivedBytes, l.responseBytes = 0, 0, 0
	}
	more := s.quotaGauges()
	s.unlockGates()
	if m, ok := s.Membership(); ok && !s.readOnly.Load() {
		more = append(m.gauges(), more...)
	}
	s.collect()
	g := func(name string, v float64) metrics.Gauge { return metrics.Gauge{Name: name, Value: v} }
	return append([]metrics.Gauge{
		g("avg_latency", info.AvgLatencyMs), g("min_latency", float64(info.MinLatencyMs)), g("max_latency", float64(info.MaxLatencyMs)),
		g("packets_received", float64(info.Received)), g("packets_sent", float64(info.Sent)),
		g("num_alive_connections", float64(info.Connections)), g("outstanding_requests", float64(info.Outstanding)),
		g("uptime", float64(s.nowMs())), g("znode_count", float64(info.NodeCount)), g("watch_count", float64(watches)),
		g("ephemerals_count", float64(ephemerals)), // Java counts the root under both of its names.
		g("approximate_data_size", float64(dataBytes+1)),
		g("global_sessions", float64(sessions)), g("local_sessions", float64(s.replica.sessions.locals.Load())),
		g("open_file_descriptor_count", float64(open)), g("max_file_descriptor_count", float64(most)),
		g("connection_drop_probability", 0),
		g("last_client_response_size", float64(sum.lastResponseBytes)), g("max_client_response_size", float64(sum.maxResponseBytes)),
		g("min_client_response_size", float64(sum.minResponseBytes)),
		g("outstanding_tls_handshake", 0), g("auth_failed_count", float64(s.authFailed.Load())),
		g("non_mtls_remote_conn_count", float64(s.nonMTLSRemote.Load())), g("non_mtls_local_conn_count", float64(s.nonMTLSLocal.Load())),
	}, more...)
}

// fileDescriptors returns how many are open and how many may be; 0 where the system does not tell.
func fileDescriptors() (open, most int) {
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		open = len(entries)
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		most = int(limit.Cur)
	}
	return open, most
}

// digestInterval is how many zxids lie between two entries of the word hash; digestLogMax how many
// are kept. Both are Java's.
const (
	digestInterval = 128
	digestLogMax   = 1024
)

// noteZxid keeps the digest of the tree every so often. The caller holds all gates.
func (s *Server) noteZxid(zxid proto.Zxid) {
	if zxid%digestInterval != 0 {
		return
	}
	if len(s.digestLog) == digestLogMax {
		s.digestLog = append(s.digestLog[:0], s.digestLog[1:]...)
	}
	s.digestLog = append(s.digestLog, fourlw.Digest{Zxid: zxid, Digest: s.engine.Digest()})
}

func (s *Server) digests() []fourlw.Digest {
	s.lockGates()
	defer s.unlockGates()
	return append([]fourlw.Digest(nil), s.digestLog...)
}

// hexID writes a session id as Java does, which takes it for unsigned.
func hexID(id proto.SessionID) string { return "0x" + strconv.FormatUint(uint64(id), 16) }
