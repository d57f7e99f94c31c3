package auth

import (
	"bytes"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// openACL is the encoded list world:anyone with all permissions, by far the commonest one.
var openACL = proto.AppendACLs(nil, proto.WorldAnyone)

// expandedMaxBytes bounds a list that "auth" entries have grown: identities may be as long as
// a frame, so entries times identities could be any size. No client could read a longer list.
const expandedMaxBytes = 1 << 20

// Allowed tells whether identities may do at least one of perms under acl: with skipACL, under
// a null or empty list and as super always, else by an entry that has one of perms and names
// them. It borrows acl and allocates nothing as long as the providers do not.
// Source: client protocol, section 8.2.
func (r *Registry) Allowed(acl proto.RawACLs, perms int32, ids []proto.Identity) bool {
	if r.skipACL || len(acl) == 0 || (perms&proto.PermAll != 0 && bytes.Equal(acl, openACL)) || IsSuper(ids) {
		return true
	}
	d := jute.NewDecoder(acl, 0)
	n := d.VectorLen()
	if n <= 0 {
		return d.Err() == nil
	}
	for ; n > 0; n-- {
		granted, scheme, id := d.Int32(), d.Buffer(), d.Buffer()
		if d.Err() != nil {
			return false
		}
		if granted&perms == 0 {
			continue
		}
		if string(scheme) == SchemeWorld {
			if string(id) == "anyone" {
				return true
			}
			continue
		}
		p := provider(r, scheme)
		if p == nil {
			continue
		}
		for i := range ids {
			if ids[i].Scheme == string(scheme) && p.Matches(ids[i].ID, id) {
				return true
			}
		}
	}
	return false
}

// FixUp appends to dst the list that create and setACL store in place of the one in the
// request: duplicates removed, "auth" entries replaced by the connection's identities. With
// any code but OK dst is returned unchanged: ErrInvalidACL for what section 8.4 refuses,
// ErrMarshalling for a null id where Java stumbles over it. It borrows acl, a vector as
// proto.SkipACLs lends it. Source: client protocol, section 8.4.
func (r *Registry) FixUp(dst []byte, acl proto.RawACLs, ids []proto.Identity) ([]byte, proto.ErrCode) {
	if bytes.Equal(acl, openACL) {
		return append(dst, acl...), proto.OK
	}
	d := jute.NewDecoder(acl, 0)
	n := d.VectorLen()
	if n <= 0 {
		return dst, proto.ErrInvalidACL
	}
	start := len(dst)
	dst = jute.AppendInt32(dst, 0)
	count := int32(0)
	seen := newEntrySet(n)
	for ; n > 0; n-- {
		entry := d.Rest()
		from := d.Offset()
		perms, scheme, id := d.Int32(), d.Buffer(), d.Buffer()
		if d.Err() != nil {
			return dst[:start], proto.ErrMarshalling
		}
		entry = entry[:d.Offset()-from]
		if !seen.add(acl[4:from], entry) {
			continue
		}
		if scheme == nil {
			return dst[:start], proto.ErrInvalidACL
		}
		if string(scheme) == SchemeAuth {
			expanded := false
			for i := range ids {
				if p := provider(r, ids[i].Scheme); p == nil || !p.Authenticated() {
					continue
				}
				expanded = true
				dst = jute.AppendInt32(dst, perms)
				dst = jute.AppendString(dst, ids[i].Scheme)
				dst = jute.AppendString(dst, ids[i].ID)
				count++
				if len(dst)-start > expandedMaxBytes {
					return dst[:start], proto.ErrInvalidACL
				}
			}
			if !expanded {
				return dst[:start], proto.ErrInvalidACL
			}
			continue
		}
		if code := r.checkEntry(scheme, id); code != proto.OK {
			return dst[:start], code
		}
		dst = append(dst, entry...)
		count++
	}
	jute.PutInt32(dst[start:], count)
	return dst, proto.OK
}

// checkEntry checks an entry that is stored as it stands.
func (r *Registry) checkEntry(scheme, id []byte) proto.ErrCode {
	if string(scheme) == SchemeWorld {
		switch {
		case id == nil:
			return proto.ErrMarshalling
		case string(id) == "anyone":
			return proto.OK
		}
		return proto.ErrInvalidACL
	}
	switch p := provider(r, scheme); {
	case p == nil:
		return proto.ErrInvalidACL
	case id == nil:
		return proto.ErrMarshalling
	case !p.ValidID(id):
		return proto.ErrInvalidACL
	}
	return proto.OK
}

// An entrySet finds duplicates among the encoded entries of one list. Short lists are compared
// entry by entry; a long one, which a frame has room for, gets a map.
type entrySet struct{ long map[string]struct{} }

func newEntrySet(n int) entrySet {
	if n <= 16 {
		return entrySet{}
	}
	return entrySet{long: make(map[string]struct{})}
}

// add tells whether entry is not among the entries encoded in before.
func (s *entrySet) add(before, entry []byte) bool {
	if s.long != nil {
		if _, dup := s.long[string(entry)]; dup {
			return false
		}
		s.long[string(entry)] = struct{}{}
		return true
	}
	d := jute.NewDecoder(before, 0)
	for len(d.Rest()) > 0 {
		rest, from := d.Rest(), d.Offset()
		d.Int32()
		d.Buffer()
		d.Buffer()
		if d.Err() != nil || bytes.Equal(rest[:d.Offset()-from], entry) {
			return false
		}
	}
	return true
}

// RedactACL appends the list that getACL shows to somebody: all of it to whoever has ADMIN
// under it; to others the entries of the digest scheme have everything from the first colon
// of the id replaced by ":x". It borrows acl, a list of the tree.
// Source: client protocol, section 8.8.
func (r *Registry) RedactACL(dst []byte, acl proto.RawACLs, ids []proto.Identity) []byte {
	if r.Allowed(acl, proto.PermAdmin, ids) {
		return append(dst, acl...)
	}
	d := jute.NewDecoder(acl, 0)
	n := d.VectorLen()
	dst = jute.AppendInt32(dst, int32(n))
	for ; n > 0; n-- {
		perms, scheme, id := d.Int32(), d.Buffer(), d.Buffer()
		dst = jute.AppendInt32(dst, perms)
		dst = jute.AppendBuffer(dst, scheme)
		if colon := bytes.IndexByte(id, ':'); colon >= 0 && string(scheme) == SchemeDigest {
			dst = jute.AppendInt32(dst, int32(colon)+2)
			dst = append(append(dst, id[:colon]...), ":x"...)
			continue
		}
		dst = jute.AppendBuffer(dst, id)
	}
	return dst
}
