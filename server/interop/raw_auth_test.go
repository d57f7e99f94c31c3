//go:build interop

package interop

import (
	"fmt"

	"zabra.dev/zabra/engine/proto"
)

const bob = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=" // of bob:pw

func authReq(scheme, data string) body { return rec().i(0).s(scheme).s(data) }

// auths sends auth packets, good and bad.
func auths(r *raw) {
	for _, a := range []struct {
		name string
		b    body
	}{
		{"digest", authReq("digest", "bob:pw")},
		{"digest no colon", authReq("digest", "bob")},
		{"digest empty", authReq("digest", "")},
		{"digest many colons", authReq("digest", "a:b:c:d")},
		{"digest only colon", authReq("digest", ":")},
		{"digest no user", authReq("digest", ":pw")},
		{"digest no password", authReq("digest", "bob:")},
		{"digest not utf-8", rec().i(0).s("digest").buf([]byte{0xff, ':', 0xfe})},
		{"digest unicode", authReq("digest", "b\u00f6b:p\u00e4ss")},
		{"digest null", rec().i(0).s("digest").null()},
		{"type 7", rec().i(7).s("digest").s("bob:pw")},
		{"ip", authReq("ip", "")},
		{"ip other", authReq("ip", "10.0.0.1")},
		{"ip null", rec().i(0).s("ip").null()},
		{"world", authReq("world", "anyone")},
		{"auth", authReq("auth", "")},
		{"sasl", authReq("sasl", "x")},
		{"x509", authReq("x509", "x")},
		{"super", authReq("super", "super:secret")},
		{"unknown", authReq("nope", "x")},
		{"empty scheme", authReq("", "x")},
		{"null scheme", rec().i(0).null().s("x")},
		{"upper case", authReq("Digest", "bob:pw")},
		{"empty body", nil},
		{"truncated", authReq("digest", "bob:pw")[:15]},
		{"trailing", append(authReq("digest", "bob:pw"), 1, 2, 3)},
	} {
		for _, xid := range []int32{proto.XidAuth, 77} {
			c := r.open()
			name := fmt.Sprintf("%s xid %d", a.name, xid)
			got := c.doXid(request{xid, opAuth, a.b})
			r.put(name, "%s", got)
			if c.closed != "" {
				continue
			}
			if code := fmt.Sprintf("err=%d", proto.ErrAuthFailed); got[:min(len(got), len(code))] == code || xid < 0 && len(got) > 16 && got[7:7+len(code)] == code {
				r.put(name+" then", "%s", c.event())
				continue
			}
			c.step(name+" whoAmI", proto.OpWhoAmI, nil)
			c.close()
		}
	}
	c := r.open()
	c.step("two users 1", opAuth, authReq("digest", "al:pw"))
	c.step("two users 2", opAuth, authReq("digest", "bob:pw"))
	c.step("two users 2 again", opAuth, authReq("digest", "bob:pw"))
	c.step("two users", proto.OpWhoAmI, nil)
	c.step("sasl not configured", proto.OpSasl, rec().s(""))
	c.step("sasl not configured token", proto.OpSasl, rec().s("abc"))
	c.step("still serving", opExists, pathWatch("/", false))
	c.step("sasl null token", proto.OpSasl, rec().null())
	c = r.open()
	c.step("sasl empty body", proto.OpSasl, nil)
	// The identities of a failed packet's connection are of no use to anybody.
	c = r.open()
	r.put("session survives bad auth 1", "%s", c.do(opAuth, authReq("nope", "")))
	r.put("session survives bad auth 2", "%s", c.event())
	d := r.dial()
	r.put("session survives bad auth 3", "%s", d.connect(connectReq{timeout: 10000, session: c.session, passwd: c.passwd, readOnly: ptr(false)}))
	d.close()
}

