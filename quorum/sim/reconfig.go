package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal/walfs"
)

// This file has everything about member lists that change: what a server stores of them, how a leader
// judges a reconfig, what operators ask for, and what is checked.

// memberLists are a server's, as on its disk.
type memberLists struct {
	config   *quorum.Config // committed
	lastSeen *quorum.Config // last proposed; config unless that is newer
}

// The files of the member lists. What the next one says counts only while it is newer.
const (
	configFile     = "config"
	nextConfigFile = "config.next"
)

func (s *server) readConfig(name string) (*quorum.Config, error) {
	b, err := readFile(s.mem, dataDir+"/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return quorum.ParseConfig(b)
}

// recoverConfigs reads the member lists; a server without the files has what its operator gave it.
func (s *server) recoverConfigs() error {
	config, err := s.readConfig(configFile)
	if err != nil {
		return err
	}
	if config == nil {
		config = s.given
	}
	next, err := s.readConfig(nextConfigFile)
	if err != nil {
		return err
	}
	if next == nil || next.Version <= config.Version {
		next = config
	}
	s.config, s.lastSeen = config, next
	s.w.check.startedWith(s)
	return nil
}

// saveConfig stores a proposed member list, which nothing that follows may come before.
func (s *server) saveConfig(c *quorum.Config) {
	if s.w.opts.Mistakes != ProposedConfigNotStored {
		err := s.writeFile(nextConfigFile, c.AppendText(nil))
		switch {
		case walfs.IsNoSpace(err):
			s.stepDown("no space for a member list", diskWait, quorum.NoServer)
			return
		case err != nil:
			s.die(err)
			return
		}
	}
	s.lastSeen, s.hadNext = c, c.Version
	s.election.SetConfigs(s.config, s.lastSeen)
	s.trace('c', "is proposed %s", members(c))
}

// commitConfig makes c the committed member list. It was stored when it was proposed, or comes from a
// server that has it, so that nothing is lost when the disk is full now.
func (s *server) commitConfig(c *quorum.Config, how string) {
	switch err := s.writeFile(configFile, c.AppendText(nil)); {
	case err == nil:
		s.hadConfig = c.Version
	case !walfs.IsNoSpace(err):
		s.die(err)
		return
	}
	differs := !c.Equal(s.config)
	s.config = c
	if s.lastSeen.Version <= c.Version {
		s.lastSeen = c
	}
	s.writeConfigNode()
	s.election.SetConfigs(s.config, s.lastSeen)
	s.trace('c', "%s %s", how, members(c))
	s.w.check.activated(s)
	if !differs {
		return
	}
	// The election port is closed and opened again.
	for _, o := range s.w.servers {
		if o != s && o.up && !s.w.isCut(o.id, s.id) && !s.w.isCut(s.id, o.id) {
			s.w.electionUp(s, o)
		}
	}
}

// writeConfigNode shows the committed member list to clients.
func (s *server) writeConfigNode() {
	text := s.config.AppendText(nil)
	s.engine.SetConfigNode(text, s.config.Version, s.wallMs())
	if s.staged != nil {
		s.staged.SetConfigNode(text, s.config.Version, s.wallMs())
	}
}

// assume takes the role under the leader that a reconfig has designated, without an election.
func (s *server) assume(leader quorum.ServerID) {
	if s.damaged || s.logFull() {
		s.look()
		return
	}
	state := s.election.Assume(leader, s.lastZxid())
	s.decided(quorum.Vote{Leader: leader, State: state})
	s.wake()
}

// addrOf is where s connects to a leader, the zero Addr if it does not know.
func (s *server) addrOf(leader quorum.ServerID) quorum.Addr {
	for _, c := range []*quorum.Config{s.config, s.lastSeen} {
		if m := c.Member(leader); m != nil {
			return m.QuorumAddrs[0]
		}
	}
	return quorum.Addr{}
}

// listensOn reports whether s takes connections of learners at addr.
func (s *server) listensOn(addr quorum.Addr) bool {
	m := s.config.Member(s.id)
	if m == nil {
		m = s.lastSeen.Member(s.id)
	}
	return m != nil && m.QuorumAddrs[0] == addr
}

// judge is the leader's prep.Reconfigurer (quorum protocol, section 8.2).
type judge struct{ s *server }

func (j judge) Reconfig(r *proto.ReconfigRequest, zxid proto.Zxid) ([]byte, proto.ErrCode) {
	s := j.s
	now := s.leader.LastSeen()
	switch {
	case now.Version != s.leader.Config().Version || len(s.proposing) > 0:
		return nil, proto.ErrReconfigInProgress
	case r.CurConfigID != -1 && r.CurConfigID != now.Version:
		return nil, proto.ErrBadVersion
	}
	next, err := reconfigured(now, r)
	if err != nil {
		return nil, proto.ErrBadArguments
	}
	if !s.leader.HasSyncedQuorum(next) {
		return nil, proto.ErrNewConfigNoQuorum
	}
	s.judged = next.WithVersion(zxid)
	return s.judged.AppendText(nil), proto.OK
}

var errIncremental = errors.New("sim: incremental change of groups")

// reconfigured gives the member list that a request asks for.
func reconfigured(now *quorum.Config, r *proto.ReconfigRequest) (*quorum.Config, error) {
	if r.NewMembers != nil {
		return quorum.ParseConfig(r.NewMembers)
	}
	if now.Hierarchical {
		return nil, errIncremental
	}
	list := slices.Clone(now.Members)
	without := func(id quorum.ServerID) {
		list = slices.DeleteFunc(list, func(m quorum.Member) bool { return m.ID == id })
	}
	for id := range strings.SplitSeq(string(r.Leaving), ",") {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			without(n)
		}
	}
	for line := range strings.SplitSeq(string(r.Joining), ",") {
		key, spec, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		id, err := strconv.ParseInt(strings.TrimPrefix(key, "server."), 10, 64)
		if err != nil {
			return nil, err
		}
		m, err := quorum.ParseMember(id, spec)
		if err != nil {
			return nil, err
		}
		without(id)
		list = append(list, m)
	}
	return quorum.NewConfig(0, list, nil, nil)
}

