package engine

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// A model is the naive state machine: maps from paths, written from the specification, with
// no thought of speed. It takes transactions as structs, so it shares no decoding either.
type model struct {
	opts     Options
	nodes    map[string]*modelNode // by path, "" is the root
	sessions map[int64]int32
	quotas   map[string]bool // paths that have a limits node
	lastZxid int64
	serial   int // of the node created last
	events   []string
}

type modelNode struct {
	data   []byte
	acl    string // encoded; "" is the built-in open list
	stat   proto.StatPersisted
	serial int
}

// mtxn is a transaction; ops is for multi, paths for closeSession (hasPaths: it has a list).
type mtxn struct {
	header   proto.TxnHeader
	body     proto.TxnBody
	ops      []mop
	paths    []string
	hasPaths bool
}

type mop struct {
	typ  proto.OpCode
	body proto.TxnBody
}

type mresult struct {
	typ  proto.OpCode
	err  proto.ErrCode
	path string
	stat proto.Stat
}

func newModel(opts Options) *model {
	m := &model{opts: opts, nodes: map[string]*modelNode{}, sessions: map[int64]int32{}, quotas: map[string]bool{}}
	read := string(proto.AppendACLs(nil, []proto.ACL{{Perms: 1, Scheme: "world", ID: "anyone"}}))
	for _, path := range []string{"", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		m.serial++
		m.nodes[path] = &modelNode{data: []byte{}, serial: m.serial}
	}
	m.nodes["/zookeeper/config"].acl = read
	m.nodes["/zookeeper/config"].stat.Aversion = -1
	return m
}

func (m *model) clone() *model {
	c := *m
	c.nodes, c.sessions, c.quotas, c.events = map[string]*modelNode{}, maps.Clone(m.sessions), maps.Clone(m.quotas), nil
	for p, n := range m.nodes {
		copied := *n
		c.nodes[p] = &copied
	}
	return &c
}

func parentOf(path string) string { return path[:strings.LastIndexByte(path, '/')] }

func (m *model) children(path string) (names []string) {
	for p := range m.nodes {
		if p != "" && parentOf(p) == path {
			names = append(names, p[len(path)+1:])
		}
	}
	sort.Slice(names, func(i, j int) bool { return m.nodes[path+"/"+names[i]].serial < m.nodes[path+"/"+names[j]].serial })
	return names
}

func (m *model) isTTL(owner int64) bool {
	if !m.opts.ExtendedTypes {
		return false
	}
	return uint64(owner)>>56 == 0xFF || m.opts.Emulate353TTL && owner < 0 && uint64(owner) != 1<<63
}

func (m *model) isSession(owner int64) bool {
	return owner != 0 && uint64(owner) != 1<<63 && !m.isTTL(owner)
}

// owned returns the paths of a session's ephemerals in order of creation.
func (m *model) owned(id int64) (paths []string) {
	for p, n := range m.nodes {
		if n.stat.EphemeralOwner == id && m.isSession(id) {
			paths = append(paths, p)
		}
	}
	sort.Slice(paths, func(i, j int) bool { return m.nodes[paths[i]].serial < m.nodes[paths[j]].serial })
	return paths
}

func (m *model) stat(path string) proto.Stat {
	n := m.nodes[path]
	s := n.stat
	children := int32(len(m.children(path)))
	owner := s.EphemeralOwner
	if !m.isSession(owner) {
		owner = 0
	}
	return proto.Stat{Czxid: s.Czxid, Mzxid: s.Mzxid, Ctime: s.Ctime, Mtime: s.Mtime, Version: s.Version,
		Cversion: 2*s.Cversion - children, Aversion: s.Aversion, EphemeralOwner: owner,
		DataLength: int32(len(n.data)), NumChildren: children, Pzxid: s.Pzxid}
}

func (m *model) digest() (sum uint64) {
	if !m.opts.Digest {
		return 0
	}
	for path, n := range m.nodes {
		if !strings.HasPrefix(path, "/zookeeper/") {
			sum += slowDigest([]byte(path), n.data, n.stat)
		}
	}
	return sum
}

