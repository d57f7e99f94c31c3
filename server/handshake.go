package server

import (
	"crypto/subtle"
	"fmt"
	"log/slog"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// connect handles the first frame of a connection, in the order of checks of client protocol,
// section 2.3. The caller holds the gate. It returns false when the connection is to be closed
// without a word.
func (c *clientConn) connect(frame []byte, b *batch, nowNs int64) bool {
	s := c.loop.srv
	d := jute.NewDecoder(frame, 0)
	var req proto.ConnectRequest
	req.Decode(&d)
	if d.Err() != nil {
		s.log.Warn("Closing connection: connect request does not decode", "client", c.np.RemoteAddr(), "err", d.Err())
		return false
	}
	if !s.serving.Load() || s.stopping.Load() {
		s.figures.Counter("cnxn_closed_without_zk_server_running").Add(1)
		s.log.Warn("Close of session 0x0: ZooKeeperServer not running", "client", c.np.RemoteAddr())
		return false
	}
	if !s.admitConnect(req.SessionID) {
		return false
	}
	s.figures.Counter("connection_request_count").Add(1)
	if s.readOnly.Load() && !req.ReadOnly {
		s.log.Info(fmt.Sprintf("Refusing session request for not-read-only client /%s", c.np.RemoteAddr()))
		return false
	}
	if lpz := s.engine.LastZxid(); req.LastZxidSeen > lpz {
		s.log.Info(fmt.Sprintf("Refusing session(%s) request for client /%s as it has seen zxid 0x%x our last zxid is 0x%x client must try another server",
			hexID(req.SessionID), c.np.RemoteAddr(), req.LastZxidSeen, lpz))
		return false
	}
	c.handshake.hasReadOnly, c.handshake.readOnly = req.HasReadOnly, req.ReadOnly
	c.handshake.timeoutMs = min(max(req.TimeoutMs, s.opts.MinSessionTimeoutMs), s.opts.MaxSessionTimeoutMs)
	c.state = connAttaching
	if req.SessionID == 0 {
		b.addAttach(c, 0, c.handshake.timeoutMs, nowNs)
		return true
	}
	// The password is checked before the session's other connection is looked at: a stranger
	// must not be able to disconnect its owner (client protocol, section 14).
	want := proto.SessionPassword(req.SessionID)
	if subtle.ConstantTimeCompare(req.Password, want[:]) != 1 {
		s.log.Warn(fmt.Sprintf("Incorrect password from /%s for session %s", c.np.RemoteAddr(), hexID(req.SessionID)))
		c.expiredResponse()
		return true
	}
	b.addAttach(c, req.SessionID, c.handshake.timeoutMs, nowNs)
	return true
}

// authenticate handles an auth packet: it takes effect for everything read after it, and is
// answered in its place (client protocol, sections 8.5 and 10.2). It returns false when the
// connection is to be closed without a word.
func (c *clientConn) authenticate(xid int32, body []byte, nowNs int64) bool {
	s := c.loop.srv
	d := c.decodeBody(body)
	var p proto.AuthPacket
	p.Decode(&d)
	if d.Err() != nil {
		return false
	}
	code := proto.ErrAuthFailed
	var ids []proto.Identity
	if p.Scheme != nil {
		ids, code = s.auth.Authenticate(string(p.Scheme), p.Auth, peerOf(c.np))
	}
	if code == auth.CloseSilently {
		return false
	}
	if code != proto.OK {
		s.authFailed.Add(1)
		s.log.Warn(fmt.Sprintf("Authentication failed for scheme: %s", p.Scheme), "client", c.np.RemoteAddr())
		c.refuse(xid, proto.OpAuth, 0, proto.ErrAuthFailed, nowNs)
		return true
	}
	c.identities = auth.Merge(c.identities, ids)
	if s.log.Enabled(s.ctx, slog.LevelDebug) {
		s.log.Debug(fmt.Sprintf("Session %s: auth success for scheme %s and address /%s", hexID(c.session), p.Scheme, c.np.RemoteAddr().Addr()))
	}
	c.reply(xid, proto.OpAuth, 0, proto.OK, nowNs)
	return true
}

// refuse replies with an error in its place and then closes the connection.
func (c *clientConn) refuse(xid int32, op proto.OpCode, zxid proto.Zxid, code proto.ErrCode, nowNs int64) {
	c.reply(xid, op, zxid, code, nowNs)
	c.closeAfterFlush = true
	c.goodbye()
}
