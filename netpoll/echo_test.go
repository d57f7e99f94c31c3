package netpoll

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// echoHandler sends every frame back, with one Write per readiness.
type echoHandler struct {
	out []byte // used by one loop only: tests with more loops have a handler with a scratch per loop
}

func (h *echoHandler) Opened(Conn) bool { return true }
func (h *echoHandler) Frames(c Conn, it *Frames) {
	c.SetHandshakeDone()
	h.out = h.out[:0]
	for p, ok := it.Next(); ok; p, ok = it.Next() {
		h.out = binary.BigEndian.AppendUint32(h.out, uint32(len(p)))
		h.out = append(h.out, p...)
	}
	_ = c.Write(h.out) // A failure is reported by Closed.
}
func (h *echoHandler) Word(c Conn, word string, arg []byte) {
	_ = c.Write(append([]byte(word), arg...)) // As above.
	c.CloseAfterFlush()
}
func (h *echoHandler) Closed(Conn, error) {}
func (h *echoHandler) Woken(Loop)         {}

func TestEcho(t *testing.T) {
	for _, d := range []Driver{DriverGnet, DriverNet} {
		s, err := Start(Options{
			Listeners: []Listener{{Address: "127.0.0.1:0"}},
			Driver:    d, NumLoops: 1,
			Words: []Word{{"ruok", 0}},
		}, &echoHandler{})
		if err != nil {
			t.Fatal(err)
		}
		f := func(in, want string) {
			t.Helper()
			c, err := net.Dial("tcp", s.Addr(0).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(in)); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, []byte(want)) {
				t.Fatalf("driver %d: sent %q, got %q (%v), want %q", d, in, got, err, want)
			}
		}
		f("ruok\n", "ruok")
		f("huh?", "")
		f("\x00\x00\x00\x02hi\x00\x00\x00\x00", "\x00\x00\x00\x02hi\x00\x00\x00\x00")
		if err := s.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