// acls covers fix-up, evaluation and redaction.
func acls(r *raw) {
	plain, user := r.open(), r.open()
	user.step("auth", opAuth, authReq("digest", "bob:pw"))
	user.step("parent", opCreate, createReq("/acl", "", 0))
	many := []struct {
		name string
		acl  []acl
	}{
		{"none", nil},
		{"world", []acl{{31, "world", "anyone"}}},
		{"world other", []acl{{31, "world", "someone"}}},
		{"world empty", []acl{{31, "world", ""}}},
		{"world null", []acl{{31, "world", nil}}},
		{"auth", []acl{{31, "auth", ""}}},
		{"auth null", []acl{{31, "auth", nil}}},
		{"auth id", []acl{{31, "auth", "ignored"}}},
		{"auth twice", []acl{{31, "auth", ""}, {1, "auth", ""}}},
		{"auth and own digest", []acl{{31, "digest", bob}, {31, "auth", ""}}},
		{"digest own", []acl{{31, "digest", bob}}},
		{"digest other", []acl{{31, "digest", "al:xyz"}}},
		{"digest one part", []acl{{31, "digest", "al"}}},
		{"digest empty second", []acl{{31, "digest", "al:"}}},
		{"digest empty first", []acl{{31, "digest", ":x"}}},
		{"digest three parts", []acl{{31, "digest", "a:b:c"}}},
		{"digest colons after", []acl{{31, "digest", "a:b::"}}},
		{"digest empty", []acl{{31, "digest", ""}}},
		{"digest null", []acl{{31, "digest", nil}}},
		{"scheme null", []acl{{31, nil, "x"}}},
		{"scheme empty", []acl{{31, "", "x"}}},
		{"scheme unknown", []acl{{31, "nope", "x"}}},
		{"scheme super", []acl{{31, "super", ""}}},
		{"scheme sasl", []acl{{31, "sasl", "bob"}}},
		{"scheme x509", []acl{{31, "x509", "CN=bob"}}},
		{"ip", []acl{{31, "ip", "127.0.0.1"}}},
		{"ip other", []acl{{31, "ip", "10.0.0.1"}}},
		{"ip net", []acl{{31, "ip", "127.0.0.0/8"}}},
		{"ip net 0", []acl{{31, "ip", "1.2.3.4/0"}}},
		{"ip net 32", []acl{{31, "ip", "127.0.0.1/32"}}},
		{"ip net 33", []acl{{31, "ip", "127.0.0.1/33"}}},
		{"ip net negative", []acl{{31, "ip", "127.0.0.1/-1"}}},
		{"ip net text", []acl{{31, "ip", "127.0.0.1/x"}}},
		{"ip net empty", []acl{{31, "ip", "127.0.0.1/"}}},
		{"ip two slashes", []acl{{31, "ip", "127.0.0.1/8/8"}}},
		{"ip short", []acl{{31, "ip", "127.0.1"}}},
		{"ip long", []acl{{31, "ip", "127.0.0.0.1"}}},
		{"ip big", []acl{{31, "ip", "127.0.0.256"}}},
		{"ip negative", []acl{{31, "ip", "127.0.0.-1"}}},
		{"ip zeros", []acl{{31, "ip", "127.000.000.001"}}},
		{"ip blank", []acl{{31, "ip", " 127.0.0.1"}}},
		{"ip empty", []acl{{31, "ip", ""}}},
		{"ip host", []acl{{31, "ip", "localhost"}}},
		{"ip6", []acl{{31, "ip", "::1"}}},
		{"ip6 long", []acl{{31, "ip", "0:0:0:0:0:0:0:1"}}},
		{"ip6 net", []acl{{31, "ip", "2001:db8::/32"}}},
		{"ip6 net 128", []acl{{31, "ip", "2001:db8::1/128"}}},
		{"ip6 net 129", []acl{{31, "ip", "2001:db8::1/129"}}},
		{"ip6 mapped", []acl{{31, "ip", "::ffff:127.0.0.1"}}},
		{"ip6 bad", []acl{{31, "ip", "2001:::1"}}},
		{"ip6 zone", []acl{{31, "ip", "fe80::1%eth0"}}},
		{"duplicates", []acl{{31, "world", "anyone"}, {1, "world", "anyone"}, {31, "world", "anyone"}}},
		{"no perms", []acl{{0, "world", "anyone"}}},
		{"odd perms", []acl{{-1, "world", "anyone"}}},
		{"high perms", []acl{{32 | 31, "world", "anyone"}}},
		{"good and bad", []acl{{31, "world", "anyone"}, {31, "nope", "x"}}},
		{"unicode id", []acl{{31, "world", "anyone"}, {1, "digest", "b\u00f6b:\U0001f600"}}},
	}
	for i, m := range many {
		p := fmt.Sprintf("/acl/n%d", i)
		b := rec().s(p).s("d").acls(m.acl...).i(0)
		user.step(m.name+" create", opCreate, b)
		user.step(m.name+" getACL", opGetACL, justPath(p))
		plain.step(m.name+" getACL by other", opGetACL, justPath(p))
		user.step(m.name+" read", opGetData, pathWatch(p, false))
		plain.step(m.name+" read by other", opGetData, pathWatch(p, false))
		plain.step(m.name+" exists by other", opExists, pathWatch(p, false))
		plain.step(m.name+" children by other", opGetChildren, pathWatch(p, false))
		plain.step(m.name+" write by other", opSetData, setReq(p, "x", -1))
		plain.step(m.name+" create below by other", opCreate, createReq(p+"/x", "", 0))
		plain.step(m.name+" delete below by other", opDelete, pathInt(p+"/x", -1))
		plain.step(m.name+" setACL by other", opSetACL, rec().s(p).open().i(99))
		plain.step(m.name+" create by other", opCreate, rec().s(p+"-o").s("d").acls(m.acl...).i(0))
		// On a node of its own: whoever takes ADMIN from himself cannot undo it.
		set := fmt.Sprintf("/aclset%d", i)
		user.do(opCreate, createReq(set, "", 0))
		user.step(m.name+" setACL", opSetACL, rec().s(set).acls(m.acl...).i(0))
		user.step(m.name+" setACL get", opGetACL, justPath(set))
		user.step(m.name+" setACL again", opSetACL, rec().s(set).open().i(-1))
		plain.step(m.name+" setACL undo by other", opSetACL, rec().s(set).open().i(-1))
	}
	plain.close()
	user.close()
}

