//go:build interop

package interop

import (
	"fmt"
	"strings"

	"zabra.dev/zabra/engine/proto"
)

// Short names for the operations that the sections use most.
const (
	opCreate      = proto.OpCreate
	opDelete      = proto.OpDelete
	opExists      = proto.OpExists
	opGetData     = proto.OpGetData
	opSetData     = proto.OpSetData
	opGetACL      = proto.OpGetACL
	opSetACL      = proto.OpSetACL
	opGetChildren = proto.OpGetChildren
	opSync        = proto.OpSync
	opPing        = proto.OpPing
	opChildren2   = proto.OpGetChildren2
	opMulti       = proto.OpMulti
	opCreate2     = proto.OpCreate2
	opContainer   = proto.OpCreateContainer
	opCreateTTL   = proto.OpCreateTTL
	opMultiRead   = proto.OpMultiRead
	opAuth        = proto.OpAuth
	opClose       = proto.OpCloseSession
)

// freshTree looks at a server that nobody has written to.
func freshTree(r *raw) {
	c := r.dial()
	r.put("connect", "%s", c.connect(connectReq{timeout: 30000, readOnly: ptr(false)}))
	r.put("first zxid", "%s", c.do(opPing, nil))
	for _, p := range []string{"/", "", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		c.step("exists "+p, opExists, pathWatch(p, false))
		c.step("getData "+p, opGetData, pathWatch(p, false))
		c.step("getACL "+p, opGetACL, justPath(p))
		c.step("getChildren "+p, opGetChildren, pathWatch(p, false))
		c.step("getChildren2 "+p, opChildren2, pathWatch(p, false))
		c.step("count "+p, proto.OpGetAllChildrenNum, justPath(p))
		c.step("delete "+p, opDelete, pathInt(p, -1))
		c.step("create "+p, opCreate, createReq(p, "", 0))
	}
	c.step("create config child", opCreate, createReq("/zookeeper/config/x", "", 0))
	c.step("set config", opSetData, setReq("/zookeeper/config", "x", -1))
	c.step("setACL config", opSetACL, rec().s("/zookeeper/config").open().i(-1))
	c.step("create below zookeeper", opCreate2, createReq("/zookeeper/own", "d", 0))
	c.step("create below own", opCreate2, createReq("/zookeeper/own/x", "d", 0))
	c.step("delete below own", opDelete, pathInt("/zookeeper/own/x", -1))
	c.step("delete own", opDelete, pathInt("/zookeeper/own", -1))
	c.step("set root", opSetData, setReq("/", "rootdata", -1))
	c.step("get root", opGetData, pathWatch("/", false))
	c.step("set root empty path", opSetData, setReq("", "x", -1))
	c.step("setACL root", opSetACL, rec().s("/").open().i(-1))
	c.step("setACL root version", opSetACL, rec().s("/").open().i(7))
	c.step("exists zookeeper", opExists, pathWatch("/zookeeper", false))
	c.step("ephemerals", proto.OpGetEphemerals, justPath("/"))
	c.step("whoAmI", proto.OpWhoAmI, nil)
	c.step("close", opClose, nil)
}

