package zab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// record is one transaction in a log.
type record struct {
	zxid   quorum.Zxid
	packet []byte
}

// node is one server: its disk, and the machine that it runs.
type node struct {
	c        *cluster
	id       quorum.ServerID
	features quorum.Features

	// The disk.
	config, lastSeen  *quorum.Config
	accepted, current quorum.Epoch
	image             []record // of a tree: what made it
	log               []record // behind the image
	durable           int      // records of log on disk

	// The process.
	alive      bool
	generation int // of the process and of what it runs: counts changes
	disk       int // counts cuts of the log
	slow       bool
	leader     *Leader
	learner    *Learner
	window     *Window
	applied    int // records of image and log applied
	stable     int // of them, committed for sure
	links      []*link
	inbox      []item
	scheduled  bool
	out        Outputs
	flushing   bool
	next       quorum.Zxid // the leader's last proposal
	syncs      map[uint64]int
	tokens     uint64
	needSnap   bool
	snapZxid   quorum.Zxid // of an image without transactions
	staging    bool        // a tree was received
	staged     []record
	stagedZxid quorum.Zxid
}

// item is an event for the next turn.
type item struct {
	link    *link
	bytes   []byte
	input   Input
	propose int
	sync    bool
	// reconfig is proposed behind the others
	reconfig *quorum.Config
}

func (n *node) history() []record {
	if n.staging {
		return n.staged
	}
	return append(n.image[:len(n.image):len(n.image)], n.log...)
}

func (n *node) lastZxid() quorum.Zxid {
	if len(n.log) > 0 {
		return n.log[len(n.log)-1].zxid
	}
	return n.imageZxid()
}

func (n *node) imageZxid() quorum.Zxid {
	if len(n.image) > 0 {
		return n.image[len(n.image)-1].zxid
	}
	return n.snapZxid
}

func (n *node) durableZxid() quorum.Zxid {
	if n.durable > 0 {
		return n.log[n.durable-1].zxid
	}
	return n.imageZxid()
}

func (n *node) better(o *node) bool {
	if n.current != o.current {
		return n.current > o.current
	}
	if n.lastZxid() != o.lastZxid() {
		return n.lastZxid() > o.lastZxid()
	}
	return n.id > o.id
}

func (n *node) serving() bool {
	return n.alive && (n.leader != nil && n.leader.Serving() || n.learner != nil && n.learner.Serving())
}

// newWindow makes a small window, so that all ways to synchronise are used.
func (n *node) newWindow(base quorum.Zxid) *Window {
	w := NewWindow(base, 0)
	w.keep = 5 + n.c.rng.Intn(30)
	return w
}

// lead and follow begin a role.
func (n *node) lead() {
	n.generation++
	n.out.Reset()
	n.leader = NewLeader(LeaderOptions{
		Self: n.id, Config: n.config, LastSeen: n.lastSeen, ReconfigEnabled: n.c.moves, AcceptedEpoch: n.accepted, CurrentEpoch: n.current,
		LastZxid: n.lastZxid(), DurableZxid: n.durableZxid(), Timing: testTiming,
		Features: n.features, Bugs: n.c.bugs,
	}, n.window, n)
	n.leader.Start(n.c.now, &n.out)
	n.next = 0
	n.begin()
}

func (n *node) follow(leader *node) {
	n.generation++
	n.out.Reset()
	last := n.lastZxid()
	if n.needSnap {
		last = -1
	}
	n.learner = NewLearner(LearnerOptions{
		Self: n.id, Leader: leader.id, Role: n.config.RoleOf(n.id), Config: n.config, LastSeen: n.lastSeen, ReconfigEnabled: n.c.moves,
		AcceptedEpoch: n.accepted, CurrentEpoch: n.current, LastZxid: last, DurableZxid: n.durableZxid(),
		Timing: testTiming, Features: n.features, Bugs: n.c.bugs, Proposal: n.exactly,
	})
	n.begin()
	n.c.connect(n, leader)
}

func (n *node) begin() {
	n.syncs = map[uint64]int{}
	n.inbox = n.inbox[:0]
	n.tick()
	n.wake()
}

