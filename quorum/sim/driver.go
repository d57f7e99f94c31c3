package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// This file is the driver: what stands between the machines of election and zab and the world.
// The package comment has its rules.

// replica is the part of a server that drives the machines.
type replica struct {
	leader  *zab.Leader
	learner *zab.Learner
	leading quorum.ServerID // whom the learner follows
	out     zab.Outputs
	serving bool        // OutServe has been done
	upTo    quorum.Zxid // of the newest OutCommit
	role    quorum.State

	links    []heldLink  // open ones
	dials    int         // attempts to connect to the leader
	needSnap bool        // the next learner must get a snapshot
	trees    []*treePart // parts of the tree that has come so far
	// The tree that has come, and what is behind it, until OutTakeSnapshot has been done.
	staged       *engine.Engine
	stagedImage  *image
	stagedWindow *zab.Window

	requests []pendingRequest // to be prepared in this turn
	prep     *prep.Preparer
	told     map[quorum.ServerID]quorum.Epoch // accepted epochs that learners have told this leader
	expireAt time.Duration
	retryAt  time.Duration // when an election is begun that waits for the disk; 0: none
}

type heldLink struct {
	l    *link
	side int
}

// pendingRequest is a write that the leader has to prepare.
type pendingRequest struct {
	req  prep.Request
	link zab.LinkID
}

// treePart is a part of the tree behind a SNAP packet.
type treePart struct {
	bytes []byte
	last  bool
}

// Mistakes are mistakes of a driver that the simulator has to find.
type Mistakes uint8

const (
	NoMistake Mistakes = iota
	// KeepLogAfterSnap: what the log held before a snapshot came from the leader stays, abandoned
	// transactions included, as in Java (quorum protocol, section 4.6).
	KeepLogAfterSnap
	// EpochNotSynced: the files of the epochs are written and not synced.
	EpochNotSynced
	// SyncOvertakesWrites: a sync is stepped while writes in front of it wait to be prepared.
	SyncOvertakesWrites
	// WriteOvertakesSync: writes are sent on their way while a sync in front of them is not answered.
	WriteOvertakesSync
	mistakesEnd
)

func (m Mistakes) String() string {
	return [...]string{"NoMistake", "KeepLogAfterSnap", "EpochNotSynced", "SyncOvertakesWrites", "WriteOvertakesSync"}[m]
}

// turn does everything that has come, as the replica goroutine of a server does: it steps the
// machine for each event, prepares what has been asked for, ends the turn of the machine, and
// does the outputs. What that brings up by itself is taken in the same turn.
func (s *server) turn() {
	s.turnAt = -1
	life := s.life
	for {
		inbox := s.inbox
		s.inbox = nil
		for i, f := range inbox {
			f()
			if s.life != life {
				return
			}
			inbox[i] = nil
		}
		s.ticks()
		if s.life != life {
			return
		}
		s.takeDurable()
		if !s.flush() {
			return
		}
		if len(s.inbox) == 0 {
			break
		}
	}
	if s.serving {
		s.maybeImage()
	}
	s.armAll()
}

// flush prepares what has been asked for, ends the turn of the machine and does the outputs,
// until these ask for nothing more. It reports whether the process lives.
//
// It also runs in front of each sync: a sync is answered when what has been proposed before it is
// committed, so the writes in front of it must have been proposed.
func (s *server) flush() bool {
	life := s.life
	for {
		s.prepareAll()
		s.endTurn()
		s.doOutputs()
		if s.life != life {
			return false
		}
		if len(s.requests) == 0 {
			return true
		}
	}
}

// step gives the machine an event.
func (s *server) step(in zab.Input) {
	switch {
	case s.leader != nil:
		s.leader.Step(s.local(), in, &s.out)
	case s.learner != nil:
		s.learner.Step(s.local(), in, &s.out)
	}
}

func (s *server) endTurn() {
	switch {
	case s.leader != nil:
		s.leader.EndTurn(s.local(), &s.out)
	case s.learner != nil:
		s.learner.EndTurn(s.local(), &s.out)
	}
}

