package javadata

import (
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// Parts says which parts a snapshot gets behind its nodes. It has to suit the reader: a server that keeps
// digests rejects a file with the last zxid alone, one that does not rejects a file with a digest
// (the table of section 3.1).
type Parts int

const (
	// PartsNone (0 bytes): every release reads it, whatever its settings.
	PartsNone Parts = iota
	// PartsDigest (33 bytes): what 3.6 to 3.8 write with digests on.
	PartsDigest
	// PartsDigestAndZxid (54 bytes): what 3.9 and later write with their defaults.
	PartsDigestAndZxid
	// PartsZxid (21 bytes): what 3.9 and later write with digests off.
	PartsZxid
)

func (p Parts) digest() bool   { return p == PartsDigest || p == PartsDigestAndZxid }
func (p Parts) lastZxid() bool { return p == PartsZxid || p == PartsDigestAndZxid }

// ErrSequence reports calls to a SnapshotWriter that do not make a snapshot.
var ErrSequence = errors.New("javadata: snapshot written out of sequence")

// A SnapshotWriter writes the uncompressed stream of a snapshot (section 3.1), in the order of the calls:
// Sessions and that many times Session, ACLs and that many times ACL, Node for every node with the root
// first and parents before children, Finish. The first error is kept and returned by every later call.
type SnapshotWriter struct {
	w    io.Writer
	sum  hash.Hash32
	buf  []byte
	bare bool // without header and seals

	left    int64 // sessions or lists still to come
	section snapshotSection
	err     error
}

type snapshotSection int

const (
	atSessions snapshotSection = iota
	inSessions
	inACLs
	inNodes
	finished
)

const writerBufferBytes = 64 << 10

// NewSnapshotWriter begins a snapshot in w.
func NewSnapshotWriter(w io.Writer) *SnapshotWriter {
	sw := &SnapshotWriter{w: w, sum: adler32.New(), buf: make([]byte, 0, writerBufferBytes)}
	sw.buf = append(sw.buf, snapshotMagic...)
	sw.buf = jute.AppendInt32(sw.buf, snapshotVersion)
	sw.buf = jute.AppendInt64(sw.buf, snapshotDbid)
	return sw
}

// NewTreeWriter begins the same without the file's header; Finish then writes neither seals nor parts. This is
// what a leader sends behind a SNAP packet (quorum protocol, section 4.7).
func NewTreeWriter(w io.Writer) *SnapshotWriter {
	return &SnapshotWriter{w: w, buf: make([]byte, 0, writerBufferBytes), bare: true}
}

// enter moves from one section to the next.
func (sw *SnapshotWriter) enter(from, to snapshotSection, count int) error {
	if sw.err == nil && (sw.section != from || sw.left != 0 || count < 0 || count > 1<<31-1) {
		sw.err = fmt.Errorf("%w: section %d after %d, %d entries missing, count %d", ErrSequence, to, sw.section, sw.left, count)
	}
	sw.section, sw.left = to, int64(count)
	return sw.err
}

// entry counts an entry of the section.
func (sw *SnapshotWriter) entry(section snapshotSection) error {
	if sw.err == nil && (sw.section != section || sw.left == 0) {
		sw.err = fmt.Errorf("%w: entry of section %d in section %d, %d left", ErrSequence, section, sw.section, sw.left)
	}
	sw.left--
	return sw.err
}

// spill hands the buffer on when it is full, or anyway.
func (sw *SnapshotWriter) spill(anyway bool) error {
	if sw.err != nil || (!anyway && len(sw.buf) < writerBufferBytes) {
		return sw.err
	}
	if !sw.bare {
		sw.sum.Write(sw.buf)
	}
	_, sw.err = sw.w.Write(sw.buf)
	sw.buf = sw.buf[:0]
	return sw.err
}

// Sessions begins the session table, of n sessions.
func (sw *SnapshotWriter) Sessions(n int) error {
	if err := sw.enter(atSessions, inSessions, n); err != nil {
		return err
	}
	sw.buf = jute.AppendInt32(sw.buf, int32(n))
	return nil
}

// Session writes one session.
func (sw *SnapshotWriter) Session(id proto.SessionID, timeoutMs int32) error {
	if err := sw.entry(inSessions); err != nil {
		return err
	}
	sw.buf = jute.AppendInt64(sw.buf, id)
	sw.buf = jute.AppendInt32(sw.buf, timeoutMs)
	return sw.spill(false)
}

// ACLs begins the table of ACL lists, of n lists.
func (sw *SnapshotWriter) ACLs(n int) error {
	if err := sw.enter(inSessions, inACLs, n); err != nil {
		return err
	}
	sw.buf = jute.AppendInt32(sw.buf, int32(n))
	return nil
}

// ACL writes one list under its number, which is 1 or above.
func (sw *SnapshotWriter) ACL(number int64, acl proto.RawACLs) error {
	if err := sw.entry(inACLs); err != nil {
		return err
	}
	sw.buf = jute.AppendInt64(sw.buf, number)
	sw.buf = append(sw.buf, acl...)
	return sw.spill(false)
}

// Node writes one node, which it borrows until return.
func (sw *SnapshotWriter) Node(n *SnapshotNode) error {
	if sw.section == inACLs {
		if err := sw.enter(inACLs, inNodes, 0); err != nil {
			return err
		}
	}
	if sw.err == nil && (sw.section != inNodes || string(n.Path) == "/") {
		sw.err = fmt.Errorf("%w: node %q in section %d", ErrSequence, n.Path, sw.section)
	}
	if sw.err != nil {
		return sw.err
	}
	sw.buf = jute.AppendInt32(sw.buf, int32(len(n.Path)))
	sw.buf = append(sw.buf, n.Path...)
	sw.buf = jute.AppendBuffer(sw.buf, n.Data)
	sw.buf = jute.AppendInt64(sw.buf, n.ACL)
	sw.buf = n.Stat.Append(sw.buf)
	return sw.spill(false)
}

// Finish ends the nodes and writes the seals and the parts that t has.
func (sw *SnapshotWriter) Finish(t Trailer) error {
	if err := sw.enter(inNodes, finished, 0); err != nil {
		return err
	}
	sw.buf = append(sw.buf, sealEnd...)
	if sw.bare {
		return sw.spill(true)
	}
	sw.seal()
	if t.HasDigest {
		sw.buf = jute.AppendInt64(sw.buf, t.DigestZxid)
		sw.buf = jute.AppendInt32(sw.buf, t.DigestVersion)
		sw.buf = jute.AppendInt64(sw.buf, int64(t.Digest))
		sw.seal()
	}
	if t.HasLastZxid {
		sw.buf = jute.AppendInt64(sw.buf, t.LastZxid)
		sw.seal()
	}
	return sw.spill(true)
}

func (sw *SnapshotWriter) seal() {
	if sw.spill(true) == nil {
		sw.buf = jute.AppendInt64(sw.buf, int64(sw.sum.Sum32()))
		sw.buf = append(sw.buf, sealEnd...)
	}
}
