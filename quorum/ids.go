package quorum

import "zabra.dev/zabra/engine/proto"

// ServerID is the number of a server: N in server.N and in the file myid ("sid").
type ServerID = int64

// NoServer is the leader in a vote that names nobody: that of an observer or of a server that
// is not a member (quorum protocol, section 3.2).
const NoServer ServerID = -1 << 63

// Epoch numbers the leaderships of an ensemble; it is the high half of their zxids. It is
// wider than 32 bits because votes carry it in 64, among them the observers' -2^63.
type Epoch = int64

// Zxid names a transaction: epoch in the high 32 bits, counter in the low ones. Zxids are
// compared as signed numbers (quorum protocol, section 7.1).
type Zxid = proto.Zxid

// MaxCounter is the highest counter that a transaction may have. The one after it makes the
// leader step down, so that the next epoch begins at counter 0 (section 7.2).
const MaxCounter = 0xfffffffe

// EpochOf returns the epoch of z.
func EpochOf(z Zxid) Epoch { return z >> 32 }

// CounterOf returns the position of z in its epoch, 0..2^32-1.
func CounterOf(z Zxid) uint32 { return uint32(z) }

// EpochStart returns the zxid with counter 0 that stands for the start of e and belongs to no
// transaction.
func EpochStart(e Epoch) Zxid { return e << 32 }

// Follows reports whether z may be the transaction right behind prev: the next counter of the
// same epoch, or counter 1 of a later one (sections 4.6 and 7.1).
func Follows(prev, z Zxid) bool {
	if EpochOf(prev) == EpochOf(z) {
		return z == prev+1
	}
	return EpochOf(z) > EpochOf(prev) && CounterOf(z) == 1
}
