package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// The benchmarks work on a tree of a million znodes of 100 bytes, a thousand children to a
// parent, with names like those of a registry.
const (
	benchNodes   = 1 << 20
	benchFanout  = 1 << 10
	benchDataLen = 100
)

func benchPath(dst []byte, i int) []byte {
	return fmt.Appendf(dst, "/services/group-%05d/instance-%07d", i/benchFanout, i)
}

func benchParent(dst []byte, i int) []byte { return fmt.Appendf(dst, "/services/group-%05d", i) }

var benchACL = proto.RawACLs(proto.AppendACLs(nil, proto.WorldAnyone))

func buildTree(tb testing.TB, nodes int) *Engine {
	tb.Helper()
	b, err := NewBuilder(Options{Digest: true, ExtendedTypes: true})
	if err != nil {
		tb.Fatal(err)
	}
	add := func(path, data []byte, i int) {
		st := proto.StatPersisted{Czxid: int64(i), Mzxid: int64(i), Pzxid: int64(i), Ctime: 1795300933794, Mtime: 1795300933794}
		if err := b.AddNode(path, data, benchACL, &st); err != nil {
			tb.Fatal(err)
		}
	}
	add([]byte("/services"), []byte{}, 0)
	for i := range (nodes + benchFanout - 1) / benchFanout {
		add(benchParent(nil, i), []byte{}, i)
	}
	data := make([]byte, benchDataLen)
	var path []byte
	for i := range nodes {
		path = benchPath(path[:0], i)
		add(path, data, i)
	}
	e, err := b.Finish(int64(nodes))
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// bigTree is shared by the benchmarks that leave its size as it is.
var bigTree = sync.OnceValue(func() *Engine { return buildTree(&testing.B{}, benchNodes) })

// benchPaths returns shuffled paths of existing nodes.
func benchPaths(n int) [][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	paths := make([][]byte, n)
	for i := range paths {
		paths[i] = benchPath(nil, rng.IntN(benchNodes))
	}
	return paths
}

func BenchmarkLookup(b *testing.B) {
	e := bigTree()
	paths := benchPaths(1 << 16)
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		defer measureCPU(b, 1)()
		for i := range b.N {
			if e.Lookup(paths[i&(1<<16-1)]) == 0 {
				b.Fatal("missing")
			}
		}
	})
	missing := make([][]byte, len(paths))
	for i := range paths {
		missing[i] = append(paths[i], 'x')
	}
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		defer measureCPU(b, 1)()
		for i := range b.N {
			if e.Lookup(missing[i&(1<<16-1)]) != 0 {
				b.Fatal("found")
			}
		}
	})
}

// BenchmarkGetData encodes what a getData reply holds.
func BenchmarkGetData(b *testing.B) {
	e := bigTree()
	paths := benchPaths(1 << 16)
	var out []byte
	b.ReportAllocs()
	defer measureCPU(b, 1)()
	for i := range b.N {
		n := e.Lookup(paths[i&(1<<16-1)])
		var st proto.Stat
		e.Stat(n, &st)
		out = st.Append(jute.AppendBuffer(out[:0], e.Data(n)))
	}
	b.SetBytes(int64(len(out)))
}

// nopSink stands for the watch tables.
type nopSink struct{ n int }

func (s *nopSink) Created(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) { s.n++ }
func (s *nopSink) Deleted(path, parent []byte, acl, parentACL proto.RawACLs, zxid proto.Zxid) { s.n++ }
func (s *nopSink) DataChanged(path []byte, acl proto.RawACLs, zxid proto.Zxid)                { s.n++ }

// txnMaker encodes transactions into memory of its own.
type txnMaker struct {
	buf  []byte
	zxid int64
}

func (m *txnMaker) make(typ proto.OpCode, body *proto.TxnBody) []byte {
	m.zxid++
	h := proto.TxnHeader{SessionID: 1, Zxid: m.zxid, TimeMs: 1795300933794, Type: typ}
	m.buf = body.Append(h.Append(m.buf[:0]), typ)
	return m.buf
}

// must applies a transaction that has to work.
func must(tb testing.TB, e *Engine, txn []byte, sink Sink) {
	if r, err := e.Apply(txn, sink); err != nil || r.Err != proto.OK {
		tb.Fatalf("%+v %v", r, err)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("set/size=%d", size), func(b *testing.B) {
			e := bigTree()
			paths := benchPaths(1 << 16)
			m := txnMaker{zxid: e.LastZxid()}
			data := make([]byte, size)
			var sink nopSink
			b.ReportAllocs()
			defer measureCPU(b, 1)()
			for i := range b.N {
				must(b, e, m.make(proto.OpSetData, &proto.TxnBody{Path: paths[i&(1<<16-1)], Data: data, Version: int32(i)}), &sink)
			}
		})
	}
	b.Run("create", func(b *testing.B) {
		e := buildTree(b, 1<<10)
		defer e.Close()
		m := txnMaker{zxid: e.LastZxid()}
		data := make([]byte, benchDataLen)
		var sink nopSink
		var path []byte
		b.ReportAllocs()
		defer measureCPU(b, 1)()
		for i := range b.N {
			path = append(append(path[:0], "/services/new-"...), fmtInt(i)...)
			must(b, e, m.make(proto.OpCreate, &proto.TxnBody{Path: path, Data: data, ACL: benchACL, ParentCversion: -1}), &sink)
		}
	})
	b.Run("create+delete", func(b *testing.B) {
		e := bigTree()
		paths := benchPaths(1 << 16)
		for i := range paths {
			paths[i] = append(paths[i], 'y')
		}
		m := txnMaker{zxid: e.LastZxid()}
		data := make([]byte, benchDataLen)
		var sink nopSink
		b.ReportAllocs()
		defer measureCPU(b, 1)()
		for i := range b.N {
			p := paths[i&(1<<16-1)]
			must(b, e, m.make(proto.OpCreate, &proto.TxnBody{Path: p, Data: data, ACL: benchACL, ParentCversion: -1}), &sink)
			must(b, e, m.make(proto.OpDelete, &proto.TxnBody{Path: p}), &sink)
		}
	})
}

