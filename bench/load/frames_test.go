package load

import (
	"bytes"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// open checks the frame's length and header and gives a decoder of the body.
func open(t *testing.T, frame []byte, xid int32, op proto.OpCode) *jute.Decoder {
	t.Helper()
	d := jute.NewDecoder(frame, 0)
	if n := d.Int32(); int(n) != len(frame)-4 {
		t.Fatalf("%s: length %d in a frame of %d bytes", op, n, len(frame))
	}
	if gotXid, gotOp := d.Int32(), proto.OpCode(d.Int32()); gotXid != xid || gotOp != op {
		t.Fatalf("header is %d %s, want %d %s", gotXid, gotOp, xid, op)
	}
	return &d
}

func done(t *testing.T, d *jute.Decoder) {
	t.Helper()
	if d.Err() != nil || len(d.Rest()) > 0 {
		t.Fatalf("decoding: %v, %d bytes are left", d.Err(), len(d.Rest()))
	}
}

// Every request that is written from a template decodes to what it should say, also behind other requests.
func TestRequestsDecode(t *testing.T) {
	f := newForms("/a/b", 100)
	data := []byte("some data")
	const path, dir = "/a/b/d000123/k000012345", "/a/b/d000123"
	before := []byte("before")
	after := func(b []byte) []byte {
		if !bytes.HasPrefix(b, before) {
			t.Fatal("what stood before is gone")
		}
		return b[len(before):]
	}
	for _, c := range []struct {
		form  *keyForm
		op    proto.OpCode
		path  string
		watch bool
	}{
		{&f.get, proto.OpGetData, path, false}, {&f.watch, proto.OpGetData, path, true},
		{&f.exists, proto.OpExists, path, false}, {&f.children, proto.OpGetChildren2, dir, false},
	} {
		d := open(t, after(f.appendKey(bytes.Clone(before), c.form, 77, 12345)), 77, c.op)
		var r proto.PathWatch
		r.Decode(d)
		done(t, d)
		if string(r.Path) != c.path || r.Watch != c.watch {
			t.Errorf("%s: %q %v", c.op, r.Path, r.Watch)
		}
	}

	d := open(t, after(f.appendSet(bytes.Clone(before), 78, 12345, data)), 78, proto.OpSetData)
	var set proto.SetDataRequest
	set.Decode(d)
	done(t, d)
	if string(set.Path) != path || !bytes.Equal(set.Data, data) || set.Version != -1 {
		t.Errorf("setData: %+v", set)
	}

	d = open(t, after(f.appendCreate(bytes.Clone(before), 79, []byte("/a/b/s1/n"), 42, data, proto.FlagEphemeral)), 79, proto.OpCreate)
	var create proto.CreateRequest
	create.Decode(d, proto.OpCreate)
	done(t, d)
	if string(create.Path) != "/a/b/s1/n0000000042" || !bytes.Equal(create.Data, data) || create.Flags != proto.FlagEphemeral || !bytes.Equal(create.ACL, f.acl) {
		t.Errorf("create: %+v", create)
	}

	d = open(t, after(appendDelete(bytes.Clone(before), 80, []byte("/a/b/s1/n"), 42)), 80, proto.OpDelete)
	var del proto.PathVersion
	del.Decode(d)
	done(t, d)
	if string(del.Path) != "/a/b/s1/n0000000042" || del.Version != -1 {
		t.Errorf("delete: %+v", del)
	}

	b := f.appendKeyCreate(bytes.Clone(before), 12345, data)
	dec := jute.NewDecoder(after(b), 0)
	create.Decode(&dec, proto.OpCreate)
	done(t, &dec)
	if string(create.Path) != path || !bytes.Equal(create.Data, data) || create.Flags != proto.FlagPersistent {
		t.Errorf("create of a key: %+v", create)
	}

	dec = jute.NewDecoder(after(f.appendInnerSet(bytes.Clone(before), 12345, data)), 0)
	var h proto.MultiHeader
	h.Decode(&dec)
	set.Decode(&dec)
	done(t, &dec)
	if h.Type != proto.OpSetData || h.Done || string(set.Path) != path || !bytes.Equal(set.Data, data) {
		t.Errorf("setData in a multi: %+v %+v", h, set)
	}

	d = open(t, f.sync, 0, proto.OpSync)
	if p := d.Buffer(); string(p) != "/a/b" {
		t.Errorf("sync of %q", p)
	}
}

func TestKeyOf(t *testing.T) {
	f := newForms("/a", 10)
	for _, key := range []uint32{0, 7, 99_999_999} {
		d := open(t, f.appendKey(nil, &f.get, 1, key), 1, proto.OpGetData)
		if got, ok := f.keyOf(d.Buffer()); !ok || got != key {
			t.Errorf("key %d: got %d %v", key, got, ok)
		}
	}
	for _, p := range []string{"", "/a", "/a/d000000", "/a/s000000/n0000000000", "/a/d000000/x000000000", "/a/d000000/k00000000a"} {
		if key, ok := f.keyOf([]byte(p)); ok {
			t.Errorf("%q is key %d", p, key)
		}
	}
}

func TestHeadOf(t *testing.T) {
	frame := proto.AppendReplyHeader([]byte{0, 0, 0, 0}, 9, 0x1_0000_0002, proto.ErrNoNode)
	if h := headOf(frame); h.xid != 9 || h.zxid != 0x1_0000_0002 || h.err != proto.ErrNoNode || h.multiFailed {
		t.Errorf("%+v", h)
	}
	frame = proto.AppendReplyHeader([]byte{0, 0, 0, 0}, 9, 1, proto.OK)
	if h := headOf(proto.MultiHeader{Type: proto.OpError, Err: 0}.Append(frame)); !h.multiFailed {
		t.Errorf("a failed multi: %+v", h)
	}
	if h := headOf(proto.MultiDone.Append(frame)); h.multiFailed {
		t.Errorf("an empty multi: %+v", h)
	}
	if h := headOf(proto.MultiHeader{Type: proto.OpSetData}.Append(frame)); h.multiFailed {
		t.Errorf("a successful multi: %+v", h)
	}
}
