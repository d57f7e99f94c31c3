package zab

import (
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// OutputKind says what the driver has to do.
type OutputKind uint8

// The outputs. Fields of Output that are not named are zero.
const (
	// OutPersistAcceptedEpoch and OutPersistCurrentEpoch: store Epoch, durably, before going on.
	OutPersistAcceptedEpoch OutputKind = iota + 1
	OutPersistCurrentEpoch
	// OutSend: send a packet of Type with Zxid, Data and Auth to Link. If From is not 0, send
	// one for each zxid From..Zxid, all of one epoch (ACK and COMMIT, whose data is null).
	OutSend
	// OutSendProposals: send the PROPOSALs of the Window from From to Zxid, both included, to
	// Link; as INFORMs if Type says so. Leader.
	OutSendProposals
	// OutSendHistory is OutSendProposals with each PROPOSAL followed by its COMMIT, or, if
	// Cumulative, one COMMIT behind the last. Leader.
	OutSendHistory
	// OutStreamDiff: send PROPOSALs and COMMITs as OutSendHistory does, but out of the log on
	// disk: those above From up to and with Zxid. DiffStream writes them. Step InStreamed when
	// the last one is handed over. Leader.
	OutStreamDiff
	// OutStreamSnap: send SNAP with the zxid of an image, the tree, and the signature, of an
	// image from which the log on disk goes on without a gap. If Image, the learner also takes
	// SNAP with quorum.ImageMarker and the image's records. Data, lent until the outputs are done, is the data of SNAP,
	// behind the marker if there is one. Step InStreamed then. Leader.
	OutStreamSnap
	// OutClose: close Link, because of Reason. InLinkClosed need not follow.
	OutClose
	// OutAppend: append Data, a PROPOSAL packet, to the log as the record of Zxid, and keep the
	// transaction for OutCommit. Data is lent until the outputs are done. Learner. An observer
	// that does not log only keeps it and steps InLogDurable at once. If Unlogged, everybody
	// only keeps it: it belongs to the tree that is being received, for which OutTakeSnapshot
	// will come.
	OutAppend
	// OutTruncateLog: cut everything above Zxid off log and tree, then step InTruncated. Learner.
	OutTruncateLog
	// OutReceiveTree: what comes from Link is a tree with Zxid, as an image's records if Image,
	// and the signature behind it; Data, lent until the outputs are done, is the data of SNAP;
	// step InProgress meanwhile and InTreeReceived at its end. What is on disk has to stay: it may
	// hold what was committed, and the tree alone may not. If the machine gives up before
	// OutTakeSnapshot is done, the tree is worthless. If Compare, nothing has told yet that what is on disk is of the
	// leader's ensemble: what the two trees tell about that has to be looked at. Learner.
	OutReceiveTree
	// OutTakeSnapshot: make the tree that was received, with what has been applied to it up to
	// Zxid, the newest image, durably, in place of all images and logs that there are, in one step; the
	// log begins anew behind Zxid. Then step InSnapshotTaken. Learner.
	OutTakeSnapshot
	// OutCommit: apply everything up to Zxid. Before OutServe nothing of it may be shown to a client, nor made part
	// of an image otherwise than by OutTakeSnapshot: it may have to be cut off again.
	OutCommit
	// OutServe: begin to serve in Epoch. The next proposal of this epoch has counter 1, unless
	// the learner came later.
	OutServe
	// OutGiveUp: the machine is done, because of Reason; close all links and look for a leader,
	// or, if Server is not NoServer, go straight to LEADING or FOLLOWING with that server
	// (section 8.5). NeedSnap tells a learner that its own log cannot be brought in line with
	// the leader's: the next one should be made with a LastZxid of -1.
	OutGiveUp
	// OutSaveConfig: Config is proposed: store it as the last seen one and connect to its new
	// members.
	OutSaveConfig
	// OutActivateConfig: Config is committed (section 8.4); Server is the designated leader,
	// NoServer if none was named.
	OutActivateConfig
	// OutSyncDone answers the sync with Token: what has been committed before it has been asked
	// to be applied. Both roles.
	OutSyncDone
	// OutTouch: the learner Server behind Link reports activity of sessions, Data being Touches.
	// Leader.
	OutTouch
	// OutRequest: Server behind Link forwards the write in Data (a quorum.Request) and Auth: to
	// be prepared, with this learner as the session's owner; or a sync, for which InSync is to be stepped
	// behind the requests before it. Both are lent until the outputs are done. Leader.
	OutRequest
	// OutRevalidate: Server behind Link asks for Session, with TimeoutMs; answer with
	// InRevalidated. Leader.
	OutRevalidate
	// OutRevalidated: OK tells whether the oldest InRevalidate of Session was granted. Learner.
	OutRevalidated
	// OutAnswerPing: send PING with Zxid and, as Touches, the sessions active since the last
	// answer. Learner.
	OutAnswerPing
	// OutForwardSync: Server behind Link wants the sync in Data and Auth, as in OutRequest: ask the leader for it
	// and step InSyncAnswered when its answer has come. Observer master.
	OutForwardSync
	// OutWarn: something odd that the protocol survives, in Reason, about Link if not 0. Of an ErrNewerEpoch Server
	// is the learner.
	OutWarn
)

// Output is one thing to do.
type Output struct {
	Kind       OutputKind
	Cumulative bool
	OK         bool
	NeedSnap   bool
	Unlogged   bool
	Image      bool
	Compare    bool
	Type       quorum.PacketType
	TimeoutMs  int32
	Link       LinkID
	From, Zxid quorum.Zxid
	Epoch      quorum.Epoch
	Server     quorum.ServerID
	Token      uint64
	Session    proto.SessionID
	Data       []byte
	Auth       []proto.Identity
	Config     *quorum.Config
	Reason     error
}

// maxKeptBytes keeps the memory of one giant turn from staying.
const maxKeptBytes = 1 << 20

// Outputs collects what the Steps of one turn want done, in the order in which it has to be
// done. The driver does it all and then calls Reset, which keeps the memory.
type Outputs struct {
	List []Output
	buf  []byte // for packet data made here
}

// Reset empties o for the next turn. What was lent through it is gone.
func (o *Outputs) Reset() {
	clear(o.List)
	o.List, o.buf = o.List[:0], o.buf[:0]
	if cap(o.buf) > maxKeptBytes {
		o.buf = nil
	}
}

// add appends an output and lends it to be filled in. It is zero but for kind.
func (o *Outputs) add(kind OutputKind) *Output {
	if n := len(o.List); n < cap(o.List) {
		o.List = o.List[:n+1] // zero: Reset cleared it
		out := &o.List[n]
		out.Kind = kind
		return out
	}
	o.List = append(o.List, Output{Kind: kind})
	return &o.List[len(o.List)-1]
}

func (o *Outputs) send(link LinkID, t quorum.PacketType, z quorum.Zxid, data []byte) {
	out := o.add(OutSend)
	out.Link, out.Type, out.Zxid, out.Data = link, t, z, data
}

// sendRange adds one packet per zxid from..to, or only the last one if cumulative.
func (o *Outputs) sendRange(link LinkID, t quorum.PacketType, from, to quorum.Zxid, cumulative bool) {
	out := o.add(OutSend)
	out.Link, out.Type, out.Zxid = link, t, to
	if !cumulative && from < to {
		out.From = from
	}
}

func (o *Outputs) warn(link LinkID, err error) {
	out := o.add(OutWarn)
	out.Link, out.Reason = link, err
}

// keep copies parts, one behind the other, into memory that lasts until Reset.
func (o *Outputs) keep(parts ...[]byte) []byte {
	start := len(o.buf)
	for _, p := range parts {
		o.buf = append(o.buf, p...)
	}
	return o.buf[start:len(o.buf):len(o.buf)]
}
