package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/transport"
)

// memNet is a network between servers in memory, whose servers can be cut off.
type memNet struct {
	mu        sync.Mutex // guards the rest
	ports     map[quorum.ServerID]*memPort
	listeners map[memPlace]func(peerConn)
	conns     map[*memConn]struct{}
	cut       map[quorum.ServerID]bool
	mute      map[quorum.ServerID]bool
	// Data of the SNAPs that were received.
	snaps []string
	// treeFaults befall the trees that are received, one after the other; treeBytes counts what was received of trees.
	treeFaults []treeFault
	treeBytes  int
}

// A treeFault is a byte of a tree that comes damaged, or the end of the connection there; with cut the learner is then cut
// off.
type treeFault struct {
	at        int
	flip, cut bool
}

func newMemNet() *memNet {
	return &memNet{
		ports: map[quorum.ServerID]*memPort{}, listeners: map[memPlace]func(peerConn){},
		conns: map[*memConn]struct{}{}, cut: map[quorum.ServerID]bool{}, mute: map[quorum.ServerID]bool{},
	}
}

// of is the network as server id sees it.
func (n *memNet) of(id quorum.ServerID) peerNetwork { return &memNetOf{n, id} }

// setCut cuts a server off, or brings it back: its connections break and no new ones come about.
func (n *memNet) setCut(id quorum.ServerID, cut bool) {
	n.mu.Lock()
	n.cut[id] = cut
	var broken []*memConn
	for c := range n.conns {
		if c.self == id || c.peer == id {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Close(errors.New("cut"))
	}
}

// setMute has what a server sends on its connections be lost, while it still hears. The connections of that time have to be
// broken before it may be heard again.
func (n *memNet) setMute(id quorum.ServerID, mute bool) {
	n.mu.Lock()
	n.mute[id] = mute
	n.mu.Unlock()
}

type memNetOf struct {
	net  *memNet
	self quorum.ServerID
}

type memMessage struct {
	from quorum.ServerID
	msg  []byte
}

type memPort struct {
	of    *memNetOf
	queue chan memMessage
	quit  chan struct{}
	done  chan struct{}
}

func (o *memNetOf) OpenElection(_, _ *quorum.Config, h electionHandler) (electionPort, error) {
	p := &memPort{of: o, queue: make(chan memMessage, 4096), quit: make(chan struct{}), done: make(chan struct{})}
	o.net.mu.Lock()
	o.net.ports[o.self] = p
	o.net.mu.Unlock()
	go func() {
		defer close(p.done)
		for {
			select {
			case m := <-p.queue:
				if n, _, err := quorum.DecodeNotification(m.msg); err == nil {
					h.Message(m.from, n)
				}
			case <-p.quit:
				return
			}
		}
	}()
	return p, nil
}

func (p *memPort) Send(to quorum.ServerID, vote *quorum.Notification) {
	n := p.of.net
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.ports[to]
	if q == nil || n.cut[to] || n.cut[p.of.self] {
		return
	}
	select {
	case q.queue <- memMessage{p.of.self, vote.Append(nil)}:
	default:
	}
}

// Reconfigure has nothing to do: servers are found by their ids.
func (p *memPort) Reconfigure(_, _ *quorum.Config, _ bool) {}

func (p *memPort) Shut() {
	p.of.net.mu.Lock()
	defer p.of.net.mu.Unlock()
	if p.of.net.ports[p.of.self] == p {
		delete(p.of.net.ports, p.of.self)
	}
}

func (p *memPort) Close() error {
	p.Shut()
	close(p.quit)
	<-p.done
	return nil
}

// memPlace is a port of a server.
type memPlace struct {
	id   quorum.ServerID
	port int
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

func (o *memNetOf) ListenQuorum(self quorum.Member, opened func(peerConn)) (io.Closer, error) {
	at := memPlace{o.self, self.QuorumAddrs[0].Port}
	o.net.mu.Lock()
	o.net.listeners[at] = opened
	o.net.mu.Unlock()
	return closerFunc(func() error {
		o.net.mu.Lock()
		delete(o.net.listeners, at)
		o.net.mu.Unlock()
		return nil
	}), nil
}

func (o *memNetOf) DialQuorum(ctx context.Context, leader quorum.Member, patience time.Duration) (peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		o.net.mu.Lock()
		opened := o.net.listeners[memPlace{leader.ID, leader.QuorumAddrs[0].Port}]
		if opened != nil && !o.net.cut[o.self] && !o.net.cut[leader.ID] {
			a := &memConn{net: o.net, self: o.self, peer: leader.ID, in: newMemStream()}
			b := &memConn{net: o.net, self: leader.ID, peer: o.self, in: newMemStream()}
			a.other, b.other = b, a
			o.net.conns[a], o.net.conns[b] = struct{}{}, struct{}{}
			o.net.mu.Unlock()
			opened(b)
			return a, nil
		}
		o.net.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-retry.C:
		}
	}
}