func (n *node) tick() {
	g := n.generation
	n.c.after(testTiming.Tick/4, func() {
		if n.generation == g && n.alive {
			n.post(item{input: Input{Kind: InTick}})
			n.tick()
		}
	})
}

func (n *node) post(i item) {
	n.inbox = append(n.inbox, i)
	n.wake()
}

// wake has a turn taken soon.
func (n *node) wake() {
	if n.scheduled {
		return
	}
	n.scheduled = true
	n.c.after(n.c.delay(500*time.Microsecond), func() {
		n.scheduled = false
		n.turn()
	})
}

// turn takes everything that waits through the machine.
func (n *node) turn() {
	if !n.alive || (n.leader == nil && n.learner == nil) {
		n.inbox = n.inbox[:0]
		return
	}
	n.c.turns++
	g := n.generation
	inbox := n.inbox
	n.inbox = nil
	for i := range inbox {
		it := &inbox[i]
		switch {
		case it.bytes != nil:
			end := 0
			if it.link.ends[1] == n {
				end = 1
			}
			it.link.inbox[end] = append(it.link.inbox[end], it.bytes...)
			n.read(it.link, end)
		case it.propose > 0:
			n.propose(it.propose, nil)
		case it.reconfig != nil:
			n.propose(1, it.reconfig)
		case it.sync:
			n.sync()
		default:
			n.step(it.input)
		}
	}
	n.finish(g)
	if n.generation == g && n.learner != nil && len(n.links) > 0 {
		n.read(n.links[len(n.links)-1], 0) // what waited for the log to be cut
		n.finish(g)
	}
}

// finish ends the turn.
func (n *node) finish(g int) {
	if n.leader != nil {
		n.leader.EndTurn(n.c.now, &n.out)
	} else if n.learner != nil {
		n.learner.EndTurn(n.c.now, &n.out)
	}
	for i := 0; i < len(n.out.List) && n.generation == g && n.c.check.failed == nil; i++ {
		n.do(&n.out.List[i])
		if n.generation == g && n.c.chance(n.crashOdds(&n.out.List[i])) {
			n.crash()
		}
	}
	n.out.Reset()
	n.scheduleSync()
}

// crashOdds gives one in how many times the server crashes behind an output: often where the
// order of what it does to its disk matters.
func (n *node) crashOdds(o *Output) int {
	switch {
	case o.Kind == OutPersistAcceptedEpoch, o.Kind == OutPersistCurrentEpoch:
		return 10
	case o.Kind == OutTruncateLog:
		return 3
	case o.Kind == OutSend && o.Type == quorum.PacketAck && quorum.CounterOf(o.Zxid) == 0:
		return 15
	}
	return 3000
}

func (n *node) step(in Input) {
	if n.leader != nil {
		n.leader.Step(n.c.now, in, &n.out)
	} else {
		n.learner.Step(n.c.now, in, &n.out)
	}
}

// read takes the packets of a link that are complete.
func (n *node) read(l *link, end int) {
	for {
		buf := l.inbox[end]
		if n.learner != nil {
			switch n.learner.Expects() {
			case ExpectTree:
				n.readTree(l)
				return
			case ExpectNothing:
				return
			}
		}
		p, size, err := quorum.DecodePacket(buf)
		if err != nil {
			return
		}
		n.step(Input{Kind: InPacket, Link: l.id, Packet: p})
		l.inbox[end] = buf[size:]
	}
}

// readTree takes a tree, which here is the packets that made it, with a count in front.
func (n *node) readTree(l *link) {
	buf := l.inbox[0]
	if len(buf) < 8 {
		return
	}
	var image []record
	zxid := quorum.Zxid(binary.BigEndian.Uint64(buf))
	count := int(binary.BigEndian.Uint32(buf[8:]))
	buf = buf[12:]
	for range count {
		p, size, err := quorum.DecodePacket(buf)
		if err != nil {
			panic(err)
		}
		image = append(image, record{p.Zxid, p.Raw})
		buf = buf[size:]
	}
	l.inbox[0] = buf
	n.staged, n.staging, n.stagedZxid = image, true, zxid
	n.applied, n.stable = len(image), 0
	n.step(Input{Kind: InTreeReceived, Zxid: zxid, OK: true})
}

