package server

import (
	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// reaper deletes containers that have lost their last child and TTL nodes whose time is over.
// It sweeps at an interval and paces the deletions, which go through the ordinary pipeline and
// are checked there again. It belongs to the replica goroutine.
// Source: client protocol, section 5.5.
type reaper struct {
	intervalMs     int64
	gapMs          int64 // between two deletions
	neverUsedMaxMs int64 // 0: containers that never had a child stay
	nextSweepMs    int64
	nextDeleteMs   int64
	candidates     [][]byte // bodies of deleteContainer requests
}

// tick sweeps when it is time to, and issues the deletions that are due.
func (p *reaper) tick(r *replica, nowMs int64) {
	if nowMs >= p.nextSweepMs {
		p.nextSweepMs = nowMs + p.intervalMs
		if len(p.candidates) == 0 {
			p.sweep(r.engine, r.srv.wallMs())
		}
	}
	for len(p.candidates) > 0 && nowMs >= p.nextDeleteMs && !r.refusing {
		r.internal = append(r.internal, internalRequest{op: proto.OpDeleteContainer, body: p.candidates[0]})
		p.candidates[0] = nil
		p.candidates = p.candidates[1:]
		p.nextDeleteMs = max(p.nextDeleteMs+p.gapMs, nowMs-p.intervalMs)
	}
}

// sweep lists the candidates. The replica is the tree's only writer, so it needs no gate to read.
func (p *reaper) sweep(e *engine.Engine, wallMs int64) {
	var node engine.Node
	add := func(n engine.NodeRef) {
		p.candidates = append(p.candidates, jute.AppendBuffer(nil, e.AppendPath(nil, n)))
	}
	e.EachContainer(func(n engine.NodeRef) bool {
		e.Node(n, &node)
		neverUsed := node.Cversion == 0
		if node.NumChildren == 0 && (!neverUsed || p.neverUsedMaxMs != 0 && wallMs-node.Mtime > p.neverUsedMaxMs) {
			add(n)
		}
		return true
	})
	e.EachTTL(func(n engine.NodeRef) bool {
		e.Node(n, &node)
		if node.NumChildren == 0 && wallMs-node.Mtime > node.EphemeralOwner&proto.MaxTTLMs {
			add(n)
		}
		return true
	})
}

func newReaper(o Options, nowMs int64) reaper {
	return reaper{
		intervalMs:     o.ContainerInterval.Milliseconds(),
		gapMs:          60_000 / int64(max(o.ContainerPerMinute, 1)),
		neverUsedMaxMs: o.ContainerNeverUsedMax.Milliseconds(),
		nextSweepMs:    nowMs + o.ContainerInterval.Milliseconds(),
	}
}
