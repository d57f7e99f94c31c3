package server

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// observerMaster is what a follower has that serves observers in the leader's place (quorum protocol, section 4.12;
// observerMasterPort). What observers ask goes to the leader like what the follower's own clients ask.
type observerMaster struct {
	machine *zab.Leader // nil: none are served
	port    io.Closer
	out     zab.Outputs // of one step, done at once
	// informTo is what has been committed; the machine is told by inform.
	informTo quorum.Zxid
	syncs    map[uint64]zab.LinkID // by token
	// touched are the sessions of observers that were active since the last PING was answered, with their timeouts
	// in ms.
	touched map[proto.SessionID]int32
}

// startMaster opens the port for observers at a follower that serves. Without it the follower goes on: observers have
// other masters.
func (e *ensemble) startMaster(last quorum.Zxid) {
	if e.opts.ObserverMasterPort <= 0 || e.state != quorum.Following {
		return
	}
	s, life := e.r.srv, e.life
	self := e.config.Member(e.opts.Self)
	if self == nil {
		return // joined without being a member yet
	}
	port, err := e.opts.Network.ListenQuorum(masterOf(*self, e.opts.ObserverMasterPort), func(link peerConn) {
		e.r.post(func(*replica) { e.linkOpened(life, link, true) })
	})
	if err != nil {
		s.log.Error(fmt.Sprintf("Couldn't bind to the port for observers, %d, so none are served; free it, or correct observerMasterPort", e.opts.ObserverMasterPort), "err", err)
		return
	}
	s.log.Info(fmt.Sprintf("Starting ObserverMaster on port %d", e.opts.ObserverMasterPort))
	e.master = observerMaster{
		port: port, syncs: map[uint64]zab.LinkID{}, touched: map[proto.SessionID]int32{},
		machine: zab.NewObserverMaster(zab.LeaderOptions{
			Self: e.opts.Self, Config: e.config, CurrentEpoch: e.epochs.current, LastZxid: last, DurableZxid: e.durable,
			Timing: e.opts.Timing, ForceSnap: e.opts.ForceSnap, SnapSyncsMax: e.opts.SnapSyncsMax, DiffSyncsMax: e.opts.DiffSyncsMax,
			Features: quorum.FeatureMark,
		}, e.window, &e.history),
	}
	e.master.machine.Start(e.now(), &e.master.out)
}

// masterOf is the member with its port for observers in place of its quorum port.
func masterOf(m quorum.Member, port int) quorum.Member {
	addrs := make([]quorum.Addr, 0, len(m.QuorumAddrs))
	for _, a := range m.QuorumAddrs {
		addrs = append(addrs, quorum.Addr{Host: a.Host, Port: port})
	}
	m.QuorumAddrs = addrs
	return m
}

// chooseMaster gives whom an observer connects to: one voter after the other, beginning anywhere, at its port for
// observers, but for the leader, who has none; ok is false without observerMasterPort, and then it is the leader.
func (e *ensemble) chooseMaster(leader quorum.ServerID) (m quorum.Member, ok bool) {
	if e.opts.ObserverMasterPort <= 0 || e.config.RoleOf(e.opts.Self) != quorum.Observer {
		return m, false
	}
	var voters []quorum.Member
	for _, m := range e.config.Members {
		if m.Role == quorum.Participant && m.ID != leader {
			voters = append(voters, m)
		}
	}
	if len(voters) == 0 {
		return m, false
	}
	if e.masterTurn == 0 {
		e.masterTurn = 1 + rand.IntN(len(voters))
	}
	m = masterOf(voters[e.masterTurn%len(voters)], e.opts.ObserverMasterPort)
	e.masterTurn++
	if e.mastersTried >= len(voters) {
		e.mastersTried, e.mastersExhausted = 0, true
	}
	e.mastersTried++
	e.r.srv.log.Info(fmt.Sprintf("Observing new leader sid=%d addr=%s", m.ID, m.QuorumAddrs[0]))
	return m, true
}

