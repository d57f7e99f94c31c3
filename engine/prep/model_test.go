package prep

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A model is a tree of maps that applies transactions in the plainest way (storage formats,
// section 4) and counts its digest anew whenever it is asked. It is a Tree to prepare against
// and the measure for the real one.
type model struct {
	opts     engine.Options
	nodes    map[string]*modelNode
	refs     []*modelNode // refs[NodeRef]; deleted ones stay
	sessions map[proto.SessionID]int32
	lastZxid proto.Zxid
	entered  int // counts creations, so that sets have an order
}

type modelNode struct {
	path     string
	data     []byte
	acl      proto.RawACLs // nil: the built-in open list
	st       proto.StatPersisted
	children map[string]bool
	ref      engine.NodeRef
	entered  int
}

func newModel(opts engine.Options) *model {
	m := &model{opts: opts, nodes: map[string]*modelNode{}, refs: []*modelNode{nil}, sessions: map[proto.SessionID]int32{}}
	for _, path := range []string{"", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		m.put(path, []byte{}, nil)
	}
	config := m.nodes["/zookeeper/config"]
	config.acl = proto.AppendACLs(nil, []proto.ACL{{Perms: proto.PermRead, Scheme: "world", ID: "anyone"}})
	config.st.Aversion = -1
	return m
}

func (m *model) put(path string, data []byte, acl proto.RawACLs) *modelNode {
	m.entered++
	n := &modelNode{path: path, data: slices.Clone(data), acl: slices.Clone(acl), children: map[string]bool{}, ref: engine.NodeRef(len(m.refs)), entered: m.entered}
	m.refs = append(m.refs, n)
	m.nodes[path] = n
	if path != "" {
		m.nodes[path[:strings.LastIndexByte(path, '/')]].children[path] = true
	}
	return n
}

func (m *model) Options() engine.Options { return m.opts }

func (m *model) Lookup(path []byte) engine.NodeRef {
	p := string(path)
	if p == "/" {
		p = ""
	}
	if n := m.nodes[p]; n != nil {
		return n.ref
	}
	return 0
}

func (m *model) Node(ref engine.NodeRef, out *engine.Node) {
	n := m.refs[ref]
	*out = engine.Node{StatPersisted: n.st, NumChildren: int32(len(n.children)), DataLength: int32(len(n.data)), ACLID: uint32(ref),
		PathDataCRC: crc32.ChecksumIEEE(append([]byte(n.path), n.data...))}
}

func (m *model) ACLByID(id uint32) proto.RawACLs {
	if acl := m.refs[id].acl; acl != nil {
		return acl
	}
	return proto.AppendACLs(nil, proto.WorldAnyone)
}

func (m *model) AppendPath(dst []byte, ref engine.NodeRef) []byte {
	return append(dst, m.refs[ref].path...)
}

func (m *model) EachEphemeral(id proto.SessionID, f func(engine.NodeRef) bool) {
	for _, n := range m.ephemerals(id) {
		if !f(n.ref) {
			return
		}
	}
}

func (m *model) ephemerals(id proto.SessionID) (out []*modelNode) {
	for _, n := range m.nodes {
		if n.st.EphemeralOwner == id && m.opts.IsSessionOwner(id) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *modelNode) int { return a.entered - b.entered })
	return out
}

func (m *model) Data(ref engine.NodeRef) []byte { return m.refs[ref].data }

func (m *model) Quota(path []byte) (engine.Quota, bool) {
	for p := string(path); p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if limits := m.nodes["/zookeeper/quota"+p+"/zookeeper_limits"]; limits != nil {
			return engine.Quota{PathLen: len(p), Limits: limits.ref, Stats: m.Lookup([]byte("/zookeeper/quota" + p + "/zookeeper_stats"))}, true
		}
	}
	return engine.Quota{}, false
}

func (m *model) LastZxid() proto.Zxid { return m.lastZxid }

func (m *model) Digest() (sum uint64) {
	be := binary.BigEndian
	for path, n := range m.nodes {
		if strings.HasPrefix(path, "/zookeeper/") {
			continue
		}
		b := append([]byte(path), n.data...)
		for _, v := range []int64{n.st.Czxid, n.st.Mzxid, n.st.Pzxid, n.st.Ctime, n.st.Mtime} {
			b = be.AppendUint64(b, uint64(v))
		}
		for _, v := range []int32{n.st.Version, n.st.Cversion, n.st.Aversion} {
			b = be.AppendUint32(b, uint32(v))
		}
		b = be.AppendUint64(b, uint64(n.st.EphemeralOwner))
		sum += uint64(crc32.ChecksumIEEE(b))
	}
	return sum
}