// fmtInt formats without allocating.
func fmtInt(i int) []byte {
	var b [10]byte
	k := len(b)
	for range 10 {
		k--
		b[k] = byte('0' + i%10)
		i /= 10
	}
	return b[:]
}

// BenchmarkBuild loads a million znodes as a Java snapshot brings them, and reports what they
// take beside their names and data.
func BenchmarkBuild(b *testing.B) {
	for range b.N {
		e := buildTree(b, benchNodes)
		reportMemory(b, e)
		e.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchNodes, "ns/znode")
}

func reportMemory(b *testing.B, e *Engine) {
	b.Helper()
	m := e.MemoryStats()
	n := float64(e.NodeCount())
	payload := float64(m.Texts.UsedBytes)
	b.ReportMetric(payload/n, "payload-B/znode")
	b.ReportMetric((float64(m.TouchedBytes())-payload)/n, "overhead-B/znode")
	b.ReportMetric(float64(m.IndexBytes)/n, "index-B/znode")
	b.ReportMetric(float64(m.Texts.TouchedBytes)/n-payload/n, "rounding-B/znode")
}

// BenchmarkLoad reads an image of a million znodes.
func BenchmarkLoad(b *testing.B) {
	e := buildTree(b, benchNodes)
	image := fullImage(b, e)
	e.Close()
	b.ResetTimer()
	for range b.N {
		l := Load(Options{Digest: true, ExtendedTypes: true})
		for r := image; len(r) > 0; {
			key, value := r[:imageKeyBytes], r[imageKeyBytes+4:][:jute.Int32(r[imageKeyBytes:])]
			if err := l.Put(key, value); err != nil {
				b.Fatal(err)
			}
			r = r[imageKeyBytes+4+len(value):]
		}
		e, err := l.Finish()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		reportMemory(b, e)
		e.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(len(image))/benchNodes, "image-B/znode")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchNodes, "ns/znode")
}

// fullImage returns all records as [key][length][value].
func fullImage(tb testing.TB, e *Engine) (image []byte) {
	tb.Helper()
	c, err := e.StartCheckpoint()
	if err != nil {
		tb.Fatal(err)
	}
	image = make([]byte, 0, 256*e.NodeCount())
	for done := false; !done; {
		if done, err = c.Next(1000, func(key, value []byte) error {
			image = jute.AppendInt32(append(image, key...), int32(len(value)))
			image = append(image, value...)
			return nil
		}); err != nil {
			tb.Fatal(err)
		}
	}
	c.Finish()
	return image
}

// BenchmarkCheckpoint takes checkpoints of a million znodes of which some changed: the cost
// must go with the change. It reports the longest call by its CPU time, which is what readers
// and the writer may have to wait for.
func BenchmarkCheckpoint(b *testing.B) {
	for _, changed := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("changed=%d", changed), func(b *testing.B) {
			e := bigTree()
			if e.DirtyCount() > 0 {
				fullImage(b, e)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			m := txnMaker{zxid: e.LastZxid()}
			data := make([]byte, benchDataLen)
			var path []byte
			var longest, start int64
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			records := 0
			for range b.N {
				b.StopTimer()
				for range changed {
					path = benchPath(path[:0], rng.IntN(benchNodes))
					must(b, e, m.make(proto.OpSetData, &proto.TxnBody{Path: path, Data: data}), nil)
				}
				b.StartTimer()
				t := threadNs()
				c, err := e.StartCheckpoint()
				if err != nil {
					b.Fatal(err)
				}
				start = max(start, threadNs()-t)
				for done := false; !done; {
					t := threadNs()
					if done, err = c.Next(128, func(key, value []byte) error { records++; return nil }); err != nil {
						b.Fatal(err)
					}
					longest = max(longest, threadNs()-t)
				}
				c.Finish()
			}
			b.ReportMetric(float64(records)/float64(b.N), "records/op")
			b.ReportMetric(float64(longest)/1e3, "longest-us")
			b.ReportMetric(float64(start)/1e3, "start-us")
		})
	}
}

// BenchmarkCollector measures a garbage collection beside a tree of a million znodes.
func BenchmarkCollector(b *testing.B) {
	e := bigTree()
	runtime.GC()
	b.ResetTimer()
	for range b.N {
		runtime.GC()
	}
	b.StopTimer()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	b.ReportMetric(float64(s.HeapAlloc), "heap-B")
	b.ReportMetric(float64(s.PauseNs[(s.NumGC+255)%256]), "pause-ns")
	runtime.KeepAlive(e)
}
