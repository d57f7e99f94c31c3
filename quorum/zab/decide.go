package zab

import "zabra.dev/zabra/quorum"

// History answers for the log on disk, behind what the Window holds.
type History interface {
	// Floor returns the newest zxid of the log that is not above peer. The place where the log
	// begins, the zxid of the image that it continues from, counts as one.
	//
	// ok is false when the log must not be used (section 4.6): it does not reach back to peer; what
	// it holds from there on is not known to be history without holes that was logged here
	// since the last SNAP; it is larger than snapshotSizeFactor times the image, or the factor is
	// negative; or it cannot be read. False is always safe: the peer gets a snapshot.
	Floor(peer quorum.Zxid) (floor quorum.Zxid, ok bool)
	// Proposal returns the PROPOSAL packet of the newest transaction that is not above z, lent until the next call. ok
	// is false when it cannot be had from the log; then a learner is told no mark.
	Proposal(z quorum.Zxid) (packet []byte, ok bool)
}

// syncKind is how a learner is brought to the leader's history.
type syncKind uint8

const (
	syncSnap       syncKind = iota // SNAP
	syncDiff                       // DIFF, proposals out of the window
	syncDiffStream                 // DIFF, proposals out of the log on disk, then out of the window
	syncTrunc                      // TRUNC
)

// syncPlan is what decideSync decides. zxid is that of the DIFF or TRUNC packet, and the
// peer's newest proposal when all is sent; from is the last one that it has before.
type syncPlan struct {
	kind       syncKind
	zxid, from quorum.Zxid
}

// decideSync is the table of section 4.6: what a learner needs whose newest zxid is peer. last is
// the newest zxid that the leader has committed, or the start of its epoch; the entries of w
// above it are outstanding. It differs from Java's where Java's answer relies on history that
// may have been abandoned, and then it is SNAP:
//
//   - TRUNC is sent only within the epoch of the newest committed proposal, and only to
//     a proposal that is in memory. A peer from another epoch may lack what stands before that
//     zxid, and Java learners cut at the wrong place if their log does not hold it.
//   - Where the peer has a proposal in the middle of an epoch that is not in this history, one
//     of the two histories has a hole.
func decideSync(peer, last quorum.Zxid, w *Window, h History, forceSnap bool) syncPlan {
	snap := syncPlan{kind: syncSnap}
	committed := w.After(last) // entries below this index are committed
	minimum, maximum := last, last
	if committed > 0 {
		minimum, maximum = w.At(0).Zxid, w.At(committed-1).Zxid
	}
	fresh := quorum.CounterOf(peer) == 0 // nothing of its epoch
	diff := syncPlan{kind: syncDiff, zxid: maximum, from: peer}
	switch {
	case forceSnap:
		return snap
	case peer == last:
		diff.zxid = peer
		return diff
	case peer > maximum && !fresh:
		if committed > 0 && quorum.EpochOf(peer) == quorum.EpochOf(maximum) {
			return syncPlan{kind: syncTrunc, zxid: maximum, from: maximum}
		}
		return snap
	case minimum <= peer && peer <= maximum:
		if i := w.After(peer); fresh || w.At(i-1).Zxid == peer {
			return diff
		}
		return snap
	case peer < minimum && peer >= 0:
		if floor, ok := h.Floor(peer); !ok || (floor != peer && !fresh) {
			return snap
		}
		diff.kind = syncDiffStream
		if w.continues(peer) {
			diff.kind = syncDiff
		}
		return diff
	}
	return snap
}
