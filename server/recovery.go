package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/metrics"
	"zabra.dev/zabra/snapshot"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// recovered is what recovery gives: the tree as of the last durable transaction.
type recovered struct {
	engine  *engine.Engine
	store   *snapshot.Store
	replica *replica
}

// progressInterval is how often a long recovery tells how far it is.
const progressInterval = 5 * time.Second

// recoverData opens the image store and the log and rebuilds the tree: one ordered scan of the
// image, then the transactions behind it.
func recoverData(s *Server) (_ *recovered, err error) {
	began := time.Now()
	r := &replica{srv: s, wake: make(chan struct{}, 1)}
	rec := &recovered{replica: r}
	if r.wal, err = openLog(s, r); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if rec.engine != nil {
			err = errors.Join(err, rec.engine.Close())
		}
		if rec.store != nil {
			err = errors.Join(err, rec.store.Close())
		}
		err = errors.Join(err, r.wal.Close())
	}()
	if rec.store, rec.engine, err = openImage(s, r.wal.BaseZxid()); err != nil {
		return nil, err
	}
	s.figures.Summary("startup_snap_load_time").Add(time.Since(began).Milliseconds())
	if err = beginLog(s, rec.store, r.wal); err != nil {
		return nil, err
	}
	if err = replay(s, rec.engine, r.wal); err != nil {
		return nil, err
	}
	s.figures.Summary("dbinittime").Add(time.Since(began).Milliseconds())
	s.log.Info(fmt.Sprintf("Snapshot loaded in %d ms, highest zxid is 0x%x, digest is %d",
		time.Since(began).Milliseconds(), rec.engine.LastZxid(), int64(rec.engine.Digest())))
	return rec, nil
}

// imageBeginsLog in an image's metadata says that it replaced a history: the log has to begin anew behind it.
const imageBeginsLog = "begins log"

// beginLog empties a log that the image does not continue: one of the history that it replaced, which a crash
// has kept from being done at once, or one that ends before it.
func beginLog(s *Server, store *snapshot.Store, w *wal.WAL) error {
	meta, ok := store.Meta()
	if !ok {
		return nil
	}
	// A member applies what a quorum has logged, maybe before its own log is durable: an image may be ahead
	// of the log that a crash left. The log must not go on behind a hole. (The start of an epoch stands for no
	// transaction.)
	if w.LastZxid() < meta.Zxid && quorum.CounterOf(meta.Zxid) != 0 {
		s.log.Warn(fmt.Sprintf("The log ends at 0x%x, before the snapshot at 0x%x, and begins anew behind that", w.LastZxid(), meta.Zxid))
		return w.Reset(meta.Zxid)
	}
	if string(meta.App) != imageBeginsLog || w.BaseZxid() == meta.Zxid {
		return nil
	}
	s.log.Warn(fmt.Sprintf("The log is of a history that the snapshot at 0x%x replaced, and begins anew", meta.Zxid))
	return w.Reset(meta.Zxid)
}

// openLog opens the log, whose lock also keeps a second server off the data.
func openLog(s *Server, r *replica) (*wal.WAL, error) {
	opts := s.opts.WAL
	opts.OnDurable = r.durable
	opts.OnError = s.fatal
	opts.OnState = func(state wal.State, err error) {
		s.log.Info("Log is "+state.String(), "err", err)
		r.signal()
	}
	// Every sync is told, for the figures; one is rare enough.
	opts.SlowSync = 1
	syncMs, flushMs, processMs := s.figures.Summary("fsynctime"), s.figures.Summary("sync_processor_queue_flush_time_ms"), s.figures.Summary("sync_process_time")
	opts.OnSlowSync = func(took time.Duration, segmentBytes int64) {
		for _, f := range []*metrics.Summary{syncMs, flushMs, processMs} {
			f.Add(took.Milliseconds())
		}
		if s.opts.FsyncWarning <= 0 || took < s.opts.FsyncWarning {
			return
		}
		s.fsyncsSlow.Add(1)
		s.log.Warn(fmt.Sprintf("fsync-ing the write ahead log in SyncThread:0 took %dms which will adversely effect operation latency."+
			"File size is %d bytes. See the ZooKeeper troubleshooting guide", took.Milliseconds(), segmentBytes))
	}
	opts.Logf = func(format string, args ...any) { s.log.Info(fmt.Sprintf(format, args...)) }
	var logFS walfs.FS = walfs.OS{}
	if s.opts.LogFS != nil {
		logFS = s.opts.LogFS
	}
	w, err := wal.Open(logFS, s.opts.LogDir, opts)
	if err != nil {
		return nil, fmt.Errorf("server: open log in %s: %w", s.opts.LogDir, err)
	}
	return w, nil
}

func openStore(s *Server) (*snapshot.Store, error) {
	return snapshot.Open(vfs.Default, s.opts.DataDir, snapshot.Options{Logger: storeLogger{s.log}, OnFatal: s.fatal})
}

