package server

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
)

// doOutputs does what the machine wants, in its order, and then writes once to each link. Doing an output
// may step the machine again; what that adds is done as well.
func (e *ensemble) doOutputs() {
	warmed := 0 // up to this output
	for i := 0; i < len(e.out.List); i++ {
		if i >= warmed && e.leader != nil && e.out.List[i].Kind == zab.OutRequest {
			warmed = i + e.warmForwarded(i)
		}
		// A copy: a step may move the list.
		o := e.out.List[i]
		switch o.Kind {
		case zab.OutAppend, zab.OutCommit, zab.OutSend:
		default:
			e.flushAppends()
		}
		if !e.do(&o) {
			break
		}
	}
	e.flushAppends()
	e.inform()
	e.out.Reset()
	e.scratch = e.scratch[:0]
	if e.trimTo != 0 {
		e.window.Trim(e.trimTo)
		e.trimTo = 0
	}
	for _, l := range e.links {
		l.flush()
	}
}

// do does one output. It returns false when the machine has given up and the rest is void.
func (e *ensemble) do(o *zab.Output) bool {
	s := e.r.srv
	switch o.Kind {
	case zab.OutPersistAcceptedEpoch:
		return e.stored(e.epochs.setAccepted(o.Epoch))
	case zab.OutPersistCurrentEpoch:
		s.log.Info(fmt.Sprintf("Set the current epoch to %d", o.Epoch))
		return e.stored(e.epochs.setCurrent(o.Epoch))
	case zab.OutSendProposals, zab.OutSendHistory:
		if l := e.links[o.Link]; l != nil {
			e.sendProposals(l, o)
		}
	case zab.OutSend, zab.OutAnswerPing:
		if l := e.links[o.Link]; l != nil {
			if o.Kind == zab.OutAnswerPing {
				e.collectTouches()
			}
			l.out = o.AppendPackets(l.out, e.window, e.touches)
			if o.Kind == zab.OutSend && (o.Type == quorum.PacketDiff || o.Type == quorum.PacketTrunc) {
				e.figures.diffs.Add(1)
			}
		}
	case zab.OutStreamDiff:
		e.streamDiff(*o)
	case zab.OutStreamSnap:
		e.figures.snaps.Add(1)
		e.streamSnap(o)
	case zab.OutClose:
		if l := e.links[o.Link]; l != nil {
			delete(e.links, o.Link)
			l.flush()
			l.link.Close(o.Reason)
			s.log.Warn("Closing connection to peer", "err", o.Reason)
			if errors.Is(o.Reason, zab.ErrReplaced) {
				s.log.Warn("If a server connects again and again, look whether two servers have the same myid")
			}
		}
	case zab.OutAppend:
		if o.Unlogged {
			e.keepUnlogged(o.Zxid, o.Data)
		} else {
			e.append(o.Zxid, o.Data)
		}
	case zab.OutTruncateLog:
		e.truncate(o.Zxid)
	case zab.OutReceiveTree:
		e.receiveTree(o)
	case zab.OutTakeSnapshot:
		e.takeSnapshot(o.Zxid)
	case zab.OutCommit:
		if e.received != nil {
			e.applyReceived(o.Zxid)
		} else {
			e.commit(o.Zxid)
		}
	case zab.OutServe:
		e.serve(o.Epoch)
	case zab.OutGiveUp:
		e.giveUp(o.Reason, o.NeedSnap, o.Server)
		return false
	case zab.OutSyncDone:
		e.syncDone(o.Token)
	case zab.OutForwardSync:
		e.forObserver(o)
	case zab.OutTouch:
		if e.learner != nil {
			e.forObserver(o)
			break
		}
		e.touch(quorum.Touches(o.Data))
	case zab.OutRequest:
		if e.learner != nil {
			e.forObserver(o)
			break
		}
		e.remoteRequest(o)
	case zab.OutRevalidate:
		if e.learner != nil {
			e.forObserver(o)
			break
		}
		e.revalidate(o)
	case zab.OutRevalidated:
		e.revalidated(o.Session, o.OK)
	case zab.OutWarn:
		s.log.Warn("Odd packet from a peer", "err", o.Reason)
		if errors.Is(o.Reason, zab.ErrNewerEpoch) && e.leader != nil {
			e.meetNewerEpoch(o)
		}
	case zab.OutSaveConfig:
		e.saveConfig(o.Config)
	case zab.OutActivateConfig:
		e.activateConfig(o.Config, o.Server)
		e.informActivated(o)
	default:
		panic(fmt.Sprintf("server: output %d of the machine", o.Kind))
	}
	return true
}

// stored tells whether an epoch has been stored. If not, nothing that follows may be done, since Zab's safety
// stands on it: the role ends, and the process too unless it is a matter of space.
func (e *ensemble) stored(err error) bool {
	switch {
	case err == nil:
		return true
	case isNoSpace(err):
		e.giveUp(err, false, quorum.NoServer)
	default:
		e.r.srv.fatal(fmt.Errorf("server: epoch file: %w", err))
	}
	return false
}

// append puts a proposal of the leader's behind those of this turn, which flushAppends gives to the log
// together, and keeps it until its commit.
func (e *ensemble) append(zxid quorum.Zxid, packet []byte) {
	if e.slab == nil {
		e.slab = getSlab()
	}
	s := e.slab
	s.batch.AddRecord(zxid, packet)
	off := s.batch.Records[len(s.batch.Records)-1].Off + wal.HeaderSize
	s.refs.Add(1)
	e.r.pending.push(proposal{zxid: zxid, slab: s, off: off, len: len(packet), remote: true})
	e.r.lastZxid = zxid
	e.r.ckpt.trigger.Logged(1, int64(len(packet)))
	if len(s.batch.Buf) >= maxAppendBytes {
		e.flushAppends()
	}
}

