package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/engine/watch"
	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
	"zabra.dev/zabra/snapshot"
)

// A Server is one running server process.
type Server struct {
	opts        Options
	log         *slog.Logger
	ctx         context.Context // ends when the server stops
	cancel      context.CancelFunc
	began       time.Time // origin of nowNs
	engine      *engine.Engine
	auth        *auth.Registry
	enforcement *auth.Enforcement
	loops       []*clientLoop
	replica     *replica
	np          *netpoll.Server

	addresses addressLimit
	throttle  connectThrottle

	serving     atomic.Bool            // client requests are served
	stopping    atomic.Bool            // no new sessions
	readOnly    atomic.Bool            // in read-only mode
	mode        atomic.Pointer[string] // nil: standalone
	connCount   atomic.Int64           // client connections
	outstanding atomic.Int64           // requests at the replica
	largeBytes  atomic.Int64           // of large requests in flight

	figures    *metrics.Registry
	collected  collected
	fsyncsSlow atomic.Int64 // above fsync.warningthresholdms
	authFailed atomic.Int64
	// Connections without TLS, since the start, counted when some port speaks it.
	countPlain                  bool
	nonMTLSLocal, nonMTLSRemote atomic.Int64
	sent                        sentImages      // to learners
	digestLog                   []fourlw.Digest // guarded by all gates: any one to read, all to write
	traceMask                   atomic.Int64    // of gtmk and stmk; it has no effect
	clientPort                  atomic.Int64    // of the first listener; -1: there is none without TLS
	answers                     sync.WaitGroup  // four-letter words being answered; loops add to it

	stopReplica chan struct{}
	replicaDone chan struct{}  // closed when the replica goroutine has ended
	wg          sync.WaitGroup // the housekeeper, and what the replica has running beside it
	stopOnce    sync.Once
	stopErr     error

	fatalOnce sync.Once
	fatalErr  error
	fatalCh   chan struct{} // closed when the process must end
}

// defaultTraceMask is what Java's gtmk answers before any stmk.
const defaultTraceMask = 306

