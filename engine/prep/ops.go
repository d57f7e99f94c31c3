package prep

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// create prepares create, create2, createContainer and createTTL (op). The order of its checks
// is that of section 4.2 of the client protocol.
func (p *Preparer) create(dst []byte, op proto.OpCode, r *proto.CreateRequest) ([]byte, proto.ErrCode) {
	owner, code := p.createOwner(op, r)
	if code != proto.OK {
		return dst, code
	}
	if r.Path == nil {
		return dst, proto.ErrMarshalling
	}
	parentPath, ok := createParent(r.Path)
	if !ok {
		return dst, proto.ErrBadArguments
	}
	if p.aclBuf, code = p.auth.FixUp(p.aclBuf[:0], r.ACL, p.req.Identities); code != proto.OK {
		return dst, code
	}
	parent := &p.parent
	if !p.find(parent, parentPath) {
		return dst, proto.ErrNoNode
	}
	if !p.auth.Allowed(parent.acl, proto.PermCreate, p.req.Identities) {
		return dst, proto.ErrNoAuth
	}
	path := r.Path
	if isSequential(r.Flags) {
		p.pathBuf = appendSequence(append(p.pathBuf[:0], path...), parent.Cversion)
		path = p.pathBuf
	}
	if !ValidPath(path) {
		return dst, proto.ErrBadArguments
	}
	if p.find(&p.node, path) {
		return dst, proto.ErrNodeExists
	}
	if p.treeOpts.IsSessionOwner(parent.EphemeralOwner) {
		return dst, proto.ErrNoChildrenForEphem
	}
	if code := p.checkQuota(path, int64(len(r.Data)), 1); code != proto.OK {
		return dst, code
	}
	if !p.fits(dst, len(path)+len(r.Data)+len(p.aclBuf)) {
		return dst, proto.ErrMarshalling
	}

	cversion := parent.Cversion + 1
	body := proto.TxnBody{Path: path, Data: r.Data, ACL: p.aclBuf, Ephemeral: isEphemeral(r.Flags), ParentCversion: cversion, TTLms: r.TTLms}
	dst = body.Append(dst, op)

	pr := p.change(parent)
	pr.NumChildren++
	if cversion > pr.Cversion {
		// What applying does, too; so a counter that has run over stays where it is.
		pr.Cversion, pr.Pzxid = cversion, p.zxid
	}
	p.settle(pr)

	nr := p.add(&p.node)
	nr.StatPersisted = proto.StatPersisted{Czxid: p.zxid, Mzxid: p.zxid, Pzxid: p.zxid, Ctime: p.nowMs, Mtime: p.nowMs, EphemeralOwner: owner}
	nr.acl, nr.ownACL = append(nr.acl[:0], p.aclBuf...), true
	p.setRecordData(nr, r.Data)
	if p.treeOpts.IsSessionOwner(owner) {
		p.overlay.linkEphemeral(nr)
	}
	p.settle(nr)
	return dst, proto.OK
}

func isSequential(flags int32) bool {
	return flags == proto.FlagSequential || flags == proto.FlagEphemeralSequential || flags == proto.FlagPersistentSequentialTTL
}

func isEphemeral(flags int32) bool {
	return flags == proto.FlagEphemeral || flags == proto.FlagEphemeralSequential
}

func isTTL(flags int32) bool {
	return flags == proto.FlagTTL || flags == proto.FlagPersistentSequentialTTL
}

