package engine

import (
	"bytes"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// A Sink is told of each change of the tree, in order, while a transaction is applied: after
// the change, before the next one of the same transaction. It borrows paths and lists until
// return; it may read the engine but not write. parent is "/" for children of the root; for
// a deletion, acl is the list that the node had. Changes of stats and ACLs alone, and the
// upkeep of quotas, are not told (client protocol, section 7.4).
type Sink interface {
	Created(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid)
	Deleted(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid)
	DataChanged(path []byte, acl proto.RawACLs, zxid proto.Zxid)
}

// An OpResult is what one operation did.
type OpResult struct {
	Type proto.OpCode  // of the transaction or operation; OpError in each result of a failed multi
	Err  proto.ErrCode // OK, or why nothing was done (client protocol, section 4.1)
	Path []byte        // lent by the transaction; nil for sessions and errors
	Stat proto.Stat    // create*, setData, reconfig, setACL: of the node, right after the operation
}

// A Result is what a transaction did.
//
// Type and Err are those of the transaction: of an error transaction its code; of a multi
// the first error of its operations. Errors of other transactions than those occur only in
// replay over a fuzzy snapshot.
type Result struct {
	Header proto.TxnHeader
	OpResult
	Multi []OpResult // one for each operation of a multi

	HasDigest      bool   // the transaction carries a digest of the tree after it
	TxnDigest      uint64 // that digest
	DigestMismatch bool   // it differs from the engine's, and Options.Digest is on
}

// Apply applies one transaction: header, body, and the digest behind it if there is one. It
// borrows txn until the result is not used any more, and lends the result until the next
// Apply. sink may be nil. The rules are those of storage formats, section 4, always, so that
// the same code replays over fuzzy snapshots.
//
// The error matches ErrTxn; nothing was applied then, and the result is nil. Only the writer
// may call Apply; in steady state it does not allocate.
func (e *Engine) Apply(txn []byte, sink Sink) (*Result, error) {
	t, r := &e.txn, &e.result
	if err := t.decode(txn, &e.opts); err != nil {
		return nil, err
	}
	*r = Result{Header: t.header, OpResult: OpResult{Type: t.header.Type}, Multi: r.Multi[:0], HasDigest: t.hasDigest, TxnDigest: t.digest}
	switch h := &t.header; h.Type {
	case proto.OpMulti:
		e.applyMulti(t, r, sink)
	case proto.OpCreateSession:
		e.sessions.put(h.SessionID, t.op.body.TimeoutMs)
	case proto.OpCloseSession:
		for _, path := range t.paths {
			// A path may be gone, or be another session's by now, when this is replayed
			// over a fuzzy snapshot: both as in Java.
			e.deleteNode(path, h.Zxid, sink)
		}
		e.removeEphemerals(h.SessionID, h.Zxid, sink)
		e.sessions.remove(h.SessionID)
	case proto.OpError:
		r.Err = t.op.body.Err
	default:
		e.applyOp(&t.op, h, &r.OpResult, sink)
	}
	e.lastZxid = max(e.lastZxid, t.header.Zxid)
	r.DigestMismatch = t.hasDigest && e.opts.Digest && t.digest != e.digest
	return r, nil
}

func (e *Engine) applyMulti(t *txn, r *Result, sink Sink) {
	before := true // of the operation that failed
	for i := range t.ops {
		if i%WarmPaths == 0 && !t.failed {
			for j := i; j < min(i+WarmPaths, len(t.ops)); j++ {
				e.warmer.Add(t.ops[j].body.Path, true)
			}
			e.Warm(&e.warmer)
		}
		p := &t.ops[i]
		r.Multi = append(r.Multi, OpResult{Type: p.typ})
		o := &r.Multi[i]
		switch {
		case !t.failed:
			e.applyOp(p, &t.header, o, sink)
		case p.typ == proto.OpError:
			o.Err, before = p.body.Err, false
		default:
			o.Type = proto.OpError
			if !before {
				o.Err = proto.ErrRuntimeInconsistency
			}
		}
		if r.Err == proto.OK {
			r.Err = o.Err
		}
	}
}

func (e *Engine) applyOp(p *op, h *proto.TxnHeader, out *OpResult, sink Sink) {
	out.Path = p.body.Path
	switch p.typ {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		out.Err = e.createNode(p, h, &out.Stat, sink)
	case proto.OpDelete, proto.OpDeleteContainer:
		out.Err = e.deleteNode(p.body.Path, h.Zxid, sink)
	case proto.OpSetData, proto.OpReconfig:
		out.Err = e.setData(&p.body, h, &out.Stat, sink)
	case proto.OpSetACL:
		out.Err = e.setACL(&p.body, &out.Stat)
	}
}

// pzxid returns the zxid of the last change of the node's children.
func (e *Engine) pzxid(n *node) proto.Zxid {
	if n.compact() {
		return n.czxid
	}
	return e.extraOf(n).pzxid
}

var slash = []byte{'/'}

// split returns the paths of the parent and the name; the parent of "/a" is the empty path.
func split(path []byte) (parent, name []byte) {
	i := bytes.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// orSlash gives the root the path that events have.
func orSlash(path []byte) []byte {
	if len(path) == 0 {
		return slash
	}
	return path
}

func (e *Engine) createNode(p *op, h *proto.TxnHeader, stat *proto.Stat, sink Sink) proto.ErrCode {
	b := &p.body
	if len(b.Path) == 1 {
		return proto.ErrNodeExists
	}
	parentPath, name := split(b.Path)
	parent := e.Lookup(parentPath)
	if parent == 0 {
		return proto.ErrNoNode
	}
	pn := e.nodes.At(uint32(parent))
	if ref := e.Lookup(b.Path); ref != 0 {
		e.replaceACL(ref, b.ACL)
		if p.typ == proto.OpCreate { // not for the other types, as in Java
			e.raiseCversion(parent, pn, b.ParentCversion, h.Zxid)
		}
		return proto.ErrNodeExists
	}
	e.raiseCversion(parent, pn, b.ParentCversion, h.Zxid)
	ref := e.addNode(parent, name, b.Path, b.Data, b.ACL, &proto.StatPersisted{
		Czxid: h.Zxid, Mzxid: h.Zxid, Pzxid: h.Zxid, Ctime: h.TimeMs, Mtime: h.TimeMs, EphemeralOwner: p.owner,
	})
	n := e.nodes.At(uint32(ref))
	e.statOf(n, stat)
	if e.isSystem(n) {
		e.quotaNodeCreated(ref, n)
	}
	e.quotaChanged(b.Path, 1, int64(len(b.Data)))
	if sink != nil {
		sink.Created(b.Path, orSlash(parentPath), e.acls.get(n.acl()), e.acls.get(pn.acl()), h.Zxid)
	}
	return proto.OK
}

// raiseCversion gives the parent the cversion that a create brings, unless it has seen a
// later one (storage formats, section 4).
func (e *Engine) raiseCversion(ref NodeRef, n *node, cversion int32, zxid proto.Zxid) {
	x := e.extend(ref, n) // it is a parent, or about to become one
	if cversion == -1 {
		cversion = x.cversion + 1
	}
	if cversion <= x.cversion {
		return
	}
	e.change(ref, n)
	e.digest -= e.share(n)
	x.cversion, x.pzxid = cversion, zxid
	e.digest += e.share(n)
}

// change must be called before anything that the image has of the node is changed, and returns
// its extra, which it has from then on.
func (e *Engine) change(ref NodeRef, n *node) *extra {
	x := e.extend(ref, n)
	e.nodeChanges.change(uint32(ref))
	return x
}

// addNode makes a node with everything that belongs to it, but for the parent's stat and
// quotas. name and path are those of the root if parent is 0.
func (e *Engine) addNode(parent NodeRef, name, path, data []byte, acl proto.RawACLs, st *proto.StatPersisted) NodeRef {
	if e.lastNodeID == maxNodeID {
		panic("engine: out of ids for nodes")
	}
	e.lastNodeID++
	ref := e.newNode(e.lastNodeID, parent, name, path, data, e.acls.intern(acl), st)
	e.nodeChanges.add(uint32(ref))
	return ref
}

// newNode is addNode for a node with an id of the image, which is in no list of changes.
func (e *Engine) newNode(id uint64, parent NodeRef, name, path, data []byte, acl uint32, st *proto.StatPersisted) NodeRef {
	ref := NodeRef(e.nodes.Alloc())
	n := e.nodes.At(uint32(ref))
	system := false
	if parent != 0 {
		pn := e.nodes.At(uint32(parent))
		px := e.extend(parent, pn)
		n.parent, n.next = parent, px.firstChild
		if px.firstChild != 0 {
			e.nodes.At(uint32(px.firstChild)).prev = ref
		}
		px.firstChild = ref
		px.numChildren++
		system = px.nameLen&flagSystem != 0 || parent == e.zookeeper
		e.paths.insert(pathHash(path), uint32(ref))
	}
	if k := len(name) + len(data); k > 0 {
		n.text = e.texts.Alloc(k)
		text := e.texts.Bytes(n.text, k)
		copy(text[copy(text, name):], data)
	}
	e.dataBytes += int64(len(path) + len(data))
	crc := PathDataCRC(path, data)
	n.czxid = st.Czxid
	n.word = id<<idShift | uint64(min(len(name), nameLenInExtra))<<formBits
	if parent != 0 && !system && fitsCompact(name, data, acl, st) {
		form := uint64(len(data))
		if data == nil {
			form = formNull
		}
		n.word |= form
		n.extra = uint64(st.Ctime)<<compactACLBits | uint64(acl)
		if e.opts.Digest {
			e.digest += compactShare(n, crc)
		}
		return ref
	}
	i := e.extras.Alloc()
	x := e.extras.At(i)
	n.word |= formFull
	if arena.IsBig(len(name) + len(data)) {
		n.word ^= formFull ^ formFullBig
	}
	n.extra = uint64(i)<<32 | uint64(acl)
	n.setStat(x, st)
	x.crc, x.nameLen, x.dataLen = crc, uint32(len(name)), int32(len(data))
	if system {
		x.nameLen |= flagSystem
	}
	if data == nil {
		x.dataLen = -1
	}
	e.digest += e.share(n)
	e.join(ref, x)
	return ref
}

// storeData replaces the data of a full node. They must not alias the engine's memory.
func (e *Engine) storeData(n *node, x *extra, data []byte) {
	name, old := int(x.nameLen&nameLenMask), max(0, int(x.dataLen))
	e.dataBytes += int64(len(data) - old)
	if len(data) != old {
		e.resizeText(n, name, name+old, name+len(data))
	}
	if len(data) > 0 {
		copy(e.texts.Bytes(n.text, name+len(data))[name:], data)
	}
	x.dataLen = int32(len(data))
	if data == nil {
		x.dataLen = -1
	}
}

// resizeText gives a full node's text another length; the name stays.
func (e *Engine) resizeText(n *node, name, old, size int) {
	switch {
	case size == 0:
		e.texts.Free(n.text, old)
		n.text = 0
	case old == 0:
		n.text = e.texts.Alloc(size)
	default:
		n.text = e.texts.Resize(n.text, old, size, name)
	}
	n.word |= formFull
	if arena.IsBig(size) {
		n.word ^= formFull ^ formFullBig
	}
}

func (e *Engine) replaceACL(ref NodeRef, acl proto.RawACLs) {
	n := e.nodes.At(uint32(ref))
	id := e.acls.intern(acl)
	if id != n.acl() {
		e.change(ref, n)
		e.setACLOf(n, id)
		return
	}
	e.acls.drop(id) // the user that intern counted
}

// setACLOf gives a full node the list that intern has returned.
func (e *Engine) setACLOf(n *node, id uint32) {
	e.acls.drop(n.acl())
	n.extra = n.extra>>32<<32 | uint64(id)
}

// deleteNode applies a deletion; the parent's pzxid moves even if the node is gone.
func (e *Engine) deleteNode(path []byte, zxid proto.Zxid, sink Sink) proto.ErrCode {
	ref := e.Lookup(path)
	if ref == e.root || ref != 0 && (ref == e.zookeeper || ref == e.quota || ref == e.config) {
		return proto.ErrBadArguments // no leader lets it pass (client protocol, section 5.7)
	}
	parentPath, _ := split(path)
	parent := e.Lookup(parentPath)
	if parent == 0 {
		return proto.ErrNoNode
	}
	if pn := e.nodes.At(uint32(parent)); zxid > e.pzxid(pn) {
		px := e.change(parent, pn)
		e.digest -= e.share(pn)
		px.pzxid = zxid
		e.digest += e.share(pn)
	}
	if ref == 0 {
		return proto.ErrNoNode
	}
	if e.FirstChild(ref) != 0 {
		e.removeBelow(ref, zxid, sink)
	}
	e.removeLeaf(ref, path, zxid, sink)
	return proto.OK
}

// removeBelow deletes what is below a node that is to be deleted. That can only be met when
// replaying over a fuzzy snapshot, which has children that were created after the node was
// deleted and created again; the replay creates them anew.
func (e *Engine) removeBelow(top NodeRef, zxid proto.Zxid, sink Sink) {
	for at := top; ; {
		if child := e.FirstChild(at); child != 0 {
			at = child
			continue
		}
		if at == top {
			return
		}
		parent := e.nodes.At(uint32(at)).parent
		e.belowPath = e.AppendPath(e.belowPath[:0], at)
		e.removeLeaf(at, e.belowPath, zxid, sink)
		at = parent
	}
}

// removeLeaf deletes a node without children and all that belongs to it, but for the parent's
// stat. path must not alias the arenas.
func (e *Engine) removeLeaf(ref NodeRef, path []byte, zxid proto.Zxid, sink Sink) {
	n := e.nodes.At(uint32(ref))
	pn := e.nodes.At(uint32(n.parent))
	px := e.extraOf(pn)
	e.nodeChanges.remove(uint32(ref))
	e.digest -= e.share(n)
	if n.prev != 0 {
		e.nodes.At(uint32(n.prev)).next = n.next
	} else {
		px.firstChild = n.next
	}
	if n.next != 0 {
		e.nodes.At(uint32(n.next)).prev = n.prev
	}
	px.numChildren--
	e.paths.remove(pathHash(path), uint32(ref))
	if !n.compact() {
		e.leave(e.extraOf(n))
	}
	if e.isSystem(n) {
		e.quotaNodeDeleted(ref, n)
	}
	length := int64(max(0, e.dataLen(n)))
	e.dataBytes -= int64(len(path)) + length
	if n.text != 0 {
		e.texts.Free(n.text, e.nameLen(n)+int(length))
	}
	acl := n.acl()
	if !n.compact() {
		e.extras.Free(uint32(n.extra >> 32))
	}
	e.nodes.Free(uint32(ref))
	e.quotaChanged(path, -1, -length)
	if sink != nil {
		parentPath, _ := split(path)
		sink.Deleted(path, orSlash(parentPath), e.acls.get(acl), e.acls.get(pn.acl()), zxid)
	}
	e.acls.drop(acl)
}

// removeEphemerals deletes what ephemerals of the session there are, in order of creation.
func (e *Engine) removeEphemerals(id proto.SessionID, zxid proto.Zxid, sink Sink) {
	for {
		s := e.sessions.find(id)
		if s == 0 {
			return
		}
		first := e.sessions.slab.At(s).ephemerals.head
		if first == 0 {
			return
		}
		e.ephemeralPath = e.AppendPath(e.ephemeralPath[:0], e.members.At(first).node)
		e.deleteNode(e.ephemeralPath, zxid, sink)
	}
}

func (e *Engine) setData(b *proto.TxnBody, h *proto.TxnHeader, stat *proto.Stat, sink Sink) proto.ErrCode {
	ref := e.Lookup(b.Path)
	if ref == 0 {
		return proto.ErrNoNode
	}
	n := e.nodes.At(uint32(ref))
	delta := int64(len(b.Data)) - int64(max(0, e.dataLen(n)))
	e.writeData(ref, n, b.Path, b.Data, b.Version, h.Zxid, h.TimeMs)
	e.statOf(n, stat)
	e.quotaChanged(b.Path, 0, delta)
	if sink != nil {
		sink.DataChanged(orSlash(b.Path), e.acls.get(n.acl()), h.Zxid)
	}
	return proto.OK
}

func (e *Engine) writeData(ref NodeRef, n *node, path, data []byte, version int32, zxid proto.Zxid, timeMs int64) {
	x := e.change(ref, n)
	e.digest -= e.share(n)
	e.storeData(n, x, data)
	x.crc = PathDataCRC(path, data)
	x.version, x.mzxid, x.mtime = version, zxid, timeMs
	e.digest += e.share(n)
}

// SetConfigNode gives /zookeeper/config the text of the committed configuration, as a server
// does by itself when it has loaded its tree and when a configuration is activated: version
// -1, mzxid = the configuration's version, mtime = this server's clock. It is no transaction
// and is told to no sink. Only the writer may call it; text is borrowed until return.
// Source: client protocol, section 5.7; quorum protocol, section 8.3.
func (e *Engine) SetConfigNode(text []byte, version proto.Zxid, nowMs int64) {
	e.writeData(e.config, e.nodes.At(uint32(e.config)), []byte(PathConfig), text, -1, version, nowMs)
}

// ConfigNode returns /zookeeper/config, which every tree has.
func (e *Engine) ConfigNode() NodeRef { return e.config }

func (e *Engine) setACL(b *proto.TxnBody, stat *proto.Stat) proto.ErrCode {
	ref := e.Lookup(b.Path)
	if ref == 0 {
		return proto.ErrNoNode
	}
	n := e.nodes.At(uint32(ref))
	x := e.change(ref, n)
	e.setACLOf(n, e.acls.intern(b.ACL))
	e.digest -= e.share(n)
	x.aversion = b.Version
	e.digest += e.share(n)
	e.statOf(n, stat)
	return proto.OK
}
