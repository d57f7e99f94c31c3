package engine

import (
	"bytes"
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// An ImageVisitor is given the state that an image holds, in the order in which Java's snapshots have it. Byte slices are
// lent until return; an error ends the walk.
type ImageVisitor interface {
	// Begin comes first.
	Begin(sessions, acls int) error
	Session(id proto.SessionID, timeoutMs int32) error
	// ACLs begins the lists, behind the sessions.
	ACLs() error
	// ACL is a list that nodes may name by id, which is not 0.
	ACL(id uint32, acl proto.RawACLs) error
	// Node is given parents before their children. path is empty for the root, data is nil for null, and acl 0 is the
	// built-in open list.
	Node(path, data []byte, acl uint32, stat *proto.StatPersisted) error
}

// WalkImage gives v the state of an image without building it. scan calls f with all records whose keys are at or above
// from, in order of their keys, each time the same, until f fails, and returns that error. Memory is taken for the names of
// the nodes that have children, and no more. An image that is not whole is ErrImage; that may be found at the end only.
func WalkImage(scan func(from []byte, f func(key, value []byte) error) error, v ImageVisitor) error {
	w := imageWalk{scan: scan, v: v, dirs: map[uint64]*imageDir{}}
	if err := w.each(0, w.putMeta); err != nil {
		return err
	}
	if err := v.Begin(w.meta.sessions, w.meta.acls); err != nil {
		return err
	}
	if err := w.each(kindSession, w.session); err != nil {
		return err
	}
	if err := v.ACLs(); err != nil {
		return err
	}
	if err := w.each(kindACL, w.acl); err != nil {
		return err
	}
	if err := w.each(kindNode, w.noteParent); err != nil {
		return err
	}
	if err := w.each(kindNode, w.node); err != nil {
		return err
	}
	m := &w.meta
	if w.sessions != m.sessions || w.acls != m.acls || w.nodes != m.nodes {
		return fmt.Errorf("%w: %d sessions, %d ACLs, %d nodes, want %d, %d, %d", ErrImage, w.sessions, w.acls, w.nodes, m.sessions, m.acls, m.nodes)
	}
	if m.hasDigest && w.digest != m.digest {
		return fmt.Errorf("%w: digest %#x, want %#x", ErrImage, w.digest, m.digest)
	}
	return nil
}

// imageDir is a node that has children.
type imageDir struct {
	parent *imageDir
	name   string
	seen   bool
	system bool // its children are left out of the digest
}

type imageWalk struct {
	scan func(from []byte, f func(key, value []byte) error) error
	v    ImageVisitor
	meta imageMeta
	img  nodeImage

	dirs                  map[uint64]*imageDir // by node id
	lastParent            uint64               // of noteParent, and that of node, whose dir and path these are
	dir                   *imageDir
	dirPath, path         []byte
	sessions, acls, nodes int
	digest                uint64
}

var errWalked = errors.New("engine: end of the kind")

// each calls f with the records of a kind, 0 being the first record alone.
func (w *imageWalk) each(kind byte, f func(id uint64, value []byte) error) error {
	var from []byte
	if kind != 0 {
		from = []byte{kind}
	}
	w.lastParent, w.dir = 0, nil
	err := w.scan(from, func(key, value []byte) error {
		if len(key) != imageKeyBytes {
			return fmt.Errorf("%w: key of %d bytes", ErrImage, len(key))
		}
		if kind == 0 && key[0] != kindMeta {
			return fmt.Errorf("%w: it begins with key %x", ErrImage, key)
		}
		if kind != 0 && key[0] != kind {
			return errWalked
		}
		if err := f(uint64(jute.Int64(key[1:])), value); err != nil {
			return err
		}
		if kind == 0 {
			return errWalked
		}
		return nil
	})
	if errors.Is(err, errWalked) {
		return nil
	}
	if err == nil && kind == 0 {
		return fmt.Errorf("%w: it is empty", ErrImage)
	}
	return err
}

func (w *imageWalk) putMeta(_ uint64, value []byte) error { return w.meta.decode(value) }

func (w *imageWalk) session(id uint64, value []byte) error {
	if len(value) != 4 {
		return fmt.Errorf("%w: session", ErrImage)
	}
	w.sessions++
	return w.v.Session(proto.SessionID(id), jute.Int32(value))
}

func (w *imageWalk) acl(id uint64, value []byte) error {
	d := jute.NewDecoder(value, 0)
	if raw := proto.SkipACLs(&d); d.Err() != nil || len(raw) != len(value) || id == 0 || id >= maxImageACLs {
		return fmt.Errorf("%w: list of ACLs", ErrImage)
	}
	w.acls++
	return w.v.ACL(uint32(id), value)
}

// noteParent finds the nodes that have children.
func (w *imageWalk) noteParent(_ uint64, value []byte) error {
	r := varints{b: value}
	parent := r.uint()
	if r.bad {
		return fmt.Errorf("%w: node", ErrImage)
	}
	if parent != w.lastParent {
		w.lastParent = parent
		if w.dirs[parent] == nil {
			w.dirs[parent] = &imageDir{}
		}
	}
	return nil
}

func (w *imageWalk) node(id uint64, value []byte) error {
	m := &w.img
	if !m.decode(value) {
		return fmt.Errorf("%w: node", ErrImage)
	}
	if (m.parent == 0) != (w.nodes == 0) || (m.parent == 0) != (len(m.name) == 0) || bytes.IndexByte(m.name, '/') >= 0 {
		return fmt.Errorf("%w: node %d with parent %d and name %q", ErrImage, id, m.parent, m.name)
	}
	w.nodes++
	w.path = w.path[:0]
	system := false
	if m.parent != 0 {
		if m.parent != w.lastParent {
			w.lastParent, w.dir = m.parent, w.dirs[m.parent]
			if w.dir == nil || !w.dir.seen {
				return fmt.Errorf("%w: node's parent %d is missing", ErrImage, m.parent)
			}
			w.dirPath = w.dir.appendPath(w.dirPath[:0])
		}
		system = w.dir.system
		w.path = append(append(append(w.path, w.dirPath...), '/'), m.name...)
	}
	if d := w.dirs[id]; d != nil {
		d.parent, d.name, d.seen = w.dir, string(m.name), true
		d.system = system || string(w.path) == PathZookeeper
	}
	if w.meta.hasDigest && !system {
		w.digest += nodeDigest(PathDataCRC(w.path, m.data), &m.stat)
	}
	return w.v.Node(w.path, m.data, m.acl, &m.stat)
}

// appendPath appends the path; nothing for the root.
func (d *imageDir) appendPath(dst []byte) []byte {
	if d.parent == nil {
		return dst
	}
	return append(append(d.parent.appendPath(dst), '/'), d.name...)
}
