package zab

import (
	"errors"
	"math/rand"
	"testing"

	"zabra.dev/zabra/quorum"
)

// TestWindow runs random programs against a plain list.
func TestWindow(t *testing.T) {
	for seed := range int64(300) {
		rng := rand.New(rand.NewSource(seed))
		w := NewWindow(zx(1, 5), 0)
		w.keep = 1 + rng.Intn(20)
		base, refs := zx(1, 5), 0
		var list []quorum.Zxid
		last := func() quorum.Zxid {
			if len(list) > 0 {
				return list[len(list)-1]
			}
			return base
		}
		for range 500 {
			switch k := rng.Intn(20); {
			case k < 14:
				z := last() + 1
				if rng.Intn(30) == 0 {
					z = zx(quorum.EpochOf(z)+1+quorum.Epoch(rng.Intn(2)), 1)
				}
				if !quorum.Follows(last(), z) {
					continue // a truncation went below the start of an epoch
				}
				w.Append(z, nil, countRef{&refs})
				refs--
				list = append(list, z)
			case k == 14: // a hole
				z := last() + 2 + quorum.Zxid(rng.Intn(3))
				if quorum.Follows(last(), z) {
					continue
				}
				w.Append(z, nil, countRef{&refs})
				refs--
				list, base = []quorum.Zxid{z}, z-1
			case k < 18:
				committed := last() - quorum.Zxid(rng.Intn(10))
				w.Trim(committed)
				n := 0
				for _, z := range list {
					if z <= committed {
						n++
					}
				}
				if drop := n - w.keep; drop > 0 {
					base = list[drop-1]
					list = list[drop:]
				}
			case k == 18:
				z := last() - quorum.Zxid(rng.Intn(30))
				w.Truncate(z)
				for len(list) > 0 && list[len(list)-1] > z {
					list = list[:len(list)-1]
				}
				if len(list) == 0 {
					base = min(base, z)
				}
			case rng.Intn(10) == 0:
				base = last() + 3
				list = nil
				w.Reset(base)
			}
			if w.Len() != len(list) || w.Last() != last() || w.Base() != base || -refs != len(list) {
				t.Fatalf("seed %d: %d entries up to 0x%x behind 0x%x with %d references, want %d up to 0x%x behind 0x%x", seed, w.Len(), w.Last(), w.Base(), -refs, len(list), last(), base)
			}
			for i, z := range list {
				if w.At(i).Zxid != z {
					t.Fatalf("seed %d: entry %d is 0x%x, want 0x%x", seed, i, w.At(i).Zxid, z)
				}
			}
			probe := last() - 5 + quorum.Zxid(rng.Intn(8))
			after := 0
			for _, z := range list {
				if z <= probe {
					after++
				}
			}
			if w.After(probe) != after || w.continues(probe) != (probe >= base) {
				t.Fatalf("seed %d: After(0x%x) = %d, want %d", seed, probe, w.After(probe), after)
			}
		}
	}
}

func TestWindowKeepsCommitLogCount(t *testing.T) {
	w := NewWindow(0, 10)
	for i := 1; i <= 1200; i++ {
		w.Append(zx(1, i), nil, nil)
	}
	w.Trim(zx(1, 900))
	if w.Len() != 800 || w.At(0).Zxid != zx(1, 401) {
		t.Errorf("%d entries from 0x%x; 500 committed ones and 300 others have to stay", w.Len(), w.At(0).Zxid)
	}
}