// permissions walks through all combinations of bits.
func permissions(r *raw) {
	owner, c := r.open(), r.open()
	owner.step("auth", opAuth, authReq("digest", "bob:pw"))
	owner.step("parent", opCreate, createReq("/pm", "", 0))
	for perms := int32(0); perms < 32; perms++ {
		p := fmt.Sprintf("/pm/%d", perms)
		name := func(s string) string { return fmt.Sprintf("perms %d %s", perms, s) }
		owner.do(opCreate, rec().s(p).s("d").acls(acl{31, "digest", bob}, acl{perms, "world", "anyone"}).i(0))
		owner.do(opCreate, createReq(p+"/c", "", 0))
		c.step(name("exists"), opExists, pathWatch(p, false))
		c.step(name("getData"), opGetData, pathWatch(p, false))
		c.step(name("getChildren"), opGetChildren, pathWatch(p, false))
		c.step(name("getChildren2"), opChildren2, pathWatch(p, false))
		c.step(name("count"), proto.OpGetAllChildrenNum, justPath(p))
		c.step(name("getACL"), opGetACL, justPath(p))
		c.step(name("setData"), opSetData, setReq(p, "e", -1))
		c.step(name("setData bad version"), opSetData, setReq(p, "e", 77))
		c.step(name("create"), opCreate, createReq(p+"/d", "", 0))
		c.step(name("create existing"), opCreate, createReq(p+"/c", "", 0))
		c.step(name("create bad acl"), opCreate, rec().s(p+"/d").s("").acls().i(0))
		c.step(name("delete"), opDelete, pathInt(p+"/c", -1))
		c.step(name("delete missing"), opDelete, pathInt(p+"/none", -1))
		c.step(name("check"), opMulti, multi(mop{opCheck, pathInt(p, -1)}))
		c.step(name("multiRead"), opMultiRead, multi(mop{opGetData, pathWatch(p, false)}, mop{opGetChildren, pathWatch(p, false)}))
		c.step(name("setACL bad version"), opSetACL, rec().s(p).acls(acl{31, "digest", bob}, acl{perms, "world", "anyone"}).i(9))
		c.step(name("setACL"), opSetACL, rec().s(p).acls(acl{31, "digest", bob}, acl{perms, "world", "anyone"}).i(0))
		c.step(name("sync"), opSync, justPath(p))
	}
	// The parent's DELETE counts, not the node's own list; errors come in order.
	owner.step("closed parent", opCreate, rec().s("/pmc").s("").acls(acl{31, "digest", bob}).i(0))
	owner.step("open child", opCreate, createReq("/pmc/open", "", 0))
	c.step("delete open child", opDelete, pathInt("/pmc/open", -1))
	c.step("read open child", opGetData, pathWatch("/pmc/open", false))
	c.step("create with bad path", opCreate, createReq("/pmc/a//b", "", 0))
	c.step("create with bad name", opCreate, createReq("/pmc/\x01", "", 0))
	c.step("create with bad acl", opCreate, rec().s("/pmc/x").s("").acls(acl{1, "x", "y"}).i(0))
	c.step("create existing", opCreate, createReq("/pmc/open", "", 0))
	c.step("set bad version", opSetData, setReq("/pmc", "", 9))
	c.step("watch denied", opGetData, pathWatch("/pmc", true))
	c.step("children watch denied", opGetChildren, pathWatch("/pmc", true))
	c.step("addWatch needs nothing", opAddWatch, pathInt("/pmc", 1))
	c.step("exists watch", opExists, pathWatch("/pmc/closed", true))
	owner.step("closed child", opCreate, rec().s("/pmc/closed").s("").acls(acl{31, "digest", bob}).i(0))
	c.step("events of closed child", opPing, nil)
	owner.step("open child 2", opCreate, createReq("/pmc/open2", "", 0))
	c.step("events of open child", opPing, nil)
	owner.step("set closed", opSetData, setReq("/pmc/closed", "", -1))
	owner.step("set open", opSetData, setReq("/pmc/open2", "", -1))
	c.step("events of sets", opPing, nil)
	owner.step("delete closed", opDelete, pathInt("/pmc/closed", -1))
	owner.step("delete open", opDelete, pathInt("/pmc/open2", -1))
	c.step("events of deletes", opPing, nil)
	c.step("auth late", opAuth, authReq("digest", "bob:pw"))
	c.step("auth late read", opGetData, pathWatch("/pmc", true))
	c.step("auth late write", opSetData, setReq("/pmc", "", -1))
	c.close()
	owner.close()
}