// ticks does what time demands.
func (s *server) ticks() {
	now := s.local()
	if s.retryAt != 0 && now >= s.retryAt {
		s.retryAt = 0
		s.look()
	}
	if s.election.NextDeadline() <= now {
		s.elect(s.election.Tick(now, nil))
	}
	if d := s.deadline(); d != 0 && d <= now {
		s.step(zab.Input{Kind: zab.InTick})
	}
	if s.serving && s.leader != nil && now >= s.expireAt {
		s.expireAt = now + s.w.plan.timing.Tick
		for _, x := range s.tracker.list {
			if !x.closing && now >= x.deadline {
				x.closing = true
				s.requests = append(s.requests, pendingRequest{req: prep.Request{Session: x.id, Op: proto.OpCloseSession}})
			}
		}
		if s.logFull() {
			s.stepDown("the log has no space", diskWait)
		}
	}
}

func (s *server) deadline() time.Duration {
	switch {
	case s.leader != nil:
		return s.leader.NextDeadline()
	case s.learner != nil:
		return s.learner.NextDeadline()
	}
	return 0
}

// armAll makes sure that the server wakes in time.
func (s *server) armAll() {
	next := s.election.NextDeadline()
	if d := s.deadline(); d != 0 {
		next = min(next, d)
	}
	if s.retryAt != 0 {
		next = min(next, s.retryAt)
	}
	if s.serving && s.leader != nil {
		next = min(next, s.expireAt)
	}
	if next < election.Never {
		s.arm(next)
	}
}

// takeDurable passes on how far the log is on disk.
func (s *server) takeDurable() {
	if z := s.durable; z != 0 {
		s.durable = 0
		s.step(zab.Input{Kind: zab.InLogDurable, Zxid: z})
	}
}

// elect does what the election demands.
func (s *server) elect(outs []election.Output) {
	for i := range outs {
		switch o := &outs[i]; o.Kind {
		case election.Send:
			s.w.electionSend(s, o.To, o.Notification)
		case election.Decided:
			s.decided(o.Vote)
		}
	}
}

// diskWait is how long a server waits for space on its disk before it looks again.
const diskWait = 300 * ms

// look begins an election, unless the log has no space: whoever cannot log must not lead.
func (s *server) look() {
	s.role = quorum.Looking
	if !s.damaged && s.logFull() {
		s.log.Retry()
		s.log.Step()
		if s.logErr != nil {
			s.die(s.logErr)
			return
		}
		if s.logFull() {
			s.retryAt = s.local() + diskWait
			s.wake()
			return
		}
	}
	h := election.History{LastZxid: s.lastZxid(), CurrentEpoch: s.current}
	s.trace('?', "looks for a leader with 0x%x of epoch %d", h.LastZxid, h.CurrentEpoch)
	s.elect(s.election.Start(s.local(), h, s.w.config, nil, nil))
	s.wake()
}

// decided begins to lead or to follow.
func (s *server) decided(v quorum.Vote) {
	s.role = v.State
	s.out.Reset()
	last, durable := s.lastZxid(), s.durableZxid()
	if v.State == quorum.Leading {
		s.trace('e', "elected")
		if !s.applyAll() {
			return
		}
		s.told = map[quorum.ServerID]quorum.Epoch{}
		s.leader = zab.NewLeader(zab.LeaderOptions{
			Self: s.id, Config: s.w.config, AcceptedEpoch: s.accepted, CurrentEpoch: s.current,
			LastZxid: last, DurableZxid: durable, Timing: s.w.plan.timing, ForceSnap: s.w.plan.forceSnap,
			Features: s.w.plan.features[s.id-1], Bugs: s.w.opts.Bugs,
		}, s.window, logHistory{s})
		s.leader.Start(s.local(), &s.out)
		return
	}
	s.trace('e', "elects %d", v.Leader)
	if s.needSnap {
		s.needSnap = false
		last, durable = -1, -1
	}
	s.leading, s.dials = v.Leader, 0
	s.learner = zab.NewLearner(zab.LearnerOptions{
		Self: s.id, Leader: v.Leader, Role: s.w.config.RoleOf(s.id), Config: s.w.config,
		AcceptedEpoch: s.accepted, CurrentEpoch: s.current, LastZxid: last, DurableZxid: durable,
		Timing: s.w.plan.timing, Features: s.w.plan.features[s.id-1], Bugs: s.w.opts.Bugs,
	})
	s.dial()
}

