package arena

import (
	"math/rand/v2"
	"testing"
)

type record struct {
	a uint32
	b uint64
	_ [5]uint32
}

// TestSlabModel allocates and frees at random: records must be zero when they come, keep
// what is written, and stay where they are.
func TestSlabModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s Slab[record]
	live := map[uint32]*record{}
	var order []uint32
	for step := range 3 * slabChunkRecords {
		if rng.IntN(3) > 0 || len(order) == 0 {
			i := s.Alloc()
			p := s.At(i)
			if live[i] != nil || *p != (record{}) || i == 0 {
				t.Fatalf("record %d: in use %v, contents %+v", i, live[i] != nil, *p)
			}
			p.a, p.b = i, uint64(step)
			live[i] = p
			order = append(order, i)
		} else {
			k := rng.IntN(len(order))
			i := order[k]
			if s.At(i) != live[i] || live[i].a != i {
				t.Fatalf("record %d moved or changed", i)
			}
			s.Free(i)
			delete(live, i)
			order[k] = order[len(order)-1]
			order = order[:len(order)-1]
		}
		if s.Len() != len(live) {
			t.Fatalf("%d records, want %d", s.Len(), len(live))
		}
	}
	for _, i := range order {
		if s.At(i) != live[i] || live[i].a != i {
			t.Fatalf("record %d moved or changed", i)
		}
	}
	if u := s.Usage(); u.UsedBytes != int64(len(live))*40 || u.UsedBytes > u.TouchedBytes || u.TouchedBytes > u.MappedBytes {
		t.Errorf("usage %+v of %d records", u, len(live))
	}
	s.Release()
	if s.Len() != 0 || s.Usage() != (Usage{}) {
		t.Errorf("usage %+v after Release", s.Usage())
	}
	if i := s.Alloc(); *s.At(i) != (record{}) {
		t.Error("record is not zero after Release")
	}
	s.Release()
}

func TestVec(t *testing.T) {
	var v Vec[uint64]
	n := 3*VecChunkLen + 5
	for i := range n {
		v.Append(uint64(i) * 3)
	}
	if v.Len() != n || v.Chunks() != 4 || len(v.Chunk(3)) != 5 || len(v.Chunk(0)) != VecChunkLen {
		t.Fatalf("%d values, %d chunks", v.Len(), v.Chunks())
	}
	for i := range n {
		if v.At(i) != uint64(i)*3 || v.Chunk(i / VecChunkLen)[i%VecChunkLen] != uint64(i)*3 {
			t.Fatalf("value %d is %d", i, v.At(i))
		}
	}
	if v.MappedBytes() != 4*8*VecChunkLen {
		t.Errorf("%d bytes mapped", v.MappedBytes())
	}
	v.Release()
	if v.Len() != 0 || v.MappedBytes() != 0 {
		t.Error("not empty after Release")
	}
}

func TestRegion(t *testing.T) {
	n := 4*hugePageBytes/8 + 3
	r := NewRegion[uint64](n)
	for i := range r.Pages() {
		r.Touch(i)
	}
	for i := range r.Values {
		if r.Values[i] != 0 {
			t.Fatalf("value %d is %d", i, r.Values[i])
		}
		r.Values[i] = uint64(i)
	}
	before := r.MappedBytes()
	half := n / 2
	for i := range half {
		r.DropBefore(i)
	}
	for i := half; i < n; i++ {
		if r.Values[i] != uint64(i) {
			t.Fatalf("value %d is %d after dropping what is before", i, r.Values[i])
		}
	}
	if r.Values[0] != 0 || r.MappedBytes() >= before {
		t.Errorf("dropped memory reads %d, %d of %d bytes are mapped", r.Values[0], r.MappedBytes(), before)
	}
	r.Release()
	r.Release()
	if len(r.Values) != 0 || r.MappedBytes() != 0 {
		t.Error("not empty after Release")
	}
}

func BenchmarkBlobs(b *testing.B) {
	a := NewBlobs(8)
	defer a.Release()
	refs := make([]Ref, 1<<12)
	for i := range refs {
		refs[i] = a.Alloc(100)
	}
	b.ReportAllocs()
	for i := range b.N {
		k := i & (len(refs) - 1)
		a.Free(refs[k], 100)
		refs[k] = a.Alloc(100)
	}
}
