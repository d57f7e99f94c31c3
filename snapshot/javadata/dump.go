package javadata

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// DumpLog writes a log file as text to w: a line for the header, one for each record with its offset and
// whether its checksum matches, and one for how the file ends. A wrong checksum does not end it. Errors as
// of NewLogReader and LogReader.Next but ErrChecksum, and those of w.
func DumpLog(w io.Writer, r io.Reader, file string, opts Options) error {
	out := bufio.NewWriter(w)
	err := dumpLog(out, r, file, opts)
	return errors.Join(err, out.Flush())
}

func dumpLog(out *bufio.Writer, r io.Reader, file string, opts Options) error {
	l, err := NewLogReader(r, file, opts)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "header  magic=%s version=%d dbid=%d\n", logMagic, l.version, l.dbid)
	var line []byte
	for {
		rec, err := l.Next()
		if err == io.EOF {
			break
		}
		state := "ok"
		if errors.Is(err, ErrChecksum) {
			state, err = "BAD", nil
		}
		if err != nil {
			return err
		}
		line = fmt.Appendf(line[:0], "@%d len=%d crc=%#x %s ", rec.Offset, len(rec.Txn), uint64(rec.Checksum), state)
		line = append(AppendTxnText(line, rec.Txn), '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	how, at := l.End()
	if how == EndOfFile {
		_, err = fmt.Fprintf(out, "@%d end of file\n", at)
		return err
	}
	zero, size, err := l.rest()
	if err != nil {
		return err
	}
	python := map[bool]string{true: "True", false: "False"}
	_, err = fmt.Fprintf(out, "@%d end: %v, zero padding=%s, file size %d\n", at, how, python[zero], size)
	return err
}

// rest reads what is behind the last record: whether it is all zero, and where the file ends.
func (l *LogReader) rest() (zero bool, size int64, err error) {
	s := l.s
	zero = l.end == EndPadding
	for {
		left, err := s.ahead(sourceBufferBytes)
		if err != nil || left == 0 {
			return zero, s.offset(), err
		}
		b, err := s.take(left, "padding")
		if err != nil {
			return zero, s.offset(), err
		}
		for _, c := range b {
			zero = zero && c == 0
		}
	}
}

// DumpSnapshot writes a snapshot that r gives uncompressed as text to w: sessions, lists of ACLs, nodes, the
// parts behind them, and the tree digest computed from the nodes. Errors as of ReadSnapshot, and those of w;
// what came before the damage has been written.
func DumpSnapshot(w io.Writer, r io.Reader, file string, opts Options) error {
	d := &dumper{out: bufio.NewWriter(w)}
	sr := snapshotReader{s: newSource(r, file, opts.fieldBytesMax()), sink: d}
	d.sr = &sr
	err := sr.read()
	if err == nil {
		d.begin()
		d.end(&sr.trailer)
	}
	return errors.Join(err, d.out.Flush())
}

type dumper struct {
	out      *bufio.Writer // keeps its first error
	sr       *snapshotReader
	sessions []byte
	begun    bool
	digest   uint64
	line     []byte
}

func (d *dumper) Session(id proto.SessionID, timeoutMs int32) error {
	if len(d.sessions) > 0 {
		d.sessions = append(d.sessions, ", "...)
	}
	d.sessions = fmt.Appendf(d.sessions, "'%#x': %d", uint64(id), timeoutMs)
	return nil
}

// begin writes the lines in front of the first list of ACLs.
func (d *dumper) begin() {
	if d.begun {
		return
	}
	d.begun = true
	fmt.Fprintf(d.out, "header  magic=%s version=%d dbid=%d\n", snapshotMagic, d.sr.version, d.sr.dbid)
	fmt.Fprintf(d.out, "sessions {%s}\n", d.sessions)
}

func (d *dumper) ACL(number int64, acl proto.RawACLs) error {
	d.begin()
	d.line = fmt.Appendf(d.line[:0], "acl     %d -> ", number)
	d.line = append(appendACLLiteral(d.line, acl), '\n')
	_, err := d.out.Write(d.line)
	return err
}

func (d *dumper) Node(n *SnapshotNode) error {
	d.begin()
	d.digest += digestShare(n)
	s := &n.Stat
	d.line = appendLiteral(append(d.line[:0], "node    "...), n.Path)
	d.line = appendDataText(append(d.line, ` {"data": `...), n.Data, shownNode)
	d.line = fmt.Appendf(d.line, `, "acl": %d, "czxid": "%#x", "mzxid": "%#x", "ctime": %d, "mtime": %d, "version": %d, "cversion": %d, "aversion": %d, "ephemeralOwner": "%#x", "pzxid": "%#x"}`+"\n",
		n.ACL, uint64(s.Czxid), uint64(s.Mzxid), s.Ctime, s.Mtime, s.Version, s.Cversion, s.Aversion, uint64(s.EphemeralOwner), uint64(s.Pzxid))
	_, err := d.out.Write(d.line)
	return err
}

// digestShare is what a node adds to the tree digest (quorum protocol, section 7.3).
func digestShare(n *SnapshotNode) uint64 {
	const below = engine.PathZookeeper + "/"
	if len(n.Path) >= len(below) && string(n.Path[:len(below)]) == below {
		return 0
	}
	node := engine.Node{StatPersisted: n.Stat, PathDataCRC: engine.PathDataCRC(n.Path, n.Data)}
	return node.Digest()
}

func (d *dumper) end(t *Trailer) {
	seal := 0
	writeSeal := func() {
		fmt.Fprintf(d.out, "seal%d    {'adler32': '%#x', 'ok': True, 'end': '/'}\n", seal+1, t.SealSums[seal])
		seal++
	}
	writeSeal()
	if t.HasDigest {
		fmt.Fprintf(d.out, "zxidDigest {'zxid': '%#x', 'digestVersion': %d, 'digest': '%#x'}\n", uint64(t.DigestZxid), t.DigestVersion, t.Digest)
		writeSeal()
	}
	if t.HasLastZxid {
		fmt.Fprintf(d.out, "lastProcessedZxid %#x\n", uint64(t.LastZxid))
		writeSeal()
	}
	fmt.Fprintf(d.out, "computed tree digest %#x trailing bytes %d\n", d.digest, t.IgnoredBytes)
}

// appendLiteral appends a path between single quotes, printable characters as they are.
func appendLiteral(dst, b []byte) []byte {
	quote := byte('\'')
	if bytes.IndexByte(b, '\'') >= 0 && bytes.IndexByte(b, '"') < 0 {
		quote = '"'
	}
	dst = append(dst, quote)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == rune(quote) || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case unicode.IsPrint(r):
			dst = append(dst, b[:n]...)
		case r <= 0xff:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case r <= 0xffff:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
		b = b[n:]
	}
	return append(dst, quote)
}

func appendACLLiteral(dst []byte, acl proto.RawACLs) []byte {
	if acl.Len() < 0 {
		return append(dst, "None"...)
	}
	dst = append(dst, '[')
	first := true
	acl.Each(func(a proto.RawACL) bool {
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		dst = fmt.Appendf(dst, "{'perms': %d, 'scheme': ", a.Perms)
		dst = append(appendLiteral(dst, a.Scheme), ", 'id': "...)
		dst = append(appendLiteral(dst, a.ID), '}')
		return true
	})
	return append(dst, ']')
}
