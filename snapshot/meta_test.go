package snapshot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The bytes of the metadata record are fixed.
func TestMetaGolden(t *testing.T) {
	m := Meta{
		Zxid: 0x1_0000002a, Digest: 0xfeedfacecafebeef, Records: 3, TakenAtMs: 0x17, Generation: 2, Checkpoint: 5,
		App: []byte{0xab, 0xcd}, FormatVersion: 1,
	}
	const want = "01" + "000000010000002a" + "feedfacecafebeef" + "0000000000000003" + "0000000000000017" +
		"0000000000000002" + "0000000000000005" + "abcd"
	got := hex.EncodeToString(m.append(nil))
	if !strings.HasPrefix(got, want) || len(got) != len(want)+16 {
		t.Fatalf("metadata record:\n%s\nwant\n%s and 8 bytes of hash", got, want)
	}
	var back Meta
	if err := back.decode(m.append(nil)); err != nil || !reflect.DeepEqual(back, m) {
		t.Fatalf("decoded %+v, %v", back, err)
	}
	m.App = nil
	if err := back.decode(m.append(nil)); err != nil || !reflect.DeepEqual(back, m) {
		t.Fatalf("decoded %+v, %v", back, err)
	}
	later := m.append(nil)
	later[0] = 2
	if err := back.decode(later); err == nil || errors.Is(err, ErrCorrupt) {
		t.Fatalf("later format version: %v", err)
	}
}

func FuzzMeta(f *testing.F) {
	m := Meta{Zxid: 5, Records: -1, App: []byte("app")}
	b := m.append(nil)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Meta
		if m.decode(b) == nil && !bytes.Equal(m.append(nil), b) {
			t.Fatalf("%x decodes to %+v, which encodes otherwise", b, m)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add(mark{1, 2, 0x1_0000002a}.String())
	f.Add(mark{0, 0, -1}.String())
	f.Add("generation=1 checkpoint=1 zxid=0x1f hash=")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMark(text); err == nil && m.String() != text {
			t.Fatalf("%q becomes %q", text, m)
		}
	})
}
