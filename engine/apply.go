package engine

import (
	"bytes"

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
	if n.nameLen&flagSystem != 0 {
		e.quotaNodeCreated(ref, n)
	}
	e.quotaChanged(b.Path, 1, int64(len(b.Data)))
	if sink != nil {
		sink.Created(b.Path, orSlash(parentPath), e.acls.get(n.acl), e.acls.get(pn.acl), h.Zxid)
	}
	return proto.OK
}

// raiseCversion gives the parent the cversion that a create brings, unless it has seen a
// later one (storage formats, section 4).
func (e *Engine) raiseCversion(ref NodeRef, n *node, cversion int32, zxid proto.Zxid) {
	if cversion == -1 {
		cversion = n.cversion + 1
	}
	if cversion <= n.cversion {
		return
	}
	e.change(ref, n)
	e.digest -= e.share(n)
	n.cversion, n.pzxid = cversion, zxid
	e.digest += e.share(n)
}

// change must be called before anything that the image has of the node is changed.
func (e *Engine) change(ref NodeRef, n *node) { e.nodeChanges.change(uint32(ref), &n.tracked) }

// addNode makes a node with everything that belongs to it, but for the parent's stat and
// quotas. name and path are those of the root if parent is 0.
func (e *Engine) addNode(parent NodeRef, name, path, data []byte, acl proto.RawACLs, st *proto.StatPersisted) NodeRef {
	e.lastNodeID++
	ref := e.newNode(e.lastNodeID, parent, name, path, data, e.acls.intern(acl), st)
	e.nodeChanges.add(uint32(ref), &e.nodes.At(uint32(ref)).tracked)
	return ref
}

// newNode is addNode for a node with an id of the image, which is in no list of changes.
func (e *Engine) newNode(id uint64, parent NodeRef, name, path, data []byte, acl uint32, st *proto.StatPersisted) NodeRef {
	ref := NodeRef(e.nodes.Alloc())
	n := e.nodes.At(uint32(ref))
	n.id = id
	n.setStat(st)
	n.acl = acl
	if parent != 0 {
		if len(name) > 0 {
			n.name = e.names.Alloc(len(name))
			copy(e.names.Bytes(n.name, len(name)), name)
		}
		n.nameLen = uint32(len(name))
		pn := e.nodes.At(uint32(parent))
		n.parent, n.nextSibling = parent, pn.firstChild
		if pn.firstChild != 0 {
			e.nodes.At(uint32(pn.firstChild)).prevSibling = ref
		}
		pn.firstChild = ref
		pn.numChildren++
		if pn.nameLen&flagSystem != 0 || parent == e.zookeeper {
			n.nameLen |= flagSystem
		}
		e.paths.insert(pathHash(path), uint32(ref))
	}
	n.dataLen = -1
	e.storeData(n, data)
	n.crc = PathDataCRC(path, data)
	e.dataBytes += int64(len(path))
	e.digest += e.share(n)
	e.join(ref, n)
	return ref
}

// storeData replaces the node's data, which must not alias the engine's memory.
func (e *Engine) storeData(n *node, data []byte) {
	old := max(0, int(n.dataLen))
	e.dataBytes += int64(len(data) - old)
	switch {
	case len(data) == 0 && old > 0:
		e.data.Free(n.data, old)
		n.data = 0
	case len(data) > 0 && old > 0:
		n.data = e.data.Resize(n.data, old, len(data))
	case len(data) > 0:
		n.data = e.data.Alloc(len(data))
	}
	if len(data) > 0 {
		copy(e.data.Bytes(n.data, len(data)), data)
	}
	n.dataLen = int32(len(data))
	if data == nil {
		n.dataLen = -1
	}
}

func (e *Engine) replaceACL(ref NodeRef, acl proto.RawACLs) {
	n := e.nodes.At(uint32(ref))
	id := e.acls.intern(acl)
	if id != n.acl {
		e.change(ref, n)
	}
	e.acls.drop(n.acl)
	n.acl = id
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
	if pn := e.nodes.At(uint32(parent)); zxid > pn.pzxid {
		e.change(parent, pn)
		e.digest -= e.share(pn)
		pn.pzxid = zxid
		e.digest += e.share(pn)
	}
	if ref == 0 {
		return proto.ErrNoNode
	}
	if e.nodes.At(uint32(ref)).firstChild != 0 {
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
		if child := e.nodes.At(uint32(at)).firstChild; child != 0 {
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
	e.nodeChanges.remove(uint32(ref), &n.tracked)
	e.digest -= e.share(n)
	if n.prevSibling != 0 {
		e.nodes.At(uint32(n.prevSibling)).nextSibling = n.nextSibling
	} else {
		pn.firstChild = n.nextSibling
	}
	if n.nextSibling != 0 {
		e.nodes.At(uint32(n.nextSibling)).prevSibling = n.prevSibling
	}
	pn.numChildren--
	e.paths.remove(pathHash(path), uint32(ref))
	e.leave(n)
	if n.nameLen&flagSystem != 0 {
		e.quotaNodeDeleted(ref, n)
	}
	length := int64(max(0, n.dataLen))
	e.storeData(n, nil)
	e.dataBytes -= int64(len(path))
	if k := n.nameLen & nameLenMask; k > 0 {
		e.names.Free(n.name, int(k))
	}
	acl := n.acl
	e.nodes.Free(uint32(ref))
	e.quotaChanged(path, -1, -length)
	if sink != nil {
		parentPath, _ := split(path)
		sink.Deleted(path, orSlash(parentPath), e.acls.get(acl), e.acls.get(pn.acl), zxid)
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
	delta := int64(len(b.Data)) - int64(max(0, n.dataLen))
	e.writeData(ref, n, b.Path, b.Data, b.Version, h.Zxid, h.TimeMs)
	e.statOf(n, stat)
	e.quotaChanged(b.Path, 0, delta)
	if sink != nil {
		sink.DataChanged(orSlash(b.Path), e.acls.get(n.acl), h.Zxid)
	}
	return proto.OK
}

func (e *Engine) writeData(ref NodeRef, n *node, path, data []byte, version int32, zxid proto.Zxid, timeMs int64) {
	e.change(ref, n)
	e.digest -= e.share(n)
	e.storeData(n, data)
	n.crc = PathDataCRC(path, data)
	n.version, n.mzxid, n.mtime = version, zxid, timeMs
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
	e.change(ref, n)
	id := e.acls.intern(b.ACL)
	e.acls.drop(n.acl)
	n.acl = id
	e.digest -= e.share(n)
	n.aversion = b.Version
	e.digest += e.share(n)
	e.statOf(n, stat)
	return proto.OK
}
