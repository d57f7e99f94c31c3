package server

import (
	"bytes"
	"fmt"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// A queue that never runs empty stays small, and its bodies stay theirs.
func TestQueueThatNeverRunsEmpty(t *testing.T) {
	var q requestQueue
	body := func(i int) []byte { return []byte(fmt.Sprintf("body %d", i)) }
	for i := range 100_000 {
		q.push(queuedRead, int32(i), proto.OpGetData, body(i), 0)
		if i < 3 {
			continue
		}
		e := *q.front()
		if e.xid != int32(i-3) || !bytes.Equal(q.body(&e), body(i-3)) {
			t.Fatalf("entry %d: xid %d, body %q", i-3, e.xid, q.body(&e))
		}
		q.pop()
	}
	if q.reads != 3 || cap(q.entries) > 8*compactQueueAt || cap(q.bytes) > 64<<10 {
		t.Fatalf("%d reads, room for %d entries and %d bytes", q.reads, cap(q.entries), cap(q.bytes))
	}
}
