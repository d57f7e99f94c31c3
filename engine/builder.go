package engine

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/proto"
)

// ErrSnapshot reports nodes that form no tree.
var ErrSnapshot = errors.New("engine: bad snapshot")

// A Builder makes an Engine from the contents of a Java snapshot, in the order of the file:
// sessions, then nodes, parents before children.
type Builder struct {
	e       *Engine
	builtIn map[NodeRef]bool // those not given yet
}

// NewBuilder returns a Builder.
func NewBuilder(opts Options) (*Builder, error) {
	e, err := New(opts)
	if err != nil {
		return nil, err
	}
	return &Builder{e: e, builtIn: map[NodeRef]bool{e.root: true, e.zookeeper: true, e.quota: true, e.config: true}}, nil
}

// AddSession puts a session into the session table.
func (b *Builder) AddSession(id proto.SessionID, timeoutMs int32) { b.e.sessions.put(id, timeoutMs) }

// AddNode adds a node, or gives a built-in one its contents. path is empty or "/" for the
// root; nil data is null; an acl that is nil or the null vector is the built-in open list
// (-1 in snapshots). All are borrowed until return. The error matches ErrSnapshot.
func (b *Builder) AddNode(path, data []byte, acl proto.RawACLs, st *proto.StatPersisted) error {
	e := b.e
	if _, ok := e.opts.ownerKind(st.EphemeralOwner); !ok {
		return fmt.Errorf("%w: node %q has owner %#x", ErrSnapshot, path, uint64(st.EphemeralOwner))
	}
	if ref := e.Lookup(path); ref != 0 {
		if !b.builtIn[ref] {
			return fmt.Errorf("%w: second node at %q", ErrSnapshot, path)
		}
		delete(b.builtIn, ref)
		b.overwrite(ref, path, data, acl, st)
		return nil
	}
	if err := checkPath(path, proto.OpCreate); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	parentPath, name := split(path)
	parent := e.Lookup(parentPath)
	if parent == 0 {
		return fmt.Errorf("%w: node %q has no parent", ErrSnapshot, path)
	}
	e.addNode(parent, name, path, data, acl, st)
	return nil
}

// overwrite fills a built-in node, which is in the list of changes already.
func (b *Builder) overwrite(ref NodeRef, path, data []byte, acl proto.RawACLs, st *proto.StatPersisted) {
	e := b.e
	n := e.nodes.At(uint32(ref))
	x := e.extend(ref, n)
	e.digest -= e.share(n)
	e.leave(x)
	b.e.replaceACL(ref, acl)
	e.storeData(n, x, data)
	x.crc = PathDataCRC(path, data)
	n.setStat(x, st)
	e.join(ref, x)
	e.digest += e.share(n)
}

// Finish returns the engine at lastZxid with the stats of quotas counted anew. All of it
// counts as changed. The Builder must not be used afterwards.
func (b *Builder) Finish(lastZxid proto.Zxid) (*Engine, error) {
	b.e.loadQuotas(true)
	b.e.lastZxid = lastZxid
	return b.e, nil
}

// Close gives the memory back, instead of Finish.
func (b *Builder) Close() { _ = b.e.Close() }
