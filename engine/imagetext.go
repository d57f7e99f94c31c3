package engine

import (
	"encoding/binary"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// AppendImageText appends what the image record says, for operators' tools; bytes that are no record are
// written in hexadecimal. It borrows key and value until return.
func AppendImageText(dst, key, value []byte) []byte {
	if len(key) != imageKeyBytes {
		return fmt.Appendf(dst, "%x = %x", key, value)
	}
	id := binary.BigEndian.Uint64(key[1:])
	switch key[0] {
	case kindMeta:
		var m imageMeta
		if m.decode(value) == nil {
			return fmt.Appendf(dst, "meta zxid=0x%x digest=%d nodes=%d sessions=%d acls=%d", m.lastZxid, int64(m.digest), m.nodes, m.sessions, m.acls)
		}
	case kindACL:
		d := jute.NewDecoder(value, 0)
		if acl := proto.SkipACLs(&d); acl != nil {
			return fmt.Appendf(dst, "acl %d %+v", id, acl.Decode())
		}
	case kindSession:
		if len(value) == 4 {
			return fmt.Appendf(dst, "session 0x%x timeout=%dms", id, jute.Int32(value))
		}
	case kindNode:
		var n nodeImage
		if n.decode(value) {
			data := "null"
			if n.data != nil {
				data = fmt.Sprintf("%q", n.data)
			}
			return fmt.Appendf(dst, "node %d parent=%d name=%q acl=%d stat=%+v data=%s", id, n.parent, n.name, n.acl, n.stat, data)
		}
	}
	return fmt.Appendf(dst, "kind %d id %d = %x", key[0], id, value)
}