func (m *model) apply(t *mtxn) (r mresult, multi []mresult) {
	h := &t.header
	r.typ = h.Type
	switch h.Type {
	case proto.OpCreateSession:
		m.sessions[h.SessionID] = t.body.TimeoutMs
	case proto.OpCloseSession:
		for _, p := range t.paths {
			m.delete(p, h.Zxid)
		}
		for _, p := range m.owned(h.SessionID) {
			m.delete(p, h.Zxid)
		}
		delete(m.sessions, h.SessionID)
	case proto.OpError:
		r.err = t.body.Err
	case proto.OpMulti:
		failed := slices.ContainsFunc(t.ops, func(o mop) bool { return o.typ == proto.OpError })
		seen := false
		for i := range t.ops {
			var s mresult
			switch o := &t.ops[i]; {
			case !failed:
				s = m.applyOp(o.typ, &o.body, h)
			case o.typ == proto.OpError:
				s, seen = mresult{typ: -1, err: o.body.Err}, true
			case seen:
				s = mresult{typ: -1, err: -2}
			default:
				s = mresult{typ: -1}
			}
			if r.err == 0 {
				r.err = s.err
			}
			multi = append(multi, s)
		}
	default:
		r = m.applyOp(h.Type, &t.body, h)
	}
	m.lastZxid = max(m.lastZxid, h.Zxid)
	return r, multi
}

func (m *model) applyOp(typ proto.OpCode, b *proto.TxnBody, h *proto.TxnHeader) mresult {
	r := mresult{typ: typ, path: string(b.Path)}
	path := string(b.Path)
	if path == "/" {
		path = ""
	}
	switch typ {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		r.err = m.create(typ, path, b, h)
		if r.err == 0 {
			r.stat = m.stat(path)
			m.created(path, b.Data, h.Zxid)
		}
	case proto.OpDelete, proto.OpDeleteContainer:
		r.err = m.delete(path, h.Zxid)
	case proto.OpSetData, proto.OpReconfig:
		n := m.nodes[path]
		if n == nil {
			r.err = proto.ErrNoNode
			break
		}
		delta := int64(len(b.Data) - len(n.data))
		n.data = bytes.Clone(b.Data)
		n.stat.Version, n.stat.Mzxid, n.stat.Mtime = b.Version, h.Zxid, h.TimeMs
		r.stat = m.stat(path)
		m.charge(path, 0, delta)
		m.events = append(m.events, fmt.Sprintf("changed %s %x %#x", orRoot(path), m.rawACL(n), h.Zxid))
	case proto.OpSetACL:
		n := m.nodes[path]
		if n == nil {
			r.err = proto.ErrNoNode
			break
		}
		n.acl = internal(b.ACL)
		n.stat.Aversion = b.Version
		r.stat = m.stat(path)
	}
	return r
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// internal returns the list as the model keeps it: null is the built-in one.
func internal(acl proto.RawACLs) string {
	if acl.Len() == -1 {
		return ""
	}
	return string(acl)
}

func (m *model) rawACL(n *modelNode) string {
	if n.acl == "" {
		return string(proto.AppendACLs(nil, proto.WorldAnyone))
	}
	return n.acl
}

func (m *model) create(typ proto.OpCode, path string, b *proto.TxnBody, h *proto.TxnHeader) proto.ErrCode {
	if path == "" {
		return proto.ErrNodeExists
	}
	parent := m.nodes[parentOf(path)]
	if parent == nil {
		return proto.ErrNoNode
	}
	raise := func() {
		c := b.ParentCversion
		if c == -1 {
			c = parent.stat.Cversion + 1
		}
		if c > parent.stat.Cversion {
			parent.stat.Cversion, parent.stat.Pzxid = c, h.Zxid
		}
	}
	if n := m.nodes[path]; n != nil {
		n.acl = internal(b.ACL)
		if typ == proto.OpCreate {
			raise()
		}
		return proto.ErrNodeExists
	}
	raise()
	n := &modelNode{data: bytes.Clone(b.Data), acl: internal(b.ACL)}
	n.stat = proto.StatPersisted{Czxid: h.Zxid, Mzxid: h.Zxid, Pzxid: h.Zxid, Ctime: h.TimeMs, Mtime: h.TimeMs}
	switch {
	case typ == proto.OpCreateContainer:
		n.stat.EphemeralOwner = -1 << 63
	case typ == proto.OpCreateTTL:
		n.stat.EphemeralOwner = int64(0xFF<<56 | uint64(b.TTLms))
	case b.Ephemeral && (typ == proto.OpCreate || typ == proto.OpCreate2):
		n.stat.EphemeralOwner = h.SessionID
	}
	m.serial++
	n.serial = m.serial
	m.nodes[path] = n
	return proto.OK
}

// created does what follows a creation: quotas and events.
func (m *model) created(path string, data []byte, zxid int64) {
	if target, ok := strings.CutPrefix(parentOf(path), "/zookeeper/quota"); ok && (target == "" || target[0] == '/') {
		switch path[strings.LastIndexByte(path, '/')+1:] {
		case "zookeeper_limits":
			if target != "" {
				m.quotas[target] = true
			}
		case "zookeeper_stats":
			count, size := 0, 0
			for p, n := range m.nodes {
				if p == target || strings.HasPrefix(p, target+"/") {
					count++
					size += len(n.data)
				}
			}
			m.nodes[path].data = fmt.Appendf(nil, "count=%d,bytes=%d", count, size)
		}
	}
	m.charge(path, 1, int64(len(data)))
	n, parent := m.nodes[path], m.nodes[parentOf(path)]
	m.events = append(m.events, fmt.Sprintf("created %s %s %x %x %#x", path, orRoot(parentOf(path)), m.rawACL(n), m.rawACL(parent), zxid))
}

// charge books a change on the deepest quota at or above path.
func (m *model) charge(path string, count, size int64) {
	for p := path; p != ""; p = parentOf(p) {
		if !m.quotas[p] {
			continue
		}
		stats := m.nodes["/zookeeper/quota"+p+"/zookeeper_stats"]
		if stats == nil {
			return
		}
		values := map[string]int64{"count": -1, "bytes": -1}
		for _, pair := range strings.FieldsFunc(string(stats.data), func(r rune) bool { return r == ',' || r == ';' }) {
			kv := strings.Split(pair, "=")
			values[kv[0]] = -1
			if len(kv) > 1 {
				if v, err := strconv.ParseInt(kv[1], 10, 64); err == nil {
					values[kv[0]] = v
				}
			}
		}
		values["count"] += count
		values["bytes"] += size
		text := fmt.Sprintf("count=%d,bytes=%d", values["count"], values["bytes"])
		sep := "=;"
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if k != "count" && k != "bytes" {
				text += fmt.Sprintf("%s%s=%d", sep, k, values[k])
				sep = ";"
			}
		}
		stats.data = []byte(text)
		return
	}
}

