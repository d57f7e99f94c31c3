package server

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/snapshot"
)

// fillLarge makes n nodes with data that cannot be compressed.
func (e *testEnsemble) fillLarge(i, n, bytes int) {
	e.t.Helper()
	c := e.dial(i)
	rng := rand.New(rand.NewSource(1))
	for k := range n {
		data := make([]byte, bytes)
		rng.Read(data)
		if _, err := c.Create(testContext(e.t), fmt.Sprintf("/large%d", k), data, openACL, client.Persistent); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// empty takes the data of server i, which does not run, away.
func (e *testEnsemble) empty(i int) {
	e.t.Helper()
	if err := os.RemoveAll(filepath.Dir(testOptions(e.t, e.dirs[i]).DataDir)); err != nil {
		e.t.Fatal(err)
	}
}

// receivedOfTrees takes the count of bytes of trees that were received.
func (n *memNet) receivedOfTrees() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.treeBytes
	n.treeBytes = 0
	return b
}

// The image that a learner is sent goes on where its connection broke, though the leader goes on writing, and where a
// block came damaged.
func TestImageGoesOn(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lead := e.leader()
	e.fillLarge(lead, 80, 50_000)
	out := (lead + 1) % 3
	join := func(faults ...treeFault) (received int, resumed, sent int64) {
		t.Helper()
		e.stop(out)
		e.empty(out)
		e.net.receivedOfTrees()
		e.net.mu.Lock()
		e.net.treeFaults = faults
		e.net.mu.Unlock()
		images := &e.servers[lead].sent
		before, blocks := images.resumed.Load(), images.blocks.Load()
		e.start(out)
		if len(faults) > 0 {
			e.fill(lead, 3, fmt.Sprintf("meanwhile%d-", faults[0].at))
		}
		e.joins(out)
		if now := e.servers[lead].Mode(); now != "leader" {
			t.Fatalf("the leader is %q", now)
		}
		var partial *partialImage
		e.servers[out].replica.postAndWait(func(r *replica) { partial = r.ens.partial })
		if partial != nil {
			t.Error("a part of an image is left at a server that serves")
		}
		return e.net.receivedOfTrees(), images.resumed.Load() - before, images.blocks.Load() - blocks
	}
	whole, resumed, blocks := join()
	if resumed != 0 || blocks < 12 || whole < 3_000_000 {
		t.Fatalf("%d bytes in %d blocks, %d times gone on with", whole, blocks, resumed)
	}
	const block = 400_000 // no less than the largest
	for _, faults := range [][]treeFault{
		{{at: 1_500_000}},
		{{at: 700_000}, {at: 1_000_000}, {at: 900_000}},
		{{at: 1_000_000, flip: true}},
		{{at: whole - 10}},
	} {
		received, resumed, _ := join(faults...)
		if received > whole+len(faults)*block || resumed != int64(len(faults)) {
			t.Errorf("%v: %d bytes were received, %d times gone on with; without a fault %d", faults, received, resumed, whole)
		}
	}
	// What broke before the first block was whole begins anew.
	if received, resumed, _ := join(treeFault{at: 1000}); resumed != 0 || received > whole+block {
		t.Errorf("%d bytes, %d times gone on with", received, resumed)
	}
}

// breakOff has server out, emptied, get a part of the leader's image and then be cut off, and waits until it keeps that.
func (e *testEnsemble) breakOff(out int) {
	e.t.Helper()
	e.stop(out)
	e.empty(out)
	e.net.mu.Lock()
	e.net.treeFaults = []treeFault{{at: 1_000_000, cut: true}}
	e.net.mu.Unlock()
	e.start(out)
	s := e.servers[out]
	waitFor(e.t, func() (kept bool) {
		s.replica.postAndWait(func(r *replica) { kept = r.ens.partial != nil && r.ens.state == quorum.Looking })
		return kept
	})
}

// A leader that does not have the image any more sends another one from the start.
func TestImageBeginsAnew(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lead := e.leader()
	e.fillLarge(lead, 40, 50_000)
	out := (lead + 1) % 3
	e.breakOff(out)
	images := &e.servers[lead].sent
	waitFor(t, func() bool { return images.forget() > 0 })
	e.net.setCut(int64(out+1), false)
	e.joins(out)
	if n := images.resumed.Load(); n != 0 {
		t.Errorf("%d images were gone on with", n)
	}
}

// forget drops the idle images, and tells how many there were.
func (s *sentImages) forget() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, im := range append([]*sentImage(nil), s.list...) {
		if im.idle {
			_ = s.dropLocked(im)
			n++
		}
	}
	return n
}

