package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// Many clients at once are all served, and none of them is forgotten when it leaves.
func TestManyConnections(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	// A process of its own, since this one needs as many descriptors again.
	server := startChild(t, t.TempDir(), "maxClientCnxns=0")
	conns := make([]*client.Raw, n)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	next := make(chan int)
	for range 256 {
		wg.Go(func() {
			for i := range next {
				r, err := client.DialRaw(server.addr)
				if err == nil {
					conns[i] = r
					_, err = r.NewSession(60 * time.Second)
				}
				if err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	for i, r := range conns {
		if i%100 == 0 {
			if reply, err := r.Call(1, proto.OpExists, (&proto.PathWatch{Path: []byte("/")}).Append(nil)); err != nil || reply.Err != proto.OK {
				t.Fatalf("connection %d: %+v, %v", i, reply, err)
			}
		}
	}
	connections := func(want int) func() bool {
		return func() bool {
			answer, err := client.FourLetter(server.addr, "srvr")
			// The connection that asks counts as well.
			return err == nil && strings.Contains(answer, fmt.Sprintf("\nConnections: %d\n", want+1))
		}
	}
	waitFor(t, connections(n))
	for _, r := range conns {
		_ = r.Close()
	}
	waitFor(t, connections(0))
}

// waitFor polls until cond holds, for as long as a slow machine may need.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatal("condition not reached")
		case <-poll.C:
		}
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir(), "maxClientCnxns=2"))
	for range 2 {
		if _, err := dialRaw(t, s).NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dialRaw(t, s).NewSession(20 * time.Second); err == nil {
		t.Fatal("a third connection of an address with two was served")
	}
}

// A frame of exactly the limit is served; one byte more closes the connection before it has arrived.
func TestFrameLimit(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	body := func(frameBytes int) []byte {
		r := proto.CreateRequest{Path: []byte("/big"), ACL: acl, Data: []byte{}}
		r.Data = make([]byte, frameBytes-proto.RequestHeaderBytes-len(r.Append(nil, proto.OpCreate)))
		return r.Append(nil, proto.OpCreate)
	}
	r := dialRaw(t, s)
	if _, err := r.NewSession(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if reply, err := r.Call(1, proto.OpCreate, body(s.opts.FrameMaxBytes)); err != nil || reply.Err != proto.OK {
		t.Fatalf("a frame of the limit: %+v, %v", reply, err)
	}
	for _, length := range []uint32{uint32(s.opts.FrameMaxBytes) + 1, 0xffffffff, 0x80000000, 7, 0} {
		r := dialRaw(t, s)
		if _, err := r.NewSession(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		head := binary.BigEndian.AppendUint32(nil, length)
		if length < proto.RequestHeaderBytes {
			head = append(head, make([]byte, length)...)
		}
		if err := r.SendBytes(head); err != nil {
			t.Fatal(err)
		}
		if rest, _ := r.ReadAll(); len(rest) != 0 {
			t.Errorf("length %#x: got %x, want the end", length, rest)
		}
	}
}

// A client that sends requests and does not read the replies is slowed down, at a bounded price in memory,
// does no harm to others, and gets all its replies when it reads.
func TestClientThatReadsLate(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	c := dial(t, s)
	if _, err := c.Create(testContext(t), "/big", make([]byte, 256<<10), openACL, client.Persistent); err != nil {
		t.Fatal(err)
	}
	r := dialRaw(t, s)
	if _, err := r.NewSession(50 * time.Second); err != nil {
		t.Fatal(err)
	}
	const n = 2000 // 500 MiB of replies
	get := (&proto.PathWatch{Path: []byte("/big")}).Append(nil)
	var out []byte
	for i := range int32(n) {
		out = appendRequestFrame(out, i+1, proto.OpGetData, get)
	}
	if err := r.SendBytes(out); err != nil {
		t.Fatal(err)
	}
	slowed := func() (slow bool) {
		s.lockGates()
		defer s.unlockGates()
		s.eachConn(func(c *clientConn) {
			if len(c.out)+c.unsentBytes > 8<<20 {
				t.Errorf("%d bytes of replies are held", len(c.out)+c.unsentBytes)
			}
			slow = slow || c.throttled && c.unsentBytes >= maxReplyBytes
		})
		return slow
	}
	waitFor(t, slowed)
	if _, _, err := c.GetData(testContext(t), "/big"); err != nil {
		t.Fatal(err)
	}
	for i := range int32(n) {
		if reply, err := r.ReadReply(); err != nil || reply.Xid != i+1 || len(reply.Body) < 256<<10 {
			t.Fatalf("reply %d: xid %d, %d bytes, %v", i, reply.Xid, len(reply.Body), err)
		}
	}
}

// Watch events that a client does not read cannot be held back: past the limit it is closed.
func TestClientThatReadsNoEvents(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.OutboundMaxBytes = 64 << 10
	s := startServer(t, o)
	c := dial(t, s)
	r := dialRaw(t, s)
	if _, err := r.NewSession(50 * time.Second); err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", 32<<10)
	mustCreate(t, c, "/"+name, "")
	if _, err := r.Call(1, proto.OpAddWatch, (&proto.PathKind{Path: []byte("/" + name)}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	for i := 0; s.connCount.Load() == 2; i++ {
		if _, err := c.SetData(testContext(t), "/"+name, nil, -1); err != nil || i > 10_000 {
			t.Fatalf("after %d events of 32 KiB: %v", i, err)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := testOptions(t, t.TempDir())
	o.Listen[0].Address = l.Addr().String()
	_, err = Start(o, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("got %v, want an error that names %s", err, l.Addr())
	}
	// The data is free for the next try.
	o.Listen[0].Address = "127.0.0.1:0"
	startServer(t, o)
}

// The second server on a data directory is refused, and the first is not disturbed.
func TestDataDirInUse(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, testOptions(t, dir))
	_, err := Start(testOptions(t, dir), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Fatalf("got %v", err)
	}
	mustCreate(t, dial(t, s), "/still", "here")
}

// A word gets its answer even from a client that has closed its sending side, as nc does.
func TestWordFromHalfClosedClient(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	nc, err := net.Dial("tcp", s.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "ruok"); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(nc); err != nil || string(answer) != "imok" {
		t.Fatalf("got %q, %v", answer, err)
	}
}