// createOwner checks flags, TTL and session of a create and gives the stored owner of the new
// node, whose kind the operation decides, not the flags (client protocol, section 5.2).
func (p *Preparer) createOwner(op proto.OpCode, r *proto.CreateRequest) (owner int64, code proto.ErrCode) {
	if r.Flags < proto.FlagPersistent || r.Flags > proto.FlagPersistentSequentialTTL {
		return 0, proto.ErrBadArguments
	}
	ttl := isTTL(r.Flags)
	if ttl && !p.treeOpts.ExtendedTypes {
		return 0, proto.ErrUnimplemented
	}
	// Java lets createTTL with other flags and no TTL pass and then stops when it applies the
	// transaction (client protocol, section 14).
	if ttl != (op == proto.OpCreateTTL) || ttl && (r.TTLms < 1 || r.TTLms > proto.MaxTTLMs) {
		return 0, proto.ErrBadArguments
	}
	if !isEphemeral(r.Flags) {
		code = p.sessions.Check(p.req.Session, p.req.Owner)
	} else if code = p.sessions.CheckGlobal(p.req.Session, p.req.Owner); code == proto.OK && !p.treeOpts.IsSessionOwner(p.req.Session) {
		// The id would be taken for another kind of owner. Servers whose ids could be are
		// refused at their start (client protocol, section 2.4).
		code = proto.ErrBadArguments
	}
	if code != proto.OK {
		return 0, code
	}
	switch {
	case op == proto.OpCreateContainer:
		return proto.OwnerContainer, proto.OK
	case ttl:
		return proto.OwnerTTLMask | r.TTLms, proto.OK
	case isEphemeral(r.Flags):
		return p.req.Session, proto.OK
	}
	return 0, proto.OK
}

// delete prepares delete.
func (p *Preparer) delete(dst []byte, r *proto.PathVersion) ([]byte, proto.ErrCode) {
	if code := p.sessions.Check(p.req.Session, p.req.Owner); code != proto.OK {
		return dst, code
	}
	if r.Path == nil {
		return dst, proto.ErrMarshalling
	}
	parentPath, ok := deleteParent(r.Path)
	if !ok {
		return dst, proto.ErrBadArguments
	}
	if !p.find(&p.parent, parentPath) {
		return dst, proto.ErrNoNode
	}
	if !p.auth.Allowed(p.parent.acl, proto.PermDelete, p.req.Identities) {
		return dst, proto.ErrNoAuth
	}
	if !p.find(&p.node, r.Path) {
		return dst, proto.ErrNoNode
	}
	if _, code := nextVersion(p.node.Version, r.Version); code != proto.OK {
		return dst, code
	}
	if p.node.NumChildren > 0 {
		return dst, proto.ErrNotEmpty
	}
	p.removeNode()
	return jute.AppendBuffer(dst, r.Path), proto.OK
}

// deleteContainer prepares the removal of a container or TTL node that the server itself asks
// for, and checks once more that it may go. It is stricter than Java, which would also remove
// a persistent node, or a TTL node with new data, that has come in between.
func (p *Preparer) deleteContainer(dst []byte, path []byte) ([]byte, proto.ErrCode) {
	parentPath, ok := deleteParent(path)
	if !ok {
		return dst, proto.ErrBadArguments
	}
	if !p.find(&p.node, path) {
		return dst, proto.ErrNoNode
	}
	if p.node.NumChildren > 0 {
		return dst, proto.ErrNotEmpty
	}
	ttlMs := p.treeOpts.TTLms(p.node.EphemeralOwner)
	if ttlMs == 0 && !p.treeOpts.IsContainerOwner(p.node.EphemeralOwner) {
		return dst, proto.ErrBadVersion
	}
	if ttlMs > 0 && p.nowMs-p.node.Mtime <= ttlMs {
		return dst, proto.ErrBadVersion
	}
	if !p.find(&p.parent, parentPath) {
		return dst, proto.ErrNoNode
	}
	p.removeNode()
	return jute.AppendBuffer(dst, path), proto.OK
}

// removeNode takes p.node out from under p.parent.
func (p *Preparer) removeNode() {
	pr := p.change(&p.parent)
	pr.NumChildren--
	pr.Pzxid = max(pr.Pzxid, p.zxid)
	p.settle(pr)
	nr := p.change(&p.node)
	p.overlay.unlinkEphemeral(nr)
	nr.live, nr.created = false, 0
	p.settle(nr)
}

// target finds the znode of path, as p.node, for a session that must live and have the permission.
func (p *Preparer) target(path []byte, perm int32) proto.ErrCode {
	if code := p.sessions.Check(p.req.Session, p.req.Owner); code != proto.OK {
		return code
	}
	if !ValidPath(path) {
		return proto.ErrBadArguments
	}
	if !p.find(&p.node, path) {
		return proto.ErrNoNode
	}
	if !p.auth.Allowed(p.node.acl, perm, p.req.Identities) {
		return proto.ErrNoAuth
	}
	return proto.OK
}

