package prep

import (
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// FuzzPrepare prepares two requests with any bodies over a small tree. Whatever they are,
// the transactions must be ones that the engine decodes and applies, with the digest foretold.
func FuzzPrepare(f *testing.F) {
	for _, r := range standaloneRequests() {
		f.Add(int32(r.Op), r.Body, int32(proto.OpCloseSession), []byte{})
	}
	f.Add(int32(proto.OpMulti), multiBody(proto.OpCreate, createBody("/a/s", 3, open), proto.OpDelete, targetBody("/a/b", -1)), int32(proto.OpSetACL), setACLBody("/a", badACL, 0))
	f.Add(int32(proto.OpDeleteContainer), jute.AppendString(nil, "/c"), int32(proto.OpReconfig), (&proto.ReconfigRequest{}).Append(nil))
	a, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, op1 int32, body1 []byte, op2 int32, body2 []byte) {
		tree, err := engine.New(engine.Options{Digest: true, ExtendedTypes: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		s := newTracker()
		p := New(tree, a, s, Options{CloseSessionTxn: true, EnforceQuota: true, ReconfigEnabled: true, BufferMaxBytes: 2 << 20})
		var waiting [][]byte
		prepare := func(op proto.OpCode, body []byte) {
			req := &Request{Session: me, Xid: 1, Op: op, Body: body, Owner: "here", Identities: []proto.Identity{{Scheme: "digest", ID: "bob:x"}}}
			packet, zxid, code := p.Prepare(nil, req, 1000)
			txn, err := proto.ProposalTxn(packet)
			if err != nil {
				t.Fatal(err)
			}
			if v := decodeTxn(t, txn); v.Zxid != zxid || v.Type == proto.OpError && v.Err != code || code == proto.OK && v.Type == proto.OpError {
				t.Fatalf("code %d, transaction %v", code, v)
			}
			waiting = append(waiting, txn)
		}
		prepare(proto.OpCreateSession, nil)
		prepare(proto.OpCreate, createBody("/a", 0, open))
		prepare(proto.OpCreate, createBody("/a/b", 1, open))
		prepare(proto.OpCreateContainer, createBody("/c", 4, open))
		for len(waiting) > 1 { // the last one stays outstanding
			apply(t, tree, p, waiting[0])
			waiting = waiting[1:]
		}
		prepare(proto.OpCode(op1), body1)
		prepare(proto.OpCode(op2), body2)
		prepare(proto.OpSetData, setBody("/a", "x", -1))
		for _, txn := range waiting {
			apply(t, tree, p, txn)
		}
		if p.overlay.count != 0 {
			t.Fatalf("%d records left", p.overlay.count)
		}
	})
}

func apply(t *testing.T, tree *engine.Engine, p *Preparer, txn []byte) {
	t.Helper()
	r, err := tree.Apply(txn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.DigestMismatch {
		t.Fatalf("zxid %#x, type %v: digest %x, the engine has %x", r.Header.Zxid, r.Header.Type, r.TxnDigest, tree.Digest())
	}
	p.Applied(r.Header.Zxid)
}
