package transport

import (
	"fmt"
	"sync/atomic"
	"testing"

	"zabra.dev/zabra/quorum"
)

// counter is a Handler that counts packets, and tells when as many have come as are wanted.
type counter struct {
	seen, batches atomic.Int64
	want          atomic.Int64
	reached       chan struct{}
}

func (c *counter) Packets(b *Batch) {
	n := c.seen.Add(int64(len(b.Packets)))
	c.batches.Add(1)
	b.Release()
	if n == c.want.Load() {
		c.reached <- struct{}{}
	}
}

func (c *counter) Closed(error) {}

// linkPair returns a link, and the counter at its other end.
func linkPair(t testing.TB) (*Link, *counter) {
	a, b := connPair(t)
	out, in := NewLink(a, LinkOptions{}), NewLink(b, LinkOptions{})
	c := &counter{reached: make(chan struct{}, 1)}
	out.Start(&counter{})
	in.Start(c)
	t.Cleanup(func() { out.Close(); in.Close() })
	return out, c
}

type nopRef struct{}

func (nopRef) Release() {}

// turns sends n turns of size proposals, each turn waited for, and a COMMIT behind each proposal.
func turns(t testing.TB, l *Link, c *counter, n, size int, proposal []byte, ref Ref) {
	for range n {
		c.want.Store(c.seen.Load() + 2*int64(size))
		for range size {
			must(t, l.QueueBytes(proposal, ref))
			must(t, l.QueuePacket(quorum.PacketCommit, 7, nil))
		}
		l.Flush()
		<-c.reached
	}
}

// TestLinkAllocs: sending and receiving do not allocate in the steady state. The whole process is counted, so
// that a turn may cost a fraction of an allocation made elsewhere.
func TestLinkAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l, c := linkPair(t)
	proposal := quorum.AppendPacket(nil, quorum.PacketProposal, 7, make([]byte, 1024))
	var ref Ref = nopRef{}
	turns(t, l, c, 200, 100, proposal, ref)
	if n := testing.AllocsPerRun(200, func() { turns(t, l, c, 1, 100, proposal, ref) }); n >= 1 {
		t.Errorf("%v allocations per turn of 200 packets", n)
	}
}

// BenchmarkLink sends turns of proposals of 1 KiB with their COMMITs from one end of a loopback connection
// to the other and waits for each turn; the time is that of both ends.
func BenchmarkLink(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("turn=%d", size), func(b *testing.B) {
			l, c := linkPair(b)
			proposal := quorum.AppendPacket(nil, quorum.PacketProposal, 7, make([]byte, 1024))
			b.SetBytes(int64(len(proposal) + quorum.PacketMinBytes))
			b.ReportAllocs()
			b.ResetTimer()
			turns(b, l, c, b.N/size, size, proposal, nopRef{})
		})
	}
}
