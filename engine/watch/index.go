package watch

// link is a record's place in an index: its hash, and the next record in the chain of its bucket.
type link struct {
	hash, next uint32
}

// record is what an index can hold: *T is a record with a link.
type record[T any] interface {
	*T
	chain() *link
}

// index finds records by hash, by linear hashing: with n buckets and 2^k <= n < 2^(k+1), bucket i < n holds the hashes that are i
// modulo 2^(k+1) or, when that is >= n, modulo 2^k. It grows by one bucket, which takes over a part of one other's chain, and
// shrinks the same way, so it never stops to rehash. Buckets hold record numbers, 0 for an empty chain.
type index[T any, R record[T]] struct {
	records *slab[T]
	buckets slab[uint32]
	count   uint32
	mask    uint32 // 2^(k+1) - 1
}

func (x *index[T, R]) bucket(hash uint32) *uint32 {
	i := hash & x.mask
	if i >= x.buckets.len {
		i &= x.mask >> 1
	}
	return x.buckets.at(i)
}

// first returns the first record of the chain in which hash would be. The index must not be empty.
func (x *index[T, R]) first(hash uint32) uint32 { return *x.bucket(hash) }

// insert adds record i, whose link.hash must be set.
func (x *index[T, R]) insert(i uint32) {
	x.count++
	if x.count > x.buckets.len {
		x.split()
	}
	l := R(x.records.at(i)).chain()
	b := x.bucket(l.hash)
	l.next = *b
	*b = i
}

// remove takes record i out.
func (x *index[T, R]) remove(i uint32) {
	l := R(x.records.at(i)).chain()
	p := x.bucket(l.hash)
	for *p != i {
		p = &R(x.records.at(*p)).chain().next
	}
	*p = l.next
	l.next = 0
	x.count--
	// A quarter of the load at which buckets are added: no flutter.
	if x.count < x.buckets.len/4 {
		x.merge()
	}
}

// split adds a bucket and moves to it what belongs there.
func (x *index[T, R]) split() {
	n := x.buckets.extend()
	*x.buckets.at(n) = 0 // It may have been used before a merge.
	if n == 0 {
		return
	}
	if n > x.mask {
		x.mask = 2*x.mask + 1
	}
	from := x.buckets.at(n & (x.mask >> 1))
	to := x.buckets.at(n)
	for i := *from; i != 0; {
		l := R(x.records.at(i)).chain()
		next := l.next
		if l.hash&x.mask == n {
			*from, l.next, *to = next, *to, i
		} else {
			from = &l.next
		}
		i = next
	}
}

// merge gives the last bucket's chain back to the bucket it was split from.
func (x *index[T, R]) merge() {
	n := x.buckets.len - 1
	if n == 0 {
		return
	}
	to := x.buckets.at(n & (x.mask >> 1))
	for *to != 0 {
		to = &R(x.records.at(*to)).chain().next
	}
	*to = *x.buckets.at(n)
	x.buckets.shrink()
	if n == (x.mask+1)/2 {
		x.mask >>= 1
	}
}
