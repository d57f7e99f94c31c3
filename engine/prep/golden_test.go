package prep

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// The files below testdata are recordings of Java servers (3.8.0). follower-a, follower-b,
// upgrade and reconfig are connections of followers with their leader, NAME.c2s what the
// follower said; session is a client of a standalone server; standalone.log is a log file
// without its padding, and standaloneRequests what its client asked for. random.requests.gz
// are 4000 requests of random programs, some cut short, quotas among them, as sent to a
// standalone server with extendedTypesEnabled and enforceQuota; random.log.gz is its log.

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// anySession is a tracker for recordings: sessions are good until they are closing.
type anySession struct{ closing map[proto.SessionID]bool }

func (s anySession) Check(id proto.SessionID, _ any) proto.ErrCode {
	if s.closing[id] {
		return proto.ErrSessionExpired
	}
	return proto.OK
}
func (s anySession) CheckGlobal(id proto.SessionID, owner any) proto.ErrCode {
	return s.Check(id, owner)
}
func (s anySession) Track(id proto.SessionID, _ int32, owner any) proto.ErrCode {
	return s.Check(id, owner)
}
func (s anySession) SetClosing(id proto.SessionID) { s.closing[id] = true }

// A replay prepares recorded requests against an engine and compares with recorded transactions.
type replay struct {
	t    *testing.T
	tree *engine.Engine
	p    *Preparer
}

