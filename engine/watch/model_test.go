package watch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// The oracle is section 7 in maps: modes per (connection, path) in two tables.
type oracle struct {
	data, child map[pairKey]modes
}

type pairKey struct {
	conn ConnID
	path string
}

func newOracle() *oracle {
	return &oracle{make(map[pairKey]modes), make(map[pairKey]modes)}
}

// told is one notification; the tests compare them as sorted sets per lookup, in the order of lookups.
type told struct {
	conn     ConnID
	ev       proto.EventType
	onParent bool
}

// lookup is 7.4's lookup of event path x in one table, for the oracle: who is told, in order of connections.
func (o *oracle) lookup(table map[pairKey]modes, x string, ev proto.EventType, onParent bool, skip map[ConnID]bool) (out []told, all map[ConnID]bool) {
	all = make(map[ConnID]bool)
	for k, m := range table {
		isAncestor := x != k.path && strings.HasPrefix(x, "/") && (k.path == "/" || strings.HasPrefix(x, k.path+"/") && k.path != "")
		switch {
		case k.path == x:
			all[k.conn] = true
			if m &= ^standard; m == 0 {
				delete(table, k)
			} else {
				table[k] = m
			}
		case isAncestor && m&recursive != 0:
			all[k.conn] = true
		}
	}
	for c := range all {
		if !skip[c] {
			out = append(out, told{c, ev, onParent})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].conn < out[j].conn })
	return out, all
}

func (o *oracle) created(node, parent string) []told {
	a, _ := o.lookup(o.data, node, proto.EventCreated, false, nil)
	b, _ := o.lookup(o.child, parent, proto.EventChildrenChanged, true, nil)
	return append(a, b...)
}

func (o *oracle) deleted(node, parent string) []told {
	a, processed := o.lookup(o.data, node, proto.EventDeleted, false, nil)
	b, _ := o.lookup(o.child, node, proto.EventDeleted, false, processed)
	// Both report the same event about the same node: as sets they are one.
	a = append(a, b...)
	sort.Slice(a, func(i, j int) bool { return a[i].conn < a[j].conn })
	c, _ := o.lookup(o.child, parent, proto.EventChildrenChanged, true, nil)
	return append(a, c...)
}

func (o *oracle) dataChanged(node string) []told {
	a, _ := o.lookup(o.data, node, proto.EventDataChanged, false, nil)
	return a
}

func (o *oracle) check(k pairKey, typ int32) bool {
	d, c := o.data[k], o.child[k]
	switch typ {
	case 1:
		return c&standard != 0
	case 2:
		return d&standard != 0
	case 3:
		return d|c != 0
	case 4:
		return (d|c)&persistent != 0
	case 5:
		return d&recursive != 0
	}
	return false
}

func (o *oracle) remove(k pairKey, typ int32) bool {
	had := o.check(k, typ)
	drop := func(t map[pairKey]modes, m modes) {
		if left := t[k] &^ m; left != 0 {
			t[k] = left
		} else {
			delete(t, k)
		}
	}
	switch typ {
	case 1:
		drop(o.child, standard)
	case 2:
		drop(o.data, standard)
	case 3:
		delete(o.data, k)
		delete(o.child, k)
	case 4:
		drop(o.data, persistent)
		drop(o.child, persistent)
	case 5:
		drop(o.data, recursive)
	}
	return had
}

// collector gathers notifications and checks the promises about calls.
type collector struct {
	t   *testing.T
	got []told
}

func (c *collector) Notify(conns []ConnID, ev proto.EventType, onParent bool) {
	if len(conns) == 0 || len(conns) > batchSize {
		c.t.Errorf("a call with %d connections", len(conns))
	}
	for _, id := range conns {
		c.got = append(c.got, told{id, ev, onParent})
	}
}

// take returns and forgets what was told; it sorts each run of equal events by connection.
func (c *collector) take() []told {
	got := c.got
	c.got = nil
	for i := 0; i < len(got); {
		j := i
		for j < len(got) && got[j].ev == got[i].ev && got[j].onParent == got[i].onParent {
			j++
		}
		sort.Slice(got[i:j], func(a, b int) bool { return got[i+a].conn < got[i+b].conn })
		i = j
	}
	return got
}

// program is one random run. keyOf makes keys, so that a run can be made of colliding ones.
type program struct {
	t      *testing.T
	rng    *rand.Rand
	table  *Table
	oracle *oracle
	coll   collector
	keyOf  func(string) Key
	paths  []string
	conns  int
	trace  []string
}

func (p *program) fail(format string, args ...any) {
	p.t.Helper()
	n := max(0, len(p.trace)-30)
	p.t.Fatalf("%s\nlast steps:\n%s", fmt.Sprintf(format, args...), strings.Join(p.trace[n:], "\n"))
}

func parentOf(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/"
	}
	return path[:i]
}

