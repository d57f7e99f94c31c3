//go:build interop

package interop

import (
	"fmt"

	"zabra.dev/zabra/engine/proto"
)

// quotas runs with and without enforceQuota.
func quotas(r *raw) {
	c := r.open()
	stats := func(name, path string) {
		c.step(name+" stats", opGetData, pathWatch("/zookeeper/quota"+path+"/zookeeper_stats", false))
	}
	limit := func(path, limits string) {
		for i := 1; i <= len(path); i++ {
			if i == len(path) || path[i] == '/' {
				c.do(opCreate, createReq("/zookeeper/quota"+path[:i], "", 0))
			}
		}
		c.step("limits of "+path, opCreate2, createReq("/zookeeper/quota"+path+"/zookeeper_limits", limits, 0))
		c.step("stats of "+path, opCreate2, createReq("/zookeeper/quota"+path+"/zookeeper_stats", "count=0,bytes=0", 0))
		stats("new "+path, path)
	}
	c.step("node", opCreate, createReq("/qa", "12345", 0))
	c.step("child", opCreate, createReq("/qa/b", "67", 0))
	limit("/qa", "count=3,bytes=20=;byteHardLimit=20;countHardLimit=4")
	c.step("third", opCreate, createReq("/qa/c", "8", 0))
	stats("third", "/qa")
	c.step("fourth", opCreate, createReq("/qa/d", "", 0))
	stats("fourth", "/qa")
	c.step("fifth", opCreate, createReq("/qa/e", "", 0))
	c.step("fifth sequential", opCreate, createReq("/qa/e", "", 2))
	c.step("fifth ephemeral", opCreate2, createReq("/qa/e", "", 1))
	stats("fifth", "/qa")
	c.step("set up to limit", opSetData, setReq("/qa/c", "8901234567890", -1))
	stats("set up to limit", "/qa")
	c.step("set over limit", opSetData, setReq("/qa/c", "89012345678901", -1))
	c.step("set over limit bad version", opSetData, setReq("/qa/c", "89012345678901", 99))
	stats("set over limit", "/qa")
	c.step("set same size", opSetData, setReq("/qa/c", "8901234567891", -1))
	c.step("set smaller", opSetData, setReq("/qa/c", "", -1))
	stats("set smaller", "/qa")
	c.step("delete one", opDelete, pathInt("/qa/d", -1))
	stats("delete one", "/qa")
	c.step("create big", opCreate, createReq("/qa/d", "012345678901234567890", 0))
	c.step("multi over count", opMulti, multi(mop{opCreate, createReq("/qa/m1", "", 0)}, mop{opCreate, createReq("/qa/m2", "", 0)}, mop{opCreate, createReq("/qa/m3", "", 0)}))
	stats("multi over count", "/qa")
	c.step("multi over bytes", opMulti, multi(mop{opSetData, setReq("/qa/c", "0123456789", -1)}, mop{opSetData, setReq("/qa/b", "0123456789", -1)}))
	stats("multi over bytes", "/qa")
	c.step("children", opGetChildren, pathWatch("/qa", false))
	c.step("same prefix", opCreate, createReq("/qab", "0123456789012345678901234567890", 0))
	stats("same prefix", "/qa")

	// A deeper quota takes over.
	c.step("deep node", opCreate, createReq("/qd", "", 0))
	c.step("deep child", opCreate, createReq("/qd/x", "abc", 0))
	limit("/qd", "count=100,bytes=-1")
	limit("/qd/x", "count=2,bytes=-1=;countHardLimit=2")
	c.step("deep grandchild", opCreate, createReq("/qd/x/y", "abcd", 0))
	c.step("deep grandchild 2", opCreate, createReq("/qd/x/z", "abcd", 0))
	stats("deep outer", "/qd")
	stats("deep inner", "/qd/x")
	c.step("deep limits away", opDelete, pathInt("/zookeeper/quota/qd/x/zookeeper_limits", -1))
	c.step("deep grandchild 3", opCreate, createReq("/qd/x/w", "abcd", 0))
	stats("deep outer after", "/qd")
	stats("deep inner after", "/qd/x")

	// Text that is odd.
	for i, text := range []string{"", "count=1", "bytes=1", "count=a,bytes=1", "countHardLimit=1", "count=1,bytes=1,countHardLimit=1", "count=1;bytes=2=;countHardLimit=1", "nonsense", "count=,bytes=", "=", "count=1,count=2"} {
		p := fmt.Sprintf("/qt%d", i)
		c.do(opCreate, createReq(p, "abc", 0))
		limit(p, text)
		c.step(p+" child", opCreate, createReq(p+"/c", "d", 0))
		stats(p+" after", p)
	}
	// Stats without limits, limits without stats, limits changed later.
	c.do(opCreate, createReq("/qs", "", 0))
	c.do(opCreate, createReq("/zookeeper/quota/qs", "", 0))
	c.step("stats first", opCreate, createReq("/zookeeper/quota/qs/zookeeper_stats", "count=9,bytes=9", 0))
	stats("stats first", "/qs")
	c.step("stats first child", opCreate, createReq("/qs/a", "a", 0))
	stats("stats first child", "/qs")
	c.step("limits later", opCreate, createReq("/zookeeper/quota/qs/zookeeper_limits", "count=1,bytes=1=;countHardLimit=1", 0))
	c.step("limits later child", opCreate, createReq("/qs/b", "a", 0))
	stats("limits later", "/qs")
	c.step("limits set", opSetData, setReq("/zookeeper/quota/qs/zookeeper_limits", "count=9,bytes=9=;countHardLimit=9", -1))
	c.step("limits set child", opCreate, createReq("/qs/c", "a", 0))
	stats("limits set", "/qs")
	c.step("stats set by client", opSetData, setReq("/zookeeper/quota/qs/zookeeper_stats", "count=0,bytes=0", -1))
	c.step("stats set child", opCreate, createReq("/qs/d", "a", 0))
	stats("stats set", "/qs")
	c.step("stats away", opDelete, pathInt("/zookeeper/quota/qs/zookeeper_stats", -1))
	c.step("stats away child", opCreate, createReq("/qs/e", "a", 0))
	c.step("watch stats", opGetData, pathWatch("/zookeeper/quota/qa/zookeeper_stats", true))
	c.step("watch stats change", opDelete, pathInt("/qa/b", -1))
	c.step("quota of missing node", opCreate, createReq("/zookeeper/quota/qnone", "", 0))
	c.step("quota of missing node limits", opCreate, createReq("/zookeeper/quota/qnone/zookeeper_limits", "count=1,bytes=1", 0))
	c.step("quota of missing node new stats", opCreate, createReq("/zookeeper/quota/qnone/zookeeper_stats", "count=1,bytes=1", 0))
	stats("quota of missing node", "/qnone")
	c.step("now it exists", opCreate, createReq("/qnone", "abc", 0))
	stats("now it exists", "/qnone")
	c.step("count", proto.OpGetAllChildrenNum, justPath("/zookeeper/quota"))
	c.close()
}
