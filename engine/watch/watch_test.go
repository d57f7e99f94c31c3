package watch

import (
	"fmt"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// TestExample is the example of section 7.4: data and child watches on /a/b and a child watch on /a by one
// connection; deleting /a/b gives Deleted /a/b, then ChildrenChanged /a.
func TestExample(t *testing.T) {
	tb := New()
	a, b := KeyOf([]byte("/a")), KeyOf([]byte("/a/b"))
	tb.AddData(3, b)
	tb.AddChild(3, b)
	tb.AddChild(3, a)
	coll := collector{t: t}
	tb.Deleted(b, a, &coll)
	want := []told{{3, proto.EventDeleted, false}, {3, proto.EventChildrenChanged, true}}
	if got := coll.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", got, want)
	}
	if tb.NumWatches() != 0 {
		t.Errorf("%d watches are left", tb.NumWatches())
	}
}

// TestKinds is the table of section 7.4 which events each kind of watch sees, at the node itself and, for a watch on its parent.
func TestKinds(t *testing.T) {
	p, n := KeyOf([]byte("/p")), KeyOf([]byte("/p/n"))
	f := func(kind string, add func(*Table, ConnID, Key), on Key, want string) {
		t.Helper()
		var got []string
		for _, fire := range []struct {
			name string
			f    func(*Table, Notifier)
		}{
			{"create", func(tb *Table, c Notifier) { tb.Created(n, p, c) }},
			{"delete", func(tb *Table, c Notifier) { tb.Deleted(n, p, c) }},
			{"set", func(tb *Table, c Notifier) { tb.DataChanged(n, c) }},
		} {
			tb := New()
			add(tb, 1, on)
			coll := collector{t: t}
			fire.f(tb, &coll)
			events := coll.take()
			for _, x := range events {
				got = append(got, fmt.Sprintf("%s:%d", fire.name, x.ev))
			}
			wantLeft := strings.HasPrefix(kind, "persistent") || len(events) == 0
			if left := tb.NumWatches() > 0; left != wantLeft {
				t.Errorf("%s after %s: watch left is %v", kind, fire.name, left)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s on %s: %s, want %s", kind, on.Path, s, want)
		}
	}
	f("data", (*Table).AddData, n, "create:1 delete:2 set:3")
	f("data", (*Table).AddData, p, "")
	f("child", (*Table).AddChild, n, "delete:2")
	f("child", (*Table).AddChild, p, "create:4 delete:4")
	f("persistent", (*Table).AddPersistent, n, "create:1 delete:2 set:3")
	f("persistent", (*Table).AddPersistent, p, "create:4 delete:4")
	f("persistent-recursive", (*Table).AddRecursive, n, "create:1 delete:2 set:3")
	f("persistent-recursive", (*Table).AddRecursive, p, "create:1 delete:2 set:3")
	f("persistent-recursive", (*Table).AddRecursive, KeyOf([]byte("/")), "create:1 delete:2 set:3")
	f("persistent-recursive", (*Table).AddRecursive, KeyOf([]byte("/pp")), "")
}

// TestBatches: a fan-out larger than a batch tells everybody once.
func TestBatches(t *testing.T) {
	tb := New()
	k := KeyOf([]byte("/hot"))
	const n = 3*batchSize + 1
	for c := range ConnID(n) {
		tb.AddData(c, k)
		tb.AddRecursive(c, KeyOf([]byte("/")))
	}
	coll := collector{t: t}
	tb.DataChanged(k, &coll)
	got := coll.take()
	for i, x := range got {
		if x.conn != ConnID(i) {
			t.Fatalf("the %d-th told is %d", i, x.conn)
		}
	}
	if len(got) != n {
		t.Errorf("%d told, want %d", len(got), n)
	}
}

// TestDeepAncestors: recursive watches deeper than the depths that are counted apart.
func TestDeepAncestors(t *testing.T) {
	tb := New()
	deep := strings.Repeat("/d", depthMax+20)
	tb.AddRecursive(1, KeyOf([]byte(deep)))
	coll := collector{t: t}
	tb.DataChanged(KeyOf([]byte(deep+"/x/y")), &coll)
	tb.DataChanged(KeyOf([]byte(strings.Repeat("/d", depthMax+19))), &coll)
	if got := coll.take(); len(got) != 1 {
		t.Errorf("told %v", got)
	}
	tb.RemoveConn(1)
	tb.DataChanged(KeyOf([]byte(deep+"/x/y")), &coll)
	if got := coll.take(); len(got) != 0 {
		t.Errorf("told %v", got)
	}
}

// TestSweepWraps: marks of a lookup 2^32 lookups ago are not taken for new ones.
func TestSweepWraps(t *testing.T) {
	tb := New()
	tb.AddRecursive(1, KeyOf([]byte("/")))
	k := KeyOf([]byte("/x"))
	coll := collector{t: t}
	for _, sweep := range []uint32{0, 1<<32 - 2, 1<<32 - 1} {
		tb.sweep = sweep
		tb.DataChanged(k, &coll)
		if got := coll.take(); len(got) != 1 {
			t.Errorf("sweep %d: told %v", sweep, got)
		}
	}
}

// count is a Notifier that only counts.
type count struct{ n int }

func (c *count) Notify(conns []ConnID, _ proto.EventType, _ bool) { c.n += len(conns) }

// TestAllocs pins: nothing is allocated by lookups, nor by setting and firing watches once the table has its size.
func TestAllocs(t *testing.T) {
	tb := New()
	keys := make([]Key, 1000)
	for i := range keys {
		keys[i] = KeyOf(fmt.Appendf(nil, "/app/node-%d", i))
		tb.AddData(ConnID(i), keys[i])
	}
	miss, parent := KeyOf([]byte("/app/none")), KeyOf([]byte("/app"))
	var n count
	f := func(name string, fn func()) {
		t.Helper()
		if a := testing.AllocsPerRun(200, fn); a != 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
	f("miss", func() {
		tb.Created(miss, parent, &n)
		tb.Deleted(miss, parent, &n)
		tb.DataChanged(miss, &n)
	})
	f("hit and set again", func() {
		tb.DataChanged(keys[7], &n)
		tb.AddData(7, keys[7])
	})
	tb.AddRecursive(5, KeyOf([]byte("/app")))
	tb.DataChanged(miss, &n) // The marks get their size.
	f("recursive", func() { tb.Deleted(miss, parent, &n) })
	f("check", func() { tb.Check(3, keys[3], proto.WatcherAny) })
}

func TestConnIDRange(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a connection number out of range is accepted")
		}
	}()
	New().AddData(ConnIDMax, KeyOf([]byte("/")))
}
