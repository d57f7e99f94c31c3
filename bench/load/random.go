package load

import "math/bits"

// rng is wyrand: fast, seeded, and owned by one loop. Not for secrets.
type rng uint64

func (r *rng) uint64() uint64 {
	*r += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(uint64(*r), uint64(*r)^0xe7037ed1a0b428db)
	return hi ^ lo
}

func (r *rng) uint32() uint32 { return uint32(r.uint64() >> 32) }

// below returns a number in [0, n). Its bias, n/2^32, is of no consequence here.
func (r *rng) below(n uint32) uint32 {
	return uint32(uint64(r.uint32()) * uint64(n) >> 32)
}

// float64 returns a number in [0, 1).
func (r *rng) float64() float64 { return float64(r.uint64()>>11) / (1 << 53) }
