package quorum

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// recordedStreams calls f with each recorded stream of the quorum port, which the Java servers
// of two releases wrote.
func recordedStreams(t testing.TB, f func(name string, stream []byte)) {
	t.Helper()
	n := 0
	for _, pattern := range []string{
		"testdata/quorum/*.bin", "testdata/quorum/mixed-*/[fj]*.bin",
		"testdata/reconfig/quorum/*.bin", "testdata/election/multi-address-v2/quorum-*.bin",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f(name, b)
			n++
		}
	}
	if n < 50 {
		t.Fatalf("%d recorded streams", n)
	}
}

// snapTail is the signature as it stands behind a tree.
var snapTail = jute.AppendString(nil, SnapSignature)

// eachPacket cuts a recorded stream into packets and raw trees, the latter with nil packet.
func eachPacket(t testing.TB, name string, stream []byte, f func(p *Packet, raw []byte)) {
	t.Helper()
	for off := 0; off < len(stream); {
		p, n, err := DecodePacket(stream[off:])
		if err != nil {
			t.Fatalf("%s at %d: %v", name, off, err)
		}
		f(&p, stream[off:off+n])
		off += n
		if p.Type == PacketSnap {
			var s SnapScanner
			n, err := s.Scan(stream[off:])
			if err != nil || !s.Done() {
				t.Fatalf("%s at %d: tree not ended after %d bytes: %v", name, off, n, err)
			}
			f(nil, stream[off:off+n])
			off += n
			if !bytes.HasPrefix(stream[off:], snapTail) {
				t.Fatalf("%s at %d: no signature behind the tree", name, off)
			}
			off += len(snapTail)
		}
	}
}

// encodeAgain encodes a packet from its decoded parts, data included.
func encodeAgain(t *testing.T, fromLearner bool, p *Packet) []byte {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatalf("%s: %v", PacketName(p.Type), err)
		}
	}
	q := *p
	switch p.Type {
	case PacketRequest:
		r, err := DecodeRequest(p.Data)
		must(err)
		q.Data = r.Append(nil)
	case PacketFollowerInfo, PacketObserverInfo:
		l, err := DecodeLearnerInfo(p.Data)
		must(err)
		q.Data = l.Append(nil)
	case PacketLeaderInfo:
		l, err := DecodeLeaderInfo(p.Data)
		must(err)
		q.Data = l.Append(nil)
	case PacketAckEpoch:
		e, err := DecodeAckEpoch(p.Data)
		must(err)
		q.Data = AppendAckEpoch(nil, e)
	case PacketNewLeader:
		c, err := ParseConfig(p.Data)
		must(err)
		q.Data = c.AppendText(nil)
	case PacketPing:
		if fromLearner {
			touches, err := DecodeTouches(p.Data)
			must(err)
			q.Data = []byte{}
			for i := 0; i < touches.Len(); i++ {
				q.Data = AppendTouch(q.Data, touches.At(i))
			}
		}
	case PacketRevalidate:
		if fromLearner {
			v, err := DecodeRevalidate(p.Data)
			must(err)
			q.Data = AppendRevalidate(nil, v)
		} else {
			v, err := DecodeRevalidateReply(p.Data)
			must(err)
			q.Data = v.Append(nil)
		}
	case PacketCommitAndActivate:
		id, err := DecodeCommitAndActivate(p.Data)
		must(err)
		q.Data = AppendActivate(nil, id)
	case PacketInformAndActivate:
		id, txn, err := DecodeInformAndActivate(p.Data)
		must(err)
		q.Data = append(AppendActivate(nil, id), txn...)
	case PacketInform:
		proposal := AppendProposalOf(nil, p)
		txn, err := proto.ProposalTxn(proposal)
		must(err)
		if !bytes.Equal(txn, p.Data) {
			t.Fatalf("INFORM %x: transaction changed on its way through a PROPOSAL", p.Zxid)
		}
		head, rest := InformOf(proposal)
		return append(bytes.Clone(head), rest...)
	}
	return q.Append(nil)
}

