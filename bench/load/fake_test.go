package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"zabra.dev/zabra/bench/responder"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// startResponder runs a responder for the length of the test.
func startResponder(t testing.TB) *responder.Responder {
	t.Helper()
	r, err := responder.Start(responder.Options{Address: "127.0.0.1:0", DataBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopResponder(t, r) })
	return r
}

func stopResponder(t testing.TB, r *responder.Responder) {
	t.Helper()
	if err := r.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// A fakeServer answers like a server whose every request succeeds, except where answer says otherwise.
type fakeServer struct {
	t  testing.TB
	ln net.Listener
	wg sync.WaitGroup
	// answer is called for each request; conn counts connections, request those of a connection, both from 0. It gives
	// the reply's payload; nil closes the connection.
	answer func(conn, request int, xid int32, op proto.OpCode) []byte

	mu    sync.Mutex // guards what follows
	conns []net.Conn
}

func startFake(t testing.TB, answer func(conn, request int, xid int32, op proto.OpCode) []byte) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, ln: ln, answer: answer}
	s.wg.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() {
				defer c.Close()
				s.serve(n, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *fakeServer) addr() string { return s.ln.Addr().String() }

// serve ends when the connection does.
func (s *fakeServer) serve(n int, c net.Conn) {
	br := bufio.NewReader(c)
	read := func() []byte {
		var head [4]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return nil
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(br, b); err != nil {
			return nil
		}
		return b
	}
	write := func(b []byte) bool {
		_, err := c.Write(append(jute.AppendInt32(nil, int32(len(b))), b...))
		return err == nil
	}
	if read() == nil {
		return
	}
	id := int64(n + 1)
	hello := proto.ConnectResponse{TimeoutMs: 30_000, SessionID: id, Password: proto.SessionPassword(id), HasReadOnly: true}
	if !write(hello.Append(nil)) {
		return
	}
	for i := 0; ; i++ {
		frame := read()
		if frame == nil {
			return
		}
		reply := s.answer(n, i, jute.Int32(frame), proto.OpCode(jute.Int32(frame[4:])))
		if reply == nil || !write(reply) {
			return
		}
	}
}

// fine is the reply of success without a body.
func fine(xid int32) []byte { return proto.AppendReplyHeader(nil, xid, 1, proto.OK) }

// config is a small load for the address.
func config(t testing.TB, addr, mix string) Config {
	t.Helper()
	m, err := ParseMix(mix)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Addrs: []string{addr}, Mix: m, Sessions: 4, Outstanding: 4, Payload: FixedSize(100), Keys: 100}
}
