package server

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"
)

func fourLetterWords() (words []netpoll.Word) {
	for _, w := range fourlw.Words {
		args := 0
		if w == "stmk" {
			args = fourlw.MaskBytes
		}
		words = append(words, netpoll.Word{Text: w, ArgBytes: args})
	}
	return words
}

// Word implements netpoll.Handler. The answer is worked out on a goroutine of its own, since some
// look at every connection or at the disk; Stop waits for it.
func (s *Server) Word(np netpoll.Conn, word string, arg []byte) {
	if word == fourlw.TelnetClose {
		np.Close()
		return
	}
	s.log.Debug(fmt.Sprintf("Processing %s command from /%s", word, np.RemoteAddr()))
	c := np.Context().(*clientConn)
	l := c.loop
	l.gate.Lock()
	c.state = connClosing
	c.stats.received++
	l.stats.received++
	l.gate.Unlock()
	var mask int64
	if len(arg) == fourlw.MaskBytes {
		mask = int64(binary.BigEndian.Uint64(arg))
	}
	s.answers.Add(1)
	go func() {
		defer s.answers.Done()
		answer := s.answer(word, mask)
		np.Loop().Post(func() {
			// An error means that the client has gone.
			_ = np.Write(answer)
			np.CloseAfterFlush()
		})
	}()
}

// answer works out what to say to word. It may block on the gates.
func (s *Server) answer(word string, mask int64) []byte {
	if !s.opts.FourLetter.Enabled(word) {
		return []byte(fourlw.NotWhitelisted(word))
	}
	switch word {
	case "ruok":
		return []byte(fourlw.ImOK)
	case "gtmk":
		return strconv.AppendInt(nil, s.traceMask.Load(), 10)
	case "stmk":
		s.traceMask.Store(mask)
		return strconv.AppendInt(nil, mask, 10)
	case "envi":
		return fourlw.AppendEnvi(nil, s.environment())
	}
	if !s.serving.Load() {
		if word == "isro" {
			return []byte(fourlw.NullRole)
		}
		return []byte(fourlw.NotServing)
	}
	switch word {
	case "isro":
		if s.readOnly.Load() {
			return []byte(fourlw.ReadOnly)
		}
		return []byte(fourlw.ReadWrite)
	case "srvr":
		info := s.Info()
		return fourlw.AppendSrvr(nil, &info)
	case "stat":
		info := s.Info()
		return fourlw.AppendStat(nil, &info, s.Conns())
	case "cons":
		return fourlw.AppendCons(nil, s.Conns())
	case "crst":
		s.ResetConnStats()
		return []byte(fourlw.ConnReset)
	case "srst":
		s.ResetStats()
		return []byte(fourlw.ServerReset)
	case "conf":
		more, members := s.ensembleConf()
		return append(fourlw.AppendConf(nil, append(s.ConfPairs(), more...)), members...)
	case "dirs":
		return fourlw.AppendDirs(nil, dirBytes(s.opts.DataDir), dirBytes(s.opts.LogDir))
	case "dump":
		return s.dump()
	case "wchs":
		conns, paths, watches := s.WatchCounts()
		return fourlw.AppendWchs(nil, conns, paths, watches)
	case "wchc":
		return fourlw.AppendGroups(nil, s.watchesByConn())
	case "wchp":
		return fourlw.AppendGroups(nil, s.watchesByPath())
	case "mntr":
		return fourlw.AppendMntr(nil, s.MonitorPairs())
	case "hash":
		return fourlw.AppendHash(nil, s.digests())
	}
	panic("server: word without an answer: " + word)
}

// Info gives the figures of srvr. Any goroutine may call it.
func (s *Server) Info() fourlw.Server {
	info := fourlw.Server{
		Version: Version(), Mode: s.Mode(), Connections: s.connCount.Load(), Outstanding: s.outstanding.Load(),
	}
	s.lockGates()
	defer s.unlockGates()
	if info.IsLeader = info.Mode == "leader"; info.IsLeader {
		sizes := s.replica.ens.figures.sizes()
		info.ProposalLast, info.ProposalMin, info.ProposalMax = sizes.Last, sizes.Min, sizes.Max
	}
	info.Zxid = s.engine.LastZxid()
	// The root counts twice, as in Java's table of paths.
	info.NodeCount = int64(s.engine.NodeCount()) + 1
	sum := zeroStats
	for _, l := range s.loops {
		sum.add(&l.stats)
	}
	info.Received, info.Sent = sum.received, sum.sent
	info.MinLatencyMs, info.MaxLatencyMs = sum.minLatencyMs, sum.maxLatencyMs
	if sum.latencyCount > 0 {
		info.AvgLatencyMs = float64(sum.latencySumMs) / float64(sum.latencyCount)
	}
	return info
}

