package javadata

import "zabra.dev/zabra/engine/proto"

// DefaultJuteMaxBufferBytes is jute.maxbuffer's default.
const DefaultJuteMaxBufferBytes = 0xfffff

// Options are what reading files depends on; the zero value is Java's defaults.
type Options struct {
	// JuteMaxBufferBytes is the jute.maxbuffer of the server that wrote the files; 0 is the default. As in
	// Java, a buffer or string may have twice as much before it counts as damage.
	JuteMaxBufferBytes int
}

func (o Options) fieldBytesMax() int {
	n := o.JuteMaxBufferBytes
	if n <= 0 {
		n = DefaultJuteMaxBufferBytes
	}
	return 2 * n
}

// builtInACL is the number of the built-in open list in snapshots, which is not in their ACL table.
const builtInACL int64 = -1

// closedACL stands for a list whose number is not in the table: it lets nobody but the superuser in.
var closedACL = proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: 0, Scheme: "world", ID: "anyone"}}))
