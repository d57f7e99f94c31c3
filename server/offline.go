package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
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
// neither. The caller closes the engine. Errors: snapshot.ErrLocked where a server is running,
// snapshot.ErrCorrupt, wal's of a damaged log.
func ReadData(ctx context.Context, opts Options, log *slog.Logger) (*engine.Engine, error) {
	report, err := wal.Verify(walfs.OS{}, opts.LogDir)
	if err != nil {
		return nil, err
	}
	r := offlineReader{ctx: ctx, opts: opts, log: log}
	if err := r.readImage(false); err != nil {
		return nil, err
	}
	if err := r.readLog(report.BaseZxid); err != nil {
		return nil, errors.Join(err, r.engine.Close())
	}
	return r.engine, nil
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
	r := offlineReader{ctx: ctx, opts: opts, log: log}
	if err := r.readImage(true); err != nil {
		return found, err
	}
	if r.meta != nil {
		found = append(found, fmt.Sprintf("image %s: zxid 0x%x, taken at %d", opts.DataDir, r.meta.Zxid, r.meta.TakenAtMs))
	} else {
		found = append(found, "image "+opts.DataDir+": none yet")
	}
	if err = r.readLog(report.BaseZxid); err == nil {
		found = append(found, fmt.Sprintf("tree: zxid 0x%x, %d nodes, digest %d", r.engine.LastZxid(), r.engine.NodeCount(), int64(r.engine.Digest())))
		if r.mismatches > 0 {
			err = fmt.Errorf("server: %d transactions have another digest than the tree after them", r.mismatches)
		}
	}
	return found, errors.Join(err, r.engine.Close())
}

// An offlineReader rebuilds a tree without so much as tidying up behind a crash, so that whoever runs it, and
// on what medium, makes no difference to the server that the data belongs to.
type offlineReader struct {
	ctx        context.Context
	opts       Options
	log        *slog.Logger
	engine     *engine.Engine
	meta       *snapshot.Meta // nil: there is no image
	mismatches int64          // transactions whose digest is not that of the tree after them
}

// readImage makes the tree of the current image, every block of which it checks first if asked to.
func (r *offlineReader) readImage(verify bool) (err error) {
	im, err := snapshot.OpenCurrent(vfs.Default, r.opts.DataDir, snapshot.Options{Logger: storeLogger{r.log}})
	switch {
	case errors.Is(err, snapshot.ErrNoImage):
		r.engine, err = engine.New(r.opts.Engine)
		return err
	case errors.Is(err, snapshot.ErrLocked):
		return fmt.Errorf("server: stop the server that is running on %s first: %w", r.opts.DataDir, err)
	case err != nil:
		return err
	}
	defer func() {
		if closeErr := im.Close(); closeErr != nil {
			err = errors.Join(err, closeErr)
			if r.engine != nil {
				err = errors.Join(err, r.engine.Close())
			}
		}
	}()
	if verify {
		if err := im.Verify(r.ctx); err != nil {
			return err
		}
	}
	meta, _, err := im.Meta()
	if err != nil {
		return err
	}
	r.meta = &meta
	l := engine.Load(r.opts.Engine)
	if err := im.Scan(r.ctx, nil, l.Put); err != nil {
		l.Close()
		return fmt.Errorf("server: read image: %w", err)
	}
	if r.engine, err = l.Finish(); err != nil {
		return fmt.Errorf("server: read image: %w", err)
	}
	return nil
}

// readLog applies the transactions behind the image. The log starts behind base.
func (r *offlineReader) readLog(base proto.Zxid) error {
	e := r.engine
	if base > e.LastZxid() {
		return fmt.Errorf("server: the snapshot is at 0x%x and the log starts behind 0x%x: %w", e.LastZxid(), base, wal.ErrCompacted)
	}
	return wal.Walk(walfs.OS{}, r.opts.LogDir, func(rec wal.Entry) error {
		if rec.Err != nil {
			return rec.Err
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if rec.Zxid <= e.LastZxid() {
			return nil
		}
		txn, err := proto.ProposalTxn(rec.Payload)
		if err != nil {
			return fmt.Errorf("server: replay log: %w", err)
		}
		res, err := e.Apply(txn, noSink{})
		if err != nil {
			return fmt.Errorf("server: replay log: %w", err)
		}
		if res.DigestMismatch {
			r.mismatches++
		}
		return nil
	})
}
