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

// appendChunks copies b, which it borrows, behind what list holds, in buffers of at most readBufferBytes, so that nothing is
// ever moved again however much is waiting.
func appendChunks(list []*buffer, b []byte) []*buffer {
	if n := len(list); n > 0 {
		last := list[n-1]
		k := min(len(b), cap(last.b)-len(last.b))
		last.b = append(last.b, b[:k]...)
		b = b[k:]
	}
	for len(b) > 0 {
		k := min(len(b), readBufferBytes)
		p := getBuffer(max(k, streamReadMin))
		p.b = append(p.b, b[:k]...)
		list = append(list, p)
		b = b[k:]
	}
	return list
}