// super runs with a super digest.
func super(r *raw) {
	owner, su := r.open(), r.open()
	owner.step("auth", opAuth, authReq("digest", "bob:pw"))
	owner.step("closed", opCreate, rec().s("/su").s("d").acls(acl{31, "digest", bob}).i(0))
	su.step("before", opGetData, pathWatch("/su", false))
	wrong := r.open()
	wrong.step("wrong", opAuth, authReq("digest", "super:wrong"))
	wrong.step("wrong read", opGetData, pathWatch("/su", false))
	wrong.close()
	su.step("right", opAuth, authReq("digest", "super:secret"))
	su.step("whoAmI", proto.OpWhoAmI, nil)
	su.step("read", opGetData, pathWatch("/su", false))
	su.step("acl unredacted", opGetACL, justPath("/su"))
	su.step("write", opSetData, setReq("/su", "e", 0))
	su.step("auth acl", opCreate, rec().s("/su/a").s("").acls(acl{31, "auth", ""}).i(0))
	su.step("auth acl get", opGetACL, justPath("/su/a"))
	su.step("no acl", opCreate, rec().s("/su/b").s("").acls().i(0))
	su.step("delete special", opDelete, pathInt("/zookeeper/quota", -1))
	su.step("set config", opSetData, setReq("/zookeeper/config", "x=1", -1))
	su.step("get config", opGetData, pathWatch("/zookeeper/config", false))
	su.step("setACL config", opSetACL, rec().s("/zookeeper/config").open().i(-1))
	su.step("bad version", opSetData, setReq("/su", "e", 77))
	su.step("reconfig", proto.OpReconfig, rec().null().null().null().l(-1))
	su.close()
	owner.close()
}

