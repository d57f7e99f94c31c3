package server

import (
	"fmt"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// A voter that has accepted an epoch above the leader's cannot follow it. If its history is of an earlier epoch, an attempt
// of somebody else to lead has come to nothing, and the next epoch will be above that one: this leader makes room
// for it. If its history is of a later epoch, it is not of this ensemble: as long as a quorum follows, nobody can have
// led it in a later one. Such a server must not be let in by an election, which it would win: it would put its
// history in place of everybody's.

// noteEpoch remembers the epoch of a voter's history, which it tells when it begins to look by voting for itself.
func (e *ensemble) noteEpoch(from quorum.ServerID, n *quorum.Notification) {
	if n.State == quorum.Looking && n.Leader == from && e.config.IsVoter(from) {
		e.epochsOf[from] = n.PeerEpoch
	}
}

// meetNewerEpoch decides what to do about a learner that has accepted a newer epoch.
func (e *ensemble) meetNewerEpoch(o *zab.Output) {
	history, known := e.epochsOf[o.Server]
	if known && history <= int64(e.leader.Epoch()) {
		e.step(zab.Input{Kind: zab.InResign, Err: o.Reason})
		return
	}
	if known {
		e.r.srv.log.Error(fmt.Sprintf("Server %d has data of epoch %d, which this ensemble, in epoch %d, has not come to: its data is that of another ensemble. It is not let in; "+
			"move its data directory away, but for myid, to have it start with the data of this one", o.Server, history, e.leader.Epoch()))
	}
}
