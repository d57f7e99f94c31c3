package local

import (
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// A Status is what is known of a server.
type Status struct {
	PID     int   // of the process that was started last, 0 before the first
	Running bool  // that process
	Err     error // how it ended; nil while it runs, and after exit code 0
	// Mode is leader, follower, observer, standalone or read-only, as the server says; empty while it does not serve.
	Mode string
	Zxid proto.Zxid // last one that it knows of; 0 while it does not serve
}

// Leads tells whether the server decides on writes.
func (st *Status) Leads() bool { return st.Mode == "leader" || st.Mode == "standalone" }

// Epoch returns the epoch of the last transaction.
func (st *Status) Epoch() quorum.Epoch { return quorum.EpochOf(quorum.Zxid(st.Zxid)) }

// Status asks the server what it is; it waits at most half a second for the answer. A server that somebody else started
// on the same address is seen as serving and not running.
func (s *Server) Status() Status {
	var st Status
	p := s.process()
	if p != nil {
		st.PID, st.Running = p.cmd.Process.Pid, true
	}
	st.Mode, st.Zxid = ask(s.Addr())
	if p == nil || p.ended() {
		st.Running = false
		if p != nil {
			st.Err = p.err
		}
	}
	return st
}

// ask sends srvr to addr; nothing is what an unclear answer says.
func ask(addr string) (mode string, zxid proto.Zxid) {
	const patience, answerMax = 500 * time.Millisecond, 1 << 16
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", 0
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience)) // a dead connection fails below
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return "", 0
	}
	b, _ := io.ReadAll(io.LimitReader(c, answerMax)) // what came before an error counts
	for line := range strings.Lines(string(b)) {
		if m, ok := strings.CutPrefix(line, "Mode: "); ok {
			mode = strings.TrimSpace(m)
		} else if z, ok := strings.CutPrefix(line, "Zxid: 0x"); ok {
			if v, err := strconv.ParseUint(strings.TrimSpace(z), 16, 64); err == nil {
				zxid = proto.Zxid(v)
			}
		}
	}
	if mode == "" {
		zxid = 0
	}
	return mode, zxid
}
