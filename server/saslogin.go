package server

import (
	"errors"
	"fmt"
	"slices"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/sasl"
)

// SASLOptions tell who may log in.
type SASLOptions struct {
	Users       *sasl.Users // nil: SASL is not configured
	Scheme      bool        // ACL entries may have the scheme
	SuperUsers  []string    // whoever logs in as one of them is super
	AnyUser     string      // see authprovider.SASL
	AllowFailed bool        // a client that fails to log in stays, unless logging in is demanded
}

// TakeLogins reads the JAAS file that c names, and gives o its users. It fails with an *config.Error if the file is no
// good. It is a step of its own because FromConfig touches no file.
func (o *Options) TakeLogins(c *config.Config) error {
	o.SASL.SuperUsers, o.SASL.AnyUser, o.SASL.AllowFailed = c.Auth.SuperUsers, c.Auth.AnySASLUser, c.Auth.AllowSaslFailed
	sections, err := sasl.ReadFile(c.SASL.JAASFile)
	if err == nil {
		o.SASL.Users, err = sasl.UsersOf(sections, c.SASL.ServerContext, c.Auth.SaslSuperPassword)
	}
	if err != nil {
		return jaasError(c, err)
	}
	return nil
}

func jaasError(c *config.Config, err error) error {
	return &config.Error{ExitCode: config.ExitInvalidInvocation, Message: "SASL configuration failed: " + err.Error(),
		Key: "java.security.auth.login.config", Value: c.SASL.JAASFile,
		Fix: "name a JAAS file with sections of " + sasl.DigestModule + ", or drop the key", Err: err}
}

// sasl handles one step of a login: it takes effect for everything read after it, and is answered in its place
// (client protocol, sections 10.1 and 10.2). It returns false when the connection is to be closed without a word.
func (c *clientConn) sasl(xid int32, body []byte, nowNs int64) bool {
	s := c.loop.srv
	d := c.decodeBody(body)
	token := d.Buffer()
	if d.Err() != nil || token == nil {
		return false
	}
	if s.opts.SASL.Users == nil {
		s.log.Error("cnxn.saslServer is null: cnxn object did not initialize its saslServer properly.")
		c.replyToken(xid, proto.OK, nil, nowNs)
		return true
	}
	if c.login == nil {
		c.login = sasl.NewServer(sasl.ForClients, s.opts.SASL.Users)
	}
	answer, done, err := c.login.Step(token)
	if err != nil {
		s.log.Warn(fmt.Sprintf("Client /%s failed to SASL authenticate: %v", c.np.RemoteAddr(), err))
		if errors.Is(err, sasl.ErrNoName) {
			return false
		}
		c.loginFailed(xid, nowNs)
		return true
	}
	if done {
		user := c.login.User()
		s.log.Info(fmt.Sprintf("Successfully authenticated client: authenticationID=%s;  authorizationID=%[1]s.", user))
		s.log.Info(fmt.Sprintf("Session %s: adding SASL authorization for authorizationID: %s", hexID(c.session), user))
		ids := []proto.Identity{{Scheme: auth.SchemeSASL, ID: user}}
		if slices.Contains(s.opts.SASL.SuperUsers, user) {
			ids = append(ids, proto.Identity{Scheme: auth.SchemeSuper})
		}
		c.identities = auth.Merge(c.identities, ids)
	}
	c.replyToken(xid, proto.OK, answer, nowNs)
	return true
}

func (c *clientConn) loginFailed(xid int32, nowNs int64) {
	s := c.loop.srv
	required := s.enforcement.RequiresSASL()
	switch {
	case s.opts.SASL.AllowFailed && !required:
		s.log.Warn("Maintaining client connection despite SASL authentication failure.")
		c.replyToken(xid, proto.OK, nil, nowNs)
		return
	case required:
		s.log.Warn("Closing client connection due to server requires client SASL authenticaiton, but client SASL authentication has failed, or client is not configured with SASL authentication.")
		c.replyToken(xid, proto.ErrSessionClosedRequires, nil, nowNs)
	default:
		s.log.Warn("Closing client connection due to SASL authentication failure.")
		c.replyToken(xid, proto.ErrAuthFailed, nil, nowNs)
	}
	s.authFailed.Add(1)
	c.closeAfterFlush = true
	c.goodbye()
}

// replyToken answers in its place. Java's clients want a body behind an error, too.
func (c *clientConn) replyToken(xid int32, code proto.ErrCode, token []byte, nowNs int64) {
	frame, start := beginFrame(nil)
	frame = proto.AppendReplyHeader(frame, xid, 0, code)
	frame = endFrame(jute.AppendBuffer(frame, token), start)
	if c.queue.empty() {
		c.out = append(c.outBuffer(), frame...)
		c.stats.sent++
	} else {
		c.queue.push(queuedReply, xid, proto.OpSasl, frame, nowNs)
	}
}
