package prep

import (
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

type aclModel struct{ *model }

func (m aclModel) ACL(n engine.NodeRef) proto.RawACLs { return m.ACLByID(uint32(n)) }

func TestEagerCheck(t *testing.T) {
	e := checkEnv(t, engine.Options{}, Options{})
	r, err := auth.NewRegistry(auth.Options{DigestEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	ttl := createTTLBody("/closed/x", 5, 1)
	nullID := jute.AppendBuffer(jute.AppendString(jute.AppendInt32(jute.AppendInt32(nil, 1), 31), "digest"), nil)
	for _, c := range []struct {
		what string
		op   proto.OpCode
		body []byte
		want proto.ErrCode
	}{
		{"create", proto.OpCreate, createBody("/open/x", 0, open), 0},
		{"create in the root", proto.OpCreate, createBody("/x", 0, open), 0},
		{"create, exists", proto.OpCreate, createBody("/open/full", 0, open), 0},
		{"create, permission", proto.OpCreate, createBody("/closed/x", 0, open), -102},
		{"create2, permission", proto.OpCreate2, createBody("/closed/x", 0, open), -102},
		{"create, list before permission", proto.OpCreate, createBody("/closed/x", 0, badACL), -114},
		{"create, list, no parent", proto.OpCreate, createBody("/missing/x", 0, badACL), -114},
		{"create, null id", proto.OpCreate, createBody("/open/x", 0, nullID), 0},
		{"create, no parent", proto.OpCreate, createBody("/missing/x", 0, open), 0},
		{"create, bad path", proto.OpCreate, createBody("x", 0, badACL), 0},
		{"create, special path", proto.OpCreate, createBody("/zookeeper", 0, badACL), 0},
		{"create, null path", proto.OpCreate, createBody(null, 0, badACL), 0},
		{"create, cut", proto.OpCreate, badBody, 0},
		{"createContainer is not checked", proto.OpCreateContainer, createBody("/closed/x", 0, open), 0},
		{"createTTL is not checked", proto.OpCreateTTL, ttl, 0},
		{"delete", proto.OpDelete, targetBody("/open/full", 9), 0},
		{"delete, permission", proto.OpDelete, targetBody("/closed/missing", 9), -102},
		{"delete, special path", proto.OpDelete, targetBody("/zookeeper/config", 9), 0},
		{"setData", proto.OpSetData, setBody("/open", "", 9), 0},
		{"setData, permission", proto.OpSetData, setBody("/closed/node", "", 9), -102},
		{"setData, no node", proto.OpSetData, setBody("/closed/missing", "", 9), 0},
		{"setACL", proto.OpSetACL, setACLBody("/open", open, 9), 0},
		{"setACL, permission", proto.OpSetACL, setACLBody("/closed", open, 9), -102},
		{"setACL, list", proto.OpSetACL, setACLBody("/missing", badACL, 9), -114},
		{"multi is not checked", proto.OpMulti, multiBody(proto.OpDelete, targetBody("/closed/node", -1)), 0},
	} {
		if got := EagerCheck(aclModel{e.tree}, r, c.op, c.body, nil, nil); got != c.want {
			t.Errorf("%s: got %d, want %d", c.what, got, c.want)
		}
	}
	if got := EagerCheck(aclModel{e.tree}, r, proto.OpSetACL, setACLBody("/closed", open, 9), []proto.Identity{{Scheme: "super"}}, make([]byte, 0, 64)); got != 0 {
		t.Errorf("super: got %d", got)
	}
}
