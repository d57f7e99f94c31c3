package server

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

	"zabra.dev/zabra/engine/proto"
)

const (
	// quietTicks is how many ticks without a transaction make a server quiet.
	quietTicks = 3
	// quietAllocatedMinBytes is what must have been allocated since the last time for it to be worth the while.
	quietAllocatedMinBytes = 16 << 20
)

// quietTimes gives memory back to the system once a burst of writes is over. Go's heap holds only what is on its
// way, and steady load allocates nothing, so that no collection would come by itself: what the burst needed
// would stay. It belongs to the replica goroutine.
type quietTimes struct {
	last      proto.Zxid
	ticks     int
	allocated uint64
	giving    atomic.Bool // the goroutine that gives back runs
}

// tick looks whether nothing has been prepared or committed for a while.
func (q *quietTimes) tick(r *replica) {
	if last := max(r.lastZxid, r.committedZxid()); last != q.last || r.pending.len() > 0 {
		q.last, q.ticks = last, 0
		return
	}
	if q.ticks++; q.ticks != quietTicks {
		return
	}
	allocated := heapAllocatedBytes()
	if allocated-q.allocated < quietAllocatedMinBytes || !q.giving.CompareAndSwap(false, true) {
		return
	}
	q.allocated = allocated
	r.trim()
	r.srv.wg.Go(func() {
		runtime.GC() // a pool gives up what was not used between two collections
		debug.FreeOSMemory()
		q.giving.Store(false)
	})
}

// trim lets go of what is kept for reuse and not in use; what comes next allocates again.
func (r *replica) trim() {
	r.prep.Trim()
	if r.pending.len() == 0 {
		r.pending = proposalQueue{}
	}
	if e := r.ens; e != nil && len(e.scratch) == 0 {
		e.scratch = nil
	}
}

// heapAllocatedBytes is what has been allocated since the process began, whether it is in use or not.
func heapAllocatedBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
