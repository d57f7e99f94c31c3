package engine

import (
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

const (
	// WarmPaths is how many paths go together: enough for the processor to have as many misses under way as it can,
	// few enough for their znodes and a kilobyte of data each to stay in its fastest cache until they are used.
	WarmPaths = 16
	// warmDataBytes is how much of a znode's data is read at most.
	warmDataBytes = 4 << 10
	cacheLine     = 64
)

// A Warmer holds the paths of a group of operations that are about to be done, so that Engine.Warm can bring what they
// will look at into the processor's cache. One lookup is a chain of cache misses, each of which the next one
// waits for: index, record, name, data. Those of several paths do not depend on each other and
// happen at the same time, if nothing else stands between them.
//
// It is only about speed: what is added may lead nowhere, or not be looked up at all. The zero Warmer is
// empty and ready; one goroutine at a time may use it.
type Warmer struct {
	n      int
	hashes [WarmPaths]uint32
	data   [WarmPaths]bool
	refs   [WarmPaths]uint32
	sum    uint64 // of what was read, so that the compiler leaves the reads in
}

// Add puts a path behind the others, of which there must be fewer than WarmPaths. data tells that the operation is about
// the znode's data, too. path is not kept.
func (w *Warmer) Add(path []byte, data bool) {
	w.hashes[w.n], w.data[w.n] = pathHash(path), data
	w.n++
}

// AddRead is Add for the znode that a client's read is about, if its record begins with a path. body is the record.
func (w *Warmer) AddRead(op proto.OpCode, body []byte) {
	switch op {
	case proto.OpGetData:
		w.addFirst(body, true)
	case proto.OpExists, proto.OpGetChildren, proto.OpGetChildren2, proto.OpGetACL:
		w.addFirst(body, false)
	}
}

// AddWrite is Add for the znode that a client's write changes, if it is a single one: preparing looks at its record alone.
func (w *Warmer) AddWrite(op proto.OpCode, body []byte) {
	switch op {
	case proto.OpSetData, proto.OpDelete, proto.OpSetACL, proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		w.addFirst(body, false)
	}
}

// AddTxn is Add for the znode that a transaction changes, if it is a single one. Of a multi nothing is added: Apply warms
// its operations by itself.
func (w *Warmer) AddTxn(txn []byte) {
	if len(txn) < proto.TxnHeaderBytes {
		return
	}
	body := txn[proto.TxnHeaderBytes:]
	switch proto.OpCode(jute.Int32(txn[proto.TxnHeaderBytes-4:])) {
	case proto.OpSetData, proto.OpDelete, proto.OpDeleteContainer:
		w.addFirst(body, true)
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpSetACL:
		w.addFirst(body, false)
	}
}

// addFirst adds the path that a record begins with.
func (w *Warmer) addFirst(record []byte, data bool) {
	d := jute.NewDecoder(record, 0)
	w.Add(d.Buffer(), data)
}

// Warm reads what looking the paths of w up will read, and empties w: one path alone is left to its lookup. It
// counts as a read of the tree and does not allocate.
//
// Each step reads for all paths what the one before has led to. No step branches on what it reads itself:
// a branch that waits for memory is guessed, and a wrong guess throws away the reads behind it.
func (e *Engine) Warm(w *Warmer) {
	n := w.n
	w.n = 0
	if n < 2 || e.paths.cur.n == 0 {
		return
	}
	sum := w.sum
	for _, h := range w.hashes[:n] {
		sum += e.paths.cur.slots.Values[e.paths.cur.home(h)]
	}
	if old := &e.paths.old; old.n != 0 {
		for _, h := range w.hashes[:n] {
			sum += old.slots.Values[min(max(old.home(h), e.paths.moved), old.n-1)]
		}
	}
	for i, h := range w.hashes[:n] {
		p := e.paths.probe(h)
		ref := p.next()
		w.refs[i] = ref
		if ref != 0 {
			n := e.nodes.At(ref)
			sum += n.id + uint64(n.name)
		}
	}
	for i, ref := range w.refs[:n] {
		if ref == 0 {
			continue
		}
		n := e.nodes.At(ref)
		if k := n.nameLen & nameLenMask; k > 0 {
			sum += uint64(e.names.Bytes(n.name, int(k))[0])
		}
		if n.parent != 0 {
			sum += uint64(e.nodes.At(uint32(n.parent)).name)
		}
		if w.data[i] && n.dataLen > 0 {
			data := e.data.Bytes(n.data, int(n.dataLen))
			for j := 0; j < min(len(data), warmDataBytes); j += cacheLine {
				sum += uint64(data[j])
			}
		}
	}
	w.sum = sum
}
