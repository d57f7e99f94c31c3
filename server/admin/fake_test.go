package admin

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
)

// fakeServer answers with what a test puts in.
type fakeServer struct {
	t          testing.TB
	notServing bool

	stats              server.Stats
	conns              []fourlw.Conn
	conf, env, monitor []fourlw.Pair
	dataBytes          int64
	mask               int64
	digests            []fourlw.Digest
	snapZxid, snapAtMs int64
	noSnapshot         bool
	expiry             []server.ExpiryBucket
	ephemerals         []server.SessionPaths
	watchCounts        [3]int64
	watches            []server.SessionPaths
	watchesByPath      []server.PathSessions
	registry           *auth.Registry
	rootACL            proto.RawACLs
	resets             []string

	snapshotBytes []byte
	snapshotErr   error
	restored      []byte
	restoreErr    error
	figures       *metrics.Registry
	member        *server.Membership // nil: alone
}

func newFake(t testing.TB) *fakeServer {
	r, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	return &fakeServer{t: t, registry: r, rootACL: proto.RawACLs(proto.AppendACLs(nil, proto.WorldAnyone)), figures: metrics.New()}
}

func (f *fakeServer) Serving() bool                        { return !f.notServing }
func (f *fakeServer) Stats() server.Stats                  { return f.stats }
func (f *fakeServer) Conns() []fourlw.Conn                 { return f.conns }
func (f *fakeServer) ResetConnStats()                      { f.resets = append(f.resets, "conns") }
func (f *fakeServer) ResetLearnerStats()                   { f.resets = append(f.resets, "learners") }
func (f *fakeServer) ResetStats()                          { f.resets = append(f.resets, "server") }
func (f *fakeServer) ShedConns(percent int) int            { return percent * len(f.conns) / 100 }
func (f *fakeServer) ConfPairs() []fourlw.Pair             { return f.conf }
func (f *fakeServer) Environment() []fourlw.Pair           { return f.env }
func (f *fakeServer) MonitorPairs() []fourlw.Pair          { return f.monitor }
func (f *fakeServer) DirBytes() (int64, int64)             { return f.dataBytes, f.dataBytes }
func (f *fakeServer) TraceMask() int64                     { return f.mask }
func (f *fakeServer) SetTraceMask(mask int64)              { f.mask = mask }
func (f *fakeServer) Digests() []fourlw.Digest             { return f.digests }
func (f *fakeServer) ExpiryBuckets() []server.ExpiryBucket { return f.expiry }
func (f *fakeServer) Ephemerals() []server.SessionPaths    { return f.ephemerals }
func (f *fakeServer) Figures() *metrics.Registry           { return f.figures }

func (f *fakeServer) Membership() (server.Membership, bool) {
	if f.member == nil {
		return server.Membership{}, false
	}
	return *f.member, true
}

func (f *fakeServer) LastSnapshot() (proto.Zxid, int64, bool) {
	return f.snapZxid, f.snapAtMs, !f.noSnapshot
}

func (f *fakeServer) WatchCounts() (conns, paths, watches int64) {
	return f.watchCounts[0], f.watchCounts[1], f.watchCounts[2]
}

func (f *fakeServer) WatchesBySession() []server.SessionPaths { return f.watches }
func (f *fakeServer) WatchesByPath() []server.PathSessions    { return f.watchesByPath }

func (f *fakeServer) Authenticate(scheme string, data []byte, peer auth.Peer) []proto.Identity {
	ids, code := f.registry.Authenticate(scheme, data, peer)
	if code != proto.OK {
		return nil
	}
	return ids
}

func (f *fakeServer) MayAdminister(ids []proto.Identity) bool {
	for perm := int32(1); perm <= proto.PermAll; perm <<= 1 {
		if !f.registry.Allowed(f.rootACL, perm, ids) {
			return false
		}
	}
	return true
}

func (f *fakeServer) TakeSnapshot(context.Context) (*server.SnapshotFile, error) {
	if f.snapshotErr != nil {
		return nil, f.snapshotErr
	}
	name := filepath.Join(f.t.TempDir(), "s")
	if err := os.WriteFile(name, f.snapshotBytes, 0o600); err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	return &server.SnapshotFile{File: file, Zxid: f.snapZxid, Bytes: int64(len(f.snapshotBytes))}, err
}

func (f *fakeServer) Restore(_ context.Context, r io.Reader) (proto.Zxid, error) {
	b, err := io.ReadAll(r)
	if err != nil || f.restoreErr != nil {
		return 0, errors.Join(err, f.restoreErr)
	}
	f.restored = b
	return f.snapZxid, nil
}
