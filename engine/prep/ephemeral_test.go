package prep

import (
	"testing"

	"zabra.dev/zabra/engine/proto"
)

func TestCreatesEphemeral(t *testing.T) {
	create := func(op proto.OpCode, flags int32) []byte {
		return (&proto.CreateRequest{Path: []byte("/a"), ACL: proto.AppendACLs(nil, proto.WorldAnyone), Flags: flags}).Append(nil, op)
	}
	multi := func(ops ...[]byte) (b []byte) {
		for _, op := range ops {
			b = append(b, op...)
		}
		return proto.MultiDone.Append(b)
	}
	sub := func(op proto.OpCode, body []byte) []byte {
		return append(proto.MultiHeader{Type: op, Err: -1}.Append(nil), body...)
	}
	target := (&proto.PathVersion{Path: []byte("/a"), Version: -1}).Append(nil)
	f := func(name string, op proto.OpCode, body []byte, want bool) {
		t.Helper()
		if got := CreatesEphemeral(op, body, 1<<20); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	f("persistent", proto.OpCreate, create(proto.OpCreate, proto.FlagPersistent), false)
	f("ephemeral", proto.OpCreate, create(proto.OpCreate, proto.FlagEphemeral), true)
	f("ephemeral sequential", proto.OpCreate2, create(proto.OpCreate2, proto.FlagEphemeralSequential), true)
	f("container", proto.OpCreateContainer, create(proto.OpCreateContainer, proto.FlagContainer), false)
	f("cut off", proto.OpCreate, create(proto.OpCreate, proto.FlagEphemeral)[:9], false)
	f("delete", proto.OpDelete, target, false)
	none := sub(proto.OpCreate, create(proto.OpCreate, proto.FlagPersistent))
	one := sub(proto.OpCreate2, create(proto.OpCreate2, proto.FlagEphemeral))
	f("multi without", proto.OpMulti, multi(none, sub(proto.OpDelete, target)), false)
	f("multi with", proto.OpMulti, multi(none, one, sub(proto.OpCheck, target)), true)
	f("multi cut off", proto.OpMulti, multi(none, one)[:len(multi(none, one))-3], false)
	f("empty multi", proto.OpMulti, multi(), false)
}
