package auth

import "unicode/utf8"

// validPrefix returns the length of the longest well-formed start of b.
func validPrefix(b []byte) int {
	i := 0
	for i < len(b) {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// malformedLen returns how many of the bytes at the start of b, where no well-formed sequence
// begins, Java's decoder replaces by one U+FFFD. It takes the longest start of a sequence
// that could have been continued, and an encoded surrogate as a whole.
func malformedLen(b []byte) int {
	cont := func(i int) bool { return i < len(b) && b[i]&0xC0 == 0x80 }
	switch c := b[0]; {
	case c == 0xED && cont(1) && cont(2): // surrogate
		return 3
	case c >= 0xE0 && c <= 0xEF:
		if cont(1) && (c != 0xE0 || b[1] >= 0xA0) {
			return 2
		}
	case c >= 0xF0 && c <= 0xF4:
		if !cont(1) || (c == 0xF0 && b[1] < 0x90) || (c == 0xF4 && b[1] > 0x8F) {
			return 1
		}
		if cont(2) {
			return 3
		}
		return 2
	}
	return 1
}