// flushAppends gives what append gathered to the log, and to the window for learners of later.
func (e *ensemble) flushAppends() {
	s := e.slab
	if s == nil {
		return
	}
	e.slab = nil
	s.refs.Add(int32(len(s.batch.Records)))
	e.figures.received.Add(int64(len(s.batch.Records)))
	for i := range s.batch.Records {
		e.window.Append(s.batch.Records[i].Zxid, s.batch.Payload(i), s)
	}
	if err := e.r.wal.Append(&s.batch); err != nil {
		e.r.srv.fatal(err)
	}
}

// commit applies everything up to zxid.
func (e *ensemble) commit(zxid quorum.Zxid) {
	if e.serving {
		e.figures.noteCommits(e.leader != nil, e.committed, zxid)
	}
	e.committed = max(e.committed, zxid)
	e.r.applyCommitted()
	if e.diverged {
		e.heal(zxid)
	}
	if e.learner != nil {
		// What is told to observers is sent first.
		e.trimTo, e.master.informTo = zxid, zxid
	}
}

// serve opens the server for clients.
func (e *ensemble) serve(epoch quorum.Epoch) {
	r, s := e.r, e.r.srv
	start := quorum.EpochStart(epoch)
	s.lockGates()
	if r.engine.LastZxid() < start {
		r.engine.SetLastZxid(start)
	}
	s.unlockGates()
	e.serving = true
	e.foreignTo = quorum.NoServer
	e.dropPartial()
	e.noteServing()
	e.election.SetPeerEpoch(epoch)
	e.answeredMs = s.nowMs()
	nowMs := s.nowMs()
	if e.leader != nil {
		r.lastZxid = start
		e.committed = max(e.committed, start)
		r.prep.Reset(start)
		r.engine.EachSession(func(id proto.SessionID, timeoutMs int32) {
			r.sessions.add(id, timeoutMs, nil, nowMs).durable = true
		})
		s.log.Info(fmt.Sprintf("Have quorum of supporters; starting up and setting last processed zxid: 0x%x", start))
		s.setMode("leader")
	} else if e.config.RoleOf(e.opts.Self) == quorum.Observer {
		s.setMode("observer")
	} else {
		s.setMode("follower")
		e.startMaster(r.engine.LastZxid())
	}
	s.log.Info(fmt.Sprintf("Peer state changed: %s - broadcast", e.state))
	s.serving.Store(e.leader == nil || e.opts.LeaderServes)
}

// giveUp ends this server's role: clients and peers are let go, what is in the log comes into the tree, so
// that log and tree are one history, and the search for a leader begins, unless a reconfig has said who leads now:
// next, if it is not NoServer.
func (e *ensemble) giveUp(reason error, needSnap bool, next quorum.ServerID) {
	r, s := e.r, e.r.srv
	e.prepared = nil
	if errors.Is(reason, zab.ErrResigned) || next != quorum.NoServer {
		s.log.Info("shutdown", "err", reason)
	} else {
		s.log.Warn("PeerState set to LOOKING", "err", reason)
	}
	needSnap = needSnap || errors.Is(reason, zab.ErrDiverged)
	s.serving.Store(false)
	if e.learner != nil && s.nowMs()-e.roleMs < shortRole.Milliseconds() {
		e.shortRoles++
	} else {
		e.shortRoles = 0
	}
	e.serving = false
	e.diverged = false
	e.meetForeign(reason)
	// A history that must not be offered is no better for the want of space.
	e.needSnap = needSnap || e.offersNone && isNoSpace(reason)
	e.life++
	for _, l := range e.links {
		l.flush() // what the machine has said before it gave up: a leader that hands over tells to whom
	}
	e.closeLinks()
	e.leader, e.learner = nil, nil
	r.app.flush() // what was prepared in this turn is history, too
	e.dropReceived()
	e.dropClients()
	r.sessions.clear()
	e.out.Reset()
	s.setMode("")
	e.settle(reason, next)
}

// dropClients closes all client connections and forgets what they wait for.
func (e *ensemble) dropClients() {
	r, s := e.r, e.r.srv
	done := int64(0)
	for i := r.pending.head; i < len(r.pending.items); i++ {
		if p := &r.pending.items[i]; p.conn != nil {
			p.conn = nil
			done++
		}
	}
	done += e.forwarded.clients() + int64(len(e.syncs)+e.held)
	e.forwarded.reset()
	e.held = 0
	clear(e.resumable)
	e.resumable = e.resumable[:0]
	for id, waiting := range e.moves {
		for i := range waiting {
			if waiting[i].conn != nil {
				done++
			}
		}
		delete(e.moves, id)
	}
	clear(e.syncs)
	s.outstanding.Add(-done)
	s.lockGates()
	s.eachConn(func(c *clientConn) {
		if c.state == connNew {
			return
		}
		c.state = connClosing
		if len(c.out) == 0 {
			c.np.Close()
			return
		}
		// What was answered goes out first: a client that has had this server's role changed by a reconfig shall know
		// that it worked.
		c.queue = requestQueue{}
		c.closeAfterFlush = true
		c.markDirty()
	})
	s.unlockGates()
}
