//go:build interop

package interop

import (
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A mop is one operation of a multi.
type mop struct {
	op   proto.OpCode
	body body
}

const opCheck = proto.OpCheck

// multi encodes a multi or multiRead with its end mark.
func multi(ops ...mop) body {
	return append(multiOpen(ops...), rec().i(-1).flag(true).i(-1)...)
}

func multiOpen(ops ...mop) body {
	var b body
	for _, o := range ops {
		b = append(b.i(int32(o.op)).flag(false).i(-1), o.body...)
	}
	return b
}

func multis(r *raw) {
	c := r.open()
	step := func(name string, ops ...mop) { c.step(name, opMulti, multi(ops...)) }
	step("empty")
	step("all kinds",
		mop{opCreate, createReq("/m", "d", 0)},
		mop{opCreate2, createReq("/m/two", "d2", 0)},
		mop{opContainer, createReq("/m/container", "", 4)},
		mop{opCreateTTL, rec().s("/m/ttl").s("t").open().i(5).l(100000)},
		mop{opCreate, createReq("/m/seq", "", 2)},
		mop{opCreate2, createReq("/m/seq", "", 3)},
		mop{opSetData, setReq("/m/two", "dd", 0)},
		mop{opSetData, setReq("/m/two", "ddd", 1)},
		mop{opCheck, pathInt("/m/two", 2)},
		mop{opDelete, pathInt("/m/two", 2)},
		mop{opCheck, pathInt("/m", -1)})
	c.step("all kinds tree", opChildren2, pathWatch("/m", false))
	step("create delete create",
		mop{opCreate, createReq("/m/cdc", "1", 0)}, mop{opDelete, pathInt("/m/cdc", 0)}, mop{opCreate2, createReq("/m/cdc", "2", 0)})
	c.step("create delete create get", opGetData, pathWatch("/m/cdc", false))
	for fail := range 4 {
		var ops []mop
		for i := range 4 {
			if i == fail {
				ops = append(ops, mop{opCheck, pathInt("/m", 1234)})
			} else {
				ops = append(ops, mop{opCreate, createReq(fmt.Sprintf("/m/f%d", i), "", 0)})
			}
		}
		step(fmt.Sprintf("failing op %d", fail), ops...)
	}
	c.step("nothing left", opChildren2, pathWatch("/m", false))
	for i, e := range []struct {
		name string
		op   mop
	}{
		{"create exists", mop{opCreate, createReq("/m", "", 0)}},
		{"create no parent", mop{opCreate, createReq("/m/no/no", "", 0)}},
		{"create bad path", mop{opCreate, createReq("/m/", "", 0)}},
		{"create no slash", mop{opCreate, createReq("m", "", 0)}},
		{"create empty acl", mop{opCreate, rec().s("/m/a").s("").acls().i(0)}},
		{"create null acl", mop{opCreate, rec().s("/m/a").s("").null().i(0)}},
		{"create bad acl", mop{opCreate, rec().s("/m/a").s("").acls(acl{31, "nope", "x"}).i(0)}},
		{"create auth acl", mop{opCreate, rec().s("/m/a").s("").acls(acl{31, "auth", ""}).i(0)}},
		{"create flags 5", mop{opCreate, createReq("/m/a", "", 5)}},
		{"create2 flags 6", mop{opCreate2, createReq("/m/a", "", 6)}},
		{"create flags 7", mop{opCreate, createReq("/m/a", "", 7)}},
		{"create flags -1", mop{opCreate, createReq("/m/a", "", -1)}},
		{"container flags 9", mop{opContainer, createReq("/m/a", "", 9)}},
		{"ttl 0", mop{opCreateTTL, rec().s("/m/a").s("").open().i(5).l(0)}},
		{"ttl too long", mop{opCreateTTL, rec().s("/m/a").s("").open().i(5).l(1 << 41)}},
		{"ttl flags 0", mop{opCreateTTL, rec().s("/m/notttl").s("").open().i(0).l(5)}},
		{"below ephemeral", mop{opCreate, createReq("/m/seq0000000004/x", "", 0)}},
		{"set missing", mop{opSetData, setReq("/m/none", "", 0)}},
		{"set version", mop{opSetData, setReq("/m", "", 9)}},
		{"set null path", mop{opSetData, rec().null().s("").i(0)}},
		{"delete missing", mop{opDelete, pathInt("/m/none", 0)}},
		{"delete version", mop{opDelete, pathInt("/m/cdc", 9)}},
		{"delete not empty", mop{opDelete, pathInt("/m", -1)}},
		{"delete root", mop{opDelete, pathInt("/", -1)}},
		{"check missing", mop{opCheck, pathInt("/m/none", -1)}},
		{"check bad path", mop{opCheck, pathInt("/m/", -1)}},
		{"check version", mop{opCheck, pathInt("/m", 1)}},
		{"setACL inside", mop{opSetACL, rec().s("/m").open().i(-1)}},
		{"getData inside", mop{opGetData, pathWatch("/m", false)}},
		{"exists inside", mop{opExists, pathWatch("/m", false)}},
		{"sync inside", mop{opSync, justPath("/m")}},
		{"multi inside", mop{opMulti, multi()}},
		{"close inside", mop{opClose, nil}},
		{"unknown inside", mop{77, nil}},
		{"type -1 not done", mop{-1, rec().i(0)}},
		{"deleteContainer inside", mop{proto.OpDeleteContainer, justPath("/m/container")}},
		{"reconfig inside", mop{proto.OpReconfig, rec().null().null().null().l(-1)}},
	} {
		step(e.name, mop{opCreate, createReq(fmt.Sprintf("/m/before%d", i), "", 0)}, e.op, mop{opCreate, createReq(fmt.Sprintf("/m/after%d", i), "", 0)})
		c.step(e.name+" then", opPing, nil)
		if c.closed != "" {
			c = r.open()
		}
	}
	c.step("tree after errors", opChildren2, pathWatch("/m", false))

	whole := multi(mop{opCreate, createReq("/m/t", "", 0)}, mop{opDelete, pathInt("/m/t", -1)})
	for _, cut := range []int{0, 1, 8, 9, 10, 20, len(whole) - 10, len(whole) - 9, len(whole) - 1} {
		c.step(fmt.Sprintf("cut at %d", cut), opMulti, whole[:cut])
	}
	c.step("done at once", opMulti, rec().i(1).flag(true).i(-1))
	c.step("done type 0", opMulti, rec().i(0).flag(true).i(0))
	c.step("header err is ignored", opMulti, append(append(rec().i(int32(opDelete)).flag(false).i(-101), pathInt("/m/none", -1)...), rec().i(-1).flag(true).i(-1)...))
	c.step("trailing", opMulti, append(multi(), 1, 2, 3))
	c.step("rollback of the child counter", opMulti, multi(mop{opCreate, createReq("/m/s", "", 2)}, mop{opCreate, createReq("/m/s", "", 2)}, mop{opDelete, pathInt("/none", -1)}))
	c.step("sequence after rollback", opCreate2, createReq("/m/s", "", 2))
	step("sequences in one multi", mop{opCreate, createReq("/m/s", "", 2)}, mop{opCreate, createReq("/m/s", "", 2)}, mop{opDelete, pathInt("/m/s0000000007", -1)}, mop{opCreate, createReq("/m/s", "", 2)})
	step("parent then child", mop{opCreate, createReq("/m/pc", "", 0)}, mop{opCreate, createReq("/m/pc/c", "", 0)}, mop{opCreate, createReq("/m/pc/c/c", "", 0)})
	step("delete tree", mop{opDelete, pathInt("/m/pc/c/c", 0)}, mop{opDelete, pathInt("/m/pc/c", 0)}, mop{opDelete, pathInt("/m/pc", 0)})
	step("child of own ephemeral", mop{opCreate, createReq("/m/e", "", 1)}, mop{opCreate, createReq("/m/e/x", "", 0)})
	step("version chain", mop{opCreate, createReq("/m/v", "", 0)}, mop{opSetData, setReq("/m/v", "1", 0)}, mop{opSetData, setReq("/m/v", "2", 0)})
	step("twice", mop{opCreate, createReq("/m/v", "", 0)}, mop{opCreate, createReq("/m/v", "", 0)})
	c.step("tree at the end", opChildren2, pathWatch("/m", false))
	// Validation sees what is not yet answered.
	c.pipeline("pipelined",
		request{op: opMulti, body: multi(mop{opCreate, createReq("/m/pl", "", 0)})},
		request{op: opMulti, body: multi(mop{opSetData, setReq("/m/pl", "x", 0)}, mop{opCheck, pathInt("/m/pl", 0)})},
		request{op: opMulti, body: multi(mop{opSetData, setReq("/m/pl", "x", 0)}, mop{opCheck, pathInt("/m/pl", 1)})},
		request{op: opSetData, body: setReq("/m/pl", "y", 1)},
		request{op: opGetData, body: pathWatch("/m/pl", false)},
		request{op: opDelete, body: pathInt("/m/pl", 2)},
		request{op: opExists, body: pathWatch("/m/pl", false)})
	c.close()
}

func multiReads(r *raw) {
	c := r.open()
	c.step("node", opCreate, createReq("/r", "data", 0))
	c.step("child", opCreate, createReq("/r/c", "", 0))
	c.step("hidden", opCreate, rec().s("/r/h").s("").acls(acl{2, "world", "anyone"}).i(0))
	step := func(name string, ops ...mop) {
		c.step(name, opMultiRead, multi(ops...))
		c.step(name+" then", opPing, nil)
		if c.closed != "" {
			c = r.open()
		}
	}
	get := func(p string) mop { return mop{opGetData, pathWatch(p, false)} }
	ls := func(p string) mop { return mop{opGetChildren, pathWatch(p, false)} }
	step("empty")
	step("both", get("/r"), ls("/r"))
	step("errors inside", get("/none"), get("/r"), ls("/none"), get("/r/h"), ls("/r/h"), ls("/"))
	step("bad path", get("no slash"), get(""), get("/r/"))
	step("children2 inside", get("/r"), mop{opChildren2, pathWatch("/r", false)})
	step("exists inside", get("/r"), mop{opExists, pathWatch("/r", false)})
	step("write inside", get("/r"), mop{opSetData, setReq("/r", "x", -1)}, get("/r"))
	step("write only", mop{opDelete, pathInt("/r/c", -1)})
	step("watch is ignored", mop{opGetData, pathWatch("/r", true)})
	c.step("set", opSetData, setReq("/r", "new", -1))
	c.step("cut", opMultiRead, jute.AppendInt32(nil, 4))
	c.step("read inside multi", opMulti, multi(get("/r"), mop{opDelete, pathInt("/r/c", -1)}))
	c.close()
}
