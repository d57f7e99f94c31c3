package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/snapshot"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// portionOffline is how many nodes are written between two looks at the context.
const portionOffline = 4096

// WriteImage writes the whole of e, which is newly built, as the image in dir, durably. It is for
// imports: no server may run on dir.
func WriteImage(ctx context.Context, dir string, e *engine.Engine, log *slog.Logger, wallMs int64) (err error) {
	store, err := snapshot.Open(vfs.Default, dir, snapshot.Options{Logger: storeLogger{log}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c, err := e.StartCheckpoint()
	if err != nil {
		return err
	}
	defer c.Abort()
	w, err := store.NewReplacement(c.Zxid())
	if err != nil {
		return err
	}
	records := int64(0)
	put := func(key, value []byte) error {
		if value != nil {
			records++
		}
		return w.Put(key, value)
	}
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, w.Abort())
		}
		if done, err = c.Next(portionOffline, put); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit(snapshot.Meta{Zxid: c.Zxid(), Digest: c.Digest(), Records: records, TakenAtMs: wallMs})
}

// ReadData rebuilds the tree from the image and the log of a server that is not running, and changes
// neither. The caller closes the engine.
func ReadData(ctx context.Context, opts Options, log *slog.Logger) (e *engine.Engine, err error) {
	s, err := newServer(opts, log)
	if err != nil {
		return nil, err
	}
	defer s.cancel()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.engine, errors.Join(s.replica.wal.Close(), s.replica.ckpt.store.Close())
}

// Verify checks every record of the log and every block of the image, then that the tree they lead to has
// the digests that its transactions carry. It changes nothing; no server may run on the data. It
// returns what it found in words, also with an error.
func Verify(ctx context.Context, opts Options, log *slog.Logger) (found []string, err error) {
	report, err := wal.Verify(walfs.OS{}, opts.LogDir)
	found = append(found, fmt.Sprintf("log %s: %d segments, %d records, 0x%x to 0x%x", opts.LogDir, len(report.Segments), report.Records, report.BaseZxid, report.LastZxid))
	if err != nil {
		return found, err
	}
	store, err := snapshot.Open(vfs.Default, opts.DataDir, snapshot.Options{Logger: storeLogger{log}})
	if err != nil {
		return found, err
	}
	meta, ok := store.Meta()
	if ok {
		found = append(found, fmt.Sprintf("image %s: zxid 0x%x, taken at %d", opts.DataDir, meta.Zxid, meta.TakenAtMs))
		err = store.Verify(ctx)
	} else {
		found = append(found, "image "+opts.DataDir+": none yet")
	}
	if err := errors.Join(err, store.Close()); err != nil {
		return found, err
	}
	s, err := newServer(opts, log)
	if err != nil {
		return found, err
	}
	defer s.cancel()
	if err := s.open(); err != nil {
		return found, err
	}
	found = append(found, fmt.Sprintf("tree: zxid 0x%x, %d nodes, digest %d", s.engine.LastZxid(), s.engine.NodeCount(), int64(s.engine.Digest())))
	if n := s.figures.Counter("digest_mismatches_count").Value(); n > 0 {
		err = fmt.Errorf("server: %d transactions have another digest than the tree after them", n)
	}
	return found, errors.Join(err, s.closeStorage())
}
