package probe

import (
	"net"
	"slices"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// A session is one client, with the server that it is connected to.
type session struct {
	probe    *Probe
	addr     int // index of the server in use
	conn     *client.Raw
	id       proto.SessionID // 0: none yet, or expired
	password [proto.PasswordBytes]byte
	zxid     proto.Zxid // last one seen
	xid      int32
}

// connect connects to the server in use and takes the session along.
func (s *session) connect() bool {
	nc, err := net.DialTimeout("tcp", s.probe.o.Addrs[s.addr], stepTime)
	if err != nil {
		return false
	}
	s.conn = client.NewRaw(nc)
	s.conn.Timeout = stepTime
	r, err := s.conn.Handshake(proto.ConnectRequest{
		LastZxidSeen: s.zxid, TimeoutMs: int32(s.probe.o.Timeout.Milliseconds()), SessionID: s.id, Password: s.password[:], HasReadOnly: true,
	})
	if err != nil {
		s.drop()
		return false
	}
	if r.TimeoutMs <= 0 {
		s.id, s.password = 0, [proto.PasswordBytes]byte{}
		s.drop()
		return false
	}
	s.id, s.password = r.SessionID, r.Password
	// A server that has lost its leader closes the connection. One that is cut off does not: then a client waits, too.
	s.conn.Timeout = s.probe.o.Timeout
	return true
}

// write writes the znode.
func (s *session) write() bool {
	s.xid++
	r, err := s.conn.Call(s.xid, proto.OpSetData, (&proto.SetDataRequest{Path: []byte(s.probe.o.Path), Version: -1}).Append(nil))
	if err != nil || r.Err != proto.OK {
		return false
	}
	s.zxid = max(s.zxid, r.Zxid)
	return true
}

func (s *session) drop() {
	if s.conn != nil {
		_ = s.conn.Close() // of no further use
		s.conn = nil
	}
}

// longest returns the longest time between two neighbours of all, which it sorts; 0 when there are less than two.
func longest(all []time.Time) time.Duration {
	slices.SortFunc(all, time.Time.Compare)
	var d time.Duration
	for i := 1; i < len(all); i++ {
		d = max(d, all[i].Sub(all[i-1]))
	}
	return d
}
