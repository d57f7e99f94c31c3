package client

import (
	"bufio"
	"fmt"
	"net"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/sasl"
)

// Login is whom a client logs in as by SASL, with DIGEST-MD5.
type Login struct{ User, Password string }

// logIn goes through the exchange, before anything else is sent on a connection, so that the very next frame is
// the reply (client protocol, section 10.1). The error matches errAuth if the server or its password is not right.
func (c *Client) logIn(nc net.Conn, br *bufio.Reader) error {
	s := sasl.NewClient(sasl.ForClients, c.opts.Login.User, c.opts.Login.Password)
	token := []byte{}
	for xid := int32(1); ; xid++ {
		frame := jute.AppendInt32(jute.AppendInt32(make([]byte, 4, 512), xid), int32(proto.OpSasl))
		frame = jute.AppendBuffer(frame, token)
		jute.PutInt32(frame, int32(len(frame)-4))
		if _, err := nc.Write(frame); err != nil {
			return err
		}
		frame, err := readFrame(br, c.opts.MaxFrameBytes)
		if err != nil {
			return fmt.Errorf("no answer to the login of %s: %w", c.opts.Login.User, err)
		}
		reply, err := DecodeReply(frame)
		if err != nil {
			return err
		}
		d := jute.NewDecoder(reply.Body, 0)
		answer := d.Buffer()
		switch {
		case reply.Err != proto.OK:
			return fmt.Errorf("%w: the server refuses %s: %w", errAuth, c.opts.Login.User, reply.Err)
		case reply.Xid != xid || d.Err() != nil:
			return fmt.Errorf("client: the answer to the login of %s is none: %x", c.opts.Login.User, frame)
		case answer == nil:
			return fmt.Errorf("%w: %s cannot log in, the server does not do SASL", errAuth, c.opts.Login.User)
		}
		done := false
		if token, done, err = s.Step(answer); err != nil {
			return fmt.Errorf("%w: %w", errAuth, err)
		}
		if done {
			return nil
		}
	}
}