// writes covers create in all its forms, setData, delete and setACL with their stats.
func writes(r *raw) {
	c := r.open()
	c.step("parent", opCreate2, createReq("/w", "p", 0))
	ops := []struct {
		name string
		op   proto.OpCode
	}{{"create", opCreate}, {"create2", opCreate2}, {"container", opContainer}}
	for _, o := range ops {
		for flags := int32(-1); flags <= 8; flags++ {
			p := fmt.Sprintf("/w/%s%d", o.name, flags)
			name := fmt.Sprintf("%s flags %d", o.name, flags)
			c.step(name, o.op, createReq(p, "abc", flags))
			c.step(name+" parent", opExists, pathWatch("/w", false))
			c.step(name+" node", opGetData, pathWatch(p, false))
			c.step(name+" again", o.op, createReq(p, "abc", flags))
		}
	}
	for _, t := range []struct {
		flags int32
		ttl   int64
	}{{0, 0}, {0, 1}, {1, 5}, {4, 5}, {5, 0}, {5, -1}, {5, -2}, {5, 1}, {5, 0xFFFFFFFFFF}, {5, 0x10000000000}, {6, 5000}, {6, 0}, {7, 5}, {-1, 5}} {
		p := fmt.Sprintf("/w/ttl-%d-%d-", t.flags, t.ttl)
		name := fmt.Sprintf("ttl flags %d ttl %d", t.flags, t.ttl)
		c.step(name, opCreateTTL, rec().s(p).s("abc").open().i(t.flags).l(t.ttl))
		c.step(name+" node", opGetData, pathWatch(p, false))
	}
	c.step("children", opChildren2, pathWatch("/w", false))

	c.step("null data", opCreate2, rec().s("/w/nulldata").null().open().i(0))
	c.step("null data get", opGetData, pathWatch("/w/nulldata", false))
	c.step("empty data", opCreate2, createReq("/w/emptydata", "", 0))
	c.step("empty data get", opGetData, pathWatch("/w/emptydata", false))
	c.step("set null", opSetData, rec().s("/w/emptydata").null().i(-1))
	c.step("set null get", opGetData, pathWatch("/w/emptydata", false))
	c.step("set empty", opSetData, setReq("/w/emptydata", "", -1))
	c.step("set empty get", opGetData, pathWatch("/w/emptydata", false))

	for _, v := range []int32{-1, 0, 1, 2, 99, -2, -1 << 31} {
		c.step(fmt.Sprintf("setData version %d", v), opSetData, setReq("/w/nulldata", fmt.Sprint("v", v), v))
	}
	c.step("setData missing", opSetData, setReq("/w/none", "", 0))
	c.step("setData missing parent", opSetData, setReq("/none/none", "", 0))
	c.step("setData big", opSetData, setReq("/w/nulldata", strings.Repeat("x", 100000), -1))
	c.step("setData big get", opGetData, pathWatch("/w/nulldata", false))

	for _, v := range []int32{0, 0, 1, 5, -1, -5} {
		c.step(fmt.Sprintf("setACL version %d #%d", v, len(r.tr.steps)), opSetACL, rec().s("/w/nulldata").open().i(v))
	}
	c.step("setACL get", opGetACL, justPath("/w/nulldata"))
	c.step("setACL missing", opSetACL, rec().s("/w/none").open().i(0))

	c.step("delete version bad", opDelete, pathInt("/w/nulldata", 77))
	c.step("delete version negative", opDelete, pathInt("/w/nulldata", -7))
	c.step("delete", opDelete, pathInt("/w/nulldata", -1))
	c.step("delete again", opDelete, pathInt("/w/nulldata", -1))
	c.step("delete parent stat", opExists, pathWatch("/w", false))
	c.step("delete missing parent", opDelete, pathInt("/none/x", -1))
	c.step("delete not empty", opDelete, pathInt("/w", -1))
	c.step("delete not empty bad version", opDelete, pathInt("/w", 9))
	c.step("recreate", opCreate2, createReq("/w/nulldata", "again", 0))

	c.step("ephemeral", opCreate2, createReq("/w/eph", "e", 1))
	c.step("below ephemeral", opCreate, createReq("/w/eph/x", "", 0))
	c.step("below ephemeral sequential", opCreate, createReq("/w/eph/x", "", 2))
	c.step("below missing", opCreate, createReq("/w/none/x", "", 0))
	c.step("ephemerals all", proto.OpGetEphemerals, justPath("/"))
	c.step("ephemerals prefix", proto.OpGetEphemerals, justPath("/w/ep"))
	c.step("ephemerals other", proto.OpGetEphemerals, justPath("/x"))
	c.step("ephemerals null", proto.OpGetEphemerals, rec().null())
	c.step("ephemerals blank", proto.OpGetEphemerals, justPath("  "))
	c.step("ephemerals empty", proto.OpGetEphemerals, justPath(""))
	c.step("ephemerals of root slash", proto.OpGetEphemerals, justPath("/w/"))
	c.step("count", proto.OpGetAllChildrenNum, justPath("/w"))
	c.step("count root", proto.OpGetAllChildrenNum, justPath("/"))
	c.step("count missing", proto.OpGetAllChildrenNum, justPath("/none"))
	c.step("sync", opSync, justPath("/w"))
	c.step("sync missing", opSync, justPath("/none"))
	c.step("sync bad path", opSync, justPath("no slash"))
	c.step("sync null", opSync, rec().null())
	c.step("sync empty", opSync, justPath(""))
	c.step("close", opClose, nil)

	d := r.open()
	d.step("after close", opExists, pathWatch("/w/eph", false))
	d.step("after close parent", opExists, pathWatch("/w", false))
	d.close()
}

