package javadata

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

func exportBytes(t testing.TB, e *engine.Engine, opts ExportOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Export(e, &out, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// collected is a SnapshotSink that keeps everything.
type collected struct {
	sessions []collectedSession
	acls     []collectedACL
	nodes    []SnapshotNode
}

type collectedSession struct {
	id        proto.SessionID
	timeoutMs int32
}

type collectedACL struct {
	number int64
	acl    proto.RawACLs
}

func (c *collected) Session(id proto.SessionID, timeoutMs int32) error {
	c.sessions = append(c.sessions, collectedSession{id, timeoutMs})
	return nil
}

func (c *collected) ACL(number int64, acl proto.RawACLs) error {
	c.acls = append(c.acls, collectedACL{number, bytes.Clone(acl)})
	return nil
}

func (c *collected) Node(n *SnapshotNode) error {
	m := *n
	m.Path, m.Data = append([]byte{}, n.Path...), bytes.Clone(n.Data)
	c.nodes = append(c.nodes, m)
	return nil
}

func (c *collected) write(t testing.TB, trailer Trailer) []byte {
	t.Helper()
	var out bytes.Buffer
	return c.writeTo(t, NewSnapshotWriter(&out), &out, trailer)
}

// writeTo writes everything to w, whose bytes end up in out.
func (c *collected) writeTo(t testing.TB, w *SnapshotWriter, out *bytes.Buffer, trailer Trailer) []byte {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.Sessions(len(c.sessions)))
	for _, s := range c.sessions {
		check(w.Session(s.id, s.timeoutMs))
	}
	check(w.ACLs(len(c.acls)))
	for _, a := range c.acls {
		check(w.ACL(a.number, a.acl))
	}
	for i := range c.nodes {
		check(w.Node(&c.nodes[i]))
	}
	check(w.Finish(trailer))
	return out.Bytes()
}

// rewriteSnapshot reads a plain snapshot, changes its nodes, and writes it with the same trailer.
func rewriteSnapshot(t testing.TB, b []byte, change func(n *SnapshotNode)) []byte {
	t.Helper()
	var c collected
	trailer, err := ReadSnapshot(bytes.NewReader(b), "test", Options{}, &c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		change(&c.nodes[i])
	}
	return c.write(t, trailer)
}

// eachRecord calls f with the bounds of each record's body in a log.
func eachRecord(b []byte, f func(from, to int)) {
	for at := fileHeaderBytes; at+12 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at+8:]))
		if n == 0 {
			return
		}
		f(at+12, at+12+n)
		at += 13 + n
	}
}

// replaceInRecord replaces bytes by as many others in the one record that has them, and makes its
// checksum right.
func replaceInRecord(t testing.TB, log, old, with []byte) []byte {
	t.Helper()
	out := bytes.Clone(log)
	found := 0
	eachRecord(out, func(from, to int) {
		body := out[from:to]
		if i := bytes.Index(body, old); i >= 0 {
			found++
			copy(body[i:], with)
			binary.BigEndian.PutUint64(out[from-12:], uint64(adler32.Checksum(body)))
		}
	})
	if found != 1 || len(old) != len(with) {
		t.Fatalf("%q is in %d records", old, found)
	}
	return out
}