// applyAll applies what the log has beyond the tree: all of it is the history of a leader.
func (s *server) applyAll() bool {
	for i := s.window.After(s.engine.LastZxid()); i < s.window.Len(); i++ {
		e := s.window.At(i)
		if err := s.applyTxn(e.Zxid, e.Packet); err != nil {
			panic(err)
		}
		s.sinceImage++
	}
	return true
}

// dialsMax and dialWait are the attempts that a learner makes (quorum protocol, section 4.3).
const (
	dialsMax = 5
	dialWait = 100 * ms
)

// dial connects to the leader.
func (s *server) dial() {
	m := s.learner
	s.w.dial(s, s.w.server(s.leading), func(l *link) {
		if s.learner != m {
			if l != nil {
				l.shut(0, true)
			}
			return
		}
		if l != nil {
			s.links = append(s.links, heldLink{l, 0})
			s.step(zab.Input{Kind: zab.InLinkOpened, Link: l.id})
			return
		}
		if s.dials++; s.dials == dialsMax {
			s.stepDown("cannot connect", 0)
			return
		}
		s.inLife(dialWait, func() {
			if s.learner == m {
				s.dial()
			}
		})
	})
}

// accepted takes a learner's connection.
func (s *server) linkAccepted(l *link) {
	if s.leader == nil {
		l.shut(1, true)
		return
	}
	s.links = append(s.links, heldLink{l, 1})
	s.step(zab.Input{Kind: zab.InLinkOpened, Link: l.id})
}

// readLink takes what has come on a link, as far as the machine wants it.
func (s *server) readLink(l *link, side int) {
	e := &l.ends[side]
	if !s.holds(l) {
		if side == 0 && s.learner == nil || side == 1 && s.leader == nil {
			l.shut(side, true)
		}
		return
	}
	for len(e.inbox) > 0 && e.open {
		f := e.inbox[0]
		if side == 0 && !f.fin {
			switch s.learner.Expects() {
			case zab.ExpectNothing:
				return
			case zab.ExpectTree:
				if f.tree == nil {
					panic("sim: packets where a tree has to come")
				}
			}
		}
		e.inbox = e.inbox[1:]
		switch {
		case f.fin:
			e.open = false
			s.drop(l)
			s.step(zab.Input{Kind: zab.InLinkClosed, Link: l.id})
		case f.tree != nil:
			s.treeCame(f.tree)
		default:
			if !s.readPackets(l, side, f.bytes) {
				return
			}
		}
	}
}

// readPackets steps the machine for each packet in b. What a learner must not take yet stays.
func (s *server) readPackets(l *link, side int, b []byte) bool {
	e := &l.ends[side]
	for len(b) > 0 {
		if side == 0 && s.learner.Expects() != zab.ExpectPackets {
			e.inbox = append([]frame{{bytes: b}}, e.inbox...)
			return s.learner.Expects() == zab.ExpectTree
		}
		p, n, err := e.decoder.Decode(b)
		if err != nil {
			panic(err)
		}
		if side == 1 && (p.Type == quorum.PacketFollowerInfo) && !s.leader.Serving() && s.leader.Epoch() == 0 {
			if info, err := quorum.DecodeLearnerInfo(p.Data); err == nil {
				s.told[info.ServerID] = quorum.EpochOf(p.Zxid)
			}
		}
		if side == 1 && isSync(&p) && s.w.opts.Mistakes != SyncOvertakesWrites {
			if m := s.leader; !s.flush() || s.leader != m || !e.open {
				return false
			}
		}
		s.step(zab.Input{Kind: zab.InPacket, Link: l.id, Packet: p})
		b = b[n:]
	}
	return true
}

func isSync(p *quorum.Packet) bool {
	if p.Type != quorum.PacketRequest {
		return false
	}
	r, err := quorum.DecodeRequest(p.Data)
	return err == nil && r.Op == proto.OpSync
}

