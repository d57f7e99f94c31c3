//go:build interop

package interop

import (
	"fmt"
	"hash/crc32"
	"sort"
	"strings"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

func init() {
	random := rawTour("raw-random-pipelined", map[string]string{"maxSessionTimeout": "600000"}, nil,
		section{"random", randomPipelines})
	random.refs = []kind{java39}
	reborn := rawTour("raw-random-restart", map[string]string{"enforceQuota": "true", "maxSessionTimeout": "600000", "snapCount": "60"}, nil,
		section{"random", randomRestarts})
	reborn.refs = []kind{java39}
	ensemble := rawTour("raw-ensemble-auth", map[string]string{"authProvider.1": "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider", "ensembleAuthName": "one,two"}, nil,
		section{"ensemble", ensembleAuth})
	register(
		random,
		reborn,
		ensemble,
		rawTour("raw-large", nil, nil, section{"large", large}),
		rawTour("raw-outstanding", map[string]string{"globalOutstandingLimit": "2", "request_throttle_max_requests": "3", "request_throttle_stall_time": "1"}, nil,
			section{"order", order}),
		rawTour("raw-max-cnxns", map[string]string{"maxCnxns": "3"}, nil, section{"limit", perClientLimit}),
		rawTour("raw-connection-throttle", map[string]string{"connection_throttle_tokens": "2", "connection_throttle_fill_time": "1000000"}, nil,
			section{"throttle", connectionThrottle}),
		rawTour("raw-local-sessions", map[string]string{"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}, nil,
			section{"fresh", freshTree}, section{"session", sessions}),
		rawTour("raw-no-digest-of-tree", map[string]string{"digest.enabled": "false"}, nil,
			section{"fresh", freshTree}, section{"hash", hashWord}),
	)
}

// randomPipelines sends random requests in batches of one write.
func randomPipelines(r *raw) {
	for i := range *seedsFlag {
		p := &program{raw: r, seed: *seedFlag + 5000 + int64(i)}
		p.start()
		for b := range *opsFlag / 10 {
			c, other := p.conns[b%2], p.conns[1-b%2]
			var qs []request
			for range 1 + p.rnd.Intn(20) {
				q := p.request()
				// Java answers auth packets ahead of what is in its pipeline, and checks what comes
				// behind a setACL against the old list until the new one is applied.
				for q.op == opAuth || q.op == opSetACL {
					q = p.request()
				}
				qs = append(qs, q)
			}
			c.pipeline(fmt.Sprintf("%d.%d", p.seed, b), qs...)
			p.put(fmt.Sprintf("%d.%d seen", p.seed, b), "%s", other.drain())
		}
		p.end()
	}
}

// randomRestarts looks at the whole tree after random programs, before and after the server
// was killed. The small snapCount makes it take snapshots on the way.
func randomRestarts(r *raw) {
	for i := range 3 {
		p := &program{raw: r, seed: *seedFlag + 9000 + int64(i)}
		p.start()
		p.steps(*opsFlag)
		p.dump("before", p.conns[0])
		keep := p.conns[1]
		p.conns[0].close()
		p.conns[2].close()
		keep.drop()
		r.s.restart(r.t, true)
		d := r.dial()
		p.put(fmt.Sprintf("%d re-attach", p.seed), "%s", d.connect(connectReq{timeout: 600000, session: keep.session, passwd: keep.passwd, readOnly: ptr(false)}))
		d.do(opAuth, authReq("digest", "bob:pw"))
		p.put(fmt.Sprintf("%d zxid", p.seed), "%s", d.do(opPing, nil))
		p.dump("after", d)
		p.conns = []*conn{d, p.open(), p.open()}
		p.steps(60)
		p.dump("at last", d)
		p.end()
	}
}

// dump records every node below the program's root and its quota.
func (p *program) dump(when string, c *conn) {
	c.do(opAuth, authReq("digest", "bob:pw"))
	todo := []string{p.root, "/zookeeper/quota"}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		name := fmt.Sprintf("%d %s %s ", p.seed, when, path)
		p.put(name+"data", "%s", c.do(opGetData, pathWatch(path, false)))
		p.put(name+"acl", "%s", sortedACL(c.do(opGetACL, justPath(path))))
		kids := c.do(opGetChildren, pathWatch(path, false))
		if _, list, ok := strings.Cut(kids, "names="); ok && list != "" {
			names := strings.Split(list, ",")
			sort.Strings(names)
			for _, n := range names {
				todo = append(todo, path+"/"+n)
			}
		}
	}
}

// large makes answers that are larger than any request may be.
func large(r *raw) {
	c := r.open()
	c.step("parent", opCreate, createReq("/large", "", 0))
	const n, per = 20000, 500
	for i := 0; i < n; i += per {
		var ops []mop
		for j := range per {
			ops = append(ops, mop{opCreate, createReq(fmt.Sprintf("/large/%s%06d", strings.Repeat("x", 60), i+j), "", 0)})
		}
		got := c.do(opMulti, multi(ops...))
		r.put(fmt.Sprintf("multi %d", i), "%d %08x", len(got), crc32.ChecksumIEEE([]byte(got)))
	}
	got := c.do(opGetChildren, pathWatch("/large", false))
	r.put("children", "%d %08x", len(got), crc32.ChecksumIEEE([]byte(got)))
	got = c.do(opChildren2, pathWatch("/large", false))
	r.put("children2", "%d %08x", len(got), crc32.ChecksumIEEE([]byte(got)))
	c.step("stat", opExists, pathWatch("/large", false))
	c.step("count", proto.OpGetAllChildrenNum, justPath("/large"))
	// A multi too large for one frame, and one that just fits.
	var ops []mop
	for j := range 15000 {
		ops = append(ops, mop{opCheck, pathInt(fmt.Sprintf("/large/%s%06d", strings.Repeat("x", 60), j), -1)})
	}
	b := multi(ops[:11000]...)
	got = c.do(opMulti, b)
	r.put("many checks", "%d %08x", len(got), crc32.ChecksumIEEE([]byte(got)))
	c.write(c.append(nil, c.next(opMulti, multi(ops...))))
	r.put("too many checks", "%s", c.event())
	c = r.open()
	ops = nil
	for i := range n {
		ops = append(ops, mop{opDelete, pathInt(fmt.Sprintf("/large/%s%06d", strings.Repeat("x", 60), i), -1)})
		if len(ops) == 2000 {
			got := c.do(opMulti, multi(ops...))
			r.put(fmt.Sprintf("delete %d", i), "%d %08x", len(got), crc32.ChecksumIEEE([]byte(got)))
			ops = nil
		}
	}
	c.step("deleted", opChildren2, pathWatch("/large", false))
	// A deep path.
	deep := ""
	for range 400 {
		deep += "/d"
		c.do(opCreate, createReq(deep, "", 0))
	}
	c.step("deep", opExists, pathWatch(deep, false))
	c.step("deep count", proto.OpGetAllChildrenNum, justPath("/d"))
	c.step("deep watch", opAddWatch, pathInt("/d", 1))
	c.step("deep event", opSetData, setReq(deep, "", -1))
	// Many watches in one request.
	c.step("many watches", opSetWatches2, rec().l(r.zxid).strs(many("/none", 9000)...).strs(many("/never", 9000)...).strs().strs(many("/pers", 9000)...).strs(many("/rec", 9000)...))
	c.close()
}

// connectionThrottle runs with two tokens for connections and no refill to speak of.
func connectionThrottle(r *raw) {
	for i := range 4 {
		c := r.dial()
		r.put(fmt.Sprintf("connect %d", i), "%s", c.connect(connectReq{timeout: 60000, readOnly: ptr(false)}))
	}
	r.put("word", "%q", r.s.word("ruok"))
}

// ensembleAuth runs with the names of the ensemble given.
func ensembleAuth(r *raw) {
	for _, name := range []string{"one", "two", "", "three", "one,two"} {
		c := r.open()
		got := c.do(opAuth, authReq("ensemble", name))
		r.put("name "+name, "%s", got)
		if c.closed == "" {
			r.put("name "+name+" then", "%s", c.do(opExists, pathWatch("/zookeeper", false)))
		}
		if c.closed == "" {
			c.step("name "+name+" whoAmI", proto.OpWhoAmI, nil)
			c.step("name "+name+" acl", opCreate, rec().s("/en").s("").acls(acl{31, "ensemble", "one"}).i(2))
			c.step("name "+name+" auth acl", opCreate, rec().s("/en").s("").acls(acl{31, "auth", ""}).i(2))
		}
	}
}

// hashWord asks for digests of the tree.
func hashWord(r *raw) {
	c := r.open()
	for range 200 {
		c.do(opCreate, rec().s("/h").buf(jute.AppendInt32(nil, 1)).open().i(2))
	}
	r.lines("hash", hashZxids(r.s.word("hash")))
	c.close()
}
