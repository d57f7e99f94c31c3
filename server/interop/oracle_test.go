//go:build interop

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// Two servers with an oracle each (oraclePath), Zabra and Java: whoever is told that it may goes on alone, whether it has led
// or followed, and the other finds its place and all that was written when it comes back.
func TestOracle(t *testing.T) {
	forEachJava(t, "the oracle of two servers", func(t *testing.T, java kind) { twoWithOracle(t, zabra, java) })
	t.Run("zabra", func(t *testing.T) {
		zabraBinary(t)
		t.Parallel()
		twoWithOracle(t, zabra, zabra)
	})
}

func twoWithOracle(t *testing.T, kinds ...kind) {
	e := newEnsemble(t, kinds...)
	oracle := func(m *member) string { return filepath.Join(m.dir, "oracle") }
	say := func(m *member, what string) {
		t.Helper()
		// By a rename, so that nobody reads half of it.
		must(t, os.WriteFile(oracle(m)+".new", []byte(what+"\n"), 0o644))
		must(t, os.Rename(oracle(m)+".new", oracle(m)))
	}
	for i, m := range e.members {
		m.cfg["oraclePath"] = oracle(m)
		m.become(t, kinds[i])
		say(m, "0")
	}
	written := 0
	write := func(m *member) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		c := dialEnsemble(t, []string{m.addr}, nil)
		defer c.Abandon()
		for range 5 {
			if _, err := c.Create(ctx, fmt.Sprintf("/n%d", written), []byte("x"), proto.WorldAnyone, client.Persistent); err != nil {
				t.Fatalf("server %d (%s): %v\n%s", m.id, m.kind, err, e.logs())
			}
			written++
		}
	}
	read := func(m *member) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		c := dialEnsemble(t, []string{m.addr}, nil)
		defer c.Abandon()
		if err := c.Sync(ctx, "/"); err != nil {
			t.Fatal(err)
		}
		for i := range written {
			if _, err := c.Exists(ctx, fmt.Sprintf("/n%d", i)); err != nil {
				t.Errorf("server %d (%s) lacks /n%d: %v", m.id, m.kind, i, err)
			}
		}
	}
	leads := func(m *member) {
		t.Helper()
		for deadline := time.Now().Add(startTimeout); m.mode() != "leader"; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("server %d (%s) does not lead alone\n%s", m.id, m.kind, e.logs())
			}
		}
	}
	e.run(e.members...)
	write(e.leader())
	for round := range 4 { // each goes on alone, as leader and as follower, and each comes back
		lead := e.leader()
		var other *member
		for _, m := range e.members {
			if m != lead {
				other = m
			}
		}
		dies, stays := lead, other
		if round%2 == 1 {
			dies, stays = other, lead
			say(stays, "1") // it is trusted in advance, and goes on at once
		}
		dies.kill()
		if round%2 == 0 {
			// A server that is not told so does not go on.
			for deadline := time.Now().Add(startTimeout); stays.mode() != ""; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("server %d (%s) serves without the other\n%s", stays.id, stays.kind, e.logs())
				}
			}
			say(stays, "1")
		}
		leads(stays)
		write(stays)
		e.run(dies)
		if got := e.leader(); got != stays {
			t.Errorf("server %d leads, not %d, which went on alone", got.id, stays.id)
		}
		write(dies)
		read(dies)
		read(stays)
		say(stays, "0")
	}
}