// sequences covers the numbers of sequential nodes.
func sequences(r *raw) {
	c := r.open()
	c.step("parent", opCreate, createReq("/q", "", 0))
	seq := func(name, path string, flags int32) { c.step(name, opCreate2, createReq(path, "", flags)) }
	seq("first", "/q/n-", 2)
	seq("second", "/q/n-", 2)
	seq("plain advances", "/q/plain", 0)
	seq("third", "/q/n-", 2)
	seq("failed does not", "/q/plain", 0)
	seq("fourth", "/q/n-", 3)
	c.step("delete does not", opDelete, pathInt("/q/n-0000000000", -1))
	seq("fifth", "/q/m", 2)
	seq("trailing slash", "/q/", 2)
	seq("trailing slash ephemeral", "/q/", 3)
	seq("root", "/", 2)
	seq("root named", "/qroot", 3)
	seq("ttl", "/q/t", 6)
	c.step("ttl op", opCreateTTL, rec().s("/q/t").s("").open().i(6).l(100000))
	c.step("container sequential", opContainer, createReq("/q/c", "", 2))
	seq("dot", "/q/.", 2)
	seq("dots", "/q/..", 2)
	seq("double slash", "/q//", 2)
	seq("missing parent", "/q/none/x", 2)
	c.step("parent stat", opExists, pathWatch("/q", false))
	c.step("bad multi", opMulti, multi(mop{opCreate, createReq("/q/x", "", 2)}, mop{opDelete, pathInt("/none", -1)}))
	seq("after bad multi", "/q/x", 2)
	c.step("children", opGetChildren, pathWatch("/q", false))
	// Numbering sees what is not yet answered.
	var qs []request
	for range 5 {
		qs = append(qs, request{op: opCreate, body: createReq("/q/p", "", 2)})
	}
	c.pipeline("pipelined", qs...)
	c.close()
}

// paths runs paths, good and bad, through every operation that takes one.
func paths(r *raw) {
	c := r.open()
	c.step("parent", opCreate, createReq("/p", "", 0))
	for _, p := range []string{
		"", "/", "//", "a", "a/b", "/p/", "/p//x", "//p", "/p/.", "/p/..", "/p/...", "/p/.a", "/p/a.", "/p/./x", "/p/../x",
		"/p/\x00", "\x00", "/p/\x01", "/p/\x1f", "/p/ ", "/p/\x7f", "/p/\u0080", "/p/\u009f", "/p/\u00a0", "/p/\u00e9",
		"/p/\ud7ff", "/p/\ue000", "/p/\uf8ff", "/p/\uf900", "/p/\uffef", "/p/\ufff0", "/p/\uffff", "/p/\U0001f600",
		"/p/\xff", "/p/\xc3", "/p/\xed\xa0\x80", "/p/\xed\xa0\xbd\xed\xb8\x80", "/p/tab\t", "/p/nl\n", "/p/a\x00/b", "/zookeeper", "/zookeeper/quota", "/p/" + strings.Repeat("n", 3000),
		"/p/x/y/z", "/zookeeper/none",
	} {
		q := fmt.Sprintf("%q", p)
		if len(q) > 60 {
			q = q[:30] + "..."
		}
		c.step("exists "+q, opExists, pathWatch(p, false))
		c.step("getData "+q, opGetData, pathWatch(p, false))
		c.step("getACL "+q, opGetACL, justPath(p))
		c.step("children "+q, opGetChildren, pathWatch(p, false))
		c.step("create "+q, opCreate, createReq(p, "", 0))
		c.step("create sequential "+q, opCreate, createReq(p, "", 2))
		c.step("setData "+q, opSetData, setReq(p, "", -1))
		c.step("setACL "+q, opSetACL, rec().s(p).open().i(-1))
		c.step("check "+q, opMulti, multi(mop{proto.OpCheck, pathInt(p, -1)}))
		c.step("delete "+q, opDelete, pathInt(p, -1))
		c.step("count "+q, proto.OpGetAllChildrenNum, justPath(p))
		c.step("sync "+q, opSync, justPath(p))
	}
	c.close()
}