// members shows a member list in a trace: voters, observers in brackets.
func members(c *quorum.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "0x%x:", c.Version)
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case m.Role == quorum.Observer:
			fmt.Fprintf(&b, " (%d)", m.ID)
		default:
			fmt.Fprintf(&b, " %d", m.ID)
		}
		if p := m.QuorumAddrs[0].Port; p != portOf(m.ID) {
			fmt.Fprintf(&b, "@%d", p)
		}
	}
	if c.Hierarchical {
		fmt.Fprintf(&b, " in %d groups", len(c.Groups))
	}
	return b.String()
}

func portOf(id quorum.ServerID) int { return 2000 + int(id) }

func member(id quorum.ServerID, role quorum.Role) quorum.Member {
	return quorum.Member{
		ID: id, Role: role,
		QuorumAddrs:   []quorum.Addr{{Host: "127.0.0.1", Port: portOf(id)}},
		ElectionAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: 3000 + int(id)}},
	}
}

// reconfigRequest makes what an operator asks for, from the member list that was committed last: a server more
// or less, one in place of another, another role, another address, or a whole list. nil: nothing today.
func (w *world) reconfigRequest(rng *rand.Rand) *proto.ReconfigRequest {
	now := w.check.config
	for range 10 {
		r := w.someRequest(rng, now)
		if r == nil {
			continue
		}
		if next, err := reconfigured(now, r); err == nil && w.plan.bearable(next) && !next.SameMembers(now) {
			if rng.IntN(2) == 0 {
				r.CurConfigID = now.Version
			}
			return r
		}
	}
	return nil
}

// bearable reports whether a member list leaves a quorum when the disks of all victims are damaged.
func (p *plan) bearable(c *quorum.Config) bool {
	return c.ContainsQuorum(func(id quorum.ServerID) bool { return !slices.Contains(p.victims, id) })
}

