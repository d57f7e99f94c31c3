package javadata

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// ExportOptions are how a snapshot is written.
type ExportOptions struct {
	Compression Compression
	Parts       Parts
}

// Export writes the engine's state as a snapshot file's bytes, which every Java release loads if Parts suit
// its settings. It streams: beside the engine it needs two buffers and, for each list of ACLs, a number. The
// engine must not be written to meanwhile; the caller holds a gate, or is the writer.
func Export(e *engine.Engine, w io.Writer, opts ExportOptions) error {
	z := Compress(w, opts.Compression)
	if err := exportTo(e, NewSnapshotWriter(z), opts.Parts); err != nil {
		return fmt.Errorf("javadata: export: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("javadata: export: %w", err)
	}
	return nil
}

// ExportFile writes the snapshot file of the engine's last zxid into a version-2 folder, whole or not at
// all, and returns its name. As for Export nobody may write to the engine meanwhile.
func ExportFile(e *engine.Engine, fs vfs.FS, dir string, opts ExportOptions) (string, error) {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("javadata: export: %w", err)
	}
	path := fs.PathJoin(dir, SnapshotName(e.LastZxid(), opts.Compression))
	return path, writeFile(fs, path, func(w io.Writer) error { return Export(e, w, opts) })
}

// ExportTree writes the engine's state as the tree behind a SNAP packet; see NewTreeWriter and Export.
func ExportTree(e *engine.Engine, w io.Writer) error {
	if err := exportTo(e, NewTreeWriter(w), PartsNone); err != nil {
		return fmt.Errorf("javadata: export: %w", err)
	}
	return nil
}

// exportTo relies on the SnapshotWriter to keep the first error.
func exportTo(e *engine.Engine, sw *SnapshotWriter, parts Parts) error {
	err := sw.Sessions(e.SessionCount())
	e.EachSession(func(id proto.SessionID, timeoutMs int32) { err = sw.Session(id, timeoutMs) })
	if err != nil {
		return err
	}
	lists := usedACLs(e)
	if err := sw.ACLs(len(lists)); err != nil {
		return err
	}
	for _, id := range lists {
		if err := sw.ACL(int64(id), e.ACLByID(id)); err != nil {
			return err
		}
	}
	var node engine.Node
	var out SnapshotNode
	err = walk(e, func(path []byte, ref engine.NodeRef) error {
		e.Node(ref, &node)
		out = SnapshotNode{Path: path, Data: e.Data(ref), ACL: int64(node.ACLID), Stat: node.StatPersisted}
		if node.ACLID == 0 {
			out.ACL = builtInACL
		}
		return sw.Node(&out)
	})
	if err != nil {
		return err
	}
	t := Trailer{
		HasDigest: parts.digest(), DigestZxid: e.LastZxid(), DigestVersion: proto.DigestVersion, Digest: e.Digest(),
		HasLastZxid: parts.lastZxid(), LastZxid: e.LastZxid(),
	}
	if e.LastZxid() == 0 || !e.Options().Digest {
		t.DigestZxid, t.Digest = 0, 0 // none
	}
	return sw.Finish(t)
}

// usedACLs returns the numbers of all lists that nodes have, but for the built-in one.
func usedACLs(e *engine.Engine) []uint32 {
	used := map[uint32]struct{}{}
	var node engine.Node
	// f returns no error, so neither does walk.
	_ = walk(e, func(_ []byte, ref engine.NodeRef) error {
		if e.Node(ref, &node); node.ACLID != 0 {
			used[node.ACLID] = struct{}{}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(used))
}

// walk calls f with every node, depth first. path is empty for the root and lent until f returns.
func walk(e *engine.Engine, f func(path []byte, ref engine.NodeRef) error) error {
	var path []byte
	root := e.Root()
	if err := f(path, root); err != nil {
		return err
	}
	for ref := e.FirstChild(root); ref != 0; {
		path = append(append(path, '/'), e.Name(ref)...)
		if err := f(path, ref); err != nil {
			return err
		}
		if child := e.FirstChild(ref); child != 0 {
			ref = child
			continue
		}
		for ref != root {
			path = path[:len(path)-1-len(e.Name(ref))]
			if next := e.NextSibling(ref); next != 0 {
				ref = next
				break
			}
			ref = e.Parent(ref)
		}
		if ref == root {
			return nil
		}
	}
	return nil
}
