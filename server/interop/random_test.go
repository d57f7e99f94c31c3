//go:build interop

package interop

import (
	"flag"
	"fmt"
	"math/rand"
	"regexp"
	"sort"
	"strings"

	"zabra.dev/zabra/engine/proto"
)

var (
	seedFlag  = flag.Int64("interop.seed", 0, "first seed of the random programs")
	seedsFlag = flag.Int("interop.seeds", 12, "number of random programs")
	opsFlag   = flag.Int("interop.ops", 400, "requests per random program")
)

func init() {
	to := rawTour("raw-random", map[string]string{
		"DigestAuthenticationProvider.superDigest": superDigest, "enforceQuota": "true", "maxSessionTimeout": "600000",
	}, nil, section{"random", randomPrograms})
	// 3.8 differs in too many ways for programs that nobody chose.
	to.refs = []kind{java39}
	register(to)
}

// A program is a random sequence of requests of a few connections on a few paths. The same
// seed gives the same requests whatever the server answers.
type program struct {
	*raw
	rnd   *rand.Rand
	root  string
	conns []*conn
	seed  int64
	done  int // steps so far
}

func randomPrograms(r *raw) {
	for i := range *seedsFlag {
		p := &program{raw: r, seed: *seedFlag + int64(i)}
		p.start()
		p.steps(*opsFlag)
		p.end()
	}
}

// start opens the program's connections and makes its root.
func (p *program) start() {
	p.rnd = rand.New(rand.NewSource(p.seed))
	p.root = fmt.Sprintf("/rnd%d", p.seed)
	for range 3 {
		p.conns = append(p.conns, p.open())
	}
	p.conns[0].do(opCreate, createReq(p.root, "", 0))
}

func (p *program) end() {
	for j, c := range p.conns {
		p.put(fmt.Sprintf("%d.end %d", p.seed, j), "%s", sortedEvents(c.close()))
	}
}

func (p *program) open() *conn { return p.raw.openTimeout(600000) }

// steps does n requests, each on one of the connections, and looks at what the others see.
func (p *program) steps(n int) {
	for range n {
		c := p.conns[p.rnd.Intn(len(p.conns))]
		name := fmt.Sprintf("%d.%d", p.seed, p.done)
		p.done++
		n := p.rnd.Intn(100)
		closed := n < 2
		switch {
		case closed:
			p.put(name+" close", "%s", sortedEvents(c.close()))
			p.replace(c)
		case n < 4:
			// Comes back with the same session: its watches and identities are gone.
			d := p.dial()
			got := d.connect(connectReq{timeout: 600000, session: c.session, passwd: c.passwd, readOnly: ptr(false)})
			p.put(name+" re-attach", "%s then %s", got, d.do(opPing, nil))
			c.drop()
			for j := range p.conns {
				if p.conns[j] == c {
					p.conns[j] = d
				}
			}
		default:
			q := p.request()
			got := c.do(q.op, q.body)
			p.put(name+" "+q.op.String(), "%s", sortedACL(got))
			if c.closed != "" {
				p.replace(c)
			}
		}
		for j, o := range p.conns {
			if o != c {
				seen := o.drain()
				if closed {
					seen = sortedEvents(seen)
				}
				p.put(fmt.Sprintf("%s seen by %d", name, j), "%s", seen)
			}
		}
	}
}

var eventText = regexp.MustCompile(`\w+\(\S+ zxid=\S+\) `)

// sortedEvents sorts the events in front of a reply: the ephemerals of a closed session go
// in the order of Java's hash table. What one change fires is in order in the other tours.
func sortedEvents(s string) string {
	events := eventText.FindAllString(s, -1)
	sort.Strings(events)
	return strings.Join(events, "") + eventText.ReplaceAllString(s, "")
}

var aclList = regexp.MustCompile(`acl=\d+\[([^\]]*)\]`)

// sortedACL sorts a list of ACLs: what auth was replaced by is in the order of a hash table.
func sortedACL(s string) string {
	m := aclList.FindStringSubmatchIndex(s)
	if m == nil {
		return s
	}
	entries := strings.Split(s[m[2]:m[3]], ",")
	sort.Strings(entries)
	return s[:m[2]] + strings.Join(entries, ",") + s[m[3]:]
}

func (p *program) replace(c *conn) {
	for j := range p.conns {
		if p.conns[j] == c {
			p.conns[j] = p.open()
		}
	}
}

func (p *program) path() string {
	s := p.root
	for d := p.rnd.Intn(4); d > 0; d-- {
		s += "/" + string("abc"[p.rnd.Intn(3)])
	}
	if p.rnd.Intn(60) == 0 {
		s = []string{"/", "", "/zookeeper", "/zookeeper/quota" + p.root, s + "/", "x"}[p.rnd.Intn(6)]
	}
	return s
}

func (p *program) data() []byte {
	switch p.rnd.Intn(8) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	b := make([]byte, p.rnd.Intn(20))
	for i := range b {
		b[i] = 'a' + byte(p.rnd.Intn(26))
	}
	return b
}

func (p *program) version() int32 {
	if p.rnd.Intn(3) > 0 {
		return -1
	}
	return int32(p.rnd.Intn(4))
}