func (w *world) someRequest(rng *rand.Rand, now *quorum.Config) *proto.ReconfigRequest {
	var in, out []quorum.ServerID
	for _, s := range w.servers {
		if now.Member(s.id) != nil {
			in = append(in, s.id)
		} else {
			out = append(out, s.id)
		}
	}
	// Half of the time it is about the leader.
	victim := in[rng.IntN(len(in))]
	if l := w.target(0); now.Member(l.id) != nil && rng.IntN(2) == 0 {
		victim = l.id
	}
	role := quorum.Participant
	if rng.IntN(3) == 0 {
		role = quorum.Observer
	}
	r := &proto.ReconfigRequest{CurConfigID: -1}
	join := func(m quorum.Member) {
		if r.Joining != nil {
			r.Joining = append(r.Joining, ',')
		}
		r.Joining = m.AppendSpec(fmt.Appendf(r.Joining, "server.%d=", m.ID))
	}
	kind := rng.IntN(6)
	if now.Hierarchical {
		kind = 5
	}
	switch kind {
	case 0, 1:
		if len(out) == 0 {
			return nil
		}
		join(member(out[rng.IntN(len(out))], role))
		if kind == 1 {
			r.Leaving = strconv.AppendInt(nil, victim, 10)
		}
	case 2:
		r.Leaving = strconv.AppendInt(nil, victim, 10)
	case 3:
		m := *now.Member(victim)
		m.Role = quorum.Participant + quorum.Observer - m.Role
		join(m)
	case 4:
		m := *now.Member(victim)
		m.QuorumAddrs = []quorum.Addr{{Host: "127.0.0.1", Port: m.QuorumAddrs[0].Port + 100}}
		join(m)
	case 5:
		var list []quorum.Member
		for _, s := range w.servers {
			if rng.IntN(3) > 0 {
				list = append(list, member(s.id, role))
			}
			if role = quorum.Participant; rng.IntN(4) == 0 {
				role = quorum.Observer
			}
		}
		c, err := quorum.NewConfig(0, list, groupsFor(rng, list), nil)
		if err != nil {
			return nil
		}
		r.NewMembers = c.AppendText(nil)
	}
	return r
}

// groupsFor puts the voters of some lists into groups.
func groupsFor(rng *rand.Rand, list []quorum.Member) []quorum.Group {
	var voters []quorum.ServerID
	for i := range list {
		if list[i].Role == quorum.Participant {
			voters = append(voters, list[i].ID)
		}
	}
	if len(voters) < 5 || rng.IntN(4) > 0 {
		return nil
	}
	rest := len(voters) - 2
	return []quorum.Group{{ID: 1, Members: voters[:rest]}, {ID: 2, Members: voters[rest : rest+1]}, {ID: 3, Members: voters[rest+1:]}}
}

// startedWith is told of the member lists that s has found on its disk.
func (c *checker) startedWith(s *server) {
	if s.config.Version < s.hadConfig {
		c.w.fail("config", "server %d starts with the member list 0x%x, and had 0x%x", s.id, s.config.Version, s.hadConfig)
	}
	if s.hadNext > s.lastSeen.Version && !c.w.opts.EffectsOnly {
		c.w.fail("config", "server %d starts with the proposed member list 0x%x, and had 0x%x", s.id, s.lastSeen.Version, s.hadNext)
	}
}

// activated is told that s takes its member list for committed. What is committed is one sequence
// of lists, and each holds on disk what was committed before.
func (c *checker) activated(s *server) {
	config := s.config
	known, ok := c.configs[config.Version]
	switch {
	case ok && !known.SameMembers(config):
		c.w.fail("config", "server %d activates %s, others have %s", s.id, members(config), members(known))
	case ok:
		return
	case config.Version < c.config.Version:
		c.w.fail("config", "server %d activates %s, which nobody has committed; committed is %s", s.id, members(config), members(c.config))
	}
	c.configs[config.Version] = config
	c.config = config
	c.w.reconfigs++
	c.kept("member list")
}

// proposedConfigs gives the member lists to the proposals that are reconfigs.
func (s *server) proposedConfigs(proposals []zab.Proposal) {
	for i := range proposals {
		proposals[i].Config = s.proposing[proposals[i].Zxid]
	}
	s.proposing = nil
}
