package javadata

import (
	"fmt"
	"io"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// ExportImage writes the state that an image holds as the tree behind a SNAP packet, like ExportTree, without building it;
// see engine.WalkImage about scan and memory. After an error what was written is no tree.
func ExportImage(scan func(from []byte, f func(key, value []byte) error) error, w io.Writer) error {
	v := imageExport{sw: NewTreeWriter(w)}
	err := engine.WalkImage(scan, &v)
	if err == nil {
		err = v.sw.Finish(Trailer{})
	}
	if err != nil {
		return fmt.Errorf("javadata: export: %w", err)
	}
	return nil
}

// imageExport is an engine.ImageVisitor.
type imageExport struct {
	sw   *SnapshotWriter
	acls int
	node SnapshotNode
}

func (v *imageExport) Begin(sessions, acls int) error {
	v.acls = acls
	return v.sw.Sessions(sessions)
}

func (v *imageExport) Session(id proto.SessionID, timeoutMs int32) error {
	return v.sw.Session(id, timeoutMs)
}

// ACLs announces all lists of the image, those that no node has too: Java drops them.
func (v *imageExport) ACLs() error { return v.sw.ACLs(v.acls) }

func (v *imageExport) ACL(id uint32, acl proto.RawACLs) error { return v.sw.ACL(int64(id), acl) }

func (v *imageExport) Node(path, data []byte, acl uint32, stat *proto.StatPersisted) error {
	v.node = SnapshotNode{Path: path, Data: data, ACL: int64(acl), Stat: *stat}
	if acl == 0 {
		v.node.ACL = builtInACL
	}
	return v.sw.Node(&v.node)
}
