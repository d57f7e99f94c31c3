package prep

import (
	"bytes"
	"unicode/utf8"

	"zabra.dev/zabra/engine"
)

// zookeeperPrefix starts the paths of all nodes that the tree digest leaves out
// (quorum protocol, section 7.3).
const zookeeperPrefix = engine.PathZookeeper + "/"

// ValidPath tells whether path may name a znode: it starts with a slash, does not end with
// one unless it is the root, has no empty component and none called "." or "..", and no
// character that Java refuses. Null is not valid. Source: client protocol, section 5.6.
func ValidPath(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	if len(path) == 1 {
		return true
	}
	start := 1 // of the component at i
	for i := 1; i < len(path); {
		switch c := path[i]; {
		case c == '/':
			if !validComponent(path[start:i]) {
				return false
			}
			i++
			start = i
		case c < 0x20 || c == 0x7F:
			return false
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(path[i:])
			if !validRune(r) {
				return false
			}
			i += n
		}
	}
	return validComponent(path[start:])
}

func validComponent(c []byte) bool {
	switch len(c) {
	case 0:
		return false
	case 1:
		return c[0] != '.'
	case 2:
		return c[0] != '.' || c[1] != '.'
	}
	return true
}

// validRune tells of a rune beyond ASCII whether Java takes it. Malformed input comes here as
// U+FFFD, which is among the refused; runes beyond U+FFFF are surrogates to Java.
func validRune(r rune) bool {
	return r > 0x9F && r < 0xD800 || r > 0xF8FF && r < 0xFFF0
}

// isSpecialPath tells of the nodes that nobody may delete (client protocol, section 5.7).
func isSpecialPath(path []byte) bool {
	switch string(path) {
	case "/", engine.PathZookeeper, engine.PathQuota, engine.PathConfig:
		return true
	}
	return false
}

// createParent gives the parent of a path to be created, false if it has none or holds a NUL.
// All other rules wait until the parent has been found.
func createParent(path []byte) (parent []byte, ok bool) {
	slash := bytes.LastIndexByte(path, '/')
	if slash < 0 || bytes.IndexByte(path, 0) >= 0 {
		return nil, false
	}
	return path[:slash], true
}

// deleteParent is createParent with the nodes that stay refused.
func deleteParent(path []byte) (parent []byte, ok bool) {
	if isSpecialPath(path) {
		return nil, false
	}
	return createParent(path)
}

// treePath is the path under which the overlay and the digest know a node: the root is empty.
func treePath(path []byte) []byte {
	if len(path) == 1 && path[0] == '/' {
		return path[:0]
	}
	return path
}

// inDigest tells whether the node at path counts in the tree digest.
func inDigest(path []byte) bool {
	return len(path) < len(zookeeperPrefix) || string(path[:len(zookeeperPrefix)]) != zookeeperPrefix
}

// appendSequence appends the ten-digit number of a sequential node, as Java's "%010d" has it:
// a negative number has its sign among the ten (client protocol, section 5.3).
func appendSequence(dst []byte, n int32) []byte {
	v, digits := uint64(n), 10
	if n < 0 {
		v, digits = uint64(-int64(n)), 9
		dst = append(dst, '-')
	}
	if v >= 1_000_000_000 {
		digits = 10
	}
	start := len(dst)
	dst = append(dst, "0000000000"[:digits]...)
	for i := len(dst) - 1; i >= start; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}
