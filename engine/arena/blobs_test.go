package arena

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestClasses checks for every length that its class is the smallest that holds it, and that
// no more than a sixteenth, or a granule, is wasted.
func TestClasses(t *testing.T) {
	for _, granule := range []int{4, 8, 16, 64} {
		b := NewBlobs(granule)
		for n := 1; n <= blobSmallMaxBytes; n++ {
			c := int(b.classOf(n))
			cell := b.cellBytes(c)
			if cell < n || c > 0 && b.cellBytes(c-1) >= n {
				t.Fatalf("granule %d: %d bytes go to class %d of %d", granule, n, c, cell)
			}
			if waste := cell - n; waste >= granule && waste*16 > n {
				t.Fatalf("granule %d: cell of %d for %d bytes", granule, cell, n)
			}
			if b.classes[c].cellBytes != uint32(cell) {
				t.Fatalf("granule %d: class %d has cells of %d, want %d", granule, c, b.classes[c].cellBytes, cell)
			}
		}
		if last := b.classes[len(b.classes)-1].cellBytes; int(last)*7 > blobChunkBytes {
			t.Fatalf("granule %d: largest cell is %d", granule, last)
		}
	}
}

// lengths returns lengths of blobs: mostly small, some at the edges of classes, some big.
func randomLength(rng *rand.Rand) int {
	switch rng.IntN(20) {
	case 0:
		return 1 + rng.IntN(3*blobSmallMaxBytes)
	case 1, 2:
		return 1 + rng.IntN(blobSmallMaxBytes)
	case 3:
		return max(1, 1<<rng.IntN(12)-1+rng.IntN(3))
	}
	return 1 + rng.IntN(300)
}

// TestBlobsModel allocates, resizes and frees at random; contents must stay, and the usage
// must add up.
func TestBlobsModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := NewBlobs(8)
		type blob struct {
			ref  Ref
			want []byte
		}
		var blobs []blob
		fill := func(ref Ref, n int) blob {
			want := bytes.Repeat([]byte{byte(rng.IntN(256))}, n)
			copy(b.Bytes(ref, n), want)
			return blob{ref, want}
		}
		for range 3000 {
			switch k := rng.IntN(10); {
			case k < 5 || len(blobs) == 0:
				n := randomLength(rng)
				blobs = append(blobs, fill(b.Alloc(n), n))
			case k < 7:
				i, n := rng.IntN(len(blobs)), randomLength(rng)
				old := blobs[i].want
				keep := rng.IntN(min(n, len(old)) + 1)
				ref := b.Resize(blobs[i].ref, len(old), n, keep)
				if got := b.Bytes(ref, n)[:keep]; !bytes.Equal(got, old[:keep]) {
					t.Fatalf("seed %d: blob of %d bytes, then %d: the first %d are not kept", seed, len(old), n, keep)
				}
				blobs[i] = fill(ref, n)
			default:
				i := rng.IntN(len(blobs))
				if got := b.Bytes(blobs[i].ref, len(blobs[i].want)); !bytes.Equal(got, blobs[i].want) {
					t.Fatalf("seed %d: blob of %d bytes changed", seed, len(blobs[i].want))
				}
				b.Free(blobs[i].ref, len(blobs[i].want))
				blobs[i] = blobs[len(blobs)-1]
				blobs = blobs[:len(blobs)-1]
			}
		}
		var used int64
		for _, x := range blobs {
			used += int64(len(x.want))
			if !bytes.Equal(b.Bytes(x.ref, len(x.want)), x.want) {
				t.Fatalf("seed %d: blob of %d bytes changed", seed, len(x.want))
			}
			if k := rng.IntN(len(x.want) + 1); !IsBig(len(x.want)) && !bytes.Equal(b.Head(x.ref, k), x.want[:k]) {
				t.Fatalf("seed %d: head of blob of %d bytes", seed, len(x.want))
			}
		}
		u := b.Usage()
		if u.UsedBytes != used || u.UsedBytes > u.AllocatedBytes || u.AllocatedBytes > u.TouchedBytes || u.TouchedBytes > u.MappedBytes {
			t.Fatalf("seed %d: usage %+v, want %d used", seed, u, used)
		}
		for _, x := range blobs {
			b.Free(x.ref, len(x.want))
		}
		if u = b.Usage(); u.UsedBytes != 0 || u.AllocatedBytes != 0 || u.MappedBytes > int64(len(b.classes))*blobChunkBytes {
			t.Fatalf("seed %d: usage %+v after all was freed", seed, u)
		}
		b.Release()
		if u = b.Usage(); u != (Usage{}) {
			t.Fatalf("seed %d: usage %+v after Release", seed, u)
		}
	}
}