// memStream is a byte stream without a bound.
type memStream struct {
	mu   sync.Mutex // guards the rest
	cond *sync.Cond
	buf  []byte
	err  error
}

func newMemStream() *memStream {
	s := &memStream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *memStream) write(b []byte) {
	s.mu.Lock()
	s.buf = append(s.buf, b...)
	s.mu.Unlock()
	s.cond.Broadcast()
}

func (s *memStream) close(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.cond.Broadcast()
}

func (s *memStream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) == 0 && s.err == nil {
		s.cond.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	n := copy(b, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

type memConn struct {
	net        *memNet
	self, peer quorum.ServerID
	other      *memConn
	in         *memStream
	once       sync.Once
	// What was read behind SNAP goes to ReceiveTree, and what that read too much comes back.
	behind, rest chan []byte
}

func (c *memConn) RemoteAddr() string { return "/memory" }

func (c *memConn) Start(packets func([]quorum.Packet), closed func(error)) {
	c.behind, c.rest = make(chan []byte, 1), make(chan []byte, 1)
	go func() {
		closed(c.read(packets))
	}()
}

func (c *memConn) read(packets func([]quorum.Packet)) error {
	dec := quorum.NewDecoder(quorum.Limits{})
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		var list []quorum.Packet
		used := 0
		snap := false
		for !snap {
			p, n, err := dec.Decode(buf[used:])
			if errors.Is(err, quorum.ErrNeedMore) {
				break
			}
			if err != nil {
				return err
			}
			used += n
			if snap = p.Type == quorum.PacketSnap; snap {
				c.net.mu.Lock()
				c.net.snaps = append(c.net.snaps, string(p.Data))
				c.net.mu.Unlock()
			}
			list = append(list, p)
			if snap || len(list) == 64 {
				break
			}
		}
		if len(list) > 0 {
			packets(list)
			buf = append([]byte(nil), buf[used:]...)
			if snap {
				// ReceiveTree reads from what is left and then from the stream.
				c.behind <- buf
				rest, ok := <-c.rest
				if !ok {
					return io.ErrUnexpectedEOF
				}
				buf = append([]byte(nil), rest...)
			}
			continue
		}
		n, err := c.in.Read(chunk)
		if err != nil {
			return err
		}
		buf = append(buf, chunk[:n]...)
	}
}

func (c *memConn) ReceiveTree(f func(io.Reader) ([]byte, error)) error {
	left := &sliceReader{<-c.behind}
	faulty := &faultyReader{r: io.MultiReader(left, c.in), c: c}
	c.net.mu.Lock()
	if len(c.net.treeFaults) > 0 {
		faulty.fault, c.net.treeFaults = &c.net.treeFaults[0], c.net.treeFaults[1:]
	}
	c.net.mu.Unlock()
	rest, err := f(faulty)
	if err != nil {
		close(c.rest)
		return err
	}
	c.rest <- append(rest, left.b...)
	return nil
}

// faultyReader reads a tree up to its fault.
type faultyReader struct {
	r     io.Reader
	c     *memConn
	n     int
	fault *treeFault
}

func (f *faultyReader) Read(p []byte) (int, error) {
	if f.fault != nil && !f.fault.flip {
		if f.n >= f.fault.at {
			if f.fault.cut {
				f.c.net.setCut(f.c.self, true)
			}
			f.c.Close(io.ErrUnexpectedEOF)
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(len(p), f.fault.at-f.n)]
	}
	n, err := f.r.Read(p)
	if f.fault != nil && f.fault.flip && f.n <= f.fault.at && f.fault.at < f.n+n {
		p[f.fault.at-f.n] ^= 1
	}
	f.n += n
	f.c.net.mu.Lock()
	f.c.net.treeBytes += n
	f.c.net.mu.Unlock()
	return n, err
}

type sliceReader struct{ b []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// put sends b to the other end, unless this one is mute.
func (c *memConn) put(b []byte) {
	c.net.mu.Lock()
	lost := c.net.mute[c.self]
	c.net.mu.Unlock()
	if !lost {
		c.other.in.write(b)
	}
}

func (c *memConn) Queue(b []byte) { c.put(b) }

func (c *memConn) QueueShared(b []byte, ref transport.Ref) {
	c.put(b)
	if ref != nil {
		ref.Release()
	}
}

func (c *memConn) QueueInform(proposal []byte, ref transport.Ref) {
	head, rest := quorum.InformOf(proposal)
	c.put(head)
	c.QueueShared(rest, ref)
}

func (c *memConn) Flush()        {}
func (c *memConn) SetShared(int) {}

func (c *memConn) SendWait(b []byte) error {
	c.Queue(b)
	return nil
}

func (c *memConn) Close(reason error) {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
		if reason == nil {
			reason = io.EOF
		}
		c.in.close(reason)
		c.other.in.close(io.EOF)
	})
}