// apply applies a transaction and returns its digest, if it has one.
func (m *model) apply(t testing.TB, txn []byte) (digest uint64, hasDigest bool) {
	t.Helper()
	d := jute.NewDecoder(txn, 0)
	var h proto.TxnHeader
	h.Decode(&d)
	switch h.Type {
	case proto.OpMulti:
		type sub struct {
			typ  proto.OpCode
			body proto.TxnBody
		}
		var subs []sub
		failed := false
		for n := d.Int32(); n > 0; n-- {
			s := sub{typ: proto.OpCode(d.Int32())}
			sd := jute.NewDecoder(d.Buffer(), 0)
			if err := s.body.Decode(&sd, s.typ); err != nil || len(sd.Rest()) > 0 {
				t.Fatalf("operation of a multi: %v, %d bytes left", err, len(sd.Rest()))
			}
			subs = append(subs, s)
			failed = failed || s.typ == proto.OpError
		}
		for _, s := range subs {
			if !failed {
				m.applyOne(&h, s.typ, &s.body)
			}
		}
	case proto.OpCloseSession:
		if len(d.Rest()) > 0 {
			for n := d.VectorLen(); n > 0; n-- {
				m.remove(string(d.Buffer()), h.Zxid)
			}
		}
		for _, n := range m.ephemerals(h.SessionID) {
			m.remove(n.path, h.Zxid)
		}
		delete(m.sessions, h.SessionID)
	default:
		var b proto.TxnBody
		if err := b.Decode(&d, h.Type); err != nil {
			t.Fatalf("transaction does not decode: %v", err)
		}
		m.applyOne(&h, h.Type, &b)
	}
	if d.Err() != nil {
		t.Fatalf("transaction does not decode: %v", d.Err())
	}
	m.lastZxid = h.Zxid
	digest, hasDigest = proto.DecodeTxnDigest(&d)
	if len(d.Rest()) > 0 {
		t.Fatalf("%d bytes behind the transaction", len(d.Rest()))
	}
	return digest, hasDigest
}

func (m *model) applyOne(h *proto.TxnHeader, typ proto.OpCode, b *proto.TxnBody) {
	path := string(b.Path)
	if path == "/" {
		path = ""
	}
	switch typ {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		parent := m.nodes[path[:strings.LastIndexByte(path, '/')]]
		if parent == nil || m.nodes[path] != nil {
			panic(fmt.Sprintf("prepared create of %s cannot be applied", path))
		}
		n := m.put(path, b.Data, b.ACL)
		n.st = proto.StatPersisted{Czxid: h.Zxid, Mzxid: h.Zxid, Pzxid: h.Zxid, Ctime: h.TimeMs, Mtime: h.TimeMs}
		switch {
		case typ == proto.OpCreateContainer:
			n.st.EphemeralOwner = proto.OwnerContainer
		case typ == proto.OpCreateTTL:
			n.st.EphemeralOwner = proto.OwnerTTLMask | b.TTLms
		case b.Ephemeral:
			n.st.EphemeralOwner = h.SessionID
		}
		if b.ParentCversion > parent.st.Cversion {
			parent.st.Cversion, parent.st.Pzxid = b.ParentCversion, h.Zxid
		}
	case proto.OpDelete, proto.OpDeleteContainer:
		m.remove(path, h.Zxid)
	case proto.OpSetData, proto.OpReconfig:
		n := m.nodes[path]
		n.data = slices.Clone(b.Data)
		n.st.Version, n.st.Mzxid, n.st.Mtime = b.Version, h.Zxid, h.TimeMs
	case proto.OpSetACL:
		n := m.nodes[path]
		n.acl, n.st.Aversion = slices.Clone(b.ACL), b.Version
	case proto.OpCreateSession:
		m.sessions[h.SessionID] = b.TimeoutMs
	case proto.OpCheck, proto.OpError:
	default:
		panic(fmt.Sprintf("prepared a transaction of type %d", typ))
	}
}

func (m *model) remove(path string, zxid proto.Zxid) {
	parent := m.nodes[path[:strings.LastIndexByte(path, '/')]]
	if m.nodes[path] != nil {
		delete(m.nodes, path)
		delete(parent.children, path)
	}
	parent.st.Pzxid = max(parent.st.Pzxid, zxid)
}
