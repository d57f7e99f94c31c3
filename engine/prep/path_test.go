package prep

import (
	"fmt"
	"math"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestValidPath(t *testing.T) {
	for _, path := range []string{"/", "/a", "/a/b", "/...", "/.a", "/a.", "/a/..b", "/..a/b", "/ ", "/\u00a0", "/é/中", "/\uf900", "/\uffef"} {
		if !ValidPath([]byte(path)) {
			t.Errorf("%q: refused", path)
		}
	}
	for _, path := range []string{"", "a", "a/b", "//", "/a/", "/a//b", "//a", "/.", "/..", "/a/.", "/a/..", "/./a", "/../a", "/a/./b", "/a/../b",
		"/\x00", "/a\x00b", "/\x01", "/\x1f", "/\x7f", "/\u0080", "/\u009f", "/\ue000", "/\uf8ff", "/\ufff0", "/\ufffd", "/\uffff",
		"/\U00010000", "/😀", "/\xff", "/\xc3", "/a\xed\xa0\x80"} {
		if ValidPath([]byte(path)) {
			t.Errorf("%q: taken", path)
		}
	}
	if ValidPath(nil) {
		t.Error("null: taken")
	}
}

// javaValidPath is Java's PathUtils.validatePath, character by character.
func javaValidPath(path []byte) bool {
	var chars []uint16
	for _, r := range string(path) {
		chars = utf16.AppendRune(chars, r)
	}
	if len(chars) == 0 || chars[0] != '/' {
		return false
	}
	if len(chars) == 1 {
		return true
	}
	if chars[len(chars)-1] == '/' {
		return false
	}
	last := uint16('/')
	for i := 1; i < len(chars); i++ {
		c := chars[i]
		atEnd := i+1 == len(chars) || chars[i+1] == '/'
		switch {
		case c == 0, c == '/' && last == '/':
			return false
		case c == '.' && last == '.':
			if chars[i-2] == '/' && atEnd {
				return false
			}
		case c == '.':
			if chars[i-1] == '/' && atEnd {
				return false
			}
		case c <= 0x1f, c >= 0x7f && c <= 0x9f, c >= 0xd800 && c <= 0xf8ff, c >= 0xfff0:
			return false
		}
		last = c
	}
	return true
}

// FuzzValidPath compares with Java's way of walking the characters.
func FuzzValidPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/../..", "/a/.b/..", "/é/\uffef", "//", "/\U00010000", "/\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		if got, want := ValidPath(path), javaValidPath(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	})
}

func TestValidPathAllRunes(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		for _, path := range []string{"/" + string(r), "/x" + string(r) + "x"} {
			if got, want := ValidPath([]byte(path)), javaValidPath([]byte(path)); got != want {
				t.Fatalf("%q: got %v, want %v", path, got, want)
			}
		}
	}
}

func TestAppendSequence(t *testing.T) {
	for _, n := range []int32{0, 1, 42, 999999999, 1000000000, math.MaxInt32, -1, -5, -999999999, -1000000000, math.MinInt32} {
		if got, want := string(appendSequence([]byte("x-"), n)), fmt.Sprintf("x-%010d", n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestInDigest(t *testing.T) {
	for path, want := range map[string]bool{"": true, "/a": true, "/zookeeper": true, "/zookeeper/quota": false, "/zookeeper/": false, "/zookeepers/a": true} {
		if got := inDigest([]byte(path)); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}
