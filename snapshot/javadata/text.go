package javadata

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// This file makes the text of the dumps: JSON in ASCII with blanks behind commas and colons, one transaction
// or node a line, so that it can be searched with ordinary tools and read by programs.

// Bytes of data shown at most, in characters of text or half as many of hexadecimal.
const (
	shownData    = 160
	shownSetData = 600
	shownNode    = 100_000
)

// appendJSONString appends b as a JSON string; what is no UTF-8 becomes the replacement character.
func appendJSONString(dst, b []byte) []byte {
	dst = append(dst, '"')
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r >= ' ' && r < 0x7f:
			dst = append(dst, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}

// appendJSONOrNull is appendJSONString, and null for nil.
func appendJSONOrNull(dst, b []byte) []byte {
	if b == nil {
		return append(dst, "null"...)
	}
	return appendJSONString(dst, b)
}

// appendDataText appends a JSON string that shows data: a quoted text if it is printable, else hexadecimal.
func appendDataText(dst, data []byte, shown int) []byte {
	if data == nil {
		return append(dst, `"null"`...)
	}
	var text []byte
	if printable(data) {
		part := data
		if runes := []rune(string(data)); len(runes) > shown {
			part = fmt.Appendf(nil, "%s...(%d)", string(runes[:shown]), len(data))
		}
		text = appendJSONString(nil, part)
	} else {
		text = append(text, "hex:"...)
		text = hex.AppendEncode(text, data[:min(len(data), shown)])
		if len(data) > shown {
			text = fmt.Appendf(text, "...(%d)", len(data))
		}
	}
	return appendJSONString(dst, text)
}

func printable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if (r == utf8.RuneError && n == 1) || (!unicode.IsPrint(r) && r != '\n' && r != '\t') {
			return false
		}
		b = b[n:]
	}
	return true
}

func appendACLText(dst []byte, acl proto.RawACLs) []byte {
	if acl.Len() < 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	first := true
	acl.Each(func(a proto.RawACL) bool {
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		dst = fmt.Appendf(dst, `{"perms": %d, "scheme": `, a.Perms)
		dst = append(appendJSONOrNull(dst, a.Scheme), `, "id": `...)
		dst = append(appendJSONOrNull(dst, a.ID), '}')
		return true
	})
	return append(dst, ']')
}

// AppendTxnText appends a whole transaction (header, body, digest) as one line of text without its end. What
// does not decode is named in its place. It borrows txn until return.
func AppendTxnText(dst, txn []byte) []byte {
	d := jute.NewDecoder(txn, 0)
	var h proto.TxnHeader
	h.Decode(&d)
	if d.Err() != nil {
		return fmt.Appendf(dst, `{"error": %q}`, d.Err())
	}
	dst = fmt.Appendf(dst, `{"hdr": {"session": "%#x", "cxid": %d, "zxid": "%#x", "time": %d, "type": %s}, "txn": `,
		uint64(h.SessionID), h.Cxid, uint64(h.Zxid), h.TimeMs, typeText(h.Type))
	body := d
	out, err := appendBodyText(dst, &d, h.Type)
	switch {
	case err == nil:
		dst = out
	case h.Type == proto.OpCloseSession: // servers before 3.6 write no list
		dst, d = append(dst, "null"...), body
	default:
		return fmt.Appendf(dst, `{"error": %q}}`, err)
	}
	dst = append(dst, `, "digest": `...)
	if len(d.Rest()) >= proto.TxnDigestBytes {
		dst = fmt.Appendf(dst, `{"version": %d, `, d.Int32())
		dst = fmt.Appendf(dst, `"treeDigest": "%#x"}`, uint64(d.Int64()))
	} else {
		dst = append(dst, "null"...)
	}
	if rest := d.Rest(); len(rest) > 0 {
		dst = fmt.Appendf(dst, `, "trailing": "%x"`, rest)
	}
	return append(dst, '}')
}

// typeText is the quoted name of a type of transaction.
func typeText(t proto.OpCode) string {
	if t == proto.OpCreateTTL {
		return `"createTTL"`
	}
	return strconv.Quote(t.String())
}

// appendBodyText appends the body of a transaction as a JSON object.
func appendBodyText(dst []byte, d *jute.Decoder, typ proto.OpCode) ([]byte, error) {
	dst = append(dst, '{')
	dst, err := appendFieldsText(dst, d, typ)
	return append(dst, '}'), err
}

// appendFieldsText appends the fields of a body, without braces.
func appendFieldsText(dst []byte, d *jute.Decoder, typ proto.OpCode) ([]byte, error) {
	switch typ {
	case proto.OpCloseSession:
		return appendClosedPaths(dst, d)
	case proto.OpMulti:
		return appendMultiText(dst, d)
	}
	var b proto.TxnBody
	if err := b.Decode(d, typ); err != nil {
		return dst, err
	}
	switch typ {
	case proto.OpCreateSession:
		return fmt.Appendf(dst, `"timeOut": %d`, b.TimeoutMs), nil
	case proto.OpError:
		return fmt.Appendf(dst, `"err": %d`, b.Err), nil
	}
	dst = appendJSONOrNull(append(dst, `"path": `...), b.Path)
	switch typ {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		dst = appendDataText(append(dst, `, "data": `...), b.Data, shownData)
		dst = appendACLText(append(dst, `, "acl": `...), b.ACL)
		if typ == proto.OpCreate || typ == proto.OpCreate2 {
			dst = fmt.Appendf(dst, `, "ephemeral": %t`, b.Ephemeral)
		}
		dst = fmt.Appendf(dst, `, "parentCVersion": %d`, b.ParentCversion)
		if typ == proto.OpCreateTTL {
			dst = fmt.Appendf(dst, `, "ttl": %d`, b.TTLms)
		}
	case proto.OpSetData, proto.OpReconfig:
		dst = appendDataText(append(dst, `, "data": `...), b.Data, shownSetData)
		dst = fmt.Appendf(dst, `, "version": %d`, b.Version)
	case proto.OpSetACL:
		dst = appendACLText(append(dst, `, "acl": `...), b.ACL)
		dst = fmt.Appendf(dst, `, "version": %d`, b.Version)
	case proto.OpCheck:
		dst = fmt.Appendf(dst, `, "version": %d`, b.Version)
	}
	return dst, nil
}

func appendClosedPaths(dst []byte, d *jute.Decoder) ([]byte, error) {
	n := d.VectorLen()
	dst = append(dst, `"paths2Delete": `...)
	if n < 0 {
		return append(dst, "null"...), d.Err()
	}
	dst = append(dst, '[')
	for i := 0; i < n && d.Err() == nil; i++ {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendJSONOrNull(dst, d.Buffer())
	}
	return append(dst, ']'), d.Err()
}

func appendMultiText(dst []byte, d *jute.Decoder) ([]byte, error) {
	dst = append(dst, `"txns": [`...)
	n := d.Int32()
	for i := int32(0); i < n && d.Err() == nil; i++ {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		typ := proto.OpCode(d.Int32())
		sub := jute.NewDecoder(d.Buffer(), 0)
		if typ == proto.OpMulti {
			return dst, fmt.Errorf("%w: multi in a multi", ErrFormat)
		}
		dst = fmt.Appendf(dst, `{"type": %s, `, typeText(typ))
		var err error
		if dst, err = appendFieldsText(dst, &sub, typ); err != nil {
			return dst, err
		}
		dst = append(dst, '}')
	}
	return append(dst, ']'), d.Err()
}
