package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// refs returns all candidates for h.
func (x *index) refs(h uint32) (refs []uint32) {
	for p := x.probe(h); ; {
		ref := p.next()
		if ref == 0 {
			slices.Sort(refs)
			return refs
		}
		refs = append(refs, ref)
	}
}

// TestIndexModel inserts and removes at random, with hashes that collide, cluster, and gather
// at the ends of the tables, and compares every answer with a map. The moving of entries is
// under way most of the time.
func TestIndexModel(t *testing.T) {
	hashes := map[string]func(rng *rand.Rand) uint32{
		"uniform":  func(rng *rand.Rand) uint32 { return rng.Uint32() },
		"few":      func(rng *rand.Rand) uint32 { return rng.Uint32N(20) * 0x0CCC_CCCC },
		"at end":   func(rng *rand.Rand) uint32 { return ^(rng.Uint32() >> 5) },
		"at start": func(rng *rand.Rand) uint32 { return rng.Uint32() >> 5 },
		"both": func(rng *rand.Rand) uint32 {
			if rng.IntN(2) == 0 {
				return rng.Uint32() >> 7
			}
			return ^(rng.Uint32() >> 7)
		},
	}
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				rng := rand.New(rand.NewPCG(seed, 9))
				var x index
				model := map[uint32][]uint32{}
				type pair struct{ h, ref uint32 }
				var live []pair
				next := uint32(0)
				limit := 50 + rng.IntN(1500)
				for range 4000 {
					if len(live) == 0 || rng.IntN(100) < 75 && len(live) < limit {
						next++
						p := pair{hash(rng), next}
						x.insert(p.h, p.ref)
						model[p.h] = append(model[p.h], p.ref)
						live = append(live, p)
					} else {
						k := rng.IntN(len(live))
						p := live[k]
						x.remove(p.h, p.ref)
						model[p.h] = slices.DeleteFunc(model[p.h], func(r uint32) bool { return r == p.ref })
						live[k] = live[len(live)-1]
						live = live[:len(live)-1]
					}
					if x.live != len(live) {
						t.Fatalf("seed %d: %d entries, want %d", seed, x.live, len(live))
					}
					for range 3 {
						h := hash(rng)
						if len(live) > 0 && rng.IntN(2) == 0 {
							h = live[rng.IntN(len(live))].h
						}
						if got := x.refs(h); !slices.Equal(got, model[h]) && len(got)+len(model[h]) > 0 {
							t.Fatalf("seed %d: hash %#x: got %v, want %v", seed, h, got, model[h])
						}
					}
				}
				var all []uint32
				x.each(func(ref uint32) bool { all = append(all, ref); return true })
				slices.Sort(all)
				var want []uint32
				for _, p := range live {
					want = append(want, p.ref)
				}
				slices.Sort(want)
				if !slices.Equal(all, want) {
					t.Fatalf("seed %d: each gives %d entries, want %d", seed, len(all), len(want))
				}
				for _, p := range live {
					if !slices.Contains(x.refs(p.h), p.ref) {
						t.Fatalf("seed %d: entry %d is lost", seed, p.ref)
					}
					x.remove(p.h, p.ref)
				}
				x.release()
			}
		})
	}
}

// TestIndexGrowth checks that a change moves a bounded number of slots, and that a table is
// done moving long before it is full.
func TestIndexGrowth(t *testing.T) {
	var x index
	defer x.release()
	rng := rand.New(rand.NewPCG(5, 5))
	grown := 0
	for i := range uint32(200_000) {
		before, moved := x.cur.n, x.moved
		if x.old.n == 0 {
			moved = 0
		}
		idle := x.old.n == 0
		x.insert(rng.Uint32(), i+1)
		if x.cur.n != before {
			grown++
			if !idle {
				t.Fatalf("%d entries: grew while entries were moving", x.live)
			}
			moved = 0
		}
		if steps := x.moved - moved; x.old.n != 0 && steps > 20*indexMoveSlots {
			t.Fatalf("%d entries: %d slots moved at once", x.live, steps)
		}
		if load := float64(x.live) / float64(x.cur.n); load > float64(indexFullNum)/indexFullDen || x.live > 1000 && load < 0.5 {
			t.Fatalf("%d entries in %d slots", x.live, x.cur.n)
		}
	}
	if grown < 15 {
		t.Errorf("grew %d times", grown)
	}
}

func BenchmarkIndexInsert(b *testing.B) {
	var x index
	defer x.release()
	rng := rand.New(rand.NewPCG(5, 5))
	b.ReportAllocs()
	for i := range b.N {
		x.insert(rng.Uint32(), uint32(i)+1)
	}
}