// treeCame collects the tree behind SNAP. It is installed when it is whole.
func (s *server) treeCame(p *treePart) {
	s.trees = append(s.trees, p)
	s.step(zab.Input{Kind: zab.InProgress})
	if !p.last {
		return
	}
	var b []byte
	for _, p := range s.trees {
		b = append(b, p.bytes...)
	}
	s.trees = nil
	m, err := decodeImage(b)
	if err != nil {
		panic(err) // links keep what they carry
	}
	if s.staged, err = m.load(); err != nil {
		panic(err)
	}
	s.stagedImage, s.stagedWindow = m, zab.NewWindow(m.zxid, 0)
	s.trace('s', "tree of 0x%x", m.zxid)
	s.step(zab.Input{Kind: zab.InTreeReceived, Zxid: m.zxid, OK: true})
}

// takeSnapshot makes the tree that came, and what has been applied to it since, the server's own.
func (s *server) takeSnapshot(z quorum.Zxid) {
	m := s.learner
	s.inLife(s.w.span(s.w.cpu, 100*us, 20*ms), func() {
		if s.learner != m {
			return
		}
		err := s.install(z)
		switch {
		case walfs.IsNoSpace(err):
			s.stepDown("no space for a snapshot", diskWait)
		case err != nil:
			s.die(err)
		default:
			s.trace('s', "snapshot of 0x%x", z)
			s.w.check.kept("snapshot")
			s.post(func() { s.step(zab.Input{Kind: zab.InSnapshotTaken, Zxid: z}) })
		}
	})
}

func (s *server) holds(l *link) bool {
	return slices.ContainsFunc(s.links, func(h heldLink) bool { return h.l == l })
}

func (s *server) linkOf(id zab.LinkID) (heldLink, bool) {
	for _, h := range s.links {
		if h.l.id == id {
			return h, true
		}
	}
	return heldLink{}, false
}

func (s *server) drop(l *link) {
	s.links = slices.DeleteFunc(s.links, func(h heldLink) bool { return h.l == l })
}

// prepareAll makes transactions of what has been asked for in this turn, appends them to the
// log, and proposes them.
func (s *server) prepareAll() {
	if s.leader == nil || !s.serving || !s.leader.Serving() {
		s.requests = nil
		return
	}
	if len(s.requests) == 0 {
		return
	}
	batch := &wal.Batch{}
	for i := range s.requests {
		r := &s.requests[i].req
		batch.BeginRecord()
		var z quorum.Zxid
		batch.Buf, z, _ = s.prep.Prepare(batch.Buf, r, s.wallMs())
		batch.EndRecord(z)
	}
	s.requests = nil
	if err := s.log.Append(batch); err != nil {
		panic(err) // a log that has failed ends the process at once, and the queue has no bound here
	}
	s.logQueued()
	proposals := make([]zab.Proposal, len(batch.Records))
	for i, r := range batch.Records {
		// The log writes headers between the payloads of the batch, never into them.
		proposals[i] = zab.Proposal{Zxid: r.Zxid, Packet: batch.Payload(i)}
		s.hist.add(r.Zxid, batch.Payload(i))
		s.w.check.proposed(batch.Payload(i))
	}
	s.step(zab.Input{Kind: zab.InPropose, Proposals: proposals})
}

// doOutputs does what the machine wants, in its order.
func (s *server) doOutputs() {
	life := s.life
	m, n := s.leader, s.learner
	for i := 0; i < len(s.out.List); i++ {
		s.output(&s.out.List[i])
		if s.life != life || s.leader != m || s.learner != n {
			break // the rest is of a machine that is no more
		}
	}
	if s.life == life {
		s.out.Reset()
	}
}

