package watch

import (
	"fmt"
	"testing"
)

func benchKeys(n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = KeyOf(fmt.Appendf(nil, "/services/orders/instance-%08d", i))
	}
	return keys
}

// filled returns a table with pairs watches: conns connections, each on pairs/conns of the paths.
func filled(keys []Key, conns, pairs int) *Table {
	tb := New()
	per := pairs / conns
	for c := range conns {
		for i := range per {
			tb.AddData(ConnID(c), keys[(c*7919+i)%len(keys)])
		}
	}
	return tb
}

// BenchmarkBytes reports memory per pair; the time is that of filling the table.
func BenchmarkBytes(b *testing.B) {
	for _, s := range []struct{ conns, paths, pairs int }{
		{1000, 1_000_000, 1_000_000}, {1000, 10_000, 1_000_000}, {100_000, 1, 100_000}, {10_000, 100_000, 10_000_000},
	} {
		b.Run(fmt.Sprintf("conns=%d/paths=%d/pairs=%d", s.conns, s.paths, s.pairs), func(b *testing.B) {
			keys := benchKeys(s.paths)
			var tb *Table
			for b.Loop() {
				tb = filled(keys, s.conns, s.pairs)
			}
			n := float64(tb.NumWatches())
			b.ReportMetric(float64(tb.Bytes())/n, "B/pair")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/pair")
		})
	}
}

// BenchmarkSetAndFire is the life of a one-shot watch in a table of a million others.
func BenchmarkSetAndFire(b *testing.B) {
	keys := benchKeys(100_000)
	tb := filled(keys, 1000, 1_000_000)
	hot := KeyOf([]byte("/services/orders/hot"))
	var n count
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tb.AddData(ConnID(i%1000), hot)
		tb.DataChanged(hot, &n)
	}
}

// BenchmarkFireMiss is a change nobody watches.
func BenchmarkFireMiss(b *testing.B) {
	miss, parent := KeyOf([]byte("/services/orders/none")), KeyOf([]byte("/services/orders"))
	for _, s := range []struct {
		name string
		fill func(*Table)
	}{
		{"empty", func(*Table) {}},
		{"million", func(tb *Table) { *tb = *filled(benchKeys(100_000), 1000, 1_000_000) }},
		{"recursive-elsewhere", func(tb *Table) { tb.AddRecursive(1, KeyOf([]byte("/x/y"))) }},
	} {
		b.Run(s.name, func(b *testing.B) {
			tb := New()
			s.fill(tb)
			var n count
			b.ReportAllocs()
			for b.Loop() {
				tb.Created(miss, parent, &n)
			}
		})
	}
}

// BenchmarkFanOut tells 100 000 connections of one change: one-shot watches, which are consumed (and set again outside the
// time), and persistent ones.
func BenchmarkFanOut(b *testing.B) {
	const conns = 100_000
	hot := KeyOf([]byte("/services/orders/hot"))
	f := func(b *testing.B, tb *Table, arm func()) {
		var n count
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			arm()
			b.StartTimer()
			tb.DataChanged(hot, &n)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n.n), "ns/conn")
	}
	b.Run("standard", func(b *testing.B) {
		tb := New()
		f(b, tb, func() {
			for c := range ConnID(conns) {
				tb.AddData(c, hot)
			}
		})
	})
	b.Run("standard-among-5M", func(b *testing.B) {
		tb := filled(benchKeys(100_000), conns, 5_000_000)
		f(b, tb, func() {
			for c := range ConnID(conns) {
				tb.AddData(c, hot)
			}
		})
	})
	b.Run("persistent", func(b *testing.B) {
		tb := New()
		for c := range ConnID(conns) {
			tb.AddPersistent(c, hot)
		}
		f(b, tb, func() {})
	})
}

// BenchmarkRemoveConn drops a connection with 1000 watches.
func BenchmarkRemoveConn(b *testing.B) {
	keys := benchKeys(100_000)
	tb := filled(keys, 1000, 1_000_000)
	for b.Loop() {
		b.StopTimer()
		for i := range 1000 {
			tb.AddData(1_000_000, keys[i*97])
		}
		b.StartTimer()
		tb.RemoveConn(1_000_000)
	}
}