// propose prepares k transactions.
func (n *node) propose(k int, reconfig *quorum.Config) {
	if n.leader == nil || !n.leader.Serving() {
		return
	}
	if reconfig != nil && n.leader.LastSeen().Version > n.leader.Config().Version {
		return
	}
	if n.next == 0 {
		n.next = quorum.EpochStart(n.leader.Epoch())
	}
	var batch []Proposal
	for range k {
		n.next++
		n.c.txns++
		packet := testProposal(n.next, n.c.txns)
		n.log = append(n.log, record{n.next, packet})
		p := Proposal{Zxid: n.next, Packet: packet}
		if reconfig != nil {
			p.Config = reconfig.WithVersion(n.next)
			p.Packet = reconfigProposal(n.next, p.Config)
			n.log[len(n.log)-1].packet = p.Packet
		}
		batch = append(batch, p)
	}
	n.step(Input{Kind: InPropose, Proposals: batch})
}

// testProposal makes a proposal whose content is number.
func testProposal(z quorum.Zxid, number int) []byte {
	b, start := proto.BeginProposal(nil, z)
	h := proto.TxnHeader{Zxid: z, Type: proto.OpError, Cxid: int32(number)}
	b = h.Append(b)
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	return proto.EndProposal(b, start)
}

// sync asks for a sync and remembers what it has to show at least.
func (n *node) sync() {
	if !n.serving() {
		return
	}
	n.tokens++
	n.syncs[n.tokens] = len(n.c.check.canon)
	if n.leader != nil {
		n.step(Input{Kind: InSync, Token: n.tokens})
		return
	}
	r := quorum.Request{Op: proto.OpSync}
	n.step(Input{Kind: InSyncRequest, Token: n.tokens, Packet: quorum.Packet{Data: r.Append(nil)}})
}

// scheduleSync has the log written, as it is when that begins.
func (n *node) scheduleSync() {
	if n.flushing || !n.alive || n.durable == len(n.log) {
		return
	}
	n.flushing = true
	disk, target := n.disk, len(n.log)
	most := 4 * time.Millisecond
	if n.slow {
		most = n.c.disks
	}
	n.c.after(n.c.delay(most), func() {
		if n.disk != disk {
			if n.alive {
				n.flushing = false
				n.scheduleSync()
			}
			return
		}
		n.flushing = false
		n.durable = max(n.durable, min(target, len(n.log)))
		if n.durable > 0 {
			n.post(item{input: Input{Kind: InLogDurable, Zxid: n.durableZxid()}})
		}
		n.scheduleSync()
	})
}

// crash loses what is not on disk, or some of it.
func (n *node) crash() {
	n.c.logf("crash %d", n.id)
	n.stop()
	n.alive = false
	n.disk++
	n.flushing = false
	keep := n.durable + n.c.rng.Intn(len(n.log)-n.durable+1)
	n.log = n.log[:keep:keep]
	n.durable = keep
}

// stop ends the role.
func (n *node) stop() {
	n.generation++
	n.leader, n.learner = nil, nil
	if n.staging { // the tree is worthless: back to that on disk
		n.staged, n.staging = nil, false
		n.applied, n.stable = len(n.image)+len(n.log), 0
	}
	for _, l := range append([]*link(nil), n.links...) {
		l.close()
	}
	n.links = nil
}

func (n *node) forget(l *link) {
	for i := range n.links {
		if n.links[i] == l {
			n.links = append(n.links[:i], n.links[i+1:]...)
			return
		}
	}
}

// restart recovers from the disk.
func (n *node) restart() {
	n.c.logf("restart %d epoch %d/%d last 0x%x", n.id, n.current, n.accepted, n.lastZxid())
	n.alive = true
	n.generation++
	n.applied, n.stable = len(n.image)+len(n.log), 0
	n.window = n.newWindow(n.imageZxid())
	for _, r := range n.log {
		n.window.Append(r.zxid, r.packet, nil)
	}
	n.window.Trim(n.durableZxid())
}