func (s *server) output(o *zab.Output) {
	switch o.Kind {
	case zab.OutPersistAcceptedEpoch:
		if s.leader != nil {
			s.w.check.epochFixed(s, o.Epoch, s.told)
		}
		s.persist("acceptedEpoch", o.Epoch, &s.accepted)
	case zab.OutPersistCurrentEpoch:
		if s.learner != nil {
			s.w.check.epochStored(s, o.Epoch)
		}
		s.persist("currentEpoch", o.Epoch, &s.current)
	case zab.OutSend, zab.OutSendProposals, zab.OutSendHistory, zab.OutAnswerPing:
		s.send(o)
	case zab.OutStreamDiff:
		s.streamDiff(o)
	case zab.OutStreamSnap:
		s.streamSnap(o)
	case zab.OutClose:
		s.trace('-', "closes the link of %d: %v", o.Server, o.Reason)
		if h, ok := s.linkOf(o.Link); ok {
			s.drop(h.l)
			h.l.shut(h.side, true)
		}
	case zab.OutAppend:
		s.append(o)
	case zab.OutTruncateLog:
		s.cut(o.Zxid)
	case zab.OutReceiveTree:
		// readLink takes the tree, of which the first part may have been taken already.
	case zab.OutTakeSnapshot:
		s.takeSnapshot(o.Zxid)
	case zab.OutCommit:
		s.commit(o.Zxid)
	case zab.OutServe:
		s.serve(o.Epoch)
	case zab.OutGiveUp:
		s.needSnap = o.NeedSnap
		s.stepDown(o.Reason.Error(), 0)
	case zab.OutSyncDone:
		s.syncDone(o.Token)
	case zab.OutTouch:
		for i, t := 0, quorum.Touches(o.Data); i < t.Len(); i++ {
			s.tracker.touch(t.At(i).SessionID, s.local())
		}
	case zab.OutRequest:
		s.forwarded(o)
	case zab.OutRevalidate:
		ok := s.tracker.move(o.Session, o.Link, o.TimeoutMs, s.local())
		link, session := o.Link, o.Session
		s.post(func() { s.step(zab.Input{Kind: zab.InRevalidated, Link: link, Session: session, OK: ok}) })
	case zab.OutRevalidated:
		for i, k := range s.moving {
			if k.session == o.Session {
				s.moving = slices.Delete(s.moving, i, i+1)
				s.attached(k, o.OK)
				break
			}
		}
	case zab.OutWarn:
		s.trace('w', "%v", o.Reason)
		if reason := o.Reason; errors.Is(reason, zab.ErrNewerEpoch) {
			// That server can never follow in this epoch. The next one is higher.
			s.post(func() { s.step(zab.Input{Kind: zab.InResign, Err: reason}) })
		}
	default:
		panic(fmt.Sprintf("sim: output %d", o.Kind))
	}
}

// persist stores an epoch, which nothing that follows may come before.
func (s *server) persist(name string, e quorum.Epoch, in *quorum.Epoch) {
	err := s.writeEpoch(name, e)
	switch {
	case walfs.IsNoSpace(err):
		s.stepDown("no space for "+name, diskWait)
	case err != nil:
		s.die(err)
	default:
		*in = e
	}
}

func (s *server) send(o *zab.Output) {
	h, ok := s.linkOf(o.Link)
	if !ok {
		return
	}
	var touches []byte
	if o.Kind == zab.OutAnswerPing {
		touches = []byte{}
		for _, t := range s.touched {
			touches = quorum.AppendTouch(touches, t)
		}
		s.touched = nil
	}
	if o.Kind == zab.OutSend && o.Type == quorum.PacketTrunc {
		s.w.syncs[2]++
	}
	if o.Kind == zab.OutSend && o.Type == quorum.PacketDiff {
		s.w.syncs[0]++
	}
	h.l.send(h.side, frame{bytes: o.AppendPackets(nil, s.window, touches)})
}

// streamDiff sends history out of the log.
func (s *server) streamDiff(o *zab.Output) {
	s.w.syncs[1]++
	d, id := zab.NewDiffStream(o), o.Link
	from, to := o.From, o.Zxid
	r, err := s.log.NewReader(from + 1)
	if err != nil {
		s.streamed(id, 0, err)
		return
	}
	m := s.leader
	var next func()
	next = func() {
		h, ok := s.linkOf(id)
		if !ok || s.leader != m {
			r.Close()
			return
		}
		var b []byte
		for range 8 {
			z, packet, err := r.Next()
			if err == nil && !d.Done() {
				b, err = d.Append(b, z, packet)
			}
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the log ends before 0x%x", to)
			}
			if err != nil {
				r.Close()
				s.streamed(id, 0, err)
				return
			}
			if d.Done() {
				r.Close()
				h.l.send(h.side, frame{bytes: d.Flush(b)})
				s.streamed(id, to, nil)
				return
			}
		}
		h.l.send(h.side, frame{bytes: d.Flush(b)})
		s.inLife(s.w.span(s.w.cpu, 100*us, ms), func() { s.post(next) })
	}
	next()
}

