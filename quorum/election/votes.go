package election

import (
	"slices"

	"zabra.dev/zabra/quorum"
)

// ahead compares two votes by what they know: peer epoch, then zxid, then the leader's id
// (quorum protocol, section 3.4).
func ahead(a, b quorum.Vote) bool {
	if a.PeerEpoch != b.PeerEpoch {
		return a.PeerEpoch > b.PeerEpoch
	}
	if a.Zxid != b.Zxid {
		return a.Zxid > b.Zxid
	}
	return a.Leader > b.Leader
}

// better reports whether a is to be preferred to b: its leader has a weight, and it is ahead.
func (e *Election) better(a, b quorum.Vote) bool {
	return e.committed.WeightOf(a.Leader) != 0 && ahead(a, b)
}

// sameVote is the equality of votes that supports counts by (section 3.4). It is not transitive.
func sameVote(a, b quorum.Vote) bool {
	if a.State == quorum.Looking || b.State == quorum.Looking {
		return a.Leader == b.Leader && a.Zxid == b.Zxid && a.ElectionEpoch == b.ElectionEpoch && a.PeerEpoch == b.PeerEpoch
	}
	if (a.Version > 0) != (b.Version > 0) {
		return a.Leader == b.Leader
	}
	return a.Leader == b.Leader && a.PeerEpoch == b.PeerEpoch
}

// ballots maps servers to their last vote. Ensembles are small: a slice is faster than a map, and
// its order is that of arrival.
type ballots []ballot

type ballot struct {
	from quorum.ServerID
	vote quorum.Vote
}

func (b *ballots) put(from quorum.ServerID, v quorum.Vote) {
	for i := range *b {
		if (*b)[i].from == from {
			(*b)[i].vote = v
			return
		}
	}
	*b = append(*b, ballot{from, v})
}

func (b ballots) get(from quorum.ServerID) (quorum.Vote, bool) {
	for i := range b {
		if b[i].from == from {
			return b[i].vote, true
		}
	}
	return quorum.Vote{}, false
}

// supports reports whether the servers whose vote equals v contain a quorum of the committed
// config and of a newer last-seen one.
func (e *Election) supports(votes ballots, v quorum.Vote) bool {
	set := votes.equal(v)
	return e.contains(e.committed, set) && (e.lastSeen == nil || e.contains(e.lastSeen, set))
}

// follow reports whether the servers whose vote equals v contain a quorum of the committed config, which is enough
// to join an ensemble that serves. Java asks for one of the last-seen config as well, and who has seen
// a reconfig that came to nothing may never find that: its voters may be observers of those who serve.
// This server need not care what became of the reconfig: had it been committed, a leader that serves would have it.
func (e *Election) follow(votes ballots, v quorum.Vote) bool {
	return e.contains(e.committed, votes.equal(v))
}

// contains reports whether set holds a quorum of c, be it by the oracle.
func (e *Election) contains(c *quorum.Config, set func(quorum.ServerID) bool) bool {
	return c.ContainsQuorum(set) || e.breaksTie(c, set)
}

// equal gives the set of servers whose vote equals v.
func (b ballots) equal(v quorum.Vote) func(quorum.ServerID) bool {
	return func(id quorum.ServerID) bool {
		have, ok := b.get(id)
		return ok && sameVote(have, v)
	}
}

// leads reports whether leader itself confirms that it leads: by its vote, or, being this server,
// by the round (section 3.4, checkLeader).
func (e *Election) leads(votes ballots, leader quorum.ServerID, round int64) bool {
	if leader == e.self {
		return round == e.round
	}
	v, ok := votes.get(leader)
	return ok && v.State == quorum.Leading
}

func appendOnce(list []quorum.ServerID, id quorum.ServerID) []quorum.ServerID {
	if slices.Contains(list, id) {
		return list
	}
	return append(list, id)
}

func without(list []quorum.ServerID, id quorum.ServerID) []quorum.ServerID {
	return slices.DeleteFunc(list, func(x quorum.ServerID) bool { return x == id })
}
