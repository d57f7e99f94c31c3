package engine

import (
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// TestShortLived checks that what comes and goes between two checkpoints leaves nothing to
// emit but its parent.
func TestShortLived(t *testing.T) {
	e := newEngine(t, Options{})
	fullImage(t, e)
	var m txnMaker
	for range 3 {
		must(t, e, m.make(proto.OpCreateSession, &proto.TxnBody{TimeoutMs: 1}), nil)
		must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: []byte("/e"), ACL: benchACL, Ephemeral: true, ParentCversion: -1}), nil)
		if n := e.DirtyCount(); n != 4 { // session, ACL, node, root
			t.Fatalf("%d records are dirty, want 4", n)
		}
		h := proto.TxnHeader{SessionID: 1, Zxid: m.zxid + 1, Type: proto.OpCloseSession}
		must(t, e, h.Append(nil), nil)
		if n := e.DirtyCount(); n != 2 { // the ACL's number, for which a tombstone costs nothing; the root
			t.Fatalf("%d records are dirty, want 2", n)
		}
	}
}
