package prep

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// An ACLTree is what the eager check needs of the tree; *engine.Engine is one.
type ACLTree interface {
	Lookup(path []byte) engine.NodeRef
	ACL(n engine.NodeRef) proto.RawACLs
}

// EagerCheck is zookeeper.enableEagerACLCheck: before a create, create2, delete, setData or
// setACL is handed on, its list must be well formed and the local tree must permit it. Any
// code but OK (ErrInvalidACL, ErrNoAuth) is answered at once with zxid 0, and there will be
// no transaction. Whatever else is wrong, missing nodes and bad paths included, passes and is
// refused by Prepare.
//
// It may be called from any goroutine that may read t. It borrows body and, for the list that
// it makes and drops, scratch, which may be nil. Source: client protocol, section 8.9.
func EagerCheck(t ACLTree, r *auth.Registry, op proto.OpCode, body []byte, ids []proto.Identity, scratch []byte) proto.ErrCode {
	d := jute.NewDecoder(body, 0)
	var path []byte
	var acl proto.RawACLs
	var perms int32
	ok := true
	switch op {
	case proto.OpCreate, proto.OpCreate2:
		var req proto.CreateRequest
		req.Decode(&d, op)
		path, ok = deleteParent(req.Path) // Java takes special nodes for bad paths here, too
		acl, perms = req.ACL, proto.PermCreate
	case proto.OpDelete:
		var req proto.PathVersion
		req.Decode(&d)
		path, ok = deleteParent(req.Path)
		perms = proto.PermDelete
	case proto.OpSetData:
		var req proto.SetDataRequest
		req.Decode(&d)
		path, perms = req.Path, proto.PermWrite
	case proto.OpSetACL:
		var req proto.SetACLRequest
		req.Decode(&d)
		path, acl, perms = req.Path, req.ACL, proto.PermAdmin
	default:
		return proto.OK
	}
	if !ok || d.Err() != nil || path == nil {
		return proto.OK
	}
	if acl != nil {
		// A null id is left to Prepare, which has a transaction to answer it with.
		if _, code := r.FixUp(scratch[:0], acl, ids); code == proto.ErrInvalidACL {
			return code
		}
	}
	if n := t.Lookup(path); n != 0 && !r.Allowed(t.ACL(n), perms, ids) {
		return proto.ErrNoAuth
	}
	return proto.OK
}

var _ ACLTree = (*engine.Engine)(nil)