// makePaths gives a small world of paths, some of them nested, some odd.
func makePaths(rng *rand.Rand, n int) []string {
	paths := []string{"/", "", "odd", "//", "/a//b", "/trailing/"}
	for len(paths) < n {
		base := paths[rng.IntN(len(paths))]
		if base == "" || base[0] != '/' || rng.IntN(3) == 0 {
			base = ""
		}
		name := fmt.Sprint("n", rng.IntN(8))
		if rng.IntN(20) == 0 {
			name = strings.Repeat("long", 1+rng.IntN(400))
		}
		if rng.IntN(500) == 0 {
			name = strings.Repeat("huge", 9000)
		}
		paths = append(paths, strings.TrimSuffix(base, "/")+"/"+name)
	}
	return paths
}

func (p *program) step() {
	c := ConnID(p.rng.IntN(p.conns))
	path := p.paths[p.rng.IntN(len(p.paths))]
	k, pk := p.keyOf(path), pairKey{c, path}
	note := func(format string, args ...any) { p.trace = append(p.trace, fmt.Sprintf(format, args...)) }
	fired := func(want []told) {
		if got := p.coll.take(); !slices.Equal(got, want) {
			p.fail("told %v, want %v", got, want)
		}
	}
	switch op := p.rng.IntN(20); {
	case op < 4:
		note("AddData(%d, %q)", c, path)
		p.table.AddData(c, k)
		p.oracle.data[pk] |= standard
	case op < 7:
		note("AddChild(%d, %q)", c, path)
		p.table.AddChild(c, k)
		p.oracle.child[pk] |= standard
	case op < 8:
		note("AddPersistent(%d, %q)", c, path)
		p.table.AddPersistent(c, k)
		p.oracle.data[pk] |= persistent
		p.oracle.child[pk] |= persistent
	case op < 9:
		note("AddRecursive(%d, %q)", c, path)
		p.table.AddRecursive(c, k)
		p.oracle.data[pk] |= recursive
	case op < 12:
		typ := int32(p.rng.IntN(7))
		note("Remove(%d, %q, %d)", c, path, typ)
		if got, want := p.table.Remove(c, k, typ), p.oracle.remove(pk, typ); got != want {
			p.fail("Remove is %v, want %v", got, want)
		}
	case op < 13 && p.rng.IntN(4) == 0:
		note("RemoveConn(%d)", c)
		p.table.RemoveConn(c)
		mine := func(k pairKey, _ modes) bool { return k.conn == c }
		maps.DeleteFunc(p.oracle.data, mine)
		maps.DeleteFunc(p.oracle.child, mine)
	case op < 15:
		note("Created(%q)", path)
		p.table.Created(k, p.keyOf(parentOf(path)), &p.coll)
		fired(p.oracle.created(path, parentOf(path)))
	case op < 17:
		note("Deleted(%q)", path)
		p.table.Deleted(k, p.keyOf(parentOf(path)), &p.coll)
		fired(p.oracle.deleted(path, parentOf(path)))
	default:
		note("DataChanged(%q)", path)
		p.table.DataChanged(k, &p.coll)
		fired(p.oracle.dataChanged(path))
	}
	for typ := range int32(7) {
		if got, want := p.table.Check(c, k, typ), p.oracle.check(pk, typ); got != want {
			p.fail("Check(%d, %q, %d) is %v, want %v", c, path, typ, got, want)
		}
	}
}

// compare looks at everything that can be seen of the table.
func (p *program) compare() {
	if got, want := p.table.NumWatches(), len(p.oracle.data)+len(p.oracle.child); got != want {
		p.fail("NumWatches is %d, want %d", got, want)
	}
	conns, paths := make(map[ConnID]bool), make(map[string]bool)
	for k := range p.oracle.data {
		conns[k.conn], paths[k.path] = true, true
	}
	if got, want := p.table.DataSummary(), (Summary{len(conns), len(paths), len(p.oracle.data)}); got != want {
		p.fail("DataSummary is %v, want %v", got, want)
	}
	seen := make(map[pairKey]bool)
	for c, paths := range p.table.DataByConn() {
		for path := range paths {
			k := pairKey{c, string(path)}
			if _, ok := p.oracle.data[k]; !ok || seen[k] {
				p.fail("DataByConn gives %v", k)
			}
			seen[k] = true
		}
	}
	seen2 := make(map[pairKey]bool)
	for path, conns := range p.table.DataByPath() {
		for c := range conns {
			k := pairKey{c, string(path)}
			if _, ok := p.oracle.data[k]; !ok || seen2[k] {
				p.fail("DataByPath gives %v", k)
			}
			seen2[k] = true
		}
	}
	if len(seen) != len(p.oracle.data) || len(seen2) != len(p.oracle.data) {
		p.fail("iteration gives %d and %d pairs, want %d", len(seen), len(seen2), len(p.oracle.data))
	}
	p.table.data.verify(p.fail)
	p.table.child.verify(p.fail)
}

