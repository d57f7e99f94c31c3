package sim

import (
	"fmt"
	"math"
	"strings"

	"github.com/anishathalye/porcupine"

	"zabra.dev/zabra/engine/proto"
)

// settled tells whether the ensemble has come to rest after the faults: every server serves,
// with the whole history; every client that lives has had its answers; and the sessions of all
// others are gone.
func (w *world) settled() bool { return w.unsettled() == "" }

// unsettled tells what is missing for that.
func (w *world) unsettled() string {
	for _, c := range w.clients {
		if !c.dead && !c.done {
			return fmt.Sprintf("client %d has no answer", c.number)
		}
	}
	leaders := 0
	for _, s := range w.servers {
		if !s.up || !s.serving {
			return fmt.Sprintf("server %d (%v) does not serve", s.id, s.replica.role)
		}
		if s.leader != nil {
			leaders++
		}
		if s.hist.committed < w.check.last() {
			return fmt.Sprintf("server %d has committed 0x%x, others 0x%x", s.id, s.hist.committed, w.check.last())
		}
	}
	for _, s := range w.servers {
		if s.config.Version != w.check.config.Version {
			return fmt.Sprintf("server %d has the member list %s, committed is %s", s.id, members(s.config), members(w.check.config))
		}
	}
	if leaders != 1 {
		return fmt.Sprintf("there are %d leaders", leaders)
	}
	orphan := ""
	w.check.tree.EachSession(func(id proto.SessionID, _ int32) {
		for _, c := range w.clients {
			if !c.dead && c.session == id {
				return
			}
		}
		orphan = fmt.Sprintf("session 0x%x has no client and does not expire", id)
	})
	return orphan
}

// finish checks what can be checked at the end only.
func (c *checker) finish() {
	for _, s := range c.w.servers {
		if d := s.engine.Digest(); d != c.tree.Digest() {
			c.w.fail("digest", "server %d has 0x%x in the end, want 0x%x", s.id, d, c.tree.Digest())
		}
	}
	c.porcupine()
}

// porcupine checks that the writes and the reads behind a sync are linearizable, knowing nothing
// but what clients saw, except that an operation without an answer is left out if it is not in
// the common history.
func (c *checker) porcupine() {
	var history []porcupine.Operation
	for _, o := range c.ops {
		p := porcupine.Operation{ClientId: o.c.number, Input: o, Output: o.answer, Call: o.call, Return: o.ret}
		switch {
		case o.kind == opGet && o.sync != nil && o.answered:
			p.Call = o.sync.call
		case o.kind != opCreate && o.kind != opDelete && o.kind != opSet:
			continue
		case !o.answered:
			if _, ok := c.taken[requestKey{o.session, o.xid}]; !ok {
				continue
			}
			p.Return = math.MaxInt64
		}
		history = append(history, p)
	}
	if !porcupine.CheckOperations(registers, history) {
		c.w.fail("linearizability", "%d operations have no order", len(history))
	}
}

// register is the state of one path.
type register struct {
	exists  bool
	version int32
	data    string
}

// registers is the model of the paths that clients write to: each is a register with a version.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, keys)
		for _, p := range history {
			i := strings.IndexByte("01234", p.Input.(*op).path[2])
			parts[i] = append(parts[i], p)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		r, o, a := state.(register), input.(*op), output.(answer)
		want := answer{}
		switch o.kind {
		case opGet:
			return a.exists == r.exists && a.version == r.version && a.data == r.data, r
		case opCreate:
			if r.exists {
				want.err = proto.ErrNodeExists
				break
			}
			r = register{exists: true, data: o.data}
		case opDelete:
			want.err = r.judge(o.expect)
			if want.err == proto.OK {
				r = register{}
			}
		case opSet:
			want.err = r.judge(o.expect)
			if want.err == proto.OK {
				r.data = o.data
				r.version++
			}
		}
		if refused(a.err) {
			return true, state // the session was to blame
		}
		return !o.answered || a.err == want.err, r
	},
}

// judge gives the verdict on a write that expects a version.
func (r *register) judge(expect int32) proto.ErrCode {
	switch {
	case !r.exists:
		return proto.ErrNoNode
	case expect != -1 && expect != r.version:
		return proto.ErrBadVersion
	}
	return proto.OK
}

func refused(err proto.ErrCode) bool {
	return err == proto.ErrSessionExpired || err == proto.ErrSessionMoved
}
