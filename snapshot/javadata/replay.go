package javadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"zabra.dev/zabra/engine/proto"
)

// replay applies the log behind the snapshot (section 6.1, step 5, and section 2.4).
func (l *loader) replay(d *Directories) error {
	logs := d.Logs
	from := l.report.SnapshotZxid + 1
	if len(logs) > 0 {
		logs = logs[firstLog(logs, from):]
	}
	skipping := true // records below from, at the beginning only
	for i, file := range logs {
		if file.Bytes == 0 && i == len(logs)-1 {
			l.report.Logs = append(l.report.Logs, LogReport{Name: file.Name, Ignored: true})
			continue
		}
		if err := l.replayFile(file.Name, from, &skipping); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) replayFile(name string, from proto.Zxid, skipping *bool) (err error) {
	f, err := l.fs.Open(name)
	if err != nil {
		return fmt.Errorf("javadata: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lr, err := NewLogReader(f, name, l.opts.Options)
	if err != nil {
		return err
	}
	l.report.Logs = append(l.report.Logs, LogReport{Name: name})
	report := &l.report.Logs[len(l.report.Logs)-1]
	for {
		rec, err := lr.Next()
		if err == io.EOF {
			report.End, report.EndAt = lr.End()
			return nil
		}
		if err != nil {
			return err
		}
		report.Records++
		if *skipping && rec.Zxid < from {
			continue
		}
		*skipping = false
		if err := l.apply(name, rec); err != nil {
			return err
		}
	}
}

func (l *loader) apply(name string, rec *LogRecord) error {
	r := l.report
	if r.Snapshot == "" && !l.opts.TrustEmpty {
		return fmt.Errorf("%w: %s has %#x. Something is broken: restore the snapshots, or, coming from release 3.4, set snapshot.trust.empty once",
			ErrSnapshotMissing, name, rec.Zxid)
	}
	if rec.Zxid <= r.LastZxid {
		r.OutOfOrder++
	} else if !follows(r.LastZxid, rec.Zxid) {
		hole := Hole{After: r.LastZxid, Next: rec.Zxid, File: name}
		r.Holes = append(r.Holes, hole)
		if !l.opts.AllowDamage {
			return fmt.Errorf("%w: %s goes on with %#x after %#x", ErrHole, name, hole.Next, hole.After)
		}
	}
	res, err := l.engine.Apply(rec.Txn, nil)
	if err != nil {
		return &FileError{File: name, Offset: rec.Offset, Field: "record", Err: err}
	}
	r.LastZxid = max(r.LastZxid, rec.Zxid)
	if r.Txns++; l.opts.Progress != nil && r.Txns%progressEvery == 0 {
		l.opts.Progress(name, r.Nodes, r.Txns)
	}
	if rec.Zxid < l.digestFrom {
		return nil // still in the fuzzy range of the snapshot
	}
	if t := &r.Trailer; t.HasDigest && rec.Zxid == l.digestFrom && rec.Zxid > r.SnapshotZxid {
		l.compareDigest(rec.Zxid, t.Digest)
	}
	if res.HasDigest {
		l.compareDigest(rec.Zxid, res.TxnDigest)
	}
	return nil
}

// follows tells whether no transaction can be missing between two: the counters follow, or the second is
// the first of a later epoch.
func follows(last, next proto.Zxid) bool {
	return next == last+1 || (next>>32 > last>>32 && uint32(next) == 1)
}

func (l *loader) compareDigest(zxid proto.Zxid, want uint64) {
	r := l.report
	if !l.opts.Engine.Digest {
		return
	}
	if l.engine.Digest() == want {
		r.DigestsMatched++
		return
	}
	if r.DigestsMismatched++; r.DigestsMismatched == 1 {
		r.FirstMismatch = zxid
	}
}

// verdict looks at the end result as a whole.
func (l *loader) verdict() error {
	r := l.report
	for _, path := range l.unknownACLs {
		if ref := l.engine.Lookup([]byte(path)); ref != 0 && bytes.Equal(l.engine.ACL(ref), closedACL) {
			r.UnknownACLs = append(r.UnknownACLs, path)
		}
	}
	// A snapshot that another server sent leaves older logs as they are, with abandoned transactions and
	// without those it jumped over. With that snapshot lost, replay from an older one across the jump gives
	// a wrong tree, and digests are the only sign of it (section 6.1).
	if len(r.Skipped) > 0 && r.DigestsMismatched > 0 && !l.opts.AllowDamage {
		return fmt.Errorf("%w: first at %#x, %d times, after skipping %s", ErrDigest, r.FirstMismatch, r.DigestsMismatched, r.Skipped[0].Name)
	}
	return nil
}
