package server

import (
	"cmp"
	"context"
	"time"

	"zabra.dev/zabra/server/config"
)

const (
	// finishTime bounds how long a stopping server works on what its clients have asked for. It is some synchronisations of
	// a slow disk; what takes longer may wait for a quorum that does not come.
	finishTime = time.Second
	// finishPoll is the pause between two looks.
	finishPoll = time.Millisecond
)

// finishTimeOf is how long a server with the configuration c does so: as long as Java's where that has something to wait for,
// its throttler's queue, or where it is said. A time of 0 or less, which in Java is for ever or an error, is one to begin no work in.
func finishTimeOf(c *config.Config) time.Duration {
	if c.Throttle.RequestsMax <= 0 && !c.IsSet("request_throttler.shutdownTimeout") {
		return finishTime
	}
	return max(c.Throttle.ShutdownTimeout, finishPoll)
}

// FinishTime is how long Stop may work on what clients have asked for, before it begins to close what is left.
func (s *Server) FinishTime() time.Duration { return cmp.Or(s.opts.FinishTime, finishTime) }

// finishRequests says goodbye to the sessions that are connected: what has been read of a connection is answered, then it
// is closed. A client whose server is stopped is not left to wonder what became of its last writes.
func (s *Server) finishRequests(ctx context.Context) {
	if !s.serving.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.FinishTime())
	defer cancel()
	var left []*clientConn
	s.lockGates()
	for _, l := range s.loops {
		for _, c := range l.conns {
			if c != nil && c.state == connEstablished {
				c.goodbyeSilently()
				left = append(left, c)
			}
		}
	}
	s.unlockGates()
	tick := time.NewTicker(finishPoll)
	defer tick.Stop()
	for {
		for len(left) > 0 && left[len(left)-1].isClosed() {
			left = left[:len(left)-1]
		}
		if len(left) == 0 || !s.serving.Load() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// isClosed tells whether the connection has ended. The caller holds no gate.
func (c *clientConn) isClosed() bool {
	c.loop.gate.Lock()
	defer c.loop.gate.Unlock()
	return c.state == connClosed
}
