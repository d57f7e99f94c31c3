//go:build interop

package interop

import (
	"fmt"

	"zabra.dev/zabra/engine/proto"
)

const (
	opCheckWatches  = proto.OpCheckWatches
	opRemoveWatches = proto.OpRemoveWatches
	opSetWatches    = proto.OpSetWatches
	opSetWatches2   = proto.OpSetWatches2
	opAddWatch      = proto.OpAddWatch
)

// watches sets every kind of watch and looks at the events of every kind of change, seen by
// the writer itself and by another connection.
func watches(r *raw) {
	admin := r.open()
	kinds := []struct {
		name string
		set  func(c *conn, path string) string
	}{
		{"exists", func(c *conn, p string) string { return c.do(opExists, pathWatch(p, true)) }},
		{"getData", func(c *conn, p string) string { return c.do(opGetData, pathWatch(p, true)) }},
		{"getChildren", func(c *conn, p string) string { return c.do(opGetChildren, pathWatch(p, true)) }},
		{"getChildren2", func(c *conn, p string) string { return c.do(opChildren2, pathWatch(p, true)) }},
		{"persistent", func(c *conn, p string) string { return c.do(opAddWatch, pathInt(p, 0)) }},
		{"recursive", func(c *conn, p string) string { return c.do(opAddWatch, pathInt(p, 1)) }},
	}
	changes := func(root string) []request {
		n := root + "/n"
		return []request{
			{op: opSetData, body: setReq(n, "1", -1)},
			{op: opSetData, body: setReq(n, "2", -1)},
			{op: opSetData, body: setReq(n, "3", 99)},
			{op: opSetACL, body: rec().s(n).open().i(-1)},
			{op: opCreate, body: createReq(n+"/c", "", 0)},
			{op: opCreate2, body: createReq(n+"/c/g", "", 0)},
			{op: opSetData, body: setReq(n+"/c", "x", -1)},
			{op: opDelete, body: pathInt(n+"/c/g", -1)},
			{op: opDelete, body: pathInt(n+"/c", -1)},
			{op: opDelete, body: pathInt(n, -1)},
			{op: opCreate, body: createReq(n, "", 0)},
			{op: opSetData, body: setReq(n, "4", -1)},
			{op: opDelete, body: pathInt(n, -1)},
			{op: opMulti, body: multi(mop{opCreate, createReq(n, "", 0)}, mop{opCreate, createReq(n+"/m", "", 0)},
				mop{opSetData, setReq(n, "5", -1)}, mop{opDelete, pathInt(n+"/m", -1)}, mop{opDelete, pathInt(n, -1)})},
			{op: opMulti, body: multi(mop{opCreate, createReq(n, "", 0)}, mop{opCheck, pathInt(n, 5)})},
		}
	}
	for i, k := range kinds {
		root := fmt.Sprintf("/wt%d", i)
		for _, at := range []string{"/n", "", "/none"} {
			c := r.open()
			admin.do(opCreate, createReq(root, "", 0))
			admin.do(opCreate, createReq(root+"/n", "", 0))
			name := fmt.Sprintf("%s at root%s", k.name, at)
			r.put(name+" set", "%s", k.set(c, root+at))
			r.put(name+" set again", "%s", k.set(c, root+at))
			// The watcher changes things itself: events come before the replies.
			for j, q := range changes(root) {
				r.put(fmt.Sprintf("%s own change %d %v", name, j, q.op), "%s", c.do(q.op, q.body))
			}
			admin.do(opCreate, createReq(root+"/n", "", 0))
			r.put(name+" create by other", "%s", c.drain())
			r.put(name+" rearm", "%s", k.set(c, root+at))
			for j, q := range changes(root) {
				admin.do(q.op, q.body)
				r.put(fmt.Sprintf("%s other's change %d %v", name, j, q.op), "%s", c.drain())
			}
			r.put(name+" delete root", "%s", c.do(opDelete, pathInt(root, -1)))
			r.put(name+" root again", "%s", c.do(opCreate, createReq(root, "", 0)))
			r.put(name+" delete root again", "%s", c.do(opDelete, pathInt(root, -1)))
			r.put(name+" close", "%s", c.close())
		}
	}

	// Several watches of one connection on one change.
	c := r.open()
	c.do(opCreate, createReq("/wm", "", 0))
	c.do(opCreate, createReq("/wm/n", "", 0))
	c.step("combined 1", opGetData, pathWatch("/wm/n", true))
	c.step("combined 2", opExists, pathWatch("/wm/n", true))
	c.step("combined 3", opGetChildren, pathWatch("/wm/n", true))
	c.step("combined 4", opGetChildren, pathWatch("/wm", true))
	c.step("combined delete", opDelete, pathInt("/wm/n", -1))
	c.step("combined create", opCreate, createReq("/wm/n", "", 0))
	c.step("mixed standard", opGetData, pathWatch("/wm/n", true))
	c.step("mixed persistent", opAddWatch, pathInt("/wm/n", 0))
	c.step("mixed recursive", opAddWatch, pathInt("/wm", 1))
	c.step("mixed recursive root", opAddWatch, pathInt("/", 1))
	c.step("mixed set", opSetData, setReq("/wm/n", "", -1))
	c.step("mixed set again", opSetData, setReq("/wm/n", "", -1))
	c.step("mixed child", opCreate, createReq("/wm/n/c", "", 0))
	c.step("mixed child delete", opDelete, pathInt("/wm/n/c", -1))
	c.step("mixed delete", opDelete, pathInt("/wm/n", -1))
	c.step("mixed create root node", opCreate, createReq("/other", "", 0))
	c.step("mixed delete root node", opDelete, pathInt("/other", -1))
	c.step("addWatch mode 2", opAddWatch, pathInt("/wm", 2))
	c.step("addWatch mode -1", opAddWatch, pathInt("/wm", -1))
	c.step("addWatch bad path", opAddWatch, pathInt("no slash", 0))
	c.step("addWatch empty path", opAddWatch, pathInt("", 0))
	c.step("watch by empty path", opExists, pathWatch("", true))
	c.step("set root", opSetData, setReq("/", "", -1))
	c.step("watch with NUL", opExists, pathWatch("/wm/\x00", true))
	c.step("close with watches", opClose, nil)

	// Ephemerals of a session that closes.
	e, w := r.open(), r.open()
	e.do(opCreate, createReq("/we", "", 0))
	e.step("ephemeral", opCreate, createReq("/we/e", "", 1))
	e.step("ephemeral own watch", opGetData, pathWatch("/we/e", true))
	e.step("ephemeral parent watch", opGetChildren, pathWatch("/we", true))
	w.step("ephemeral watched by other", opExists, pathWatch("/we/e", true))
	w.step("ephemeral parent watched by other", opChildren2, pathWatch("/we", true))
	e.step("ephemeral close", opClose, nil)
	r.put("ephemeral closed", "%s", e.event())
	w.step("ephemeral seen by other", opPing, nil)
	w.step("ephemeral gone", opExists, pathWatch("/we/e", false))
	w.close()

	// A watch is armed when the read is, and a pipelined change fires it in between.
	p := r.open()
	p.pipeline("pipelined",
		request{op: opCreate, body: createReq("/wp", "", 0)},
		request{op: opGetData, body: pathWatch("/wp", true)},
		request{op: opSetData, body: setReq("/wp", "1", 0)},
		request{op: opGetData, body: pathWatch("/wp", true)},
		request{op: opExists, body: pathWatch("/wp/x", true)},
		request{op: opCreate, body: createReq("/wp/x", "", 0)},
		request{op: opPing},
		request{op: opDelete, body: pathInt("/wp/x", 0)},
		request{op: opDelete, body: pathInt("/wp", 1)},
		request{op: opExists, body: pathWatch("/wp", false)})
	p.close()
	admin.close()
}

