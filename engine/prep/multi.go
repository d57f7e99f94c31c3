package prep

import (
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A MultiReader walks the operations of a multi request.
type MultiReader struct {
	d   jute.Decoder
	err bool

	// Op is the operation as the client asked for it and as its result is typed: Java lets the
	// flags of a create decide, so flags 4 make a create a createContainer, and a createTTL
	// without a TTL flag is a create.
	Op proto.OpCode
	// The request record of Op: Create for creates, SetData, and Target for delete and check.
	// Their bytes are lent by the body.
	Create  proto.CreateRequest
	SetData proto.SetDataRequest
	Target  proto.PathVersion
}

// NewMultiReader starts behind the 8-byte request header. It borrows body; bufferMaxBytes is
// as in Options.BufferMaxBytes.
func NewMultiReader(body []byte, bufferMaxBytes int) MultiReader {
	return MultiReader{d: jute.NewDecoder(body, bufferMaxBytes)}
}

// Next reads the next operation. At the end, and at what makes the whole request fail, it
// gives false; Err tells one from the other.
func (m *MultiReader) Next() bool {
	var h proto.MultiHeader
	h.Decode(&m.d)
	if m.err || m.d.Err() != nil || h.Done {
		return false
	}
	var path []byte
	switch m.Op = h.Type; h.Type {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		m.Create.Decode(&m.d, h.Type)
		path = m.Create.Path
		m.setCreateOp()
	case proto.OpDelete, proto.OpCheck:
		m.Target.Decode(&m.d)
		path = m.Target.Path
	case proto.OpSetData:
		m.SetData.Decode(&m.d)
		path = m.SetData.Path
	default:
		m.err = true
	}
	m.err = m.err || m.d.Err() != nil || path == nil
	return !m.err
}

// setCreateOp derives the operation from header type and flags.
func (m *MultiReader) setCreateOp() {
	flags := m.Create.Flags
	switch {
	case m.Op == proto.OpCreateTTL:
		if isTTL(flags) {
			return
		}
		// Its flags are judged like those of a create, and its TTL is not looked at.
		m.Op = proto.OpCreate
		m.Create.TTLms = 0
	case flags < proto.FlagPersistent || flags >= proto.FlagTTL:
		m.err = true
	}
	if flags == proto.FlagContainer {
		m.Op = proto.OpCreateContainer
	}
}

// Err tells whether the request is malformed: ErrMarshalling for the whole of it, or OK.
func (m *MultiReader) Err() proto.ErrCode {
	if m.err || m.d.Err() != nil {
		return proto.ErrMarshalling
	}
	return proto.OK
}

// multi prepares a multi (client protocol, section 6; quorum protocol, section 6.4). A failing
// operation takes back the earlier ones, and the transaction says so: the earlier ones in
// full, then errors. Only if the request as a whole is malformed it appends nothing.
func (p *Preparer) multi(dst []byte) ([]byte, proto.ErrCode) {
	start := len(dst)
	m := NewMultiReader(p.req.Body, p.opts.BufferMaxBytes)
	count := int32(0)
	for m.Next() {
		count++
	}
	if code := m.Err(); code != proto.OK {
		return dst, code
	}
	dst = jute.AppendInt32(dst, count)
	before, failed := p.digest, proto.OK
	p.inMulti = true
	for m = NewMultiReader(p.req.Body, p.opts.BufferMaxBytes); m.Next(); {
		if failed != proto.OK {
			dst = appendMultiError(dst, proto.ErrRuntimeInconsistency)
			continue
		}
		op := len(dst)
		typ := m.Op
		if typ == proto.OpCreate2 && p.opts.LogCreate2InMultiAsCreate {
			typ = proto.OpCreate
		}
		dst = jute.AppendInt32(jute.AppendInt32(dst, int32(typ)), 0)
		dst, failed = p.multiOp(dst, &m)
		if failed == proto.OK {
			jute.PutInt32(dst[op+4:], int32(len(dst)-op-8))
			continue
		}
		p.overlay.rollback(&p.treeOpts)
		p.digest = before
		if failed == proto.ErrMarshalling {
			// Not an error that Java's operations know, so it ends the whole request.
			dst = dst[:start]
			break
		}
		dst = appendMultiError(dst[:op], failed)
	}
	p.inMulti = false
	p.overlay.forget()
	return dst, failed
}

// multiOp appends the body of one operation.
func (p *Preparer) multiOp(dst []byte, m *MultiReader) ([]byte, proto.ErrCode) {
	switch m.Op {
	case proto.OpDelete:
		return p.delete(dst, &m.Target)
	case proto.OpCheck:
		return p.check(dst, &m.Target)
	case proto.OpSetData:
		return p.setData(dst, &m.SetData)
	}
	return p.create(dst, m.Op, &m.Create)
}

func appendMultiError(dst []byte, code proto.ErrCode) []byte {
	dst = jute.AppendInt32(dst, int32(proto.OpError))
	dst = jute.AppendInt32(dst, 4)
	return jute.AppendInt32(dst, int32(code))
}