// setData prepares setData.
func (p *Preparer) setData(dst []byte, r *proto.SetDataRequest) ([]byte, proto.ErrCode) {
	if code := p.target(r.Path, proto.PermWrite); code != proto.OK {
		return dst, code
	}
	if code := p.checkQuota(r.Path, int64(len(r.Data))-int64(p.node.DataLength), 0); code != proto.OK {
		return dst, code
	}
	version, code := nextVersion(p.node.Version, r.Version)
	if code != proto.OK {
		return dst, code
	}
	body := proto.TxnBody{Path: r.Path, Data: r.Data, Version: version}
	p.changeData(&body)
	return body.Append(dst, proto.OpSetData), proto.OK
}

// changeData gives p.node the data and version of a setData or reconfig transaction.
func (p *Preparer) changeData(body *proto.TxnBody) {
	nr := p.change(&p.node)
	nr.Version, nr.Mzxid, nr.Mtime = body.Version, p.zxid, p.nowMs
	p.setRecordData(nr, body.Data)
	p.settle(nr)
}

// setACL prepares setACL.
func (p *Preparer) setACL(dst []byte, r *proto.SetACLRequest) ([]byte, proto.ErrCode) {
	code := p.sessions.Check(p.req.Session, p.req.Owner)
	if code != proto.OK {
		return dst, code
	}
	if !ValidPath(r.Path) {
		return dst, proto.ErrBadArguments
	}
	if p.aclBuf, code = p.auth.FixUp(p.aclBuf[:0], r.ACL, p.req.Identities); code != proto.OK {
		return dst, code
	}
	if !p.find(&p.node, r.Path) {
		return dst, proto.ErrNoNode
	}
	if !p.auth.Allowed(p.node.acl, proto.PermAdmin, p.req.Identities) {
		return dst, proto.ErrNoAuth
	}
	version, code := nextVersion(p.node.Aversion, r.Version)
	if code != proto.OK {
		return dst, code
	}
	if !p.fits(dst, len(r.Path)+len(p.aclBuf)) {
		return dst, proto.ErrMarshalling
	}
	nr := p.change(&p.node)
	nr.Aversion = version
	nr.acl, nr.ownACL = append(nr.acl[:0], p.aclBuf...), true
	p.settle(nr)
	body := proto.TxnBody{Path: r.Path, ACL: p.aclBuf, Version: version}
	return body.Append(dst, proto.OpSetACL), proto.OK
}

// check prepares a check inside a multi.
func (p *Preparer) check(dst []byte, r *proto.PathVersion) ([]byte, proto.ErrCode) {
	if code := p.target(r.Path, proto.PermRead); code != proto.OK {
		return dst, code
	}
	version, code := nextVersion(p.node.Version, r.Version)
	if code != proto.OK {
		return dst, code
	}
	body := proto.TxnBody{Path: r.Path, Version: version}
	return body.Append(dst, proto.OpCheck), proto.OK
}

// reconfig prepares reconfig (client protocol, section 4.2; quorum protocol, section 8).
func (p *Preparer) reconfig(dst []byte, r *proto.ReconfigRequest) ([]byte, proto.ErrCode) {
	if !p.opts.ReconfigEnabled {
		return dst, proto.ErrReconfigDisabled
	}
	if code := p.sessions.Check(p.req.Session, p.req.Owner); code != proto.OK {
		return dst, code
	}
	if p.opts.Reconfigurer == nil {
		return dst, proto.ErrUnimplemented
	}
	config, code := p.opts.Reconfigurer.Reconfig(r, p.zxid)
	if code != proto.OK {
		return dst, code
	}
	body := proto.TxnBody{Path: []byte(engine.PathConfig), Data: config, Version: -1}
	if !p.find(&p.node, body.Path) {
		return dst, proto.ErrNoNode
	}
	if !p.auth.Allowed(p.node.acl, proto.PermWrite, p.req.Identities) {
		return dst, proto.ErrNoAuth
	}
	p.changeData(&body)
	return body.Append(dst, proto.OpReconfig), proto.OK
}