// TestDiffStream writes history out of a log, and refuses one with a hole.
func TestDiffStream(t *testing.T) {
	records := []quorum.Zxid{zx(1, 3), zx(1, 4), zx(1, 5), zx(2, 1)}
	for _, cumulative := range []bool{false, true} {
		s := NewDiffStream(&Output{From: zx(1, 3), Zxid: zx(2, 1), Cumulative: cumulative})
		var b []byte
		var err error
		for _, z := range records {
			if s.Done() {
				t.Fatal("done before the end")
			}
			if b, err = s.Append(b, z, testProposal(z, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if b = s.Flush(b); !s.Done() {
			t.Error("not done")
		}
		var got []string
		for len(b) > 0 {
			p, n, err := quorum.DecodePacket(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, quorum.PacketName(p.Type)+" "+hex(p.Zxid))
			b = b[n:]
		}
		want := []string{"PROPOSAL 0x100000004", "COMMIT 0x100000004", "PROPOSAL 0x100000005", "COMMIT 0x100000005", "PROPOSAL 0x200000001", "COMMIT 0x200000001"}
		if cumulative {
			want = []string{"PROPOSAL 0x100000004", "PROPOSAL 0x100000005", "PROPOSAL 0x200000001", "COMMIT 0x200000001"}
		}
		expect(t, got, want...)
	}
	for _, bad := range []quorum.Zxid{zx(1, 5), zx(2, 2), zx(3, 1)} {
		s := NewDiffStream(&Output{From: zx(1, 3), Zxid: zx(2, 1)})
		if _, err := s.Append(nil, bad, nil); !errors.Is(err, ErrHole) {
			t.Errorf("0x%x after 0x%x: %v", bad, zx(1, 3), err)
		}
	}
}

// TestCatchUp is about a learner that needs more than the window holds, while more is committed.
func TestCatchUp(t *testing.T) {
	begin := func(t *testing.T) *leaderRig {
		r := newLeaderRig(t, testConfig(3, 0), 3, nil)
		r.l.history = diskHistory{base: zx(1, 1), have: []quorum.Zxid{zx(1, 2), zx(1, 3)}}
		r.start()
		r.follower(2)
		r.l.window.keep = 2
		return r
	}
	write := func(r *leaderRig, n int) {
		r.propose(n, nil)
		r.ack(2, r.l.last)
		r.durable(r.l.last)
		r.step(Input{Kind: InTick}) // trims
	}
	t.Run("from the log", func(t *testing.T) {
		r := begin(t)
		write(r, 5)
		r.open(3)
		r.info(3, followerInfo, 1)
		expect(t, r.ackEpoch(3, 1, zx(1, 2)), "3<DIFF 200000005", "3<stream 100000002..200000005")
		write(r, 4)
		expect(t, r.propose(1, nil), "2<PROPOSALs 20000000a..20000000a") // nothing for 3
		expect(t, r.step(Input{Kind: InStreamed, Link: 3, Zxid: zx(2, 5), OK: true}), "3<stream 200000005..200000009")
		write(r, 1)
		expect(t, r.step(Input{Kind: InStreamed, Link: 3, Zxid: zx(2, 9), OK: true}),
			"3<history 20000000a..20000000b", "3<NEWLEADER 200000000")
		expect(t, r.propose(1, nil), "2<PROPOSALs 20000000c..20000000c", "3<PROPOSALs 20000000c..20000000c")
	})
	t.Run("only what is on the leader's disk comes from there", func(t *testing.T) {
		r := begin(t)
		write(r, 5)
		r.join(3, followerInfo, zx(2, 5))
		r.propose(3, nil)
		r.ack(2, zx(2, 8))
		expect(t, r.ack(3, zx(2, 8)), "2<*", "3<*", "commit 200000008")
		r.step(Input{Kind: InTick})
		r.open(9)
		r.info(9, followerInfo, 1)
		expect(t, r.ackEpoch(9, 1, zx(1, 2)), "9<DIFF 200000008", "9<stream 100000002..200000005")
		expect(t, r.step(Input{Kind: InStreamed, Link: 9, Zxid: zx(2, 5), OK: true}), "9<history 200000006..200000008", "9<NEWLEADER 200000000")
	})
	t.Run("an image, then the log, then the window", func(t *testing.T) {
		r := begin(t)
		write(r, 2)
		r.open(3)
		r.info(3, followerInfo, 1)
		expect(t, r.ackEpoch(3, 0, 0), "3<snap")
		write(r, 5)
		expect(t, r.step(Input{Kind: InStreamed, Link: 3, Zxid: zx(1, 3), OK: true}), "3<stream 100000003..200000007")
		expect(t, r.step(Input{Kind: InStreamed, Link: 3, Zxid: zx(2, 7), OK: true}), "3<NEWLEADER 200000000")
	})
	t.Run("cannot be had", func(t *testing.T) {
		r := begin(t)
		write(r, 5)
		r.open(3)
		r.info(3, followerInfo, 1)
		r.ackEpoch(3, 1, zx(1, 2))
		expect(t, r.tick(testTiming.sync()/2)) // no packet is expected meanwhile
		expect(t, r.step(Input{Kind: InStreamed, Link: 3}), "close 3: history cannot be sent")
		expect(t, r.step(Input{Kind: InStreamed, Link: 3})) // closed by then
	})
}
