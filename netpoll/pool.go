package netpoll

import (
	"math/bits"
	"sync"
)

// Buffers of the pool have 2^k + bufferSlack bytes, k from bufferMinShift to bufferMaxShift: the slack lets a
// frame of a power-of-two size and its header stay in the class below. Larger ones are left to the collector, so
// that one giant frame does not stay in the pool.
const (
	bufferMinShift = 9  // 512 B: most partial frames are small requests.
	bufferMaxShift = 21 // 2 MiB: holds a frame of the default jute.maxbuffer.
	bufferSlack    = 64
)

// buffer is a pooled byte slice. Its holder owns b and gives it back by putBuffer.
type buffer struct {
	b     []byte
	class int8 // index into bufferPools, -1 when not pooled
}

var bufferPools [bufferMaxShift - bufferMinShift + 1]sync.Pool

// getBuffer gives an empty buffer with room for at least n bytes.
func getBuffer(n int) *buffer {
	class := 0
	if n > bufferSlack+1<<bufferMinShift {
		class = bits.Len(uint(n-bufferSlack-1)) - bufferMinShift
	}
	if class >= len(bufferPools) {
		return &buffer{b: make([]byte, 0, n), class: -1}
	}
	if v := bufferPools[class].Get(); v != nil {
		return v.(*buffer)
	}
	return &buffer{b: make([]byte, 0, bufferSlack+1<<(class+bufferMinShift)), class: int8(class)}
}

// putBuffer takes p; nil is allowed.
func putBuffer(p *buffer) {
	if p == nil {
		return
	}
	poison(p.b)
	if p.class >= 0 {
		p.b = p.b[:0]
		bufferPools[p.class].Put(p)
	}
}

// appendBuffer appends b, which it borrows, to p, which it takes and which may be nil, and gives the buffer that holds both.
func appendBuffer(p *buffer, b []byte) *buffer {
	if p == nil {
		p = getBuffer(len(b))
	} else if need := len(p.b) + len(b); need > cap(p.b) {
		q := getBuffer(2 * need)
		q.b = append(q.b, p.b...)
		putBuffer(p)
		p = q
	}
	p.b = append(p.b, b...)
	return p
}
