package engine

import (
	"bytes"
	"slices"
	"strconv"

	"zabra.dev/zabra/engine/arena"
)

// Names of the nodes that hold a quota, below PathQuota and the path that it is for
// (client protocol, section 5.8).
const (
	QuotaLimitsName = "zookeeper_limits"
	QuotaStatsName  = "zookeeper_stats"
)

// quotaTable holds the registered quotas: those with a limits node. It is found by the hash
// of the path that the quota is for, which is the path from /zookeeper/quota down to node.
type quotaTable struct {
	slab  arena.Slab[quotaEntry]
	index index
}

type quotaEntry struct {
	hash   uint32
	node   NodeRef // parent of limits and stats
	limits NodeRef
	stats  NodeRef // 0 while missing
}

func (t *quotaTable) release() {
	t.slab.Release()
	t.index.release()
}

func (t *quotaTable) otherBytes() int64 { return t.slab.Usage().TouchedBytes + t.index.mappedBytes() }

// A Quota is the one that applies to a path.
type Quota struct {
	PathLen int     // the quota is for the first PathLen bytes of the path
	Limits  NodeRef // its data are the limits
	Stats   NodeRef // its data are the usage; 0 if the node is missing
}

// Quota returns the deepest quota that is registered at path or above it, never the root's.
func (e *Engine) Quota(path []byte) (Quota, bool) {
	if e.quotas.slab.Len() == 0 {
		return Quota{}, false
	}
	for p := path; len(p) > 0 && p[0] == '/'; p, _ = split(p) {
		if q := e.findQuota(p); q != 0 {
			x := e.quotas.slab.At(q)
			return Quota{PathLen: len(p), Limits: x.limits, Stats: x.stats}, true
		}
	}
	return Quota{}, false
}

func (e *Engine) findQuota(path []byte) uint32 {
	for p := e.quotas.index.probe(pathHash(path)); ; {
		q := p.next()
		if q == 0 || e.pathIs(e.quotas.slab.At(q).node, e.quota, path) {
			return q
		}
	}
}

// QuotaValues are the numbers in the data of a limits or stats node; -1 is none.
type QuotaValues struct {
	Count, Bytes         int64 // soft limits, or the usage
	CountHard, BytesHard int64
}

// ParseQuota reads the data of a limits or stats node. What is missing or no number is -1.
func ParseQuota(data []byte) QuotaValues {
	v := QuotaValues{-1, -1, -1, -1}
	eachQuotaPair(data, func(key []byte, n int64) {
		switch string(key) {
		case "count":
			v.Count = n
		case "bytes":
			v.Bytes = n
		case "countHardLimit":
			v.CountHard = n
		case "byteHardLimit":
			v.BytesHard = n
		}
	})
	return v
}

// ValidQuota tells whether Java's servers can read the text: every pair has a key and a value, and the
// value is a number or, as in "count==1", empty. A request that a quota with another text applies to
// fails there with MarshallingError.
func ValidQuota(data []byte) bool {
	for first := true; len(data) > 0; first = false {
		var pair []byte
		pair, data = cutQuotaPair(data)
		if len(pair) == 0 {
			// Only a separator at the very start makes a pair without text.
			if first {
				return false
			}
			continue
		}
		_, rest, ok := bytes.Cut(pair, []byte{'='})
		if !ok || len(rest) == 0 {
			return false
		}
		text, _, _ := bytes.Cut(rest, []byte{'='})
		if len(text) == 0 {
			// Empty parts at the end do not count as parts.
			if len(bytes.Trim(rest, "=")) == 0 {
				return false
			}
			continue
		}
		if _, err := strconv.ParseInt(string(text), 10, 64); err != nil {
			return false
		}
	}
	return true
}

// cutQuotaPair gives what stands before the first separator and what stands behind it.
func cutQuotaPair(data []byte) (pair, rest []byte) {
	if i := bytes.IndexAny(data, ",;"); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}

// eachQuotaPair calls f with each key=number of the text. Pairs are separated by runs of
// commas and semicolons, and what follows a second "=" does not count.
func eachQuotaPair(data []byte, f func(key []byte, n int64)) {
	for len(data) > 0 {
		var pair []byte
		pair, data = cutQuotaPair(data)
		if len(pair) == 0 {
			continue
		}
		key, text, _ := bytes.Cut(pair, []byte{'='})
		text, _, _ = bytes.Cut(text, []byte{'='})
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			n = -1
		}
		f(key, n)
	}
}

// appendQuotaStats appends the text old with count and bytes changed. Other keys stay, sorted,
// behind the odd "=" that keeps old parsers working.
func appendQuotaStats(dst, old []byte, count, byteCount int64) []byte {
	type pair struct {
		key string
		n   int64
	}
	var others []pair
	c, b := int64(-1), int64(-1)
	eachQuotaPair(old, func(key []byte, n int64) {
		switch string(key) {
		case "count":
			c = n
		case "bytes":
			b = n
		default:
			i := slices.IndexFunc(others, func(p pair) bool { return p.key == string(key) })
			if i < 0 {
				i = len(others)
				others = append(others, pair{key: string(key)})
			}
			others[i].n = n
		}
	})
	dst = append(dst, "count="...)
	dst = strconv.AppendInt(dst, c+count, 10)
	dst = append(dst, ",bytes="...)
	dst = strconv.AppendInt(dst, b+byteCount, 10)
	if len(others) == 0 {
		return dst
	}
	dst = append(dst, '=')
	slices.SortFunc(others, func(p, q pair) int { return bytes.Compare([]byte(p.key), []byte(q.key)) })
	for _, p := range others {
		dst = append(dst, ';')
		dst = append(dst, p.key...)
		dst = append(dst, '=')
		dst = strconv.AppendInt(dst, p.n, 10)
	}
	return dst
}

