package engine

import (
	"hash/crc32"
	"strings"
	"testing"
)

// TestPathDataCRC compares with hash/crc32 for all lengths that matter to either.
func TestPathDataCRC(t *testing.T) {
	text := strings.Repeat("/services/group-00007/instance-\xff\x00", 10)
	for n := range 150 {
		for _, data := range []string{"", "x", text} {
			if got, want := PathDataCRC([]byte(text[:n]), []byte(data)), crc32.ChecksumIEEE([]byte(text[:n]+data)); n != 1 && got != want {
				t.Errorf("path of %d bytes, data of %d: %#x, want %#x", n, len(data), got, want)
			}
		}
	}
	if got := PathDataCRC([]byte("/"), []byte("x")); got != crc32.ChecksumIEEE([]byte("x")) {
		t.Errorf("root: %#x", got)
	}
}
