package javadata

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// LoadOptions are how Load recovers.
type LoadOptions struct {
	Options
	Engine engine.Options
	// TrustEmpty is zookeeper.snapshot.trust.empty: logs without any snapshot are replayed from nothing.
	TrustEmpty bool
	// AllowDamage takes what Java takes without a word: transactions that are missing between the snapshot
	// and the end of the log, and a tree that differs from Java's after falling back to an older snapshot.
	// Both are in the Report.
	AllowDamage bool
	// Progress, if not nil, is told what has been read so far, every few thousand nodes or transactions.
	Progress func(file string, nodes, txns int64)
}

// A Report tells what Load did.
type Report struct {
	// Snapshot is the file that was loaded, SnapshotZxid the zxid in its name; empty: started from nothing.
	Snapshot     string
	SnapshotZxid proto.Zxid
	Trailer      Trailer
	Nodes        int64             // in the snapshot
	Skipped      []SkippedSnapshot // newer ones that were not sound, newest first

	Logs       []LogReport
	Txns       int64 // replayed
	OutOfOrder int64 // of them, those with a zxid at or below that of the one before
	LastZxid   proto.Zxid
	Holes      []Hole

	DigestsMatched    int64 // transactions whose digest of the tree was met
	DigestsMismatched int64
	FirstMismatch     proto.Zxid
	// UnknownACLs are paths of nodes whose list was not in the snapshot's table, as happens to nodes that
	// were created while a fuzzy snapshot was written, and was not given by the log either. Only the
	// superuser gets at them. At most MaxUnknownACLs are named.
	UnknownACLs []string
}

// MaxUnknownACLs bounds Report.UnknownACLs, and what Load remembers of such nodes.
const MaxUnknownACLs = 10_000

// A SkippedSnapshot is one that was not used.
type SkippedSnapshot struct {
	Name string
	Err  error
}

// A LogReport tells how one log file was read.
type LogReport struct {
	Name    string
	Records int64 // read
	End     LogEnd
	EndAt   int64
	Ignored bool // an empty newest file, which 3.9.3 and later remove
}

// A Hole is where transactions are missing: after After comes Next.
type Hole struct {
	After, Next proto.Zxid
	File        string
}

// maxSnapshotsTried is how many snapshots Java tries (section 6.1).
const maxSnapshotsTried = 100

// Load rebuilds the state that a Java server with these directories would come up with (section 6.1): the
// newest sound snapshot and the log behind it. dataLogDir may be empty for dataDir. If there is nothing at
// all, the engine is an empty one at zxid 0.
//
// It is stricter than Java in two points, which AllowDamage turns off: holes in the replayed log are
// ErrHole, and a digest that does not match after a newer snapshot had to be skipped is ErrDigest; either
// can mean that committed transactions are lost or abandoned ones are back. The other errors are
// ErrNoValidSnapshot, ErrSnapshotMissing, *FileError for damage in a log that Java does not start with, either,
// and the file system's. The report is complete up to the error.
//
// The caller owns the engine. A standalone server or leader still has to remove the ephemerals of sessions
// that are gone (engine.RemoveOrphans) and to set its own configuration node.
func Load(fs vfs.FS, dataDir, dataLogDir string, opts LoadOptions) (*engine.Engine, *Report, error) {
	l := &loader{fs: fs, opts: opts, report: &Report{}}
	d, err := Detect(fs, dataDir, dataLogDir)
	if err != nil {
		return nil, l.report, err
	}
	if err := l.snapshot(d); err != nil {
		return nil, l.report, err
	}
	if l.engine == nil {
		if l.engine, err = engine.New(opts.Engine); err != nil {
			return nil, l.report, err
		}
	}
	err = l.replay(d)
	if err == nil {
		err = l.verdict()
	}
	if err != nil {
		return nil, l.report, errors.Join(err, l.engine.Close())
	}
	return l.engine, l.report, nil
}

type loader struct {
	fs     vfs.FS
	opts   LoadOptions
	report *Report
	engine *engine.Engine

	unknownACLs []string
	digestFrom  proto.Zxid // digests of transactions count from here on
}

// snapshot loads the newest sound snapshot into l.engine, if there is one (section 6.1, steps 1 to 4).
func (l *loader) snapshot(d *Directories) error {
	r := l.report
	listed := 0
	for i := len(d.Snapshots) - 1; i >= 0 && listed < maxSnapshotsTried; i-- {
		file := d.Snapshots[i]
		ok, err := plausible(l.fs, file)
		if err != nil {
			return fmt.Errorf("javadata: %w", err)
		}
		if !ok {
			r.Skipped = append(r.Skipped, SkippedSnapshot{file.Name, fmt.Errorf("%w: not a whole snapshot", ErrFormat)})
			continue
		}
		listed++
		e, err := l.loadSnapshot(file)
		if err != nil {
			if !isDamage(err) {
				return err
			}
			r.Skipped = append(r.Skipped, SkippedSnapshot{file.Name, err})
			continue
		}
		l.engine = e
		r.Snapshot, r.SnapshotZxid, r.LastZxid = file.Name, file.Zxid, file.Zxid
		if t := &r.Trailer; t.HasDigest && t.DigestVersion == proto.DigestVersion && t.DigestZxid >= file.Zxid {
			l.digestFrom = t.DigestZxid
			if t.DigestZxid == file.Zxid && t.DigestZxid != 0 {
				l.compareDigest(file.Zxid, t.Digest)
			}
		}
		return nil
	}
	if listed > 0 {
		return fmt.Errorf("%w: %d tried, the newest: %w", ErrNoValidSnapshot, listed, r.Skipped[0].Err)
	}
	return nil
}

