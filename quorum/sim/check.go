package sim

import (
	"bytes"
	"errors"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
)

// A txnMark is what the checkers remember of a transaction.
type txnMark struct {
	zxid   quorum.Zxid
	sum    uint64 // of the PROPOSAL packet
	digest uint64 // of the tree after it; 0: not applied yet
}

// history is what a server's image and log amount to: what is in the image, of which the part
// that nobody had committed when it was made is known, and the transactions behind.
type history struct {
	base      quorum.Zxid // zxid of the image
	marks     []txnMark
	committed quorum.Zxid // the checker has seen commits up to here
	stable    quorum.Zxid // the log has said that it is durable up to here
}

// newHistory begins a history with an image, nil being the empty one.
func newHistory(m *image) history {
	if m == nil {
		return history{}
	}
	h := history{base: m.zxid, committed: m.zxid, stable: m.zxid, marks: slices.Clone(m.marks)}
	if len(m.marks) > 0 {
		h.committed = m.marks[0].zxid - 1
	}
	return h
}

func (h *history) add(z quorum.Zxid, packet []byte) {
	h.marks = append(h.marks, txnMark{zxid: z, sum: xxhash.Sum64(packet)})
}

// unsettled gives the marks up to z that nobody has committed yet.
func (c *checker) unsettled(h *history, z quorum.Zxid) []txnMark {
	return slices.Clone(h.marks[h.after(min(z, c.last())):h.after(z)])
}

// after gives the index of the first mark above z.
func (h *history) after(z quorum.Zxid) int {
	return sort.Search(len(h.marks), func(i int) bool { return h.marks[i].zxid > z })
}

// find gives the mark of z, nil if there is none.
func (h *history) find(z quorum.Zxid) *txnMark {
	if i := h.after(z) - 1; i >= 0 && h.marks[i].zxid == z {
		return &h.marks[i]
	}
	return nil
}

func (h *history) setDigest(z quorum.Zxid, digest uint64) {
	if m := h.find(z); m != nil {
		m.digest = digest
	}
}

func (h *history) truncate(z quorum.Zxid) {
	h.marks = h.marks[:h.after(z)]
	h.stable = min(h.stable, z)
}

// checker watches all servers. Its log is the one history that all of them must share: what
// any server has been told to be committed.
type checker struct {
	w    *world
	log  []txnMark
	info []txnInfo

	tree    *engine.Engine // after log
	paths   map[string][]version
	packets map[uint64][]byte          // by their sum: all that were ever proposed
	taken   map[requestKey]quorum.Zxid // which transaction came of a request
	served  map[quorum.Epoch]*reign
	config  *quorum.Config           // the newest that anybody has committed
	configs map[int64]*quorum.Config // all of them, by version

	// completed is the newest zxid of an operation that had to be linearizable and was answered.
	completed quorum.Zxid
	ops       []*op // of all clients, answered ones
}

// reign is a leadership: one server, in one life.
type reign struct {
	server quorum.ServerID
	life   int
}

// txnInfo is the request behind a transaction.
type txnInfo struct {
	session proto.SessionID
	cxid    int32
	typ     proto.OpCode
}

type requestKey struct {
	session proto.SessionID
	cxid    int32
}

// version is a state of a path, from zxid on.
type version struct {
	zxid    quorum.Zxid
	exists  bool
	version int32
	data    string
}

func newChecker(w *world) *checker {
	t, err := engine.New(treeOptions)
	if err != nil {
		panic(err)
	}
	return &checker{w: w, tree: t, paths: map[string][]version{}, packets: map[uint64][]byte{}, taken: map[requestKey]quorum.Zxid{}, served: map[quorum.Epoch]*reign{}, config: w.plan.config, configs: map[int64]*quorum.Config{}}
}

func (c *checker) close() { c.tree.Close() }

// index gives how many transactions of the common history have a zxid up to z.
func (c *checker) index(z quorum.Zxid) int {
	return sort.Search(len(c.log), func(i int) bool { return c.log[i].zxid > z })
}

func (c *checker) last() quorum.Zxid {
	if len(c.log) == 0 {
		return 0
	}
	return c.log[len(c.log)-1].zxid
}

