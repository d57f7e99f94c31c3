package server

import (
	"fmt"
	"sync"
	"testing"

	"zabra.dev/zabra/server/client"
)

// Writes and syncs that are outstanding on one connection at the same time are all answered, in their order, by a
// server alone and by each member of an ensemble.
func TestWritesBesideSyncs(t *testing.T) {
	const workers, rounds = 4, 100
	load := func(t *testing.T, c *client.Client, path string) {
		ctx := testContext(t)
		mustCreate(t, c, path, "")
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				for n := range rounds {
					if _, err := c.SetData(ctx, path, fmt.Appendf(nil, "%d-%d", i, n), client.AnyVersion); err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				for range rounds {
					if err := c.Sync(ctx, path); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if _, stat, err := c.GetData(ctx, path); err != nil || stat.Version != workers*rounds {
			t.Errorf("%s has version %d, %v; want %d", path, stat.Version, err, workers*rounds)
		}
	}
	t.Run("alone", func(t *testing.T) {
		s := startServer(t, testOptions(t, t.TempDir()))
		load(t, dial(t, s), "/n")
		waitFor(t, func() bool { return s.outstanding.Load() == 0 })
	})
	t.Run("ensemble", func(t *testing.T) {
		e := newTestEnsemble(t, 3)
		e.leader()
		var wg sync.WaitGroup
		for i := range e.servers {
			c := e.dial(i)
			wg.Go(func() { load(t, c, fmt.Sprintf("/n%d", i)) })
		}
		wg.Wait()
		for _, s := range e.servers {
			waitFor(t, func() bool { return s.outstanding.Load() == 0 })
		}
		e.wantEqual()

		// The leader goes while such requests are on their way and held: none stays behind.
		leader := e.leader()
		var clients []*client.Client
		for i := range e.servers {
			if i != leader {
				clients = append(clients, e.dial(i))
			}
		}
		stop := make(chan struct{})
		for i, c := range clients {
			for w := range 2 * workers {
				wg.Go(func() {
					path := fmt.Sprintf("/n%d", i)
					for {
						select {
						case <-stop:
							return
						default:
						}
						// They may fail: for a while there is no leader.
						if w%2 == 0 {
							_, _ = c.SetData(testContext(t), path, nil, client.AnyVersion)
						} else {
							_ = c.Sync(testContext(t), path)
						}
					}
				})
			}
		}
		e.stop(leader)
		e.leader()
		close(stop)
		wg.Wait()
		for _, s := range e.servers {
			waitFor(t, func() bool { return s == nil || s.outstanding.Load() == 0 })
		}
		e.wantEqual()
	})
}