// removals covers checkWatches and removeWatches of every type against every kind of watch.
func removals(r *raw) {
	admin := r.open()
	admin.do(opCreate, createReq("/rm", "", 0))
	sets := []struct {
		name string
		set  func(c *conn) string
	}{
		{"none", func(c *conn) string { return c.do(opPing, nil) }},
		{"data", func(c *conn) string { return c.do(opGetData, pathWatch("/rm", true)) }},
		{"exists", func(c *conn) string { return c.do(opExists, pathWatch("/rm", true)) }},
		{"children", func(c *conn) string { return c.do(opGetChildren, pathWatch("/rm", true)) }},
		{"persistent", func(c *conn) string { return c.do(opAddWatch, pathInt("/rm", 0)) }},
		{"recursive", func(c *conn) string { return c.do(opAddWatch, pathInt("/rm", 1)) }},
		{"all", func(c *conn) string {
			c.do(opGetData, pathWatch("/rm", true))
			c.do(opGetChildren, pathWatch("/rm", true))
			c.do(opAddWatch, pathInt("/rm", 0))
			return c.do(opAddWatch, pathInt("/rm", 1))
		}},
	}
	for _, s := range sets {
		for typ := int32(-1); typ <= 6; typ++ {
			name := fmt.Sprintf("%s type %d", s.name, typ)
			c := r.open()
			r.put(name+" set", "%s", s.set(c))
			c.step(name+" check", opCheckWatches, pathInt("/rm", typ))
			c.step(name+" check other path", opCheckWatches, pathInt("/rm/x", typ))
			c.step(name+" check again", opCheckWatches, pathInt("/rm", typ))
			c.step(name+" remove other path", opRemoveWatches, pathInt("/rm/x", typ))
			c.step(name+" remove", opRemoveWatches, pathInt("/rm", typ))
			c.step(name+" remove again", opRemoveWatches, pathInt("/rm", typ))
			c.step(name+" check after", opCheckWatches, pathInt("/rm", typ))
			c.step(name+" any left", opCheckWatches, pathInt("/rm", 3))
			c.step(name+" change", opSetData, setReq("/rm", "", -1))
			c.step(name+" child", opCreate, createReq("/rm/c", "", 0))
			c.step(name+" child away", opDelete, pathInt("/rm/c", -1))
			r.put(name+" close", "%s", c.close())
		}
	}
	// Watches of others do not count.
	a, b := r.open(), r.open()
	a.do(opGetData, pathWatch("/rm", true))
	b.step("of another connection check", opCheckWatches, pathInt("/rm", 2))
	b.step("of another connection remove", opRemoveWatches, pathInt("/rm", 2))
	a.step("of another connection still there", opCheckWatches, pathInt("/rm", 2))
	a.close()
	b.close()
	admin.close()
}