// TestRecordedPackets decodes every recorded packet down to the fields of its data and encodes
// it again to the same bytes.
func TestRecordedPackets(t *testing.T) {
	seen := map[PacketType]int{}
	recordedStreams(t, func(name string, stream []byte) {
		eachPacket(t, name, stream, func(p *Packet, raw []byte) {
			if p == nil {
				return
			}
			seen[p.Type]++
			if !bytes.Equal(p.Raw, raw) {
				t.Fatalf("%s: Raw is not the packet", name)
			}
			if got := encodeAgain(t, strings.HasSuffix(name, ".c2s.bin"), p); !bytes.Equal(got, raw) {
				t.Fatalf("%s: %s encoded to\n%q, want\n%q", name, PacketName(p.Type), got, raw)
			}
		})
	})
	for _, typ := range []PacketType{
		PacketRequest, PacketProposal, PacketAck, PacketCommit, PacketPing, PacketRevalidate, PacketSync, PacketInform,
		PacketCommitAndActivate, PacketNewLeader, PacketFollowerInfo, PacketUpToDate, PacketDiff, PacketTrunc, PacketSnap,
		PacketObserverInfo, PacketLeaderInfo, PacketAckEpoch, PacketInformAndActivate,
	} {
		if seen[typ] == 0 {
			t.Errorf("no %s was recorded", PacketName(typ))
		}
	}
}

// TestDecodeInPieces gives a recorded stream to the decoder byte by byte: every prefix asks for
// more, by a number of bytes that never exceeds what the packet really has.
func TestDecodeInPieces(t *testing.T) {
	recordedStreams(t, func(name string, stream []byte) {
		if len(stream) > 20000 {
			return
		}
		eachPacket(t, name, stream, func(p *Packet, raw []byte) {
			if p == nil {
				return
			}
			for i := range raw {
				_, n, err := DecodePacket(raw[:i])
				if !errors.Is(err, ErrNeedMore) || n <= i || n > len(raw) {
					t.Fatalf("%s: %s, %d of %d bytes: n %d, %v", name, PacketName(p.Type), i, len(raw), n, err)
				}
			}
		})
	})
}

func TestPacketBuilders(t *testing.T) {
	want := (&Packet{Type: PacketNewLeader, Zxid: 0x500000000, Data: []byte("text")}).Append(nil)
	if got := AppendPacket(nil, PacketNewLeader, 0x500000000, []byte("text")); !bytes.Equal(got, want) {
		t.Errorf("AppendPacket: %x, want %x", got, want)
	}
	b, start := BeginPacket([]byte("before"), PacketNewLeader, 0x500000000)
	if got := EndPacket(append(b, "text"...), start); !bytes.Equal(got[len("before"):], want) {
		t.Errorf("BeginPacket: %x, want %x", got, want)
	}
	f := func(p Packet) {
		t.Helper()
		b := p.Append(nil)
		q, n, err := DecodePacket(append(bytes.Clone(b), 1, 2, 3))
		p.Raw = b
		if err != nil || n != len(b) || !reflect.DeepEqual(p, q) {
			t.Errorf("%+v decoded to %+v, %d, %v", p, q, n, err)
		}
	}
	f(Packet{Type: 99, Zxid: -7})
	f(Packet{Type: PacketPing, Data: []byte{}})
	f(Packet{Type: PacketRequest, Zxid: NoZxid, Data: []byte{1}, Auth: []proto.Identity{}})
	f(Packet{Type: PacketRequest, Data: []byte{1}, Auth: []proto.Identity{{Scheme: "ip", ID: "::1"}, {Scheme: "", ID: "x"}}})
}

func TestPacketLimits(t *testing.T) {
	d := NewDecoder(Limits{DataMaxBytes: 10, AuthMaxCount: 2, AuthMaxBytes: 40})
	f := func(b []byte, ok bool) {
		t.Helper()
		_, n, err := d.Decode(b)
		if ok != (err == nil) || (err != nil && (!errors.Is(err, ErrPacket) || n != 0)) {
			t.Errorf("%x: %d, %v", b, n, err)
		}
	}
	with := func(data int, auth ...proto.Identity) []byte {
		return (&Packet{Type: 1, Data: make([]byte, data), Auth: auth}).Append(nil)
	}
	id := func(n int) proto.Identity { return proto.Identity{Scheme: "s", ID: strings.Repeat("x", n)} }
	f(with(10), true)
	f(with(11)[:16], false) // at once, before the data has come
	f(with(1, id(1), id(1)), true)
	f(with(1, id(1), id(1), id(1))[:21], false)
	f(with(1, id(27)), true)
	f(with(1, id(28))[:30], false)
	f(jute.AppendInt32(make([]byte, 12), -2), false)
	f(jute.AppendInt32(jute.AppendInt32(make([]byte, 12), -1), -2), false)
	// A null scheme becomes an empty one, as an empty one.
	b := jute.AppendInt32(jute.AppendInt32(make([]byte, 12), -1), 1)
	p, _, err := d.Decode(jute.AppendString(jute.AppendInt32(b, -1), "y"))
	if err != nil || !reflect.DeepEqual(p.Auth, []proto.Identity{{ID: "y"}}) {
		t.Errorf("null scheme: %+v, %v", p, err)
	}
}