// skipACL runs with skipACL=yes.
func skipACL(r *raw) {
	c := r.open()
	c.step("closed", opCreate, rec().s("/sk").s("d").acls(acl{0, "digest", bob}).i(0))
	c.step("read", opGetData, pathWatch("/sk", false))
	c.step("acl", opGetACL, justPath("/sk"))
	c.step("write", opSetData, setReq("/sk", "x", -1))
	c.step("setACL", opSetACL, rec().s("/sk").acls(acl{0, "world", "anyone"}).i(-1))
	c.step("bad acl", opSetACL, rec().s("/sk").acls(acl{31, "nope", "x"}).i(-1))
	c.step("no acl", opCreate, rec().s("/sk/x").s("").acls().i(0))
	c.step("auth acl", opCreate, rec().s("/sk/y").s("").acls(acl{31, "auth", ""}).i(0))
	c.step("config", opSetData, setReq("/zookeeper/config", "", -1))
	c.step("delete", opDelete, pathInt("/sk", -1))
	c.close()
}

// enforced runs with enforce.auth.enabled and the scheme digest.
func enforced(r *raw) {
	for _, q := range []struct {
		name string
		op   proto.OpCode
		b    body
	}{{"ping", opPing, nil}, {"read", opExists, pathWatch("/", false)}, {"write", opCreate, createReq("/en", "", 0)},
		{"close", opClose, nil}, {"unknown", 99, nil}} {
		c := r.dial()
		r.put(q.name+" connect", "%s", c.connect(connectReq{timeout: 10000, readOnly: ptr(false)}))
		r.put(q.name, "%s", c.do(q.op, q.b))
		r.put(q.name+" then", "%s", c.event())
	}
	c := r.dial()
	r.put("connect", "%s", c.connect(connectReq{timeout: 10000, readOnly: ptr(false)}))
	c.step("auth", opAuth, authReq("digest", "bob:pw"))
	c.step("ping after auth", opPing, nil)
	c.step("node", opCreate, createReq("/en", "", 0))
	c.step("end", opClose, nil)
}

// eager runs with enableEagerACLCheck=true.
func eager(r *raw) {
	owner, c := r.open(), r.open()
	owner.step("auth", opAuth, authReq("digest", "bob:pw"))
	owner.step("closed", opCreate, rec().s("/ea").s("d").acls(acl{31, "digest", bob}).i(0))
	owner.step("child", opCreate, createReq("/ea/c", "", 0))
	c.step("create", opCreate, createReq("/ea/x", "", 0))
	c.step("create2", opCreate2, createReq("/ea/x", "", 0))
	c.step("container", opContainer, createReq("/ea/x", "", 4))
	c.step("create bad acl", opCreate, rec().s("/e2").s("").acls(acl{31, "nope", "x"}).i(0))
	c.step("create no acl", opCreate, rec().s("/e2").s("").acls().i(0))
	c.step("create missing parent", opCreate, createReq("/none/x", "", 0))
	c.step("create bad path", opCreate, createReq("x", "", 0))
	c.step("create bad flags", opCreate, createReq("/ea/x", "", 9))
	c.step("delete", opDelete, pathInt("/ea/c", -1))
	c.step("delete missing", opDelete, pathInt("/ea/none", -1))
	c.step("set", opSetData, setReq("/ea", "", -1))
	c.step("set missing", opSetData, setReq("/none", "", -1))
	c.step("setACL", opSetACL, rec().s("/ea").open().i(-1))
	c.step("setACL bad", opSetACL, rec().s("/").acls(acl{31, "nope", "x"}).i(-1))
	c.step("multi", opMulti, multi(mop{opDelete, pathInt("/ea/c", -1)}))
	c.step("read", opGetData, pathWatch("/ea", false))
	owner.step("allowed", opSetData, setReq("/ea", "", -1))
	c.close()
	owner.close()
}

// digestAlg runs with another digest algorithm.
func digestAlg(r *raw) {
	c := r.open()
	c.step("auth", opAuth, authReq("digest", "bob:pw"))
	c.step("whoAmI", proto.OpWhoAmI, nil)
	c.step("create", opCreate, rec().s("/da").s("").acls(acl{31, "auth", ""}).i(0))
	c.step("acl", opGetACL, justPath("/da"))
	c.close()
}
