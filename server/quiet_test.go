package server

import "testing"

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
