//go:build interop

package interop

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// The raw tours speak the protocol byte by byte: what no client library would send is
// where servers differ. Each tour is a list of sections; a section prints its steps as
// "section/step".

const (
	replyTimeout = 20 * time.Second
	// maxReplyBytes bounds what a tour accepts from a server.
	maxReplyBytes = 16 << 20
)

// A raw is the state of one raw tour against one server.
type raw struct {
	t       *testing.T
	s       *server
	tr      *transcript
	section string
	dialer  func() (net.Conn, error) // nil: the plain client port
	zxid    int64                    // last positive zxid seen in any reply: increments are printed against it
	// sessions in the order of their creation, to print session ids as s1, s2, ...
	sessions []int64
}

// rawTour makes a tour out of sections.
func rawTour(name string, cfg map[string]string, props []string, sections ...section) tour {
	return tour{name: name, cfg: cfg, props: props, run: func(t *testing.T, s *server, tr *transcript) {
		r := &raw{t: t, s: s, tr: tr}
		for _, sec := range sections {
			r.section = sec.name
			sec.run(r)
		}
	}}
}

type section struct {
	name string
	run  func(r *raw)
}

func (r *raw) put(step, format string, args ...any) {
	r.tr.add(r.section+"/"+step, fmt.Sprintf(format, args...))
}

// A body builds a request record field by field; nothing keeps it from being wrong.
type body []byte

func rec() body                   { return body{} }
func (b body) i(v int32) body     { return jute.AppendInt32(b, v) }
func (b body) l(v int64) body     { return jute.AppendInt64(b, v) }
func (b body) flag(v bool) body   { return jute.AppendBool(b, v) }
func (b body) s(v string) body    { return jute.AppendString(b, v) }
func (b body) null() body         { return jute.AppendInt32(b, -1) }
func (b body) buf(v []byte) body  { return jute.AppendBuffer(b, v) }
func (b body) raw(v ...byte) body { return append(b, v...) }
func (b body) strs(v ...string) body {
	b = b.i(int32(len(v)))
	for _, s := range v {
		b = b.s(s)
	}
	return b
}

// An acl is one entry; a nil field is null on the wire.
type acl struct {
	perms      int32
	scheme, id any
}

func (b body) str(v any) body {
	if v == nil {
		return b.null()
	}
	return b.s(v.(string))
}

func (b body) acls(v ...acl) body {
	b = b.i(int32(len(v)))
	for _, a := range v {
		b = b.i(a.perms).str(a.scheme).str(a.id)
	}
	return b
}

func (b body) open() body { return b.acls(acl{31, "world", "anyone"}) }

// Bodies of well-formed requests.
func createReq(path, data string, flags int32) body { return rec().s(path).s(data).open().i(flags) }
func pathWatch(path string, watch bool) body        { return rec().s(path).flag(watch) }
func pathInt(path string, v int32) body             { return rec().s(path).i(v) }
func setReq(path, data string, version int32) body  { return rec().s(path).s(data).i(version) }
func justPath(path string) body                     { return rec().s(path) }

// A conn is one client connection.
type conn struct {
	r       *raw
	nc      net.Conn
	xid     int32
	session int64
	passwd  []byte
	pending []request
	closed  string // why nothing more can be read, "" while open
}

type request struct {
	xid  int32
	op   proto.OpCode
	body body
}

// dial opens a connection without a handshake.
func (r *raw) dial() *conn {
	dial := r.dialer
	if dial == nil {
		dial = func() (net.Conn, error) { return net.DialTimeout("tcp", r.s.addr, replyTimeout) }
	}
	nc, err := dial()
	if err != nil {
		// A server over its limit may reset a connection before connect returns.
		return &conn{r: r, nc: noConn{}, closed: "closed"}
	}
	r.t.Cleanup(func() { nc.Close() })
	return &conn{r: r, nc: nc}
}

// A noConn stands for a connection that was refused.
type noConn struct{ net.Conn }

func (noConn) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (noConn) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (noConn) SetReadDeadline(time.Time) error  { return nil }
func (noConn) SetWriteDeadline(time.Time) error { return nil }
func (noConn) Close() error                     { return nil }

// open opens a connection with a new session of a minute.
func (r *raw) open() *conn { return r.openTimeout(60000) }

func (r *raw) openTimeout(timeoutMs int32) *conn {
	c := r.dial()
	if got := c.connect(connectReq{timeout: timeoutMs, readOnly: ptr(false)}); !strings.HasPrefix(got, "accepted") {
		r.t.Fatalf("%s: connect: %s", r.section, got)
	}
	// The zxid of the session's creation, so that increments start from a known place.
	c.do(proto.OpPing, nil)
	return c
}

