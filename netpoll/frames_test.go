package netpoll

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// splitter is a handler that takes up to take frames per call (all of them if 0) and notes what it gets.
type splitter struct {
	take      int
	handshake int // frames until SetHandshakeDone; negative: never
	got       []string
	lent      [][]byte // payloads of the current call, to be compared at its end with what they were at their start
	end       string
}

func (s *splitter) Opened(c Conn) bool {
	if s.handshake == 0 {
		c.SetHandshakeDone()
	}
	return true
}

func (s *splitter) Frames(c Conn, it *Frames) {
	first := len(s.got)
	s.lent = s.lent[:0]
	var ahead [][]byte // not taken yet
	for n := 0; s.take == 0 || n < s.take; n++ {
		if len(ahead) == 0 {
			for p, behind, ok := it.Ahead(0); ok; p, behind, ok = it.Ahead(behind) {
				ahead = append(ahead, p)
			}
		}
		p, ok := it.Next()
		if len(ahead) > 0 {
			if !ok || !bytes.Equal(p, ahead[0]) {
				panic(fmt.Sprintf("a frame %q, %v after a look ahead at %q", p, ok, ahead[0]))
			}
			ahead = ahead[1:]
		}
		if !ok {
			if q, again := it.Next(); again {
				panic(fmt.Sprintf("a frame %q after the end", q))
			}
			break
		}
		s.lent = append(s.lent, p)
		s.got = append(s.got, string(p))
		if len(s.got) == s.handshake {
			c.SetHandshakeDone()
		}
	}
	for i, p := range s.lent {
		if string(p) != s.got[first+i] {
			panic("a lent payload has changed before Frames returned")
		}
	}
	if len(s.lent) == 0 {
		panic("Frames called without a frame")
	}
}

func (s *splitter) Word(c Conn, word string, arg []byte) {
	s.end = fmt.Sprintf("word %s %x", word, arg)
	c.CloseAfterFlush()
}

func (s *splitter) Closed(_ Conn, reason error) {
	if s.end == "" {
		s.end = fmt.Sprint(reason)
	}
}
func (s *splitter) Woken(Loop) {}

// plainSplit is the splitter's oracle: it sees the whole stream at once.
func plainSplit(in []byte, words []Word, handshake, frameMax int) (frames []string, end string) {
	for len(in) >= 4 {
		if handshake < 0 || len(frames) < handshake {
			for _, w := range words {
				if string(in[:4]) == w.Text {
					if len(in) < 4+w.ArgBytes {
						return frames, "<nil>"
					}
					return frames, fmt.Sprintf("word %s %x", w.Text, in[4:4+w.ArgBytes])
				}
			}
		}
		n := int64(int32(binary.BigEndian.Uint32(in)))
		if n < 0 || n > int64(frameMax) {
			return frames, fmt.Sprint(ErrFrameLength)
		}
		if int64(len(in)) < 4+n {
			break
		}
		frames = append(frames, string(in[4:4+n]))
		in = in[4+n:]
	}
	return frames, "<nil>"
}

// split runs a stream through a Mem in the given segments (their lengths repeat) and returns what the handler saw.
func split(t testing.TB, in []byte, segments []byte, words []Word, take, handshake, frameMax int) ([]string, string) {
	s := &splitter{take: take, handshake: handshake}
	m, err := NewMem(Options{NumLoops: 1, Words: words, FrameMaxBytes: frameMax, InboundPauseBytes: 300}, s)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Dial(0)
	m.Run()
	for i := 0; len(in) > 0; i++ {
		n := 1
		if len(segments) > 0 {
			n = 1 + int(segments[i%len(segments)])
		}
		n = min(n, len(in))
		p.Send(in[:n])
		in = in[n:]
		if i%3 == 0 {
			m.Run() // Sometimes more than one segment is waiting.
		}
	}
	m.Run()
	for len(s.got) > 0 && !p.Closed() && take > 0 {
		before := len(s.got)
		p.Conn().Resume()
		m.Run()
		if len(s.got) == before {
			break
		}
	}
	p.CloseWrite()
	m.Run()
	if !p.Closed() {
		t.Fatal("not closed at the end of input")
	}
	if st := m.Stats(); st.Conns != 0 {
		t.Fatalf("%d connections are counted", st.Conns)
	}
	return s.got, s.end
}

var splitWords = []Word{{"ruok", 0}, {"stmk", 8}, {"\xff\xf4\xff\xfd", 0}}

// FuzzSplit: any segmentation of a byte stream, and any throttling, gives the frames, word and end of the plain splitter.
func FuzzSplit(f *testing.F) {
	three := appendFrame(appendFrame(appendFrame(nil, []byte("one")), nil), bytes.Repeat([]byte("3"), 70))
	f.Add(three, []byte{0}, uint8(0), int8(1))
	f.Add(three, []byte{200}, uint8(1), int8(0))
	f.Add(append(three, "ruok"...), []byte{3, 1}, uint8(2), int8(-1))
	f.Add([]byte("stmk12345678"), []byte{2}, uint8(0), int8(1))
	f.Add([]byte("\xff\xf4\xff\xfd\x06"), []byte{0}, uint8(0), int8(1))
	f.Add([]byte("\x7f\xff\xff\xff"), []byte{1}, uint8(0), int8(1))
	f.Add([]byte("\x80\x00\x00\x00"), []byte{1}, uint8(0), int8(0))
	f.Add(append(three, 0, 0, 1, 0), []byte{70, 3}, uint8(1), int8(1))
	f.Fuzz(func(t *testing.T, in, segments []byte, take uint8, handshake int8) {
		const frameMax = 255
		want, wantEnd := plainSplit(in, splitWords, int(handshake), frameMax)
		got, end := split(t, in, segments, splitWords, int(take), int(handshake), frameMax)
		if fmt.Sprint(got) != fmt.Sprint(want) || end != wantEnd {
			t.Fatalf("got %q, %s\nwant %q, %s", got, end, want, wantEnd)
		}
	})
}

