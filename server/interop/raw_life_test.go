//go:build interop

package interop

import (
	"fmt"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// restarts ends the server in several ways and looks at what it knows afterwards.
func restarts(r *raw) {
	c := r.open()
	c.step("auth", opAuth, authReq("digest", "bob:pw"))
	c.step("node", opCreate, createReq("/rs", "data", 0))
	c.step("null", opCreate, rec().s("/rs/null").null().open().i(0))
	c.step("empty", opCreate, createReq("/rs/empty", "", 0))
	c.step("closed", opCreate, rec().s("/rs/closed").s("x").acls(acl{31, "auth", ""}, acl{1, "ip", "10.0.0.0/8"}).i(0))
	c.step("ephemeral", opCreate, createReq("/rs/e", "", 1))
	c.step("container", opContainer, createReq("/rs/c", "", 4))
	c.step("ttl", opCreateTTL, rec().s("/rs/ttl").s("").open().i(5).l(1000000))
	c.step("sequential", opCreate, createReq("/rs/s", "", 2))
	c.step("deleted", opDelete, pathInt("/rs/s0000000006", -1))
	c.step("set", opSetData, setReq("/rs", "changed", 0))
	c.step("setACL", opSetACL, rec().s("/rs/empty").acls(acl{31, "world", "anyone"}, acl{1, "ip", "127.0.0.1"}).i(0))
	c.step("quota", opMulti, multi(mop{opCreate, createReq("/zookeeper/quota/rs", "", 0)},
		mop{opCreate, createReq("/zookeeper/quota/rs/zookeeper_limits", "count=100,bytes=1000", 0)},
		mop{opCreate, createReq("/zookeeper/quota/rs/zookeeper_stats", "count=0,bytes=0", 0)}))
	c.step("fails", opDelete, pathInt("/none", -1))
	gone := r.open()
	gone.step("of a closed session", opCreate, createReq("/rs/gone", "", 1))
	gone.close()
	for i, kill := range []bool{false, true, true, false} {
		name := fmt.Sprintf("after %d ", i)
		c.drop()
		r.s.restart(r.t, kill)
		c2 := r.dial()
		r.put(name+"re-attach", "%s", c2.connect(connectReq{timeout: 60000, session: c.session, passwd: c.passwd, lastZxid: r.zxid, readOnly: ptr(false)}))
		r.put(name+"zxid", "%s", c2.do(opPing, nil))
		c2.step(name+"auth", opAuth, authReq("digest", "bob:pw"))
		for _, p := range []string{"/", "/rs", "/rs/null", "/rs/empty", "/rs/closed", "/rs/e", "/rs/c", "/rs/ttl", "/rs/gone", "/zookeeper", "/zookeeper/quota",
			"/zookeeper/config", "/zookeeper/quota/rs", "/zookeeper/quota/rs/zookeeper_limits", "/zookeeper/quota/rs/zookeeper_stats"} {
			c2.step(name+"get "+p, opGetData, pathWatch(p, false))
			c2.step(name+"acl "+p, opGetACL, justPath(p))
			c2.step(name+"children "+p, opGetChildren, pathWatch(p, false))
		}
		c2.step(name+"ephemerals", proto.OpGetEphemerals, justPath(""))
		c2.step(name+"count", proto.OpGetAllChildrenNum, justPath("/"))
		c2.step(name+"sequential", opCreate, createReq("/rs/s", "", 2))
		c2.step(name+"quota counts", opGetData, pathWatch("/zookeeper/quota/rs/zookeeper_stats", false))
		d := r.dial()
		r.put(name+"closed session", "%s", d.connect(connectReq{timeout: 60000, session: gone.session, passwd: gone.passwd, readOnly: ptr(false)}))
		e := r.dial()
		r.put(name+"new session", "%s", e.connect(connectReq{timeout: 60000, readOnly: ptr(false)}))
		e.step(name+"ephemeral is not of the new one", opGetData, pathWatch("/rs/e", true))
		e.step(name+"new ephemeral", opCreate, createReq("/rs/e2", "", 1))
		e.step(name+"new close", opClose, nil)
		c = c2
	}
	w := r.open()
	w.step("watch ephemeral", opExists, pathWatch("/rs/e", true))
	c.step("close", opClose, nil)
	r.put("ephemeral gone", "%s", w.event())
	w.close()
}

// reaper runs with a short interval between the sweeps for containers and TTL nodes.
func reaper(r *raw) {
	c, w := r.open(), r.open()
	c.step("parent", opCreate, createReq("/rp", "", 0))
	c.step("container", opContainer, createReq("/rp/c", "", 4))
	c.step("container child", opCreate, createReq("/rp/c/x", "", 0))
	c.step("never used container", opContainer, createReq("/rp/unused", "", 4))
	w.step("watch container", opExists, pathWatch("/rp/c", true))
	w.step("watch parent", opGetChildren, pathWatch("/rp", true))
	c.step("container child away", opDelete, pathInt("/rp/c/x", -1))
	r.put("container event 1", "%s", w.event())
	r.put("container event 2", "%s", w.event())
	c.step("container is gone", opExists, pathWatch("/rp/c", false))
	begin := time.Now()
	c.step("ttl", opCreateTTL, rec().s("/rp/ttl").s("").open().i(5).l(600))
	c.step("ttl long", opCreateTTL, rec().s("/rp/ttl-long").s("").open().i(5).l(1000000))
	c.step("ttl with child", opCreateTTL, rec().s("/rp/ttl-child").s("").open().i(5).l(1))
	c.step("ttl child", opCreate, createReq("/rp/ttl-child/x", "", 0))
	w.step("watch ttl", opExists, pathWatch("/rp/ttl", true))
	r.put("ttl event", "%s", w.event())
	early := ""
	if d := time.Since(begin); d < 600*time.Millisecond {
		early = fmt.Sprintf(" early, after %v", d)
	}
	r.put("ttl time", "not%s", early)
	c.step("ttl is gone", opExists, pathWatch("/rp/ttl", false))
	c.step("ttl with child stays", opExists, pathWatch("/rp/ttl-child", false))
	w.step("watch ttl child", opExists, pathWatch("/rp/ttl-child", true))
	c.step("ttl child away", opDelete, pathInt("/rp/ttl-child/x", -1))
	r.put("ttl child event", "%s", w.event())
	c.step("what stays", opGetChildren, pathWatch("/rp", false))
	c.close()
	w.close()
}

// timeouts runs with limits of its own for session timeouts.
func timeouts(r *raw) {
	for _, ms := range []int32{0, 1, 6999, 7000, 8000, 9000, 9001, 1 << 30} {
		c := r.dial()
		r.put(fmt.Sprint(ms), "%s", c.connect(connectReq{timeout: ms, readOnly: ptr(false)}))
		d := r.dial()
		r.put(fmt.Sprint(ms, " re-attach"), "%s", d.connect(connectReq{timeout: 8500, session: c.session, passwd: c.passwd, readOnly: ptr(false)}))
		d.close()
	}
}

// ipv6 runs with the client port on ::1.
func ipv6(r *raw) {
	c := r.open()
	c.step("whoAmI", proto.OpWhoAmI, nil)
	for _, id := range []string{"::1", "0:0:0:0:0:0:0:1", "::/64", "::1/128", "127.0.0.1", "0.0.0.0/0", "2001:db8::/32", "::2/127", "::/0"} {
		p := fmt.Sprintf("/i%d", len(r.tr.steps))
		c.step("create "+id, opCreate, rec().s(p).s("").acls(acl{31, "ip", id}).i(0))
		c.step("read "+id, opGetData, pathWatch(p, false))
		c.step("acl "+id, opGetACL, justPath(p))
	}
	c.step("auth ip", opAuth, authReq("ip", ""))
	c.step("whoAmI again", proto.OpWhoAmI, nil)
	c.close()
}