// reconnectDelay is how long an observer waits before it connects, so that not all of a fleet come at once
// (observer.reconnectDelayMs). Those that go to observer masters wait before each round through them but the first.
func (e *ensemble) reconnectDelay(byMaster bool) time.Duration {
	if e.opts.ReconnectDelayMax <= 0 || e.config.RoleOf(e.opts.Self) != quorum.Observer || byMaster && !e.mastersExhausted {
		return 0
	}
	e.mastersExhausted = false
	d := time.Duration(rand.Int64N(int64(e.opts.ReconnectDelayMax)))
	e.r.srv.log.Info(fmt.Sprintf("Waiting for %d ms before reconnecting with the leader", d.Milliseconds()))
	return d
}

// stepMaster steps the observer master, if there is one, and does what it wants.
func (e *ensemble) stepMaster(in zab.Input) {
	m := &e.master
	if m.machine == nil {
		return
	}
	m.machine.Step(e.now(), in, &m.out)
	e.flushAppends() // before the window is read
	for i := range m.out.List {
		e.do(&m.out.List[i])
	}
	m.out.Reset()
}

// inform tells observers of what has been committed since the last time.
func (e *ensemble) inform() {
	if z := e.master.informTo; z != 0 {
		e.master.informTo = 0
		e.stepMaster(zab.Input{Kind: zab.InCommitted, Zxid: z})
	}
}

// informActivated tells observers of a config that is in force now. Its transaction is the newest that is committed: it
// is told with it.
func (e *ensemble) informActivated(o *zab.Output) {
	if e.master.machine == nil {
		return
	}
	e.master.informTo = 0
	e.stepMaster(zab.Input{Kind: zab.InCommitted, Zxid: o.Zxid, Config: o.Config, Server: o.Server})
	for _, l := range e.links {
		if l.observer {
			l.flush() // this server may be about to leave its role
		}
	}
}

// stopMaster closes the port for observers; closeLinks sees to their connections.
func (e *ensemble) stopMaster() {
	if e.master.machine != nil {
		// What the port itself has to say is of no use any more.
		_ = e.master.port.Close()
	}
	e.master = observerMaster{}
}

// forObserver does what the observer master's machine wants of the leader.
func (e *ensemble) forObserver(o *zab.Output) {
	switch o.Kind {
	case zab.OutRequest:
		e.step(zab.Input{Kind: zab.InRequest, Packet: quorum.Packet{Data: o.Data, Auth: o.Auth}})
	case zab.OutForwardSync:
		e.nextToken++
		e.master.syncs[e.nextToken] = o.Link
		e.step(zab.Input{Kind: zab.InSyncRequest, Token: e.nextToken, Packet: quorum.Packet{Data: o.Data, Auth: o.Auth}})
	case zab.OutRevalidate:
		if x := e.r.sessions.sessions[o.Session]; x != nil && x.conn != nil && !x.local {
			x.conn.np.Close() // the client has moved on
		}
		e.moves[o.Session] = append(e.moves[o.Session], move{request: request{timeoutMs: o.TimeoutMs}, observer: o.Link})
		e.step(zab.Input{Kind: zab.InRevalidate, Session: o.Session, TimeoutMs: o.TimeoutMs})
	case zab.OutTouch:
		touches := quorum.Touches(o.Data)
		for i := range touches.Len() {
			t := touches.At(i)
			e.master.touched[t.SessionID] = t.TimeoutMs
		}
	}
}

// appendObserverTouches appends the sessions of observers to the answer to a PING.
func (e *ensemble) appendObserverTouches() {
	for id, timeoutMs := range e.master.touched {
		e.touches = quorum.AppendTouch(e.touches, quorum.Touch{SessionID: id, TimeoutMs: timeoutMs})
	}
	clear(e.master.touched)
}

// learnerFeatures are what this server says to its leader that it can do.
func (e *ensemble) learnerFeatures() quorum.Features {
	if e.opts.ObserverMasterPort > 0 {
		return quorum.AllFeatures &^ quorum.FeatureLooseSync
	}
	return quorum.AllFeatures
}
