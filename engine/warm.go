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
// waits for: index, record, name and data, and of a full znode its second record. Those of several paths do not depend on each other and
// happen at the same time, if nothing else stands between them.
//
// It is only about speed: what is added may lead nowhere, or not be looked up at all. The zero Warmer is
// empty and ready; one goroutine at a time may use it.
type Warmer struct {
	n      int
	hashes [WarmPaths]uint32
	needs  [WarmPaths]need
	refs   [WarmPaths]uint32
	sum    uint64 // of what was read, so that the compiler leaves the reads in
}

// need is what an operation looks at beside a znode's record and name.
type need uint8

const (
	needsNothing need = iota
	needsDigest       // what Engine.Node gives: of a compact znode the data, for their CRC
	needsData
)

// Add puts a path behind the others, of which there must be fewer than WarmPaths. data tells that the operation is about
// the znode's data, too. path is not kept.
func (w *Warmer) Add(path []byte, data bool) {
	if data {
		w.add(path, needsData)
	} else {
		w.add(path, needsNothing)
	}
}

func (w *Warmer) add(path []byte, needs need) {
	w.hashes[w.n], w.needs[w.n] = pathHash(path), needs
	w.n++
}

// Touch reads b up to a bound: a transaction that somebody else has had to do with since. Several that are touched one after the
// other come in together; those that are looked into one after the other do not.
func (w *Warmer) Touch(b []byte) {
	w.sum += readLines(b[:min(len(b), warmDataBytes)])
}

// AddRead is Add for the znode that a client's read is about, if its record begins with a path. body is the record.
func (w *Warmer) AddRead(op proto.OpCode, body []byte) {
	switch op {
	case proto.OpGetData:
		w.addFirst(body, needsData)
	case proto.OpExists, proto.OpGetChildren, proto.OpGetChildren2, proto.OpGetACL:
		w.addFirst(body, needsNothing)
	}
}

// AddWrite is Add for the znode that a client's write changes, if it is a single one: preparing looks at what Engine.Node
// gives of it.
func (w *Warmer) AddWrite(op proto.OpCode, body []byte) {
	switch op {
	case proto.OpSetData, proto.OpDelete, proto.OpSetACL, proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL:
		w.addFirst(body, needsDigest)
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
		w.addFirst(body, needsData)
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpSetACL:
		w.addFirst(body, needsDigest)
	}
}

// addFirst adds the path that a record begins with.
func (w *Warmer) addFirst(record []byte, needs need) {
	d := jute.NewDecoder(record, 0)
	w.add(d.Buffer(), needs)
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
			sum += n.word + n.extra
		}
	}
	for i, ref := range w.refs[:n] {
		if ref == 0 {
			continue
		}
		n := e.nodes.At(ref)
		if n.parent != 0 {
			sum += e.nodes.At(uint32(n.parent)).word
		}
		if !n.compact() {
			x := e.extraOf(n)
			sum += uint64(x.mzxid) + uint64(x.member) // its first and its last cache line
		}
		if n.form() == formFullBig || n.text == 0 {
			continue
		}
		read := 1
		if n.compact() && w.needs[i] != needsNothing {
			read = max(read, e.nameLen(n)+int(n.compactDataLen()))
		}
		sum += readLines(e.texts.Head(n.text, read))
	}
	for i, ref := range w.refs[:n] {
		if ref == 0 || w.needs[i] != needsData {
			continue
		}
		if n := e.nodes.At(ref); !n.compact() {
			data := e.dataOf(n)
			sum += readLines(data[:min(len(data), warmDataBytes)])
		}
	}
	w.sum = sum
}

// readLines reads a byte of each cache line of b.
func readLines(b []byte) (sum uint64) {
	for i := 0; i < len(b); i += cacheLine {
		sum += uint64(b[i])
	}
	return sum
}
