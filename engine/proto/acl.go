package proto

import "zabra.dev/zabra/engine/jute"

// An ACL grants Perms to what Scheme and ID name. Null strings, which only requests may
// carry, are a matter of DecodeACLs.
type ACL struct {
	Perms      int32
	Scheme, ID string
}

// WorldAnyone grants everything to everybody: the list that clients call OPEN_ACL_UNSAFE.
var WorldAnyone = []ACL{{Perms: PermAll, Scheme: "world", ID: "anyone"}}

// AppendACLs appends a vector of ACLs; nil becomes the null vector.
func AppendACLs(dst []byte, acls []ACL) []byte {
	if acls == nil {
		return jute.AppendInt32(dst, -1)
	}
	dst = jute.AppendInt32(dst, int32(len(acls)))
	for i := range acls {
		dst = jute.AppendInt32(dst, acls[i].Perms)
		dst = jute.AppendString(dst, acls[i].Scheme)
		dst = jute.AppendString(dst, acls[i].ID)
	}
	return dst
}

// RawACLs lends an encoded vector of ACLs as it stands in a record: the four bytes of its
// count and the entries. Copying, comparing and interning the raw bytes needs no allocation.
type RawACLs []byte

// SkipACLs reads over a vector of ACLs and lends its bytes. A null vector gives its four bytes.
func SkipACLs(d *jute.Decoder) RawACLs {
	start := *d
	n := d.VectorLen()
	for i := 0; i < n && d.Err() == nil; i++ {
		d.Int32()
		d.Buffer()
		d.Buffer()
	}
	if d.Err() != nil {
		return nil
	}
	return RawACLs(start.Rest()[:d.Offset()-start.Offset()])
}

// A RawACL is one entry of a RawACLs; nil Scheme or ID is null. Its bytes are lent.
type RawACL struct {
	Perms      int32
	Scheme, ID []byte
}

// Len returns the number of entries, -1 for a null vector.
func (r RawACLs) Len() int {
	d := jute.NewDecoder(r, 0)
	return d.VectorLen()
}

// Each calls f with each entry in order until f returns false. r must come from SkipACLs or
// AppendACLs, so that it decodes.
func (r RawACLs) Each(f func(RawACL) bool) {
	d := jute.NewDecoder(r, 0)
	n := d.VectorLen()
	for i := 0; i < n; i++ {
		a := RawACL{Perms: d.Int32(), Scheme: d.Buffer(), ID: d.Buffer()}
		if d.Err() != nil || !f(a) {
			return
		}
	}
}

// Decode gives the entries as ACLs of their own, nil for a null vector. A null scheme or id
// becomes the empty string.
func (r RawACLs) Decode() []ACL {
	n := r.Len()
	if n < 0 {
		return nil
	}
	out := make([]ACL, 0, min(n, len(r)/12+1))
	r.Each(func(a RawACL) bool {
		out = append(out, ACL{Perms: a.Perms, Scheme: string(a.Scheme), ID: string(a.ID)})
		return true
	})
	return out
}

// An Identity is what a connection has shown itself to be: a scheme and an id under it
// (client protocol, section 8.3).
type Identity struct {
	Scheme, ID string
}
