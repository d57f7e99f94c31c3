package netpoll

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

// A listener moves to another address, to another one with the same port, and stays where it is when it cannot move;
// connections do not notice.
func TestRebind(t *testing.T) {
	s, err := Start(Options{Listeners: []Listener{{Address: "127.0.0.1:0"}}, NumLoops: 1}, &echoHandler{})
	if err != nil {
		t.Fatal(err)
	}
	const frame = "\x00\x00\x00\x02hi"
	echo := func(c net.Conn) {
		t.Helper()
		got := make([]byte, len(frame))
		if _, err := io.WriteString(c, frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != frame {
			t.Fatalf("%q, %v", got, err)
		}
	}
	dial := func(address string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		echo(c)
		return c
	}
	first := s.Addr(0).String()
	conns := []net.Conn{dial(first)}
	if err := s.Rebind(0, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	second := s.Addr(0).String()
	if c, err := net.Dial("tcp", first); err == nil {
		_ = c.Close()
		t.Errorf("%s is still open", first)
	}
	conns = append(conns, dial(second))

	_, port, _ := net.SplitHostPort(second)
	if err := s.Rebind(0, "0.0.0.0:"+port); err != nil {
		t.Fatalf("to the wildcard with the same port: %v", err)
	}
	conns = append(conns, dial(second))

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := s.Rebind(0, taken.Addr().String()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("to an address in use: %v", err)
	}
	conns = append(conns, dial(second))
	for _, c := range conns {
		echo(c)
		_ = c.Close()
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Rebind(0, first); err == nil {
		t.Error("a stopped server listens again")
	}
}
