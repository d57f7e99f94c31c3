package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// TestGates uses an engine as a server does: a writer that holds every gate, readers that each
// hold their own, and a checkpoint read under one more gate. Under the race detector it shows
// that reads write nothing; every reader checks that it sees whole transactions only.
func TestGates(t *testing.T) {
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	const loops, pairs, txns = 3, 40, 600
	gates := make([]sync.Mutex, loops+1) // the last one is the checkpoint's
	lockAll := func(f func()) {
		for i := range gates {
			gates[i].Lock()
		}
		f()
		for i := range gates {
			gates[i].Unlock()
		}
	}
	path := func(side, i int) []byte { return fmt.Appendf(nil, "/%d-%d", side, i) }
	var m txnMaker
	for i := range pairs {
		for side := range 2 {
			must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: path(side, i), ACL: benchACL, ParentCversion: -1}), nil)
		}
	}
	turns := make([]chan struct{}, loops) // each lets a loop read for a while; closed at the end
	var wg sync.WaitGroup
	for loop := range loops {
		turn := make(chan struct{}, 1)
		turns[loop] = turn
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(loop), 3))
			var a, b proto.Stat
			var out []byte
			for range turn {
				i := rng.IntN(pairs)
				gates[loop].Lock()
				x, y := e.Lookup(path(0, i)), e.Lookup(path(1, i))
				if x == 0 || y == 0 {
					t.Errorf("pair %d is missing", i)
				} else {
					e.Stat(x, &a)
					e.Stat(y, &b)
					if a.Mzxid > pairs*2 && a.Mzxid != b.Mzxid || string(e.Data(x)) != string(e.Data(y)) || a.Mzxid > e.LastZxid() {
						t.Errorf("pair %d: %+v and %+v at %#x", i, a, b, e.LastZxid())
					}
				}
				out = e.AppendChildren(out[:0], e.Root())
				e.EachEphemeral(1, func(ref NodeRef) bool { out = e.AppendPath(out[:0], ref); return true })
				gates[loop].Unlock()
			}
		})
	}
	// The checkpoint goroutine is handed checkpoints and hands them back emitted.
	started, emitted := make(chan *Checkpoint), make(chan map[string]string)
	wg.Go(func() {
		image := map[string]string{}
		for c := range started {
			for done := false; !done; {
				gates[loops].Lock()
				var err error
				done, err = c.Next(7, func(key, value []byte) error {
					if value == nil {
						delete(image, string(key))
					} else {
						image[string(key)] = string(value)
					}
					return nil
				})
				gates[loops].Unlock()
				if err != nil {
					t.Error(err)
					return
				}
			}
			emitted <- image
		}
	})
	rng := rand.New(rand.NewPCG(9, 9))
	var running *Checkpoint
	var digest uint64
	finish := func(image map[string]string) {
		lockAll(running.Finish)
		loaded, err := loadImage(Load(e.opts), image)
		if err != nil {
			t.Fatal(err)
		}
		defer loaded.Close()
		if loaded.Digest() != digest {
			t.Fatalf("digest %#x, want %#x", loaded.Digest(), digest)
		}
		running = nil
	}
	for i := range txns {
		i %= pairs
		for _, turn := range turns {
			select {
			case turn <- struct{}{}:
			default: // still at it
			}
		}
		data := make([]byte, rng.IntN(3000))
		pair := mtxn{header: proto.TxnHeader{SessionID: 1, Zxid: m.zxid + 1, Type: proto.OpMulti}}
		for side := range 2 {
			pair.ops = append(pair.ops, mop{proto.OpSetData, proto.TxnBody{Path: path(side, i), Data: data}})
		}
		m.zxid++
		lockAll(func() {
			must(t, e, pair.append(nil, 0), nil)
			must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: []byte("/e"), ACL: benchACL, Ephemeral: true, ParentCversion: -1}), nil)
		})
		lockAll(func() { must(t, e, m.make(proto.OpDelete, &proto.TxnBody{Path: []byte("/e")}), nil) })
		if running == nil {
			lockAll(func() {
				var err error
				if running, err = e.StartCheckpoint(); err != nil {
					t.Fatal(err)
				}
				digest = e.Digest()
			})
			started <- running
			continue
		}
		select {
		case image := <-emitted:
			finish(image)
		default:
		}
	}
	if running != nil {
		finish(<-emitted)
	}
	close(started)
	for _, turn := range turns {
		close(turn)
	}
	wg.Wait()
}
