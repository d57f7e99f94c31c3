package load

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	// maxPayloadBytes leaves room for the rest of a request under the 1048575 bytes that a server
	// takes by default (client protocol, section 1.1).
	maxPayloadBytes = 1_000_000
	dirDigits       = 6
	keyDigits       = 9
	sessionDigits   = 6
	nameDigits      = 10
)

// A keyForm is a request about a key, complete but for its xid and the digits of the path. Keys are
// ROOT/dNNNNNN/kNNNNNNNNN; a form for a directory has no key digits.
type keyForm struct {
	frame        []byte
	dirAt, keyAt int // places of the digits; keyAt 0: none
}

// forms holds the requests that all sessions share. It is read-only once made.
type forms struct {
	root       string
	keysPerDir uint32
	get, watch, exists,
	children keyForm
	set      keyForm // header and path of a setData; data, version and the frame's length are to be added
	setInner keyForm // the same as part of a multi
	sync     []byte
	acl      []byte
}

func newForms(root string, keysPerDir int) *forms {
	f := &forms{root: root, keysPerDir: uint32(keysPerDir), acl: proto.AppendACLs(nil, proto.WorldAnyone)}
	key := fmt.Sprintf("%s/d%0*d/k%0*d", root, dirDigits, 0, keyDigits, 0)
	dir := fmt.Sprintf("%s/d%0*d", root, dirDigits, 0)
	// rest is what follows the path.
	form := func(op proto.OpCode, path string, rest ...byte) keyForm {
		b := beginRequest(nil, 0, op)
		k := keyForm{dirAt: len(b) + 4 + len(root) + 2}
		if path == key {
			k.keyAt = k.dirAt + dirDigits + 2
		}
		b = append(jute.AppendString(b, path), rest...)
		endRequest(b, 0)
		k.frame = b
		return k
	}
	f.get = form(proto.OpGetData, key, 0)
	f.watch = form(proto.OpGetData, key, 1)
	f.exists = form(proto.OpExists, key, 0)
	f.children = form(proto.OpGetChildren2, dir, 0)
	f.set = form(proto.OpSetData, key)
	inner := proto.MultiHeader{Type: proto.OpSetData, Err: -1}.Append(nil)
	f.setInner = keyForm{dirAt: len(inner) + 4 + len(root) + 2}
	f.setInner.keyAt = f.setInner.dirAt + dirDigits + 2
	f.setInner.frame = jute.AppendString(inner, key)
	b := jute.AppendString(beginRequest(nil, 0, proto.OpSync), root)
	endRequest(b, 0)
	f.sync = b
	return f
}

// beginRequest appends the header of a request; endRequest fills in the length once the body is there.
func beginRequest(dst []byte, xid int32, op proto.OpCode) []byte {
	dst = jute.AppendInt32(dst, 0)
	dst = jute.AppendInt32(dst, xid)
	return jute.AppendInt32(dst, int32(op))
}

// endRequest fills in the length of the frame that starts at start and ends with dst.
func endRequest(dst []byte, start int) { jute.PutInt32(dst[start:], int32(len(dst)-start-4)) }

// appendKey appends a complete request about a key, or about the key's directory.
func (f *forms) appendKey(dst []byte, form *keyForm, xid int32, key uint32) []byte {
	start := len(dst)
	dst = f.appendForm(dst, form, key)
	jute.PutInt32(dst[start+4:], xid)
	return dst
}

func (f *forms) appendForm(dst []byte, form *keyForm, key uint32) []byte {
	start := len(dst)
	dst = append(dst, form.frame...)
	b := dst[start:]
	putDigits(b[form.dirAt:form.dirAt+dirDigits], uint64(key/f.keysPerDir))
	if form.keyAt > 0 {
		putDigits(b[form.keyAt:form.keyAt+keyDigits], uint64(key))
	}
	return dst
}

// appendSet appends a setData of any version.
func (f *forms) appendSet(dst []byte, xid int32, key uint32, data []byte) []byte {
	start := len(dst)
	dst = f.appendKey(dst, &f.set, xid, key)
	dst = jute.AppendInt32(jute.AppendBuffer(dst, data), -1)
	endRequest(dst, start)
	return dst
}

