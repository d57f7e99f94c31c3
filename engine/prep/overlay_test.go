package prep

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// TestOverlayTable runs the table against a map, with hashes that collide a lot.
func TestOverlayTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	var o overlay
	want := map[string]*record{}
	hash := func(path string) uint64 { return uint64(len(path)) << 62 / 3 }
	for i := range 20000 {
		path := strings.Repeat("x", rnd.IntN(20)) + fmt.Sprint(rnd.IntN(40))
		if r := want[path]; r != nil {
			if rnd.IntN(2) == 0 {
				o.remove(r)
				delete(want, path)
			}
		} else {
			want[path] = o.insert([]byte(path), hash(path))
		}
		if i%100 != 0 {
			continue
		}
		if o.count != len(want) {
			t.Fatalf("%d records, want %d", o.count, len(want))
		}
		for path, r := range want {
			if o.get([]byte(path), hash(path)) != r {
				t.Fatalf("%s not found", path)
			}
		}
		if o.get([]byte("missing"), hash("missing")) != nil {
			t.Fatal("found what is not there")
		}
	}
}

// TestOverlayKeepsBounds checks that neither one huge request nor many outstanding ones leave
// their memory behind for good.
func TestOverlayKeepsBounds(t *testing.T) {
	e := newEnv(t, engine.Options{}, Options{})
	long := "/" + strings.Repeat("x", 4*bufferKeepMaxBytes)
	e.want(0, proto.OpCreate, createBody(long, 0, acl(31, "digest:"+long+":y")))
	for _, r := range e.p.overlay.free {
		if cap(r.path) > bufferKeepMaxBytes || cap(r.acl) > bufferKeepMaxBytes {
			t.Errorf("a free record keeps buffers of %d and %d bytes", cap(r.path), cap(r.acl))
		}
	}
	e.delay = true
	for i := range idleKeepMaxRecords + 10 {
		e.create(fmt.Sprintf("/%d", i), 0)
	}
	if n := e.p.overlay.count; n != idleKeepMaxRecords+11 { // and the root
		t.Errorf("%d records", n)
	}
	for _, txn := range e.delayed {
		e.tree.apply(t, txn)
	}
	e.p.Applied(e.tree.lastZxid)
	if e.p.overlay.free != nil || e.p.overlay.slots != nil {
		t.Errorf("%d free records kept", len(e.p.overlay.free))
	}
	e.delay, e.delayed = false, nil
	e.create("/again", 0)

	e.delay = true
	e.create("/outstanding", 0)
	e.p.Trim()
	if e.p.overlay.count == 0 {
		t.Error("what is outstanding was trimmed")
	}
	for _, txn := range e.delayed {
		e.tree.apply(t, txn)
	}
	e.p.Applied(e.tree.lastZxid)
	if e.p.Trim(); e.p.overlay.free != nil {
		t.Errorf("%d free records kept", len(e.p.overlay.free))
	}
	e.delay, e.delayed = false, nil
	e.create("/outstanding/below", 0)
}