// checkpoint makes an image of what is committed and on disk, and forgets the log up to there.
func (n *node) checkpoint() {
	upTo := min(n.stable, len(n.image)+n.durable)
	if !n.serving() || upTo <= len(n.image) {
		return
	}
	k := upTo - len(n.image)
	n.image = append(n.image[:len(n.image):len(n.image)], n.log[:k]...)
	n.log = n.log[k:]
	n.durable -= k
	n.disk++
}

// Floor is the History of a leader.
func (n *node) Floor(peer quorum.Zxid) (quorum.Zxid, bool) {
	if peer < n.imageZxid() || n.c.rng.Intn(3) == 0 {
		return 0, false
	}
	floor := n.imageZxid()
	for _, r := range n.log[:n.durable] {
		if r.zxid <= peer {
			floor = r.zxid
		}
	}
	return floor, true
}

// Proposal is the History of a leader.
func (n *node) Proposal(z quorum.Zxid) ([]byte, bool) {
	for i := n.durable - 1; i >= 0; i-- {
		if n.log[i].zxid <= z {
			return n.log[i].packet, true
		}
	}
	return nil, false
}

// exactly gives the proposal of z itself, for a learner.
func (n *node) exactly(z quorum.Zxid) ([]byte, bool) {
	for _, r := range n.log {
		if r.zxid == z {
			return r.packet, true
		}
	}
	return nil, false
}

func (n *node) linkOf(id LinkID) *link {
	for _, l := range n.links {
		if l.id == id {
			return l
		}
	}
	return nil
}

// do does one output.
func (n *node) do(o *Output) {
	c := n.c
	switch o.Kind {
	case OutPersistAcceptedEpoch:
		c.check.epoch(n, n.accepted, o.Epoch)
		n.accepted = o.Epoch
	case OutPersistCurrentEpoch:
		c.check.epoch(n, n.current, o.Epoch)
		n.current = o.Epoch
	case OutSend, OutSendProposals, OutSendHistory, OutAnswerPing:
		if l := n.linkOf(o.Link); l != nil {
			l.send(n, o.AppendPackets(nil, n.window, nil))
		}
	case OutStreamDiff:
		n.streamDiff(*o)
	case OutStreamSnap:
		n.streamSnap(o.Link)
	case OutClose:
		if l := n.linkOf(o.Link); l != nil {
			c.logf("%d closes its link to %d: %v", n.id, l.ends[0].id, o.Reason)
			c.check.blames(n, o.Reason)
			l.close()
		}
	case OutAppend:
		packet := append([]byte(nil), o.Data...)
		if o.Unlogged {
			n.staged = append(n.staged, record{o.Zxid, packet})
			return
		}
		n.log = append(n.log, record{o.Zxid, packet})
		n.window.Append(o.Zxid, packet, nil)
	case OutTruncateLog:
		n.truncate(o.Zxid)
	case OutReceiveTree:
	case OutTakeSnapshot:
		n.takeSnapshot(o.Zxid)
	case OutCommit:
		n.apply(o.Zxid)
	case OutServe:
		c.logf("%d serves epoch %d leader=%v applied %d", n.id, o.Epoch, n.leader != nil, n.applied)
		c.check.serves(n, o.Epoch)
		n.stable = n.applied
	case OutGiveUp:
		c.logf("%d gives up: %v", n.id, o.Reason)
		c.check.blames(n, o.Reason)
		n.needSnap = n.needSnap || o.NeedSnap
		n.stop()
	case OutSaveConfig:
		if o.Config.Version < n.lastSeen.Version {
			c.check.fail("server %d: last seen config falls from 0x%x to 0x%x", n.id, n.lastSeen.Version, o.Config.Version)
		}
		n.lastSeen = o.Config
	case OutActivateConfig:
		if o.Config.Version < n.config.Version {
			c.check.fail("server %d: config falls from 0x%x to 0x%x", n.id, n.config.Version, o.Config.Version)
		}
		c.logf("%d activates config 0x%x, leader %d", n.id, o.Config.Version, o.Server)
		n.config = o.Config
		c.check.configs++
		if n.lastSeen.Version < n.config.Version {
			n.lastSeen = n.config
		}
	case OutSyncDone:
		c.check.synced(n, n.syncs[o.Token])
		delete(n.syncs, o.Token)
	case OutRequest: // a sync: nothing else is forwarded here
		n.leader.Step(c.now, Input{Kind: InSync, Link: o.Link}, &n.out)
		n.leader.EndTurn(c.now, &n.out)
	case OutWarn:
		if !errors.Is(o.Reason, ErrNewerEpoch) {
			c.check.fail("server %d: %v", n.id, o.Reason)
		} else if c.calm {
			n.crash() // what an operator would do; the next epoch is high enough
			n.restart()
		}
	default:
		panic(fmt.Sprintf("output %d", o.Kind))
	}
}

