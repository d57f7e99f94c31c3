package javadata

import (
	"bytes"
	"fmt"
	"io"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	snapshotMagic   = "ZKSN"
	snapshotVersion = 2
	snapshotDbid    = -1
	fileHeaderBytes = 16
)

// A SnapshotNode is one node of a snapshot. Path is empty for the root; nil Data is null; ACL is a number
// of the ACL table, -1 the built-in open list.
type SnapshotNode struct {
	Path []byte
	Data []byte
	ACL  int64
	Stat proto.StatPersisted
}

// A SnapshotSink takes the contents of a snapshot in the order of the file: all sessions, all lists of ACLs,
// all nodes, parents before children. It borrows every argument until return. An error ends the reading
// and comes out as the cause of a FileError.
type SnapshotSink interface {
	Session(id proto.SessionID, timeoutMs int32) error
	ACL(number int64, acl proto.RawACLs) error
	Node(n *SnapshotNode) error
}

// A Trailer is what stands behind the nodes (section 3.1).
type Trailer struct {
	HasDigest     bool
	DigestZxid    proto.Zxid // of the last transaction applied when the digest was written; 0: none
	DigestVersion int32
	Digest        uint64

	HasLastZxid bool
	LastZxid    proto.Zxid

	Seals        int       // that were there and matched, 1 to 3
	SealSums     [3]uint32 // their Adler-32
	IgnoredBytes int       // behind the last part; at most what was looked at
}

// Sizes of the parts behind seal 1 (the table of section 3.1).
const (
	sealBytes     = 8 + 5
	digestBytes   = 8 + 4 + 8
	lastZxidBytes = 8
)

// sealEnd is the string that follows each checksum, and that ends the nodes.
var sealEnd = []byte{0, 0, 0, 1, '/'}

// ReadSnapshot reads a snapshot that r gives uncompressed (see Decompress), hands its contents to sink, and
// checks all of its seals. sink has seen everything by the time a seal turns out wrong: it must be able to
// throw away what it took. file is for errors, which are *FileError: ErrFormat, ErrChecksum, ErrCut,
// ErrLength, or what r or sink returned.
func ReadSnapshot(r io.Reader, file string, opts Options, sink SnapshotSink) (Trailer, error) {
	sr := snapshotReader{s: newSource(r, file, opts.fieldBytesMax()), sink: sink}
	err := sr.read()
	return sr.trailer, err
}

// ReadTree reads what a leader sends a learner behind a SNAP packet: the body of a snapshot, without header
// and seals, up to the end of its nodes (quorum protocol, section 4.7). It gives what it has read beyond
// that, which belongs to the packets that follow. Errors as of ReadSnapshot.
func ReadTree(r io.Reader, name string, opts Options, sink SnapshotSink) (rest []byte, err error) {
	sr := snapshotReader{s: newSource(r, name, opts.fieldBytesMax()), sink: sink}
	for _, step := range []func() error{sr.sessions, sr.acls, sr.nodes} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(sr.s.buf[sr.s.pos:sr.s.end]), nil
}

type snapshotReader struct {
	s       *source
	sink    SnapshotSink
	version int32
	dbid    int64
	trailer Trailer

	node             SnapshotNode
	path, data, raws []byte
}

