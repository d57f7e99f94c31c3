package engine

import (
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// Every record of an image has a text that names its kind and its contents.
func TestImageText(t *testing.T) {
	b, err := NewBuilder(Options{Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	b.AddSession(0x10, 4000)
	if err := b.AddNode([]byte("/a"), []byte("data"), proto.AppendACLs(nil, proto.WorldAnyone), &proto.StatPersisted{Czxid: 7}); err != nil {
		t.Fatal(err)
	}
	e, err := b.Finish(9)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.StartCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for done := false; !done; {
		done, err = c.Next(100, func(key, value []byte) error {
			text.Write(append(AppendImageText(nil, key, value), '\n'))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"meta zxid=0x9", "acl ", "anyone", "session 0x10 timeout=4000ms", `name="a"`, `data="data"`, "Czxid:7"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if got := string(AppendImageText(nil, []byte{4, 0, 0, 0, 0, 0, 0, 0, 1}, []byte{0xff})); !strings.Contains(got, "ff") {
		t.Errorf("a damaged record gives %q", got)
	}
}