func (m *model) delete(path string, zxid int64) proto.ErrCode {
	if path == "" || path == "/zookeeper" || path == "/zookeeper/quota" || path == "/zookeeper/config" {
		return proto.ErrBadArguments
	}
	parent := m.nodes[parentOf(path)]
	if parent == nil {
		return proto.ErrNoNode
	}
	parent.stat.Pzxid = max(parent.stat.Pzxid, zxid)
	if m.nodes[path] == nil {
		return proto.ErrNoNode
	}
	m.remove(path, zxid)
	return proto.OK
}

// remove deletes a node and what is below it, children first, younger siblings first.
func (m *model) remove(path string, zxid int64) {
	names := m.children(path)
	slices.Reverse(names)
	for _, name := range names {
		m.remove(path+"/"+name, zxid)
	}
	n, parent := m.nodes[path], m.nodes[parentOf(path)]
	delete(m.nodes, path)
	if target, ok := strings.CutPrefix(path, "/zookeeper/quota"); ok {
		if target, ok = strings.CutSuffix(target, "/zookeeper_limits"); ok {
			delete(m.quotas, target)
		}
	}
	m.charge(path, -1, -int64(len(n.data)))
	m.events = append(m.events, fmt.Sprintf("deleted %s %s %x %x %#x", path, orRoot(parentOf(path)), m.rawACL(n), m.rawACL(parent), zxid))
}

// recorder is a Sink that writes events down as the model does.
type recorder struct{ events []string }

func (r *recorder) Created(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	r.events = append(r.events, fmt.Sprintf("created %s %s %x %x %#x", path, parent, []byte(acl), []byte(parentACL), zxid))
}

func (r *recorder) Deleted(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) {
	r.events = append(r.events, fmt.Sprintf("deleted %s %s %x %x %#x", path, parent, []byte(acl), []byte(parentACL), zxid))
}

func (r *recorder) DataChanged(path []byte, acl proto.RawACLs, zxid proto.Zxid) {
	r.events = append(r.events, fmt.Sprintf("changed %s %x %#x", path, []byte(acl), zxid))
}