func (sr *snapshotReader) read() error {
	for _, step := range []func() error{sr.header, sr.sessions, sr.acls, sr.nodes, sr.seal1, sr.tail} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (sr *snapshotReader) header() error {
	b, err := sr.s.take(fileHeaderBytes, "header")
	if err != nil {
		return err
	}
	if string(b[:4]) != snapshotMagic {
		return sr.s.fail(0, "magic", fmt.Errorf("%w: %q is not %q", ErrFormat, b[:4], snapshotMagic))
	}
	sr.version, sr.dbid = jute.Int32(b[4:]), jute.Int64(b[8:])
	return nil // Java checks neither
}

func (sr *snapshotReader) sessions() error {
	s := sr.s
	n, err := s.int32("number of sessions")
	if err != nil {
		return err
	}
	for ; n > 0; n-- {
		at := s.offset()
		b, err := s.take(12, "session")
		if err != nil {
			return err
		}
		if err := sr.sink.Session(jute.Int64(b), jute.Int32(b[8:])); err != nil {
			return s.fail(at, "session", err)
		}
	}
	return nil
}

func (sr *snapshotReader) acls() error {
	s := sr.s
	n, err := s.int32("number of ACL lists")
	if err != nil {
		return err
	}
	for ; n > 0; n-- {
		at := s.offset()
		number, err := s.int64("number of an ACL list")
		if err != nil {
			return err
		}
		if sr.raws, err = s.appendACLs(sr.raws[:0]); err != nil {
			return err
		}
		if err := sr.sink.ACL(number, proto.RawACLs(sr.raws)); err != nil {
			return s.fail(at, "ACL list", err)
		}
	}
	return nil
}

// appendACLs copies a vector of ACLs as it stands.
func (s *source) appendACLs(dst []byte) ([]byte, error) {
	n, err := s.int32("ACL list")
	if err != nil {
		return dst, err
	}
	dst = jute.AppendInt32(dst, n)
	for ; n > 0; n-- {
		if dst, err = s.appendBytes(dst, 4, "ACL permissions"); err != nil {
			return dst, err
		}
		for _, field := range []string{"ACL scheme", "ACL id"} {
			length, err := s.length(field)
			if err != nil {
				return dst, err
			}
			dst = jute.AppendInt32(dst, int32(length))
			if dst, err = s.appendBytes(dst, length, field); err != nil {
				return dst, err
			}
		}
	}
	return dst, nil
}

func (sr *snapshotReader) nodes() error {
	s, n := sr.s, &sr.node
	for {
		at := s.offset()
		path, err := s.buffer(&sr.path, "path of a node")
		if err != nil {
			return err
		}
		if string(path) == "/" {
			return nil
		}
		if path == nil {
			return s.fail(at, "path of a node", fmt.Errorf("%w: null", ErrFormat))
		}
		n.Path = path
		if n.Data, err = s.buffer(&sr.data, "data of a node"); err != nil {
			return err
		}
		b, err := s.take(8+proto.StatPersistedBytes, "ACL number and stat of a node")
		if err != nil {
			return err
		}
		d := jute.NewDecoder(b, 0)
		n.ACL = d.Int64()
		n.Stat.Decode(&d)
		if err := sr.sink.Node(n); err != nil {
			return s.fail(at, fmt.Sprintf("node %q", path), err)
		}
	}
}

func (sr *snapshotReader) seal1() error { return sr.seal("seal of the nodes") }

// seal takes a seal: the checksum of everything in front of it, and a fixed string.
func (sr *snapshotReader) seal(field string) error {
	want, at := sr.s.adler(), sr.s.offset()
	b, err := sr.s.take(sealBytes, field)
	if err != nil {
		return err
	}
	if got := jute.Int64(b); got != int64(want) {
		return sr.s.fail(at, field, fmt.Errorf("%w: %#x, want %#x", ErrChecksum, uint64(got), want))
	}
	if !bytes.Equal(b[8:], sealEnd) {
		return sr.s.fail(at, field, fmt.Errorf("%w: % x behind the checksum", ErrFormat, b[8:]))
	}
	sr.trailer.SealSums[sr.trailer.Seals] = want
	sr.trailer.Seals++
	return nil
}

// tail reads the parts behind seal 1. They carry no tag and the setting of the writer is not known: the
// number of bytes left tells which there are. A part whose own fields are cut off counts as absent, and what
// is behind the last part is ignored, both as in Java.
func (sr *snapshotReader) tail() error {
	s, t := sr.s, &sr.trailer
	left, err := s.ahead(digestBytes + sealBytes + lastZxidBytes + sealBytes + 1)
	if err != nil {
		return s.fail(s.offset(), "parts behind seal 1", err)
	}
	if left >= digestBytes && left != lastZxidBytes+sealBytes {
		b, err := sr.sealed(digestBytes, "tree digest")
		if err != nil {
			return err
		}
		d := jute.NewDecoder(b, 0)
		t.HasDigest, t.DigestZxid, t.DigestVersion, t.Digest = true, d.Int64(), d.Int32(), uint64(d.Int64())
		left -= digestBytes + sealBytes
	}
	if left == lastZxidBytes+sealBytes || t.HasDigest && left >= lastZxidBytes {
		b, err := sr.sealed(lastZxidBytes, "last zxid")
		if err != nil {
			return err
		}
		t.HasLastZxid, t.LastZxid = true, jute.Int64(b)
		left -= lastZxidBytes + sealBytes
	}
	t.IgnoredBytes = left
	return nil
}

// sealed takes a part of n bytes and the seal behind it, and gives the part.
func (sr *snapshotReader) sealed(n int, field string) ([]byte, error) {
	b, err := sr.s.take(n, field)
	if err != nil {
		return nil, err
	}
	part := append([]byte(nil), b...)
	return part, sr.seal("seal of the " + field)
}