// TestDecodeAllocs: decoding what repeats in the steady state costs no allocation.
func TestDecodeAllocs(t *testing.T) {
	b := AppendPacket(nil, PacketAck, 7, nil)
	b = (&Packet{Type: PacketRequest, Zxid: -1, Data: make([]byte, 100), Auth: []proto.Identity{{Scheme: "ip", ID: "127.0.0.1"}}}).Append(b)
	d := NewDecoder(Limits{})
	if n := testing.AllocsPerRun(100, func() {
		for off := 0; off < len(b); {
			_, n, err := d.Decode(b[off:])
			if err != nil {
				t.Fatal(err)
			}
			off += n
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// The memory of identities is bounded.
	for i := range 3 * authCacheCount {
		p := Packet{Type: PacketRequest, Auth: []proto.Identity{{Scheme: "x", ID: strings.Repeat("y", i)}}}
		if q, _, err := d.Decode(p.Append(nil)); err != nil || !reflect.DeepEqual(p.Auth, q.Auth) {
			t.Fatalf("%v, %v", q, err)
		}
		if len(d.auth) > authCacheCount {
			t.Fatalf("%d lists remembered", len(d.auth))
		}
	}
}

func FuzzDecodePacket(f *testing.F) {
	recordedStreams(f, func(name string, stream []byte) {
		eachPacket(f, name, stream, func(p *Packet, raw []byte) {
			if p != nil && len(raw) < 300 && p.Type != PacketAck && p.Type != PacketCommit {
				f.Add(raw)
			}
		})
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := Limits{DataMaxBytes: 1000, AuthMaxCount: 10, AuthMaxBytes: 500}
		d := NewDecoder(limits)
		p, n, err := d.Decode(b)
		switch {
		case err == nil:
			if n > len(b) || n > limits.PacketMaxBytes() {
				t.Fatalf("%d of %d bytes", n, len(b))
			}
			again, m, err := d.Decode(p.Append(nil))
			if err != nil || again.Type != p.Type || again.Zxid != p.Zxid || !bytes.Equal(again.Data, p.Data) || !reflect.DeepEqual(again.Auth, p.Auth) || m > n+40 {
				t.Fatalf("%+v again %+v, %v", p, again, err)
			}
			if q, _, err := d.Decode(b[:n]); err != nil || !bytes.Equal(q.Raw, p.Raw) {
				t.Fatalf("needs more than its length: %v", err)
			}
			_, _ = DecodeRequest(p.Data)
			_, _ = DecodeLearnerInfo(p.Data)
			_, _ = DecodeLeaderInfo(p.Data)
			_, _ = DecodeAckEpoch(p.Data)
			_, _ = DecodeRevalidate(p.Data)
			_, _ = DecodeRevalidateReply(p.Data)
			_, _ = DecodeCommitAndActivate(p.Data)
			_, _, _ = DecodeInformAndActivate(p.Data)
			if touches, err := DecodeTouches(p.Data); err == nil {
				for i := 0; i < touches.Len(); i++ {
					touches.At(i)
				}
			}
		case errors.Is(err, ErrNeedMore):
			if n <= len(b) || n > limits.PacketMaxBytes() {
				t.Fatalf("asks for %d bytes, has %d", n, len(b))
			}
		case !errors.Is(err, ErrPacket):
			t.Fatal(err)
		}
	})
}

// BenchmarkDecode cuts the packets of the busiest recorded stream of a follower.
func BenchmarkDecode(b *testing.B) {
	stream, err := os.ReadFile("testdata/quorum/join-diff-from-txnlog.s2c.bin")
	if err != nil {
		b.Fatal(err)
	}
	d := NewDecoder(Limits{})
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		for off := 0; off < len(stream); {
			_, n, err := d.Decode(stream[off:])
			if err != nil {
				b.Fatal(err)
			}
			off += n
			packets++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}