// committed is told that s takes everything up to z for committed, and has applied it.
//
// Agreement and the committed prefix: what s has between two commits is exactly what the
// common history has there, or its continuation.
func (c *checker) committed(s *server, z quorum.Zxid) {
	h := &s.hist
	if z <= h.committed {
		return
	}
	at := c.index(h.committed)
	for i := h.after(h.committed); i < len(h.marks) && h.marks[i].zxid <= z; i++ {
		m := &h.marks[i]
		if at < len(c.log) {
			if g := &c.log[at]; g.zxid != m.zxid || g.sum != m.sum {
				c.w.fail("agreement", "server %d commits 0x%x (%x) where 0x%x (%x) is committed", s.id, m.zxid, m.sum, g.zxid, g.sum)
			} else if g.digest != m.digest {
				c.w.fail("digest", "server %d has 0x%x at 0x%x, others have 0x%x", s.id, m.digest, m.zxid, g.digest)
			}
		} else {
			c.append(s, m)
		}
		at++
	}
	h.committed = z
	if at < c.index(z) {
		c.w.fail("agreement", "server %d commits up to 0x%x and has not got 0x%x", s.id, z, c.log[at].zxid)
	}
	c.kept("commit")
}

// proposed notes a proposal.
func (c *checker) proposed(packet []byte) { c.packets[xxhash.Sum64(packet)] = packet }

// append continues the common history with what s has been the first to commit.
func (c *checker) append(s *server, m *txnMark) {
	packet := c.packets[m.sum]
	txn, err := proto.ProposalTxn(packet)
	if err != nil {
		panic(err)
	}
	if m.zxid <= c.last() {
		c.w.fail("agreement", "server %d commits 0x%x behind 0x%x", s.id, m.zxid, c.last())
	}
	sink := changeSink{}
	res, err := c.tree.Apply(txn, &sink)
	if err != nil {
		panic(err)
	}
	if d := c.tree.Digest(); d != m.digest || res.DigestMismatch {
		c.w.fail("digest", "server %d has 0x%x at 0x%x, want 0x%x", s.id, m.digest, m.zxid, d)
	}
	c.log = append(c.log, *m)
	info := txnInfo{res.Header.SessionID, res.Header.Cxid, res.Header.Type}
	c.info = append(c.info, info)
	if info.cxid > 0 {
		key := requestKey{info.session, info.cxid}
		if before, ok := c.taken[key]; ok {
			c.w.fail("session order", "request %d of session 0x%x is in 0x%x and in 0x%x", info.cxid, info.session, before, m.zxid)
		}
		c.taken[key] = m.zxid
	}
	for _, path := range sink {
		v := version{zxid: m.zxid}
		if ref := c.tree.Lookup([]byte(path)); ref != 0 {
			var st proto.Stat
			c.tree.Stat(ref, &st)
			v.exists, v.version, v.data = true, st.Version, string(c.tree.Data(ref))
		}
		c.paths[path] = append(c.paths[path], v)
	}
	if info.typ == proto.OpCloseSession && c.tree.EphemeralCountOf(info.session) != 0 {
		c.w.fail("ephemerals", "session 0x%x is closed by 0x%x and has ephemerals", info.session, m.zxid)
	}
	c.tree.EachEphemeralSession(func(id proto.SessionID, n int) bool {
		if _, open := c.tree.Session(id); !open {
			c.w.fail("ephemerals", "session 0x%x has %d ephemerals at 0x%x and is not open", id, n, m.zxid)
		}
		return true
	})
}

// changeSink collects the paths that a transaction changes.
type changeSink []string

func (s *changeSink) note(path []byte) { *s = append(*s, string(bytes.Clone(path))) }

func (s *changeSink) Created(path, _ []byte, _, _ proto.RawACLs, _ proto.Zxid) { s.note(path) }
func (s *changeSink) Deleted(path, _ []byte, _, _ proto.RawACLs, _ proto.Zxid) { s.note(path) }
func (s *changeSink) DataChanged(path []byte, _ proto.RawACLs, _ proto.Zxid)   { s.note(path) }

// stateAt gives what path was after z.
func (c *checker) stateAt(path string, z quorum.Zxid) version {
	vs := c.paths[path]
	if i := sort.Search(len(vs), func(i int) bool { return vs[i].zxid > z }); i > 0 {
		return vs[i-1]
	}
	return version{}
}

// changedAfter gives the first change of path above z, 0 if there is none.
func (c *checker) changedAfter(path string, z quorum.Zxid) quorum.Zxid {
	vs := c.paths[path]
	if i := sort.Search(len(vs), func(i int) bool { return vs[i].zxid > z }); i < len(vs) {
		return vs[i].zxid
	}
	return 0
}

// imageLoaded checks the tree of an image that s has begun to use.
func (c *checker) imageLoaded(s *server) {
	z := s.hist.base
	at := c.index(z)
	if at == 0 || z > c.last() && quorum.CounterOf(z) != 0 {
		return // of what nobody has been told to be committed yet
	}
	if d := s.engine.Digest(); d != c.log[at-1].digest {
		c.w.fail("digest", "server %d loads an image of 0x%x with 0x%x, want 0x%x", s.id, z, d, c.log[at-1].digest)
	}
}