// newServer makes a server that has not touched its data yet.
func newServer(opts Options, log *slog.Logger) (*Server, error) {
	s := &Server{
		opts: opts, log: log, began: time.Now(), figures: metrics.New(),
		addresses: addressLimit{counts: map[netip.Addr]int{}, max: opts.CnxnsPerAddressMax},
		throttle: connectThrottle{tokens: opts.ConnectTokens, max: opts.ConnectTokens,
			interval: max(opts.ConnectFillInterval, time.Millisecond), perFill: max(opts.ConnectFillCount, 1)},
		stopReplica: make(chan struct{}), replicaDone: make(chan struct{}), fatalCh: make(chan struct{}),
	}
	s.traceMask.Store(defaultTraceMask)
	s.countPlain = s.speaksTLS()
	s.clientPort.Store(int64(opts.ClientPort))
	var err error
	if s.auth, err = s.registry(); err != nil {
		return nil, err
	}
	if opts.EnforceSchemes != "" {
		if s.enforcement, err = auth.NewEnforcement(s.auth, opts.EnforceSchemes); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Start recovers the data, binds the client ports and serves. It returns when clients can
// connect. The caller must call Stop, and should when Failed is closed.
func Start(opts Options, log *slog.Logger) (*Server, error) {
	s, err := newServer(opts, log)
	if err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		s.cancel()
		return nil, err
	}
	if err := s.listen(); err != nil {
		if s.np != nil {
			return nil, errors.Join(err, s.Stop(s.ctx))
		}
		s.cancel()
		return nil, errors.Join(err, s.closeStorage())
	}
	return s, nil
}

// open recovers the tree and makes the replica, without starting anything that serves.
func (s *Server) open() error {
	rec, err := recoverData(s)
	if err != nil {
		return err
	}
	s.engine = rec.engine
	r := rec.replica
	r.engine = rec.engine
	nowMs := s.nowMs()
	r.sessions = newSessionTracker(s.opts.TickMs, nowMs, s.opts.ServerID, s.wallMs())
	r.lastZxid = s.engine.LastZxid()
	r.durableZxid.Store(r.lastZxid)
	r.stages = newStageFigures(s.figures)
	r.throttler = newThrottler(s.opts.Throttle, s.figures)
	r.auditor = newAuditor(s)
	r.ckpt.store = rec.store
	r.ckpt.trigger = snapshot.NewTrigger(int64(s.opts.SnapCount), s.opts.SnapSizeLimitBytes>>10, rand.Int64N)
	r.reaper = newReaper(s.opts, nowMs)
	s.replica = r
	prepOpts := s.opts.Prep
	if s.opts.Ensemble == nil {
		r.prep = prep.New(s.engine, s.auth, r.sessions, prepOpts)
		r.takeUpSessions(nowMs)
		return nil
	}
	s.setMode("")
	ens := *s.opts.Ensemble
	if n, ok := ens.Network.(*tcpNetwork); ok {
		n.log, n.fatal = s.log, s.fatal
	}
	if r.ens, err = newEnsemble(r, ens); err != nil {
		return errors.Join(err, s.closeStorage())
	}
	prepOpts.Reconfigurer = r.ens
	r.prep = prep.New(s.engine, s.auth, r.sessions, prepOpts)
	return nil
}

// listen binds the client ports and starts the goroutines.
func (s *Server) listen() error {
	n := s.opts.NumLoops
	if n == 0 {
		// The other cores belong to the replica and the log.
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	for range n {
		s.loops = append(s.loops, &clientLoop{srv: s, watches: watch.New(), stats: zeroStats})
	}
	s.connectSink()
	opts := netpoll.Options{
		Listeners: s.opts.Listen, NumLoops: n, Words: fourLetterWords(), FrameMaxBytes: s.opts.FrameMaxBytes,
		OutboundMaxBytes: s.opts.OutboundMaxBytes, ConnsMax: s.opts.CnxnsMax, TCPKeepAlive: s.opts.TCPKeepAlive, OnFatal: s.fatal, TLSHandshakesMax: s.opts.HandshakesMax,
		Logf: func(format string, args ...any) { s.log.Warn(fmt.Sprintf(format, args...)) },
	}
	s.serving.Store(s.replica.ens == nil)
	np, err := netpoll.Start(opts, s)
	if err != nil {
		return explainListen(err)
	}
	s.np = np
	for i := range s.opts.Listen {
		s.log.Info(fmt.Sprintf("binding to port /%s", np.Addr(i)))
	}
	s.log.Info(fmt.Sprintf("Created server with tickTime %d ms minSessionTimeout %d ms maxSessionTimeout %d ms clientPortListenBacklog %d dataLogdir %s snapdir %s",
		s.opts.TickMs, s.opts.MinSessionTimeoutMs, s.opts.MaxSessionTimeoutMs, s.opts.ListenBacklog, s.opts.LogDir, s.opts.DataDir))
	go func() {
		defer close(s.replicaDone)
		s.replica.run(s.stopReplica)
	}()
	s.wg.Go(s.housekeep)
	if s.opts.Stalls.Enabled {
		s.wg.Go(s.watchStalls)
	}
	if s.replica.ens != nil {
		return s.replica.ens.start()
	}
	return nil
}

// connectSink has the replica tell the watches of all loops what changes.
func (s *Server) connectSink() {
	sink := &s.replica.sink
	sink.loops = s.loops
	sink.counts[proto.EventCreated] = s.figures.Summary("node_created_watch_count")
	sink.counts[proto.EventDeleted] = s.figures.Summary("node_deleted_watch_count")
	sink.counts[proto.EventDataChanged] = s.figures.Summary("node_changed_watch_count")
	sink.counts[proto.EventChildrenChanged] = s.figures.Summary("node_children_watch_count")
}

// Addr returns the bound address of client port i of Options.Listen.
func (s *Server) Addr(i int) net.Addr { return s.np.Addr(i) }

// Failed is closed when the server cannot go on; Err then tells why.
func (s *Server) Failed() <-chan struct{} { return s.fatalCh }

// Err returns why Failed was closed. It must be called after that only.
func (s *Server) Err() error { return s.fatalErr }

// fatal notes the first error that the server cannot go on after: a log that does not sync, an event
// loop that ended. It stops serving at once, so that nothing is acknowledged any more. Any
// goroutine may call it.
func (s *Server) fatal(err error) {
	s.fatalOnce.Do(func() {
		s.serving.Store(false)
		s.figures.Counter("unrecoverable_error_count").Add(1)
		s.log.Error("Severe unrecoverable error, exiting", "err", err)
		s.fatalErr = err
		close(s.fatalCh)
	})
}

// Stop ends the server: no new requests, then the connections, the replica, the checkpoint, the log. What
// was acknowledged is in the log already. Later calls wait for the first and return its error.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopping.Store(true)
		s.finishRequests(ctx)
		s.serving.Store(false)
		s.stopErr = s.np.Stop(ctx)
		s.cancel()
		s.answers.Wait()
		close(s.stopReplica)
		<-s.replicaDone
		if e := s.replica.ens; e != nil {
			s.stopErr = errors.Join(s.stopErr, e.stop())
		}
		s.wg.Wait()
		s.replica.ckpt.wg.Wait()
		s.stopErr = errors.Join(s.stopErr, s.closeStorage())
	})
	return s.stopErr
}