// quotaChanged keeps the stats of the quota that applies to path up to date. That is no
// change in the sense of versions, zxids and watches.
func (e *Engine) quotaChanged(path []byte, count, byteCount int64) {
	q, ok := e.Quota(path)
	if !ok || q.Stats == 0 {
		return
	}
	n := e.nodes.At(uint32(q.Stats))
	e.quotaText = appendQuotaStats(e.quotaText[:0], e.dataOf(n), count, byteCount)
	e.writeQuotaStats(q.Stats, n)
}

// writeQuotaStats gives a stats node the text in e.quotaText. It lies below /zookeeper, so the
// tree digest stays.
func (e *Engine) writeQuotaStats(ref NodeRef, n *node) {
	x := e.change(ref, n)
	e.storeData(n, x, e.quotaText)
	e.quotaPath = e.AppendPath(e.quotaPath[:0], ref)
	x.crc = PathDataCRC(e.quotaPath, e.quotaText)
}

// isBelow tells whether ref is top or below it.
func (e *Engine) isBelow(ref, top NodeRef) bool {
	for ref != 0 && ref != top {
		ref = e.nodes.At(uint32(ref)).parent
	}
	return ref == top
}

// quotaNodeCreated registers a quota, or fills its stats, when their node appears.
func (e *Engine) quotaNodeCreated(ref NodeRef, n *node) {
	switch name := string(e.nameOf(n)); name {
	case QuotaLimitsName:
		if e.isBelow(n.parent, e.quota) {
			e.registerQuota(ref, n)
		}
	case QuotaStatsName:
		if !e.isBelow(n.parent, e.quota) {
			return
		}
		e.quotaPath = e.appendPathBelow(e.quotaPath[:0], e.quota, n.parent)
		if q := e.findQuota(e.quotaPath); q != 0 {
			e.quotas.slab.At(q).stats = ref
		}
		e.recountQuota(ref, n)
	}
}

// registerQuota enters the quota of a limits node. That of the root is none.
func (e *Engine) registerQuota(limits NodeRef, n *node) {
	if n.parent == e.quota {
		return
	}
	e.quotaPath = e.appendPathBelow(e.quotaPath[:0], e.quota, n.parent)
	h := pathHash(e.quotaPath)
	e.quotaPath = append(append(e.AppendPath(e.quotaPath[:0], n.parent), '/'), QuotaStatsName...)
	q := e.quotas.slab.Alloc()
	*e.quotas.slab.At(q) = quotaEntry{hash: h, node: n.parent, limits: limits, stats: e.Lookup(e.quotaPath)}
	e.quotas.index.insert(h, q)
}

// recountQuota writes the real totals of the subtree into its stats node.
func (e *Engine) recountQuota(stats NodeRef, n *node) {
	e.quotaPath = e.appendPathBelow(e.quotaPath[:0], e.quota, n.parent)
	var count, byteCount int64
	if top := e.Lookup(e.quotaPath); top != 0 {
		e.walk(top, func(_ NodeRef, n *node) {
			count++
			byteCount += int64(max(0, e.dataLen(n)))
		})
	}
	e.quotaText = append(e.quotaText[:0], "count="...)
	e.quotaText = strconv.AppendInt(e.quotaText, count, 10)
	e.quotaText = append(e.quotaText, ",bytes="...)
	e.quotaText = strconv.AppendInt(e.quotaText, byteCount, 10)
	e.writeQuotaStats(stats, n)
}

// quotaNodeDeleted undoes quotaNodeCreated; the node's name and parent are still there.
func (e *Engine) quotaNodeDeleted(ref NodeRef, n *node) {
	name := string(e.nameOf(n))
	if name != QuotaLimitsName && name != QuotaStatsName || !e.isBelow(n.parent, e.quota) {
		return
	}
	e.quotaPath = e.appendPathBelow(e.quotaPath[:0], e.quota, n.parent)
	q := e.findQuota(e.quotaPath)
	if q == 0 {
		return
	}
	x := e.quotas.slab.At(q)
	if name == QuotaStatsName {
		x.stats = 0
		return
	}
	e.quotas.index.remove(x.hash, q)
	e.quotas.slab.Free(q)
}

// loadQuotas registers the quotas of a loaded tree; recount also corrects their stats, as
// Java does when it has loaded a snapshot (storage formats, section 4).
func (e *Engine) loadQuotas(recount bool) {
	var limits []NodeRef
	e.walk(e.quota, func(ref NodeRef, n *node) {
		if string(e.nameOf(n)) == QuotaLimitsName {
			limits = append(limits, ref)
		}
	})
	for _, ref := range limits {
		n := e.nodes.At(uint32(ref))
		e.registerQuota(ref, n)
	}
	if !recount {
		return
	}
	for _, ref := range limits {
		n := e.nodes.At(uint32(ref))
		e.quotaPath = e.AppendPath(e.quotaPath[:0], n.parent)
		e.quotaPath = append(append(e.quotaPath, '/'), QuotaStatsName...)
		if stats := e.Lookup(e.quotaPath); stats != 0 {
			e.recountQuota(stats, e.nodes.At(uint32(stats)))
		}
	}
}
