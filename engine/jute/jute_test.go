package jute

import (
	"bytes"
	"errors"
	"testing"
)

func TestNullAndEmptyDiffer(t *testing.T) {
	b := AppendBuffer(AppendBuffer(nil, nil), []byte{})
	if want := []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}; !bytes.Equal(b, want) {
		t.Fatalf("got %x, want %x", b, want)
	}
	d := NewDecoder(b, 0)
	if got := d.Buffer(); got != nil {
		t.Errorf("null: got %v", got)
	}
	if got := d.Buffer(); got == nil || len(got) != 0 {
		t.Errorf("empty: got %v", got)
	}
}

func TestLimits(t *testing.T) {
	f := func(in []byte, max int, want error) {
		t.Helper()
		d := NewDecoder(in, max)
		if b := d.Buffer(); !errors.Is(d.Err(), want) || b != nil {
			t.Errorf("%x limit %d: got %v, %v; want %v", in, max, b, d.Err(), want)
		}
		if d.Int64() != 0 || d.Buffer() != nil || d.Offset() != 0 {
			t.Errorf("%x: reads go on after an error", in)
		}
	}
	f([]byte{0xff, 0xff, 0xff, 0xfe}, 0, ErrLength)
	f([]byte{0, 0, 0, 3, 1, 2, 3}, 2, ErrLength)
	f([]byte{0, 0, 0, 3, 1, 2}, 3, ErrShort)
	f([]byte{0x7f, 0xff, 0xff, 0xff}, 0, ErrShort)
	f([]byte{0, 0}, 0, ErrShort)
}

func TestVectorLen(t *testing.T) {
	for in, want := range map[int32]int{-1: -1, -2: 0, 0: 0, 5: 5} {
		d := NewDecoder(AppendInt32(nil, in), 0)
		if got := d.VectorLen(); got != want {
			t.Errorf("%d: got %d, want %d", in, got, want)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	b := AppendString(AppendInt64(AppendInt32(nil, 1), 2), "/path")
	n := testing.AllocsPerRun(100, func() {
		d := NewDecoder(b, 1<<20)
		d.Int32()
		d.Int64()
		if len(d.Buffer()) != 5 {
			t.Fatal("bad path")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
