package server

import (
	"math/rand/v2"
	"sort"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"
)

// What the AdminServer and the metrics endpoint ask of a server. Any goroutine but a loop's or the
// replica's may call these methods; they take gates, some wait for the replica's next turn, and
// what they return is the caller's.

// Stats are the figures of the AdminServer's server_stats.
type Stats struct {
	fourlw.Server
	FsyncsSlow int64 // syncs of the log above fsync.warningthresholdms
	// Sizes of replies in bytes, -1 before the first.
	LastResponseBytes, MinResponseBytes, MaxResponseBytes int64
	UptimeMs                                              int64
	AuthFailed                                            int64
	// Connections without a client certificate on ports that speak TLS, since the start.
	NonMTLSRemote, NonMTLSLocal int64
	// ProviderNull tells that there is no metrics provider.
	ProviderNull bool
}

// Stats reads the figures.
func (s *Server) Stats() Stats {
	st := Stats{Server: s.Info(), UptimeMs: s.nowMs(), AuthFailed: s.authFailed.Load(), FsyncsSlow: s.fsyncsSlow.Load(),
		NonMTLSRemote: s.nonMTLSRemote.Load(), NonMTLSLocal: s.nonMTLSLocal.Load(),
		ProviderNull: s.opts.MetricsProvider == config.MetricsNull}
	sum := zeroStats
	s.lockGates()
	for _, l := range s.loops {
		sum.add(&l.stats)
	}
	s.unlockGates()
	st.LastResponseBytes, st.MinResponseBytes, st.MaxResponseBytes = sum.lastResponseBytes, sum.minResponseBytes, sum.maxResponseBytes
	return st
}

// Serving tells whether client requests are served.
func (s *Server) Serving() bool { return s.serving.Load() }

// Environment gives the lines of the word envi.
func (s *Server) Environment() []fourlw.Pair { return s.environment() }

// DirBytes gives the sizes of the folders of the image and of the log.
func (s *Server) DirBytes() (dataBytes, logBytes int64) {
	return dirBytes(s.opts.DataDir), dirBytes(s.opts.LogDir)
}

// TraceMask gives the mask of gtmk, which has no effect.
func (s *Server) TraceMask() int64 { return s.traceMask.Load() }

// SetTraceMask sets it.
func (s *Server) SetTraceMask(mask int64) { s.traceMask.Store(mask) }

// Digests gives the entries of the word hash.
func (s *Server) Digests() []fourlw.Digest { return s.digests() }

// LastSnapshot gives the zxid of the newest durable image and when it was taken, in wall clock milliseconds;
// ok is false before the first.
func (s *Server) LastSnapshot() (zxid proto.Zxid, takenAtMs int64, ok bool) {
	m, ok := s.replica.ckpt.store.Meta()
	return m.Zxid, m.TakenAtMs, ok
}

// An ExpiryBucket is a set of sessions that expire together, at ExpiresMs on a clock that starts with
// the server.
type ExpiryBucket struct {
	ExpiresMs int64
	Sessions  []proto.SessionID
}

// SessionPaths are paths that belong to a session.
type SessionPaths struct {
	Session proto.SessionID
	Paths   []string
}

// PathSessions are sessions that belong to a path.
type PathSessions struct {
	Path     string
	Sessions []proto.SessionID
}

// ExpiryBuckets gives the sessions by when they expire, soonest first; nothing on a learner, whose leader knows, and
// when the server stops meanwhile.
func (s *Server) ExpiryBuckets() []ExpiryBucket {
	out := make(chan []ExpiryBucket, 1)
	s.replica.post(func(r *replica) {
		if r.leads() {
			out <- r.sessions.expiryBuckets()
		} else {
			out <- nil
		}
	})
	select {
	case list := <-out:
		return list
	case <-s.ctx.Done():
		return nil
	}
}

// expiryBuckets sorts the sessions into the buckets that they would expire in, were they not
// heard of again.
func (t *sessionTracker) expiryBuckets() (list []ExpiryBucket) {
	at := map[int64]int{}
	for _, x := range t.sessions {
		ms := t.expiresMs(x)
		i, ok := at[ms]
		if !ok {
			i = len(list)
			at[ms] = i
			list = append(list, ExpiryBucket{ExpiresMs: ms})
		}
		list[i].Sessions = append(list[i].Sessions, x.id)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ExpiresMs < list[j].ExpiresMs })
	for _, b := range list {
		sort.Slice(b.Sessions, func(i, j int) bool { return b.Sessions[i] < b.Sessions[j] })
	}
	return list
}

// Ephemerals gives the paths of ephemerals by session.
func (s *Server) Ephemerals() (list []SessionPaths) {
	s.lockGates()
	defer s.unlockGates()
	s.engine.EachEphemeralSession(func(id proto.SessionID, _ int) bool {
		p := SessionPaths{Session: id}
		s.engine.EachEphemeral(id, func(n engine.NodeRef) bool {
			p.Paths = append(p.Paths, string(s.engine.AppendPath(nil, n)))
			return true
		})
		list = append(list, p)
		return true
	})
	return list
}

// WatchesBySession gives the paths with data watches by session.
func (s *Server) WatchesBySession() (list []SessionPaths) {
	s.lockGates()
	defer s.unlockGates()
	for _, l := range s.loops {
		for id, paths := range l.watches.DataByConn() {
			p := SessionPaths{Session: l.conns[id].session}
			for path := range paths {
				p.Paths = append(p.Paths, string(path))
			}
			list = append(list, p)
		}
	}
	return list
}

// WatchesByPath gives the sessions with data watches by path.
func (s *Server) WatchesByPath() (list []PathSessions) {
	s.lockGates()
	defer s.unlockGates()
	at := map[string]int{}
	for _, l := range s.loops {
		for path, conns := range l.watches.DataByPath() {
			i, ok := at[string(path)]
			if !ok {
				i = len(list)
				at[string(path)] = i
				list = append(list, PathSessions{Path: string(path)})
			}
			for id := range conns {
				list[i].Sessions = append(list[i].Sessions, l.conns[id].session)
			}
		}
	}
	return list
}

// Authenticate gives the identities that data proves under a scheme, nil if it proves none. It borrows
// data, which may be nil.
func (s *Server) Authenticate(scheme string, data []byte, peer auth.Peer) []proto.Identity {
	ids, code := s.auth.Authenticate(scheme, data, peer)
	if code != proto.OK {
		return nil
	}
	return ids
}

// MayAdminister tells whether the ACL of the root grants everything to ids, each permission for itself.
// Source: operations, section 4.3.
func (s *Server) MayAdminister(ids []proto.Identity) bool {
	l := s.loops[0]
	l.gate.Lock()
	defer l.gate.Unlock()
	acl := s.engine.ACL(s.engine.Root())
	for perm := int32(1); perm <= proto.PermAll; perm <<= 1 {
		if !s.auth.Allowed(acl, perm, ids) {
			return false
		}
	}
	return true
}

// ShedConns closes about percent out of a hundred client connections, picked at random, and returns how
// many. Clients go to another server, or come back.
func (s *Server) ShedConns(percent int) (shed int) {
	s.lockGates()
	defer s.unlockGates()
	s.eachConn(func(c *clientConn) {
		if rand.IntN(100) < percent {
			c.np.Close()
			shed++
		}
	})
	return shed
}
