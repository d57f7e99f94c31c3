package server

import (
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
)

// Requests are warmed in groups that go across batches, from any request on.
func TestWarmWrites(t *testing.T) {
	s := stillServer(t)
	c := stillClient(s)
	c.write(proto.OpCreate, createBody("/a", nil))
	r := s.replica
	for _, n := range []int{3, 0, 1, 2 * engine.WarmPaths} {
		b := s.getBatch()
		for range n {
			b.addWrite(c, 1, proto.OpSetData, setBody("/a", nil), 0)
		}
		b.addAttach(c, 0, 1000, 0)
		r.batches = append(r.batches, b)
	}
	for _, x := range []struct{ batch, request, want int }{
		{0, 0, engine.WarmPaths}, {1, 0, engine.WarmPaths}, {3, 20, 13}, {3, 2 * engine.WarmPaths, 1},
	} {
		if n := r.warmWrites(x.batch, x.request); n != x.want {
			t.Errorf("from batch %d, request %d: %d, want %d", x.batch, x.request, n, x.want)
		}
	}
	r.batches = nil
}

// A turn of many writes is prepared and applied as several groups.
func TestTurnOfSeveralGroups(t *testing.T) {
	s := stillServer(t)
	c := stillClient(s)
	c.write(proto.OpCreate, createBody("/a", nil))
	var bodies [][]byte
	for i := range 3*engine.WarmPaths + 1 {
		bodies = append(bodies, setBody("/a", make([]byte, i)))
	}
	c.write(proto.OpSetData, bodies...)
	e := s.engine
	var st proto.Stat
	e.Stat(e.Lookup([]byte("/a")), &st)
	if int(st.Version) != len(bodies) || int(st.DataLength) != len(bodies)-1 || s.outstanding.Load() != 0 {
		t.Errorf("version %d, %d bytes, %d outstanding after %d sets", st.Version, st.DataLength, s.outstanding.Load(), len(bodies))
	}
}
