package server

import (
	"sync"

	"zabra.dev/zabra/engine/proto"
)

// A request is what a loop hands to the replica.
type request struct {
	kind       requestKind
	conn       *clientConn // nil for requests that the server makes itself
	session    proto.SessionID
	xid        int32
	op         proto.OpCode
	off, len   int // body in batch.bytes
	timeoutMs  int32
	identities []proto.Identity
	receivedNs int64
	body       []byte // a copy, of one that waits in an ensemble
	audit      *auditRecord
	code       proto.ErrCode // not OK: what an error is answered with, whatever the leader calls it
}

type requestKind uint8

const (
	requestWrite  requestKind = iota
	requestAttach             // create (session 0) or re-attach a session for conn
)

// A batch is what one readiness of one connection gives to the replica: one hand-over, however
// many requests. The loop fills it, submit passes it to the replica, which puts it back.
type batch struct {
	requests []request
	bytes    []byte
}

func (b *batch) addWrite(c *clientConn, xid int32, op proto.OpCode, body []byte, nowNs int64) {
	b.requests = append(b.requests, request{
		kind: requestWrite, conn: c, session: c.session, xid: xid, op: op, off: len(b.bytes), len: len(body),
		identities: c.identities, receivedNs: nowNs,
	})
	b.bytes = append(b.bytes, body...)
}

func (b *batch) addAttach(c *clientConn, id proto.SessionID, timeoutMs int32, nowNs int64) {
	b.requests = append(b.requests, request{
		kind: requestAttach, conn: c, session: id, op: proto.OpCreateSession, timeoutMs: timeoutMs, receivedNs: nowNs,
	})
}

// body lends the body of r until the batch is put back.
func (b *batch) body(r *request) []byte { return b.bytes[r.off : r.off+r.len] }

// maxPooledBatchBytes keeps one giant request from staying in the pool.
const maxPooledBatchBytes = 1 << 20

var batchPool = sync.Pool{New: func() any { return new(batch) }}

func (s *Server) getBatch() *batch { return batchPool.Get().(*batch) }

func (s *Server) putBatch(b *batch) {
	if cap(b.bytes) > maxPooledBatchBytes {
		return
	}
	clear(b.requests)
	b.requests, b.bytes = b.requests[:0], b.bytes[:0]
	batchPool.Put(b)
}