// TestSplitRandom is the same with larger frames, where buffers grow.
func TestSplitRandom(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var in []byte
		for range rng.IntN(40) {
			n := rng.IntN(1 << rng.IntN(16))
			in = appendFrame(in, bytes.Repeat([]byte{byte(rng.Uint32())}, n))
		}
		switch rng.IntN(4) {
		case 0:
			in = append(in, "ruok"...)
		case 1:
			in = append(in, "\x7fbad"...)
		case 2:
			in = in[:rng.IntN(len(in)+1)]
		}
		segments := make([]byte, 1+rng.IntN(5))
		for i := range segments {
			segments[i] = byte(rng.Uint32() | 0x40)
		}
		take, handshake, frameMax := rng.IntN(4), rng.IntN(3)-1, 1<<16
		want, wantEnd := plainSplit(in, splitWords, handshake, frameMax)
		got, end := split(t, in, segments, splitWords, take, handshake, frameMax)
		if fmt.Sprint(got) != fmt.Sprint(want) || end != wantEnd {
			t.Fatalf("seed %d: %d frames, %s; want %d, %s", seed, len(got), end, len(want), wantEnd)
		}
	}
}

// TestPartialFrameMemory: a length alone does not make us hold a large buffer.
func TestPartialFrameMemory(t *testing.T) {
	s := &splitter{}
	m, err := NewMem(Options{NumLoops: 1, FrameMaxBytes: 64 << 20}, s)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Dial(0)
	p.Send(binary.BigEndian.AppendUint32(nil, 64<<20))
	m.Run()
	c := p.Conn().(*conn)
	if n := cap(c.pend.b); n > 1024 {
		t.Errorf("%d bytes are held for 4", n)
	}
	for range 20 {
		p.Send(make([]byte, 1000))
		m.Run()
	}
	if n := cap(c.pend.b); n > 2*pendGrowth*20_000 {
		t.Errorf("%d bytes are held for 20 000", n)
	}
}

// TestAhead looks at frames before they are taken: all that are whole, and none before the handshake is done.
func TestAhead(t *testing.T) {
	calls := 0
	r := newRecorder(t)
	look := func(it *Frames) (n int) {
		for _, behind, ok := it.Ahead(0); ok; _, behind, ok = it.Ahead(behind) {
			n++
		}
		return n
	}
	r.frames = func(c Conn, it *Frames) {
		calls++
		if n := look(it); n != 0 {
			t.Errorf("%d frames ahead of the handshake", n)
		}
		it.Next()
		c.SetHandshakeDone()
		for left := 3; left >= 0; left-- {
			if n := look(it); n != left {
				t.Errorf("%d frames ahead, want %d", n, left)
			}
			it.Next()
		}
	}
	m, err := NewMem(Options{NumLoops: 1}, r)
	if err != nil {
		t.Fatal(err)
	}
	var in []byte
	for _, s := range []string{"hello", "one", "", "three", "cut"} {
		in = appendFrame(in, []byte(s))
	}
	m.Dial(0).Send(in[:len(in)-1])
	m.Run()
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// TestLentBytesArePoisoned: in invariant builds a handler that keeps a payload sees it overwritten.
func TestLentBytesArePoisoned(t *testing.T) {
	if !poisonOn {
		t.Skip("needs the tag race or invariants")
	}
	var kept []byte
	r := newRecorder(t)
	r.frames = func(c Conn, it *Frames) { kept, _ = it.Next() }
	m, err := NewMem(Options{NumLoops: 1}, r)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Dial(0)
	frame := appendFrame(nil, []byte("hello"))
	for _, cut := range []int{len(frame), 7, 2} { // Whole, and across the seam.
		p.Send(frame[:cut])
		p.Send(frame[cut:])
		m.Run()
		if string(kept) != "\xdb\xdb\xdb\xdb\xdb" {
			t.Errorf("kept %q", kept)
		}
	}
}

func TestPoolClasses(t *testing.T) {
	for _, n := range []int{0, 1, 512, 576, 577, 1024 + 64, 1024 + 65, DefaultFrameMaxBytes + 4, 2<<20 + 64, 2<<20 + 65, 10 << 20} {
		p := getBuffer(n)
		if cap(p.b) < n || len(p.b) != 0 {
			t.Errorf("%d: capacity %d, length %d", n, cap(p.b), len(p.b))
		}
		if pooled := n <= 2<<20+bufferSlack; pooled != (p.class >= 0) || pooled && n > bufferSlack+1<<bufferMinShift && cap(p.b) >= 2*n {
			t.Errorf("%d: capacity %d, class %d", n, cap(p.b), p.class)
		}
		putBuffer(p)
	}
	putBuffer(nil)
}

func TestOptionErrors(t *testing.T) {
	f := func(o Options) {
		t.Helper()
		if _, err := NewMem(o, newRecorder(t)); err == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
	f(Options{NumLoops: -1})
	f(Options{FrameMaxBytes: -1})
	f(Options{Words: []Word{{"five!", 0}}})
	f(Options{Words: []Word{{"stmk", -1}}})
	f(Options{Listeners: []Listener{{PlainToo: true}}})
	if _, err := Start(Options{Driver: 9}, newRecorder(t)); err == nil {
		t.Error("an unknown driver is accepted")
	}
}