// TestBlobsReuse checks that freed memory serves the next blob of the class, and that chunks
// that have become empty go back.
func TestBlobsReuse(t *testing.T) {
	b := NewBlobs(8)
	defer b.Release()
	first := b.Alloc(100)
	b.Alloc(100)
	b.Free(first, 100)
	if again := b.Alloc(97); again != first {
		t.Errorf("got %#x, want the freed %#x", again, first)
	}
	var refs []Ref
	for b.Usage().MappedBytes < 5*blobChunkBytes {
		refs = append(refs, b.Alloc(1000))
	}
	for _, r := range refs {
		b.Free(r, 1000)
	}
	if got := b.Usage().MappedBytes; got > 2*blobChunkBytes {
		t.Errorf("%d bytes are still mapped", got)
	}
	mapped := b.Usage().MappedBytes
	for range 10 {
		b.Free(b.Alloc(1000), 1000)
	}
	if got := b.Usage().MappedBytes; got != mapped {
		t.Errorf("alternating use maps %d bytes, then %d", mapped, got)
	}
	big := b.Alloc(30 << 20)
	if n := len(b.Bytes(big, 30<<20)); n != 30<<20 {
		t.Errorf("big blob of %d bytes", n)
	}
	b.Free(big, 30<<20)
	if got := b.Usage().MappedBytes; got != mapped {
		t.Errorf("a big blob leaves %d bytes mapped, want %d", got, mapped)
	}
	if again := b.Alloc(20 << 20); again != big {
		t.Errorf("number of a big blob: got %d, want the freed %d", again, big)
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// TestPoison checks what the checked builds promise: freed memory is overwritten, and misuse
// of handles panics.
func TestPoison(t *testing.T) {
	if !Checked {
		t.Skip("this build does not check")
	}
	b := NewBlobs(8)
	r := b.Alloc(50)
	b.Alloc(50)
	stale := b.Bytes(r, 50)
	copy(stale, bytes.Repeat([]byte{7}, 50))
	b.Free(r, 50)
	if !bytes.Equal(stale[4:], bytes.Repeat([]byte{poisonByte}, 46)) {
		t.Errorf("freed blob has %x", stale)
	}
	mustPanic(t, "freeing with another length", func() { b.Free(b.Alloc(50), 500) })
	mustPanic(t, "reading with another length", func() { b.Bytes(b.Alloc(50), 500) })
	mustPanic(t, "reading no blob", func() { b.Bytes(0, 5) })
	r = b.Alloc(60)
	stale = b.Bytes(r, 60)
	b.Free(r, 60)
	stale[30] = 1
	mustPanic(t, "writing to a freed blob", func() { b.Alloc(60) })

	var s Slab[record]
	i := s.Alloc()
	p := s.At(i)
	p.a, p.b = 1, 2
	s.Free(i)
	if p.b == 2 || p.b == 0 {
		t.Errorf("freed record has %x", p.b)
	}
	p.b = 3
	mustPanic(t, "writing to a freed record", func() { s.Alloc() })
	mustPanic(t, "record 0", func() { s.At(0) })
	mustPanic(t, "record never given out", func() { s.At(99) })
}