// A leader keeps the images of few learners, each one's last, and none once it is closed.
func TestSentImages(t *testing.T) {
	e := newTestEnsemble(t, 1)
	e.leader()
	s := e.servers[0]
	if err := <-s.replica.ckpt.request(s.replica); err != nil {
		t.Fatal(err)
	}
	open := func() *snapshot.Reader {
		r, err := s.replica.ckpt.store.NewReader()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var images sentImages
	send := func(learner quorum.ServerID) *sentImage {
		im := images.add(learner, open())
		if err := images.release(im); err != nil {
			t.Error(err)
		}
		return im
	}
	ctx := context.Background()
	first := send(1)
	if im := images.claim(ctx, first.id+1, 1); im != nil {
		t.Error("an image of another number was claimed")
	}
	if im := images.claim(ctx, first.id, 2); im != nil {
		t.Error("another learner's image was claimed")
	}
	if im := images.claim(ctx, first.id, 1); im != first {
		t.Fatal("an image was not claimed")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if im := images.claim(cancelled, first.id, 1); im != nil {
		t.Error("an image that is being sent was claimed")
	}
	// Whoever claims it while it is being sent gets it when that ends.
	got := make(chan *sentImage)
	go func() { got <- images.claim(ctx, first.id, 1) }()
	if err := images.release(first); err != nil {
		t.Error(err)
	}
	if im := <-got; im != first {
		t.Error("the image was not handed over")
	}
	if err := images.release(first); err != nil {
		t.Error(err)
	}
	second := send(1)
	if im := images.claim(ctx, first.id, 1); im != nil {
		t.Error("a learner has two images")
	}
	for learner := range quorum.ServerID(5) {
		send(learner + 10)
	}
	if len(images.list) != idleImagesMax {
		t.Errorf("%d images are kept", len(images.list))
	}
	if im := images.claim(ctx, second.id, 1); im != nil {
		t.Error("an old image is kept")
	}
	last := images.add(99, open())
	if err := images.close(); err != nil {
		t.Error(err)
	}
	if err := images.release(last); err != nil {
		t.Error(err)
	}
	if im := images.claim(ctx, last.id, 99); im != nil {
		t.Error("an image of a closed server was claimed")
	}
}

// A tree of which only a part came is for its leader alone, and is given back after a while.
func TestPartialImageExpires(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lead := e.leader()
	e.fillLarge(lead, 40, 50_000)
	out := (lead + 1) % 3
	e.breakOff(out)
	s := e.servers[out]
	s.replica.postAndWait(func(r *replica) {
		e, p := r.ens, r.ens.partial
		if p == nil || p.leader != int64(lead+1) || p.blocks == 0 {
			t.Fatalf("it keeps %+v", p)
		}
		for leader, want := range map[quorum.ServerID]bool{p.leader: true, p.leader + 1: false} {
			e.learner = zab.NewLearner(zab.LearnerOptions{Leader: leader, Config: e.config})
			place, ok := quorum.DecodeImagePlace(e.resumePlace())
			if ok != want || ok && (place.Image != p.image || place.Blocks != p.blocks || string(place.Key) != string(p.key)) {
				t.Errorf("leader %d of %d is told %+v", leader, p.leader, place)
			}
		}
		// A leader that goes on with something else is not believed, and what was here is of no use for it.
		other := quorum.ImagePlace{Image: p.image, Blocks: p.blocks + 1}
		if got, err := e.takePartial(&zab.Output{Zxid: p.zxid, Data: other.Append([]byte(quorum.ImageMarker))}); err == nil || got != nil || e.partial != nil {
			t.Errorf("blocks from %d on were taken behind %d", other.Blocks, p.blocks)
		}
		e.learner = nil
	})
	e.net.setCut(int64(out+1), false)
	e.joins(out)

	e.breakOff(out)
	s = e.servers[out]
	s.replica.postAndWait(func(r *replica) {
		r.ens.expirePartial()
		if r.ens.partial == nil {
			t.Fatal("it is not kept")
		}
		r.ens.partial.untilMs = s.nowMs()
		r.ens.expirePartial()
		if r.ens.partial != nil {
			t.Error("it is kept for longer")
		}
		torn := &partialImage{blocks: 1, loader: engine.LoadForeign(s.opts.Engine)}
		if r.ens.keepPartial(torn); r.ens.partial != nil {
			t.Error("it keeps what has a part of a block")
		}
	})
	e.net.setCut(int64(out+1), false)
	e.joins(out)
}

// Over TCP the image goes on where a proxy has cut the connection.
func TestImageGoesOnOverTCP(t *testing.T) {
	e := newTCPEnsemble(t, 3)
	for i := range e.servers {
		e.start(i, "")
	}
	lead := e.leader()
	e.fillLarge(lead, 120, 50_000)
	out := (lead + 1) % 3
	e.stop(out)
	if err := os.RemoveAll(filepath.Join(e.dirs[out], "data")); err != nil {
		t.Fatal(err)
	}
	proxy := startCuttingProxy(t, e.ports[2*lead], 2_000_000)
	own := e.lines
	e.lines = strings.Replace(own, fmt.Sprintf("server.%d=127.0.0.1:%d:", lead+1, e.ports[2*lead]), fmt.Sprintf("server.%d=127.0.0.1:%d:", lead+1, proxy.port), 1)
	if e.lines == own {
		t.Fatal("no line of the leader")
	}
	e.start(out, "")
	e.joins(out)
	// One block, and what the proxy holds, at most comes twice.
	const whole, twice = 120 * 50_000, 400_000
	if n := proxy.bytes.Load(); n < whole || n > whole+whole/10+twice {
		t.Errorf("%d bytes came of %d", n, whole)
	}
	if n := e.servers[lead].sent.resumed.Load(); n != 1 {
		t.Errorf("gone on with %d times", n)
	}
	e.stop(out)
	e.start(out, "")
	e.joins(out)
}

// A cuttingProxy forwards connections to a port, and closes the first that has brought so many bytes from there.
type cuttingProxy struct {
	port  int
	bytes atomic.Int64 // from there
	cut   atomic.Bool
}

func startCuttingProxy(t *testing.T, port, cutAt int) *cuttingProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cuttingProxy{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				defer there.Close()
				_, _ = io.Copy(there, in)
			}()
			go func() {
				defer in.Close()
				defer there.Close()
				buf := make([]byte, 16<<10)
				for n := 0; ; {
					k, err := there.Read(buf)
					if _, werr := in.Write(buf[:k]); err != nil || werr != nil {
						return
					}
					p.bytes.Add(int64(k))
					if n += k; n >= cutAt && p.cut.CompareAndSwap(false, true) {
						return
					}
				}
			}()
		}
	}()
	// The servers end the connections.
	t.Cleanup(func() { l.Close() })
	return p
}