// Conns gives the figures of cons for each client connection. Any goroutine may call it.
func (s *Server) Conns() (out []fourlw.Conn) {
	s.lockGates()
	defer s.unlockGates()
	s.eachConn(func(c *clientConn) { out = append(out, c.info()) })
	return out
}

// eachConn calls f for each open connection. The caller holds all gates.
func (s *Server) eachConn(f func(*clientConn)) {
	for _, l := range s.loops {
		for _, c := range l.conns {
			if c != nil {
				f(c)
			}
		}
	}
}

func (c *clientConn) info() fourlw.Conn {
	st := &c.stats
	v := fourlw.Conn{
		Addr: c.np.RemoteAddr(), Secure: c.np.TLS() != nil, Queued: int64(c.inPipeline), Received: st.received, Sent: st.sent,
		Session: c.session, LastOp: "NA", EstablishedMs: c.openedAtMs, TimeoutMs: c.timeoutMs,
		LastCxid: st.lastCxid, HasCxid: st.hasCxid, LastZxid: st.lastZxid, LastResponseMs: st.lastReplyMs,
		LastLatency: st.lastLatencyMs, MinLatency: st.minLatencyMs, MaxLatency: st.maxLatencyMs,
	}
	if c.state == connNew || c.state == connEstablished {
		v.InterestOps = 1
	}
	if st.hasOp {
		v.LastOp = fourlw.OpAbbreviation(st.lastOp)
	}
	if st.latencyCount > 0 {
		v.AvgLatency = st.latencySumMs / st.latencyCount
	}
	return v
}

// ResetConnStats zeroes the counters of every connection (crst).
func (s *Server) ResetConnStats() {
	s.lockGates()
	defer s.unlockGates()
	s.eachConn(func(c *clientConn) { c.stats = connStats{} })
}

// ResetStats zeroes the counters of the server (srst).
func (s *Server) ResetStats() {
	s.lockGates()
	defer s.unlockGates()
	for _, l := range s.loops {
		l.stats = zeroStats
	}
	if s.opts.MetricsProvider == config.MetricsPrometheus {
		return // it takes a counter that falls for a restart
	}
	for _, l := range s.loops {
		l.namespaces.reset()
		l.readLatency, l.updateLatency = latencyHistogram{}, latencyHistogram{}
		l.watchBytes, l.receivedBytes, l.responseBytes = 0, 0, 0
	}
	s.collect()
	s.figures.Reset()
}

// ConfPairs gives the lines of conf. Any goroutine may call it.
func (s *Server) ConfPairs() []fourlw.Pair {
	o := &s.opts
	num := func(key string, v int64) fourlw.Pair { return fourlw.Pair{Key: key, Value: strconv.FormatInt(v, 10)} }
	serverID := int64(0)
	if o.Ensemble != nil {
		serverID = o.Ensemble.Self
	}
	return []fourlw.Pair{
		num("clientPort", s.clientPort.Load()), num("secureClientPort", int64(o.SecureClientPort)),
		{Key: "dataDir", Value: o.DataDir}, num("dataDirSize", dirBytes(o.DataDir)),
		{Key: "dataLogDir", Value: o.LogDir}, num("dataLogSize", dirBytes(o.LogDir)),
		num("tickTime", o.TickMs), num("maxClientCnxns", int64(o.CnxnsPerAddressMax)),
		num("minSessionTimeout", int64(o.MinSessionTimeoutMs)), num("maxSessionTimeout", int64(o.MaxSessionTimeoutMs)),
		num("clientPortListenBacklog", int64(o.ListenBacklog)), num("serverId", serverID),
	}
}

