package zab

import (
	"testing"

	"zabra.dev/zabra/quorum"
)

// diskHistory is a History that begins behind base and holds the zxids of have.
type diskHistory struct {
	base quorum.Zxid
	have []quorum.Zxid
}

func (h diskHistory) Floor(peer quorum.Zxid) (quorum.Zxid, bool) {
	floor := h.base
	for _, z := range h.have {
		if z <= peer {
			floor = z
		}
	}
	return floor, peer >= h.base
}

func (diskHistory) Proposal(quorum.Zxid) ([]byte, bool) { return nil, false }

// TestDecideSync goes through the table of section 4.6, row by row.
func TestDecideSync(t *testing.T) {
	window := func(base quorum.Zxid, zxids ...quorum.Zxid) *Window {
		w := NewWindow(base, 0)
		for _, z := range zxids {
			w.Append(z, nil, nil)
		}
		return w
	}
	snap := syncPlan{kind: syncSnap}
	diff := func(from, z quorum.Zxid) syncPlan { return syncPlan{kind: syncDiff, from: from, zxid: z} }
	stream := func(from, z quorum.Zxid) syncPlan { return syncPlan{kind: syncDiffStream, from: from, zxid: z} }
	trunc := func(z quorum.Zxid) syncPlan { return syncPlan{kind: syncTrunc, from: z, zxid: z} }

	one := window(0, zx(1, 1), zx(1, 2), zx(1, 3))
	late := window(zx(1, 4), zx(1, 5), zx(1, 6), zx(1, 7))
	two := window(zx(1, 4), zx(1, 5), zx(1, 6), zx(2, 1), zx(2, 2))
	empty := window(zx(1, 8))
	disk := diskHistory{base: zx(1, 1), have: []quorum.Zxid{zx(1, 2), zx(1, 3), zx(1, 4), zx(1, 5), zx(1, 6), zx(1, 7)}}

	for _, c := range []struct {
		name  string
		peer  quorum.Zxid
		last  quorum.Zxid
		w     *Window
		h     History
		force bool
		want  syncPlan
	}{
		// As observed at a Java leader at 1:3.
		{"equal", zx(1, 3), zx(1, 3), one, noHistory{}, false, diff(zx(1, 3), zx(1, 3))},
		{"one behind", zx(1, 2), zx(1, 3), one, noHistory{}, false, diff(zx(1, 2), zx(1, 3))},
		{"ahead in the epoch", zx(1, 9), zx(1, 3), one, noHistory{}, false, trunc(zx(1, 3))},
		{"start of a later epoch", zx(2, 0), zx(1, 3), one, noHistory{}, false, snap},
		{"empty", 0, zx(1, 3), one, noHistory{}, false, snap},
		{"without history", -1, zx(1, 3), one, diskHistory{base: -5}, false, snap},
		// Unlike Java: TRUNC never crosses an epoch.
		{"ahead in a later epoch", zx(9, 1), zx(1, 3), one, noHistory{}, false, snap},

		{"forced", zx(1, 3), zx(1, 3), one, noHistory{}, true, snap},
		{"everybody empty", 0, 0, window(0), noHistory{}, false, diff(0, 0)},
		{"equal without memory", zx(1, 8), zx(1, 8), empty, noHistory{}, false, diff(zx(1, 8), zx(1, 8))},
		{"ahead without memory", zx(1, 9), zx(1, 8), empty, noHistory{}, false, snap},

		// The leader serves epoch 2: its last is the start of the epoch.
		{"old end, nothing new", zx(1, 7), zx(2, 0), late, noHistory{}, false, diff(zx(1, 7), zx(1, 7))},
		{"start of the epoch", zx(2, 0), zx(2, 0), late, noHistory{}, false, diff(zx(2, 0), zx(2, 0))},
		{"abandoned tail", zx(1, 9), zx(2, 0), late, noHistory{}, false, trunc(zx(1, 7))},
		{"abandoned tail, epoch 2 has proposals", zx(1, 9), zx(2, 2), two, noHistory{}, false, snap},
		{"oldest in memory", zx(1, 5), zx(2, 2), two, noHistory{}, false, diff(zx(1, 5), zx(2, 2))},
		{"across epochs", zx(1, 6), zx(2, 2), two, noHistory{}, false, diff(zx(1, 6), zx(2, 2))},
		{"start of an epoch in memory", zx(2, 0), zx(2, 2), two, noHistory{}, false, diff(zx(2, 0), zx(2, 2))},
		{"outstanding do not count", zx(1, 6), zx(2, 1), two, noHistory{}, false, diff(zx(1, 6), zx(2, 1))},
		{"has an outstanding one", zx(2, 2), zx(2, 1), two, noHistory{}, false, trunc(zx(2, 1))},

		{"behind memory, no log", zx(1, 3), zx(1, 7), late, noHistory{}, false, snap},
		{"behind memory, log", zx(1, 3), zx(1, 7), late, disk, false, stream(zx(1, 3), zx(1, 7))},
		{"where the log begins", zx(1, 1), zx(1, 7), late, disk, false, stream(zx(1, 1), zx(1, 7))},
		{"before the log begins", 0, zx(1, 7), late, disk, false, snap},
		{"right before memory", zx(1, 4), zx(1, 7), late, disk, false, diff(zx(1, 4), zx(1, 7))},
		{"right before memory, no log", zx(1, 4), zx(1, 7), late, noHistory{}, false, snap},
		{"not in the log", zx(1, 3), zx(2, 5), window(zx(2, 3), zx(2, 4), zx(2, 5)), diskHistory{base: zx(1, 2)}, false, snap},
		{"start of an epoch not in the log", zx(2, 0), zx(3, 5), window(zx(3, 3), zx(3, 4), zx(3, 5)),
			diskHistory{base: zx(1, 1), have: []quorum.Zxid{zx(1, 2), zx(3, 1), zx(3, 2), zx(3, 3)}}, false, stream(zx(2, 0), zx(3, 5))},
	} {
		if got := decideSync(c.peer, c.last, c.w, c.h, c.force); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
