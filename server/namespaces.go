package server

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
)

// namespaces sum up reads and writes by the first component of their paths: the summary sets
// read_per_namespace and write_per_namespace (operations, section 5.5), in bytes. A loop has its own, under
// its gate; the replica, with all gates, counts writes in that of the first.
type namespaces struct {
	byName map[string]*namespace
	last   *namespace // most requests in a row are about one
}

type namespace struct {
	name          string
	reads, writes byteSummary
}

type byteSummary struct {
	count, sum, lowest, highest int64
	shown                       bool // there was something to add, maybe before a reset
}

// maxNamespaces bounds what clients can make a loop remember; paths beyond it count nowhere.
const maxNamespaces = 1024

// statBytes is what a read counts besides path and data.
const statBytes = proto.StatBytes

func (b *byteSummary) add(v int64) {
	if b.count == 0 || v < b.lowest {
		b.lowest = v
	}
	b.highest = max(b.highest, v)
	b.count++
	b.sum += v
	b.shown = true
}

func (b *byteSummary) merge(o *byteSummary) {
	b.shown = b.shown || o.shown
	if o.count == 0 {
		return
	}
	if b.count == 0 || o.lowest < b.lowest {
		b.lowest = o.lowest
	}
	b.highest = max(b.highest, o.highest)
	b.count += o.count
	b.sum += o.sum
}

// of returns the namespace of a path, nil for the root and for one too many.
func (t *namespaces) of(path []byte) *namespace {
	if n := t.last; n != nil {
		end := 1 + len(n.name)
		if len(path) >= end && string(path[1:end]) == n.name && (len(path) == end || path[end] == '/') {
			return n
		}
	}
	path, ok := bytes.CutPrefix(path, []byte{'/'})
	name, _, _ := bytes.Cut(path, []byte{'/'})
	if !ok || len(name) == 0 {
		return nil
	}
	n := t.byName[string(name)]
	if n == nil {
		if len(t.byName) >= maxNamespaces {
			return nil
		}
		if t.byName == nil {
			t.byName = map[string]*namespace{}
		}
		n = &namespace{name: string(name)}
		t.byName[n.name] = n
	}
	t.last = n
	return n
}

func (t *namespaces) read(path []byte, dataBytes int) {
	if n := t.of(path); n != nil {
		n.reads.add(int64(len(path) + dataBytes + statBytes))
	}
}

func (t *namespaces) write(path []byte, dataBytes int) {
	if n := t.of(path); n != nil {
		n.writes.add(int64(len(path) + dataBytes))
	}
}

// wrote counts what an applied operation has written; deletions are counted as the tree tells of them.
func (t *namespaces) wrote(res *engine.OpResult) {
	if res.Err != proto.OK {
		return
	}
	switch res.Type {
	case proto.OpCreate, proto.OpCreate2, proto.OpCreateContainer, proto.OpCreateTTL, proto.OpSetData:
		t.write(res.Path, int(res.Stat.DataLength))
	}
}

// reset zeroes the sums; a key that was shown stays, as on Java's servers.
func (t *namespaces) reset() {
	for _, n := range t.byName {
		n.reads, n.writes = byteSummary{shown: n.reads.shown}, byteSummary{shown: n.writes.shown}
	}
}

// namespaceSums adds up what the loops have counted.
func (s *Server) namespaceSums() map[string]*namespace {
	sums := map[string]*namespace{}
	s.lockGates()
	for _, l := range s.loops {
		for name, n := range l.namespaces.byName {
			if sums[name] == nil {
				sums[name] = &namespace{}
			}
			sums[name].reads.merge(&n.reads)
			sums[name].writes.merge(&n.writes)
		}
	}
	s.unlockGates()
	return sums
}

// NamespaceSums gives the figures of all namespaces that have any, what is no UTF-8 in their names replaced. Any goroutine may
// call it.
func (s *Server) NamespaceSums() (list []metrics.KeyedSum) {
	sums := s.namespaceSums()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		key := strings.ToValidUTF8(name, "\ufffd")
		if r := &sums[name].reads; r.shown {
			list = append(list, metrics.KeyedSum{Name: "read_per_namespace", Key: key, Count: r.count, Sum: r.sum})
		}
		if w := &sums[name].writes; w.shown {
			list = append(list, metrics.KeyedSum{Name: "write_per_namespace", Key: key, Count: w.count, Sum: w.sum})
		}
	}
	return list
}

// namespacePairs gives the lines of mntr for all namespaces. Any goroutine may call it.
func (s *Server) namespacePairs() (pairs []fourlw.Pair) {
	sums := s.namespaceSums()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		n := sums[name]
		for _, set := range []struct {
			name string
			sum  *byteSummary
		}{{"read_per_namespace", &n.reads}, {"write_per_namespace", &n.writes}} {
			if !set.sum.shown {
				continue
			}
			key := strings.ToValidUTF8(name, "\ufffd") + "_" + set.name
			avg := float64(set.sum.sum) / float64(max(set.sum.count, 1))
			pairs = append(pairs, fourlw.Pair{Key: "avg_" + key, Value: fourlw.FormatAvg(avg)})
			for _, v := range []struct {
				prefix string
				n      int64
			}{{"min_", set.sum.lowest}, {"max_", set.sum.highest}, {"cnt_", set.sum.count}, {"sum_", set.sum.sum}} {
				pairs = append(pairs, fourlw.Pair{Key: v.prefix + key, Value: strconv.FormatInt(v.n, 10)})
			}
		}
	}
	return pairs
}
