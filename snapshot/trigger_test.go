package snapshot

import (
	"math/rand/v2"
	"testing"
)

// With the smallest and the largest draw, the trigger goes off right behind the limits of Java.
func TestTriggerLimits(t *testing.T) {
	f := func(snapCount, limitKiB, draw int64, wantTxns, wantBytes int64) {
		t.Helper()
		random := func(n int64) int64 {
			if n <= 0 {
				t.Fatalf("random(%d)", n)
			}
			if draw < 0 {
				return n - 1
			}
			return draw
		}
		tr := NewTrigger(snapCount, limitKiB, random)
		for range 2 {
			tr.Logged(wantTxns, 0)
			if tr.Due() {
				t.Errorf("snapCount %d draw %d: due after %d transactions", snapCount, draw, wantTxns)
			}
			if tr.Logged(1, 0); !tr.Due() {
				t.Errorf("snapCount %d draw %d: not due after %d transactions", snapCount, draw, wantTxns+1)
			}
			tr.Reset()
			tr.Logged(1, wantBytes)
			if tr.Due() {
				t.Errorf("limit %d KiB draw %d: due after %d bytes", limitKiB, draw, wantBytes)
			}
			tr.Logged(0, 1)
			if got := tr.Due(); got != (limitKiB > 0) {
				t.Errorf("limit %d KiB draw %d: due is %v after %d bytes", limitKiB, draw, got, wantBytes+1)
			}
			tr.Reset()
		}
	}
	f(100000, 4194304, 0, 50000, 2<<30)
	f(100000, 4194304, -1, 99999, 4<<30-1)
	f(100001, 1, 0, 50000, 512)
	f(2, 1, -1, 1, 1023)
	f(0, 0, 0, 1, 1<<40)
	f(-5, -1, -1, 1, 1<<40)
}

// The limits are drawn anew each time, and stay within (snapCount/2, snapCount].
func TestTriggerDrawsAnew(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tr := NewTrigger(1000, 0, rnd.Int64N)
	seen := map[int64]bool{}
	for range 200 {
		n := int64(0)
		for !tr.Due() {
			tr.Logged(1, 100)
			n++
		}
		if n <= 500 || n > 1000 {
			t.Fatalf("due after %d transactions", n)
		}
		seen[n] = true
		tr.Reset()
	}
	if len(seen) < 100 {
		t.Fatalf("only %d different limits in 200 rounds", len(seen))
	}
}
