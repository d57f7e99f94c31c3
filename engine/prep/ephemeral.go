package prep

import (
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// CreatesEphemeral tells whether a write asks for an ephemeral: a create or create2 that does, or a multi with one. A
// local session that sends it has to become global first. What does not decode asks for none and is refused
// later. body is borrowed until return; bufferMaxBytes is as in Options.BufferMaxBytes.
//
// It may be called from any goroutine. Source: quorum protocol, section 5.6.
func CreatesEphemeral(op proto.OpCode, body []byte, bufferMaxBytes int) bool {
	switch op {
	case proto.OpCreate, proto.OpCreate2:
		d := jute.NewDecoder(body, bufferMaxBytes)
		var r proto.CreateRequest
		r.Decode(&d, op)
		return d.Err() == nil && isEphemeral(r.Flags)
	case proto.OpMulti:
		found := false
		m := NewMultiReader(body, bufferMaxBytes)
		for m.Next() {
			found = found || (m.Op == proto.OpCreate || m.Op == proto.OpCreate2) && isEphemeral(m.Create.Flags)
		}
		return found && m.Err() == proto.OK
	}
	return false
}