// appendKeyCreate appends the body of a create of a key.
func (f *forms) appendKeyCreate(dst []byte, key uint32, data []byte) []byte {
	path := f.setInner.frame[proto.MultiHeaderBytes:]
	start := len(dst)
	dst = append(dst, path...)
	b := dst[start:]
	putDigits(b[f.setInner.dirAt-proto.MultiHeaderBytes:][:dirDigits], uint64(key/f.keysPerDir))
	putDigits(b[f.setInner.keyAt-proto.MultiHeaderBytes:][:keyDigits], uint64(key))
	dst = jute.AppendBuffer(dst, data)
	dst = append(dst, f.acl...)
	return jute.AppendInt32(dst, proto.FlagPersistent)
}

// appendInnerSet appends a setData as a part of a multi.
func (f *forms) appendInnerSet(dst []byte, key uint32, data []byte) []byte {
	dst = f.appendForm(dst, &f.setInner, key)
	return jute.AppendInt32(jute.AppendBuffer(dst, data), -1)
}

// appendCreate appends a create of prefix followed by number.
func (f *forms) appendCreate(dst []byte, xid int32, prefix []byte, number uint64, data []byte, flags int32) []byte {
	start := len(dst)
	dst = beginRequest(dst, xid, proto.OpCreate)
	dst = appendName(dst, prefix, number)
	dst = jute.AppendBuffer(dst, data)
	dst = append(dst, f.acl...)
	dst = jute.AppendInt32(dst, flags)
	endRequest(dst, start)
	return dst
}

// appendDelete appends a delete, of any version, of what appendCreate names.
func appendDelete(dst []byte, xid int32, prefix []byte, number uint64) []byte {
	start := len(dst)
	dst = beginRequest(dst, xid, proto.OpDelete)
	dst = appendName(dst, prefix, number)
	dst = jute.AppendInt32(dst, -1)
	endRequest(dst, start)
	return dst
}

func appendName(dst, prefix []byte, number uint64) []byte {
	dst = jute.AppendInt32(dst, int32(len(prefix)+nameDigits))
	dst = append(dst, prefix...)
	dst = append(dst, "0000000000"...)
	putDigits(dst[len(dst)-nameDigits:], number)
	return dst
}

// appendHeaderOnly appends a request without a body.
func appendHeaderOnly(dst []byte, xid int32, op proto.OpCode) []byte {
	start := len(dst)
	dst = beginRequest(dst, xid, op)
	endRequest(dst, start)
	return dst
}

// putDigits writes v, in decimal and with leading zeros, over all of b.
func putDigits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		q := v / 10
		b[i] = byte('0' + v - q*10)
		v = q
	}
}

// keyOf returns the key that path names, false when it is no key.
func (f *forms) keyOf(path []byte) (uint32, bool) {
	const tail = 2 + dirDigits + 2 + keyDigits
	if len(path) != len(f.root)+tail || path[len(path)-keyDigits-1] != 'k' {
		return 0, false
	}
	key := uint32(0)
	for _, d := range path[len(path)-keyDigits:] {
		if d < '0' || d > '9' {
			return 0, false
		}
		key = key*10 + uint32(d-'0')
	}
	return key, true
}

// A replyHead is what the generator needs to know of a reply.
type replyHead struct {
	xid  int32
	zxid proto.Zxid
	err  proto.ErrCode
	// multiFailed: the first result of what may be a multi is an error (client protocol, section 6.3).
	multiFailed bool
}

// headBytes is how much of a frame decodes to a replyHead: the length, the reply header, type and end mark of the first
// result.
const headBytes = 4 + proto.ReplyHeaderBytes + 5

// headOf decodes the start of a frame that has at least a reply header.
func headOf(b []byte) replyHead {
	h := replyHead{xid: jute.Int32(b[4:]), zxid: jute.Int64(b[8:]), err: proto.ErrCode(jute.Int32(b[16:]))}
	if len(b) >= headBytes {
		h.multiFailed = jute.Int32(b[20:]) == int32(proto.OpError) && b[24] == 0
	}
	return h
}
