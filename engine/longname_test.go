package engine

import (
	"bytes"
	"testing"

	"zabra.dev/zabra/engine/arena"
	"zabra.dev/zabra/engine/proto"
)

// Names that are so long that they, or they and their data, have a mapping of their own, with null, empty and some data.
func TestLongNames(t *testing.T) {
	big := 1
	for !arena.IsBig(big) {
		big *= 2
	}
	for arena.IsBig(big - 1) {
		big--
	}
	e := newEngine(t, Options{Digest: true})
	m := txnMaker{}
	for i, length := range []int{big - 2, big - 1, big, big + 1} {
		for j, data := range [][]byte{nil, {}, []byte("x"), []byte("xyz")} {
			name := bytes.Repeat([]byte{byte('a' + 4*i + j)}, length)
			path := append([]byte{'/'}, name...)
			look := func(want []byte) {
				t.Helper()
				n := e.Lookup(path)
				if n == 0 || !bytes.Equal(e.Name(n), name) || !bytes.Equal(e.Data(n), want) || (e.Data(n) == nil) != (want == nil) {
					t.Fatalf("name of %d bytes, data %q: node %d", length, want, n)
				}
			}
			must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: path, Data: data, ACL: benchACL, ParentCversion: -1}), nil)
			look(data)
			for k, other := range [][]byte{[]byte("xy"), nil, {}, data} {
				must(t, e, m.make(proto.OpSetData, &proto.TxnBody{Path: path, Data: other, Version: int32(k)}), nil)
				look(other)
			}
			e.check(t)
			if j%2 == 0 {
				must(t, e, m.make(proto.OpDelete, &proto.TxnBody{Path: path}), nil)
			}
		}
	}
	e.check(t)
}
