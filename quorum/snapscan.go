package quorum

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
)

// ErrSnapshot reports bytes that are not the raw tree that follows a SNAP packet.
var ErrSnapshot = errors.New("quorum: malformed snapshot stream")

// SnapSignature is what stands behind the raw tree, as a string with its length (section 4.7).
const SnapSignature = "BenWasHere"

// SnapScanner finds the end of the raw tree that follows a SNAP packet, which no length tells
// (quorum protocol, section 4.7):
//
//	tree = sessions i32, sessions x (id i64, timeout i32)
//	       acls i32, acls x (id i64, vector of (perms i32, scheme string, id string))
//	       nodes x (path string, data buffer, acl id i64, stat 60 bytes)
//	       string "/"
//
// The zero SnapScanner is at the start of a tree with the default limits. It holds no bytes
// and allocates nothing.
type SnapScanner struct {
	// StringMaxBytes bounds paths, scheme and id strings, and data. Default: the default of
	// Limits.DataMaxBytes.
	StringMaxBytes int

	part  snapPart
	skip  int   // bytes of the current field that are still to come
	items int64 // sessions or ACL lists still to come
	acls  int32 // entries of the current ACL list still to come
	word  [4]byte
	have  int // bytes in word
}

// snapPart names what the scanner expects next.
type snapPart uint8

const (
	snapSessionCount snapPart = iota
	snapSession
	snapACLCount
	snapACLID
	snapACLLen
	snapACLPerms
	snapACLScheme
	snapACLIdentity
	snapPath
	snapPathByte
	snapData
	snapStat
	snapDone
)

const (
	snapSessionBytes = 8 + 4
	snapStatBytes    = 8 + 6*8 + 3*4 // acl id and StatPersisted: czxid, mzxid, ctime, mtime, 3 versions, ephemeralOwner, pzxid
)

// Done reports whether the whole tree has been seen.
func (s *SnapScanner) Done() bool { return s.part == snapDone && s.skip == 0 }

// Scan looks at the next bytes of the stream, which it borrows until return, and returns how
// many of them belong to the tree: all of them unless the tree ends in b. After an error,
// which matches ErrSnapshot, the scanner is of no use.
func (s *SnapScanner) Scan(b []byte) (n int, err error) {
	maxBytes := s.StringMaxBytes
	if maxBytes <= 0 {
		maxBytes = defaultDataMaxBytes
	}
	for n < len(b) {
		if s.skip > 0 {
			k := min(s.skip, len(b)-n)
			s.skip -= k
			n += k
			continue
		}
		switch s.part { // the parts without a word in front
		case snapDone:
			return n, nil
		case snapSession:
			if s.items == 0 {
				s.part = snapACLCount
				continue
			}
			s.items--
			s.skip = snapSessionBytes
			continue
		case snapACLID:
			if s.items == 0 {
				s.part = snapPath
				continue
			}
			s.items--
			s.skip, s.part = 8, snapACLLen
			continue
		case snapACLPerms:
			if s.acls <= 0 {
				s.part = snapACLID
				continue
			}
			s.acls--
			s.skip, s.part = 4, snapACLScheme
			continue
		case snapPathByte:
			// A path of one byte: "/" ends the nodes. No node has such a path, the root's is "".
			if b[n] != '/' {
				return n, fmt.Errorf("%w: path %q", ErrSnapshot, b[n:n+1])
			}
			n++
			s.part = snapDone
			return n, nil
		case snapStat:
			s.skip, s.part = snapStatBytes, snapPath
			continue
		}
		for s.have < 4 && n < len(b) {
			s.word[s.have] = b[n]
			s.have++
			n++
		}
		if s.have < 4 {
			return n, nil
		}
		s.have = 0
		v := jute.Int32(s.word[:])
		if v < -1 || (v == -1 && s.part <= snapACLCount) {
			return n, fmt.Errorf("%w: length %d", ErrSnapshot, v)
		}
		switch s.part {
		case snapSessionCount:
			s.items, s.part = int64(v), snapSession
		case snapACLCount:
			s.items, s.part = int64(v), snapACLID
		case snapACLLen:
			s.acls, s.part = v, snapACLPerms
		default:
			if int(v) > maxBytes {
				return n, fmt.Errorf("%w: field of %d bytes, limit %d", ErrSnapshot, v, maxBytes)
			}
			s.skip = max(int(v), 0)
			switch s.part {
			case snapACLScheme:
				s.part = snapACLIdentity
			case snapACLIdentity:
				s.part = snapACLPerms
			case snapPath:
				s.part = snapData
				if v == 1 {
					s.skip, s.part = 0, snapPathByte
				}
			case snapData:
				s.part = snapStat
			}
		}
	}
	return n, nil
}
