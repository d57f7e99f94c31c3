package engine

import (
	"bytes"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// maxImageACLs bounds the numbers of ACL records, so that a damaged one does not make the
// loader allocate the table up to it.
const maxImageACLs = 1 << 26

// A Loader rebuilds an Engine from an image. Records must come in order of their keys, the
// meta record first.
type Loader struct {
	e       *Engine
	foreign bool // all that is put counts as changed
	meta    imageMeta
	kind    byte
	lastID  uint64
	acls    int
	aclGaps []uint32 // numbers that the image does not have
	ids     index    // node id -> record

	parent     NodeRef // of the last node
	parentID   uint64
	parentPath []byte
	path       []byte
	img        nodeImage
}

// Load returns a Loader. Its options need not be those of the engine that made the image.
func Load(opts Options) *Loader { return &Loader{e: newEmpty(opts)} }

// LoadForeign is Load for the image of another server: all of it counts as changed, so that the next checkpoint
// is whole.
func LoadForeign(opts Options) *Loader {
	l := Load(opts)
	l.foreign = true
	return l
}

// Put adds a record; key and value are borrowed until return. The error matches ErrImage.
// After one the Loader can only be closed.
func (l *Loader) Put(key, value []byte) error {
	if len(key) != imageKeyBytes {
		return fmt.Errorf("%w: key of %d bytes", ErrImage, len(key))
	}
	kind, id := key[0], uint64(jute.Int64(key[1:]))
	if kind < l.kind || kind == l.kind && id <= l.lastID || l.kind == 0 && kind != kindMeta {
		return fmt.Errorf("%w: key %x is out of order", ErrImage, key)
	}
	l.kind, l.lastID = kind, id
	err := error(nil)
	switch kind {
	case kindMeta:
		if err = l.meta.decode(value); err == nil && !l.foreign {
			l.e.nodeChanges.loaded(l.meta.lastNodeID)
		}
	case kindACL:
		err = l.putACL(id, value)
	case kindSession:
		err = l.putSession(proto.SessionID(id), value)
	case kindNode:
		err = l.putNode(id, value)
	default:
		err = fmt.Errorf("%w: kind of record", ErrImage)
	}
	if err != nil {
		return fmt.Errorf("key %x: %w", key, err)
	}
	return nil
}

func (l *Loader) putACL(id uint64, value []byte) error {
	t := &l.e.acls
	d := jute.NewDecoder(value, 0)
	if raw := proto.SkipACLs(&d); d.Err() != nil || len(raw) != len(value) {
		return fmt.Errorf("%w: list of ACLs", ErrImage)
	}
	if id == 0 || id >= maxImageACLs {
		return fmt.Errorf("%w: number of an ACL record", ErrImage)
	}
	slot := t.slab.Alloc()
	for ; uint64(slot) < id; slot = t.slab.Alloc() {
		l.aclGaps = append(l.aclGaps, slot)
	}
	t.place(slot, uint32(xxhash.Sum64(value)>>32), value)
	if l.foreign {
		t.touch(slot)
	}
	l.acls++
	return nil
}

func (l *Loader) putSession(id proto.SessionID, value []byte) error {
	if len(value) != 4 {
		return fmt.Errorf("%w: session", ErrImage)
	}
	t := &l.e.sessions
	ref := t.findOrAdd(id)
	s := t.slab.At(ref)
	t.enter(ref, s, jute.Int32(value))
	if l.foreign {
		t.changes.add(ref)
	}
	return nil
}

// idHash spreads node ids, which are dense.
func idHash(id uint64) uint32 { return uint32(id * 0x9E3779B97F4A7C15 >> 32) }

func (l *Loader) findID(id uint64) NodeRef {
	for p := l.ids.probe(idHash(id)); ; {
		ref := p.next()
		if ref == 0 || l.e.nodes.At(ref).id() == id {
			return NodeRef(ref)
		}
	}
}

func (l *Loader) putNode(id uint64, value []byte) error {
	e, m := l.e, &l.img
	if id > maxNodeID || !m.decode(value) {
		return fmt.Errorf("%w: node", ErrImage)
	}
	if m.acl != 0 && (m.acl/64 >= uint32(len(e.acls.live)) || e.acls.live[m.acl/64]&(1<<(m.acl%64)) == 0) {
		return fmt.Errorf("%w: node has ACL number %d, which is missing", ErrImage, m.acl)
	}
	if _, ok := e.opts.ownerKind(m.stat.EphemeralOwner); !ok {
		return fmt.Errorf("%w: node has owner %#x", ErrImage, uint64(m.stat.EphemeralOwner))
	}
	path := []byte(nil)
	if m.parent == 0 {
		if e.root != 0 || len(m.name) > 0 {
			return fmt.Errorf("%w: node without parent", ErrImage)
		}
	} else {
		if m.parent != l.parentID {
			l.parent, l.parentID = l.findID(m.parent), m.parent
			if l.parent == 0 {
				return fmt.Errorf("%w: node's parent %d is missing", ErrImage, m.parent)
			}
			l.parentPath = e.appendPathBelow(l.parentPath[:0], e.root, l.parent)
		}
		if len(m.name) == 0 || bytes.IndexByte(m.name, '/') >= 0 {
			return fmt.Errorf("%w: node's name %q", ErrImage, m.name)
		}
		l.path = append(append(append(l.path[:0], l.parentPath...), '/'), m.name...)
		path = l.path
		if e.Lookup(path) != 0 {
			return fmt.Errorf("%w: second node at %q", ErrImage, path)
		}
	}
	if m.acl != 0 {
		e.acls.slab.At(m.acl).users++
	}
	ref := e.newNode(id, l.parent, m.name, path, m.data, m.acl, &m.stat)
	if l.foreign {
		e.nodeChanges.add(uint32(ref))
	}
	l.ids.insert(idHash(id), uint32(ref))
	l.setBuiltIn(ref, path)
	return nil
}

// setBuiltIn notes the nodes that the engine knows by itself, which come before any below them.
func (l *Loader) setBuiltIn(ref NodeRef, path []byte) {
	e := l.e
	switch {
	case e.root == 0:
		e.root = ref
		l.parent = 0
	case string(path) == PathZookeeper:
		e.zookeeper = ref
	case string(path) == PathQuota:
		e.quota = ref
	case string(path) == PathConfig:
		e.config = ref
	}
}

// Finish checks that the image was whole and returns its state, of which nothing counts as
// changed unless the image is foreign. The Loader must not be used afterwards; on error its memory has been given back.
func (l *Loader) Finish() (*Engine, error) {
	e := l.e
	e.lastZxid, e.lastNodeID = l.meta.lastZxid, l.meta.lastNodeID
	err := l.check()
	l.ids.release()
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	for i := len(l.aclGaps) - 1; i >= 0; i-- { // so that the lowest is reused first
		e.acls.slab.Free(l.aclGaps[i])
	}
	e.acls.dropUnused()
	e.loadQuotas(false)
	return e, nil
}

func (l *Loader) check() error {
	e, m := l.e, &l.meta
	if e.root == 0 || e.zookeeper == 0 || e.quota == 0 || e.config == 0 {
		return fmt.Errorf("%w: no built-in nodes", ErrImage)
	}
	if l.acls != m.acls || e.sessions.open != m.sessions || e.nodes.Len() != m.nodes || m.lastNodeID < l.lastID {
		return fmt.Errorf("%w: %d ACLs, %d sessions, %d nodes up to id %d, want %d, %d, %d, %d", ErrImage,
			l.acls, e.sessions.open, e.nodes.Len(), l.lastID, m.acls, m.sessions, m.nodes, m.lastNodeID)
	}
	if m.hasDigest && e.opts.Digest && m.digest != e.digest {
		return fmt.Errorf("%w: digest %#x, want %#x", ErrImage, e.digest, m.digest)
	}
	return nil
}

// Close gives the memory back, instead of Finish.
func (l *Loader) Close() {
	l.ids.release()
	_ = l.e.Close()
}
