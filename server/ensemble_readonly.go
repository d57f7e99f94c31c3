package server

import (
	"fmt"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// Read-only mode (readonlymode.enabled): a server that has looked for a leader for a while serves what it has to
// clients that have said that they are content with that. It has sessions of its own for them and takes no writes,
// and it closes their connections when a leader is found, so that they look for a server that does. Unlike in Java
// that does not depend on localSessionsEnabled, without which a Java server cannot be read from in this mode.
// Source: client protocol, section 11.5; quorum protocol, section 3.6.

// readOnlyGraceMin is the least time of looking for a leader before a server serves read-only.
const readOnlyGraceMin = 2 * time.Second

// modeReadOnly is what srvr calls it.
const modeReadOnly = "read-only"

// readOnlyAt is when read-only mode begins if no leader is found, or never. Data that a leader has found to be of
// another ensemble is shown to nobody.
func (e *ensemble) readOnlyAt() time.Duration {
	if !e.opts.ReadOnlyMode || e.state != quorum.Looking || e.readOnly || e.foreignTo != quorum.NoServer {
		return never
	}
	return time.Duration(e.lookedMs)*time.Millisecond + max(readOnlyGraceMin, e.opts.Timing.Tick)
}

func (e *ensemble) startReadOnly() {
	s := e.r.srv
	select {
	case <-s.fatalCh:
		return // the process is about to end
	default:
	}
	e.readOnly = true
	s.setMode(modeReadOnly)
	s.readOnly.Store(true)
	s.serving.Store(true)
	s.log.Info("Read-only server started")
}

// stopReadOnly closes all connections and forgets their sessions.
func (e *ensemble) stopReadOnly() {
	if !e.readOnly {
		return
	}
	s := e.r.srv
	e.readOnly = false
	s.serving.Store(false)
	s.readOnly.Store(false)
	s.setMode("")
	e.dropClients()
	e.r.sessions.clear()
	s.log.Info("Read-only server stopped")
}

// readOnly tells whether this server is in read-only mode.
func (r *replica) readOnly() bool { return r.ens != nil && r.ens.readOnly }

// prepareReadOnly handles a request that is not a read.
func (e *ensemble) prepareReadOnly(q *request) {
	r, s := e.r, e.r.srv
	switch {
	case q.kind == requestAttach && !q.conn.handshake.readOnly:
		// It was admitted by what this server was a moment ago.
		e.drop(q)
	case q.kind == requestAttach && q.session == 0:
		r.attachLocal(q)
	case q.kind == requestAttach:
		if _, global := r.engine.Session(q.session); global {
			s.log.Info(fmt.Sprintf("Refusing global session reconnection in RO mode /%s", q.conn.np.RemoteAddr()))
			e.drop(q)
			return
		}
		r.reattach(q)
	case q.op == proto.OpCloseSession && r.isLocal(q.session):
		e.submit(&r.app, q, nil)
	default:
		r.refuse(q, proto.ErrNotReadOnly)
	}
}
