//go:build interop

package interop

import (
	"slices"
	"sync"
	"testing"
)

// A tour drives one client through everything it can do against one server.
type tour struct {
	name  string
	cfg   map[string]string // zoo.cfg keys on top of baseConfig
	props []string          // -D words
	files map[string]string // written beside zoo.cfg; DIR in the values above is their folder
	needs []tool
	refs  []kind // the Java servers to compare with; all when empty
	run   func(t *testing.T, s *server, tr *transcript)
}

// tours are all of them; each file with tours appends its own.
var tours []tour

func register(ts ...tour) { tours = append(tours, ts...) }

// TestTours runs every tour against the subject and the references, all servers of a tour
// at the same time, and compares.
func TestTours(t *testing.T) {
	refs := references()
	if len(refs) == 0 {
		leaveOut("everything", toolJava38)
		t.Skip("no Java server on this machine: run setup.sh")
	}
	for _, to := range tours {
		t.Run(to.name, func(t *testing.T) {
			for _, n := range to.needs {
				if !have(n) {
					leaveOut("tour "+to.name, n)
					t.Skipf("no %s", n)
				}
			}
			rs := to.references(refs)
			if len(rs) == 0 {
				if subject() == zabra {
					leaveOut("tour "+to.name, toolJava39)
				}
				t.Skipf("it compares with %v only", to.refs)
			}
			runTour(t, to, rs)
		})
	}
	if _, err := buildZabra(); err != nil || subject() != zabra {
		return
	}
	t.Run("known differences are all in use", func(t *testing.T) { checkKnown(t, refs) })
}

func (to *tour) references(all []kind) (rs []kind) {
	for _, r := range all {
		if len(to.refs) == 0 || slices.Contains(to.refs, r) {
			rs = append(rs, r)
		}
	}
	return rs
}

func runTour(t *testing.T, to tour, refs []kind) {
	kinds := append([]kind{subject()}, refs...)
	trs := make([]*transcript, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		trs[i] = &transcript{}
		wg.Go(func() {
			// Each server is a subtest of its own, so that its cleanup runs when its tour ends.
			t.Run(string(k), func(t *testing.T) {
				s := startServer(t, k, to)
				to.run(t, s, trs[i])
				for _, d := range trs[i].dups {
					t.Errorf("step %q is used twice", d)
				}
				if len(trs[i].steps) == 0 {
					t.Error("the tour saw nothing")
				}
			})
		})
	}
	wg.Wait()
	if *showFlag {
		for i, k := range kinds {
			t.Logf("%s on %s:\n%s", to.name, k, trs[i])
		}
	}
	for i, ref := range refs {
		if len(trs[0].steps) == 0 || len(trs[i+1].steps) == 0 {
			return // failed above
		}
		judge(t, to.name, ref, compare(trs[i+1], trs[0]))
	}
}

// checkKnown fails for rows of the table that explained nothing: they are out of date.
func checkKnown(t *testing.T, refs []kind) {
	knownMu.Lock()
	defer knownMu.Unlock()
	at := map[kind]bool{"": true}
	for _, r := range refs {
		at[r] = true
	}
	for _, k := range knownDifferences {
		if !k.used && at[k.Server] && !k.aboutLeftOut() {
			t.Errorf("known difference is not seen any more: %s %q %s: %s", k.Tour, k.Step, k.Server, k.Reason)
		}
	}
}

// aboutLeftOut reports whether the row may be about a tour that did not run.
func (k *known) aboutLeftOut() bool {
	for _, to := range tours {
		for _, n := range to.needs {
			if !have(n) && whole(k.Tour, to.name) {
				return true
			}
		}
	}
	return false
}