func ptr[T any](v T) *T { return &v }

type connectReq struct {
	version  int32
	lastZxid int64
	timeout  int32
	session  int64
	passwd   []byte
	nullPw   bool
	readOnly *bool
	trailing []byte
}

func (q connectReq) encode() body {
	b := rec().i(q.version).l(q.lastZxid).i(q.timeout).l(q.session)
	switch {
	case q.nullPw:
		b = b.null()
	case q.passwd == nil:
		b = b.buf(make([]byte, 16))
	default:
		b = b.buf(q.passwd)
	}
	if q.readOnly != nil {
		b = b.flag(*q.readOnly)
	}
	return append(b, q.trailing...)
}

// connect sends a connect frame and describes the answer.
func (c *conn) connect(q connectReq) string {
	c.sendFrame(q.encode())
	return c.connectReply()
}

func (c *conn) connectReply() string {
	f, err := c.readFrame()
	if err != "" {
		return err
	}
	d := jute.NewDecoder(f, 0)
	version, timeout, id, pw := d.Int32(), d.Int32(), d.Int64(), d.Buffer()
	ro := "absent"
	if len(d.Rest()) > 0 {
		ro = fmt.Sprint(d.Bool())
	}
	if d.Err() != nil {
		return "undecodable " + hex.EncodeToString(f)
	}
	what := "accepted"
	if timeout <= 0 || id == 0 {
		what = "refused"
	}
	known := "known"
	if id != 0 {
		want := proto.SessionPassword(id)
		if string(pw) != string(want[:]) {
			known = "WRONG"
		}
		c.session, c.passwd = id, append([]byte(nil), pw...)
	} else if string(pw) == string(make([]byte, 16)) {
		known = "zero"
	}
	return fmt.Sprintf("%s version=%d timeout=%d session=%s passwd=%s/%d readOnly=%s rest=%d len=%d",
		what, version, timeout, c.r.sid(id), known, len(pw), ro, len(d.Rest()), len(f))
}

// sid names a session id by the order in which the tour met it.
func (r *raw) sid(id int64) string {
	if id == 0 {
		return "0"
	}
	for i, s := range r.sessions {
		if s == id {
			return fmt.Sprintf("s%d", i+1)
		}
	}
	r.sessions = append(r.sessions, id)
	return fmt.Sprintf("s%d", len(r.sessions))
}

func (c *conn) sendFrame(payload []byte) {
	c.write(append(jute.AppendInt32(nil, int32(len(payload))), payload...))
}

// write sends bytes as they are; that the server has closed shows when reading.
func (c *conn) write(b []byte) {
	c.nc.SetWriteDeadline(time.Now().Add(replyTimeout))
	c.nc.Write(b)
}

func (c *conn) readFrame() (frame []byte, failure string) {
	if c.closed != "" {
		return nil, c.closed
	}
	c.nc.SetReadDeadline(time.Now().Add(replyTimeout))
	var h [4]byte
	if _, err := io.ReadFull(c.nc, h[:]); err != nil {
		return nil, c.fail(err)
	}
	n := int(jute.Int32(h[:]))
	if n < 0 || n > maxReplyBytes {
		return nil, fmt.Sprintf("frame of %d", n)
	}
	f := make([]byte, n)
	if _, err := io.ReadFull(c.nc, f); err != nil {
		return nil, c.fail(err)
	}
	return f, ""
}

// fail names the end of a connection: orderly close and reset are not told apart, since
// which of them a client sees depends on what was in flight.
func (c *conn) fail(err error) string {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return "no answer"
	}
	c.closed = "closed"
	return c.closed
}

func (c *conn) append(dst []byte, q request) []byte {
	c.pending = append(c.pending, q)
	dst = jute.AppendInt32(dst, int32(8+len(q.body)))
	dst = jute.AppendInt32(dst, q.xid)
	dst = jute.AppendInt32(dst, int32(q.op))
	return append(dst, q.body...)
}

func (c *conn) next(op proto.OpCode, b body) request {
	c.xid++
	xid := c.xid
	if op == proto.OpPing {
		xid = proto.XidPing
	}
	return request{xid, op, b}
}

// do sends one request and describes everything up to its reply.
func (c *conn) do(op proto.OpCode, b body) string { return c.doXid(c.next(op, b)) }

func (c *conn) doXid(q request) string {
	c.write(c.append(nil, q))
	return c.reply()
}