// compare checks that the engine is in the model's state.
func (m *model) compare(t testing.TB, e *Engine) {
	t.Helper()
	e.check(t)
	if e.NodeCount() != len(m.nodes) || e.LastZxid() != m.lastZxid || e.Digest() != m.digest() {
		t.Fatalf("%d nodes, zxid %#x, digest %#x, want %d, %#x, %#x", e.NodeCount(), e.LastZxid(), e.Digest(), len(m.nodes), m.lastZxid, m.digest())
	}
	var containers, ttls []string
	for path, n := range m.nodes {
		ref := e.Lookup([]byte(path))
		if ref == 0 {
			t.Fatalf("%q is missing", path)
		}
		var got Node
		e.Node(ref, &got)
		want := Node{StatPersisted: n.stat, NumChildren: int32(len(m.children(path))), DataLength: int32(len(n.data)), ACLID: got.ACLID,
			PathDataCRC: crc32.ChecksumIEEE([]byte(path + string(n.data)))}
		if got != want {
			t.Fatalf("%q:\n got %+v\nwant %+v", path, got, want)
		}
		if got.Digest() != slowDigest([]byte(path), n.data, n.stat) {
			t.Fatalf("%q: digest", path)
		}
		var stat proto.Stat
		if e.Stat(ref, &stat); stat != m.stat(path) {
			t.Fatalf("%q:\n got %+v\nwant %+v", path, stat, m.stat(path))
		}
		if data := e.Data(ref); !bytes.Equal(data, n.data) || (data == nil) != (n.data == nil) {
			t.Fatalf("%q: data %q, want %q", path, data, n.data)
		}
		if acl := e.ACL(ref); string(acl) != m.rawACL(n) || (n.acl == "") != (got.ACLID == 0) {
			t.Fatalf("%q: ACL %d %x, want %x", path, got.ACLID, acl, m.rawACL(n))
		}
		var names []string
		for c := e.FirstChild(ref); c != 0; c = e.NextSibling(c) {
			names = append(names, string(e.Name(c)))
		}
		slices.Sort(names)
		want2 := m.children(path)
		slices.Sort(want2)
		if !slices.Equal(names, want2) {
			t.Fatalf("%q: children %v, want %v", path, names, want2)
		}
		switch {
		case uint64(n.stat.EphemeralOwner) == 1<<63:
			containers = append(containers, path)
		case m.isTTL(n.stat.EphemeralOwner):
			ttls = append(ttls, path)
		}
	}
	m.comparePaths(t, e, "containers", containers, e.EachContainer)
	m.comparePaths(t, e, "TTL nodes", ttls, e.EachTTL)
	m.compareSessions(t, e)
	if n := e.quotas.slab.Len(); n != len(m.quotas) {
		t.Fatalf("%d quotas are registered, want %d", n, len(m.quotas))
	}
	for path := range m.nodes {
		m.compareQuota(t, e, path)
		m.compareQuota(t, e, path+"/below/it")
	}
}

// comparePaths compares a set that the engine keeps in order of creation.
func (m *model) comparePaths(t testing.TB, e *Engine, what string, want []string, each func(func(NodeRef) bool)) {
	t.Helper()
	sort.Slice(want, func(i, j int) bool { return m.nodes[want[i]].serial < m.nodes[want[j]].serial })
	var got []string
	each(func(ref NodeRef) bool {
		got = append(got, string(e.AppendPath(nil, ref)))
		return true
	})
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func (m *model) compareSessions(t testing.TB, e *Engine) {
	t.Helper()
	got := map[int64]int32{}
	e.EachSession(func(id proto.SessionID, timeoutMs int32) { got[id] = timeoutMs })
	if !maps.Equal(got, m.sessions) || e.SessionCount() != len(got) {
		t.Fatalf("sessions %v (%d), want %v", got, e.SessionCount(), m.sessions)
	}
	owners := map[int64]bool{}
	for _, n := range m.nodes {
		if m.isSession(n.stat.EphemeralOwner) {
			owners[n.stat.EphemeralOwner] = true
		}
	}
	for id := range m.sessions {
		if _, ok := e.Session(id); !ok {
			t.Fatalf("session %#x is missing", id)
		}
		owners[id] = true
	}
	for id := range owners {
		want := m.owned(id)
		if n := e.EphemeralCountOf(id); n != len(want) {
			t.Fatalf("session %#x has %d ephemerals, want %d", id, n, len(want))
		}
		m.comparePaths(t, e, fmt.Sprintf("ephemerals of %#x", id), want, func(f func(NodeRef) bool) { e.EachEphemeral(id, f) })
	}
}

func (m *model) compareQuota(t testing.TB, e *Engine, path string) {
	t.Helper()
	want := ""
	for p := path; p != ""; p = parentOf(p) {
		if m.quotas[p] {
			want = p
			break
		}
	}
	q, ok := e.Quota([]byte(path))
	if ok != (want != "") || ok && path[:q.PathLen] != want {
		t.Fatalf("quota of %q: %+v %v, want %q", path, q, ok, want)
	}
	if !ok {
		return
	}
	if got := string(e.AppendPath(nil, q.Limits)); got != PathQuota+want+"/"+QuotaLimitsName {
		t.Fatalf("limits of %q: %q", path, got)
	}
	stats := PathQuota + want + "/" + QuotaStatsName
	if q.Stats == 0 != (m.nodes[stats] == nil) || q.Stats != 0 && string(e.AppendPath(nil, q.Stats)) != stats {
		t.Fatalf("stats of %q", path)
	}
}