// badBodies sends requests that do not decode, or decode to null where a value is needed.
func badBodies(r *raw) {
	c := r.open()
	c.step("node", opCreate, createReq("/b", "", 0))
	full := map[proto.OpCode]body{
		opCreate:                  createReq("/b/x", "d", 0),
		opDelete:                  pathInt("/b/none", -1),
		opExists:                  pathWatch("/b", false),
		opGetData:                 pathWatch("/b", false),
		opSetData:                 setReq("/b", "d", 5),
		opGetACL:                  justPath("/b"),
		opSetACL:                  rec().s("/b").open().i(5),
		opGetChildren:             pathWatch("/b", false),
		opSync:                    justPath("/b"),
		opChildren2:               pathWatch("/b", false),
		opMulti:                   multi(mop{opDelete, pathInt("/b/none", -1)}),
		opCreate2:                 createReq("/b/x", "d", 0),
		proto.OpReconfig:          rec().s("").s("").s("").l(-1),
		proto.OpCheckWatches:      pathInt("/b", 1),
		proto.OpRemoveWatches:     pathInt("/b", 1),
		opContainer:               createReq("/b/x", "d", 4),
		opCreateTTL:               rec().s("/b/x").s("d").open().i(5).l(99),
		opMultiRead:               multi(mop{opGetData, pathWatch("/b", false)}),
		proto.OpSetWatches:        rec().l(0).strs().strs().strs(),
		proto.OpGetEphemerals:     justPath("/"),
		proto.OpGetAllChildrenNum: justPath("/b"),
		proto.OpSetWatches2:       rec().l(0).strs().strs().strs().strs().strs(),
		proto.OpAddWatch:          pathInt("/b", 0),
	}
	for op := proto.OpCode(1); op < 108; op++ {
		b, ok := full[op]
		if !ok {
			continue
		}
		// The good one first, on a fresh node: whether the bad ones consume zxids must not
		// show in its stat.
		c.do(opDelete, pathInt("/b", -1))
		c.do(opCreate, createReq("/b", "", 0))
		c.step(op.String()+" trailing", op, append(append(body{}, b...), 1, 2, 3, 4, 5))
		if op == opCreate || op == opCreate2 || op == opContainer || op == opCreateTTL {
			c.step(op.String()+" undo", opDelete, pathInt("/b/x", -1))
		}
		c.step(op.String()+" empty", op, nil)
		c.step(op.String()+" truncated", op, b[:len(b)-1])
		c.step(op.String()+" half", op, b[:len(b)/2])
		c.step(op.String()+" null path", op, append(rec().null(), b[min(len(b), 6):]...))
		c.step(op.String()+" length -2", op, rec().i(-2).i(0).i(0).i(0))
		c.step(op.String()+" length huge", op, rec().i(0x7fffffff).i(0).i(0).i(0))
		c.step(op.String()+" length over", op, rec().i(3000000).i(0).i(0).i(0))
		c.step(op.String()+" then", opPing, nil)
	}
	c.do(opDelete, pathInt("/b", -1))
	c.do(opCreate, createReq("/b", "", 0))
	c.step("ping with body", opPing, rec().s("anything"))
	c.step("whoAmI with body", proto.OpWhoAmI, rec().s("anything"))
	nulls := []struct {
		name string
		op   proto.OpCode
		b    body
	}{
		{"create null path alone", opCreate, rec().null().s("d").open().i(0)},
		{"create null acl", opCreate, rec().s("/b/n").s("d").null().i(0)},
		{"create acl -2", opCreate, rec().s("/b/n").s("d").i(-2).i(0)},
		{"create acl huge", opCreate, rec().s("/b/n").s("d").i(0x7fffffff).i(0)},
		{"create data -2", opCreate, rec().s("/b/n").i(-2).open().i(0)},
		{"exists watch 2", opExists, rec().s("/b/none").raw(2)},
		{"delete null", opDelete, rec().null().i(-1)},
		{"exists null", opExists, rec().null().flag(false)},
		{"exists null watch", opExists, rec().null().flag(true)},
		{"getData null", opGetData, rec().null().flag(false)},
		{"setData null", opSetData, rec().null().s("x").i(-1)},
		{"getACL null", opGetACL, rec().null()},
		{"setACL null path alone", opSetACL, rec().null().open().i(-1)},
		{"setACL null acl", opSetACL, rec().s("/b").null().i(-1)},
		{"children null", opGetChildren, rec().null().flag(false)},
		{"children2 null", opChildren2, rec().null().flag(false)},
		{"count null", proto.OpGetAllChildrenNum, rec().null()},
		{"multi of null path", opMulti, multi(mop{opDelete, rec().null().i(-1)})},
		{"multiRead of null path", opMultiRead, multi(mop{opGetData, rec().null().flag(false)})},
		{"checkWatches null", proto.OpCheckWatches, rec().null().i(1)},
		{"removeWatches null", proto.OpRemoveWatches, rec().null().i(1)},
		{"addWatch null", proto.OpAddWatch, rec().null().i(0)},
		{"setWatches null lists", proto.OpSetWatches, rec().l(0).null().null().null()},
		{"setWatches null entry", proto.OpSetWatches, rec().l(0).i(1).null().strs().strs()},
		{"setWatches2 null lists", proto.OpSetWatches2, rec().l(0).null().null().null().null().null()},
		{"setWatches2 null last", proto.OpSetWatches2, rec().l(0).strs().strs().strs().strs().null()},
	}
	for _, n := range nulls {
		c.step(n.name, n.op, n.b)
		if c.closed != "" {
			c = r.open()
		}
	}
	c.step("tree after", opGetChildren, pathWatch("/b", false))
	c.close()
}