func (p *program) acls(b body) body {
	all := []acl{{31, "world", "anyone"}, {31, "auth", ""}, {1, "world", "anyone"}, {31, "digest", bob}, {30, "ip", "127.0.0.1"}, {6, "world", "anyone"}, {31, "nope", "x"}, {31, "ip", "10.0.0.0/8"}}
	switch p.rnd.Intn(12) {
	case 0, 1:
		return b.acls(all[p.rnd.Intn(len(all))], acl{31, "ip", "127.0.0.1"})
	case 2:
		return b.acls(all[p.rnd.Intn(len(all))])
	case 3:
		if p.rnd.Intn(10) == 0 {
			return b.acls()
		}
	}
	return b.open()
}

func (p *program) flags() int32 {
	f := []int32{0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 7}
	return f[p.rnd.Intn(len(f))]
}

func (p *program) create(op proto.OpCode) body {
	b := p.acls(rec().s(p.path()).buf(p.data()))
	if op == opCreateTTL {
		return b.i([]int32{5, 5, 6, 0}[p.rnd.Intn(4)]).l(int64(p.rnd.Intn(3)) * 1000000)
	}
	f := p.flags()
	if op == opContainer {
		f = 4
	}
	return b.i(f)
}

// sub is an operation that may stand in a multi.
func (p *program) sub() mop {
	switch p.rnd.Intn(10) {
	case 0, 1, 2:
		return mop{opCreate, p.create(opCreate)}
	case 3:
		return mop{opCreate2, p.create(opCreate2)}
	case 4, 5:
		return mop{opDelete, pathInt(p.path(), p.version())}
	case 6, 7:
		return mop{opSetData, rec().s(p.path()).buf(p.data()).i(p.version())}
	case 8:
		return mop{opContainer, p.create(opContainer)}
	}
	return mop{opCheck, pathInt(p.path(), p.version())}
}

func (p *program) paths() []string {
	var out []string
	for range p.rnd.Intn(4) {
		out = append(out, p.path())
	}
	return out
}

func (p *program) request() request {
	watch := p.rnd.Intn(2) == 0
	switch n := p.rnd.Intn(100); {
	case n < 14:
		return request{op: opCreate, body: p.create(opCreate)}
	case n < 20:
		return request{op: opCreate2, body: p.create(opCreate2)}
	case n < 22:
		return request{op: opContainer, body: p.create(opContainer)}
	case n < 24:
		return request{op: opCreateTTL, body: p.create(opCreateTTL)}
	case n < 34:
		return request{op: opDelete, body: pathInt(p.path(), p.version())}
	case n < 44:
		return request{op: opSetData, body: rec().s(p.path()).buf(p.data()).i(p.version())}
	case n < 48:
		return request{op: opSetACL, body: p.acls(rec().s(p.path())).i(p.version())}
	case n < 54:
		return request{op: opExists, body: pathWatch(p.path(), watch)}
	case n < 60:
		return request{op: opGetData, body: pathWatch(p.path(), watch)}
	case n < 64:
		return request{op: opGetChildren, body: pathWatch(p.path(), watch)}
	case n < 66:
		return request{op: opChildren2, body: pathWatch(p.path(), watch)}
	case n < 68:
		return request{op: opGetACL, body: justPath(p.path())}
	case n < 72:
		return request{op: opAddWatch, body: pathInt(p.path(), int32(p.rnd.Intn(2)))}
	case n < 75:
		op := opCheckWatches
		if watch {
			op = opRemoveWatches
		}
		return request{op: op, body: pathInt(p.path(), int32(p.rnd.Intn(6)))}
	case n < 77:
		return request{op: opSetWatches2, body: rec().l(p.zxid - int64(p.rnd.Intn(60))).strs(p.paths()...).strs(p.paths()...).strs(p.paths()...).strs(p.paths()...).strs(p.paths()...)}
	case n < 90:
		var ops []mop
		for range 1 + p.rnd.Intn(4) {
			ops = append(ops, p.sub())
		}
		return request{op: opMulti, body: multi(ops...)}
	case n < 92:
		return request{op: opMultiRead, body: multi(mop{opGetData, pathWatch(p.path(), false)}, mop{opGetChildren, pathWatch(p.path(), false)})}
	case n < 94:
		return request{op: proto.OpGetEphemerals, body: justPath(p.path())}
	case n < 95:
		return request{op: proto.OpGetAllChildrenNum, body: justPath(p.root)}
	case n < 96:
		return request{op: proto.OpWhoAmI}
	case n < 98:
		return request{op: opAuth, body: authReq("digest", []string{"bob:pw", "al:pw", "super:secret"}[p.rnd.Intn(3)])}
	}
	q := "/zookeeper/quota" + p.root
	switch p.rnd.Intn(4) {
	case 0:
		return request{op: opMulti, body: multi(mop{opCreate, createReq(q, "", 0)}, mop{opCreate, createReq(q+"/zookeeper_limits", "count=6,bytes=60=;byteHardLimit=80;countHardLimit=9", 0)}, mop{opCreate, createReq(q+"/zookeeper_stats", "count=0,bytes=0", 0)})}
	case 1:
		return request{op: opMulti, body: multi(mop{opDelete, pathInt(q+"/zookeeper_limits", -1)}, mop{opDelete, pathInt(q+"/zookeeper_stats", -1)}, mop{opDelete, pathInt(q, -1)})}
	}
	return request{op: opGetData, body: pathWatch(q+"/zookeeper_stats", watch)}
}
