package election

import (
	"testing"

	"zabra.dev/zabra/quorum"
)

func TestBetter(t *testing.T) {
	e := &Election{committed: voters(t, 3, 0, "group.1=1:2:3\nweight.3=0")}
	f := func(a, b quorum.Vote, want bool) {
		t.Helper()
		if e.better(a, b) != want {
			t.Errorf("better(%s, %s) is %v", voteText(a), voteText(b), !want)
		}
	}
	v := func(leader quorum.ServerID, zxid quorum.Zxid, epoch quorum.Epoch) quorum.Vote {
		return quorum.Vote{Leader: leader, Zxid: zxid, PeerEpoch: epoch}
	}
	f(v(1, 5, 2), v(2, 9, 1), true)  // the epoch first
	f(v(2, 9, 1), v(1, 5, 2), false) //
	f(v(1, 6, 1), v(2, 5, 1), true)  // then the zxid
	f(v(2, 5, 1), v(1, 6, 1), false) //
	f(v(2, 5, 1), v(1, 5, 1), true)  // then the id
	f(v(1, 5, 1), v(2, 5, 1), false) //
	f(v(1, 5, 1), v(1, 5, 1), false) //
	f(v(3, 9, 9), v(1, 5, 1), false) // no weight
	f(v(1, 5, 1), v(3, 4, 1), true)  // but it can be what is left
	f(v(4, 9, 9), v(1, 5, 1), false) // unknown
	f(v(1, 0, 0), v(quorum.NoServer, quorum.NoServer, quorum.NoServer), true)
	f(v(1, -1<<62, 0), v(2, 1, 0), false) // signed

	e.committed = voters(t, 3, 0, "")
	f(v(4, 9, 9), v(1, 5, 1), true) // the majority rule knows no weights
}

func TestSameVote(t *testing.T) {
	f := func(a, b quorum.Vote, want bool) {
		t.Helper()
		if sameVote(a, b) != want || sameVote(b, a) != want {
			t.Errorf("%s v%d and %s v%d: same is %v", voteText(a), a.Version, voteText(b), b.Version, !want)
		}
	}
	lo := looking(1, 2, 3, 4).Vote
	fo := following(1, 2, 3, 4).Vote
	le := leading(1, 2, 3, 4).Vote
	with := func(v quorum.Vote, change func(*quorum.Vote)) quorum.Vote {
		change(&v)
		return v
	}
	leader := func(v *quorum.Vote) { v.Leader++ }
	zxid := func(v *quorum.Vote) { v.Zxid++ }
	round := func(v *quorum.Vote) { v.ElectionEpoch++ }
	epoch := func(v *quorum.Vote) { v.PeerEpoch++ }
	old := func(v *quorum.Vote) { v.Version = 0 }
	for _, other := range []quorum.Vote{lo, fo, le} {
		f(lo, other, true)
		f(lo, with(other, leader), false)
		f(lo, with(other, zxid), false)
		f(lo, with(other, round), false)
		f(lo, with(other, epoch), false)
		f(lo, with(other, old), true)
	}
	f(fo, le, true)
	f(fo, with(le, zxid), true)
	f(fo, with(le, round), true)
	f(fo, with(le, epoch), false)
	f(fo, with(le, leader), false)
	f(with(fo, old), with(le, old), true)
	f(with(fo, old), with(with(le, old), epoch), false)
	f(with(fo, old), with(le, epoch), true)
	f(with(fo, old), with(le, leader), false)
}