// verify checks the invariants of one table.
func (p *pairs) verify(fail func(string, ...any)) {
	rec, conns, n := 0, 0, 0
	for c, i := range p.conns {
		if i != 0 {
			conns++
		}
		prev := uint32(0)
		for ; i != 0; i = p.entries.at(i).cNext {
			e := p.entries.at(i)
			if e.cPrev != prev || e.id() != ConnID(c) || e.modes() == 0 {
				fail("entry %d of connection %d is %+v, behind %d", i, c, *e, prev)
			}
			if p.findEntry(e.id(), e.node) != i {
				fail("entry %d is not in the index", i)
			}
			if e.modes()&recursive != 0 {
				rec++
			}
			prev = i
			n++
		}
	}
	if n != p.len() || conns != p.connCount || rec != p.recCount {
		fail("counts: %d/%d entries, %d/%d connections, %d/%d recursive", n, p.len(), conns, p.connCount, rec, p.recCount)
	}
	sum := uint32(0)
	for _, d := range p.recDepths {
		sum += d
	}
	if int(sum) != rec {
		fail("recursive by depth: %d, want %d", sum, rec)
	}
}

func (p *program) run(steps int) {
	for i := range steps {
		p.step()
		if i%50 == 0 || i == steps-1 {
			p.compare()
		}
	}
	// Whatever was left goes with its connections.
	for c := range p.conns {
		p.table.RemoveConn(ConnID(c))
	}
	*p.oracle = *newOracle()
	p.compare()
	if n, m := p.table.data.byPath.count, p.table.child.byPath.count; n != 0 || m != 0 {
		p.fail("%d and %d paths are left", n, m)
	}
}

// TestModel runs random programs against the oracle.
func TestModel(t *testing.T) {
	seeds := uint64(1500)
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 7))
		p := &program{
			t: t, rng: rng, table: New(), oracle: newOracle(), coll: collector{t: t},
			keyOf: func(s string) Key { return KeyOf([]byte(s)) },
			paths: makePaths(rng, 7+rng.IntN(30)), conns: 1 + rng.IntN(8),
			trace: []string{fmt.Sprintf("seed %d", seed)},
		}
		p.run(300)
	}
}

// TestModelCollisions: all hashes equal, or nearly so.
func TestModelCollisions(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 8))
		mask := []uint64{0, 1, 1 << 32, 1<<33 | 1}[seed%4]
		p := &program{
			t: t, rng: rng, table: New(), oracle: newOracle(), coll: collector{t: t},
			keyOf: func(s string) Key { k := KeyOf([]byte(s)); k.Hash &= mask; return k },
			conns: 1 + rng.IntN(8), trace: []string{fmt.Sprintf("seed %d", seed)},
		}
		// Ancestors are hashed by the table itself: no nesting here.
		for i := range 40 {
			p.paths = append(p.paths, fmt.Sprint("x", i))
		}
		p.run(500)
	}
}

// TestModelLarge lets slabs, indexes and the path store grow over several chunks and shrink again.
func TestModelLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	p := &program{
		t: t, rng: rng, table: New(), oracle: newOracle(), coll: collector{t: t},
		keyOf: func(s string) Key { return KeyOf([]byte(s)) },
		conns: 3000, trace: []string{"large"},
	}
	const paths = 20_000
	for i := range paths {
		p.paths = append(p.paths, fmt.Sprintf("/node/%d/%s", i, strings.Repeat("x", i%40)))
	}
	n := 50_000
	if testing.Short() {
		n = 20_000
	}
	for range n {
		c, path := ConnID(rng.IntN(p.conns)), p.paths[rng.IntN(paths)]
		p.table.AddData(c, p.keyOf(path))
		p.oracle.data[pairKey{c, path}] |= standard
		if rng.IntN(4) == 0 {
			p.table.AddChild(c, p.keyOf(path))
			p.oracle.child[pairKey{c, path}] |= standard
		}
	}
	p.compare()
	for i, path := range p.paths {
		want := 0
		for range p.table.pathConns(path) {
			want++
		}
		p.table.DataChanged(p.keyOf(path), &p.coll)
		if got := p.coll.take(); len(got) != want {
			p.fail("%d told, want %d", len(got), want)
		}
		if i == paths/2 {
			// The rest goes connection by connection.
			break
		}
	}
	for c := range p.conns {
		p.table.RemoveConn(ConnID(c))
	}
	*p.oracle = *newOracle()
	p.compare()
	if b := p.table.Bytes(); b > 64<<10 {
		t.Errorf("an empty table holds %d bytes", b)
	}
}

// pathConns gives the connections with a data watch on a path.
func (t *Table) pathConns(path string) map[ConnID]bool {
	out := make(map[ConnID]bool)
	k := KeyOf([]byte(path))
	if n := t.data.find(k.Path, k.Hash); n != 0 {
		nd := t.data.nodes.at(n)
		for _, i := range []uint32{nd.head, nd.recHead} {
			for ; i != 0; i = t.data.entries.at(i).pNext {
				out[t.data.entries.at(i).id()] = true
			}
		}
	}
	return out
}
