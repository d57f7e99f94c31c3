package transport

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

func recordedHellos(t testing.TB) [][]byte {
	var hellos [][]byte
	for _, pattern := range []string{"election/*/[0-9]*.c2s.bin", "reconfig/election/*.c2s.bin", "quorum/mixed-*/election*.c2s.bin"} {
		names, err := filepath.Glob(filepath.Join("../testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			hellos = append(hellos, b[:20+jute.Int32(b[16:])])
		}
	}
	if len(hellos) < 20 {
		t.Fatalf("%d recorded", len(hellos))
	}
	return hellos
}

func TestRecordedHellos(t *testing.T) {
	multi := 0
	for _, b := range recordedHellos(t) {
		r := bytes.NewReader(append(bytes.Clone(b), "more"...))
		h, err := readHello(r)
		if err != nil || r.Len() != 4 {
			t.Fatalf("%q: %v, %d left", b, err, r.Len())
		}
		isMulti := jute.Int64(b) == helloVersion2
		if isMulti {
			multi++
		}
		if got := appendHello(nil, h.id, h.addrs, isMulti); !bytes.Equal(got, b) {
			t.Errorf("%q, want %q", got, b)
		}
	}
	if multi == 0 {
		t.Error("no message of version 2")
	}
}

func TestHello(t *testing.T) {
	v1 := func(id int64, text string) []byte {
		return jute.AppendString(jute.AppendInt64(jute.AppendInt64(nil, helloVersion1), id), text)
	}
	v2 := func(id int64, text string) []byte {
		return jute.AppendString(jute.AppendInt64(jute.AppendInt64(nil, helloVersion2), id), text)
	}
	f := func(b []byte, want hello) {
		t.Helper()
		if got, err := readHello(bytes.NewReader(b)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", b, got, err, want)
		}
		for n := range b {
			if _, err := readHello(bytes.NewReader(b[:n])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: %v", b[:n], err)
			}
		}
	}
	f(jute.AppendInt64(nil, 0), hello{id: 0})
	f(jute.AppendInt64(nil, 7), hello{id: 7})
	f(v1(7, "h:3"), hello{id: 7, addrs: []quorum.Addr{{Host: "h", Port: 3}}})
	f(v1(7, "[::1]:3"), hello{id: 7, addrs: []quorum.Addr{{Host: "::1", Port: 3}}})
	f(v1(7, "0.0.0.0:3"), hello{id: 7})
	f(v1(7, "[::]:3"), hello{id: 7})
	f(v2(7, "a:1|0.0.0.0:2|b:3"), hello{id: 7, addrs: []quorum.Addr{{Host: "a", Port: 1}, {Host: "b", Port: 3}}})

	bad := func(b []byte) {
		t.Helper()
		if h, err := readHello(bytes.NewReader(b)); !errors.Is(err, errHello) {
			t.Errorf("%q: %+v, %v", b, h, err)
		}
	}
	bad(jute.AppendInt64(nil, -1))
	bad(jute.AppendInt64(nil, -65534))
	bad(jute.AppendInt64(nil, observerWithoutID))
	bad(v1(7, ""))
	bad(v1(7, "h"))
	bad(v1(7, "h:x"))
	bad(v1(7, "a:1|b:2"))
	bad(v2(7, "a:1|b"))
	bad(v2(7, "a:1|"))
	bad(v1(7, string(make([]byte, helloAddrsMaxBytes+1))))
	bad(jute.AppendInt32(jute.AppendInt64(jute.AppendInt64(nil, helloVersion1), 7), -1))
}

func FuzzReadHello(f *testing.F) {
	for _, b := range recordedHellos(f) {
		f.Add(b)
	}
	f.Add(jute.AppendInt64(nil, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err != nil || len(h.addrs) == 0 {
			return
		}
		again, err := readHello(bytes.NewReader(appendHello(nil, h.id, h.addrs, true)))
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v again %+v, %v", h, again, err)
		}
	})
}