// lockGates takes all gates, in order: the caller may read everything that they guard, and the
// replica may write. The caller must hold none of them.
func (s *Server) lockGates() {
	for _, l := range s.loops {
		l.gate.Lock()
	}
	s.replica.ckpt.gate.Lock()
}

// unlockGates wakes the loops that have something to flush and lets all gates go.
func (s *Server) unlockGates() {
	s.replica.ckpt.gate.Unlock()
	for _, l := range s.loops {
		l.wakeIfDirty()
		l.gate.Unlock()
	}
}

func (s *Server) closeStorage() error {
	return errors.Join(s.sent.close(), s.replica.wal.Close(), s.replica.ckpt.store.Close(), s.engine.Close())
}

// nowNs is a monotonic time, for intervals only.
func (s *Server) nowNs() int64 { return int64(time.Since(s.began)) }

// nowMs is nowNs in milliseconds.
func (s *Server) nowMs() int64 { return s.nowNs() / 1e6 }

// wallMs is the wall clock in milliseconds since 1970.
func (s *Server) wallMs() int64 { return time.Now().UnixMilli() }

func (s *Server) admitAddress(addr netip.Addr) bool {
	if s.addresses.admit(addr) {
		return true
	}
	s.figures.Counter("connection_rejected").Add(1)
	s.log.Warn(fmt.Sprintf("Too many connections from /%s - max is %d", addr, s.addresses.max))
	return false
}

func (s *Server) admitConnect(session proto.SessionID) bool {
	admitted, deficit := s.throttle.admit(time.Since(s.began), s.tokensFor(session))
	if admitted {
		s.figures.Summary("connection_token_deficit").Add(int64(deficit))
		return true
	}
	s.figures.Counter("connection_rejected").Add(1)
	return false
}

// tokensFor is what a connection costs that asks for session, 0 being a new one.
func (s *Server) tokensFor(session proto.SessionID) int {
	w := s.opts.ConnectWeights
	switch {
	case w == nil:
		return 1
	case session != 0:
		return w.Renew
	case s.opts.Ensemble != nil && s.opts.Ensemble.LocalSessions:
		return w.Local
	}
	return w.Global
}

// noteDigest counts transactions whose digest is not that of the tree after them, and reports whether this is one.
func (s *Server) noteDigest(e *engine.Engine, res *engine.Result) bool {
	if !res.DigestMismatch {
		return false
	}
	if s.figures.Counter("digest_mismatches_count").Add(1) == 1 {
		s.log.Error(fmt.Sprintf("First digest mismatch on txn: 0x%x, actual digest is %d", res.Header.Zxid, int64(e.Digest())))
	}
	return true
}

// housekeepInterval is how often connections without a session are looked for.
const housekeepInterval = 2 * time.Second

// housekeep closes connections that do not complete the handshake in time
// (zookeeper.nio.sessionlessCnxnTimeout). It runs on a goroutine of its own until the server stops.
func (s *Server) housekeep() {
	tick := time.NewTicker(housekeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		before := s.wallMs() - s.opts.SessionlessTimeoutMs
		for _, l := range s.loops {
			l.gate.Lock()
			for _, c := range l.conns {
				if c != nil && c.state == connNew && c.openedAtMs < before {
					s.figures.Counter("sessionless_connections_expired").Add(1)
					c.np.Close()
				}
			}
			l.gate.Unlock()
		}
	}
}

// setMode sets what srvr tells of this server's role; empty means that it has none and does not serve.
func (s *Server) setMode(mode string) { s.mode.Store(&mode) }

// Mode is the server's role in srvr's words: standalone, leader, follower or observer; empty while it looks
// for a leader. Any goroutine may call it.
func (s *Server) Mode() string {
	if m := s.mode.Load(); m != nil {
		return *m
	}
	return "standalone"
}
