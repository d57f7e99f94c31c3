package prep

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// A Tree is what preparing needs of the committed tree; *engine.Engine is one. Its methods
// only read, and what they return is lent until the next transaction is applied.
type Tree interface {
	Options() engine.Options
	Lookup(path []byte) engine.NodeRef
	Node(n engine.NodeRef, out *engine.Node)
	Data(n engine.NodeRef) []byte
	Quota(path []byte) (engine.Quota, bool)
	ACLByID(id uint32) proto.RawACLs
	AppendPath(dst []byte, n engine.NodeRef) []byte
	EachEphemeral(id proto.SessionID, f func(engine.NodeRef) bool)
	LastZxid() proto.Zxid
	Digest() uint64
}

var _ Tree = (*engine.Engine)(nil)
