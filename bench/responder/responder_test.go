package responder_test

import (
	"context"
	"io"
	"net"
	"testing"

	"zabra.dev/zabra/bench/responder"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// Replies have the size and form of a server's: what a client must read is what it reads from a server.
func TestReplies(t *testing.T) {
	r, err := responder.Start(responder.Options{Address: "127.0.0.1:0", DataBytes: 300})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	nc, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	call := func(payload []byte) []byte {
		t.Helper()
		if _, err := nc.Write(append(jute.AppendInt32(nil, int32(len(payload))), payload...)); err != nil {
			t.Fatal(err)
		}
		var head [4]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, jute.Int32(head[:]))
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	hello := proto.ConnectRequest{TimeoutMs: 1000, Password: make([]byte, proto.PasswordBytes), HasReadOnly: true}
	if got := call(hello.Append(nil)); len(got) != 37 {
		t.Errorf("connect response of %d bytes", len(got))
	}
	path := proto.PathWatch{Path: []byte("/some/path")}
	set := proto.SetDataRequest{Path: path.Path, Data: make([]byte, 100)}
	create := proto.CreateRequest{Path: path.Path}
	for xid, c := range []struct {
		op   proto.OpCode
		body []byte
		want int // bytes behind the header
	}{
		{proto.OpGetData, path.Append(nil), 4 + 300 + proto.StatBytes},
		{proto.OpExists, path.Append(nil), proto.StatBytes},
		{proto.OpGetChildren2, path.Append(nil), 4 + proto.StatBytes},
		{proto.OpSetData, set.Append(nil), proto.StatBytes},
		{proto.OpCreate, create.Append(nil, proto.OpCreate), 4 + len(path.Path)},
		{proto.OpSync, jute.AppendBuffer(nil, path.Path), 4 + len(path.Path)},
		{proto.OpMulti, proto.MultiDone.Append(nil), proto.MultiHeaderBytes},
		{proto.OpPing, nil, 0},
		{proto.OpDelete, nil, 0},
	} {
		got := call(append(jute.AppendInt32(jute.AppendInt32(nil, int32(xid)), int32(c.op)), c.body...))
		if len(got) != proto.ReplyHeaderBytes+c.want || jute.Int32(got) != int32(xid) || jute.Int32(got[12:]) != 0 {
			t.Errorf("%s: %d bytes, want %d; header %x", c.op, len(got), proto.ReplyHeaderBytes+c.want, got[:proto.ReplyHeaderBytes])
		}
	}
	call(jute.AppendInt32(jute.AppendInt32(nil, 99), int32(proto.OpCloseSession)))
	if n, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the session was closed: %d bytes, %v", n, err)
	}
}
