package server

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/transport"
	"zabra.dev/zabra/quorum/zab"
)

// linkRig is a leader's sending side: links to learners over TCP, and a window that the turns fill.
type linkRig struct {
	e     *ensemble
	last  quorum.Zxid
	seen  atomic.Int64 // packets at all learners
	want  atomic.Int64
	reach chan struct{} // told when as many have come as are wanted
	body  []byte
}

func newLinkRig(t testing.TB, learners, bodyBytes int) *linkRig {
	r := &linkRig{
		e:     &ensemble{r: &replica{srv: &Server{}}, links: map[zab.LinkID]*peerLink{}, window: zab.NewWindow(0, 0)},
		reach: make(chan struct{}, 1), body: make([]byte, bodyBytes),
	}
	for i := range learners {
		near, far := tcpPair(t)
		out, in := &tcpConn{link: transport.NewLink(near, transport.LinkOptions{})}, &tcpConn{link: transport.NewLink(far, transport.LinkOptions{})}
		out.Start(func([]quorum.Packet) {}, func(error) {})
		in.Start(func(list []quorum.Packet) {
			if r.seen.Add(int64(len(list))) == r.want.Load() {
				r.reach <- struct{}{}
			}
		}, func(error) {})
		t.Cleanup(func() { out.link.Close(); in.link.Close() })
		r.e.links[zab.LinkID(i+1)] = &peerLink{link: out}
	}
	return r
}

// tcpPair gives both ends of a connection over loopback.
func tcpPair(t testing.TB) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// propose makes n proposals and puts them into the window.
func (r *linkRig) propose(n int) (slabs []*slab) {
	s := getSlab()
	flush := func() {
		s.refs.Add(int32(len(s.batch.Records)))
		for i := range s.batch.Records {
			r.e.window.Append(s.batch.Records[i].Zxid, s.batch.Payload(i), s)
		}
		slabs = append(slabs, s)
		s.release()
	}
	for i := range n {
		s.batch.BeginRecord()
		r.last++
		s.batch.Buf = quorum.AppendPacket(s.batch.Buf, quorum.PacketProposal, r.last, r.body)
		s.batch.EndRecord(r.last)
		if len(s.batch.Buf) >= maxAppendBytes && i+1 < n {
			flush()
			s = getSlab()
		}
	}
	flush()
	return slabs
}

// send hands the n newest proposals to all learners and tells them to commit those.
func (r *linkRig) send(n int) {
	from, to := r.last-quorum.Zxid(n)+1, r.last
	for id := range r.e.links {
		r.e.do(&zab.Output{Kind: zab.OutSendProposals, Type: quorum.PacketProposal, Link: id, From: from, Zxid: to})
		r.e.do(&zab.Output{Kind: zab.OutSend, Type: quorum.PacketCommit, Link: id, From: from, Zxid: to})
	}
	for _, l := range r.e.links {
		l.flush()
	}
}

// turn is a whole one: it waits until all is there.
func (r *linkRig) turn(n int) {
	r.want.Store(r.seen.Load() + int64(len(r.e.links)*2*n))
	r.propose(n)
	r.send(n)
	<-r.reach
	r.e.window.Trim(r.last)
}

// A turn costs no allocation, whatever the number of learners. The whole process is counted, so that a turn may cost
// a fraction of one made elsewhere.
func TestProposalsToLearnersAllocs(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	r := newLinkRig(t, 2, 1024)
	turn := func() {
		r.want.Store(r.seen.Load() + 2*2*16)
		r.send(16)
		<-r.reach
	}
	r.propose(64)
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(200, turn); n >= 1 {
		t.Errorf("%v allocations per turn", n)
	}
}

// A learner that takes nothing is let go when its link holds more than it may besides what the window has in memory
// anyway, and then gives back all that it held. What the window holds, a learner that catches up is sent at once.
func TestStuckLearner(t *testing.T) {
	const limit = 1 << 20
	r := newLinkRig(t, 0, 16<<10)
	near, far := tcpPair(t)
	defer far.Close()
	out, closed := &tcpConn{link: transport.NewLink(near, transport.LinkOptions{QueueMaxBytes: limit})}, make(chan error, 1)
	out.Start(func([]quorum.Packet) {}, func(err error) { closed <- err })
	defer out.link.Close()
	r.e.links[1] = &peerLink{link: out}

	slabs := r.propose(600)
	r.send(600)
	select {
	case err := <-closed:
		t.Fatalf("closed with what is in memory anyway on its way: %v", err)
	default:
	}
	var err error
	for round := 0; err == nil; round++ {
		if round > 10000 {
			t.Fatal("no end")
		}
		slabs = append(slabs, r.propose(10)...)
		r.send(10)
		r.e.window.Trim(r.last)
		if got, most := out.link.QueuedBytes(), limit+600*(17<<10); got > most {
			t.Fatalf("%d bytes wait, more than %d", got, most)
		}
		select {
		case err = <-closed:
		default:
		}
	}
	if !errors.Is(err, transport.ErrSlow) {
		t.Errorf("closed by %v", err)
	}
	r.e.window.Reset(r.last)
	for i, s := range slabs {
		if n := s.refs.Load(); n != 0 {
			t.Fatalf("slab %d of %d has %d references", i, len(slabs), n)
		}
	}
}

// BenchmarkProposalsToLearners sends turns of proposals, with their COMMITs, to two learners over loopback and waits for
// each turn. One operation is one proposal.
func BenchmarkProposalsToLearners(b *testing.B) {
	for _, size := range []int{1024, 16384} {
		for _, turn := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("bytes=%d/turn=%d", size, turn), func(b *testing.B) {
				r := newLinkRig(b, 2, size)
				for range 4 {
					r.turn(256)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N/turn + 1 {
					r.turn(turn)
				}
			})
		}
	}
}