// isDamage tells errors about the bytes of a file from those of the file system.
func isDamage(err error) bool {
	for _, kind := range []error{ErrFormat, ErrChecksum, ErrCut, ErrLength, engine.ErrSnapshot} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (l *loader) loadSnapshot(file DataFile) (e *engine.Engine, err error) {
	f, err := l.fs.Open(file.Name)
	if err != nil {
		return nil, fmt.Errorf("javadata: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	plain, err := Decompress(f, CompressionOf(file.Name))
	if err != nil {
		return nil, &FileError{File: file.Name, Field: "compressed stream", Err: err}
	}
	e, sink, trailer, err := readInto(plain, file.Name, file.Zxid, l.opts)
	if err != nil {
		return nil, err
	}
	l.report.Trailer, l.report.Nodes, l.unknownACLs = trailer, sink.nodes, sink.unknownACLs
	return e, nil
}

// ZxidInStream tells LoadStream to take the zxid from the stream.
const ZxidInStream proto.Zxid = -1

// LoadStream builds an engine from one uncompressed snapshot, such as a backup; its zxid is the one given
// (that of the file's name), or with ZxidInStream that of its last part, without which it is refused with
// ErrFormat. Errors as of ReadSnapshot; one that matches engine.ErrSnapshot inside a *FileError means nodes
// that form no tree.
func LoadStream(r io.Reader, file string, zxid proto.Zxid, opts LoadOptions) (*engine.Engine, Trailer, error) {
	e, _, trailer, err := readInto(r, file, zxid, opts)
	return e, trailer, err
}

// LoadTree builds an engine from what a leader sends behind a SNAP packet with this zxid, and gives what was
// read beyond it; see ReadTree and LoadStream.
func LoadTree(r io.Reader, name string, zxid proto.Zxid, opts LoadOptions) (e *engine.Engine, rest []byte, err error) {
	sink, err := newBuilderSink(name, opts)
	if err != nil {
		return nil, nil, err
	}
	if rest, err = ReadTree(r, name, opts.Options, sink); err != nil {
		sink.b.Close()
		return nil, nil, err
	}
	e, err = sink.b.Finish(zxid)
	return e, rest, err
}

func readInto(r io.Reader, file string, zxid proto.Zxid, opts LoadOptions) (*engine.Engine, *builderSink, Trailer, error) {
	sink, err := newBuilderSink(file, opts)
	if err != nil {
		return nil, nil, Trailer{}, err
	}
	trailer, err := ReadSnapshot(r, file, opts.Options, sink)
	if err == nil && zxid == ZxidInStream {
		if zxid = trailer.LastZxid; !trailer.HasLastZxid {
			err = &FileError{File: file, Field: "last zxid", Err: fmt.Errorf("%w: not in the stream", ErrFormat)}
		}
	}
	if err != nil {
		sink.b.Close()
		return nil, nil, trailer, err
	}
	e, err := sink.b.Finish(zxid)
	return e, sink, trailer, err
}

func newBuilderSink(file string, opts LoadOptions) (*builderSink, error) {
	b, err := engine.NewBuilder(opts.Engine)
	if err != nil {
		return nil, err
	}
	return &builderSink{b: b, acls: map[int64]proto.RawACLs{}, file: file, progress: opts.Progress}, nil
}

// builderSink fills an engine.
type builderSink struct {
	b           *engine.Builder
	acls        map[int64]proto.RawACLs
	file        string
	nodes       int64
	unknownACLs []string
	progress    func(file string, nodes, txns int64)
}

const progressEvery = 1 << 14

func (s *builderSink) Session(id proto.SessionID, timeoutMs int32) error {
	s.b.AddSession(id, timeoutMs)
	return nil
}

func (s *builderSink) ACL(number int64, acl proto.RawACLs) error {
	s.acls[number] = append(proto.RawACLs(nil), acl...)
	return nil
}

func (s *builderSink) Node(n *SnapshotNode) error {
	var acl proto.RawACLs
	if n.ACL != builtInACL {
		var known bool
		if acl, known = s.acls[n.ACL]; !known {
			acl = closedACL
			if len(s.unknownACLs) < MaxUnknownACLs {
				s.unknownACLs = append(s.unknownACLs, string(n.Path))
			}
		}
	}
	if s.nodes++; s.progress != nil && s.nodes%progressEvery == 0 {
		s.progress(s.file, s.nodes, 0)
	}
	return s.b.AddNode(n.Path, n.Data, acl, &n.Stat)
}