// dirBytes adds up the sizes of the files below dir; what vanishes while it looks counts nothing.
func dirBytes(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// environment gives Java's keys, with the Go runtime where Java has its own.
func (s *Server) environment() []fourlw.Pair {
	host, _ := os.Hostname()
	dir, _ := os.Getwd()
	name, home := "", ""
	if u, err := user.Current(); err == nil {
		name, home = u.Username, u.HomeDir
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	mb := func(b uint64) string { return strconv.FormatUint(b>>20, 10) + "MB" }
	return []fourlw.Pair{
		{Key: "zookeeper.version", Value: Version()}, {Key: "host.name", Value: host},
		{Key: "java.version", Value: runtime.Version()}, {Key: "java.vendor", Value: "Zabra"}, {Key: "java.home", Value: ""},
		{Key: "java.class.path", Value: ""}, {Key: "java.library.path", Value: ""},
		{Key: "java.io.tmpdir", Value: os.TempDir()}, {Key: "java.compiler", Value: "<NA>"},
		{Key: "os.name", Value: strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]}, {Key: "os.arch", Value: runtime.GOARCH},
		{Key: "os.version", Value: kernelRelease()}, {Key: "user.name", Value: name}, {Key: "user.home", Value: home},
		{Key: "user.dir", Value: dir}, {Key: "os.memory.free", Value: mb(m.HeapIdle)},
		{Key: "os.memory.max", Value: mb(m.Sys)}, {Key: "os.memory.total", Value: mb(m.HeapSys)},
	}
}

func kernelRelease() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// dump has the replica tell the expiry buckets, which are its own, and reads the rest under the
// gates.
func (s *Server) dump() []byte {
	out := make(chan []byte, 1)
	s.replica.post(func(r *replica) { out <- r.dump() })
	select {
	case b := <-out:
		return b
	case <-s.ctx.Done():
		return []byte(fourlw.NotServing)
	}
}

func (r *replica) dump() []byte {
	s := r.srv
	wall := time.Now()
	nowMs := s.nowMs()
	at := func(ms int64) time.Time { return wall.Add(time.Duration(ms-nowMs) * time.Millisecond) }
	buckets := map[int64]*fourlw.Bucket{}
	add := func(ms int64, entry string) {
		b := buckets[ms]
		if b == nil {
			b = &fourlw.Bucket{ExpiresAt: at(ms)}
			buckets[ms] = b
		}
		b.Entries = append(b.Entries, entry)
	}
	take := func() (list []fourlw.Bucket) {
		for _, b := range buckets {
			list = append(list, *b)
		}
		clear(buckets)
		return list
	}
	sets := func(local bool) []fourlw.Bucket {
		for _, x := range r.sessions.sessions {
			if x.local == local {
				add(r.sessions.expiresMs(x), hexID(x.id))
			}
		}
		return take()
	}
	d := fourlw.Dump{HasLocal: r.ens != nil && (r.ens.opts.LocalSessions || r.ens.readOnly), Learner: !r.leads()}
	d.Local = sets(true)
	if d.Learner {
		r.engine.EachSession(func(id proto.SessionID, timeoutMs int32) {
			d.Global = append(d.Global, fourlw.SessionTimeout{ID: id, TimeoutMs: timeoutMs})
		})
	} else {
		d.Sessions = sets(false)
	}
	s.lockGates()
	defer s.unlockGates()
	s.eachConn(func(c *clientConn) {
		timeout := int64(c.timeoutMs)
		if c.session == 0 {
			timeout = s.opts.SessionlessTimeoutMs
		}
		add(r.sessions.bucket(c.lastHeardMs.Load()+timeout), fmt.Sprintf("ip: /%s sessionId: %s", c.np.RemoteAddr(), hexID(c.session)))
	})
	d.Ephemerals, d.Conns = s.ephemerals(), take()
	return fourlw.AppendDump(nil, &d)
}

// ephemerals groups the paths of ephemerals by session. The caller holds all gates.
func (s *Server) ephemerals() (groups []fourlw.Group) {
	s.engine.EachEphemeralSession(func(id proto.SessionID, _ int) bool {
		g := fourlw.Group{Head: hexID(id)}
		s.engine.EachEphemeral(id, func(n engine.NodeRef) bool {
			g.Lines = append(g.Lines, string(s.engine.AppendPath(nil, n)))
			return true
		})
		groups = append(groups, g)
		return true
	})
	return groups
}

// WatchCounts counts connections with data watches, watched paths and pairs of both. A path watched
// from two loops counts once.
func (s *Server) WatchCounts() (conns, paths, watches int64) {
	s.lockGates()
	defer s.unlockGates()
	if len(s.loops) == 1 {
		sum := s.loops[0].watches.DataSummary()
		return int64(sum.Conns), int64(sum.Paths), int64(sum.Watches)
	}
	seen := map[string]struct{}{}
	for _, l := range s.loops {
		sum := l.watches.DataSummary()
		conns += int64(sum.Conns)
		watches += int64(sum.Watches)
		for path := range l.watches.DataByPath() {
			seen[string(path)] = struct{}{}
		}
	}
	return conns, int64(len(seen)), watches
}

func (s *Server) watchesByConn() (groups []fourlw.Group) {
	for _, p := range s.WatchesBySession() {
		groups = append(groups, fourlw.Group{Head: hexID(p.Session), Lines: p.Paths})
	}
	return groups
}

func (s *Server) watchesByPath() (groups []fourlw.Group) {
	for _, p := range s.WatchesByPath() {
		g := fourlw.Group{Head: p.Path}
		for _, id := range p.Sessions {
			g.Lines = append(g.Lines, hexID(id))
		}
		groups = append(groups, g)
	}
	return groups
}
