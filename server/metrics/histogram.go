package metrics

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"time"
)

const (
	// exactBelow: values below it have a bucket each. Above, each power of two has subBuckets, so that a
	// quantile is off by a thirty-second at most.
	exactBelow = 1024
	exactBits  = 10
	subBuckets = 32
	subBits    = 5
	// smallBelow: most values are below it, and counting them must not cost more than an increment.
	smallBelow = 64
)

// A histogram counts values by buckets. It takes as much memory as there are buckets in use, at most some
// 2700; negative values count as 0.
type histogram struct {
	small  [smallBelow]int64
	counts map[int32]int64 // of the other buckets
}

func (h *histogram) add(v, n int64) {
	if v = max(v, 0); v < smallBelow {
		h.small[v] += n
		return
	}
	if h.counts == nil {
		h.counts = map[int32]int64{}
	}
	h.counts[bucketOf(v)] += n
}

// bucketOf gives the bucket of v: v itself, or the power of two and the five bits behind its highest.
func bucketOf(v int64) int32 {
	if v < exactBelow {
		return int32(max(v, 0))
	}
	exp := bits.Len64(uint64(v)) - 1
	return exactBelow + int32(exp-exactBits)*subBuckets + int32(v>>(exp-subBits))&(subBuckets-1)
}

// valueOf gives the least value of a bucket.
func valueOf(bucket int32) int64 {
	if bucket < exactBelow {
		return int64(bucket)
	}
	b := bucket - exactBelow
	exp := int(b/subBuckets) + exactBits
	return 1<<exp | int64(b%subBuckets)<<(exp-subBits)
}

// A distribution is a histogram in order.
type distribution struct {
	buckets []bucketCount
	total   int64
}

type bucketCount struct {
	bucket int32
	n      int64
}

// sorted gives the distribution of what h has and base, an earlier copy of it, has not.
func (h *histogram) sorted(base *histogram) distribution {
	var d distribution
	put := func(bucket int32, n int64) {
		if n > 0 {
			d.buckets = append(d.buckets, bucketCount{bucket, n})
			d.total += n
		}
	}
	for b := range h.small {
		put(int32(b), h.small[b]-base.small[b])
	}
	for b, n := range h.counts {
		put(b, n-base.counts[b])
	}
	slices.SortFunc(d.buckets, func(a, b bucketCount) int { return cmp.Compare(a.bucket, b.bucket) })
	return d
}

// quantile gives the value below which a share q of all values is; ok is false when there are none.
func (d *distribution) quantile(q float64) (v int64, ok bool) {
	rank, seen := int64(q*float64(d.total)), int64(0)
	for _, b := range d.buckets {
		if seen += b.n; seen > rank {
			return valueOf(b.bucket), true
		}
	}
	if n := len(d.buckets); n > 0 {
		return valueOf(d.buckets[n-1].bucket), true
	}
	return 0, false
}

// windowSpan is how long values count for quantiles at least; twice that at most, if somebody looks that
// often. Java's Prometheus client forgets after ten minutes, too.
const windowSpan = 5 * time.Minute

// A window tells the last minutes of a histogram from all before. It costs nothing until somebody looks.
type window struct {
	base   histogram // as it was windowSpan ago or longer
	next   histogram // as it was at nextAt, the base to come
	nextAt time.Time
}

// at gives what has come into all since the base.
func (w *window) at(all *histogram, now time.Time) distribution {
	if w.nextAt.IsZero() || now.Sub(w.nextAt) >= windowSpan {
		w.base, w.next, w.nextAt = w.next, histogram{all.small, maps.Clone(all.counts)}, now
	}
	return all.sorted(&w.base)
}