// step does one request and records it.
func (c *conn) step(name string, op proto.OpCode, b body) { c.r.put(name, "%s", c.do(op, b)) }

// reply reads up to the next frame that is not a notification.
func (c *conn) reply() string {
	var events []string
	for {
		f, failure := c.readFrame()
		if failure != "" {
			return strings.Join(append(events, failure), " ")
		}
		s, isEvent := c.describe(f)
		if !isEvent {
			return strings.Join(append(events, s), " ")
		}
		events = append(events, s)
	}
}

// event reads one frame, which may be anything.
func (c *conn) event() string {
	f, failure := c.readFrame()
	if failure != "" {
		return failure
	}
	s, _ := c.describe(f)
	return s
}

// drain describes all that arrived before the answer to a ping.
func (c *conn) drain() string { return c.do(proto.OpPing, nil) }

// pipeline sends the requests in one write and records each reply, in the order of arrival,
// under the name and a number.
func (c *conn) pipeline(name string, qs ...request) {
	var out []byte
	for i := range qs {
		if qs[i].xid == 0 {
			qs[i] = c.next(qs[i].op, qs[i].body)
		}
		out = c.append(out, qs[i])
	}
	c.write(out)
	for i := range qs {
		c.r.put(fmt.Sprintf("%s.%d", name, i+1), "%s", c.reply())
		if c.closed != "" {
			return
		}
	}
}

// close ends the session in order.
func (c *conn) close() string {
	s := c.do(proto.OpCloseSession, nil)
	c.nc.Close()
	c.closed = "closed"
	return s
}

// drop ends the connection and leaves the session to expire.
func (c *conn) drop() { c.nc.Close(); c.closed = "closed" }

// delta prints a reply's zxid against the last one that the tour saw.
func (r *raw) delta(zxid int64) string {
	if zxid <= 0 {
		return fmt.Sprint(zxid)
	}
	d := zxid - r.zxid
	r.zxid = zxid
	return fmt.Sprintf("%+d", d)
}

// rel prints a zxid of a record against the zxid of the reply that carries it. What is far
// back is only "old": a request in between that consumes a zxid with one server and none
// with another is reported where it happens, not in every stat after it.
func rel(zxid, at int64) string {
	switch {
	case zxid <= 0:
		return fmt.Sprint(zxid)
	case at-zxid > 12:
		return "old"
	}
	return fmt.Sprintf("@%+d", zxid-at)
}

var eventNames = map[int32]string{1: "Created", 2: "Deleted", 3: "DataChanged", 4: "ChildrenChanged"}

// describe renders one frame.
func (c *conn) describe(f []byte) (s string, isEvent bool) {
	d := jute.NewDecoder(f, 0)
	xid, zxid, code := d.Int32(), d.Int64(), d.Int32()
	if d.Err() != nil {
		return "short frame " + hex.EncodeToString(f), false
	}
	if xid == proto.XidNotification && !c.isPending(xid) {
		typ, state, path := d.Int32(), d.Int32(), d.Buffer()
		if d.Err() != nil || len(d.Rest()) > 0 || code != 0 || state != 3 {
			return "odd event " + hex.EncodeToString(f), true
		}
		z := "-1"
		if zxid != -1 {
			z = fmt.Sprintf("@%+d", zxid-c.r.zxid)
		}
		return fmt.Sprintf("%s(%s zxid=%s)", eventNames[typ], path, z), true
	}
	var q request
	for i, p := range c.pending {
		if p.xid == xid {
			q = p
			c.pending = append(c.pending[:i:i], c.pending[i+1:]...)
			break
		}
	}
	who := ""
	if q.xid != xid || q.xid <= 0 {
		who = fmt.Sprintf("xid=%d ", xid)
	}
	head := fmt.Sprintf("%serr=%d zxid=%s", who, code, c.r.delta(zxid))
	rest := d.Rest()
	if len(rest) == 0 {
		return head, false
	}
	text, left := c.decodeBody(q, rest, zxid)
	if len(left) > 0 {
		text += fmt.Sprintf(" +%d bytes %x", len(left), left[:min(len(left), 64)])
	}
	return head + " " + text, false
}

// isPending reports whether a request with the xid has no reply yet: a reply to a request
// with xid -1 is no notification.
func (c *conn) isPending(xid int32) bool {
	for _, p := range c.pending {
		if p.xid == xid {
			return true
		}
	}
	return false
}

