package server

import (
	"sync"
	"testing"

	"zabra.dev/zabra/server/client"
)

// TestWordsBesideConnections: connections come while the answers to words are worked out; the race detector watches.
func TestWordsBesideConnections(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if answer, err := client.FourLetter(s.Addr(0).String(), "ruok"); err != nil || answer != "imok" {
					t.Errorf("%q, %v", answer, err)
				}
			}
		})
	}
	wg.Wait()
}