// streamed tells the machine how a stream has ended.
func (s *server) streamed(id zab.LinkID, z quorum.Zxid, err error) {
	if err != nil {
		s.trace('w', "cannot send history: %v", err)
		s.noHistory = true
	}
	s.post(func() { s.step(zab.Input{Kind: zab.InStreamed, Link: id, Zxid: z, OK: err == nil}) })
}

// streamSnap sends the tree as it is.
func (s *server) streamSnap(o *zab.Output) {
	s.w.syncs[3]++
	h, ok := s.linkOf(o.Link)
	if !ok {
		return
	}
	m := s.image
	if m == nil || !s.w.plan.oldImages {
		m = s.wholeImage()
	}
	h.l.send(h.side, frame{bytes: quorum.AppendPacket(nil, quorum.PacketSnap, m.zxid, nil)})
	b, id := m.encode(), o.Link
	var next func()
	next = func() {
		h, ok := s.linkOf(id)
		if !ok {
			return
		}
		n := min(len(b), 1024)
		h.l.send(h.side, frame{tree: &treePart{bytes: b[:n], last: n == len(b)}})
		if b = b[n:]; len(b) == 0 {
			s.streamed(id, m.zxid, nil)
			return
		}
		s.inLife(s.w.span(s.w.cpu, 100*us, ms), func() { s.post(next) })
	}
	next()
}

// append logs what the leader has sent.
func (s *server) append(o *zab.Output) {
	packet := bytes.Clone(o.Data)
	if o.Unlogged {
		s.stagedWindow.Append(o.Zxid, packet, nil)
		return
	}
	batch := &wal.Batch{}
	batch.AddRecord(o.Zxid, packet)
	if err := s.log.Append(batch); err != nil {
		panic(err)
	}
	s.window.Append(o.Zxid, packet, nil)
	s.hist.add(o.Zxid, packet)
	s.logQueued()
}

// cut cuts log and tree, and lets the learner go on.
func (s *server) cut(z quorum.Zxid) {
	end, ok, err := s.truncate(z)
	switch {
	case walfs.IsNoSpace(err):
		s.stepDown("no space to cut the log", diskWait)
		return
	case err != nil:
		s.die(err)
		return
	}
	s.trace('t', "cuts its log at 0x%x, asked for 0x%x, %v", end, z, ok)
	s.w.check.kept("truncation")
	s.post(func() {
		s.step(zab.Input{Kind: zab.InTruncated, Zxid: end, OK: ok})
		for _, h := range s.links {
			s.readLink(h.l, h.side)
		}
	})
}

// commit applies what is committed, and answers those who wait for it.
func (s *server) commit(z quorum.Zxid) {
	if s.staged != nil {
		s.commitStaged(z)
		return
	}
	sink := eventSink{s: s}
	for i := s.window.After(s.engine.LastZxid()); i < s.window.Len() && s.window.At(i).Zxid <= z; i++ {
		e := s.window.At(i)
		txn, err := proto.ProposalTxn(e.Packet)
		if err != nil {
			panic(err)
		}
		res, err := s.engine.Apply(txn, &sink)
		if err != nil {
			panic(err)
		}
		s.sinceImage++
		if res.DigestMismatch {
			s.w.fail("digest", "server %d at 0x%x: tree 0x%x, transaction 0x%x", s.id, e.Zxid, s.engine.Digest(), res.TxnDigest)
		}
		s.hist.setDigest(e.Zxid, s.engine.Digest())
		if s.serving {
			s.w.check.committed(s, e.Zxid)
			s.applied(res.Header, answerOf(res))
		}
	}
	// Before it serves, what is applied is only on its way to being committed: by the promise of
	// a leader that a quorum may not follow.
	if s.upTo = max(s.upTo, z); s.serving {
		s.w.check.committed(s, z)
	}
	if s.prep != nil {
		s.prep.Applied(z)
	}
	if s.learner != nil {
		s.window.Trim(min(z, s.log.DurableZxid()))
	}
}