// decodeBody renders a reply body by the operation that was asked for; left is what remains.
func (c *conn) decodeBody(q request, b []byte, at int64) (text string, left []byte) {
	d := jute.NewDecoder(b, 0)
	switch q.op {
	case proto.OpCreate, proto.OpSync:
		text = "path=" + quote(d.Buffer())
	case proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		text = "path=" + quote(d.Buffer()) + " " + c.stat(&d, at)
	case proto.OpExists, proto.OpSetData, proto.OpSetACL:
		text = c.stat(&d, at)
	case proto.OpGetData, proto.OpReconfig:
		text = "data=" + quote(d.Buffer()) + " " + c.stat(&d, at)
	case proto.OpGetACL:
		text = aclText(&d) + " " + c.stat(&d, at)
	case proto.OpGetChildren:
		text = names(&d)
	case proto.OpGetChildren2:
		text = names(&d) + " " + c.stat(&d, at)
	case proto.OpGetEphemerals:
		text = names(&d)
	case proto.OpGetAllChildrenNum:
		text = fmt.Sprintf("total=%d", d.Int32())
	case proto.OpAddWatch:
		text = fmt.Sprintf("result=%d", d.Int32())
	case proto.OpWhoAmI:
		n := d.VectorLen()
		var ids []string
		for i := 0; i < n && d.Err() == nil; i++ {
			ids = append(ids, string(d.Buffer())+":"+string(d.Buffer()))
		}
		sort.Strings(ids)
		text = "ids=" + strings.Join(ids, ",")
	case proto.OpSasl:
		text = "token=" + quote(d.Buffer())
	case proto.OpMulti, proto.OpMultiRead:
		text = c.multiText(&d, at)
	default:
		return "body", b
	}
	if d.Err() != nil {
		return "undecodable", b
	}
	return text, d.Rest()
}

// multiText renders the results of a multi or multiRead.
func (c *conn) multiText(d *jute.Decoder, at int64) string {
	var out []string
	for d.Err() == nil {
		typ, done, code := d.Int32(), d.Bool(), d.Int32()
		if done {
			out = append(out, fmt.Sprintf("done(%d,%d)", typ, code))
			break
		}
		s := fmt.Sprintf("%d:%d", typ, code)
		switch typ {
		case 1:
			s += " path=" + quote(d.Buffer())
		case 15:
			s += " path=" + quote(d.Buffer()) + " " + c.stat(d, at)
		case 5:
			s += " " + c.stat(d, at)
		case 4:
			s += " data=" + quote(d.Buffer()) + " " + c.stat(d, at)
		case 8:
			s += " " + names(d)
		case -1:
			s += fmt.Sprintf(" err=%d", d.Int32())
		}
		out = append(out, "["+s+"]")
	}
	return strings.Join(out, "")
}

func (c *conn) stat(d *jute.Decoder, at int64) string {
	var st proto.Stat
	st.Decode(d)
	owner := fmt.Sprintf("%#x", uint64(st.EphemeralOwner))
	if st.EphemeralOwner == 0 {
		owner = "0"
	} else if st.EphemeralOwner>>56 != -1 {
		owner = c.r.sid(st.EphemeralOwner)
	}
	order := ""
	if st.Mtime < st.Ctime {
		order = " MTIME<CTIME"
	}
	return fmt.Sprintf("stat{c%s m%s p%s t=%s,%s v=%d cv=%d av=%d own=%s dl=%d nc=%d%s}",
		rel(st.Czxid, at), rel(st.Mzxid, at), rel(st.Pzxid, at), when(st.Ctime), when(st.Mtime),
		st.Version, st.Cversion, st.Aversion, owner, st.DataLength, st.NumChildren, order)
}

// when tells a time of this run from 0 and from nonsense.
func when(ms int64) string {
	if d := time.Since(time.UnixMilli(ms)); d > -time.Hour && d < time.Hour {
		return "now"
	}
	return fmt.Sprint(ms)
}

func names(d *jute.Decoder) string {
	n := d.VectorLen()
	if n < 0 {
		return "names=null"
	}
	var ns []string
	for i := 0; i < n && d.Err() == nil; i++ {
		ns = append(ns, string(d.Buffer()))
	}
	sort.Strings(ns)
	return "names=" + strings.Join(ns, ",")
}

func aclText(d *jute.Decoder) string {
	n := d.VectorLen()
	var out []string
	for i := 0; i < n && d.Err() == nil; i++ {
		out = append(out, fmt.Sprintf("%d:%s:%s", d.Int32(), quote(d.Buffer()), quote(d.Buffer())))
	}
	return fmt.Sprintf("acl=%d[%s]", n, strings.Join(out, ","))
}

// quote shows bytes, telling null from empty.
func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 80 {
		return fmt.Sprintf("%q...(%d)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}