// truncating is told that s is about to cut everything above z, which must not reach into what
// s knows to be committed. It may hit what the leader commits in this moment without counting s,
// for which a quorum must then be left (kept).
func (c *checker) truncating(s *server, z quorum.Zxid) {
	if h := &s.hist; h.committed > z && c.index(h.committed) > c.index(z) {
		c.w.fail("committed prefix", "server %d has 0x%x committed and is told to cut at 0x%x", s.id, h.committed, z)
	}
}

// holds tells whether s has the newest committed transaction on disk. What a flipped bit took
// counts as there: that server knows, and does not vote.
func (c *checker) holds(s *server) bool {
	last := c.last()
	if s.damaged {
		return true
	}
	if s.hist.stable < last {
		return false
	}
	return s.hist.base >= last || s.hist.find(last) != nil
}

// kept checks that a quorum has everything that is committed on disk: each time something is
// committed, and each time a server has less than before. Where this does not hold, the right
// servers need only fail.
func (c *checker) kept(when string) {
	if len(c.log) == 0 || c.w.opts.EffectsOnly {
		return
	}
	if !c.config.ContainsQuorum(func(id quorum.ServerID) bool { return c.holds(c.w.server(id)) }) {
		c.w.fail("durability", "no quorum of %s has the committed 0x%x on disk (%s)", members(c.config), c.last(), when)
	}
}

// leads is told that s begins to serve as the leader of an epoch.
//
// Its history has to hold everything that was committed in the epochs before. It may be late, and
// a leader of a later epoch serve already: then none of its own proposals will be committed.
func (c *checker) leads(s *server, epoch quorum.Epoch) {
	if r := c.served[epoch]; r != nil {
		c.w.fail("one leader", "servers %d and %d lead epoch %d", r.server, s.id, epoch)
	}
	c.served[epoch] = &reign{s.id, s.life}
	if n := c.index(quorum.EpochStart(epoch)); n > 0 && s.hist.committed < c.log[n-1].zxid {
		c.w.fail("lost write", "server %d leads epoch %d with a history up to 0x%x, committed is 0x%x", s.id, epoch, s.hist.committed, c.log[n-1].zxid)
	}
}

// epochStored is told that s has made epoch its current epoch as a learner: it claims to have
// everything that was committed before it.
func (c *checker) epochStored(s *server, epoch quorum.Epoch) {
	n := c.index(quorum.EpochStart(epoch))
	if n == 0 || c.w.opts.EffectsOnly || s.config.RoleOf(s.id) == quorum.Observer {
		return
	}
	if last := c.log[n-1].zxid; s.hist.stable < last {
		c.w.fail("epoch", "server %d stores epoch %d with 0x%x on disk, before it 0x%x was committed", s.id, epoch, s.hist.stable, last)
	}
}

// epochFixed is told that s, as a leader, has chosen its epoch from what the servers in told
// have accepted.
func (c *checker) epochFixed(s *server, epoch quorum.Epoch, told map[quorum.ServerID]quorum.Epoch) {
	for _, o := range c.w.servers {
		if e, ok := told[o.id]; ok && e >= epoch {
			c.w.fail("epoch", "server %d wants to lead epoch %d, server %d has told it that %d is accepted", s.id, epoch, o.id, e)
		}
	}
}

// ballot is what a vote says of the leader. round is 0 for one of a server that follows or leads, for others compare
// these without it.
type ballot struct {
	leader  quorum.ServerID
	round   int64
	looking bool
}

func ballotOf(v quorum.Vote) ballot {
	if v.State == quorum.Looking {
		return ballot{v.Leader, v.ElectionEpoch, true}
	}
	return ballot{leader: v.Leader}
}

// elected is told that s has been elected, by servers that have voted for it in this round, or follow it.
func (c *checker) elected(s *server, o *election.Output) {
	for _, id := range o.Electors {
		e := c.w.server(id)
		if e != s && !e.votedFor[ballot{s.id, o.Vote.ElectionEpoch, true}] && !e.votedFor[ballot{leader: s.id}] {
			c.w.fail("election", "server %d is elected in round %d by server %d, which has not voted for it", s.id, o.Vote.ElectionEpoch, id)
		}
	}
}

// blames checks that s does not blame a peer for a packet: all keep to the protocol.
func (c *checker) blames(s *server, reason error) {
	if errors.Is(reason, zab.ErrProtocol) || errors.Is(reason, zab.ErrGap) {
		c.w.fail("protocol", "server %d: %v", s.id, reason)
	}
}
