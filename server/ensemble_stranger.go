package server

import (
	"errors"
	"fmt"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
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

// A history of an epoch that is not newer does not give itself away before the synchronisation: zab.ErrForeign.

// foreignPause is how long a server waits at least before it asks a leader again that had found its data to be of another
// ensemble. It may be the leader's directory that is wrong: as soon as there is another leader, it is asked.
const foreignPause = 10 * time.Second

// meetForeign tells what to do if this server's role ended because its data is not of the leader's ensemble. It stays
// out, and changes nothing of its data: which of the two has the wrong directory, only the operator knows.
func (e *ensemble) meetForeign(reason error) {
	s := e.r.srv
	if errors.Is(reason, zab.ErrDiverged) {
		s.log.Error("This server's tree is not the leader's, though they have the same history. It asks the leader for a snapshot", "dataDir", s.opts.DataDir, "err", reason)
	}
	if !errors.Is(reason, zab.ErrForeign) || e.learner == nil {
		return
	}
	e.foreignTo = e.learner.Leader()
	s.log.Error(fmt.Sprintf("The data in %s and the log in %s are not of the ensemble that server %d leads: %v. Here the tree ends at zxid 0x%x with digest %d. "+
		"This server does not serve, and nothing of its data is changed. If the wrong directory was put here, stop this server, move the data away, but for myid, "+
		"and start it: it takes a snapshot from the leader. If it is the leader that has the wrong directory, do so there",
		s.opts.DataDir, s.opts.LogDir, e.foreignTo, reason, uint64(e.r.engine.LastZxid()), int64(e.r.engine.Digest())))
}

// proposalOf gives the proposal with zxid z of this server's history.
func (e *ensemble) proposalOf(z quorum.Zxid) ([]byte, bool) {
	if i := e.window.After(z); i > 0 && e.window.At(i-1).Zxid == z {
		return e.window.At(i - 1).Packet, true
	}
	return e.history.logged(z)
}

// heal deals with a transaction of a leader with exact digests that led to another tree than the leader's: this server
// must not go on showing it. It takes a snapshot of the leader's, once in an epoch: where that does not help, the fault
// is in the digest, and the transactions that differ are only counted.
func (e *ensemble) heal(zxid quorum.Zxid) {
	e.diverged = false
	if e.learner == nil || !e.serving || !e.learner.LeaderMarks() || quorum.EpochOf(zxid) != e.learner.Epoch() || e.healedAt == e.learner.Epoch() {
		return
	}
	e.healedAt = e.learner.Epoch()
	e.step(zab.Input{Kind: zab.InResign, Err: fmt.Errorf("%w: at or before 0x%x it has digest %d", zab.ErrDiverged, uint64(zxid), int64(e.r.engine.Digest()))})
}

// treeFacts are pairs of a zxid and the time of its transaction, which the znodes of a tree tell. In one ensemble a zxid
// has one time. The built-in nodes are left out: each server writes the times of its own config node.
type treeFacts struct{ times map[proto.Zxid]int64 }

// treeFactsMax bounds the znodes that are looked at, and with them time and memory.
const treeFactsMax = 1 << 16

// factsOf collects those of tree; nil if it has none.
func factsOf(tree *engine.Engine) *treeFacts {
	f := &treeFacts{times: map[proto.Zxid]int64{}}
	n := 0
	tree.EachTime(func(zxid proto.Zxid, timeMs int64) bool {
		f.times[zxid] = timeMs
		n++
		return n < 2*treeFactsMax
	})
	if len(f.times) == 0 {
		return nil
	}
	return f
}

// errUnrelated tells that two trees have nothing in common.
var errUnrelated = errors.New("server: nothing in the leader's tree is in the one that is here")

// compare looks for what f, nil being the facts of an empty tree, and another tree tell both: an ErrForeign if they
// contradict each other, errUnrelated if there is nothing.
func (f *treeFacts) compare(tree *engine.Engine) (err error) {
	if f == nil {
		return nil
	}
	err = errUnrelated
	tree.EachTime(func(zxid proto.Zxid, timeMs int64) bool {
		own, ok := f.times[zxid]
		switch {
		case !ok:
		case own == timeMs:
			err = nil
		default:
			err = fmt.Errorf("%w: znodes here tell that zxid 0x%x was at %d, there at %d (ms since 1970)", zab.ErrForeign, uint64(zxid), own, timeMs)
			return false
		}
		return true
	})
	return err
}

// putAside keeps the tree of a history that shares nothing with that of the leader's snapshot, which is about to take
// its place: as likely as not it is of another ensemble.
func (e *ensemble) putAside() error {
	s := e.r.srv
	dir, err := e.r.ckpt.putAside(s, s.engine)
	if err != nil {
		return err
	}
	s.log.Warn(fmt.Sprintf("Nothing of the tree that was here, which ended at 0x%x, is in the leader's. In case it is of another ensemble, it is kept as an image in %s; delete it if it is of no use",
		uint64(s.engine.LastZxid()), dir))
	return nil
}
