package client

import (
	"math"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

func TestParseConnectString(t *testing.T) {
	f := func(in, chroot string, addrs ...string) {
		t.Helper()
		got, gotRoot, err := ParseConnectString(in)
		if err != nil || gotRoot != chroot || !slices.Equal(got, addrs) {
			t.Errorf("%q: got %q, %q, %v", in, got, gotRoot, err)
		}
	}
	f("a", "", "a:2181")
	f("a:1,b, c:3", "", "a:1", "b:2181", "c:3")
	f("a:1/x/y", "/x/y", "a:1")
	f("a:1,b:2/", "", "a:1", "b:2")
	f("[::1]:5,::2,[::3]", "", "[::1]:5", "[::2]:2181", "[::3]:2181")
	for _, bad := range []string{"", "/x", ",", "a/x/", "a/x//y", "a:1:2"} {
		if _, _, err := ParseConnectString(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestValidatePath(t *testing.T) {
	for _, good := range []string{"/", "/a", "/a/b", "/.a", "/a./...", "/\u00e4", "/\uffef"} {
		if err := ValidatePath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a\x00", "/\u001f", "/\u0080", "/\uf000", "/\U0001f600", "/\xff"} {
		if ValidatePath(bad) == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestChroot(t *testing.T) {
	c := &Client{chroot: "/r"}
	f := func(path, server string) {
		t.Helper()
		if got := c.toServer(path); got != server {
			t.Errorf("toServer %q: %q", path, got)
		}
		if got := c.fromServer(server); got != path {
			t.Errorf("fromServer %q: %q", server, got)
		}
	}
	f("/", "/r")
	f("/a", "/r/a")
	for _, outside := range []string{"/rx", "/zookeeper/config", "/"} {
		if got := c.fromServer(outside); got != outside {
			t.Errorf("%q: %q", outside, got)
		}
	}
}

// Which watchers hear of an event, and what is left (client protocol, section 7.4).
func TestWatchTableFire(t *testing.T) {
	names := map[*Watcher]string{}
	w := func(name string) *Watcher {
		for have, n := range names {
			if n == name {
				return have
			}
		}
		nw := &Watcher{}
		names[nw] = name
		return nw
	}
	f := func(typ proto.EventType, path string, heard ...string) {
		t.Helper()
		table := newWatchTable()
		table.add(watchData, "/a/b", w("data"))
		table.add(watchExist, "/a/b", w("exist"))
		table.add(watchChild, "/a/b", w("child"))
		table.add(watchPersistent, "/a/b", w("persistent"))
		table.add(watchRecursive, "/a/b", w("recursive"))
		table.add(watchRecursive, "/a", w("recursive-parent"))
		table.add(watchRecursive, "/", w("recursive-root"))
		table.add(watchData, "/a/b", w("both"))
		table.add(watchChild, "/a/b", w("both"))
		oneShots := []string{"data", "exist", "child", "both"}
		for round, drop := range [][]string{nil, oneShots} {
			var want []string
			for _, name := range heard {
				if !slices.Contains(drop, name) {
					want = append(want, name)
				}
			}
			var got []string
			for _, x := range table.fire(Event{Type: typ, Path: path}) {
				got = append(got, names[x])
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s, time %d: got %v, want %v", EventTypeName(typ), path, round+1, got, want)
			}
		}
	}
	f(proto.EventCreated, "/a/b", "data", "both", "exist", "persistent", "recursive", "recursive-parent", "recursive-root")
	f(proto.EventDataChanged, "/a/b", "data", "both", "exist", "persistent", "recursive", "recursive-parent", "recursive-root")
	f(proto.EventDeleted, "/a/b", "data", "both", "exist", "child", "persistent", "recursive", "recursive-parent", "recursive-root")
	f(proto.EventChildrenChanged, "/a/b", "child", "both", "persistent")
	f(proto.EventDataChanged, "/a/b/c", "recursive", "recursive-parent", "recursive-root")
	f(proto.EventDataChanged, "/ax", "recursive-root")
	f(proto.EventDataChanged, "/", "recursive-root")
}

// After 2^31-1 the xids start again at 1: the negative ones have meanings of their own.
func TestXidWraps(t *testing.T) {
	c := &Client{conn: &conn{wake: make(chan struct{}, 1)}, xid: math.MaxInt32 - 1}
	for _, want := range []int32{math.MaxInt32, 1, 2} {
		call := newCall(proto.OpWhoAmI, "", nil)
		c.enqueueLocked(call)
		if call.reply.Xid != want {
			t.Fatalf("xid %d, want %d", call.reply.Xid, want)
		}
	}
}

func TestCallQueue(t *testing.T) {
	var q callQueue
	var pushed, popped int
	calls := make([]*Call, 1000)
	for i := range calls {
		calls[i] = &Call{}
	}
	for pushed < len(calls) {
		for range 7 {
			if pushed < len(calls) {
				q.push(calls[pushed])
				pushed++
			}
		}
		for range 5 {
			if call, ok := q.pop(); !ok || call != calls[popped] {
				t.Fatalf("pop %d", popped)
			}
			popped++
		}
	}
	if cap(q.items) > 2*len(calls) {
		t.Fatalf("capacity %d", cap(q.items))
	}
	for ; popped < pushed; popped++ {
		if call, ok := q.pop(); !ok || call != calls[popped] {
			t.Fatalf("pop %d", popped)
		}
	}
	if _, ok := q.pop(); ok {
		t.Fatal("not empty")
	}
}

// A recorded session of a Java 3.8.0 server: every frame must decode, every multi in it too.
func TestRecordedSession(t *testing.T) {
	ops := map[int32]proto.OpCode{}
	frames := recordedFrames(t, "testdata/session.c2s.bin")
	for _, frame := range frames[1:] {
		ops[jute.Int32(frame)] = proto.OpCode(jute.Int32(frame[4:]))
	}
	frames = recordedFrames(t, "testdata/session.s2c.bin")
	resp, err := DecodeConnectResponse(frames[0])
	if err != nil || resp.TimeoutMs != 30000 || resp.Password != proto.SessionPassword(resp.SessionID) || !resp.HasReadOnly {
		t.Fatalf("%+v, %v", resp, err)
	}
	if got := resp.Append(nil); !slices.Equal(got, frames[0]) {
		t.Fatalf("%x", got)
	}
	var events, multis int
	for i, frame := range frames[1:] {
		r, err := DecodeReply(frame)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		switch op := ops[r.Xid]; {
		case r.Xid == proto.XidNotification:
			if e, err := DecodeEvent(r); err != nil || e.Path == "" || e.Zxid != -1 {
				t.Errorf("frame %d: %v, %v", i, e, err)
			}
			events++
		case op == proto.OpMulti || op == proto.OpMultiRead:
			rs, err := DecodeMulti(r.Body)
			if err != nil || len(rs) < 3 {
				t.Errorf("frame %d: %v, %v", i, rs, err)
			}
			multis++
		}
	}
	if events == 0 || multis != 3 {
		t.Fatalf("%d events, %d multis", events, multis)
	}
}

func recordedFrames(t *testing.T, name string) (frames [][]byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := jute.NewDecoder(b, 0)
	for len(d.Rest()) > 0 {
		frames = append(frames, d.Buffer())
	}
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	return frames
}

// The server closes after a four-letter word's reply; what comes before is the answer.
func TestFourLetter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan string, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			done <- err.Error()
			return
		}
		defer nc.Close()
		word := make([]byte, 4)
		_, _ = nc.Read(word)
		_, _ = nc.Write([]byte("imok"))
		done <- string(word)
	}()
	if s, err := FourLetter(l.Addr().String(), "ruok"); err != nil || s != "imok" {
		t.Fatalf("%q, %v", s, err)
	}
	if word := <-done; word != "ruok" {
		t.Fatalf("server got %q", word)
	}
}

// Bytes from the network must not make a decoder panic or allocate by a length that it has not checked.
func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/session.s2c.bin")
	if err != nil {
		f.Fatal(err)
	}
	d := jute.NewDecoder(b, 0)
	for len(d.Rest()) > 0 {
		f.Add(d.Buffer())
	}
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _ = DecodeConnectResponse(in)
		rs, err := DecodeMulti(in)
		if err == nil && len(rs) > len(in)/proto.MultiHeaderBytes {
			t.Fatalf("%d results in %d bytes", len(rs), len(in))
		}
		d := jute.NewDecoder(in, 0)
		if ss := decodeStrings(&d); len(ss) > len(in) {
			t.Fatalf("%d strings in %d bytes", len(ss), len(in))
		}
		if r, err := DecodeReply(in); err == nil {
			_, _ = DecodeEvent(r)
			_, _ = DecodeMulti(r.Body)
		}
	})
}

// BenchmarkCall measures one call on a connection whose server answers at once, by itself
// and with many callers on it, whose requests share writes.
func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the connection, which Close below ends
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s := NewRaw(nc)
		defer s.Close()
		if _, err := s.ReadFrame(); err != nil {
			return
		}
		resp := proto.ConnectResponse{TimeoutMs: 30000, SessionID: 1, HasReadOnly: true}
		_ = s.SendFrame(resp.Append(nil)) // the client notices
		var out []byte
		for {
			frame, err := s.ReadFrame()
			if err != nil {
				return
			}
			out = jute.AppendBuffer(out, proto.AppendReplyHeader(nil, jute.Int32(frame), 1, proto.OK))
			if s.br.Buffered() < 4 {
				if err := s.SendBytes(out); err != nil {
					return
				}
				out = out[:0]
			}
		}
	}()
	c, err := Dial(b.Context(), l.Addr().String(), Options{SessionTimeout: 30 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	b.Run("callers=1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Delete(b.Context(), "/path", -1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("callers=64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := c.Delete(b.Context(), "/path", -1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