// unknownOps sends operation codes that no client should.
func unknownOps(r *raw) {
	for _, op := range []proto.OpCode{0, 10, 13, 20, 23, 99, 108, 1000, -1, -2, -3, -9, -12, 0x7fffffff, -1 << 31} {
		c := r.open()
		got := c.do(op, pathInt("/none", -1))
		r.put(fmt.Sprintf("op %d", op), "%s", got)
		if strings.HasPrefix(got, "err=-6 ") {
			r.put(fmt.Sprintf("op %d then", op), "%s", c.event())
		} else {
			r.put(fmt.Sprintf("op %d then", op), "%s", c.drain())
		}
		if c.closed == "" {
			c.close()
		}
		// The session must still be there when only the connection went.
		d := r.dial()
		r.put(fmt.Sprintf("op %d session", op), "%s", d.connect(connectReq{timeout: 30000, session: c.session, passwd: c.passwd, readOnly: ptr(false)}))
		if d.closed == "" {
			d.close()
		}
	}
	c := r.open()
	// Java answers an unknown operation ahead of what is still in its pipeline, and then
	// closes: whether the others are answered is chance, that this one is, is not.
	c.write(c.append(c.append(c.append(nil, c.next(opCreate, createReq("/unk", "", 0))), c.next(99, nil)), c.next(opGetData, pathWatch("/unk", false))))
	refused := false
	for c.closed == "" {
		s := c.event()
		refused = refused || s == "err=-6 zxid=-1"
	}
	r.put("behind others", "refused=%v closed", refused)
	c = r.open()
	c.step("reconfig", proto.OpReconfig, rec().null().null().null().l(-1))
	c.step("reconfig full", proto.OpReconfig, rec().null().null().s("server.1=127.0.0.1:1:2;3").l(-1))
	c.step("reconfig then", opPing, nil)
	c.close()
}

// createSession asks for a session inside a session, which Java grants.
func createSession(r *raw) {
	c := r.open()
	c.sendFrame(rec().i(1).i(int32(proto.OpCreateSession)).i(30000))
	f, failure := c.readFrame()
	switch {
	case failure != "":
		r.put("reply", "%s", failure)
	case len(f) == 37:
		r.put("reply", "a connect response")
	default:
		c.pending = append(c.pending, request{xid: 1})
		s, _ := c.describe(f)
		r.put("reply", "%s", s)
	}
	r.put("then", "%s", c.do(opExists, pathWatch("/", false)))
}