func newReplay(t *testing.T, a auth.Options, o Options, start proto.Zxid) *replay {
	t.Helper()
	tree, err := engine.New(engine.Options{Digest: true, ExtendedTypes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	tree.SetLastZxid(start)
	a.DigestEnabled = true
	r, err := auth.NewRegistry(a)
	if err != nil {
		t.Fatal(err)
	}
	o.CloseSessionTxn = true
	return &replay{t, tree, New(tree, r, anySession{map[proto.SessionID]bool{}}, o)}
}

// prepare gives the transaction that a request makes, and applies it.
func (r *replay) prepare(req *Request, timeMs int64) ([]byte, *engine.Result) {
	r.t.Helper()
	packet, _, _ := r.p.Prepare(nil, req, timeMs)
	txn, err := proto.ProposalTxn(packet)
	if err != nil {
		r.t.Fatal(err)
	}
	return txn, r.apply(txn)
}

func (r *replay) apply(txn []byte) *engine.Result {
	r.t.Helper()
	result, err := r.tree.Apply(txn, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if result.DigestMismatch {
		r.t.Errorf("zxid %#x: digest %x, the engine has %x", result.Header.Zxid, result.TxnDigest, r.tree.Digest())
	}
	r.p.Applied(result.Header.Zxid)
	return result
}

// A packet is a QuorumPacket (quorum protocol, section 4.1).
type packet struct {
	typ  int32
	zxid proto.Zxid
	data []byte
	ids  []proto.Identity
}

func packets(t *testing.T, b []byte) (out []packet) {
	t.Helper()
	d := jute.NewDecoder(b, 0)
	for len(d.Rest()) > 0 {
		p := packet{typ: d.Int32(), zxid: d.Int64(), data: d.Buffer()}
		for n := d.VectorLen(); n > 0; n-- {
			p.ids = append(p.ids, proto.Identity{Scheme: string(d.Buffer()), ID: string(d.Buffer())})
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		out = append(out, p)
	}
	return out
}

// requests adds the writes that a follower has forwarded (quorum protocol, section 5.3). A
// session that has moved to another follower may have used its xids again.
func requests(t *testing.T, name string, out map[string][]*Request) {
	t.Helper()
	for _, p := range packets(t, readGolden(t, name)) {
		if p.typ != 1 {
			continue
		}
		d := jute.NewDecoder(p.data, 0)
		r := &Request{Session: d.Int64(), Xid: d.Int32(), Op: proto.OpCode(d.Int32()), Identities: p.ids}
		if r.Op == proto.OpSync {
			continue
		}
		if r.Body = d.Rest(); r.Op == proto.OpCreateSession {
			r.TimeoutMs, r.Body = d.Int32(), nil
		}
		k := key(r.Session, r.Xid, r.Op == proto.OpCreateSession)
		out[k] = append(out[k], r)
	}
}

func key(session proto.SessionID, xid int32, create bool) string {
	return fmt.Sprint(session, xid, create)
}

// recordedReconfig gives the configuration, or the code, that the next recorded transaction has.
type recordedReconfig struct{ next txnView }

func (r *recordedReconfig) Reconfig(*proto.ReconfigRequest, proto.Zxid) ([]byte, proto.ErrCode) {
	return r.next.Data, r.next.Err
}

// TestGoldenQuorum prepares what followers forwarded and compares with what their Java leader
// proposed, digests included. Transactions that others asked for are applied as they are.
func TestGoldenQuorum(t *testing.T) {
	for _, c := range []struct {
		proposals string
		requests  []string
		prepared  int // at least
	}{
		{"follower-b.s2c", []string{"follower-a.c2s", "follower-b.c2s"}, 20},
		{"upgrade.s2c", []string{"upgrade.c2s"}, 4},
		{"reconfig.s2c", []string{"reconfig.c2s"}, 9},
	} {
		t.Run(c.proposals, func(t *testing.T) {
			config := &recordedReconfig{}
			r := newReplay(t, auth.Options{SkipACL: c.proposals == "reconfig.s2c"},
				Options{LogCreate2InMultiAsCreate: true, ReconfigEnabled: true, Reconfigurer: config}, 1<<32)
			asked := map[string][]*Request{}
			for _, name := range c.requests {
				requests(t, name, asked)
			}
			prepared := 0
			for _, p := range packets(t, readGolden(t, c.proposals)) {
				if p.typ != int32(proto.PacketProposal) {
					continue
				}
				want := decodeTxn(t, p.data)
				k := key(want.SessionID, want.Cxid, want.Type == proto.OpCreateSession)
				var req *Request
				switch {
				case len(asked[k]) > 0:
					req, asked[k] = asked[k][0], asked[k][1:]
				case want.Type == proto.OpCloseSession: // it has expired
					req = &Request{Session: want.SessionID, Xid: want.Cxid, Op: proto.OpCloseSession}
				default:
					r.apply(p.data)
					r.p.Reset(p.zxid)
					continue
				}
				prepared++
				config.next = want
				got, _ := r.prepare(req, want.TimeMs)
				if !bytes.Equal(got, p.data) {
					t.Fatalf("zxid %#x:\ngot  %x\n     %+v\nwant %x\n     %+v", p.zxid, got, decodeTxn(t, got), p.data, want)
				}
			}
			if prepared < c.prepared {
				t.Errorf("only %d transactions prepared", prepared)
			}
		})
	}
}

// logRecords are the transactions of a log file (storage formats, section 2.1).
func logRecords(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	for b = b[16:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint32(b[8:]))
		out = append(out, b[12:12+n])
		if b[12+n] != 'B' {
			t.Fatal("record without end")
		}
		b = b[13+n:]
	}
	return out
}

// standaloneRequests are what the clients of standalone.log asked for, in order.
func standaloneRequests() (out []Request) {
	const bob = "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="
	add := func(op proto.OpCode, body []byte) { out = append(out, Request{Op: op, Body: body}) }
	create := func(op proto.OpCode, path string, data []byte, a proto.RawACLs, flags int32, ttlMs int64) []byte {
		r := proto.CreateRequest{Path: []byte(path), Data: data, ACL: a, Flags: flags, TTLms: ttlMs}
		return r.Append(nil, op)
	}
	plain := func(path string, data []byte, flags int32) {
		add(proto.OpCreate, create(proto.OpCreate, path, data, open, flags, 0))
	}
	add(proto.OpCreateSession, nil)
	plain("/a", []byte("alpha"), 0)
	plain("/a/b", []byte{0, 1, 0xff}, 0)
	plain("/a/null", nil, 0)
	plain("/a/empty", []byte{}, 0)
	plain("/a/unicode-é中", []byte("name"), 0)
	add(proto.OpSetData, setBody("/a", "alpha2", -1))
	add(proto.OpSetData, setBody("/a", "alpha3", 1))
	add(proto.OpSetData, setBody("/a", "bad", 0))
	for i := range 3 {
		plain("/a/s-", fmt.Append(nil, i), 2)
	}
	add(proto.OpDelete, targetBody("/a/s-0000000005", -1))
	add(proto.OpDelete, targetBody("/a/b", -1))
	plain("/a/e1", []byte("eph"), 1)
	plain("/a/e2-", []byte("ephseq"), 3)
	add(proto.OpCreateContainer, create(proto.OpCreate, "/cont", []byte("c"), open, 4, 0))
	plain("/cont/child", []byte{}, 0)
	add(proto.OpCreateTTL, create(proto.OpCreateTTL, "/ttl", []byte("t"), open, 5, 86400000))
	add(proto.OpCreateTTL, create(proto.OpCreateTTL, "/ttlseq-", []byte("t"), open, 6, 3600000))
	add(proto.OpCreate, create(proto.OpCreate, "/acl1", []byte("1"), acl(31, "auth:"), 0, 0))
	acl2 := proto.AppendACLs(nil, []proto.ACL{{Perms: 1, Scheme: "world", ID: "anyone"}, {Perms: 14, Scheme: "digest", ID: bob}})
	add(proto.OpCreate, create(proto.OpCreate, "/acl2", []byte("2"), acl2, 0, 0))
	add(proto.OpCreate, create(proto.OpCreate, "/acl3", []byte("3"), acl(31, "ip:127.0.0.1"), 0, 0))
	add(proto.OpSetACL, setACLBody("/acl2", acl(31, "digest:"+bob), -1))
	add(proto.OpSetACL, setACLBody("/a/null", acl(1, "world:anyone"), -1))
	add(proto.OpMulti, multiBody(
		proto.OpCreate, create(proto.OpCreate, "/m", []byte{}, open, 0, 0),
		proto.OpCreate, create(proto.OpCreate, "/m/1", []byte("1"), open, 0, 0),
		proto.OpCreate, create(proto.OpCreate, "/m/2", []byte("2"), open, 0, 0),
		proto.OpSetData, setBody("/m", "set", -1),
		proto.OpDelete, targetBody("/m/1", -1),
		proto.OpCheck, targetBody("/m", 1),
		proto.OpCreateTTL, create(proto.OpCreateTTL, "/m/ttl", []byte{}, open, 5, 5000000),
		proto.OpCreateContainer, create(proto.OpCreate, "/m/cont", []byte{}, open, 4, 0)))
	add(proto.OpMulti, multiBody(
		proto.OpCreate, create(proto.OpCreate, "/fail1", []byte{}, open, 0, 0),
		proto.OpCheck, targetBody("/m", 99),
		proto.OpDelete, targetBody("/m", -1)))
	plain("/zookeeper/quota/a", []byte{}, 0)
	plain("/zookeeper/quota/a/zookeeper_limits", []byte("count=100,bytes=-1"), 0)
	plain("/zookeeper/quota/a/zookeeper_stats", []byte("count=0,bytes=0"), 0)
	plain("/a/quotaed", []byte("12345"), 0)
	add(proto.OpCreateSession, nil)
	plain("/a/k2", []byte{}, 1)
	add(proto.OpCloseSession, nil)
	add(proto.OpCreateSession, nil)
	return out
}

// TestGoldenLog prepares the requests behind a log that a Java server wrote, and compares each
// transaction with it. Session, xid, time and timeout are those of the log.
func TestGoldenLog(t *testing.T) {
	r := newReplay(t, auth.Options{SkipACL: true}, Options{}, 0)
	reqs, log := standaloneRequests(), logRecords(t, readGolden(t, "standalone.log"))
	if len(reqs) != len(log) {
		t.Fatalf("%d requests for %d transactions", len(reqs), len(log))
	}
	for i, want := range log {
		v := decodeTxn(t, want)
		req := reqs[i]
		req.Session, req.Xid, req.TimeoutMs = v.SessionID, v.Cxid, v.TimeoutMs
		req.Identities = []proto.Identity{{Scheme: "ip", ID: "127.0.0.1"}, {Scheme: "digest", ID: "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="}}
		if got, _ := r.prepare(&req, v.TimeMs); !bytes.Equal(got, want) {
			t.Fatalf("zxid %#x:\ngot  %x\n     %+v\nwant %x\n     %+v", v.Zxid, got, decodeTxn(t, got), want, v)
		}
	}
}

// frames splits a recording of a client connection.
func frames(b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		out = append(out, b[4:4+n])
		b = b[4+n:]
	}
	return out
}

// replyBody is what a client is answered to a write (client protocol, sections 3.4 and 6).
func replyBody(r *engine.Result, asked proto.OpCode, body []byte) (out []byte) {
	one := func(op proto.OpCode, o *engine.OpResult) {
		switch op {
		case proto.OpCreate:
			out = jute.AppendBuffer(out, o.Path)
		case proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
			out = jute.AppendBuffer(out, o.Path)
			out = o.Stat.Append(out)
		case proto.OpSetData, proto.OpSetACL:
			out = o.Stat.Append(out)
		}
	}
	if asked != proto.OpMulti {
		if r.Err == proto.OK {
			one(asked, &r.OpResult)
		}
		return out
	}
	m := NewMultiReader(body, 0)
	for i := range r.Multi {
		o := &r.Multi[i]
		m.Next()
		if o.Type == proto.OpError {
			out = proto.MultiHeader{Type: proto.OpError, Err: o.Err}.Append(out)
			out = jute.AppendInt32(out, int32(o.Err))
			continue
		}
		typ := m.Op
		if typ == proto.OpCreateContainer || typ == proto.OpCreateTTL {
			typ = proto.OpCreate2
		}
		out = proto.MultiHeader{Type: typ}.Append(out)
		one(typ, o)
	}
	return proto.MultiDone.Append(out)
}

// TestGoldenSession prepares and applies the writes of a client session and compares with the
// replies that the Java server gave: codes, zxids, paths, stats.
func TestGoldenSession(t *testing.T) {
	requests, replies := frames(readGolden(t, "session.c2s")), frames(readGolden(t, "session.s2c"))
	d := jute.NewDecoder(replies[0], 0)
	d.Int32()
	timeoutMs, session := d.Int32(), d.Int64()
	answered := map[int32][]byte{}
	for _, f := range replies[1:] {
		if xid := jute.Int32(f); xid > 0 {
			answered[xid] = f
		}
	}
	r := newReplay(t, auth.Options{}, Options{}, 0)
	a, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	times := statTimes(answered, requests[1:])
	r.prepare(&Request{Session: session, Op: proto.OpCreateSession, TimeoutMs: timeoutMs}, 0)
	ids := []proto.Identity{{Scheme: "ip", ID: "127.0.0.1"}}
	writes := 0
	for _, f := range requests[1:] {
		d := jute.NewDecoder(f, 0)
		req := Request{Session: session, Xid: d.Int32(), Op: proto.OpCode(d.Int32()), Body: d.Rest(), Identities: ids}
		switch req.Op {
		case proto.OpAuth:
			var p proto.AuthPacket
			p.Decode(&d)
			more, code := a.Authenticate(string(p.Scheme), p.Auth, auth.Peer{})
			if code != proto.OK {
				t.Fatal(code)
			}
			ids = auth.Merge(ids, more)
		case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpDelete, proto.OpSetData, proto.OpSetACL, proto.OpMulti, proto.OpCloseSession:
			_, result := r.prepare(&req, times[r.p.LastZxid()+1])
			code := result.Err
			if result.Header.Type == proto.OpMulti {
				code = proto.OK
			}
			got := proto.AppendReplyHeader(nil, req.Xid, result.Header.Zxid, code)
			got = append(got, replyBody(result, req.Op, req.Body)...)
			if want := answered[req.Xid]; !bytes.Equal(got, want) {
				t.Errorf("xid %d, %v:\ngot  %x\nwant %x", req.Xid, req.Op, got, want)
			}
			writes++
		}
	}
	if writes != 22 {
		t.Errorf("%d writes", writes)
	}
}

// statTimes finds the times of transactions in the stats of replies.
func statTimes(answered map[int32][]byte, requests [][]byte) map[proto.Zxid]int64 {
	times := map[proto.Zxid]int64{}
	for _, f := range requests {
		reply := answered[jute.Int32(f)]
		d := jute.NewDecoder(reply, 0)
		d.Bytes(proto.ReplyHeaderBytes)
		switch proto.OpCode(jute.Int32(f[4:])) {
		case proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpGetData:
			d.Buffer()
		case proto.OpGetACL:
			proto.SkipACLs(&d)
		case proto.OpExists, proto.OpSetData, proto.OpSetACL:
		case proto.OpMulti:
			if i := bytes.Index(reply, []byte{0, 0, 0, 5, 0, 0, 0, 0, 0}); i > 0 { // the result of a setData
				d.Bytes(i + proto.MultiHeaderBytes - proto.ReplyHeaderBytes)
				break
			}
			continue
		default:
			continue
		}
		var st proto.Stat
		if st.Decode(&d); d.Err() == nil {
			times[st.Czxid], times[st.Mzxid] = st.Ctime, st.Mtime
		}
	}
	return times
}

// TestGoldenRandom prepares random requests that were sent to a Java server, one after
// another on four connections with different identities, and compares with its log.
func TestGoldenRandom(t *testing.T) {
	r := newReplay(t, auth.Options{SuperDigest: "super:lK75jTNcA+U9vtVEw5vB51mj/w4="}, Options{LogCreate2InMultiAsCreate: true, EnforceQuota: true}, 0)
	d := jute.NewDecoder(unzip(t, "random.requests.gz"), 0)
	for i, want := range logRecords(t, unzip(t, "random.log.gz")) {
		v := decodeTxn(t, want)
		req := Request{Session: d.Int64(), Xid: d.Int32(), Op: proto.OpCode(d.Int32()), TimeoutMs: v.TimeoutMs}
		for n := d.Int32(); n > 0; n-- {
			req.Identities = append(req.Identities, proto.Identity{Scheme: string(d.Buffer()), ID: string(d.Buffer())})
		}
		req.Body = d.Buffer()
		if d.Err() != nil {
			t.Fatalf("no request for transaction %d: %v", i, d.Err())
		}
		got, _ := r.prepare(&req, v.TimeMs)
		if bytes.Equal(got, want) {
			continue
		}
		if n := len(want) - proto.TxnDigestBytes; javaMistakesOwner(&req) && bytes.Equal(got[:n], want[:n]) {
			continue
		}
		g := decodeTxn(t, got)
		if v.Type == proto.OpCloseSession {
			// Java lists the ephemerals in the order of its hash table.
			slices.Sort(v.closing)
			slices.Sort(g.closing)
			if slices.Equal(g.closing, v.closing) && g.TxnHeader == v.TxnHeader && g.digest == v.digest {
				continue
			}
		}
		t.Fatalf("zxid %#x, %v %q:\ngot  %x\n     %+v\nwant %x\n     %+v", v.Zxid, req.Op, req.Body, got, g, want, v)
	}
	if len(d.Rest()) > 0 {
		t.Errorf("%d bytes of requests left", len(d.Rest()))
	}
}

// javaMistakesOwner tells of creates whose digest Java gets wrong: it takes the kind of the
// node from the flags, where the transaction goes by the operation (client protocol, section 14).
func javaMistakesOwner(r *Request) bool {
	if r.Op != proto.OpCreate && r.Op != proto.OpCreate2 && r.Op != proto.OpCreateContainer {
		return false
	}
	var c proto.CreateRequest
	d := jute.NewDecoder(r.Body, 0)
	c.Decode(&d, r.Op)
	return (r.Op == proto.OpCreateContainer) != (c.Flags == proto.FlagContainer)
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readGolden(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