// rewatches covers setWatches and setWatches2.
func rewatches(r *raw) {
	c := r.open()
	c.step("old", opCreate, createReq("/sw", "", 0))
	c.step("parent", opCreate, createReq("/sw/p", "", 0))
	c.step("mark", opSetData, setReq("/sw", "", -1))
	mark := r.zxid
	c.step("changed", opCreate, createReq("/sw/changed", "", 0))
	c.step("child of p", opCreate, createReq("/sw/p/c", "", 0))
	c.step("changed data", opSetData, setReq("/sw/changed", "x", -1))
	now := r.zxid
	lists := []string{"/sw", "/sw/p", "/sw/changed", "/sw/none", "/"}
	for _, z := range []struct {
		name string
		zxid int64
	}{{"mark", mark}, {"now", now}, {"zero", 0}, {"negative", -1}, {"future", now + 1000}} {
		for i, which := range []string{"data", "exist", "child", "persistent", "recursive"} {
			d := r.open()
			b := rec().l(z.zxid)
			for j := range 5 {
				if i == j {
					b = b.strs(lists...)
				} else {
					b = b.strs()
				}
			}
			name := fmt.Sprintf("%s since %s", which, z.name)
			if i < 3 {
				three := rec().l(z.zxid)
				for j := range 3 {
					if i == j {
						three = three.strs(lists...)
					} else {
						three = three.strs()
					}
				}
				r.put(name+" setWatches", "%s", d.do(opSetWatches, three))
			}
			r.put(name+" setWatches2", "%s", d.do(opSetWatches2, b))
			d.step(name+" set", opSetData, setReq("/sw/p", "", -1))
			d.step(name+" create", opCreate, createReq("/sw/none", "", 0))
			d.step(name+" create below", opCreate, createReq("/sw/p/d", "", 0))
			d.step(name+" delete below", opDelete, pathInt("/sw/p/d", -1))
			d.step(name+" delete", opDelete, pathInt("/sw/none", -1))
			d.step(name+" set root", opSetData, setReq("/sw", "", -1))
			r.put(name+" close", "%s", d.close())
		}
	}
	d := r.open()
	r.put("xid -8", "%s", d.doXid(request{-8, opSetWatches, rec().l(0).strs("/sw").strs("/none2").strs("/none3")}))
	r.put("all at once", "%s", d.do(opSetWatches2, rec().l(mark).strs("/sw/changed", "/none").strs("/sw").strs("/sw/p").strs("/sw/q").strs("/sw/p")))
	d.step("bad paths", opSetWatches2, rec().l(mark).strs("no slash", "").strs("", "x").strs("//").strs("").strs("y"))
	d.step("long", opSetWatches, rec().l(1<<60).strs(many("/sw/long", 3000)...).strs().strs())
	d.close()
	c.close()
}

func many(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}
