package proto

import (
	"bytes"
	"encoding/hex"
	"testing"

	"zabra.dev/zabra/engine/jute"
)

// The passwords are those of client protocol section 15.
func TestSessionPassword(t *testing.T) {
	f := func(id SessionID, want string) {
		t.Helper()
		pw := SessionPassword(id)
		if got := hex.EncodeToString(pw[:]); got != want {
			t.Errorf("password of %#x: got %s, want %s", id, got, want)
		}
	}
	f(0x0100000baa320000, "fce2af7cd93eb7b13a8489134ab173a5")
	f(0x0100000baa320009, "a80c7b7c79e7901dd9de2a9abb802cdb")
}

func TestConnectRequest(t *testing.T) {
	want, _ := hex.DecodeString("00000000" + "0000000000000000" + "00001388" + "0000000000000000" + "00000010" + "00000000000000000000000000000000" + "00")
	r := ConnectRequest{TimeoutMs: 5000, Password: make([]byte, 16), HasReadOnly: true}
	if got := r.Append(nil); !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
	var back ConnectRequest
	d := jute.NewDecoder(want[:44], 0)
	back.Decode(&d)
	if d.Err() != nil || back.HasReadOnly || back.TimeoutMs != 5000 {
		t.Fatalf("44 bytes: %+v, %v", back, d.Err())
	}
}

func TestTxnBodyRoundTrip(t *testing.T) {
	acl := RawACLs(AppendACLs(nil, WorldAnyone))
	bodies := map[OpCode]TxnBody{
		OpCreate:          {Path: []byte("/a"), Data: []byte{}, ACL: acl, Ephemeral: true, ParentCversion: 7},
		OpCreateContainer: {Path: []byte("/c"), ACL: acl, ParentCversion: 1},
		OpCreateTTL:       {Path: []byte("/t"), Data: []byte("x"), ACL: acl, ParentCversion: 2, TTLms: 5},
		OpDelete:          {Path: []byte("/a")},
		OpSetData:         {Path: []byte("/a"), Data: []byte("d"), Version: 3},
		OpSetACL:          {Path: []byte("/a"), ACL: acl, Version: 3},
		OpCheck:           {Path: []byte("/a"), Version: 3},
		OpCreateSession:   {TimeoutMs: 4000},
		OpError:           {Err: ErrNoNode},
	}
	for typ, body := range bodies {
		enc := body.Append(nil, typ)
		d := jute.NewDecoder(enc, 0)
		var back TxnBody
		if err := back.Decode(&d, typ); err != nil || len(d.Rest()) != 0 {
			t.Fatalf("%v: %v, %d bytes left", typ, err, len(d.Rest()))
		}
		if again := back.Append(nil, typ); !bytes.Equal(again, enc) {
			t.Errorf("%v: got %x, want %x", typ, again, enc)
		}
		for cut := range enc {
			d := jute.NewDecoder(enc[:cut], 0)
			if err := back.Decode(&d, typ); err == nil {
				t.Errorf("%v cut at %d of %d: no error", typ, cut, len(enc))
			}
		}
	}
}

func TestProposal(t *testing.T) {
	h := TxnHeader{SessionID: 5, Cxid: 6, Zxid: 7, TimeMs: 8, Type: OpDelete}
	b, start := BeginProposal([]byte("xx"), 7)
	b = h.Append(b)
	b = jute.AppendString(b, "/a")
	b = EndProposal(b, start)
	txn, err := ProposalTxn(b[start:])
	if err != nil || len(txn) != TxnHeaderBytes+6 {
		t.Fatalf("%d bytes, %v", len(txn), err)
	}
	for cut := range b[start : len(b)-4] {
		if _, err := ProposalTxn(b[start : start+cut]); err == nil {
			t.Errorf("cut at %d: no error", cut)
		}
	}
}

// FuzzDecode feeds every record decoder arbitrary bytes: none may panic, none may lend
// bytes from outside the input.
func FuzzDecode(f *testing.F) {
	acl := RawACLs(AppendACLs(nil, WorldAnyone))
	f.Add((&CreateRequest{Path: []byte("/a"), Data: []byte("d"), ACL: acl}).Append(nil, OpCreateTTL))
	f.Add((&ConnectRequest{Password: make([]byte, 16)}).Append(nil))
	f.Add((&TxnBody{Path: []byte("/a"), ACL: acl}).Append(nil, OpCreateContainer))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		dec := func(read func(d *jute.Decoder)) {
			d := jute.NewDecoder(in, 1<<20)
			read(&d)
			if d.Offset() > len(in) {
				t.Fatalf("consumed %d of %d", d.Offset(), len(in))
			}
		}
		dec(func(d *jute.Decoder) { var r CreateRequest; r.Decode(d, OpCreateTTL); r.ACL.Decode() })
		dec(func(d *jute.Decoder) { var r ConnectRequest; r.Decode(d) })
		dec(func(d *jute.Decoder) { var r SetACLRequest; r.Decode(d) })
		dec(func(d *jute.Decoder) { var r AuthPacket; r.Decode(d) })
		dec(func(d *jute.Decoder) { var r ReconfigRequest; r.Decode(d) })
		for typ := OpCode(-11); typ < 30; typ++ {
			dec(func(d *jute.Decoder) { var b TxnBody; _ = b.Decode(d, typ) })
		}
		_, _ = ProposalTxn(in)
	})
}
