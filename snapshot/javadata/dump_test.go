package javadata

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The dump of every log and snapshot is, to the letter, what an independent decoder made of it.
func TestDumpVectors(t *testing.T) {
	for _, name := range vectorNames(t, func(n string) bool { return strings.Contains(n, "/decoded/") }) {
		source := strings.TrimSuffix(strings.Replace(name, "/decoded/", "/data/version-2/", 1), ".txt")
		b := vectorFiles(t)[source]
		if b == nil {
			t.Fatalf("no %s", source)
		}
		var out bytes.Buffer
		var err error
		if strings.Contains(source, "/log.") {
			err = DumpLog(&out, bytes.NewReader(b), source, Options{})
		} else {
			r, zerr := Decompress(bytes.NewReader(b), CompressionOf(source))
			if zerr != nil {
				t.Fatal(zerr)
			}
			err = DumpSnapshot(&out, r, source, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(string(vectorFiles(t)[name]), "\n")
		got := strings.Split(out.String(), "\n")
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				line := "(none)"
				if i < len(got) {
					line = got[i]
				}
				t.Fatalf("%s line %d:\n got %s\nwant %s", source, i+1, line, want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d lines, want %d", source, len(got), len(want))
		}
	}
}

// The Snappy snapshot has no decoded text; it holds the same as the gzip one, but for what the two runs
// themselves did.
func TestDumpSnappy(t *testing.T) {
	dump := func(name string) string {
		r, err := Decompress(bytes.NewReader(vectorFiles(t)[name]), CompressionOf(name))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := DumpSnapshot(&out, r, name, Options{}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	gz, sn := dump("standalone-gz/data/version-2/snapshot.23.gz"), dump("standalone-snappy/data/version-2/snapshot.23.snappy")
	if gz != sn {
		t.Fatalf("gzip:\n%s\nsnappy:\n%s", gz, sn)
	}
}

// A log with a wrong checksum is dumped to its end, with the record marked.
func TestDumpDamagedLog(t *testing.T) {
	for name, want := range map[string]string{
		"log-middle-record-bad-crc":               " BAD {",
		"log-last-record-bad-crc":                 " BAD {",
		"log-cut-in-last-record":                  "end: cut record, zero padding=False, file size ",
		"log-last-record-without-end-byte":        "end: record without end mark, zero padding=False, file size 16400",
		"log-last-record-crc-written-length-zero": "end: zero length, zero padding=True, file size 16400",
	} {
		var out bytes.Buffer
		b := vectorFiles(t)["recovery/"+name+"/data/version-2/log.1"]
		if err := DumpLog(&out, bytes.NewReader(b), "log.1", Options{}); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n@"); lines < 35 || strings.Count(out.String(), want) != 1 {
			t.Errorf("%s: %d records, or no %q:\n%s", name, lines, want, out.String())
		}
	}
}

func TestDumpDamagedSnapshot(t *testing.T) {
	b := bytes.Clone(vectorFiles(t)["standalone-3.9.5/data/version-2/snapshot.20"])
	b[len(b)-1] ^= 1
	var out bytes.Buffer
	err := DumpSnapshot(&out, bytes.NewReader(b), "snapshot.20", Options{})
	whole := string(vectorFiles(t)["standalone-3.9.5/decoded/snapshot.20.txt"])
	nodes, _, _ := strings.Cut(whole, "seal1")
	if !errors.Is(err, ErrFormat) || out.String() != nodes {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestText(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(appendJSONString(nil, []byte("a\"\\\n\r\t\b\f\x01\x7fé中😀\xff")), `"a\"\\\n\r\t\b\f\u0001\u007f\u00e9\u4e2d\ud83d\ude00\ufffd"`)
	f(appendLiteral(nil, []byte("it's")), `"it's"`)
	f(appendLiteral(nil, []byte("'\"\\\n\r\té\x01\u200b\U000e0001")), `'\'"\\\n\r\té\x01\u200b\U000e0001'`)
	f(appendDataText(nil, nil, 9), `"null"`)
	f(appendDataText(nil, []byte{}, 9), `"\"\""`)
	f(appendDataText(nil, []byte("0123456789"), 9), `"\"012345678...(10)\""`)
	f(appendDataText(nil, []byte{0, 1, 2, 3}, 3), `"hex:000102...(4)"`)
}
