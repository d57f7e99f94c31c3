package server

import (
	"fmt"
	"testing"
)

// TestQuietTimes: a burst is followed by one giving back, and nothing by none.
func TestQuietTimes(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	tick := func(n int) (allocated uint64) {
		done := make(chan struct{})
		s.replica.post(func(r *replica) {
			for range n {
				r.quiet.tick(r)
			}
			allocated = r.quiet.allocated
			close(done)
		})
		<-done
		return allocated
	}
	c := dial(t, s)
	mustCreate(t, c, "/a", "x")
	var burst [][]byte
	for range quietAllocatedMinBytes >> 20 {
		burst = append(burst, make([]byte, 1<<20))
	}
	_ = burst
	// The replica's own ticks count as well, so the moment is not known, only that it comes.
	waitFor(t, func() bool { return tick(1) > 0 })
	waitFor(t, func() bool { return !s.replica.quiet.giving.Load() })
	before := tick(10 * quietTicks)
	if after := tick(10 * quietTicks); after != before {
		t.Error("memory was given back although nothing has happened since")
	}
	mustCreate(t, c, "/b", "x")
	if after := tick(10 * quietTicks); after != before {
		t.Error("memory was given back although next to nothing was allocated since")
	}
}

// TestTrim: in an ensemble what requests that were forwarded have needed goes back too, unless it is in use, and
// the next request makes do without.
func TestTrim(t *testing.T) {
	e := newTestEnsemble(t, 3)
	e.leader()
	for i, s := range e.servers {
		s.replica.postAndWait(func(r *replica) {
			r.ens.scratch = append(make([]byte, 0, 1<<20), "in use"...)
			r.trim()
			if string(r.ens.scratch) != "in use" {
				t.Error("what is in use is gone")
			}
			r.ens.scratch = r.ens.scratch[:0]
			r.pending.push(proposal{})
			r.trim()
			if r.ens.scratch != nil || r.pending.len() != 1 {
				t.Errorf("%d bytes are kept, %d proposals", cap(r.ens.scratch), r.pending.len())
			}
			r.pending.pop()
			r.trim()
			if r.pending.items != nil {
				t.Errorf("room for %d proposals is kept", cap(r.pending.items))
			}
		})
		mustCreate(t, e.dial(i), fmt.Sprintf("/n%d", i), "x")
		e.wantEqual() // nothing is on its way to the next one
	}
}