// commitStaged applies what follows on the tree that came.
func (s *server) commitStaged(z quorum.Zxid) {
	w := s.stagedWindow
	for i := w.After(s.staged.LastZxid()); i < w.Len() && w.At(i).Zxid <= z; i++ {
		e := w.At(i)
		if err := s.applyTo(s.staged, e.Zxid, e.Packet); err != nil {
			panic(err)
		}
		s.stagedImage.marks = append(s.stagedImage.marks, txnMark{e.Zxid, xxhash.Sum64(e.Packet), s.staged.Digest()})
	}
	s.upTo = max(s.upTo, z)
}

// applied does what a transaction means to sessions, and answers its client if that is here.
func (s *server) applied(h proto.TxnHeader, a answer) {
	if h.Type == proto.OpCreateSession && s.leader != nil {
		if x := s.tracker.find(h.SessionID); x != nil {
			x.extend(s.local())
		}
	}
	if h.Type == proto.OpCloseSession {
		s.tracker.remove(h.SessionID)
	}
	for _, k := range s.conns {
		if k.session != h.SessionID || len(k.queue) == 0 || k.queue[0].xid != h.Cxid || (k.queue[0].kind == opConnect) != (h.Type == proto.OpCreateSession) {
			continue
		}
		a.zxid = h.Zxid
		s.finish(k, a)
		break
	}
	if h.Type == proto.OpCloseSession {
		for _, k := range slices.Clone(s.conns) {
			if k.session == h.SessionID {
				s.hangUp(k, true)
			}
		}
	}
}

// serve begins to serve clients.
func (s *server) serve(epoch quorum.Epoch) {
	s.serving = true
	s.w.check.committed(s, s.upTo)
	s.engine.SetLastZxid(max(s.engine.LastZxid(), quorum.EpochStart(epoch)))
	s.election.SetPeerEpoch(epoch)
	if s.leader == nil {
		s.trace('F', "serves in epoch %d under %d with 0x%x", epoch, s.leading, s.engine.LastZxid())
		return
	}
	s.trace('L', "leads epoch %d with 0x%x", epoch, s.engine.LastZxid())
	s.w.check.leads(s, epoch)
	s.tracker = tracker{}
	s.engine.EachSession(func(id proto.SessionID, timeoutMs int32) {
		x := &tracked{id: id, timeoutMs: timeoutMs}
		x.extend(s.local())
		s.tracker.list = append(s.tracker.list, x)
	})
	s.expireAt = s.local()
	if n := s.engine.RemoveOrphans(nil); n != 0 {
		s.w.fail("ephemerals", "server %d has %d without session as it begins to lead", s.id, n)
	}
	s.newPreparer(epoch)
}

// forwarded takes a learner's write.
func (s *server) forwarded(o *zab.Output) {
	r, err := quorum.DecodeRequest(bytes.Clone(o.Data))
	if err != nil {
		panic(err) // the machine has looked at it
	}
	p := pendingRequest{link: o.Link, req: prep.Request{
		Session: r.SessionID, Xid: r.Cxid, Op: r.Op, Body: r.Body, Identities: o.Auth, Owner: o.Link,
	}}
	if r.Op == proto.OpCreateSession {
		p.req.TimeoutMs = timeoutOf(r.Body)
	}
	s.requests = append(s.requests, p)
}

// stepDown ends the machine and looks for a leader, at once or when the disk has had a while.
func (s *server) stepDown(reason string, wait time.Duration) {
	if s.leader == nil && s.learner == nil {
		return
	}
	s.trace('o', "gives up: %s", reason)
	s.dropClients()
	for _, h := range s.links {
		h.l.shut(h.side, true)
	}
	needSnap := s.needSnap
	if s.staged != nil {
		s.staged.Close() // worthless by itself
	}
	s.replica = replica{needSnap: needSnap}
	s.moving, s.syncs, s.touched = nil, nil, nil
	s.tracker = tracker{}
	if wait > 0 {
		s.retryAt = s.local() + wait
		return
	}
	s.post(s.look)
}

// logHistory is the zab.History of a server.
type logHistory struct{ s *server }

func (h logHistory) Floor(peer quorum.Zxid) (quorum.Zxid, bool) {
	s := h.s
	if s.noHistory || s.w.plan.logFactor < 0 {
		return 0, false
	}
	floor, err := s.log.Floor(peer)
	if err != nil {
		s.noHistory = s.noHistory || errors.Is(err, wal.ErrCorrupt)
		return 0, false
	}
	return floor, true
}