// apply applies what is committed.
func (n *node) apply(z quorum.Zxid) {
	h := n.history()
	for n.applied < len(h) && h[n.applied].zxid <= z {
		n.applied++
	}
	if n.serving() && !(n.stable == 0 && n.learner == nil) {
		n.c.check.applied(n)
		n.stable = n.applied
	}
	if n.learner != nil {
		n.window.Trim(min(z, n.durableZxid()))
	}
}

// takeSnapshot replaces image and log, some time later.
func (n *node) takeSnapshot(z quorum.Zxid) {
	g := n.generation
	n.c.after(n.c.delay(20*time.Millisecond), func() {
		if n.generation != g {
			return
		}
		n.image, n.snapZxid = n.staged, n.stagedZxid
		n.log, n.durable = nil, 0
		n.staged, n.staging = nil, false
		n.disk++
		n.flushing = false
		n.needSnap = false
		n.window.Reset(n.imageZxid())
		n.post(item{input: Input{Kind: InSnapshotTaken, Zxid: z}})
		if n.c.chance(5) {
			n.crash()
		}
	})
}

// truncate cuts the log, and rebuilds the tree if it went further.
func (n *node) truncate(z quorum.Zxid) {
	ok := z >= n.imageZxid()
	k := len(n.log)
	for ok && k > 0 && n.log[k-1].zxid > z {
		k--
	}
	n.log = n.log[:k:k]
	n.durable = k // cutting writes what is queued
	n.disk++
	n.flushing = false
	n.applied = min(n.applied, len(n.image)+k)
	n.window.Truncate(z)
	n.c.logf("%d cuts at 0x%x: %v", n.id, z, ok)
	n.post(item{input: Input{Kind: InTruncated, Zxid: n.lastZxid(), OK: ok}})
}

// streamDiff reads the log, some time later.
func (n *node) streamDiff(o Output) {
	g := n.generation
	n.c.after(n.c.delay(20*time.Millisecond), func() {
		if n.generation != g || n.linkOf(o.Link) == nil {
			return
		}
		stream := NewDiffStream(&o)
		var b []byte
		var err error
		ok := o.From >= n.imageZxid()
		for _, r := range n.log[:n.durable] {
			if ok && !stream.Done() {
				if b, err = stream.Append(b, r.zxid, r.packet); err != nil {
					n.c.check.fail("server %d: %v", n.id, err)
					return
				}
			}
		}
		if ok = ok && stream.Done(); ok {
			n.linkOf(o.Link).send(n, stream.Flush(b))
		}
		n.post(item{input: Input{Kind: InStreamed, Link: o.Link, Zxid: o.Zxid, OK: ok}})
	})
}

// streamSnap sends the image, some time later.
func (n *node) streamSnap(id LinkID) {
	g := n.generation
	n.c.after(n.c.delay(40*time.Millisecond), func() {
		l := n.linkOf(id)
		if n.generation != g || l == nil {
			return
		}
		zxid := n.imageZxid()
		b := quorum.AppendPacket(nil, quorum.PacketSnap, zxid, nil)
		b = binary.BigEndian.AppendUint64(b, uint64(zxid))
		b = binary.BigEndian.AppendUint32(b, uint32(len(n.image)))
		for _, r := range n.image {
			b = append(b, r.packet...)
		}
		l.send(n, b)
		n.post(item{input: Input{Kind: InStreamed, Link: id, Zxid: zxid, OK: true}})
	})
}