// openImage opens the image store and loads the image. A damaged image costs nothing but time as long as
// the log reaches back to a sound one, or to the beginning: logBase is the zxid behind which it starts.
func openImage(s *Server, logBase proto.Zxid) (*snapshot.Store, *engine.Engine, error) {
	store, err := openStore(s)
	if err == nil {
		var e *engine.Engine
		if e, err = loadImage(s, store); err == nil {
			return store, e, nil
		}
		err = errors.Join(err, store.Close())
	}
	if !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, engine.ErrImage) {
		return nil, nil, err
	}
	s.log.Error("The snapshot is damaged; falling back to an older one", "err", err)
	damaged := err
	if err := snapshot.Discard(vfs.Default, s.opts.DataDir); err != nil {
		return nil, nil, errors.Join(damaged, err)
	}
	if store, err = openStore(s); err != nil {
		return nil, nil, errors.Join(damaged, err)
	}
	e, err := loadOlder(s, store, logBase)
	if err != nil {
		return nil, nil, errors.Join(damaged, err, store.Close())
	}
	return store, e, nil
}

// loadOlder restores and loads the newest sound image of the retained ones that the log reaches back to,
// or gives an empty tree if the log reaches back to the beginning.
func loadOlder(s *Server, store *snapshot.Store, logBase proto.Zxid) (*engine.Engine, error) {
	list, err := store.ListRetained()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b snapshot.Retained) int { return cmp.Compare(b.Zxid, a.Zxid) })
	for _, kept := range list {
		if kept.Zxid < logBase {
			break
		}
		if err := store.RestoreRetained(s.ctx, kept.Zxid, nil); err != nil {
			s.log.Warn(fmt.Sprintf("problem reading snap file %s", kept.Dir), "err", err)
			continue
		}
		e, err := loadImage(s, store)
		if err == nil {
			return e, nil
		}
		s.log.Warn(fmt.Sprintf("problem reading snap file %s", kept.Dir), "err", err)
	}
	if logBase == 0 {
		return engine.New(s.opts.Engine)
	}
	return nil, fmt.Errorf("server: no sound snapshot is left that the log, which starts behind 0x%x, leads on from; restore %s from a backup", logBase, s.opts.DataDir)
}

// loadImage scans the image into a tree, or makes an empty tree where there is no image yet.
func loadImage(s *Server, store *snapshot.Store) (*engine.Engine, error) {
	meta, ok := store.Meta()
	if !ok {
		return engine.New(s.opts.Engine)
	}
	s.log.Info(fmt.Sprintf("Reading snapshot 0x%x of %s", meta.Zxid, s.opts.DataDir))
	l := engine.Load(s.opts.Engine)
	lines := snapshot.Progress{What: fmt.Sprintf("snapshot 0x%x", meta.Zxid), Unit: "records", Total: meta.Records, Every: progressInterval}
	progress := func(records int64) {
		if line, due := lines.Line(records, time.Duration(s.nowNs())); due {
			s.log.Info(line)
		}
	}
	if err := store.Scan(s.ctx, progress, l.Put); err != nil {
		l.Close()
		return nil, fmt.Errorf("server: read image: %w", err)
	}
	e, err := l.Finish()
	if err != nil {
		return nil, fmt.Errorf("server: read image: %w", err)
	}
	return e, nil
}

// replay applies the transactions of the log behind the image.
func replay(s *Server, e *engine.Engine, w *wal.WAL) error {
	began := time.Now()
	lines := snapshot.Progress{What: "log", Unit: "txns", Every: progressInterval}
	count := int64(0)
	err := w.Replay(e.LastZxid()+1, func(zxid int64, packet []byte) error {
		txn, err := proto.ProposalTxn(packet)
		if err != nil {
			return err
		}
		res, err := e.Apply(txn, noSink{})
		if err != nil {
			return err
		}
		s.noteDigest(e, res)
		if count++; count%1024 == 1 {
			if line, due := lines.Line(count, time.Duration(s.nowNs())); due {
				s.log.Info(fmt.Sprintf("%s, at 0x%x", line, zxid))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("server: replay log: %w", err)
	}
	s.figures.Summary("startup_txns_load_time").Add(time.Since(began).Milliseconds())
	s.figures.Summary("startup_txns_loaded").Add(count)
	s.log.Info(fmt.Sprintf("%d txns loaded in %d ms", count, time.Since(began).Milliseconds()))
	return nil
}

// noSink is for transactions that nobody watches yet.
type noSink struct{}

func (noSink) Created(_, _ []byte, _, _ proto.RawACLs, _ proto.Zxid) {}
func (noSink) Deleted(_, _ []byte, _, _ proto.RawACLs, _ proto.Zxid) {}
func (noSink) DataChanged(_ []byte, _ proto.RawACLs, _ proto.Zxid)   {}

// storeLogger gives the lines of the image store to the log.
type storeLogger struct{ log *slog.Logger }

func (l storeLogger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l storeLogger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }
