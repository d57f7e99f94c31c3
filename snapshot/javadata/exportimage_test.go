package javadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// imageOf gives the records of an image of all of e, in order.
func imageOf(t testing.TB, e *engine.Engine) (records [][2][]byte) {
	t.Helper()
	c, err := e.StartCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		done, err = c.Next(100, func(key, value []byte) error {
			if value == nil {
				return nil // what the image before had
			}
			records = append(records, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Abort() // so that the next is whole, too
	return records
}

func scanOf(records [][2][]byte) func(from []byte, f func(key, value []byte) error) error {
	return func(from []byte, f func(key, value []byte) error) error {
		for _, r := range records {
			if bytes.Compare(r[0], from) < 0 {
				continue
			}
			if err := f(r[0], r[1]); err != nil {
				return err
			}
		}
		return nil
	}
}

// An image is written as the tree that the state in memory is written as.
func TestExportImage(t *testing.T) {
	for _, set := range []string{"standalone", "quorum-follower", "fuzzy-snapshot", "deep"} {
		t.Run(set, func(t *testing.T) {
			var e *engine.Engine
			if set == "deep" {
				e = deepTree(t)
			} else {
				e, _ = mustLoad(t, dataDir(t, set), withDigest)
			}
			var tree, image bytes.Buffer
			if err := ExportTree(e, &tree); err != nil {
				t.Fatal(err)
			}
			if err := ExportImage(scanOf(imageOf(t, e)), &image); err != nil {
				t.Fatal(err)
			}
			if tree.Len() > image.Len() { // lists that no node has may be in the image alone
				t.Errorf("%d bytes, the state in memory takes %d", image.Len(), tree.Len())
			}
			back, rest, err := LoadTree(bytes.NewReader(append(image.Bytes(), "rest"...)), "image", e.LastZxid(), withDigest)
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			if got, want := stateOf(back), stateOf(e); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if !bytes.HasPrefix([]byte("rest"), rest) {
				t.Errorf("%q was left", rest)
			}
		})
	}
}

// deepTree has parents whose children were made long after them, in turn.
func deepTree(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Options{Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	zxid := proto.Zxid(0)
	create := func(path string) {
		zxid++
		h := proto.TxnHeader{Zxid: zxid, TimeMs: 1000 + int64(zxid), Type: proto.OpCreate, SessionID: 5}
		b := proto.TxnBody{Path: []byte(path), Data: []byte(path), ACL: proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: 31, Scheme: "digest", ID: fmt.Sprint(zxid % 5)}})), ParentCversion: -1, Ephemeral: zxid%7 == 3}
		if _, err := e.Apply(b.Append(h.Append(nil), proto.OpCreate), nil); err != nil {
			t.Fatal(err)
		}
	}
	h := proto.TxnHeader{Zxid: 1, Type: proto.OpCreateSession, SessionID: 5}
	zxid++
	if _, err := e.Apply((&proto.TxnBody{TimeoutMs: 4000}).Append(h.Append(nil), proto.OpCreateSession), nil); err != nil {
		t.Fatal(err)
	}
	paths := []string{""}
	for i := range 60 {
		parent := paths[(i*7)%len(paths)]
		path := fmt.Sprintf("%s/n%d", parent, i)
		create(path)
		if zxid%7 != 3 {
			paths = append(paths, path)
		}
	}
	create("/zookeeper/quota/n1")
	create("/zookeeper/quota/n1/zookeeper_limits")
	return e
}

// An image that is damaged or not whole gives an error, whatever is wrong with it.
func TestExportDamagedImage(t *testing.T) {
	records := imageOf(t, deepTree(t))
	if err := ExportImage(scanOf(records), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	export := func(what string, records [][2][]byte) {
		t.Helper()
		if err := ExportImage(scanOf(records), &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	export("nothing", nil)
	for i := range records {
		export(fmt.Sprintf("without record %x", records[i][0]), append(append([][2][]byte(nil), records[:i]...), records[i+1:]...))
		damaged := append([][2][]byte(nil), records...)
		damaged[i][1] = append(bytes.Clone(records[i][1]), 0)
		export(fmt.Sprintf("record %x with a byte more", records[i][0]), damaged)
		damaged[i][1] = records[i][1][:len(records[i][1])-1]
		export(fmt.Sprintf("record %x with a byte less", records[i][0]), damaged)
		damaged[i] = [2][]byte{records[i][0][:5], records[i][1]}
		export(fmt.Sprintf("record %x with half a key", records[i][0]), damaged)
	}
	// A node whose parent comes behind it.
	last := records[len(records)-1]
	id := binary.BigEndian.Uint64(last[0][1:])
	turned := append([][2][]byte(nil), records...)
	for i := range turned {
		if turned[i][0][0] == 4 && turned[i][1][0] != 0 {
			turned[i][1] = append(binary.AppendUvarint(nil, id), turned[i][1][1:]...)
			break
		}
	}
	export("a node in front of its parent", turned)
	want := errors.New("full")
	if err := ExportImage(scanOf(records), failing{want}); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
