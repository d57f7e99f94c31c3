package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// DefaultCommitLogCount is how many committed proposals a Window keeps by default, and
// the least that Java keeps (zookeeper.commitLogCount).
const DefaultCommitLogCount = 500

// Entry is one proposal in a Window.
type Entry struct {
	Zxid   quorum.Zxid
	Packet []byte // the PROPOSAL packet; read only, alive while the entry is in the window
	Ref    Ref
}

// A Window is the newest part of a server's history in memory: what is not committed, and the
// last committed proposals, from which learners that missed little are served. The driver
// makes it at start from the end of the log and fills it while following (a learner appends
// what it logs); while leading the Leader owns it, and the driver may only read it, to do
// outputs.
//
// It has no holes, unless KeepsHoles: each entry follows the one before it, and base is what the first follows.
// A Window belongs to one goroutine.
type Window struct {
	ring []Entry // len is a power of two
	head int     // of the oldest
	n    int
	base quorum.Zxid // the zxid before the oldest entry
	size int         // bytes of all packets
	keep int         // committed entries that Trim leaves
	last quorum.Zxid // newest zxid, or base
	// KeepsHoles is one of the Bugs: what does not follow is put behind what was there (ZOOKEEPER-4925).
	KeepsHoles bool
}

// NewWindow returns an empty window of a history that ends at base. commitLogCount is how many
// committed entries Trim leaves; below DefaultCommitLogCount it means that (section 1.3).
func NewWindow(base quorum.Zxid, commitLogCount int) *Window {
	return &Window{ring: make([]Entry, 64), base: base, last: base, keep: max(commitLogCount, DefaultCommitLogCount)}
}

// Len returns the number of entries.
func (w *Window) Len() int { return w.n }

// Bytes returns how much all packets are.
func (w *Window) Bytes() int { return w.size }

// At lends entry i, 0 <= i < Len, oldest first, until the window changes.
func (w *Window) At(i int) *Entry {
	if uint(i) >= uint(w.n) {
		panic(fmt.Sprintf("zab: entry %d of %d", i, w.n))
	}
	return &w.ring[(w.head+i)&(len(w.ring)-1)]
}

// Base returns the zxid before the oldest entry.
func (w *Window) Base() quorum.Zxid { return w.base }

// Last returns the newest zxid, or Base if there is no entry.
func (w *Window) Last() quorum.Zxid { return w.last }

// After returns the index of the oldest entry above z, Len if there is none.
func (w *Window) After(z quorum.Zxid) int {
	lo, hi := 0, w.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if w.At(mid).Zxid <= z {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Append adds an entry, whose reference it takes. If z does not follow Last, as in a history
// that was not written here, what was before is dropped: it is no base for serving anybody.
func (w *Window) Append(z quorum.Zxid, packet []byte, ref Ref) {
	if !quorum.Follows(w.last, z) && !w.KeepsHoles {
		w.Reset(z - 1)
	}
	if w.n == len(w.ring) {
		w.grow()
	}
	w.ring[(w.head+w.n)&(len(w.ring)-1)] = Entry{Zxid: z, Packet: packet, Ref: ref}
	w.n++
	w.size += len(packet)
	w.last = z
}

func (w *Window) grow() {
	ring := make([]Entry, 2*len(w.ring))
	for i := range w.n {
		ring[i] = *w.At(i)
	}
	w.ring, w.head = ring, 0
}

// Trim drops the oldest entries until at most commitLogCount of those up to committed are left.
func (w *Window) Trim(committed quorum.Zxid) {
	for drop := w.After(committed) - w.keep; drop > 0; drop-- {
		e := w.At(0)
		w.base = e.Zxid
		w.release(e)
		w.head = (w.head + 1) & (len(w.ring) - 1)
		w.n--
	}
}

// Truncate drops the entries above z, as the log does. z at or below Base drops all.
func (w *Window) Truncate(z quorum.Zxid) {
	for w.n > 0 && w.At(w.n-1).Zxid > z {
		w.release(w.At(w.n - 1))
		w.n--
	}
	if w.n > 0 {
		w.last = w.At(w.n - 1).Zxid
		return
	}
	w.base = min(w.base, z)
	w.last = w.base
}

// Reset drops everything; the history now ends at base.
func (w *Window) Reset(base quorum.Zxid) {
	for i := range w.n {
		w.release(w.At(i))
	}
	w.head, w.n, w.base, w.last = 0, 0, base, base
}

func (w *Window) release(e *Entry) {
	w.size -= len(e.Packet)
	if e.Ref != nil {
		e.Ref.Release()
	}
	*e = Entry{}
}

// continues reports whether the window holds everything above z.
func (w *Window) continues(z quorum.Zxid) bool { return z >= w.base }
